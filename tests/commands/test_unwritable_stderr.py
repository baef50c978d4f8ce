"""Standard error that cannot be written stops nothing."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest
from exporter_process import fetch, poll_until
from faults import html_error
from faulty_panel import Panel
from harness import NOW, series, write_config
from prometheus_processes import free_port

from exporter.demo.cloud.simulation import SimulatedCloud

_PIPE_BYTES = 4096
_LONGEST_REAL_WAIT_SECONDS = 60
_LONGEST_SHUTDOWN_SECONDS = 2.0


@contextmanager
def closed_pipe() -> Iterator[int]:
    """Open a pipe that nobody reads any more."""
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


@contextmanager
def full_disk() -> Iterator[int]:
    """Open a file on a device without space."""
    descriptor = os.open("/dev/full", os.O_WRONLY)
    yield descriptor
    os.close(descriptor)


@contextmanager
def stalled_reader(*, blocking: bool = True) -> Iterator[int]:
    """Open a pipe that is full, and whose reader never reads."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writing, b"x" * _PIPE_BYTES)
    os.set_blocking(writing, blocking)
    yield writing
    os.close(reading)
    os.close(writing)


@contextmanager
def stalled_reader_of_another_mode() -> Iterator[int]:
    """Open such a pipe in the non-blocking mode that another process may set."""
    with stalled_reader(blocking=False) as writing:
        yield writing


UNWRITABLE = [closed_pipe, full_disk, stalled_reader, stalled_reader_of_another_mode]


@pytest.fixture
async def panel() -> AsyncIterator[Panel]:
    """Serve a cloud of two servers, one of which cannot be read."""
    world = SimulatedCloud(NOW)
    for _ in range(2):
        world.add_backup(world.add_server().id)
    async with Panel(world) as panel:
        yield panel


@asynccontextmanager
async def started(
    *arguments: str, stderr: int, environment: dict[str, str] | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start the exporter with this standard error; kill it in the end."""
    async with asyncio.timeout(_LONGEST_REAL_WAIT_SECONDS):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "exporter", *arguments),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=stderr,
            env={**os.environ, **(environment or {})},
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def answered(url: str) -> None:
    """Wait until the port is open."""
    while True:
        with suppress(OSError):
            await fetch(url)
            return
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("unwritable", UNWRITABLE)
async def test_a_log_that_cannot_be_written_stops_nothing(
    unwritable: Callable[[], Iterator[int]], panel: Panel, tmp_path: Path
) -> None:
    """Reading, its failures, reloads, health, scrapes and the end are as ever."""
    file = tmp_path / "onapp.yml"
    write_config(file, panel, {}, {"poll": {"interval": "1s"}})
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    arguments = (
        f"--config.file={file}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=debug",
    )
    with unwritable() as stderr:  # type: ignore[attr-defined]  # a context manager
        async with started(*arguments, stderr=stderr) as process:
            await answered(base)
            await poll_until(base + "/-/ready", lambda status, _: status == 200)
            panel.faults.add(html_error(), resource="backups", server_id=1)
            scrape = await poll_until(
                base + "/metrics",
                lambda _, text: 0.0 in series(text, "onapp_vm_poll_success").values(),
            )
            reloaded = await fetch(base + "/-/reload", "POST")
            file.write_text("panels: []\n")
            refused = await fetch(base + "/-/reload", "POST")
            healthy = await fetch(base + "/-/healthy")
            started_at = time.monotonic()
            process.send_signal(signal.SIGTERM)
            status = await process.wait()
            shutdown_seconds = time.monotonic() - started_at

    assert series(scrape, "onapp_up") == {"panel=cp": 1}
    assert reloaded == (200, "Reloaded.\n")
    assert refused[0] == 500
    assert "panels" in refused[1]
    assert healthy[0] == 200
    assert status == 0
    assert shutdown_seconds < _LONGEST_SHUTDOWN_SECONDS


@pytest.mark.parametrize(
    ("unwritable", "arguments", "expected"),
    [
        *((unwritable, ("once",), 1) for unwritable in UNWRITABLE),
        *(
            (unwritable, arguments, expected)
            for unwritable in (closed_pipe, stalled_reader)
            for arguments, expected in (
                (("--config.file=missing.yml",), 1),
                (("--no-such-flag",), 2),
                (("check",), 1),
            )
        ),
    ],
)
async def test_the_exit_status_is_the_same_where_nobody_reads_why(
    unwritable: Callable[[], Iterator[int]],
    arguments: tuple[str, ...],
    expected: int,
    panel: Panel,
) -> None:
    """Also of commands, and of errors that are printed at the end."""
    panel.faults.add(html_error(), resource="backups", server_id=1)
    environment = {
        "ONAPP_URL": panel.url,
        "ONAPP_USERNAME": panel.username,
        "ONAPP_PASSWORD": panel.password,
    }
    if "missing" in arguments[0]:
        environment = {}
    with unwritable() as stderr:  # type: ignore[attr-defined]  # a context manager
        async with started(
            *arguments, stderr=stderr, environment=environment
        ) as process:
            status = await process.wait()

    assert status == expected
