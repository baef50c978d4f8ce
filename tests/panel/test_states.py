"""What /metrics says of states: given these answers of a panel, from when they hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import faults
import pytest
from builders import DAY, HOUR, in_both_formats
from faulty_panel import Panel
from harness import NOW, MonitoredCloud, monitored, monitored_by_shards, series

from exporter.demo.cloud.simulation import SimulatedCloud

INTERVAL = 900.0


def a_world(servers: int = 1, **habits: Any) -> SimulatedCloud:
    """Return a world of old servers, whose disks are 101, 102, …."""
    world = SimulatedCloud(NOW)
    for _ in range(servers):
        world.add_server(created_at=NOW - 100 * DAY, **habits)
    return world


def backed_up(days_ago: float, servers: int = 1) -> SimulatedCloud:
    """Return servers with a daily schedule and one backup by hand of so long ago."""
    world = a_world(servers)
    for number in range(1, servers + 1):
        world.add_schedule("Disk", 100 + number, start_at=NOW + 30 * DAY)
        at = NOW - days_ago * DAY
        manual: Any = {"initiated": "manual"}
        world.add_backup(number, created_at=at - 60, built_at=at, **manual)
    return world


async def state_of(cloud: MonitoredCloud, vm_id: int = 1) -> str:
    """Return the one state of a server."""
    found = await cloud.series("onapp_vm_state", panel="cp", vm_id=vm_id)
    ((label, value),) = found.items()
    assert value == 1
    return label.removeprefix("state=")


async def starts(cloud: MonitoredCloud, state: str) -> dict[str, float]:
    """Return in how many hours a state begins, by its target."""
    found = await cloud.series("onapp_state_start_timestamp_seconds", state=state)
    return {
        labels.partition("target_id=")[2].partition(",")[0]: round((at - NOW) / HOUR, 2)
        for labels, at in found.items()
    }


@in_both_formats
async def test_a_target_gets_stale_as_time_passes(form: str, tmp_path: Path) -> None:
    """The moment stands from the first reading on; the states follow it."""
    panel = Panel(backed_up(1.4))
    panel.cloud.schedules.clear()
    keys: dict[str, Any] = {"expected_interval": "1d", "format": form}
    async with monitored(panel, tmp_path, **keys) as cloud:
        first = await starts(cloud, "stale"), await state_of(cloud)
        good = await cloud.value("onapp_vm_backup_in_time")
        await cloud.advance(6 * HOUR)
        later = await starts(cloud, "stale"), await state_of(cloud)
        bad = await cloud.value("onapp_vm_backup_in_time")
        counts = await cloud.series("onapp_panel_servers", panel="cp")

    assert first == ({"101": round(-1.4 * 24 + 39, 2)}, "fine")
    assert later == (first[0], "stale")
    assert (good, bad) == (1, 0)
    assert {state for state, count in counts.items() if count} == {"state=stale"}
    assert counts["state=fine"] == 0


async def test_schedules_that_are_refused_for_hours_move_no_moment(
    tmp_path: Path,
) -> None:
    """What was known is not guessed meanwhile, and is the same afterwards."""
    panel = Panel(backed_up(1))
    panel.cloud.schedules[next(iter(panel.cloud.schedules))].duration = 2
    async with monitored(panel, tmp_path) as cloud:
        before = await starts(cloud, "stale")
        fault = panel.faults.add(faults.forbidden(), resource="schedules")
        seen = []
        for _ in range(8):
            await cloud.advance(HOUR / 2)
            seen.append(await starts(cloud, "stale"))
        fault.remove()
        await cloud.advance(2 * HOUR)
        after = await starts(cloud, "stale")

    assert before == after == {"101": -24 + 1.5 * 48 + 3}
    assert all(found in (before, {}) for found in seen)


async def test_an_outage_moves_no_moment(tmp_path: Path) -> None:
    """A panel out of sight for hours comes back with the same ones."""
    panel = Panel(backed_up(1))
    async with monitored(panel, tmp_path) as cloud:
        before = await starts(cloud, "stale")
        fault = panel.faults.add(faults.reset())
        await cloud.advance(3 * HOUR)
        away = await starts(cloud, "stale")
        fault.remove()
        await cloud.advance(HOUR)

        assert await starts(cloud, "stale") == before
        assert away == {}


async def test_a_disk_that_gets_its_schedule_later_waits_for_its_first_start(
    tmp_path: Path,
) -> None:
    """It appears with autobackups; the first run is in twenty hours."""
    panel = Panel(backed_up(0.1))
    async with monitored(panel, tmp_path) as cloud:
        panel.cloud.add_disk(1, created_at=NOW)
        await cloud.advance(HOUR)
        (disk,) = (d for d in panel.cloud.disks if d != 101)
        panel.cloud.add_schedule("Disk", disk, start_at=cloud.clock.time() + 20 * HOUR)
        await cloud.advance(HOUR)
        found = await starts(cloud, "disk_unprotected")

    assert found[str(disk)] >= 21 + 6


async def test_data_that_are_not_read_get_old(tmp_path: Path) -> None:
    """From the last good read on; of a server that was never read, from the first."""
    panel = Panel(backed_up(0.1, servers=2))
    panel.faults.add(faults.status(500), resource="backups", server_id=2)
    async with monitored(panel, tmp_path) as cloud:
        never = await cloud.value(
            "onapp_state_start_timestamp_seconds", vm_id=2, state="data_old"
        )
        panel.faults.add(faults.status(500), resource="backups", server_id=1)
        await cloud.advance(900)
        failing = await state_of(cloud), await state_of(cloud, 2)
        await cloud.advance(3600)
        old = await state_of(cloud), await state_of(cloud, 2)

    assert never == NOW + 2 * INTERVAL + 1200
    assert failing == ("poll_failing", "poll_failing")
    assert old == ("data_old", "data_old")


async def test_a_reload_that_shortens_an_interval_waits_from_then(
    tmp_path: Path,
) -> None:
    """What was in time is not stale at once."""
    panel = Panel(backed_up(3))
    panel.cloud.schedules.clear()
    async with monitored(panel, tmp_path, expected_interval="7d") as cloud:
        text = cloud.file.read_text()
        cloud.file.write_text(text.replace("7d", "1d"))
        await cloud.get("/-/reload", method="POST")
        await cloud.advance(60)

        assert await starts(cloud, "stale") == {"101": 39}
        assert await state_of(cloud) == "fine"


async def test_a_schedule_enabled_again_waits_from_then(tmp_path: Path) -> None:
    """Its target had no backup meanwhile, and nobody expected one."""
    panel = Panel(backed_up(9))
    (schedule,) = panel.cloud.schedules.values()
    schedule.status = "disabled"
    async with monitored(panel, tmp_path) as cloud:
        disabled = await state_of(cloud)
        schedule.status = "enabled"
        await cloud.advance(700)
        found = await starts(cloud, "stale")

    assert disabled == "unscheduled"
    assert 39 < found["101"] < 39.5


async def test_an_account_that_sees_nothing_leaves_no_server_unscheduled(
    tmp_path: Path,
) -> None:
    """Its lists are complete and empty, and say nothing of servers that are known."""
    panel = Panel(backed_up(1.6))
    for backup in panel.cloud.backups.values():
        backup.initiated = "days"
    async with monitored(panel, tmp_path) as cloud:
        schedules, panel.cloud.schedules = panel.cloud.schedules, {}
        panel.visible = lambda _: False
        await cloud.advance(1500)
        hidden = await starts(cloud, "unscheduled")
        panel.cloud.schedules, panel.visible = schedules, lambda _: True
        await cloud.advance(700)

        assert hidden == {}
        assert await state_of(cloud) == "stale"


async def test_an_outage_does_not_forget_what_was_seen_to_change(
    tmp_path: Path,
) -> None:
    """Only a restart does."""
    panel = Panel(backed_up(9))
    (schedule,) = panel.cloud.schedules.values()
    schedule.status = "disabled"
    async with monitored(panel, tmp_path) as cloud:
        schedule.status = "enabled"
        await cloud.advance(700)
        before = await starts(cloud, "stale")
        fault = panel.faults.add(faults.reset())
        await cloud.advance(3 * HOUR)
        fault.remove()
        await cloud.advance(HOUR)

        assert await starts(cloud, "stale") == before


async def test_a_reload_resets_only_what_it_shortens(tmp_path: Path) -> None:
    """A new interval for the panel leaves a server with its own as it was."""
    panel = Panel(backed_up(4))
    own = [{"id": 1, "expected_interval": "1d"}]
    async with monitored(panel, tmp_path, virtual_machines=own) as cloud:
        before = await starts(cloud, "stale"), await state_of(cloud)
        text = cloud.file.read_text()
        changed = text.replace("name: cp", "name: cp\n  expected_interval: 30d")
        cloud.file.write_text(changed)
        status, *_ = await cloud.get("/-/reload", method="POST")
        await cloud.advance(60)

        assert status == 200
        assert (await starts(cloud, "stale"), await state_of(cloud)) == before


async def test_a_suspension_hides_everything_and_its_end_waits(tmp_path: Path) -> None:
    """Nothing ran meanwhile."""
    panel = Panel(backed_up(9))
    panel.cloud.servers[1].suspended = True
    async with monitored(panel, tmp_path) as cloud:
        suspended = await cloud.series("onapp_state_start_timestamp_seconds")
        panel.cloud.servers[1].suspended = False
        await cloud.advance(700)
        found = await starts(cloud, "stale")

    assert suspended == {}
    assert 39 < found["101"] < 39.5


@pytest.mark.parametrize("refused", [True, False])
async def test_refused_credentials_show_until_they_are_proven(
    tmp_path: Path, *, refused: bool
) -> None:
    """A panel that is down, or one server that fails, refuses nothing."""
    panel = Panel(backed_up(0.1))
    async with monitored(panel, tmp_path) as cloud:
        before = await cloud.value("onapp_panel_credentials_refused")
        fault = panel.faults.add(
            faults.unauthorized() if refused else faults.status(500)
        )
        await cloud.advance(2 * HOUR)
        during = await cloud.value("onapp_panel_credentials_refused")
        fault.remove()
        await cloud.advance(2 * HOUR)

        assert (before, during) == (0, refused)
        assert await cloud.value("onapp_panel_credentials_refused") == 0


async def test_dates_in_the_future_are_counted_while_they_are_listed(
    tmp_path: Path,
) -> None:
    """By rows; the server that goes takes its own along."""
    panel = Panel(backed_up(0.1, servers=2))
    later = NOW + 200 * DAY
    for vm_id in (1, 2):
        panel.cloud.add_backup(vm_id, created_at=later, built_at=later)
    async with monitored(panel, tmp_path) as cloud:
        both = await cloud.value("onapp_panel_future_dates")
        panel.cloud.remove_server(2)
        await cloud.advance(2 * INTERVAL)

        assert both == 2
        assert await cloud.value("onapp_panel_future_dates") == 1
        assert await state_of(cloud) == "fine"


async def test_a_queue_that_does_not_move_is_dated(tmp_path: Path) -> None:
    """From the last run that ended, whichever server's; none while it moves."""
    world = a_world(3)
    world.add_transaction(
        status="complete",
        server_id=3,
        created_at=NOW - 9 * HOUR,
        updated_at=NOW - 8 * HOUR,
    )
    for vm_id in (1, 2):
        world.add_transaction(
            status="pending", server_id=vm_id, created_at=NOW - 10 * HOUR
        )
    async with monitored(Panel(world), tmp_path) as cloud:
        jam = await cloud.series("onapp_panel_queue_jam_start_timestamp_seconds")
        world.add_transaction(status="complete", server_id=3)
        await cloud.advance(120)
        moves = await cloud.series("onapp_panel_queue_jam_start_timestamp_seconds")

    assert set(jam.values()) == {NOW - 8 * HOUR}
    assert moves == {}


async def test_shards_count_their_own_servers_and_add_up(tmp_path: Path) -> None:
    """Each with the label of its shard."""
    panel = Panel(backed_up(9, servers=9))
    async with monitored_by_shards(panel, tmp_path, 3) as clouds:
        texts = [await cloud.metrics() for cloud in clouds]
    found = [
        series(text, "onapp_panel_servers", panel="cp", state="very_stale", shard=shard)
        for shard, text in enumerate(texts)
    ]

    assert sum(counts[""] for counts in found) == 9
    assert all(series(text, "onapp_exporter_shards") == {"": 3} for text in texts)


async def test_every_collector_says_how_long_it_took(tmp_path: Path) -> None:
    """Also the one that fails."""
    panel = Panel(backed_up(0.1))
    panel.faults.add(faults.status(500), resource="backup_servers")
    async with monitored(panel, tmp_path) as cloud:
        found = await cloud.series("onapp_collector_duration_seconds", panel="cp")

    assert {name.removeprefix("collector=") for name in found} == {
        *("inventory", "backups", "schedules", "transactions", "backup_servers")
    }


async def test_the_schedules_of_each_target_are_counted(tmp_path: Path) -> None:
    """By status, 0 included; with how many backups a schedule keeps."""
    world = backed_up(0.1)
    status: Any = "disabled"
    world.add_schedule("Disk", 101, status=status)
    async with monitored(Panel(world), tmp_path) as cloud:
        found = await cloud.series("onapp_target_schedules", vm_id=1, target_id=101)

    counts = {labels.split(",")[1]: count for labels, count in found.items()}
    assert counts == {"status=enabled": 1, "status=disabled": 1, "status=failed": 0}


def run_that_waits(servers: int = 1, *, failed: bool) -> SimulatedCloud:
    """Return servers with a run of thirty hours ago, and a log of far more since."""
    world = a_world(servers)
    for vm_id in world.servers:
        row = world.add_backup(vm_id, built=False, created_at=NOW - 30 * HOUR)
        world.add_transaction(
            status="failed" if failed else "running",
            server_id=vm_id,
            parent_id=row.id,
            updated_at=NOW - 29 * HOUR,
        )
    for _ in range(3000):
        world.add_transaction(status="complete", created_at=NOW - 10 * HOUR)
    return world


async def test_no_run_is_stuck_before_the_log_has_told_that_it_failed(
    tmp_path: Path,
) -> None:
    """After a start the own logs of many servers are read one after the other."""
    seen: dict[str, float] = {}
    async with monitored(Panel(run_that_waits(120, failed=True)), tmp_path) as cloud:
        pending = await cloud.series("onapp_target_oldest_pending_timestamp_seconds")
        for _ in range(6):
            seen |= await starts(cloud, "stuck_long")
            await cloud.advance(60)
        left = await cloud.series("onapp_target_oldest_pending_timestamp_seconds")

    assert len(pending) > 60
    assert not left
    assert not seen


@pytest.mark.parametrize(("status", "waits"), [(500, True), (403, False), (404, False)])
async def test_a_stuck_run_waits_an_hour_at_most_for_a_log_that_fails(
    status: int, *, waits: bool, tmp_path: Path
) -> None:
    """It waits for none that is refused."""
    panel = Panel(run_that_waits(failed=False))
    panel.faults.add(faults.status(status), resource="transactions")
    async with monitored(panel, tmp_path) as cloud:
        first = await starts(cloud, "stuck_long")
        await cloud.advance(HOUR + 60)
        later = await starts(cloud, "stuck_long")
        state = await state_of(cloud)

    assert later == {"101": -6.0}
    assert first == ({} if waits else later)
    assert state == "stuck_long"
