"""HTTP connections: TLS, limits, time-outs, and the number of open connections."""

from __future__ import annotations

import asyncio
import http
import ssl
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import structlog
from aiohttp import EMPTY_PAYLOAD, StreamReader, http_exceptions, web

from ..metrics.exposition import accepts_gzip
from .auth import AccessControl
from .tls import has_allowed_san

log = structlog.get_logger()

ErrorRenderer: TypeAlias = Callable[[web.BaseRequest, web.Response], None]
"""Changes an error response to a form that suits the client."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on time, size and number of connections."""

    head_seconds: float = 15.0
    """From the connection, or a request's first byte, to its last header."""
    answer_seconds: float = 60.0
    """From the last header to the last byte of the response."""
    idle_seconds: float = 330.0
    """From a response to the next request; Prometheus itself closes after 300 s."""
    lingering_seconds: float = 0.5
    """How long an unread body is drained, so that the client gets the answer."""
    head_bytes: int = 65_536
    body_bytes: int = 1_048_576
    """Of an unread body after the answer; a client that sends more is disconnected."""
    connections: int = 128
    """Open at once; beyond that, a new connection replaces the longest idle one.

    With TLS, each needs a third of a megabyte, mostly for asyncio's buffer.
    """


_COMPRESSED_FROM_BYTES = 1_000
"""Shorter responses fit into one packet without compression."""


class Connection(web.RequestHandler):
    """An HTTP connection with time-outs, which starts TLS itself.

    It therefore counts during the handshake, and uses the TLS settings in force then.
    """

    def __init__(
        self,
        server: web.Server,
        access: AccessControl,
        limits: Limits,
        open_connections: OrderedDict[Connection, None],
        show_error: ErrorRenderer | None = None,
    ) -> None:
        """``open_connections`` are ordered by their last response."""
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=limits.idle_seconds,
            lingering_time=limits.lingering_seconds,
            auto_decompress=False,
            access_log=None,  # type: ignore[arg-type]  # aiohttp then writes none
        )
        self.busy = False
        """Whether a request is being answered."""
        self.handshake: asyncio.Task[None] | None = None
        self._access, self._limits = access, limits
        self._open_connections = open_connections
        self._show_error = show_error
        self._deadline: asyncio.TimerHandle | None = None
        self._early = b""
        self._head_bytes = self._body_bytes = 0
        self._body: StreamReader = EMPTY_PAYLOAD

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first request; at the limit, abort the longest idle connection.

        If all others are being answered, that is this one.
        """
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  # of a stream socket
        self._socket_transport = transport
        self._abort_after(self._limits.head_seconds)
        self._open_connections[self] = None
        if len(self._open_connections) > self._limits.connections:
            next(each for each in self._open_connections if not each.busy).abort()
        config = self._access.config()
        if config.ssl_context is None:
            super().connection_made(transport)
        else:
            transport.pause_reading()
            self.handshake = asyncio.create_task(
                self._start_tls(config.ssl_context, config.client_allowed_sans)
            )

    async def _start_tls(
        self, ssl_context: ssl.SSLContext, allowed_sans: frozenset[str] | None
    ) -> None:
        transport = None
        try:
            if not self._socket_transport.is_closing():
                transport = await asyncio.get_running_loop().start_tls(
                    self._socket_transport, self, ssl_context, server_side=True
                )
        except OSError as error:
            self._report_failure(str(error))
        if transport is not None and allowed_sans is not None:
            peer = transport.get_extra_info("ssl_object").getpeercert()
            if not has_allowed_san(peer, allowed_sans):
                self._report_failure("no name of client_allowed_sans")
                transport.abort()
        if transport is None or transport.is_closing():
            self.connection_lost(None)
            return
        super().connection_made(transport)
        if self._early:
            early, self._early = self._early, b""
            self.data_received(early)

    def _report_failure(self, error: str) -> None:
        # Any client can cause this, so it must not fill the log.
        log.debug("connection failed before a request", error=error)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Free the place for another connection."""
        self._abort_after(None)
        self._open_connections.pop(self, None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser; disconnect if a head or an unread body is too long."""
        if self.transport is None:
            self._early += data  # received with the end of the handshake
            return
        if not self.busy and not self._body.is_eof():
            self._body_bytes += len(data)
        elif not self.busy:
            self._head_bytes += len(data)
            if self._deadline is None:
                self._abort_after(self._limits.head_seconds)
        super().data_received(data)
        if self._messages:
            self._answer_next()
        elif (
            self._head_bytes > self._limits.head_bytes
            or self._body_bytes > self._limits.body_bytes
        ):
            self.abort()

    def _answer_next(self) -> None:
        """Record that a complete head was read and its request is being answered."""
        if not self.busy:
            self.busy = True
            self._head_bytes = self._body_bytes = 0
            self._abort_after(self._limits.answer_seconds)

    def abort(self) -> None:
        """Close the connection at once and discard unsent data."""
        self._open_connections.pop(self, None)
        self._socket_transport.abort()

    async def finish_response(
        self,
        request: web.BaseRequest,
        resp: web.StreamResponse,
        start_time: float | None,
    ) -> tuple[web.StreamResponse, bool]:
        """Send a response with the common headers, compressed if it is long."""
        if not resp.prepared:
            if self._show_error is not None and isinstance(resp, web.Response):
                self._show_error(request, resp)
            await self._access.add_headers(request, resp)
            _compress(request, resp)
        try:
            return await super().finish_response(request, resp, start_time)
        finally:
            self.busy, self._body = False, request.content
            self._abort_after(None)
            if self in self._open_connections:
                self._open_connections.move_to_end(self)
            if self._messages:
                self._answer_next()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002  # it may quote the request
    ) -> web.StreamResponse:
        """Return an error response that discloses no internals."""
        if isinstance(exc, ConnectionError):
            raise exc
        if status >= 500:
            self.log_exception("a request could not be answered", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun already")
        if isinstance(exc, http_exceptions.LineTooLong):
            status = http.HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        response = web.Response(
            status=status, text=f"{http.HTTPStatus(status).phrase}.\n"
        )
        response.force_close()
        return response

    def _abort_after(self, seconds: float | None) -> None:
        """Replace the connection's deadline; None: no deadline."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = (
            None
            if seconds is None
            else asyncio.get_running_loop().call_later(seconds, self.abort)
        )


def _compress(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Enable gzip for a long body if the client accepts it.

    aiohttp would choose deflate. It compresses in a thread.
    """
    body = response.body if isinstance(response, web.Response) else None
    if isinstance(body, bytes) and len(body) >= _COMPRESSED_FROM_BYTES:
        response.headers["Vary"] = "Accept-Encoding"
        if accepts_gzip(header(request, "Accept-Encoding")):
            response.enable_compression(web.ContentCoding.gzip)


def header(request: web.BaseRequest, name: str) -> str:
    """Return a list header, whose values may be spread over several lines."""
    # The headers of a malformed request are a plain dict, which has no getall.
    lines = request.headers.items()
    return ",".join(value for key, value in lines if key.lower() == name.lower())
