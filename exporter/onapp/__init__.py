"""The control panel's API: HTTP, paging, decoding.

Takes a panel's address and credentials; returns values of ``model`` or raises
``RequestError``. ``polling`` decides when a request is sent.
"""
