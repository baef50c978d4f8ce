"""Listening: addresses are bound, and connections accepted up to a limit.

asyncio's own accept loop cannot do what is needed here: use a new TLS context for each
connection, count connections during their handshake, abort an idle connection when a
new one needs its place, and wait when the process has no file descriptors left.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import structlog
from aiohttp import web

from .auth import AccessControl, Handler
from .connection import Connection, ConnectionPool, Limits

log = structlog.get_logger()

_SHUTDOWN_SECONDS = 0.5
"""aiohttp waits twice as long for responses in progress."""
_BACKLOG = 1024
_RETRY_SECONDS = 0.5
_IDLE_CLOSED_PER_RETRY = 16
"""Several, so that connections to panels get file descriptors too."""
_OUT_OF_FILES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_FAMILY_DISABLED = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)


Listener: TypeAlias = str | socket.socket
"""``[host]:port`` to bind, or a socket that listens already."""


@asynccontextmanager
async def serving(
    app: web.Application,
    listeners: tuple[Listener, ...],
    access: AccessControl | None = None,
    limits: Limits | None = None,
) -> AsyncIterator[list[str]]:
    """Serve an application on these listeners; yield their addresses as bound.

    Raises OSError, with the address in it, when one cannot be bound.
    """
    access = access or AccessControl()
    app.on_response_prepare.append(_adding_headers(access))
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS)
    await runner.setup()
    assert runner.server is not None  # noqa: S101  # since it is set up
    runner.server.request_handler = _request_handler(access, runner.server)
    sockets: list[socket.socket] = []
    try:
        for listener in listeners:
            sockets += (
                [listener]
                if isinstance(listener, socket.socket)
                else await _bind(listener, dual_stack=_alone(listener, listeners))
            )
        limits = limits or Limits()
        acceptor = _Acceptor(
            runner.server, access, limits, ConnectionPool(limits.connections)
        )
        async with acceptor.accepting(sockets):
            yield [_bound_address(listening_socket) for listening_socket in sockets]
    finally:
        for listening_socket in sockets:
            listening_socket.close()
        await runner.cleanup()
        access.password_checker.close()


def _adding_headers(
    access: AccessControl,
) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    async def add_headers(_: web.Request, response: web.StreamResponse) -> None:
        access.add_headers(response)

    return add_headers


def _request_handler(access: AccessControl, server: web.Server) -> Handler:
    """Return the server's handler, with access control and pool accounting."""
    protected = access.protected(server.request_handler)

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        if isinstance(request.protocol, Connection):
            request.protocol.head_received()
        return await protected(request)

    return handle


def _alone(address: str, listeners: tuple[Listener, ...]) -> bool:
    """Return whether no other listener is for the port of this one."""
    port = address.rpartition(":")[2]
    return not any(
        isinstance(other, str) and other != address and other.endswith(f":{port}")
        for other in listeners
    )


async def _bind(address: str, *, dual_stack: bool) -> list[socket.socket]:
    """Listen on every address that the host resolves to; raise OSError.

    ``dual_stack``: ``[::]`` alone serves IPv4 too, as in Go's servers.
    """
    host, _, port = address.rpartition(":")
    loop = asyncio.get_running_loop()
    try:
        resolved = await loop.getaddrinfo(
            host.strip("[]") or None,
            int(port),
            type=socket.SOCK_STREAM,
            flags=socket.AI_PASSIVE,
        )
        return _listening_sockets(
            [(family, target) for family, *_, target in resolved],
            dual_stack=dual_stack,
        )
    except OSError as error:
        raise OSError(f"{address}: {error.strerror}") from error


def _listening_sockets(
    addresses: list[tuple[int, Any]], *, dual_stack: bool
) -> list[socket.socket]:
    """Listen on all addresses, except those of families that the host has disabled."""
    sockets: list[socket.socket] = []
    last_error: OSError | None = None
    dual_stack &= [target[0] for _, target in addresses] == ["::"]
    dual_stack &= socket.has_dualstack_ipv6()
    try:
        for family, target in dict.fromkeys(addresses):
            try:
                listening_socket = socket.create_server(
                    target, family=family, backlog=_BACKLOG, dualstack_ipv6=dual_stack
                )
            except OSError as error:
                last_error = OSError(error.errno, os.strerror(error.errno or 0).lower())
                if error.errno not in _FAMILY_DISABLED:
                    raise last_error from error
            else:
                listening_socket.settimeout(0)
                sockets.append(listening_socket)
        if last_error is not None and not sockets:
            raise last_error
    except OSError:
        for listening_socket in sockets:
            listening_socket.close()
        raise
    return sockets


def _bound_address(listening_socket: socket.socket) -> str:
    """Return ``host:port`` as in URLs; of a Unix socket, its path."""
    if listening_socket.family not in (socket.AF_INET, socket.AF_INET6):
        name = listening_socket.getsockname()
        return name if isinstance(name, str) else f"@{name[1:].decode()}"
    host, port = listening_socket.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@dataclass(slots=True, eq=False)
class _Acceptor:
    """Accepts connections while the pool has room."""

    server: web.Server
    access: AccessControl
    limits: Limits
    pool: ConnectionPool
    _out_of_files: bool = False
    _handshakes: set[asyncio.Task[None]] = field(default_factory=set)

    @asynccontextmanager
    async def accepting(self, sockets: list[socket.socket]) -> AsyncIterator[None]:
        """Accept connections until the body ends, then abort the handshakes."""
        tasks = [
            asyncio.create_task(self._accept_connections(listening_socket))
            for listening_socket in sockets
        ]
        try:
            yield
        finally:
            ending = {*tasks, *self._handshakes}
            for task in ending:
                task.cancel()
            await asyncio.gather(*ending, return_exceptions=True)

    async def _accept_connections(self, listening_socket: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                client_socket, _ = await loop.sock_accept(listening_socket)
            except OSError as error:
                await self._pause(error)
                continue
            self._out_of_files = False
            self._admit(client_socket)
            # Lets open connections be served while many more wait to be accepted.
            await asyncio.sleep(0)

    async def _pause(self, error: OSError) -> None:
        """Wait before the next try; free file descriptors if there are none left."""
        if error.errno in _OUT_OF_FILES:
            if not self._out_of_files:
                log.warning("no connection can be accepted", error=error.strerror)
            self._out_of_files = True
            for _ in range(_IDLE_CLOSED_PER_RETRY):
                self.pool.abort_longest_idle()
        await asyncio.sleep(_RETRY_SECONDS)

    def _admit(self, client_socket: socket.socket) -> None:
        if not self.pool.make_room():
            client_socket.close()
            return
        task = asyncio.create_task(self._connect(client_socket))
        self._handshakes.add(task)
        self.pool.add(task, task.cancel)
        task.add_done_callback(self._handshake_ended)

    def _handshake_ended(self, task: asyncio.Task[None]) -> None:
        self._handshakes.discard(task)
        self.pool.remove(task)

    async def _connect(self, client_socket: socket.socket) -> None:
        ssl_context = self.access.ssl_context
        timeout_seconds = None if ssl_context is None else self.limits.handshake_seconds
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: Connection(
                    self.server, self.limits, self.pool, self.access.add_headers
                ),
                client_socket,
                ssl=ssl_context,
                ssl_handshake_timeout=timeout_seconds,
                ssl_shutdown_timeout=timeout_seconds,
            )
        except OSError as error:
            # Any client can cause this, so that it must not fill the log.
            log.debug("no connection", error=str(error))
            client_socket.close()
        except asyncio.CancelledError:
            client_socket.close()
            raise
