"""The short form of ``make soak``: a few hours in which everything goes wrong."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from pathlib import Path

import pytest
from builders import DAY, HOUR, a_cloud
from expected_metrics import ExpectedMetrics, Series, differences, panel_samples
from faulty_panel import Panel
from harness import NOW, monitored
from truth import EndedTransactions, Truth

from soak.clouds import Plan
from soak.resource_usage import ResourceUsage, kib_of
from soak.run import (
    MAX_BLOCKS_GROWTH,
    MAX_EXTRA_KIB,
    MAX_NATIVE_GROWTH_MIB,
    growth,
    is_leaking,
    running_soak,
)

HELD = ResourceUsage(
    rss_mib=50.0,
    native_mib=12.0,
    python_blocks=350_000,
    files=10,
    tasks=10,
    extra_kib=1.0,
)


async def test_hours_of_faults_lose_and_leak_nothing(tmp_path: Path) -> None:
    """All is as the worlds say afterwards, and nothing is held that was not before."""
    plan = Plan(seed=7, hours=1.0, recovery_hours=1.5, servers=4, changes=12)
    async with running_soak(plan, tmp_path) as soak:
        await soak.round()
        start, end = soak.usages

        assert (end.files, end.tasks) == (start.files, start.tasks)
        assert end.extra_kib < 64
        assert soak.series > 300


# The check itself


@pytest.fixture
def panel() -> Panel:
    """Return a panel whose one server has two backups and a schedule."""
    panel = a_cloud()
    panel.cloud.add_schedule("Disk", 101, start_at=NOW + HOUR)
    for ago in (2 * DAY, DAY):
        panel.cloud.add_backup(1, created_at=NOW - ago, built_at=NOW - ago + 60)
    return panel


@pytest.fixture
async def found(panel: Panel, tmp_path: Path) -> dict[Series, float]:
    """Return what an exporter says of it."""
    points = {"recovery_points": True}
    async with monitored(panel, tmp_path, collectors=points) as cloud:
        return panel_samples(await cloud.metrics())


@pytest.fixture
def expected(panel: Panel) -> ExpectedMetrics:
    """Return the metrics that are expected of it."""
    return ExpectedMetrics("cp", Truth(panel.cloud), EndedTransactions(panel.cloud))


def test_each_series_that_is_missing_or_wrong_is_found(
    found: dict[Series, float], expected: ExpectedMetrics
) -> None:
    """Whatever a scrape tells of a world, a line less or another value is noticed."""
    unseen = {"onapp_panel_info", "onapp_panel_clock_skew_seconds"}
    for name, value in found.items():
        less = {k: v for k, v in found.items() if k != name}
        more = {**found, name: value + 2000}
        noticed = [differences(one, [expected], NOW) != [] for one in (less, more)]

        assert noticed == [name.family not in unseen] * 2, name

    assert differences(found, [expected], NOW) == []


def test_a_world_that_moves_on_is_told_from_one_that_does_not(
    panel: Panel, found: dict[Series, float], expected: ExpectedMetrics
) -> None:
    """A backup that is gone, or one more, is what the check is there to find."""
    panel.cloud.remove_backup(1001)
    less = differences(found, [expected], NOW)
    panel.cloud.add_server()
    more = differences(found, [expected], NOW)

    assert any("backup_id': '1001'" in line for line in less)
    assert any("vm_id': '2'" in line for line in more)


@pytest.mark.parametrize(
    "last",
    [
        replace(HELD, files=11),
        replace(HELD, tasks=9),
        replace(HELD, native_mib=12.1 + MAX_NATIVE_GROWTH_MIB),
        replace(HELD, python_blocks=int(350_001 * MAX_BLOCKS_GROWTH) + 1),
        replace(HELD, extra_kib=0.1 + MAX_EXTRA_KIB),
    ],
    ids=["files", "tasks", "malloc", "blocks", "memory"],
)
def test_what_has_grown_is_named(last: ResourceUsage) -> None:
    """Each bound is one that can be passed."""
    assert growth([HELD, HELD, HELD]) == []
    assert len(growth([HELD, HELD, last])) == 1


@pytest.mark.parametrize(
    ("held_kib", "expected"),
    [
        ([400.0, 400.0], False),
        ([400.0, 400.1], True),
        ([400.0, 400.3, 400.3], False),
        ([400.0, 400.3, 399.0], False),
        ([400.0, 400.1, 400.2, 401.0], True),
    ],
)
def test_a_leak_goes_on_where_other_things_grow_once(
    held_kib: list[float], *, expected: bool
) -> None:
    """Nothing changes between the readings."""
    assert is_leaking(held_kib) is expected


def test_what_holds_as_much_as_before_has_not_grown() -> None:
    """Whatever came and went, and however often a counter was counted up."""
    held = dict.fromkeys(range(10), 0.0)
    sizes = set()
    for number in range(100):
        sizes.add(kib_of(held))
        held[number + 10] = held.pop(number) + number

    assert len(sizes) == 1


@pytest.mark.parametrize(
    ("less", "more"),
    [
        ({1: 2}, {1: 2, 3: 4}),
        ([1], [1, 2]),
        ({1}, {1, 2}),
        (deque([1]), deque([1, 2])),
        ([b"1"], [b"12"]),
        ([[1]], [[1, 2]]),
    ],
)
def test_whatever_holds_more_has_grown(less: object, more: object) -> None:
    """By one entry, or by one byte."""
    assert kib_of(less) < kib_of(more)
