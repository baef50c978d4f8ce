"""Successful responses: pages of rows, encoded once per change."""

import hashlib
from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import dataclass
from typing import get_args

from ..cloud.database import Database
from .encoding import Fields, Format, Row, RowList, to_json, to_xml
from .options import PanelOptions
from .routes import LazyRowList, Route, RouteContext

_CACHE_BYTES = 64 * 1024 * 1024
_PER_PAGE = 10

CacheKey = tuple[int, Format]
"""A server's number, and the format of the body."""


def etag_of(body: bytes) -> str:
    """Return the weak ETag of a body."""
    return f'W/"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'


@dataclass(frozen=True, slots=True)
class CachedBody:
    """A body with its ETag, and the version of the data in it."""

    version: Hashable
    etag: str
    body: bytes | None
    """None when the cache was full."""


class BodyCache:
    """Keeps every ETag, and bodies up to a total size, to serve a large cloud."""

    def __init__(self, servers: Collection[int]) -> None:
        """Begin empty; what is kept of servers that have gone is forgotten."""
        self._servers = servers
        self._bodies: dict[CacheKey, CachedBody] = {}
        self._free_bytes = _CACHE_BYTES

    def get(self, key: CacheKey, version: Hashable) -> CachedBody | None:
        """Return what is kept, unless it is of another version."""
        cached = self._bodies.get(key)
        return cached if cached and cached.version == version else None

    def put(self, key: CacheKey, version: Hashable, body: bytes) -> CachedBody:
        """Keep a body in place of the previous one."""
        if len(self._bodies) > len(self._servers) * len(get_args(Format)):
            for old in [old for old in self._bodies if old[0] not in self._servers]:
                self._drop(old)
        self._drop(key)
        fits = len(body) <= self._free_bytes
        self._free_bytes -= len(body) if fits else 0
        self._bodies[key] = CachedBody(version, etag_of(body), body if fits else None)
        return self._bodies[key]

    def _drop(self, key: CacheKey) -> None:
        dropped = self._bodies.pop(key, None)
        if dropped and dropped.body is not None:
            self._free_bytes += len(dropped.body)


@dataclass(slots=True)
class ResourceRequest:
    """The parts of a request that decide on the content of its response."""

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
    """Builds responses; a server's backups are encoded only after a change."""

    def __init__(self, database: Database, options: PanelOptions) -> None:
        """Begin with an empty cache."""
        self._database = database
        self._options = options
        self._cache = BodyCache(database.servers)

    def build(self, request: ResourceRequest) -> ResponseContent:
        """Return the content of a response; NotFound if there is no such row."""
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
            self._database, options, options.serializer, request.parameters
        )

    def _render(self, request: ResourceRequest) -> tuple[bytes, dict[str, str]]:
        content = request.route.handler(self._context(request))
        if not isinstance(content, LazyRowList):
            if request.edit_rows is not None and isinstance(content, dict):
                request.edit_rows([content])
            return self._encode(content, request.body_format), {}
        rows, headers = self._page(content, request)
        if request.edit_rows is not None:
            request.edit_rows(rows.rows)
        return self._encode(rows, request.body_format), headers

    def _encode(self, content: RowList | Row | Fields, body_format: Format) -> bytes:
        self._omit_fields(content)
        if body_format == "xml":
            return to_xml(content, self._options.xml_style)
        return to_json(content)

    def _page(
        self, listing: LazyRowList, request: ResourceRequest
    ) -> tuple[RowList, dict[str, str]]:
        query, options = request.query, self._options
        requested = "page" in query or "per_page" in query
        if not (request.route.paged and options.paging and requested):
            return listing.page(0, request.route.unpaged_limit), {}
        page = max(1, _whole_number(query.get("page"), 1))
        size = max(1, _whole_number(query.get("per_page"), _PER_PAGE))
        size = min(size, options.per_page_cap or size)
        headers = {
            "X-Page": str(page),
            "X-Limit": str(size if options.x_limit is None else options.x_limit),
            "X-Total": str(len(listing.rows)),
        }
        return listing.page((page - 1) * size, size), headers

    def _omit_fields(self, content: RowList | Row | Fields) -> None:
        if isinstance(content, RowList):
            rows = content.rows
        else:
            rows = [content.fields] if isinstance(content, Row) else []
        for name in self._options.omitted_fields:
            for fields in rows:
                fields.pop(name, None)


def _whole_number(text: str | None, default: int) -> int:
    return int(text) if text and text.isdecimal() else default
