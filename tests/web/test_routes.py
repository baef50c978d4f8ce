"""Tests for every path and method, over real sockets."""

from __future__ import annotations

import asyncio
import gzip
import socket
import threading
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import httpx
import pycurl
import pytest
import requests
from aiohttp import web
from faulty_panel import Panel
from harness import NOW, monitored, write_config
from prometheus_client import CollectorRegistry, Counter
from stores import a_backup, a_panel, a_server, a_store, add_server
from web_handlers import handlers_for

from exporter.app import Exporter
from exporter.config import load as config
from exporter.config.flags import parse
from exporter.demo.cloud.simulation import SimulatedCloud
from exporter.errors import ConfigError
from exporter.metrics.exposition import OPENMETRICS, TEXT
from exporter.model.store import Store
from exporter.web.server import serving

_LONGEST_REAL_WAIT_SECONDS = 60
_MIB = 1024**2


async def _nothing() -> None:
    """Reload nothing."""


@asynccontextmanager
async def served(
    store: Store,
    *,
    telemetry_path: str = "/metrics",
    max_requests: int = 40,
    reload: Callable[[], Awaitable[None]] = _nothing,
    addresses: tuple[str, ...] = ("127.0.0.1:0",),
) -> AsyncIterator[list[str]]:
    """Serve a store's pages; yield the addresses of the front doors."""
    own = CollectorRegistry()
    Counter("own_things_total", "Counted here and now.", registry=own).inc(3)
    pages = handlers_for(
        store,
        own=own,
        telemetry_path=telemetry_path,
        max_requests=max_requests,
        effective=lambda: "panels: []\n",
        reload=reload,
    )
    async with (
        asyncio.timeout(_LONGEST_REAL_WAIT_SECONDS),
        serving(pages.application(), addresses) as bound,
    ):
        yield [f"http://{address}" for address in bound]


@asynccontextmanager
async def asking(
    url: str, method: str = "GET", **headers: str
) -> AsyncIterator[aiohttp.ClientResponse]:
    """Send one request, its body taken as it comes."""
    names = {key.replace("_", "-"): value for key, value in headers.items()}
    async with (
        aiohttp.ClientSession(auto_decompress=False) as session,
        session.request(
            method, url, headers=names, skip_auto_headers=("Accept-Encoding",)
        ) as response,
    ):
        yield response


async def answer(url: str, method: str = "GET", **headers: str) -> tuple[int, str]:
    """Return status and text of one answer."""
    async with asking(url, method, **headers) as response:
        return response.status, await response.text()


def one_server() -> Store:
    """Return a store of one server with one backup."""
    panel = a_panel()
    add_server(panel, a_server(), a_backup())
    return a_store(panel)


SERVER = "/server?panel=cp&vm_id=1"
PATHS = (
    *("/", SERVER, "/api/v1/status", "/metrics", "/config"),
    *("/-/healthy", "/-/ready"),
)


@pytest.mark.parametrize("path", PATHS)
async def test_head_is_get_without_the_body(path: str) -> None:
    """HEAD has the same status and headers, the length included."""
    async with served(one_server()) as (base,):
        async with asking(base + path) as got:
            expected = dict(got.headers), got.status, len(await got.read())
        async with asking(base + path, "HEAD") as head:
            body = await head.read()

    headers, status, length = expected
    different = {"Date"}
    assert (head.status, body) == (status, b"")
    assert status == 200
    assert {k: v for k, v in head.headers.items() if k not in different} == {
        k: v for k, v in headers.items() if k not in different
    }
    assert int(head.headers["Content-Length"]) == length > 0


@pytest.mark.parametrize("path", [*PATHS, "/-/reload"])
@pytest.mark.parametrize(
    "method", ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"]
)
async def test_each_path_has_its_methods_and_no_others(path: str, method: str) -> None:
    """Pages are read; only the reload is posted."""
    allowed = {"POST"} if path == "/-/reload" else {"GET", "HEAD"}

    async with served(one_server()) as (base,), asking(base + path, method) as got:
        assert got.status == (200 if method in allowed else 405)
        assert got.status == 200 or set(got.headers["Allow"].split(",")) == allowed


@pytest.mark.parametrize(
    "path",
    [
        "/metric",
        "/metrics/",
        "/metrics/x",
        "//metrics",
        "/-/",
        "/-/healthy/",
        "/x",
        "/Metrics",
        "/config.yml",
        "/..%2fmetrics",
        "/favicon.ico",
    ],
)
async def test_there_are_no_other_paths(path: str) -> None:
    """What is not listed is 404."""
    async with served(one_server()) as (base,):
        status, _ = await answer(base + path)

    assert status == 404


async def test_no_page_is_cached_or_taken_for_another_type() -> None:
    """Values are of this moment, and text from a panel is never guessed to be code."""
    async with served(one_server()) as (base,):
        for path in PATHS:
            async with asking(base + path) as got:
                assert got.headers["Cache-Control"] == "no-store"
                assert got.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("path", "accept", "expected"),
    [
        ("/metrics", "", TEXT),
        ("/metrics", "application/openmetrics-text", OPENMETRICS),
        ("/metrics", "application/openmetrics-text;q=0.1,text/plain", TEXT),
        ("/", "", "text/html; charset=utf-8"),
        (SERVER, "", "text/html; charset=utf-8"),
        ("/api/v1/status", "", "application/json"),
        ("/config", "", "text/plain; charset=utf-8"),
        ("/-/healthy", "", "text/plain; charset=utf-8"),
        ("/-/ready", "", "text/plain; charset=utf-8"),
    ],
)
async def test_every_answer_says_what_it_is(
    path: str, accept: str, expected: str
) -> None:
    """The format is the one that `Accept` likes best; pages have theirs."""
    async with served(one_server()) as (base,):
        async with asking(base + path, Accept=accept) as got:
            assert got.status == 200
            assert got.headers["Content-Type"] == expected
        if path == "/metrics":
            assert got.headers["Vary"] == "Accept, Accept-Encoding"


async def test_several_accept_headers_count_as_one() -> None:
    """A header may come in several lines."""
    lines = "Accept: text/plain;q=0.5\r\nAccept: application/openmetrics-text\r\n"
    async with served(one_server()) as (base,):
        head = await _raw(base, f"GET /metrics HTTP/1.1\r\nHost: x\r\n{lines}\r\n")

    assert f"Content-Type: {OPENMETRICS}" in head


async def _raw(base: str, request: str) -> str:
    """Send bytes as they are; return the head of the answer."""
    reader, writer = await _connect(base, request)
    head = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    return head.decode()


async def _connect(
    base: str, request: str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = base.removeprefix("http://").rpartition(":")
    # A small window, so that the sender soon has to wait for the reader.
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(0)
    await asyncio.get_running_loop().sock_connect(connection, (host, int(port)))
    reader, writer = await asyncio.open_connection(sock=connection, limit=4096)
    writer.write(request.encode())
    return reader, writer


# Compression


async def test_every_reader_reads_a_compressed_scrape_whole() -> None:
    """The body is one gzip member: some readers stop silently after a first one."""
    store = one_server()
    for number in range(2, 400):
        add_server(store.panels["cp"], a_server(id=number), a_backup())
    async with served(store) as (base,):
        _, plain = await answer(base + "/metrics")
        async with asking(base + "/metrics", Accept_Encoding="gzip") as got:
            encoding, body = got.headers["Content-Encoding"], await got.read()
        async with (
            aiohttp.ClientSession() as session,
            session.get(base + "/metrics") as response,
        ):
            by_aiohttp = await response.text()
        by_others = [
            await asyncio.to_thread(read, base + "/metrics")
            for read in (_by_curl, _by_httpx, _by_requests)
        ]
    member = zlib.decompressobj(wbits=31)
    by_zlib = member.decompress(body)

    assert encoding == "gzip"
    assert len(body) < len(plain) / 5
    assert (member.eof, member.unused_data) == (True, b"")
    assert by_zlib.decode() == plain
    assert gzip.decompress(body).decode() == plain
    assert by_aiohttp == plain
    assert by_others == [plain] * 3


def _by_curl(url: str) -> str:
    curl = pycurl.Curl()
    for option, value in {
        pycurl.URL: url,
        pycurl.ACCEPT_ENCODING: "gzip",
        pycurl.NOPROXY: "*",
        pycurl.FAILONERROR: 1,
    }.items():
        curl.setopt(option, value)
    return curl.perform_rs()


def _by_httpx(url: str) -> str:
    return httpx.get(url, trust_env=False).raise_for_status().text


def _by_requests(url: str) -> str:
    with requests.Session() as session:
        session.trust_env = False
        got = session.get(url, timeout=60)
        got.raise_for_status()
        return got.text


@pytest.mark.parametrize(
    ("accept_encoding", "expected"),
    [
        ("gzip", "gzip"),
        ("identity;q=0, gzip", "gzip"),
        ("gzip;q=0", None),
        ("gzip;q=0.5, identity", None),
        ("identity", None),
    ],
)
async def test_compression_follows_the_weights(
    accept_encoding: str, expected: str | None
) -> None:
    """However short the body is: who excludes `identity` cannot read it plain."""
    url = "/metrics?name[]=onapp_up"
    async with (
        served(one_server()) as (base,),
        asking(base + url, Accept_Encoding=accept_encoding) as got,
    ):
        assert got.headers.get("Content-Encoding") == expected


@pytest.mark.parametrize(
    "path",
    ["/", "/server?panel=cp&vm_id=1", "/api/v1/status", "/runbooks/OnAppNoServers"],
)
async def test_pages_and_json_are_compressed_for_who_accepts_it(path: str) -> None:
    """A page about hundreds of servers is ten times as long without."""
    async with served(one_server()) as (base,):
        url = base + path
        async with asking(url) as got:
            plain, plain_head = await got.read(), got.headers
        async with asking(url, Accept_Encoding="gzip, deflate, br") as got:
            packed, head = await got.read(), got.headers
        async with asking(url, "HEAD", Accept_Encoding="gzip") as got:
            length = got.headers["Content-Length"]
        async with asking(f"{base}/-/healthy", Accept_Encoding="gzip") as got:
            short = got.headers.get("Content-Encoding")

    assert plain_head.get("Content-Encoding") is None
    assert (head["Content-Encoding"], short) == ("gzip", None)
    assert head["Vary"] == plain_head["Vary"] == "Accept-Encoding"
    assert len(gzip.decompress(packed)) == len(plain)
    assert int(length) == int(head["Content-Length"]) == len(packed) < len(plain)


@pytest.mark.parametrize("length", [999, 1000])
async def test_what_fits_into_a_packet_is_not_compressed(length: int) -> None:
    """It would take longer, and arrive no sooner."""

    async def text(_: web.Request) -> web.Response:
        return web.Response(text="x" * length)

    app = web.Application()
    app.router.add_get("/", text)
    async with (
        serving(app, ("127.0.0.1:0",)) as (address,),
        asking(f"http://{address}/", Accept_Encoding="gzip") as got,
    ):
        compressed = "Content-Encoding" in got.headers

    assert compressed == (length == 1000)


# name[]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("name[]=onapp_up", {"onapp_up"}),
        ("name%5B%5D=onapp_up", {"onapp_up"}),
        ("name[]=onapp_up&name[]=onapp_vm_info", {"onapp_up", "onapp_vm_info"}),
        ("name[]=onapp_up&name[]=own_things_total", {"onapp_up", "own_things_total"}),
        ("name[]=own_things_total", {"own_things_total"}),
        ("name[]=no_such&name[]=onapp_up", {"onapp_up"}),
        ("name[]=no_such", set()),
        ("name[]=", set()),
    ],
)
async def test_name_chooses_families(query: str, expected: set[str]) -> None:
    """Several add up; what does not exist brings nothing, and no error."""
    async with served(one_server()) as (base,):
        status, text = await answer(f"{base}/metrics?{query}")
    lines = [line for line in text.splitlines() if not line.startswith("#")]

    assert status == 200
    assert {line.partition("{")[0].partition(" ")[0] for line in lines} == expected


async def test_other_parameters_choose_nothing() -> None:
    """Prometheus may be configured with parameters that mean nothing here."""
    async with served(one_server()) as (base,):
        _, plain = await answer(f"{base}/metrics")
        _, text = await answer(f"{base}/metrics?name=onapp_up&collect[]=x")

    assert text == plain


# Scrapes at once


async def test_too_many_scrapes_are_refused_and_health_still_answers() -> None:
    """A scrape lasts until it is read; only scrapes count, and are refused."""
    panel = a_panel()
    for number in range(4):
        add_server(panel, a_server(id=number, label="x" * 8 * _MIB))
    request = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
    async with served(a_store(panel), max_requests=2) as (base,):
        readers = [await _connect(base, request) for _ in range(2)]
        for reader, _ in readers:
            await reader.readexactly(1)  # what it gets has begun, and never ends
        async with asking(base + "/metrics") as third:
            refusal = third.status, third.headers.get("Retry-After")
            reason = await third.text()
        others = [await answer(base + path) for path in PATHS if path != "/metrics"]
        for _, writer in readers:
            writer.close()
        # When the last reader is noticed to be gone is the machine's affair.
        while (await answer(base + "/metrics?name[]=onapp_up"))[0] == 503:
            continue
        freed, _ = await answer(base + "/metrics")

    assert refusal == (503, "1")
    assert "--web.max-requests" in reason
    assert {status for status, _ in others} == {200}
    assert freed == 200


async def test_there_is_no_limit_when_it_is_0() -> None:
    """0 stands for any number of scrapes."""
    async with served(one_server(), max_requests=0) as (base,):
        found = await asyncio.gather(*(answer(base + "/metrics") for _ in range(50)))

    assert {status for status, _ in found} == {200}


# Other pages


async def test_metrics_can_live_elsewhere() -> None:
    """`--web.telemetry-path` moves them, and nothing stays behind."""
    async with served(one_server(), telemetry_path="/all/metrics") as (base,):
        moved = await answer(base + "/all/metrics")
        old = await answer(base + "/metrics")

    assert moved[0] == 200
    assert "onapp_up{" in moved[1]
    assert old[0] == 404


async def test_ready_once_every_panel_was_tried_and_for_ever_after() -> None:
    """The first pass counts, well or badly; a panel added later takes nothing back."""
    first, second = a_panel("a"), a_panel("b", first_pass_ended=False)
    store = a_store(first, second)
    async with served(store) as (base,):
        before = await answer(base + "/-/ready")
        second.first_pass_ended = True
        after = await answer(base + "/-/ready")
        store.panels["c"] = a_panel("c", first_pass_ended=False)
        later = await answer(base + "/-/ready")
        healthy = await answer(base + "/-/healthy")

    assert before[0] == 503
    assert after[0] == later[0] == healthy[0] == 200


async def test_a_failed_reload_is_told_with_its_reason() -> None:
    """What the file lacks is said where it was asked for."""

    async def refuse() -> None:
        raise ConfigError("onapp.yml: panels: must list at least one panel")

    async with served(one_server(), reload=refuse) as (base,):
        status, text = await answer(base + "/-/reload", "POST")

    assert status == 500
    assert "onapp.yml: panels: must list at least one panel" in text


# With everything behind it


async def test_config_shows_everything_but_secrets(tmp_path: Path) -> None:
    """The configuration in force, as it would be written, passwords hidden."""
    panel = Panel(SimulatedCloud(NOW))
    auth = {"username": "demo@example.com", "password": panel.password}
    proxy = "http://user:proxy-secret@127.0.0.1:1"
    async with monitored(
        panel, tmp_path, basic_auth=auth, proxy_url=proxy, name="lon1"
    ) as cloud:
        status, text, _ = await cloud.get("/config")
        _, page, _ = await cloud.get("/")
        scrape = await cloud.metrics()

    assert status == 200
    assert "name: lon1" in text
    assert "password: <secret>" in text
    for everything in (text, page, scrape):
        assert panel.password not in everything
        assert "proxy-secret" not in everything


async def test_name_chooses_metrics_of_the_process_too(tmp_path: Path) -> None:
    """All that a scrape shows can be asked for alone."""
    async with monitored(Panel(SimulatedCloud(NOW)), tmp_path) as cloud:
        _, text, _ = await cloud.get("/metrics?name[]=process_open_fds")

    assert text.splitlines()[-1].startswith("process_open_fds ")


# Addresses


def ipv6() -> bool:
    """Tell whether the loopback interface speaks IPv6."""
    try:
        with socket.socket(socket.AF_INET6) as one:
            one.bind(("::1", 0))
    except OSError:
        return False
    return True


async def test_every_listen_address_is_served() -> None:
    """Each has its own port, and all show the same."""
    async with served(
        one_server(), addresses=("127.0.0.1:0", "127.0.0.1:0", "127.0.0.2:0")
    ) as bases:
        found = [await answer(base + "/metrics") for base in bases]

    assert len(set(bases)) == len(bases) >= 3
    assert {status for status, _ in found} == {200}


async def test_ipv6_addresses_stand_in_brackets() -> None:
    """As in URLs, when given and when told."""
    if not ipv6():
        pytest.skip("this host's loopback interface has no IPv6")
    async with served(one_server(), addresses=("127.0.0.1:0", "[::1]:0")) as bases:
        found = [await answer(base + "/-/healthy") for base in bases]

    assert bases[1].startswith("http://[::1]:")
    assert {status for status, _ in found} == {200}


async def test_no_host_is_every_interface() -> None:
    """`:10058` listens on IPv4 and, where there is any, on IPv6."""
    async with served(one_server(), addresses=(":0",)) as bases:
        ports = [base.rpartition(":")[2] for base in bases]
        hosts = ["[::1]" if "[" in base else "127.0.0.1" for base in bases]
        found = [
            await answer(f"http://{host}:{port}/-/healthy")
            for host, port in zip(hosts, ports, strict=True)
        ]

    assert "127.0.0.1" in hosts
    assert ("[::1]" in hosts) == ipv6()
    assert {status for status, _ in found} == {200}


@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid"])
async def test_an_address_that_cannot_be_served_is_named(host: str) -> None:
    """Whoever starts it must see which of several addresses is at fault."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"{host}:{other.getsockname()[1]}"

        with pytest.raises(OSError, match=host) as caught:
            async with served(one_server(), addresses=("127.0.0.1:0", address)):
                pass

    assert address.rpartition(":")[2] in str(caught.value)


async def test_a_port_that_is_taken_costs_the_panel_nothing(tmp_path: Path) -> None:
    """A restart loop over a taken port must not try a wrong key again and again."""
    with socket.create_server(("127.0.0.1", 0)) as accepted:
        address = f"127.0.0.1:{accepted.getsockname()[1]}"
        async with Panel(SimulatedCloud(NOW)) as panel:
            write_config(tmp_path / "onapp.yml", panel, {}, {})
            exporter = Exporter(load=lambda _: config.load(tmp_path / "onapp.yml", {}))
            with pytest.raises(OSError, match=address):
                async with exporter.running((address,)):
                    pass

            assert list(panel.requests) == []


async def test_a_look_up_that_hangs_holds_up_no_scrape() -> None:
    """Names are looked up in threads; compression must not wait for one of them."""
    release = threading.Event()
    loop = asyncio.get_running_loop()
    async with served(one_server()) as (base,):
        stuck = [loop.run_in_executor(None, release.wait) for _ in range(64)]
        try:
            status, _ = await answer(base + "/metrics")
        finally:
            release.set()
            await asyncio.gather(*stuck)

    assert status == 200


def test_the_path_of_the_metrics_hides_no_page(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Every other path that is served is refused as ``--web.telemetry-path``."""
    app = handlers_for(a_store()).application()
    paths = {resource.canonical for resource in app.router.resources()} - {"/metrics"}

    for path in paths:
        with pytest.raises(SystemExit):
            parse([f"--web.telemetry-path={path}"], {})
        assert "is one of" in capsys.readouterr().err
