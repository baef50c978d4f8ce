"""From a panel's state to samples: how its polling goes, and what it has as a whole.

An unknown value yields no sample.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

from ..clock import Now
from ..model.entities import BACKUPS, INVENTORY, BackupServer, Share
from ..model.store import PanelStore
from .samples import Row, place, text

Reading: TypeAlias = tuple[bool | None, float | None]
"""Whether the last read succeeded and is fresh, and the moment of the last good one."""


def of_panel(
    value: Callable[[PanelStore, Now], float | None],
) -> Callable[[PanelStore, Now], Iterator[Row[float]]]:
    """Make rows of a value that a panel has."""

    def rows(panel: PanelStore, now: Now) -> Iterator[Row[float]]:
        found = value(panel, now)
        if found is not None:
            yield (panel.name,), found

    return rows


def panel_info(panel: PanelStore, _: Now) -> Iterator[Row[int]]:
    """Describe the panel, once it has answered."""
    if panel.heard_at_monotonic is not None:
        yield (panel.name, panel.url, text(panel.version)), 1


def collector_success(panel: PanelStore, _: Now) -> Iterator[Row[float]]:
    """Tell of each collector whether its last run succeeded."""
    outcomes = (
        (INVENTORY, panel.inventory_succeeded),
        (BACKUPS, panel.backups_succeeded()),
        *panel.collected().items(),
    )
    for collector, succeeded in outcomes:
        if succeeded is not None:
            yield (panel.name, collector), float(succeeded)


def each_backup_server(panel: PanelStore, now: Now) -> Iterator[Row[BackupServer]]:
    """Yield the backup servers that the panel lists."""
    for server in panel.known_backup_servers(now.monotonic):
        yield (panel.name, str(server.id)), server


def backup_server_info(panel: PanelStore, now: Now) -> Iterator[Row[int]]:
    """Describe each backup server."""
    for server in panel.known_backup_servers(now.monotonic):
        yield (panel.name, str(server.id), server.label), 1


def transactions_total(panel: PanelStore, _: Now) -> Iterator[Row[float]]:
    """Count the backup transactions by how they ended."""
    if panel.journal is not None:
        for (action, status), count in panel.journal.counts.items():
            yield (panel.name, action, status), count


def transactions_pending(panel: PanelStore, now: Now) -> Iterator[Row[int]]:
    """Count the backup transactions that wait or run."""
    for action, rows in panel.pending(now.monotonic).items():
        yield (panel.name, action), len(rows)


def oldest_pending(panel: PanelStore, now: Now) -> Iterator[Row[float]]:
    """Tell when the oldest backup transaction that waits or runs was created."""
    for action, rows in panel.pending(now.monotonic).items():
        moments = [row.created_at for row in rows if row.created_at is not None]
        if moments:
            yield (panel.name, action), min(moments)


def each_share(panel: PanelStore, now: Now) -> Iterator[Row[Share]]:
    """Yield what the backups on each backup server amount to."""
    for number, share in panel.shares(now.monotonic).items():
        yield (panel.name, place(number)), share


def each_reading(panel: PanelStore, now: Now) -> Iterator[Row[Reading]]:
    """Yield how the reading of each server's backups goes."""
    for vm_id, watch in panel.watches.items():
        good = None
        if watch.failing is not None:
            good = not watch.failing and panel.fresh(watch, now.monotonic)
        yield (panel.name, str(vm_id)), (good, watch.read_at)
    for name in panel.unresolved:
        yield (panel.name, name), (False, None)
