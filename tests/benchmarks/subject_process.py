"""The exporter that is measured, in a process of its own.

Over the very same store stands what it is compared with: the handler for aiohttp that
prometheus-client brings along.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from aiohttp import web
from cloud_process import CONTEXT, Cloud
from prometheus_client import CollectorRegistry
from prometheus_client.aiohttp import make_aiohttp_handler

from exporter.app import Exporter, freeze_garbage_collector
from exporter.config import load as config
from exporter.config.schema import Detail
from exporter.metrics.collector import BackupCollector
from exporter.web.connection import Limits
from exporter.web.server import serving

BACKUPS_ALONE = {"schedules": False, "transactions": False, "backup_servers": False}
"""A panel's ``collectors``: only its inventory and backups are read."""
_CONCURRENCY = 8
_PAUSE_SECONDS = 0.01
_SETTLING_SECONDS = 2.5
_PATIENT = Limits(answer_seconds=600.0)
"""prometheus-client writes hundreds of thousands of backups for more than a minute."""
_PEAK = "5"
"""What resets the highest memory in Linux' /proc/PID/clear_refs."""


@dataclass(frozen=True)
class MeasuredExporter:
    """A running exporter whose first pass has ended."""

    ours: str
    """The addresses of the two servers."""
    other: str
    pid: int
    bytes_before: int
    """Its memory before it knew of any server."""
    _orders: Connection

    def cpu_of_a_pass(self, vm_ids: Iterable[int] = ()) -> float:
        """Let servers be read once, by default all; return the CPU seconds of it."""
        self._orders.send([*vm_ids])
        seconds: float = self._orders.recv()
        return seconds

    def cpu(self) -> float:
        """Return the CPU seconds that it has taken, with those of any child."""
        return cpu_seconds(self.pid)

    def memory(self) -> int:
        """Return the bytes of memory in use, with those of any child."""
        return sum(_status(pid, "VmRSS") for pid in _family(self.pid))

    def begin_peak(self) -> None:
        """Begin to look for the highest memory."""
        for pid in _family(self.pid):
            Path(f"/proc/{pid}/clear_refs").write_text(_PEAK)

    def peak(self) -> int:
        """Return the highest memory since then."""
        return sum(_status(pid, "VmHWM") for pid in _family(self.pid))


@contextmanager
def measured_exporter(cloud: Cloud, **keys: object) -> Iterator[MeasuredExporter]:
    """Start an exporter that watches a cloud; end it."""
    ours, theirs = CONTEXT.Pipe()
    panel = {
        "name": "cp",
        "url": cloud.url,
        "basic_auth": {"username": cloud.username, "password": cloud.password},
        "poll": {"interval": "4h", "max_age": "8h", "concurrency": _CONCURRENCY},
        **keys,
    }
    process = CONTEXT.Process(target=_run, args=(theirs, panel), daemon=True)
    process.start()
    try:
        address, other, pid, before = ours.recv()
        yield MeasuredExporter(address, other, pid, before, ours)
    finally:
        process.terminate()
        process.join()


def _run(orders: Connection, panel: dict[str, Any]) -> None:
    asyncio.run(_serve(orders, panel))


async def _serve(orders: Connection, panel: dict[str, Any]) -> None:
    exporter = Exporter(load=lambda _: config.build({"panels": [panel]}, "bench"))
    freeze_garbage_collector()
    before = _status(os.getpid(), "VmRSS")
    async with exporter.running(("127.0.0.1:0",)) as (ours,):
        registry = CollectorRegistry()
        registry.register(BackupCollector(exporter.store, exporter.clock, Detail()))
        application = web.Application()
        application.router.add_get("/metrics", make_aiohttp_handler(registry))
        async with serving(application, ("127.0.0.1:0",), limits=_PATIENT) as (other,):
            while not exporter.store.ready():  # noqa: ASYNC110  # there is no event
                await asyncio.sleep(_PAUSE_SECONDS)
            await asyncio.sleep(_SETTLING_SECONDS)
            orders.send((f"http://{ours}", f"http://{other}", os.getpid(), before))
            while True:
                vm_ids = await asyncio.to_thread(orders.recv)
                started = time.process_time()
                await _read(
                    exporter, vm_ids or list(exporter.store.panels["cp"].servers)
                )
                orders.send(time.process_time() - started)


async def _read(exporter: Exporter, vm_ids: list[int]) -> None:
    """Read servers as the poller does when their time has come, and write them."""
    servers = exporter.manager.panel_tasks["cp"].poller.inventory.servers
    waiting = iter(vm_ids)

    async def in_turn() -> None:
        for vm_id in waiting:
            await servers.read(vm_id)

    await asyncio.gather(*(in_turn() for _ in range(_CONCURRENCY)))
    exporter.exposition.update(exporter.exposition.snapshot())


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds that a process has taken, with those of any child."""
    return sum(
        int(file.read_text().split()[0]) / 1e9
        for each in _family(pid)
        for file in Path(f"/proc/{each}/task").glob("*/schedstat")
    )


def _family(pid: int) -> list[int]:
    """Return a process and all below it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in children for each in _family(int(child)))]


def _status(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024
