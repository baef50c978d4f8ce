"""What to ask a panel, and when; the only writer of the store.

Takes the configuration of each panel; gives what ``onapp`` answers to the store of
``model``.
"""
