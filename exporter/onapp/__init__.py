"""The control panel's API: HTTP, paging, decoding.

Takes a panel's address and credentials; gives values of ``model``, or a ``PanelError``.
Knows nothing of when to ask.
"""
