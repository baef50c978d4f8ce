"""Health: how well each server is protected, and how well each panel is polled.

Takes frozen values of the store and the current time; returns conditions with
severities.
"""
