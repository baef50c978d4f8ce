"""The control panel's API: HTTP, paging, decoding.

Takes a panel's address and credentials; returns values of ``model`` or raises
``RequestError``. ``polling`` decides when a request is sent.

``api`` has a method for each operation. It asks ``circuit_breaker`` (with
``backoff``), sends with ``client`` (and ``cookies``), and reads pages by ``paging``.
Their rows become values in ``backups`` and ``resources`` (by ``decode`` and
``xml_filter``). Errors come from ``http_errors`` and ``error_body``, hints about roles
from ``permissions``.
"""
