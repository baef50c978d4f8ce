"""The front doors: addresses listened on, and whoever comes let in, a crowd at most.

The loop that accepts is our own for what asyncio's has no place for: a TLS context
for each connection, a count of those whose handshake has not ended, room made for a
newcomer, and an operating system that has no more files for the moment.
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
"""aiohttp waits twice so long for what is being answered."""
_BACKLOG = 1024
_RETRY_SECONDS = 0.5
_SENT_AWAY = 16
"""So many idle connections make room for those to panels too."""
_NO_MORE_FILES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_SWITCHED_OFF = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)


Listener: TypeAlias = str | socket.socket
"""``[host]:port`` to listen on, or what listens already."""


@asynccontextmanager
async def serving(
    app: web.Application,
    places: tuple[Listener, ...],
    access: AccessControl | None = None,
    limits: Limits | None = None,
) -> AsyncIterator[list[str]]:
    """Serve an application at these doors; yield their addresses as bound.

    Raises OSError, with the address in it, when one cannot be bound.
    """
    access = access or AccessControl()
    app.on_response_prepare.append(_dressing(access))
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS)
    await runner.setup()
    assert runner.server is not None  # noqa: S101  # since it is set up
    runner.server.request_handler = _answering(access, runner.server)
    doors: list[socket.socket] = []
    try:
        for place in places:
            doors += [place] if isinstance(place, socket.socket) else await _bind(place)
        limits = limits or Limits()
        porter = _Acceptor(
            runner.server, access, limits, ConnectionPool(limits.connections)
        )
        async with porter.working(doors):
            yield [_written(door) for door in doors]
    finally:
        for door in doors:
            door.close()
        await runner.cleanup()
        access.passwords.close()


def _dressing(
    access: AccessControl,
) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    async def dress(_: web.Request, response: web.StreamResponse) -> None:
        access.dress(response)

    return dress


def _answering(access: AccessControl, server: web.Server) -> Handler:
    """Return what answers requests, from the moment that their heads are read."""
    guarded = access.guarded(server.request_handler)

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        if isinstance(request.protocol, Connection):
            request.protocol.begin()
        return await guarded(request)

    return answer


async def _bind(address: str) -> list[socket.socket]:
    """Listen on an address, on every one of its host's; raise OSError."""
    host, _, port = address.rpartition(":")
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(
            host.strip("[]") or None,
            int(port),
            type=socket.SOCK_STREAM,
            flags=socket.AI_PASSIVE,
        )
        return _listening([(family, target) for family, *_, target in found])
    except OSError as error:
        raise OSError(f"{address}: {error.strerror}") from error


def _listening(found: list[tuple[int, Any]]) -> list[socket.socket]:
    """Listen on all of a host's addresses, but for families that are switched off."""
    doors: list[socket.socket] = []
    problem: OSError | None = None
    try:
        for family, target in dict.fromkeys(found):
            try:
                door = socket.create_server(target, family=family, backlog=_BACKLOG)
            except OSError as error:
                problem = OSError(error.errno, os.strerror(error.errno or 0).lower())
                if error.errno not in _SWITCHED_OFF:
                    raise problem from error
            else:
                door.settimeout(0)
                doors.append(door)
        if problem is not None and not doors:
            raise problem
    except OSError:
        for door in doors:
            door.close()
        raise
    return doors


def _written(door: socket.socket) -> str:
    """Return an address as it is written in URLs; of a Unix socket, its path."""
    if door.family not in (socket.AF_INET, socket.AF_INET6):
        name = door.getsockname()
        return name if isinstance(name, str) else f"@{name[1:].decode()}"
    host, port = door.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@dataclass(slots=True, eq=False)
class _Acceptor:
    """Lets in whoever comes, as far as there is room."""

    server: web.Server
    access: AccessControl
    limits: Limits
    crowd: ConnectionPool
    _full: bool = False
    _handshakes: set[asyncio.Task[None]] = field(default_factory=set)

    @asynccontextmanager
    async def working(self, doors: list[socket.socket]) -> AsyncIterator[None]:
        """Let people in until the body ends."""
        tasks = [asyncio.create_task(self._mind(door)) for door in doors]
        try:
            yield
        finally:
            ending = {*tasks, *self._handshakes}
            for task in ending:
                task.cancel()
            await asyncio.gather(*ending, return_exceptions=True)

    async def _mind(self, door: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                guest, _ = await loop.sock_accept(door)
            except OSError as error:
                await self._wait(error)
                continue
            self._full = False
            self._let_in(guest)
            # Whoever is inside is served, however many stand before the door.
            await asyncio.sleep(0)

    async def _wait(self, error: OSError) -> None:
        """Go on after a moment, with files set free if it is those that lack."""
        if error.errno in _NO_MORE_FILES:
            if not self._full:
                log.warning("no connection can be accepted", error=error.strerror)
            self._full = True
            for _ in range(_SENT_AWAY):
                self.crowd.send_away()
        await asyncio.sleep(_RETRY_SECONDS)

    def _let_in(self, guest: socket.socket) -> None:
        if not self.crowd.has_room():
            guest.close()
            return
        task = asyncio.create_task(self._welcome(guest))
        self._handshakes.add(task)
        self.crowd.enter(task, task.cancel)
        task.add_done_callback(self._welcomed)

    def _welcomed(self, task: asyncio.Task[None]) -> None:
        self._handshakes.discard(task)
        self.crowd.leave(task)

    async def _welcome(self, guest: socket.socket) -> None:
        context = self.access.context
        seconds = None if context is None else self.limits.handshake_seconds
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: Connection(
                    self.server, self.limits, self.crowd, self.access.dress
                ),
                guest,
                ssl=context,
                ssl_handshake_timeout=seconds,
                ssl_shutdown_timeout=seconds,
            )
        except OSError as error:
            # What a client cannot do is its own affair, and anybody can be one.
            log.debug("no connection", error=str(error))
            guest.close()
        except asyncio.CancelledError:
            guest.close()
            raise
