"""Scrapes in progress: rendered by threads, and shared by identical requests."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from math import floor
from typing import TypeAlias

from .exposition import Body, Exposition, Snapshot

_THREADS = 2
_UPDATE_INTERVAL_SECONDS = 1.0
_SWITCH_INTERVAL_SECONDS = 0.0005
"""Python's thread switch interval while scrapes are served.

A request waits for it several times; the default is ten times as long.
"""

ScrapeRequest: TypeAlias = tuple[str, frozenset[str], bool]
"""The media type, the names (empty: all), and whether to compress."""


@dataclass(slots=True, eq=False)
class Scrapes:
    """Renderer of scrapes that does not block the event loop."""

    exposition: Exposition
    _in_progress: dict[ScrapeRequest, tuple[Snapshot, asyncio.Task[Body]]] = field(
        default_factory=dict
    )
    _queued: dict[ScrapeRequest, asyncio.Task[Body]] = field(default_factory=dict)
    _threads: ThreadPoolExecutor = field(
        # A separate executor: DNS look-ups can block all threads of the default one.
        default_factory=lambda: ThreadPoolExecutor(_THREADS, "scrape")
    )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Render changes soon after they happen, so that scrapes have little to do."""
        task = asyncio.create_task(self._update_periodically())
        previous_interval = sys.getswitchinterval()
        sys.setswitchinterval(_SWITCH_INTERVAL_SECONDS)
        try:
            yield
        finally:
            sys.setswitchinterval(previous_interval)
            tasks = [task, *self._queued.values()]
            tasks += (each for _, each in self._in_progress.values())
            for each in tasks:
                each.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def body(
        self, media_type: str, names: frozenset[str], *, compressed: bool
    ) -> Body:
        """Return a scrape of a state that is no older than the request."""
        request = (media_type, names, compressed)
        snapshot, task = self._in_progress.get(request, (None, None))
        if task is None or not _same_content(snapshot, self.exposition.snapshot()):
            task = self._queued.get(request)
        if task is None:
            task = asyncio.create_task(self._run(request))
            self._queued[request] = task
        # Others may wait for the same task, so a disconnect must not cancel it.
        return await asyncio.shield(task)

    async def _run(self, request: ScrapeRequest) -> Body:
        _, previous = self._in_progress.get(request, (None, None))
        if previous is not None:
            await asyncio.wait([previous])
        snapshot = self.exposition.snapshot()
        task = self._queued.pop(request)
        self._in_progress[request] = (snapshot, task)
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._threads, self._render, snapshot, request
            )
        finally:
            del self._in_progress[request]

    def _render(self, snapshot: Snapshot, request: ScrapeRequest) -> Body:
        media_type, names, compressed = request
        return self.exposition.scrape(
            snapshot, media_type, names, compressed=compressed
        )

    async def _update_periodically(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            snapshot = self.exposition.snapshot()
            update = loop.run_in_executor(
                self._threads, self.exposition.update, snapshot
            )
            # An update that fails makes every scrape fail too, and that is logged.
            await asyncio.gather(update, return_exceptions=True)
            await asyncio.sleep(_UPDATE_INTERVAL_SECONDS)


def _same_content(one: Snapshot | None, other: Snapshot) -> bool:
    """Return whether scrapes of both snapshots have the same content."""
    return (
        one is not None
        and floor(one.now.time) == floor(other.now.time)
        and (one.detail, one.panels) == (other.detail, other.panels)
    )
