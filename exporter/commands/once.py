"""The command ``once``: polls every panel once and writes the metrics.

It polls as the exporter does, but without a port, until every first pass has ended.
Reads that were not tried by the time limit count as failed, so that the metrics show
them.
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
from .output import check_writable, replace_file, write_stdout
from .report import Progress, StepStatus, exit_status, worst_status

log = structlog.get_logger()

MOVING_METRICS = frozenset(
    [
        *(family.name for family in FAMILIES if isinstance(family, AgeFamily)),
        "onapp_vm_state",
        "onapp_panel_servers",
        "onapp_poll_lag_seconds",
    ]
)
"""Metrics that soon become wrong in a file, such as ages."""
FILE_METRICS = frozenset(
    [
        *(family.name for family in FAMILIES),
        *(family.name for family in OWN_FAMILIES if "panel" in family.labels),
    ]
)
"""Metrics for a file.

Without those of the process, which files of other runs on the host would repeat.
"""

_PROGRESS_SECONDS = 0.05


async def once(flags: Flags, load: Callable[[], Config], progress: Progress) -> int:
    """Poll everything once and write the metrics; return the exit status.

    Raises ConfigError and OSError; then nothing was written.
    """
    if flags.output is not None:
        check_writable(flags.output)
    exporter = Exporter(
        load=lambda _: load(), shard=Shard(flags.shard, flags.total_shards)
    )
    status = await poll_once(exporter, flags.timeout, progress, flags.output)
    return exit_status(status)


async def poll_once(
    exporter: Exporter, limit_seconds: float, progress: Progress, file: Path | None
) -> StepStatus:
    """Run an exporter for one pass and write its metrics; return the result.

    Raises ConfigError and OSError; then nothing was written.
    """
    async with exporter.running(()):
        try:
            complete = await _first_pass(exporter, limit_seconds, progress)
        finally:
            progress.clear()
        await exporter.manager.stop()
        if not complete:
            log.error("some servers were not polled in time", seconds=limit_seconds)
        for panel_task in exporter.manager.panel_tasks.values():
            _fail_untried(panel_task.poller)
        names = frozenset() if file is None else FILE_METRICS
        content = exporter.exposition.render(
            TEXT, names - MOVING_METRICS, MOVING_METRICS
        )
        if file is None:
            write_stdout(content)
        else:
            replace_file(content, file)
        now = Now(exporter.clock.time(), exporter.clock.monotonic())
        stores = exporter.store.panels.values()
        return worst_status(_panel_status(store, now) for store in stores)


async def _first_pass(
    exporter: Exporter, limit_seconds: float, progress: Progress
) -> bool:
    """Wait for the end of every first pass; return whether it ended in time."""
    finished = asyncio.Event()
    async with _showing_progress(exporter, progress, finished):
        await exporter.clock.wait(finished, limit_seconds)
    if exporter.stop_requested.done():
        exporter.stop_requested.result()  # raises the error of a poller that crashed
    return finished.is_set()


@asynccontextmanager
async def _showing_progress(
    exporter: Exporter, progress: Progress, finished: asyncio.Event
) -> AsyncIterator[None]:
    """Show the progress; set ``finished`` after the first passes or a crash."""

    async def update() -> None:
        while not (exporter.store.ready() or exporter.stop_requested.done()):
            progress.show(_progress_text(exporter.store.panels.values()))
            await asyncio.sleep(_PROGRESS_SECONDS)
        finished.set()

    task = asyncio.create_task(update())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def _progress_text(stores: Iterable[PanelStore]) -> str:
    panels = list(stores)
    entries = [entry for store in panels for entry in store.servers.values()]
    tried = sum(entry.failing is not None for entry in entries)
    done = sum(store.first_pass_ended for store in panels)
    return (
        f"polling: {tried} of {len(entries)} servers, {done} of {len(panels)} panels "
        "done"
    )


def _fail_untried(poller: Poller) -> None:
    """Mark reads that were not tried as failed."""
    store = poller.store
    if store.reachable is None:
        store.reachable = False
    if store.inventory_succeeded is None:
        store.inventory_answered = store.inventory_succeeded = False
    for vm_id, entry in store.servers.items():
        if entry.failing is None:
            store.record_failure(vm_id)
    poller.collectors.fail_untried()


def _panel_status(store: PanelStore, now: Now) -> StepStatus:
    """Return the result of a panel's first pass."""
    fresh = [store.is_fresh(entry, now.monotonic) for entry in store.servers.values()]
    if not store.up() or (fresh and not any(fresh)):
        return StepStatus.FAILED
    failing = False in store.collectors_succeeded().values()
    complete = not failing and store.servers_listed != 0
    return StepStatus.OK if complete else StepStatus.DEGRADED
