"""A simulated OnApp cloud (``cloud``) and its control panel's API (``panel``).

Imports nothing of the exporter: a misreading of the API cannot cancel itself out.
"""
