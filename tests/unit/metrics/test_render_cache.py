"""Tests for lines that are kept: whatever happened before, a scrape is as if new.

prometheus-client over the Collector is the judge after every step.
"""

from __future__ import annotations

import gzip
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from scrape_parsing import parsed_scrape
from stores import (
    MONOTONIC,
    TIME,
    FixedClock,
    a_backup,
    a_panel,
    a_server,
    a_store,
    add_server,
    panels,
    server_entries,
    texts,
)

from exporter.clock import Now
from exporter.config.schema import Detail
from exporter.health.server import JudgedServers, ServerHealth
from exporter.metrics.cache import SERVERS_PER_BLOCK, RenderCache
from exporter.metrics.collector import BackupCollector
from exporter.metrics.exposition import OPENMETRICS, TEXT, Exposition, Snapshot
from exporter.metrics.text_format import CACHED_FAMILIES
from exporter.model.store import Store

NAMES = ("cp", "other")
vm_ids = st.integers(1, 3 * SERVERS_PER_BLOCK)
details = st.builds(Detail, backups=st.booleans(), newest_per_target=st.integers(0, 2))


class Scrapes(RuleBasedStateMachine):
    """A store to which anything may happen, and an exposition that lives on."""

    def __init__(self) -> None:
        """Begin with two panels, of which nothing is known."""
        super().__init__()
        self.clock = FixedClock()
        self.store: Store = a_store(*map(a_panel, NAMES))
        self.exposition = Exposition(
            self.store, self.clock, Detail(), CollectorRegistry()
        )

    @rule(data=st.data(), name=st.sampled_from(NAMES), vm_id=vm_ids)
    def a_server_becomes_another(
        self, data: st.DataObject, name: str, vm_id: int
    ) -> None:
        """Put in a new one, or change it in any respect, its freshness too."""
        if name in self.store.panels:
            watch = data.draw(server_entries(name, vm_id))
            self.store.panels[name].servers[vm_id] = watch

    @rule(first=vm_ids, number=st.integers(2, 2 * SERVERS_PER_BLOCK))
    def many_come(self, first: int, number: int) -> None:
        """Fill several blocks."""
        for vm_id in range(first, first + number):
            if "cp" in self.store.panels:
                backup = a_backup(id=vm_id, built_at=None if vm_id % 3 else 1.5)
                add_server(self.store.panels["cp"], a_server(id=vm_id), backup)

    @rule(first=vm_ids, number=st.integers(1, 2 * SERVERS_PER_BLOCK))
    def some_go(self, first: int, number: int) -> None:
        """Empty blocks, wholly or nearly."""
        for panel in self.store.panels.values():
            for vm_id in range(first, first + number):
                panel.servers.pop(vm_id, None)

    @rule(vm_id=vm_ids, label=texts)
    def a_server_is_described_otherwise(self, vm_id: int, label: str) -> None:
        """Change the label and leave the backups as they are."""
        for panel in self.store.panels.values():
            watch = panel.servers.get(vm_id)
            if watch is not None:
                server = a_server(id=vm_id, label=label)
                panel.register_server(vm_id, server, watch.state.expectation)

    @rule(seconds=st.floats(0.25, 4000))
    def time_passes(self, seconds: float) -> None:
        """Let ages grow, and what was not read for long become too old."""
        self.clock.elapsed += seconds

    @rule(detail=details)
    def a_reload_changes_the_detail(self, detail: Detail) -> None:
        """Expose more or less of every server."""
        self.exposition.detail = detail

    @rule(data=st.data(), name=st.sampled_from(NAMES))
    def a_reload_replaces_a_panel(self, data: st.DataObject, name: str) -> None:
        """Put another in its place of which other things are known."""
        self.store.panels[name] = data.draw(panels(name))

    @precondition(lambda self: len(self.store.panels) > 1)
    @rule()
    def a_reload_drops_a_panel(self) -> None:
        """Take away all that it had."""
        del self.store.panels["other"]

    @rule(media_type=st.sampled_from([TEXT, OPENMETRICS]))
    def nothing_changes_in_a_background_update(self, media_type: str) -> None:
        """Write ahead of a scrape what the scrape would write."""
        self.exposition.update(self.exposition.snapshot())
        self._compare(media_type)

    @invariant()
    def a_scrape_equals_the_collector(self) -> None:
        """Compare it, plain and compressed."""
        self._compare(TEXT)

    def _compare(self, media_type: str) -> None:
        made = self.exposition
        collector = BackupCollector(self.store, self.clock, made.detail)
        encode: Callable[..., bytes] = generate_latest
        if media_type == OPENMETRICS:
            encode = openmetrics.generate_latest
        registry = CollectorRegistry()
        registry.register(collector)
        plain_body, gzip_body = (
            made.scrape(made.snapshot(), media_type, compressed=compressed)
            for compressed in (False, True)
        )
        plain, compressed = (b"".join(b.chunks()) for b in (plain_body, gzip_body))

        assert gzip.decompress(compressed) == plain
        assert gzip_body.length == len(compressed)
        assert plain_body.length == len(plain)
        assert parsed_scrape(plain.decode(), media_type) == parsed_scrape(
            encode(registry).decode(), media_type
        )


TestScrapes = Scrapes.TestCase
TestScrapes.settings = settings(
    max_examples=15,
    stateful_step_count=12,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def test_each_thread_shows_its_own_moment() -> None:
    """Scrapes are made by threads, in any order, while polls bring other things."""
    rng = Random(1)  # noqa: S311  # no secrets
    panel, clock = a_panel(), FixedClock()
    made = Exposition(a_store(panel), clock, Detail(), CollectorRegistry())

    def change() -> None:
        vm_id, number = rng.randint(1, 3 * SERVERS_PER_BLOCK), rng.randint(1, 1000)
        if rng.random() < 0.2:
            panel.servers.pop(vm_id, None)
        else:
            add_server(
                panel, a_server(id=vm_id), a_backup(id=number, built_at=TIME - number)
            )

    def scraped(moment: Snapshot) -> bytes:
        return b"".join(made.scrape(moment, TEXT).chunks())

    def collected(moment: Snapshot) -> bytes:
        then = FixedClock()
        then.elapsed = moment.now.time - TIME
        registry = CollectorRegistry()
        registry.register(BackupCollector(a_store(*moment.panels), then, Detail()))
        return generate_latest(registry)

    turn = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(4) as threads:
            asked = []
            for _ in range(16):
                for _ in range(5):
                    change()
                clock.elapsed += rng.choice([0.0, 0.5, 1.0])
                moment = made.snapshot()
                asked.append((moment, threads.submit(scraped, moment)))
    finally:
        sys.setswitchinterval(turn)

    for moment, found in asked:
        text = found.result().decode()
        assert parsed_scrape(text, TEXT) == parsed_scrape(
            collected(moment).decode(), TEXT
        )


def states(*vm_ids: int, label: str = "server") -> dict[int, ServerHealth]:
    """Return what is known of servers, freshly."""
    panel = a_panel()
    for vm_id in vm_ids:
        add_server(panel, a_server(id=vm_id, label=label), a_backup(id=vm_id))
    return JudgedServers().update(panel, Now(TIME, MONOTONIC))


def housed(render_cache: RenderCache) -> list[list[int]]:
    """Return which servers stand in which block."""
    return [list(block.entries) for block in render_cache.blocks]


def output(render_cache: RenderCache) -> list[bytes]:
    """Return all lines, in an order that does not matter."""
    pieces = [
        each
        for i in range(len(CACHED_FAMILIES))
        for each in render_cache.texts(i, TIME)
    ]
    return sorted(b"".join(each.inflate() for each in pieces).splitlines())


def written_at_once(known: dict[int, ServerHealth]) -> list[bytes]:
    """Return the lines of a shelf without a past."""
    render_cache = RenderCache(Detail())
    render_cache.update(known)
    return output(render_cache)


def test_a_server_keeps_its_block_while_others_come_and_go() -> None:
    """Else each that goes would cost the writing of all behind it."""
    render_cache = RenderCache(Detail())
    everyone = states(*range(1, 2 * SERVERS_PER_BLOCK + 1))
    render_cache.update(everyone)
    before = housed(render_cache)
    render_cache.update(
        {vm_id: state for vm_id, state in everyone.items() if vm_id != 1}
    )

    assert before == [
        list(range(1, SERVERS_PER_BLOCK + 1)),
        list(range(SERVERS_PER_BLOCK + 1, 2 * SERVERS_PER_BLOCK + 1)),
    ]
    assert housed(render_cache) == [before[0][1:], before[1]]


@pytest.mark.parametrize("left", [1, SERVERS_PER_BLOCK // 4])
def test_blocks_of_which_little_is_left_become_one(left: int) -> None:
    """Else a cloud whose servers come and go would end in blocks of one."""
    render_cache = RenderCache(Detail())
    everyone = states(*range(1, 3 * SERVERS_PER_BLOCK + 1))
    render_cache.update(everyone)
    rest = {
        n: state for n, state in everyone.items() if (n - 1) % SERVERS_PER_BLOCK < left
    }
    render_cache.update(rest)

    merged = housed(render_cache)
    changed = rest | states(max(rest), label="changed")
    render_cache.update(changed)
    del changed[min(rest)]
    render_cache.update(changed)

    assert [sorted(block) for block in merged] == [sorted(rest)]
    assert output(render_cache) == written_at_once(changed)


def test_a_new_server_takes_the_place_of_one_that_went() -> None:
    """Blocks stay full, and the memory stays what it was."""
    render_cache = RenderCache(Detail())
    everyone = states(*range(1, 2 * SERVERS_PER_BLOCK + 1))
    render_cache.update(everyone)
    del everyone[3]
    render_cache.update(everyone)
    render_cache.update(everyone | states(99))

    assert [len(block) for block in housed(render_cache)] == [
        SERVERS_PER_BLOCK,
        SERVERS_PER_BLOCK,
    ]
    assert 99 in housed(render_cache)[0]
