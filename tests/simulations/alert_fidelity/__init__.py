"""Weeks of simulated clouds: every problem raises its alert, and nothing else does."""
