"""What /metrics says of backups, of their targets, and of a server's together."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from builders import (
    DAY,
    HOUR,
    a_backup_row,
    a_cloud,
    answer_backups,
    answer_with,
    in_both_formats,
    sample_labels,
    sample_lines,
    without_fields,
)
from harness import BACKUPS_ONLY, NOW, MonitoredCloud
from harness import monitored as monitored_with

from exporter.demo.panel.encoding import Fields, Timestamp

monitored = partial(monitored_with, collectors=BACKUPS_ONLY)

DISK_101 = {"target_type": "Disk", "target_id": 101}
DISK = "target_id=101,target_type=Disk"
SERVER = "target_id=1,target_type=VirtualMachine"


async def expectations(cloud: MonitoredCloud) -> dict[str, tuple[float, str]]:
    """Return the expected interval of each target of server 1, and its source."""
    family = "onapp_target_expected_interval"
    sources = await cloud.series(f"{family}_info", panel="cp", vm_id=1)
    seconds = await cloud.series(f"{family}_seconds", panel="cp", vm_id=1)
    found: dict[str, tuple[float, str]] = {}
    for key in sources:
        source, _, target = key.partition(",")
        found[target] = (seconds.pop(target), source.removeprefix("source="))

    assert seconds == {}
    return found


@in_both_formats
async def test_a_built_backup_shows_everything_known_of_it(
    form: str, tmp_path: Path
) -> None:
    """Sizes are KiB times 1024, moments Unix seconds, the age as of the scrape."""
    panel = a_cloud()
    panel.cloud.add_backup(
        1,
        number=7,
        identifier="azbygzz6zjui4k",
        created_at=NOW - 2 * HOUR,
        built_at=NOW - HOUR,
        size_kib=310_896,
        initiated="weeks",
        locked=True,
        backup_server_id=4,
    )
    async with monitored(panel, tmp_path, format=form) as cloud:
        backup = '{panel="cp",vm_id="1",backup_id="7"}'

        assert await sample_lines(cloud, "onapp_backup_") == [
            f"onapp_backup_size_bytes{backup} 318357504",
            f"onapp_backup_built{backup} 1",
            f"onapp_backup_locked{backup} 1",
            f"onapp_backup_marked_for_delete{backup} 0",
            f"onapp_backup_age_seconds{backup} 3600",
            f"onapp_backup_built_timestamp_seconds{backup} 1799996400",
            f"onapp_backup_created_timestamp_seconds{backup} 1799992800",
            (
                'onapp_backup_info{panel="cp",vm_id="1",backup_id="7",'
                'identifier="azbygzz6zjui4k",backup_type="normal",initiated="weeks",'
                'target_type="Disk",target_id="101",backup_server_id="4"} 1'
            ),
        ]


@in_both_formats
async def test_an_unbuilt_backup_has_neither_size_nor_age(
    form: str, tmp_path: Path
) -> None:
    """What the panel does not know yet is left out, not 0 and not -1."""
    panel = a_cloud()
    panel.cloud.add_backup(1, number=7, built=False, created_at=NOW - HOUR)
    async with monitored(panel, tmp_path, format=form) as cloud:
        backup = '{panel="cp",vm_id="1",backup_id="7"}'

        assert (await sample_lines(cloud, "onapp_backup_"))[:-1] == [
            f"onapp_backup_built{backup} 0",
            f"onapp_backup_locked{backup} 0",
            f"onapp_backup_marked_for_delete{backup} 0",
            f"onapp_backup_created_timestamp_seconds{backup} 1799996400",
        ]


async def test_an_incremental_backup_on_the_hypervisor_is_described(
    tmp_path: Path,
) -> None:
    """Its target is the server, and ``none`` stands for no backup server."""
    panel = a_cloud()
    panel.cloud.add_backup(1, backup_type="incremental", initiated="manual")
    async with monitored(panel, tmp_path) as cloud:
        described = await sample_labels(
            cloud, "onapp_backup_info", vm_id=1, backup_id=1001
        )

        del described["identifier"]
        assert described == {
            "panel": "cp",
            "backup_type": "incremental",
            "initiated": "manual",
            "target_type": "VirtualMachine",
            "target_id": "1",
            "backup_server_id": "none",
        }


BUILT = "onapp_backup_built"
LOCKED = "onapp_backup_locked"
MARKED = "onapp_backup_marked_for_delete"
SIZE = "onapp_backup_size_bytes"
AGE = "onapp_backup_age_seconds"
CREATED_AT = "onapp_backup_created_timestamp_seconds"
BUILT_AT = "onapp_backup_built_timestamp_seconds"
LAST_SUCCESS = "onapp_target_last_success_timestamp_seconds"
DURATION = "onapp_target_last_success_duration_seconds"
ROW_BUILT_AT = NOW - HOUR
ROW_CREATED_AT = NOW - 1.5 * HOUR

Shown = dict[str, float | None]


def sized(size_bytes: float | None) -> Shown:
    """Return what is shown of a backup of this size."""
    sums = ("onapp_target_last_success_size_bytes", "onapp_vm_backup_size_bytes")
    return {**dict.fromkeys((SIZE, *sums), size_bytes), LAST_SUCCESS: ROW_BUILT_AT}


def dated(moment: str, seconds: float) -> tuple[Fields, Shown]:
    """Return a row with this date, and what is shown of it: ages in whole seconds."""
    last = "onapp_vm_last_success_timestamp_seconds"
    families = (CREATED_AT, BUILT_AT, LAST_SUCCESS, last)
    date = Timestamp(moment)
    return (
        {"created_at": date, "built_at": date},
        {**dict.fromkeys(families, seconds), AGE: NOW - int(seconds)},
    )


FIELDS: list[tuple[Fields, Shown]] = [
    ({"backup_size": 310_896}, sized(318_357_504)),
    ({"backup_size": "8"}, sized(8192)),
    ({"backup_size": 5_000_000_000}, sized(5_120_000_000_000)),
    ({"backup_size": 0}, sized(0)),
    ({"backup_size": "0"}, sized(0)),
    *(
        ({"backup_size": unknown}, sized(None))
        for unknown in (None, -1, 10**400, 310_896.5, "much", "", " ")
    ),
    dated("2013-02-03T22:31:48Z", 1_359_930_708),
    dated("2013-12-24T14:34:06+03:00", 1_387_884_846),
    dated("2017-03-22T20:39:36.000+07:00", 1_490_189_976),
    dated("2026-06-30T23:59:59.250-11:30", 1_782_905_399.25),
    dated("2024-02-29T12:00:00+14:00", 1_709_157_600),
    dated("2024-02-28T22:00:00.5-00:00", 1_709_157_600.5),
    ({"created_at": ""}, {CREATED_AT: None, BUILT_AT: ROW_BUILT_AT}),
    ({"created_at": Timestamp("2027-01-15T07:00:01Z")}, {DURATION: None}),
    ({"locked": True}, {LOCKED: 1, MARKED: 0, LAST_SUCCESS: ROW_BUILT_AT}),
    ({"locked": "perhaps"}, {LOCKED: 0, LAST_SUCCESS: ROW_BUILT_AT}),
    ({"locked": ""}, {LOCKED: 0, LAST_SUCCESS: ROW_BUILT_AT}),
    ({"marked_for_delete": True}, {MARKED: 1, LOCKED: 0, LAST_SUCCESS: None}),
    (
        dict.fromkeys(("built", "locked", "marked_for_delete")),
        {BUILT: 0, LOCKED: 0, MARKED: 0},
    ),
    # A restore point all the same, at least as old as its row.
    (
        {"built_at": None},
        {AGE: None, BUILT_AT: None, DURATION: None, LAST_SUCCESS: ROW_CREATED_AT},
    ),
    # Only ``built`` says that a backup is good.
    ({"built": False}, {AGE: None, BUILT_AT: None, LAST_SUCCESS: None}),
    ({"backup_server_id": "one"}, {BUILT: 1, LAST_SUCCESS: ROW_BUILT_AT}),
    ({"backup_server_id": 2**64}, {BUILT: 1, LAST_SUCCESS: ROW_BUILT_AT}),
    ({"backup_server_id": ""}, {BUILT: 1, LAST_SUCCESS: ROW_BUILT_AT}),
    (
        {"backup_size": [], "initiated": {"a": 1}, "identifier": {"b": 2}},
        sized(None),
    ),
]


@in_both_formats
@pytest.mark.parametrize(("changes", "shown"), FIELDS)
async def test_each_field_is_shown_or_unknown(
    form: str, changes: Fields, shown: Shown, tmp_path: Path
) -> None:
    """A number may be a string; null and nonsense cost only themselves."""
    panel = a_cloud()
    answer_backups(panel, form, a_backup_row(**changes))
    async with monitored(panel, tmp_path, format=form) as cloud:
        skipped = await cloud.value("onapp_api_rows_skipped_total", resource="backups")

        assert {family: await cloud.value(family) for family in shown} == shown
        assert skipped == 0


@in_both_formats
async def test_fields_that_an_old_panel_lacks_are_false_or_left_out(
    form: str, tmp_path: Path
) -> None:
    """A row may consist of nothing but its number."""
    panel = a_cloud()
    answer_backups(panel, form, {"id": 7})
    async with monitored(panel, tmp_path, format=form) as cloud:
        backup = '{panel="cp",vm_id="1",backup_id="7"}'

        assert await sample_lines(cloud, "onapp_backup_") == [
            f"onapp_backup_built{backup} 0",
            f"onapp_backup_locked{backup} 0",
            f"onapp_backup_marked_for_delete{backup} 0",
            (
                'onapp_backup_info{panel="cp",vm_id="1",backup_id="7",identifier="",'
                'backup_type="normal",initiated="",target_type="VirtualMachine",'
                'target_id="1",backup_server_id="none"} 1'
            ),
        ]


@in_both_formats
@pytest.mark.parametrize(
    ("initiated", "shown"),
    [
        ("days", "days"),
        ("weeks", "weeks"),
        ("months", "months"),
        ("years", "years"),
        ("manual", "manual"),
    ],
)
async def test_a_2x_panel_tells_the_period_in_the_type(
    form: str, initiated: Any, shown: str, tmp_path: Path
) -> None:
    """``days-autobackup`` is a normal backup, initiated daily, of the ``disk_id``."""
    panel = a_cloud(api_generation="2")
    panel.cloud.add_backup(1, initiated=initiated, size_kib=8)
    async with monitored(panel, tmp_path, format=form) as cloud:
        described = await sample_labels(cloud, "onapp_backup_info", panel="cp", vm_id=1)

        del described["identifier"]
        assert described == {
            "backup_id": "1001",
            "backup_type": "normal",
            "initiated": shown,
            "target_type": "Disk",
            "target_id": "101",
            "backup_server_id": "none",
        }
        assert await cloud.value("onapp_backup_size_bytes") == 8192.0


@in_both_formats
@pytest.mark.parametrize(
    ("row", "target"),
    [
        (a_backup_row(), ("Disk", "101")),
        (
            a_backup_row(
                backup_type="incremental",
                target_type="VirtualMachine",
                target_id=1,
                disk_id=None,
            ),
            ("VirtualMachine", "1"),
        ),
        (without_fields(a_backup_row(), "target_type", "target_id"), ("Disk", "101")),
        (without_fields(a_backup_row(), "target_type"), ("Disk", "101")),
        (without_fields(a_backup_row(), "target_type", "disk_id"), ("Disk", "101")),
        (without_fields(a_backup_row(), "target_id"), ("Disk", "101")),
        (
            without_fields(a_backup_row(), "backup_type", "target_type", "disk_id"),
            ("Disk", "101"),
        ),
        (
            without_fields(
                a_backup_row(backup_type="incremental", target_id=1, disk_id=None),
                "target_type",
            ),
            ("VirtualMachine", "1"),
        ),
        (
            without_fields(
                a_backup_row(backup_type="incremental", disk_id=None),
                "target_type",
                "target_id",
            ),
            ("VirtualMachine", "1"),
        ),
        (a_backup_row(target_id="101", disk_id="101"), ("Disk", "101")),
    ],
)
async def test_the_target_is_found_in_whatever_fields_there_are(
    form: str, row: Fields, target: tuple[str, str], tmp_path: Path
) -> None:
    """Fields differ between versions; a normal backup is of a disk."""
    panel = a_cloud()
    answer_backups(panel, form, row)
    async with monitored(panel, tmp_path, format=form) as cloud:
        described = await sample_labels(cloud, "onapp_backup_info")
        (counted,) = await cloud.series(
            "onapp_target_backups", panel="cp", vm_id=1, state="built"
        )

        assert (described["target_type"], described["target_id"]) == target
        assert counted == f"target_id={target[1]},target_type={target[0]}"


@in_both_formats
@pytest.mark.parametrize(
    ("changes", "missing", "kind"),
    [
        ({}, (), "normal"),
        ({"backup_type": "incremental"}, (), "incremental"),
        ({}, ("backup_type",), "normal"),
        (
            {"target_type": "VirtualMachine", "target_id": 1, "disk_id": None},
            ("backup_type",),
            "incremental",
        ),
    ],
)
async def test_the_type_follows_from_the_target_where_it_is_not_said(
    form: str,
    changes: Fields,
    missing: tuple[str, ...],
    kind: str,
    tmp_path: Path,
) -> None:
    """A backup of a whole server is an incremental one."""
    panel = a_cloud()
    answer_backups(panel, form, without_fields(a_backup_row(**changes), *missing))
    async with monitored(panel, tmp_path, format=form) as cloud:
        assert (await sample_labels(cloud, "onapp_backup_info"))["backup_type"] == kind


@pytest.mark.parametrize(
    ("form", "body"),
    [
        (
            "xml",
            (
                '<backups type="array">'
                '<backup_server_id type="integer">3</backup_server_id>'
                '<backup_size type="integer">512</backup_size>'
                '<built type="boolean">true</built>'
                '<built_at type="datetime">2027-01-15T10:00:00+03:00</built_at>'
                '<created_at type="datetime">2027-01-15T09:58:00+03:00</created_at>'
                '<id type="integer">77</id>'
                '<iqn nil="true"/>'
                '<locked type="boolean">false</locked>'
                '<marked_for_delete type="boolean">false</marked_for_delete>'
                '<target_id type="integer">101</target_id>'
                '<disk_id type="integer">101</disk_id>'
                "</backups>"
            ),
        ),
        (
            "json",
            (
                '[{"backup": {"backup_server_id": 3, "backup_size": 512, "built": true,'
                '"built_at": "2027-01-15T10:00:00+03:00",'
                '"created_at": "2027-01-15T09:58:00+03:00", "id": 77, "iqn": null,'
                '"locked": false, "marked_for_delete": false, "target_id": 101,'
                '"disk_id": 101}}]'
            ),
        ),
    ],
)
async def test_a_backup_in_the_shape_of_the_vendors_page_is_read(
    form: str, body: str, tmp_path: Path
) -> None:
    """The page has no row element, no type and no target type."""
    panel = a_cloud()
    answer_with(panel, form, body)
    async with monitored(panel, tmp_path, format=form) as cloud:
        target = '{panel="cp",vm_id="1",target_type="Disk",target_id="101"'

        assert await sample_lines(cloud, "onapp_target_") == [
            f"onapp_target_last_success_timestamp_seconds{target}}} 1799996400",
            f"onapp_target_last_success_size_bytes{target}}} 524288",
            f"onapp_target_last_success_duration_seconds{target}}} 120",
            f'onapp_target_backups{target},state="built"}} 1',
            f'onapp_target_backups{target},state="unbuilt"}} 0',
            f"onapp_target_locked_backups{target}}} 0",
            f"onapp_target_marked_for_delete_backups{target}}} 0",
            f"onapp_target_oldest_success_timestamp_seconds{target}}} 1799996400",
        ]


@in_both_formats
async def test_a_target_shows_everything_known_of_it(form: str, tmp_path: Path) -> None:
    """One good backup, one locked and old, one waiting, one that is being rotated."""
    panel = a_cloud()
    add = panel.cloud.add_backup
    add(1, created_at=NOW - 2 * DAY, size_kib=1, locked=True)
    add(1, created_at=NOW - DAY - HOUR, built_at=NOW - DAY, size_kib=2)
    add(1, created_at=NOW - 3 * HOUR, built=False)
    add(1, created_at=NOW - 3 * DAY, size_kib=4, marked_for_delete=True)
    async with monitored(panel, tmp_path, format=form) as cloud:
        target = '{panel="cp",vm_id="1",target_type="Disk",target_id="101"'

        assert await sample_lines(cloud, "onapp_target_") == [
            f"onapp_target_last_success_timestamp_seconds{target}}} 1799913600",
            f"onapp_target_last_success_size_bytes{target}}} 2048",
            f"onapp_target_last_success_duration_seconds{target}}} 3600",
            f'onapp_target_backups{target},state="built"}} 2',
            f'onapp_target_backups{target},state="unbuilt"}} 1',
            f"onapp_target_locked_backups{target}}} 1",
            f"onapp_target_marked_for_delete_backups{target}}} 1",
            f"onapp_target_oldest_unbuilt_timestamp_seconds{target}}} 1799989200",
            f"onapp_target_oldest_pending_timestamp_seconds{target}}} 1799989200",
            f"onapp_target_oldest_success_timestamp_seconds{target}}} 1799827260",
            f"onapp_target_expected_interval_seconds{target}}} 86400",
            f'onapp_target_expected_interval_info{target},source="history"}} 1',
        ]


async def test_the_newest_backup_is_the_one_that_was_complete_last(
    tmp_path: Path,
) -> None:
    """Neither the number of a row nor its creation decides."""
    panel = a_cloud()
    add = panel.cloud.add_backup
    add(1, created_at=NOW - 9 * HOUR, built_at=NOW - HOUR, size_kib=1)
    add(1, created_at=NOW - 5 * HOUR, built_at=NOW - 4 * HOUR, size_kib=2)
    async with monitored(panel, tmp_path) as cloud:
        found = [
            await cloud.value(f"onapp_target_last_success_{what}")
            for what in ("timestamp_seconds", "size_bytes", "duration_seconds")
        ]

        assert found == [NOW - HOUR, 1024.0, 8 * HOUR]


async def test_rotations_victims_are_no_restore_points(tmp_path: Path) -> None:
    """A row marked for delete is neither a success nor counted, but takes space."""
    panel = a_cloud()
    panel.cloud.add_backup(1, size_kib=4, marked_for_delete=True)
    panel.cloud.add_backup(1, built=False, marked_for_delete=True)
    async with monitored(panel, tmp_path) as cloud:
        assert await cloud.series("onapp_target_last_success_timestamp_seconds") == {}
        assert await cloud.series("onapp_target_last_success_size_bytes") == {}
        assert await cloud.series("onapp_vm_last_success_timestamp_seconds") == {}
        assert await cloud.series("onapp_target_oldest_unbuilt_timestamp_seconds") == {}
        assert await cloud.value("onapp_target_marked_for_delete_backups") == 2.0
        assert await cloud.series(
            "onapp_target_backups", panel="cp", vm_id=1, **DISK_101
        ) == {"state=built": 0.0, "state=unbuilt": 0.0}
        assert await cloud.series("onapp_vm_backups", panel="cp", vm_id=1) == {
            "state=built": 0.0,
            "state=unbuilt": 0.0,
        }
        assert await cloud.value("onapp_vm_backup_size_bytes") == 4096.0


async def test_the_oldest_unbuilt_row_tells_how_long_something_is_stuck(
    tmp_path: Path,
) -> None:
    """Absent for targets without an unbuilt row."""
    panel = a_cloud(disks=2)
    add = panel.cloud.add_backup
    add(1, target_id=101, created_at=NOW - 5 * HOUR, built=False)
    add(1, target_id=101, created_at=NOW - 9 * HOUR, built=False)
    add(1, target_id=102, created_at=NOW - 99 * HOUR)
    async with monitored(panel, tmp_path) as cloud:
        assert await cloud.series(
            "onapp_target_oldest_unbuilt_timestamp_seconds", panel="cp", vm_id=1
        ) == {"target_id=101,target_type=Disk": NOW - 9 * HOUR}
        assert await cloud.series(
            "onapp_target_oldest_pending_timestamp_seconds", panel="cp", vm_id=1
        ) == {"target_id=101,target_type=Disk": NOW - 9 * HOUR}


async def test_what_is_left_over_is_pending_no_more(tmp_path: Path) -> None:
    """A row from before the last success stays unbuilt for ever, and hides no other."""
    panel = a_cloud(disks=2)
    add = panel.cloud.add_backup
    for hours in (70, 5, 3):
        add(1, target_id=101, created_at=NOW - hours * HOUR, built=False)
        add(1, target_id=102, created_at=NOW - (hours + 20) * HOUR, built=False)
    add(1, target_id=101, created_at=NOW - 30 * HOUR, built_at=NOW - 4 * HOUR)
    add(1, target_id=102, created_at=NOW - 9 * HOUR, built_at=NOW - 8 * HOUR)
    async with monitored(panel, tmp_path) as cloud:
        assert await cloud.series(
            "onapp_target_oldest_pending_timestamp_seconds", panel="cp", vm_id=1
        ) == {"target_id=101,target_type=Disk": NOW - 5 * HOUR}


@in_both_formats
async def test_an_unbuilt_row_without_a_moment_is_never_the_oldest(
    form: str, tmp_path: Path
) -> None:
    """Since when it waits is not known."""
    panel = a_cloud()
    answer_backups(
        panel, form, a_backup_row(built=False, created_at=None, built_at=None)
    )
    async with monitored(panel, tmp_path, format=form) as cloud:
        assert await cloud.series("onapp_target_oldest_unbuilt_timestamp_seconds") == {}
        assert await cloud.series("onapp_target_oldest_pending_timestamp_seconds") == {}
        assert await cloud.value("onapp_target_backups", state="unbuilt") == 1.0


async def test_of_two_disks_each_has_its_own_last_success(tmp_path: Path) -> None:
    """One disk may be stale while the other, and so the server, looks well."""
    panel = a_cloud(disks=2)
    add = panel.cloud.add_backup
    add(1, target_id=101, created_at=NOW - HOUR, built_at=NOW - HOUR)
    add(1, target_id=102, created_at=NOW - 9 * DAY, built_at=NOW - 9 * DAY)
    add(1, target_id=102, created_at=NOW - DAY, built=False)
    async with monitored(panel, tmp_path) as cloud:
        assert await cloud.series(
            "onapp_target_last_success_timestamp_seconds", panel="cp", vm_id=1
        ) == {
            "target_id=101,target_type=Disk": NOW - HOUR,
            "target_id=102,target_type=Disk": NOW - 9 * DAY,
        }
        assert await cloud.value("onapp_vm_last_success_timestamp_seconds") == (
            NOW - HOUR
        )


@pytest.mark.parametrize(
    ("initiated", "seconds"),
    [("days", 86_400), ("weeks", 604_800), ("months", 2_678_400), ("years", 31622400)],
)
async def test_history_tells_the_expected_interval(
    initiated: Any, seconds: int, tmp_path: Path
) -> None:
    """Each period counts as long as it can last."""
    panel = a_cloud()
    panel.cloud.add_backup(1, initiated=initiated)
    async with monitored(panel, tmp_path) as cloud:
        assert await expectations(cloud) == {DISK: (seconds, "history")}


async def test_the_period_of_the_newest_row_in_history_is_expected(
    tmp_path: Path,
) -> None:
    """Or the gap before it; a row by hand says nothing."""
    panel = a_cloud()
    rows: Any = ((9, "weeks"), (3, "days"), (2, "days"), (1, "manual"))
    for days_ago, initiated in rows:
        at = NOW - days_ago * DAY
        panel.cloud.add_backup(1, created_at=at, built_at=at + 60, initiated=initiated)
    async with monitored(panel, tmp_path) as cloud:
        assert await expectations(cloud) == {DISK: (86_400, "history")}


async def test_the_servers_own_setting_goes_before_history(tmp_path: Path) -> None:
    """Who configures an interval knows better."""
    panel = a_cloud()
    panel.cloud.add_backup(1, initiated="days")
    async with monitored(
        panel,
        tmp_path,
        virtual_machines=[{"id": 1, "expected_interval": "7d"}],
        expected_interval="2d",
    ) as cloud:
        assert await expectations(cloud) == {DISK: (604_800, "config")}


async def test_history_goes_before_the_panels_fallback(tmp_path: Path) -> None:
    """The fallback is for targets that nothing else is known of."""
    panel = a_cloud(disks=2)
    panel.cloud.add_backup(1, target_id=101, initiated="weeks")
    panel.cloud.add_backup(1, target_id=102, initiated="manual")
    async with monitored(panel, tmp_path, expected_interval="2d") as cloud:
        assert await expectations(cloud) == {
            DISK: (604_800, "history"),
            "target_id=102,target_type=Disk": (172_800, "fallback"),
        }


async def test_without_any_source_no_interval_is_expected(tmp_path: Path) -> None:
    """A backup taken by hand demands no other."""
    panel = a_cloud()
    panel.cloud.add_backup(1, initiated="manual")
    async with monitored(panel, tmp_path) as cloud:
        assert await expectations(cloud) == {}


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"expected_interval": "2d"},
        {"virtual_machines": [{"id": 1, "expected_interval": "7d"}]},
    ],
)
async def test_a_disk_is_over_when_its_server_has_a_newer_backup_as_a_whole(
    keys: dict[str, Any], tmp_path: Path
) -> None:
    """After a switch to incremental backups the old images demand no next one."""
    panel = a_cloud()
    panel.cloud.add_backup(1, created_at=NOW - 9 * DAY)
    panel.cloud.add_backup(1, created_at=NOW - DAY, backup_type="incremental")
    async with monitored(panel, tmp_path, **keys) as cloud:
        assert set(await expectations(cloud)) == {SERVER}
        assert await cloud.value(
            "onapp_target_last_success_timestamp_seconds", **DISK_101
        ) == (NOW - 9 * DAY + 60)


@pytest.mark.parametrize(
    "whole",
    [
        {"created_at": NOW - 9 * DAY},
        {"created_at": NOW - HOUR, "built": False},
        {"created_at": NOW - HOUR, "marked_for_delete": True},
        {"created_at": NOW - HOUR, "initiated": "manual"},
    ],
)
async def test_a_disk_is_not_over_without_a_newer_good_backup_of_the_whole(
    whole: dict[str, Any], tmp_path: Path
) -> None:
    """An older, an unbuilt or a rotated one replaces nothing, nor does one by hand."""
    panel = a_cloud()
    panel.cloud.add_backup(1, created_at=NOW - DAY)
    panel.cloud.add_backup(1, backup_type="incremental", **whole)
    async with monitored(panel, tmp_path) as cloud:
        assert DISK in set(await expectations(cloud))


async def test_a_disk_without_a_success_is_over_as_well(tmp_path: Path) -> None:
    """What never succeeded is replaced by any good backup of the whole server."""
    panel = a_cloud()
    panel.cloud.add_backup(1, created_at=NOW - 9 * DAY, built=False)
    panel.cloud.add_backup(1, created_at=NOW - DAY, backup_type="incremental")
    async with monitored(panel, tmp_path) as cloud:
        assert set(await expectations(cloud)) == {SERVER}


async def test_a_servers_backups_are_added_up(tmp_path: Path) -> None:
    """All rows take space; those marked for delete are no backups any more."""
    panel = a_cloud(disks=2)
    add = panel.cloud.add_backup
    add(1, target_id=101, size_kib=1, built_at=NOW - 2 * HOUR)
    add(1, target_id=102, size_kib=2, built_at=NOW - HOUR)
    add(1, target_id=102, size_kib=4, built_at=NOW, marked_for_delete=True)
    add(1, backup_type="incremental", built=False)
    async with monitored(panel, tmp_path) as cloud:
        server = '{panel="cp",vm_id="1"'

        assert await sample_lines(
            cloud,
            "onapp_vm_backups",
            "onapp_vm_backup_size",
            "onapp_vm_last_success",
        ) == [
            f'onapp_vm_backups{server},state="built"}} 2',
            f'onapp_vm_backups{server},state="unbuilt"}} 1',
            f"onapp_vm_backup_size_bytes{server}}} 7168",
            f"onapp_vm_last_success_timestamp_seconds{server}}} 1799996400",
        ]


@in_both_formats
@pytest.mark.parametrize("empty_xml", ["root", "nil-classes", "nil_classes"])
async def test_a_server_without_backups_has_none(
    form: str, empty_xml: Any, tmp_path: Path
) -> None:
    """Nothing is a number too: 0 backups, 0 bytes, and no last success."""
    panel = a_cloud(empty_xml=empty_xml)
    async with monitored(panel, tmp_path, format=form) as cloud:
        server = '{panel="cp",vm_id="1"'

        assert await sample_lines(
            cloud,
            "onapp_backup_",
            "onapp_target_",
            "onapp_vm_backups",
            "onapp_vm_backup_size",
            "onapp_vm_last_success",
            "onapp_vm_poll_success",
        ) == [
            f"onapp_vm_poll_success{server}}} 1",
            f'onapp_vm_backups{server},state="built"}} 0',
            f'onapp_vm_backups{server},state="unbuilt"}} 0',
            f"onapp_vm_backup_size_bytes{server}}} 0",
        ]


async def test_a_sum_leaves_out_the_sizes_that_are_not_known(tmp_path: Path) -> None:
    """A backup under way has no size yet; alone it makes no sum."""
    panel = a_cloud(2)
    panel.cloud.add_backup(1, size_kib=3)
    panel.cloud.add_backup(1, built=False)
    panel.cloud.add_backup(2, built=False)
    async with monitored(panel, tmp_path) as cloud:
        assert await cloud.series("onapp_vm_backup_size_bytes", panel="cp") == {
            "vm_id=1": 3072.0
        }


@pytest.mark.parametrize(
    ("newest", "kept"),
    [
        (0, {1001, 1002, 1003, 1004, 1005, 1006}),
        (1, {1001, 1004, 1006}),
        (2, {1001, 1003, 1004, 1005, 1006}),
    ],
)
async def test_only_the_newest_of_each_target_get_series_of_their_own(
    newest: int, kept: set[int], tmp_path: Path
) -> None:
    """Unbuilt ones always do; sums and targets are over all the same."""
    panel = a_cloud(disks=2)
    add = panel.cloud.add_backup
    add(1, target_id=101, created_at=NOW - 4 * DAY, built=False)
    for age in (3, 2, 1):
        add(1, target_id=101, created_at=NOW - age * DAY)
    for age in (8, 7):
        add(1, target_id=102, created_at=NOW - age * DAY)
    async with monitored(
        panel,
        tmp_path,
        settings={"detail": {"newest_per_target": newest}},
    ) as cloud:
        built = await cloud.series("onapp_backup_built", panel="cp", vm_id=1)
        described = {
            dict(pair.split("=") for pair in key.split(","))["backup_id"]
            for key in await cloud.series("onapp_backup_info")
        }

        assert set(built) == {f"backup_id={number}" for number in kept}
        assert described == {str(number) for number in kept}
        assert await cloud.value("onapp_vm_backups", state="built") == 5.0
        assert await cloud.series(
            "onapp_target_backups", panel="cp", vm_id=1, state="built"
        ) == {
            "target_id=101,target_type=Disk": 3.0,
            "target_id=102,target_type=Disk": 2.0,
        }


async def test_single_backups_can_be_switched_off(tmp_path: Path) -> None:
    """What targets and servers say does not depend on it."""
    panel = a_cloud()
    panel.cloud.add_backup(1)
    async with monitored(
        panel, tmp_path, settings={"detail": {"backups": False}}
    ) as cloud:
        assert await sample_lines(cloud, "onapp_backup_") == []
        assert await cloud.value("onapp_target_backups", state="built") == 1.0
        assert await cloud.value("onapp_vm_backups", state="built") == 1.0


async def test_a_deleted_backup_is_gone_after_the_next_poll(tmp_path: Path) -> None:
    """With its last row the target goes too; the server stays, with 0."""
    panel = a_cloud()
    panel.cloud.add_backup(1)
    async with monitored(panel, tmp_path) as cloud:
        panel.cloud.remove_backup(1001)
        await cloud.advance(900.0)

        assert await sample_lines(cloud, "onapp_backup_", "onapp_target_") == []
        assert await cloud.value("onapp_vm_backups", state="built") == 0.0


async def test_a_backup_that_gets_built_gains_what_was_unknown(tmp_path: Path) -> None:
    """The same row tells more at the next poll."""
    panel = a_cloud()
    row = panel.cloud.add_backup(1, built=False, created_at=NOW - HOUR)
    async with monitored(panel, tmp_path) as cloud:
        row.built, row.built_at, row.size_kib = True, NOW, 8
        await cloud.advance(900.0)

        assert await cloud.value("onapp_backup_built") == 1.0
        assert await cloud.value("onapp_backup_size_bytes") == 8192.0
        assert await cloud.value("onapp_backup_age_seconds") == 900.0
        assert await cloud.series("onapp_target_oldest_unbuilt_timestamp_seconds") == {}


@pytest.mark.parametrize("ahead", [301.0, HOUR, 200 * DAY])
@pytest.mark.parametrize("built", [True, False])
async def test_a_date_after_the_panels_clock_is_none_until_it_has_passed(
    ahead: float,
    built: bool,  # noqa: FBT001  # of the row
    tmp_path: Path,
) -> None:
    """The row counts, but it is neither the newest success nor pending."""
    panel = a_cloud()
    date = Timestamp(datetime.fromtimestamp(NOW + ahead, UTC).isoformat())
    row = a_backup_row(
        id=1002,
        built=built,
        locked=True,
        created_at=date,
        built_at=date if built else None,
    )
    answer_backups(panel, "json", a_backup_row(), row)
    async with monitored(panel, tmp_path) as cloud:
        last = "onapp_target_last_success_timestamp_seconds"
        pending = "onapp_target_oldest_pending_timestamp_seconds"
        assert await cloud.value(last) == NOW - HOUR
        assert await cloud.series(pending) == {}
        assert await cloud.value("onapp_vm_backups", state="built") == 1 + built
        assert await cloud.value("onapp_target_locked_backups") == 1.0
        assert await cloud.series("onapp_backup_age_seconds", backup_id=1002) == {}
        shown = json.loads((await cloud.get("/api/v1/status"))[1])
        (server,) = shown["servers"]
        assert server["state"] not in ("locked", "stuck", "stuck_long")
        if ahead < DAY:
            await cloud.advance(2 * HOUR)
            assert (await cloud.series(pending) == {}) is built
            assert await cloud.value(last) == NOW + (ahead if built else -HOUR)


async def test_the_panels_clock_decides_which_date_is_in_the_future(
    tmp_path: Path,
) -> None:
    """It is two hours ahead: what it says is right, and no age is negative."""
    panel = a_cloud(date_skew_seconds=2 * HOUR)
    date = Timestamp(datetime.fromtimestamp(NOW + HOUR, UTC).isoformat())
    answer_backups(panel, "json", a_backup_row(created_at=date, built_at=date))
    async with monitored(panel, tmp_path) as cloud:
        last = "onapp_target_last_success_timestamp_seconds"
        assert await cloud.value(last) == NOW + HOUR
        assert await cloud.value("onapp_backup_age_seconds") == 0.0
