"""Which requests make one reading of a panel, and what a failed one costs.

Every request to a panel passes through ``Reader._ask``: there the gate is asked, the
ETag sent, the answer decoded, and the outcome counted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import structlog

from . import parser
from .client import Answer, Client
from .errors import (
    Forbidden,
    NotAsked,
    NotFound,
    PanelError,
    UnexpectedStatus,
    Unprocessable,
)
from .gate import Gate, Permit
from .model import Backup, Server
from .parser import Parsed
from .secret import Account

VERSION = "version"
VIRTUAL_MACHINES = "virtual_machines"
BACKUPS = "backups"
RESOURCES = (VERSION, VIRTUAL_MACHINES, BACKUPS)
"""What can be asked for: the values of the label ``resource``."""

PER_PAGE = 100
"""Rows asked for at once; a panel may cap it."""
_MOST_PAGES = 10_000

T = TypeVar("T")
log = structlog.get_logger()


class Observer(Protocol):
    """Is told what became of every request."""

    def failed(self, resource: str, reason: str) -> None:
        """Note a request that brought nothing usable."""

    def skipped(self, resource: str, rows: int) -> None:
        """Note rows that could not be used."""


@dataclass(frozen=True, slots=True)
class Inventory:
    """The servers that a panel lists."""

    servers: tuple[Server, ...]
    skipped: int = 0
    """Rows that could not be used: servers that exist, though not among these."""
    cut_short: bool = False
    """Whether the panel counts more servers than it listed."""
    moved: bool = False
    """Whether servers came or went between pages: one may have slipped through."""

    @property
    def complete(self) -> bool:
        """Tell whether a server that is not among these is gone."""
        return not (self.skipped or self.cut_short or self.moved)


@dataclass(frozen=True, slots=True)
class _Reading(Generic[T]):
    """One answer, decoded, with what its headers said."""

    content: T
    etag: str | None
    limit: int | None
    total: int | None
    paged: bool


@dataclass(slots=True, eq=False)
class Reader:
    """Reads one panel."""

    panel: str
    client: Client
    gate: Gate
    account: Account
    observer: Observer
    skew_seconds: float | None = None
    """The panel's clock minus ours, at its last answer."""
    _known: dict[str, _Reading[Any]] = field(default_factory=dict)

    async def version(self) -> str | None:
        """Return the panel's version, or None when the role may not read it."""
        try:
            reading = await self._ask(
                VERSION, "version", lambda body: parser.version(body, self.client.form)
            )
        except (Forbidden, NotFound, Unprocessable):
            return None
        return reading.content

    async def inventory(self) -> Inventory:
        """Return every server that the panel lists, page by page."""
        found: dict[int, Server] = {}
        totals: set[int] = set()
        seen = skipped = 0
        for page in range(1, _MOST_PAGES + 1):
            reading = await self._ask(
                VIRTUAL_MACHINES, "virtual_machines", self._servers, page=page
            )
            if reading.total is not None:
                totals.add(reading.total)
            here = reading.content
            known = sum(server.id in found for server in here.values)
            if known == len(here.values):
                break
            found |= {server.id: server for server in here.values}
            skipped += len(here.skipped)
            seen += here.listed - known
            if _is_last(reading, seen):
                break
        cut_short = reading.total is not None and seen < reading.total
        return Inventory(tuple(found.values()), skipped, cut_short, len(totals) > 1)

    async def server(self, vm_id: int | str) -> Server:
        """Return one server by number or identifier."""
        reading = await self._ask(
            VIRTUAL_MACHINES,
            f"virtual_machines/{vm_id}",
            lambda body: parser.server(body, self.client.form),
        )
        return reading.content

    async def backups(self, vm_id: int) -> tuple[Backup, ...]:
        """Return a server's backups: the same object as long as the panel says 304."""

        def parse(body: bytes) -> Parsed[Backup]:
            parsed = parser.backups(body, self.client.form, vm_id=vm_id)
            self._report(BACKUPS, parsed, vm_id=vm_id)
            return parsed

        reading = await self._ask(BACKUPS, _backups_path(vm_id), parse)
        return reading.content.values

    def forget(self, vm_id: int) -> None:
        """Drop what is remembered of a server that is gone."""
        self._known.pop(_backups_path(vm_id), None)

    def _servers(self, body: bytes) -> Parsed[Server]:
        parsed = parser.servers(body, self.client.form)
        self._report(VIRTUAL_MACHINES, parsed)
        return parsed

    def _report(self, resource: str, parsed: Parsed[Any], **where: int) -> None:
        """Count and log the rows that could not be used, never their content."""
        if parsed.skipped:
            self.observer.skipped(resource, len(parsed.skipped))
        for row in parsed.skipped:
            log.warning(
                "row skipped",
                panel=self.panel,
                resource=resource,
                **where,
                row_id=row.row_id,
                why=row.why,
            )

    async def _ask(
        self,
        resource: str,
        path: str,
        parse: Callable[[bytes], T],
        page: int | None = None,
    ) -> _Reading[T]:
        """Send one request, if one may be sent, and learn from what comes of it."""
        if self.gate.permit() is Permit.NONE:
            raise NotAsked(f"{self.panel} is left alone for now")
        credentials = self.account.credentials()
        key = path if page is None else f"{path}?page={page}"
        known: _Reading[T] | None = self._known.get(key)
        try:
            answer = await self.client.get(
                path,
                credentials,
                resource=resource,
                query=_query(page),
                etag=None if known is None else known.etag,
            )
            reading = _reading(answer, known, parse)
        except PanelError as error:
            error.args = (f"GET /{path}.{self.client.form}: {error}",)
            self.observer.failed(resource, error.reason)
            self.gate.failed(credentials, error)
            raise
        self.gate.worked(credentials)
        if answer.skew_seconds is not None:
            self.skew_seconds = answer.skew_seconds
        self._remember(key, reading)
        return reading

    def _remember(self, key: str, reading: _Reading[Any]) -> None:
        if reading.etag is None:
            self._known.pop(key, None)
        else:
            self._known[key] = reading


def _query(page: int | None) -> dict[str, str]:
    return {} if page is None else {"page": str(page), "per_page": str(PER_PAGE)}


def _backups_path(vm_id: int) -> str:
    return f"virtual_machines/{vm_id}/backups"


def _reading(
    answer: Answer, known: _Reading[T] | None, parse: Callable[[bytes], T]
) -> _Reading[T]:
    if answer.body is not None:
        return _Reading(
            parse(answer.body), answer.etag, answer.limit, answer.total, answer.paged
        )
    if known is None:
        raise UnexpectedStatus("HTTP 304 to a request without an ETag", status=304)
    # The page is the same, but others may follow it now: no total is remembered.
    return _Reading(
        known.content,
        answer.etag or known.etag,
        answer.limit or known.limit,
        answer.total,
        answer.paged or known.paged,
    )


def _is_last(reading: _Reading[Parsed[Server]], seen: int) -> bool:
    """Tell whether a list ends with this page; no paging header: it was all of it.

    A page may be shorter than it says, so the total decides, if it can be true.
    """
    if not reading.paged or seen == reading.total:
        return True
    counting = reading.total is not None and seen < reading.total
    short = reading.content.listed < (reading.limit or 0)
    return short and not counting
