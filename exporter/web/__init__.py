"""Listening, TLS, users, limits and routes.

Takes the bytes that ``metrics`` and ``status`` make; gives answers to HTTP requests.
"""
