"""What goes in comes out: any world by either format, any text through a scrape."""

from __future__ import annotations

import asyncio
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from builders import DAY
from faulty_panel import Panel
from harness import NOW, monitored
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text
from prometheus_versions import Promtool
from stores import FixedClock, a_backup, a_panel, a_server, a_store, add_server

from exporter.config.schema import Detail
from exporter.demo.cloud.simulation import SimulatedCloud
from exporter.metrics.exposition import OPENMETRICS, TEXT, Exposition

PARSERS = {TEXT: parse_text, OPENMETRICS: parse_openmetrics}
HOSTILE = (
    *("", " ", "\n", "\\", '"', "\\n", '\\"', "\\\\n", '\\\n"', '"} 1\nonapp_up 0\n'),
    *("\x00", "\x1f", "\x7f", "\x85", "\r", "\r\n", "\u2028", "\u2029", "\ufeff"),
    *("\u202eabc\u202c", "e\u0301\u0323", "\u200d\U0001f468\u200d\U0001f469", "\ufffe"),
    *("\U0010ffff", "# EOF", "# HELP x y", "a" * 9999, '\\"\n' * 300),
)


def anyhow(examples: int) -> settings:
    """Try so many, however long each takes."""
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(max_examples=examples, deadline=None, suppress_health_check=checks)


# Texts.


def scrape(text: str, media_type: str) -> bytes:
    """Return a scrape in which this text is a label's value."""
    panel = a_panel()
    add_server(
        panel, a_server(label=text, hostname=f"<{text}>"), a_backup(identifier=text)
    )
    everything = Exposition(a_store(panel), FixedClock(), Detail(), CollectorRegistry())
    return everything.render(media_type)


def escaped(text: str) -> str:
    """Return a label's value as both formats want it written."""
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


@pytest.mark.parametrize("media_type", PARSERS)
@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:12]))
def test_a_hostile_text_survives_a_scrape(text: str, media_type: str) -> None:
    """As prometheus-client's parsers read it."""
    _survives(text, media_type)


@pytest.mark.parametrize("media_type", PARSERS)
@pytest.mark.parametrize("piece", ["a", "\u2028\x00", '\\"\n'], ids=ascii)
def test_a_mebibyte_of_text_survives_a_scrape(piece: str, media_type: str) -> None:
    """By its bytes: for so long a label the parsers take minutes."""
    text = piece * (1024**2 // len(piece.encode()))
    whole = scrape(text, media_type)

    assert f'label="{escaped(text)}",hostname="<{escaped(text)}>"'.encode() in whole
    assert whole.count(b"\n") == scrape("", media_type).count(b"\n")


@pytest.mark.parametrize("media_type", PARSERS)
@given(text=st.text() | st.text(st.sampled_from('\\n"\n{},= #\x00\u2028')))
@anyhow(150)
def test_any_text_survives_a_scrape(media_type: str, text: str) -> None:
    """Byte for byte, and as prometheus-client's parsers read it."""
    _survives(text, media_type)


def _survives(text: str, media_type: str) -> None:
    whole = scrape(text, media_type)
    found = {
        sample.labels[label]
        for family in PARSERS[media_type](whole.decode())  # type: ignore[no-untyped-call]  # prometheus-client's
        for sample in family.samples
        for name, label in (
            ("onapp_vm_info", "label"),
            ("onapp_backup_info", "identifier"),
        )
        if sample.name == name
    }

    assert f'label="{escaped(text)}",hostname="<{escaped(text)}>"'.encode() in whole
    assert found == {text}


def test_promtool_has_nothing_to_say_about_hostile_texts(promtool: Promtool) -> None:
    """Prometheus' own reader takes all of them at once."""
    panel = a_panel()
    for number, text in enumerate(HOSTILE):
        add_server(panel, a_server(id=number, label=text[:999]), a_backup(id=number))
    store, clock = a_store(panel), FixedClock()
    whole = Exposition(store, clock, Detail(), CollectorRegistry()).render(TEXT)

    assert promtool.complaints(whole.decode()) == ""


# Worlds.


@dataclass(frozen=True)
class Plan:
    """What a world is made of; it can be made as often as one likes."""

    servers: tuple[dict[str, Any], ...]
    backups: tuple[dict[str, Any], ...]
    schedules: tuple[dict[str, Any], ...]
    habits: dict[str, Any]

    def panel(self, form: str) -> Panel:
        """Return a panel over the world, that has run for a while."""
        world = SimulatedCloud(NOW - 3 * DAY)
        world.add_backup_server("store", 100)
        for server in self.servers:
            world.add_server(created_at=NOW - 90 * DAY, **server)
        numbers = [*world.servers]
        for backup in self.backups:
            location = numbers[backup["server"] % len(numbers)]
            rest = {k: v for k, v in backup.items() if k not in ("server", "age")}
            world.add_backup(location, created_at=NOW - backup["age"], **rest)
        disks = [*world.disks]
        for number, schedule in enumerate(self.schedules):
            if number < len(disks):
                world.add_schedule("Disk", disks[number], **schedule)
        world.advance(NOW)
        # An answer in the one format is not to be taken for one in the other.
        habits = self.habits if form == "xml" else {**self.habits, "flat_xml": False}
        return Panel(world, **habits)


# What XML can hold, but for a carriage return, which its readers change.
xml_texts = st.text(
    st.characters(
        exclude_categories=("Cs", "Cc"),
        include_characters="\n\t",
        exclude_characters="\ufffe\uffff",
    ),
    max_size=8,
)
plans = st.builds(
    Plan,
    servers=st.lists(
        st.fixed_dictionaries(
            {
                "label": xml_texts | st.sampled_from(("<&>", ' "x" ', "]]>", "  ")),
                "disks": st.integers(1, 3),
                "swap": st.booleans(),
                "suspended": st.booleans(),
                "user_id": st.integers(1, 2**40),
            }
        ),
        min_size=1,
        max_size=4,
    ).map(tuple),
    backups=st.lists(
        st.fixed_dictionaries(
            {
                "server": st.integers(0, 3),
                "age": st.integers(0, 10**8).map(float),
                "built": st.booleans(),
                "locked": st.booleans(),
                "marked_for_delete": st.booleans(),
                "size_kib": st.none() | st.integers(0, 2**54),
                "backup_type": st.sampled_from(("normal", "incremental")),
                "initiated": st.sampled_from(
                    ("manual", "days", "weeks", "months", "years")
                ),
                "backup_server_id": st.none() | st.just(1),
                "identifier": st.none() | xml_texts,
            }
        ),
        max_size=8,
    ).map(tuple),
    schedules=st.lists(
        st.fixed_dictionaries(
            {
                "period": st.sampled_from(("days", "weeks", "months", "years")),
                "duration": st.integers(1, 5),
                "status": st.sampled_from(("enabled", "disabled", "failed")),
            }
        ),
        max_size=3,
    ).map(tuple),
    habits=st.fixed_dictionaries(
        {
            "api_generation": st.sampled_from(("6", "2")),
            "utc_offset": st.sampled_from(("Z", "+03:00", "-09:30")),
            "fractions": st.booleans(),
            "xml_nil": st.sampled_from(("short", "long")),
            "xml_timestamp_type": st.sampled_from(("datetime", "dateTime")),
            "empty_xml": st.sampled_from(("root", "nil-classes", "nil_classes")),
            "flat_xml": st.booleans(),
            "per_page_cap": st.sampled_from((1, 2, 100)),
        }
    ),
)
_OF_THE_RUN = re.compile(
    r"(?:# .*|(?:process_|python_|onapp_api_request_duration_|onapp_exporter_).*)\n"
    r'|url="[^"]*"'
)


async def _scrape(plan: Plan, form: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        everything = {"recovery_points": True}
        async with monitored(
            plan.panel(form), Path(folder), format=form, collectors=everything
        ) as cloud:
            await cloud.advance(1000)
            return _OF_THE_RUN.sub("", await cloud.metrics())


@given(plans)
@example(Plan(({"label": "\n "},), (), (), {}))
@anyhow(12)
def test_any_world_is_the_same_in_both_formats(plan: Plan) -> None:
    """Whatever a panel holds and however it words it, ``/metrics`` says the same."""
    json, xml = (asyncio.run(_scrape(plan, form)) for form in ("json", "xml"))

    assert json.count("onapp_vm_info{") == len(plan.servers)
    assert json == xml
