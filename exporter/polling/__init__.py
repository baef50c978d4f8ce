"""Polling: what each panel is asked for and when; the only writer of the store.

In: the configuration of every panel. Out: what ``onapp`` returns, in the store of
``model``. The flow, from the outside in:

1. ``manager`` runs one ``Poller`` per panel of the configuration and wires its parts.
2. ``poller`` is the main loop: it takes the jobs that are due from the queue, up to
   ``poll.concurrency`` at once, guards them, plans them again, and sleeps.
3. ``jobs`` has that queue. Its jobs come in three priorities: the contact with the
   panel itself (version and ``inventory``), the panel-wide lists of ``collectors``,
   and the servers: the backups of one, then its other lists (``servers``, ``lists``).

The inventory adds servers to the queue and removes them; one of which a transaction has
begun or ended is polled soon. The first pass has ended when every job was tried.

When is something asked for again? ``Recurrence`` in ``jobs`` decides, for everything:
an interval after a success, or in the next slot; after a failure when its ``Backoff``
says so; an hour after a refusal. The circuit breaker of ``onapp`` overrides that: while
it is open nothing is sent, and what was due stays due (``NotSent``).

What does a new list from the panel take?

- ``model.entities``: a value and its name; for one per server, a field in ``store``;
- ``onapp.resources``: its decoder and its path; ``onapp.permissions``: its permission;
- ``config.schema``: its switch below ``collectors``;
- ``metrics``: what is shown of it, from ``PanelStore.listed`` or the server's state;
- ``commands``: how it is tried by ``check``.
"""
