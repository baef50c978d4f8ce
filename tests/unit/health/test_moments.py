"""From when on a condition holds: the moments that follow from a panel's facts."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from stores import MONOTONIC, TIME, a_backup, a_panel, a_server

from exporter.clock import Now
from exporter.health.conditions import SERVER_CONDITIONS
from exporter.health.server import JudgedServers, ServerHealth
from exporter.model.entities import (
    RECOVERY_POINTS,
    Backup,
    Disk,
    RecoveryPoint,
    Schedule,
    Target,
)
from exporter.model.failed_backups import FailedBackup
from exporter.model.selection import Expectation
from exporter.model.store import PanelStore, ServerEntry, ServerState

HOUR = 3600.0
DAY = 24 * HOUR
DISK = Target("Disk", 101)
OTHER_DISK = Target("Disk", 102)
WHOLE = Target("VirtualMachine", 1)
LONG_AGO = TIME - 400 * DAY


def a_schedule(**changes: Any) -> Schedule:
    """Return a daily schedule of DISK that starts in an hour."""
    fields: dict[str, Any] = {
        "id": 7,
        "action": "autobackup",
        "target": DISK,
        "period": "days",
        "duration": 1,
        "status": "enabled",
        "next_start_at": TIME + HOUR,
        "failure_count": 0,
        "created_at": LONG_AGO,
        "updated_at": TIME - HOUR,
    }
    return Schedule(**fields | changes)


def a_disk(number: int, **changes: Any) -> Disk:
    """Return a disk as old as the server."""
    fields: dict[str, Any] = {"created_at": LONG_AGO} | changes
    return Disk(number, 1, is_swap=False, has_autobackups=True, **fields)


def built(days_ago: float, **changes: Any) -> Backup:
    """Return a backup of DISK that was complete so many days ago."""
    at = TIME - days_ago * DAY
    return a_backup(
        **{"id": round(days_ago * 100), "created_at": at - 60, "built_at": at} | changes
    )


def unbuilt(days_ago: float, **changes: Any) -> Backup:
    """Return a backup of DISK that was started so many days ago."""
    at = TIME - days_ago * DAY
    fields = {"id": 5, "built": False, "built_at": None, "created_at": at}
    return built(days_ago, **fields | changes)


def judged(
    *backups: Backup,
    schedules: tuple[Schedule, ...] | None = (a_schedule(),),
    panel: PanelStore | None = None,
    server: dict[str, Any] | None = None,
    now: float = TIME,
    **facts: Any,
) -> ServerHealth:
    """Return the health of a server with these facts, read a moment ago."""
    panel = panel or a_panel(schedules_read_at=now)
    state = ServerState(
        "cp",
        1,
        facts.pop("expectation", Expectation()),
        a_server(**{"created_at": LONG_AGO} | (server or {})),
        backups,
        schedules=schedules,
        disks=facts.pop("disks", (a_disk(101),)),
        first_read_at=facts.pop("first_read_at", TIME - HOUR),
        **facts,
    )
    panel.servers[1] = ServerEntry(state, False, now, MONOTONIC)  # noqa: FBT003
    return JudgedServers().update(panel, Now(now, MONOTONIC))[1]


def moments(health: ServerHealth) -> dict[tuple[str, Target | None], float]:
    """Return the known moments in hours from now, by state and target."""
    return {
        (moment.condition.key, moment.target): round((moment.at - TIME) / HOUR, 2)
        for moment in health.moments
        if moment.at is not None
    }


def test_a_target_is_stale_after_intervals_and_the_queue() -> None:
    """1.5 and 2.5 intervals, and three hours for the queue."""
    found = moments(judged(built(0.5)))

    assert found["stale", DISK] == -12 + 1.5 * 24 + 3
    assert found["very_stale", DISK] == -12 + 2.5 * 24 + 3


@pytest.mark.parametrize(
    ("facts", "waited_from_days_ago"),
    [
        ({}, 400),
        ({"server": {"created_at": TIME - 3 * DAY}}, 3),
        ({"disks": (a_disk(101, created_at=TIME - 2 * DAY),)}, 2),
        ({"schedules": (a_schedule(created_at=TIME - DAY),)}, 1),
        ({"schedules": (a_schedule(created_at=TIME - DAY), a_schedule(id=8))}, 400),
        (
            {
                "server": {"created_at": None},
                "schedules": (a_schedule(created_at=None),),
                "disks": (a_disk(101, created_at=None),),
            },
            9,
        ),
    ],
)
def test_without_success_the_newest_beginning_counts(
    facts: dict[str, Any], waited_from_days_ago: float
) -> None:
    """Of server, disk and its oldest schedule; else the oldest unbuilt row."""
    found = moments(judged(unbuilt(9), **facts))

    assert found["stale", DISK] == -24 * waited_from_days_ago + 39


def test_a_schedule_that_runs_and_is_updated_moves_no_moment() -> None:
    """``updated_at`` may move with every run."""
    before = judged(built(9), schedules=(a_schedule(updated_at=TIME - DAY),))
    after = judged(built(9), schedules=(a_schedule(updated_at=TIME),))

    assert moments(before)["stale", DISK] == moments(after)["stale", DISK]


def test_a_new_pending_row_every_day_moves_no_moment() -> None:
    """A target that fails daily has a new one daily."""
    assert moments(judged(built(9), unbuilt(0.1)))["stale", DISK] == -9 * 24 + 39


@pytest.mark.parametrize(
    "facts",
    [
        {"schedules": (a_schedule(changed_at=TIME - DAY),)},
        {"resumed_at": TIME - DAY},
        {
            "schedules": (),
            "expectation": Expectation(own_interval_seconds=DAY),
            "interval_shortened_at": TIME - DAY,
        },
    ],
)
def test_what_changed_is_waited_for_from_the_change(facts: dict[str, Any]) -> None:
    """No fact tells of it: it counts from when this process saw it."""
    assert moments(judged(built(30), **facts))["stale", DISK] == -24 + 39


def test_a_schedule_added_beside_another_does_not_set_it_back() -> None:
    """The earliest of both schedules counts."""
    both = a_schedule(), a_schedule(id=8, period="weeks", changed_at=TIME)

    assert moments(judged(built(9), schedules=both))["stale", DISK] == -9 * 24 + 39


def test_built_rows_without_a_date_tell_nothing() -> None:
    """Neither that it is stale nor that it is fine."""
    health = judged(a_backup(created_at=None, built_at=None))

    assert ("stale", DISK) not in moments(health)
    assert health.condition.key == "interval_unknown"


@pytest.mark.parametrize(
    ("days_ago", "initiated", "hours"),
    [
        ((1,), "days", 24),
        ((2, 5), "days", 72),
        ((2, 50), "days", 4 * 24),
        ((1, 1.5), "days", 24),
        ((3, 10), "weeks", 7 * 24),
        ((0.5, 7.5, 14.5), "manual", None),
    ],
)
@pytest.mark.parametrize("refused", [True, False])
def test_history_counts_only_where_schedules_are_refused(
    days_ago: tuple[float, ...], initiated: str, hours: float | None, *, refused: bool
) -> None:
    """The period of the newest row, or the gap before it, up to four periods."""
    rows = [built(each, initiated=initiated) for each in days_ago]
    health = judged(*rows, schedules=None, schedules_refused=refused)

    assert health.summary is not None
    interval = health.summary.targets[0].expected_interval
    expected = hours if refused else None
    assert (None if interval is None else interval.seconds / HOUR) == expected
    assert not any(state == "very_stale" for state, _ in moments(health))


def test_a_daily_row_in_a_weekly_chain_is_no_daily_schedule() -> None:
    """The newest row counts, not the shortest period."""
    rows = built(6.5, initiated="weeks"), built(7.5, id=1, initiated="days")
    health = judged(*rows, schedules=None, schedules_refused=True)

    assert moments(health)["stale", DISK] == -6.5 * 24 + 1.5 * 7 * 24 + 3


def test_a_pending_row_is_stuck_after_hours() -> None:
    """Six, and 24."""
    found = moments(judged(built(1), unbuilt(0.5)))

    assert found["stuck", DISK] == -12 + 6
    assert found["stuck_long", DISK] == -12 + 24


@pytest.mark.parametrize(
    "ended",
    [
        FailedBackup(5, TIME - HOUR, DISK),
        FailedBackup(5, TIME - HOUR, DISK, cancelled=True),
    ],
)
def test_a_row_whose_run_has_ended_is_not_stuck(ended: FailedBackup) -> None:
    """It failed or was cancelled; only a failure is one."""
    found = moments(judged(built(1), unbuilt(0.5), failed_backups=(ended,)))

    assert ("stuck", DISK) not in found
    assert (("failed", DISK) in found) != ended.cancelled


def test_a_manual_run_that_fails_ends_only_itself() -> None:
    """The scheduled one before it goes on; a scheduled one would not have started."""
    pending = unbuilt(0.5)
    for initiated, stuck in (("manual", True), ("days", False)):
        failed = unbuilt(0.2, id=6, initiated=initiated)
        failure = FailedBackup(6, TIME - HOUR, DISK)
        health = judged(built(1), pending, failed, failed_backups=(failure,))
        assert (("stuck", DISK) in moments(health)) == stuck


def test_a_row_is_overtaken_by_any_later_success() -> None:
    """Not only by the one that was complete last."""
    later = built(0, id=1, created_at=TIME - 29 * HOUR, built_at=TIME - 28 * HOUR)
    last = built(0, id=2, created_at=TIME - 31 * HOUR, built_at=TIME - 27 * HOUR)
    health = judged(unbuilt(1.25), later, last)

    assert ("stuck", DISK) not in moments(health)


def test_a_failure_ends_with_the_next_success() -> None:
    """Its moment is when it failed."""
    failure = FailedBackup(None, TIME - DAY, DISK)

    before = judged(built(2), failed_backups=(failure,))
    after = judged(built(0.9), failed_backups=(failure,))
    assert moments(before)["failed", DISK] == -24
    assert ("failed", DISK) not in moments(after)


def test_a_failure_whose_row_is_unknown_is_the_servers() -> None:
    """Any later success of the server ends it."""
    failure = FailedBackup(99, TIME - DAY)

    assert moments(judged(built(2), failed_backups=(failure,)))["failed", None] == -24
    recovered = judged(built(0.5), failed_backups=(failure,))
    assert ("failed", None) not in moments(recovered)
    of_a_disk_that_is_gone = FailedBackup(7, TIME - HOUR, OTHER_DISK)
    both = judged(built(2), failed_backups=(failure, of_a_disk_that_is_gone))
    assert moments(both)["failed", None] == -24


@pytest.mark.parametrize(
    ("facts", "hours"),
    [
        ({}, -400 * 24 + 36),
        ({"server": {"created_at": TIME - HOUR}}, -1 + 36),
        # Its first start is what the schedule was created for, not the next one.
        ({"schedules": (a_schedule(created_at=TIME - 2 * HOUR),)}, 1 + 6),
        ({"schedules": (a_schedule(created_at=TIME - 2 * DAY),)}, 1 - 48 + 6),
        (
            {
                "server": {"created_at": None},
                "schedules": (a_schedule(created_at=None, period="weeks"),),
            },
            -1 + 1.5 * 7 * 24,
        ),
        ({"server": {"created_at": None}, "first_read_at": TIME}, 36),
        ({"resumed_at": TIME - HOUR}, -1 + 36),
    ],
)
def test_a_server_without_restore_point_is_unprotected(
    facts: dict[str, Any], hours: float
) -> None:
    """By its age, or after its first start."""
    found = moments(judged(**facts))

    assert found["unprotected", None] == hours


def test_a_start_that_moves_on_daily_does_not_move_the_first() -> None:
    """The start that the schedule was created for counts."""
    created_at = TIME - 5 * DAY - HOUR
    young = {"created_at": TIME - 5 * DAY - 2 * HOUR}
    found = [
        moments(
            judged(
                server=young,
                schedules=(
                    a_schedule(
                        created_at=created_at, next_start_at=TIME + HOUR + days * DAY
                    ),
                ),
            )
        )["unprotected", None]
        for days in range(3)
    ]

    assert found == [found[0]] * 3


@pytest.mark.parametrize(
    "facts",
    [
        {"partial": frozenset({RECOVERY_POINTS})},
        {"recovery_points": (RecoveryPoint(1, 10, built=True, created_at=None),)},
        {"recovery_points": (RecoveryPoint(1, 10, built=True, created_at=TIME),)},
        {"expectation": Expectation(backup_required=False)},
        {"schedules": None, "disks": None},
        {"server": {"suspended": True}},
    ],
)
def test_a_server_is_not_unprotected_while_that_is_not_known(
    facts: dict[str, Any],
) -> None:
    """Recovery points may protect it, or nothing need."""
    assert ("unprotected", None) not in moments(judged(**facts))


def test_a_disk_without_restore_point_beside_others_is_unprotected() -> None:
    """By its own age and its own schedule."""
    disks = a_disk(101), a_disk(102, created_at=TIME - 10 * HOUR)
    later = a_schedule(
        id=8,
        target=OTHER_DISK,
        created_at=TIME - 9 * HOUR,
        next_start_at=TIME + 20 * HOUR,
    )

    without = judged(built(0.5), disks=disks)
    with_schedule = judged(built(0.5), disks=disks, schedules=(a_schedule(), later))
    assert moments(without)["disk_unprotected", OTHER_DISK] == -10 + 26
    # At the latest of 1.5 intervals of age and six hours after the first start.
    assert moments(with_schedule)["disk_unprotected", OTHER_DISK] == -10 + 36
    assert with_schedule.condition.key == "awaited"


def test_a_disk_without_a_date_counts_from_the_first_reading() -> None:
    """It may be new on an old server."""
    disks = a_disk(101), a_disk(102, created_at=None)

    found = moments(judged(built(0.5), disks=disks, first_read_at=TIME))
    assert found["disk_unprotected", OTHER_DISK] == 26


def test_schedules_that_are_too_old_to_count_still_tell_of_a_first_start() -> None:
    """The server is not unprotected before it, nor is a disk over."""
    new = (a_schedule(created_at=TIME - HOUR, next_start_at=TIME + 20 * HOUR),)
    found = moments(judged(schedules=None, last_schedules=new))
    whole = built(0.5, id=50, target=WHOLE, backup_type="incremental")
    stuck = moments(
        judged(built(3), unbuilt(2), whole, schedules=None, last_schedules=new)
    )

    assert found["unprotected", None] == 20 + 6
    assert stuck["stuck_long", DISK] == -24


def test_a_disk_that_was_gone_stays_gone_while_disks_cannot_be_read() -> None:
    """Its rows are still listed."""
    other = (a_disk(102),)
    health = judged(built(9), disks=None, last_disks=other, schedules=())

    assert moments(health) == {}


def test_the_fallback_does_not_replace_schedules_that_cannot_be_read() -> None:
    """Where they are refused or switched off it does."""
    fallback = Expectation(fallback_interval_seconds=DAY)
    unread = judged(built(3), schedules=None, expectation=fallback)
    refused = judged(
        built(3), schedules=None, expectation=fallback, schedules_refused=True
    )

    assert ("stale", DISK) not in moments(unread)
    assert unread.in_time is None
    assert refused.in_time is False


def test_a_disk_of_a_server_backed_up_as_a_whole_is_protected() -> None:
    """By the newer backup of the server."""
    whole = built(0.1, id=50, target=WHOLE, backup_type="incremental")
    disks = a_disk(101), a_disk(102)

    found = moments(judged(built(5), whole, disks=disks, schedules=()))
    assert ("disk_unprotected", OTHER_DISK) not in found


@pytest.mark.parametrize(
    ("changes", "hours"),
    [
        ({"next_start_at": TIME - 4 * HOUR}, -1),
        ({"next_start_at": TIME - 2 * HOUR}, None),
        ({"next_start_at": TIME - 4 * HOUR, "status": "disabled"}, None),
        ({"next_start_at": TIME - 4 * HOUR, "changed_at": TIME - HOUR}, None),
    ],
)
def test_a_schedule_is_overdue_if_a_later_reading_shows_it(
    changes: dict[str, Any], hours: float | None
) -> None:
    """A start that passed since the last reading may have happened."""
    schedules = (a_schedule(**changes),)

    found = moments(judged(built(0.5), schedules=schedules))
    unread = a_panel(schedules_read_at=TIME - 2 * HOUR)
    assert found.get(("schedule_overdue", DISK)) == hours
    assert ("schedule_overdue", DISK) not in moments(
        judged(built(0.5), schedules=schedules, panel=unread)
    )
    pending = judged(built(0.5), unbuilt(0.1), schedules=schedules)
    assert ("schedule_overdue", DISK) not in moments(pending)
    # A run that has ended since may have moved the start.
    ended = a_panel(schedules_read_at=TIME - 600)
    assert ("schedule_overdue", DISK) not in moments(
        judged(built(0.001), schedules=schedules, panel=ended)
    )


@pytest.mark.parametrize(
    ("changes", "state", "hours"),
    [
        ({"status": "failed", "updated_at": TIME - DAY}, "schedule_failed", -24),
        ({"ran": True, "failed_runs": (TIME - DAY,)}, "schedule_failing", -24 + 3),
        # The first failure counts: with each later one the alert would end.
        (
            {"ran": True, "failed_runs": (TIME - DAY, TIME - HOUR)},
            "schedule_failing",
            -24 + 3,
        ),
        ({"ran": True, "failed_runs": (TIME - 3 * DAY,)}, "schedule_failing", None),
        # Without a log: a counted failure, and no success in the last interval.
        ({"failure_count": 1}, "schedule_failing", -36 + 24 + 3),
        ({"ran": True, "failure_count": 1}, "schedule_failing", None),
    ],
)
def test_failures_of_a_schedule(
    changes: dict[str, Any], state: str, hours: float | None
) -> None:
    """Marked by the panel, in its log, or counted only."""
    found = moments(judged(built(1.5), schedules=(a_schedule(**changes),)))

    assert found.get((state, DISK)) == hours


def test_a_retry_that_succeeds_ends_a_failure_that_is_counted_for_ever() -> None:
    """The counter need not be reset."""
    retried = a_schedule(failure_count=1)

    assert (
        moments(judged(built(0.0), schedules=(retried,)))["schedule_failing", DISK]
        == 24 + 3
    )


@pytest.mark.parametrize(
    ("facts", "hours"),
    [
        ({"schedules": (a_schedule(status="disabled", updated_at=TIME - DAY),)}, -24),
        (
            {"schedules": (a_schedule(status="disabled", updated_at=None),)},
            1.5 * 24 - 12,
        ),
        ({"schedules": ()}, 1.5 * 24 - 12),
        ({"schedules": None}, None),
        ({"schedules": (a_schedule(status="disabled"), a_schedule(id=8))}, None),
        ({"schedules": (a_schedule(status="failed"),)}, None),
        ({"schedules": (a_schedule(status=""),)}, None),
        ({"schedules": (a_schedule(target=WHOLE),)}, None),
        (
            {
                "schedules": (a_schedule(status="disabled"),),
                "expectation": Expectation(backup_required=False),
            },
            None,
        ),
    ],
)
def test_a_target_whose_schedule_is_gone_is_unscheduled(
    facts: dict[str, Any], hours: float | None
) -> None:
    """Disabled or deleted, unless another covers it."""
    assert moments(judged(built(0.5), **facts)).get(("unscheduled", DISK)) == hours


@pytest.mark.parametrize(
    ("changes", "hours"),
    [({"locked_at": TIME - DAY}, -24 + 72), ({}, -12 + 72)],
)
def test_a_locked_row_is_old_after_days(changes: dict[str, Any], hours: float) -> None:
    """Counted from its last change, else from its completion."""
    assert moments(judged(built(0.5, locked=True, **changes)))["locked", DISK] == hours


def test_a_target_that_is_over_has_no_moment() -> None:
    """Its disk no longer exists."""
    gone = built(9), unbuilt(5, locked=True)
    health = judged(
        *gone,
        disks=(a_disk(102),),
        failed_backups=(FailedBackup(5, TIME, DISK),),
        schedules=(a_schedule(target=OTHER_DISK),),
    )

    assert {target for _, target in moments(health)} <= {OTHER_DISK, None}


def test_a_suspended_server_has_no_moment() -> None:
    """Nothing of it is judged."""
    health = judged(built(9), unbuilt(5, locked=True), server={"suspended": True})

    assert health.moments == ()
    assert health.condition.key == "suspended"


def test_what_schedules_say_outlives_the_backups() -> None:
    """The states made from backups go with them."""
    panel = a_panel(schedules_read_at=TIME, max_age_seconds=-1.0)
    failed = a_schedule(status="failed", updated_at=TIME - DAY)
    health = judged(built(0.5), schedules=(failed,), panel=panel)

    assert moments(health) == {("schedule_failed", DISK): -24}


@pytest.mark.parametrize(
    ("rows", "facts", "in_time"),
    [
        ((built(0.5),), {}, True),
        ((built(3),), {}, False),
        ((), {}, False),
        ((built(0.5),), {"disks": (a_disk(101), a_disk(102))}, False),
        ((unbuilt(0.1),), {"server": {"created_at": TIME}}, False),
        ((built(0.5),), {"schedules": None, "disks": None}, None),
        ((built(0.5),), {"schedules": None, "disks": (a_disk(101),)}, None),
        ((unbuilt(0.1),), {"schedules": None, "disks": (a_disk(101),)}, False),
        ((built(0.5),), {"server": {"suspended": True}}, None),
    ],
)
def test_in_time(
    rows: tuple[Backup, ...], facts: dict[str, Any], *, in_time: bool | None
) -> None:
    """For servers that need backups, as far as it is known."""
    assert judged(*rows, **facts).in_time is in_time


def test_the_worst_state_comes_first_and_causes_before_age() -> None:
    """As on the page, so in inhibitions."""
    failure = FailedBackup(5, TIME - HOUR, DISK)
    health = judged(built(2), unbuilt(0.5), failed_backups=(failure,))

    assert [problem.condition.key for problem in health.problems] == ["failed", "stale"]


def test_a_server_is_judged_again_only_when_a_moment_has_come() -> None:
    """Until then the same object comes back."""
    panel, servers = a_panel(schedules_read_at=TIME), JudgedServers()
    judged(built(0.5), panel=panel)
    found = {
        seconds: servers.update(panel, Now(TIME + seconds, MONOTONIC))[1]
        for seconds in (0.0, 10.0, 27 * HOUR + 1, 27 * HOUR + 2)
    }

    assert found[0.0] is found[10.0]
    assert found[0.0].condition.key == "fine"
    assert found[27 * HOUR + 1].condition.key == "stale"
    assert found[27 * HOUR + 1] is found[27 * HOUR + 2]
    assert found[0.0].moments == found[27 * HOUR + 2].moments


@pytest.mark.parametrize("own_list", [False, True])
@pytest.mark.parametrize(
    ("ended_days_ago", "read_ago"),
    [
        pytest.param(0.5, 2 * HOUR, id="the start was not due yet"),
        pytest.param(0.001, 600, id="a run has ended since"),
    ],
)
def test_a_reading_that_finds_the_same_schedules_shows_them_overdue(
    ended_days_ago: float, read_ago: float, *, own_list: bool
) -> None:
    """The start that passed four hours ago is still listed: nothing else changes."""
    schedules = (a_schedule(next_start_at=TIME - 4 * HOUR),)
    panel, servers = a_panel(schedules_read_at=TIME - read_ago), JudgedServers()
    judged(built(ended_days_ago), schedules=schedules, panel=panel)
    before = servers.update(panel, Now(TIME, MONOTONIC))[1]

    entry = panel.servers[1]
    if own_list:
        panel.servers[1] = msgspec.structs.replace(entry, schedules_read_at=TIME + 1)
    else:
        panel.schedules_read_at = TIME + 1
    after = servers.update(panel, Now(TIME + 2, MONOTONIC))[1]

    assert ("schedule_overdue", DISK) not in moments(before)
    assert ("schedule_overdue", DISK) in moments(after)


def test_a_restart_comes_to_the_same_moments() -> None:
    """They follow from the panel's own times."""
    failure = FailedBackup(5, TIME - HOUR, DISK)
    facts: dict[str, Any] = {
        "failed_backups": (failure,),
        "disks": (a_disk(101), a_disk(102)),
    }
    schedules = (
        a_schedule(next_start_at=TIME - 5 * HOUR),
        a_schedule(id=8, target=OTHER_DISK, status="failed"),
    )

    before = judged(built(2), unbuilt(0.5), schedules=schedules, **facts)
    after = judged(
        built(2), unbuilt(0.5), schedules=schedules, first_read_at=TIME, **facts
    )
    assert before.moments == after.moments
    assert len(before.moments) >= 4


def test_each_condition_of_a_server_is_ranked_once() -> None:
    """The order is by severity first."""
    keys = [condition.key for condition in SERVER_CONDITIONS]

    assert len(keys) == len(set(keys))
    severities = [condition.severity for condition in SERVER_CONDITIONS]
    assert severities == sorted(severities, reverse=True)
