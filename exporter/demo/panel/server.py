"""A control panel over a simulated cloud: OnApp's API on a real port."""

import asyncio
import re
import ssl
from collections import Counter, deque
from contextvars import ContextVar
from dataclasses import dataclass, field
from email.utils import formatdate
from types import TracebackType
from typing import Self, cast
from weakref import WeakSet

from aiohttp import web

from ..cloud.simulation import World
from . import errors
from .auth import Gate, account_of
from .encoding import Format
from .faults import Faults, Scene
from .options import Habits
from .responses import Replies, Reply, Wanted
from .routes import Missing, Route, find
from .traffic import Asked, Traffic

_ADDRESS = re.compile(r"(?P<path>/.*?)/?(?:\.(?P<form>json|xml))?")
_ASKED: ContextVar[Asked] = ContextVar("asked")
"""What is asked for in this task: aiohttp answers one request after the other in it."""
_COOKIE = "_session_id"
_SHUTDOWN_SECONDS = 1.0
_CONTENT_TYPES = {"json": "application/json", "xml": "application/xml"}


@dataclass(slots=True)
class Address:
    """The address of a request, taken apart."""

    path: str
    form: Format | None
    """The format of the suffix."""
    route: Route | None
    parameters: dict[str, str]


@dataclass(eq=False)
class Panel(Habits):
    """Serves a world, keeps account of the requests, misbehaves when told to."""

    world: World
    url: str = field(default="", init=False)
    """Where it was last reached, base path included."""

    def __post_init__(self) -> None:
        """Prepare what outlives a stop."""
        self.faults = Faults()
        self.traffic = Traffic()
        self.gate = Gate()
        self._replies = Replies(self.world, self)
        self.connections_used = 0
        """How many connections ever carried a request."""
        self._stopping = asyncio.Event()
        self._connections: WeakSet[asyncio.Transport] = WeakSet()
        self._runner: web.AppRunner | None = None

    @property
    def requests(self) -> deque[Asked]:
        """The last requests, oldest first."""
        return self.traffic.requests

    @property
    def in_flight(self) -> int:
        """How many requests are being answered now."""
        return self.traffic.in_flight

    @property
    def most_in_flight(self) -> int:
        """How many requests were ever answered at once."""
        return self.traffic.most_in_flight

    @property
    def connections(self) -> int:
        """How many connections are open now."""
        server = None if self._runner is None else self._runner.server
        return 0 if server is None else len(server.connections)

    @property
    def attempts(self) -> Counter[str]:
        """The refused tries by account."""
        return self.gate.attempts

    @property
    def locked(self) -> set[str]:
        """The accounts that were tried in vain too often."""
        return self.gate.locked

    @property
    def sessions_opened(self) -> int:
        """How many sessions were opened."""
        return self.gate.sessions_opened

    def app(self) -> web.Application:
        """Return the panel as an application."""
        app = web.Application()
        app.on_response_prepare.append(_note_status)
        app.router.add_route("*", "/{path:.*}", self._handle)
        return app

    async def start(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        ssl_context: ssl.SSLContext | None = None,
    ) -> str:
        """Open the port and return the panel's address; port 0 takes a free one."""
        self._stopping = asyncio.Event()
        # A client that hangs up ends its request, else floods and hangs outlive it.
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
        self._stopping.set()
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

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if self.clock is not None:
            self.world.advance(self.clock())
        address = self._address(request.path)
        asked = self._asked(request, address)
        _ASKED.set(asked)
        scene = self._scene(request, asked, address)
        with self.traffic.count(asked):
            return await self.faults.let_through(
                scene, lambda: self._answer(scene, asked, address)
            )

    def _address(self, whole: str) -> Address:
        base = self.base_path.rstrip("/")
        below = whole.removeprefix(base) if whole.startswith(f"{base}/") else ""
        match = _ADDRESS.fullmatch(below)
        if match is None:
            return Address(whole, None, None, {})
        form = cast("Format | None", match["form"])
        route, parameters = find(match["path"]) or (None, {})
        return Address(match["path"], form, route, parameters)

    def _asked(self, request: web.Request, address: Address) -> Asked:
        headers = request.headers
        key = address.parameters.get("server")
        server = self.world.server(key) if key else None
        return Asked(
            at=self.world.now,
            method=request.method,
            path=request.path,
            query=dict(request.query),
            resource=address.route.resource if address.route else None,
            server_id=server.id if server else None,
            form=address.form or _accepted(request),
            authorization=headers.get("Authorization"),
            if_none_match=headers.get("If-None-Match"),
            accept=headers.get("Accept"),
            cookie=request.cookies.get(_COOKIE),
        )

    def _scene(self, request: web.Request, asked: Asked, address: Address) -> Scene:
        transport = request.transport
        reused = transport in self._connections
        if transport is not None and not reused:
            self.connections_used += 1
            self._connections.add(transport)

        def unauthorized() -> web.Response:
            self.gate.refuse(account_of(asked.authorization), self.lock_after)
            return self._refusal(401, asked.form)

        return Scene(
            request=request,
            path=address.path,
            form=asked.form,
            resource=asked.resource,
            server_id=asked.server_id,
            reused=reused,
            stopping=self._stopping,
            refusal=lambda status: self._refusal(status, asked.form),
            unauthorized=unauthorized,
        )

    async def _answer(
        self, scene: Scene, asked: Asked, address: Address
    ) -> web.StreamResponse:
        asked.authorized = self.gate.admits(
            asked.authorization, (self.username, self.password), self.lock_after
        )
        if not asked.authorized:
            return scene.refusal(401)
        response = self._admitted(scene, asked, address)
        if session := self.gate.new_session(asked.cookie):
            response.set_cookie(_COOKIE, session, httponly=True)
        return response

    def _admitted(self, scene: Scene, asked: Asked, address: Address) -> web.Response:
        route, form = address.route, asked.form
        if route is None or asked.method != "GET":
            return scene.refusal(404)
        if form is None:
            return web.Response(body=errors.SIGN_IN, content_type="text/html")
        if self.permissions is not None and route.permission not in self.permissions:
            return scene.refusal(403)
        wanted = Wanted(route, address.parameters, asked.query, form, scene.spoil)
        try:
            reply = self._replies.reply(wanted)
        except Missing:
            return scene.refusal(404)
        known = "" if scene.whole else asked.if_none_match or ""
        return self._sent(reply, form, known)

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

    def _refusal(self, status: int, form: Format | None) -> web.Response:
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

    def _date(self) -> str:
        return formatdate(self.world.now + self.date_skew_seconds, usegmt=True)


async def _note_status(request: web.Request, response: web.StreamResponse) -> None:
    """Keep what is sent, and only if there is still somebody to send it to."""
    transport = request.transport
    if transport is not None and not transport.is_closing():
        _ASKED.get().status = response.status


def _accepted(request: web.Request) -> Format | None:
    accept = request.headers.get("Accept", "")
    if "application/json" in accept:
        return "json"
    return "xml" if "application/xml" in accept else None
