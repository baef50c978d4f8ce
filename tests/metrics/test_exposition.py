"""Tests for the bytes of a scrape; prometheus-client is the judge, never our renderer.

Equal means: after prometheus-client's parsers, the same names, helps, types, labels
and values as prometheus-client's encoders write of the Collector at the same clock.
"""

from __future__ import annotations

import gc
import re
import weakref
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
from checkout import GOLDEN
from faulty_panel import Panel
from harness import NOW, MonitoredCloud, monitored
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text
from prometheus_client.registry import Collector
from prometheus_versions import Promtool
from scrape_parsing import parsed_scrape
from stores import (
    FixedClock,
    a_backup,
    a_panel,
    a_server,
    a_store,
    add_server,
    stores,
)

from exporter import __version__
from exporter.config.schema import Detail
from exporter.demo.cloud.demo_cloud import demo_cloud
from exporter.demo.cloud.simulation import SimulatedCloud
from exporter.metrics import FAMILIES
from exporter.metrics.collector import BackupCollector
from exporter.metrics.exporter import OWN_FAMILIES, ExporterMetrics, OwnFamily
from exporter.metrics.exposition import OPENMETRICS, TEXT, Exposition
from exporter.metrics.family import AnyFamily
from exporter.model.entities import Server, Target
from exporter.model.selection import Shard
from exporter.model.store import Store
from exporter.model.transaction_log import TransactionLog

EVERY: tuple[AnyFamily | OwnFamily, ...] = (*FAMILIES, *OWN_FAMILIES)
AT_ANY_SPEED = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
HEADERS = {TEXT: "text/plain", OPENMETRICS: "application/openmetrics-text"}


@dataclass(frozen=True)
class Both(Collector):
    """Two collectors as one."""

    first: Collector
    second: Collector

    def collect(self) -> Iterator[Metric]:
        """Yield the families of both."""
        yield from self.first.collect()
        yield from self.second.collect()


def exposition(store: Store, detail: Detail | None = None) -> Exposition:
    """Return an exposition that has no metrics of its own."""
    return Exposition(store, FixedClock(), detail or Detail(), CollectorRegistry())


def own_metrics(panels: Iterable[str]) -> CollectorRegistry:
    """Return the exporter's counters, without those of the process: they move."""
    telemetry = ExporterMetrics(version=__version__, shard=Shard())
    registry = CollectorRegistry()
    for family in (
        telemetry.requests,
        telemetry.errors,
        telemetry.rows_skipped,
        telemetry.request_duration,
    ):
        registry.register(family)
    for panel in panels:
        telemetry.panel(panel).observe_response("backups", 200, 0.3)
    return registry


details = st.builds(Detail, backups=st.booleans(), newest_per_target=st.integers(0, 2))


@given(store=stores(), detail=details)
@AT_ANY_SPEED
def test_a_scrape_says_what_prometheus_client_says_of_the_collector(
    store: Store, detail: Detail
) -> None:
    """Whatever is known and however it is called, both roads lead to the same."""
    own = own_metrics(store.panels)
    clock = FixedClock()
    both = Both(BackupCollector(store, clock, detail), own)
    ours = Exposition(store, clock, detail, own)
    for media_type, encode in (
        (TEXT, generate_latest),
        (OPENMETRICS, openmetrics.generate_latest),
    ):
        oracle = encode(both).decode()
        text = ours.render(media_type).decode()

        assert parsed_scrape(text, media_type) == parsed_scrape(oracle, media_type)


@given(store=stores())
@AT_ANY_SPEED
def test_no_series_is_there_twice_and_every_family_stands_together(
    store: Store,
) -> None:
    """Prometheus drops what comes twice, and parsers start a family anew."""
    text = exposition(store).render(TEXT).decode()
    # A newline in a label is escaped, so that a line is a line.
    lines = text.split("\n")[:-1]
    heads = [line.split(" ")[2] for line in lines if line.startswith("# TYPE ")]
    series = [line.rpartition(" ")[0] for line in lines if not line.startswith("# ")]
    families = [name.partition("{")[0] for name in series]
    runs = [
        name
        for name, before in zip(families, ["", *families], strict=False)
        if name != before
    ]

    assert Counter(series).most_common(1) in ([], [(next(iter(series), ""), 1)])
    assert len(heads) == len(set(heads))
    assert runs == heads


def test_openmetrics_ends_with_its_mark_and_text_does_not() -> None:
    """`# EOF` is the last line of OpenMetrics, once."""
    panel = a_panel()
    add_server(panel, a_server(label="# EOF\n"), a_backup())
    scrape = exposition(a_store(panel))
    in_openmetrics = scrape.render(OPENMETRICS).decode()

    assert in_openmetrics.endswith("\n# EOF\n")
    assert in_openmetrics.splitlines().count("# EOF") == 1
    assert "\n# EOF" not in scrape.render(TEXT).decode()


def test_nothing_known_is_nothing_said() -> None:
    """Without panels there is no family, not even an empty one."""
    scrape = exposition(a_store())

    assert scrape.render(TEXT) == b""
    assert scrape.render(OPENMETRICS) == b"# EOF\n"


def test_the_own_metrics_have_no_created_series() -> None:
    """They would double the counters and say nothing."""
    text = generate_latest(own_metrics(["cp"])).decode()
    names = [name for name, *_ in parsed_scrape(text, TEXT)]

    assert [name for name in names if name.endswith("_created")] == []


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_help_can_stand_as_it_is_and_says_that_data_are_polled(
    family: AnyFamily,
) -> None:
    """A reader of HELP alone must know how old the value may be, and its unit."""
    units = {"_bytes": "bytes", "_timestamp_seconds": "Unix "}
    unit = next((u for end, u in units.items() if family.name.endswith(end)), "")
    if family.name.endswith("_seconds") and not unit:
        unit = "econds"
    polled = re.compile(
        r"poll|answer|inventory was last read|backups are read|last run"
    )

    assert not re.search(r'[\\\n"]', family.help)
    assert family.help.endswith(".")
    assert polled.search(family.help)
    assert unit in family.help


@pytest.mark.parametrize("family", OWN_FAMILIES, ids=lambda family: family.name)
def test_the_help_of_own_metrics_can_stand_as_it_is(family: OwnFamily) -> None:
    """They are counted here and now, so only the unit matters."""
    assert not re.search(r'[\\\n"]', family.help)
    assert family.help.endswith(".")
    unit = "Unix time" if "_timestamp_" in family.name else "econds"
    assert (unit in family.help) == family.name.endswith("_seconds")


def test_every_family_has_a_name_of_its_own() -> None:
    """In both tables together, and by the name that OpenMetrics gives it too."""
    names = Counter(family.name.removesuffix("_total") for family in EVERY)

    assert [name for name, times in names.items() if times > 1] == []


# What is written again, and when


@pytest.mark.parametrize("gone", ["server", "panel"])
def test_what_is_gone_is_not_kept_in_memory(gone: str) -> None:
    """Clouds come and go; an exporter runs for months."""

    class Remembered(Server, frozen=True, weakref=True):
        """A server whose end can be seen."""

    panel = a_panel()
    server = Remembered(**msgspec.structs.asdict(a_server()))
    add_server(panel, server, a_backup())
    store = a_store(panel)
    scrape = exposition(store)
    scrape.render(TEXT)
    alive = weakref.ref(server)
    del server

    if gone == "server":
        panel.forget(1)
    else:
        del panel, store.panels["cp"]
    scrape.render(TEXT)
    gc.collect()

    assert alive() is None


def test_names_choose_families_and_samples() -> None:
    """`name[]` may name a family or one of its samples, ours or our own."""
    panel = a_panel(transaction_log=TransactionLog())
    add_server(panel, a_server(), a_backup())
    own = own_metrics(["cp"])
    scrape = Exposition(a_store(panel), FixedClock(), Detail(), own)

    def families(*names: str, media_type: str = TEXT) -> set[str]:
        text = scrape.render(media_type, frozenset(names)).decode()
        return {
            sample[0]
            for _, _, _, _, samples in parsed_scrape(text, media_type)
            for sample in samples
        }

    duration = "onapp_api_request_duration_seconds"
    assert families("onapp_up", "onapp_backup_age_seconds", "no_such") == {
        "onapp_up",
        "onapp_backup_age_seconds",
    }
    assert families("no_such") == set()
    assert families("no_such", media_type=OPENMETRICS) == set()
    assert families("onapp_up", "onapp_api_errors_total") == {
        "onapp_up",
        "onapp_api_errors_total",
    }
    assert families("onapp_api_errors", media_type=OPENMETRICS) == {
        "onapp_api_errors_total"
    }
    assert families("onapp_transactions_total") == {"onapp_transactions_total"}
    assert families("onapp_transactions", media_type=OPENMETRICS) == {
        "onapp_transactions_total"
    }
    assert families(duration) == {
        f"{duration}_bucket",
        f"{duration}_sum",
        f"{duration}_count",
    }
    assert families(f"{duration}_count") == {f"{duration}_count"}


# Whole scrapes


def small_world() -> SimulatedCloud:
    """Return three servers that show one case of nearly everything."""
    world = SimulatedCloud(NOW)
    day = 86_400.0
    store = world.add_backup_server("backup-1", 4000).id
    web = world.add_server(
        label='web "1"', hostname="web-1", disks=2, created_at=NOW - 90 * day
    )
    first, second = (disk.id for disk in world.disks_of(web.id))
    for ago in (2, 1):
        world.add_backup(
            web.id, created_at=NOW - ago * day, size_kib=2048, backup_server_id=store
        )
    world.add_backup(
        web.id,
        target_id=second,
        target_type="Disk",
        created_at=NOW - 3 * day,
        initiated="weeks",
        locked=True,
    )
    world.add_backup(web.id, target_id=first, target_type="Disk", built=False)
    db = world.add_server(label="db", created_at=NOW - 30 * day)
    world.add_backup(
        db.id, backup_type="incremental", created_at=NOW - 2 * day, size_kib=0
    )
    world.add_backup(
        db.id,
        backup_type="incremental",
        created_at=NOW - 40 * day,
        marked_for_delete=True,
    )
    world.add_server(label="empty", created_at=NOW - day, suspended=True)
    world.add_transaction(
        action="restore_backup", server_id=web.id, created_at=NOW - day / 2
    )
    return world


def steady(scrape: str, cloud: MonitoredCloud) -> str:
    """Return a scrape without what differs from run to run."""
    volatile = re.compile(
        r"(# (HELP|TYPE) )?(process|python)_"
        r"|onapp_api_request_duration_seconds_(sum|bucket(?!.*\+Inf))"
    )
    lines = scrape.splitlines(keepends=True)
    text = "".join(line for line in lines if not volatile.match(line))
    text = text.replace(cloud.panel.url, "http://cp.example.com")
    return text.replace(
        f'build_info{{version="{__version__}"', 'build_info{version="X"'
    )


@pytest.mark.parametrize(
    ("media_type", "file"),
    [(TEXT, "small_world.txt"), (OPENMETRICS, "small_world.openmetrics.txt")],
)
async def test_golden_scrape_of_a_small_world(
    media_type: str, file: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Every change of what users see shows as a difference in these files."""
    golden = GOLDEN / file
    async with monitored(
        Panel(small_world()), tmp_path, expected_interval="1d"
    ) as cloud:
        _, scrape, headers = await cloud.get("/metrics", Accept=HEADERS[media_type])
        found = steady(scrape, cloud)
    if request.config.getoption("--update-golden"):
        golden.write_text(found, encoding="utf-8")

    assert headers["Content-Type"] == media_type
    assert found == golden.read_text(encoding="utf-8")


def test_promtool_has_nothing_to_say_about_the_golden_scrape(
    promtool: Promtool,
) -> None:
    """Names, units, types and helps follow Prometheus' conventions."""
    assert promtool.complaints((GOLDEN / "small_world.txt").read_text("utf-8")) == ""


async def test_promtool_has_nothing_to_say_about_a_whole_scrape(
    promtool: Promtool,
    tmp_path: Path,
) -> None:
    """With the process's own metrics, over a cloud with every kind of problem."""
    async with monitored(Panel(demo_cloud(NOW)), tmp_path) as cloud:
        scrape = await cloud.metrics()

    assert promtool.complaints(scrape) == ""


async def test_both_formats_of_a_whole_scrape_are_what_they_claim_to_be(
    tmp_path: Path,
) -> None:
    """Every family of both tables is understood, with its declared type and help."""
    world = demo_cloud(NOW)
    waiting: Any = {"action": "restore_backup", "status": "pending"}
    world.add_transaction(server_id=1, created_at=NOW - 7 * 3600, **waiting)
    panel = Panel(world)
    everything = {"recovery_points": True}
    async with monitored(
        panel, tmp_path, expected_interval="1d", collectors=everything
    ) as cloud:
        text = await cloud.metrics()
        _, also, _ = await cloud.get("/metrics", Accept=HEADERS[OPENMETRICS])

    declared = {
        family.name.removesuffix("_total"): (family.help, family.type)
        for family in EVERY
    }
    for scrape, parse in ((text, parse_text), (also, parse_openmetrics)):
        found = {
            metric.name: (metric.documentation, metric.type)
            for metric in parse(scrape)
            if metric.name.startswith("onapp_")
        }
        assert found == declared


def test_the_collector_can_be_registered_without_collecting_anything() -> None:
    """`describe` names every family, so that clashes show when it is registered."""
    registry = CollectorRegistry()
    registry.register(BackupCollector(a_store(), FixedClock(), Detail()))
    names = {family.name for family in FAMILIES}
    for family in FAMILIES:
        if family.type == "counter":  # prometheus-client takes these names too
            name = family.name.removesuffix("_total")
            names |= {name, f"{name}_created"}

    assert set(registry._names_to_collectors) == names  # noqa: SLF001  # no public way
    assert list(registry.collect()) == []


def test_targets_of_any_kind_are_labels_like_others() -> None:
    """A kind of target that this version does not know is shown all the same."""
    panel = a_panel()
    add_server(panel, a_server(), a_backup(target=Target('Vo"lume', 7)))
    text = exposition(a_store(panel)).render(TEXT).decode()

    assert 'target_type="Vo\\"lume",target_id="7"} 1' in text
