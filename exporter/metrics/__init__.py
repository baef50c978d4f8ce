"""The table of every metric, and the bytes of a scrape.

Takes frozen values of the store and what ``health`` says of them; gives ``/metrics``.
A row of the table stands beside the function that makes its values, in the module of
what it is about. Its class says what it is made from and so when it changes: with the
panel's state or the clock (PanelFamily), with inventory, schedules and log
(ServerFamily), with a server's backups (BackupsFamily), or each second (AgeFamily).
"""

from . import backup, panel, server
from .family import Family

FAMILIES: tuple[Family, ...] = (*panel.FAMILIES, *server.FAMILIES, *backup.FAMILIES)
"""What the collector, the exposition and ``docs/metrics.md`` read."""
