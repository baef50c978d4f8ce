"""Tests for what the page of one server says, over real sockets."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from faulty_panel import Panel
from harness import NOW, monitored
from looker import section, served, words_of
from stores import MONOTONIC, TIME, a_backup, a_panel, a_server, a_store

from exporter.demo.cloud.simulation import SimulatedCloud
from exporter.model.entities import RecoveryPoint, Schedule, Target, Transaction
from exporter.model.selection import Expectation
from exporter.model.store import PanelStore

DAY = 86_400.0
DISK = Target("Disk", 101)


async def page_words(panel: PanelStore) -> str:
    """Return the words of the page of its server 1."""
    async with served(a_store(panel)) as looker:
        code, text = await looker.get("/server", panel=panel.name, vm_id=1)

    assert code == 200

    return words_of(text)


def daily(ages: Iterable[int] = (4, 5, 6), **changes: Any) -> PanelStore:
    """Return a panel with a server that has backups of its disk of these ages."""
    panel = a_panel()
    expectation = Expectation(own_interval_seconds=DAY, backup_required=True)
    server = a_server(created_at=TIME - 90 * DAY, **changes)
    panel.register_server(1, server, expectation)
    rows = [
        a_backup(
            id=days,
            size_bytes=days * 1024**3,
            created_at=TIME - days * DAY - 60,
            built_at=TIME - days * DAY,
        )
        for days in ages
    ]
    panel.record_backups(1, tuple(rows), time=TIME, monotonic=MONOTONIC)
    return panel


async def test_what_is_wrong_comes_first_with_what_to_do() -> None:
    """Since when, and why with figures, before any fact about the server."""
    words = await page_words(daily())
    first = section(words, "What is wrong")

    assert words.index("What is wrong") < words.index("Identifier")
    assert first.split(" What to do: ")[0] == (
        "Very stale disk 101: overdue by 3 d; since 1 d 9 h ago"
        " 2027-01-13 23:00 UTC OnAppBackupVeryStale"
    )
    assert "see in the panel's log why no backup run of the target succeeded" in first


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"suspended": True}, "It is suspended: its backups are not judged."),
        ({}, "Nothing."),
    ],
)
async def test_a_server_with_nothing_wrong_says_so(
    changes: dict[str, Any], expected: str
) -> None:
    """Not an empty section, which could be an error of the page."""
    panel = daily(**changes)
    if not changes:
        panel.record_backups(1, (a_backup(),), time=TIME, monotonic=MONOTONIC)

    assert section(await page_words(panel), "What is wrong").strip() == expected


async def test_the_sizes_of_each_target_are_drawn_and_told() -> None:
    """Whoever does not see the picture reads the same."""
    sizes = section(await page_words(daily()), "Sizes")

    assert sizes.startswith(
        "disk 101: 3 sizes, between 4.0 GiB and 6.0 GiB, the newest 4.0 GiB"
        " disk 101: 4.0 GiB to 6.0 GiB, the newest 4.0 GiB; 3 restore points since 6 d"
    )


async def test_the_newest_sixty_sizes_are_drawn() -> None:
    """The list of backups has the older ones."""
    sizes = section(await page_words(daily(range(1, 62))), "Sizes")

    assert sizes.startswith("disk 101: 60 sizes, between 1.0 GiB and 60.0 GiB, ")


async def test_schedules_have_status_next_run_and_failures() -> None:
    """A disabled one has no next run, whatever the panel says."""
    panel = daily()
    enabled = Schedule(
        *(7, "autobackup", DISK, "days", 2, "enabled", TIME + 7200, 3, 10),
        failed_runs=(TIME - DAY, TIME - 7200),
    )
    disabled = Schedule(8, "autobackup", DISK, "weeks", 1, "disabled", TIME + 60, 0)
    panel.record_schedules(1, (enabled, disabled), TIME)
    words = section(await page_words(panel), "Schedules")

    assert words.partition("Failures ")[2].strip() == (
        "7 disk 101 enabled 2 d keeps 10 backups in 2 h 2027-01-15 10:00 UTC"
        " 3, the last 2 h ago 2027-01-15 06:00 UTC"
        " 8 disk 101 disabled 7 d none none"
    )


async def test_lists_that_were_not_read_are_not_empty() -> None:
    """Only a list that was read can be called empty."""
    unread, empty, old = daily(), daily(), daily()
    for panel in (unread, empty, old):
        panel.recovery_points_enabled = True
    unread.update(1, "recovery_points", None)
    empty.record_schedules(1, (), TIME)
    empty.update(1, "recovery_points", ())
    schedule = Schedule(7, "autobackup", DISK, "days", 1, "enabled", TIME + 60, 0)
    old.record_schedules(1, (schedule,), TIME)
    old.update(1, "schedules", None)
    old.update(
        1,
        "recovery_points",
        (RecoveryPoint(31, 1024**3, built=True, created_at=TIME - 60),),
    )
    found = [await page_words(panel) for panel in (unread, empty, old)]

    assert "not read" in section(found[0], "Schedules")
    assert "not read" in section(found[0], "Recovery points")
    assert section(found[1], "Schedules").strip() == "None."
    assert section(found[1], "Recovery points").strip() == "None."
    assert section(found[2], "Schedules").strip().startswith("Too old to judge by")
    assert "31 built 1 min ago" in section(found[2], "Recovery points")
    assert "1.0 GiB" in section(found[2], "Recovery points")
    assert "Recovery points" not in await page_words(daily())


async def test_the_last_transactions_stand_with_those_in_progress(
    tmp_path: Path,
) -> None:
    """Of this server alone, the newest first, and only a few that ended."""
    world = SimulatedCloud(NOW)
    server, other = world.add_server(), world.add_server()
    panel = Panel(world)
    path = f"/server?panel=cp&vm_id={server.id}"
    async with monitored(panel, tmp_path) as cloud:
        _, none_yet, _ = await cloud.get(path)
        for status in ("complete",) * 12 + ("running",):
            row: dict[str, Any] = {"parent_id": 1001, "status": status}
            world.add_transaction(server_id=server.id, **row)
        world.add_transaction(server_id=other.id, parent_id=1002)
        await cloud.advance(120)
        _, page, _ = await cloud.get(path)
    words = section(words_of(page), "Last transactions")
    found = re.findall(r"(\d+) take_backup (\w+) (\d+)", words)

    assert "None in the part" in section(words_of(none_yet), "Last transactions")
    assert [status for _, status, _ in found] == ["running"] + ["complete"] * 8
    assert [int(number) for number, *_ in found] == sorted(
        (int(number) for number, *_ in found), reverse=True
    )


async def test_the_last_restore_is_a_fact(tmp_path: Path) -> None:
    """That completed, of this server alone; where none is known nothing is said."""
    world = SimulatedCloud(NOW)
    server, other = world.add_server(), world.add_server()
    restore: dict[str, Any] = {"action": "restore_backup", "parent_id": 1001}
    world.add_transaction(server_id=server.id, status="failed", **restore)
    async with monitored(Panel(world), tmp_path) as cloud:
        path = f"/server?panel=cp&vm_id={server.id}"
        _, failed, _ = await cloud.get(path)
        await cloud.advance(120)
        world.add_transaction(server_id=server.id, status="complete", **restore)
        world.add_transaction(server_id=other.id, status="complete", **restore)
        await cloud.advance(3600)
        _, page, _ = await cloud.get(path)
        at = await cloud.value(
            "onapp_vm_last_restore_timestamp_seconds", panel="cp", vm_id=server.id
        )
    facts = section(words_of(page), "Facts")

    assert at == NOW + 120
    assert "Last restore 1 h ago 2027-01-15 08:02 UTC of backup 1001" in facts
    assert "Last restore " not in section(words_of(failed), "Facts").replace(
        "Last restore point", ""
    )


async def test_without_the_log_transactions_are_not_known() -> None:
    """A collector that is off is no server without transactions."""
    words = section(await page_words(daily()), "Last transactions")

    assert words == "Not known: the log of transactions was not read."


async def test_each_of_the_last_days_is_good_failed_or_not_known() -> None:
    """A day whose backup may have been rotated away is not called missed."""
    panel = daily()
    for number, days in ((31, 1), (32, 4)):
        moment = TIME - days * DAY
        row = (number, "take_backup", "failed", 1, number, moment - 60, moment)
        unbuilt = a_backup(id=number, built=False, built_at=None)
        state = panel.servers[1].state
        rows = (*(state.backups or ()), unbuilt)
        panel.record_backups(1, rows, time=TIME, monotonic=MONOTONIC)
        panel.record_failed_backup(Transaction(*row))
    words = section(await page_words(panel), "Targets")

    assert "3 good, 1 failed, 10 not known; failed on 2027-01-14" in words
    assert "2027-01-11: good" in words
    assert "2027-01-15: not known" in words


async def test_a_failed_run_is_a_failed_day_also_where_its_row_is_gone() -> None:
    """The log of the schedule has it still."""
    panel = daily()
    schedule = Schedule(
        *(7, "autobackup", DISK, "days", 1, "enabled", TIME + 60, 2, 10),
        failed_runs=(TIME - 2 * DAY, TIME - DAY),
    )
    panel.record_schedules(1, (schedule,), TIME)
    words = section(await page_words(panel), "Targets")

    assert "3 good, 2 failed, 9 not known" in words
