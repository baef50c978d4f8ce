"""Collector of a panel's transaction log.

Each run reads the newest pages of the log until it reaches rows that are already known,
up to a limit. Open transactions that are no longer on these pages are looked up one by
one, ten a minute. If there are more than ten, further pages are read as long as they
list some of them.

If the first run did not reach the end of the log, older failures are searched in the
logs of single servers: those with unbuilt backups, each once, one after the other.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import msgspec
import structlog

from ..clock import Clock
from ..errors import REFUSED, Forbidden, PanelError, Undecodable
from ..model.entities import Transaction
from ..model.store import NO_SERVER, PanelStore
from ..model.transaction_log import LogExcerpt, TransactionLog, failed_backups
from ..onapp.api import PanelApi
from ..onapp.paging import ROWS_PER_PAGE

log = structlog.get_logger()

_MAX_PAGES = 50
"""Maximum pages per run: 5,000 transactions a minute; also limits servers' own logs."""
MAX_FIRST_PAGES = 10
"""Maximum pages of the first run, which only finds open transactions."""
_MAX_FIRST_ATTEMPTS = 3
"""The last attempt accepts that a page, or a server's own log, cannot be read."""
_FULL_PAGE_SIZES = (10, ROWS_PER_PAGE)
"""Without paging headers, a page with this many rows may not be the last."""
_SEARCH_SHARE = 1 / 4
"""Share of the interval for look-ups, and the same share for reading servers' logs."""
_MIN_SEARCH_REQUESTS = 3
"""This many requests are sent even if the panel is slow."""
_MAX_LOOKUPS = 10
_LOOKUP_PERIOD_SECONDS = 60.0
"""Period in which at most ``_MAX_LOOKUPS`` transactions are looked up."""


@dataclass(slots=True, eq=False)
class TransactionCollector:
    """Reader of one panel's transaction log."""

    store: PanelStore
    api: PanelApi
    clock: Clock
    owns: Callable[[int | None], bool]
    """Returns whether this exporter counts the transactions of a server."""
    poll_soon: Callable[[int], None]
    """Called with each server whose transaction started or ended."""
    interval_seconds: float
    max_age_seconds: float
    """How long a row is shown after it was last read."""
    _gap_logged: bool = False
    """Whether missed transactions were logged."""
    _looked_up_at: deque[float] = field(
        default_factory=lambda: deque(maxlen=_MAX_LOOKUPS)
    )
    """Monotonic times of the latest look-ups."""
    _first_attempts: int = 0
    """How often the first run has been tried."""
    _server_log_failures: Counter[int] = field(default_factory=Counter)
    """How often reading a server's own log has failed."""

    @property
    def _log(self) -> TransactionLog:
        """The log in the store; a reload passes it on to the next poller."""
        assert self.store.transaction_log is not None  # noqa: S101  # it is switched on
        return self.store.transaction_log

    async def read(self) -> None:
        """Read new transactions, and the status of open ones."""
        try:
            head, reached_end = await self._read_head()
        except REFUSED:
            self._log.refused = True
            raise
        self._log.refused = False
        self._log.older_unread |= not (self._log.has_been_read or reached_end)
        self._update(LogExcerpt(head))
        if self._log.older_unread:
            await self._read_server_logs()
        await self._read_open(head)

    def _update(self, excerpt: LogExcerpt) -> None:
        now = self.clock.monotonic()
        changes = self._log.update(
            excerpt,
            self.owns,
            now=now,
            time=self.clock.time(),
            expires_at=now + self.max_age_seconds,
        )
        for row in changes.ended:
            if not self._is_before_server(row):
                self.store.record_transaction(row)
        self._record_failed(failed_backups(changes.ended))
        for vm_id in changes.changed_servers:
            self.poll_soon(vm_id)

    def _record_failed(self, transactions: Iterable[Transaction]) -> None:
        for transaction in transactions:
            if not self._is_before_server(transaction):
                self.store.record_failed_backup(transaction)

    async def _read_server_logs(self) -> None:
        """Read the logs of servers that may have older failures than those known.

        These are the servers that had unbuilt backups when they were first read.
        """
        searched = self._log.searched_servers
        searched.intersection_update(self.store.servers)
        until = self.clock.monotonic() + _SEARCH_SHARE * self.interval_seconds
        pages_read = 0
        for vm_id, entry in tuple(self.store.servers.items()):
            backups = entry.state.backups
            if vm_id in searched or backups is None:
                continue
            await asyncio.sleep(0)  # checking thousands of lists takes long
            if not all(backup.built for backup in backups):
                refused = not self._log.older_unread
                if refused or self._must_stop(until, pages_read):
                    return
                rows = await self._read_server_log(vm_id)
                pages_read += 1
                if not self.store.is_other_server(vm_id, entry):
                    self._record_failed(rows)
            searched.add(vm_id)

    async def _read_server_log(self, vm_id: int) -> tuple[Transaction, ...]:
        """Return the failed backups in a server's own log; empty if it is refused."""
        try:
            page = await self.api.transactions(1, vm_id)
        except REFUSED as error:
            if isinstance(error, Forbidden):
                self._log.older_unread = False
            return ()
        except PanelError:
            self._server_log_failures[vm_id] += 1
            if self._server_log_failures[vm_id] >= _MAX_FIRST_ATTEMPTS:
                self._log.searched_servers.add(vm_id)
            raise
        return tuple(
            msgspec.structs.replace(row, vm_id=vm_id)
            for row in failed_backups(page.values)
            if row.vm_id in (None, vm_id)
        )

    def _must_stop(self, until: float, requests: int) -> bool:
        """Return whether a search has used its share of the interval."""
        late = self.clock.monotonic() > until and requests >= _MIN_SEARCH_REQUESTS
        return late or requests == _MAX_PAGES

    def _is_before_server(self, transaction: Transaction) -> bool:
        """Return whether a transaction belongs to an earlier server with the same ID.

        A creation time in the future is ignored.
        """
        server = self.store.known_server(transaction.vm_id or NO_SERVER)
        if server is None or server.created_at is None:
            return False
        now = self.clock.time() + (self.store.skew_seconds or 0.0)
        started_at = transaction.created_at or transaction.updated_at or now
        return started_at < server.created_at <= now

    async def _read_head(self) -> tuple[dict[int, Transaction], bool]:
        """Return the newest rows by ID, and whether they are the whole log."""
        first = not self._log.has_been_read
        self._first_attempts += first
        rows: dict[int, Transaction] = {}
        known = False
        for number in range(1, (MAX_FIRST_PAGES if first else _MAX_PAGES) + 1):
            try:
                page = await self.api.transactions(number)
            except PanelError as error:
                if not (known or (first and self._may_skip(number, error))):
                    raise
                return rows, False
            found = {row.id: row for row in page.values}
            brings_none = rows.keys() >= found.keys()
            rows |= found
            if not found or (page.is_last and len(found) not in _FULL_PAGE_SIZES):
                return rows, True
            known |= self._log.reaches_known(page.values)
            unlisted = self._log.open_ids - rows.keys()
            few = len(unlisted) <= _MAX_LOOKUPS
            if known and (few or self._log.open_ids.isdisjoint(found)):
                return rows, False
            if brings_none:
                break  # the panel lists no more rows, even if it has more
        if not (first or known or self._gap_logged):
            self._gap_logged = True
            log.warning(
                "transaction log grew faster than it was read; "
                "some transactions were missed",
                panel=self.store.name,
                pages=number,
            )
        return rows, False

    def _may_skip(self, page: int, error: PanelError) -> bool:
        """Return whether the first run, after several attempts, ends before a page."""
        if page == 1 or self._first_attempts < _MAX_FIRST_ATTEMPTS:
            return False
        log.warning(
            "older transactions could not be read",
            panel=self.store.name,
            page=page,
            error=str(error),
        )
        return True

    async def _read_open(self, head: Mapping[int, Transaction]) -> None:
        """Look up open transactions that the newest pages do not list.

        Counted transactions come first, and of these the one not seen for longest. If
        the panel does not return a transaction or its row cannot be used, its outcome
        stays unknown.
        """
        until = self.clock.monotonic() + _SEARCH_SHARE * self.interval_seconds
        for requests, number in enumerate(self._log.unlisted(head)):
            if self._must_stop(until, requests) or not self._may_read_one():
                return
            self._looked_up_at.append(self.clock.monotonic())
            row: Transaction | None = None
            try:
                row = await self.api.transaction(number)
            except PanelError as error:
                unusable = isinstance(error, Undecodable) and error.rows_skipped
                if not unusable and not isinstance(error, REFUSED):
                    self._log.postpone(number)
                    raise
            self._update(LogExcerpt({}, {number: row}))

    def _may_read_one(self) -> bool:
        times = self._looked_up_at
        started_at = self.clock.monotonic() - _LOOKUP_PERIOD_SECONDS
        return len(times) < _MAX_LOOKUPS or times[0] <= started_at
