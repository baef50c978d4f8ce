"""The last good data of each server, and their freshness.

The state of a server is one frozen value that is replaced as a whole, so a scrape never
sees a partial update. Freshness is computed from monotonic times; Unix times are for
display.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, fields, replace
from typing import Any

import msgspec

from ..errors import ExporterError, NotFound, RequestError
from .entities import (
    BACKUP_SERVERS,
    BACKUPS,
    DISK,
    DISKS,
    INVENTORY,
    RECOVERY_POINTS,
    SCHEDULES,
    Backup,
    BackupServerUsage,
    Disk,
    RecoveryPoint,
    Schedule,
    Server,
    Target,
    Transaction,
)
from .failed_backups import (
    FailedBackup,
    UnassignedFailures,
    newest_per_target,
    with_targets,
)
from .selection import Expectation
from .transaction_log import CANCELLED, TransactionLog


class LastError(msgspec.Struct, frozen=True):
    """An error with the text of its log message, which never contains a secret."""

    reason: str
    """The label ``reason`` of ``onapp_api_errors_total``; empty for other errors."""
    error: str
    hint: str
    """What to do about the error; may be empty."""
    at: float
    """Unix time."""
    since: float
    """Unix time of the first error since the last success."""

    @classmethod
    def of(
        cls, error: ExporterError, at: float, previous: LastError | None = None
    ) -> LastError:
        """Return an error as shown; nothing succeeded since the previous one."""
        reason = error.reason if isinstance(error, RequestError) else ""
        since = at if previous is None else previous.since
        return cls(reason, str(error), error.hint, at, since)


_KEPT_TRANSACTIONS = 8
"""Transactions kept per server: about 2 KB."""
_MAX_UNASSIGNED_FAILURES = 1_000
"""How many servers that are not monitored have their failures kept."""
NO_SERVER = 0
"""An ID that no server has."""


class ServerState(msgspec.Struct, frozen=True, gc=False):
    """The state of one server; the same object as long as nothing changes."""

    panel: str
    vm_id: int
    expectation: Expectation
    server: Server | None = None
    """None: not in the inventory (no permission, or not read yet)."""
    backups: tuple[Backup, ...] | None = None
    """None: never read."""
    schedules: tuple[Schedule, ...] | None = None
    """Schedules of the server and its disks; None: unknown."""
    disks: tuple[Disk, ...] | None = None
    """None: unknown."""
    recovery_points: tuple[RecoveryPoint, ...] | None = None
    """None: unknown, or the collector is off."""
    failed_backups: tuple[FailedBackup, ...] = ()
    partial: frozenset[str] = frozenset()
    """Names of the lists above that may lack rows."""
    schedules_refused: bool = False
    """Whether schedules cannot be read, due to permissions or configuration."""
    last_schedules: tuple[Schedule, ...] | None = None
    """The last schedules read, even if they cannot be read any more; None: never."""
    last_disks: tuple[Disk, ...] | None = None
    """The last complete list of disks, even if it cannot be read any more; None:
    never."""
    first_read_at: float | None = None
    """When this process first read the server's backups."""
    resumed_at: float | None = None
    """When this process saw the end of a suspension."""
    interval_shortened_at: float | None = None
    """When a reload shortened the configured interval."""

    @property
    def created_at(self) -> float | None:
        """When the server was created; None: unknown."""
        return None if self.server is None else self.server.created_at

    @property
    def suspended(self) -> bool | None:
        """Whether the server is suspended; None: unknown."""
        return None if self.server is None else self.server.suspended

    @property
    def complete_disks(self) -> tuple[Disk, ...] | None:
        """The disks; None if there may be others."""
        # Every server has disks: an empty list means that the role may not see them.
        return None if DISKS in self.partial else self.disks or None

    def is_deleted_disk(self, target: Target) -> bool:
        """Return whether a target is a disk that no longer exists.

        While the list cannot be read, the last complete one decides.
        """
        disks = self.last_disks if self.disks is None else self.complete_disks
        if target.type != DISK or disks is None:
            return False
        return all(disk.id != target.id for disk in disks)


class TargetDays(msgspec.Struct, frozen=True, gc=False):
    """The remembered last days of one target."""

    target: Target
    outcomes: bytes
    """One of the numbers of ``recent_days`` per day, the oldest day first."""
    start_at: float | None = None
    """Unix time of a scheduled start that has passed without a visible run."""


class RecentDays(msgspec.Struct, frozen=True, gc=False):
    """The remembered last days of all targets of a server."""

    seen: ServerState
    """The last state that they were computed from."""
    until: float
    """Unix time before which only a different state changes them."""
    day: int
    """The number of the last day, in UTC."""
    targets: tuple[TargetDays, ...]


class ServerEntry(msgspec.Struct, frozen=True, gc=False):
    """The state of a server, and the outcome of the last reads of its backups."""

    state: ServerState
    failing: bool | None = None
    """Whether the last read failed; None: not tried yet."""
    read_at: float | None = None
    """Unix time of the last successful read."""
    read_at_monotonic: float | None = None
    schedules_read_at: float | None = None
    """Unix time when the server's own list of schedules was last read."""
    backup_server_usage: tuple[BackupServerUsage, ...] = ()
    last_error: LastError | None = None
    """The last failed read; kept when later reads succeed."""
    days: RecentDays | None = None
    """None: nothing is remembered yet."""

    @property
    def not_found(self) -> bool:
        """Whether the panel answered the last read with HTTP 404."""
        error = self.last_error if self.failing else None
        return error is not None and error.reason == NotFound.reason


class PanelList(msgspec.Struct, frozen=True):
    """The last read of a panel-wide list."""

    values: tuple[Any, ...] = ()
    until: float = 0.0
    """Monotonic time until which it is fresh."""


@dataclass(slots=True)
class PanelStore:
    """The state of one panel and its servers; only its poller writes it."""

    name: str
    url: str
    interval_seconds: float
    max_age_seconds: float
    longest_silence_seconds: float
    """The panel is down after this long without an authenticated answer."""
    shard: str = "0"
    """The number of this process among those that share the panel's servers."""
    recovery_points_enabled: bool = False
    servers: dict[int, ServerEntry] = field(default_factory=dict)
    """The monitored servers, by ``vm_id``."""
    unresolved: tuple[str, ...] = ()
    """Configured identifiers whose server is unknown."""
    look_up_errors: dict[str, LastError] = field(default_factory=dict)
    """Errors of looking up configured servers, by numeric ID or identifier."""
    version: str | None = None
    reachable: bool | None = None
    """Whether the last contact with the panel succeeded; None: no contact yet."""
    last_error: LastError | None = None
    """Why the panel cannot be read; None: it can, or was not contacted yet."""
    last_proven_at_monotonic: float | None = None
    """When the panel last answered an authenticated request."""
    polled_at_monotonic: float | None = None
    """When the poll loop last ran; requests may have been sent until then."""
    credentials_refused: bool | None = None
    """Whether HTTP 401 was confirmed and no answer has proven the credentials since."""
    credentials_refused_at: float | None = None
    """Unix time when the last refusal began."""
    skew_seconds: float | None = None
    """The panel's clock minus the local one."""
    future_rows: int = 0
    """Number of rows in the last answers with a date after the panel's clock."""
    servers_listed: int | None = None
    """The number of servers in the inventory, after include and exclude."""
    inventory_answered: bool | None = None
    """Whether the last read of the inventory returned at least a part of it."""
    inventory_succeeded: bool | None = None
    """Whether the last read returned the whole inventory."""
    inventory_read_at: float | None = None
    """Unix time of the last complete read."""
    missing: dict[int, bool] = field(default_factory=dict)
    """Servers that the last complete inventory did not list, and whether it or the one
    before listed others: an empty inventory is no reason to remove a server."""
    outcomes: dict[tuple[str, str], bool] = field(default_factory=dict)
    """Whether the last run succeeded, by collector and part; without the inventory."""
    durations: dict[str, float] = field(default_factory=dict)
    """Duration of the last run in seconds, by collector."""
    runs_ended_at: dict[str, float] = field(default_factory=dict)
    """Unix time when the last run ended, by collector."""
    collector_errors: dict[tuple[str, str], LastError] = field(default_factory=dict)
    """Errors of failed last runs, by collector and part as in ``outcomes``."""
    schedules_read_at: float | None = None
    """Unix time when the panel-wide list of schedules was last read."""
    schedules_refused: bool = False
    """Whether schedules are refused for all servers, or switched off."""
    schedules_ever_read: bool = False
    """Whether this process has read any list of schedules."""
    unassigned_schedules: ServerState | None = None
    """Schedules whose server is unknown, as the state of a server NO_SERVER."""
    panel_lists: dict[str, PanelList] = field(default_factory=dict)
    """Panel-wide lists that are only shown, by collector; only if it is enabled."""
    transaction_log: TransactionLog | None = None
    """None: the transactions collector is off."""
    unassigned_failures: dict[int, UnassignedFailures] = field(default_factory=dict)
    """Failures of servers that are not monitored yet or no longer, by ``vm_id``."""
    ended_transactions: dict[int, tuple[Transaction, ...]] = field(default_factory=dict)
    """The last ended transactions of each server by ``vm_id``, the newest last."""
    overdue_since_monotonic: float | None = None
    """Due time of the server that is due first, perhaps in the past; None: no
    server."""
    next_request_monotonic: float | None = None
    """When the next request is due; None: polling has not started."""
    first_pass_ended: bool = False

    def copy(self) -> PanelStore:
        """Return a copy that later updates do not change."""
        return replace(
            self,
            servers=self.servers.copy(),
            look_up_errors=self.look_up_errors.copy(),
            panel_lists=self.panel_lists.copy(),
            outcomes=self.outcomes.copy(),
            durations=self.durations.copy(),
            runs_ended_at=self.runs_ended_at.copy(),
            collector_errors=self.collector_errors.copy(),
            transaction_log=self.transaction_log and self.transaction_log.copy(),
            ended_transactions=self.ended_transactions.copy(),
        )

    def up(self) -> bool | None:
        """Return whether the panel answers; None before the first contact.

        A poll loop that hangs sends no requests, so it does not make the panel count as
        down.
        """
        if not self.reachable:
            return self.reachable
        if self.inventory_answered is False:
            return False
        polled_at = self.polled_at_monotonic or 0.0
        silence = polled_at - (self.last_proven_at_monotonic or polled_at)
        return silence <= self.longest_silence_seconds

    def is_fresh(self, entry: ServerEntry, monotonic: float) -> bool:
        """Return whether a server's backups are recent enough to be shown."""
        read_at = entry.read_at_monotonic
        return read_at is not None and monotonic - read_at <= self.max_age_seconds

    def backups_succeeded(self) -> bool | None:
        """Return whether the last reads of all servers succeeded; None before any."""
        outcomes = {entry.failing for entry in self.servers.values()} - {None}
        if self.unresolved or True in outcomes:
            return False
        return True if outcomes else None

    def collectors_succeeded(self) -> dict[str, bool | None]:
        """Return whether the last runs of all parts succeeded, by collector.

        The value of inventory and backups is None before the first run.
        """
        succeeded = {
            INVENTORY: self.inventory_succeeded,
            BACKUPS: self.backups_succeeded(),
        }
        for (collector, _), outcome in sorted(self.outcomes.items()):
            succeeded[collector] = succeeded.get(collector, True) and outcome
        return succeeded

    def listed(self, name: str, monotonic: float) -> tuple[Any, ...]:
        """Return the rows of a panel-wide list; empty if it is too old."""
        known = self.panel_lists.get(name, PanelList())
        return known.values if monotonic <= known.until else ()

    def backup_server_usage(
        self, monotonic: float
    ) -> dict[int | None, BackupServerUsage]:
        """Return the usage of each backup server by all servers with fresh data."""
        if BACKUP_SERVERS not in self.panel_lists:
            return {}
        listed = self.listed(BACKUP_SERVERS, monotonic) if self.first_pass_ended else ()
        counts: dict[int | None, list[int]] = {server.id: [0, 0] for server in listed}
        for entry in self.servers.values():
            if self.is_fresh(entry, monotonic):
                for usage in entry.backup_server_usage:
                    count = counts.setdefault(usage.backup_server_id, [0, 0])
                    count[0] += usage.backup_count
                    count[1] += usage.size_bytes
        return {
            number: BackupServerUsage(number, *count)
            for number, count in counts.items()
        }

    def pending_transactions(self, monotonic: float) -> dict[str, list[Transaction]]:
        """Return the pending and running transactions by action; empty if unknown."""
        return (
            {}
            if self.transaction_log is None
            else self.transaction_log.pending(monotonic)
        )

    def server_schedules_read_at(self, entry: ServerEntry) -> float | None:
        """Return when a server's schedules were last read (Unix time), by any list."""
        times = (self.schedules_read_at, entry.schedules_read_at)
        return max((time for time in times if time is not None), default=None)

    def last_restore(self, vm_id: int) -> Transaction | None:
        """Return a server's last completed restore, if the log shows one."""
        log, entry = self.transaction_log, self.servers.get(vm_id)
        restore = None if log is None else log.last_restores.get(vm_id)
        if restore is None or entry is None:
            return None
        # An earlier one belongs to a previous server with the same ID.
        restored_at = restore.created_at or restore.updated_at or 0.0
        return restore if restored_at >= (entry.state.created_at or 0.0) else None

    def register_server(
        self,
        vm_id: int,
        server: Server | None,
        expectation: Expectation,
        *,
        time: float | None = None,
    ) -> None:
        """Add a server, or update its inventory data and expectation."""
        entry = self.servers.get(vm_id)
        if entry is None:
            kept = self.unassigned_failures.pop(vm_id, UnassignedFailures())
            created_at = (server and server.created_at) or 0.0
            failures = tuple(f for f in kept.failures if f.failed_at >= created_at)
            state = ServerState(
                self.name,
                vm_id,
                expectation,
                server,
                failed_backups=failures,
                partial=self._unread_lists(),
                schedules_refused=self.schedules_refused,
            )
            self.servers[vm_id] = ServerEntry(state)
            return
        state = entry.state
        if server is not None and server.suspended is None:
            server = msgspec.structs.replace(server, suspended=state.suspended)
        resumed = (
            server is not None and server.suspended is False and bool(state.suspended)
        )
        # An interval that only now becomes known was not shortened.
        became_known = state.server is None and server is not None
        shortened = not became_known and expectation.is_shorter_than(
            state.expectation, _scheduled_seconds(state)
        )
        self._change(
            vm_id,
            server=server,
            expectation=expectation,
            resumed_at=time if resumed else state.resumed_at,
            interval_shortened_at=time if shortened else state.interval_shortened_at,
        )

    def _change(self, vm_id: int, **fields_of_state: Any) -> None:
        """Set fields of a server's state; the object stays the same if none changes."""
        entry = self.servers[vm_id]
        changes = {
            name: value
            for name, value in fields_of_state.items()
            if getattr(entry.state, name) != value
        }
        if changes:
            state = msgspec.structs.replace(entry.state, **changes)
            self.servers[vm_id] = msgspec.structs.replace(entry, state=state)

    def record_backups(
        self, vm_id: int, backups: tuple[Backup, ...], *, time: float, monotonic: float
    ) -> None:
        """Store the backups of a server after a successful read."""
        entry = self.servers[vm_id]
        state, usage = entry.state, entry.backup_server_usage
        if state.backups != backups:
            usage = summarize_usage(backups)
            first_read_at = time if state.first_read_at is None else state.first_read_at
            state = msgspec.structs.replace(
                state,
                backups=backups,
                first_read_at=first_read_at,
                failed_backups=with_targets(
                    state.failed_backups, state.backups, backups
                ),
            )
        self.servers[vm_id] = (
            ServerEntry(  # by position, for speed: this runs on every read
                state,
                False,  # noqa: FBT003
                time,
                monotonic,
                entry.schedules_read_at,
                usage,
                entry.last_error,
                entry.days,
            )
        )

    def update(
        self, vm_id: int, name: str, values: Any | None, *, partial: bool = False
    ) -> None:
        """Set a list of a server, which is a field of ServerState; None: unknown.

        A partial list may lack rows; if it is empty, the list is unknown.
        """
        entry = self.servers.get(vm_id)
        if entry is None:
            return  # removed while the request was in flight
        state = entry.state
        if name == DISKS and values:
            values = _dated_disks(values, state.last_disks, entry.read_at)
        values = None if partial and not values else values
        partial = (partial and values is not None) or (
            values is None and name in self._unread_lists()
        )
        changes = {name: values}
        if name == SCHEDULES and values is not None:
            changes["last_schedules"] = values
        elif name == DISKS and values and not partial:
            changes["last_disks"] = values
        partial_lists = state.partial | {name} if partial else state.partial - {name}
        self._change(vm_id, **changes, partial=partial_lists)

    def is_other_server(self, vm_id: int, before: ServerEntry | None) -> bool:
        """Return whether a server was removed, or its ID reused for another one."""
        entry = self.servers.get(vm_id)
        if entry is None:
            return True
        old = None if before is None else before.state.server
        new = entry.state.server
        return old is not None and new is not None and new.is_other_than(old)

    def known_server(self, vm_id: int) -> Server | None:
        """Return the inventory data of a server that is monitored or was excluded."""
        entry = self.servers.get(vm_id)
        if entry is not None:
            return entry.state.server
        return self.unassigned_failures.get(vm_id, UnassignedFailures()).server

    def record_transaction(self, transaction: Transaction) -> None:
        """Keep an ended transaction among the last ones of its server."""
        vm_id = transaction.vm_id
        if vm_id is not None and vm_id in self.servers:
            known = self.ended_transactions.get(vm_id, ())
            self.ended_transactions[vm_id] = (*known, transaction)[-_KEPT_TRANSACTIONS:]

    def record_failed_backup(self, transaction: Transaction) -> None:
        """Record a failed or cancelled run; its server may be found later."""
        failed_at = (
            transaction.created_at
            if transaction.updated_at is None
            else transaction.updated_at
        )
        if failed_at is None or transaction.vm_id is None:
            return
        cancelled = transaction.status == CANCELLED
        failure = FailedBackup(transaction.backup_id, failed_at, cancelled=cancelled)
        entry = self.servers.get(transaction.vm_id)
        if entry is not None:
            state = entry.state
            failures = newest_per_target(
                with_targets((*state.failed_backups, failure), state.backups),
                state.backups or (),
            )
            self._change(transaction.vm_id, failed_backups=failures)
            return
        kept = self.unassigned_failures.get(transaction.vm_id, UnassignedFailures())
        self._keep_unassigned(transaction.vm_id, (*kept.failures, failure), kept.server)

    def _keep_unassigned(
        self, vm_id: int, failures: tuple[FailedBackup, ...], server: Server | None
    ) -> None:
        self.unassigned_failures.pop(vm_id, None)
        newest = newest_per_target(failures)
        self.unassigned_failures[vm_id] = UnassignedFailures(newest, server)
        while len(self.unassigned_failures) > _MAX_UNASSIGNED_FAILURES:
            del self.unassigned_failures[next(iter(self.unassigned_failures))]

    def record_failure(self, vm_id: int, last_error: LastError | None = None) -> None:
        """Record a failed read of a server; its last good data are kept.

        Without ``last_error`` the cause is unknown, and the previous error is kept.
        """
        entry = self.servers[vm_id]
        self.servers[vm_id] = msgspec.structs.replace(
            entry, failing=True, last_error=last_error or entry.last_error
        )

    def record_schedules(
        self,
        vm_id: int,
        schedules: tuple[Schedule, ...],
        time: float,
        *,
        partial: bool = False,
        own_list: bool = False,
    ) -> None:
        """Store the schedules of a server, read at a Unix time.

        With ``own_list`` they come from the server's own list, otherwise from the
        panel-wide one.
        """
        entry = self.servers.get(vm_id)
        if entry is None:
            return
        if own_list:
            self.servers[vm_id] = msgspec.structs.replace(entry, schedules_read_at=time)
        state = entry.state
        before = {schedule.id: schedule for schedule in state.last_schedules or ()}
        if own_list and state.last_schedules is not None:
            self._drop_schedules({s.id for s in schedules} - before.keys())
        followed = tuple(
            schedule.since(before.get(schedule.id), state.first_read_at, time)
            for schedule in schedules
        )
        self.update(vm_id, SCHEDULES, followed, partial=partial)
        if not self.schedules_ever_read:
            self.schedules_ever_read = True
            self.set_schedules_refused(refused=False)

    def _drop_schedules(self, ids: AbstractSet[int]) -> None:
        """Remove schedules from other servers after they moved with their disk."""
        for vm_id, entry in tuple(self.servers.items()) if ids else ():
            state = entry.state
            rest = tuple(s for s in state.schedules or () if s.id not in ids)
            if len(rest) < len(state.schedules or ()):
                partial = SCHEDULES in state.partial
                self.update(vm_id, SCHEDULES, rest, partial=partial)

    def set_schedules_refused(
        self, vm_id: int | None = None, *, refused: bool = True
    ) -> None:
        """Set whether schedules are refused for a server; ``vm_id`` None: for all."""
        if refused and self.schedules_ever_read:
            return  # a guess does not replace known schedules
        if vm_id is None:
            self.schedules_refused = refused
        for number in tuple(self.servers) if vm_id is None else (vm_id,):
            self._change(number, schedules_refused=refused)

    def _unread_lists(self) -> frozenset[str]:
        """Return the names of lists that may have rows before they are read."""
        return frozenset({RECOVERY_POINTS} if self.recovery_points_enabled else ())

    def exclude(self, vm_id: int) -> None:
        """Remove a server that may be included again; its failures are kept."""
        state = self.servers.pop(vm_id).state
        self.ended_transactions.pop(vm_id, None)
        if state.failed_backups:
            self._keep_unassigned(vm_id, state.failed_backups, state.server)

    def forget(self, vm_id: int) -> None:
        """Remove a server that is gone, including its data from the log."""
        self.servers.pop(vm_id, None)
        self.unassigned_failures.pop(vm_id, None)
        self.ended_transactions.pop(vm_id, None)
        if self.transaction_log is not None:
            self.transaction_log.last_restores.pop(vm_id, None)

    def take_over(self, other: PanelStore) -> None:
        """Continue from another store of the same panel, but keep the own settings."""
        own_log = self.transaction_log
        for each in fields(self):
            if each.name not in _RESET_FIELDS:
                setattr(self, each.name, getattr(other, each.name))
        self.transaction_log = self.transaction_log or own_log


_RESET_FIELDS = (
    *("name", "url", "interval_seconds", "max_age_seconds", "longest_silence_seconds"),
    *("shard", "recovery_points_enabled", "unresolved", "look_up_errors"),
    *("future_rows", "overdue_since_monotonic", "next_request_monotonic"),
    "first_pass_ended",
)
"""Fields that a reload sets again: settings, and what a poller plans."""


def _scheduled_seconds(state: ServerState) -> float | None:
    """Return the shortest interval of a server's enabled schedules."""
    enabled = (each for each in state.last_schedules or () if each.enabled)
    intervals = (each.interval_seconds for each in enabled)
    return min((seconds for seconds in intervals if seconds is not None), default=None)


def _dated_disks(
    disks: tuple[Disk, ...], before: tuple[Disk, ...] | None, time: float | None
) -> tuple[Disk, ...]:
    """Return the disks; those without a creation date get the time they appeared.

    Not every panel reports when a disk was created.
    """
    if before is None:
        return disks
    dates = {disk.id: disk.created_at for disk in before}
    return tuple(
        disk
        if disk.created_at is not None
        else msgspec.structs.replace(disk, created_at=dates.get(disk.id, time))
        for disk in disks
    )


@dataclass(slots=True, eq=False)
class Store:
    """The stores of all panels, in the order of the configuration."""

    panels: dict[str, PanelStore] = field(default_factory=dict)
    _ready: bool = False

    def ready(self) -> bool:
        """Return whether the first pass of every panel has ended, successfully or not.

        Once true it stays true, even if a reload adds a panel.
        """
        ended = [panel.first_pass_ended for panel in self.panels.values()]
        self._ready = self._ready or (bool(ended) and all(ended))
        return self._ready

    def replace(self, panels: dict[str, PanelStore]) -> None:
        """Replace all panels after a reload."""
        self.ready()  # a panel that was ready before stays ready
        self.panels = panels


def summarize_usage(backups: Iterable[Backup]) -> tuple[BackupServerUsage, ...]:
    """Return the usage of each backup server by the backups of one server."""
    counts: dict[int | None, list[int]] = {}
    for backup in backups:
        count = counts.setdefault(backup.backup_server_id, [0, 0])
        count[0] += 1
        count[1] += backup.size_bytes or 0
    return tuple(BackupServerUsage(number, *count) for number, count in counts.items())
