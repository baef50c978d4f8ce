"""The web handlers over a given store, wired as the exporter wires them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cache

from prometheus_client import CollectorRegistry
from stores import FixedClock

from exporter.config.schema import Detail, Link
from exporter.metrics.exposition import Exposition
from exporter.model.selection import Shard
from exporter.model.store import Store
from exporter.status.api import ErrorCounts
from exporter.status.html import StatusPages
from exporter.status.views import Views
from exporter.web.handlers import Handlers


async def _no_reload() -> None:
    """Reload nothing."""


def no_error_counts(_: str) -> dict[str, int]:
    """Return no errors for any panel."""
    return {}


@cache
def _status_pages(
    telemetry_path: str, shard: Shard, links: tuple[Link, ...]
) -> StatusPages:
    """Make them once: compiling the templates is slow."""
    return StatusPages(telemetry_path, shard, lambda: links)


def handlers_for(  # noqa: PLR0913  # a test names what matters to it
    store: Store,
    *,
    own: CollectorRegistry | None = None,
    telemetry_path: str = "/metrics",
    max_requests: int = 40,
    effective: Callable[[], str] = str,
    reload: Callable[[], Awaitable[None]] = _no_reload,
    shard: Shard | None = None,
    links: tuple[Link, ...] = (),
    errors: ErrorCounts = no_error_counts,
) -> Handlers:
    """Return the handlers of every path, with the clock fixed at ``TIME``."""
    shard = shard or Shard()
    own = own or CollectorRegistry()
    exposition = Exposition(store, FixedClock(), Detail(), own)
    return Handlers(
        store,
        exposition,
        Views(exposition, shard, errors, _status_pages(telemetry_path, shard, links)),
        telemetry_path,
        max_requests,
        effective_config=effective,
        hung_panels=list,
        reload=reload,
    )
