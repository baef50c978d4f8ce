"""The backup transactions of a panel: the pending ones, and counts of ended ones.

The panel lists its log newest first, sometimes cleans it, and may restart it with lower
IDs. Each transaction is counted once, when it is first seen in a final status, but not
if it was final at the first read of the log. A transaction that ends before its server
is known is deferred for a while. Memory is bounded whatever the panel sends. Times are
monotonic seconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable, KeysView, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from operator import attrgetter

import msgspec

from .entities import Transaction

BACKUP_RUN_ACTIONS = ("take_backup", "take_incremental_backup")
RESTORE_ACTIONS = ("restore_backup", "restore_incremental_backup")
ACTIONS = (
    *BACKUP_RUN_ACTIONS,
    *RESTORE_ACTIONS,
    "convert_backup",
    "destroy_backup",
)
"""All actions on backups."""
COMPLETE, FAILED, CANCELLED = "complete", "failed", "cancelled"
FINAL_STATUSES = (COMPLETE, FAILED, CANCELLED)
PENDING_STATUSES = ("pending", "running")

HOUR_SECONDS = 3600
_KEPT_HOURS = 25
_MAX_KNOWN_IDS = 2_000
_MAX_OPEN = 10_000
_MAX_RESTORED = 10_000
_MAX_UNOWNED = 1_000
"""Maximum of open, and of deferred, transactions of servers that are not monitored."""


def failed_backups(rows: Iterable[Transaction]) -> tuple[Transaction, ...]:
    """Return the backup runs that failed or were cancelled."""
    return tuple(
        row
        for row in rows
        if row.action in BACKUP_RUN_ACTIONS and row.status in (FAILED, CANCELLED)
    )


@dataclass(frozen=True, slots=True)
class LogExcerpt:
    """The transactions returned by one read of the log, by ID."""

    head: Mapping[int, Transaction]
    """The newest transactions, back to those of the last read."""
    looked_up: Mapping[int, Transaction | None] = field(default_factory=dict)
    """Open ones that ``head`` lacks; None: the panel did not return it."""


@dataclass(frozen=True, slots=True)
class LogChanges:
    """What changed with one read of the log."""

    changed_servers: tuple[int, ...]
    """Servers with a transaction that started or ended."""
    ended: tuple[Transaction, ...]
    """Transactions that count here and ended, or had ended at the first read."""


@dataclass(frozen=True, slots=True)
class _Tracked:
    """A transaction as it was last read."""

    row: Transaction
    counted: bool
    """Whether it counts here; if deferred, whether it will once its server is known."""
    expires_at: float
    """Monotonic time until which it may be shown, or is kept if deferred."""


def _ended_at(row: Transaction, time: float, *, first_read: bool) -> float:
    """Return when a row reached its final status.

    If the panel does not report that time, it is the time of this read.
    """
    return row.updated_at or (row.created_at if first_read else time) or 0.0


@dataclass(slots=True)
class TransactionLog:
    """State of the log after all reads so far."""

    counts: dict[tuple[str, str], int] = field(
        default_factory=lambda: dict.fromkeys(product(ACTIONS, FINAL_STATUSES), 0)
    )
    """Number of ended transactions, by action and final status."""
    last_ended_at: dict[str, float] = field(default_factory=dict)
    """Unix time when a transaction of any server last ended, by action."""
    last_restores: dict[int, Transaction] = field(default_factory=dict)
    """The newest completed restore of each server by ``vm_id``, as far as the log was
    read. Its ``updated_at`` is always set."""
    runs_by_hour: dict[tuple[int, str], int] = field(default_factory=dict)
    """Number of backup runs that ended in the last day, by Unix hour and final
    status."""
    known_from: float | None = None
    """Unix time of the oldest row of the first read; None: no row had a date."""
    has_been_read: bool = False
    refused: bool = False
    """Whether the last read was refused."""
    older_unread: bool = False
    """Whether servers' own logs may have older transactions, and can be read."""
    searched_servers: set[int] = field(default_factory=set)
    """Servers whose own log was read, or need not be read."""
    _open: dict[int, _Tracked] = field(default_factory=dict)
    """Transactions of all servers without a final status; first the one not seen for
    longest."""
    _expires_at: float = 0.0
    """Monotonic time until which the last read may be shown."""
    _deferred: dict[int, _Tracked] = field(default_factory=dict)
    _created_at_by_id: dict[int, float | None] = field(default_factory=dict)
    """Creation times of the newest transactions, by ID."""
    _lowest_known_id: int = 0
    """Lower IDs belong to older transactions."""
    _latest_created_at: float = 0.0

    def copy(self) -> TransactionLog:
        """Return a copy that later updates do not change."""
        return replace(
            self,
            counts=self.counts.copy(),
            last_ended_at=self.last_ended_at.copy(),
            last_restores=self.last_restores.copy(),
            runs_by_hour=self.runs_by_hour.copy(),
            searched_servers=self.searched_servers.copy(),
            _open=self._open.copy(),
        )

    def knows_failures(self, vm_id: int) -> bool:
        """Return whether all failures of a server that can be found are known."""
        searched = not self.older_unread or vm_id in self.searched_servers
        return self.refused or (self.has_been_read and searched)

    def reaches_known(self, rows: Iterable[Transaction]) -> bool:
        """Return whether rows, newest first, reach back to those of the last read."""
        return self.has_been_read and not all(map(self._is_new, rows))

    @property
    def open_ids(self) -> KeysView[int]:
        """The IDs of all open transactions."""
        return self._open.keys()

    def unlisted(self, rows: Container[int]) -> list[int]:
        """Return the IDs of open transactions that are not in ``rows``.

        Counted transactions come first, and of these the one not seen for longest.
        """
        unlisted = (number for number in self._open if number not in rows)
        return sorted(unlisted, key=lambda number: not self._open[number].counted)

    def postpone(self, number: int) -> None:
        """Move an open transaction that cannot be read behind all others."""
        self._open[number] = self._open.pop(number)

    def update(
        self,
        excerpt: LogExcerpt,
        owns: Callable[[int | None], bool],
        *,
        now: float,
        time: float,
        expires_at: float,
    ) -> LogChanges:
        """Update the log with the result of one read, at the Unix time ``time``.

        ``owns`` returns whether a server's transactions are counted here. After
        ``expires_at`` this read is too old to be shown, and the transactions that it
        deferred are dropped.
        """
        first_read = not self.has_been_read
        ended = self._pop_owned(owns, now)
        changed_servers: dict[int, None] = {}
        for number, found in excerpt.looked_up.items():
            if found is None or not self._was_open(found):
                self._open.pop(number, None)  # its outcome is unknown
        for row in self._relevant_rows(excerpt):
            was_open = self._open.pop(row.id, None) is not None
            owned, final = owns(row.vm_id), row.status in FINAL_STATUSES
            if owned and row.vm_id is not None and (final or not was_open):
                changed_servers[row.vm_id] = None
            if not final:
                self._open[row.id] = _Tracked(row, owned, expires_at)
                continue
            ended_at = _ended_at(row, time, first_read=first_read)
            newest = max(self.last_ended_at.get(row.action, 0.0), ended_at)
            self.last_ended_at[row.action] = newest
            self._record_restore(row, seen_at=None if first_read else time)
            transaction = _Tracked(row, not first_read, expires_at)
            if owned:
                ended.append(transaction)
            else:
                self._defer(transaction)
        for each in ended:
            self.counts[each.row.action, each.row.status] += each.counted
        self._count_runs((each.row for each in ended), time, first_read=first_read)
        self._update_owned(owns)
        self._remember_head(excerpt.head)
        self.has_been_read, self._expires_at = True, expires_at
        return LogChanges(
            changed_servers=() if first_read else tuple(changed_servers),
            ended=tuple(each.row for each in ended),
        )

    def pending(
        self, now: float, *, of_all_servers: bool = False
    ) -> dict[str, list[Transaction]]:
        """Return the pending and running transactions by action; empty if unknown.

        Transactions not seen for long are left out: they may have ended.
        """
        if now > self._expires_at:
            return {}
        pending: dict[str, list[Transaction]] = {action: [] for action in ACTIONS}
        for each in self._open.values():
            shown = each.row.status in PENDING_STATUSES and now <= each.expires_at
            if shown and (of_all_servers or each.counted):
                pending[each.row.action].append(each.row)
        return pending

    def _record_restore(self, row: Transaction, seen_at: float | None) -> None:
        """Keep an ended transaction if it is the last restore of its server."""
        completed = row.action in RESTORE_ACTIONS and row.status == COMPLETE
        ended_at = row.updated_at or seen_at
        if not completed or row.vm_id is None or ended_at is None:
            return
        known = self.last_restores.get(row.vm_id)
        if known is None or (known.updated_at or 0.0) <= ended_at:
            ended = msgspec.structs.replace(row, updated_at=ended_at)
            self.last_restores[row.vm_id] = ended
        if len(self.last_restores) > _MAX_RESTORED:
            del self.last_restores[next(iter(self.last_restores))]

    def _count_runs(
        self, rows: Iterable[Transaction], time: float, *, first_read: bool
    ) -> None:
        oldest_kept = int(time // HOUR_SECONDS) - _KEPT_HOURS
        counts = Counter(
            {key: n for key, n in self.runs_by_hour.items() if key[0] > oldest_kept}
        )
        for row in rows:
            ended_at = min(_ended_at(row, time, first_read=first_read), time)
            hour = int(ended_at // HOUR_SECONDS)
            if row.action in BACKUP_RUN_ACTIONS and hour > oldest_kept:
                counts[hour, row.status] += 1
        self.runs_by_hour = dict(counts)

    def _defer(self, transaction: _Tracked) -> None:
        """Keep an ended transaction in case its server is found soon."""
        if transaction.row.vm_id is not None:
            self._deferred[transaction.row.id] = transaction
        if len(self._deferred) > _MAX_UNOWNED:
            del self._deferred[next(iter(self._deferred))]

    def _pop_owned(
        self, owns: Callable[[int | None], bool], now: float
    ) -> list[_Tracked]:
        """Remove and return deferred transactions whose server has been found."""
        deferred = [each for each in self._deferred.values() if now <= each.expires_at]
        owned = [each for each in deferred if owns(each.row.vm_id)]
        unowned = (each for each in deferred if not owns(each.row.vm_id))
        self._deferred = {each.row.id: each for each in unowned}
        return owned

    def _relevant_rows(self, excerpt: LogExcerpt) -> list[Transaction]:
        """Return the backup transactions that are new or were open, oldest first."""
        looked_up = (row for row in excerpt.looked_up.values() if row is not None)
        rows = [row for row in looked_up if self._was_open(row)]
        head = excerpt.head.values()
        rows += (row for row in head if self._was_open(row) or self._is_new(row))
        rows.sort(key=attrgetter("id"))
        return [row for row in rows if row.action in ACTIONS]

    def _was_open(self, row: Transaction) -> bool:
        before = self._open.get(row.id)
        return before is not None and before.row.created_at in (None, row.created_at)

    def _is_new(self, row: Transaction) -> bool:
        """Return whether a row was added to the log since the last read."""
        if not self.has_been_read:
            return True
        later = row.created_at is not None and row.created_at > self._latest_created_at
        if row.id in self._created_at_by_id:
            before = self._created_at_by_id[row.id]
            return later and before is not None and row.created_at != before
        # A lower ID is old, unless the log was restarted.
        return later or row.id > self._lowest_known_id

    def _update_owned(self, owns: Callable[[int | None], bool]) -> None:
        """Update which open transactions count; drop the oldest if too many."""
        for number, each in self._open.items():
            owned = owns(each.row.vm_id)
            if owned != each.counted:
                self._open[number] = replace(each, counted=owned)
        unowned = [number for number, each in self._open.items() if not each.counted]
        for number in sorted(unowned, reverse=True)[_MAX_UNOWNED:]:
            del self._open[number]
        for number in sorted(self._open, reverse=True)[_MAX_OPEN:]:
            del self._open[number]

    def _remember_head(self, head: Mapping[int, Transaction]) -> None:
        highest = max(self._created_at_by_id, default=0)
        if head and max(head) < highest and any(map(self._is_new, head.values())):
            self._created_at_by_id = {}  # the log was restarted
        known = self._created_at_by_id | {
            row.id: row.created_at for row in head.values()
        }
        kept_ids = sorted(known)[-_MAX_KNOWN_IDS:]
        self._created_at_by_id = {number: known[number] for number in kept_ids}
        self._lowest_known_id = kept_ids[0] if kept_ids else 0
        created_at = [row.created_at for row in head.values() if row.created_at]
        self._latest_created_at = max([self._latest_created_at, *created_at])
        if not self.has_been_read:
            self.known_from = min(created_at, default=None)
