"""The ``/metrics`` that are expected of a simulated world, derived from its rows.

An oracle that shares no code with the exporter: each family is computed here again,
from the rows that the panel keeps and from its own log of transactions.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from exporter.demo.cloud.rows import Backup, Schedule, Server, Target
from exporter.demo.cloud.simulation import SimulatedCloud

ACTIONS = (
    "take_backup",
    "take_incremental_backup",
    "restore_backup",
    "restore_incremental_backup",
    "convert_backup",
    "destroy_backup",
)
STATUSES = ("complete", "failed", "cancelled")
COLLECTORS = (
    "inventory",
    "backups",
    "schedules",
    "transactions",
    "backup_servers",
    "recovery_points",
)
DAYS = {"days": 1, "weeks": 7, "months": 31, "years": 366}
DAY = 86_400.0
KIB = 1024.0
GIB = 1024.0**3

LAST_FAILED = "onapp_target_last_failed_timestamp_seconds"
"""The row of a failed backup may be gone before it is read: see ``ExpectedMetrics``."""
PENDING = "onapp_target_oldest_pending_timestamp_seconds"
"""It depends on which failures are known."""


class Series(NamedTuple):
    """The name of a series."""

    family: str
    labels: tuple[tuple[str, str], ...]
    """Sorted by name."""


def series(family: str, **labels: object) -> Series:
    """Return the name of a series."""
    return Series(family, tuple(sorted((k, str(v)) for k, v in labels.items())))


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
            if row.status in STATUSES:
                self.ended[row.id] = EndedTransaction(
                    row.action,
                    row.status,
                    row.associated_object_id,
                    row.parent_id,
                    row.updated_at,
                )

    def clean(self, before: float) -> None:
        """Remove old transactions from the panel's log."""
        self.update()
        self.world.delete_old_transactions(before)


@dataclass(eq=False)
class ExpectedMetrics:
    """The expected metrics of one panel at the moment."""

    name: str
    world: SimulatedCloud
    transactions: EndedTransactions
    selected: frozenset[int] | None = None
    """The servers that are monitored; None: all."""
    interval_seconds: float = 900.0

    @property
    def servers(self) -> list[Server]:
        """Return the servers that are monitored."""
        rows = self.world.servers.values()
        return [row for row in rows if self.selected is None or row.id in self.selected]

    def samples(self, now: float) -> dict[Series, float]:
        """Return every sample that the world determines, for a scrape at ``now``."""
        self.transactions.update()
        found: dict[Series, float] = {}
        for family, labels, value in self._all_samples(now):
            if value is not None:
                found[series(family, panel=self.name, **labels)] = float(value)
        return found

    def failed_at(self, vm_id: int) -> set[float]:
        """Return when backups of a server failed."""
        return {row.at for row in self._failed() if row.server_id == vm_id}

    def known_failures(self) -> dict[Series, float]:
        """Return the last failure of each target whose row is still listed."""
        found: dict[Series, float] = {}
        for server in self.servers:
            rows = {row.id: row for row in self.world.backups_of(server.id)}
            for ended in self._failed():
                row = rows.get(ended.backup_id or 0)
                if row is not None:
                    labels = {"vm_id": server.id, **_target(row.target)}
                    name = series(LAST_FAILED, panel=self.name, **labels)
                    found[name] = max(found.get(name, 0.0), ended.at)
        return found

    def pending(self, known: Mapping[Series, float]) -> dict[Series, float]:
        """Return since when a backup of each target runs, given known failures."""
        found: dict[Series, float] = {}
        for server in self.servers:
            for target in self._targets(server):
                labels = {"vm_id": server.id, **_target(target)}
                name = series(LAST_FAILED, panel=self.name, **labels)
                rows = self.world.backups_of(server.id)
                mine = [row for row in rows if row.target == target]
                last = max(_good(mine), key=_finished, default=None)
                moments = [
                    row.created_at
                    for row in mine
                    if not (row.built or row.marked_for_delete)
                    and row.created_at > known.get(name, 0.0)
                    and (last is None or row.created_at >= last.created_at)
                ]
                if moments:
                    found[series(PENDING, panel=self.name, **labels)] = min(moments)
        return found

    def _failed(self) -> Iterator[EndedTransaction]:
        for row in self.transactions.ended.values():
            if row.status == "failed" and row.action.startswith("take_"):
                yield row

    def _all_samples(self, now: float) -> Iterator[_Sample]:
        yield from self._of_panel()
        yield from self._of_transactions()
        yield from self._of_backup_servers()
        for server in self.servers:
            yield from self._of_server(server)
            yield from self._of_backups(server, now)
            for target in sorted(self._targets(server)):
                yield from self._of_target(server, target)
            for schedule in self.world.schedules_of(server.id):
                yield from _of_schedule(server, schedule)

    def _of_panel(self) -> Iterator[_Sample]:
        yield "onapp_up", {}, 1
        yield "onapp_poll_lag_seconds", {}, 0
        yield "onapp_poll_interval_seconds", {}, self.interval_seconds
        yield "onapp_panel_virtual_machines", {}, len(self.servers)
        for collector in COLLECTORS:
            yield "onapp_collector_success", {"collector": collector}, 1

    def _of_transactions(self) -> Iterator[_Sample]:
        ids = {server.id for server in self.servers}
        mine = [
            row
            for number, row in self.transactions.ended.items()
            if number not in self.transactions.ended_before
            and (self.selected is None or row.server_id in ids)
        ]
        counts = Counter((row.action, row.status) for row in mine)
        open_ = [
            row
            for row in self.world.transactions.values()
            if row.status in ("pending", "running")
            and (self.selected is None or row.associated_object_id in ids)
        ]
        for action in ACTIONS:
            for status in STATUSES:
                labels = {"action": action, "status": status}
                yield "onapp_transactions_total", labels, counts[action, status]
            since = [row.created_at for row in open_ if row.action == action]
            yield "onapp_transactions_pending", {"action": action}, len(since)
            family = "onapp_transactions_oldest_pending_timestamp_seconds"
            yield family, {"action": action}, min(since, default=None)

    def _of_backup_servers(self) -> Iterator[_Sample]:
        held: dict[str, list[Backup]] = defaultdict(list)
        for number in self.world.backup_servers:
            held[str(number)] = []
        for server in self.servers:
            for row in self.world.backups_of(server.id):
                held[str(row.backup_server_id or "none")].append(row)
        for backup_server, rows in held.items():
            labels = {"backup_server_id": backup_server}
            yield "onapp_backup_server_backups", labels, len(rows)
            yield "onapp_backup_server_used_bytes", labels, sum(map(_bytes, rows))
        for store in self.world.backup_servers.values():
            labels = {"backup_server_id": str(store.id)}
            yield "onapp_backup_server_info", {**labels, "label": store.label}, 1
            yield "onapp_backup_server_enabled", labels, store.enabled
            capacity = store.capacity_gb * GIB
            yield "onapp_backup_server_capacity_bytes", labels, capacity

    def _of_server(self, server: Server) -> Iterator[_Sample]:
        labels = {"vm_id": server.id}
        described = ("identifier", "label", "hostname", "user_id", "hypervisor_id")
        info = {name: getattr(server, name) for name in described}
        disks = self.world.disks_of(server.id)
        required = self.world.schedules_of(server.id) or any(
            disk.has_autobackups for disk in disks
        )
        yield "onapp_vm_info", {**labels, **info}, 1
        yield "onapp_vm_created_timestamp_seconds", labels, server.created_at
        yield "onapp_vm_suspended", labels, server.suspended
        yield "onapp_vm_backup_required", labels, bool(required)
        yield "onapp_vm_poll_success", labels, 1
        last = max(self.failed_at(server.id), default=None)
        yield "onapp_vm_last_failed_backup_timestamp_seconds", labels, last

    def _of_backups(self, server: Server, now: float) -> Iterator[_Sample]:
        world = self.world
        labels = {"vm_id": server.id}
        rows = world.backups_of(server.id)
        counted = [row for row in rows if not row.marked_for_delete]
        built = sum(row.built for row in counted)
        sizes = [row.size_kib * KIB for row in rows if row.size_kib is not None]
        points = world.recovery_points_of(server.id)
        moments = [row.built_at for row in _good(rows) if row.built_at is not None]
        moments += [row.created_at for row in points if row.state == "built"]
        yield "onapp_vm_backups", {**labels, "state": "built"}, built
        yield "onapp_vm_backups", {**labels, "state": "unbuilt"}, len(counted) - built
        total = sum(sizes) if sizes or not rows else None
        yield "onapp_vm_backup_size_bytes", labels, total
        last = max(moments, default=None)
        yield "onapp_vm_last_success_timestamp_seconds", labels, last
        for row in rows:
            yield from _of_backup(row, now)
        for point in points:
            where = {**labels, "recovery_point_id": point.id}
            yield "onapp_recovery_point_size_bytes", where, point.size_bytes
            yield "onapp_recovery_point_built", where, point.state == "built"
            family = "onapp_recovery_point_created_timestamp_seconds"
            yield family, where, point.created_at

    def _targets(self, server: Server) -> set[Target]:
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
        good = [r for r in _good(rows) if r.target_type == "VirtualMachine"]
        whole = [r.built_at or 0.0 for r in good]
        disks = [r.built_at or r.created_at for r in rows if r.target_type == "Disk"]
        return max(whole, default=0.0) > max(disks, default=0.0)

    def _of_target(self, server: Server, target: Target) -> Iterator[_Sample]:
        labels = {"vm_id": server.id, **_target(target)}
        rows = [r for r in self.world.backups_of(server.id) if r.target == target]
        counted = [row for row in rows if not row.marked_for_delete]
        waiting = [row.created_at for row in counted if not row.built]
        built = len(counted) - len(waiting)
        yield "onapp_target_backups", {**labels, "state": "built"}, built
        yield "onapp_target_backups", {**labels, "state": "unbuilt"}, len(waiting)
        locked = sum(row.locked for row in rows)
        yield "onapp_target_locked_backups", labels, locked
        marked = len(rows) - len(counted)
        yield "onapp_target_marked_for_delete_backups", labels, marked
        family = "onapp_target_oldest_unbuilt_timestamp_seconds"
        yield family, labels, min(waiting, default=None)
        last = max(_good(rows), key=_finished, default=None)
        if last is not None and last.built_at is not None:
            family = "onapp_target_last_success_timestamp_seconds"
            yield family, labels, last.built_at
            yield "onapp_target_last_success_size_bytes", labels, _bytes(last)
            seconds = last.built_at - last.created_at
            yield "onapp_target_last_success_duration_seconds", labels, seconds
        expected = self._expected_seconds(server, target)
        yield "onapp_target_expected_interval_seconds", labels, expected
        family = "onapp_target_expected_interval_info"
        yield family, {**labels, "source": "schedule"}, expected and 1

    def _expected_seconds(self, server: Server, target: Target) -> float | None:
        exists = target.type != "Disk" or target.id in self.world.disks
        intervals = [
            _interval_seconds(schedule)
            for schedule in self.world.schedules_of(server.id)
            if schedule.status == "enabled" and schedule.target == target
        ]
        return min(intervals, default=None) if exists else None


_Sample = tuple[str, Mapping[str, object], float | None]


def _of_schedule(server: Server, row: Schedule) -> Iterator[_Sample]:
    labels: dict[str, object] = {"schedule_id": row.id}
    for status in ("enabled", "disabled", "failed"):
        where = {**labels, "status": status}
        yield "onapp_schedule_status", where, row.status == status
    info = {"vm_id": server.id, **_target(row.target), "period": row.period}
    yield "onapp_schedule_info", {**labels, **info}, 1
    yield "onapp_schedule_failures", labels, row.failure_count
    yield "onapp_schedule_interval_seconds", labels, _interval_seconds(row)
    start = row.start_at if row.status == "enabled" else None
    yield "onapp_schedule_next_start_timestamp_seconds", labels, start


def _of_backup(row: Backup, now: float) -> Iterator[_Sample]:
    labels: dict[str, object] = {"vm_id": row.server_id, "backup_id": row.id}
    described = ("identifier", "backup_type", "initiated", "target_type", "target_id")
    info = {name: getattr(row, name) for name in described}
    info["backup_server_id"] = row.backup_server_id or "none"
    size = None if row.size_kib is None else _bytes(row)
    built_at = row.built_at if row.built else None
    yield "onapp_backup_info", {**labels, **info}, 1
    yield "onapp_backup_size_bytes", labels, size
    yield "onapp_backup_built", labels, row.built
    yield "onapp_backup_locked", labels, row.locked
    yield "onapp_backup_marked_for_delete", labels, row.marked_for_delete
    yield "onapp_backup_created_timestamp_seconds", labels, row.created_at
    yield "onapp_backup_built_timestamp_seconds", labels, built_at
    age = None if built_at is None else now - built_at
    yield "onapp_backup_age_seconds", labels, age


def _target(target: Target) -> dict[str, object]:
    return {"target_type": target.type, "target_id": target.id}


def _good(rows: Iterable[Backup]) -> list[Backup]:
    return [row for row in rows if row.built and not row.marked_for_delete]


def _finished(row: Backup) -> tuple[float, int]:
    return row.built_at or 0.0, row.id


def _bytes(row: Backup) -> float:
    return (row.size_kib or 0) * KIB


def _interval_seconds(row: Schedule) -> float:
    return DAYS[row.period] * row.duration * DAY
