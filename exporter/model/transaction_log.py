"""The backup transactions of a panel: which are pending, and how many have ended.

The panel lists its log newest first, cleans it at times, and may restart it with lower
ids. Each transaction is counted once, when it is first seen in a final status, but not
if it was final at the first read of the log. One that ends before its server is known
is deferred for a while. Memory is bounded whatever the panel sends. Times are
monotonic seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import product

from .entities import Transaction

BACKUP_RUN_ACTIONS = ("take_backup", "take_incremental_backup")
ACTIONS = (
    *BACKUP_RUN_ACTIONS,
    "restore_backup",
    "restore_incremental_backup",
    "convert_backup",
    "destroy_backup",
)
"""All actions on backups."""
FAILED, CANCELLED = "failed", "cancelled"
FINAL_STATUSES = ("complete", FAILED, CANCELLED)
PENDING_STATUSES = ("pending", "running")

_MAX_KNOWN_IDS = 2_000
_MAX_OPEN = 10_000
_MAX_UNOWNED = 1_000
"""Kept transactions of servers that are not monitored: open ones, and deferred ones."""


def failed_backups(rows: Iterable[Transaction]) -> tuple[Transaction, ...]:
    """Return the backup runs that failed or were cancelled."""
    return tuple(
        row
        for row in rows
        if row.action in BACKUP_RUN_ACTIONS and row.status in (FAILED, CANCELLED)
    )


@dataclass(frozen=True, slots=True)
class LogExcerpt:
    """The transactions that one read of the log returned, by id."""

    head: Mapping[int, Transaction]
    """The newest ones, back to those of the last read."""
    below_head: Mapping[int, Transaction]
    """From older pages, which were read to find open transactions."""
    absent: set[int]
    """Ids of open transactions that are certainly not in the log."""


@dataclass(frozen=True, slots=True)
class LogChanges:
    """What changed with one read of the log."""

    changed_servers: tuple[int, ...]
    """Servers with a transaction that started or ended."""
    failed_backups: tuple[Transaction, ...]
    """Backup runs that failed or were cancelled."""


@dataclass(frozen=True, slots=True)
class _Deferred:
    """A transaction as it was read; deferred if its server is not monitored yet."""

    row: Transaction
    counted: bool
    """Whether the counters include it, once its server is known."""
    expires_at: float


@dataclass(slots=True)
class TransactionLog:
    """What is known of the log from all reads so far."""

    counts: dict[tuple[str, str], int] = field(
        default_factory=lambda: dict.fromkeys(product(ACTIONS, FINAL_STATUSES), 0)
    )
    """Ended transactions, by action and final status."""
    last_ended_at: dict[str, float] = field(default_factory=dict)
    """Unix time when one of any server last ended, by action."""
    has_been_read: bool = False
    older_unread: bool = False
    """Whether older transactions may be in servers' own logs, which can be read."""
    searched_servers: set[int] = field(default_factory=set)
    """Servers whose own log was read, or need not be."""
    open_transactions: dict[int, Transaction] = field(default_factory=dict)
    """Those without a final status when last seen, of all servers, by id."""
    _open_expires_at: dict[int, float] = field(default_factory=dict)
    """Until when each open transaction may be shown as it was last seen."""
    _expires_at: float = 0.0
    """Until when the last read may be shown."""
    _deferred: dict[int, _Deferred] = field(default_factory=dict)
    _created_at_by_id: dict[int, float | None] = field(default_factory=dict)
    """The creation times of the newest transactions, by id."""
    _lowest_known_id: int = 0
    """Lower ids belong to older transactions."""
    _latest_created_at: float = 0.0
    _missing_once: set[int] = field(default_factory=set)
    """Open transactions that were absent when they were last looked for."""
    _counted_open: set[int] = field(default_factory=set)
    """The open transactions of monitored servers, as of the last read."""

    def copy(self) -> TransactionLog:
        """Return a copy to show, which later updates do not change."""
        return replace(
            self,
            counts=self.counts.copy(),
            last_ended_at=self.last_ended_at.copy(),
            open_transactions=self.open_transactions.copy(),
            _open_expires_at=self._open_expires_at.copy(),
            _counted_open=self._counted_open.copy(),
        )

    def reaches_known(self, rows: Iterable[Transaction]) -> bool:
        """Return whether rows, newest first, reach back to those of the last read."""
        return self.has_been_read and not all(map(self._is_new, rows))

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
        ``expires_at`` this read is too old to be shown, and transactions that it
        deferred are dropped.
        """
        first_read = not self.has_been_read
        ended = self._pop_owned(owns, now)
        changed_servers: dict[int, None] = {}
        for row in self._relevant_rows(excerpt.head, excerpt.below_head):
            before = self._update_open(row)
            if row.status in FINAL_STATUSES:
                # Where the panel does not say when: this process saw it end now.
                ended_at = row.updated_at or (row.created_at if first_read else time)
                newest = max(self.last_ended_at.get(row.action, 0.0), ended_at or 0.0)
                self.last_ended_at[row.action] = newest
            transaction = _Deferred(row, not first_read, expires_at)
            if not owns(row.vm_id):
                self._defer(transaction)
                continue
            if row.vm_id is not None and (not before or row.status in FINAL_STATUSES):
                changed_servers[row.vm_id] = None
            if row.status in FINAL_STATUSES:
                ended.append(transaction)
        for each in ended:
            self.counts[each.row.action, each.row.status] += each.counted
        listed_ids = excerpt.head.keys() | excerpt.below_head.keys()
        self._drop_missing(excerpt.absent, listed_ids, owns)
        self._open_expires_at |= dict.fromkeys(listed_ids, expires_at)
        self._open_expires_at = {
            number: self._open_expires_at.get(number, expires_at)
            for number in self.open_transactions
        }
        self._counted_open = {
            n for n, row in self.open_transactions.items() if owns(row.vm_id)
        }
        self._remember_head(excerpt.head)
        self.has_been_read, self._expires_at = True, expires_at
        return LogChanges(
            changed_servers=() if first_read else tuple(changed_servers),
            failed_backups=failed_backups(each.row for each in ended),
        )

    def pending(
        self, now: float, *, of_all_servers: bool = False
    ) -> dict[str, list[Transaction]]:
        """Return the pending and running transactions by action; none if unknown.

        Those not seen for long are left out: a panel without paging lists only its
        newest transactions.
        """
        if now > self._expires_at:
            return {}
        pending: dict[str, list[Transaction]] = {action: [] for action in ACTIONS}
        for row in self.open_transactions.values():
            shown = (
                row.status in PENDING_STATUSES and now <= self._open_expires_at[row.id]
            )
            if shown and (of_all_servers or row.id in self._counted_open):
                pending[row.action].append(row)
        return pending

    def _defer(self, transaction: _Deferred) -> None:
        """Keep an ended transaction in case its server is found soon."""
        if (
            transaction.row.status not in FINAL_STATUSES
            or transaction.row.vm_id is None
        ):
            return
        self._deferred[transaction.row.id] = transaction
        if len(self._deferred) > _MAX_UNOWNED:
            del self._deferred[next(iter(self._deferred))]

    def _pop_owned(
        self, owns: Callable[[int | None], bool], now: float
    ) -> list[_Deferred]:
        """Remove and return deferred transactions whose server was found since."""
        deferred = [each for each in self._deferred.values() if now <= each.expires_at]
        owned = [each for each in deferred if owns(each.row.vm_id)]
        unowned = (each for each in deferred if not owns(each.row.vm_id))
        self._deferred = {each.row.id: each for each in unowned}
        return owned

    def _update_open(self, row: Transaction) -> Transaction | None:
        """Update the open transactions with a row; return its previous version."""
        before = self.open_transactions.pop(row.id, None)
        if row.status not in FINAL_STATUSES:
            self.open_transactions[row.id] = row
        return before

    def _relevant_rows(
        self, head: Mapping[int, Transaction], below_head: Mapping[int, Transaction]
    ) -> list[Transaction]:
        """Return the backup transactions that are new or were open, oldest first."""
        rows_by_id = {
            row.id: row
            for rows in (below_head, head)
            for row in rows.values()
            if self._was_open(row) or (rows is head and self._is_new(row))
        }
        oldest_first = (rows_by_id[number] for number in sorted(rows_by_id))
        return [row for row in oldest_first if row.action in ACTIONS]

    def _was_open(self, row: Transaction) -> bool:
        before = self.open_transactions.get(row.id)
        return before is not None and before.created_at in (None, row.created_at)

    def _is_new(self, row: Transaction) -> bool:
        """Return whether a row was added to the log since the last read."""
        if not self.has_been_read:
            return True
        later = row.created_at is not None and row.created_at > self._latest_created_at
        if row.id in self._created_at_by_id:
            before = self._created_at_by_id[row.id]
            return later and before is not None and row.created_at != before
        # A lower id is old, unless the log was restarted.
        return later or row.id > self._lowest_known_id

    def _drop_missing(
        self, absent: set[int], listed: set[int], owns: Callable[[int | None], bool]
    ) -> None:
        """Drop open transactions that are absent for the second time in a row.

        One that moves from one page to the next during a read is missed only once.
        """
        for number in absent & self._missing_once:
            self.open_transactions.pop(number, None)
        self._missing_once = (
            (self._missing_once - listed) | absent
        ) & self.open_transactions.keys()
        unowned = [
            n for n, row in self.open_transactions.items() if not owns(row.vm_id)
        ]
        for number in sorted(unowned, reverse=True)[_MAX_UNOWNED:]:
            del self.open_transactions[number]
        for number in sorted(self.open_transactions, reverse=True)[_MAX_OPEN:]:
            del self.open_transactions[number]

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
        created_at = (row.created_at for row in head.values())
        self._latest_created_at = max(
            [self._latest_created_at, *(m for m in created_at if m is not None)]
        )
