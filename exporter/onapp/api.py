"""The operations of a panel's API as methods that return values of ``model``.

All requests pass through ``PanelApi._request``. It checks the circuit breaker, sends
the ETag, decodes the answer and records the outcome.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

import msgspec
import structlog

from ..config.schema import BodyFormat
from ..errors import REFUSED, NotSent, RequestError, Unauthorized, Undecodable
from ..model.entities import (
    AUTOBACKUP,
    BACKUPS,
    SCHEDULES,
    TRANSACTIONS,
    VERSION,
    VIRTUAL_MACHINES,
    Backup,
    Server,
    Transaction,
)
from .backups import (
    Parsed,
    decode_backups,
    decode_version,
)
from .circuit_breaker import CircuitBreaker
from .client import Answer, Client
from .decode import SkippedRow
from .paging import (
    ROWS_PER_PAGE,
    DecodedResponse,
    Listed,
    Page,
    decode_response,
    is_last_page,
    read_all_pages,
)
from .permissions import request_hint
from .resources import (
    PANEL_LISTS,
    SERVER_LISTS,
    Parse,
    decode_server,
    decode_transaction,
    decode_transactions,
)

_ETAG_REFUSED = (400, 412)
"""Statuses that a request may get because of the ETag it sent."""
_MAX_LOGGED_ROWS = 20
"""Unusable rows that are logged per answer, which may have a million rows."""
_MAX_INLINE_BYTES: Mapping[BodyFormat, int] = {"json": 256 * 1024, "xml": 16 * 1024}
"""Bodies up to this size are decoded in a few milliseconds, without a thread."""

T = TypeVar("T")
log = structlog.get_logger()


@dataclass(slots=True, eq=False)
class PanelApi:
    """The API of one panel."""

    panel: str
    client: Client
    breaker: CircuitBreaker
    max_pages: int = 10_000
    """A list with more pages is returned as truncated."""
    skew_seconds: float | None = None
    """The panel's clock minus the local one, at the last answer."""
    future_rows: int = 0
    """Number of rows in the last answers with a date in the future."""
    _cache: dict[str, DecodedResponse[Any]] = field(default_factory=dict)
    """The last response by path; the next request sends its ETag."""
    _decode_executor: Executor = field(
        # Not the event loop's default executor, which DNS look-ups can block.
        default_factory=lambda: ThreadPoolExecutor(1, "decode")
    )
    _logged_rows: dict[str, frozenset[SkippedRow]] = field(default_factory=dict)
    """The unusable rows that were already logged, by list."""

    async def version(self) -> str | None:
        """Return the panel's version; None if the role may not read it."""
        try:
            response = await self._request(
                VERSION,
                "version",
                lambda body, body_format, _: decode_version(body, body_format),
            )
        except REFUSED:
            return None
        return response.content

    async def inventory(self) -> Listed[Server]:
        """Return every server that the panel lists."""
        return await self.panel_list(VIRTUAL_MACHINES)

    async def server(self, vm_id: int | str) -> Server:
        """Return one server by ID or identifier."""
        path = f"virtual_machines/{vm_id}"
        return (await self._request(VIRTUAL_MACHINES, path, decode_server)).content

    async def backups(self, vm_id: int) -> tuple[Backup, ...]:
        """Return a server's backups; the same object while the answer is HTTP 304."""
        parse = partial(decode_backups, vm_id=vm_id)
        # One unreadable row must not hide the other backups: not `listed.complete`.
        path = _server_path(vm_id, "backups")
        response = await self._read_rows(BACKUPS, path, parse, vm_id=vm_id)
        if not response.has_paging_headers or is_last_page(
            response, response.content.row_count
        ):
            backups: tuple[Backup, ...] = response.content.values
            return backups
        listed = await self._paged_list(BACKUPS, path, parse, vm_id)
        listed.raise_if_truncated()
        if listed.changed_while_read:
            raise Undecodable("the list has changed while its pages were read")
        return listed.values

    async def panel_list(self, resource: str) -> Listed[Any]:
        """Return all rows of a panel-wide list."""
        path, parse = PANEL_LISTS[resource]
        return _usable(resource, await self._paged_list(resource, path, parse))

    async def server_list(self, resource: str, vm_id: int) -> Listed[Any]:
        """Return the rows of a list of one server."""
        subpath, parse = SERVER_LISTS[resource]
        path = _server_path(vm_id, subpath)
        response = await self._read_rows(resource, path, parse, vm_id=vm_id)
        parsed = response.content
        skipped_ids = tuple(row.row_id for row in parsed.skipped)
        truncated = response.total is not None and parsed.row_count < response.total
        return _usable(resource, Listed(tuple(parsed.values), skipped_ids, truncated))

    async def page_count(self, resource: str) -> int:
        """Request the first page of a panel-wide list; return the number of pages.

        Without paging headers, as on old panels, it is 1.
        """
        path, parse = PANEL_LISTS[resource]
        response = await self._read_rows(resource, path, parse, page=1)
        limit = response.limit or response.content.row_count
        return 1 if not (response.total and limit) else -(-response.total // limit)

    async def transactions(
        self, page: int, vm_id: int | None = None
    ) -> Page[Transaction]:
        """Return one page of the log of the panel or of a server, newest rows first."""
        path = "transactions" if vm_id is None else _server_path(vm_id, "transactions")
        response = await self._read_rows(
            TRANSACTIONS, path, decode_transactions, page=page, vm_id=vm_id
        )
        limit = response.limit or 0
        rows_seen = (page - 1) * limit + response.content.row_count if limit else 0
        return Page(tuple(response.content.values), is_last_page(response, rows_seen))

    async def transaction(self, number: int) -> Transaction:
        """Return one transaction of the log by its ID."""
        parse = partial(decode_transaction, number=number)
        path = f"transactions/{number}"
        return (await self._request(TRANSACTIONS, path, parse)).content

    def forget(self, vm_id: int) -> None:
        """Drop the cached responses of a server that was removed."""
        lists = (subpath for subpath, _ in SERVER_LISTS.values())
        for subpath in (BACKUPS, TRANSACTIONS, *lists):
            path = _server_path(vm_id, subpath)
            for page in (None, *range(1, self.max_pages)):
                self._logged_rows.pop(_key(path, page), None)
                cached = self._cache.pop(_key(path, page), None)
                self.future_rows -= _future_rows(cached)
                if cached is None and page:
                    break

    async def _paged_list(
        self, resource: str, path: str, parse: Parse, vm_id: int | None = None
    ) -> Listed[Any]:
        """Read all pages of a list."""

        def read_page(number: int) -> Awaitable[DecodedResponse[Parsed[Any]]]:
            return self._read_rows(resource, path, parse, page=number, vm_id=vm_id)

        return await read_all_pages(read_page, self.max_pages)

    async def _read_rows(
        self,
        resource: str,
        path: str,
        parse: Parse,
        *,
        page: int | None = None,
        vm_id: int | None = None,
    ) -> DecodedResponse[Parsed[Any]]:
        """Return one list or page; report the rows that cannot be used."""
        response = await self._request(resource, path, parse, page)
        if response.had_body:
            context = {} if vm_id is None else {"vm_id": vm_id}
            skipped = response.content.skipped
            self._report_skipped(_key(path, page), resource, skipped, context)
        return response

    def _report_skipped(
        self,
        key: str,
        resource: str,
        skipped: tuple[SkippedRow, ...],
        context: Mapping[str, int],
    ) -> None:
        """Count the unusable rows; log new ones without their content."""
        if skipped:
            self.client.observer.observe_skipped_rows(resource, len(skipped))
        before = self._logged_rows.pop(key, frozenset())
        if skipped:
            self._logged_rows[key] = frozenset(skipped)
        new = [row for row in skipped if row not in before]
        for row in new[:_MAX_LOGGED_ROWS]:
            log.warning(
                "row skipped",
                panel=self.panel,
                resource=resource,
                **context,
                row_id=row.row_id,
                why=row.message,
            )
        if len(new) > _MAX_LOGGED_ROWS:
            log.warning(
                "more rows skipped",
                panel=self.panel,
                resource=resource,
                **context,
                rows=len(new) - _MAX_LOGGED_ROWS,
            )

    async def _request(
        self,
        resource: str,
        path: str,
        parse: Callable[[bytes, BodyFormat, float], T],
        page: int | None = None,
    ) -> DecodedResponse[T]:
        """Send a request and record its outcome; raise NotSent if it is blocked."""
        credentials = self.breaker.admitted_credentials()
        if credentials is None:
            raise NotSent(f"{self.panel} is left alone for now")
        key = _key(path, page)
        cached: DecodedResponse[T] | None = self._cached(key)
        try:
            answer = await self.client.get(
                path,
                credentials,
                resource=resource,
                query=_query(page),
                etag=None if cached is None else cached.etag,
            )
            response = await self._decode(answer, cached, parse)
        except RequestError as error:
            error.args = (f"GET /{path}.{self.client.body_format}: {error}",)
            error.hint = request_hint(error, resource, path)
            self._observe_error(resource, error)
            self.breaker.record_failure(credentials, error)
            again = isinstance(error, Unauthorized) and error.with_cookies
            if cached is not None and cached.etag is not None:
                self._cache[key] = msgspec.structs.replace(cached, etag=None)
                again |= getattr(error, "status", None) in _ETAG_REFUSED
            if again:
                # Cookies and ETag are now dropped; the request is repeated without
                # them.
                return await self._request(resource, path, parse, page)
            raise
        except asyncio.CancelledError:
            self.breaker.record_cancellation(credentials)
            raise
        self.breaker.record_success(credentials)
        self.client.cookies.record_good(
            credentials, answer.set_cookie, sent=answer.sent_cookies
        )
        if answer.skew_seconds is not None:
            self.skew_seconds = answer.skew_seconds
        if resource != TRANSACTIONS:
            self.future_rows += _future_rows(response) - _future_rows(
                self._cache.get(key)
            )
            self._cache[key] = response
        return response

    def _cached(self, key: str) -> DecodedResponse[Any] | None:
        """Return the last response; None if it has future dates, which may pass."""
        cached = self._cache.get(key)
        return None if _future_rows(cached) else cached

    def _observe_error(self, resource: str, error: RequestError) -> None:
        self.client.observer.observe_error(resource, error.reason)
        if isinstance(error, Undecodable) and error.rows_skipped:
            self.client.observer.observe_skipped_rows(resource, error.rows_skipped)

    async def _decode(
        self,
        answer: Answer,
        cached: DecodedResponse[T] | None,
        parse: Callable[[bytes, BodyFormat, float], T],
    ) -> DecodedResponse[T]:
        """Decode an answer, in a thread if it would block the event loop for long."""
        body_format = self.client.body_format

        def decode(body: bytes, latest: float) -> T:
            return parse(body, body_format, latest)

        if len(answer.body or b"") <= _MAX_INLINE_BYTES[body_format]:
            return decode_response(answer, cached, decode)
        return await asyncio.get_running_loop().run_in_executor(
            self._decode_executor, decode_response, answer, cached, decode
        )


def _future_rows(response: DecodedResponse[Any] | None) -> int:
    return 0 if response is None else getattr(response.content, "future_rows", 0)


def _key(path: str, page: int | None) -> str:
    return path if page is None else f"{path}?page={page}"


def _query(page: int | None) -> dict[str, str]:
    return {} if page is None else {"page": str(page), "per_page": str(ROWS_PER_PAGE)}


def _server_path(vm_id: int, subpath: str) -> str:
    return f"virtual_machines/{vm_id}/{subpath}"


def _usable(resource: str, listed: Listed[Any]) -> Listed[Any]:
    """Return a list without schedules of other actions than backups."""
    if resource != SCHEDULES:
        return listed
    schedules = (s for s in listed.values if s.action == AUTOBACKUP and s.target.id)
    return replace(listed, values=tuple(schedules))
