"""Reading a panel's log of transactions: which pages, and what follows from them.

The head is read back to what is known, on a few pages at most. Transactions that were
open may be far down by now: the page where one was last is asked first, and then those
around it, as the log is sorted. That takes a part of the time between two readings,
and is done in turns where it does not suffice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import count

import structlog

from ..clock import Clock
from ..errors import PanelError, Unauthorized
from ..model.entities import Transaction
from ..model.store import PanelStore
from ..model.transaction_log import LogExcerpt, TransactionLog
from ..onapp.api import PanelApi
from ..onapp.paging import ROWS_PER_PAGE, Page

log = structlog.get_logger()

_MOST_PAGES = 50
"""The head is read no further, 5,000 transactions a minute; nor as many below it."""
MOST_PAGES_FIRST = 10
"""The first reading goes back no further: it only finds what is open."""
_FIRST_ATTEMPTS = 3
"""After so many it goes back only as far as the panel lets it."""
_FULL_PAGES = (10, ROWS_PER_PAGE)
"""A page of so many rows need not be the last, if a panel sends no paging headers."""
_SHARE_BELOW = 1 / 4
"""So much of the interval may go by while open ones are looked for below the head."""
_FEWEST_PAGES_BELOW = 3
"""So many pages are read for that however slow the panel is."""


@dataclass(slots=True, eq=False)
class TransactionCollector:
    """Follows the log of one panel."""

    store: PanelStore
    reader: PanelApi
    clock: Clock
    owns: Callable[[int | None], bool]
    """Tells whether the transactions of a server count here."""
    hasten: Callable[[int], None]
    """Is told of each server that is to be read at once."""
    interval_seconds: float
    longest_age_seconds: float
    """How long what was seen once may be shown."""
    _places: dict[int, float] = field(default_factory=dict)
    """How many pages down each open transaction is, or is to be looked for next."""
    _highest: int = 0
    """The highest id that was listed last."""
    _lamented: bool = False
    """Whether the log has said that rows were missed."""
    _checked: dict[int, int] = field(default_factory=dict)
    """In which reading each was last found or looked for."""
    _readings: count[int] = field(default_factory=count)
    _attempts: int = 0
    """How often the first reading has begun."""

    async def read(self) -> None:
        """Read what is new, and what has become of what was open."""
        journal = self.store.transaction_log
        if journal is None:
            return
        pages = await self._read_head(journal)
        head = dict(pages.rows)
        self._slide(pages)
        error = await self._look_for(journal, pages)
        # Nothing was awaited since the last answer: the journal changes in one step.
        further = {n: row for n, row in pages.rows.items() if n not in head}
        absent = {number for number in journal.open_transactions if pages.lack(number)}
        now = self.clock.monotonic()
        until = now + self.longest_age_seconds
        seen = LogExcerpt(head, further, absent)
        news = journal.update(seen, self.owns, now=now, expires_at=until)
        self._note_places(journal.open_transactions, pages)
        for take in news.failed_backups:
            self.store.record_failed_backup(take)
        for vm_id in news.changed_servers:
            self.hasten(vm_id)
        if error is not None:
            raise error

    async def _read_head(self, journal: TransactionLog) -> _LogPages:
        pages = _LogPages()
        if not journal.has_been_read:
            await self._read_first(pages)
            return pages
        for number in range(1, _MOST_PAGES + 1):
            page = await self.reader.transactions(number)
            pages.add(number, page)
            if pages.ended or journal.reaches_known(page.values):
                return pages
            if pages.stalled:
                break
        if not self._lamented:
            log.warning(
                "transactions passed by unread",
                panel=self.store.name,
                pages=len(pages.spans),
            )
        self._lamented = True
        return pages

    async def _read_first(self, pages: _LogPages) -> None:
        """Read what there is; if need be, as far as it is readable."""
        self._attempts += 1
        page = await self.reader.transactions(1)
        pages.add(1, page)
        for number in range(2, MOST_PAGES_FIRST + 1):
            if pages.ended or pages.stalled:
                return
            try:
                page = await self.reader.transactions(number)
            except PanelError as error:
                if isinstance(error, Unauthorized) or self._attempts < _FIRST_ATTEMPTS:
                    raise
                log.warning(
                    "older transactions not read",
                    panel=self.store.name,
                    page=number,
                    error=str(error),
                )
                return
            pages.add(number, page)

    async def _look_for(
        self, journal: TransactionLog, pages: _LogPages
    ) -> PanelError | None:
        """Read pages on which open transactions are or would be.

        Returns the error of a page that cannot be read: what is above it counts.
        """
        reading = next(self._readings)
        self._checked.update(dict.fromkeys(pages.rows, reading))
        until = self.clock.monotonic() + _SHARE_BELOW * self.interval_seconds
        read = 0
        for number in self._in_turn(journal):
            while page := pages.next(number, self._places.get(number)):
                late = self.clock.monotonic() > until and read >= _FEWEST_PAGES_BELOW
                if late or read == _MOST_PAGES:
                    return None
                try:
                    pages.add(page, await self.reader.transactions(page))
                except Unauthorized:
                    raise
                except PanelError as error:
                    return error
                read += 1
                self._checked[number] = reading
                self._checked.update(dict.fromkeys(pages.rows, reading))
        return None

    def _slide(self, pages: _LogPages) -> None:
        """Take into account how far the new rows have pushed down the others."""
        slid = sum(number > self._highest for number in pages.rows) / pages.size
        self._highest = max(pages.rows, default=0)
        self._places = {number: at + slid for number, at in self._places.items()}

    def _in_turn(self, journal: TransactionLog) -> list[int]:
        """Return open transactions: those that count, then those checked long ago."""

        def rank(number: int) -> tuple[bool, int, int]:
            foreign = not self.owns(journal.open_transactions[number].vm_id)
            return foreign, self._checked.get(number, -1), -number

        return sorted(journal.open_transactions, key=rank)

    def _note_places(self, wanted: Iterable[int], pages: _LogPages) -> None:
        places = {n: pages.places.get(n) or self._next_place(n, pages) for n in wanted}
        self._places = {n: place for n, place in places.items() if place is not None}
        self._checked = {n: self._checked.get(n, -1) for n in wanted}

    def _next_place(self, number: int, pages: _LogPages) -> float | None:
        return pages.next(number, self._places.get(number))


@dataclass(slots=True, eq=False)
class _LogPages:
    """The pages of one reading: the log is sorted, the highest id comes first."""

    rows: dict[int, Transaction] = field(default_factory=dict)
    places: dict[int, float] = field(default_factory=dict)
    """On which page each row was, and how far down on it."""
    size: int = 1
    """How many rows the fullest page has."""
    spans: dict[int, tuple[int, int]] = field(default_factory=dict)
    """The lowest and the highest id of each page; of an empty one (0, 0)."""
    _last: int | None = None
    stalled: int | None = None
    """A page that only repeats others: the panel lists no more than them."""

    @property
    def ended(self) -> bool:
        """Tell whether nothing comes after what was read."""
        return self._last is not None

    def add(self, number: int, page: Page[Transaction]) -> None:
        """Take in a page; a row that slid on from an earlier one is the same row."""
        ids = [row.id for row in page.values]
        self.spans[number] = (min(ids, default=0), max(ids, default=0))
        self.size = max(self.size, len(ids))
        if not ids or (page.is_last and len(ids) not in _FULL_PAGES):
            self._last = number
        elif page.is_last and self.rows.keys() >= set(ids):
            self.stalled = number
        for index, row in enumerate(page.values):
            self.rows[row.id] = row
            self.places[row.id] = number + index / len(ids)

    def next(self, wanted: int, hint: float | None) -> int | None:
        """Return the page to ask for a row; None: it is clear whether it exists."""
        before = max(
            (n for n, (low, _) in self.spans.items() if low > wanted), default=0
        )
        later = [n for n, (_, high) in self.spans.items() if high < wanted]
        after = min(later, default=None)
        spanned = any(low <= wanted <= high for low, high in self.spans.values())
        if spanned or before in (self._last, self.stalled):
            return None
        page = 0 if hint is None else int(hint)
        if before < page < (after or page + 1):
            return page
        if after is None:
            return before + 1
        middle = (before + after) // 2
        return middle if middle > before else None

    def lack(self, wanted: int) -> bool:
        """Tell whether the log certainly does not hold a row."""
        lowest = min((low for low, _ in self.spans.values()), default=0)
        unlisted = self.stalled is not None and wanted < lowest
        known = not unlisted and self.next(wanted, None) is None
        return known and wanted not in self.rows
