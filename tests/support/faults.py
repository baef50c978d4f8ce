"""Faults of a panel's responses, added and removed at run time."""

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
    """One request, with all that a fault may need."""

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
    """Returns the panel's response with an error status."""
    unauthorized: Callable[[], web.Response]
    edit_rows: Callable[[list[Fields]], None] | None = None
    """Changes the rows before they are encoded."""
    force_body: bool = False
    """Whether If-None-Match is ignored."""


@dataclass(slots=True, eq=False)
class Fault:
    """A way in which a response is wrong."""

    act: Callable[[FaultContext, "ActiveFault", Proceed], Awaitable[web.StreamResponse]]
    applies: Callable[[FaultContext], bool] = lambda _: True


@dataclass(slots=True, eq=False)
class ActiveFault:
    """A fault in its scope, until it is removed or has happened often enough."""

    fault: Fault
    active: list["ActiveFault"] = field(repr=False)
    resource: Resource | None
    server_id: int | None
    path: re.Pattern[str] | None
    times: int | None
    happened: int = 0
    held: int = 0
    """How many requests it delays now."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def remove(self) -> None:
        """Remove the fault; the requests that it delays continue."""
        self.ended.set()
        if self in self.active:
            self.active.remove(self)

    def matches(self, context: FaultContext) -> bool:
        """Return whether a request is in scope."""
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
        """Return the faulty response to a request."""
        self.happened += 1
        return await self.fault.act(context, self, proceed)

    async def hold(self, context: FaultContext, seconds: float | None) -> None:
        """Wait until a timeout, the removal of the fault or the stop of the panel."""
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
    """The faults of a panel, applied in the order in which they were added."""

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
        """Add a fault: everywhere, or for a resource, a server, a path (a pattern).

        `times` counts the requests it happens to; None = until it is removed.
        """
        pattern = None if path is None else re.compile(path)
        added = ActiveFault(fault, self.active, resource, server_id, pattern, times)
        self.active.append(added)
        return added

    @property
    def held(self) -> int:
        """How many requests are delayed now."""
        return sum(fault.held for fault in self.active)

    def clear(self) -> None:
        """Remove all faults."""
        for fault in list(self.active):
            fault.remove()

    async def respond(
        self, context: FaultContext, proceed: Proceed
    ) -> web.StreamResponse:
        """Return the response to a request, with all faults in scope applied."""
        return await _chain(list(self.active), context, proceed)


async def _chain(
    faults: list[ActiveFault], context: FaultContext, proceed: Proceed
) -> web.StreamResponse:
    for index, fault in enumerate(faults):
        if fault.matches(context):
            rest = partial(_chain, faults[index + 1 :], context, proceed)
            return await fault.apply(context, rest)
    return await proceed()


def slow(seconds: float, *, body: bool = False) -> Fault:
    """Answer late: the whole answer, or only the second half of the body."""

    async def act(
        context: FaultContext, fault: ActiveFault, proceed: Proceed
    ) -> web.StreamResponse:
        if not body:
            await fault.hold(context, seconds)
            return await proceed()
        context.force_body = True
        stream, rest = await _half(context, await proceed())
        await fault.hold(context, seconds)
        await stream.write(rest)
        return stream

    return Fault(act)


def hang() -> Fault:
    """Do not answer until the fault is removed or the panel stops."""

    async def act(
        context: FaultContext, fault: ActiveFault, proceed: Proceed
    ) -> web.StreamResponse:
        await fault.hold(context, None)
        return _disconnect(context) if context.stopping.is_set() else await proceed()

    return Fault(act)


def cut() -> Fault:
    """Send half of the announced body and close the connection."""

    async def act(
        context: FaultContext, _fault: ActiveFault, proceed: Proceed
    ) -> web.StreamResponse:
        context.force_body = True
        stream, _ = await _half(context, await proceed())
        _close(context)
        return stream

    return Fault(act)


def reset() -> Fault:
    """Reset the connection instead of answering."""

    async def act(
        context: FaultContext, _fault: ActiveFault, _proceed: Proceed
    ) -> web.StreamResponse:
        transport = context.request.transport
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
        context: FaultContext, _fault: ActiveFault, _proceed: Proceed
    ) -> web.StreamResponse:
        return _disconnect(context)

    return Fault(act, applies=lambda context: context.reused)


def status(code: int, headers: Mapping[str, str] | None = None) -> Fault:
    """Refuse with a status, and with headers such as Retry-After."""

    async def act(
        context: FaultContext, _fault: ActiveFault, _proceed: Proceed
    ) -> web.StreamResponse:
        response = context.refusal(code)
        response.headers.update(headers or {})
        return response

    return Fault(act)


def more_headers(headers: Mapping[str, str]) -> Fault:
    """Add headers to good answers."""

    async def act(
        _context: FaultContext, _placed: ActiveFault, proceed: Proceed
    ) -> web.StreamResponse:
        response = await proceed()
        response.headers.update(headers)
        return response

    return Fault(act)


def html_error(code: int = 500) -> Fault:
    """Fail with a page of HTML."""
    return answer(code, _HTML, INTERNAL_ERROR)


def unauthorized() -> Fault:
    """Refuse the credentials, and count the try as the panel does."""

    async def act(
        context: FaultContext, _fault: ActiveFault, _proceed: Proceed
    ) -> web.StreamResponse:
        return context.unauthorized()

    return Fault(act)


def forbidden() -> Fault:
    """Refuse for want of a permission."""
    return status(403)


def flood() -> Fault:
    """Send a body without end, until the client hangs up."""

    async def act(
        context: FaultContext, fault: ActiveFault, _proceed: Proceed
    ) -> web.StreamResponse:
        stream = web.StreamResponse(headers=_JSON)
        await stream.prepare(context.request)
        with suppress(ConnectionError):
            await stream.write(b"[")
            while not (context.stopping.is_set() or fault.ended.is_set()):
                await stream.write(_CHUNK)
        _close(context)
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
        _context: FaultContext, _fault: ActiveFault, _proceed: Proceed
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
        context: FaultContext, _fault: ActiveFault, proceed: Proceed
    ) -> web.StreamResponse:
        context.edit_rows = spoil
        return await proceed()

    return Fault(act)


def slipped_page(change: Callable[[], None]) -> Fault:
    """Change the cloud each time after the first page of a list was answered."""

    async def act(
        context: FaultContext, _fault: ActiveFault, proceed: Proceed
    ) -> web.StreamResponse:
        response = await proceed()
        if context.request.query.get("page") == "1":
            change()
        return response

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
    context: FaultContext, response: web.StreamResponse
) -> tuple[web.StreamResponse, bytes]:
    """Send the head and half of the body; return what is left of it."""
    body = response.body if isinstance(response, web.Response) else None
    whole = body if isinstance(body, bytes) else b""
    stream = web.StreamResponse(status=response.status, headers=response.headers)
    stream.content_length = len(whole)
    await stream.prepare(context.request)
    middle = len(whole) // 2
    await stream.write(whole[:middle])
    return stream, whole[middle:]


def _close(context: FaultContext) -> None:
    if context.request.transport is not None:
        context.request.transport.close()


def _disconnect(context: FaultContext) -> web.Response:
    _close(context)
    return web.Response()
