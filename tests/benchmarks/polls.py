"""What it costs to poll a server, beside a loop that only fetches the same bodies."""

from __future__ import annotations

import asyncio
import time
from base64 import b64encode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from statistics import median

import aiohttp
from cloud_process import Cloud, cloud
from subject_process import Subject, subject

from exporter.blocks import SERVERS

_SERVERS = 400
_BACKUPS = 30
_CONCURRENCY = 8
_PASSES = 5
_APART = range(1, _SERVERS + 1, SERVERS)
"""A server of each block."""
_OTHERS_OFF = {
    "schedules": False,
    "transactions": False,
    "backup_servers": False,
}


@dataclass(frozen=True)
class Polls:
    """CPU seconds a server: by the exporter, and by a bare loop."""

    changed: float
    alone: float
    """The same, where no other server of its block changes with it."""
    unchanged: float
    not_modified: float
    bare: float
    bare_not_modified: float


def polls(form: str) -> Polls:
    """Measure all kinds of polls in one format."""
    with cloud(_SERVERS, _BACKUPS) as panel:
        bare_not_modified = _bare(panel, form, etags=True)
        with subject(panel, format=form, collectors=_OTHERS_OFF) as exporter:
            exporter.cpu_of_a_pass()
            not_modified = median(exporter.cpu_of_a_pass() for _ in range(_PASSES))
            panel.etags(given=False)
            exporter.cpu_of_a_pass()
            unchanged = median(exporter.cpu_of_a_pass() for _ in range(_PASSES))
            changed = median(_changed(panel, exporter) for _ in range(_PASSES))
            alone = median(_alone(panel, exporter) for _ in range(_PASSES))
        bare = _bare(panel, form, etags=False)
    return Polls(
        changed / _SERVERS,
        alone / len(_APART),
        unchanged / _SERVERS,
        not_modified / _SERVERS,
        bare / _SERVERS,
        bare_not_modified / _SERVERS,
    )


def _changed(panel: Cloud, exporter: Subject) -> float:
    for vm_id in range(1, _SERVERS + 1):
        panel.change(vm_id)
    return exporter.cpu_of_a_pass()


def _alone(panel: Cloud, exporter: Subject) -> float:
    for vm_id in _APART:
        panel.change(vm_id)
    return exporter.cpu_of_a_pass(_APART)


def _bare(panel: Cloud, form: str, *, etags: bool) -> float:
    """Return the CPU seconds to fetch every list, in the second of two passes."""
    return asyncio.run(_fetch_twice(panel, form, etags=etags))


async def _fetch_twice(panel: Cloud, form: str, *, etags: bool) -> float:
    login = b64encode(f"{panel.username}:{panel.password}".encode()).decode()
    headers = {"Authorization": f"Basic {login}", "Accept": f"application/{form}"}
    known: dict[int, str] = {}
    async with aiohttp.ClientSession(headers=headers) as session:

        async def fetch(vm_id: int) -> None:
            tag = {"If-None-Match": known[vm_id]} if vm_id in known else None
            address = f"{panel.url}/virtual_machines/{vm_id}/backups.{form}"
            async with session.get(address, headers=tag) as response:
                response.raise_for_status()
                await response.read()
                if etags:
                    known[vm_id] = response.headers["ETag"]

        await _in_turn(fetch)
        started = time.process_time()
        await _in_turn(fetch)
        return time.process_time() - started


async def _in_turn(fetch: Callable[[int], Awaitable[None]]) -> None:
    waiting = iter(range(1, _SERVERS + 1))

    async def some() -> None:
        for vm_id in waiting:
            await fetch(vm_id)

    await asyncio.gather(*(some() for _ in range(_CONCURRENCY)))
