"""From a panel's state to samples: how its polling goes, and what it has as a whole.

An unknown value yields no sample.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .model import BackupServer
from .samples import Now, Sample, place, text
from .store import BACKUPS, INVENTORY, PanelStore, Share


def of_panel(
    value: Callable[[PanelStore, Now], float | None],
) -> Callable[[PanelStore, Now], Iterator[Sample]]:
    """Make samples of a value that a panel has."""

    def samples(panel: PanelStore, now: Now) -> Iterator[Sample]:
        found = value(panel, now)
        if found is not None:
            yield (panel.name,), found

    return samples


def panel_info(panel: PanelStore, _: Now) -> Iterator[Sample]:
    """Describe the panel, once it has answered."""
    if panel.heard_at_monotonic is not None:
        yield (panel.name, panel.url, text(panel.version)), 1


def collector_success(panel: PanelStore, _: Now) -> Iterator[Sample]:
    """Tell of each collector whether its last run succeeded."""
    outcomes = (
        (INVENTORY, panel.inventory_succeeded),
        (BACKUPS, panel.backups_succeeded()),
        *panel.collected().items(),
    )
    for collector, succeeded in outcomes:
        if succeeded is not None:
            yield (panel.name, collector), float(succeeded)


def of_backup_server(
    value: Callable[[BackupServer], float | None],
) -> Callable[[PanelStore, Now], Iterator[Sample]]:
    """Make samples of a value that the panel tells of each backup server."""

    def samples(panel: PanelStore, now: Now) -> Iterator[Sample]:
        for server in panel.known_backup_servers(now.monotonic):
            found = value(server)
            if found is not None:
                yield (panel.name, str(server.id)), found

    return samples


def backup_server_info(panel: PanelStore, now: Now) -> Iterator[Sample]:
    """Describe each backup server."""
    for server in panel.known_backup_servers(now.monotonic):
        yield (panel.name, str(server.id), server.label), 1


def transactions_total(panel: PanelStore, _: Now) -> Iterator[Sample]:
    """Count the backup transactions by how they ended."""
    if panel.journal is not None:
        for (action, status), count in panel.journal.counts.items():
            yield (panel.name, action, status), count


def transactions_pending(panel: PanelStore, now: Now) -> Iterator[Sample]:
    """Count the backup transactions that wait or run."""
    for action, rows in panel.pending(now.monotonic).items():
        yield (panel.name, action), len(rows)


def oldest_pending(panel: PanelStore, now: Now) -> Iterator[Sample]:
    """Tell when the oldest backup transaction that waits or runs was created."""
    for action, rows in panel.pending(now.monotonic).items():
        moments = [row.created_at for row in rows if row.created_at is not None]
        if moments:
            yield (panel.name, action), min(moments)


def of_share(
    value: Callable[[Share], float],
) -> Callable[[PanelStore, Now], Iterator[Sample]]:
    """Make samples of what the backups on each backup server amount to."""

    def samples(panel: PanelStore, now: Now) -> Iterator[Sample]:
        for number, share in panel.shares(now.monotonic).items():
            yield (panel.name, place(number)), value(share)

    return samples


def poll_lag_seconds(panel: PanelStore, now: Now) -> float:
    """Return how overdue the most overdue server is."""
    since = panel.overdue_since_monotonic
    return 0.0 if since is None else max(0.0, now.monotonic - since)


def poll_success(panel: PanelStore, now: Now) -> Iterator[Sample]:
    """Tell of each server whether its backups are known at the moment."""
    for vm_id, watch in panel.watches.items():
        if watch.failing is not None:
            good = not watch.failing and panel.fresh(watch, now.monotonic)
            yield (panel.name, str(vm_id)), float(good)
    for name in panel.unresolved:
        yield (panel.name, name), 0.0


def poll_moments(panel: PanelStore, _: Now) -> Iterator[Sample]:
    """Tell of each server when its backups were last read."""
    for vm_id, watch in panel.watches.items():
        if watch.read_at is not None:
            yield (panel.name, str(vm_id)), watch.read_at
