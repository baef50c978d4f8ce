"""The front doors under clients that are slow, greedy, many or hostile.

Whether a connection was cut is seen by its end, not by a clock: limits are given.
"""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import os
import resource
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest
from aiohttp import web
from certificates import write_certificates
from checkout import DOCS
from stores import a_backup, a_panel, a_server, a_store, add_server
from structlog.testing import capture_logs
from web_handlers import handlers_for

from exporter.clock import SystemClock
from exporter.metrics.exposition import TEXT, accepts_gzip, negotiate_media_type
from exporter.web.auth import AccessControl, watched_config
from exporter.web.connection import Connection, Limits
from exporter.web.server import serving

SHORT = 0.1
"""Seconds after which a limit that a test is about applies."""
LONG = 10.0
"""The same where something good must happen before: no machine is so slow."""
_LONGEST_REAL_WAIT_SECONDS = 60
_MANY = 2000
_GIGABYTE = 1024**3
_PIECE = 65_536
_CHUNK = b"10000\r\n" + b"x" * _PIECE + b"\r\n"
PATIENT = Limits(
    head_seconds=_LONGEST_REAL_WAIT_SECONDS,
    answer_seconds=_LONGEST_REAL_WAIT_SECONDS,
    idle_seconds=_LONGEST_REAL_WAIT_SECONDS,
    lingering_seconds=_LONGEST_REAL_WAIT_SECONDS,
)
GET = b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n"


@asynccontextmanager
async def served(
    limits: Limits = PATIENT,
    access: AccessControl | None = None,
    more: Callable[[web.Application], None] = lambda _: None,
) -> AsyncIterator[int]:
    """Serve one server's pages; yield the port."""
    panel = a_panel()
    add_server(panel, a_server(), a_backup())
    store = a_store(panel)
    app = handlers_for(store).application()
    more(app)
    async with (
        asyncio.timeout(_LONGEST_REAL_WAIT_SECONDS),
        serving(app, ("127.0.0.1:0",), access, limits) as (address,),
    ):
        yield int(address.rpartition(":")[2])


@dataclasses.dataclass(eq=False)
class Client:
    """A connection, used as the protocol does not foresee."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.writer.write(data)

    async def answer(self) -> tuple[int, bytes, bytes]:
        """Return status, head and body of one answer."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        return int(head.split()[1]), head, await self.reader.readexactly(length)

    async def end(self) -> bytes:
        """Wait until the server hangs up; return what it said until then."""
        output = b""
        try:
            while piece := await self.reader.read(65_536):
                output += piece
        except ConnectionError:
            pass
        return output


@asynccontextmanager
async def connected(port: int, **options: object) -> AsyncIterator[Client]:
    """Connect; hang up afterwards."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, **options)  # type: ignore[arg-type]
    try:
        yield Client(reader, writer)
    finally:
        writer.transport.abort()


async def asked(port: int, request: bytes) -> tuple[int, bytes, bytes]:
    """Return the answer to one request on a connection of its own."""
    async with connected(port) as client:
        client.send(request)
        return await client.answer()


def get(path: str, *lines: str) -> bytes:
    """Return a request."""
    head = "\r\n".join([f"GET {path} HTTP/1.1", "Host: x", *lines])
    return f"{head}\r\n\r\n".encode()


@pytest.fixture
def received(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return how many bytes the server was given, read by read.

    That is bounded; what the system takes off a client's hands is not.
    """
    found: list[int] = []
    receive = Connection.data_received

    def counted(connection: Connection, data: bytes) -> None:
        found.append(len(data))
        receive(connection, data)

    monkeypatch.setattr(Connection, "data_received", counted)
    return found


@pytest.fixture
def let_pass(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return what lets seconds pass at once by the event loop's clock."""

    def passed(seconds: float) -> None:
        loop = asyncio.get_running_loop()
        before = loop.time
        monkeypatch.setattr(loop, "time", lambda: before() + seconds)

    return passed


# Time


@pytest.mark.parametrize(
    "begun", [b"", b"G", b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: a"]
)
async def test_a_head_that_never_ends_is_cut(begun: bytes) -> None:
    """Whether nothing came, one byte, or most of it."""
    limits = dataclasses.replace(PATIENT, head_seconds=SHORT)
    async with served(limits) as port, connected(port) as client:
        client.send(begun)

        assert await client.end() == b""


async def test_a_head_byte_by_byte_is_cut_while_it_comes() -> None:
    """The time is that of the whole head: each byte buys none."""
    limits = dataclasses.replace(PATIENT, head_seconds=SHORT)
    async with served(limits) as port, connected(port) as client:
        client.send(b"GET / HTTP/1.1\r\n")

        async def drip() -> None:
            while True:
                client.send(b"X: y\r\n")
                await asyncio.sleep(SHORT / 20)

        dripping = asyncio.create_task(drip())
        try:
            output = await client.end()
        finally:
            dripping.cancel()

    assert output == b""


async def test_a_second_head_that_never_ends_is_cut(
    received: list[int], let_pass: Callable[[float], None]
) -> None:
    """A good first request makes no good second one."""
    limits = dataclasses.replace(PATIENT, head_seconds=LONG)
    async with served(limits) as port, connected(port) as client:
        client.send(GET)
        first, *_ = await client.answer()
        client.send(GET[:20])
        while sum(received) < len(GET) + 20:  # noqa: ASYNC110  # nothing tells
            await asyncio.sleep(0)
        let_pass(1.2 * LONG)
        rest = await client.end()

    assert (first, rest) == (200, b"")


async def test_an_idle_connection_is_closed_after_a_while(
    let_pass: Callable[[float], None],
) -> None:
    """One that was answered, and kept for a next request that does not come."""
    limits = dataclasses.replace(PATIENT, idle_seconds=LONG)
    async with served(limits) as port, connected(port) as client:
        client.send(GET)
        first, *_ = await client.answer()
        let_pass(1.2 * LONG)
        rest = await client.end()

    assert (first, rest) == (200, b"")


async def test_a_connection_is_kept_for_the_next_request(
    let_pass: Callable[[float], None],
) -> None:
    """Neither the time for heads nor that for answers runs while it is idle."""
    limits = dataclasses.replace(PATIENT, head_seconds=LONG, answer_seconds=LONG)
    async with served(limits) as port, connected(port) as client:
        client.send(GET)
        first, *_ = await client.answer()
        let_pass(1.2 * LONG)
        client.send(GET)
        second, *_ = await client.answer()

    assert (first, second) == (200, 200)


async def test_an_answer_that_takes_its_time_is_no_slow_head(
    let_pass: Callable[[float], None],
) -> None:
    """What runs while a request is answered is not the client's time."""
    limits = dataclasses.replace(PATIENT, head_seconds=LONG)

    async def slow(_: web.Request) -> web.Response:
        let_pass(1.2 * LONG)
        for _turn in range(3):  # what is due by then happens
            await asyncio.sleep(0)
        return web.Response(text="at last")

    async with served(limits, more=lambda app: _add(app, slow)) as port:
        status, _, body = await asked(port, get("/extra") + GET[:10])

    assert (status, body) == (200, b"at last")


def _add(
    app: web.Application, handler: Callable[[web.Request], Awaitable[web.Response]]
) -> None:
    app.router.add_get("/extra", handler)


async def test_a_reader_that_does_not_read_is_cut() -> None:
    """On every path: what waits to be sent takes memory."""
    limits = dataclasses.replace(PATIENT, answer_seconds=SHORT)

    async def long(_: web.Request) -> web.Response:
        return web.Response(body=b"x" * 64 * 1024**2)

    async with (
        served(limits, more=lambda app: _add(app, long)) as port,
        connected(port, limit=1024) as client,
    ):
        client.send(get("/extra"))
        await client.reader.readexactly(1)
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(2 * SHORT)
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        output = await client.end()

    assert len(output) < 64 * 1024**2


async def test_a_handshake_that_never_ends_is_cut(tmp_path: Path) -> None:
    """Nothing sent, or the beginning of a greeting."""
    limits = dataclasses.replace(PATIENT, head_seconds=SHORT)
    async with served(limits, _secure(tmp_path)) as port:
        for begun in (b"", b"\x16\x03\x01\x02\x00"):
            async with connected(port) as client:
                client.send(begun)

                assert await client.end() == b""


def _secure(folder: Path) -> AccessControl:
    write_certificates(folder)
    file = folder / "web.yml"
    file.write_text("tls_server_config: {cert_file: cert.pem, key_file: key.pem}")
    return AccessControl(watched_config(file, SystemClock()))


def _trusting(folder: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=folder / "ca.pem")
    context.check_hostname = False
    return context


async def test_a_request_that_comes_with_the_end_of_the_handshake_is_answered(
    tmp_path: Path,
) -> None:
    """A client may send both in one packet."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    async with served(PATIENT, _secure(tmp_path)) as port, connected(port) as client:
        tls = _trusting(tmp_path).wrap_bio(to_client, to_server)
        with suppress(ssl.SSLWantReadError):
            tls.do_handshake()
        while True:
            client.send(to_server.read())
            to_client.write(await client.reader.read(65_536))
            with suppress(ssl.SSLWantReadError):
                tls.do_handshake()
                break
        tls.write(GET)
        client.send(to_server.read())
        output = b""
        while b"Healthy" not in output:
            to_client.write(await client.reader.read(65_536))
            with suppress(ssl.SSLWantReadError):
                output += tls.read()

    assert output.startswith(b"HTTP/1.1 200 ")


async def test_what_is_no_tls_is_turned_away_from_a_tls_door(tmp_path: Path) -> None:
    """And logged by nobody: anybody can send it, as often as they like."""
    with capture_logs() as logs:
        async with served(PATIENT, _secure(tmp_path)) as port:
            async with connected(port) as client:
                client.send(GET)
                output = await client.end()
            async with connected(port, ssl=_trusting(tmp_path)) as client:
                client.send(GET)
                status, *_ = await client.answer()

    assert b"Healthy" not in output
    assert status == 200
    assert {entry["log_level"] for entry in logs} <= {"debug"}


# Crowds


@pytest.mark.parametrize("secure", [False, True])
async def test_thousands_of_idle_connections_prevent_no_scrape(
    tmp_path: Path, *, secure: bool
) -> None:
    """A newcomer drives out the one that has been idle for longest."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
    limits = dataclasses.replace(PATIENT, connections=50)
    access = _secure(tmp_path) if secure else None
    trust = {"ssl": _trusting(tmp_path)} if secure else {}
    async with served(limits, access) as port, AsyncExitStack() as stack:
        idle = [await stack.enter_async_context(connected(port)) for _ in range(_MANY)]
        async with connected(port, **trust) as client:
            client.send(get("/metrics"))
            status, _, body = await client.answer()
        gone = [await one.end() for one in idle[: _MANY - 50]]

    assert status == 200
    assert b"onapp_up" in body
    assert set(gone) == {b""}


async def test_who_is_being_answered_is_not_driven_out() -> None:
    """A crowd of newcomers ends nobody's scrape, and finds the door shut."""
    release, entered = asyncio.Event(), asyncio.Semaphore(0)

    async def held(_: web.Request) -> web.Response:
        entered.release()
        await release.wait()
        return web.Response(text="done")

    limits = dataclasses.replace(PATIENT, connections=3)
    async with (
        served(limits, more=lambda app: _add(app, held)) as port,
        connected(port) as one,
        connected(port) as two,
        connected(port) as three,
    ):
        busy = (one, two, three)
        for client in busy:
            client.send(get("/extra"))
            await entered.acquire()
        async with connected(port) as newcomer:
            refused = await newcomer.end()
        release.set()
        answers = [(await client.answer())[2] for client in busy]
        status, *_ = await asked(port, GET)

    assert refused == b""
    assert answers == [b"done"] * 3
    assert status == 200


async def test_it_recovers_when_there_are_files_again() -> None:
    """Whoever connects while the process has no more files is answered later."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    spare: list[int] = []
    async with served() as port, connected(port) as known, AsyncExitStack() as stack:
        highest = max(map(int, os.listdir("/proc/self/fd")))  # noqa: PTH208
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, hard))
        try:
            _fill(spare)
            os.close(spare.pop())
            # It takes the file that is left: there is none to accept it with.
            newcomer = await stack.enter_async_context(connected(port))
            newcomer.send(GET)
            known.send(GET)
            during, *_ = await known.answer()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for file in spare:
                os.close(file)
        after, *_ = await newcomer.answer()

    assert (during, after) == (200, 200)


def _fill(files: list[int]) -> None:
    """Open files until there are no more."""
    try:
        while True:
            files.append(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        assert error.errno == errno.EMFILE  # noqa: PT017  # what is waited for


# Size


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (get("/metrics?" + "x" * 9000), {400, 414, 431}),
        (get("/" + "x" * 60_000), {400, 414, 431}),
        (get("/metrics", "X: " + "y" * 9000), {400, 431}),
        (get("/metrics", *["X: " + "y" * 2000] * 9), {431}),
        (get("/metrics", *["X: y"] * 1000), {400, 431}),
        (get("/metrics", "X" * 9000 + ": y"), {400, 431}),
    ],
)
async def test_what_is_too_long_is_refused_in_few_words(
    request_: bytes, expected: set[int]
) -> None:
    """Nothing of the request comes back, nor is kept."""
    async with served() as port:
        status, head, body = await asked(port, request_)

    assert status in expected
    assert len(head) + len(body) < 400
    assert b"xxx" not in body
    assert b"yyy" not in body


async def test_headers_without_end_are_cut() -> None:
    """In few bytes, and long before the time for them is over."""
    async with served() as port, connected(port) as client:
        client.send(b"GET / HTTP/1.1\r\n")
        sent = 0
        while not client.reader.at_eof() and sent < 10_000_000:
            client.send(b"X: " + b"y" * 1000 + b"\r\n")
            sent += 1000
            try:
                await client.writer.drain()
            except ConnectionError:
                break
            await asyncio.sleep(0)
        await client.end()

    assert sent < 10_000_000


async def test_what_never_becomes_a_head_is_cut_by_its_length() -> None:
    """Empty lines may stand before a request, but not for ever."""
    async with served() as port, connected(port) as client:
        client.send(b"\n" * (PATIENT.head_bytes + 1))

        assert await client.end() == b""


@pytest.mark.parametrize("path", ["/-/reload", "/metrics", "/no-such"])
@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_a_body_of_a_gigabyte_is_not_taken(
    received: list[int], path: str, method: str
) -> None:
    """It is refused by its length, and cut, however fast it comes."""
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {_GIGABYTE}\r\n\r\n"
    async with served() as port, connected(port) as client:
        client.send(head.encode())
        status, *_ = await client.answer()
        rest = await _sent_until_cut(client, b"x" * _PIECE)

    assert (status, rest) == (413, b"")
    assert PATIENT.body_bytes < sum(received) < 2 * PATIENT.body_bytes


@pytest.mark.parametrize("path", ["/-/reload", "/metrics", "/no-such"])
@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_a_body_without_end_is_not_taken(
    received: list[int], path: str, method: str
) -> None:
    """One without a length: it is answered before it is read, and then cut."""
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with served() as port, connected(port) as client:
        client.send(head.encode())
        status, *_ = await client.answer()
        rest = await _sent_until_cut(client, _CHUNK)

    assert status in {200, 404, 405}
    assert rest == b""
    assert PATIENT.body_bytes < sum(received) < 2 * PATIENT.body_bytes


async def _sent_until_cut(client: Client, piece: bytes) -> bytes:
    """Send until the server hangs up; return what it said until then."""
    try:
        for _ in range(_GIGABYTE // _PIECE):
            if client.reader.at_eof():
                return b""
            client.send(piece)
            await client.writer.drain()
    except ConnectionError:
        return await client.end()
    pytest.fail("the server takes a gigabyte")


async def test_who_sends_a_body_that_is_too_large_at_once_is_told_so() -> None:
    """What comes before the head was looked at is no endless head."""
    body = 900_000
    head = f"POST /no-such HTTP/1.1\r\nHost: x\r\nContent-Length: {body}\r\n\r\n"
    async with served() as port, connected(port) as client:
        client.send(head.encode())
        client.send(b"x" * body)
        status, *_ = await client.answer()
        rest = await client.end()

    assert (status, rest) == (413, b"")


async def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    """Few bytes can take long, too."""
    limits = dataclasses.replace(PATIENT, lingering_seconds=SHORT)
    async with served(limits) as port, connected(port) as client:
        client.send(b"POST /no-such HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
        status, *_ = await client.answer()
        rest = await client.end()

    assert status == 404
    assert rest == b""


async def test_a_request_behind_a_body_that_nobody_reads_is_answered() -> None:
    """Also where all of it is sent at once, and is nearly as long as may be."""
    body = 15 * _CHUNK + b"0\r\n\r\n"
    head = b"POST /no-such HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with served() as port, connected(port) as client:
        client.send(head + body + GET)
        first, *_ = await client.answer()
        second, *_ = await client.answer()

    assert (first, second) == (404, 200)


async def test_heads_behind_bodies_that_nobody_reads_are_heads() -> None:
    """What comes after the end of a body counts as the beginning of a request."""
    limits = dataclasses.replace(PATIENT, body_bytes=10_000_000)
    async with served(limits) as port, connected(port) as client:
        client.send(b"POST /no-such HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n")
        status, *_ = await client.answer()
        client.send(b"x")
        for _ in range(400):
            client.send(b"\n" * 1024)
        rest = await client.end()

    assert status == 404
    assert rest == b""


# Paths, methods, words


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/..%2f..%2fetc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
        "//config",
        "/./config/..",
        "/config/../config/x",
        "/metrics/..;/config",
        "/config%00",
        "/%00",
        "/config%2f",
        "/\\config",
        "/config\\",
        "/%c0%ae%c0%ae/",
        "/%ff",
        "/static/../config.yml",
        "/-/../proc/self/environ",
        "*",
    ],
)
async def test_no_path_leads_anywhere_else(path: str) -> None:
    """There are no files behind paths; what is no page is not there."""
    async with served() as port:
        status, _, body = await asked(port, get(path))

    assert status in (400, 404)
    assert len(body) < 100


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x00\x01\x02\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nno header\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
async def test_what_is_no_request_is_told_so_and_no_more(request_: bytes) -> None:
    """400 in a word, without a line in the log: anybody can send it for ever."""
    with capture_logs() as logs:
        async with served() as port, connected(port) as client:
            client.send(request_)
            status, head, body = await client.answer()
            rest = await client.end()

    assert (status, body, rest) == (400, b"Bad Request.\n", b"")
    _assert_no_internals(head + body)
    assert logs == []


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "DELETE", "PROPFIND", "BREW"])
async def test_other_methods_are_refused_with_those_there_are(method: str) -> None:
    """405 and `Allow`; a method that nobody knows may be no request."""
    async with served() as port:
        status, head, body = await asked(
            port, f"{method} /config HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        )

    assert status == 405 or (method in ("CONNECT", "BREW") and status in (400, 404))
    assert status != 405 or b"\r\nAllow: GET,HEAD\r\n" in head
    _assert_no_internals(head + body)


@pytest.mark.parametrize("debug", [False, True])
async def test_a_bug_shows_nothing_of_the_inside(
    caplog: pytest.LogCaptureFixture, *, debug: bool
) -> None:
    """A word to the client, a traceback to the log, also where asyncio debugs."""

    async def buggy(_: web.Request) -> web.Response:
        raise ZeroDivisionError("secret of the inside")

    loop = asyncio.get_running_loop()
    loop.set_debug(debug)
    try:
        async with served(more=lambda app: _add(app, buggy)) as port:
            plain = await asked(port, get("/extra"))
            page = await asked(port, get("/extra", "Accept: text/html"))
    finally:
        loop.set_debug(False)

    for status, head, body in (plain, page):
        assert (status, body) == (500, b"Internal Server Error.\n")
        _assert_no_internals(head + body)
    assert "ZeroDivisionError: secret of the inside" in caplog.text


@pytest.mark.parametrize(
    "path", ["/", "/metrics", "/config", "/-/healthy", "/-/ready", "/x", "/-/reload"]
)
async def test_no_answer_names_the_libraries_behind_it(path: str) -> None:
    """Nor their versions, which would tell which of their holes are open."""
    async with served() as port:
        _, head, body = await asked(port, get(path))

    assert b"\r\nServer: onapp-backup-exporter\r\n" in head
    if path != "/metrics":
        _assert_no_internals(head + body)


def _assert_no_internals(output: bytes) -> None:
    for word in (b"aiohttp", b"python", b"traceback", b".py", b"exception", b"secret"):
        assert word not in output.lower()


# Work


async def test_thousands_of_names_cost_one_scrape() -> None:
    """As many as fit: the answer is right, and no more is rendered than asked for."""
    names = "&".join(["name[]=onapp_up", *(["name[]=x"] * 800)])
    async with served() as port:
        status, _, body = await asked(port, get(f"/metrics?{names}"))
        plain = await asked(port, get("/metrics?name[]=onapp_up"))

    assert status == 200
    assert body == plain[2]


def test_thousands_of_weights_choose_as_few_do() -> None:
    """A header as long as the server takes; each entry is looked at once."""
    entries = [f"text/x{number};q=0.{number % 10}" for number in range(450)]
    last = "application/openmetrics-text;q=0.9"
    encodings = [f"x{number};q=0.1" for number in range(700)]

    assert len(",".join(entries)) < 8190
    assert negotiate_media_type(",".join(entries)) == TEXT
    assert "openmetrics" in negotiate_media_type(",".join([*entries, last]))
    assert accepts_gzip(",".join([*encodings, "gzip"]))
    assert not accepts_gzip(",".join([*encodings, "gzip;q=0"]))


async def test_the_lengths_of_all_headers_together_are_bounded() -> None:
    """Ten headers `Accept` of eight thousand bytes are refused before they are read."""
    line = "Accept: " + "a;q=0.5," * 1000
    async with served() as port:
        status, *_ = await asked(port, get("/metrics", *[line[:8000]] * 3))

    assert status == 431


def test_the_limits_are_those_of_the_documentation() -> None:
    """docs/http.md promises them."""
    page = (DOCS / "http.md").read_text("utf-8")
    limits = Limits()
    promised = {
        "a TLS handshake and the head of a request": f"{limits.head_seconds:g} s",
        "the answer": f"{limits.answer_seconds:g} s",
        "the rest of a body after the answer": (
            f"{limits.lingering_seconds:g} s, {limits.body_bytes / 1024**2:g} MiB"
        ),
        "an idle connection": f"{limits.idle_seconds:g} s",
        "connections at once": f"{limits.connections}",
    }

    for what, limit in promised.items():
        assert f"| {what} | {limit} |" in page


@pytest.mark.parametrize(
    ("listeners", "hosts"),
    [
        (("[::]:0",), ("127.0.0.1", "::1")),
        ((":{port}",), ("127.0.0.1", "::1")),
        (("[::]:{port}", "0.0.0.0:{port}"), ("127.0.0.1", "::1")),
        (("0.0.0.0:{port}", "[::]:{port}"), ("127.0.0.1", "::1")),
        (("[::]:{port}", "127.0.0.1:{port}"), ("127.0.0.1", "::1")),
    ],
)
async def test_every_address_of_both_families_is_served(
    listeners: tuple[str, ...], hosts: tuple[str, ...]
) -> None:
    """``[::]`` alone takes IPv4 too, as in Prometheus' own exporters."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        free_port = free.getsockname()[1]
    named = tuple(listener.format(port=free_port) for listener in listeners)
    app = handlers_for(a_store()).application()
    async with serving(app, named) as addresses:
        port = int(addresses[0].rpartition(":")[2])
        for host in hosts:
            _, writer = await asyncio.open_connection(host, port)
            writer.close()
