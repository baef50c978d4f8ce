"""The one judgement: how well a server is protected, and how well a panel is read.

Takes frozen values of the store and a moment; gives conditions with their severity.
"""
