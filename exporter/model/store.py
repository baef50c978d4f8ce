"""The last good reading of each server, and how fresh it is.

What is known of a server is one frozen value, replaced whole: no scrape sees half of
it. ``monotonic`` moments decide on freshness, Unix moments are shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from ..errors import ExporterError, PanelError
from .entities import (
    Backups,
    BackupServer,
    BackupServerUsage,
    Disk,
    RecoveryPoint,
    Schedule,
    Server,
    Transaction,
)
from .failed_backups import FailedBackup, newest_per_target, with_targets
from .packed import PackedBackups
from .selection import Expectation
from .transaction_log import TransactionLog


class LastError(msgspec.Struct, frozen=True):
    """An error in the words of the log, which never quote a secret."""

    reason: str
    """As in ``onapp_api_errors_total``."""
    error: str
    hint: str
    """What to do about it; may be empty."""
    at: float
    """Unix time."""

    @classmethod
    def of(cls, error: ExporterError, at: float, hint: str = "") -> LastError:
        """Describe an error; ``hint`` where the place knows better."""
        reason = error.reason if isinstance(error, PanelError) else ""
        return cls(reason, str(error), hint or error.hint, at)


_MAX_UNASSIGNED_FAILURES = 1_000
NO_SERVER = 0
"""The number of no server."""


class ServerState(msgspec.Struct, frozen=True, gc=False):
    """What is known of one server; the same object as long as nothing changes."""

    panel: str
    vm_id: int
    expectation: Expectation
    server: Server | None = None
    """None: the inventory does not tell (no permission, or not read yet)."""
    backups: Backups | None = None
    """None: never read."""
    schedules: tuple[Schedule, ...] | None = None
    """Of the server and its disks; None: cannot be read."""
    disks: tuple[Disk, ...] | None = None
    """None: cannot be read."""
    recovery_points: tuple[RecoveryPoint, ...] | None = None
    """None: cannot or shall not be read."""
    failed_backups: tuple[FailedBackup, ...] = ()
    partial: frozenset[str] = frozenset()
    """Which of these lists may lack rows: what is not in one may exist."""


class ServerEntry(msgspec.Struct, frozen=True, gc=False):
    """A server's knowledge, and how the reading of its backups goes."""

    state: ServerState
    failing: bool | None = None
    """Whether the last read failed; None: not tried yet."""
    read_at: float | None = None
    """Unix time of the last read that succeeded."""
    read_at_monotonic: float | None = None
    backup_server_usage: tuple[BackupServerUsage, ...] = ()
    """Where its backups are."""
    last_error: LastError | None = None
    """Why a read last failed; kept when later ones succeed."""


@dataclass(slots=True)
class PanelStore:
    """What is known of one panel; written by its poller only."""

    name: str
    url: str
    interval_seconds: float
    max_age_seconds: float
    longest_silence_seconds: float
    """Without an authenticated answer for so long, the panel is down."""
    servers: dict[int, ServerEntry] = field(default_factory=dict)
    unresolved: tuple[str, ...] = ()
    """Configured identifiers that no server is known for."""
    look_up_errors: Mapping[str, LastError] = field(default_factory=dict)
    """Why configured servers could not be looked up, by number or identifier."""
    version: str | None = None
    reachable: bool | None = None
    """Whether the panel answered when last asked for itself; None: no contact yet."""
    last_error: LastError | None = None
    """Why the panel is lost; None: it is not, or nobody has asked yet."""
    last_proven_at_monotonic: float | None = None
    """When the panel last answered somebody whom it knows."""
    skew_seconds: float | None = None
    servers_listed: int | None = None
    """How many servers the whole inventory holds, after include and exclude."""
    inventory_answered: bool | None = None
    """Whether the last read of the inventory brought any of it."""
    inventory_succeeded: bool | None = None
    """Whether it brought all of it."""
    inventory_read_at: float | None = None
    outcomes: dict[tuple[str, str], bool] = field(default_factory=dict)
    """Whether the last run of each part of each further collector succeeded."""
    unassigned_schedules: ServerState | None = None
    """Schedules of which no server is known, as if they were NOBODY's."""
    backup_servers: tuple[BackupServer, ...] = ()
    backup_servers_until: float | None = None
    """Until when they may be shown (monotonic); None: they are not asked for."""
    transaction_log: TransactionLog | None = None
    """What became of transactions; None: they are not asked for."""
    unassigned_failures: dict[int, tuple[FailedBackup, ...]] = field(
        default_factory=dict
    )
    """Failed takes of servers that are not watched yet."""
    overdue_since_monotonic: float | None = None
    next_request_monotonic: float | None = None
    """When the panel is to be asked for something next; None: nobody has begun."""
    first_pass_ended: bool = False

    def copy(self) -> PanelStore:
        """Return the store as it is now: what the poller does later changes nothing."""
        servers, outcomes = self.servers.copy(), self.outcomes.copy()
        transaction_log = self.transaction_log and self.transaction_log.copy()
        return replace(
            self, servers=servers, outcomes=outcomes, transaction_log=transaction_log
        )

    def up(self, monotonic: float) -> bool | None:
        """Tell whether the panel answers; None before the first contact."""
        if not self.reachable:
            return self.reachable
        if self.inventory_answered is False:
            return False
        silence = monotonic - (self.last_proven_at_monotonic or monotonic)
        return silence <= self.longest_silence_seconds

    def is_fresh(self, entry: ServerEntry, monotonic: float) -> bool:
        """Tell whether a server's backups may still be shown."""
        read_at = entry.read_at_monotonic
        return read_at is not None and monotonic - read_at <= self.max_age_seconds

    def backups_succeeded(self) -> bool | None:
        """Tell whether every server's last read succeeded; None before the first."""
        outcomes = {entry.failing for entry in self.servers.values()} - {None}
        if self.unresolved or True in outcomes:
            return False
        return True if outcomes else None

    def collectors_succeeded(self) -> dict[str, bool]:
        """Tell of each further collector that has run whether all of it succeeded."""
        succeeded_by_collector: dict[str, bool] = {}
        for (collector, _), succeeded in sorted(self.outcomes.items()):
            succeeded_by_collector[collector] = (
                succeeded_by_collector.get(collector, True) and succeeded
            )
        return succeeded_by_collector

    def server_states(self) -> Iterator[ServerState]:
        """Yield what is known of each server, and of nobody."""
        for entry in self.servers.values():
            yield entry.state
        if self.unassigned_schedules is not None:
            yield self.unassigned_schedules

    def fresh_backup_servers(self, monotonic: float) -> tuple[BackupServer, ...]:
        """Return the backup servers, as long as what is known of them is fresh."""
        fresh = monotonic <= (self.backup_servers_until or 0.0)
        return self.backup_servers if fresh else ()

    def backup_server_usage(
        self, monotonic: float
    ) -> dict[int | None, BackupServerUsage]:
        """Add up what the servers' backups take on each backup server."""
        if self.backup_servers_until is None:
            return {}
        listed = self.fresh_backup_servers(monotonic) if self.first_pass_ended else ()
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
        """Return the transactions under way by action, if that is known freshly."""
        return (
            {}
            if self.transaction_log is None
            else self.transaction_log.pending(monotonic)
        )

    def register_server(
        self, vm_id: int, server: Server | None, expectation: Expectation
    ) -> None:
        """Begin to watch a server, or take in what the inventory now says of it."""
        entry = self.servers.get(vm_id)
        if entry is None:
            failures = self.unassigned_failures.pop(vm_id, ())
            state = ServerState(
                self.name, vm_id, expectation, server, failed_backups=failures
            )
            self.servers[vm_id] = ServerEntry(state)
            return
        state = entry.state
        if (state.server, state.expectation) != (server, expectation):
            state = msgspec.structs.replace(
                state, server=server, expectation=expectation
            )
            self.servers[vm_id] = msgspec.structs.replace(entry, state=state)

    def record_backups(
        self, vm_id: int, backups: PackedBackups, *, time: float, monotonic: float
    ) -> None:
        """Take in a server's backups."""
        entry = self.servers[vm_id]
        state = entry.state
        if state.backups != backups:
            state = msgspec.structs.replace(
                state,
                backups=backups,
                failed_backups=with_targets(
                    state.failed_backups, state.backups, backups
                ),
            )
        self.servers[vm_id] = (
            ServerEntry(  # fields by position: this runs once a request
                state,
                False,  # noqa: FBT003
                time,
                monotonic,
                backups.backup_server_usage,
                entry.last_error,
            )
        )

    def update(
        self, vm_id: int, name: str, values: Any | None, *, partial: bool = False
    ) -> None:
        """Take in what else was read of a server: a field of its ServerState.

        A partial list may lack rows; when it holds none, nothing is known.
        """
        entry = self.servers.get(vm_id)
        if entry is None:
            return  # gone while it was being read
        state = entry.state
        values = None if partial and not values else values
        partial = partial and values is not None
        if getattr(state, name) == values and (name in state.partial) == partial:
            return
        partial_lists = state.partial | {name} if partial else state.partial - {name}
        state = msgspec.structs.replace(state, **{name: values}, partial=partial_lists)
        self.servers[vm_id] = msgspec.structs.replace(entry, state=state)

    def record_failed_backup(self, transaction: Transaction) -> None:
        """Take in that the taking of a backup has failed."""
        failed_at = (
            transaction.created_at
            if transaction.updated_at is None
            else transaction.updated_at
        )
        if failed_at is None or transaction.vm_id is None:
            return
        failure = FailedBackup(transaction.backup_id, failed_at)
        entry = self.servers.get(transaction.vm_id)
        if entry is not None:
            state = entry.state
            failures = newest_per_target(
                with_targets((*state.failed_backups, failure), state.backups)
            )
            self.update(transaction.vm_id, "failed_backups", failures)
            return
        self.unassigned_failures[transaction.vm_id] = newest_per_target(
            (*self.unassigned_failures.pop(transaction.vm_id, ()), failure)
        )
        while len(self.unassigned_failures) > _MAX_UNASSIGNED_FAILURES:
            del self.unassigned_failures[next(iter(self.unassigned_failures))]

    def record_failure(self, vm_id: int, last_error: LastError | None = None) -> None:
        """Remember that a read failed, and why; the last good data stay."""
        entry = self.servers[vm_id]
        self.servers[vm_id] = msgspec.structs.replace(
            entry, failing=True, last_error=last_error
        )

    def forget(self, vm_id: int) -> None:
        """Drop a server that is gone."""
        del self.servers[vm_id]

    def take_over(self, other: PanelStore) -> None:
        """Begin with what another store knows of the same panel."""
        self.servers = other.servers
        self.unassigned_schedules = other.unassigned_schedules
        self.backup_servers = other.backup_servers
        self.backup_servers_until = other.backup_servers_until
        self.unassigned_failures = other.unassigned_failures
        self.outcomes = other.outcomes
        self.transaction_log = other.transaction_log or self.transaction_log
        self.version = other.version
        self.reachable = other.reachable
        self.last_error = other.last_error
        self.last_proven_at_monotonic = other.last_proven_at_monotonic
        self.skew_seconds = other.skew_seconds
        self.servers_listed = other.servers_listed
        self.inventory_answered = other.inventory_answered
        self.inventory_succeeded = other.inventory_succeeded
        self.inventory_read_at = other.inventory_read_at


@dataclass(slots=True, eq=False)
class Store:
    """Every panel's store, in the order of the configuration."""

    panels: dict[str, PanelStore] = field(default_factory=dict)
    _ready: bool = False

    def ready(self) -> bool:
        """Tell whether every panel's first pass has ended, well or badly.

        A panel that a reload adds later does not take it back.
        """
        ended = [panel.first_pass_ended for panel in self.panels.values()]
        self._ready = self._ready or (bool(ended) and all(ended))
        return self._ready

    def replace(self, panels: dict[str, PanelStore]) -> None:
        """Hold these panels from now on."""
        self.ready()  # what was ready before stays so, asked or not
        self.panels = panels
