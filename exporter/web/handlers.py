"""The routes: metrics, status page, health, readiness, reload and configuration."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus

from aiohttp import web

from ..errors import ConfigError
from ..metrics.exposition import Exposition, accepts_gzip, negotiate_media_type
from ..metrics.scrapes import Scrapes
from ..model.store import Store
from ..status.query import BadQuery, Query, parse_page, parse_query
from ..status.views import Views
from .connection import header

_HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
_PAGE_HEADERS = {"Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY"}
_EXPLANATIONS: Mapping[int, str] = {
    HTTPStatus.NOT_FOUND: "There is no page at this address.",
    HTTPStatus.METHOD_NOT_ALLOWED: "This address does not answer such a request.",
}
_MAX_PAGE_ROWS = 100
_MAX_JSON_ROWS = 1000


@dataclass(slots=True, eq=False)
class Handlers:
    """The handler of each route."""

    store: Store
    exposition: Exposition
    views: Views
    telemetry_path: str
    max_requests: int
    """Limit on concurrent scrapes; 0: no limit."""
    effective_config: Callable[[], str]
    """Returns the configuration in force, without secrets."""
    hung_panels: Callable[[], list[str]]
    """Returns the names of the panels whose poll loop hangs."""
    reload: Callable[[], Awaitable[None]]
    """Reloads the configuration; on ConfigError, the old one stays in force."""
    _active_scrapes: int = field(default=0, init=False)
    _scrapes: Scrapes = field(init=False)

    def __post_init__(self) -> None:
        """Share one ``Scrapes`` between all requests."""
        self._scrapes = Scrapes(self.exposition)

    def application(self) -> web.Application:
        """Return the application with all routes."""
        app = web.Application()
        app.router.add_get(self.telemetry_path, self._metrics)
        app.router.add_get("/", self._overview)
        app.router.add_get("/server", self._server)
        app.router.add_get("/panel", self._panel)
        app.router.add_get("/runbooks/{alert}", self._runbook)
        app.router.add_get("/compliance", self._compliance)
        app.router.add_get("/api/v1/status", self._status)
        app.router.add_get("/-/healthy", self._healthy)
        app.router.add_get("/-/ready", self._ready)
        app.router.add_post("/-/reload", self._reload)
        app.router.add_get("/config", self._config)
        app.on_response_prepare.append(_add_headers)
        app.cleanup_ctx.append(self._run)
        return app

    async def _run(self, _: web.Application) -> AsyncIterator[None]:
        async with self._scrapes.running(), self.views.running():
            yield

    async def _metrics(self, request: web.Request) -> web.StreamResponse:
        if 0 < self.max_requests <= self._active_scrapes:
            return web.Response(
                status=503,
                text=f"More than {self.max_requests} scrapes at once "
                "(--web.max-requests).\n",
                headers={"Retry-After": "1"},
            )
        self._active_scrapes += 1
        self.hung_panels()  # logs them, even if no health check is made
        try:
            # A scrape counts until it is sent, as its body is in memory until then.
            return await self._scrape(request)
        finally:
            self._active_scrapes -= 1

    async def _scrape(self, request: web.Request) -> web.StreamResponse:
        content_type = negotiate_media_type(header(request, "Accept"))
        names = frozenset(request.query.getall("name[]", []))
        compressed = accepts_gzip(header(request, "Accept-Encoding"))
        body = await self._scrapes.body(content_type, names, compressed=compressed)
        response = web.StreamResponse(
            headers={"Content-Type": content_type, "Vary": "Accept, Accept-Encoding"}
        )
        if compressed:
            response.headers["Content-Encoding"] = "gzip"
        response.content_length = body.length
        await response.prepare(request)
        for chunk in body.chunks() if request.method != "HEAD" else ():
            await response.write(chunk)
            await asyncio.sleep(0)  # lets other tasks run, even if the client is fast
        await response.write_eof()
        return response

    async def _overview(self, request: web.Request) -> web.Response:
        parsed = self._parsed_query(request, _MAX_PAGE_ROWS, "html")
        return self._page(await self.views.overview(parsed))

    async def _server(self, request: web.Request) -> web.Response:
        panel, vm_id = (request.query.get(name, "") for name in ("panel", "vm_id"))
        with _answering_bad_queries():
            page = parse_page(request.query)
        text = await self.views.server(panel, vm_id, page)
        if text is not None:
            return self._page(text)
        if _accepts_html(request):
            return self._page(self.views.absent_server(panel, vm_id), status=404)
        text = "No such server here: panel or vm_id is wrong, or another shard's.\n"
        return web.Response(status=404, text=text)

    async def _panel(self, request: web.Request) -> web.Response:
        text = await self.views.panel(request.query.get("panel", ""))
        if text is None:
            text = f"panel: must be one of {', '.join(self.store.panels)}\n"
            return web.Response(status=404, text=text)
        return self._page(text)

    async def _runbook(self, request: web.Request) -> web.Response:
        # Alerts link to the files of docs/runbooks, or here if so configured.
        alert = request.match_info["alert"].removesuffix(".md")
        text = self.views.pages.runbook(alert)
        if text is None:
            return web.Response(status=404, text="There is no runbook of that name.\n")
        return self._page(text)

    async def _compliance(self, request: web.Request) -> web.Response:
        parsed = self._parsed_query(request, _MAX_PAGE_ROWS, "html", "csv")
        if parsed.format == "csv":
            return _csv(await self.views.compliance_csv(parsed), "compliance")
        return self._page(await self.views.compliance(parsed))

    async def _status(self, request: web.Request) -> web.Response:
        parsed = self._parsed_query(request, _MAX_JSON_ROWS, "json", "csv")
        if parsed.format == "csv":
            return _csv(await self.views.servers_csv(parsed), "servers")
        body = await self.views.status(parsed)
        return web.Response(body=body, content_type="application/json")

    def _parsed_query(
        self, request: web.Request, max_rows: int, *formats: str
    ) -> Query:
        panels = self.exposition.store.panels
        with _answering_bad_queries():
            return parse_query(
                request.query, panels=panels, max_per_page=max_rows, formats=formats
            )

    def _page(self, text: str, status: int = 200) -> web.Response:
        return web.Response(
            status=status,
            text=text,
            content_type="text/html",
            headers=self._page_headers,
        )

    @property
    def _page_headers(self) -> dict[str, str]:
        policy = self.views.pages.content_security_policy
        return _PAGE_HEADERS | {"Content-Security-Policy": policy}

    def show_error(self, request: web.BaseRequest, response: web.Response) -> None:
        """Turn the text of an error into a page with links, for a browser."""
        is_text = response.content_type == "text/plain"
        if response.status < 400 or not is_text or not _accepts_html(request):
            return
        phrase = HTTPStatus(response.status).phrase
        text, title = response.text or "", f"{response.status} {phrase}"
        if text == f"{response.status}: {phrase}":  # aiohttp's own
            text = _EXPLANATIONS.get(response.status, "")
        depth = request.rel_url.raw_path.count("/") - 1
        response.text = self.views.pages.error(title, text, "../" * depth or "./")
        response.content_type = "text/html"
        response.headers.update(self._page_headers)

    async def _healthy(self, _: web.Request) -> web.Response:
        hung = self.hung_panels()
        if hung:
            text = f"Polling hangs, restart the exporter; panels: {', '.join(hung)}.\n"
            return web.Response(status=503, text=text)
        return web.Response(text="Healthy.\n")

    async def _ready(self, _: web.Request) -> web.Response:
        if self.store.ready():
            return web.Response(text="Ready.\n")
        return web.Response(status=503, text="The first pass has not ended yet.\n")

    async def _reload(self, _: web.Request) -> web.Response:
        try:
            await self.reload()
        except ConfigError as error:
            return web.Response(
                status=500,
                text=f"Not reloaded, the old configuration stays: {error}\n",
            )
        return web.Response(text="Reloaded.\n")

    async def _config(self, _: web.Request) -> web.Response:
        return web.Response(text=self.effective_config(), content_type="text/plain")


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)


def _accepts_html(request: web.BaseRequest) -> bool:
    """Return whether a browser sent the request: other clients accept other types."""
    return "text/html" in header(request, "Accept")


def _csv(text: str, name: str) -> web.Response:
    """Return a response that a browser saves as a file."""
    disposition = f'attachment; filename="onapp-backup-{name}.csv"'
    return web.Response(
        text=text,
        content_type="text/csv",
        headers={"Content-Disposition": disposition},
    )


@contextmanager
def _answering_bad_queries() -> Iterator[None]:
    # Not a middleware: aiohttp never frees applications that have one.
    try:
        yield
    except BadQuery as error:
        raise web.HTTPBadRequest(text=f"{error}\n") from None
