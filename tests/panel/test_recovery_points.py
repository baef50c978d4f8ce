"""What plugins keep of servers, on ``/metrics``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import faults
import pytest
from builders import in_both_formats
from faulty_panel import Panel
from harness import NOW, Start, monitored, series

from exporter.demo.cloud.simulation import SimulatedCloud

DAY = 86_400.0


@pytest.fixture
def start(start: Start) -> Start:
    """Watch with the collector switched on."""
    return partial(start, collectors={"recovery_points": True})


def a_world() -> SimulatedCloud:
    """Return a world with a server that only a plugin backs up, and one with both."""
    world = SimulatedCloud(NOW)
    for _ in range(2):
        world.add_server(created_at=NOW - 100 * DAY)
    world.add_recovery_point(1, size_bytes=12345, created_at=NOW - DAY)
    world.add_recovery_point(1, created_at=NOW - 60, state="pending")
    world.add_recovery_point(2, created_at=NOW - 3 * DAY)
    world.add_backup(2, created_at=NOW - 2 * DAY, built_at=NOW - 2 * DAY)
    return world


@in_both_formats
async def test_a_recovery_point_has_every_family(start: Start, form: str) -> None:
    """Its size, as the panel says it in bytes, whether it is built, and when."""
    async with start(a_world(), format=form) as cloud:
        text = await cloud.metrics()

    def reported(family: str) -> dict[str, float]:
        return series(text, f"onapp_recovery_point_{family}", panel="cp", vm_id=1)

    first, second = "recovery_point_id=9001", "recovery_point_id=9002"
    assert reported("size_bytes") == {first: 12345, second: 1024**3}
    assert reported("built") == {first: 1, second: 0}
    assert reported("created_timestamp_seconds") == {first: NOW - DAY, second: NOW - 60}
    assert series(text, "onapp_collector_success", collector="recovery_points") == {
        "panel=cp": 1
    }


async def test_a_server_with_a_plugin_counts_as_protected(start: Start) -> None:
    """The newest restore point counts, a backup or a built one of a plugin."""
    async with start(a_world()) as cloud:
        text = await cloud.metrics()

    assert series(text, "onapp_vm_last_success_timestamp_seconds", panel="cp") == {
        "vm_id=1": NOW - DAY,
        "vm_id=2": NOW - 2 * DAY,
    }
    assert series(text, "onapp_vm_backups", vm_id=1, state="built") == {"panel=cp": 0}


@pytest.mark.parametrize("code", [403, 404])
async def test_refused_recovery_points_touch_nothing_else(
    start: Start, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line in the log, 0 for the collector, a try an hour for all servers."""
    world = a_world()
    for _ in range(20):
        world.add_server()

    async with start(world) as cloud:
        panel = cloud.panel
        problem = panel.faults.add(faults.status(code), resource="recovery_points")
        await cloud.advance(900)
        panel.requests.clear()
        await cloud.advance(1800)
        text = await cloud.metrics()
        asked = [a for a in panel.requests if a.resource == "recovery_points"]
        lines = [n for n in capsys.readouterr().out.splitlines() if "collector" in n]
        await cloud.advance(2700)
        late = await cloud.metrics()
        problem.remove()
        await cloud.advance(4500)
        fixed = await cloud.metrics()

    assert not asked
    assert len(lines) == 1
    reported = series(text, "onapp_collector_success", panel="cp")
    assert reported.pop("collector=recovery_points") == 0
    assert set(reported.values()) == {1}
    assert set(series(text, "onapp_vm_poll_success").values()) == {1}
    assert series(text, "onapp_recovery_point_built"), "still young enough"
    assert not series(late, "onapp_recovery_point_built")
    assert series(fixed, "onapp_recovery_point_built")
    assert set(series(fixed, "onapp_collector_success").values()) == {1}


async def test_nothing_is_asked_by_default(start: Start) -> None:
    """It would be one more request per server."""
    async with start(a_world(), collectors={}) as cloud:
        text = await cloud.metrics()
        resources = {asked.resource for asked in cloud.panel.requests}

    assert "recovery_points" not in resources
    assert "onapp_recovery_point" not in text
    assert not series(text, "onapp_collector_success", collector="recovery_points")


@pytest.mark.parametrize("refused", [{1, 2, 3}, {4, 5, 6}, {8, 9, 10}])
async def test_a_few_refused_servers_do_not_hide_the_others_for_long(
    tmp_path: Path, refused: set[int]
) -> None:
    """Once any server had it, the panel gives it; the refused are asked last."""
    world = SimulatedCloud(NOW)
    for number in range(1, 11):
        world.add_server()
        world.add_recovery_point(number)
    panel = Panel(world)
    for number in refused:
        panel.faults.add(
            faults.status(404), resource="recovery_points", server_id=number
        )
    keys: dict[str, Any] = {
        "collectors": {"recovery_points": True},
        "poll": {"concurrency": 1},
    }
    shown: list[int] = []
    async with monitored(panel, tmp_path, **keys) as cloud:
        await cloud.advance(5000)
        for _ in range(4):
            await cloud.advance(1800)
            shown.append(len(await cloud.series("onapp_recovery_point_built")))

    assert shown == [7] * 4


async def test_a_list_that_keeps_failing_is_asked_for_ever_less(start: Start) -> None:
    """Its time-outs would cost the backups' slots; it is found again all the same."""
    world = SimulatedCloud(NOW)
    for number in range(1, 41):
        world.add_server()
        world.add_recovery_point(number)

    async with start(world, poll={"concurrency": 2}) as cloud:
        panel = cloud.panel
        problem = panel.faults.add(faults.html_error(), resource="recovery_points")
        panel.requests.clear()
        await cloud.advance(4 * 3600)
        asked = [a for a in panel.requests if a.resource == "recovery_points"]
        problem.remove()
        await cloud.advance(5000)
        fixed = await cloud.series("onapp_recovery_point_built", panel="cp")

    assert len(asked) < 30
    assert len(fixed) == 40


async def test_a_few_failing_servers_do_not_hide_the_others(start: Start) -> None:
    """What fails at the same servers each time is no problem of all."""
    world = SimulatedCloud(NOW)
    for number in range(1, 21):
        world.add_server()
        world.add_recovery_point(number)

    async with start(world, poll={"concurrency": 1}) as cloud:
        for number in range(1, 21):
            if number % 5:
                continue
            cloud.panel.faults.add(
                faults.html_error(), resource="recovery_points", server_id=number
            )
        await cloud.advance(3 * 3600)
        shown = await cloud.series("onapp_recovery_point_built")

    assert len(shown) == 16


async def test_what_a_reload_leaves_stays_as_long_as_it_is_young(start: Start) -> None:
    """A first read that fails does not take away what was read before."""
    async with start(a_world()) as cloud:
        cloud.panel.faults.add(faults.html_error(), resource="recovery_points")
        text = cloud.file.read_text()
        cloud.file.write_text(text + "  poll: {concurrency: 4}\n")
        status, _, _ = await cloud.get("/-/reload", method="POST")
        await cloud.advance(600)
        young = await cloud.series("onapp_recovery_point_built")
        await cloud.advance(7000)
        old = await cloud.series("onapp_recovery_point_built")

    assert status == 200
    assert len(young) == 3
    assert not old


async def test_servers_that_fail_in_several_ways_are_no_news_each_time(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    """The log speaks once of each kind of error until the collector works again."""
    world = SimulatedCloud(NOW)
    for _ in range(6):
        world.add_server()

    async with start(world) as cloud:
        for number in range(1, 7):
            fault = faults.html() if number % 2 else faults.html_error()
            cloud.panel.faults.add(fault, resource="recovery_points", server_id=number)
        await cloud.advance(6 * 3600)
        lines = capsys.readouterr().out.splitlines()

    assert len([line for line in lines if "collector failed, retrying" in line]) == 2
