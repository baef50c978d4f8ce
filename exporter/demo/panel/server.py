"""A control panel over a simulated cloud: OnApp's API on a real port."""

import re
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from types import TracebackType
from typing import Self, cast

from aiohttp import web

from ..cloud.demo_cloud import demo_cloud
from ..cloud.simulation import World
from . import errors
from .auth import Gate
from .encoding import Fields, Format
from .options import Clock, Habits
from .responses import Replies, Reply, Wanted
from .routes import Missing, Route, find

COOKIE = "_session_id"

_ADDRESS = re.compile(r"(?P<path>/.*?)/?(?:\.(?P<form>json|xml))?")
_SHUTDOWN_SECONDS = 1.0
_CONTENT_TYPES = {"json": "application/json", "xml": "application/xml"}


@dataclass(slots=True, eq=False)
class ApiRequest:
    """A request, its address taken apart."""

    http: web.Request
    path: str
    """The path without base path and suffix."""
    form: Format | None
    """The format of the suffix, else of the Accept header."""
    route: Route | None
    parameters: dict[str, str]
    server_id: int | None
    authorized: bool | None = None
    """Whether the credentials were right; None = not looked at."""
    edit_rows: Callable[[list[Fields]], None] | None = None
    """Changes the rows before they are written; the tests inject faults so."""
    force_body: bool = False
    """Whether the answer must have a body, whatever the client knows already."""


@dataclass(eq=False)
class SimulatedPanel(Habits):
    """Serves a simulated cloud."""

    world: World
    url: str = field(default="", init=False)
    """Where it was last reached, base path included."""

    def __post_init__(self) -> None:
        """Prepare what outlives a stop."""
        self.gate = Gate()
        self._replies = Replies(self.world, self)
        self._runner: web.AppRunner | None = None

    def app(self) -> web.Application:
        """Return the panel as an application."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        return app

    async def start(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        ssl_context: ssl.SSLContext | None = None,
    ) -> str:
        """Open the port and return the panel's address; port 0 takes a free one."""
        # A client that hangs up ends its request.
        self._runner = web.AppRunner(
            self.app(),
            handler_cancellation=True,
            access_log=None,
            shutdown_timeout=_SHUTDOWN_SECONDS,
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port, ssl_context=ssl_context).start()
        port = self._runner.addresses[0][1]
        shown = f"[{host}]" if ":" in host else host
        scheme = "https" if ssl_context else "http"
        self.url = f"{scheme}://{shown}:{port}{self.base_path}"
        return self.url

    async def stop(self) -> None:
        """Close the port and end what is being answered; it may start again."""
        self.gate.close_sessions()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Self:
        """Start on a free port of the loopback interface."""
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        await self.stop()

    async def respond(self, request: ApiRequest) -> web.StreamResponse:
        """Answer a request; the tests override it to fail instead."""
        headers = request.http.headers
        request.authorized = self.gate.admits(
            headers.get("Authorization"),
            (self.username, self.password),
            self.lock_after,
        )
        if not request.authorized:
            return self.error_response(401, request.form)
        response = self._admitted(request)
        if session := self.gate.new_session(request.http.cookies.get(COOKIE)):
            response.set_cookie(COOKIE, session, httponly=True)
        return response

    def error_response(self, status: int, form: Format | None) -> web.Response:
        """Return what the panel says with a status."""
        body, content_type = errors.body(status, self.error_shape, form)
        response = web.Response(
            status=status,
            body=body,
            headers={"Date": self._date()},
            content_type=content_type,
            charset="utf-8",
        )
        if status == 401:
            response.headers["WWW-Authenticate"] = 'Basic realm="Application"'
        return response

    async def _handle(self, http: web.Request) -> web.StreamResponse:
        if self.clock is not None:
            self.world.advance(self.clock())
        return await self.respond(self._parsed(http))

    def _parsed(self, http: web.Request) -> ApiRequest:
        base = self.base_path.rstrip("/")
        whole = http.path
        below = whole.removeprefix(base) if whole.startswith(f"{base}/") else ""
        match = _ADDRESS.fullmatch(below)
        if match is None:
            return ApiRequest(http, whole, _accepted(http), None, {}, None)
        form = cast("Format | None", match["form"]) or _accepted(http)
        route, parameters = find(match["path"]) or (None, {})
        key = parameters.get("server")
        server = self.world.server(key) if key else None
        server_id = server.id if server else None
        return ApiRequest(http, match["path"], form, route, parameters, server_id)

    def _admitted(self, request: ApiRequest) -> web.Response:
        route, form = request.route, request.form
        if route is None or request.http.method != "GET":
            return self.error_response(404, form)
        if form is None:
            return web.Response(body=errors.SIGN_IN, content_type="text/html")
        if self.permissions is not None and route.permission not in self.permissions:
            return self.error_response(403, form)
        query = request.http.query
        wanted = Wanted(route, request.parameters, query, form, request.edit_rows)
        try:
            reply = self._replies.reply(wanted)
        except Missing:
            return self.error_response(404, form)
        known = request.http.headers.get("If-None-Match", "")
        return self._sent(reply, form, "" if request.force_body else known)

    def _sent(self, reply: Reply, form: Format, known: str) -> web.Response:
        headers = {
            **reply.headers,
            "Cache-Control": "max-age=0, private, must-revalidate",
            "Date": self._date(),
        }
        if self.etags:
            headers["ETag"] = reply.etag
            if reply.etag in known:
                return web.Response(status=304, headers=headers)
        response = web.Response(
            body=reply.body,
            headers=headers,
            content_type=_CONTENT_TYPES[form],
            charset="utf-8",
        )
        self._dress(response)
        return response

    def _dress(self, response: web.Response) -> None:
        if self.chunked:
            response.enable_chunked_encoding()
        if self.gzip:
            response.enable_compression()
        if not self.keep_alive:
            response.force_close()

    def _date(self) -> str:
        return formatdate(self.world.now + self.date_skew_seconds, usegmt=True)


async def demo_panel(*, clock: Clock = time.time, seed: int = 1) -> SimulatedPanel:
    """Start a panel over the demo cloud; its address and account are its own fields.

    The cloud has weeks of history up to the clock's time, and moves with it.
    """
    panel = SimulatedPanel(demo_cloud(clock(), seed), clock=clock)
    await panel.start()
    return panel


def _accepted(request: web.Request) -> Format | None:
    accept = request.headers.get("Accept", "")
    if "application/json" in accept:
        return "json"
    return "xml" if "application/xml" in accept else None
