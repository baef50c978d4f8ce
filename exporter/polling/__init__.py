"""Polling: the requests to each panel and their times; the only writer of the store.

It takes the configuration of every panel, and writes what ``onapp`` returns to the
store of ``model``. The flow, from the outside in:

1. ``manager`` runs one ``Poller`` per configured panel and connects its parts.
2. ``poller`` is the main loop. It takes due jobs from the queue, runs up to
   ``poll.concurrency`` at once, handles their errors, reschedules them, and sleeps.
3. ``jobs`` has that queue. Its jobs have three priorities: first the contact with the
   panel itself (version and ``inventory``), then the panel-wide lists of
   ``collectors``, then the servers. The job of a server reads its backups, then its
   other lists (``servers``, ``lists``).

The inventory adds servers to the queue and removes them. A server is polled early when
one of its transactions starts or ends. The first pass ends when every job was tried.

``Recurrence`` in ``jobs`` decides when anything is requested again: after a success, an
interval later or in the next slot; after a failure, when its ``Backoff`` says so; after
a refusal, an hour later. The circuit breaker of ``onapp`` overrides that: while it is
open, nothing is sent, and due jobs stay due (``NotSent``).

A new list from the panel needs:

- ``model.entities``: a value and its name; for a list per server, a field in ``store``;
- ``onapp.resources``: its decoder and its path; ``onapp.permissions``: its permission;
- ``config.schema``: its switch below ``collectors``;
- ``metrics``: its families, from ``PanelStore.listed`` or the server's state;
- ``commands``: its step in ``check``.
"""
