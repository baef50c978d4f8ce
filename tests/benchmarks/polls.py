"""What it costs to poll a server, beside a loop that only fetches the same bodies."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from bare_client import Fetch, bare_client
from cloud_process import Cloud, cloud
from subject_process import BACKUPS_ALONE, measured_exporter

from exporter.metrics.cache import SERVERS_PER_BLOCK

_SERVERS = 400
_BACKUPS = 30
_CONCURRENCY = 8
_PASSES = 9
_APART = range(1, _SERVERS + 1, SERVERS_PER_BLOCK)
"""A server of each block."""


@dataclass(frozen=True)
class Cost:
    """CPU seconds a server, in several passes."""

    median: float
    least: float
    """In the quickest: a neighbour on the same core makes the others slower."""


@dataclass(frozen=True)
class Polls:
    """What kinds of polls cost: the exporter, and a bare loop."""

    changed: Cost
    alone: Cost
    """The same, where no other server of its block changes with it."""
    unchanged: Cost
    not_modified: Cost
    bare: Cost
    bare_not_modified: Cost


def polls(form: str) -> Polls:
    """Measure all kinds of polls in one format, each beside the others."""
    seconds: dict[str, list[float]] = defaultdict(list)
    with (
        cloud(_SERVERS, _BACKUPS) as panel,
        measured_exporter(panel, format=form, collectors=BACKUPS_ALONE) as exporter,
    ):
        for _ in range(_PASSES):
            panel.etags(given=True)
            exporter.cpu_of_a_pass()
            seconds["not_modified"].append(exporter.cpu_of_a_pass() / _SERVERS)
            seconds["bare_not_modified"].append(_bare(panel, form, etags=True))
            panel.etags(given=False)
            exporter.cpu_of_a_pass()
            seconds["unchanged"].append(exporter.cpu_of_a_pass() / _SERVERS)
            seconds["bare"].append(_change(panel, form, range(1, _SERVERS + 1)))
            seconds["changed"].append(exporter.cpu_of_a_pass() / _SERVERS)
            _change(panel, form, _APART)
            seconds["alone"].append(exporter.cpu_of_a_pass(_APART) / len(_APART))
    costs = {kind: Cost(median(each), min(each)) for kind, each in seconds.items()}
    return Polls(**costs)


def _change(panel: Cloud, form: str, vm_ids: Iterable[int]) -> float:
    """Change servers, and let a bare loop fetch all; return what that costs.

    So their lists are written: who waits for a panel that writes them sleeps between
    two answers, and waking up would be counted.
    """
    for vm_id in vm_ids:
        panel.change(vm_id)
    return _bare(panel, form, etags=False)


def _bare(panel: Cloud, form: str, *, etags: bool) -> float:
    """Return what it costs to fetch every list, in the second of two passes."""
    return asyncio.run(_fetch_twice(panel, form, etags=etags)) / _SERVERS


async def _fetch_twice(panel: Cloud, form: str, *, etags: bool) -> float:
    account = (panel.username, panel.password)
    async with bare_client(panel.url, account, form, etags=etags) as fetch:
        await _in_turn(fetch)
        started = time.process_time()
        await _in_turn(fetch)
        return time.process_time() - started


async def _in_turn(fetch: Fetch) -> None:
    waiting = iter(range(1, _SERVERS + 1))

    async def some() -> None:
        for vm_id in waiting:
            await fetch(vm_id)

    await asyncio.gather(*(some() for _ in range(_CONCURRENCY)))
