"""Measure what a process costs at a steady pace, beside a loop that only fetches.

An exporter and a bare loop, each a process, read 200 lists of 30 backups a second: of
servers that are unchanged, then of servers that have all changed. A minute and a half.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from ctypes import c_ulong
from dataclasses import dataclass
from itertools import cycle
from typing import Any

from bare_client import Fetch, bare_client
from cloud_process import CONTEXT, Cloud, cloud
from exporter_process import fetch
from subject_process import (
    BACKUPS_ALONE,
    MeasuredExporter,
    cpu_seconds,
    measured_exporter,
)

_SERVERS = 3_000
_INTERVAL_SECONDS = 15
_BACKUPS = 30
_PACE = _SERVERS / _INTERVAL_SECONDS
_SECONDS = 15.0


async def main(seconds: float) -> None:
    """Measure both kinds of lists, each for some seconds."""
    poll = {"interval": f"{_INTERVAL_SECONDS}s"}
    with (
        cloud(_SERVERS, _BACKUPS) as panel,
        measured_exporter(panel, poll=poll, collectors=BACKUPS_ALONE) as exporter,
    ):
        with _bare_loop(panel, etags=True) as bare:
            await _measure("HTTP 304", exporter, bare, seconds)
        panel.etags(given=False)
        async with _changes(panel):
            with _bare_loop(panel, etags=False) as bare:
                await _measure("changed", exporter, bare, seconds)


@dataclass(frozen=True)
class _BareLoop:
    """A process that only fetches."""

    pid: int
    fetched: c_ulong
    """How many lists."""


async def _measure(
    name: str, exporter: MeasuredExporter, bare: _BareLoop, seconds: float
) -> None:
    # Until then each server has its slot, and the bare loop knows the ETags.
    await asyncio.sleep(_INTERVAL_SECONDS + 1.0)
    before = await _counts(exporter, bare)
    await asyncio.sleep(seconds)
    after = await _counts(exporter, bare)
    cpu, requests, bare_cpu, fetched = (
        now - then for now, then in zip(after, before, strict=True)
    )
    print(
        f"{name}: {requests / seconds:.0f} requests a second, "
        f"{1e6 * cpu / requests:.0f} µs of CPU each; bare {fetched / seconds:.0f}, "
        f"{1e6 * bare_cpu / fetched:.0f} µs: "
        f"{cpu / requests / bare_cpu * fetched:.2f} times",
        flush=True,
    )


async def _counts(exporter: MeasuredExporter, bare: _BareLoop) -> tuple[float, ...]:
    """Return the CPU seconds and the requests of both."""
    requests = await _requests(exporter.ours)
    return exporter.cpu(), requests, cpu_seconds(bare.pid), bare.fetched.value


async def _requests(url: str) -> float:
    _, text = await fetch(f"{url}/metrics?name[]=onapp_api_requests_total")
    lines = (line for line in text.splitlines() if 'resource="backups"' in line)
    return sum(float(line.split()[-1]) for line in lines)


async def _at_pace(act: Fetch) -> None:
    """Act for one server after another, as often as the exporter reads one."""
    started = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for count, vm_id in enumerate(cycle(range(1, _SERVERS + 1))):
            await asyncio.sleep(started + count / _PACE - time.monotonic())
            group.create_task(act(vm_id))


@contextmanager
def _bare_loop(panel: Cloud, *, etags: bool) -> Iterator[_BareLoop]:
    """Start a process that only fetches; end it."""
    fetched = CONTEXT.RawValue(c_ulong)
    account = (panel.username, panel.password)
    process = CONTEXT.Process(
        target=_run_bare_loop, args=(panel.url, account, etags, fetched), daemon=True
    )
    process.start()
    assert process.pid is not None
    try:
        yield _BareLoop(process.pid, fetched)
    finally:
        process.terminate()
        process.join()


def _run_bare_loop(*arguments: Any) -> None:
    asyncio.run(_fetch_at_pace(*arguments))


async def _fetch_at_pace(
    url: str,
    account: tuple[str, str],
    etags: bool,  # noqa: FBT001  # an argument of a process
    fetched: c_ulong,
) -> None:
    async with bare_client(url, account, "json", etags=etags) as fetch_list:

        async def fetch_one(vm_id: int) -> None:
            await fetch_list(vm_id)
            fetched.value += 1

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
