"""Tests for scrapes that are asked for while others are under way, or that fail."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from stores import (
    MONOTONIC,
    TIME,
    FixedClock,
    a_backup,
    a_panel,
    a_server,
    a_store,
    add_server,
)

from exporter.config.schema import Detail
from exporter.metrics.exposition import TEXT, Body, Exposition
from exporter.metrics.scrapes import Scrapes
from exporter.model.entities import Backup
from exporter.model.store import PanelStore
from exporter.model.transaction_log import TransactionLog

_LONGEST_REAL_WAIT_SECONDS = 60
_UNWRITABLE = "half a character: \ud83d"


class BlockingCollector(Collector):
    """Keeps every scrape waiting until it is opened."""

    def __init__(self) -> None:
        """Be closed."""
        self.reached, self.opened = threading.Event(), threading.Event()

    def collect(self) -> Iterator[Metric]:
        """Yield nothing, when the time has come."""
        self.reached.set()
        self.opened.wait(_LONGEST_REAL_WAIT_SECONDS)
        return iter(())


class Scraped:
    """One server, and scrapes of it that end when its door is opened."""

    def __init__(self) -> None:
        """Fill a store."""
        self.panel: PanelStore = a_panel(transaction_log=TransactionLog())
        add_server(self.panel, a_server(), a_backup())
        self.blocker, self.clock = BlockingCollector(), FixedClock()
        own = CollectorRegistry()
        own.register(self.blocker)
        self.exposition = Exposition(a_store(self.panel), self.clock, Detail(), own)
        self.scrapes = Scrapes(self.exposition)

    @asynccontextmanager
    async def under_way(self) -> AsyncIterator[asyncio.Task[Body]]:
        """Begin a scrape; the body of the context finds it before its end."""
        async with asyncio.timeout(_LONGEST_REAL_WAIT_SECONDS), self.scrapes.running():
            first = await self.asked()
            await asyncio.to_thread(self.blocker.reached.wait)
            try:
                yield first
            finally:
                self.blocker.opened.set()

    async def asked(self) -> asyncio.Task[Body]:
        """Ask for a scrape."""
        asking = self.scrapes.body(TEXT, frozenset(), compressed=False)
        task = asyncio.create_task(asking)
        await asyncio.sleep(0)
        return task

    def a_moment_passes(self) -> None:
        """Let every age be another."""
        self.clock.elapsed += 1.0

    def a_backup_changes(self) -> None:
        """Read the server anew."""
        add_server(self.panel, a_server(), a_backup(size_bytes=5))

    def the_panel_is_lost(self) -> None:
        """Change nothing about any server."""
        self.panel.reachable = False

    def a_transaction_fails(self) -> None:
        """Change nothing but a counter."""
        assert self.panel.transaction_log is not None
        self.panel.transaction_log.counts["take_backup", "failed"] += 1

    def a_reload_shows_less(self) -> None:
        """Change nothing that is known."""
        self.exposition.detail = Detail(backups=False)


def output(body: Body) -> bytes:
    """Return the text of a scrape."""
    return b"".join(body.chunks())


@pytest.mark.parametrize(
    "change",
    [
        Scraped.a_moment_passes,
        Scraped.a_backup_changes,
        Scraped.the_panel_is_lost,
        Scraped.a_transaction_fails,
        Scraped.a_reload_shows_less,
    ],
    ids=lambda change: change.__name__,
)
async def test_a_scrape_shows_all_that_was_known_when_it_was_asked_for(
    change: Callable[[Scraped], None],
) -> None:
    """One that is under way does for others only as long as nothing has changed."""
    scraped = Scraped()
    async with scraped.under_way() as first:
        change(scraped)
        second = await scraped.asked()
        scraped.blocker.opened.set()
        before, after = await first, await second

    assert output(after) == scraped.exposition.render(TEXT)
    assert output(after) != output(before)


async def test_a_scrape_under_way_does_for_those_who_would_get_the_same() -> None:
    """Four that ask one after the other must not cost four times as much."""
    scraped = Scraped()
    async with scraped.under_way() as first:
        others = [await scraped.asked() for _ in range(3)]
        scraped.blocker.opened.set()
        bodies = await asyncio.gather(first, *others)

    assert len({id(body) for body in bodies}) == 1


async def test_who_goes_away_ends_no_scrape_of_others() -> None:
    """A scraper's time-out is its own affair."""
    scraped = Scraped()
    async with scraped.under_way() as first:
        second = await scraped.asked()
        first.cancel()
        await asyncio.wait([first])
        scraped.blocker.opened.set()
        body = await second

    assert first.cancelled()
    assert output(body) == scraped.exposition.render(TEXT)


async def test_a_scrape_that_fails_leaves_nothing_behind() -> None:
    """Whoever waits for it learns of it; the next one is as if nothing had been."""
    scraped = Scraped()
    scraped.blocker.opened.set()
    add_server(scraped.panel, a_server(label=_UNWRITABLE), a_backup())
    async with scraped.scrapes.running():
        asked = [await scraped.asked() for _ in range(3)]
        failed = await asyncio.gather(*asked, return_exceptions=True)
        add_server(scraped.panel, a_server(), a_backup())
        body = await (await scraped.asked())

    assert [type(each) for each in failed] == [UnicodeEncodeError] * 3
    assert output(body) == scraped.exposition.render(TEXT)


async def test_what_changes_is_written_soon_though_something_could_not_be() -> None:
    """A scrape would find all the writing left to do, from then on for ever."""

    class Noting(tuple[Backup, ...]):
        """Tells when it is looked at."""

        __slots__ = ()

        def __iter__(self) -> Iterator[Backup]:
            """Note the look."""
            looked.set()
            return super().__iter__()

    def known_as(label: str) -> None:
        rows = Noting((a_backup(),))
        add_server(scraped.panel, a_server(label=label))
        scraped.panel.record_backups(1, rows, time=TIME, monotonic=MONOTONIC)

    scraped, looked = Scraped(), threading.Event()
    async with asyncio.timeout(_LONGEST_REAL_WAIT_SECONDS), scraped.scrapes.running():
        for label in (_UNWRITABLE, "web-1"):
            looked.clear()
            known_as(label)
            while not looked.is_set():  # noqa: ASYNC110  # a thread sets it
                await asyncio.sleep(0.01)
