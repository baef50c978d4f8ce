"""The table of all metrics, and the rendering of ``/metrics``.

Takes frozen values of the store and their health; returns the body of a scrape. Each
family is declared next to the function that yields its rows, in the module of its
subject. The class of a family shows its input, and thus when it changes: with the
panel's state or the clock (PanelFamily), with inventory, schedules and transaction log
(ServerFamily), with the judgement of a server (HealthFamily), with a server's backups
(BackupsFamily), or each second (AgeFamily).
"""

from . import backup, panel, server
from .family import AnyFamily

FAMILIES: tuple[AnyFamily, ...] = (*panel.FAMILIES, *server.FAMILIES, *backup.FAMILIES)
"""Used by the collector, the exposition and ``docs/metrics.md``."""
