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

_MAX_PAGES = 50
"""The head is read no further, 5,000 transactions a minute; nor as many below it."""
MAX_FIRST_PAGES = 10
"""The first reading goes back no further: it only finds what is open."""
_MAX_FIRST_ATTEMPTS = 3
"""After so many it goes back only as far as the panel lets it."""
_FULL_PAGE_SIZES = (10, ROWS_PER_PAGE)
"""A page of so many rows need not be the last, if a panel sends no paging headers."""
_SEARCH_SHARE = 1 / 4
"""So much of the interval may go by while open ones are looked for below the head."""
_MIN_SEARCH_PAGES = 3
"""So many pages are read for that however slow the panel is."""


@dataclass(slots=True, eq=False)
class TransactionCollector:
    """Follows the log of one panel."""

    store: PanelStore
    api: PanelApi
    clock: Clock
    owns: Callable[[int | None], bool]
    """Tells whether the transactions of a server count here."""
    poll_soon: Callable[[int], None]
    """Is told of each server that is to be read at once."""
    interval_seconds: float
    max_age_seconds: float
    """How long what was seen once may be shown."""
    _positions: dict[int, float] = field(default_factory=dict)
    """How many pages down each open transaction is, or is to be looked for next."""
    _highest_id: int = 0
    """The highest id that was listed last."""
    _gap_logged: bool = False
    """Whether the log has said that rows were missed."""
    _last_checked: dict[int, int] = field(default_factory=dict)
    """In which reading each was last found or looked for."""
    _run_numbers: count[int] = field(default_factory=count)
    _first_attempts: int = 0
    """How often the first reading has begun."""

    async def read(self) -> None:
        """Read what is new, and what has become of what was open."""
        transaction_log = self.store.transaction_log
        if transaction_log is None:
            return
        pages = await self._read_head(transaction_log)
        head = dict(pages.rows)
        self._shift_positions(pages)
        error = await self._find_open(transaction_log, pages)
        # Nothing was awaited since the last answer: the journal changes in one step.
        older = {n: row for n, row in pages.rows.items() if n not in head}
        absent = {
            number
            for number in transaction_log.open_transactions
            if pages.is_missing(number)
        }
        now = self.clock.monotonic()
        until = now + self.max_age_seconds
        excerpt = LogExcerpt(head, older, absent)
        changes = transaction_log.update(excerpt, self.owns, now=now, expires_at=until)
        self._remember_positions(transaction_log.open_transactions, pages)
        for transaction in changes.failed_backups:
            self.store.record_failed_backup(transaction)
        for vm_id in changes.changed_servers:
            self.poll_soon(vm_id)
        if error is not None:
            raise error

    async def _read_head(self, transaction_log: TransactionLog) -> _LogPages:
        pages = _LogPages()
        if not transaction_log.has_been_read:
            await self._read_first(pages)
            return pages
        for number in range(1, _MAX_PAGES + 1):
            page = await self.api.transactions(number)
            pages.add(number, page)
            if pages.reached_end or transaction_log.reaches_known(page.values):
                return pages
            if pages.repeated_page:
                break
        if not self._gap_logged:
            log.warning(
                "transactions passed by unread",
                panel=self.store.name,
                pages=len(pages.id_ranges),
            )
        self._gap_logged = True
        return pages

    async def _read_first(self, pages: _LogPages) -> None:
        """Read what there is; if need be, as far as it is readable."""
        self._first_attempts += 1
        page = await self.api.transactions(1)
        pages.add(1, page)
        for number in range(2, MAX_FIRST_PAGES + 1):
            if pages.reached_end or pages.repeated_page:
                return
            try:
                page = await self.api.transactions(number)
            except PanelError as error:
                if (
                    isinstance(error, Unauthorized)
                    or self._first_attempts < _MAX_FIRST_ATTEMPTS
                ):
                    raise
                log.warning(
                    "older transactions not read",
                    panel=self.store.name,
                    page=number,
                    error=str(error),
                )
                return
            pages.add(number, page)

    async def _find_open(
        self, transaction_log: TransactionLog, pages: _LogPages
    ) -> PanelError | None:
        """Read pages on which open transactions are or would be.

        Returns the error of a page that cannot be read: what is above it counts.
        """
        run = next(self._run_numbers)
        self._last_checked.update(dict.fromkeys(pages.rows, run))
        until = self.clock.monotonic() + _SEARCH_SHARE * self.interval_seconds
        pages_read = 0
        for number in self._search_order(transaction_log):
            while page := pages.next_page(number, self._positions.get(number)):
                late = (
                    self.clock.monotonic() > until and pages_read >= _MIN_SEARCH_PAGES
                )
                if late or pages_read == _MAX_PAGES:
                    return None
                try:
                    pages.add(page, await self.api.transactions(page))
                except Unauthorized:
                    raise
                except PanelError as error:
                    return error
                pages_read += 1
                self._last_checked[number] = run
                self._last_checked.update(dict.fromkeys(pages.rows, run))
        return None

    def _shift_positions(self, pages: _LogPages) -> None:
        """Take into account how far the new rows have pushed down the others."""
        shift = (
            sum(number > self._highest_id for number in pages.rows) / pages.page_size
        )
        self._highest_id = max(pages.rows, default=0)
        self._positions = {
            number: position + shift for number, position in self._positions.items()
        }

    def _search_order(self, transaction_log: TransactionLog) -> list[int]:
        """Return open transactions: those that count, then those checked long ago."""

        def rank(number: int) -> tuple[bool, int, int]:
            foreign = not self.owns(transaction_log.open_transactions[number].vm_id)
            return foreign, self._last_checked.get(number, -1), -number

        return sorted(transaction_log.open_transactions, key=rank)

    def _remember_positions(self, open_ids: Iterable[int], pages: _LogPages) -> None:
        positions = {
            n: pages.positions.get(n) or self._next_position(n, pages) for n in open_ids
        }
        self._positions = {
            n: position for n, position in positions.items() if position is not None
        }
        self._last_checked = {n: self._last_checked.get(n, -1) for n in open_ids}

    def _next_position(self, number: int, pages: _LogPages) -> float | None:
        return pages.next_page(number, self._positions.get(number))


@dataclass(slots=True, eq=False)
class _LogPages:
    """The pages of one reading: the log is sorted, the highest id comes first."""

    rows: dict[int, Transaction] = field(default_factory=dict)
    positions: dict[int, float] = field(default_factory=dict)
    """On which page each row was, and how far down on it."""
    page_size: int = 1
    """How many rows the fullest page has."""
    id_ranges: dict[int, tuple[int, int]] = field(default_factory=dict)
    """The lowest and the highest id of each page; of an empty one (0, 0)."""
    _last_page: int | None = None
    repeated_page: int | None = None
    """A page that only repeats others: the panel lists no more than them."""

    @property
    def reached_end(self) -> bool:
        """Tell whether nothing comes after what was read."""
        return self._last_page is not None

    def add(self, number: int, page: Page[Transaction]) -> None:
        """Take in a page; a row that slid on from an earlier one is the same row."""
        ids = [row.id for row in page.values]
        self.id_ranges[number] = (min(ids, default=0), max(ids, default=0))
        self.page_size = max(self.page_size, len(ids))
        if not ids or (page.is_last and len(ids) not in _FULL_PAGE_SIZES):
            self._last_page = number
        elif page.is_last and self.rows.keys() >= set(ids):
            self.repeated_page = number
        for index, row in enumerate(page.values):
            self.rows[row.id] = row
            self.positions[row.id] = number + index / len(ids)

    def next_page(self, row_id: int, hint: float | None) -> int | None:
        """Return the page to ask for a row; None: it is clear whether it exists."""
        before = max(
            (n for n, (low, _) in self.id_ranges.items() if low > row_id), default=0
        )
        later = [n for n, (_, high) in self.id_ranges.items() if high < row_id]
        after = min(later, default=None)
        in_range = any(low <= row_id <= high for low, high in self.id_ranges.values())
        if in_range or before in (self._last_page, self.repeated_page):
            return None
        page = 0 if hint is None else int(hint)
        if before < page < (after or page + 1):
            return page
        if after is None:
            return before + 1
        middle = (before + after) // 2
        return middle if middle > before else None

    def is_missing(self, row_id: int) -> bool:
        """Tell whether the log certainly does not hold a row."""
        lowest = min((low for low, _ in self.id_ranges.values()), default=0)
        unlisted = self.repeated_page is not None and row_id < lowest
        known = not unlisted and self.next_page(row_id, None) is None
        return known and row_id not in self.rows
