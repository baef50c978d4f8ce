"""Faults of a panel's responses, added and removed at run time.

The one table of them: late and broken answers, others than the good one, good ones that
are altered, and hostile bodies.
"""

import asyncio
import re
import socket
import struct
import zlib
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import formatdate, parsedate_to_datetime
from functools import cache, partial
from itertools import count

from aiohttp import web

from exporter.demo.cloud.pseudorandom import fraction
from exporter.demo.panel.encoding import Fields, Format
from exporter.demo.panel.errors import INTERNAL_ERROR, SIGN_IN
from exporter.demo.panel.routes import Resource

Proceed = Callable[[], Awaitable[web.StreamResponse]]

_CHUNK = b" " * 65_536
_HTML = {"Content-Type": "text/html; charset=utf-8"}
_JSON = {"Content-Type": "application/json; charset=utf-8"}
_XML = {"Content-Type": "application/xml; charset=utf-8"}
_SLOW_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Slow: "
_DEPTH = 5_000
_ENTITIES = 20
_PIECE = 1024 * 1024
_GZIP = 31  # what zlib calls it


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


# Late and broken answers


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

    def respond(context: FaultContext) -> web.Response:
        transport = context.request.transport
        if transport is not None:
            connection = transport.get_extra_info("socket")
            linger = struct.pack("ii", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            transport.abort()
        return web.Response()

    return instead(respond)


def early_eof() -> Fault:
    """Close a connection that is used again, without an answer."""
    return instead(_disconnect, lambda context: context.reused)


def slow_headers() -> Fault:
    """Begin the headers of an answer and do not end them."""

    async def act(
        context: FaultContext, fault: ActiveFault, _proceed: Proceed
    ) -> web.StreamResponse:
        transport = context.request.transport
        if transport is not None:
            transport.write(_SLOW_HEAD)
            await fault.hold(context, None)
            transport.close()
        return web.Response()

    return Fault(act)


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


# Others than the good answer


def instead(
    respond: Callable[[FaultContext], web.Response],
    applies: Callable[[FaultContext], bool] = lambda _: True,
) -> Fault:
    """Answer with something else, where it applies."""

    async def act(
        context: FaultContext, _fault: ActiveFault, _proceed: Proceed
    ) -> web.StreamResponse:
        return respond(context)

    return Fault(act, applies)


def status(code: int, headers: Mapping[str, str] | None = None) -> Fault:
    """Refuse with a status, and with headers such as Retry-After."""

    def respond(context: FaultContext) -> web.Response:
        response = context.refusal(code)
        response.headers.update(headers or {})
        return response

    return instead(respond)


def forbidden() -> Fault:
    """Refuse for want of a permission."""
    return status(403)


def refused_etags(code: int) -> Fault:
    """Refuse every request with an ETag."""
    return Fault(status(code).act, lambda c: "If-None-Match" in c.request.headers)


def unauthorized() -> Fault:
    """Refuse the credentials, and count the try as the panel does."""
    return instead(lambda context: context.unauthorized())


def refused_cookies() -> Fault:
    """Refuse the credentials of every request with a cookie."""
    return Fault(unauthorized().act, lambda c: "Cookie" in c.request.headers)


def answer(
    code: int = 200, headers: Mapping[str, str] | None = None, body: bytes = b""
) -> Fault:
    """Answer with any bytes."""
    return instead(
        lambda _: web.Response(status=code, headers=headers or _JSON, body=body)
    )


def html_error(code: int = 500) -> Fault:
    """Fail with a page of HTML."""
    return answer(code, _HTML, INTERNAL_ERROR)


def html() -> Fault:
    """Answer 200 with a sign-in page."""
    return answer(200, _HTML, SIGN_IN)


def redirect(location: str, code: int = 302) -> Fault:
    """Send the client elsewhere."""
    return answer(code, {**_HTML, "Location": location}, b"<html></html>")


# Good answers that are altered


def altered(
    alter: Callable[[FaultContext, web.Response], object] = lambda *_: None,
    edit: Callable[[FaultContext, list[Fields]], None] | None = None,
    *,
    whole: bool = False,
    applies: Callable[[FaultContext], bool] = lambda _: True,
) -> Fault:
    """Change the rows of a good answer before they are written, then the answer.

    A ``whole`` one is never 304.
    """

    async def act(
        context: FaultContext, _fault: ActiveFault, proceed: Proceed
    ) -> web.StreamResponse:
        context.force_body |= whole
        if edit is not None:
            context.edit_rows = partial(edit, context)
        response = await proceed()
        if isinstance(response, web.Response) and response.status < 400:
            alter(context, response)
        return response

    return Fault(act, applies)


def more_headers(headers: Mapping[str, str]) -> Fault:
    """Add headers to good answers."""
    return altered(lambda _, response: response.headers.update(headers))


def bad_rows(share: float = 1.0) -> Fault:
    """Spoil a share of the rows of lists, each in one of several ways."""

    def spoil(_context: FaultContext, rows: list[Fields]) -> None:
        for row in rows:
            if "id" in row and fraction("bad row", row["id"]) < share:
                _corrupt(row)

    return altered(edit=spoil)


def edited(
    change: Callable[[Resource | None, list[Fields]], None],
    rewrite: Callable[[bytes], bytes] = bytes,
) -> Fault:
    """Change rows before they are written, by what they are rows of; then the bytes."""
    return altered(
        lambda _, response: _rewrite(response, rewrite),
        lambda context, rows: change(context.resource, rows),
    )


def utf_16() -> Fault:
    """Write good answers in a character set that they do not announce."""

    def change(body: bytes) -> bytes:
        return body.decode().encode("utf-16")

    return altered(lambda _, response: _rewrite(response, change), whole=True)


def skewed(seconds: float) -> Fault:
    """Let the panel's clock be wrong."""

    def alter(_context: FaultContext, response: web.Response) -> None:
        if date := response.headers.get("Date"):
            moment = parsedate_to_datetime(date).timestamp() + seconds
            response.headers["Date"] = formatdate(moment, usegmt=True)

    return altered(alter)


def slipped_page(change: Callable[[], None]) -> Fault:
    """Change the cloud each time after the first page of a list was answered."""

    def alter(context: FaultContext, _response: web.Response) -> None:
        if context.request.query.get("page") == "1":
            change()

    return altered(alter)


def slipping_server() -> Fault:
    """Leave out of each inventory one server, another one each time."""
    requests = count()

    def slip(_context: FaultContext, rows: list[Fields]) -> None:
        if rows:
            del rows[next(requests) % len(rows)]

    def alter(_context: FaultContext, response: web.Response) -> None:
        if total := response.headers.get("X-Total"):
            response.headers["X-Total"] = str(int(total) - 1)

    return altered(alter, slip, applies=lambda c: c.path == "/virtual_machines")


def looping_pages() -> Fault:
    """Answer every page with the rows of the first, and count very many."""
    first: dict[str, list[Fields]] = {}
    headers = {"X-Limit": "3", "X-Total": "1000000"}

    def repeat(context: FaultContext, rows: list[Fields]) -> None:
        rows[:] = first.setdefault(context.path, list(rows))

    return altered(lambda _, response: response.headers.update(headers), repeat)


def lying_pages() -> Fault:
    """Count fewer rows than are listed, on pages that have no room for any."""
    headers = {"X-Page": "7", "X-Limit": "0", "X-Total": "1"}
    return altered(lambda _, response: response.headers.update(headers), whole=True)


# Hostile bodies


def gzip_bomb(size_bytes: int) -> Fault:
    """Send a body that is a thousand times larger when it is unpacked."""
    return _as_asked({"Content-Encoding": "gzip"}, *[_bomb(size_bytes)] * 2)


def nested() -> Fault:
    """Send a document that is very deep, and nothing else."""
    return _as_asked({}, b"[" * _DEPTH, b"<a>" * _DEPTH)


def entity_bomb() -> Fault:
    """Send XML whose entities are each made of ten others."""
    entities = [b'<!ENTITY e0 "ha">'] + [
        b'<!ENTITY e%d "%s">' % (number, b"&e%d;" % (number - 1) * 10)
        for number in range(1, _ENTITIES)
    ]
    return _xml(b"".join(entities), b"&e%d;" % (_ENTITIES - 1))


def external_entity(address: str) -> Fault:
    """Send XML that wants to be completed from somewhere else."""
    return _xml(b'<!ENTITY e SYSTEM "%s">' % address.encode(), b"&e;")


def _as_asked(headers: Mapping[str, str], json: bytes, xml: bytes) -> Fault:
    """Answer with one of two bodies, by the format that is asked for."""

    def respond(context: FaultContext) -> web.Response:
        types, body = (_XML, xml) if context.form == "xml" else (_JSON, json)
        return web.Response(headers={**types, **headers}, body=body)

    return instead(respond)


def _xml(entities: bytes, text: bytes) -> Fault:
    body = (
        b'<?xml version="1.0" encoding="UTF-8"?><!DOCTYPE backups [%s]>'
        b'<backups type="array"><backup><id type="integer">1</id>'
        b"<identifier>%s</identifier></backup></backups>"
    )
    return answer(200, _XML, body % (entities, text))


@cache
def _bomb(size_bytes: int) -> bytes:
    """Compress blanks, piece by piece: it must not go off here."""
    pack = zlib.compressobj(wbits=_GZIP)
    blanks = b" " * _PIECE
    pieces = [pack.compress(blanks) for _ in range(size_bytes // _PIECE)]
    return b"".join(pieces) + pack.flush()


def _corrupt(row: Fields) -> None:
    ways: tuple[Fields, ...] = (
        {"id": None},
        {"id": "not a number"},
        {"created_at": "the day before yesterday"},
        {"created_at": None, "id": {}},
    )
    row.update(ways[row["id"] % len(ways)])


def _rewrite(response: web.Response, change: Callable[[bytes], bytes]) -> None:
    if isinstance(response.body, bytes):
        response.body = change(response.body)


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
