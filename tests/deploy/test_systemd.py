"""Tests for what systemd and the exporter tell each other, over real sockets."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest
from certificates import write_certificates
from exporter_process import (
    LONGEST_REAL_WAIT_SECONDS,
    RunningProcess,
    exporter_process,
    fetch,
    started_process,
)
from faults import Fault, hang, html_error, unauthorized
from faulty_panel import Panel
from harness import (
    NOW,
    MonitoredCloud,
    SteppedClock,
    SteppedTimeoutClock,
    running_exporter,
    write_config,
)
from secured_server import TLS

from exporter.config.flags import parse
from exporter.demo.cloud.simulation import SimulatedCloud
from exporter.errors import ConfigError
from exporter.systemd import NotifySocket

_ACTIVATION = """
import os, sys
for number, inherited in enumerate(map(int, sys.argv[1].split(",")), start=3):
    os.dup2(inherited, number + 100)
count = len(sys.argv[1].split(","))
for number in range(3, 3 + count):
    os.dup2(number + 100, number)
os.environ["LISTEN_FDS"] = str(count)
os.environ["LISTEN_PID"] = sys.argv[2] or str(os.getpid())
os.execv(sys.executable, [sys.executable, "-m", "exporter", *sys.argv[3:]])
"""
"""What systemd does between fork and exec."""


class Stuck(SteppedClock):
    """A clock whose waits do not end."""

    def __init__(self, other: SteppedClock) -> None:
        """Tell the same time as another."""
        super().__init__(other.start, other.elapsed)
        self.asked: tuple[asyncio.Event, float | None] | None = None

    async def wait(self, wake: asyncio.Event, seconds: float | None) -> None:
        """Never return."""
        self.asked = (wake, seconds)
        await asyncio.Event().wait()


class Manager:
    """What listens at the other end of ``$NOTIFY_SOCKET``."""

    def __init__(self, address: str) -> None:
        """Listen at a path, or at ``@`` and a name."""
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(
            address if address[0] == "/" else address.replace("@", "\0", 1)
        )
        self._socket.settimeout(0)
        self._messages: asyncio.Queue[str] = asyncio.Queue()
        # Read at once: what is full keeps the one who speaks.
        asyncio.get_running_loop().add_reader(self._socket, self._read)

    def _read(self) -> None:
        self._messages.put_nowait(self._socket.recv(4096).decode())

    async def receives(self, pattern: str) -> str:
        """Wait for a message that matches; return it."""
        async with asyncio.timeout(LONGEST_REAL_WAIT_SECONDS):
            while True:
                printed = await self._messages.get()
                if re.search(pattern, printed):
                    return printed

    def received(self) -> list[str]:
        """Return what was said meanwhile, without waiting."""
        with suppress(BlockingIOError):
            while True:
                self._read()
        return [self._messages.get_nowait() for _ in range(self._messages.qsize())]

    def close(self) -> None:
        """Listen no longer."""
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
async def manager(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[Manager]:
    """Listen as systemd does, in both of its ways."""
    abstract = f"@onapp-{os.getpid()}-{tmp_path.name}"
    manager = Manager(str(tmp_path / "notify") if request.param == "path" else abstract)
    yield manager
    manager.close()


@pytest.fixture
async def listening(tmp_path: Path) -> AsyncIterator[Manager]:
    """Listen at a path."""
    manager = Manager(str(tmp_path / "notify"))
    yield manager
    manager.close()


@pytest.fixture
async def panel() -> AsyncIterator[Panel]:
    """Serve a world of two servers with a backup each."""
    world = SimulatedCloud(NOW)
    for _ in range(2):
        world.add_backup(world.add_server().id)
    async with Panel(world) as panel:
        yield panel


def environment(panel: Panel, **more: str) -> dict[str, str]:
    """Return what the environment panel is made of."""
    return {
        "ONAPP_URL": panel.url,
        "ONAPP_USERNAME": panel.username,
        "ONAPP_PASSWORD": panel.password,
        **more,
    }


ANYWHERE = "--web.listen-address=127.0.0.1:0"


async def test_it_is_ready_when_its_port_is_open_though_the_panel_hangs(
    manager: Manager, panel: Panel
) -> None:
    """A slow first pass must not look like a start that failed."""
    panel.faults.add(hang())
    variables = environment(panel, NOTIFY_SOCKET=manager.address)
    async with exporter_process(ANYWHERE, environment=variables) as process:
        printed = await manager.receives("READY=1")
        base = await process.base_url()
        async with aiohttp.request("GET", base + "/-/healthy") as answer:
            healthy = answer.status

    assert printed == "READY=1"
    assert healthy == 200


async def test_the_end_is_told(listening: Manager, panel: Panel) -> None:
    """`systemctl stop` sees that it goes on."""
    variables = environment(panel, NOTIFY_SOCKET=listening.address)
    async with exporter_process(ANYWHERE, environment=variables) as process:
        await listening.receives("READY=1")
        process.process.terminate()
        stopping = await listening.receives("STOPPING=1")
        status = await process.wait()

    assert stopping == "STOPPING=1"
    assert status == 0


@asynccontextmanager
async def supervised(
    manager: Manager, panel: Panel, folder: Path, **poll: str
) -> AsyncIterator[MonitoredCloud]:
    """Start an exporter with a watchdog of 20 seconds, on a clock moved by hand."""
    clock = SteppedTimeoutClock(NOW)
    panel.clock = clock.time
    file = folder / "onapp.yml"
    write_config(file, panel, {"poll": poll}, {})
    supervisor = NotifySocket(manager.address, watchdog_seconds=20.0)
    async with running_exporter(panel, file, clock, supervisor=supervisor) as cloud:
        yield cloud


async def test_the_watchdog_is_fed_at_half_its_time(
    listening: Manager, panel: Panel, tmp_path: Path
) -> None:
    """One late word must not cost a restart."""
    async with supervised(listening, panel, tmp_path) as cloud:
        listening.received()
        await cloud.advance(100)
        fed = listening.received()

    assert len(fed) == 10


@pytest.mark.parametrize("fault", [unauthorized, html_error, hang])
async def test_a_panel_with_problems_does_not_starve_the_watchdog(
    fault: Callable[[], Fault], listening: Manager, panel: Panel, tmp_path: Path
) -> None:
    """A restart would only try the bad key again, and no other panel be polled."""
    panel.faults.add(fault())
    async with supervised(listening, panel, tmp_path) as cloud:
        listening.received()
        await cloud.advance(1800)
        fed = listening.received()
        up = await cloud.value("onapp_up")

    assert up == 0
    assert len(fed) == 180


async def test_a_request_that_may_take_an_hour_does_not_starve_the_watchdog(
    listening: Manager, panel: Panel, tmp_path: Path
) -> None:
    """Whoever configured so long a wait gets it."""
    panel.faults.add(hang())
    async with supervised(listening, panel, tmp_path, timeout="1h") as cloud:
        listening.received()
        await cloud.advance(1800)
        fed = listening.received()

    assert panel.requests
    assert len(fed) == 180


async def test_a_poller_that_hangs_starves_the_watchdog(
    listening: Manager,
    panel: Panel,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nothing else than a restart would help; the log names the panel."""
    async with supervised(listening, panel, tmp_path) as cloud:
        member = cloud.exporter.manager.panel_tasks["cp"]
        listening.received()
        stuck = Stuck(cloud.clock)
        member.poller.clock = stuck
        await cloud.advance(3600)
        printed = listening.received()

    assert stuck.asked
    assert len(printed) < 60, "it hangs once it is overdue by a minute"
    assert capsys.readouterr().out.count("polling hangs") == 1


async def test_a_poller_that_is_gone_starves_the_watchdog(
    listening: Manager, panel: Panel, tmp_path: Path
) -> None:
    """Whatever has ended it."""
    async with supervised(listening, panel, tmp_path) as cloud:
        task = cloud.exporter.manager.panel_tasks["cp"].task
        assert task is not None
        task.cancel()
        await asyncio.wait([task])
        listening.received()
        await cloud.advance(30)
        printed = listening.received()

    assert not printed


@asynccontextmanager
async def activated(
    numbers: list[int],
    *arguments: str,
    variables: dict[str, str],
    meant_for: str = "",
) -> AsyncIterator[RunningProcess]:
    """Start the exporter with sockets passed to it; it is gone afterwards."""
    program = (
        *(sys.executable, "-c", _ACTIVATION, ",".join(map(str, numbers)), meant_for),
        *("--web.systemd-socket", *arguments),
    )
    async with started_process(
        *program, environment=variables, pass_fds=numbers
    ) as process:
        yield process


def a_listener() -> socket.socket:
    """Listen on a free port, as a `.socket` unit does."""
    return socket.create_server(("127.0.0.1", 0))


def port(server: socket.socket) -> int:
    """Return the port of a socket."""
    return int(server.getsockname()[1])


def closes_on_exec(pid: int, number: int) -> bool:
    """Tell whether an open file of a process is kept from what it starts."""
    text = Path(f"/proc/{pid}/fdinfo/{number}").read_text()
    found = re.search(r"flags:\s+(\d+)", text)
    return found is not None and bool(int(found[1], 8) & os.O_CLOEXEC)


async def test_it_serves_on_every_socket_that_it_is_passed(
    panel: Panel, tmp_path: Path
) -> None:
    """Whatever they are: a `.socket` unit may have several lines."""
    path = str(tmp_path / "web.sock")
    local = socket.socket(socket.AF_UNIX)
    local.bind(path)
    local.listen()
    with a_listener() as first, a_listener() as second, local:
        listeners = [server.fileno() for server in (first, second, local)]
        async with activated(listeners, variables=environment(panel)) as process:
            await process.wait_for(f"listening address={re.escape(path)}")
            answers = [
                await fetch(f"http://127.0.0.1:{port(server)}/-/healthy")
                for server in (first, second)
            ]
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(b"GET /-/healthy HTTP/1.0\r\n\r\n")
            printed = await reader.read()
            writer.close()
            inherited = [closes_on_exec(process.process.pid, n) for n in (3, 4, 5)]

    assert answers == [(200, "Healthy.\n")] * 2
    assert b"200 OK" in printed
    assert inherited == [True] * 3


async def test_it_speaks_tls_on_a_passed_socket(panel: Panel, tmp_path: Path) -> None:
    """The web configuration guards every door."""
    write_certificates(tmp_path)
    (tmp_path / "web.yml").write_text(TLS)
    context = ssl.create_default_context(cafile=tmp_path / "ca.pem")
    with a_listener() as server:
        web = f"--web.config.file={tmp_path / 'web.yml'}"
        async with activated(
            [server.fileno()], web, variables=environment(panel)
        ) as process:
            await process.wait_for("listening .*tls=true")
            url = f"https://127.0.0.1:{port(server)}/-/healthy"
            async with aiohttp.request("GET", url, ssl=context) as answer:
                status = answer.status

    assert status == 200


@pytest.mark.parametrize(
    ("passed", "meant_for", "printed"),
    [
        ("", "", "systemd passed no socket; start the .socket unit"),
        ("stream", "1", "the sockets are for process 1 and this is"),
        ("datagram", "", "file 3 that systemd passed is no socket that listens"),
        ("pipe", "", "file 3 that systemd passed cannot be used"),
    ],
    ids=["none", "another's", "datagram", "pipe"],
)
async def test_a_socket_that_cannot_be_used_is_refused(
    passed: str, meant_for: str, printed: str, panel: Panel
) -> None:
    """With what is wrong in the units, and before a panel is asked."""
    reading, writing = os.pipe()
    with a_listener() as server, socket.socket(type=socket.SOCK_DGRAM) as datagram:
        numbers = {"stream": server.fileno(), "datagram": datagram.fileno()}
        starting = (
            activated(
                [numbers.get(passed, reading)],
                variables=environment(panel),
                meant_for=meant_for,
            )
            if passed
            else exporter_process(
                "--web.systemd-socket", environment=environment(panel)
            )
        )
        async with starting as process:
            status = await process.wait()
    os.close(reading)
    os.close(writing)

    assert status == 1
    assert printed in process.output
    assert not panel.requests


async def test_a_socket_that_nobody_asked_for_is_mentioned(panel: Panel) -> None:
    """Else its port seems to be in use by nobody."""
    with a_listener() as server:
        number = server.fileno()
        program = (sys.executable, "-c", _ACTIVATION, str(number), "", ANYWHERE)
        async with started_process(
            *program, environment=environment(panel), pass_fds=[number]
        ) as process:
            await process.base_url()

    assert "systemd's socket is not used" in process.output
    assert 'hint="set --web.systemd-socket"' in process.output


def test_an_address_beside_the_sockets_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Serving elsewhere than told would be found out late."""
    with pytest.raises(SystemExit):
        parse(["--web.systemd-socket", "--web.listen-address=:1"], {})

    assert "leave out --web.listen-address" in capsys.readouterr().err


def test_the_variable_of_the_address_is_left_alone_beside_the_sockets() -> None:
    """Commands share an environment: healthcheck asks there."""
    variables = {"ONAPP_EXPORTER_WEB_LISTEN_ADDRESS": "127.0.0.1:1"}

    assert parse(["--web.systemd-socket"], variables).systemd_socket


@pytest.mark.parametrize(
    ("variables", "printed"),
    [
        ({"NOTIFY_SOCKET": "vsock:2:1"}, "NOTIFY_SOCKET: 'vsock:2:1'"),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "often"}, "WATCHDOG_USEC: 'often'"),
    ],
)
def test_what_cannot_be_understood_is_refused(
    variables: dict[str, str], printed: str
) -> None:
    """A watchdog that is not fed kills: that must not come as a surprise."""
    with pytest.raises(ConfigError, match=re.escape(printed)):
        NotifySocket.from_environment(variables)


def test_another_process_watchdog_is_left_alone() -> None:
    """Its variables reach children too."""
    variables = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "9", "WATCHDOG_PID": "1"}

    assert NotifySocket.from_environment(variables).watchdog_seconds is None
