"""What can go wrong on the wire, switched on and off for a place at run time."""

import asyncio
import re
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from aiohttp import web

from exporter.demo.cloud.pseudorandom import fraction
from exporter.demo.panel.encoding import Fields, Format
from exporter.demo.panel.errors import INTERNAL_ERROR, SIGN_IN
from exporter.demo.panel.routes import Resource

Proceed = Callable[[], Awaitable[web.StreamResponse]]

_CHUNK = b" " * 65_536
_HTML = {"Content-Type": "text/html; charset=utf-8"}
_JSON = {"Content-Type": "application/json; charset=utf-8"}


@dataclass(slots=True, eq=False)
class FaultContext:
    """One request, with all that a fault may need to know about it."""

    request: web.Request
    path: str
    """The path without base path and suffix."""
    form: Format | None
    resource: Resource | None
    server_id: int | None
    reused: bool
    """Whether its connection has already carried a request."""
    stopping: asyncio.Event
    refusal: Callable[[int], web.Response]
    """What the panel says with a status."""
    unauthorized: Callable[[], web.Response]
    edit_rows: Callable[[list[Fields]], None] | None = None
    """Spoils the rows before they are written."""
    force_body: bool = False
    """Whether the answer must have a body, whatever the client knows already."""


@dataclass(slots=True, eq=False)
class Fault:
    """A way to answer wrongly."""

    act: Callable[[FaultContext, "ActiveFault", Proceed], Awaitable[web.StreamResponse]]
    applies: Callable[[FaultContext], bool] = lambda _: True


@dataclass(slots=True, eq=False)
class ActiveFault:
    """A fault at its place, until it is removed or has happened often enough."""

    fault: Fault
    active: list["ActiveFault"] = field(repr=False)
    resource: Resource | None
    server_id: int | None
    path: re.Pattern[str] | None
    times: int | None
    happened: int = 0
    held: int = 0
    """How many requests it holds up now."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def remove(self) -> None:
        """Switch the fault off; what it holds up goes on."""
        self.ended.set()
        if self in self.active:
            self.active.remove(self)

    def matches(self, context: FaultContext) -> bool:
        """Say whether a request comes by this place."""
        return (
            self.resource in (None, context.resource)
            and self.server_id in (None, context.server_id)
            and (self.path is None or self.path.fullmatch(context.path) is not None)
            and (self.times is None or self.happened < self.times)
            and self.fault.applies(context)
        )

    async def apply(
        self, context: FaultContext, proceed: Proceed
    ) -> web.StreamResponse:
        """Answer a request in the fault's way."""
        self.happened += 1
        return await self.fault.act(context, self, proceed)

    async def hold(self, context: FaultContext, seconds: float | None) -> None:
        """Wait, but no longer than the fault lasts or the panel serves."""
        waits = [
            asyncio.ensure_future(e.wait()) for e in (context.stopping, self.ended)
        ]
        self.held += 1
        try:
            await asyncio.wait(
                waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            self.held -= 1
            for wait in waits:
                wait.cancel()


class Faults:
    """The faults of a panel; those added first are met first."""

    def __init__(self) -> None:
        """Begin without any."""
        self.active: list[ActiveFault] = []

    def add(
        self,
        fault: Fault,
        *,
        resource: Resource | None = None,
        server_id: int | None = None,
        path: str | None = None,
        times: int | None = None,
    ) -> ActiveFault:
        """Place a fault: everywhere, or at a resource, a server, a path (a pattern).

        `times` counts the requests it happens to; None = until it is removed.
        """
        pattern = None if path is None else re.compile(path)
        placed = ActiveFault(fault, self.active, resource, server_id, pattern, times)
        self.active.append(placed)
        return placed

    @property
    def held(self) -> int:
        """How many requests are held up now."""
        return sum(placed.held for placed in self.active)

    def clear(self) -> None:
        """Remove all faults."""
        for placed in list(self.active):
            placed.remove()

    async def respond(
        self, context: FaultContext, proceed: Proceed
    ) -> web.StreamResponse:
        """Answer a request by way of all faults it meets."""
        return await _chain(list(self.active), context, proceed)


async def _chain(
    placed: list[ActiveFault], scene: FaultContext, proceed: Proceed
) -> web.StreamResponse:
    for index, place in enumerate(placed):
        if place.matches(scene):
            rest = partial(_chain, placed[index + 1 :], scene, proceed)
            return await place.apply(scene, rest)
    return await proceed()


def slow(seconds: float, *, body: bool = False) -> Fault:
    """Answer late: the whole answer, or only the second half of the body."""

    async def act(
        scene: FaultContext, placed: ActiveFault, proceed: Proceed
    ) -> web.StreamResponse:
        if not body:
            await placed.hold(scene, seconds)
            return await proceed()
        scene.force_body = True
        stream, rest = await _half(scene, await proceed())
        await placed.hold(scene, seconds)
        await stream.write(rest)
        return stream

    return Fault(act)


def hang() -> Fault:
    """Do not answer until the fault is removed or the panel stops."""

    async def act(
        scene: FaultContext, placed: ActiveFault, proceed: Proceed
    ) -> web.StreamResponse:
        await placed.hold(scene, None)
        return _disconnect(scene) if scene.stopping.is_set() else await proceed()

    return Fault(act)


def cut() -> Fault:
    """Send half of the announced body and close the connection."""

    async def act(
        scene: FaultContext, _placed: ActiveFault, proceed: Proceed
    ) -> web.StreamResponse:
        scene.force_body = True
        stream, _ = await _half(scene, await proceed())
        _close(scene)
        return stream

    return Fault(act)


def reset() -> Fault:
    """Reset the connection instead of answering."""

    async def act(
        scene: FaultContext, _placed: ActiveFault, _proceed: Proceed
    ) -> web.StreamResponse:
        transport = scene.request.transport
        if transport is not None:
            connection = transport.get_extra_info("socket")
            linger = struct.pack("ii", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            transport.abort()
        return web.Response()

    return Fault(act)


def early_eof() -> Fault:
    """Close a connection that is used again, without an answer."""

    async def act(
        scene: FaultContext, _placed: ActiveFault, _proceed: Proceed
    ) -> web.StreamResponse:
        return _disconnect(scene)

    return Fault(act, applies=lambda scene: scene.reused)


def status(code: int, headers: Mapping[str, str] | None = None) -> Fault:
    """Refuse with a status, and with headers such as Retry-After."""

    async def act(
        scene: FaultContext, _placed: ActiveFault, _proceed: Proceed
    ) -> web.StreamResponse:
        response = scene.refusal(code)
        response.headers.update(headers or {})
        return response

    return Fault(act)


def html_error(code: int = 500) -> Fault:
    """Fail with a page of HTML."""
    return answer(code, _HTML, INTERNAL_ERROR)


def unauthorized() -> Fault:
    """Refuse the credentials, and count the try as the panel does."""

    async def act(
        scene: FaultContext, _placed: ActiveFault, _proceed: Proceed
    ) -> web.StreamResponse:
        return scene.unauthorized()

    return Fault(act)


def forbidden() -> Fault:
    """Refuse for want of a permission."""
    return status(403)


def flood() -> Fault:
    """Send a body without end, until the client hangs up."""

    async def act(
        scene: FaultContext, placed: ActiveFault, _proceed: Proceed
    ) -> web.StreamResponse:
        stream = web.StreamResponse(headers=_JSON)
        await stream.prepare(scene.request)
        with suppress(ConnectionError):
            await stream.write(b"[")
            while not (scene.stopping.is_set() or placed.ended.is_set()):
                await stream.write(_CHUNK)
        _close(scene)
        return stream

    return Fault(act)


def html() -> Fault:
    """Answer 200 with a sign-in page."""
    return answer(200, _HTML, SIGN_IN)


def redirect(location: str, code: int = 302) -> Fault:
    """Send the client elsewhere."""
    return answer(code, {**_HTML, "Location": location}, b"<html></html>")


def answer(
    code: int = 200, headers: Mapping[str, str] | None = None, body: bytes = b""
) -> Fault:
    """Answer with any bytes."""

    async def act(
        _scene: FaultContext, _placed: ActiveFault, _proceed: Proceed
    ) -> web.StreamResponse:
        return web.Response(status=code, headers=headers or _JSON, body=body)

    return Fault(act)


def bad_rows(share: float = 1.0) -> Fault:
    """Spoil a share of the rows of lists, each in one of several ways."""

    def spoil(rows: list[Fields]) -> None:
        for row in rows:
            if "id" in row and fraction("bad row", row["id"]) < share:
                _corrupt(row)

    async def act(
        scene: FaultContext, _placed: ActiveFault, proceed: Proceed
    ) -> web.StreamResponse:
        scene.edit_rows = spoil
        return await proceed()

    return Fault(act)


def _corrupt(row: Fields) -> None:
    ways: tuple[Fields, ...] = (
        {"id": None},
        {"id": "not a number"},
        {"created_at": "the day before yesterday"},
        {"created_at": None, "id": {}},
    )
    row.update(ways[row["id"] % len(ways)])


async def _half(
    scene: FaultContext, response: web.StreamResponse
) -> tuple[web.StreamResponse, bytes]:
    """Send the head and half of the body; return what is left of it."""
    body = response.body if isinstance(response, web.Response) else None
    whole = body if isinstance(body, bytes) else b""
    stream = web.StreamResponse(status=response.status, headers=response.headers)
    stream.content_length = len(whole)
    await stream.prepare(scene.request)
    middle = len(whole) // 2
    await stream.write(whole[:middle])
    return stream, whole[middle:]


def _close(scene: FaultContext) -> None:
    if scene.request.transport is not None:
        scene.request.transport.close()


def _disconnect(scene: FaultContext) -> web.Response:
    _close(scene)
    return web.Response()
