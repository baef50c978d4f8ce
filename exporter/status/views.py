"""The status page and its API, rendered in a thread, one request at a time.

A page with thousands of servers must not delay health checks, and many concurrent
requests must not delay scrapes.
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
from ..model.store import LastError
from .api import (
    ErrorCounts,
    judged_panel,
    last_error_status,
    panel_status,
    server_status,
    status_response,
    utc_datetime,
)
from .compliance import compliance_by_owner
from .csv_table import owners_csv, servers_csv
from .html import StatusPages
from .query import Query
from .schema import StatusResponse
from .select import JudgedServer, all_servers, find_server, select

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Views:
    """Renders the status page, its JSON and CSV, and the pages of single objects."""

    exposition: Exposition
    shard: Shard
    error_counts: ErrorCounts
    pages: StatusPages
    reload_error: Callable[[], LastError | None] = lambda: None
    """Returns why the last reload failed; None: it did not fail."""
    _thread: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(1, "view")
    )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Shut the thread down at the end."""
        try:
            yield
        finally:
            self._thread.shutdown(wait=False, cancel_futures=True)

    async def overview(self, query: Query) -> str:
        """Return the page of all panels and of the selected servers."""
        ready = self.exposition.store.ready()

        def render(snapshot: Snapshot) -> str:
            response = self._response(snapshot, query)
            return self.pages.overview(response, query, ready=ready)

        return await self._run(render)

    async def status(self, query: Query) -> bytes:
        """Return all panels and the selected servers as JSON."""

        def render(snapshot: Snapshot) -> bytes:
            return msgspec.json.encode(self._response(snapshot, query))

        return await self._run(render)

    async def servers_csv(self, query: Query) -> str:
        """Return the selected servers of all pages as CSV."""

        def render(snapshot: Snapshot) -> str:
            return servers_csv(
                server_status(judged, snapshot.now)
                for judged in self._selected(snapshot, query)
            )

        return await self._run(render)

    async def compliance(self, query: Query) -> str:
        """Return the page with the compliance of each owner of the selected servers."""

        def render(snapshot: Snapshot) -> str:
            owners = compliance_by_owner(self._selected(snapshot, query))
            return self.pages.compliance(owners, query, snapshot.now.time)

        return await self._run(render)

    async def compliance_csv(self, query: Query) -> str:
        """Return the compliance of the owners of all pages as CSV."""

        def render(snapshot: Snapshot) -> str:
            return owners_csv(compliance_by_owner(self._selected(snapshot, query)))

        return await self._run(render)

    async def server(self, panel: str, vm_id: str, page: int) -> str | None:
        """Return the page of one server; None: not found."""

        def render(snapshot: Snapshot) -> str | None:
            healths = self.exposition.healths(snapshot)
            judged = find_server(snapshot, healths, panel, vm_id)
            if judged is None:
                return None
            return self.pages.server(
                server_status(judged, snapshot.now), judged, page, snapshot.now
            )

        return await self._run(render)

    async def panel(self, name: str) -> str | None:
        """Return the page of one panel; None: not found."""

        def render(snapshot: Snapshot) -> str | None:
            panel = next((p for p in snapshot.panels if p.name == name), None)
            if panel is None:
                return None
            now, healths = snapshot.now, self.exposition.healths(snapshot)
            health = judged_panel(panel, healths, self.shard, now)
            return self.pages.panel(
                panel_status(panel, health, now, self.error_counts(name)),
                panel,
                health,
                now,
                last_error_status(self.reload_error()),
            )

        return await self._run(render)

    def absent_server(self, panel: str, vm_id: str) -> str:
        """Return the page that explains why a server is not shown."""
        exposition = self.exposition
        return self.pages.absent_server(
            panel,
            exposition.store.panels.get(panel),
            vm_id,
            utc_datetime(exposition.clock.time()),
        )

    async def _run(self, render: Callable[[Snapshot], T]) -> T:
        snapshot = self.exposition.snapshot()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, render, snapshot)

    def _selected(self, snapshot: Snapshot, query: Query) -> list[JudgedServer]:
        healths = self.exposition.healths(snapshot)
        return select(all_servers(snapshot, healths), query, snapshot.now)

    def _response(self, snapshot: Snapshot, query: Query) -> StatusResponse:
        healths = self.exposition.healths(snapshot)
        return status_response(snapshot, healths, self.shard, query, self.error_counts)
