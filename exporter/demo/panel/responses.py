"""Successful responses: pages of rows, which are encoded once per change."""

import hashlib
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from ..cloud.database import Database
from ..cloud.rows import Revision
from .encoding import Fields, Format, Row, RowList, to_json, to_xml
from .options import PanelOptions
from .routes import LazyRowList, Route, RouteContext

_PER_PAGE = 10


@dataclass(slots=True)
class ResourceRequest:
    """The parts of a request that determine the content of the response."""

    route: Route
    parameters: dict[str, str]
    query: Mapping[str, str]
    body_format: Format
    edit_rows: Callable[[list[Fields]], None] | None = None


@dataclass(slots=True)
class ResponseContent:
    """A body and the headers that depend on it."""

    body: bytes
    headers: dict[str, str]
    etag: str = field(init=False)
    """A weak ETag."""

    def __post_init__(self) -> None:
        """Derive the ETag."""
        digest = hashlib.md5(self.body, usedforsecurity=False)
        self.etag = f'W/"{digest.hexdigest()}"'


class ResponseBuilder:
    """Builds responses; a server's backups are encoded only after a change."""

    def __init__(self, database: Database, options: PanelOptions) -> None:
        """Start with an empty cache."""
        self._database = database
        self._options = options
        self._encoded: WeakKeyDictionary[
            Revision, dict[Format, tuple[Hashable, ResponseContent]]
        ] = WeakKeyDictionary()
        """Each server's encoded backups and their version, while the server exists."""

    def build(self, request: ResourceRequest) -> ResponseContent:
        """Return the content of a response; raise NotFound without such a row."""
        if not request.route.cached or request.edit_rows is not None:
            return self._render(request)
        options, body_format = self._options, request.body_format
        revision = self._context(request).server.revision
        version = (
            revision.number,
            options.serializer,
            options.xml_style,
            options.omitted_fields,
        )
        encoded = self._encoded.setdefault(revision, {})
        if body_format not in encoded or encoded[body_format][0] != version:
            encoded[body_format] = version, self._render(request)
        return encoded[body_format][1]

    def _context(self, request: ResourceRequest) -> RouteContext:
        options = self._options
        return RouteContext(
            self._database, options, options.serializer, request.parameters
        )

    def _render(self, request: ResourceRequest) -> ResponseContent:
        found = request.route.handler(self._context(request))
        content: RowList | Row | Fields
        headers: dict[str, str] = {}
        if isinstance(found, LazyRowList):
            content, headers = self._page(found, request)
        else:
            content = found
        if request.edit_rows is not None and not isinstance(content, Row):
            request.edit_rows(
                content.rows if isinstance(content, RowList) else [content]
            )
        self._omit_fields(content)
        if request.body_format == "xml":
            body = to_xml(content, self._options.xml_style)
        else:
            body = to_json(content)
        return ResponseContent(body, headers)

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
