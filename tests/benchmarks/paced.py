"""Measure what a process costs at a steady pace, beside a loop that only fetches.

An exporter and a bare loop, each a process, read 200 lists of 30 backups a second: of
servers that are unchanged, then of servers that have all changed. A minute and a half.
"""

from __future__ import annotations

import asyncio
import sys
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import cycle
from typing import Any

import aiohttp
from cloud_process import CONTEXT, Cloud, cloud
from exporter_process import fetch
from subject_process import MeasuredExporter, cpu_seconds, measured_exporter

_SERVERS = 3_000
_INTERVAL_SECONDS = 15
_BACKUPS = 30
_PACE = _SERVERS / _INTERVAL_SECONDS
_SECONDS = 15.0
_OTHERS_OFF = {"schedules": False, "transactions": False, "backup_servers": False}


async def main(seconds: float) -> None:
    """Measure both kinds of lists, each for some seconds."""
    poll = {"interval": f"{_INTERVAL_SECONDS}s"}
    with (
        cloud(_SERVERS, _BACKUPS) as panel,
        measured_exporter(panel, poll=poll, collectors=_OTHERS_OFF) as exporter,
    ):
        with _bare_loop(panel, etags=True) as bare:
            await _measure("HTTP 304", exporter, bare, seconds)
        panel.etags(given=False)
        async with _changes(panel):
            with _bare_loop(panel, etags=False) as bare:
                await _measure("changed", exporter, bare, seconds)


async def _measure(
    name: str, exporter: MeasuredExporter, bare: int, seconds: float
) -> None:
    # Until then each server has its slot, and the bare loop knows the ETags.
    await asyncio.sleep(_INTERVAL_SECONDS + 1.0)
    before = exporter.cpu(), cpu_seconds(bare), await _requests(exporter.ours)
    await asyncio.sleep(seconds)
    after = exporter.cpu(), cpu_seconds(bare), await _requests(exporter.ours)
    cpu, bare_cpu, requests = (b - a for a, b in zip(before, after, strict=True))
    each, bare_each = cpu / requests, bare_cpu / seconds / _PACE
    print(
        f"{name}: {requests / seconds:.0f} requests a second, {each * 1e6:.0f} µs of "
        f"CPU each; bare {bare_each * 1e6:.0f} µs: {each / bare_each:.2f} times",
        flush=True,
    )


async def _requests(url: str) -> float:
    _, text = await fetch(f"{url}/metrics?name[]=onapp_api_requests_total")
    lines = (line for line in text.splitlines() if 'resource="backups"' in line)
    return sum(float(line.split()[-1]) for line in lines)


async def _at_pace(act: Callable[[int], Coroutine[Any, Any, None]]) -> None:
    """Act for one server after another, as often as the exporter reads one."""
    started = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for count, vm_id in enumerate(cycle(range(1, _SERVERS + 1))):
            await asyncio.sleep(started + count / _PACE - time.monotonic())
            group.create_task(act(vm_id))


@contextmanager
def _bare_loop(panel: Cloud, *, etags: bool) -> Iterator[int]:
    """Start a process that only fetches; yield its number."""
    login = b64encode(f"{panel.username}:{panel.password}".encode()).decode()
    process = CONTEXT.Process(
        target=_run_bare_loop, args=(panel.url, login, etags), daemon=True
    )
    process.start()
    assert process.pid is not None
    try:
        yield process.pid
    finally:
        process.terminate()
        process.join()


def _run_bare_loop(url: str, login: str, etags: bool) -> None:  # noqa: FBT001  # an argument of a process
    asyncio.run(_fetch_at_pace(url, login, etags=etags))


async def _fetch_at_pace(url: str, login: str, *, etags: bool) -> None:
    headers = {"Authorization": f"Basic {login}", "Accept": "application/json"}
    known: dict[int, str] = {}
    async with aiohttp.ClientSession(headers=headers) as session:

        async def fetch_one(vm_id: int) -> None:
            tag = {"If-None-Match": known[vm_id]} if vm_id in known else None
            address = f"{url}/virtual_machines/{vm_id}/backups.json"
            async with session.get(address, headers=tag) as response:
                response.raise_for_status()
                await response.read()
                if etags:
                    known[vm_id] = response.headers["ETag"]

        await _at_pace(fetch_one)


@asynccontextmanager
async def _changes(panel: Cloud) -> AsyncIterator[None]:
    """Change each server once an interval."""

    async def change(vm_id: int) -> None:
        panel.change(vm_id)

    changing = asyncio.create_task(_at_pace(change))
    try:
        yield
    finally:
        changing.cancel()
        await asyncio.gather(changing, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]) if len(sys.argv) > 1 else _SECONDS))
