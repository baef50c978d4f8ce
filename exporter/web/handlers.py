"""The HTTP side: metrics, status page, health, readiness, reload, configuration."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import web

from ..errors import ConfigError
from ..metrics.exposition import Body, Exposition, accepts_gzip, negotiate_media_type
from ..metrics.scrapes import Scrapes
from ..model.store import Store
from ..status.query import BadQuery, Query, parse_page, parse_query
from ..status.views import Views

_RETRY_SECONDS = "1"
_LONGEST_SENDING_SECONDS = 60.0
_HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
_PAGE_HEADERS = {
    **_HEADERS,
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}
_MOST_ON_A_PAGE = 100
_MOST_IN_JSON = 1000


@dataclass(slots=True, eq=False)
class Handlers:
    """Answers every path."""

    store: Store
    exposition: Exposition
    views: Views
    telemetry_path: str
    max_requests: int
    """Scrapes served at once; 0: no limit."""
    effective: Callable[[], str]
    """Returns the configuration in force, without secrets."""
    reload: Callable[[], Awaitable[None]]
    """Loads the configuration again; raises ConfigError and keeps the old one."""
    _scrapes: int = field(default=0, init=False)
    _made: Scrapes = field(init=False)

    def __post_init__(self) -> None:
        """Prepare to make scrapes."""
        self._made = Scrapes(self.exposition)

    def application(self) -> web.Application:
        """Return the application that serves them."""
        app = web.Application()
        app.router.add_get(self.telemetry_path, self._metrics)
        app.router.add_get("/", self._overview)
        app.router.add_get("/server", self._server)
        app.router.add_get("/api/v1/status", self._status)
        app.router.add_get("/-/healthy", self._healthy)
        app.router.add_get("/-/ready", self._ready)
        app.router.add_post("/-/reload", self._reload)
        app.router.add_get("/config", self._config)
        app.cleanup_ctx.extend((self._scraping, self._viewing))
        return app

    async def _scraping(self, _: web.Application) -> AsyncIterator[None]:
        async with self._made.running():
            yield

    async def _viewing(self, _: web.Application) -> AsyncIterator[None]:
        async with self.views.running():
            yield

    async def _metrics(self, request: web.Request) -> web.StreamResponse:
        if 0 < self.max_requests <= self._scrapes:
            return web.Response(
                status=503,
                text=f"More than {self.max_requests} scrapes at once "
                "(--web.max-requests).\n",
                headers={**_HEADERS, "Retry-After": _RETRY_SECONDS},
            )
        self._scrapes += 1
        try:
            # Not before it is sent is a scrape over: until then it holds its memory.
            return await self._scrape(request)
        finally:
            self._scrapes -= 1

    async def _scrape(self, request: web.Request) -> web.StreamResponse:
        kind = negotiate_media_type(",".join(request.headers.getall("Accept", [])))
        names = frozenset(request.query.getall("name[]", []))
        compressed = accepts_gzip(
            ",".join(request.headers.getall("Accept-Encoding", []))
        )
        body = await self._made.body(kind, names, compressed=compressed)
        headers = {**_HEADERS, "Content-Type": kind, "Vary": "Accept, Accept-Encoding"}
        if compressed:
            headers["Content-Encoding"] = "gzip"
        response = web.StreamResponse(headers=headers)
        response.content_length = body.length
        await _send(request, response, body)
        return response

    async def _overview(self, request: web.Request) -> web.Response:
        try:
            wanted = self._wanted(request, _MOST_ON_A_PAGE)
        except BadQuery as error:
            return _refused(error)
        return self._page(await self.views.overview(wanted))

    async def _server(self, request: web.Request) -> web.Response:
        panel, vm_id = (request.query.get(name, "") for name in ("panel", "vm_id"))
        try:
            page = parse_page(request.query)
        except BadQuery as error:
            return _refused(error)
        text = await self.views.server(panel, vm_id, page)
        if text is None:
            text = "There is no such server here: it is gone, or another shard's.\n"
            return web.Response(status=404, text=text, headers=_HEADERS)
        return self._page(text)

    async def _status(self, request: web.Request) -> web.Response:
        try:
            wanted = self._wanted(request, _MOST_IN_JSON)
        except BadQuery as error:
            return _refused(error)
        body = await self.views.status(wanted)
        return web.Response(
            body=body, content_type="application/json", headers=_HEADERS
        )

    def _wanted(self, request: web.Request, most: int) -> Query:
        panels = self.exposition.store.panels
        return parse_query(request.query, panels=panels, max_per_page=most)

    def _page(self, text: str) -> web.Response:
        headers = _PAGE_HEADERS | {
            "Content-Security-Policy": self.views.pages.content_security_policy
        }
        return web.Response(text=text, content_type="text/html", headers=headers)

    async def _healthy(self, _: web.Request) -> web.Response:
        return web.Response(text="Healthy.\n", headers=_HEADERS)

    async def _ready(self, _: web.Request) -> web.Response:
        if self.store.ready():
            return web.Response(text="Ready.\n", headers=_HEADERS)
        return web.Response(
            status=503, text="The first pass has not ended yet.\n", headers=_HEADERS
        )

    async def _reload(self, _: web.Request) -> web.Response:
        try:
            await self.reload()
        except ConfigError as error:
            return web.Response(
                status=500,
                text=f"Not reloaded, the old configuration stays: {error}\n",
                headers=_HEADERS,
            )
        return web.Response(text="Reloaded.\n", headers=_HEADERS)

    async def _config(self, _: web.Request) -> web.Response:
        return web.Response(
            text=self.effective(), content_type="text/plain", headers=_HEADERS
        )


def _refused(error: BadQuery) -> web.Response:
    return web.Response(status=400, text=f"{error}\n", headers=_HEADERS)


async def _send(request: web.Request, response: web.StreamResponse, body: Body) -> None:
    """Send a whole response, or hang up on a reader that is gone or too slow."""
    try:
        async with asyncio.timeout(_LONGEST_SENDING_SECONDS):
            await response.prepare(request)
            for chunk in body.chunks() if request.method != "HEAD" else ():
                await response.write(chunk)
                await asyncio.sleep(0)  # a quick reader must not keep all others out
            await response.write_eof()
    except (TimeoutError, ConnectionError):
        if request.transport is not None:
            request.transport.abort()
