"""HTTP connections: their limits and time-outs, and how many may be open."""

from __future__ import annotations

import asyncio
import http
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import StreamReader, http_exceptions, web

_Abort = Callable[[], object]
_HEAD_END = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on what a client may use."""

    handshake_seconds: float = 10.0
    """From the connection to the end of the TLS handshake."""
    head_seconds: float = 15.0
    """From the connection, or a request's first byte, to its last header."""
    idle_seconds: float = 330.0
    """From a response to the next request; Prometheus itself closes after 300 s."""
    sending_seconds: float = 60.0
    """To send a whole response."""
    lingering_seconds: float = 0.5
    """How long an unread request body is drained, so that its answer can be read."""
    head_bytes: int = 65_536
    body_bytes: int = 1_048_576
    """Of an unread request body, after its answer; then the client is disconnected."""
    connections: int = 128
    """Open at once; beyond that, a new one replaces the one idle for longest.

    With TLS, each needs a third of a megabyte, most of it asyncio's buffer.
    """


@dataclass(slots=True, eq=False)
class ConnectionPool:
    """The open connections; the idle ones in the order in which they became idle."""

    limit: int
    _idle: OrderedDict[object, _Abort] = field(default_factory=OrderedDict)
    _busy: dict[object, _Abort] = field(default_factory=dict)

    def make_room(self) -> bool:
        """Return whether there is room, if need be by aborting an idle connection."""
        if len(self._idle) + len(self._busy) < self.limit:
            return True
        return self.abort_longest_idle()

    def abort_longest_idle(self) -> bool:
        """Return whether there was an idle connection to abort."""
        if not self._idle:
            return False
        _, abort = self._idle.popitem(last=False)
        abort()
        return True

    def add(self, connection: object, abort: _Abort) -> None:
        """Add a connection, as idle; ``abort`` closes it."""
        self._idle[connection] = abort

    def remove(self, connection: object) -> None:
        """Remove a connection, idle or busy."""
        self._idle.pop(connection, None)
        self._busy.pop(connection, None)

    def mark_busy(self, connection: object) -> None:
        """Protect a connection from being aborted: a request is being answered."""
        abort = self._idle.pop(connection, None)
        if abort is not None:
            self._busy[connection] = abort

    def mark_idle(self, connection: object) -> None:
        """Make a connection the most recent of the idle ones."""
        abort = self._busy.pop(connection, None)
        if abort is not None:
            self._idle[connection] = abort


class Connection(web.RequestHandler):
    """An HTTP connection with time-outs and a limit on the request head."""

    __slots__ = (
        "_add_headers",
        "_awaiting_head",
        "_body_bytes",
        "_head_bytes",
        "_limits",
        "_pool",
        "_timer",
        "_unread",
    )

    def __init__(
        self,
        server: web.Server,
        limits: Limits,
        pool: ConnectionPool,
        add_headers: Callable[[web.StreamResponse], None],
    ) -> None:
        """``add_headers`` completes responses to requests that cannot be parsed."""
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=limits.idle_seconds,
            lingering_time=limits.lingering_seconds,
            auto_decompress=False,
            access_log=None,  # type: ignore[arg-type]  # aiohttp's way to have none
        )
        self._limits, self._pool, self._add_headers = limits, pool, add_headers
        self._timer: asyncio.TimerHandle | None = None
        self._head_bytes = self._body_bytes = 0
        self._awaiting_head = True
        self._unread: StreamReader | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Join the pool and wait for the first request."""
        super().connection_made(transport)
        self._pool.add(self, self.abort)
        self._start_timer()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Leave the pool."""
        self._stop_timer()
        self._pool.remove(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser; disconnect a head or an unread body that is too long."""
        if self._unread is not None:
            self._body_bytes += len(data)
        elif self._awaiting_head:
            self._start_timer()
            if _HEAD_END not in data:
                self._head_bytes += len(data)
        if (
            self._head_bytes > self._limits.head_bytes
            or self._body_bytes > self._limits.body_bytes
        ):
            self.abort()
            return
        super().data_received(data)
        if self._unread is not None and self._unread.is_eof():
            self._unread, self._awaiting_head = None, True
        if self._messages:
            # A whole head: what follows is a body, also before an answer is begun.
            self._awaiting_head = False

    def head_received(self) -> None:
        """Take note that a whole head was read, and is being answered."""
        self._stop_timer()
        self._awaiting_head, self._unread = False, None
        self._head_bytes = self._body_bytes = 0
        self._pool.mark_busy(self)

    def abort(self) -> None:
        """Close the connection at once, unsent data included."""
        transport = self.transport
        self.force_close()
        if transport is not None:
            transport.abort()

    async def finish_response(
        self,
        request: web.BaseRequest,
        resp: web.StreamResponse,
        start_time: float | None,
    ) -> tuple[web.StreamResponse, bool]:
        """Send a response; abort the connection if the client reads too slowly."""
        try:
            async with asyncio.timeout(self._limits.sending_seconds):
                return await super().finish_response(request, resp, start_time)
        except TimeoutError:
            self.abort()
            raise ConnectionResetError("the answer was not read") from None
        finally:
            # What is left of a body is not the head of the next request.
            self._unread = None if request.content.is_eof() else request.content
            self._awaiting_head = self._unread is None and not self._messages
            self._pool.mark_idle(self)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002  # it may quote the request
    ) -> web.StreamResponse:
        """Return an error response that discloses nothing of the exporter."""
        if status >= 500:
            self.log_exception("a request could not be answered", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun already")
        if isinstance(exc, http_exceptions.LineTooLong):
            status = http.HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        response = web.Response(
            status=status, text=f"{http.HTTPStatus(status).phrase}.\n"
        )
        self._add_headers(response)
        response.force_close()
        return response

    def _start_timer(self) -> None:
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._limits.head_seconds, self.abort)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
