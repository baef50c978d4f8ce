"""Health: how well each server is protected, and how well each panel is polled.

Takes frozen values of the store and a moment; returns conditions with severities.
"""
