"""The HTTP side: metrics, status page, health, readiness, reload, configuration."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import web

from .errors import ConfigError
from .exposition import Body, Exposition
from .negotiation import accepts_gzip, media_type
from .page import page
from .samples import Now
from .scrapes import Scrapes
from .store import Store

_RETRY_SECONDS = "1"
_LONGEST_SENDING_SECONDS = 60.0
_HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
_PAGE_HEADERS = {
    **_HEADERS,
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
}


@dataclass(slots=True, eq=False)
class Pages:
    """Answers every path."""

    store: Store
    exposition: Exposition
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
        app.router.add_get("/", self._status)
        app.router.add_get("/-/healthy", self._healthy)
        app.router.add_get("/-/ready", self._ready)
        app.router.add_post("/-/reload", self._reload)
        app.router.add_get("/config", self._config)
        app.cleanup_ctx.append(self._scraping)
        return app

    async def _scraping(self, _: web.Application) -> AsyncIterator[None]:
        async with self._made.running():
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
        kind = media_type(",".join(request.headers.getall("Accept", [])))
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

    async def _status(self, _: web.Request) -> web.Response:
        clock = self.exposition.clock
        now = Now(clock.time(), clock.monotonic())
        return web.Response(
            text=page(self.store, now, self.telemetry_path),
            content_type="text/html",
            headers=_PAGE_HEADERS,
        )

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
