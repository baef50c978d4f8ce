"""Listening, TLS, users, limits and routes.

Takes the bodies that ``metrics`` and ``status`` render. Answers HTTP requests.
"""
