"""Schedules and disks on ``/metrics``: what should have happened, and to what."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faults
import pytest
from aiohttp import web
from builders import ALL_PERMISSIONS, answer_with, in_both_formats, list_body
from faulty_panel import Panel
from harness import NOW, Start, monitored, series

from exporter.demo.cloud.simulation import SimulatedCloud
from exporter.model.selection import Shard

DAY = 86_400.0


def a_world(**server: Any) -> SimulatedCloud:
    """Return a world with one server, number 1, whose first disk is 101."""
    world = SimulatedCloud(NOW)
    world.add_server(created_at=NOW - 100 * DAY, **server)
    return world


def intervals(text: str, source: str) -> dict[str, float]:
    """Return the expected intervals that one source gave, by target."""
    named = series(text, "onapp_target_expected_interval_info", source=source)
    found = series(text, "onapp_target_expected_interval_seconds")
    return {
        ",".join(p for p in key.split(",") if "target" in p): found[key]
        for key in named
    }


@in_both_formats
async def test_a_schedule_has_every_family(start: Start, form: str) -> None:
    """Status, failures, interval, next start and what describes it are told."""
    world = a_world()
    schedule = world.add_schedule("Disk", 101, "weeks", 2, NOW + 1000)
    schedule.failure_count = 3

    async with start(world, format=form) as cloud:
        text = await cloud.metrics()

    assert series(text, "onapp_schedule_status", schedule_id=501) == {
        "panel=cp,status=enabled": 1,
        "panel=cp,status=disabled": 0,
        "panel=cp,status=failed": 0,
    }
    assert series(text, "onapp_schedule_failures", schedule_id=501) == {"panel=cp": 3}
    assert series(text, "onapp_schedule_interval_seconds") == {
        "panel=cp,schedule_id=501": 14 * DAY
    }
    assert series(text, "onapp_schedule_next_start_timestamp_seconds") == {
        "panel=cp,schedule_id=501": NOW + 1000
    }
    assert series(text, "onapp_schedule_info", schedule_id=501) == {
        "panel=cp,period=weeks,target_id=101,target_type=Disk,vm_id=1": 1
    }


@pytest.mark.parametrize("status", ["disabled", "failed"])
async def test_a_schedule_that_is_not_enabled_has_no_next_start(
    start: Start, status: Any
) -> None:
    """Its status is told; it starts nothing, and expects nothing."""
    world = a_world()
    world.add_schedule("Disk", 101, start_at=NOW + 1000, status=status)
    world.add_backup(1, created_at=NOW - DAY)

    async with start(world) as cloud:
        text = await cloud.metrics()

    assert series(text, "onapp_schedule_status", status=status) == {
        "panel=cp,schedule_id=501": 1
    }
    assert not series(text, "onapp_schedule_next_start_timestamp_seconds")
    assert not series(text, "onapp_target_expected_interval_seconds")
    assert series(text, "onapp_vm_backup_required") == {"panel=cp,vm_id=1": 1}


@pytest.mark.parametrize(
    ("period", "seconds"),
    [("days", DAY), ("weeks", 7 * DAY), ("months", 31 * DAY), ("years", 366 * DAY)],
)
async def test_the_interval_is_duration_times_period(
    start: Start, period: Any, seconds: float
) -> None:
    """Months and years are taken at their longest, so that nothing is due early."""
    world = a_world()
    world.add_schedule("Disk", 101, period, 3, NOW + 1000)

    async with start(world) as cloud:
        text = await cloud.metrics()

    assert intervals(text, "schedule") == {
        "target_id=101,target_type=Disk": 3 * seconds
    }


async def test_the_shortest_enabled_schedule_of_a_target_counts(start: Start) -> None:
    """Disabled ones and those of other targets do not, nor does history."""
    world = a_world(disks=2)
    world.add_schedule("Disk", 101, "months", start_at=NOW + 1000)
    world.add_schedule("Disk", 101, "weeks", start_at=NOW + 1000)
    world.add_schedule("Disk", 101, "days", start_at=NOW + 1000, status="disabled")
    world.add_schedule("Disk", 102, "days", 2, start_at=NOW + 1000)
    world.add_backup(1, created_at=NOW - DAY, initiated="days")

    async with start(world) as cloud:
        text = await cloud.metrics()

    assert intervals(text, "schedule") == {
        "target_id=101,target_type=Disk": 7 * DAY,
        "target_id=102,target_type=Disk": 2 * DAY,
    }
    assert not intervals(text, "history")


async def test_a_servers_own_setting_goes_before_its_schedule(start: Start) -> None:
    """First the configuration, then the schedule."""
    world = a_world()
    world.add_schedule("Disk", 101, start_at=NOW + 1000)
    world.add_backup(1, created_at=NOW - DAY)

    servers = [{"id": 1, "expected_interval": "3d"}]
    async with start(world, virtual_machines=servers) as cloud:
        text = await cloud.metrics()

    assert intervals(text, "config") == {"target_id=101,target_type=Disk": 3 * DAY}


async def test_history_tells_only_where_schedules_cannot_be_read(
    start: Start,
) -> None:
    """Without the permission the shortest period in the history is expected."""
    world = a_world()
    world.add_schedule("Disk", 101, "weeks", start_at=NOW + 1000)
    world.add_backup(1, created_at=NOW - 9 * DAY, initiated="weeks")
    world.add_backup(1, created_at=NOW - 8 * DAY, initiated="days")
    panel = Panel(world, permissions=ALL_PERMISSIONS - {"schedules.read"})

    async with start(panel, expected_interval="9d") as cloud:
        text = await cloud.metrics()

    assert intervals(text, "history") == {"target_id=101,target_type=Disk": DAY}
    assert series(text, "onapp_collector_success", collector="schedules") == {
        "panel=cp": 0
    }
    assert not series(text, "onapp_schedule_info")


async def test_the_fallback_tells_where_nothing_else_does(start: Start) -> None:
    """A target without an enabled schedule takes the panel's interval."""
    world = a_world()
    world.add_backup(1, created_at=NOW - DAY, initiated="days")

    async with start(world, expected_interval="9d") as cloud:
        text = await cloud.metrics()

    assert intervals(text, "fallback") == {"target_id=101,target_type=Disk": 9 * DAY}


async def test_nothing_is_expected_of_a_disk_that_no_longer_exists(
    start: Start,
) -> None:
    """Its old backups stay listed; they do not demand a next one."""
    world = a_world(disks=2)
    world.add_backup(1, target_id=101, created_at=NOW - DAY)
    world.add_backup(1, target_id=102, created_at=NOW - DAY)
    world.remove_disk(102)

    async with start(world, expected_interval="1d") as cloud:
        text = await cloud.metrics()

    assert intervals(text, "fallback") == {"target_id=101,target_type=Disk": DAY}
    assert series(text, "onapp_target_backups", state="built", target_id=102) == {
        "panel=cp,target_type=Disk,vm_id=1": 1
    }


async def test_nothing_is_expected_of_disks_after_the_switch_to_incrementals(
    start: Start,
) -> None:
    """A newer backup of the whole server ends a disk, unless it has a schedule."""
    world = a_world(disks=2)
    for disk_id in (101, 102):
        world.add_backup(1, target_id=disk_id, created_at=NOW - 9 * DAY)
    world.add_backup(1, backup_type="incremental", created_at=NOW - DAY)
    world.add_schedule("Disk", 101, "weeks", start_at=NOW + 1000)
    world.add_schedule("VirtualMachine", 1, start_at=NOW + 1000)

    async with start(world, expected_interval="99d") as cloud:
        text = await cloud.metrics()

    assert intervals(text, "schedule") == {
        "target_id=101,target_type=Disk": 7 * DAY,
        "target_id=1,target_type=VirtualMachine": DAY,
    }
    assert not intervals(text, "fallback")


@pytest.mark.parametrize(
    ("case", "over"),
    [
        ("switched", True),
        ("never built", True),
        ("own setting", True),
        ("schedule disabled", True),
        ("schedule enabled", False),
        ("one disk not yet", False),
        ("one disk by a rotated backup", False),
        ("one disk by an older backup", False),
        ("disks unknown", False),
        ("by hand, schedules unknown", False),
        ("schedules unknown", True),
    ],
)
async def test_nothing_is_expected_of_a_server_after_the_switch_to_normal_backups(
    tmp_path: Path, case: str, *, over: bool
) -> None:
    """A newer backup of each disk but swap ends it, unless it has a schedule."""
    world = a_world(disks=2, swap=True)
    built = case != "never built"
    incremental: Any = {"backup_type": "incremental", "built": built}
    world.add_backup(1, created_at=NOW - 60 * DAY, **incremental)
    initiated: Any = "manual" if case.startswith("by hand") else "days"
    world.add_backup(1, target_id=101, created_at=NOW - DAY, initiated=initiated)
    if case != "one disk not yet":
        world.add_backup(
            1,
            target_id=102,
            created_at=NOW - (90 if case == "one disk by an older backup" else 1) * DAY,
            initiated=initiated,
            marked_for_delete=case == "one disk by a rotated backup",
        )
    if case.startswith("schedule "):
        status: Any = case.removeprefix("schedule ")
        world.add_schedule("VirtualMachine", 1, start_at=NOW + DAY, status=status)
    refused = {
        *(["schedules.read"] if "schedules unknown" in case else []),
        *(["disks.read"] if case == "disks unknown" else []),
    }
    panel = Panel(world, permissions=ALL_PERMISSIONS - refused)
    own = {"virtual_machines": [{"id": 1, "expected_interval": "1d"}]}

    keys: Any = own if case == "own setting" else {"expected_interval": "1d"}
    async with monitored(panel, tmp_path, **keys) as cloud:
        expected = await cloud.series("onapp_target_expected_interval_seconds")
        _, answer, _ = await cloud.get("/api/v1/status")

    targets = {key.split(",")[2] for key in expected}
    assert ("target_type=VirtualMachine" not in targets) == over
    (server,) = json.loads(answer)["servers"]
    states = {problem["state"] for problem in server["problems"]}
    assert (not states & {"stale", "very_stale"}) == over
    if over:
        assert "target_type=Disk" in targets


@pytest.mark.parametrize(
    ("case", "reported"),
    [
        ("deleted", True),
        ("deleted of one disk", True),
        ("deleted of the whole server", True),
        ("with a fallback", True),
        ("just deleted", False),
        ("by hand", False),
        ("excluded", False),
        ("the whole server scheduled", False),
        ("disk removed", False),
        ("schedules unknown", False),
    ],
)
async def test_a_schedule_that_is_deleted_is_told(
    tmp_path: Path, case: str, *, reported: bool
) -> None:
    """Backups that silently stop are what the page is there to show."""
    world = a_world(disks=2 if case == "disk removed" else 1)
    whole = case == "deleted of the whole server"
    target: Any = ("VirtualMachine", 1) if whole else ("Disk", world.disks_of(1)[-1].id)
    world.add_backup(
        1,
        target_id=None if whole else target[1],
        backup_type="incremental" if whole else "normal",
        created_at=NOW - (1.4 if case == "just deleted" else 60) * DAY,
        initiated="manual" if case == "by hand" else "days",
    )
    deleted = world.add_schedule(target[0], target[1], start_at=NOW + 9 * DAY)
    if case == "the whole server scheduled":
        world.add_schedule("VirtualMachine", 1, start_at=NOW + 9 * DAY)
    if case == "deleted of one disk":
        world.add_disk(1)
        world.add_schedule("Disk", world.disks_of(1)[-1].id, start_at=NOW + 9 * DAY)
    keys: Any = {
        "with a fallback": {"expected_interval": "90d"},
        "excluded": {"backup_required": {"exclude": {"label": ".*"}}},
    }.get(case, {})
    panel = Panel(world)

    async with monitored(panel, tmp_path, **keys) as cloud:
        if case == "disk removed":
            world.remove_disk(target[1])
        elif case == "schedules unknown":
            panel.permissions = ALL_PERMISSIONS - {"schedules.read"}
            await cloud.advance(7300)
        else:
            world.remove_schedule(deleted.id)
        await cloud.advance(1300)
        _, answer, _ = await cloud.get("/api/v1/status")

    (server,) = json.loads(answer)["servers"]
    found = [p for p in server["problems"] if p["state"] == "unscheduled"]
    assert [(p["target_type"], p["target_id"]) for p in found] == [target] * reported


@pytest.mark.parametrize("because", ["row", "schedule", "autobackups"])
async def test_a_disk_without_backups_shows_on_a_server_on_normal_backups(
    start: Start, because: str
) -> None:
    """A row, a schedule or autobackups on one disk tell of the others; swap aside."""
    world = a_world(disks=2, swap=True)
    if because == "row":
        world.add_backup(1, created_at=NOW - DAY)
    elif because == "schedule":
        world.add_schedule("Disk", 101, start_at=NOW + 1000)
    else:
        world.disks[101].has_autobackups = True
    built = 1 if because == "row" else 0

    async with start(world) as cloud:
        text = await cloud.metrics()

    assert series(text, "onapp_target_backups", state="built") == {
        "panel=cp,target_id=101,target_type=Disk,vm_id=1": built,
        "panel=cp,target_id=102,target_type=Disk,vm_id=1": 0,
    }
    assert not series(
        text, "onapp_target_last_success_timestamp_seconds", target_id=102
    )


async def test_a_server_on_incrementals_shows_no_disks(start: Start) -> None:
    """It is protected as a whole; with a schedule, also before its first backup."""
    world = a_world(disks=2)
    world.add_schedule("VirtualMachine", 1, start_at=NOW + 1000)

    async with start(world) as cloud:
        text = await cloud.metrics()

    assert series(text, "onapp_target_backups", state="built") == {
        "panel=cp,target_id=1,target_type=VirtualMachine,vm_id=1": 0
    }


async def test_backups_are_required_by_schedule_or_autobackups(start: Start) -> None:
    """A server that has neither, when both are known, needs none."""
    world = SimulatedCloud(NOW)
    for _ in range(3):
        world.add_server()
    world.add_schedule("VirtualMachine", 1, status="disabled")
    world.disks[102].has_autobackups = True

    async with start(world) as cloud:
        text = await cloud.metrics()

    assert series(text, "onapp_vm_backup_required", panel="cp") == {
        "vm_id=1": 1,
        "vm_id=2": 1,
        "vm_id=3": 0,
    }


@pytest.mark.parametrize("permission", ["schedules.read", "disks.read"])
async def test_what_cannot_be_read_leaves_required_unknown(
    start: Start, permission: str
) -> None:
    """Without schedules or disks nothing says that backups are not meant to be."""
    panel = Panel(a_world(), permissions=ALL_PERMISSIONS - {permission})

    async with start(panel) as cloud:
        text = await cloud.metrics()

    assert not series(text, "onapp_vm_backup_required")
    reported = series(text, "onapp_collector_success", panel="cp")
    assert reported.pop("collector=schedules") == 0
    assert set(reported.values()) == {1}


async def test_the_configuration_decides_what_is_required(start: Start) -> None:
    """Include and exclude go before what schedules say."""
    world = SimulatedCloud(NOW)
    world.add_server(label="web-1")
    world.add_server(label="db-1")
    world.add_schedule("VirtualMachine", 2)

    required = {"include": {"label": "web-.*"}}
    async with start(world, backup_required=required) as cloud:
        text = await cloud.metrics()

    assert series(text, "onapp_vm_backup_required", panel="cp") == {
        "vm_id=1": 1,
        "vm_id=2": 0,
    }


async def test_all_schedules_come_in_two_requests_and_their_pages(
    start: Start,
) -> None:
    """The number of servers does not matter while the panel gives whole lists."""
    world = SimulatedCloud(NOW)
    for number in range(1, 131):
        world.add_server()
        world.add_schedule("VirtualMachine", number)

    async with start(world) as cloud:
        paths = [asked.path for asked in cloud.panel.requests]
        reported = await cloud.series("onapp_schedule_failures", panel="cp")

    assert len(reported) == 130
    assert sum("/settings/schedules" in path for path in paths) == 2
    assert sum("/settings/disks" in path for path in paths) == 2
    assert not any("virtual_machines/1/" in p and "backups" not in p for p in paths)


@pytest.mark.parametrize("code", [403, 404])
async def test_servers_are_asked_one_by_one_where_the_lists_are_refused(
    start: Start, code: int
) -> None:
    """Forbidden or missing lists cost a request per server, and nothing else."""
    world = SimulatedCloud(NOW)
    for number in (1, 2):
        world.add_server(disks=2)
        world.add_schedule("VirtualMachine", number, start_at=NOW + 1000)
    world.disks[103].has_autobackups = True
    panel = Panel(world)
    panel.faults.add(faults.status(code), path="/settings/(schedules|disks)")

    async with start(panel) as cloud:
        text = await cloud.metrics()

    assert set(series(text, "onapp_schedule_info", panel="cp", period="days")) == {
        "schedule_id=501,target_id=1,target_type=VirtualMachine,vm_id=1",
        "schedule_id=502,target_id=2,target_type=VirtualMachine,vm_id=2",
    }
    assert series(text, "onapp_target_backups", target_id=104, state="built")
    assert series(text, "onapp_collector_success", collector="schedules") == {
        "panel=cp": 1
    }


async def test_a_few_named_servers_are_asked_one_by_one(start: Start) -> None:
    """Nobody reads a whole cloud's schedules for three servers."""
    world = SimulatedCloud(NOW)
    for number in range(1, 6):
        world.add_server()
        world.add_schedule("VirtualMachine", number)

    async with start(world, virtual_machines=[2, 3]) as cloud:
        paths = {asked.path for asked in cloud.panel.requests}
        reported = await cloud.series("onapp_schedule_failures", panel="cp")

    assert set(reported) == {"schedule_id=502", "schedule_id=503"}
    assert not any(
        "settings" in path and "backup_servers" not in path for path in paths
    )


async def test_a_server_whose_schedules_fail_keeps_its_backups(start: Start) -> None:
    """A failed list touches neither the backups nor what was known before."""
    world = a_world()
    world.add_schedule("Disk", 101, start_at=NOW + 30 * DAY)
    world.add_backup(1, created_at=NOW - DAY)

    async with start(world, virtual_machines=[1]) as cloud:
        cloud.panel.faults.add(faults.html_error(), resource="schedules")
        await cloud.advance(1000)
        text = await cloud.metrics()
        await cloud.advance(6000)
        later = await cloud.metrics()

    assert series(text, "onapp_vm_poll_success") == {"panel=cp,vm_id=1": 1}
    assert series(text, "onapp_schedule_info")
    assert series(text, "onapp_collector_success", collector="schedules") == {
        "panel=cp": 0
    }
    assert not series(later, "onapp_schedule_info")
    assert not series(later, "onapp_target_expected_interval_seconds")


async def test_lost_permission_is_logged_once_and_found_again(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    """The collector is off with one line, tried hourly, and touches nothing else."""
    world = a_world()
    world.add_schedule("Disk", 101, start_at=NOW + 30 * DAY)
    panel = Panel(world, permissions=ALL_PERMISSIONS - {"schedules.read"})

    async with start(panel) as cloud:
        await cloud.advance(3 * 3600)
        asked = [a for a in panel.requests if a.resource == "schedules"]
        lines = [n for n in capsys.readouterr().out.splitlines() if "collector" in n]
        panel.permissions = ALL_PERMISSIONS
        await cloud.advance(3700)
        text = await cloud.metrics()

    assert len(lines) == 1
    assert "schedules" in lines[0]
    assert len(asked) <= 10
    assert series(text, "onapp_schedule_info")
    assert series(text, "onapp_collector_success", collector="schedules") == {
        "panel=cp": 1
    }


async def test_backups_tell_whose_a_disk_is_where_disks_cannot_be_read(
    start: Start,
) -> None:
    """A schedule of a disk that nobody knows has an empty ``vm_id``."""
    world = a_world(disks=2)
    world.add_schedule("Disk", 101, start_at=NOW + 1000)
    world.add_schedule("Disk", 102, start_at=NOW + 1000)
    world.add_backup(1, target_id=101, created_at=NOW - DAY)
    panel = Panel(world, permissions=ALL_PERMISSIONS - {"disks.read"})

    async with start(panel) as cloud:
        text = await cloud.metrics()

    assert series(text, "onapp_schedule_info", panel="cp", period="days") == {
        "schedule_id=501,target_id=101,target_type=Disk,vm_id=1": 1,
        "schedule_id=502,target_id=102,target_type=Disk,vm_id=": 1,
    }
    assert set(series(text, "onapp_vm_backup_required")) == {"panel=cp,vm_id=1"}


async def test_servers_that_are_not_watched_give_no_schedules(start: Start) -> None:
    """An excluded server is not there, and neither is what is scheduled for it."""
    world = SimulatedCloud(NOW)
    for label in ("web", "test"):
        world.add_server(label=label)
    for disk_id in (101, 102):
        world.add_schedule("Disk", disk_id, start_at=NOW + 1000)
    world.add_schedule("VirtualMachine", 2, start_at=NOW + 1000)

    discovery = {"exclude": {"label": "test"}}
    async with start(world, discovery=discovery) as cloud:
        reported = await cloud.series("onapp_schedule_failures", panel="cp")

    assert set(reported) == {"schedule_id=501"}


@pytest.mark.parametrize("disks_readable", [True, False])
async def test_every_schedule_is_on_exactly_one_shard(
    start: Start, *, disks_readable: bool
) -> None:
    """Also those of disks that no longer exist, and without the list of disks."""
    world = SimulatedCloud(NOW)
    for number in range(1, 13):
        world.add_server()
        world.add_schedule("Disk", 100 + number, start_at=NOW + 1000)
    if disks_readable:
        world.drop_disk(103)
        world.add_backup(4, target_id=103, created_at=NOW - DAY)
    permissions = (
        ALL_PERMISSIONS if disks_readable else ALL_PERMISSIONS - {"disks.read"}
    )

    found: list[str] = []
    for number in range(3):
        panel = Panel(world, permissions=permissions)
        async with start(panel, shard=Shard(number, 3)) as cloud:
            found += await cloud.series("onapp_schedule_failures", panel="cp")

    assert sorted(found) == [f"schedule_id={number}" for number in range(501, 513)]


async def test_a_new_server_has_its_schedule_with_its_first_backups(
    start: Start,
) -> None:
    """What changes on the panel shows when it is next read; what is gone goes."""
    world = a_world()
    world.add_schedule("Disk", 101, start_at=NOW + 30 * DAY)

    async with start(world) as cloud:
        world.add_server()
        world.add_schedule("Disk", 102, start_at=NOW + 30 * DAY)
        await cloud.advance(660)
        grown = await cloud.series("onapp_schedule_failures", panel="cp")
        world.remove_server(1)
        world.change_schedule(502, status="disabled")
        await cloud.advance(660)
        text = await cloud.metrics()

    assert set(grown) == {"schedule_id=501", "schedule_id=502"}
    assert set(series(text, "onapp_schedule_failures", panel="cp")) == {
        "schedule_id=502"
    }
    assert series(text, "onapp_schedule_status", status="disabled") == {
        "panel=cp,schedule_id=502": 1
    }


async def test_schedules_can_be_switched_off(start: Start) -> None:
    """Then nothing is asked, and the collector has no series."""
    world = a_world()
    world.add_schedule("Disk", 101, start_at=NOW + 1000)
    world.add_backup(1, created_at=NOW - DAY)

    async with start(world, collectors={"schedules": False}) as cloud:
        text = await cloud.metrics()
        resources = {asked.resource for asked in cloud.panel.requests}

    assert not series(text, "onapp_collector_success", collector="schedules")
    assert not {"schedules", "disks"} & resources
    assert intervals(text, "history")


async def test_an_unreadable_disk_is_not_taken_for_one_that_is_gone(
    start: Start,
) -> None:
    """A skipped row costs knowledge of that server's disks, not its expectations."""
    world = SimulatedCloud(NOW)
    for number in (1, 2):
        world.add_server()
        world.add_backup(number, created_at=NOW - DAY)
        world.add_schedule("Disk", 100 + number, start_at=NOW + 1000)
    panel = Panel(world)
    panel.faults.add(faults.bad_rows(0.5), resource="disks")

    async with start(panel) as cloud:
        text = await cloud.metrics()

    skipped = series(text, "onapp_api_rows_skipped_total", resource="disks")
    assert skipped == {"panel=cp": 1}
    assert intervals(text, "schedule") == {
        "target_id=101,target_type=Disk": DAY,
        "target_id=102,target_type=Disk": DAY,
    }


async def test_one_refused_server_does_not_switch_off_the_others(
    start: Start,
) -> None:
    """Only when several are refused in a row is the panel taken to refuse all."""
    world = SimulatedCloud(NOW)
    for number in range(1, 6):
        world.add_server()
        world.add_schedule("VirtualMachine", number, start_at=NOW + 30 * DAY)
    panel = Panel(world)
    panel.faults.add(faults.forbidden(), resource="schedules", server_id=3)

    async with start(panel, virtual_machines=[1, 2, 3, 4, 5]) as cloud:
        await cloud.advance(6000)
        text = await cloud.metrics()

    assert set(series(text, "onapp_schedule_failures", panel="cp")) == {
        f"schedule_id={number}" for number in (501, 502, 504, 505)
    }


async def test_a_schedule_of_a_disk_that_two_servers_backed_up_shows_once(
    start: Start,
) -> None:
    """A disk that nobody lists belongs to the first server with backups of it."""
    world = SimulatedCloud(NOW)
    for number in (1, 2):
        world.add_server()
        world.add_backup(number, target_id=500, created_at=NOW - DAY)
    world.add_schedule("Disk", 500, start_at=NOW + 30 * DAY)

    async with start(world) as cloud:
        first = await cloud.metrics()
        await cloud.advance(1000)
        later = await cloud.metrics()

    for text in (first, later):
        lines = [n for n in text.splitlines() if n.startswith("onapp_schedule_fail")]
        assert len(lines) == 1


async def test_a_failed_retry_of_refused_lists_changes_nothing(start: Start) -> None:
    """Servers are asked one by one until the panel has given the whole list."""
    world = a_world()
    world.add_schedule("Disk", 101, "weeks", start_at=NOW + 30 * DAY)
    world.add_backup(1, created_at=NOW - DAY)
    panel = Panel(world)
    lists = "/settings/(schedules|disks)"
    refusal = panel.faults.add(faults.forbidden(), path=lists)

    async with start(panel) as cloud:
        await cloud.advance(3500)
        failure = panel.faults.add(faults.html_error(), path=lists)
        refusal.remove()
        await cloud.advance(1000)
        failing = await cloud.metrics()
        failure.remove()
        await cloud.advance(700)
        panel.requests.clear()
        await cloud.advance(700)
        fixed = await cloud.metrics()
        paths = [asked.path for asked in panel.requests]

    assert intervals(failing, "schedule") == {"target_id=101,target_type=Disk": 7 * DAY}
    assert intervals(fixed, "schedule") == {"target_id=101,target_type=Disk": 7 * DAY}
    assert not any("virtual_machines/1/schedules" in path for path in paths)


def spoiled(number: int, **fields: Any) -> faults.Fault:
    """Spoil one row of a list."""

    async def act(
        scene: faults.FaultContext, _placed: faults.ActiveFault, proceed: faults.Proceed
    ) -> web.StreamResponse:
        def spoil(rows: list[Any]) -> None:
            for row in rows:
                if row["id"] == number:
                    row.update(fields)

        scene.edit_rows = spoil
        return await proceed()

    return faults.Fault(act)


@pytest.mark.parametrize("fields", [{"target_id": "soon"}, {"id": "?"}])
async def test_a_schedule_that_cannot_be_read_leaves_its_server_unknown(
    start: Start, fields: dict[str, str]
) -> None:
    """Whose it is nobody knows: no server without another one is said to have none."""
    world = SimulatedCloud(NOW)
    for number in (1, 2):
        world.add_server()
        world.add_schedule("VirtualMachine", number, start_at=NOW + 30 * DAY)
    panel = Panel(world)
    panel.faults.add(spoiled(502, **fields), path="/settings/schedules")

    async with start(panel) as cloud:
        text = await cloud.metrics()

    assert series(text, "onapp_vm_backup_required") == {"panel=cp,vm_id=1": 1}


async def test_a_schedule_stays_for_a_while_when_it_cannot_be_read_any_more(
    start: Start,
) -> None:
    """What was known outlives a skipped row as it does a failed list."""
    world = a_world()
    world.add_schedule("Disk", 101, "weeks", start_at=NOW + 30 * DAY)
    world.add_schedule("Disk", 101, start_at=NOW + 30 * DAY)
    world.add_backup(1, created_at=NOW - DAY)

    async with start(world) as cloud:
        fault = spoiled(502, target_id="soon")
        cloud.panel.faults.add(fault, path="/settings/schedules")
        await cloud.advance(1000)
        soon = await cloud.series("onapp_schedule_failures", panel="cp")
        await cloud.advance(7000)
        late = await cloud.series("onapp_schedule_failures", panel="cp")

    assert set(soon) == {"schedule_id=501", "schedule_id=502"}
    assert set(late) == {"schedule_id=501"}


async def test_a_disk_that_cannot_be_read_leaves_required_unknown(
    start: Start,
) -> None:
    """It may be the one with a schedule, or with autobackups."""
    world = a_world(disks=2)
    world.add_schedule("Disk", 102, start_at=NOW + 30 * DAY)
    panel = Panel(world)
    panel.faults.add(spoiled(102, virtual_machine_id="?"), path="/settings/disks")

    async with start(panel) as cloud:
        text = await cloud.metrics()

    assert not series(text, "onapp_vm_backup_required")


async def test_a_schedule_keeps_its_server_when_its_disk_cannot_be_read(
    start: Start,
) -> None:
    """Whose the disk is was known before."""
    world = a_world(disks=2)
    world.add_schedule("Disk", 102, start_at=NOW + 30 * DAY)

    async with start(world) as cloud:
        fault = spoiled(102, virtual_machine_id="?")
        cloud.panel.faults.add(fault, path="/settings/disks")
        await cloud.advance(1000)
        reported = await cloud.series("onapp_schedule_info", panel="cp", period="days")

    assert set(reported) == {"schedule_id=501,target_id=102,target_type=Disk,vm_id=1"}


async def test_a_shard_without_the_list_of_disks_shows_no_schedule_of_others(
    start: Start,
) -> None:
    """Whose they are it cannot know; its own are unknown, and so is what is needed."""
    found: list[str] = []
    required: dict[str, float] = {}
    for number in range(3):
        world = SimulatedCloud(NOW)
        for server in range(1, 10):
            world.add_server()
            world.add_schedule("Disk", 100 + server, start_at=NOW + 30 * DAY)
        panel = Panel(world)
        if number == 0:
            panel.faults.add(faults.html_error(), path="/settings/disks")
        async with start(panel, shard=Shard(number, 3)) as cloud:
            text = await cloud.metrics()
        reported = series(text, "onapp_schedule_failures", panel="cp")
        found += reported
        if number == 0:
            required = series(text, "onapp_vm_backup_required")
            assert not reported

    assert len(found) == len(set(found))
    assert not required


async def test_asking_server_by_server_is_said_once_when_it_begins(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    """It costs two requests per server, and nothing else tells of it."""
    panel = Panel(a_world())
    panel.faults.add(faults.forbidden(), path="/settings/(schedules|disks)")

    async with start(panel) as cloud:
        await cloud.advance(3 * 3600)
        lines = capsys.readouterr().out.splitlines()

    reported = [line for line in lines if "per server" in line]
    assert len(reported) == 2
    assert ["disks" in line for line in reported] == [False, True]


@pytest.mark.parametrize("normal", [False, True])
async def test_a_disk_added_after_the_switch_to_incrementals_is_no_target(
    start: Start, *, normal: bool
) -> None:
    """The server is protected as a whole, unless a schedule asks for a disk still."""
    world = a_world(disks=2)
    world.disks[101].has_autobackups = True
    world.add_backup(1, target_id=101, created_at=NOW - 9 * DAY)
    world.add_backup(1, backup_type="incremental", created_at=NOW - DAY)
    world.add_schedule("VirtualMachine", 1, start_at=NOW + 1000)
    status: Any = "enabled" if normal else "disabled"
    world.add_schedule("Disk", 101, start_at=NOW + 1000, status=status)

    async with start(world) as cloud:
        shown = await cloud.series("onapp_target_backups", state="built", panel="cp")

    assert ("target_id=102,target_type=Disk,vm_id=1" in shown) is normal


async def test_a_disk_is_a_target_when_disks_were_backed_up_since(
    start: Start,
) -> None:
    """One backup of the whole server, long ago, is no switch."""
    world = a_world(disks=2)
    world.add_backup(1, backup_type="incremental", created_at=NOW - 9 * DAY)
    world.add_backup(1, target_id=101, created_at=NOW - DAY)

    async with start(world) as cloud:
        shown = await cloud.series("onapp_target_backups", state="built", panel="cp")

    assert shown["target_id=102,target_type=Disk,vm_id=1"] == 0


@pytest.mark.parametrize(
    ("initiated", "scheduled", "expected"),
    [
        ("manual", "enabled", False),
        ("manual", "disabled", True),
        ("days", "enabled", True),
    ],
)
async def test_the_fallback_is_not_for_a_whole_backup_by_hand_beside_schedules(
    start: Start, initiated: Any, scheduled: Any, *, expected: bool
) -> None:
    """The disks' schedules tell what is expected: a one-off needs no next one."""
    world = a_world()
    world.add_schedule("Disk", 101, start_at=NOW + 1000, status=scheduled)
    world.add_backup(1, target_id=101, created_at=NOW - DAY)
    world.add_backup(
        1, backup_type="incremental", created_at=NOW - 3600, initiated=initiated
    )

    async with start(world, expected_interval="1d") as cloud:
        text = await cloud.metrics()

    whole = "target_id=1,target_type=VirtualMachine"
    assert (whole in intervals(text, "fallback")) is expected


async def test_a_servers_own_setting_goes_before_that(start: Start) -> None:
    """Who names the server means all that there is of it."""
    world = a_world()
    world.add_schedule("Disk", 101, start_at=NOW + 1000)
    world.add_backup(
        1, backup_type="incremental", created_at=NOW - 9 * DAY, initiated="manual"
    )

    servers = [{"id": 1, "expected_interval": "3d"}]
    async with start(world, virtual_machines=servers) as cloud:
        text = await cloud.metrics()

    assert "target_id=1,target_type=VirtualMachine" in intervals(text, "config")


@pytest.mark.parametrize("form", ["json", "xml"])
async def test_a_disk_that_moves_takes_its_schedule_along(
    tmp_path: Path, form: str
) -> None:
    """Both servers are told in one step: no scrape sees it twice."""
    world = SimulatedCloud(NOW)
    for _ in range(3):
        world.add_server()
    world.add_schedule("Disk", 101, start_at=NOW + 30 * DAY)
    world.add_schedule("Disk", 103, start_at=NOW + 30 * DAY)
    panel = Panel(world)
    for owner, times in ((1, 1), (2, None)):
        rows = [{"id": 101, "virtual_machine_id": owner}]
        rows += [{"id": n, "virtual_machine_id": n - 100} for n in (102, 103)]
        body = list_body(form, *rows, name="disk")
        answer_with(
            panel, form, body, resource=None, path="/settings/disks", times=times
        )

    found = []
    async with monitored(panel, tmp_path, format=form) as cloud:
        for _ in range(2):
            found.append(await cloud.series("onapp_schedule_info", schedule_id=501))
            await cloud.advance(660)
        other = await cloud.series("onapp_schedule_info", schedule_id=502)

    assert [
        [key.endswith(f"vm_id={n}") for key in reported]
        for n, reported in enumerate(found, 1)
    ] == [[True], [True]]
    assert len(other) == 1


async def test_a_server_found_later_is_told_what_was_read_before(
    start: Start,
) -> None:
    """Also when the lists have not changed since, and its backups do not come."""
    world = SimulatedCloud(NOW)
    for number in (1, 2):
        world.add_server()
        world.add_schedule("VirtualMachine", number, start_at=NOW + 30 * DAY)
    panel = Panel(world)
    panel.faults.add(faults.html_error(), resource="backups", server_id=2)

    async with start(panel, discovery={"exclude": {"label": "no"}}) as cloud:
        world.servers[1].label = "no"
        await cloud.advance(660)
        without = await cloud.series("onapp_schedule_failures", panel="cp")
        world.servers[1].label = "yes"
        world.servers[2].label = "no"
        await cloud.advance(660)
        world.servers[2].label = "yes"
        await cloud.advance(1300)
        reported = await cloud.series("onapp_schedule_failures", panel="cp")

    assert set(without) == {"schedule_id=502"}
    assert set(reported) == {"schedule_id=501", "schedule_id=502"}


@pytest.mark.parametrize("refused", [False, True])
@pytest.mark.parametrize("fault", [faults.html_error, faults.unauthorized])
async def test_no_schedule_outlives_an_outage_for_ever(
    start: Start, fault: Callable[[], faults.Fault], *, refused: bool
) -> None:
    """Also while nothing is asked, as the panel is left alone: it may be long gone."""
    world = a_world()
    world.add_schedule("Disk", 101, start_at=NOW + 900 * DAY)
    world.add_schedule("Disk", 999, start_at=NOW + 900 * DAY)
    panel = Panel(world)
    if refused:
        panel.faults.add(faults.forbidden(), path="/settings/(schedules|disks)")

    async with start(panel) as cloud:
        panel.faults.clear()
        panel.faults.add(fault())
        await cloud.advance(3000)
        soon = await cloud.series("onapp_schedule_failures", panel="cp")
        await cloud.advance(5000)
        late = await cloud.metrics()

    assert len(soon) == (1 if refused else 2)
    assert not series(late, "onapp_schedule_failures")
    assert not series(late, "onapp_vm_backup_required")


async def test_a_reload_does_not_let_schedules_outlive_an_outage(start: Start) -> None:
    """What it left is as old as what it left it to, at most."""
    world = a_world()
    world.add_schedule("Disk", 101, start_at=NOW + 900 * DAY)

    async with start(world) as cloud:
        cloud.panel.faults.add(faults.unauthorized())
        await cloud.advance(1000)
        content = cloud.file.read_text()
        changed = content.replace("name: cp", "name: cp\n  expected_interval: 1d")
        cloud.file.write_text(changed)
        status, *_ = await cloud.get("/-/reload", method="POST")
        await cloud.advance(1000)
        soon = await cloud.series("onapp_schedule_failures", panel="cp")
        await cloud.advance(5000)
        late = await cloud.series("onapp_schedule_failures", panel="cp")

    assert status == 200
    assert len(soon) == 1
    assert not late


@pytest.mark.parametrize("location", ["/settings/schedules", "/settings/disks"])
async def test_history_is_no_substitute_for_one_schedule_that_cannot_be_read(
    start: Start, location: str
) -> None:
    """The others were read: a guess would be corrected with the next good answer."""
    world = a_world(disks=3)
    for disk, status in ((101, "enabled"), (102, "enabled"), (103, "disabled")):
        world.add_backup(1, target_id=disk, created_at=NOW - DAY, initiated="weeks")
        add: Any = {"start_at": NOW + 1000, "status": status}
        world.add_schedule("Disk", disk, **add)
    panel = Panel(world)
    number = 502 if location == "/settings/schedules" else 102
    fault = spoiled(number, target_id="soon", virtual_machine_id="?")
    panel.faults.add(fault, path=location)

    async with start(panel) as cloud:
        text = await cloud.metrics()

    first, other = (f"target_id={n},target_type=Disk" for n in (101, 102))
    known = {first: DAY} if number == 502 else {first: DAY, other: DAY}
    assert intervals(text, "schedule") == known
    assert not intervals(text, "history")


async def test_a_schedule_that_goes_after_a_gap_is_gone(start: Start) -> None:
    """Its server is told, also when its backups do not come meanwhile."""
    world = a_world()
    world.add_server()
    for disk in (101, 102):
        world.add_schedule("Disk", disk, start_at=NOW + 900 * DAY)

    async with start(world) as cloud:
        cloud.panel.faults.add(faults.html_error(), resource="backups")
        gap = spoiled(501, start_at="soon")
        placed = cloud.panel.faults.add(gap, path="/settings/schedules")
        await cloud.advance(660)
        kept = await cloud.series("onapp_schedule_failures", panel="cp")
        placed.remove()
        world.remove_schedule(501)
        await cloud.advance(1260)
        left = await cloud.series("onapp_schedule_failures", panel="cp")

    assert set(kept) == {"schedule_id=501", "schedule_id=502"}
    assert set(left) == {"schedule_id=502"}


@pytest.mark.parametrize("hidden", ["one server", "every server"])
@pytest.mark.parametrize("offset", [30, 330])
async def test_schedules_that_are_hidden_with_their_servers_are_not_deleted(
    start: Start, hidden: str, offset: int
) -> None:
    """An account loses sight of both at once, whichever is noticed first."""
    world = a_world()
    world.add_server()
    for vm_id in (1, 2):
        world.add_backup(vm_id, created_at=NOW - 3 * DAY, initiated="days")
        world.add_schedule("VirtualMachine", vm_id, start_at=NOW + 9 * DAY)
    found = []

    async with start(world) as cloud:
        await cloud.advance(offset)
        cloud.panel.visible = lambda server: hidden == "one server" and server.id == 2
        for _ in range(50):
            await cloud.advance(30)
            state = await cloud.series(
                "onapp_state_start_timestamp_seconds", state="unscheduled"
            )
            found.append(state)

    assert found == [{}] * 50


async def test_a_list_with_an_unreadable_row_ends_no_alert(start: Start) -> None:
    """What the whole list said half an hour ago still holds: there is no schedule."""
    world = a_world()
    world.add_backup(1, created_at=NOW - 3 * DAY, initiated="days")
    world.add_server()
    world.add_schedule("VirtualMachine", 2, start_at=NOW + 9 * DAY)
    found = []

    async with start(world) as cloud:
        gap = spoiled(501, id={})
        cloud.panel.faults.add(gap, path="/settings/schedules")
        for _ in range(3):
            await cloud.advance(660)
            found.append(
                await cloud.series(
                    "onapp_state_start_timestamp_seconds", state="unscheduled"
                )
            )

    assert [len(state) for state in found] == [1, 1, 1]


async def test_a_server_without_schedules_is_unknown_without_their_list(
    start: Start,
) -> None:
    """That it needs no backups is said only while the list is known."""
    lists = "/settings/schedules"
    panel = Panel(a_world())
    panel.faults.add(faults.html_error(), path=lists, times=1)

    async with start(panel) as cloud:
        before = await cloud.value("onapp_vm_backup_required", vm_id=1)
        await cloud.advance(20)
        known = await cloud.value("onapp_vm_backup_required", vm_id=1)
        panel.faults.add(faults.html_error(), path=f"{lists}|.*/backups")
        await cloud.advance(9000)
        lost = await cloud.value("onapp_vm_backup_required", vm_id=1)

    assert (before, known, lost) == (None, 0, None)


@pytest.mark.parametrize(("complete", "owner"), [(True, ""), (False, "1")])
async def test_a_schedule_outlives_the_last_backup_of_its_unlisted_disk(
    start: Start, owner: str, *, complete: bool
) -> None:
    """No server has anything of the disk any more: at once it is shown as nobody's.

    Unless a row of the list cannot be read, which may be this disk's.
    """
    world = a_world(disks=2)
    panel = Panel(world)
    if not complete:
        fault = spoiled(102, virtual_machine_id="?")
        panel.faults.add(fault, path="/settings/disks")
    backup = world.add_backup(1, target_id=500, created_at=NOW - DAY)
    world.add_schedule("Disk", 500, start_at=NOW + 900 * DAY)
    world.add_schedule("Disk", 501, start_at=NOW + 900 * DAY)

    async with start(panel, discovery={"interval": "1d"}) as cloud:
        world.add_backup(1, target_id=501, created_at=NOW - DAY)
        world.drop_backup(backup.id)
        await cloud.advance(1000)
        reported = await cloud.series("onapp_schedule_info", panel="cp", period="days")

    assert set(reported) == {
        f"schedule_id=501,target_id=500,target_type=Disk,vm_id={owner}",
        "schedule_id=502,target_id=501,target_type=Disk,vm_id=1",
    }


async def test_a_disk_that_cannot_be_read_may_have_autobackups(start: Start) -> None:
    """No schedule tells of it, and the server's other disks have none."""
    world = a_world(disks=2)
    world.disks[102].has_autobackups = True
    panel = Panel(world)
    panel.faults.add(spoiled(102, virtual_machine_id="?"), path="/settings/disks")

    async with start(panel) as cloud:
        gap = await cloud.series("onapp_vm_backup_required")
        panel.faults.clear()
        await cloud.advance(660)
        whole = await cloud.series("onapp_vm_backup_required")

    assert not gap
    assert whole == {"panel=cp,vm_id=1": 1}


async def test_a_shard_expects_nothing_of_a_disk_that_cannot_be_read(
    start: Start,
) -> None:
    """Its schedule is there, but cannot be told from another shard's."""
    world = a_world(disks=2)
    for disk in (101, 102):
        world.add_backup(1, target_id=disk, created_at=NOW - DAY, initiated="weeks")
        world.add_schedule("Disk", disk, start_at=NOW + 1000)
    panel = Panel(world)
    panel.faults.add(spoiled(102, virtual_machine_id="?"), path="/settings/disks")
    (shard,) = (s for s in (Shard(0, 2), Shard(1, 2)) if s.owns("cp", 1))

    async with start(panel, shard=shard) as cloud:
        text = await cloud.metrics()

    assert intervals(text, "schedule") == {"target_id=101,target_type=Disk": DAY}
    assert not intervals(text, "history")


async def test_a_disk_without_schedule_that_cannot_be_read_hides_none(
    start: Start,
) -> None:
    """Every schedule is known, and whose it is: history has nothing to say."""
    world = a_world()
    world.add_server()
    world.add_backup(1, created_at=NOW - DAY)
    panel = Panel(world)
    panel.faults.add(spoiled(102, virtual_machine_id="?"), path="/settings/disks")

    async with start(panel) as cloud:
        text = await cloud.metrics()

    assert not series(text, "onapp_target_expected_interval_seconds")


async def test_schedules_grow_old_though_the_panel_is_down(start: Start) -> None:
    """A next start of long ago would look like one that was missed."""
    world = a_world()
    world.add_schedule("Disk", 101, start_at=NOW + 30 * DAY)
    world.add_server()
    panel = Panel(world)
    async with start(panel) as cloud:
        panel.faults.add(faults.html_error())
        await cloud.advance(3000)
        young = await cloud.series("onapp_schedule_info", panel="cp")
        await cloud.advance(1200)

        assert len(young) == 1
        assert await cloud.series("onapp_schedule_info", panel="cp") == {}
        assert await cloud.series("onapp_vm_backup_required") == {}


async def test_a_list_that_closes_the_gate_for_the_next_has_failed(
    start: Start,
) -> None:
    """That the panel is left alone after it does not hide why."""
    world = a_world()
    panel = Panel(world)
    async with start(panel) as cloud:
        wait = faults.status(429, {"Retry-After": "60"})
        panel.faults.add(wait, resource="schedules")
        await cloud.advance(1200)

        assert (
            await cloud.value("onapp_collector_success", collector="schedules") == 0.0
        )


async def test_it_is_not_ready_before_servers_were_asked_again(start: Start) -> None:
    """A server read before its schedules had to be asked for is read once more."""
    panel = Panel(a_world())
    whole = panel.faults.add(faults.hang(), path="/settings/schedules")
    panel.faults.add(faults.forbidden(), path="/settings/schedules")
    own = panel.faults.add(faults.hang(), path="/virtual_machines/1/schedules")
    async with start(panel, unanswered=1) as cloud:
        whole.remove()
        await cloud.settle()
        before, _, _ = await cloud.get("/-/ready")
        own.remove()
        cloud.unanswered = 0
        await cloud.settle()
        after, _, _ = await cloud.get("/-/ready")

    assert (before, after) == (503, 200)
