"""Which requests make one reading of a panel, and what a failed one costs.

Every request to a panel passes through ``Reader._ask``: there the gate is asked, the
ETag sent, the answer decoded, and the outcome counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol, TypeAlias, TypeVar

import structlog

from ..config.schema import BodyFormat
from ..config.secrets import Account
from ..errors import (
    Forbidden,
    NotAsked,
    NotFound,
    PanelError,
    Undecodable,
    Unprocessable,
)
from ..model.entities import (
    AUTOBACKUP,
    BACKUP_SERVERS,
    BACKUPS,
    DISKS,
    RECOVERY_POINTS,
    SCHEDULES,
    TRANSACTIONS,
    VERSION,
    VIRTUAL_MACHINES,
    BackupServer,
    Disk,
    RecoveryPoint,
    Schedule,
    Server,
    Transaction,
)
from ..model.packed import PackedBackups, packed
from . import backups as parser
from . import resources as records
from .backups import Parsed
from .circuit_breaker import CircuitBreaker
from .client import Answer, Client
from .decode import Skipped
from .paging import (
    PER_PAGE,
    DecodedResponse,
    Listed,
    Page,
    decoded,
    is_last,
    whole_list,
)

_MOST_LOGGED = 20
"""Of the unusable rows of one answer: it can hold a million."""
_LONGEST_AT_ONCE: Mapping[BodyFormat, int] = {"json": 256 * 1024, "xml": 16 * 1024}
"""Bytes that are decoded in a few milliseconds, and so without a thread."""

T = TypeVar("T")
Parse: TypeAlias = Callable[[bytes, BodyFormat], Parsed[Any]]
log = structlog.get_logger()


class ReadObserver(Protocol):
    """Is told what became of every request."""

    def failed(self, resource: str, reason: str) -> None:
        """Note a request that brought nothing usable."""

    def skipped(self, resource: str, rows: int) -> None:
        """Note rows that could not be used."""


@dataclass(slots=True, eq=False)
class PanelApi:
    """Reads one panel."""

    panel: str
    client: Client
    gate: CircuitBreaker
    account: Account
    observer: ReadObserver
    most_pages: int = 10_000
    """A list that still goes on then is taken for cut short."""
    skew_seconds: float | None = None
    """The panel's clock minus ours, at its last answer."""
    _known: dict[str, DecodedResponse[Any]] = field(default_factory=dict)
    _decoder: Executor = field(
        # Its own: look-ups of panels' names can block the event loop's.
        default_factory=lambda: ThreadPoolExecutor(1, "decode")
    )
    _reported: dict[str, frozenset[Skipped]] = field(default_factory=dict)
    """The unusable rows of each list that are in the log already."""

    async def version(self) -> str | None:
        """Return the panel's version, or None when the role may not read it."""
        try:
            reading = await self._ask(
                VERSION, "version", lambda body: parser.version(body, self.client.form)
            )
        except (Forbidden, NotFound, Unprocessable):
            return None
        return reading.content

    async def inventory(self) -> Listed[Server]:
        """Return every server that the panel lists."""
        return await self._list(VIRTUAL_MACHINES)

    async def server(self, vm_id: int | str) -> Server:
        """Return one server by number or identifier."""
        path = f"virtual_machines/{vm_id}"
        reading = await self._ask(
            VIRTUAL_MACHINES, path, lambda body: parser.server(body, self.client.form)
        )
        return reading.content

    async def backups(self, vm_id: int) -> PackedBackups:
        """Return a server's backups: the same object as long as the panel says 304."""
        parse = partial(parser.backups, vm_id=vm_id)
        # By contract a list in which a row cannot be used is all that there is.
        path = _path(vm_id, "backups")
        reading = await self._read(BACKUPS, path, parse, vm_id=vm_id)
        if not reading.paged or is_last(reading, reading.content.listed):
            found: PackedBackups = reading.content.values
            return found
        listed = await self._pages_of(BACKUPS, path, parse, vm_id)
        listed.raise_if_cut_short()
        if listed.moved:
            raise Undecodable("the list has changed while its pages were read")
        return packed(listed.values)

    async def schedules(self) -> Listed[Schedule]:
        """Return every schedule of backups that the panel lists."""
        return _of_backups(await self._list(SCHEDULES))

    async def schedules_of(self, vm_id: int) -> Listed[Schedule]:
        """Return the schedules of a server and its disks."""
        parse = records.schedules
        return _of_backups(await self._of_server(SCHEDULES, vm_id, "schedules", parse))

    async def disks(self) -> Listed[Disk]:
        """Return every disk that the panel lists."""
        return await self._list(DISKS)

    async def disks_of(self, vm_id: int) -> Listed[Disk]:
        """Return the disks of a server."""
        return await self._of_server(DISKS, vm_id, "disks", records.disks)

    async def recovery_points_of(self, vm_id: int) -> Listed[RecoveryPoint]:
        """Return what plugins keep of a server."""
        path = "backups/recovery_points"
        parse = partial(records.recovery_points, vm_id=vm_id)
        return await self._of_server(RECOVERY_POINTS, vm_id, path, parse)

    async def backup_servers(self) -> Listed[BackupServer]:
        """Return every backup server that the panel lists."""
        return await self._list(BACKUP_SERVERS)

    async def pages(self, resource: str) -> int:
        """Look at the first page of a whole list; return how many there are.

        Without paging headers, as on old panels, that page is all there is.
        """
        path, parse = _LISTS[resource]
        reading = await self._read(resource, path, parse, page=1)
        limit = reading.limit or reading.content.listed
        return 1 if not (reading.total and limit) else -(-reading.total // limit)

    async def transactions(self, page: int) -> Page[Transaction]:
        """Return a page of the panel's log, newest first."""
        reading = await self._read(
            TRANSACTIONS, "transactions", records.transactions, page=page
        )
        limit = reading.limit or 0
        seen = (page - 1) * limit + reading.content.listed if limit else 0
        return Page(tuple(reading.content.values), is_last(reading, seen))

    def forget(self, vm_id: int) -> None:
        """Drop what is remembered of a server that is gone."""
        for what in ("backups", "schedules", "disks", "backups/recovery_points"):
            path = _path(vm_id, what)
            for page in (None, *range(1, self.most_pages)):
                self._reported.pop(_key(path, page), None)
                if self._known.pop(_key(path, page), None) is None and page:
                    break

    async def _list(self, resource: str) -> Listed[Any]:
        """Return a list of the whole panel."""
        return await self._pages_of(resource, *_LISTS[resource])

    async def _pages_of(
        self, resource: str, path: str, parse: Parse, vm_id: int | None = None
    ) -> Listed[Any]:
        """Return a list page by page."""

        def page(number: int) -> Awaitable[DecodedResponse[Parsed[Any]]]:
            return self._read(resource, path, parse, page=number, vm_id=vm_id)

        return await whole_list(page, self.most_pages)

    async def _of_server(
        self, resource: str, vm_id: int, what: str, parse: Parse
    ) -> Listed[Any]:
        path = _path(vm_id, what)
        reading = await self._read(resource, path, parse, vm_id=vm_id)
        found = reading.content
        skipped = tuple(row.row_id for row in found.skipped)
        cut_short = reading.total is not None and found.listed < reading.total
        return Listed(tuple(found.values), skipped, cut_short)

    async def _read(
        self,
        resource: str,
        path: str,
        parse: Parse,
        *,
        page: int | None = None,
        vm_id: int | None = None,
    ) -> DecodedResponse[Parsed[Any]]:
        """Read one list or page, and report the rows that cannot be used."""
        reading: DecodedResponse[Parsed[Any]] = await self._ask(
            resource, path, lambda body: parse(body, self.client.form), page
        )
        if reading.sent:
            where = {} if vm_id is None else {"vm_id": vm_id}
            skipped = reading.content.skipped
            self._report(_key(path, page), resource, skipped, where)
        return reading

    def _report(
        self,
        key: str,
        resource: str,
        skipped: tuple[Skipped, ...],
        where: Mapping[str, int],
    ) -> None:
        """Count the rows that could not be used; log new ones, never their content."""
        if skipped:
            self.observer.skipped(resource, len(skipped))
        before = self._reported.pop(key, frozenset())
        if skipped:
            self._reported[key] = frozenset(skipped)
        new = [row for row in skipped if row not in before]
        for row in new[:_MOST_LOGGED]:
            log.warning(
                "row skipped",
                panel=self.panel,
                resource=resource,
                **where,
                row_id=row.row_id,
                why=row.why,
            )
        if len(new) > _MOST_LOGGED:
            log.warning(
                "more rows skipped",
                panel=self.panel,
                resource=resource,
                **where,
                rows=len(new) - _MOST_LOGGED,
            )

    async def _ask(
        self,
        resource: str,
        path: str,
        parse: Callable[[bytes], T],
        page: int | None = None,
    ) -> DecodedResponse[T]:
        """Send one request, if one may be sent, and learn from what comes of it."""
        credentials = self.gate.admit()
        if credentials is None:
            raise NotAsked(f"{self.panel} is left alone for now")
        key = _key(path, page)
        known: DecodedResponse[T] | None = self._known.get(key)
        try:
            answer = await self.client.get(
                path,
                credentials,
                resource=resource,
                query=_query(page),
                etag=None if known is None else known.etag,
            )
            reading = await self._decoded(answer, known, parse)
        except PanelError as error:
            error.args = (f"GET /{path}.{self.client.form}: {error}",)
            self.observer.failed(resource, error.reason)
            if isinstance(error, Undecodable) and error.rows_skipped:
                self.observer.skipped(resource, error.rows_skipped)
            self.gate.failed(credentials, error)
            raise
        except asyncio.CancelledError:
            self.gate.abandoned(credentials)
            raise
        self.gate.worked(credentials)
        if answer.skew_seconds is not None:
            self.skew_seconds = answer.skew_seconds
        if page is None or resource != TRANSACTIONS:
            self._known[key] = reading
        return reading

    async def _decoded(
        self,
        answer: Answer,
        known: DecodedResponse[T] | None,
        parse: Callable[[bytes], T],
    ) -> DecodedResponse[T]:
        """Decode an answer; a long one in a thread, for all others to go on."""
        if len(answer.body or b"") <= _LONGEST_AT_ONCE[self.client.form]:
            return decoded(answer, known, parse)
        return await asyncio.get_running_loop().run_in_executor(
            self._decoder, decoded, answer, known, parse
        )


_LISTS: Mapping[str, tuple[str, Parse]] = {
    VIRTUAL_MACHINES: ("virtual_machines", parser.servers),
    SCHEDULES: ("settings/schedules", records.schedules),
    DISKS: ("settings/disks", records.disks),
    BACKUP_SERVERS: ("settings/backup_servers", records.backup_servers),
    TRANSACTIONS: ("transactions", records.transactions),
}
"""Where a panel lists everything of a kind."""


def _key(path: str, page: int | None) -> str:
    return path if page is None else f"{path}?page={page}"


def _query(page: int | None) -> dict[str, str]:
    return {} if page is None else {"page": str(page), "per_page": str(PER_PAGE)}


def _path(vm_id: int, what: str) -> str:
    return f"virtual_machines/{vm_id}/{what}"


def _of_backups(listed: Listed[Schedule]) -> Listed[Schedule]:
    schedules = (s for s in listed.values if s.action == AUTOBACKUP and s.target.id)
    return replace(listed, values=tuple(schedules))
