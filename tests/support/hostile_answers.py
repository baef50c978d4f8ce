"""Hostile answers: too large, too deep, or other than they declare."""

import zlib
from collections.abc import Callable, Mapping
from email.utils import formatdate, parsedate_to_datetime
from functools import cache, partial
from itertools import count

from aiohttp import web
from faults import ActiveFault, Fault, FaultContext, Proceed, answer

from exporter.demo.panel.encoding import Fields
from exporter.demo.panel.routes import Resource

_JSON = {"Content-Type": "application/json; charset=utf-8"}
_XML = {"Content-Type": "application/xml; charset=utf-8"}
_SLOW_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Slow: "
_DEPTH = 5_000
_ENTITIES = 20
_PIECE = 1024 * 1024
_GZIP = 31  # what zlib calls it


def edited(
    change: Callable[[Resource | None, list[Fields]], None],
    rewrite: Callable[[bytes], bytes] = bytes,
) -> Fault:
    """Change rows before they are written, by what they are rows of; then the bytes."""

    async def act(
        context: FaultContext, _fault: ActiveFault, proceed: Proceed
    ) -> web.StreamResponse:
        context.edit_rows = partial(change, context.resource)
        response = await proceed()
        if isinstance(response, web.Response) and isinstance(response.body, bytes):
            response.body = rewrite(response.body)
        return response

    return Fault(act)


def rewritten(change: Callable[[bytes], bytes]) -> Fault:
    """Change the bytes of good answers, whatever their headers say of them."""

    def alter(response: web.Response) -> None:
        if isinstance(response.body, bytes):
            response.body = change(response.body)

    return _altered(alter)


def declared(content_type: str) -> Fault:
    """Give good answers another content type."""

    def alter(response: web.Response) -> None:
        response.headers["Content-Type"] = content_type

    return _altered(alter)


def utf_16() -> Fault:
    """Write good answers in a character set that they do not announce."""
    return rewritten(lambda body: body.decode().encode("utf-16"))


def skewed(seconds: float) -> Fault:
    """Let the panel's clock be wrong."""

    def alter(response: web.Response) -> None:
        if date := response.headers.get("Date"):
            moment = parsedate_to_datetime(date).timestamp() + seconds
            response.headers["Date"] = formatdate(moment, usegmt=True)

    return _altered(alter, whole=False)


def looping_pages() -> Fault:
    """Answer every page with the rows of the first, and count very many."""
    first: dict[str, list[Fields]] = {}

    def repeat(path: str, rows: list[Fields]) -> None:
        rows[:] = first.setdefault(path, list(rows))

    async def act(
        context: FaultContext, _fault: ActiveFault, proceed: Proceed
    ) -> web.StreamResponse:
        context.edit_rows = partial(repeat, context.path)
        response = await proceed()
        response.headers.update({"X-Limit": "3", "X-Total": "1000000"})
        return response

    return Fault(act)


def lying_pages() -> Fault:
    """Count fewer rows than are listed, on pages that have no room for any."""
    headers = {"X-Page": "7", "X-Limit": "0", "X-Total": "1"}
    return _altered(lambda response: response.headers.update(headers))


def refused_cookies() -> Fault:
    """Refuse the credentials of every request with a cookie."""

    async def act(
        context: FaultContext, _fault: ActiveFault, _proceed: Proceed
    ) -> web.StreamResponse:
        return context.unauthorized()

    return Fault(act, applies=lambda context: "Cookie" in context.request.headers)


def refused_etags(code: int) -> Fault:
    """Refuse every request with an ETag."""

    async def act(
        context: FaultContext, _fault: ActiveFault, _proceed: Proceed
    ) -> web.StreamResponse:
        return context.refusal(code)

    return Fault(act, lambda context: "If-None-Match" in context.request.headers)


def slipping_server() -> Fault:
    """Leave out of each inventory one server, another one each time."""
    requests = count()

    def slip(rows: list[Fields]) -> None:
        if rows:
            del rows[next(requests) % len(rows)]

    async def act(
        context: FaultContext, _fault: ActiveFault, proceed: Proceed
    ) -> web.StreamResponse:
        context.edit_rows = slip
        response = await proceed()
        if total := response.headers.get("X-Total"):
            response.headers["X-Total"] = str(int(total) - 1)
        return response

    return Fault(act, lambda context: context.path == "/virtual_machines")


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


def _altered(alter: Callable[[web.Response], None], *, whole: bool = True) -> Fault:
    """Change an answer that is good otherwise."""

    async def act(
        context: FaultContext, _fault: ActiveFault, proceed: Proceed
    ) -> web.StreamResponse:
        context.force_body = whole
        response = await proceed()
        if isinstance(response, web.Response) and response.status < 400:
            alter(response)
        return response

    return Fault(act)


def _as_asked(headers: Mapping[str, str], json: bytes, xml: bytes) -> Fault:
    """Answer with one of two bodies, by the format that is asked for."""
    as_json = answer(200, {**_JSON, **headers}, json)
    as_xml = answer(200, {**_XML, **headers}, xml)

    async def act(
        context: FaultContext, active: ActiveFault, proceed: Proceed
    ) -> web.StreamResponse:
        fault = as_xml if context.form == "xml" else as_json
        return await fault.act(context, active, proceed)

    return Fault(act)


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
