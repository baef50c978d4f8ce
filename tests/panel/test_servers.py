"""What /metrics says of servers, of the inventory, and of the panel itself."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import faults
import pytest
from builders import (
    DAY,
    HOUR,
    a_cloud,
    answer_servers,
    in_both_formats,
    sample_labels,
    sample_lines,
    without_fields,
)
from faulty_panel import Panel
from harness import BACKUPS_ONLY, NOW, MonitoredCloud
from harness import monitored as monitored_with
from structlog.testing import capture_logs

from exporter.demo.cloud.simulation import SimulatedCloud
from exporter.demo.panel.encoding import Fields, Timestamp

monitored = partial(monitored_with, collectors=BACKUPS_ONLY)

IDENTIFIER = "azbygzz6zjui4k"
READS = frozenset({"virtual_machines.read", "backups.read"})


def a_server_row(**changes: Any) -> Fields:
    """Return a server as the inventory lists it, with these fields changed."""
    return {
        "id": 1,
        "identifier": IDENTIFIER,
        "label": "web-1",
        "hostname": "web-1.example.com",
        "user_id": 7,
        "hypervisor_id": 3,
        "suspended": False,
        "created_at": Timestamp("2026-12-16T08:00:00Z"),
        **changes,
    }


@in_both_formats
async def test_a_server_shows_everything_the_inventory_knows(
    form: str, tmp_path: Path
) -> None:
    """Identity is ``vm_id``; what describes sits on the info metric."""
    world = SimulatedCloud(NOW)
    world.add_server(
        identifier=IDENTIFIER,
        label="web-1",
        hostname="web-1.example.com",
        user_id=7,
        hypervisor_id=3,
        created_at=NOW - 30 * DAY,
    )
    async with monitored(Panel(world), tmp_path, format=form) as cloud:
        assert await sample_lines(cloud, "onapp_vm_") == [
            'onapp_vm_poll_success{panel="cp",vm_id="1"} 1',
            (
                'onapp_vm_last_poll_success_timestamp_seconds{panel="cp",vm_id="1"} '
                "1800000000"
            ),
            'onapp_vm_state{panel="cp",vm_id="1",state="interval_unknown"} 1',
            (
                'onapp_vm_info{panel="cp",vm_id="1",identifier="azbygzz6zjui4k",'
                'label="web-1",hostname="web-1.example.com",user_id="7",'
                'hypervisor_id="3"} 1'
            ),
            'onapp_vm_created_timestamp_seconds{panel="cp",vm_id="1"} 1797408000',
            'onapp_vm_suspended{panel="cp",vm_id="1"} 0',
            'onapp_vm_backups{panel="cp",vm_id="1",state="built"} 0',
            'onapp_vm_backups{panel="cp",vm_id="1",state="unbuilt"} 0',
            'onapp_vm_backup_size_bytes{panel="cp",vm_id="1"} 0',
        ]


NOTHING_KNOWN = dict.fromkeys(
    ("identifier", "label", "hostname", "user_id", "hypervisor_id"), ""
)
ROW_KNOWN = {
    "identifier": IDENTIFIER,
    "label": "web-1",
    "hostname": "web-1.example.com",
    "user_id": "7",
    "hypervisor_id": "3",
}


@in_both_formats
@pytest.mark.parametrize(
    ("row", "described", "created_at", "suspended"),
    [
        ({"id": 1}, NOTHING_KNOWN, None, None),
        (
            dict.fromkeys(a_server_row()) | {"id": 1, "label": "new"},
            NOTHING_KNOWN | {"label": "new"},
            None,
            None,
        ),
        (
            a_server_row(id="1", user_id="7", hypervisor_id="3"),
            ROW_KNOWN,
            NOW - 30 * DAY,
            0,
        ),
        (
            without_fields(a_server_row(), "user_id", "created_at"),
            ROW_KNOWN | {"user_id": ""},
            None,
            0,
        ),
        (a_server_row(suspended=True), ROW_KNOWN, NOW - 30 * DAY, 1),
    ],
)
async def test_a_server_may_lack_any_field_but_its_number(  # noqa: PLR0913, PLR0917  # of a table
    form: str,
    row: Fields,
    described: dict[str, str],
    created_at: float | None,
    suspended: float | None,
    tmp_path: Path,
) -> None:
    """Each field that is missing or null costs only itself; numbers may be strings."""
    panel = a_cloud()
    answer_servers(panel, form, row)
    async with monitored(panel, tmp_path, format=form) as cloud:
        labels = await sample_labels(cloud, "onapp_vm_info", panel="cp", vm_id=1)

        assert labels == described
        assert await cloud.value("onapp_vm_created_timestamp_seconds") == created_at
        assert await cloud.value("onapp_vm_suspended") == suspended


@in_both_formats
@pytest.mark.parametrize(
    "text",
    [
        'say "hello"',
        r"C:\new\table",
        "two\nlines",
        "日本語 ünïcödé 🚀",
        "<b>bold</b> & <script>alert(1)</script>",
        "  spaces around  ",
        "null",
        "]]>",
        "a,b=c{d}",
        "",
    ],
)
async def test_texts_of_users_survive_as_they_are(
    form: str, text: str, tmp_path: Path
) -> None:
    """Labels are free text; /metrics brings them back whole."""
    panel = a_cloud()
    panel.cloud.servers[1].label = text
    async with monitored(panel, tmp_path, format=form) as cloud:
        (found,) = await cloud.series(
            "onapp_vm_info",
            panel="cp",
            vm_id=1,
            user_id=1,
            hypervisor_id=1,
            hostname="host1.example.com",
            identifier=panel.cloud.servers[1].identifier,
        )

        assert found == f"label={text}"


@pytest.mark.parametrize(
    ("keys", "required"),
    [
        ({"expected_interval": "1d"}, {"vm_id=1": 1.0, "vm_id=2": 1.0}),
        (
            {"virtual_machines": [{"id": 1, "expected_interval": "1d"}, 2]},
            {"vm_id=1": 1.0},
        ),
        (
            {"backup_required": {"include": {"label": "server-1"}}},
            {"vm_id=1": 1.0, "vm_id=2": 0.0},
        ),
        (
            {
                "backup_required": {
                    "include": {"label": "server-.*", "hostname": "host1.*"}
                }
            },
            {"vm_id=1": 1.0, "vm_id=2": 0.0},
        ),
        (
            {"backup_required": {"include": {"label": "server"}}},
            {"vm_id=1": 0.0, "vm_id=2": 0.0},
        ),
        ({"backup_required": {"exclude": {"label": "server-1"}}}, {"vm_id=1": 0.0}),
        (
            {
                "expected_interval": "1d",
                "backup_required": {"exclude": {"user_id": [2], "label": "server-1"}},
            },
            {"vm_id=1": 0.0, "vm_id=2": 1.0},
        ),
        (
            {
                "backup_required": {
                    "include": {"label": "server-.*"},
                    "exclude": {"hostname": "host2.*"},
                }
            },
            {"vm_id=1": 1.0, "vm_id=2": 0.0},
        ),
        (
            {
                "expected_interval": "1d",
                "backup_required": {"include": {"label": "server-2"}},
            },
            {"vm_id=1": 0.0, "vm_id=2": 1.0},
        ),
    ],
)
async def test_the_configuration_says_which_servers_must_have_backups(
    keys: dict[str, Any], required: dict[str, float], tmp_path: Path
) -> None:
    """Include: all patterns match; exclude: any; else an interval makes it so."""
    panel = a_cloud(2)
    async with monitored(panel, tmp_path, **keys) as cloud:
        assert await cloud.series("onapp_vm_backup_required", panel="cp") == required


async def test_a_configured_identifier_is_resolved_to_a_number(tmp_path: Path) -> None:
    """``vm_id`` is always the number; other servers of the panel do not show."""
    panel = a_cloud(3)
    panel.cloud.servers[2].identifier = IDENTIFIER
    panel.cloud.add_backup(2)
    async with monitored(panel, tmp_path, virtual_machines=[IDENTIFIER]) as cloud:
        assert await cloud.series("onapp_vm_poll_success", panel="cp") == {
            "vm_id=2": 1.0
        }
        assert await cloud.series("onapp_vm_backups", panel="cp", state="built") == {
            "vm_id=2": 1.0
        }
        assert await cloud.value("onapp_panel_virtual_machines") == 1.0


@pytest.mark.parametrize(
    "configured",
    [
        [2, IDENTIFIER],
        [IDENTIFIER, 2],
        [2, "2", 2],
        [{"id": IDENTIFIER, "expected_interval": "7d"}, 2],
        [2, {"id": IDENTIFIER, "expected_interval": "7d"}],
    ],
)
async def test_a_server_configured_twice_is_one(
    configured: list[Any], tmp_path: Path
) -> None:
    """A setting made at one of the places holds."""
    panel = a_cloud(2)
    panel.cloud.servers[2].identifier = IDENTIFIER
    panel.cloud.add_backup(2, initiated="manual")
    async with monitored(panel, tmp_path, virtual_machines=configured) as cloud:
        settings = [entry for entry in configured if isinstance(entry, dict)]

        assert await cloud.series("onapp_vm_poll_success", panel="cp") == {
            "vm_id=2": 1.0
        }
        assert await cloud.value("onapp_panel_virtual_machines") == 1.0
        assert await cloud.value("onapp_target_expected_interval_seconds") == (
            7 * DAY if settings else None
        )
        assert len(panel.request_log.requests_for("backups")) == 1


async def test_an_unresolved_identifier_has_one_series_only(tmp_path: Path) -> None:
    """Until it is resolved, ``vm_id`` is what was configured; nothing else is known."""
    panel = a_cloud(2)
    async with monitored(
        panel, tmp_path, virtual_machines=[2, "nobody", "nobody"]
    ) as cloud:
        assert await cloud.series("onapp_vm_poll_success", panel="cp") == {
            "vm_id=2": 1.0,
            "vm_id=nobody": 0.0,
        }
        assert [
            line for line in await sample_lines(cloud, "onapp_vm_") if "nobody" in line
        ] == [
            'onapp_vm_poll_success{panel="cp",vm_id="nobody"} 0',
            'onapp_vm_state{panel="cp",vm_id="nobody",state="data_old"} 1',
        ]
        assert await cloud.value("onapp_panel_virtual_machines") == 1.0
        assert await cloud.series("onapp_collector_success", panel="cp") == {
            "collector=inventory": 1.0,
            "collector=backups": 0.0,
        }


async def test_a_configured_server_that_does_not_exist_is_a_failed_poll(
    tmp_path: Path,
) -> None:
    """It was asked for, so it must not vanish quietly."""
    panel = a_cloud()
    async with monitored(panel, tmp_path, virtual_machines=[1, 99]) as cloud:
        assert await cloud.series("onapp_vm_poll_success", panel="cp") == {
            "vm_id=1": 1.0,
            "vm_id=99": 0.0,
        }
        assert [
            line for line in await sample_lines(cloud, "onapp_vm_") if '"99"' in line
        ] == [
            'onapp_vm_poll_success{panel="cp",vm_id="99"} 0',
            'onapp_vm_state{panel="cp",vm_id="99",state="poll_failing"} 1',
        ]
        assert await cloud.value("onapp_up") == 1.0


@in_both_formats
async def test_an_empty_answer_for_a_server_resolves_nothing(
    form: str, tmp_path: Path
) -> None:
    """A list without a server is as good as no answer."""
    panel = a_cloud()
    answer_servers(panel, form, path="/virtual_machines/nobody")
    with capture_logs() as logged:
        async with monitored(
            panel, tmp_path, format=form, virtual_machines=[1, "nobody"]
        ) as cloud:
            assert await cloud.value("onapp_vm_poll_success", vm_id="nobody") == 0.0
            assert (
                await cloud.value(
                    "onapp_api_errors_total",
                    resource="virtual_machines",
                    reason="decode",
                )
                == 1.0
            )

    assert [entry["event"] for entry in logged if entry["log_level"] == "error"] == []


async def test_many_configured_servers_are_looked_up_in_the_list(
    tmp_path: Path,
) -> None:
    """More than a page of them: the list takes fewer requests than each by itself."""
    panel = a_cloud(130)
    configured = [server.identifier for server in panel.cloud.servers.values()][:101]
    async with monitored(panel, tmp_path, virtual_machines=configured) as cloud:
        assert set(await cloud.series("onapp_vm_poll_success", panel="cp")) == {
            f"vm_id={number}" for number in range(1, 102)
        }
        assert len(panel.request_log.requests_for("virtual_machines")) == 2


@pytest.mark.parametrize("servers", [1, 101])
@pytest.mark.parametrize("by", ["number", "identifier"])
async def test_a_configured_server_counts_while_it_exists(
    by: str, servers: int, tmp_path: Path
) -> None:
    """Whether servers are looked up one by one or in the list."""
    panel = a_cloud(servers)
    new = servers + 1
    configured: list[Any] = [*panel.cloud.servers]
    configured.append(new if by == "number" else IDENTIFIER)
    counts = []
    async with monitored(panel, tmp_path, virtual_machines=configured) as cloud:
        counts.append(await cloud.value("onapp_panel_virtual_machines"))
        panel.cloud.add_server().identifier = IDENTIFIER
        await cloud.advance(601.0)
        counts.append(await cloud.value("onapp_panel_virtual_machines"))
        panel.cloud.remove_server(new)
        await cloud.advance(601.0)
        counts.append(await cloud.value("onapp_panel_virtual_machines"))

    assert counts == [servers, servers + 1, servers]


@pytest.mark.parametrize(
    ("discovery", "numbers"),
    [
        ({}, {1, 2, 3}),
        ({"include": {"label": "server-[12]"}}, {1, 2}),
        ({"include": {"label": "server"}}, set()),
        ({"include": {"label": "server-.*", "hostname": "host3.*"}}, {3}),
        ({"include": {"user_id": [7]}}, {2}),
        ({"include": {"identifier": IDENTIFIER}}, {3}),
        ({"exclude": {"label": "server-1", "hostname": "host2.*"}}, {3}),
        ({"exclude": {"user_id": [7, 1]}}, set()),
        (
            {"include": {"label": "server-[12]"}, "exclude": {"hostname": "host1.*"}},
            {2},
        ),
    ],
)
async def test_filters_choose_the_servers(
    discovery: dict[str, Any], numbers: set[int], tmp_path: Path
) -> None:
    """Patterns match whole values; include: all must, exclude: any does."""
    panel = a_cloud(3)
    panel.cloud.servers[2].user_id = 7
    panel.cloud.servers[3].identifier = IDENTIFIER
    async with monitored(panel, tmp_path, discovery=discovery) as cloud:
        wanted = {f"vm_id={number}" for number in numbers}

        assert set(await cloud.series("onapp_vm_suspended", panel="cp")) == wanted
        assert set(await cloud.series("onapp_vm_poll_success", panel="cp")) == wanted
        assert await cloud.value("onapp_panel_virtual_machines") == len(numbers)
        assert {
            a.server_id for a in panel.request_log.requests_for("backups")
        } == numbers


async def test_a_server_that_no_longer_matches_is_gone(tmp_path: Path) -> None:
    """With all its series, after the next inventory."""
    panel = a_cloud(2)
    async with monitored(
        panel, tmp_path, discovery={"include": {"label": "server-.*"}}
    ) as cloud:
        panel.cloud.servers[1].label = "retired"
        await cloud.advance(600.0)

        assert [
            line for line in await sample_lines(cloud, "onapp_") if 'vm_id="1"' in line
        ] == []
        assert await cloud.value("onapp_panel_virtual_machines") == 1.0


async def test_a_healthy_panel_shows_everything_known_of_it(tmp_path: Path) -> None:
    """Address, version, counts, interval, and that all is well."""
    panel = a_cloud(2, version="6.10.0", date_skew_seconds=42)
    async with monitored(
        panel, tmp_path, settings={"poll": {"interval": "10m"}}
    ) as cloud:
        assert await sample_lines(
            cloud,
            "onapp_up",
            "onapp_panel_info",
            "onapp_panel_virtual",
            "onapp_panel_clock",
            "onapp_panel_future",
            "onapp_panel_credentials",
            "onapp_poll_",
            "onapp_inventory_",
            "onapp_collector_success",
        ) == [
            'onapp_up{panel="cp",shard="0"} 1',
            f'onapp_panel_info{{panel="cp",url="{panel.url}",version="6.10.0"}} 1',
            'onapp_panel_virtual_machines{panel="cp"} 2',
            'onapp_panel_clock_skew_seconds{panel="cp"} 42.5',
            'onapp_poll_interval_seconds{panel="cp",shard="0"} 600',
            'onapp_poll_lag_seconds{panel="cp",shard="0"} 0',
            'onapp_inventory_last_success_timestamp_seconds{panel="cp"} 1800000000',
            'onapp_collector_success{panel="cp",shard="0",collector="inventory"} 1',
            'onapp_collector_success{panel="cp",shard="0",collector="backups"} 1',
            'onapp_panel_future_dates{panel="cp",shard="0"} 0',
            'onapp_panel_credentials_refused{panel="cp",shard="0"} 0',
        ]


@pytest.mark.parametrize("skew_seconds", [-7200.0, 0.0, 300.0])
async def test_the_skew_is_the_panels_clock_minus_ours(
    skew_seconds: float, tmp_path: Path
) -> None:
    """From the Date header, which is cut to whole seconds."""
    panel = a_cloud(date_skew_seconds=skew_seconds)
    async with monitored(panel, tmp_path) as cloud:
        found = await cloud.value("onapp_panel_clock_skew_seconds")

        assert found == pytest.approx(skew_seconds, abs=1.0)


@pytest.mark.parametrize("date", ["", "yesterday", "Fri, 99 Jan 2027 08:00:00 GMT"])
async def test_a_date_that_cannot_be_read_tells_no_skew(
    date: str, tmp_path: Path
) -> None:
    """Unknown is absent."""
    panel = a_cloud()
    server_row = a_server_row()
    answer_servers(panel, "json", server_row, headers={"Date": date})
    panel.faults.add(faults.status(404, {"Date": date}), resource="version")
    panel.faults.add(faults.status(404, {"Date": date}), resource="backups")
    async with monitored(panel, tmp_path) as cloud:
        assert await cloud.series("onapp_panel_clock_skew_seconds") == {}
        assert await cloud.value("onapp_panel_virtual_machines") == 1.0


@pytest.mark.parametrize(
    "form",
    ["%a, %d %b %Y %H:%M:%S -0000", "%a %b %e %H:%M:%S %Y", "%A, %d-%b-%y %T GMT"],
)
async def test_every_form_of_a_date_is_utc(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HTTP has three forms (RFC 9110), and there is "-0000": none is local time."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    panel = a_cloud()
    date = datetime.fromtimestamp(NOW, UTC).strftime(form)
    panel.faults.add(faults.more_headers({"Date": date}))
    async with monitored(panel, tmp_path) as cloud:
        found = await cloud.value("onapp_panel_clock_skew_seconds")
    monkeypatch.undo()
    time.tzset()

    assert found == pytest.approx(0, abs=2)


async def test_a_role_that_may_not_read_the_version_watches_all_the_same(
    tmp_path: Path,
) -> None:
    """A missing permission is one fact less, not a panel that is down."""
    panel = a_cloud(permissions=READS)
    async with monitored(panel, tmp_path) as cloud:
        assert await cloud.value("onapp_up") == 1.0
        assert (await sample_labels(cloud, "onapp_panel_info"))["version"] == ""
        assert await cloud.value("onapp_vm_poll_success") == 1.0
        assert (
            await cloud.value(
                "onapp_api_errors_total", resource="version", reason="forbidden"
            )
            == 1.0
        )


async def test_a_role_that_may_not_list_servers_reads_those_configured(
    tmp_path: Path,
) -> None:
    """Their backups are known, what describes them is not."""
    panel = a_cloud(permissions=READS - {"virtual_machines.read"})
    panel.cloud.add_backup(1)
    async with monitored(panel, tmp_path, virtual_machines=[1]) as cloud:
        assert await cloud.value("onapp_up") == 1.0
        assert await cloud.value("onapp_vm_poll_success", vm_id=1) == 1.0
        assert await cloud.value("onapp_backup_built", vm_id=1) == 1.0
        assert (
            await sample_lines(
                cloud, "onapp_vm_info", "onapp_vm_created", "onapp_vm_suspended"
            )
            == []
        )
        assert await cloud.value("onapp_collector_success", collector="inventory") == 0


async def test_before_the_first_contact_hardly_anything_is_said(tmp_path: Path) -> None:
    """A panel that was never reached has no version, no servers, and no success."""
    panel = a_cloud()
    panel.faults.add(faults.reset())
    async with monitored(panel, tmp_path) as cloud:
        found = await sample_lines(
            cloud, "onapp_panel_", "onapp_inventory_", "onapp_vm_", "onapp_collector_s"
        )

        assert found == ['onapp_panel_credentials_refused{panel="cp",shard="0"} 0']
        assert await cloud.value("onapp_up") == 0.0


async def test_a_server_never_read_has_no_moment_and_no_backups(tmp_path: Path) -> None:
    """Not 0 backups: it is not known how many there are."""
    panel = a_cloud()
    panel.faults.add(faults.status(404), resource="backups")
    async with monitored(panel, tmp_path) as cloud:
        assert await cloud.series("onapp_vm_last_poll_success_timestamp_seconds") == {}
        assert await cloud.series("onapp_vm_backups") == {}
        assert await cloud.series("onapp_vm_backup_size_bytes") == {}
        assert await cloud.value("onapp_vm_suspended") == 0.0


def replace_first_server(panel: Panel) -> None:
    """Destroy the server with the lowest number, and create another one."""
    panel.cloud.remove_server(min(panel.cloud.servers))
    panel.cloud.add_server()


async def series_of(cloud: MonitoredCloud, vm_id: int) -> set[str]:
    """Return the names of the families that show a server."""
    lines = await sample_lines(cloud, "onapp_vm_", "onapp_target_", "onapp_backup_")
    return {line.split("{")[0] for line in lines if f'vm_id="{vm_id}"' in line}


@pytest.mark.parametrize("slips", [1, 2, 3])
async def test_a_server_that_slips_between_two_pages_keeps_its_series(
    slips: int, tmp_path: Path
) -> None:
    """One is destroyed, another created: the total is the same, and a row is missed."""
    panel = a_cloud(8, per_page_cap=4)
    panel.cloud.add_backup(5)

    def change() -> None:
        for _ in range(slips):
            replace_first_server(panel)

    async with monitored(panel, tmp_path) as cloud:
        before = await series_of(cloud, 5)
        fault = faults.slipped_page(change)
        panel.faults.add(fault, path="/virtual_machines", times=1)
        await cloud.advance(600.0)
        slipped = await series_of(cloud, 5)
        listed = await cloud.value("onapp_panel_virtual_machines")
        await cloud.advance(600.0)

        assert slipped == await series_of(cloud, 5) == before
        assert listed == 8.0
        assert set(await cloud.series("onapp_vm_suspended", panel="cp")) == {
            f"vm_id={number}" for number in panel.cloud.servers
        }


async def test_a_server_goes_when_two_complete_inventories_in_a_row_say_so(
    tmp_path: Path,
) -> None:
    """Its backups can still be read; a failed inventory between them says nothing."""
    panel = a_cloud(2)
    async with monitored(panel, tmp_path) as cloud:
        missing = answer_servers(panel, "json", a_server_row())
        await cloud.advance(600.0)
        once = await series_of(cloud, 2)
        listed = await cloud.value("onapp_panel_virtual_machines")
        failed = panel.faults.add(faults.status(503), path="/virtual_machines")
        panel.faults.active.reverse()
        await cloud.advance(600.0)
        after_failure = await series_of(cloud, 2)
        failed.remove()
        await cloud.advance(600.0)
        twice = await series_of(cloud, 2)
        missing.remove()

        assert listed == 1.0
        assert once == after_failure != set()
        assert twice == set()


async def test_a_server_listed_in_between_is_not_gone(tmp_path: Path) -> None:
    """Not in a row: every other inventory lacks it, and it stays."""
    panel = a_cloud(2)
    async with monitored(panel, tmp_path) as cloud:
        for _ in range(3):
            missing = answer_servers(panel, "json", a_server_row())
            await cloud.advance(600.0)
            lacking = await series_of(cloud, 2)
            missing.remove()
            await cloud.advance(600.0)

            assert lacking == await series_of(cloud, 2) != set()


@pytest.mark.parametrize("first", ["404", "inventory"])
async def test_a_server_goes_when_one_inventory_and_a_404_say_so(
    first: str, tmp_path: Path
) -> None:
    """Whichever comes first; a server that is missing is asked at once."""
    panel = a_cloud(2)
    async with monitored(panel, tmp_path, discovery={"interval": "20m"}) as cloud:
        if first == "404":
            panel.faults.add(faults.status(404), resource="backups", server_id=2)
            await cloud.advance(1000.0)
            listed = await series_of(cloud, 2)
            answer_servers(panel, "json", a_server_row())
            await cloud.advance(200.0)
        else:
            listed = await series_of(cloud, 2)
            panel.cloud.remove_server(2)
            await cloud.advance(1200.0)

        assert listed != set()
        assert await series_of(cloud, 2) == set()


@pytest.mark.parametrize(
    "fault", [faults.status(403), faults.status(500), faults.hang(), faults.html()]
)
async def test_no_other_failure_proves_that_a_missing_server_is_gone(
    fault: faults.Fault, tmp_path: Path
) -> None:
    """Only a 404 says that there is no such server."""
    panel = a_cloud(2)
    async with monitored(panel, tmp_path, unanswered=1) as cloud:
        panel.faults.add(fault, resource="backups", server_id=2)
        answer_servers(panel, "json", a_server_row())
        await cloud.advance(600.0)

        assert await series_of(cloud, 2) != set()


@pytest.mark.parametrize("count", [1, 2, 12])
async def test_an_empty_inventory_removes_nothing(count: int, tmp_path: Path) -> None:
    """However often: the servers can still be read, so they exist."""
    panel = a_cloud(count, per_page_cap=5)
    async with monitored(panel, tmp_path) as cloud:
        empty = answer_servers(panel, "json")
        await cloud.advance(HOUR)
        during = await cloud.series("onapp_vm_poll_success", panel="cp")
        listed = await cloud.value("onapp_panel_virtual_machines")
        empty.remove()
        await cloud.advance(600.0)

        assert during == {f"vm_id={n}": 1.0 for n in panel.cloud.servers}
        assert listed == 0.0
        assert await cloud.series("onapp_vm_poll_success", panel="cp") == during
        assert await cloud.value("onapp_panel_virtual_machines") == count


async def test_an_empty_inventory_is_not_one_of_two_in_a_row(tmp_path: Path) -> None:
    """A panel that starts lists none, then some: that is one inventory."""
    panel = a_cloud(3)
    async with monitored(panel, tmp_path) as cloud:
        answer_servers(panel, "json").times = 1
        some = answer_servers(panel, "json", a_server_row())
        await cloud.advance(1200.0)
        after_one = await series_of(cloud, 2)
        some.remove()
        await cloud.advance(600.0)

        assert after_one == await series_of(cloud, 2) != set()


async def test_a_404_of_each_empties_a_panel_that_lists_none(tmp_path: Path) -> None:
    """Servers are read in their slots, and those that are not found go."""
    panel = a_cloud(4)
    async with monitored(panel, tmp_path) as cloud:
        stays = panel.cloud.servers[3]
        panel.visible = lambda server: server is stays
        answer_servers(panel, "json")
        await cloud.advance(1800.0)
        some = await cloud.series("onapp_vm_poll_success", panel="cp")
        panel.visible = lambda _: False
        await cloud.advance(900.0)

        assert some == {"vm_id=3": 1.0}
        assert await cloud.series("onapp_vm_poll_success", panel="cp") == {}
        assert await cloud.value("onapp_panel_virtual_machines") == 0.0


def a_server_that_fails(panel: Panel) -> None:
    """Give server 1 a backup, a schedule, and a failure that is known."""
    panel.cloud.add_backup(1, created_at=NOW - DAY)
    panel.cloud.add_schedule("Disk", 101, start_at=NOW + 3 * DAY)
    panel.cloud.add_schedule("VirtualMachine", 1, start_at=NOW + 3 * DAY)
    panel.cloud.add_transaction(
        status="failed", server_id=1, created_at=NOW - 60, parent_id=77
    )
    panel.cloud.add_transaction(status="pending", server_id=1, created_at=NOW - 30)
    restore: Any = {"action": "restore_backup", "server_id": 1}
    panel.cloud.add_transaction(**restore, created_at=NOW - 50)
    panel.cloud.add_transaction(**restore, status="pending", created_at=NOW - 20)


def give_number_away(panel: Panel) -> None:
    """Destroy server 1 and create another one under its number, without backups."""
    panel.cloud.remove_server(1)
    panel.cloud.add_server(number=1, disks=0)


INHERITABLE = (
    "onapp_vm_last_failed_backup_timestamp_seconds",
    "onapp_vm_last_restore_timestamp_seconds",
    "onapp_target_",
    "onapp_backup_built",
    "onapp_schedule_",
)


@in_both_formats
@pytest.mark.parametrize("keys", [{}, {"virtual_machines": [1]}])
async def test_a_number_given_to_another_server_inherits_nothing(
    form: str, keys: dict[str, Any], tmp_path: Path
) -> None:
    """Neither failures nor backups, schedules or disks, and not after a restart."""
    panel = a_cloud()
    panel.cloud.servers[1].created_at = NOW - 9 * DAY
    a_server_that_fails(panel)
    async with monitored_with(panel, tmp_path, format=form, **keys) as cloud:
        old = await sample_lines(cloud, *INHERITABLE)
        await cloud.advance(300.0)
        give_number_away(panel)
        new_server = panel.cloud.servers[1]
        await cloud.advance(660.0)
        replaced = await sample_lines(cloud, *INHERITABLE)
        described = await sample_labels(cloud, "onapp_vm_info")
        backup, restore = (panel.cloud.transactions[n] for n in (5002, 5004))
        backup.status, restore.status = "failed", "complete"
        backup.updated_at = restore.updated_at = panel.cloud.now
        await cloud.advance(120.0)
        failed_later = await sample_lines(cloud, *INHERITABLE)
        read = await cloud.value("onapp_vm_backups", vm_id=1, state="built")
    async with monitored_with(panel, tmp_path, format=form, **keys) as cloud:
        restarted = await sample_lines(cloud, *INHERITABLE)

    assert {line.partition("{")[0] for line in old} >= {
        "onapp_vm_last_failed_backup_timestamp_seconds",
        "onapp_vm_last_restore_timestamp_seconds",
        "onapp_target_backups",
        "onapp_backup_built",
        "onapp_schedule_failures",
    }
    assert replaced == failed_later == restarted == []
    assert described["identifier"] == new_server.identifier
    assert read == 0.0


@pytest.mark.parametrize(
    ("changes", "another"),
    [
        ({"identifier": "another0000000"}, True),
        ({"created_at": Timestamp("2026-12-16T08:00:01Z")}, True),
        ({"identifier": "another0000000", "created_at": None}, True),
        ({"identifier": None}, False),
        ({"created_at": None}, False),
        ({"created_at": Timestamp("2026-12-16T11:00:00+03:00")}, False),
        ({"label": "renamed", "hostname": "renamed", "user_id": 9}, False),
        ({"hypervisor_id": 9, "suspended": True}, False),
    ],
)
async def test_an_identifier_or_a_creation_time_tells_another_server(
    changes: Fields,
    another: bool,  # noqa: FBT001  # given by its name
    tmp_path: Path,
) -> None:
    """What describes a server may change, and what is not known says nothing."""
    panel = a_cloud()
    first = answer_servers(panel, "json", a_server_row())
    panel.cloud.add_transaction(status="failed", server_id=1, created_at=NOW - 60)
    async with monitored_with(panel, tmp_path) as cloud:
        first.remove()
        answer_servers(panel, "json", a_server_row(**changes))
        await cloud.advance(600.0)
        failure = await cloud.value("onapp_vm_last_failed_backup_timestamp_seconds")

        assert failure == (None if another else NOW - 60)


async def test_backups_read_while_a_number_is_given_away_are_the_old_ones(
    tmp_path: Path,
) -> None:
    """That answer is discarded, and the new server is read at once."""
    panel = a_cloud()
    panel.cloud.add_backup(1)
    async with monitored(panel, tmp_path, unanswered=0) as cloud:
        first = cloud.exporter.manager.panel_tasks["cp"].poller
        late = panel.faults.add(faults.slow(60.0), resource="backups")
        cloud.unanswered = 1
        first.queue.run_soon(1, cloud.clock.monotonic())
        await cloud.advance(900.0)
        row = a_server_row(identifier="another0000000")
        answer_servers(panel, "json", row)
        await cloud.advance(600.0)
        during = await cloud.series("onapp_vm_backups")
        panel.cloud.remove_backup(1001)
        late.remove()
        cloud.unanswered = 0
        await cloud.settle()

        assert during == {}
        assert await cloud.value("onapp_vm_backups", vm_id=1, state="built") == 0.0
