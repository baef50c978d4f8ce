"""Polling: what each panel is asked for and when; the only writer of the store.

In: the configuration of every panel. Out: what ``onapp`` returns, in the store of
``model``. The flow, from the outside in:

1. ``manager`` runs one ``Poller`` per panel of the configuration and wires its parts.
2. ``poller`` is the main loop: it starts whatever is due, up to ``poll.concurrency``
   requests at once, and sleeps until something else is due. There are three sorts:

   - the panel itself: its version, and its ``inventory`` of servers;
   - ``jobs``: panel-wide lists, each at an interval of its own;
   - servers: the backups of one server, then its ``per_server`` lists.

3. The answers go to the store. The inventory adds servers to ``scheduler`` and removes
   them; a server of which a transaction has begun or ended is polled soon.

When is something that failed asked for again?

- a server: ``Scheduler.reschedule`` (after 1/16, 1/8 and 1/4 of the interval, then in
  its slots);
- a panel-wide list: ``PanelJob.record_failure`` (15 s, doubled up to its interval; an
  hour if refused);
- a list of one server: ``PerServerCollector._pause_server`` (half an interval, doubled
  up to an hour; an hour if refused);
- the panel itself: ``Poller._back_off`` (15 s, doubled up to 5 minutes).

The circuit breaker of ``onapp`` overrides all of these: while it is open nothing is
sent, and what was due stays due (``NotSent``).

What does a new list from the panel take?

- ``model``: a value and its name (``entities``), a field (``store``);
- ``onapp``: its decoder (``resources``), its request and what is forgotten with a
  server (``api``), its permission (``permissions``);
- ``config.schema``: its switch below ``collectors``;
- here: a ``PanelJob`` (panel-wide) or a ``PerServerCollector`` (per server) in
  ``manager.CollectorFactory``, and in ``Collectors.drop_disabled`` what a reload that
  switches it off removes from the store;
- ``metrics``: what is shown of it;
- ``commands``: how it is tried (``check_steps``).
"""
