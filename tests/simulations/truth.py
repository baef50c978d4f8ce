"""What is true of a simulated world, by the rows of its panel and by its own log.

The one notion of the simulations, which shares no code with the exporter: alerts and
metrics that are expected of the exporter are derived from it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from exporter.demo.cloud.rows import Backup, LoggedEvent, Schedule, Server, Target
from exporter.demo.cloud.simulation import SimulatedCloud

_HOUR = 3600.0
_DAY = 24 * _HOUR
_PERIOD_DAYS = {"days": 1, "weeks": 7, "months": 31, "years": 366}


class Grace(NamedTuple):
    """How long something lasts before it is a problem."""

    seconds: float
    intervals: float = 0.0
    """Of the target's own schedule, beside the seconds."""


GRACE = {
    "stale": Grace(3 * _HOUR, 1.5),
    "very_stale": Grace(3 * _HOUR, 2.5),
    "stuck": Grace(6 * _HOUR),
    "stuck_long": Grace(24 * _HOUR),
    "locked": Grace(3 * _DAY),
}
"""By state of a target: after its last success, the start of its run, its lock."""
FINAL_STATUSES = ("complete", "failed", "cancelled")


def interval_seconds(schedule: Schedule) -> float:
    """Return how long a schedule takes from one start to the next, at most."""
    return _PERIOD_DAYS[schedule.period] * schedule.duration * _DAY


def is_good(row: Backup) -> bool:
    """Return whether a backup is a restore point."""
    return row.built and not row.marked_for_delete


@dataclass(eq=False)
class Truth:
    """What the rows of a world say of its servers now."""

    world: SimulatedCloud
    selected: frozenset[int] | None = None
    """The servers that are monitored; None: all."""

    @property
    def servers(self) -> list[Server]:
        """Return the servers that are monitored."""
        rows = self.world.servers.values()
        return [row for row in rows if self.is_monitored(row.id)]

    def is_monitored(self, vm_id: int | None) -> bool:
        """Return whether what is of this server, or of none, counts."""
        selected, servers = self.selected, self.world.servers
        return selected is None or (vm_id in selected and vm_id in servers)

    def is_required(self, server: Server) -> bool:
        """Return whether a server must have backups."""
        disks = self.world.disks_of(server.id)
        scheduled = bool(self.world.schedules_of(server.id))
        return scheduled or any(disk.has_autobackups for disk in disks)

    def last_success_at(self, server: Server) -> float | None:
        """Return when the newest restore point was complete, those of plugins too."""
        rows = filter(is_good, self.world.backups_of(server.id))
        moments = [row.built_at for row in rows if row.built_at is not None]
        points = self.world.recovery_points_of(server.id)
        moments += [point.created_at for point in points if point.state == "built"]
        return max(moments, default=None)

    def backups(self, server: Server, target: Target) -> list[Backup]:
        """Return all rows of a target."""
        rows = self.world.backups_of(server.id)
        return [row for row in rows if row.target == target]

    def last_success(self, server: Server, target: Target) -> Backup | None:
        """Return the newest restore point of a target."""
        return max(
            filter(is_good, self.backups(server, target)),
            key=lambda row: (row.built_at or 0.0, row.id),
            default=None,
        )

    def expected_seconds(self, server: Server, target: Target) -> float | None:
        """Return the interval at which a backup of a target is expected."""
        if target.type == "Disk" and target.id not in self.world.disks:
            return None
        schedules = self.world.schedules_of(server.id)
        return min(
            (
                interval_seconds(schedule)
                for schedule in schedules
                if schedule.status == "enabled" and schedule.target == target
            ),
            default=None,
        )

    def pending_since(
        self, server: Server, target: Target, failed_at: float
    ) -> float | None:
        """Return since when a backup of a target runs, given its last known failure."""
        last = self.last_success(server, target)
        moments = (
            row.created_at
            for row in self.backups(server, target)
            if not (row.built or row.marked_for_delete)
            and row.created_at > failed_at
            and (last is None or row.created_at >= last.created_at)
        )
        return min(moments, default=None)

    def state_starts(
        self, server: Server, target: Target, failed_at: float
    ) -> dict[str, float]:
        """Return from when on a target is in which state, if nothing changes.

        What a look at the rows of now cannot tell, such as a schedule that was changed,
        is as if it had always been so.
        """
        last = self.last_success(server, target)
        interval = self.expected_seconds(server, target)
        pending = self.pending_since(server, target, failed_at)
        locked = [r.updated_at for r in self.backups(server, target) if r.locked]
        since = {
            "stale": last.built_at if last and interval else None,
            "stuck": pending,
            "locked": min(locked, default=None),
        }
        since |= {"very_stale": since["stale"], "stuck_long": pending}
        return {
            state: at + GRACE[state].seconds + GRACE[state].intervals * (interval or 0)
            for state, at in since.items()
            if at is not None
        }

    def targets(self, server: Server) -> set[Target]:
        """Return the targets that have backups, or should or could have some."""
        schedules = self.world.schedules_of(server.id)
        disks = self.world.disks_of(server.id)
        rows = {row.target for row in self.world.backups_of(server.id)}
        enabled = {s.target for s in schedules if s.status == "enabled"}
        found = rows | enabled
        on_disks = any(target.type == "Disk" for target in rows | enabled)
        on_disks |= any(schedule.target_type == "Disk" for schedule in schedules)
        on_disks |= any(disk.has_autobackups for disk in disks)
        still = any(target.type == "Disk" for target in enabled)
        if on_disks and (still or not self._is_whole_server_newest(server)):
            found |= {Target("Disk", disk.id) for disk in disks if not disk.is_swap}
        return found

    def _is_whole_server_newest(self, server: Server) -> bool:
        """Return whether a backup of the whole server is newer than any of a disk."""
        rows = self.world.backups_of(server.id)
        whole = [
            row.built_at or 0.0
            for row in filter(is_good, rows)
            if row.target_type == "VirtualMachine"
        ]
        disks = [r.built_at or r.created_at for r in rows if r.target_type == "Disk"]
        return max(whole, default=0.0) > max(disks, default=0.0)


class EndedTransaction(NamedTuple):
    """A transaction that has ended."""

    action: str
    status: str
    server_id: int | None
    backup_id: int | None
    at: float


@dataclass(eq=False)
class EndedTransactions:
    """Every transaction that ever ended, though the panel cleans its log."""

    world: SimulatedCloud
    ended_before: set[int] = field(init=False)
    """Those that had ended before the exporter started."""
    ended: dict[int, EndedTransaction] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Note what has ended so far."""
        self.update()
        self.ended_before = set(self.ended)

    def update(self) -> None:
        """Add what has ended since the last call."""
        for row in self.world.transactions.values():
            if row.status in FINAL_STATUSES:
                self.ended[row.id] = EndedTransaction(
                    row.action,
                    row.status,
                    row.associated_object_id,
                    row.parent_id,
                    row.updated_at,
                )

    def since_start(self) -> Iterator[EndedTransaction]:
        """Yield those that have ended since the exporter started."""
        for number, row in self.ended.items():
            if number not in self.ended_before:
                yield row

    def failed_backups(self) -> Iterator[EndedTransaction]:
        """Yield the backup runs that have failed."""
        for row in self.ended.values():
            if row.status == "failed" and row.action.startswith("take_"):
                yield row

    def failed_at(self, vm_id: int) -> set[float]:
        """Return when backups of a server failed."""
        return {row.at for row in self.failed_backups() if row.server_id == vm_id}

    def clean(self, before: float) -> None:
        """Remove old transactions from the panel's log."""
        self.update()
        self.world.delete_old_transactions(before)


_MOMENTS = {
    "backup queued": "queued",
    "backup finished": "finished",
    "backup failed": "failed",
    "start stalled": "stalled",
    "schedule failed": "given up",
}


@dataclass(eq=False)
class BackupHistory:
    """The history of one world's backups, by target, and by server."""

    _moments: dict[tuple[str, Target | int | None], list[float]] = field(
        default_factory=lambda: defaultdict(list)
    )
    _queued: dict[int, float] = field(default_factory=dict)
    _stuck: dict[Target, list[tuple[float, int]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    _queued_runs: list[tuple[float, Target, int]] = field(default_factory=list)
    _ends: list[float] = field(default_factory=list)

    @classmethod
    def of(cls, transaction_log: Iterable[LoggedEvent]) -> BackupHistory:
        """Return the history that a world's journal tells."""
        found = cls()
        for entry in transaction_log:
            if entry.target is None or entry.kind not in (*_MOMENTS, "backup stuck"):
                continue
            if entry.kind == "backup stuck":
                found._stuck[entry.target].append((entry.at, entry.row_id or 0))
                continue
            for subject in (entry.target, entry.server_id):
                found._moments[_MOMENTS[entry.kind], subject].append(entry.at)
            if entry.kind == "backup queued":
                found._queued[entry.row_id or 0] = entry.at
                found._queued_runs.append(
                    (entry.at, entry.target, entry.server_id or 0)
                )
            if entry.kind in ("backup finished", "backup failed"):
                found._ends.append(entry.at)
        return found

    def first(
        self, what: str, subject: Target | int | None, after: float
    ) -> float | None:
        """Return the first moment of a kind at or after another."""
        moments = self._moments[what, subject]
        index = bisect_left(moments, after)
        return moments[index] if index < len(moments) else None

    def last(self, what: str, target: Target, before: float) -> float | None:
        """Return the last moment of a kind at or before another."""
        moments = self._moments[what, target]
        index = bisect_right(moments, before)
        return moments[index - 1] if index else None

    def stuck_since(self, target: Target, after: float) -> float | None:
        """Return when the first backup that got stuck after a moment was queued."""
        for at, row_id in self._stuck[target]:
            if at >= after:
                return self._queued[row_id]
        return None

    def idle_since(self, moment: float) -> float | None:
        """Return since when backups wait in a queue that stands still.

        That is when the last one ended, or the first began to wait; with one alone it
        is not the queue that stands still.
        """
        waiting = [at for at, _, _ in self._queued_runs if at >= moment]
        if len(waiting) < 2:
            return None
        ended = [at for at in self._ends if moment <= at < moment + 6 * 3600]
        return max([moment, *ended[-1:], waiting[0], waiting[1] - 6 * 3600])

    def last_end_before(self, moment: float) -> float:
        """Return when the last backup run before a moment ended."""
        return max([at for at in self._ends if at <= moment], default=0.0)

    def queued_between(
        self, begins: float, ends: float
    ) -> Iterator[tuple[float, Target, int]]:
        """Yield moment, target and server of each backup queued in a period."""
        return (
            backup_run
            for backup_run in self._queued_runs
            if begins <= backup_run[0] < ends
        )
