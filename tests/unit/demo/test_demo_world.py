"""The simulated cloud behaves as OnApp does, the same way every time."""

import math
from collections import Counter
from datetime import UTC, datetime

import pytest
from clouds import RandomCloud, large_cloud, rng_for
from faulty_panel import Panel
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.demo.cloud.demo_cloud import HISTORY_DAYS, HOSTILE_LABEL, demo_cloud
from exporter.demo.cloud.rows import Backup, Schedule, Server, Target, Transaction
from exporter.demo.cloud.simulation import SimulatedCloud
from exporter.demo.cloud.time import DAY, next_start

START = 1_700_000_000.0
HOUR = 3_600.0


def a_daily(world: SimulatedCloud, *, disks: int = 1) -> tuple[Server, Schedule]:
    """Add a server whose first disk is backed up daily, an hour from now."""
    server = world.add_server(disks=disks)
    disk = world.disks_of(server.id)[0]
    schedule = world.add_schedule("Disk", disk.id, start_at=world.now + HOUR)
    return server, schedule


def an_incremental(world: SimulatedCloud, kept: int = 3) -> tuple[Server, Schedule]:
    """Add a server that is backed up daily as a whole, an hour from now."""
    server = world.add_server(disks=2, swap=True)
    schedule = world.add_schedule(
        "VirtualMachine",
        server.id,
        start_at=world.now + HOUR,
        rotation_period=kept,
    )
    return server, schedule


def a_busy_world() -> SimulatedCloud:
    """Return a world in which everything happens that can happen at random."""
    panel = Panel(SimulatedCloud(START, seed=7, slots=1))
    cloud = RandomCloud("cp", panel, rng_for(7), {}, most_servers=8)
    for _ in range(6):
        cloud.create_server()
    for hours in range(8 * 24):
        cloud.world.call_at(START + hours * HOUR, lambda: cloud.change_something(2))
    return cloud.world


def everything(world: SimulatedCloud) -> tuple[object, ...]:
    """Return all that a world holds."""
    return (
        world.now,
        world.servers,
        world.disks,
        world.schedules,
        world.backups,
        world.transactions,
        world.event_log,
    )


def only(backups: list[Backup]) -> Backup:
    """Return the one backup there is."""
    (backup,) = backups
    return backup


def kinds(world: SimulatedCloud) -> Counter[str]:
    """Count what happened."""
    return Counter(entry.kind for entry in world.event_log)


def test_the_same_seed_gives_the_same_world() -> None:
    """Nothing but the seed and the calls decides what happens."""
    first, second = a_busy_world(), a_busy_world()
    first.advance(START + 8 * DAY)
    second.advance(START + 8 * DAY)

    assert everything(first) == everything(second)


def test_another_seed_gives_another_world() -> None:
    """Seeds matter."""
    assert demo_cloud(START, seed=1).backups != demo_cloud(START, seed=2).backups


@settings(max_examples=15, deadline=None)
@given(st.lists(st.floats(0, 8 * DAY), max_size=12))
def test_the_steps_of_time_do_not_matter(steps: list[float]) -> None:
    """Many small moves end where one big move ends."""
    at_once, in_steps = a_busy_world(), a_busy_world()
    at_once.advance(START + 8 * DAY)
    for step in sorted(steps):
        in_steps.advance(START + step)
    in_steps.advance(START + 8 * DAY)

    assert everything(in_steps) == everything(at_once)


def test_time_never_runs_backwards() -> None:
    """A clock that is put back does not undo anything."""
    world = SimulatedCloud(START)
    world.advance(START + DAY)
    world.advance(START)

    assert world.now == START + DAY


def test_another_server_changes_nothing_for_the_others() -> None:
    """Chance is drawn per target, so the sizes of the others stay the same."""
    alone, in_company = SimulatedCloud(START), SimulatedCloud(START)
    a_daily(alone)
    a_daily(in_company)
    a_daily(in_company)
    alone.advance(START + 2 * DAY)
    in_company.advance(START + 2 * DAY)

    assert [b.size_kib for b in alone.backups_of(1)] == [
        b.size_kib for b in in_company.backups_of(1)
    ]


def test_a_schedule_queues_an_unbuilt_backup() -> None:
    """At its start there is a row without size and date, and a pending task."""
    world = SimulatedCloud(START)
    server, schedule = a_daily(world)
    world.advance(START + HOUR)
    backup = only(world.backups_of(server.id))
    task = world.transactions[5001]

    assert not backup.built
    assert (backup.built_at, backup.size_kib) == (None, None)
    assert (backup.initiated, backup.backup_type) == ("days", "normal")
    assert backup.target == schedule.target
    assert (task.action, task.status) == ("take_backup", "pending")
    assert (task.parent_type, task.parent_id) == ("Backup", backup.id)
    assert task.associated_object_id == server.id


def test_a_backup_waits_runs_and_finishes() -> None:
    """The row is built, its task complete, its schedule at the next start."""
    world = SimulatedCloud(START)
    server, schedule = a_daily(world)
    world.advance(START + DAY)
    backup = only(world.backups_of(server.id))
    task = world.transactions[5001]

    assert backup.built
    assert backup.built_at is not None
    assert backup.built_at > task.started_at > backup.created_at  # type: ignore[operator]  # a task that ran has started
    assert backup.size_kib
    assert task.status == "complete"
    assert schedule.start_at == START + HOUR + DAY
    assert schedule.failure_count == 0
    assert [log.status for log in schedule.logs] == ["complete"]
    assert [entry.kind for entry in world.event_log][-3:] == [
        "backup queued",
        "backup started",
        "backup finished",
    ]


def test_a_cloud_takes_only_so_many_backups_at_once() -> None:
    """With one slot the second backup starts when the first has ended."""
    world = SimulatedCloud(START, slots=1)
    a_daily(world)
    a_daily(world)
    world.inject_failure("slow", times=None, factor=10.0)
    world.advance(START + DAY)
    first, second = sorted(
        (task.started_at or 0.0, task.updated_at)
        for task in world.transactions.values()
    )

    assert second[0] == first[1]


def test_a_jammed_queue_starts_nothing_until_it_is_mended() -> None:
    """Without slots every backup waits, with slots again all go on."""
    world = SimulatedCloud(START)
    a_daily(world)
    world.slots = 0
    world.advance(START + 9 * HOUR)
    waiting = [task.status for task in world.transactions.values()]
    world.slots = 2
    world.advance(START + 12 * HOUR)

    assert waiting == ["pending"]
    assert kinds(world)["backup finished"] == 1


def test_a_normal_backup_replaces_its_predecessor() -> None:
    """The old row is marked for a moment, then a task destroys it."""
    world = SimulatedCloud(START)
    server, _ = a_daily(world)
    world.advance(START + DAY)
    old = only(world.backups_of(server.id))
    world.advance(START + DAY + HOUR)
    new = world.backups_of(server.id)[-1]
    while not new.built:
        world.advance(world.now + 1)
    marked = old.marked_for_delete, old.id in world.backups
    world.advance(world.now + HOUR)

    assert marked == (True, True)
    assert world.backups_of(server.id) == [new]
    destroyed = [t for t in world.transactions.values() if t.parent_id == old.id][-1]
    assert (destroyed.action, destroyed.status) == ("destroy_backup", "complete")


def test_schedules_of_different_periods_do_not_replace_each_other() -> None:
    """The weekly backup stays when the daily one is replaced."""
    world = SimulatedCloud(START)
    server, schedule = a_daily(world)
    world.add_schedule("Disk", schedule.target_id, "weeks", start_at=START + HOUR)
    world.advance(START + 4 * DAY)

    assert sorted(b.initiated for b in world.backups_of(server.id)) == ["days", "weeks"]


def test_incremental_backups_keep_a_chain() -> None:
    """Of a whole server the last few are kept, small ones after the first."""
    world = SimulatedCloud(START)
    server, _ = an_incremental(world, kept=3)
    world.advance(START + 2 * DAY)
    first, second = world.backups_of(server.id)
    world.advance(START + 9 * DAY)
    chain = world.backups_of(server.id)

    assert (first.size_kib or 0) > 10 * (second.size_kib or 0)
    assert len(chain) == 3
    assert {b.target for b in chain} == {Target("VirtualMachine", server.id)}
    assert {b.disk_id for b in chain} == {None}
    assert "take_incremental_backup" in {
        task.action for task in world.transactions.values()
    }


def test_a_locked_backup_is_not_rotated() -> None:
    """What is locked stays until it is unlocked."""
    world = SimulatedCloud(START)
    server, _ = a_daily(world)
    world.advance(START + DAY)
    locked = only(world.backups_of(server.id))
    world.lock_backup(locked.id)
    world.advance(START + 3 * DAY)

    assert locked in world.backups_of(server.id)
    assert not locked.marked_for_delete
    assert (locked.locked, locked.updated_at) == (True, START + DAY)
    world.lock_backup(locked.id, locked=False)
    assert (locked.locked, locked.updated_at) == (False, START + 3 * DAY)


def test_a_failed_backup_leaves_its_row_unbuilt() -> None:
    """Its task says so, and its schedule counts it and goes on."""
    world = SimulatedCloud(START)
    server, schedule = a_daily(world)
    world.inject_failure("fail", server_id=server.id)
    world.advance(START + 2 * DAY)
    failed, built = world.backups_of(server.id)

    assert (failed.built, built.built) == (False, True)
    assert schedule.failure_count == 1
    assert [log.status for log in schedule.logs] == ["failed", "complete"]
    assert world.transactions[5001].status == "failed"
    assert world.transactions[5001].log_output
    assert kinds(world)["backup failed"] == 1


def test_a_failed_backup_may_vanish() -> None:
    """Then only the task and the schedule tell."""
    world = SimulatedCloud(START)
    server, schedule = a_daily(world)
    world.inject_failure("vanish", target=schedule.target, times=None)
    world.advance(START + 3 * DAY)

    assert world.backups_of(server.id) == []
    assert schedule.failure_count == 3
    assert {t.status for t in world.transactions.values()} == {"failed"}


def test_a_schedule_that_fails_too_often_is_given_up() -> None:
    """With a limit set, its status becomes failed and it starts no more."""
    world = SimulatedCloud(START, failure_limit=2)
    _, schedule = a_daily(world)
    world.inject_failure("vanish", times=None)
    world.advance(START + 9 * DAY)

    assert (schedule.status, schedule.failure_count) == ("failed", 2)
    assert kinds(world)["schedule failed"] == 1


@pytest.mark.parametrize("start_moves", ["end", "begin"])
def test_a_stuck_backup_blocks_the_next_ones(start_moves: str) -> None:
    """A schedule starts nothing while its last backup runs, and goes on after it."""
    world = SimulatedCloud(
        START, start_update="begin" if start_moves == "begin" else "end"
    )
    server, schedule = a_daily(world)
    world.inject_failure("stick", schedule_id=schedule.id)
    world.advance(START + 5 * DAY)
    stuck = only(world.backups_of(server.id))
    overdue = schedule.start_at < world.now
    status = world.transactions[5001].status
    world.end_backup(stuck.id)
    world.advance(START + 6 * DAY)

    assert overdue
    assert status == "running"
    assert stuck.built_at == START + 5 * DAY
    assert kinds(world)["backup stuck"] == 1
    assert only(world.backups_of(server.id)).created_at == START + 5 * DAY + HOUR


def test_a_stuck_backup_gives_up_its_slot() -> None:
    """The rest of the cloud goes on."""
    world = SimulatedCloud(START, slots=1)
    first, _ = a_daily(world)
    second, _ = a_daily(world)
    world.inject_failure("stick", server_id=first.id)
    world.advance(START + DAY)

    assert only(world.backups_of(second.id)).built


def test_a_panel_may_show_the_next_start_at_once() -> None:
    """With `begin` the next start is not in the past while a backup runs."""
    world = SimulatedCloud(START, start_update="begin")
    _, schedule = a_daily(world)
    world.advance(START + HOUR)

    assert schedule.start_at == START + HOUR + DAY


def test_a_skipped_start_leaves_no_trace() -> None:
    """No row, no task, no failure: only the age of the last backup tells."""
    world = SimulatedCloud(START)
    server, schedule = a_daily(world)
    world.advance(START + DAY)
    world.inject_failure("skip", times=2)
    world.advance(START + 3 * DAY)
    backup = only(world.backups_of(server.id))

    assert backup.created_at == START + HOUR
    assert schedule.start_at == START + 3 * DAY + HOUR
    assert len(world.transactions) == 1
    assert kinds(world)["start skipped"] == 2


def test_a_stalled_schedule_is_overdue_until_it_is_mended() -> None:
    """Its start stays in the past, and happens when the stall ends."""
    world = SimulatedCloud(START)
    _, schedule = a_daily(world)
    problem = world.inject_failure("stall")
    world.advance(START + DAY)
    start_while_stalled = schedule.start_at
    world.end_failure(problem)
    world.advance(START + DAY + 1)

    assert start_while_stalled == START + HOUR
    assert kinds(world)["backup queued"] == 1


def test_misfortunes_change_size_and_time() -> None:
    """A backup may be far larger, take far longer and wait far longer."""
    usual, odd = SimulatedCloud(START), SimulatedCloud(START)
    for world in (usual, odd):
        a_daily(world)
    odd.inject_failure("resize", factor=10.0)
    odd.inject_failure("slow", factor=3.0)
    odd.inject_failure("wait", seconds=HOUR)
    for world in (usual, odd):
        world.advance(START + DAY)
    small, large = only(usual.backups_of(1)), only(odd.backups_of(1))
    quick, slow = (
        task.updated_at - (task.started_at or 0.0)
        for task in (usual.transactions[5001], odd.transactions[5001])
    )

    assert math.isclose(large.size_kib or 0, 10 * (small.size_kib or 0), rel_tol=0.01)
    assert math.isclose(slow, 3 * quick, rel_tol=0.05)
    assert (odd.transactions[5001].started_at or 0.0) > START + 2 * HOUR


def test_misfortunes_end_and_are_written_down() -> None:
    """The journal says when each began and ended, by itself or mended."""
    world = SimulatedCloud(START)
    a_daily(world)
    world.inject_failure("fail", server_id=1)
    lasting = world.inject_failure("slow", server_id=1, times=None, factor=2.0)
    world.advance(START + DAY)
    world.end_failure(lasting)
    world.end_failure(lasting)
    notes = [
        (entry.at, entry.kind, entry.detail)
        for entry in world.event_log
        if entry.kind.startswith("failure")
    ]

    assert notes == [
        (START, "failure begun", "fail"),
        (START, "failure begun", "slow"),
        (START + HOUR, "failure ended", "fail"),
        (START + DAY, "failure ended", "slow"),
    ]


def test_a_suspended_server_is_not_backed_up() -> None:
    """Its schedules go by, and go on when it is let in again."""
    world = SimulatedCloud(START)
    server, _ = a_daily(world)
    server.suspended = True
    world.advance(START + 2 * DAY)
    while_suspended = world.backups_of(server.id)
    server.suspended = False
    world.advance(START + 3 * DAY)

    assert while_suspended == []
    assert len(world.backups_of(server.id)) == 1


def test_a_disabled_schedule_starts_nothing_until_enabled() -> None:
    """Its next start is then in the future again."""
    world = SimulatedCloud(START)
    server, schedule = a_daily(world)
    world.change_schedule(schedule.id, status="disabled")
    world.advance(START + 2 * DAY)
    while_disabled = world.backups_of(server.id)
    world.change_schedule(schedule.id, status="enabled")
    next_one = schedule.start_at
    world.advance(START + 3 * DAY)

    assert while_disabled == []
    assert next_one == START + 2 * DAY + HOUR
    assert len(world.backups_of(server.id)) == 1


def test_a_schedule_can_be_moved() -> None:
    """A changed start counts, the old one no longer."""
    world = SimulatedCloud(START)
    server, schedule = a_daily(world)
    world.change_schedule(schedule.id, start_at=START + 5 * HOUR, duration=2)
    world.advance(START + DAY)

    assert only(world.backups_of(server.id)).created_at == START + 5 * HOUR
    assert schedule.start_at == START + 2 * DAY + 5 * HOUR


def test_a_removed_server_takes_everything_with_it() -> None:
    """Its running backups are cancelled; nothing of it is left but the log."""
    world = SimulatedCloud(START)
    server, _ = a_daily(world)
    world.add_recovery_point(server.id)
    world.advance(START + HOUR)
    world.remove_server(server.id)
    world.advance(START + 2 * DAY)

    assert [*world.servers, *world.disks, *world.schedules] == []
    assert [*world.backups, *world.recovery_points] == []
    assert [t.status for t in world.transactions.values()] == ["cancelled"]
    assert kinds(world)["server removed"] == 1


def test_a_removed_disk_leaves_its_backups() -> None:
    """Old rows stay listed, the schedule goes, and a running backup ends."""
    world = SimulatedCloud(START)
    server, schedule = a_daily(world)
    world.advance(START + DAY + HOUR)
    world.remove_disk(schedule.target_id)
    world.advance(START + 3 * DAY)

    assert [b.created_at for b in world.backups_of(server.id)] == [START + HOUR]
    assert world.schedules == {}


def test_old_images_stay_after_a_switch_to_incrementals() -> None:
    """The chain of the whole server does not replace the backups of its disks."""
    world = SimulatedCloud(START)
    server, schedule = a_daily(world)
    world.advance(START + DAY)
    world.remove_schedule(schedule.id)
    world.add_schedule("VirtualMachine", server.id, start_at=START + DAY + HOUR)
    world.advance(START + 4 * DAY)

    assert [b.backup_type for b in world.backups_of(server.id)] == [
        "normal",
        *["incremental"] * 3,
    ]


def test_a_backup_can_be_taken_by_hand() -> None:
    """It goes through the same queue, belongs to no schedule, and is kept."""
    world = SimulatedCloud(START)
    server = world.add_server()
    disk = world.disks_of(server.id)[0]
    world.take_backup("Disk", disk.id)
    world.take_backup("Disk", disk.id)
    world.advance(START + HOUR)

    assert [(b.initiated, b.built) for b in world.backups_of(server.id)] == [
        ("manual", True),
        ("manual", True),
    ]
    with pytest.raises(KeyError):
        world.take_backup("Disk", 999)


def test_a_cancelled_backup_leaves_its_row_unbuilt() -> None:
    """Its task says so; its schedule counts no failure and goes on."""
    world = SimulatedCloud(START)
    server, schedule = a_daily(world)
    world.advance(START + HOUR)
    cancelled = only(world.backups_of(server.id))
    world.cancel_backup(cancelled.id)
    (task,) = world.transactions.values()

    assert (task.status, task.updated_at) == ("cancelled", START + HOUR)
    assert (cancelled.built, cancelled.updated_at) == (False, START + HOUR)
    assert (schedule.failure_count, schedule.start_at) == (0, START + 25 * HOUR)
    world.advance(START + 2 * DAY)
    assert [b.built for b in world.backups_of(server.id)] == [False, True]


def test_a_failed_backup_can_be_tried_again_at_once() -> None:
    """The schedule logs both, keeps its count of failures and its next start."""
    world = SimulatedCloud(START)
    server, schedule = a_daily(world)
    world.inject_failure("fail", server_id=server.id)
    world.advance(START + 2 * HOUR)
    world.retry(schedule.id)
    world.advance(START + 3 * HOUR)

    assert [b.built for b in world.backups_of(server.id)] == [False, True]
    assert [log.status for log in schedule.logs] == ["failed", "complete"]
    assert (schedule.failure_count, schedule.start_at) == (1, START + 25 * HOUR)


def test_a_running_backup_can_be_deleted() -> None:
    """Its task is cancelled and its schedule is free for the next one."""
    world = SimulatedCloud(START)
    server, schedule = a_daily(world)
    world.advance(START + HOUR)
    world.remove_backup(only(world.backups_of(server.id)).id)
    world.advance(START + 2 * DAY)

    assert world.transactions[5001].status == "cancelled"
    assert schedule.start_at == START + 2 * DAY + HOUR
    assert only(world.backups_of(server.id)).built


def test_a_row_is_placed_as_given() -> None:
    """Hand-made worlds hold exactly what they were told."""
    world = SimulatedCloud(START)
    server = world.add_server(number=40, disks=2)
    second = world.disks_of(40)[1]
    backup = world.add_backup(
        40,
        built=False,
        created_at=START - 9.5,
        updated_at=START - 1,
        size_kib=0,
        target_id=second.id,
        initiated="weeks",
        locked=True,
        marked_for_delete=True,
        backup_server_id=3,
        identifier="azbygzz6zjui4k",
        number=1951,
    )

    assert world.backups_of(server.id) == [backup]
    assert (backup.id, backup.identifier) == (1951, "azbygzz6zjui4k")
    assert (backup.built, backup.built_at, backup.size_kib) == (False, None, 0)
    assert (backup.created_at, backup.updated_at) == (START - 9.5, START - 1)
    assert backup.target == ("Disk", second.id)
    assert world.add_server().id == 41


def test_every_change_of_a_server_raises_its_revision() -> None:
    """Rows that come, change or go are noticed, those of others are not."""
    world = SimulatedCloud(START)
    server, other = world.add_server(), world.add_server()
    seen = [world.revision(server.id)]
    untouched = world.revision(other.id)
    backup = world.add_backup(server.id)
    seen.append(world.revision(server.id))
    backup.locked = True
    seen.append(world.revision(server.id))
    server.user_id = 9
    seen.append(world.revision(server.id))
    world.remove_backup(backup.id)
    seen.append(world.revision(server.id))

    assert seen == sorted(set(seen))
    assert world.revision(other.id) == untouched


def test_an_administrator_may_clean_the_log() -> None:
    """What has ended goes, what is pending stays."""
    world = SimulatedCloud(START)
    world.add_transaction(status="complete")
    pending = world.add_transaction(status="pending")
    world.delete_old_transactions(before=START + 1)

    assert list(world.transactions) == [pending.id]


@pytest.mark.parametrize(
    ("first", "period", "duration", "after", "expected"),
    [
        ("2024-01-31", "months", 1, "2024-02-01", "2024-02-29"),
        ("2024-01-31", "months", 1, "2024-02-29", "2024-03-31"),
        ("2024-01-31", "months", 2, "2026-01-31", "2026-03-31"),
        ("2024-02-29", "years", 1, "2024-03-01", "2025-02-28"),
        ("2024-01-01", "weeks", 2, "2024-01-01", "2024-01-15"),
        ("2024-01-01", "days", 3, "2024-01-08", "2024-01-10"),
        ("2024-05-01", "days", 1, "2024-01-08", "2024-05-01"),
    ],
)
def test_starts_are_counted_from_the_first_one(
    first: str, period: str, duration: int, after: str, expected: str
) -> None:
    """A schedule of the 31st comes back to the 31st."""

    def moment(day: str) -> float:
        return datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()

    found = next_start(moment(first), period, duration, moment(after))  # type: ignore[arg-type]  # the periods above

    assert found == moment(expected)


@pytest.fixture(scope="module")
def cloud() -> SimulatedCloud:
    """Return the cloud of the demo."""
    return demo_cloud(START)


def backups_of(world: SimulatedCloud, label: str) -> list[Backup]:
    """Return the backups of the server with a label."""
    return world.backups_of(server_of(world, label).id)


def server_of(world: SimulatedCloud, label: str) -> Server:
    """Return the server with a label."""
    return next(s for s in world.servers.values() if s.label == label)


def test_the_demo_has_suspended_disabled_and_shrunk_ones(cloud: SimulatedCloud) -> None:
    """Each shows in its own way."""
    disabled = server_of(cloud, "intranet-disabled")

    assert server_of(cloud, "unpaid-suspended").suspended
    assert cloud.schedules_of(disabled.id)[0].status == "disabled"
    assert (backups_of(cloud, "reports-shrunk")[-1].size_kib or 0) < 2 * 1024**2


def test_the_demo_has_plugin_backups_and_a_hostile_label(cloud: SimulatedCloud) -> None:
    """Quotes, backslash, HTML and letters of the world must all survive."""
    exchange = server_of(cloud, "exchange-plugin")

    assert len(cloud.recovery_points_of(exchange.id)) == 5
    assert backups_of(cloud, HOSTILE_LABEL)
    assert set('"\\<&é日') <= set(HOSTILE_LABEL)


def test_the_demo_is_a_mixed_cloud(cloud: SimulatedCloud) -> None:
    """There are all kinds of backups, places, users and disks."""
    backups = cloud.backups.values()

    assert {b.backup_type for b in backups} == {"normal", "incremental"}
    assert {b.initiated for b in backups} == {"days", "weeks", "months", "manual"}
    assert {b.backup_server_id for b in backups} == {None, 1, 2}
    assert {len(cloud.disks_of(s)) for s in cloud.servers} >= {1, 2, 3}
    assert any(disk.is_swap for disk in cloud.disks.values())


def test_something_moves_while_one_looks() -> None:
    """In the demo a backup starts every minute or two."""
    world = demo_cloud(START)
    world.advance(START + HOUR)
    starts = [
        entry.at
        for entry in world.event_log
        if entry.kind == "backup started" and entry.at > START
    ]
    gaps = [later - at for at, later in zip([START, *starts], starts, strict=False)]

    assert max(gaps) < 5 * 60
    assert len(starts) > 30


def test_the_busy_server_stops_with_its_end() -> None:
    """Destroying it ends its owner's habit, too."""
    world = demo_cloud(START)
    world.remove_server(server_of(world, "ci-runner").id)
    world.advance(START + HOUR)

    assert "ci-runner" not in {server.label for server in world.servers.values()}


def test_the_demo_forgets_what_nobody_asks_for() -> None:
    """It may run for months."""
    world = demo_cloud(START)
    world.advance(START + 2.5 * DAY)
    oldest = min(
        task.updated_at for task in world.transactions.values() if is_over(task)
    )

    assert min(entry.at for entry in world.event_log) >= START + 2 * DAY
    assert oldest >= START - (HISTORY_DAYS - 2) * DAY


def is_over(task: Transaction) -> bool:
    """Return whether a task has ended."""
    return task.status not in ("pending", "running")


def test_a_large_cloud_has_the_size_it_was_asked_for() -> None:
    """Every server has its backups, the newest not older than a day."""
    world = large_cloud(START, servers=60, backups_per_server=5)

    assert len(world.servers) == 60
    assert {len(world.backups_of(s)) for s in world.servers} == {5}
    assert min(world.backups_of(s)[-1].created_at for s in world.servers) > START - DAY


def test_secrets_are_in_the_world_but_not_in_its_texts() -> None:
    """A server's passwords never show when it is printed."""
    server = SimulatedCloud(START).add_server()

    assert "secret" not in repr(server)
    assert server.initial_root_password == "root-secret-of-1"
