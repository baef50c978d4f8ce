"""The ``/metrics`` that are expected of a simulated world, and what differs from them.

An oracle that shares no code with the exporter: each family is computed here again,
from what is true of the world.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families
from truth import FINAL_STATUSES, GRACE, EndedTransactions, Truth, interval_seconds

from exporter.demo.cloud.rows import Backup, Schedule, Server, Target

ACTIONS = (
    "take_backup",
    "take_incremental_backup",
    "restore_backup",
    "restore_incremental_backup",
    "convert_backup",
    "destroy_backup",
)
COLLECTORS = (
    "inventory",
    "backups",
    "schedules",
    "transactions",
    "backup_servers",
    "recovery_points",
)
KIB = 1024.0
GIB = 1024.0**3

LAST_FAILED = "onapp_target_last_failed_timestamp_seconds"
"""The row of a failed backup may be gone before it is read: see ``known_failures``."""
PENDING = "onapp_target_oldest_pending_timestamp_seconds"
"""It depends on which failures are known."""
STATE_START = "onapp_state_start_timestamp_seconds"

NOT_IN_ROWS = {
    "onapp_panel_info",
    "onapp_panel_clock_skew_seconds",
    "onapp_inventory_last_success_timestamp_seconds",
    "onapp_vm_last_poll_success_timestamp_seconds",
    LAST_FAILED,
}
"""Not determined by rows: checked by other means."""
DEPENDS_ON_HISTORY = {
    "onapp_transactions_total",
    "onapp_vm_last_failed_backup_timestamp_seconds",
    PENDING,
    STATE_START,
}
"""What a new exporter cannot know, or what depends on that."""


_JUDGED = (
    *("onapp_vm_state", "onapp_vm_backup_in_time"),
    *("onapp_panel_servers", "onapp_panel_future_", "onapp_panel_credentials_"),
    *("onapp_panel_queue_", "onapp_collector_duration_", "onapp_target_schedules"),
    *("onapp_target_oldest_success_", "onapp_schedule_retention_"),
)
"""What the exporter judges or measures; the tests of states compare it."""


class Series(NamedTuple):
    """The name of a series."""

    family: str
    labels: tuple[tuple[str, str], ...]
    """Sorted by name."""


def series(family: str, **labels: object) -> Series:
    """Return the name of a series."""
    return Series(family, tuple(sorted((k, str(v)) for k, v in labels.items())))


@dataclass(eq=False)
class ExpectedMetrics:
    """The expected metrics of one panel at the moment."""

    name: str
    truth: Truth
    transactions: EndedTransactions
    interval_seconds: float = 900.0

    def samples(self, now: float) -> dict[Series, float]:
        """Return every sample that the world determines, for a scrape at ``now``."""
        self.transactions.update()
        found: dict[Series, float] = {}
        for family, labels, value in self._all_samples(now):
            if value is not None:
                found[series(family, panel=self.name, **labels)] = float(value)
        return found

    def known_failures(self) -> dict[Series, float]:
        """Return the last failure of each target whose row is still listed."""
        found: dict[Series, float] = {}
        for server in self.truth.servers:
            rows = {row.id: row for row in self.truth.world.backups_of(server.id)}
            for ended in self.transactions.failed_backups():
                row = rows.get(ended.backup_id or 0)
                if row is not None:
                    name = self._of_subject(LAST_FAILED, server, row.target)
                    found[name] = max(found.get(name, 0.0), ended.at)
        return found

    def pending(self, known: Mapping[Series, float]) -> dict[Series, float]:
        """Return since when a backup of each target runs, given known failures."""
        found: dict[Series, float] = {}
        for server in self.truth.servers:
            for target in self.truth.targets(server):
                failed = self._of_subject(LAST_FAILED, server, target)
                since = self.truth.pending_since(server, target, known.get(failed, 0.0))
                if since is not None:
                    found[self._of_subject(PENDING, server, target)] = since
        return found

    def state_starts(self, known: Mapping[Series, float]) -> dict[Series, float]:
        """Return from when on each target is in which state, given known failures.

        That is so while an exporter has seen no change of a schedule.
        """
        return {
            series(
                STATE_START,
                panel=self.name,
                vm_id=server.id,
                **_target(target),
                schedule_id="",
                state=state,
            ): at
            for server in self.truth.servers
            for target in self.truth.targets(server)
            for state, at in self.truth.state_starts(
                *(server, target),
                known.get(self._of_subject(LAST_FAILED, server, target), 0.0),
            ).items()
        }

    def _of_subject(self, family: str, server: Server, target: Target) -> Series:
        labels = {"vm_id": server.id, **_target(target)}
        return series(family, panel=self.name, **labels)

    def _all_samples(self, now: float) -> Iterator[_Sample]:
        yield from self._of_panel()
        yield from self._of_transactions()
        yield from self._of_backup_servers()
        for server in self.truth.servers:
            yield from self._of_server(server)
            yield from self._of_backups(server, now)
            for target in sorted(self.truth.targets(server)):
                yield from self._of_target(server, target)
            for schedule in self.truth.world.schedules_of(server.id):
                yield from _of_schedule(server, schedule)

    def _of_panel(self) -> Iterator[_Sample]:
        yield "onapp_up", {}, 1
        yield "onapp_poll_lag_seconds", {}, 0
        yield "onapp_poll_interval_seconds", {}, self.interval_seconds
        yield "onapp_panel_virtual_machines", {}, len(self.truth.servers)
        for collector in COLLECTORS:
            yield "onapp_collector_success", {"collector": collector}, 1

    def _of_transactions(self) -> Iterator[_Sample]:
        monitored = self.truth.is_monitored
        ended = Counter(
            (row.action, row.status)
            for row in self.transactions.since_start()
            if monitored(row.server_id)
        )
        open_ = [
            row
            for row in self.truth.world.transactions.values()
            if row.status in ("pending", "running")
            and monitored(row.associated_object_id)
        ]
        for action in ACTIONS:
            for status in FINAL_STATUSES:
                labels = {"action": action, "status": status}
                yield "onapp_transactions_total", labels, ended[action, status]
            since = [row.created_at for row in open_ if row.action == action]
            yield "onapp_transactions_pending", {"action": action}, len(since)
            family = "onapp_transactions_oldest_pending_timestamp_seconds"
            yield family, {"action": action}, min(since, default=None)

    def _of_backup_servers(self) -> Iterator[_Sample]:
        world = self.truth.world
        held: dict[str, list[Backup]] = defaultdict(list)
        for number in world.backup_servers:
            held[str(number)] = []
        for server in self.truth.servers:
            for row in world.backups_of(server.id):
                held[str(row.backup_server_id or "none")].append(row)
        for backup_server, rows in held.items():
            labels = {"backup_server_id": backup_server}
            yield "onapp_backup_server_backups", labels, len(rows)
            yield "onapp_backup_server_used_bytes", labels, sum(map(_bytes, rows))
        for store in world.backup_servers.values():
            labels = {"backup_server_id": str(store.id)}
            yield "onapp_backup_server_info", {**labels, "label": store.label}, 1
            yield "onapp_backup_server_enabled", labels, store.enabled
            capacity = store.capacity_gb * GIB
            yield "onapp_backup_server_capacity_bytes", labels, capacity

    def _of_server(self, server: Server) -> Iterator[_Sample]:
        labels = {"vm_id": server.id}
        described = ("identifier", "label", "hostname", "user_id", "hypervisor_id")
        info = {name: getattr(server, name) for name in described}
        yield "onapp_vm_info", {**labels, **info}, 1
        yield "onapp_vm_created_timestamp_seconds", labels, server.created_at
        yield "onapp_vm_suspended", labels, server.suspended
        yield "onapp_vm_backup_required", labels, self.truth.is_required(server)
        yield "onapp_vm_poll_success", labels, 1
        last = max(self.transactions.failed_at(server.id), default=None)
        yield "onapp_vm_last_failed_backup_timestamp_seconds", labels, last

    def _of_backups(self, server: Server, now: float) -> Iterator[_Sample]:
        labels = {"vm_id": server.id}
        rows = self.truth.world.backups_of(server.id)
        yield from _counts("onapp_vm_backups", labels, rows)
        sizes = [row.size_kib * KIB for row in rows if row.size_kib is not None]
        total = sum(sizes) if sizes or not rows else None
        yield "onapp_vm_backup_size_bytes", labels, total
        last = self.truth.last_success_at(server)
        yield "onapp_vm_last_success_timestamp_seconds", labels, last
        for row in rows:
            yield from _of_backup(row, now)
        for point in self.truth.world.recovery_points_of(server.id):
            where = {**labels, "recovery_point_id": point.id}
            yield "onapp_recovery_point_size_bytes", where, point.size_bytes
            yield "onapp_recovery_point_built", where, point.state == "built"
            family = "onapp_recovery_point_created_timestamp_seconds"
            yield family, where, point.created_at

    def _of_target(self, server: Server, target: Target) -> Iterator[_Sample]:
        labels = {"vm_id": server.id, **_target(target)}
        rows = self.truth.backups(server, target)
        yield from _counts("onapp_target_backups", labels, rows)
        locked = sum(row.locked for row in rows)
        yield "onapp_target_locked_backups", labels, locked
        marked = sum(row.marked_for_delete for row in rows)
        yield "onapp_target_marked_for_delete_backups", labels, marked
        family = "onapp_target_oldest_unbuilt_timestamp_seconds"
        unbuilt = [r.created_at for r in rows if not (r.built or r.marked_for_delete)]
        yield family, labels, min(unbuilt, default=None)
        last = self.truth.last_success(server, target)
        if last is not None and last.built_at is not None:
            family = "onapp_target_last_success_timestamp_seconds"
            yield family, labels, last.built_at
            yield "onapp_target_last_success_size_bytes", labels, _bytes(last)
            seconds = last.built_at - last.created_at
            yield "onapp_target_last_success_duration_seconds", labels, seconds
        expected = self.truth.expected_seconds(server, target)
        yield "onapp_target_expected_interval_seconds", labels, expected
        family = "onapp_target_expected_interval_info"
        yield family, {**labels, "source": "schedule"}, expected and 1


_Sample = tuple[str, Mapping[str, object], float | None]


def _counts(
    family: str, labels: Mapping[str, object], rows: list[Backup]
) -> Iterator[_Sample]:
    built = Counter(row.built for row in rows if not row.marked_for_delete)
    yield family, {**labels, "state": "built"}, built[True]
    yield family, {**labels, "state": "unbuilt"}, built[False]


def _of_schedule(server: Server, row: Schedule) -> Iterator[_Sample]:
    labels: dict[str, object] = {"schedule_id": row.id}
    for status in ("enabled", "disabled", "failed"):
        where = {**labels, "status": status}
        yield "onapp_schedule_status", where, row.status == status
    info = {"vm_id": server.id, **_target(row.target), "period": row.period}
    yield "onapp_schedule_info", {**labels, **info}, 1
    yield "onapp_schedule_failures", labels, row.failure_count
    yield "onapp_schedule_interval_seconds", labels, interval_seconds(row)
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


def _bytes(row: Backup) -> float:
    return (row.size_kib or 0) * KIB


def panel_samples(text: str) -> dict[Series, float]:
    """Return a scrape's samples about panels, without the exporter's own metrics."""
    return {
        series(
            sample.name, **{k: v for k, v in sample.labels.items() if k != "shard"}
        ): sample.value
        for metric in text_string_to_metric_families(text)
        for sample in metric.samples
        if sample.name.startswith("onapp_")
        and not sample.name.startswith(("onapp_api_", "onapp_exporter_", *_JUDGED))
        and (sample.name != STATE_START or sample.labels["state"] in GRACE)
    }


def differences(
    found: dict[Series, float],
    expectations: list[ExpectedMetrics],
    now: float,
    *,
    changed: bool = False,
) -> list[str]:
    """Return where a scrape differs from the simulated worlds.

    Where the exporter has seen schedules ``changed``, states are not compared.
    """
    wanted: dict[Series, float] = {}
    wrong: list[str] = []
    failed = {name: at for name, at in found.items() if name.family == LAST_FAILED}
    for expected in expectations:
        wanted |= expected.samples(now) | expected.pending(failed)
        wanted |= expected.state_starts(failed)
        wrong += _poll_moments(found, expected, now)
        wrong += _failures(found, expected)
    skipped = NOT_IN_ROWS | ({STATE_START} if changed else set())
    return wrong + differing_samples(found, wanted, "the world", skipped)


def _poll_moments(
    found: dict[Series, float], expected: ExpectedMetrics, now: float
) -> list[str]:
    """Return the servers and inventories that were not read in the last interval."""
    names = [
        series(
            "onapp_vm_last_poll_success_timestamp_seconds",
            panel=expected.name,
            vm_id=server.id,
        )
        for server in expected.truth.servers
    ]
    names.append(
        series("onapp_inventory_last_success_timestamp_seconds", panel=expected.name)
    )
    return [
        f"{name} is {found.get(name)} at {now}"
        for name in names
        if not now - expected.interval_seconds <= found.get(name, 0.0) <= now
    ]


def _failures(found: dict[Series, float], expected: ExpectedMetrics) -> list[str]:
    """Return failures that are missing, and failures that never happened."""
    must = expected.known_failures()
    wrong = [
        f"{name} is {found.get(name)}, not {at}"
        for name, at in must.items()
        if found.get(name, 0.0) < at
    ]
    for name, at in found.items():
        labels = dict(name.labels)
        mine = name.family == LAST_FAILED and labels["panel"] == expected.name
        if mine and at not in expected.transactions.failed_at(int(labels["vm_id"])):
            wrong.append(f"{name} is {at}: nothing failed then")
    return wrong


def differing_samples(
    found: dict[Series, float],
    wanted: dict[Series, float],
    who: str,
    skipped: AbstractSet[str],
) -> list[str]:
    """Return the series in which two scrapes differ, but for these families.

    Of a target that is only found because a run of it has failed, whose row is gone,
    all is zero.
    """
    failed = {frozenset(name.labels) for name in found if name.family == LAST_FAILED}

    def is_of_failed(name: Series) -> bool:
        target = frozenset(label for label in name.labels if label[0] != "state")
        return name not in wanted and not found[name] and target in failed

    found = {n: v for n, v in found.items() if n.family not in skipped}
    found = {name: value for name, value in found.items() if not is_of_failed(name)}
    wanted = {n: v for n, v in wanted.items() if n.family not in skipped}
    return [
        f"{name.family}{dict(name.labels)} is {found.get(name)}, "
        f"by {who} {wanted.get(name)}"
        for name in sorted(found.keys() | wanted.keys())
        if found.get(name) != wanted.get(name)
    ]
