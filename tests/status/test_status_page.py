"""Tests for what the status page and its API say, over real sockets."""

from __future__ import annotations

import asyncio
import html
import json
import re
import threading
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any, get_args, get_type_hints

import faults
import msgspec
import pytest
from call_counts import counting_calls
from checkout import ROOT
from faulty_panel import Panel, demo_panel
from harness import (
    NOW,
    MonitoredCloud,
    SteppedClock,
    monitored,
    running_exporter,
    series,
    write_config,
)
from hypothesis import given, settings
from looker import section, served, words_of
from random_stores import DAY, RandomStores
from stores import (
    MONOTONIC,
    TIME,
    a_backup,
    a_panel,
    a_server,
    a_store,
    add_server,
    stores,
)
from web_handlers import handlers_for, no_error_counts

from exporter.demo.cloud.simulation import SimulatedCloud
from exporter.health.server import judge_server
from exporter.health.targets import summarize_backups
from exporter.model.entities import Backup, Disk, Schedule, Target
from exporter.model.selection import Expectation, Shard
from exporter.model.store import LastError, ServerState, Store
from exporter.status.api import server_status, status_response
from exporter.status.query import Query
from exporter.status.schema import (
    BackupSize,
    Compliance,
    LastErrorStatus,
    PanelStatus,
    ProblemStatus,
    ServerStatus,
    StatusResponse,
    TargetStatus,
)

HTTP_PAGE = (ROOT / "docs" / "http.md").read_text("utf-8")
EVIL = "<script>alert(1)</script><img src=x onerror=\"alert('2')\">"
_LONGEST_REAL_WAIT_SECONDS = 60


def many_servers() -> Store:
    """Return two panels with five servers, each in another state."""
    one, two = a_panel("lon1"), a_panel("ams1")
    daily = Expectation(own_interval_seconds=DAY, backup_required=True)
    sizes = {1: 3000, 2: 1000, 3: 2000}
    for number, age in ((1, 0.5), (2, 2), (3, 9)):
        server = a_server(id=number, label=f"web-{number}", created_at=TIME - 90 * DAY)
        one.register_server(number, server, daily)
        made = a_backup(
            id=number,
            target=Target("Disk", 10 * number),
            size_bytes=sizes[number],
            created_at=TIME - age * DAY - 60,
            built_at=TIME - age * DAY,
        )
        one.record_backups(number, (made,), time=TIME, monotonic=MONOTONIC)
    add_server(
        two, a_server(id=4, label="Ärger", hostname="db.example.com", suspended=True)
    )
    two.register_server(
        5, a_server(id=5, label="new", created_at=TIME - 90 * DAY), daily
    )
    two.record_backups(5, (), time=TIME, monotonic=MONOTONIC)
    two.update(
        2 + 3, "schedules", (a_schedule(Target("VirtualMachine", 5), TIME + 7200),)
    )
    return a_store(one, two)


def a_schedule(target: Target, next_start_at: float) -> Schedule:
    """Return an enabled daily schedule."""
    return Schedule(1, "autobackup", target, "days", 1, "enabled", next_start_at, 0)


def _of_ago(seconds: float) -> Backup:
    """Return a good backup that was complete so long ago."""
    return a_backup(created_at=TIME - seconds - 60, built_at=TIME - seconds)


def _begun() -> Backup:
    """Return the row of a daily backup that was begun a minute ago."""
    return a_backup(built=False, built_at=None, created_at=TIME - 60)


def _undated() -> Backup:
    """Return a good backup of which the panel does not tell when it was complete."""
    return a_backup(created_at=None, built_at=None)


# What is found


async def test_the_worst_come_first() -> None:
    """Then by name; suspended servers and those that need none come last."""
    async with served(many_servers()) as looker:
        found = await looker.status()

    assert [(s["vm_id"], s["state"]) for s in found["servers"]] == [
        ("5", "unprotected"),
        ("3", "very_stale"),
        ("2", "stale"),
        ("1", "fine"),
        ("4", "suspended"),
    ]
    assert found["states"] == {
        "unprotected": 1,
        "very_stale": 2,
        "stale": 1,
        "fine": 1,
        "suspended": 1,
    }
    assert (found["total"], found["matching"]) == (5, 5)


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"q": "WEB-2"}, ["2"]),
        ({"q": "ärger"}, ["4"]),
        ({"q": "db.example"}, ["4"]),
        ({"q": "5"}, ["5"]),
        ({"q": " "}, ["5", "3", "2", "1", "4"]),
        ({"q": "no such"}, []),
        ({"state": "stale"}, ["2"]),
        ({"state": ["stale", "fine"]}, ["2", "1"]),
        ({"state": "problem"}, ["5", "3", "2"]),
        ({"state": ""}, ["5", "3", "2", "1", "4"]),
        ({"panel": "ams1"}, ["5", "4"]),
        ({"panel": "ams1", "state": "problem", "q": "new"}, ["5"]),
        ({"sort": "state", "order": "desc"}, ["4", "1", "2", "3", "5"]),
        ({"sort": "server"}, ["5", "1", "2", "3", "4"]),
        ({"sort": "panel", "q": "e"}, ["5", "4", "3", "2", "1"]),
        ({"sort": "last_success"}, ["5", "4", "3", "2", "1"]),
        ({"sort": "last_success", "order": "desc"}, ["1", "2", "3", "5", "4"]),
        ({"sort": "size", "panel": "lon1"}, ["2", "3", "1"]),
        ({"sort": "interval", "panel": "lon1"}, ["3", "2", "1"]),
        ({"sort": "next_start"}, ["5", "3", "2", "1", "4"]),
        ({"per_page": 2}, ["5", "3"]),
        ({"per_page": 2, "page": 3}, ["4"]),
        ({"per_page": 2, "page": 99}, ["4"]),
        ({"utm": "x"}, ["5", "3", "2", "1", "4"]),
    ],
)
async def test_parameters_choose_and_sort(
    parameters: dict[str, Any], expected: list[str]
) -> None:
    """Search, filters, order and pages; the same for the page and for JSON."""
    async with served(many_servers()) as looker:
        _, page = await looker.get("/", **parameters)
        shown = re.findall(r'<a href="server\?panel=\w+&amp;vm_id=(\d+)"><bdi>', page)

        assert await looker.ids(**parameters) == expected
        assert shown == expected


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"state": "bad"}, "state: must be one of problem, unprotected, "),
        ({"panel": "none"}, "panel: must be one of lon1, ams1"),
        ({"panel": ["lon1", "none"]}, "panel: must be one of lon1, ams1"),
        ({"sort": "bad"}, "sort: must be one of state, server, panel, "),
        ({"order": "up"}, "order: must be one of asc, desc"),
        ({"page": "0"}, "page: must be a whole number from 1"),
        ({"page": "-1"}, "page: must be a whole number from 1"),
        ({"page": "٣"}, "page: must be a whole number from 1"),
        ({"page": "9" * 5000}, "page: must be a whole number from 1"),
        ({"per_page": "1001"}, "per_page: must be a whole number from 1 to 100"),
    ],
)
@pytest.mark.parametrize("path", ["/", "/api/v1/status"])
async def test_what_means_nothing_is_refused_with_what_would_be_right(
    path: str, parameters: dict[str, str], expected: str
) -> None:
    """A filter that does nothing would look as if all were well."""
    async with served(many_servers()) as looker:
        code, text = await looker.get(path, **parameters)

    assert code == 400
    assert text.startswith(expected)


async def test_a_server_counts_under_everything_that_is_said_of_it() -> None:
    """What is stale and stuck is found as both; its own state is the worse."""
    panel = a_panel()
    panel.register_server(1, a_server(), Expectation(own_interval_seconds=DAY))
    rows = (
        a_backup(created_at=TIME - 9 * DAY, built_at=TIME - 9 * DAY),
        a_backup(id=2, built=False, built_at=None, created_at=TIME - 7 * 3600),
    )
    panel.record_backups(1, tuple(rows), time=TIME, monotonic=MONOTONIC)
    async with served(a_store(panel)) as looker:
        found = await looker.status()
        stuck = await looker.ids(state="stuck")
        target = found["servers"][0]["targets"][0]

    assert found["states"] == {"very_stale": 1, "stuck": 1}
    assert found["servers"][0]["state"] == target["state"] == "very_stale"
    assert [(f["alert"], f["reason"]) for f in found["servers"][0]["problems"]] == [
        ("OnAppBackupVeryStale", "overdue by 8 d"),
        ("OnAppBackupStuck", "a backup run has not ended for 7 h"),
    ]
    assert target["overdue_since"] == "2027-01-07T08:00:00Z"
    assert stuck == ["1"]


@pytest.mark.parametrize(
    ("row", "state"),
    [
        (
            a_backup(id=2, built=False, built_at=None, created_at=TIME - 7 * 3600),
            "stuck",
        ),
        (a_backup(id=2, locked=True, built_at=TIME - 4 * DAY), "locked"),
    ],
    ids=["stuck", "locked"],
)
async def test_a_good_backup_in_time_hides_nothing_else(
    row: Backup, state: str
) -> None:
    """The next one may hang though the last is young enough."""
    panel = a_panel()
    panel.register_server(1, a_server(), Expectation(own_interval_seconds=DAY))
    rows = (_of_ago(20 * 3600), row)
    panel.record_backups(1, rows, time=TIME, monotonic=MONOTONIC)
    async with served(a_store(panel)) as looker:
        found = await looker.status()

    assert found["servers"][0]["state"] == state


async def test_whatever_an_alert_reports_is_a_problem() -> None:
    """A notice too, where an alert is to follow: a locked backup's does."""
    panel = a_panel()
    days_ago = TIME - 4 * DAY
    locked = a_backup(id=2, locked=True, created_at=days_ago, built_at=days_ago)
    add_server(panel, a_server(), a_backup(), locked)
    add_server(panel, a_server(id=2), a_backup())
    async with served(a_store(panel)) as looker:
        found = await looker.status(state="problem")

    assert [(s["vm_id"], s["state"]) for s in found["servers"]] == [("1", "locked")]


@pytest.mark.parametrize(
    ("age", "rows", "own", "expected"),
    [
        (90 * DAY, (), Expectation(), "interval_unknown"),
        (90 * DAY, (a_backup(initiated="manual"),), Expectation(), "interval_unknown"),
        (3600, (a_backup(initiated="manual"),), Expectation(), "interval_unknown"),
        (3600, (), Expectation(), "new"),
        (3600, (), Expectation(own_interval_seconds=DAY, backup_required=True), "new"),
        (3600, (), Expectation(backup_required=False), "not_required"),
        (90 * DAY, (a_backup(),), Expectation(backup_required=False), "not_required"),
        (90 * DAY, (a_backup(),), Expectation(own_interval_seconds=DAY), "fine"),
        (
            90 * DAY,
            (a_backup(),),
            Expectation(own_interval_seconds=DAY, backup_required=False),
            "not_required",
        ),
        (
            3600,
            (_of_ago(9 * DAY),),
            Expectation(own_interval_seconds=DAY),
            "very_stale",
        ),
        (90 * DAY, (), Expectation(backup_required=True), "unprotected"),
        (90 * DAY, (_undated(),), Expectation(), "interval_unknown"),
        (
            90 * DAY,
            (_undated(),),
            Expectation(own_interval_seconds=DAY, backup_required=True),
            "interval_unknown",
        ),
        (90 * DAY, (_begun(),), Expectation(), "interval_unknown"),
        (
            90 * DAY,
            (a_backup(marked_for_delete=True),),
            Expectation(),
            "interval_unknown",
        ),
        (90 * DAY, (_begun(),), Expectation(backup_required=False), "not_required"),
        (3600, (_begun(),), Expectation(), "new"),
    ],
)
async def test_what_no_alert_could_tell_of_is_not_fine(
    age: float, rows: tuple[Backup, ...], own: Expectation, expected: str
) -> None:
    """Without a backup, or without an interval to judge its age by, nobody knows."""
    panel = a_panel()
    panel.register_server(1, a_server(created_at=TIME - age), own)
    panel.record_backups(1, tuple(rows), time=TIME, monotonic=MONOTONIC)
    async with served(a_store(panel)) as looker:
        (found,) = (await looker.status())["servers"]
        problem = await looker.ids(state="problem")

    assert found["state"] == expected
    assert {t["state"] for t in found["targets"]} <= {expected}
    quiet = {"interval_unknown", "new", "not_required", "fine"}
    assert problem == ([] if expected in quiet else ["1"])


@pytest.mark.parametrize("seed", range(4))
async def test_fine_is_only_what_is_known_to_be_expected_and_in_time(seed: int) -> None:
    """Of generated worlds, by what is shown alone: nothing is fine for want of news."""
    store = RandomStores(Random(seed)).store(panels=8, servers=20)  # noqa: S311  # no secret
    async with served(store) as looker:
        servers = (await looker.status(per_page=1000))["servers"]
    fine = [server for server in servers if server["state"] == "fine"]
    every = [target for server in servers for target in server["targets"]]
    targets = [target for target in every if target["state"] == "fine"]

    assert len(fine) >= 2
    assert len(targets) >= 20
    assert len(every) > 2 * len(targets)
    for server in fine:
        states = {target["state"] for target in server["targets"]}
        assert server["read_succeeded"]
        assert server["backup_required"] is not False
        assert "fine" in states <= {"fine", "not_required"}
    for target in targets:
        seconds = TIME - datetime.fromisoformat(target["last_success_at"]).timestamp()
        assert seconds <= 1.5 * target["expected_interval_seconds"] + 3 * 3600 + 1


async def test_who_is_suspended_is_not_judged() -> None:
    """Neither young nor without an interval."""
    panel = a_panel()
    add_server(panel, a_server(suspended=True))
    add_server(panel, a_server(id=2, suspended=True), a_backup(initiated="manual"))
    async with served(a_store(panel)) as looker:
        found = (await looker.status())["states"]

    assert found == {"suspended": 2}


_DAILY_DISK = a_schedule(Target("Disk", 101), TIME + 7200)
_DAILY_SERVER = a_schedule(Target("VirtualMachine", 1), TIME + 7200)
_SECOND, _WHOLE = Target("Disk", 102), Target("VirtualMachine", 1)
_FOR_LONG = {"created_at": TIME - 90 * DAY, "built_at": TIME - 90 * DAY}


@pytest.mark.parametrize(
    ("second", "disks", "schedule", "states"),
    [
        pytest.param(
            a_backup(id=2, target=_SECOND, **_FOR_LONG),
            (101, 102),
            _DAILY_DISK,
            {"Disk 101": "fine", "Disk 102": "unscheduled"},
            id="a disk that nobody schedules",
        ),
        pytest.param(
            a_backup(id=2, target=_SECOND, **_FOR_LONG),
            (101,),
            _DAILY_DISK,
            {"Disk 101": "fine", "Disk 102": "not_required"},
            id="a disk that is gone",
        ),
        pytest.param(
            a_backup(id=2, target=_WHOLE, initiated="manual", **_FOR_LONG),
            (101,),
            _DAILY_DISK,
            {"Disk 101": "fine", "VirtualMachine 1": "not_required"},
            id="the whole server by hand, beside its disks",
        ),
        pytest.param(
            a_backup(id=2, target=_WHOLE, created_at=TIME - 60, built_at=TIME - 30),
            (101,),
            _DAILY_SERVER,
            {"Disk 101": "not_required", "VirtualMachine 1": "fine"},
            id="a disk that is over: the whole server took its place",
        ),
        pytest.param(
            a_backup(id=2, target=_WHOLE, created_at=TIME - 7260, built_at=TIME - 7200),
            (101,),
            _DAILY_SERVER,
            {"Disk 101": "not_required", "VirtualMachine 1": "fine"},
            id="a disk by hand after the whole server",
        ),
        pytest.param(
            a_backup(id=2, created_at=TIME - 60, built_at=TIME - 30),
            (101, -102),
            _DAILY_DISK,
            {"Disk 101": "fine"},
            id="a swap disk",
        ),
        pytest.param(
            a_backup(id=2, target=_SECOND, built=False, built_at=None),
            (101, 102),
            _DAILY_DISK,
            {"Disk 102": "disk_unprotected", "Disk 101": "fine"},
            id="a disk without any backup",
        ),
    ],
)
async def test_what_nobody_schedules_is_not_fine(
    second: Backup,
    disks: tuple[int, ...],
    schedule: Schedule,
    states: dict[str, str],
) -> None:
    """Another target that is in time says nothing of it; less than 0 is a swap disk."""
    panel = a_panel()
    add_server(panel, a_server(created_at=TIME - 99 * DAY), a_backup(), second)
    known = tuple(
        Disk(abs(disk), 1, disk < 0, has_autobackups=False, created_at=TIME - 99 * DAY)
        for disk in disks
    )
    panel.update(1, "disks", known)
    panel.update(1, "schedules", (schedule,))
    async with served(a_store(panel)) as looker:
        (found,) = (await looker.status())["servers"]
    shown = {f"{t['target_type']} {t['target_id']}": t for t in found["targets"]}

    assert {name: target["state"] for name, target in shown.items()} == states
    assert found["state"] in {*states.values()} - {"not_required"}
    assert (found["state"] == "fine") == (
        {*states.values()} <= {"fine", "not_required"}
    )


async def test_schedules_that_start_nothing_are_said_alone() -> None:
    """They are why no interval is known."""
    panel = a_panel()
    disabled = msgspec.structs.replace(
        _DAILY_DISK, status="disabled", updated_at=TIME - DAY
    )
    on_second = msgspec.structs.replace(disabled, target=_SECOND)
    given_up = msgspec.structs.replace(_DAILY_DISK, status="failed")
    second = a_backup(id=2, target=_SECOND)
    for number, rows, schedules in (
        (1, (a_backup(),), (disabled,)),
        (2, (a_backup(),), (given_up,)),
        (3, (a_backup(), second), (_DAILY_DISK, on_second)),
    ):
        add_server(panel, a_server(id=number, created_at=TIME - 90 * DAY), *rows)
        panel.update(number, "schedules", schedules)
    async with served(a_store(panel)) as looker:
        found = (await looker.status(sort="server"))["servers"]

    assert {s["vm_id"]: [f["state"] for f in s["problems"]] for s in found} == {
        "1": ["unscheduled"],
        "2": ["schedule_failed"],
        "3": ["unscheduled"],
    }


@pytest.mark.parametrize(
    ("age", "expected"), [(3600, "new"), (90 * DAY, "disk_unprotected")]
)
async def test_a_disk_without_backup_is_new_on_a_young_server(
    age: float, expected: str
) -> None:
    """It is not fine while another disk has a backup, nor has it a problem yet."""
    panel = a_panel()
    add_server(panel, a_server(created_at=TIME - age), a_backup())
    both = tuple(
        Disk(number, 1, is_swap=False, has_autobackups=True, created_at=TIME - age)
        for number in (101, 102)
    )
    panel.update(1, "disks", both)
    async with served(a_store(panel)) as looker:
        (found,) = (await looker.status())["servers"]

    assert found["state"] == expected
    assert [(t["target_id"], t["state"]) for t in found["targets"]] == [
        (102, expected),
        (101, "interval_unknown"),
    ]


async def test_a_stale_disk_of_a_young_server_is_stale() -> None:
    """Its youth excuses nothing that is expected every hour."""
    panel = a_panel()
    own = Expectation(own_interval_seconds=3600, backup_required=True)
    panel.register_server(1, a_server(created_at=TIME - 20 * 3600), own)
    rows = (_of_ago(10 * 3600), a_backup(id=2, target=_SECOND))
    panel.record_backups(1, tuple(rows), time=TIME, monotonic=MONOTONIC)
    three = tuple(
        Disk(number, 1, is_swap=False, has_autobackups=True)
        for number in (101, 102, 103)
    )
    panel.update(1, "disks", three)
    async with served(a_store(panel)) as looker:
        (found,) = (await looker.status())["servers"]

    assert [(t["target_id"], t["state"]) for t in found["targets"]] == [
        (101, "very_stale"),
        (103, "very_stale"),
        (102, "fine"),
    ]


async def test_what_no_alert_tells_of_says_what_to_do_on_the_servers_page() -> None:
    """There is no runbook to lead to."""
    panel = a_panel()
    add_server(
        panel, a_server(created_at=TIME - 90 * DAY), a_backup(initiated="manual")
    )
    async with served(a_store(panel)) as looker:
        (found,) = (await looker.status(state="interval_unknown"))["servers"]
        _, page = await looker.get("/server", panel="cp", vm_id=1)

    assert "set expected_interval" in found["problems"][0]["action"]
    assert f"What to do: {found['problems'][0]['action']}." in page
    assert "What is to be known" in page
    assert "Fine" not in page


async def test_no_target_is_better_than_its_server() -> None:
    """What is said of a server as a whole holds for each of its disks."""
    panel = a_panel(max_age_seconds=DAY)
    begun = a_backup(built=False, built_at=None, created_at=TIME - 60)
    two_days = {"created_at": TIME - 2 * DAY, "built_at": TIME - 2 * DAY}
    old, other = a_backup(**two_days), a_backup(id=2, target=Target("Disk", 102))
    for number, rows, seconds_ago in (
        (1, (begun,), 0),
        (2, (a_backup(),), 3 * 3600),
        (3, (begun,), 0),
        (4, (old, other), 0),
    ):
        own = Expectation(own_interval_seconds=DAY, backup_required=True)
        created_at = TIME - 90 * DAY
        server = a_server(id=number, suspended=number == 3, created_at=created_at)
        panel.register_server(number, server, own)
        moments = {"time": TIME - seconds_ago, "monotonic": MONOTONIC - seconds_ago}
        panel.record_backups(number, tuple(rows), **moments)
    async with served(a_store(panel)) as looker:
        found = (await looker.status())["servers"]
        _, page = await looker.get("/server", panel="cp", vm_id=1)

    assert {s["vm_id"]: [t["state"] for t in s["targets"]] for s in found} == {
        "1": ["unprotected"],
        "2": ["data_old"],
        "3": ["suspended"],
        "4": ["stale", "fine"],
    }
    assert "Fine" not in page


# What is said


async def test_a_panel_that_refuses_says_what_to_do_and_when_it_is_asked_again(
    tmp_path: Path,
) -> None:
    """The hint of the log, and no key anywhere."""
    panel = Panel(SimulatedCloud(NOW))
    secret = "wrong-and-secret"  # of nobody
    auth = {"username": "demo@example.com", "password": secret}
    async with monitored(panel, tmp_path, basic_auth=auth) as cloud:
        (found,) = (await _status(cloud))["panels"]
        _, page, _ = await cloud.get("/")
        _, output, _ = await cloud.get("/api/v1/status")

    assert (found["state"], found["up"]) == ("unauthorized", False)
    assert found["last_error"]["reason"] == "unauthorized"
    assert found["errors"]["unauthorized"] == 1
    assert found["next_request_at"] == "2027-01-15T08:10:00Z"
    assert found["problems"][0]["reason"] == "refused for 0 s; last try 0 s ago"
    assert "Credentials refused" in page
    assert "What to do: check basic_auth" in page
    assert 'href="runbooks/OnAppPanelUnauthorized"' in page
    assert secret not in page + output


async def test_an_outage_lasts_since_its_first_failure(tmp_path: Path) -> None:
    """Whatever it fails for meanwhile; the last try is not its beginning."""
    world = SimulatedCloud(NOW)
    server = world.add_server()
    world.add_backup(server.id)
    panel = Panel(world)
    seen = []
    async with monitored(panel, tmp_path) as cloud:
        for fault in (faults.status(500), faults.reset(), faults.html(), _refusing()):
            outage = panel.faults.add(fault)
            for _ in range(4):
                await cloud.advance(1800)
            (found,) = (await _status(cloud))["panels"]
            (read,) = (await _status(cloud))["servers"]
            seen.append(
                (found["last_error"], found["problems"][0], read["problems"][0])
            )
            outage.remove()
        _, page, _ = await cloud.get("/")
    errors, problems, of_server = zip(*seen, strict=True)
    begun, ended = (_unix(errors[0]["since"]), _unix(errors[-1]["at"]))

    assert len({error["reason"] for error in errors}) > 2
    assert {error["since"] for error in errors} == {errors[0]["since"]}
    assert {problem["since"] for problem in problems} == {errors[0]["since"]}
    assert NOW <= begun <= NOW + 1800
    assert NOW + 7 * 3600 < ended <= NOW + 8 * 3600
    length = r"no usable answer for 7 h [0-9]+ min; last try [0-9 mins]+ ago"
    assert re.fullmatch(length, problems[-1]["reason"])
    assert re.match("last read 8 h .*ago; failing for 7 h", of_server[-1]["reason"])
    assert f'since <time datetime="{errors[0]["since"]}">' in page
    assert f'last try <time datetime="{errors[-1]["at"]}">' in page


async def test_credentials_are_refused_since_the_first_refusal(tmp_path: Path) -> None:
    """The outage before it is another matter, and so is one while it lasts."""
    panel = Panel(SimulatedCloud(NOW))
    async with monitored(panel, tmp_path) as cloud:
        for step in range(4):
            outage = panel.faults.add(faults.status(500)) if step % 2 == 0 else None
            await cloud.advance(3600)
            if step == 0:
                panel.password = "changed"
                refused_after = cloud.clock.time()
            if outage is not None:
                outage.remove()
        (found,) = (await _status(cloud))["panels"]

    problem, last_error = found["problems"][0], found["last_error"]
    since = _unix(problem["since"])
    assert problem["state"] == "unauthorized"
    assert refused_after <= since <= refused_after + 1800
    assert re.fullmatch(r"refused for [23] h.*; last try .* ago", problem["reason"])
    assert _unix(last_error["since"]) < NOW + 1800


async def test_a_silent_panel_is_down_since_its_last_good_answer() -> None:
    """Nothing has failed, and yet nothing has proven to come from the panel."""
    panel = a_panel(last_proven_at_monotonic=MONOTONIC - 3 * 3600)
    async with served(a_store(panel)) as looker:
        (found,) = (await looker.status())["panels"]
        _, page = await looker.get("/panel", panel="cp")

    assert found["state"] == "down"
    assert "run <code>onapp-backup-exporter check</code>: it" in page
    assert _unix(found["problems"][0]["since"]) == TIME - 3 * 3600
    assert found["problems"][0]["reason"] == "no usable answer for 3 h"


def _unix(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


async def test_the_last_error_of_a_server_stays_after_it_was_read_again(
    tmp_path: Path,
) -> None:
    """Whoever looks later wants to know what it was."""
    world = SimulatedCloud(NOW)
    server = world.add_server()
    world.add_backup(server.id)
    panel = Panel(world)
    async with monitored(panel, tmp_path) as cloud:
        fault = panel.faults.add(_refusing(), resource="backups")
        await cloud.advance(900)
        (failing,) = (await _status(cloud))["servers"]
        _, page, _ = await cloud.get(f"/server?panel=cp&vm_id={server.id}")
        fault.remove()
        await cloud.advance(900)
        (good,) = (await _status(cloud))["servers"]

    assert (failing["state"], failing["read_succeeded"]) == ("poll_failing", False)
    assert failing["last_error"]["reason"] == "status"
    assert "Last error" in page
    assert failing["last_error"]["error"].split(":")[0] in page
    assert (good["state"], good["read_succeeded"]) == ("not_required", True)
    assert good["last_error"]["reason"] == "status"


async def test_what_to_do_about_a_server_suits_what_was_asked(tmp_path: Path) -> None:
    """No collector switches its backups off, and what is only configured has a why."""
    world = SimulatedCloud(NOW)
    forbidden, gone = world.add_server(), world.add_server()
    panel = Panel(world)
    panel.faults.add(faults.forbidden(), resource="backups", server_id=forbidden.id)
    panel.faults.add(faults.status(404), resource="backups", server_id=gone.id)
    named: dict[str, Any] = {"virtual_machines": [forbidden.id, gone.id, "nobodys"]}
    async with monitored(panel, tmp_path, **named) as cloud:
        found = await _status(cloud)
        _, page, _ = await cloud.get("/server?panel=cp&vm_id=nobodys")
    output = {s["vm_id"]: s["last_error"] for s in found["servers"]}
    hints = {vm_id: problem["hint"] for vm_id, problem in output.items()}

    assert "backups.read" in hints[str(forbidden.id)]
    assert "may just have been destroyed" in hints[str(gone.id)]
    assert "check virtual_machines" in hints["nobodys"]
    assert output["nobodys"]["reason"] == "not_found"
    assert "What to do: check virtual_machines" in page
    assert "collectors" not in " ".join(hints.values())


@pytest.mark.parametrize(
    ("resource", "state", "level", "about"),
    [
        ("virtual_machines", "no_servers", "warning", None),
        ("backups", "reads_failing", "notice", "2"),
    ],
)
async def test_a_panel_of_which_nothing_is_known_is_not_just_up(
    tmp_path: Path, resource: str, state: str, level: str, about: str | None
) -> None:
    """It answers, but what it hides from the role is in no state at all."""
    world = SimulatedCloud(NOW)
    servers = [world.add_server(), world.add_server()]
    panel = Panel(world)
    if resource == "backups":
        panel.faults.add(faults.forbidden(), resource="backups")
    else:
        panel.visible = lambda _: False
    async with monitored(panel, tmp_path) as cloud:
        (found,) = (await _status(cloud))["panels"]
        _, page, _ = await cloud.get("/")
    (output,) = found["problems"]

    assert len(servers) == 2
    assert (found["state"], found["level"], output["about"]) == (state, level, about)
    assert f"What to do: {output['action']}." in html.unescape(page)
    assert ">Up<" not in page


def _refusing() -> Any:
    return faults.answer(503, {}, b"")


async def _status(cloud: MonitoredCloud) -> dict[str, Any]:
    _, text, _ = await cloud.get("/api/v1/status")
    found: dict[str, Any] = json.loads(text)
    return found


async def test_a_server_that_is_only_configured_is_shown_by_its_name() -> None:
    """No number is known for it, and nothing of its backups."""
    panel = a_panel(unresolved=("azby<gzz6",))
    async with served(a_store(panel)) as looker:
        (found,) = (await looker.status())["servers"]
        code, page = await looker.get("/server", panel="cp", vm_id="azby<gzz6")

    assert (found["vm_id"], found["state"]) == ("azby<gzz6", "data_old")
    assert code == 200
    assert "azby&lt;gzz6" in page


async def test_every_backup_is_on_its_servers_page() -> None:
    """The newest first, in pages."""
    panel = a_panel()
    rows = [a_backup(id=n, created_at=TIME - n, identifier=f"b{n}") for n in range(450)]
    add_server(panel, a_server(), *rows)
    async with served(a_store(panel)) as looker:
        pages = [
            await looker.get("/server", panel="cp", vm_id=1, page=number)
            for number in (1, 2, 3, 99)
        ]
    shown = [re.findall(r"<bdi>b(\d+)</bdi>", text) for _, text in pages]

    assert [len(numbers) for numbers in shown] == [200, 200, 50, 50]
    assert [int(n) for numbers in shown[:3] for n in numbers] == list(range(450))


@pytest.mark.parametrize(
    "parameters",
    [
        {"panel": "cp", "vm_id": "2"},
        {"panel": "none", "vm_id": "1"},
        {"panel": "cp", "vm_id": "1\x00"},
        {"panel": "cp", "vm_id": "²"},
        {"panel": "cp", "vm_id": "9" * 5000},
        {"panel": "cp"},
        {},
    ],
)
async def test_a_server_that_is_not_there_is_404(parameters: dict[str, str]) -> None:
    """With words; another shard may have it."""
    panel = a_panel()
    add_server(panel, a_server(), a_backup())
    async with served(a_store(panel)) as looker:
        code, text = await looker.get("/server", **parameters)

    assert code == 404
    assert "another shard's" in text


async def test_nothing_that_a_panel_says_becomes_markup() -> None:
    """Names, addresses, versions, errors and identifiers are text."""
    problem = LastError("timeout", EVIL, EVIL, TIME, TIME)
    panel = a_panel(EVIL, version=EVIL, url=f"https://cp/{EVIL}", last_error=problem)
    panel.unresolved = (EVIL,)
    changes = {"backup_type": EVIL, "initiated": EVIL, "target": Target(EVIL, 1)}
    server = a_server(label=EVIL, hostname=EVIL, identifier=EVIL)
    add_server(panel, server, a_backup(identifier=EVIL, **changes))
    panel.record_failure(1, problem)
    async with served(a_store(panel)) as looker:
        pages = [
            await looker.get("/", q=EVIL),
            await looker.get("/", q=EVIL, panel=EVIL),
            await looker.get("/server", panel=EVIL, vm_id=1),
            await looker.get("/server", panel=EVIL, vm_id=EVIL),
        ]

    for code, text in pages:
        assert code == 200
        assert text.count("&lt;script&gt;") >= 3
        assert text.count("<script>") == 1
        assert "<img" not in text
        assert 'onerror="' not in text


async def test_pages_are_served_under_a_policy_that_lets_nothing_else_in() -> None:
    """No script but the page's own, nothing from anywhere, no frame around it."""
    async with (
        served(many_servers()) as looker,
        looker.session.get(looker.base + "/") as response,
    ):
        text, headers = await response.text(), response.headers
    policy = dict(
        part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; ")
    )

    assert policy["default-src"] == policy["base-uri"] == "'none'"
    assert policy["frame-ancestors"] == "'none'"
    assert policy["form-action"] == "'self'"
    assert re.fullmatch(r"'sha256-[\w+/]{43}='", policy["script-src"])
    assert re.fullmatch(r"'sha256-[\w+/]{43}='", policy["style-src"])
    assert headers["Referrer-Policy"] == "no-referrer"
    assert re.findall(r' on\w+=| style="|javascript:', text) == []
    loaded = r'<(?!a )[^>]* (?:src|href|action)="(?:\w+:)?//'
    assert re.findall(loaded, text) == []


@pytest.mark.parametrize(
    ("store", "expected"),
    [
        (a_store(), "No panel is configured."),
        (a_store(a_panel()), "No server is known."),
        (
            a_store(
                a_panel(
                    reachable=None,
                    last_proven_at_monotonic=None,
                    first_pass_ended=False,
                )
            ),
            "the first pass has not ended",
        ),
    ],
)
async def test_nothing_to_show_is_said(store: Store, expected: str) -> None:
    """An empty table could mean anything."""
    async with served(store) as looker:
        code, text = await looker.get("/")

    assert code == 200
    assert expected in text


async def test_a_shard_says_which_it_is() -> None:
    """What is missing is on another's page, and no fault of the panel."""
    panel = a_panel(servers_listed=100)
    add_server(panel, a_server(), a_backup())
    async with served(a_store(panel), shard=Shard(1, 3)) as looker:
        found = await looker.status()
        _, text = await looker.get("/")

    assert (found["shard"], found["total_shards"]) == (1, 3)
    assert found["panels"][0]["state"] == "up"
    assert "shard 1 of 3" in text


async def test_links_lead_where_they_should_below_any_path() -> None:
    """All are relative, so that a proxy may put a path before them."""
    async with served(many_servers(), telemetry_path="/all/metrics") as looker:
        for page in ("/", "/server?panel=lon1&vm_id=1"):
            async with looker.session.get(looker.base + page) as response:
                links = re.findall(r'(?:href|action)="([^"]*)"', await response.text())
            own = {link.replace("&amp;", "&") for link in links if ":" not in link}

            assert {"all/metrics", "config", "-/healthy", "-/ready"} <= own
            for link in own:
                assert not link.startswith("/")
                async with looker.session.get(f"{looker.base}/{link}") as answer:
                    assert answer.status == 200, link


async def test_what_is_wrong_with_a_panel_leaves_room_for_its_servers() -> None:
    """Of thousands of schedules that nobody claims the worst are shown."""
    panel = a_panel(schedules_read_at=TIME)
    add_server(panel, a_server(), a_backup())
    late = (a_schedule(Target("Disk", n), TIME - DAY) for n in range(3000))
    schedules = tuple(
        msgspec.structs.replace(schedule, id=number)
        for number, schedule in enumerate(late)
    )
    given_up = msgspec.structs.replace(schedules[0], id=9999, status="failed")
    panel.unassigned_schedules = ServerState(
        "cp", 0, Expectation(), schedules=(*schedules, given_up)
    )
    async with served(a_store(panel)) as looker:
        _, page = await looker.get("/")
        (found,) = (await looker.status())["panels"]

    assert len(found["problems"]) == 3001
    assert "Schedule failed, disk 0: the panel marked schedule 9999" in page
    assert page.count("Schedule overdue, disk ") == 9
    assert '<a href="api/v1/status">2991 more</a>' in page
    assert len(page) < 50_000


async def test_what_holds_since_an_unknown_time_has_no_age() -> None:
    """It holds at once all the same, for the alert too."""
    undated = Schedule(
        7, "autobackup", Target("Disk", 101), "days", 1, "failed", None, 3
    )
    panel = a_panel()
    panel.register_server(1, a_server(created_at=None), Expectation())
    panel.record_schedules(1, (undated,), TIME)
    panel.unassigned_schedules = ServerState(
        "cp", 0, Expectation(), schedules=(msgspec.structs.replace(undated, id=8),)
    )
    async with served(a_store(panel)) as looker:
        found = await looker.status()
        _, metrics = await looker.get("/metrics")
        pages = [
            (await looker.get(path, panel="cp", vm_id=1))[1]
            for path in ("/server", "/panel")
        ]
    problems = [of["problems"][0] for of in (*found["servers"], *found["panels"])]
    moments = series(
        metrics, "onapp_state_start_timestamp_seconds", state="schedule_failed"
    )

    assert [(p["state"], p["since"]) for p in problems] == [
        ("schedule_failed", None),
        ("schedule_failed", None),
    ]
    assert [p["reason"] for p in problems] == [
        "the panel marked schedule 7 as failed",
        "the panel marked schedule 8 as failed",
    ]
    for page in pages:
        words = section(words_of(page), "What is wrong")
        assert re.search("the panel marked schedule [78] as failed OnApp", words)
        assert "ago" not in words.partition("OnAppScheduleFailing")[0]
    assert [*moments.values()] == [0, 0]


# JSON


async def test_the_json_has_the_documented_keys_and_moments(tmp_path: Path) -> None:
    """All of them, always; moments are RFC 3339 in UTC."""
    panel = await demo_panel(clock=(clock := SteppedClock(NOW)).time)
    try:
        write_config(tmp_path / "onapp.yml", panel, {}, {})
        async with running_exporter(panel, tmp_path / "onapp.yml", clock) as cloud:
            _, text, headers = await cloud.get("/api/v1/status?per_page=1000")
    finally:
        await panel.stop()
    decoded = msgspec.json.decode(text, type=StatusResponse, strict=True)
    moments = re.findall(r'"(?:\w+_)?at":"([^"]*)"', text)

    assert headers["Content-Type"] == "application/json"
    assert msgspec.json.decode(msgspec.json.encode(decoded)) == json.loads(text)
    assert decoded.total == len(decoded.servers) > 20
    assert len(moments) > 100
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", m) for m in moments)


@pytest.mark.parametrize(
    "shape",
    [
        *(StatusResponse, Compliance, PanelStatus, ServerStatus, TargetStatus),
        *(ProblemStatus, LastErrorStatus, BackupSize),
    ],
)
def test_every_key_of_the_json_is_documented(shape: type[msgspec.Struct]) -> None:
    """docs/http.md names each, and each state with its level."""
    section = HTTP_PAGE.partition("## The status as JSON")[2].partition("## The me")[0]

    assert {key for key in get_type_hints(shape) if f"`{key}`" not in section} == set()
    assert get_args(get_type_hints(StatusResponse)["servers"])[0] is ServerStatus


@settings(max_examples=40, deadline=None)
@given(stores())
def test_whatever_is_known_can_be_shown(store: Store) -> None:
    """Any text, moment and number: as HTML and as JSON."""
    views = handlers_for(store).views
    moment = views.exposition.snapshot()
    healths = views.exposition.healths(moment)
    shown = status_response(moment, healths, Shard(), Query(), no_error_counts)
    page = views.pages.overview(shown, Query(), ready=False)
    output = json.loads(msgspec.json.encode(shown))

    assert page.count("<script>") == 1
    assert len(output["servers"]) == min(50, output["total"])


# What it costs


def a_large_store(servers: int) -> Store:
    """Return a panel with many servers of thirty backups on two disks."""
    panel = a_panel(servers_listed=servers)
    for number in range(1, servers + 1):
        add_server(panel, a_server(id=number, label=f"web-{number}"))
        rows = tuple(_thirty(number))
        panel.record_backups(number, rows, time=TIME, monotonic=MONOTONIC)
    return a_store(panel)


def _thirty(number: int) -> Iterator[Any]:
    for row in range(30):
        target = Target("Disk", 10 * number + row % 2)
        at = TIME - row * DAY / 2
        yield a_backup(id=100 * number + row, target=target, built_at=at, created_at=at)


def test_a_look_judges_no_server_again_and_makes_one_page() -> None:
    """What is shown is made for the servers of the page alone; none is judged."""
    store = a_large_store(300)
    views = handlers_for(store).views
    views.exposition.update(views.exposition.snapshot())
    with counting_calls(summarize_backups, judge_server, server_status) as work:
        moment = views.exposition.snapshot()
        healths = views.exposition.healths(moment)
        query = Query(text="web")
        shown = status_response(moment, healths, Shard(), query, no_error_counts)
        page = views.pages.overview(shown, query, ready=True)

    assert work["summarize_backups"] == 0
    assert work["judge_server"] == 0
    assert work["server_status"] == 50
    assert len(page) < 150_000


def test_the_largest_page_stays_small() -> None:
    """Even with every server with problems, many targets of each, and endless names."""
    panel = a_panel()
    for number in range(1, 201):
        rows = [
            a_backup(id=100 * n + r, target=Target("Disk", n), built_at=TIME - 9 * DAY)
            for n in range(6)
            for r in range(15)
        ]
        endless = {"label": "é" * 9_000, "hostname": "h" * 9_000}
        add_server(panel, a_server(id=number, **endless), *rows)
    views = handlers_for(a_store(panel)).views
    moment = views.exposition.snapshot()
    wanted = Query(per_page=100)
    healths = views.exposition.healths(moment)
    found = status_response(moment, healths, Shard(), wanted, no_error_counts)
    page = views.pages.overview(found, wanted, ready=True)

    assert len(page.encode()) < 300_000
    assert f"{'é' * 79}…" in page


async def test_health_is_answered_while_a_look_is_made() -> None:
    """Looks are made by a thread: the event loop has its turns."""
    begun, released = threading.Event(), threading.Event()
    in_time: list[bool] = []

    def held(name: str) -> Mapping[str, int]:
        begun.set()
        in_time.append(released.wait(_LONGEST_REAL_WAIT_SECONDS))
        return no_error_counts(name)

    async with served(many_servers(), errors=held) as looker:
        observe = asyncio.create_task(looker.get("/"))
        await asyncio.to_thread(begun.wait, _LONGEST_REAL_WAIT_SECONDS)
        healthy, _ = await looker.get("/-/healthy")
        released.set()
        found, _ = await observe

    assert (healthy, found) == (200, 200)
    assert all(in_time)
