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
from .failed_backups import FailedBackup, aimed, relevant
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


_STRAYS_KEPT = 1_000
NOBODY = 0
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
    failed_takes: tuple[FailedBackup, ...] = ()
    partial: frozenset[str] = frozenset()
    """Which of these lists may lack rows: what is not in one may exist."""


class ServerEntry(msgspec.Struct, frozen=True, gc=False):
    """A server's knowledge, and how the reading of its backups goes."""

    knowledge: ServerState
    failing: bool | None = None
    """Whether the last read failed; None: not tried yet."""
    read_at: float | None = None
    """Unix time of the last read that succeeded."""
    read_at_monotonic: float | None = None
    shares: tuple[BackupServerUsage, ...] = ()
    """Where its backups are."""
    trouble: LastError | None = None
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
    watches: dict[int, ServerEntry] = field(default_factory=dict)
    unresolved: tuple[str, ...] = ()
    """Configured identifiers that no server is known for."""
    look_up_troubles: Mapping[str, LastError] = field(default_factory=dict)
    """Why configured servers could not be looked up, by number or identifier."""
    version: str | None = None
    answering: bool | None = None
    """Whether the panel answered when last asked for itself; None: no contact yet."""
    trouble: LastError | None = None
    """Why the panel is lost; None: it is not, or nobody has asked yet."""
    heard_at_monotonic: float | None = None
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
    unclaimed: ServerState | None = None
    """Schedules of which no server is known, as if they were NOBODY's."""
    backup_servers: tuple[BackupServer, ...] = ()
    backup_servers_until: float | None = None
    """Until when they may be shown (monotonic); None: they are not asked for."""
    journal: TransactionLog | None = None
    """What became of transactions; None: they are not asked for."""
    strays: dict[int, tuple[FailedBackup, ...]] = field(default_factory=dict)
    """Failed takes of servers that are not watched yet."""
    overdue_since_monotonic: float | None = None
    next_request_monotonic: float | None = None
    """When the panel is to be asked for something next; None: nobody has begun."""
    first_pass_ended: bool = False

    def copy(self) -> PanelStore:
        """Return the store as it is now: what the poller does later changes nothing."""
        watches, outcomes = self.watches.copy(), self.outcomes.copy()
        journal = self.journal and self.journal.copy()
        return replace(self, watches=watches, outcomes=outcomes, journal=journal)

    def up(self, monotonic: float) -> bool | None:
        """Tell whether the panel answers; None before the first contact."""
        if not self.answering:
            return self.answering
        if self.inventory_answered is False:
            return False
        silence = monotonic - (self.heard_at_monotonic or monotonic)
        return silence <= self.longest_silence_seconds

    def fresh(self, watch: ServerEntry, monotonic: float) -> bool:
        """Tell whether a server's backups may still be shown."""
        read_at = watch.read_at_monotonic
        return read_at is not None and monotonic - read_at <= self.max_age_seconds

    def backups_succeeded(self) -> bool | None:
        """Tell whether every server's last read succeeded; None before the first."""
        outcomes = {watch.failing for watch in self.watches.values()} - {None}
        if self.unresolved or True in outcomes:
            return False
        return True if outcomes else None

    def collected(self) -> dict[str, bool]:
        """Tell of each further collector that has run whether all of it succeeded."""
        found: dict[str, bool] = {}
        for (collector, _), succeeded in sorted(self.outcomes.items()):
            found[collector] = found.get(collector, True) and succeeded
        return found

    def described(self) -> Iterator[ServerState]:
        """Yield what is known of each server, and of nobody."""
        for watch in self.watches.values():
            yield watch.knowledge
        if self.unclaimed is not None:
            yield self.unclaimed

    def known_backup_servers(self, monotonic: float) -> tuple[BackupServer, ...]:
        """Return the backup servers, as long as what is known of them is fresh."""
        known = monotonic <= (self.backup_servers_until or 0.0)
        return self.backup_servers if known else ()

    def shares(self, monotonic: float) -> dict[int | None, BackupServerUsage]:
        """Add up what the servers' backups take on each backup server."""
        if self.backup_servers_until is None:
            return {}
        listed = self.known_backup_servers(monotonic) if self.first_pass_ended else ()
        counts: dict[int | None, list[int]] = {server.id: [0, 0] for server in listed}
        for watch in self.watches.values():
            if self.fresh(watch, monotonic):
                for share in watch.shares:
                    count = counts.setdefault(share.backup_server_id, [0, 0])
                    count[0] += share.backups
                    count[1] += share.size_bytes
        return {
            number: BackupServerUsage(number, *count)
            for number, count in counts.items()
        }

    def pending(self, monotonic: float) -> dict[str, list[Transaction]]:
        """Return the transactions under way by action, if that is known freshly."""
        return {} if self.journal is None else self.journal.pending(monotonic)

    def watch(
        self, vm_id: int, server: Server | None, expectation: Expectation
    ) -> None:
        """Begin to watch a server, or take in what the inventory now says of it."""
        watch = self.watches.get(vm_id)
        if watch is None:
            failed = self.strays.pop(vm_id, ())
            known = ServerState(
                self.name, vm_id, expectation, server, failed_takes=failed
            )
            self.watches[vm_id] = ServerEntry(known)
            return
        known = watch.knowledge
        if (known.server, known.expectation) != (server, expectation):
            known = msgspec.structs.replace(
                known, server=server, expectation=expectation
            )
            self.watches[vm_id] = msgspec.structs.replace(watch, knowledge=known)

    def succeeded(
        self, vm_id: int, backups: PackedBackups, *, time: float, monotonic: float
    ) -> None:
        """Take in a server's backups."""
        watch = self.watches[vm_id]
        known = watch.knowledge
        if known.backups != backups:
            known = msgspec.structs.replace(
                known,
                backups=backups,
                failed_takes=aimed(known.failed_takes, known.backups, backups),
            )
        self.watches[vm_id] = (
            ServerEntry(  # fields by position: this runs once a request
                known,
                False,  # noqa: FBT003
                time,
                monotonic,
                backups.shares,
                watch.trouble,
            )
        )

    def learn(
        self, vm_id: int, name: str, values: Any | None, *, partial: bool = False
    ) -> None:
        """Take in what else was read of a server: a field of its ServerState.

        A partial list may lack rows; when it holds none, nothing is known.
        """
        watch = self.watches.get(vm_id)
        if watch is None:
            return  # gone while it was being read
        known = watch.knowledge
        values = None if partial and not values else values
        partial = partial and values is not None
        if getattr(known, name) == values and (name in known.partial) == partial:
            return
        lacking = known.partial | {name} if partial else known.partial - {name}
        known = msgspec.structs.replace(known, **{name: values}, partial=lacking)
        self.watches[vm_id] = msgspec.structs.replace(watch, knowledge=known)

    def take_failed(self, take: Transaction) -> None:
        """Take in that the taking of a backup has failed."""
        at = take.created_at if take.updated_at is None else take.updated_at
        if at is None or take.vm_id is None:
            return
        failed = FailedBackup(take.backup_id, at)
        watch = self.watches.get(take.vm_id)
        if watch is not None:
            known = watch.knowledge
            takes = relevant(aimed((*known.failed_takes, failed), known.backups))
            self.learn(take.vm_id, "failed_takes", takes)
            return
        self.strays[take.vm_id] = relevant((*self.strays.pop(take.vm_id, ()), failed))
        while len(self.strays) > _STRAYS_KEPT:
            del self.strays[next(iter(self.strays))]

    def failed(self, vm_id: int, trouble: LastError | None = None) -> None:
        """Remember that a read failed, and why; the last good data stay."""
        watch = self.watches[vm_id]
        self.watches[vm_id] = msgspec.structs.replace(
            watch, failing=True, trouble=trouble
        )

    def forget(self, vm_id: int) -> None:
        """Drop a server that is gone."""
        del self.watches[vm_id]

    def take_over(self, other: PanelStore) -> None:
        """Begin with what another store knows of the same panel."""
        self.watches = other.watches
        self.unclaimed = other.unclaimed
        self.backup_servers = other.backup_servers
        self.backup_servers_until = other.backup_servers_until
        self.strays = other.strays
        self.outcomes = other.outcomes
        self.journal = other.journal or self.journal
        self.version = other.version
        self.answering = other.answering
        self.trouble = other.trouble
        self.heard_at_monotonic = other.heard_at_monotonic
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
