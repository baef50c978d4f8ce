"""The HTTP server of the panel: OnApp's API over a simulated cloud, on a real port."""

import re
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from types import TracebackType
from typing import Self, cast

from aiohttp import web

from ..cloud.demo_cloud import demo_cloud, jammed_cloud
from ..cloud.simulation import SimulatedCloud
from . import errors
from .auth import Authenticator
from .encoding import Fields, Format
from .options import Clock, PanelOptions
from .responses import ResourceRequest, ResponseBuilder, ResponseContent
from .routes import NotFound, Route, match_route

COOKIE = "_session_id"

_ADDRESS = re.compile(r"(?P<path>/.*?)/?(?:\.(?P<form>json|xml))?")
_SHUTDOWN_SECONDS = 1.0
_CONTENT_TYPES = {"json": "application/json", "xml": "application/xml"}


@dataclass(slots=True, eq=False)
class ApiRequest:
    """A request with its parsed address."""

    http: web.Request
    path: str
    """The path without base path and suffix."""
    body_format: Format | None
    """The format from the suffix, else from the Accept header."""
    route: Route | None
    parameters: dict[str, str]
    server_id: int | None
    authorized: bool | None = None
    """Whether the credentials are right; None until they are checked."""
    edit_rows: Callable[[list[Fields]], None] | None = None
    """Changes the rows before they are encoded; for fault injection in tests."""
    force_body: bool = False
    """Whether If-None-Match is ignored; for fault injection in tests."""


@dataclass(eq=False)
class SimulatedPanel(PanelOptions):
    """Serves the API of a simulated cloud."""

    cloud: SimulatedCloud
    url: str = field(default="", init=False)
    """The address since the last start, base path included."""

    def __post_init__(self) -> None:
        """Create the state that is kept across stops."""
        self.authenticator = Authenticator()
        self._response_builder = ResponseBuilder(self.cloud, self)
        self._runner: web.AppRunner | None = None

    def app(self) -> web.Application:
        """Return the panel as an aiohttp application."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        return app

    async def start(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        ssl_context: ssl.SSLContext | None = None,
    ) -> str:
        """Open the port and return the panel's address; port 0 = any free one."""
        # A request is cancelled when its client disconnects.
        self._runner = web.AppRunner(
            self.app(),
            handler_cancellation=True,
            access_log=None,
            shutdown_timeout=_SHUTDOWN_SECONDS,
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port, ssl_context=ssl_context).start()
        port = self._runner.addresses[0][1]
        address = f"[{host}]" if ":" in host else host
        scheme = "https" if ssl_context else "http"
        self.url = f"{scheme}://{address}:{port}{self.base_path}"
        return self.url

    async def stop(self) -> None:
        """Close the port and cancel requests in progress; the panel may start again."""
        self.authenticator.close_sessions()
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
        """Return the response to a request; tests override it to inject faults."""
        headers = request.http.headers
        request.authorized = self.authenticator.authenticate(
            headers.get("Authorization"),
            (self.username, self.password),
            self.lock_after,
        )
        if not request.authorized:
            return self.error_response(401, request.body_format)
        response = self._resource_response(request)
        if session := self.authenticator.new_session(request.http.cookies.get(COOKIE)):
            response.set_cookie(COOKIE, session, httponly=True)
        return response

    def error_response(self, status: int, body_format: Format | None) -> web.Response:
        """Return the panel's response with an error status."""
        body, content_type = errors.error_body(status, self.error_shape, body_format)
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
            self.cloud.advance(self.clock())
        return await self.respond(self._parse(http))

    def _parse(self, http: web.Request) -> ApiRequest:
        base = self.base_path.rstrip("/")
        path = http.path
        below = path.removeprefix(base) if path.startswith(f"{base}/") else ""
        match = _ADDRESS.fullmatch(below)
        if match is None:
            return ApiRequest(http, path, _accepted_format(http), None, {}, None)
        body_format = cast("Format | None", match["form"]) or _accepted_format(http)
        route, parameters = match_route(match["path"]) or (None, {})
        key = parameters.get("server")
        server = self.cloud.server(key) if key else None
        server_id = server.id if server else None
        return ApiRequest(
            http, match["path"], body_format, route, parameters, server_id
        )

    def _resource_response(self, request: ApiRequest) -> web.Response:
        route, body_format = request.route, request.body_format
        if route is None or request.http.method != "GET":
            return self.error_response(404, body_format)
        if body_format is None:
            return web.Response(body=errors.SIGN_IN, content_type="text/html")
        if self.permissions is not None and route.permission not in self.permissions:
            return self.error_response(403, body_format)
        query = request.http.query
        resource_request = ResourceRequest(
            route, request.parameters, query, body_format, request.edit_rows
        )
        try:
            content = self._response_builder.build(resource_request)
        except NotFound:
            return self.error_response(404, body_format)
        known = request.http.headers.get("If-None-Match", "")
        return self._success_response(
            content, body_format, "" if request.force_body else known
        )

    def _success_response(
        self, content: ResponseContent, body_format: Format, known_etags: str
    ) -> web.Response:
        headers = {
            **content.headers,
            "Cache-Control": "max-age=0, private, must-revalidate",
            "Date": self._date(),
        }
        if self.etags:
            headers["ETag"] = content.etag
            if content.etag in known_etags:
                return web.Response(status=304, headers=headers)
        response = web.Response(
            body=content.body,
            headers=headers,
            content_type=_CONTENT_TYPES[body_format],
            charset="utf-8",
        )
        self._apply_options(response)
        return response

    def _apply_options(self, response: web.Response) -> None:
        if self.chunked:
            response.enable_chunked_encoding()
        if self.gzip:
            response.enable_compression()
        if not self.keep_alive:
            response.force_close()

    def _date(self) -> str:
        return formatdate(self.cloud.now + self.date_skew_seconds, usegmt=True)


def demo_panel(*, clock: Clock = time.time, servers: int = 0) -> SimulatedPanel:
    """Return a panel for the demo cloud, with at least this many servers.

    The cloud has weeks of history up to the clock's time, and advances with it.
    """
    return SimulatedPanel(demo_cloud(clock(), servers=servers), clock=clock)


def jammed_panel(*, clock: Clock = time.time) -> SimulatedPanel:
    """Return a panel with a jammed backup queue."""
    return SimulatedPanel(jammed_cloud(clock()), clock=clock)


def _accepted_format(request: web.Request) -> Format | None:
    accept = request.headers.get("Accept", "")
    if "application/json" in accept:
        return "json"
    return "xml" if "application/xml" in accept else None
