"""Lists that are read server by server: gaps in them, and those that do not come."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import faults
import pytest
from builders import DAY, HOUR, answer_with, in_both_formats, list_body
from faulty_panel import Panel
from harness import NOW, monitored, series

from exporter.demo.cloud.simulation import SimulatedCloud

BAD_ROWS = pytest.mark.parametrize("bad", [{"id": 2, "target_id": "soon"}, {"id": "?"}])
"""Rows that cannot be used: one says its number, one does not."""


NOW_TEXT = "2027-01-15T08:00:00Z"


def a_world(servers: int = 1, **habits: Any) -> SimulatedCloud:
    """Return a world of old servers, whose disks are 101, 102, …."""
    world = SimulatedCloud(NOW)
    for _ in range(servers):
        world.add_server(created_at=NOW - 100 * DAY, **habits)
    return world


def one_by_one(world: SimulatedCloud) -> Panel:
    """Return a panel that gives no list of all servers' schedules and disks."""
    panel = Panel(world)
    panel.faults.add(faults.forbidden(), path="/settings/(schedules|disks)")
    return panel


def a_schedule(**changes: Any) -> dict[str, Any]:
    """Return a daily schedule of disk 101 with these fields changed."""
    return {
        "id": 1,
        "target_type": "Disk",
        "target_id": 101,
        "action": "autobackup",
        "period": "days",
        "duration": 1,
        "status": "enabled",
        **changes,
    }


def sources(text: str) -> set[str]:
    """Return whose intervals are expected, and who says so."""
    found = series(text, "onapp_target_expected_interval_info", panel="cp", vm_id=1)
    return {key.replace("target_type=Disk", "").replace(",", " ") for key in found}


@BAD_ROWS
@in_both_formats
async def test_a_schedule_outlives_its_row_for_a_while(
    form: str, bad: dict[str, Any], tmp_path: Path
) -> None:
    """Then nothing is expected: what was known is not replaced by a guess."""
    panel = one_by_one(a_world(disks=2))
    for disk_id in (101, 102):
        panel.cloud.add_backup(
            1, target_id=disk_id, created_at=NOW - DAY, initiated="weeks"
        )
    weekly = a_schedule(id=2, target_id=102, period="weeks")
    path = "/virtual_machines/1/schedules"
    good = list_body(form, a_schedule(), weekly, name="schedule")
    spoiled = list_body(form, a_schedule(), weekly | bad, name="schedule")
    answer_with(panel, form, good, resource=None, path=path, times=1)
    answer_with(panel, form, spoiled, resource=None, path=path)

    async with monitored(panel, tmp_path, format=form) as cloud:
        await cloud.advance(1000)
        soon = await cloud.metrics()
        await cloud.advance(2 * HOUR)
        late = await cloud.metrics()

    assert sources(soon) == {
        "source=schedule target_id=101 ",
        "source=schedule target_id=102 ",
    }
    assert sources(late) == {
        "source=schedule target_id=101 ",
    }
    assert set(series(late, "onapp_schedule_failures")) <= {"panel=cp,schedule_id=1"}


@in_both_formats
async def test_a_schedule_that_is_gone_goes_although_another_row_is_bad(
    form: str, tmp_path: Path
) -> None:
    """The bad row says which it is: it is not the one that was deleted."""
    panel = one_by_one(a_world())
    path = "/virtual_machines/1/schedules"
    bad = a_schedule(id=3, target_id="soon")
    for rows in ((a_schedule(id=2), a_schedule()), (a_schedule(), bad)):
        body = list_body(form, *rows, name="schedule")
        answer_with(panel, form, body, resource=None, path=path, times=1)

    async with monitored(panel, tmp_path, format=form) as cloud:
        before = await cloud.series("onapp_schedule_info", panel="cp", vm_id=1)
        await cloud.advance(800)
        after = await cloud.series("onapp_schedule_info", panel="cp", vm_id=1)

    assert len(before) == 2
    assert ["schedule_id=1," in key for key in after] == [True]


@BAD_ROWS
@in_both_formats
async def test_no_server_is_said_to_need_no_backups_for_a_bad_schedule(
    form: str, bad: dict[str, Any], tmp_path: Path
) -> None:
    """The only row that can be used is of something else: that is not nothing."""
    panel = one_by_one(a_world())
    rows = a_schedule(id=1, action="start"), a_schedule(**bad)
    body = list_body(form, *rows, name="schedule")
    answer_with(panel, form, body, resource=None, path="/virtual_machines/1/schedules")

    async with monitored(panel, tmp_path, format=form) as cloud:
        text = await cloud.metrics()

    assert not series(text, "onapp_vm_backup_required")
    assert series(text, "onapp_vm_info")


@in_both_formats
async def test_a_disk_that_cannot_be_read_is_not_gone(
    form: str, tmp_path: Path
) -> None:
    """Its backups are expected, and the server may be one that needs them."""
    panel = one_by_one(a_world(disks=2))
    for disk_id in (101, 102):
        panel.cloud.add_backup(1, target_id=disk_id, created_at=NOW - DAY)
    rows = {"id": 101, "virtual_machine_id": 1}, {"id": 102, "is_swap": "perhaps"}
    body = list_body(form, *rows, name="disk")
    answer_with(panel, form, body, resource=None, path="/virtual_machines/1/disks")

    keys: dict[str, Any] = {
        "format": form,
        "expected_interval": "1d",
        "backup_required": {},
    }
    async with monitored(panel, tmp_path, **keys) as cloud:
        text = await cloud.metrics()

    assert sources(text) == {
        "source=fallback target_id=101 ",
        "source=fallback target_id=102 ",
    }


@in_both_formats
async def test_a_disk_that_cannot_be_read_may_need_backups(
    form: str, tmp_path: Path
) -> None:
    """It may be the one with autobackups."""
    panel = one_by_one(a_world(disks=2))
    rows = {"id": 101, "virtual_machine_id": 1}, {"id": "?", "has_autobackups": True}
    body = list_body(form, *rows, name="disk")
    answer_with(panel, form, body, resource=None, path="/virtual_machines/1/disks")

    async with monitored(panel, tmp_path, format=form) as cloud:
        text = await cloud.metrics()

    assert not series(text, "onapp_vm_backup_required")


async def test_a_disks_schedule_is_its_servers_by_the_servers_own_list(
    tmp_path: Path,
) -> None:
    """Also before its first backup, where the panel gives no list of all disks."""
    panel = Panel(a_world())
    panel.cloud.add_schedule("Disk", 101, start_at=NOW + 30 * DAY)
    panel.faults.add(faults.forbidden(), path="/settings/disks")

    async with monitored(panel, tmp_path) as cloud:
        await cloud.advance(30)
        text = await cloud.metrics()

    assert set(series(text, "onapp_schedule_info", schedule_id=501)) == {
        "panel=cp,period=days,target_id=101,target_type=Disk,vm_id=1"
    }
    assert series(text, "onapp_vm_backup_required") == {"panel=cp,vm_id=1": 1}


@in_both_formats
async def test_a_recovery_point_outlives_its_row_for_a_while(
    form: str, tmp_path: Path
) -> None:
    """A server whose only protection is a plugin is not unprotected by a bad row."""
    panel = Panel(a_world())
    moments = {"created_at": "2027-01-14T08:00:00Z"}, {"created_at": "yesterday"}
    for moment in moments:
        rows = {"id": 1, "state": "failed"}, {"id": 2, "state": "built", **moment}
        body = list_body(form, *rows, name="recovery_point")
        times = 1 if moment is moments[0] else None
        answer_with(panel, form, body, resource="recovery_points", times=times)

    keys: dict[str, Any] = {"format": form, "collectors": {"recovery_points": True}}
    family = "onapp_vm_last_success_timestamp_seconds"
    async with monitored(panel, tmp_path, **keys) as cloud:
        await cloud.advance(1000)
        soon = await cloud.value(family)
        await cloud.advance(2 * HOUR)
        late = await cloud.value(family)

    assert soon == NOW - DAY
    assert late is None


async def test_servers_whose_list_fails_are_asked_ever_less(tmp_path: Path) -> None:
    """Each time may be a time-out that backups wait for: one a server and step.

    The others are asked as ever, though half of all fail.
    """
    panel = Panel(a_world(servers=40))
    failing = range(1, 41, 2)
    for number in failing:
        panel.faults.add(
            faults.html_error(), resource="recovery_points", server_id=number
        )

    collectors = {"recovery_points": True, "transactions": False}
    async with monitored(panel, tmp_path, collectors=collectors) as cloud:
        await cloud.advance(6 * HOUR)
        asked = Counter(
            int(request.path.split("/")[2])
            for request in panel.requests
            if request.resource == "recovery_points"
        )
        lag = await cloud.value("onapp_poll_lag_seconds")

    # After 7.5, 15 and 30 minutes, then every hour: of 25 turns.
    assert max(asked[number] for number in failing) <= 9
    assert min(asked[number] for number in range(2, 41, 2)) >= 20
    assert lag == 0


async def test_after_a_pause_one_server_is_asked_alone(tmp_path: Path) -> None:
    """All slots would hang together, and no backups be read meanwhile."""
    panel = Panel(a_world(servers=40))
    failure = panel.faults.add(faults.html_error(), resource="recovery_points")

    keys: dict[str, Any] = {
        "collectors": {"recovery_points": True, "transactions": False},
        "poll": {"interval": "5m", "max_age": "1h"},
    }
    async with monitored(panel, tmp_path, **keys) as cloud:
        hanging = panel.faults.add(faults.hang(), resource="recovery_points")
        failure.remove()
        cloud.unanswered = 8
        hung = []
        for _ in range(12):
            await cloud.advance(60)
            hung.append(panel.in_flight)
        lag = await cloud.value("onapp_poll_lag_seconds")
        hanging.remove()
        cloud.unanswered = 0
        await cloud.advance(2 * HOUR)
        failed = await cloud.value(
            "onapp_collector_success", collector="recovery_points"
        )

    assert max(hung) == 1
    assert lag is not None
    assert lag < 12 * 60
    assert failed == 1


@in_both_formats
async def test_a_disk_that_moves_takes_its_schedule_to_one_server(
    form: str, tmp_path: Path
) -> None:
    """The last to list a row has it, also while the first cannot be asked."""
    world = a_world(2, disks=2)
    world.add_schedule("Disk", 101, start_at=NOW + 900 * DAY)
    world.add_schedule("Disk", 102, start_at=NOW + 900 * DAY)
    panel = one_by_one(world)

    async with monitored(panel, tmp_path, format=form) as cloud:
        disk = world.disks_by_server[1].pop(101)
        disk.server_id = 2
        world.disks_by_server[2][101] = disk
        panel.faults.add(faults.html_error(), resource="backups", server_id=1)
        found = []
        for _ in range(5):
            await cloud.advance(300)
            text = await cloud.metrics()
            rows = [x for x in text.splitlines() if x.startswith("onapp_schedule_fai")]
            found.append(len(rows))
        reported = series(text, "onapp_schedule_info", panel="cp", schedule_id=501)
        states = series(text, "onapp_target_backups", state="built", target_id=101)

    assert found == [2] * 5
    assert [key.endswith("vm_id=2") for key in reported] == [True]
    assert any(key.endswith("vm_id=2") for key in states)


@in_both_formats
async def test_recovery_points_of_two_servers_may_have_one_number(
    form: str, tmp_path: Path
) -> None:
    """Whose numbers they are the API does not say: each server keeps its own."""
    point = {"id": 7, "size": 1, "state": "built", "created_at": NOW_TEXT}
    panel = Panel(a_world(2))
    body = list_body(form, point, name="recovery_point")
    answer_with(panel, form, body, resource="recovery_points")

    async with monitored(
        panel, tmp_path, format=form, collectors={"recovery_points": True}
    ) as cloud:
        await cloud.advance(1000)
        found = await cloud.series("onapp_recovery_point_built", recovery_point_id=7)

    assert set(found) == {"panel=cp,vm_id=1", "panel=cp,vm_id=2"}


@in_both_formats
async def test_a_servers_list_that_is_cut_short_is_used_and_reported(
    form: str, tmp_path: Path
) -> None:
    """What came counts, and the collector has not succeeded until all comes."""
    panel = one_by_one(a_world())
    headers = {"X-Page": "1", "X-Limit": "1", "X-Total": "2"}
    body = list_body(form, a_schedule(), name="schedule")
    path = "/virtual_machines/1/schedules"
    short = answer_with(panel, form, body, resource=None, path=path, headers=headers)

    async with monitored(panel, tmp_path, format=form) as cloud:
        cut = await cloud.metrics()
        short.remove()
        await cloud.advance(1000)
        whole = await cloud.metrics()

    reported = "onapp_collector_success"
    assert series(cut, reported, collector="schedules") == {"panel=cp": 0}
    assert series(cut, "onapp_schedule_info")
    assert series(whole, reported, collector="schedules") == {"panel=cp": 1}


@in_both_formats
async def test_a_named_server_that_was_destroyed_does_not_fail_for_ever(
    form: str, tmp_path: Path
) -> None:
    """Its list failed when it was last asked for, which it no longer is."""
    world = a_world(2)
    panel = Panel(world)
    path = "/virtual_machines/2/schedules"
    fault = panel.faults.add(faults.html_error(), path=path)

    async with monitored(
        panel, tmp_path, format=form, virtual_machines=[1, 2]
    ) as cloud:
        reported = "onapp_collector_success"
        failing = await cloud.value(reported, collector="schedules")
        fault.remove()
        world.remove_server(2)
        await cloud.advance(3000)
        soon = await cloud.value(reported, collector="schedules")
        await cloud.advance(3000)
        late = await cloud.value(reported, collector="schedules")

    assert (failing, soon, late) == (0, 0, 1)
