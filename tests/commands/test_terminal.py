"""What ``check`` and ``once`` do to a terminal, a real one, and to a pipe."""

from __future__ import annotations

import asyncio
import fcntl
import io
import os
import pty
import re
import struct
import sys
import termios
import time
from collections.abc import AsyncIterator
from pathlib import Path

import faults
import pytest
from faulty_panel import Panel

from exporter.commands.report import Progress, wrapped
from exporter.demo.cloud.simulation import SimulatedCloud

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_ERASE = "\r\x1b[K"


@pytest.fixture
async def panel() -> AsyncIterator[Panel]:
    """Serve a cloud of three servers; answering takes long enough to be watched."""
    world = SimulatedCloud(time.time())
    for _ in range(3):
        world.add_backup(world.add_server().id)
    async with Panel(world, clock=time.time) as panel:
        panel.faults.add(faults.slow(0.1), resource="backups")
        yield panel


async def on_a_terminal(
    panel: Panel, *arguments: str, columns: int = 80, **variables: str
) -> tuple[int, str]:
    """Run the program with both outputs on a terminal; return status and content."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {
        "LANG": "C.UTF-8",
        "TERM": "xterm",
        "ONAPP_URL": panel.url,
        "ONAPP_USERNAME": panel.username,
        "ONAPP_PASSWORD": panel.password,
        **variables,
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "exporter", *arguments),
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=environment,
    )
    os.close(slave)
    read = asyncio.create_task(asyncio.to_thread(_everything, master))
    async with asyncio.timeout(60):
        status = await process.wait()
        return status, (await read).replace("\r\n", "\n")


def _everything(master: int) -> str:
    """Return all that was written until nobody has the terminal open."""
    pieces: list[bytes] = []
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:
            piece = b""
        if not piece:
            os.close(master)
            return b"".join(pieces).decode()
        pieces.append(piece)


@pytest.mark.parametrize("columns", [40, 80])
async def test_check_shows_progress_and_leaves_a_table(
    panel: Panel, columns: int
) -> None:
    """The progress is erased before the table, which is no wider than the screen."""
    status, text = await on_a_terminal(panel, "check", columns=columns)
    *progress, table = text.split(_ERASE)

    assert status == 0
    assert "127.0.0.1: backups, server 3 of 3" in progress
    assert max(map(len, progress)) < columns
    assert max(map(len, table.splitlines())) <= columns
    assert "\x1b" not in table
    assert table.endswith("1 panel: 1 ok\n")


async def test_once_shows_progress_beside_the_log(panel: Panel, tmp_path: Path) -> None:
    """A line of the log begins on a line of its own."""
    panel.faults.add(faults.html_error(), resource="backups", server_id=2)
    output = f"--output={tmp_path}/onapp.prom"
    status, text = await on_a_terminal(panel, "once", output)

    assert status == 1
    assert "polling: 0 of 3 servers, 0 of 1 panels done" in text
    for line in text.split("\n"):
        if "level=warning" in line:
            assert line.rpartition(_ERASE)[2].startswith("ts=")
    assert "reading the backups of a server failed" in text


@pytest.mark.parametrize("no_colour", ["1", ""])
async def test_nothing_is_coloured(panel: Panel, no_colour: str) -> None:
    """Words say it, so that NO_COLOR has nothing to switch off."""
    panel.permissions = {"virtual_machines.read"}
    status, text = await on_a_terminal(panel, "check", NO_COLOR=no_colour)

    assert status == 2
    assert "FAILED" in text
    assert not _COLOUR.search(text)


async def test_a_dumb_terminal_gets_no_progress(panel: Panel) -> None:
    """It could not erase it."""
    status, text = await on_a_terminal(panel, "check", TERM="dumb")

    assert status == 0
    assert "\x1b" not in text
    assert "server 3 of 3" not in text


async def test_a_pipe_gets_no_progress(panel: Panel) -> None:
    """Neither in the result nor beside it."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "exporter", "check"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={
            "ONAPP_URL": panel.url,
            "ONAPP_USERNAME": panel.username,
            "ONAPP_PASSWORD": panel.password,
        },
    )
    out, err = await process.communicate()

    assert (process.returncode, err) == (0, b"")
    assert b"\x1b" not in out
    assert b"\r" not in out
    assert out.endswith(b"1 panel: 1 ok\n")


def test_progress_is_silent_where_nobody_looks() -> None:
    """Yet what else is written through it goes through."""
    stream = io.StringIO()
    progress = Progress(stream)
    progress.show("polling")
    progress.write("a line of the log\n")
    progress.clear()

    assert stream.getvalue() == "a line of the log\n"


def test_words_are_wrapped_under_each_other() -> None:
    """The first line has its head, the others stand below the text."""
    lines = wrapped("one two three four", "head ", "     ", 30)

    assert lines == ["head one two three four"]
    assert wrapped("one two three four five six", "head ", "     ", 25) == [
        "head one two three four",
        "     five six",
    ]
