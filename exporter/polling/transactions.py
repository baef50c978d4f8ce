"""Collector of a panel's transaction log: which pages are read, and what follows.

Each run reads the head of the log back to the rows that are known, on a limited number
of pages. Transactions that were open may be far down by then: as the log is sorted, the
page where one was seen last is read first, then those around it. That search may take a
share of the interval; what it does not reach is searched first in the next run.

Where the first run did not reach the end of the log, older failures are searched in the
own logs of servers with unbuilt backups: once for each, one after the other, in another
such share of the interval.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import count

import msgspec
import structlog

from ..clock import Clock
from ..errors import REFUSED, Forbidden, PanelError, Unauthorized
from ..model.entities import Transaction
from ..model.store import NO_SERVER, PanelStore
from ..model.transaction_log import LogExcerpt, TransactionLog, failed_backups
from ..onapp.api import PanelApi
from ..onapp.paging import ROWS_PER_PAGE, Page

log = structlog.get_logger()

_MAX_PAGES = 50
"""Limit of the head: 5,000 transactions a minute; and of the search below it."""
MAX_FIRST_PAGES = 10
"""Limit of the first run, which only finds what is open."""
_MAX_FIRST_ATTEMPTS = 3
"""The last attempt accepts that a page, or a server's own log, cannot be read."""
_FULL_PAGE_SIZES = (10, ROWS_PER_PAGE)
"""Without paging headers a page of so many rows need not be the last."""
_SEARCH_SHARE = 1 / 4
"""Share of the interval that the search below the head may take."""
_MIN_SEARCH_PAGES = 3
"""So many pages are searched however slow the panel is."""


@dataclass(slots=True, eq=False)
class TransactionCollector:
    """Follows the transaction log of one panel."""

    store: PanelStore
    api: PanelApi
    clock: Clock
    owns: Callable[[int | None], bool]
    """Returns whether the transactions of a server count here."""
    poll_soon: Callable[[int], None]
    """Called with each server of which a transaction has begun or ended."""
    interval_seconds: float
    max_age_seconds: float
    """How long a row that was seen may be shown."""
    _positions: dict[int, float] = field(default_factory=dict)
    """Page, with fraction, where each open transaction is or is searched next."""
    _highest_id: int = 0
    """Highest ID of the last run."""
    _gap_logged: bool = False
    """Whether it was logged that transactions were missed."""
    _last_checked: dict[int, int] = field(default_factory=dict)
    """The run in which each open transaction was last found or searched."""
    _run_numbers: count[int] = field(default_factory=count)
    _first_attempts: int = 0
    """How often the first run has been tried."""
    _server_log_failures: Counter[int] = field(default_factory=Counter)
    """How often reading a server's own log has failed."""

    async def read(self) -> None:
        """Read new transactions, and the state of those that were open."""
        transaction_log = self.store.transaction_log
        if transaction_log is None:
            return
        pages = await self._read_head(transaction_log)
        head = dict(pages.rows)
        self._shift_positions(pages)
        error = await self._find_open(transaction_log, pages)
        # Without an await from here on: the transaction log changes in one step.
        older = {n: row for n, row in pages.rows.items() if n not in head}
        absent = {
            number
            for number in transaction_log.open_transactions
            if pages.is_missing(number)
        }
        transaction_log.older_unread |= not (
            transaction_log.has_been_read or pages.reached_end
        )
        now = self.clock.monotonic()
        until = now + self.max_age_seconds
        excerpt = LogExcerpt(head, older, absent)
        changes = transaction_log.update(
            excerpt, self.owns, now=now, time=self.clock.time(), expires_at=until
        )
        self._remember_positions(transaction_log.open_transactions, pages)
        self.store.drop_old_unassigned_failures(self.clock.time())
        self._record_failed(changes.failed_backups)
        for vm_id in changes.changed_servers:
            self.poll_soon(vm_id)
        if transaction_log.older_unread:
            await self._read_server_logs(transaction_log)
        if error is not None:
            raise error

    def _record_failed(self, transactions: Iterable[Transaction]) -> None:
        for transaction in transactions:
            if not self._is_before_server(transaction):
                self.store.record_failed_backup(transaction)

    async def _read_server_logs(self, transaction_log: TransactionLog) -> None:
        """Read the own logs of servers whose failures may be older than what is known.

        These are the servers that had unbuilt backups when they were first read.
        """
        searched = transaction_log.searched_servers
        searched.intersection_update(self.store.servers)
        until = self.clock.monotonic() + _SEARCH_SHARE * self.interval_seconds
        pages_read = 0
        for vm_id, entry in tuple(self.store.servers.items()):
            backups = entry.state.backups
            if vm_id in searched or backups is None:
                continue
            await asyncio.sleep(0)  # unpacking thousands of lists takes long
            if not all(backup.built for backup in backups):
                refused = not transaction_log.older_unread
                if refused or self._must_stop(until, pages_read):
                    return
                rows = await self._read_server_log(transaction_log, vm_id)
                pages_read += 1
                if not self.store.is_other_server(vm_id, entry):
                    self._record_failed(rows)
            searched.add(vm_id)

    async def _read_server_log(
        self, transaction_log: TransactionLog, vm_id: int
    ) -> tuple[Transaction, ...]:
        """Return failed backups of a server's own log; none if it is refused."""
        try:
            page = await self.api.transactions(1, vm_id)
        except REFUSED as error:
            if isinstance(error, Forbidden):
                transaction_log.older_unread = False
            return ()
        except Unauthorized:
            raise
        except PanelError:
            self._server_log_failures[vm_id] += 1
            if self._server_log_failures[vm_id] >= _MAX_FIRST_ATTEMPTS:
                transaction_log.searched_servers.add(vm_id)
            raise
        return tuple(
            msgspec.structs.replace(row, vm_id=vm_id)
            for row in failed_backups(page.values)
            if row.vm_id in (None, vm_id)
        )

    def _must_stop(self, until: float, pages_read: int) -> bool:
        """Return whether a search has had its share of the interval."""
        late = self.clock.monotonic() > until and pages_read >= _MIN_SEARCH_PAGES
        return late or pages_read == _MAX_PAGES

    def _is_before_server(self, transaction: Transaction) -> bool:
        """Return whether a transaction is of a server that had the number before.

        A creation time in the future is none.
        """
        server = self.store.known_server(transaction.vm_id or NO_SERVER)
        if server is None or server.created_at is None:
            return False
        now = self.clock.time() + (self.store.skew_seconds or 0.0)
        started_at = transaction.created_at or transaction.updated_at or now
        return started_at < server.created_at <= now

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
        """Read the first pages; after several failures, as far as possible."""
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
        """Read the pages on which open transactions are or would be.

        Returns the error of a page that cannot be read: the earlier pages count.
        """
        run = next(self._run_numbers)
        self._last_checked.update(dict.fromkeys(pages.rows, run))
        until = self.clock.monotonic() + _SEARCH_SHARE * self.interval_seconds
        pages_read = 0
        for number in self._search_order(transaction_log):
            while page := pages.next_page(number, self._positions.get(number)):
                if self._must_stop(until, pages_read):
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
        """Move the positions down by the number of new rows."""
        shift = (
            sum(number > self._highest_id for number in pages.rows) / pages.page_size
        )
        self._highest_id = max(pages.rows, default=0)
        self._positions = {
            number: position + shift for number, position in self._positions.items()
        }

    def _search_order(self, transaction_log: TransactionLog) -> list[int]:
        """Return the open transactions: first those that count and wait longest."""

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
    """The pages of one run; the log is sorted by ID, the highest first."""

    rows: dict[int, Transaction] = field(default_factory=dict)
    positions: dict[int, float] = field(default_factory=dict)
    """Page of each row; the fraction is how far down on it."""
    page_size: int = 1
    """Number of rows of the fullest page."""
    id_ranges: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Lowest and highest ID of each page; (0, 0) of an empty one."""
    _last_page: int | None = None
    repeated_page: int | None = None
    """A page that only repeats others: the panel lists no more rows."""

    @property
    def reached_end(self) -> bool:
        """Whether the last page of the log was read."""
        return self._last_page is not None

    def add(self, number: int, page: Page[Transaction]) -> None:
        """Add a page; a row that moved here from an earlier one replaces it."""
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
        """Return the page to read for a row; None: it is known whether it exists."""
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
        """Return whether the log certainly does not contain a row."""
        lowest = min((low for low, _ in self.id_ranges.values()), default=0)
        unlisted = self.repeated_page is not None and row_id < lowest
        known = not unlisted and self.next_page(row_id, None) is None
        return known and row_id not in self.rows
