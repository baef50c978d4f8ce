"""The status page and ``/api/v1/status``.

Takes frozen values of the store and what ``health`` says of them; gives HTML and JSON.
"""
