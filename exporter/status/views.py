"""What people and their tools look at: made by a thread, one after another.

A look at thousands of servers must not keep health checks waiting, and many looks at
once must not keep scrapes waiting.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from ..metrics.exposition import Exposition, Snapshot
from ..model.selection import Shard
from .api import Errors, server_status, status
from .api import moment as shown_moment
from .html import StatusPages, rows
from .query import Query
from .schema import Status
from .select import board, entry

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Views:
    """Makes the bodies of the status page, of its API and of servers' pages."""

    exposition: Exposition
    shard: Shard
    errors: Errors
    pages: StatusPages
    _thread: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(1, "view")
    )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """End the thread with the body."""
        try:
            yield
        finally:
            self._thread.shutdown(wait=False, cancel_futures=True)

    async def overview(self, wanted: Query) -> str:
        """Return the page of all panels and of the servers that are wanted."""
        ready = self.exposition.store.ready()

        def made(moment: Snapshot) -> str:
            shown = self._status(moment, wanted)
            return self.pages.overview(shown, wanted, ready=ready)

        return await self._made(made)

    async def status(self, wanted: Query) -> bytes:
        """Return the same as JSON."""

        def made(moment: Snapshot) -> bytes:
            return msgspec.json.encode(self._status(moment, wanted))

        return await self._made(made)

    async def server(self, panel: str, vm_id: str, page: int) -> str | None:
        """Return the page of one server; None: there is none."""

        def made(moment: Snapshot) -> str | None:
            verdicts = self.exposition.verdicts(moment)
            found = entry(moment, verdicts, panel, vm_id)
            if found is None:
                return None
            watch = found.watch
            backups = () if watch is None else tuple(watch.state.backups or ())
            return self.pages.server(
                server_status(found, moment.now),
                rows(backups, page),
                shown_moment(moment.now.time),
                fresh=found.verdict is not None,
            )

        return await self._made(made)

    async def _made(self, make: Callable[[Snapshot], T]) -> T:
        moment = self.exposition.moment()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, make, moment)

    def _status(self, moment: Snapshot, wanted: Query) -> Status:
        verdicts = self.exposition.verdicts(moment)
        return status(board(moment, verdicts, self.shard, wanted), self.errors)
