"""What has become of backup transactions: pure bookkeeping over a panel's log.

The log comes newest first, is cleaned at times, and may begin anew with lower ids.
Each transaction counts once, when it is first seen in a final status; those that were
final before the first reading count nothing. Memory is bounded whatever the panel does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import product

from .model import Transaction

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
"""Open ones of servers that are not watched, or not yet."""


@dataclass(frozen=True, slots=True)
class News:
    """What one reading of the log brought."""

    changed: tuple[int, ...]
    """Servers of which something has begun or ended."""
    failed_takes: tuple[Transaction, ...]


@dataclass(slots=True, eq=False)
class Journal:
    """The state between two readings of the log."""

    counts: dict[tuple[str, str], int] = field(
        default_factory=lambda: dict.fromkeys(product(ACTIONS, FINAL), 0)
    )
    begun: bool = False
    open: dict[int, Transaction] = field(default_factory=dict)
    """Those that were not final when last seen, whosever they are."""
    _known: dict[int, float | None] = field(default_factory=dict)
    """When the newest transactions were created, by id."""
    _floor: int = 0
    """Lower ids are older than what is kept of the log."""
    _latest_at: float = 0.0
    _missed: set[int] = field(default_factory=set)
    """Open ones that were not found when they were last looked for."""
    _owns: Callable[[int | None], bool] = lambda _: True

    def reaches_known(self, rows: Iterable[Transaction]) -> bool:
        """Tell whether rows, newest first, reach back to what was read before."""
        return self.begun and not all(map(self._is_new, rows))

    def enter(
        self,
        head: Mapping[int, Transaction],
        further: Mapping[int, Transaction],
        absent: set[int],
        owns: Callable[[int | None], bool],
    ) -> News:
        """Take in one reading: the log's head, and where open ones were looked for.

        ``absent`` are open ones that are certainly not in the log; ``owns`` tells
        whether the transactions of a server count here.
        """
        first = not self.begun
        self._owns = owns
        news: dict[int, Transaction] = {}
        changed: dict[int, None] = {}
        for row in self._of_interest(head, further):
            before = self._settle(row)
            if not owns(row.vm_id):
                continue
            news[row.id] = row
            if row.vm_id is not None and (not before or row.status in FINAL):
                changed[row.vm_id] = None
            if row.status in FINAL and not first:
                self.counts[row.action, row.status] += 1
        self._drop(absent, head.keys() | further.keys())
        self._remember(head)
        self.begun = True
        return News(
            changed=() if first else tuple(changed),
            failed_takes=tuple(
                row
                for row in news.values()
                if row.action in TAKES and row.status == FAILED
            ),
        )

    def pending(self) -> dict[str, list[Transaction]]:
        """Return the transactions that wait or run, by action."""
        found: dict[str, list[Transaction]] = {action: [] for action in ACTIONS}
        for row in self.open.values():
            if row.status in PENDING and self._owns(row.vm_id):
                found[row.action].append(row)
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
            return later and row.created_at != self._known[row.id]
        # A lower id is old, unless the log has begun anew.
        return later or row.id > self._floor

    def _drop(self, absent: set[int], seen: set[int]) -> None:
        """Forget open ones that are gone; one may slip between two pages once."""
        for number in absent & self._missed:
            self.open.pop(number, None)
        self._missed = ((self._missed - seen) | absent) & self.open.keys()
        foreign = [n for n, row in self.open.items() if not self._owns(row.vm_id)]
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
