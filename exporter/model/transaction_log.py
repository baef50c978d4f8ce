"""What has become of backup transactions: pure bookkeeping over a panel's log.

The log comes newest first, is cleaned at times, and may begin anew with lower ids.
Each transaction counts once, when it is first seen in a final status; those that were
final before the first reading count nothing. One that ends before its server is found
is held back for a while. Memory is bounded whatever the panel does. Moments are
monotonic seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import product

from .entities import Transaction

TAKES = ("take_backup", "take_incremental_backup")
ACTIONS = (
    *TAKES,
    "restore_backup",
    "restore_incremental_backup",
    "convert_backup",
    "destroy_backup",
)
"""The actions that concern backups."""
FAILED = "failed"
FINAL = ("complete", FAILED, "cancelled")
PENDING = ("pending", "running")

_IDS_KEPT = 2_000
_MOST_OPEN = 10_000
_MOST_FOREIGN = 1_000
"""Of servers that are not watched, or not yet: open ones, and ended ones."""


@dataclass(frozen=True, slots=True)
class LogExcerpt:
    """What one reading of the log has shown, by id."""

    head: Mapping[int, Transaction]
    """The newest, back to those that were known."""
    further: Mapping[int, Transaction]
    """Where open ones were looked for."""
    absent: set[int]
    """Open ones that are certainly not in the log."""


@dataclass(frozen=True, slots=True)
class LogChanges:
    """What one reading of the log brought."""

    changed: tuple[int, ...]
    """Servers of which something has begun or ended."""
    failed_takes: tuple[Transaction, ...]


@dataclass(frozen=True, slots=True)
class _Deferred:
    """One that has ended, of a server that is not watched, or not yet."""

    row: Transaction
    counts: bool
    until: float


@dataclass(slots=True)
class TransactionLog:
    """The state between two readings of the log."""

    counts: dict[tuple[str, str], int] = field(
        default_factory=lambda: dict.fromkeys(product(ACTIONS, FINAL), 0)
    )
    ended_at: dict[str, float] = field(default_factory=dict)
    """When a transaction was last seen to end, by action."""
    begun: bool = False
    open: dict[int, Transaction] = field(default_factory=dict)
    """Those that were not final when last seen, whosever they are."""
    _until: dict[int, float] = field(default_factory=dict)
    """Until when open ones may be shown as they were last seen."""
    _readable_until: float = 0.0
    """Until when the last reading as a whole may be shown."""
    _held: dict[int, _Deferred] = field(default_factory=dict)
    _known: dict[int, float | None] = field(default_factory=dict)
    """When the newest transactions were created, by id."""
    _floor: int = 0
    """Lower ids are older than what is kept of the log."""
    _latest_at: float = 0.0
    _missed: set[int] = field(default_factory=set)
    """Open ones that were not found when they were last looked for."""
    _counted: set[int] = field(default_factory=set)
    """Those of the open ones that count here, as of the last reading."""

    def copy(self) -> TransactionLog:
        """Return what can be shown of it; later readings change nothing there."""
        return replace(
            self,
            counts=self.counts.copy(),
            ended_at=self.ended_at.copy(),
            open=self.open.copy(),
            _until=self._until.copy(),
            _counted=self._counted.copy(),
        )

    def reaches_known(self, rows: Iterable[Transaction]) -> bool:
        """Tell whether rows, newest first, reach back to what was read before."""
        return self.begun and not all(map(self._is_new, rows))

    def enter(
        self,
        seen: LogExcerpt,
        owns: Callable[[int | None], bool],
        *,
        now: float,
        until: float,
    ) -> LogChanges:
        """Take in one reading of the log.

        ``owns`` tells whether the transactions of a server count here; ``until`` is
        when what was seen now is too old to be shown, or to be told of a server that
        is found later.
        """
        first = not self.begun
        ended = self._claim(owns, now)
        changed: dict[int, None] = {}
        for row in self._of_interest(seen.head, seen.further):
            before = self._settle(row)
            news = _Deferred(row, not first, until)
            if not owns(row.vm_id):
                self._hold(news)
                continue
            if row.vm_id is not None and (not before or row.status in FINAL):
                changed[row.vm_id] = None
            if row.status in FINAL:
                ended.append(news)
        for each in ended:
            self.counts[each.row.action, each.row.status] += each.counts
            if each.counts:
                self.ended_at[each.row.action] = now
        listed = seen.head.keys() | seen.further.keys()
        self._drop(seen.absent, listed, owns)
        self._until |= dict.fromkeys(listed, until)
        self._until = {number: self._until.get(number, until) for number in self.open}
        self._counted = {n for n, row in self.open.items() if owns(row.vm_id)}
        self._remember(seen.head)
        self.begun, self._readable_until = True, until
        return LogChanges(
            changed=() if first else tuple(changed),
            failed_takes=tuple(
                each.row
                for each in ended
                if each.row.action in TAKES and each.row.status == FAILED
            ),
        )

    def pending(self, now: float) -> dict[str, list[Transaction]]:
        """Return the transactions that wait or run, by action; nothing if not known.

        One that was not found for long, as a panel without pages lists no more than
        its newest, is not known to wait any longer.
        """
        if now > self._readable_until:
            return {}
        found: dict[str, list[Transaction]] = {action: [] for action in ACTIONS}
        for row in self.open.values():
            shown = row.status in PENDING and now <= self._until[row.id]
            if shown and row.id in self._counted:
                found[row.action].append(row)
        return found

    def _hold(self, news: _Deferred) -> None:
        """Keep what has ended in case its server is found soon."""
        if news.row.status not in FINAL or news.row.vm_id is None:
            return
        self._held[news.row.id] = news
        if len(self._held) > _MOST_FOREIGN:
            del self._held[next(iter(self._held))]

    def _claim(self, owns: Callable[[int | None], bool], now: float) -> list[_Deferred]:
        """Return what was held back of servers that have been found since."""
        held = [each for each in self._held.values() if now <= each.until]
        found = [each for each in held if owns(each.row.vm_id)]
        waiting = (each for each in held if not owns(each.row.vm_id))
        self._held = {each.row.id: each for each in waiting}
        return found

    def _settle(self, row: Transaction) -> Transaction | None:
        """Note whether a transaction is open; return what it was before."""
        before = self.open.pop(row.id, None)
        if row.status not in FINAL:
            self.open[row.id] = row
        return before

    def _of_interest(
        self, head: Mapping[int, Transaction], further: Mapping[int, Transaction]
    ) -> list[Transaction]:
        """Return backup transactions that are new or were open, oldest first."""
        found = {
            row.id: row
            for rows in (further, head)
            for row in rows.values()
            if self._continues(row) or (rows is head and self._is_new(row))
        }
        ordered = (found[number] for number in sorted(found))
        return [row for row in ordered if row.action in ACTIONS]

    def _continues(self, row: Transaction) -> bool:
        before = self.open.get(row.id)
        return before is not None and before.created_at == row.created_at

    def _is_new(self, row: Transaction) -> bool:
        """Tell whether a row was not there at the last reading."""
        if not self.begun:
            return True
        later = row.created_at is not None and row.created_at > self._latest_at
        if row.id in self._known:
            before = self._known[row.id]
            return later and before is not None and row.created_at != before
        # A lower id is old, unless the log has begun anew.
        return later or row.id > self._floor

    def _drop(
        self, absent: set[int], seen: set[int], owns: Callable[[int | None], bool]
    ) -> None:
        """Forget open ones that are gone; one may slip between two pages once."""
        for number in absent & self._missed:
            self.open.pop(number, None)
        self._missed = ((self._missed - seen) | absent) & self.open.keys()
        foreign = [n for n, row in self.open.items() if not owns(row.vm_id)]
        for number in sorted(foreign, reverse=True)[_MOST_FOREIGN:]:
            del self.open[number]
        for number in sorted(self.open, reverse=True)[_MOST_OPEN:]:
            del self.open[number]

    def _remember(self, head: Mapping[int, Transaction]) -> None:
        highest = max(self._known, default=0)
        if head and max(head) < highest and any(map(self._is_new, head.values())):
            self._known = {}  # the log has begun anew
        known = self._known | {row.id: row.created_at for row in head.values()}
        kept = sorted(known)[-_IDS_KEPT:]
        self._known = {number: known[number] for number in kept}
        self._floor = kept[0] if kept else 0
        moments = (row.created_at for row in head.values())
        self._latest_at = max([self._latest_at, *(m for m in moments if m is not None)])
