"""Listening: binds addresses and serves them on asyncio's servers."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeAlias

from aiohttp import web

from .auth import AccessControl, Handler
from .connection import Connection, ErrorRenderer, Limits

_SHUTDOWN_SECONDS = 0.5
"""aiohttp waits twice as long for responses in progress."""
_BACKLOG = 1024
_ACCEPTED_AT_ONCE = 16
"""Few, so that a connection's request is read before many others replace it."""
_FAMILY_DISABLED = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
_HINTS = {
    errno.EADDRINUSE: "; `ss -ltnp` shows which process has the port",
    errno.EADDRNOTAVAIL: "; it must be an address of this host, as `ip address` shows",
    errno.EACCES: "; take a port from 1024 on",
}

Listener: TypeAlias = str | socket.socket
"""``[host]:port`` to bind, or a socket that is already listening."""


@asynccontextmanager
async def serving(
    app: web.Application,
    listeners: tuple[Listener, ...],
    access: AccessControl | None = None,
    limits: Limits | None = None,
    show_error: ErrorRenderer | None = None,
) -> AsyncIterator[list[str]]:
    """Serve an application on these listeners; yield the bound addresses.

    Raises OSError that names the address if one cannot be bound.
    """
    access = access or AccessControl()
    limits = limits or Limits()
    open_connections: OrderedDict[Connection, None] = OrderedDict()

    # For responses that handlers send themselves.
    app.on_response_prepare.append(access.add_headers)
    runner = web.AppRunner(app, shutdown_timeout=_SHUTDOWN_SECONDS)
    async with AsyncExitStack() as stack:
        stack.callback(access.password_checker.close)
        stack.push_async_callback(runner.cleanup)
        await runner.setup()
        server = runner.server
        assert server is not None  # noqa: S101  # the runner is set up
        server.request_handler = _request_handler(access, server.request_handler)
        stack.push_async_callback(_end_handshakes, open_connections)
        sockets: list[socket.socket] = []
        for listener in listeners:
            sockets += (
                [stack.enter_context(listener)]
                if isinstance(listener, socket.socket)
                else await _bind(listener, stack, alone=_is_alone(listener, listeners))
            )
        for listening_socket in sockets:
            accepting = await asyncio.get_running_loop().create_server(
                lambda: Connection(
                    server, access, limits, open_connections, show_error
                ),
                sock=listening_socket,
                backlog=_ACCEPTED_AT_ONCE,
            )
            listening_socket.listen(_BACKLOG)
            stack.callback(accepting.close)
        yield [_bound_address(listening_socket) for listening_socket in sockets]


async def _end_handshakes(connections: Iterable[Connection]) -> None:
    """Cancel the handshakes of connections that aiohttp does not know yet."""
    handshakes = [each.handshake for each in connections if each.handshake]
    for handshake in handshakes:
        handshake.cancel()
    await asyncio.gather(*handshakes, return_exceptions=True)


def _request_handler(access: AccessControl, handler: Handler) -> Handler:
    """Return a handler for all requests, including those to unknown paths."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        refusal = await access.refusal(request)
        return await handler(request) if refusal is None else refusal

    return handle


def _is_alone(address: str, listeners: tuple[Listener, ...]) -> bool:
    """Return whether no other listener uses the same port."""
    port = address.rpartition(":")[2]
    return not any(
        isinstance(other, str) and other != address and other.endswith(f":{port}")
        for other in listeners
    )


async def _bind(
    address: str, stack: AsyncExitStack, *, alone: bool
) -> list[socket.socket]:
    """Listen on every address that the host resolves to; raise OSError.

    Skips addresses of families that the machine has disabled. If ``alone``, ``[::]``
    serves IPv4 too, as in Go's servers.
    """
    host, _, port = address.rpartition(":")
    sockets: list[socket.socket] = []
    unavailable: OSError | None = None
    try:
        resolved = await asyncio.get_running_loop().getaddrinfo(
            host.strip("[]") or None,
            int(port),
            type=socket.SOCK_STREAM,
            flags=socket.AI_PASSIVE,
        )
        alone &= {target[0] for *_, target in resolved} == {"::"}
        for family, target in dict.fromkeys((each[0], each[4]) for each in resolved):
            try:
                listening_socket = socket.create_server(
                    target,
                    family=family,
                    dualstack_ipv6=alone and socket.has_dualstack_ipv6(),
                )
            except OSError as error:
                if error.errno not in _FAMILY_DISABLED:
                    raise
                unavailable = error
            else:
                sockets.append(stack.enter_context(listening_socket))
        if unavailable is not None and not sockets:
            raise unavailable
    except OSError as error:
        reason = error.strerror
        if not isinstance(error, socket.gaierror):
            reason = os.strerror(error.errno or 0).lower()
            reason += _HINTS.get(error.errno or 0, "")
        raise OSError(f"{address}: {reason}") from error
    return sockets


def _bound_address(listening_socket: socket.socket) -> str:
    """Return ``host:port`` as in URLs, or the path of a Unix socket."""
    if listening_socket.family not in (socket.AF_INET, socket.AF_INET6):
        name = listening_socket.getsockname()
        return name if isinstance(name, str) else f"@{name[1:].decode()}"
    host, port = listening_socket.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
