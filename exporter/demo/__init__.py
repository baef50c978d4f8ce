"""A simulated OnApp cloud (``cloud``) and its control panel's API (``panel``).

It imports nothing of the exporter, so that a misunderstanding of the API in one of them
is not hidden by the same misunderstanding in the other.
"""
