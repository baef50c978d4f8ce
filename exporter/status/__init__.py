"""The status page and ``/api/v1/status``.

Takes frozen values of the store and their health. Returns HTML, JSON and CSV.
"""
