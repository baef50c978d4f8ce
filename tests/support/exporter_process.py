"""The exporter as a child process, and clients for it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp

LONGEST_REAL_WAIT_SECONDS = 60
_LOCALE = {"LANG": "C.UTF-8", "PATH": os.environ.get("PATH", "")}


@dataclass(eq=False)
class RunningProcess:
    """A child process and its output so far."""

    process: asyncio.subprocess.Process
    out: list[str] = field(default_factory=list)
    err: list[str] = field(default_factory=list)
    _output_added: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def output(self) -> str:
        """Return standard output and standard error."""
        return "".join(self.out) + "".join(self.err)

    async def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait until the output matches; fail if the process ends before."""
        while True:
            self._output_added.clear()
            found = re.search(pattern, self.output)
            if found is not None:
                return found
            ended = self.process.stderr is None or self.process.stderr.at_eof()
            assert not ended, f"ended without {pattern!r}:\n{self.output}"
            await self._output_added.wait()

    async def base_url(self) -> str:
        """Wait until it listens; return its address."""
        address = await self.wait_for(r"msg=listening address=(\S+)")
        return f"http://{address[1]}"

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    async def wait(self) -> int:
        """Wait for the end; return the exit status."""
        return await self.process.wait()

    async def collect_output(
        self, stream: asyncio.StreamReader | None, to: list[str]
    ) -> None:
        """Collect the lines of a stream."""
        assert stream is not None
        async for line in stream:
            to.append(line.decode())
            self._output_added.set()
        self._output_added.set()


@asynccontextmanager
async def exporter_process(
    *arguments: str, environment: dict[str, str] | None = None
) -> AsyncIterator[RunningProcess]:
    """Start ``python -m exporter`` with these arguments; kill it in the end."""
    command = (sys.executable, "-m", "exporter", *arguments)
    async with started_process(*command, environment=environment) as exporter:
        yield exporter


@asynccontextmanager
async def started_process(
    *command: str,
    environment: dict[str, str] | None = None,
    pass_fds: Sequence[int] = (),
) -> AsyncIterator[RunningProcess]:
    """Start a program that inherits these files; kill it in the end."""
    async with asyncio.timeout(LONGEST_REAL_WAIT_SECONDS):
        process = await asyncio.create_subprocess_exec(
            *command,
            pass_fds=pass_fds,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=_LOCALE | (environment or {}),
        )
        running = RunningProcess(process)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(running.collect_output(process.stdout, running.out))
            tasks.create_task(running.collect_output(process.stderr, running.err))
            try:
                yield running
            finally:
                if process.returncode is None:
                    process.kill()
                await process.wait()


async def fetch(url: str, method: str = "GET") -> tuple[int, str]:
    """Return status and body of one request."""
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, url) as response,
    ):
        return response.status, await response.text()


async def poll_until(url: str, good: Callable[[int, str], bool]) -> str:
    """Repeat a request until the answer is accepted; return its body."""
    while True:
        status, text = await fetch(url)
        if good(status, text):
            return text
        await asyncio.sleep(0.02)
