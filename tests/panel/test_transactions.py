"""Transactions on ``/metrics``: what really happened, counted once, shown at once."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import faults
import pytest
from aiohttp.web import Response, StreamResponse
from builders import in_both_formats
from faults import ActiveFault, Fault, FaultContext, Proceed
from faulty_panel import Panel
from harness import NOW, MonitoredCloud, Start, series

from exporter.demo.cloud.rows import Transaction, TransactionStatus
from exporter.demo.cloud.simulation import SimulatedCloud
from exporter.model.selection import Shard
from exporter.polling.jobs import Priority

HOUR, DAY = 3600.0, 86_400.0
ACTIONS = (
    "take_backup",
    "take_incremental_backup",
    "restore_backup",
    "restore_incremental_backup",
    "convert_backup",
    "destroy_backup",
)
FINAL: tuple[TransactionStatus, ...] = ("complete", "failed", "cancelled")


def a_world(servers: int = 1) -> SimulatedCloud:
    """Return a world with servers whose first disk is 100 + their number."""
    world = SimulatedCloud(NOW)
    for _ in range(servers):
        world.add_server(created_at=NOW - 100 * DAY)
    return world


def ended(text: str) -> dict[tuple[str, str], float]:
    """Return the counters that are not 0, by action and status."""
    found = {}
    for action in ACTIONS:
        for key, value in series(
            text, "onapp_transactions_total", panel="cp", action=action
        ).items():
            if value:
                found[action, key.rpartition("status=")[2]] = value
    return found


async def test_every_counter_starts_at_zero(start: Start) -> None:
    """All six actions in all three final statuses; what was before counts nothing."""
    world = a_world()
    for action in ACTIONS:
        for status in FINAL:
            world.add_transaction(action=action, status=status, server_id=1)

    async with start(world) as cloud:
        text = await cloud.metrics()

    assert len(series(text, "onapp_transactions_total")) == 18
    assert not ended(text)
    assert "# TYPE onapp_transactions_total counter" in text


@pytest.mark.parametrize("status", FINAL)
async def test_a_transaction_counts_when_it_ends(
    start: Start, status: TransactionStatus
) -> None:
    """Once, however often it is seen, and whether it was seen pending or not."""
    world = a_world()

    async with start(world) as cloud:
        slow = [
            world.add_transaction(action=action, status="pending", server_id=1)
            for action in ACTIONS
        ]
        for action in ACTIONS:
            world.add_transaction(action=action, status=status, server_id=1)
        await cloud.advance(120)
        before = await cloud.metrics()
        for task in slow:
            task.status = status
        await cloud.advance(300)
        after = await cloud.metrics()

    def pending(text: str) -> set[float]:
        return set(series(text, "onapp_transactions_pending").values())

    assert ended(before) == {(action, status): 1 for action in ACTIONS}
    assert pending(before) == {1}
    assert ended(after) == {(action, status): 2 for action in ACTIONS}
    assert pending(after) == {0}


@in_both_formats
async def test_pending_ones_show_with_the_oldest(form: str, start: Start) -> None:
    """Waiting and running ones count; other actions of the panel do not."""
    world = a_world()
    for ago, status in ((5000, "running"), (9000, "pending"), (100, "pending")):
        world.add_transaction(status=status, server_id=1, created_at=NOW - ago)  # type: ignore[arg-type]
    world.add_transaction(action="startup_virtual_machine", status="running")

    async with start(world, format=form) as cloud:
        text = await cloud.metrics()

    pending = series(text, "onapp_transactions_pending", panel="cp")
    assert pending.pop("action=take_backup") == 3
    assert set(pending.values()) == {0}
    assert series(text, "onapp_transactions_oldest_pending_timestamp_seconds") == {
        "action=take_backup,panel=cp": NOW - 9000
    }


async def test_one_found_pending_at_the_start_counts_when_it_ends(
    start: Start,
) -> None:
    """Though it lies many pages down in the log by then."""
    world = a_world()
    world.add_transaction(number=1, action="destroy_backup", server_id=1)
    old = world.add_transaction(number=2, status="running", server_id=1)
    for number in range(3, 40):
        world.add_transaction(number=number, action="edit_disk")
    panel = Panel(world, per_page_cap=5)

    async with start(panel) as cloud:
        for number in range(40, 80):
            world.add_transaction(number=number, action="edit_disk")
        await cloud.advance(60)
        waiting = await cloud.value("onapp_transactions_pending", action="take_backup")
        panel.requests.clear()
        await cloud.advance(60)
        asked = [a for a in panel.requests if a.resource == "transactions"]
        old.status = "failed"
        await cloud.advance(60)
        text = await cloud.metrics()

    assert waiting == 1
    assert len(asked) == 2, "the head, and the page where it was last"
    assert ended(text) == {("take_backup", "failed"): 1}


async def test_a_burst_larger_than_a_page_is_counted_whole(start: Start) -> None:
    """Pages are read back to what is known, and rows that slide on count once."""
    world = a_world()
    world.add_transaction(status="complete", server_id=1)

    async with start(world) as cloud:
        for _ in range(250):
            world.add_transaction(status="complete", server_id=1)
        await cloud.advance(60)
        text = await cloud.metrics()

    assert ended(text) == {("take_backup", "complete"): 250}


async def test_one_that_vanishes_is_no_longer_pending(start: Start) -> None:
    """An administrator may clean the log; nobody knows how it ended."""
    world = a_world()
    world.add_transaction(status="complete", server_id=1)
    gone = world.add_transaction(status="running", server_id=1)
    world.add_transaction(status="complete", server_id=1)

    async with start(world) as cloud:
        del world.transactions[gone.id]
        await cloud.advance(120)
        text = await cloud.metrics()

    assert not ended(text)
    assert not series(text, "onapp_transactions_oldest_pending_timestamp_seconds")


@pytest.mark.parametrize("emptied", [True, False])
async def test_a_cleaned_log_counts_nothing_twice(
    start: Start, *, emptied: bool
) -> None:
    """Ids go on where they were."""
    world = a_world()
    for _ in range(30):
        world.add_transaction(status="complete", server_id=1)

    async with start(Panel(world, per_page_cap=10)) as cloud:
        world.add_transaction(status="complete", server_id=1)
        await cloud.advance(60)
        kept = [] if emptied else list(world.transactions)[5:12]
        world.transactions = {n: world.transactions[n] for n in kept}
        await cloud.advance(60)
        world.add_transaction(status="failed", server_id=1, created_at=world.now)
        await cloud.advance(60)
        text = await cloud.metrics()

    assert ended(text) == {
        ("take_backup", "complete"): 1,
        ("take_backup", "failed"): 1,
    }


async def test_a_log_that_begins_anew_is_followed(start: Start) -> None:
    """Lower ids of later transactions are new ones, not known ones."""
    world = a_world()
    for number in range(900, 930):
        world.add_transaction(number=number, status="complete", server_id=1)
    world.add_transaction(number=930, status="running", server_id=1)

    async with start(Panel(world, per_page_cap=10)) as cloud:
        await cloud.advance(60)
        world.transactions.clear()
        for number in (1, 2, 3):
            world.add_transaction(
                number=number,
                status="complete",
                server_id=1,
                created_at=world.now + number,
            )
        await cloud.advance(60)
        first = ended(await cloud.metrics())
        world.add_transaction(number=4, status="failed", server_id=1)
        world.transactions[4].created_at = world.now + 1
        await cloud.advance(120)
        text = await cloud.metrics()

    assert first == {("take_backup", "complete"): 3}
    assert ended(text) == {
        ("take_backup", "complete"): 3,
        ("take_backup", "failed"): 1,
    }
    assert not series(text, "onapp_transactions_oldest_pending_timestamp_seconds")


@pytest.mark.parametrize("seed", range(2))
async def test_each_counts_once_in_any_rhythm(start: Start, seed: int) -> None:
    """Whatever begins and ends between two readings, and however many there are."""
    rng = random.Random(seed)  # noqa: S311  # no secret
    world = a_world(3)
    truth: Counter[tuple[str, str]] = Counter()
    under_way = []

    async with start(Panel(world, per_page_cap=7), poll={"interval": "7m"}) as cloud:
        for _ in range(25):
            for _ in range(rng.choice((0, 1, 3, 30))):
                task = world.add_transaction(
                    action=rng.choice((*ACTIONS, "edit_disk")),
                    status="pending",
                    server_id=rng.choice((1, 2, 3)),
                )
                under_way.append(task)
            rng.shuffle(under_way)
            for _ in range(rng.randrange(len(under_way) + 1)):
                task = under_way.pop()
                task.status = rng.choice(FINAL)
                if task.action in ACTIONS:
                    truth[task.action, task.status] += 1
            await cloud.advance(rng.choice((60, 61, 300)))
        await cloud.advance(60)
        text = await cloud.metrics()

    assert ended(text) == truth
    pending = sum(task.action in ACTIONS for task in under_way)
    assert sum(series(text, "onapp_transactions_pending").values()) == pending


async def test_a_restarted_exporter_counts_from_zero_and_knows_the_moments(
    start: Start,
) -> None:
    """What was before the start sets the timestamps only."""
    world = a_world()
    row = world.add_backup(1, built=False, created_at=NOW - 500)
    world.add_transaction(
        status="failed", server_id=1, parent_id=row.id, updated_at=NOW - 300
    )

    for _ in range(2):
        async with start(Panel(world)) as cloud:
            text = await cloud.metrics()

        assert not ended(text)
        assert series(text, "onapp_target_last_failed_timestamp_seconds") == {
            "panel=cp,target_id=101,target_type=Disk,vm_id=1": NOW - 300
        }
        assert series(text, "onapp_vm_last_failed_backup_timestamp_seconds") == {
            "panel=cp,vm_id=1": NOW - 300
        }


async def test_a_reload_keeps_the_counters(start: Start) -> None:
    """A changed panel goes on counting, and counts nothing twice."""
    world = a_world()

    async with start(world) as cloud:
        world.add_transaction(status="complete", server_id=1)
        await cloud.advance(60)
        cloud.file.write_text(cloud.file.read_text() + "  expected_interval: 3d\n")
        status, output, _ = await cloud.get("/-/reload", method="POST")
        assert status == 200, output
        world.add_transaction(status="complete", server_id=1)
        await cloud.advance(60)
        text = await cloud.metrics()

    assert ended(text) == {("take_backup", "complete"): 2}


async def test_a_failed_take_without_a_row_counts_for_the_server_only(
    start: Start,
) -> None:
    """Other failures, such as of a restore, set no such moment."""
    world = a_world(2)
    world.add_transaction(
        action="take_incremental_backup",
        status="failed",
        server_id=1,
        parent_id=77,
        updated_at=NOW - 50,
    )
    world.add_transaction(action="restore_backup", status="failed", server_id=2)

    async with start(world) as cloud:
        text = await cloud.metrics()

    assert series(text, "onapp_vm_last_failed_backup_timestamp_seconds") == {
        "panel=cp,vm_id=1": NOW - 50
    }
    assert not series(text, "onapp_target_last_failed_timestamp_seconds")


async def test_a_take_that_fails_and_loses_its_row_is_known_by_its_target(
    start: Start,
) -> None:
    """The row was read while it was pending; that is remembered."""
    world = a_world()
    world.add_backup(1, created_at=NOW - DAY)
    world.inject_failure("vanish")

    async with start(world) as cloud:
        world.take_backup("Disk", 101)
        await cloud.advance(1500)
        text = await cloud.metrics()
        (failed,) = (e for e in world.event_log if e.kind == "backup failed")

    assert ended(text) == {("take_backup", "failed"): 1}
    assert series(text, "onapp_target_backups", state="unbuilt") == {
        "panel=cp,target_id=101,target_type=Disk,vm_id=1": 0
    }
    assert series(text, "onapp_target_last_failed_timestamp_seconds") == {
        "panel=cp,target_id=101,target_type=Disk,vm_id=1": failed.at
    }


@pytest.mark.parametrize("seen", ["before the start", "while it waits"])
async def test_a_cancelled_run_is_pending_no_more(start: Start, seen: str) -> None:
    """Its row may stay unbuilt for ever: it hides neither another nor a late start."""
    world = a_world(2)
    world.inject_failure("stall")
    world.add_schedule("Disk", 101, start_at=NOW - 9 * HOUR)
    world.add_schedule("Disk", 102, start_at=NOW + 9 * HOUR)
    waiting, cancelled, alone = (
        world.add_backup(server, created_at=NOW - hours * HOUR, built=False)
        for server, hours in ((2, 30), (2, 28), (1, 25))
    )

    runs = [
        world.add_transaction(
            status="cancelled" if seen == "before the start" else "running",
            server_id=row.server_id,
            parent_id=row.id,
            created_at=row.created_at,
        )
        for row in (alone, cancelled)
    ]
    async with start(world) as cloud:
        for run in runs:
            run.status, run.updated_at = "cancelled", world.now
        await cloud.advance(2000)
        text = await cloud.metrics()
        _, answer, _ = await cloud.get("/api/v1/status")

    assert series(text, "onapp_target_oldest_pending_timestamp_seconds") == {
        "panel=cp,target_id=102,target_type=Disk,vm_id=2": waiting.created_at
    }
    assert series(text, "onapp_target_oldest_unbuilt_timestamp_seconds", vm_id=1)
    assert not series(text, "onapp_target_last_failed_timestamp_seconds")
    assert not series(text, "onapp_vm_last_failed_backup_timestamp_seconds")
    assert {
        server["vm_id"]: {problem["state"] for problem in server["problems"]}
        for server in json.loads(answer)["servers"]
    } == {"1": {"unprotected", "schedule_overdue"}, "2": {"stuck_long", "awaited"}}


async def test_a_change_shows_within_about_a_minute(start: Start) -> None:
    """A backup that begins, ends or is destroyed, though servers are read seldom."""
    world = a_world(3)
    world.backup_queue.queue_delay_seconds = (30.0, 31.0)

    async with start(world, poll={"interval": "6h"}) as cloud:
        await cloud.advance(1000)
        cloud.panel.requests.clear()
        backup = world.take_backup("Disk", 102)
        await cloud.advance(75)
        begun = await cloud.series("onapp_vm_backups", panel="cp", state="unbuilt")
        while not backup.built:
            await cloud.advance(10)
        await cloud.advance(75)
        built = await cloud.series("onapp_vm_backups", panel="cp", state="built")
        world.add_transaction(action="destroy_backup", parent_id=backup.id, server_id=2)
        world.drop_backup(backup.id)
        await cloud.advance(75)
        gone = await cloud.series("onapp_vm_backups", panel="cp", state="built")
        read = {a.server_id for a in cloud.panel.requests if a.resource == "backups"}

    assert begun == {"vm_id=1": 0, "vm_id=2": 1, "vm_id=3": 0}
    assert built == {"vm_id=1": 0, "vm_id=2": 1, "vm_id=3": 0}
    assert gone == {"vm_id=1": 0, "vm_id=2": 0, "vm_id=3": 0}
    assert read == {2}, "the others had no reason to be read"


async def test_a_server_is_never_read_twice_at_once(start: Start) -> None:
    """One that changes while it is being read is read again afterwards."""
    world = a_world()
    panel = Panel(world)

    async with start(panel, poll={"interval": "10m"}) as cloud:
        queue = cloud.exporter.manager.panel_tasks["cp"].poller.queue
        now = cloud.clock.monotonic()
        queue.run_soon(1, now)
        first = queue.first(Priority.SERVER)
        assert first is not None
        queue.start(first)
        queue.run_soon(1, now)
        during = queue.first(Priority.SERVER)
        queue.end(first, now)
        again = queue.first(Priority.SERVER)
        queue.start(first)
        queue.end(first, now)

        assert (during is first, again is first) == (False, True)
        assert first.number == 1
        assert first.due > now


@pytest.mark.parametrize("code", [403, 404])
async def test_refused_transactions_are_left_alone(
    start: Start, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line in the log, the collector at 0, a try an hour, nothing else."""
    world = a_world()
    world.add_backup(1, created_at=NOW - DAY)
    panel = Panel(world)
    problem = panel.faults.add(faults.status(code), resource="transactions")

    async with start(panel) as cloud:
        await cloud.advance(3500)
        text = await cloud.metrics()
        asked = [a for a in panel.requests if a.resource == "transactions"]
        lines = [n for n in capsys.readouterr().out.splitlines() if "collector" in n]
        problem.remove()
        await cloud.advance(3700)
        fixed = await cloud.metrics()

    assert len(asked) == 1
    assert len(lines) == 1
    reported = series(text, "onapp_collector_success", panel="cp")
    assert reported.pop("collector=transactions") == 0
    assert set(reported.values()) == {1}
    assert not series(text, "onapp_transactions_pending")
    assert series(text, "onapp_up") == {"panel=cp": 1}
    assert series(fixed, "onapp_transactions_pending")


async def test_a_failed_reading_is_made_up_for(start: Start) -> None:
    """What happened meanwhile counts; pending ones are not claimed for ever."""
    world = a_world()

    async with start(world) as cloud:
        problem = cloud.panel.faults.add(faults.html_error(), resource="transactions")
        for _ in range(5):
            world.add_transaction(status="complete", server_id=1)
            await cloud.advance(1000)
        meanwhile = await cloud.metrics()
        problem.remove()
        await cloud.advance(60)
        text = await cloud.metrics()

    assert not ended(meanwhile)
    assert not series(meanwhile, "onapp_transactions_pending")
    assert ended(text) == {("take_backup", "complete"): 5}


async def test_a_server_that_is_found_later_has_its_failures(start: Start) -> None:
    """A backup may fail before the next inventory lists the server."""
    world = a_world()

    async with start(world) as cloud:
        world.add_server()
        world.add_transaction(
            status="failed", server_id=2, created_at=world.now, updated_at=world.now
        )
        failed_at = world.now
        await cloud.advance(700)
        reported = await cloud.series("onapp_vm_last_failed_backup_timestamp_seconds")

    assert reported == {"panel=cp,vm_id=2": failed_at}


async def test_each_transaction_counts_on_exactly_one_shard(start: Start) -> None:
    """Also those of no server."""
    world = a_world(9)
    total: Counter[tuple[str, str]] = Counter()
    pending = 0.0
    for number in range(3):
        world.transactions.clear()
        async with start(Panel(world), shard=Shard(number, 3)) as cloud:
            for server_id in (*range(1, 10), None):
                world.add_transaction(status="complete", server_id=server_id)
                world.add_transaction(status="pending", server_id=server_id)
            await cloud.advance(60)
            text = await cloud.metrics()
        total.update(ended(text))
        pending += sum(series(text, "onapp_transactions_pending").values())

    assert total == {("take_backup", "complete"): 10}
    assert pending == 10


async def test_only_named_servers_count_when_servers_are_named(start: Start) -> None:
    """Others are not this exporter's business."""
    world = a_world(3)

    async with start(world, virtual_machines=[2]) as cloud:
        for server_id in (1, 2, 3):
            world.add_transaction(status="complete", server_id=server_id)
        await cloud.advance(60)
        text = await cloud.metrics()

    assert ended(text) == {("take_backup", "complete"): 1}


async def test_transactions_can_be_switched_off(start: Start) -> None:
    """Then nothing is asked, and no family of theirs is there."""
    async with start(a_world(), collectors={"transactions": False}) as cloud:
        text = await cloud.metrics()
        resources = {asked.resource for asked in cloud.panel.requests}

    assert "onapp_transactions" not in text
    assert "transactions" not in resources


async def test_logs_and_secrets_never_leave_the_process(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither ``log_output`` nor addresses nor passwords, on any page or in the log."""
    world = a_world()
    world.inject_failure("fail")
    world.add_schedule("Disk", 101, start_at=NOW + 60)
    world.add_backup_server("store", 10)
    world.add_transaction(
        status="failed", server_id=1, log_output="lvcreate at 10.200.7.31", params={}
    )
    panel = Panel(world)

    async with start(panel) as cloud:
        await cloud.advance(1000)
        panel.faults.add(faults.bad_rows(), resource="transactions")
        panel.faults.add(faults.bad_rows(), resource="schedules")
        await cloud.advance(1000)
        pages = [(await cloud.get(path))[1] for path in ("/metrics", "/", "/config")]
    pages.append("".join(capsys.readouterr()))

    for secret in ("10.200", "lvcreate", "192.0.2.", "-secret-of-", panel.password):
        assert not any(secret in page for page in pages)


@pytest.mark.parametrize("ends", [True, False])
async def test_one_of_a_server_that_is_no_longer_watched_is_not_pending(
    start: Start, *, ends: bool
) -> None:
    """Nor does it count, whether it ends or runs on."""
    world = a_world(2)
    for server in world.servers.values():
        server.label = f"web-{server.id}"

    async with start(world, discovery={"include": {"label": "web-.*"}}) as cloud:
        running = world.add_transaction(status="running", server_id=2)
        await cloud.advance(60)
        before = await cloud.value("onapp_transactions_pending", action="take_backup")
        world.servers[2].label = "db-2"
        await cloud.advance(1300)
        running.status = "failed" if ends else "running"
        await cloud.advance(120)
        text = await cloud.metrics()

    assert before == 1
    assert set(series(text, "onapp_transactions_pending").values()) == {0}
    assert not series(text, "onapp_transactions_oldest_pending_timestamp_seconds")
    assert not ended(text)


SOME: dict[str, dict[str, Any]] = {
    "filters": {"discovery": {"include": {"label": "web-.*"}}},
    "names": {"virtual_machines": [1, "abcdefghijklmn"]},
}


@pytest.mark.parametrize("some", SOME)
async def test_one_that_ends_before_its_server_is_found_counts_then(
    start: Start, some: str
) -> None:
    """Its failure shows too; one that had ended before the start only shows."""
    world = a_world()
    world.servers[1].label = "web-1"

    async with start(world, **SOME[some]) as cloud:
        server = world.add_server()
        server.label, server.identifier = "web-2", "abcdefghijklmn"
        world.add_transaction(status="failed", server_id=2, updated_at=NOW + 5)
        world.add_transaction(status="complete", server_id=2)
        await cloud.advance(120)
        unfound = ended(await cloud.metrics())
        await cloud.advance(1300)
        text = await cloud.metrics()

    assert unfound == {}
    assert ended(text) == {
        ("take_backup", "complete"): 1,
        ("take_backup", "failed"): 1,
    }
    assert series(text, "onapp_vm_last_failed_backup_timestamp_seconds") == {
        "panel=cp,vm_id=2": NOW + 5
    }


async def test_what_ended_long_before_its_server_is_wanted_does_not_count(
    start: Start,
) -> None:
    """A server that is renamed hours later brings no old failures with it."""
    world = a_world(2)
    world.servers[1].label = "web-1"

    async with start(world, discovery={"include": {"label": "web-.*"}}) as cloud:
        world.add_transaction(status="failed", server_id=2)
        await cloud.advance(3 * 3600)
        world.servers[2].label = "web-2"
        await cloud.advance(1300)
        text = await cloud.metrics()

    assert series(text, "onapp_vm_poll_success", vm_id=2)
    assert not ended(text)
    assert not series(text, "onapp_vm_last_failed_backup_timestamp_seconds")


async def test_one_that_runs_before_its_server_is_found_counts_when_it_ends(
    start: Start,
) -> None:
    """Filters know a server only when the next inventory lists it."""
    world = a_world()
    world.servers[1].label = "web-1"

    async with start(world, discovery={"include": {"label": "web-.*"}}) as cloud:
        world.add_server().label = "web-2"
        first = world.add_transaction(status="running", server_id=2)
        await cloud.advance(120)
        unfound = await cloud.value("onapp_transactions_pending", action="take_backup")
        await cloud.advance(1300)
        found = await cloud.value("onapp_transactions_pending", action="take_backup")
        first.status, first.updated_at = "failed", world.now
        failed_at = world.now
        await cloud.advance(120)
        text = await cloud.metrics()

    assert (unfound, found) == (0, 1)
    assert ended(text) == {("take_backup", "failed"): 1}
    assert series(text, "onapp_vm_last_failed_backup_timestamp_seconds") == {
        "panel=cp,vm_id=2": failed_at
    }


def beyond_page(last: int, fault: Fault) -> Fault:
    """Return a fault of the pages after one."""
    return Fault(
        fault.act, lambda scene: int(scene.request.query.get("page", "1")) > last
    )


LOOK_UP = r"/transactions/\d+"


def far_down(world: SimulatedCloud, number: int) -> Transaction:
    """Add a transaction that runs, and push it down by several pages of ten."""
    slow = world.add_transaction(status="running", server_id=1)
    for _ in range(45):
        world.add_transaction(action=f"edit_disk_{number}")
    return slow


@in_both_formats
async def test_open_ones_far_down_are_looked_up_ten_a_minute(
    form: str, start: Start
) -> None:
    """One after the other, by their numbers, whatever is between them."""
    world = a_world()

    async with start(Panel(world, per_page_cap=10), format=form) as cloud:
        slow = []
        for number in range(12):
            slow.append(far_down(world, number))
            await cloud.advance(60)
        cloud.panel.requests.clear()
        await cloud.advance(600)
        asked = [a for a in cloud.panel.requests if a.resource == "transactions"]
        slow[0].status = slow[6].status = "failed"
        await cloud.advance(120)
        text = await cloud.metrics()

    assert len(asked) == 10 * (1 + 10)
    assert ended(text) == {("take_backup", "failed"): 2}
    assert sum(series(text, "onapp_transactions_pending").values()) == 10


async def test_a_slow_panel_is_asked_for_them_in_turns(start: Start) -> None:
    """That takes a quarter of the time, and the oldest is not forgotten for others."""
    world = a_world()
    panel = Panel(world, per_page_cap=10)

    async with start(panel) as cloud:
        slow = []
        for number in range(12):
            slow.append(far_down(world, number))
            await cloud.advance(60)

        async def late(
            _: FaultContext, __: ActiveFault, proceed: Proceed
        ) -> StreamResponse:
            cloud.clock.elapsed += 6
            return await proceed()

        fault = panel.faults.add(Fault(late), resource="transactions")
        panel.requests.clear()
        await cloud.advance(660)
        asked = [a for a in panel.requests if a.resource == "transactions"]
        slow[0].status = slow[6].status = "failed"
        await cloud.advance(360)
        text = await cloud.metrics()
        fault.remove()

    assert len(asked) <= 10 * (1 + 3)
    assert ended(text) == {("take_backup", "failed"): 2}
    assert sum(series(text, "onapp_transactions_pending").values()) == 10


async def test_an_unreadable_one_far_down_keeps_nothing_back(start: Start) -> None:
    """What is new counts; that one cannot be read shows all the same."""
    world = a_world()
    panel = Panel(world, per_page_cap=10)

    async with start(panel) as cloud:
        far_down(world, 1)
        await cloud.advance(60)
        fault = panel.faults.add(faults.html_error(), path=LOOK_UP)
        world.add_transaction(status="failed", server_id=1)
        await cloud.advance(60)
        during = await cloud.metrics()
        fault.remove()
        await cloud.advance(60)
        after = await cloud.metrics()

    success = "onapp_collector_success"
    for text, good in ((during, 0), (after, 1)):
        assert ended(text) == {("take_backup", "failed"): 1}
        assert series(text, success, collector="transactions") == {"panel=cp": good}
        assert sum(series(text, "onapp_transactions_pending").values()) == 1


def another_transaction() -> Fault:
    """Return a fault that answers with another transaction."""

    async def act(context: FaultContext, _: ActiveFault, __: Proceed) -> StreamResponse:
        xml = "<transaction><id>999</id></transaction>"
        body = '{"transaction": {"id": 999}}' if context.form == "json" else xml
        return Response(text=body, content_type=f"application/{context.form}")

    return Fault(act)


@pytest.mark.parametrize(
    "fault",
    [*map(faults.status, (403, 404, 422)), another_transaction()],
)
async def test_one_far_down_that_is_not_given_ends_uncounted(
    start: Start, fault: Fault
) -> None:
    """Nobody knows how it ended; it is pending no more, and the log is read on."""
    world = a_world()

    async with start(Panel(world, per_page_cap=10)) as cloud:
        slow = far_down(world, 1)
        await cloud.advance(60)
        cloud.panel.faults.add(fault, path=LOOK_UP)
        slow.status = "failed"
        await cloud.advance(60)
        world.add_transaction(status="complete", server_id=1)
        cloud.panel.requests.clear()
        await cloud.advance(60)
        asked = [a for a in cloud.panel.requests if a.resource == "transactions"]
        text = await cloud.metrics()

    assert ended(text) == {("take_backup", "complete"): 1}
    assert set(series(text, "onapp_transactions_pending").values()) == {0}
    success = series(text, "onapp_collector_success", collector="transactions")
    assert success == {"panel=cp": 1}
    assert len(asked) == 1


async def test_many_open_ones_are_read_with_their_pages(start: Start) -> None:
    """Hundreds wait at night: to look them up would take hours."""
    world = a_world()

    async with start(Panel(world, per_page_cap=10)) as cloud:
        waiting = [
            world.add_transaction(status="pending", server_id=1) for _ in range(95)
        ]
        await cloud.advance(60)
        for each in waiting:
            each.status = "complete"
        await cloud.advance(60)
        text = await cloud.metrics()

    assert ended(text) == {("take_backup", "complete"): 95}


@dataclass
class Turmoil:
    """A panel on which backups start, end and are forgotten, and what is true of it."""

    cloud: MonitoredCloud
    rng: random.Random
    truth: Counter[tuple[str, str]] = field(default_factory=Counter)
    running: list[Transaction] = field(default_factory=list)

    def goes_on(self) -> None:
        """Start some backups, and end some."""
        for _ in range(self.rng.choice((0, 0, 1, 3, 40))):
            server = self.rng.choice((1, 2, 3))
            task = self.cloud.world.add_transaction(status="pending", server_id=server)
            self.running.append(task)
        self.rng.shuffle(self.running)
        for _ in range(self.rng.randrange(len(self.running) + 1) // 2):
            done = self.running.pop()
            done.status = self.rng.choice(FINAL)
            self.truth[done.action, done.status] += 1

    async def is_followed(self) -> None:
        """Let the exporter read; at times the panel fails for a while."""
        problem = self.rng.choice((None, None, faults.html_error(), faults.cut()))
        log = self.cloud.panel.faults
        fault = None if problem is None else log.add(problem, resource="transactions")
        await self.cloud.advance(self.rng.choice((60, 90, 400)))
        if fault is not None:
            fault.remove()
            await self.cloud.advance(400)

    async def is_disturbed(self) -> None:
        """Clean the log, or load the configuration again; mostly neither."""
        what = self.rng.choice(("clean", "reload", "", "", ""))
        if what == "clean":
            rows = self.cloud.world.transactions
            for row in [row for row in rows.values() if row.status in FINAL]:
                if self.rng.random() < 0.5:
                    del rows[row.id]
        elif what == "reload":
            self.cloud.file.write_text(self.cloud.file.read_text() + "# changed\n")
            await self.cloud.get("/-/reload", method="POST")


@pytest.mark.parametrize("cap", [5, 100])
async def test_nothing_is_lost_whatever_becomes_of_the_log(
    start: Start, cap: int
) -> None:
    """Each counts once when it has ended, and is pending until then."""
    async with start(Panel(a_world(3), per_page_cap=cap)) as cloud:
        turmoil = Turmoil(cloud, random.Random(cap))  # noqa: S311  # not for secrets
        for _ in range(20):
            turmoil.goes_on()
            await turmoil.is_followed()
            await turmoil.is_disturbed()
        await cloud.advance(60)
        text = await cloud.metrics()

    pending = series(text, "onapp_transactions_pending")
    assert ended(text) == turmoil.truth
    assert sum(pending.values()) == len(turmoil.running)


async def test_those_that_count_are_looked_for_first(start: Start) -> None:
    """Open ones of other servers do not keep this exporter's own waiting."""
    world = a_world(2)

    async with start(Panel(world, per_page_cap=10), virtual_machines=[1]) as cloud:
        own = world.add_transaction(status="running", server_id=1)
        for _ in range(20):
            for _ in range(10):
                world.add_transaction(action="edit_disk")
            world.add_transaction(status="running", server_id=2)
            await cloud.advance(60)
        own.status = "complete"
        await cloud.advance(120)
        text = await cloud.metrics()

    assert ended(text) == {("take_backup", "complete"): 1}


async def test_a_log_whose_old_pages_fail_is_followed(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    """After three attempts the newest page is enough; the rest is said once."""
    world = a_world()
    for _ in range(40):
        world.add_transaction(action="edit_disk")
    world.add_transaction(status="running", server_id=1)
    for _ in range(11):
        world.add_transaction(action="edit_disk")
    panel = Panel(world, per_page_cap=10)
    panel.faults.add(beyond_page(2, faults.html_error()), resource="transactions")

    async with start(panel) as cloud:
        await cloud.advance(60)
        begun = await cloud.value("onapp_transactions_pending", action="take_backup")
        world.add_transaction(status="failed", server_id=1)
        await cloud.advance(600)
        text = await cloud.metrics()
    lines = [n for n in capsys.readouterr().out.splitlines() if "transactions" in n]
    old_pages = [each for each in panel.requests if each.query.get("page") == "3"]

    assert begun == 1
    assert ended(text) == {("take_backup", "failed"): 1}
    assert len([line for line in lines if "older" in line]) == 1
    assert len([each for each in old_pages if each.resource == "transactions"]) == 3


async def test_the_first_reading_goes_back_ten_pages(start: Start) -> None:
    """A long history costs little."""
    world = a_world()
    for _ in range(300):
        world.add_transaction(status="complete", server_id=1)
    panel = Panel(world, per_page_cap=10)

    async with start(panel):
        asked = [a for a in panel.requests if a.resource == "transactions"]

    assert len(asked) == 10


@pytest.mark.parametrize("code", [401, 503])
async def test_a_first_reading_that_the_panel_ends_begins_again(
    start: Start, code: int
) -> None:
    """What ends meanwhile had not ended before the start, so far as was seen."""
    world = a_world()
    slow = far_down(world, 1)
    panel = Panel(world, per_page_cap=10)
    problem = beyond_page(1, faults.status(code, {"Retry-After": "600"}))
    fault = panel.faults.add(problem, resource="transactions")

    async with start(panel) as cloud:
        begun = await cloud.series("onapp_collector_success", collector="transactions")
        fault.remove()
        await cloud.advance(1300)
        slow.status = "complete"
        await cloud.advance(60)
        text = await cloud.metrics()

    assert begun == {"panel=cp": 0}
    assert ended(text) == {("take_backup", "complete"): 1}


def without_headers() -> Fault:
    """Return a fault that takes the paging headers away, not the paging."""

    async def act(_: FaultContext, __: ActiveFault, proceed: Proceed) -> StreamResponse:
        answer = await proceed()
        for name in ("X-Page", "X-Limit", "X-Total"):
            answer.headers.pop(name, None)
        return answer

    return Fault(act)


async def test_pages_are_read_on_without_paging_headers(start: Start) -> None:
    """A full page that does not reach what is known is followed by the next."""
    world = a_world()
    panel = Panel(world)
    panel.faults.add(without_headers(), resource="transactions")

    async with start(panel) as cloud:
        slow = world.add_transaction(status="running", server_id=1)
        await cloud.advance(60)
        for _ in range(250):
            world.add_transaction(status="complete", server_id=1)
        await cloud.advance(60)
        slow.status = "failed"
        await cloud.advance(60)
        text = await cloud.metrics()

    assert ended(text) == {
        ("take_backup", "complete"): 250,
        ("take_backup", "failed"): 1,
    }


async def test_one_that_slid_off_an_unpaged_list_is_still_pending(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is not known to be gone; that rows were missed is said once."""
    world = a_world()
    world.add_transaction(status="running", server_id=1)

    async with start(Panel(world, paging=False)) as cloud:
        for _ in range(9):
            world.add_transaction(action="edit_disk")
        await cloud.advance(60)
        for _ in range(4):
            for _ in range(12):
                world.add_transaction(action="edit_disk")
            cloud.panel.requests.clear()
            await cloud.advance(60)
        asked = [a for a in cloud.panel.requests if a.resource == "transactions"]
        text = await cloud.metrics()
    lines = [n for n in capsys.readouterr().out.splitlines() if "were missed" in n]

    assert series(text, "onapp_transactions_pending", action="take_backup") == {
        "panel=cp": 1
    }
    listed = [each for each in asked if not re.search(LOOK_UP, each.path)]
    assert len(listed) == 2, "the list, and once more to see that there are no pages"
    assert len(asked) == 3
    assert len(lines) == 1


async def test_one_that_was_not_seen_for_long_is_not_known_to_be_pending(
    start: Start,
) -> None:
    """It counts all the same when it is listed again, ended."""
    world = a_world()
    slow = world.add_transaction(status="running", server_id=1)

    async with start(Panel(world, paging=False)) as cloud:
        cloud.panel.faults.add(faults.html_error(), path=LOOK_UP)
        busy = [world.add_transaction(action="edit_disk") for _ in range(12)]
        await cloud.advance(3400)
        soon = await cloud.metrics()
        await cloud.advance(400)
        late = await cloud.metrics()
        for each in busy:
            del world.transactions[each.id]
        slow.status = "complete"
        await cloud.advance(60)
        text = await cloud.metrics()

    assert sum(series(soon, "onapp_transactions_pending").values()) == 1
    assert set(series(late, "onapp_transactions_pending").values()) == {0}
    assert not series(late, "onapp_transactions_oldest_pending_timestamp_seconds")
    assert ended(text) == {("take_backup", "complete"): 1}


async def test_one_that_an_unpaged_list_passes_over_is_gone(start: Start) -> None:
    """A list without pages tells of all between its ends."""
    world = a_world()
    for _ in range(12):
        world.add_transaction(action="edit_disk")
    gone = world.add_transaction(status="running", server_id=1)
    for _ in range(5):
        world.add_transaction(action="edit_disk")

    async with start(Panel(world, paging=False)) as cloud:
        del world.transactions[gone.id]
        await cloud.advance(120)
        text = await cloud.metrics()

    assert set(series(text, "onapp_transactions_pending").values()) == {0}


async def test_a_change_does_not_cut_short_what_retry_after_says(start: Start) -> None:
    """A server that asked to be left alone is, whatever its transactions do."""
    world = a_world(3)
    panel = Panel(world)
    problem = faults.status(503, {"Retry-After": "800"})

    async with start(panel) as cloud:
        panel.faults.add(problem, resource="backups", server_id=2)
        world.add_transaction(status="complete", server_id=2)
        await cloud.advance(70)
        panel.requests.clear()
        for _ in range(10):
            world.add_transaction(status="complete", server_id=2)
            await cloud.advance(60)
        read = [
            a for a in panel.requests if (a.resource, a.server_id) == ("backups", 2)
        ]

    assert not read


async def test_one_that_only_begins_to_run_is_no_reason_to_read(start: Start) -> None:
    """Its backup was there when it waited, and is not done yet."""
    world = a_world()
    panel = Panel(world)

    async with start(panel, poll={"interval": "6h"}) as cloud:
        await cloud.advance(100)
        task = world.add_transaction(status="pending", server_id=1)
        await cloud.advance(60)
        panel.requests.clear()
        task.status = "running"
        await cloud.advance(120)
        meanwhile = [a for a in panel.requests if a.resource == "backups"]
        task.status = "complete"
        await cloud.advance(60)
        afterwards = [a for a in panel.requests if a.resource == "backups"]

    assert not meanwhile
    assert len(afterwards) == 1


def a_busy_world(servers: int = 1) -> SimulatedCloud:
    """Return a world that has forgotten the rows of failed backups.

    Each server has a good backup and one that waits, and failed long ago in its log.
    """
    world = a_world(servers)
    for vm_id in world.servers:
        world.add_backup(vm_id, created_at=NOW - 2 * DAY)
        world.add_backup(vm_id, built=False, created_at=NOW - HOUR)
        world.add_transaction(
            status="failed", server_id=vm_id, parent_id=77, updated_at=NOW - 20 * HOUR
        )
    for _ in range(3000):
        world.add_transaction(status="complete", created_at=NOW - 10 * HOUR)
    return world


def own_log_requests(panel: Panel) -> list[str]:
    """Return the addresses of the servers' own logs that were asked."""
    log = (each for each in panel.requests if each.resource == "transactions")
    return [each.path for each in log if "virtual_machines" in each.path]


FAILED_AT = "onapp_vm_last_failed_backup_timestamp_seconds"


async def test_a_failure_below_the_first_reading_is_in_the_servers_own_log(
    start: Start,
) -> None:
    """It is read once of each server with an unbuilt backup, and of no other."""
    world = a_busy_world(3)
    world.add_backup(2, created_at=NOW - HOUR)
    for row in world.backups_of(2):
        row.built, row.built_at = True, row.created_at
    panel = Panel(world)

    async with start(panel) as cloud:
        await cloud.advance(60)
        text = await cloud.metrics()
        world.add_backup(2, built=False)
        await cloud.advance(3 * HOUR)
        await cloud.get("/-/reload", method="POST")
        cloud.file.write_text(cloud.file.read_text() + "  expected_interval: 3d\n")
        await cloud.get("/-/reload", method="POST")
        await cloud.advance(HOUR)
        later = await cloud.metrics()

    assert series(text, FAILED_AT) == {
        f"panel=cp,vm_id={vm_id}": NOW - 20 * HOUR for vm_id in (1, 3)
    }
    assert series(later, FAILED_AT) == series(text, FAILED_AT)
    assert not ended(later)
    assert len(own_log_requests(panel)) == 2


@pytest.mark.parametrize(("code", "asked"), [(403, 1), (404, 8), (422, 8), (500, 3)])
async def test_an_own_log_that_is_not_given_is_not_asked_for_again(
    start: Start, code: int, asked: int
) -> None:
    """A missing permission is one of all servers; an error is tried three times.

    Where it is one server's, the others are read.
    """
    world = a_busy_world(8)
    panel = Panel(world)
    some = {1} if code == 500 else world.servers.keys()
    fault = Fault(faults.status(code).act, lambda scene: scene.server_id in some)
    panel.faults.add(fault, resource="transactions")

    async with start(panel) as cloud:
        await cloud.advance(HOUR)
        text = await cloud.metrics()

    success = series(text, "onapp_collector_success", collector="transactions")
    assert success == {"panel=cp": 1}
    assert len(series(text, FAILED_AT)) == (7 if code == 500 else 0)
    paths = own_log_requests(panel)
    assert sum("/1/" in path or code != 500 for path in paths) == asked


async def test_own_logs_are_read_at_fifty_a_minute(start: Start) -> None:
    """At most, however many servers have unbuilt backups; and each only once."""
    panel = Panel(a_busy_world(120))
    asked = [0]

    async with start(panel) as cloud:
        for _ in range(5):
            asked.append(len(own_log_requests(panel)))
            await cloud.advance(60)
        text = await cloud.metrics()

    assert all(later - before <= 50 for before, later in pairwise(asked))
    assert len(series(text, FAILED_AT)) == len(own_log_requests(panel)) == 120


@pytest.mark.parametrize("another", [False, True])
async def test_a_server_that_is_excluded_and_included_keeps_its_failure(
    start: Start, *, another: bool
) -> None:
    """Unless the number is another server's now."""
    world = a_world(2)
    world.add_transaction(status="failed", server_id=1, updated_at=NOW - 50)

    async with start(world) as cloud:
        before = series(await cloud.metrics(), FAILED_AT)
        keys = cloud.file.read_text()
        one = world.servers[1].identifier
        excluded = f"  discovery: {{exclude: {{identifier: {one}}}}}\n"
        cloud.file.write_text(keys + excluded)
        await cloud.get("/-/reload", method="POST")
        await cloud.advance(60)
        meanwhile = series(await cloud.metrics(), FAILED_AT)
        if another:
            world.servers[1].identifier = "another0000000"
        cloud.file.write_text(keys)
        await cloud.get("/-/reload", method="POST")
        await cloud.advance(60)
        after = series(await cloud.metrics(), FAILED_AT)

    assert before == {"panel=cp,vm_id=1": NOW - 50}
    assert meanwhile == {}
    assert after == ({} if another else before)


async def test_no_own_log_is_read_where_the_panels_log_is_known(start: Start) -> None:
    """All of it, down to its end."""
    world = a_world()
    world.add_backup(1, built=False, created_at=NOW - HOUR)
    world.add_transaction(status="failed", server_id=1)
    panel = Panel(world)

    async with start(panel) as cloud:
        await cloud.advance(HOUR)

    assert not own_log_requests(panel)


# Restores.

RESTORED_AT = "onapp_vm_last_restore_timestamp_seconds"


def restore(world: SimulatedCloud, server_id: int, at: float, **changes: Any) -> None:
    """Add a restore of a server that completed then."""
    fields = {"action": "restore_backup", "created_at": at - 300, "updated_at": at}
    world.add_transaction(server_id=server_id, **{**fields, **changes})


@in_both_formats
async def test_the_last_completed_restore_of_each_server_shows(
    form: str, start: Start
) -> None:
    """Of both kinds, when it ended; failed ones and other tasks are none."""
    world = a_world(5)
    restore(world, 1, NOW - 2 * DAY)
    restore(world, 1, NOW - DAY, action="restore_incremental_backup")
    restore(world, 1, NOW - HOUR, status="failed")
    restore(world, 2, NOW - HOUR, status="cancelled")
    restore(world, 3, NOW - HOUR, action="convert_backup")
    restore(world, 4, NOW, status="running")
    (running,) = (t for t in world.transactions.values() if t.status == "running")

    async with start(world, format=form) as cloud:
        first = series(await cloud.metrics(), RESTORED_AT, panel="cp")
        await cloud.advance(HOUR)
        running.status, running.updated_at = "complete", world.now
        restore(world, 5, world.now)
        await cloud.advance(60)
        later = series(await cloud.metrics(), RESTORED_AT, panel="cp")

    assert first == {"vm_id=1": NOW - DAY}
    assert later == {**first, "vm_id=4": NOW + HOUR, "vm_id=5": NOW + HOUR}


async def test_a_restore_that_the_log_no_longer_tells_of_is_kept_or_unknown(
    start: Start,
) -> None:
    """Never replaced by a guess: a new exporter leaves out what it cannot know."""
    world = a_world(2)
    restore(world, 1, NOW - DAY)

    async with start(world) as cloud:
        world.transactions.clear()
        await cloud.advance(HOUR)
        keys = cloud.file.read_text() + "  expected_interval: 3d\n"
        cloud.file.write_text(keys)
        await cloud.get("/-/reload", method="POST")
        await cloud.advance(60)
        kept = series(await cloud.metrics(), RESTORED_AT, panel="cp")
    async with start(world) as cloud:
        restarted = series(await cloud.metrics(), RESTORED_AT, panel="cp")

    assert kept == {"vm_id=1": NOW - DAY}
    assert restarted == {}


async def test_restores_show_on_the_shard_of_their_server(start: Start) -> None:
    """And not at all where the collector is off."""
    world = a_world(6)
    for number in world.servers:
        restore(world, number, NOW - number)
    shown: list[str] = []
    for shard in (Shard(0, 2), Shard(1, 2)):
        async with start(Panel(world), shard=shard) as cloud:
            text = await cloud.metrics()
        own = series(text, "onapp_vm_poll_success", panel="cp")
        assert series(text, RESTORED_AT, panel="cp").keys() == own.keys()
        shown += own
    async with start(Panel(world), collectors={"transactions": False}) as cloud:
        off = series(await cloud.metrics(), RESTORED_AT)

    assert sorted(shown) == [f"vm_id={number}" for number in range(1, 7)]
    assert off == {}


async def test_a_restore_with_a_date_in_the_future_has_none(start: Start) -> None:
    """What was over before the first reading is unknown; else it ended just now."""
    world = a_world(2)
    restore(world, 1, NOW + DAY)
    async with start(world) as cloud:
        first = series(await cloud.metrics(), RESTORED_AT)
        restore(world, 2, NOW + DAY, created_at=NOW + 30)
        await cloud.advance(60)
        later = series(await cloud.metrics(), RESTORED_AT, panel="cp")

    assert first == {}
    assert later == {"vm_id=2": NOW + 60}
