"""The command ``once``: one whole pass over every panel, written once.

It is the polling that serves, with no port open, until every first pass has ended.
What was not tried by then counts as failed, so that the result says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import structlog

from ..app import Exporter
from ..clock import Now
from ..config.flags import Flags
from ..config.schema import Config
from ..metrics import FAMILIES
from ..metrics.exporter import OWN_FAMILIES
from ..metrics.exposition import TEXT
from ..metrics.family import AgeFamily
from ..model.selection import Shard
from ..model.store import PanelStore
from ..polling.poller import Poller
from .findings import StepStatus, gravity, worst
from .output import check_writable, to_file, to_stdout
from .report import Progress

log = structlog.get_logger()

LASTING = frozenset(
    [
        *(family.name for family in FAMILIES if not isinstance(family, AgeFamily)),
        *(family.name for family in OWN_FAMILIES),
    ]
)
"""What a file may hold: neither this process, nor what is true at one moment only."""

_LOOK_SECONDS = 0.05


async def once(flags: Flags, load: Callable[[], Config], progress: Progress) -> int:
    """Poll everything once and write it; return 0, 1 or 2.

    Raises ConfigError and OSError; then nothing was written.
    """
    if flags.output is not None:
        check_writable(flags.output)
    exporter = Exporter(load=load, shard=Shard(flags.shard, flags.total_shards))
    status = await take(exporter, flags.timeout, progress, flags.output)
    return gravity(status)


async def take(
    exporter: Exporter, limit_seconds: float, progress: Progress, file: Path | None
) -> StepStatus:
    """Run an exporter for one pass and write what it has learned.

    Raises ConfigError and OSError; then nothing was written.
    """
    async with exporter.running(()):
        try:
            whole = await _first_pass(exporter, limit_seconds, progress)
        finally:
            progress.clear()
        await exporter.manager.stop()
        if not whole:
            log.error("not everything polled in time", seconds=limit_seconds)
        for member in exporter.manager.panel_tasks.values():
            _give_up(member.poller)
        names = frozenset() if file is None else LASTING
        content = exporter.exposition.render(TEXT, names)
        if file is None:
            to_stdout(content)
        else:
            to_file(content, file)
        now = Now(exporter.clock.time(), exporter.clock.monotonic())
        stores = exporter.store.panels.values()
        return worst(_status(store, now) for store in stores)


async def _first_pass(
    exporter: Exporter, limit_seconds: float, progress: Progress
) -> bool:
    """Wait for the end of every panel's first pass; tell whether it came in time."""
    over = asyncio.Event()
    async with _watching(exporter, progress, over):
        await exporter.clock.wait(over, limit_seconds)
    if exporter.stop_requested.done():
        exporter.stop_requested.result()  # raises what has ended a poller
    return over.is_set()


@asynccontextmanager
async def _watching(
    exporter: Exporter, progress: Progress, over: asyncio.Event
) -> AsyncIterator[None]:
    """Show the progress, and set ``over`` when nothing more is to be waited for."""

    async def look() -> None:
        while not (exporter.store.ready() or exporter.stop_requested.done()):
            progress.show(_progress(exporter.store.panels.values()))
            await asyncio.sleep(_LOOK_SECONDS)
        over.set()

    task = asyncio.create_task(look())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def _progress(stores: Iterable[PanelStore]) -> str:
    panels = list(stores)
    watches = [watch for store in panels for watch in store.servers.values()]
    tried = sum(watch.failing is not None for watch in watches)
    done = sum(store.first_pass_ended for store in panels)
    return (
        f"polling: {tried} of {len(watches)} servers, {done} of {len(panels)} panels "
        "done"
    )


def _give_up(poller: Poller) -> None:
    """Count as failed what was not tried: in time, or at all."""
    store = poller.store
    if store.reachable is None:
        store.reachable = False
    if store.inventory_succeeded is None:
        store.inventory_answered = store.inventory_succeeded = False
    for vm_id, watch in store.servers.items():
        if watch.failing is None:
            store.record_failure(vm_id)
    for errand in poller.collectors.job_queue.jobs:
        if not errand.tried:
            errand.status.mark_unread()


def _status(store: PanelStore, now: Now) -> StepStatus:
    """Return how a panel's pass went."""
    fresh = [store.is_fresh(watch, now.monotonic) for watch in store.servers.values()]
    if not store.up(now.monotonic) or (fresh and not any(fresh)):
        return StepStatus.FAILED
    backups = store.backups_succeeded() is not False
    collectors = (
        store.inventory_succeeded,
        backups,
        *store.collectors_succeeded().values(),
    )
    whole = all(collectors) and store.servers_listed != 0
    return StepStatus.OK if whole else StepStatus.DEGRADED
