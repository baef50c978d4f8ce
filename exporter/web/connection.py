"""One connection to a front door: how long it may take, and how many there may be."""

from __future__ import annotations

import asyncio
import http
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import StreamReader, http_exceptions, web

_Cut = Callable[[], object]
_END = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client may take."""

    handshake_seconds: float = 10.0
    """From the connection to the end of its TLS handshake."""
    head_seconds: float = 15.0
    """From a connection, or the first byte of a request, to its last header."""
    idle_seconds: float = 330.0
    """From an answer to the next request; Prometheus itself closes after 300 s."""
    sending_seconds: float = 60.0
    """From an answer to its last byte."""
    lingering_seconds: float = 0.5
    """For a body that nobody reads, so that the answer to it can be."""
    head_bytes: int = 65_536
    body_bytes: int = 1_048_576
    """Of a body that nobody reads, after the answer."""
    connections: int = 128
    """At once; a new one drives out the one that has been idle for longest.

    Under TLS each takes a third of a megabyte, asyncio's buffer above all.
    """


@dataclass(slots=True, eq=False)
class ConnectionPool:
    """The connections that there are, in the order in which they became idle."""

    most: int
    _idle: OrderedDict[object, _Cut] = field(default_factory=OrderedDict)
    _busy: dict[object, _Cut] = field(default_factory=dict)

    def has_room(self) -> bool:
        """Tell whether one more may come, after an idle one was sent away for it."""
        if len(self._idle) + len(self._busy) < self.most:
            return True
        return self.send_away()

    def send_away(self) -> bool:
        """Cut the connection that has been idle for longest; tell if there was one."""
        if not self._idle:
            return False
        _, cut = self._idle.popitem(last=False)
        cut()
        return True

    def enter(self, one: object, cut: _Cut) -> None:
        """Count a connection as idle; ``cut`` ends it."""
        self._idle[one] = cut

    def leave(self, one: object) -> None:
        """Count a connection no more."""
        self._idle.pop(one, None)
        self._busy.pop(one, None)

    def begin(self, one: object) -> None:
        """Count a connection as busy: it is being answered."""
        cut = self._idle.pop(one, None)
        if cut is not None:
            self._busy[one] = cut

    def end(self, one: object) -> None:
        """Count a connection as idle again, from now on."""
        cut = self._busy.pop(one, None)
        if cut is not None:
            self._idle[one] = cut


class Connection(web.RequestHandler):
    """Speaks HTTP with one client, and not for ever."""

    __slots__ = (
        "_body_bytes",
        "_crowd",
        "_dress",
        "_expecting",
        "_head_bytes",
        "_limits",
        "_timer",
        "_unread",
    )

    def __init__(
        self,
        server: web.Server,
        limits: Limits,
        crowd: ConnectionPool,
        dress: Callable[[web.StreamResponse], None],
    ) -> None:
        """Belong to a server; ``dress`` is put on answers to what is no request."""
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=limits.idle_seconds,
            lingering_time=limits.lingering_seconds,
            auto_decompress=False,
            access_log=None,  # type: ignore[arg-type]  # aiohttp's way to have none
        )
        self._limits, self._crowd, self._dress = limits, crowd, dress
        self._timer: asyncio.TimerHandle | None = None
        self._head_bytes = self._body_bytes = 0
        self._expecting = True
        self._unread: StreamReader | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for a first request, for so long."""
        super().connection_made(transport)
        self._crowd.enter(self, self.cut)
        self._expect_head()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Be counted no more."""
        self._stop_timer()
        self._crowd.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, unless it is too much for a head, or for a body nobody reads."""
        if self._unread is not None:
            self._body_bytes += len(data)
        elif self._expecting:
            self._expect_head()
            if _END not in data:
                self._head_bytes += len(data)
        if (
            self._head_bytes > self._limits.head_bytes
            or self._body_bytes > self._limits.body_bytes
        ):
            self.cut()
            return
        super().data_received(data)
        if self._unread is not None and self._unread.is_eof():
            self._unread, self._expecting = None, True
        if self._messages:
            # A whole head: what follows is a body, also before an answer is begun.
            self._expecting = False

    def begin(self) -> None:
        """Take note that a whole head was read, and is being answered."""
        self._stop_timer()
        self._expecting, self._unread = False, None
        self._head_bytes = self._body_bytes = 0
        self._crowd.begin(self)

    def cut(self) -> None:
        """Hang up at once."""
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
        """Send an answer, or hang up on a reader that is too slow."""
        try:
            async with asyncio.timeout(self._limits.sending_seconds):
                return await super().finish_response(request, resp, start_time)
        except TimeoutError:
            self.cut()
            raise ConnectionResetError("the answer was not read") from None
        finally:
            # What is left of a body is not the head of the next request.
            self._unread = None if request.content.is_eof() else request.content
            self._expecting = self._unread is None and not self._messages
            self._crowd.end(self)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002  # it may quote the request
    ) -> web.StreamResponse:
        """Answer what went wrong in a few words, none of them about the inside."""
        if status >= 500:
            self.log_exception("a request could not be answered", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun already")
        if isinstance(exc, http_exceptions.LineTooLong):
            status = http.HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        response = web.Response(
            status=status, text=f"{http.HTTPStatus(status).phrase}.\n"
        )
        self._dress(response)
        response.force_close()
        return response

    def _expect_head(self) -> None:
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._limits.head_seconds, self.cut)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
