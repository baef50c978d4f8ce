"""Prometheus and Alertmanager as processes, on free ports, and their APIs."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from alert_rules import needed_program

_LONGEST_SECONDS = 600
"""A limit for whole tests, so that what hangs ends."""


def free_port() -> int:
    """Return a free port of the loopback interface."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


class Prometheus:
    """A running Prometheus, and its API."""

    def __init__(self, port: int, session: aiohttp.ClientSession, log: Path) -> None:
        """Use the Prometheus on this port, which logs to this file."""
        self.base = f"http://127.0.0.1:{port}"
        self.session = session
        self.log = log

    async def api(self, path: str, **parameters: str | float) -> Any:
        """Return the data of an answer; fail with its message if it is an error."""
        url = f"{self.base}/api/v1/{path}"
        async with self.session.get(url, params=parameters) as response:
            answer = await response.json()
        assert answer["status"] == "success", f"{answer['error']}: {parameters}"
        return answer["data"]

    async def targets(self) -> list[dict[str, Any]]:
        """Return the state of the targets; none while it starts."""
        try:
            found = await self.api("targets")
        except (aiohttp.ClientConnectionError, aiohttp.ContentTypeError):
            return []  # its port opens late, and answers with 503 at first
        return [dict(target) for target in found["activeTargets"]]

    async def wait_for_scrape(self) -> dict[str, Any]:
        """Wait until a scrape, successful or not, can be queried; return the target."""
        while True:
            for target in await self.targets():
                # The state is told a little before the samples are in.
                if target["health"] != "unknown" and await self.query("up"):
                    return target
            await asyncio.sleep(0.05)

    async def scrape_results(self, jobs: int) -> dict[str, tuple[str, str]]:
        """Wait until each job was scraped once; return its health and last error."""
        while True:
            found = {
                target["labels"]["job"]: (target["health"], target["lastError"])
                for target in await self.targets()
            }
            known = [health for health, _ in found.values() if health != "unknown"]
            if len(known) == jobs:
                return found
            await asyncio.sleep(0.05)

    async def query(self, expression: str) -> list[dict[str, Any]]:
        """Return an instant query's labels and values."""
        result = (await self.api("query", query=expression))["result"]
        return [{**one["metric"], "value": float(one["value"][1])} for one in result]

    async def value(self, expression: str) -> float:
        """Return the value of a query with one result."""
        (only,) = await self.query(expression)
        return float(only["value"])


@asynccontextmanager
async def prometheus(
    program: str, file: Path, *flags: str, seconds: float = _LONGEST_SECONDS
) -> AsyncIterator[Prometheus]:
    """Start this Prometheus with this configuration; it is gone afterwards.

    Its data and its log lie beside the file.
    """
    port, log = free_port(), file.with_name("prometheus.log")
    arguments = (
        f"--config.file={file}",
        f"--storage.tsdb.path={file.with_name('data')}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=debug",
        "--log.format=json",
        *flags,
    )
    async with _process(log, program, *arguments, seconds=seconds) as session:
        yield Prometheus(port, session, log)


@asynccontextmanager
async def alertmanager(file: Path, port: int) -> AsyncIterator[aiohttp.ClientSession]:
    """Start an Alertmanager with this configuration; it is gone afterwards.

    Its data and its log lie beside the file.
    """
    program = needed_program("prometheus-alertmanager")
    arguments = (
        f"--config.file={file}",
        f"--storage.path={file.with_name('alerts')}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    )
    log = file.with_name("alertmanager.log")
    async with _process(log, program, *arguments) as session:
        yield session


@asynccontextmanager
async def _process(
    log: Path, program: str, *arguments: str, seconds: float = _LONGEST_SECONDS
) -> AsyncIterator[aiohttp.ClientSession]:
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            program, *arguments, stdout=output, stderr=output
        )
    try:
        async with (
            asyncio.timeout(seconds),
            aiohttp.ClientSession() as session,
        ):
            yield session
    finally:
        process.kill()
        await process.wait()
