"""Reading a panel's log of transactions: which pages, and what follows from them.

The head is read back to what is known, on a few pages at most. Transactions that were
open may be far down by now: the page where one was last is asked first, and then those
around it, as the log is sorted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import structlog

from .clock import Clock
from .journal import Journal
from .model import Transaction
from .paging import Page
from .reader import Reader
from .store import PanelStore

log = structlog.get_logger()

_MOST_PAGES = 50
"""A reading asks for no more: that is 5,000 transactions a minute."""


@dataclass(slots=True, eq=False)
class Feed:
    """Follows the log of one panel."""

    store: PanelStore
    reader: Reader
    clock: Clock
    owns: Callable[[int | None], bool]
    """Tells whether the transactions of a server count here."""
    hasten: Callable[[int], None]
    """Is told of each server that is to be read at once."""
    longest_age_seconds: float
    _places: dict[int, int] = field(default_factory=dict)
    """On which page each open transaction was last."""

    async def read(self) -> None:
        """Read what is new, and what has become of what was open."""
        journal = self.store.journal
        if journal is None:
            return
        pages = await self._read_head(journal)
        head = dict(pages.rows)
        await self._look_for(journal.open, pages)
        # Nothing was awaited since the last answer: the journal changes in one step.
        further = {n: row for n, row in pages.rows.items() if n not in head}
        absent = {number for number in journal.open if pages.lack(number)}
        news = journal.enter(head, further, absent, self.owns)
        self._places = {
            number: pages.places[number]
            for number in journal.open
            if number in pages.places
        }
        self.store.journal_until = self.clock.monotonic() + self.longest_age_seconds
        for take in news.failed_takes:
            self.store.take_failed(take)
        for vm_id in news.changed:
            self.hasten(vm_id)

    async def _read_head(self, journal: Journal) -> _Pages:
        pages = _Pages()
        for number in range(1, _MOST_PAGES + 1):
            page = await self.reader.transactions(number)
            pages.add(number, page)
            if page.last or not page.values or journal.reaches_known(page.values):
                return pages
        if journal.begun:
            log.warning(
                "transactions passed by unread",
                panel=self.store.name,
                pages=_MOST_PAGES,
            )
        return pages

    async def _look_for(self, wanted: Iterable[int], pages: _Pages) -> None:
        """Read the pages on which transactions are or would be."""
        for number in sorted(wanted, reverse=True):
            while len(pages.spans) < _MOST_PAGES:
                page = pages.next(number, self._places.get(number))
                if page is None:
                    break
                pages.add(page, await self.reader.transactions(page))


@dataclass(slots=True, eq=False)
class _Pages:
    """The pages of one reading: the log is sorted, the highest id comes first."""

    rows: dict[int, Transaction] = field(default_factory=dict)
    places: dict[int, int] = field(default_factory=dict)
    """On which page each row was."""
    spans: dict[int, tuple[int, int]] = field(default_factory=dict)
    """The lowest and the highest id of each page; of an empty one (0, 0)."""
    _last: int | None = None

    def add(self, number: int, page: Page[Transaction]) -> None:
        """Take in a page; a row that slid on from an earlier one is the same row."""
        ids = [row.id for row in page.values]
        self.spans[number] = (min(ids, default=0), max(ids, default=0))
        for row in page.values:
            self.rows[row.id] = row
            self.places[row.id] = number
        if page.last:
            self._last = number

    def next(self, wanted: int, hint: int | None) -> int | None:
        """Return the page to ask for a row; None: it is clear whether it exists."""
        before = max(
            (n for n, (low, _) in self.spans.items() if low > wanted), default=0
        )
        later = [n for n, (_, high) in self.spans.items() if high < wanted]
        after = min(later, default=None)
        spanned = any(low <= wanted <= high for low, high in self.spans.values())
        if spanned or before == self._last:
            return None
        if hint is not None and before < hint < (after or hint + 1):
            return hint
        if after is None:
            return before + 1
        middle = (before + after) // 2
        return middle if middle > before else None

    def lack(self, wanted: int) -> bool:
        """Tell whether the log certainly does not hold a row."""
        return wanted not in self.rows and self.next(wanted, None) is None
