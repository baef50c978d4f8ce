"""What a panel answers when all is well: pages of rows, written once per change."""

import hashlib
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass

from ..cloud.database import Database
from .encoding import Fields, Format, Row, RowList, to_json, to_xml
from .options import PanelOptions
from .routes import LazyRowList, Route, RouteContext

_CACHE_BYTES = 64 * 1024 * 1024


def etag_of(body: bytes) -> str:
    """Return the weak ETag of a body."""
    return f'W/"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'


@dataclass(frozen=True, slots=True)
class CachedBody:
    """A body with its ETag, and what it was made from."""

    version: Hashable
    etag: str
    body: bytes | None
    """None when there was no room for it."""


class BodyCache:
    """Keeps every ETag, and bodies as long as there is room."""

    def __init__(self) -> None:
        """Begin empty."""
        self._bodies: dict[Hashable, CachedBody] = {}
        self._free_bytes = _CACHE_BYTES

    def get(self, key: Hashable, version: Hashable) -> CachedBody | None:
        """Return what is kept, unless it was made from something else."""
        cached = self._bodies.get(key)
        return cached if cached and cached.version == version else None

    def put(self, key: Hashable, version: Hashable, body: bytes) -> CachedBody:
        """Keep a body in place of its forerunner."""
        former = self._bodies.pop(key, None)
        if former and former.body is not None:
            self._free_bytes += len(former.body)
        fits = len(body) <= self._free_bytes
        self._free_bytes -= len(body) if fits else 0
        self._bodies[key] = CachedBody(version, etag_of(body), body if fits else None)
        return self._bodies[key]


_PER_PAGE = 10


@dataclass(slots=True)
class ResourceRequest:
    """What a request asks for, once it is understood."""

    route: Route
    parameters: dict[str, str]
    query: Mapping[str, str]
    body_format: Format
    edit_rows: Callable[[list[Fields]], None] | None = None


@dataclass(slots=True)
class ResponseContent:
    """A body and the headers that depend on it."""

    body: bytes
    etag: str
    headers: dict[str, str]


class ResponseBuilder:
    """Writes what is wanted; a server's backups only when they have changed."""

    def __init__(self, database: Database, options: PanelOptions) -> None:
        """Begin with nothing written."""
        self._database = database
        self._options = options
        self._cache = BodyCache()

    def build(self, request: ResourceRequest) -> ResponseContent:
        """Return the answer, or raise Missing."""
        if request.route.cached and request.edit_rows is None:
            cached = self._cached(request)
            body = self._render(request)[0] if cached.body is None else cached.body
            return ResponseContent(body, cached.etag, {})
        body, headers = self._render(request)
        return ResponseContent(body, etag_of(body), headers)

    def _cached(self, request: ResourceRequest) -> CachedBody:
        server = self._context(request).server
        options = self._options
        key = (server.id, request.body_format)
        version = (
            id(server),
            server.revision.number,
            options.serializer,
            options.xml_style,
            options.omitted_fields,
        )
        cached = self._cache.get(key, version)
        return cached or self._cache.put(key, version, self._render(request)[0])

    def _context(self, request: ResourceRequest) -> RouteContext:
        options = self._options
        return RouteContext(
            self._database,
            options.serializer,
            options.version,
            options.visible,
            request.parameters,
        )

    def _render(self, request: ResourceRequest) -> tuple[bytes, dict[str, str]]:
        answer = request.route.handler(self._context(request))
        if not isinstance(answer, LazyRowList):
            if request.edit_rows is not None and isinstance(answer, dict):
                request.edit_rows([answer])
            return self._encode(answer, request.body_format), {}
        shown, headers = self._page(answer, request)
        if request.edit_rows is not None:
            request.edit_rows(shown.rows)
        return self._encode(shown, request.body_format), headers

    def _encode(self, answer: RowList | Row | Fields, body_format: Format) -> bytes:
        self._omit_fields(answer)
        if body_format == "xml":
            return to_xml(answer, self._options.xml_style)
        return to_json(answer)

    def _page(
        self, listing: LazyRowList, request: ResourceRequest
    ) -> tuple[RowList, dict[str, str]]:
        query, options = request.query, self._options
        asked = "page" in query or "per_page" in query
        if not (request.route.paged and options.paging and asked):
            return listing.page(0, request.route.unpaged_limit), {}
        number = max(1, _whole_number(query.get("page"), 1))
        size = max(1, _whole_number(query.get("per_page"), _PER_PAGE))
        size = min(size, options.per_page_cap or size)
        headers = {
            "X-Page": str(number),
            "X-Limit": str(size if options.x_limit is None else options.x_limit),
            "X-Total": str(len(listing.rows)),
        }
        return listing.page((number - 1) * size, size), headers

    def _omit_fields(self, answer: RowList | Row | Fields) -> None:
        if isinstance(answer, RowList):
            rows = answer.rows
        else:
            rows = [answer.fields] if isinstance(answer, Row) else []
        for name in self._options.omitted_fields:
            for fields in rows:
                fields.pop(name, None)


def _whole_number(text: str | None, default: int) -> int:
    return int(text) if text and text.isdecimal() else default
