"""Tests for what polls and scrapes may do: work is counted, not seconds.

A scrape joins what is there; what has changed is written once; an answer that brings
nothing new costs its request.
"""

from __future__ import annotations

import asyncio
import gc
import gzip
import tracemalloc
from collections import Counter
from pathlib import Path

import pytest
from builders import a_backup_row, a_cloud, answer_with, in_both_formats, list_body
from call_counts import counting_calls
from harness import BACKUPS_ONLY, MonitoredCloud, monitored
from prometheus_client import CollectorRegistry
from stores import TIME, FixedClock, a_backup, a_panel, a_server, a_store, add_server

from exporter.config.schema import Detail
from exporter.health.targets import summarize_backups
from exporter.metrics import FAMILIES
from exporter.metrics.cache import SERVERS_PER_BLOCK
from exporter.metrics.exposition import TEXT, Exposition
from exporter.metrics.family import PanelFamily
from exporter.metrics.gzip_member import deflated_text, inflated
from exporter.metrics.scrapes import Scrapes
from exporter.metrics.text_format import CACHED_FAMILIES, server_lines
from exporter.model.selection import Expectation
from exporter.model.store import PanelStore
from exporter.onapp.decode import RowDecoder

BLOCKS = 5
PANEL_PIECES = 1 + sum(isinstance(family, PanelFamily) for family in FAMILIES)
"""At most: those of the panel, and the exporter's own metrics."""


def a_large_panel() -> PanelStore:
    """Return the store of a panel that fills several blocks."""
    panel = a_panel()
    for vm_id in range(1, BLOCKS * SERVERS_PER_BLOCK + 1):
        add_server(
            panel, a_server(id=vm_id), a_backup(id=vm_id), a_backup(id=10_000 + vm_id)
        )
    return panel


def exposition(panel: PanelStore) -> Exposition:
    """Return an exposition that has written everything once."""
    made = Exposition(a_store(panel), FixedClock(), Detail(), CollectorRegistry())
    compressed(made)
    return made


def compressed(made: Exposition) -> bytes:
    """Return a compressed scrape."""
    return b"".join(made.scrape(made.snapshot(), TEXT, compressed=True).chunks())


def test_a_scrape_of_what_is_known_writes_ages_alone() -> None:
    """No server is judged or written; one piece of ages a block is compressed."""
    made = exposition(a_large_panel())
    with counting_calls(
        summarize_backups, server_lines, deflated_text, inflated
    ) as work:
        compressed(made)

    assert (work["summarize_backups"], work["server_lines"]) == (0, 0)
    assert BLOCKS <= work["deflated_text"] <= BLOCKS + PANEL_PIECES
    assert work["inflated"] == BLOCKS


def test_a_changed_server_is_written_once_and_touches_its_block_alone() -> None:
    """The families that come out as before are not compressed again."""
    panel = a_large_panel()
    made = exposition(panel)
    add_server(panel, a_server(id=7), a_backup(id=7, locked=True), a_backup(id=10_007))
    with counting_calls(summarize_backups, server_lines, deflated_text) as work:
        compressed(made)
        compressed(made)
    text = gzip.decompress(compressed(made)).decode()

    # Those that show the lock: of the backup and of its target.
    assert work["deflated_text"] <= 2 + 2 * (BLOCKS + PANEL_PIECES)
    assert (work["summarize_backups"], work["server_lines"]) == (1, 1)
    assert 'onapp_backup_locked{panel="cp",vm_id="7",backup_id="7"} 1\n' in text


def test_rows_that_are_equal_are_no_change() -> None:
    """A poll may bring them as other objects; nothing is looked at again."""
    panel = a_panel()
    rows, equal = ((a_backup(id=1), a_backup(id=2)) for _ in range(2))
    panel.register_server(1, a_server(), Expectation())
    panel.record_backups(1, rows, time=TIME, monotonic=50_000.0)
    known = panel.servers[1].state
    panel.record_backups(1, equal, time=TIME + 900, monotonic=50_000.0)

    assert panel.servers[1].state is known
    assert panel.servers[1].read_at == TIME + 900


def test_families_that_are_not_asked_for_are_not_made() -> None:
    """`name[]` saves the ages, which are most of the work."""
    made = exposition(a_large_panel())
    with counting_calls(deflated_text, inflated) as work:
        made.scrape(made.snapshot(), TEXT, frozenset({"onapp_backup_built"}))

    assert work == Counter()


def test_a_plain_scrape_is_inflated_as_it_is_sent() -> None:
    """So that it is never in memory as a whole."""
    made = exposition(a_large_panel())
    with counting_calls(inflated) as work:
        body = made.scrape(made.snapshot(), TEXT)
        before = work["inflated"]
        chunks = body.chunks()

        assert before == work["inflated"] == BLOCKS
        assert sum(map(len, chunks)) == body.length
    assert work["inflated"] > BLOCKS * len(CACHED_FAMILIES) / 2


@pytest.mark.parametrize("form", ["compressed", "plain"])
def test_a_scrape_takes_little_memory_beside_what_it_reads(form: str) -> None:
    """A fifth of what is kept, by what more servers take; a client reads it slowly."""
    kept_of_few, peak_of_few = memory(BLOCKS * SERVERS_PER_BLOCK, form)
    kept_of_many, peak_of_many = memory(4 * BLOCKS * SERVERS_PER_BLOCK, form)

    assert peak_of_many - peak_of_few <= 1.2 * (kept_of_many - kept_of_few)


def memory(servers: int, form: str) -> tuple[int, int]:
    """Return the bytes kept of so many servers, and the most during a scrape."""
    tracemalloc.start()
    try:
        panel = a_panel()
        for vm_id in range(1, servers + 1):
            rows = [a_backup(id=vm_id * 100 + number) for number in range(30)]
            add_server(panel, a_server(id=vm_id), *rows)
        made = exposition(panel)
        gc.collect()
        kept, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        body = made.scrape(made.snapshot(), TEXT, compressed=form == "compressed")
        assert sum(map(len, body.chunks())) == body.length
        return kept, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("rows", "thread"), [(30, "MainThread"), (1_000, "decode")])
async def test_a_long_answer_is_decoded_beside_the_loop(
    rows: int, thread: str, tmp_path: Path
) -> None:
    """All other servers and scrapes go on meanwhile; a short one is quicker at once."""
    panel = a_cloud()
    async with monitored(panel, tmp_path, collectors=BACKUPS_ONLY) as cloud:
        for number in range(rows):
            panel.cloud.add_backup(1, number=1 + number)
        with counting_calls(RowDecoder.decode) as work:
            await cloud.advance(900.0)

    assert {name.partition("_")[0] for name in work.threads["decode"]} == {thread}


async def polled(cloud: MonitoredCloud) -> Counter[str]:
    """Let every server be polled once more, and be scraped; return the work."""
    await cloud.metrics()
    with counting_calls(RowDecoder.decode, summarize_backups, server_lines) as work:
        await cloud.advance(900.0)
        cloud.exporter.exposition.render(TEXT)
    return work


@in_both_formats
async def test_a_304_costs_its_request_alone(form: str, tmp_path: Path) -> None:
    """Neither decoding nor writing, and one request a server."""
    panel = a_cloud(5)
    for vm_id in range(1, 6):
        panel.cloud.add_backup(vm_id)
    async with monitored(
        panel, tmp_path, format=form, collectors=BACKUPS_ONLY, discovery=NEVER
    ) as cloud:
        before = panel.request_log.requests_for("backups")
        work = await polled(cloud)
        asked = panel.request_log.requests_for("backups")[len(before) :]

    assert [request.status for request in asked] == [304] * 5
    assert work == Counter()


NEVER = {"interval": "1d"}


@in_both_formats
async def test_an_equal_body_costs_neither_decoding_nor_writing(
    form: str, tmp_path: Path
) -> None:
    """A panel without ETags sends it each time."""
    panel = a_cloud(3)
    panel.etags = False
    for vm_id in range(1, 4):
        panel.cloud.add_backup(vm_id)
    async with monitored(
        panel, tmp_path, format=form, collectors=BACKUPS_ONLY, discovery=NEVER
    ) as cloud:
        work = await polled(cloud)
        (statuses,) = {
            tuple(
                request.status for request in panel.request_log.requests_for("backups")
            )
        }

    assert statuses == (200,) * 6
    assert work == Counter()


@pytest.mark.parametrize(("changes", "times"), [({}, 0), ({"locked": True}, 1)])
@in_both_formats
async def test_another_body_is_written_only_if_it_means_something_else(
    form: str, changes: dict[str, bool], times: int, tmp_path: Path
) -> None:
    """Fields that are of no use here change more often than others."""
    panel = a_cloud()
    answer_with(panel, form, list_body(form, a_backup_row(note="before")), times=1)
    answer_with(panel, form, list_body(form, a_backup_row(note="after", **changes)))
    async with monitored(
        panel, tmp_path, format=form, collectors=BACKUPS_ONLY, discovery=NEVER
    ) as cloud:
        work = await polled(cloud)

    assert work["decode"] == 1
    assert (work["summarize_backups"], work["server_lines"]) == (times, times)


async def test_scrapers_that_ask_at_once_share_what_is_made() -> None:
    """However many there are; the next one gets a scrape of its own."""
    panel = a_large_panel()
    scrapes = Scrapes(exposition(panel))
    with counting_calls(Exposition.scrape) as work:
        async with scrapes.running():
            bodies = await asyncio.gather(
                *(scrapes.body(TEXT, frozenset(), compressed=True) for _ in range(20))
            )
            at_once = work["scrape"]
            await scrapes.body(TEXT, frozenset(), compressed=True)

    assert at_once == 1
    assert len({id(body) for body in bodies}) == 1
    assert work["scrape"] == 2
