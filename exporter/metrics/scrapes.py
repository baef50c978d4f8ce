"""Scrapes that are under way: made by threads, and shared by those who ask alike."""

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
_SECONDS_BETWEEN_UPDATES = 1.0
_TURN_SECONDS = 0.0005
"""After so long a thread lets another one go on, if it waits for its turn.

Python's default, ten times that, is waited for several times in answering a request.
"""

Wanted: TypeAlias = tuple[str, frozenset[str], bool]
"""The media type, the names (none: all), and whether it shall be compressed."""


@dataclass(slots=True, eq=False)
class Scrapes:
    """Makes the bodies of scrapes without holding up the event loop."""

    exposition: Exposition
    _under_way: dict[Wanted, tuple[Snapshot, asyncio.Task[Body]]] = field(
        default_factory=dict
    )
    _waiting: dict[Wanted, asyncio.Task[Body]] = field(default_factory=dict)
    _threads: ThreadPoolExecutor = field(
        # Threads of their own: look-ups of panels' names can block all the others.
        default_factory=lambda: ThreadPoolExecutor(_THREADS, "scrape")
    )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Write what changes soon after it did, so that no scrape has much to write."""
        task = asyncio.create_task(self._keep_up())
        turn_before = sys.getswitchinterval()
        sys.setswitchinterval(_TURN_SECONDS)
        try:
            yield
        finally:
            sys.setswitchinterval(turn_before)
            tasks = [task, *self._waiting.values()]
            tasks += (each for _, each in self._under_way.values())
            for each in tasks:
                each.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def body(
        self, media_type: str, names: frozenset[str], *, compressed: bool
    ) -> Body:
        """Return a scrape that shows everything known when it was asked for."""
        wanted = (media_type, names, compressed)
        moment, task = self._under_way.get(wanted, (None, None))
        if task is None or not _alike(moment, self.exposition.moment()):
            task = self._waiting.get(wanted)
        if task is None:
            task = asyncio.create_task(self._make(wanted))
            self._waiting[wanted] = task
        # Others may wait for the same one: who goes away must not end it.
        return await asyncio.shield(task)

    async def _make(self, wanted: Wanted) -> Body:
        _, before = self._under_way.get(wanted, (None, None))
        if before is not None:
            await asyncio.wait([before])
        moment = self.exposition.moment()
        task = self._waiting.pop(wanted)
        self._under_way[wanted] = (moment, task)
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._threads, self._written, moment, wanted
            )
        finally:
            del self._under_way[wanted]

    def _written(self, moment: Snapshot, wanted: Wanted) -> Body:
        media_type, names, compressed = wanted
        scrape = self.exposition.scrape(moment, names)
        return scrape.compressed(media_type) if compressed else scrape.plain(media_type)

    async def _keep_up(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            moment = self.exposition.moment()
            written = loop.run_in_executor(
                self._threads, self.exposition.update, moment
            )
            # What cannot be written fails every scrape too, and that is logged.
            await asyncio.gather(written, return_exceptions=True)
            await asyncio.sleep(_SECONDS_BETWEEN_UPDATES)


def _alike(one: Snapshot | None, other: Snapshot) -> bool:
    """Tell whether a scrape of one moment shows the same as one of the other."""
    return (
        one is not None
        and floor(one.now.time) == floor(other.now.time)
        and (one.detail, one.panels) == (other.detail, other.panels)
    )
