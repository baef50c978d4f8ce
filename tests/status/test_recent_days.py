"""Tests for the last days of each target on a server's page, over days."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Literal

import faults
import pytest
from builders import ALL_PERMISSIONS, a_backup_row, answer_backups
from faulty_panel import Panel
from harness import (
    NOW,
    MonitoredCloud,
    SteppedClock,
    monitored,
    running_exporter,
    write_config,
)
from looker import section, words_of

from exporter.demo.cloud.simulation import SimulatedCloud
from exporter.model.store import ServerEntry

HOUR, DAY = 3600.0, 86_400.0
START = NOW + 4 * HOUR
"""2027-01-15 12:00 UTC, when the schedule of disk 101 first starts."""
SELDOM: dict[str, Any] = {
    "poll": {"interval": "1h", "max_age": "2h"},
    "discovery": {"interval": "10m"},
    "collectors": {"transactions": False},
}
"""For the panel: days take few requests."""
TODAY = datetime.fromtimestamp(NOW, UTC).date()
Change = Callable[[MonitoredCloud], Awaitable[None]]


def a_world(disks: int = 1, start_at: float = START, **habits: Any) -> SimulatedCloud:
    """Return a cloud with a server, each disk of which is backed up every day."""
    world = SimulatedCloud(NOW, **habits)
    server = world.add_server()
    for _ in range(disks - 1):
        world.add_disk(server.id)
    for disk in world.disks_of(server.id):
        world.add_schedule("Disk", disk.id, start_at=start_at, number=disk.id - 100)
    return world


async def page_of(cloud: MonitoredCloud) -> str:
    """Return the page of server 1."""
    status, page, _ = await cloud.get("/server?panel=cp&vm_id=1")
    assert status == 200
    return page


async def days_of(cloud: MonitoredCloud, disk: int = 101) -> dict[int, str]:
    """Return the known days of a disk, as days from the first one of the test."""
    rows = (await page_of(cloud)).split("<tr ")
    (row,) = (row for row in rows if f">disk {disk}</th>" in row and "strip" in row)
    found = re.findall(r"<title>([-\d]+): ([a-z ]+)</title>", row)

    assert len(found) == 14

    return {
        (datetime.fromisoformat(day).date() - TODAY) // timedelta(days=1): outcome
        for day, outcome in found
        if outcome != "not known"
    }


def asked_one_by_one(panel: Panel) -> Panel:
    """Return the panel, which refuses the schedules of all servers at once."""
    panel.faults.add(faults.forbidden(), path="/settings/(schedules|disks)")
    return panel


@pytest.mark.parametrize("lists", ["all at once", "one by one"])
@pytest.mark.parametrize("kind", ["skip", "stall"])
async def test_a_day_is_missing_once_its_start_has_passed_without_a_run(
    tmp_path: Path, kind: Literal["skip", "stall"], lists: str
) -> None:
    """Whether the panel shows the next start or still that one; after three hours."""
    world = a_world()
    failure = world.inject_failure(kind)
    panel = Panel(world)
    if lists == "one by one":
        asked_one_by_one(panel)
    keys: dict[str, Any] = {"collectors": {"transactions": lists == "all at once"}}
    async with monitored(panel, tmp_path, **keys) as cloud:
        await cloud.advance(START - NOW + 2.9 * HOUR)
        early = await days_of(cloud)
        await cloud.advance(0.5 * HOUR)
        found, words = await days_of(cloud), words_of(await page_of(cloud))
        world.end_failure(failure)

    assert early == {}
    assert found == {0: "missing"}
    assert "1 missing, 13 not known; missing on 2027-01-15" in words


async def test_a_run_that_comes_late_ends_a_missing_day(tmp_path: Path) -> None:
    """On the day itself; the next day's is that day's."""
    world = a_world()
    world.inject_failure("skip", times=2)
    async with monitored(Panel(world), tmp_path, **SELDOM) as cloud:
        await cloud.advance(START - NOW + 4 * HOUR)
        missing = await days_of(cloud)
        world.take_backup("Disk", 101)
        await cloud.advance(HOUR)
        late = await days_of(cloud)
        await cloud.advance(DAY)
        next_day = await days_of(cloud)
        await cloud.advance(DAY)

        assert missing == {0: "missing"}
        assert late == {0: "good"}
        assert next_day == {0: "good", 1: "missing"}
        assert await days_of(cloud) == {0: "good", 1: "missing", 2: "good"}


async def test_what_was_seen_stays_for_fourteen_days(tmp_path: Path) -> None:
    """Rotation keeps one backup of a disk, and the log the newest failure."""
    world = a_world()
    async with monitored(Panel(world), tmp_path, **SELDOM) as cloud:
        await cloud.advance(DAY)
        world.inject_failure("fail")
        await cloud.advance(2 * DAY)
        world.inject_failure("skip")
        await cloud.advance(DAY)
        world.inject_failure("fail")
        await cloud.advance(2 * DAY)
        found = await days_of(cloud)
        built = [backup for backup in world.backups_of(1) if backup.built]
        await cloud.advance(11 * DAY)
        later = await days_of(cloud)

    assert len(built) == 1
    outcomes = ("good", "failed", "good", "missing", "failed", "good")
    assert found == dict(enumerate(outcomes))
    assert later == {4: "failed"} | dict.fromkeys(range(5, 17), "good")


async def test_each_disk_has_days_of_its_own(tmp_path: Path) -> None:
    """A run of one is none of the other."""
    world = a_world(disks=2)
    world.inject_failure("skip", target=("Disk", 102))
    async with monitored(Panel(world), tmp_path) as cloud:
        await cloud.advance(START - NOW + 4 * HOUR)

        assert await days_of(cloud, 101) == {0: "good"}
        assert await days_of(cloud, 102) == {0: "missing"}


async def _disabled_before(cloud: MonitoredCloud) -> None:
    await cloud.advance(START - NOW - HOUR)
    cloud.world.change_schedule(1, status="disabled")


async def _disabled_after(cloud: MonitoredCloud) -> None:
    cloud.world.inject_failure("skip")
    await cloud.advance(START - NOW + HOUR)
    cloud.world.change_schedule(1, status="disabled")


async def _put_off(cloud: MonitoredCloud) -> None:
    world = cloud.world
    later = START + DAY
    world.call_at(START - 1, lambda: world.change_schedule(1, start_at=later))


async def _removed(cloud: MonitoredCloud) -> None:
    cloud.world.call_at(START - 1, lambda: cloud.world.remove_schedule(1))


async def _suspended(cloud: MonitoredCloud) -> None:
    server = cloud.world.servers[1]
    cloud.world.call_at(START - 1, lambda: setattr(server, "suspended", True))


async def _suspended_for_a_while(cloud: MonitoredCloud) -> None:
    """Suspend it over the start, and no longer when its backups are read next."""
    await _suspended(cloud)
    await cloud.advance(START - NOW + 0.4 * HOUR)
    cloud.world.servers[1].suspended = False


async def _schedules_refused(cloud: MonitoredCloud) -> None:
    cloud.world.inject_failure("skip")
    await cloud.advance(START - NOW - HOUR)
    cloud.panel.permissions = ALL_PERMISSIONS - {"schedules.read"}


async def _not_read(
    cloud: MonitoredCloud, resource: Literal["backups"] | None = None
) -> None:
    cloud.world.inject_failure("skip")
    await cloud.advance(START - NOW - HOUR)
    outage = cloud.panel.faults.add(faults.status(500), resource=resource)
    await cloud.advance(5 * HOUR)
    outage.remove()


async def _inventory_not_read(cloud: MonitoredCloud) -> None:
    """Let nothing tell that the server is not suspended."""
    cloud.world.inject_failure("skip")
    await cloud.advance(START - NOW - HOUR)
    cloud.panel.faults.add(faults.status(500), resource="virtual_machines")


async def _schedules_not_read(cloud: MonitoredCloud) -> None:
    cloud.world.inject_failure("skip")
    await cloud.advance(START - NOW + 2.5 * HOUR)
    cloud.panel.faults.add(faults.status(500), resource="schedules")


async def _failure_counted(cloud: MonitoredCloud) -> None:
    """Let nothing but the number of failures tell of a run."""
    cloud.world.inject_failure("skip")
    await cloud.advance(START - NOW + HOUR)
    cloud.world.schedules[1].failure_count += 1


async def _log_not_read(cloud: MonitoredCloud) -> None:
    cloud.world.inject_failure("skip")
    await cloud.advance(START - NOW + HOUR)
    cloud.panel.faults.add(faults.status(500), resource="transactions")


async def _not_read_for_a_day(cloud: MonitoredCloud) -> None:
    """Let rotation have had the time to delete what came late."""
    cloud.world.inject_failure("skip", times=2)
    await cloud.advance(START - NOW + 1.5 * HOUR)
    outage = cloud.panel.faults.add(faults.status(500), resource="backups")
    await cloud.advance(DAY)
    outage.remove()
    await cloud.advance(2 * HOUR)


async def _pending(cloud: MonitoredCloud) -> None:
    cloud.world.slots = 0


async def _cancelled(cloud: MonitoredCloud) -> None:
    await _pending(cloud)
    await cloud.advance(START - NOW + HOUR)
    (backup,) = cloud.world.backups_of(1)
    cloud.world.cancel_backup(backup.id)


async def _deleted(cloud: MonitoredCloud) -> None:
    """Delete the row of a run that was seen, and what the log has of it."""
    await _cancelled(cloud)
    (backup,) = cloud.world.backups_of(1)
    cloud.world.drop_backup(backup.id)
    cloud.world.transactions.clear()


async def _only_in_the_log(cloud: MonitoredCloud, status: str = "complete") -> None:
    """Let a run be in the log, of a backup that is not listed."""
    cloud.world.inject_failure("skip")
    await cloud.advance(START - NOW + HOUR)
    row: dict[str, Any] = {"action": "take_backup", "status": status}
    cloud.world.add_transaction(server_id=1, parent_id=9999, **row)


async def _undated(cloud: MonitoredCloud) -> None:
    """Let the panel tell no date of a backup."""
    cloud.world.inject_failure("skip")
    row = a_backup_row(created_at=None, built_at=None)
    answer_backups(cloud.panel, "json", row)


async def _failed(cloud: MonitoredCloud) -> None:
    cloud.world.inject_failure("fail")


async def _failed_without_row(cloud: MonitoredCloud) -> None:
    cloud.world.inject_failure("vanish")


async def _good(cloud: MonitoredCloud) -> None:
    """Leave all as it is."""


NOT_MISSING: dict[str, tuple[Change, str | None]] = {
    "disabled before": (_disabled_before, None),
    "disabled after": (_disabled_after, None),
    "put off just before": (_put_off, None),
    "removed": (_removed, None),
    "suspended": (_suspended, None),
    "suspended for a while": (_suspended_for_a_while, None),
    "schedules refused": (_schedules_refused, None),
    "panel not read": (_not_read, None),
    "backups not read": (partial(_not_read, resource="backups"), None),
    "inventory not read": (_inventory_not_read, None),
    "schedules not read": (_schedules_not_read, None),
    "failure counted": (_failure_counted, None),
    "log not read": (_log_not_read, None),
    "backups not read for a day": (_not_read_for_a_day, None),
    "pending": (_pending, None),
    "cancelled": (_cancelled, None),
    "run no longer listed": (_deleted, None),
    "in the log only": (_only_in_the_log, None),
    "pending in the log only": (partial(_only_in_the_log, status="running"), None),
    "failed in the log only": (partial(_only_in_the_log, status="failed"), None),
    "without a date": (_undated, None),
    "failed": (_failed, "failed"),
    "failed, its row gone": (_failed_without_row, "failed"),
    "good": (_good, "good"),
}
WITH_LOG = {
    *("cancelled", "run no longer listed", "failed, its row gone", "log not read"),
    *("in the log only", "pending in the log only", "failed in the log only"),
}
"""Cases that need the log of transactions."""


@pytest.mark.parametrize("case", NOT_MISSING)
async def test_in_doubt_no_day_is_missing(tmp_path: Path, case: str) -> None:
    """A run belongs to it, none was to start, or this process did not see the start."""
    change, outcome = NOT_MISSING[case]
    keys = {} if case in WITH_LOG else SELDOM
    async with monitored(Panel(a_world()), tmp_path, **keys) as cloud:
        await change(cloud)
        await cloud.advance(START + 5 * HOUR - cloud.clock.time())

        assert await days_of(cloud) == ({} if outcome is None else {0: outcome})


async def test_while_a_run_is_pending_no_later_day_is_missing(tmp_path: Path) -> None:
    """The panel starts no other before it has ended."""
    world = a_world(start_update="begin")
    world.inject_failure("stick")
    async with monitored(Panel(world), tmp_path, **SELDOM) as cloud:
        await cloud.advance(2 * DAY)
        (schedule,) = world.schedules.values()

        assert schedule.start_at == START + DAY
        assert await days_of(cloud) == {}


async def test_a_run_after_midnight_belongs_to_a_start_before_it(
    tmp_path: Path,
) -> None:
    """It waited in the queue; the day on which it ended is the good one."""
    midnight = NOW + 16 * HOUR
    world = a_world(start_at=midnight - HOUR)
    world.inject_failure("skip")
    async with monitored(Panel(world), tmp_path, **SELDOM) as cloud:
        await cloud.advance(17 * HOUR)
        world.take_backup("Disk", 101)
        await cloud.advance(5 * HOUR)

        assert await days_of(cloud) == {1: "good"}


async def test_a_start_before_the_exporter_was_started_is_not_missing(
    tmp_path: Path,
) -> None:
    """It may have had a run that rotation has deleted since."""
    world = SimulatedCloud(NOW)
    world.add_server(disks=2)
    world.inject_failure("stall")
    world.add_schedule("Disk", 101, start_at=NOW - HOUR)
    async with monitored(Panel(world), tmp_path, **SELDOM) as cloud:
        await cloud.advance(HOUR)
        world.take_backup("Disk", 102)
        await cloud.advance(8 * HOUR)

        assert await days_of(cloud) == {}


async def test_a_restart_knows_of_no_missing_day(tmp_path: Path) -> None:
    """Neither of one before it, nor of a start that is overdue since; a reload does."""
    world = a_world()
    world.inject_failure("stall")
    panel = Panel(world)
    clock = SteppedClock(NOW)
    panel.clock = clock.time
    file = tmp_path / "onapp.yml"
    found = []
    async with panel:
        write_config(file, panel, {}, {})
        async with running_exporter(panel, file, clock) as cloud:
            await cloud.advance(START - NOW + 4 * HOUR)
            found.append(await days_of(cloud))
            status, _, _ = await cloud.get("/-/reload", method="POST")
            await cloud.advance(HOUR)
            found.append(await days_of(cloud))
        async with running_exporter(panel, file, clock) as cloud:
            await cloud.advance(8 * HOUR)
            found.append(await days_of(cloud))

    assert status == 200
    assert found == [{0: "missing"}, {0: "missing"}, {}]


async def test_days_keep_their_outcome_when_the_clock_is_set_back(
    tmp_path: Path,
) -> None:
    """A host's clock may be days ahead before it is synchronized."""
    panel, clock = Panel(a_world()), SteppedClock(NOW + 3 * DAY)
    panel.clock = lambda: NOW + clock.elapsed
    file = tmp_path / "onapp.yml"
    async with panel:
        write_config(file, panel, {}, SELDOM)
        async with running_exporter(panel, file, clock) as cloud:
            await cloud.advance(DAY)
            ahead = await days_of(cloud)
            clock.start = NOW
            at_once = await days_of(cloud)
            await cloud.advance(2 * HOUR)
            later = await days_of(cloud)

    assert ahead == at_once == later == {0: "good"}


def _remembered(entry: ServerEntry) -> set[int]:
    return {each.target.id for each in (entry.days.targets if entry.days else ())}


async def test_the_days_of_a_disk_go_with_it(tmp_path: Path) -> None:
    """And those of a server that is another under the same number."""
    world = a_world(disks=2)
    world.inject_failure("skip", times=2)
    async with monitored(Panel(world), tmp_path) as cloud:
        await cloud.advance(START - NOW + 4 * HOUR)
        entries = cloud.exporter.store.panels["cp"].servers
        before = _remembered(entries[1])
        world.remove_disk(102)
        await cloud.advance(HOUR)
        after = _remembered(entries[1])
        world.servers[1].identifier = "another-one"
        world.servers[1].created_at = world.now
        await cloud.advance(HOUR)

        assert (before, after) == ({101, 102}, {101})
        assert await days_of(cloud) == {}


async def test_each_outcome_is_explained(tmp_path: Path) -> None:
    """Colours alone would not do."""
    async with monitored(Panel(a_world()), tmp_path) as cloud:
        words = section(words_of(await page_of(cloud)), "Targets")

    assert "Days in UTC, the last one is today: good, failed, missing (a" in words
