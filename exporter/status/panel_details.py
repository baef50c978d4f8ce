"""Details of a panel besides its status: backup runs, collectors, backup servers.

Times are Unix seconds; None means unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from ..clock import Now
from ..health.panel import PanelHealth
from ..model.entities import (
    BACKUP_SERVERS,
    BACKUPS,
    INVENTORY,
    BackupServer,
    BackupServerUsage,
    Transaction,
)
from ..model.store import LastError, PanelStore
from ..model.transaction_log import FINAL_STATUSES, HOUR_SECONDS, TransactionLog

HOURS = 25
"""Hours in the chart: the last 24 touch 25 clock hours."""


class CollectorRun(msgspec.Struct, frozen=True):
    """The last run of a collector."""

    collector: str
    succeeded: bool | None
    at: float | None
    """When it ended; for the inventory, when the last complete run ended."""
    seconds: float | None
    error: LastError | None
    """Why it failed."""


class HourOfRuns(msgspec.Struct, frozen=True):
    """Number of backup runs that ended in one hour, by outcome."""

    start: float
    counts: dict[str, int]


class BackupServerRow(msgspec.Struct, frozen=True):
    """A backup server, and the space that the known backups use there."""

    server: BackupServer
    usage: BackupServerUsage | None

    @property
    def share(self) -> float | None:
        """Return the used share of its capacity (0 to 1 or more); None: unknown."""
        capacity, usage = self.server.capacity_bytes, self.usage
        return usage.size_bytes / capacity if usage and capacity else None


class PanelDetails(msgspec.Struct, frozen=True):
    """The details of one panel."""

    runs: Sequence[HourOfRuns] | None
    """The hours of the chart, oldest first; None: the log is not read."""
    runs_known_from: float | None
    """Earlier runs may be missing; None: the log covers the whole chart."""
    open: Sequence[Transaction] | None
    """Pending and running transactions, oldest first; None: unknown."""
    backup_servers: Sequence[BackupServerRow] | None
    """None: their collector is off."""
    collectors: Sequence[CollectorRun]

    def total(self, status: str) -> int:
        """Return the number of backup runs in the chart with this outcome."""
        return sum(hour.counts[status] for hour in self.runs or ())


def panel_details(panel: PanelStore, health: PanelHealth, now: Now) -> PanelDetails:
    """Return the details of a panel."""
    log = panel.transaction_log
    log = log if log is not None and log.has_been_read else None
    first_hour = int(now.time // HOUR_SECONDS) - HOURS + 1
    known_from = None if log is None else log.known_from
    pending = panel.pending_transactions(now.monotonic)
    usages = health.backup_server_usage
    listed = panel.listed(BACKUP_SERVERS, now.monotonic)
    return PanelDetails(
        runs=None if log is None else _hours(log, first_hour),
        runs_known_from=known_from
        if known_from is not None and known_from > first_hour * HOUR_SECONDS
        else None,
        open=_oldest_first(row for rows in pending.values() for row in rows)
        if pending
        else None,
        backup_servers=[BackupServerRow(each, usages.get(each.id)) for each in listed]
        if BACKUP_SERVERS in panel.panel_lists
        else None,
        collectors=_collector_runs(panel),
    )


def server_transactions(
    panel: PanelStore, vm_id: int, now: Now
) -> list[Transaction] | None:
    """Return the last transactions of a server, newest first; None: unknown.

    They are all pending and running ones, and the last few that ended.
    """
    log = panel.transaction_log
    if log is None or not log.has_been_read:
        return None
    pending = panel.pending_transactions(now.monotonic).values()
    own = [row for rows in pending for row in rows if row.vm_id == vm_id]
    return _oldest_first([*panel.ended_transactions.get(vm_id, ()), *own])[::-1]


def _hours(log: TransactionLog, first_hour: int) -> list[HourOfRuns]:
    return [
        HourOfRuns(
            hour * HOUR_SECONDS,
            {
                status: log.runs_by_hour.get((hour, status), 0)
                for status in FINAL_STATUSES
            },
        )
        for hour in range(first_hour, first_hour + HOURS)
    ]


def _oldest_first(rows: Iterable[Transaction]) -> list[Transaction]:
    return sorted(rows, key=lambda row: (row.created_at or 0.0, row.id))


def _collector_runs(panel: PanelStore) -> list[CollectorRun]:
    failing = [entry for entry in panel.servers.values() if entry.failing]
    errors = {
        INVENTORY: None if panel.inventory_succeeded else panel.last_error,
        BACKUPS: _newest(entry.last_error for entry in failing),
    }
    for (collector, _), error in sorted(panel.collector_errors.items()):
        errors[collector] = _newest((errors.get(collector), error))
    return [
        CollectorRun(
            name,
            outcome,
            panel.runs_ended_at.get(name),
            panel.durations.get(name),
            errors.get(name),
        )
        for name, outcome in panel.collectors_succeeded().items()
    ]


def _newest(errors: Iterable[LastError | None]) -> LastError | None:
    known = (error for error in errors if error is not None)
    return max(known, key=lambda error: error.at, default=None)
