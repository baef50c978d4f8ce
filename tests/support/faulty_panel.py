"""The simulated panel of the tests: it logs its requests and injects faults."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from weakref import WeakSet

from aiohttp import web
from faults import FaultContext, Faults
from yarl import URL

from exporter.demo.cloud.demo_cloud import demo_cloud
from exporter.demo.panel.auth import credentials
from exporter.demo.panel.encoding import Format
from exporter.demo.panel.options import Clock
from exporter.demo.panel.routes import Resource
from exporter.demo.panel.server import COOKIE, ApiRequest, SimulatedPanel

_REQUESTS_KEPT = 100_000


@dataclass(slots=True)
class LoggedRequest:
    """One request."""

    at: float
    """The panel's time."""
    method: str
    path: str
    """The requested path, suffix and base path included."""
    query: dict[str, str]
    resource: Resource | None
    server_id: int | None
    form: Format | None
    authorization: str | None
    if_none_match: str | None
    accept: str | None
    cookie: str | None
    authorized: bool | None = None
    """Whether the credentials were right; None = not checked."""
    status: int | None = None
    """None until a response begins, and forever when there is none."""


class RequestLog:
    """The last requests, and how many were in progress at once."""

    def __init__(self) -> None:
        """Begin without any."""
        self.requests: deque[LoggedRequest] = deque(maxlen=_REQUESTS_KEPT)
        self.in_flight = 0
        self.most_in_flight = 0
        self.in_flight_by_path: Counter[str] = Counter()
        self.most_in_flight_by_path: Counter[str] = Counter()

    @contextmanager
    def record(self, logged: LoggedRequest) -> Iterator[None]:
        """Log a request, and count it as in flight."""
        path = logged.path
        self.requests.append(logged)
        self.in_flight += 1
        self.in_flight_by_path[path] += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        self.most_in_flight_by_path[path] = max(
            self.most_in_flight_by_path[path], self.in_flight_by_path[path]
        )
        try:
            yield
        finally:
            self.in_flight -= 1
            self.in_flight_by_path[path] -= 1

    def requests_for(
        self, resource: Resource, server_id: int | None = None
    ) -> list[LoggedRequest]:
        """Return the requests for a resource, of one server if one is given."""
        return [
            logged
            for logged in self.requests
            if logged.resource == resource and server_id in (None, logged.server_id)
        ]


_CURRENT_REQUEST: ContextVar[LoggedRequest] = ContextVar("request")
"""The request of this task, which handles one after the other."""


class Panel(SimulatedPanel):
    """A simulated panel with a log of its requests, and with faults."""

    def __post_init__(self) -> None:
        """Begin without requests and faults; both are kept across a stop."""
        super().__post_init__()
        self.faults = Faults()
        self.request_log = RequestLog()
        self.connections_used = 0
        """How many connections ever carried a request."""
        self._stopping = asyncio.Event()
        self._connections: WeakSet[asyncio.Transport] = WeakSet()

    @property
    def requests(self) -> deque[LoggedRequest]:
        """The last requests, oldest first."""
        return self.request_log.requests

    @property
    def in_flight(self) -> int:
        """How many requests are in progress now."""
        return self.request_log.in_flight

    @property
    def most_in_flight(self) -> int:
        """How many requests were ever in progress at once."""
        return self.request_log.most_in_flight

    @property
    def connections(self) -> int:
        """How many connections are open now."""
        server = None if self._runner is None else self._runner.server
        return 0 if server is None else len(server.connections)

    @property
    def failed_attempts(self) -> Counter[str]:
        """The number of failed attempts by account."""
        return self.authenticator.failed_attempts

    @property
    def locked(self) -> set[str]:
        """The accounts that are locked after failed attempts."""
        return self.authenticator.locked

    @property
    def sessions_opened(self) -> int:
        """How many sessions were opened."""
        return self.authenticator.sessions_opened

    def app(self) -> web.Application:
        """Return the panel as an application that logs the status of responses."""
        app = super().app()
        app.on_response_prepare.append(_note_status)
        return app

    @property
    def port(self) -> int:
        """The port that it has, or had."""
        return URL(self.url).port or 0

    async def start_again(self) -> None:
        """Start on the port that it had."""
        await self.start(port=self.port)

    async def stop(self) -> None:
        """Stop, and continue the requests that faults delay."""
        self._stopping.set()
        await super().stop()
        self._stopping = asyncio.Event()

    async def respond(self, request: ApiRequest) -> web.StreamResponse:
        """Return the response to a request, with all faults in scope applied."""
        logged = self._logged(request)
        _CURRENT_REQUEST.set(logged)
        context = self._fault_context(request)
        answer = super().respond

        async def proceed() -> web.StreamResponse:
            request.edit_rows, request.force_body = (
                context.edit_rows,
                context.force_body,
            )
            return await answer(request)

        with self.request_log.record(logged):
            try:
                response = await self.faults.respond(context, proceed)
                response.headers.setdefault("Date", self._date())
                return response
            finally:
                logged.authorized = request.authorized

    def _logged(self, request: ApiRequest) -> LoggedRequest:
        http = request.http
        return LoggedRequest(
            at=self.cloud.now,
            method=http.method,
            path=http.path,
            query=dict(http.query),
            resource=request.route.resource if request.route else None,
            server_id=request.server_id,
            form=request.body_format,
            authorization=http.headers.get("Authorization"),
            if_none_match=http.headers.get("If-None-Match"),
            accept=http.headers.get("Accept"),
            cookie=http.cookies.get(COOKIE),
        )

    def _fault_context(self, request: ApiRequest) -> FaultContext:
        transport = request.http.transport
        reused = transport in self._connections
        if transport is not None and not reused:
            self.connections_used += 1
            self._connections.add(transport)
        refusal = partial(self.error_response, body_format=request.body_format)

        def unauthorized() -> web.Response:
            account, _ = credentials(request.http.headers.get("Authorization"))
            self.authenticator.count_failure(account, self.lock_after)
            return refusal(401)

        return FaultContext(
            request=request.http,
            path=request.path,
            form=request.body_format,
            resource=request.route.resource if request.route else None,
            server_id=request.server_id,
            reused=reused,
            stopping=self._stopping,
            refusal=refusal,
            unauthorized=unauthorized,
        )


async def demo_panel(clock: Clock = time.time, seed: int = 1) -> Panel:
    """Start a panel over the demo cloud, as ``exporter.demo`` does."""
    panel = Panel(demo_cloud(clock(), seed), clock=clock)
    await panel.start()
    return panel


async def _note_status(request: web.Request, response: web.StreamResponse) -> None:
    """Log the status of a response, if its client is still connected."""
    transport = request.transport
    if transport is not None and not transport.is_closing():
        _CURRENT_REQUEST.get().status = response.status
