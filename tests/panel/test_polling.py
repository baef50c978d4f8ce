"""When a panel is asked, and what ``/metrics`` says meanwhile, over simulated hours."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import faults
import pytest
import structlog.testing
import yaml
from faulty_panel import Panel
from harness import NOW, MonitoredCloud, SteppedTimeoutClock, monitored, series
from yarl import URL

from exporter.demo.cloud.simulation import SimulatedCloud
from exporter.demo.panel.routes import Resource
from exporter.errors import TimedOut
from exporter.model.entities import Backup, Server
from exporter.onapp.api import PanelApi
from exporter.onapp.paging import Listed
from exporter.polling.jobs import Priority

MINUTE = 60
HOUR = 3600
INTERVAL = 15 * MINUTE
FROM_BACKUPS = (
    "onapp_backup_",
    "onapp_target_",
    "onapp_vm_backups",
    "onapp_vm_backup_in_time",
    "onapp_vm_backup_size_bytes",
    "onapp_vm_last_success_timestamp_seconds",
)
"""What goes when a server's backups are too old."""


def panel_of(count: int, **habits: Any) -> Panel:
    """Return a panel with so many servers, each with one backup."""
    world = SimulatedCloud(NOW)
    for _ in range(count):
        server = world.add_server()
        world.add_backup(server.id, created_at=NOW - HOUR, built_at=NOW - HOUR + 60)
    return Panel(world, **habits)


def asked(
    panel: Panel, resource: Resource = "backups", server_id: int | None = None
) -> list[float]:
    """Return when something was asked for, in seconds since the test began."""
    return [row.at - NOW for row in panel.request_log.requests_for(resource, server_id)]


def gaps(moments: list[float]) -> list[float]:
    """Return the seconds between moments."""
    return [round(later - earlier, 3) for earlier, later in pairwise(moments)]


def families_of(text: str, vm_id: int) -> set[str]:
    """Return the families that have series of a server."""
    wanted = f'vm_id="{vm_id}"'
    return {line.split("{")[0] for line in text.splitlines() if wanted in line}


def made_from_backups(family: str) -> bool:
    """Tell whether a family is made from a server's backups."""
    stays = ("onapp_vm_backup_required", "onapp_target_expected_interval")
    return family.startswith(FROM_BACKUPS) and not family.startswith(stays)


def moved_on(cloud: MonitoredCloud, count: int) -> list[Any]:
    """Return the requests after the first ``count``."""
    return list(cloud.panel.requests)[count:]


# The rhythm


async def test_servers_that_change_together_are_not_read_all_at_once(
    tmp_path: Path,
) -> None:
    """Their reads are spread over half a minute after the log has told of them."""
    count = 150
    panel = panel_of(count)
    async with monitored(panel, tmp_path) as cloud:
        await cloud.advance(61)
        before = len(asked(panel))
        for number in range(1, count + 1):
            panel.cloud.take_backup("Disk", 100 + number)
        began = cloud.clock.elapsed
        await cloud.advance(90)
        shown = await cloud.series("onapp_vm_backups", panel="cp")
        reads = [at - began for at in asked(panel)[before:]]

    each_second = Counter(int(at) for at in reads)
    assert sum(shown.values()) == 2 * count
    assert max(each_second.values()) <= 25
    assert sum(59 <= at < 60 + 31 for at in reads) >= count * 0.8


@pytest.mark.parametrize("concurrency", [1, 4])
async def test_the_first_pass_is_made_at_once_with_bounded_concurrency(
    tmp_path: Path, concurrency: int
) -> None:
    """It goes as fast as ``concurrency`` allows, and no faster."""
    panel = panel_of(20)
    panel.faults.add(faults.slow(0.005), resource="backups")
    poll = {"concurrency": concurrency}
    async with monitored(panel, tmp_path, poll=poll) as cloud:
        success = await cloud.series("onapp_vm_poll_success")

        assert asked(panel) == [0.0] * 20
        assert panel.most_in_flight == concurrency
        assert set(success.values()) == {1.0}


async def test_later_passes_are_spread_over_the_interval(tmp_path: Path) -> None:
    """No tenth of an interval sees a burst, and each server is read once in each."""
    panel = panel_of(50)
    async with monitored(panel, tmp_path) as cloud:
        await cloud.advance(5 * INTERVAL)
    later = [moment for moment in asked(panel) if moment > 0]
    fullest = max(
        sum(start <= moment < start + INTERVAL / 10 for moment in later)
        for start in later
    )
    apart = {
        gap
        for vm_id in panel.cloud.servers
        for gap in gaps(asked(panel, "backups", vm_id))[1:]
    }

    assert len(later) == 50 * 5
    assert fullest <= 16
    assert apart == {INTERVAL}


async def test_the_second_read_comes_within_an_interval_of_the_first(
    tmp_path: Path,
) -> None:
    """Between first pass and slots no server waits longer than otherwise."""
    panel = panel_of(20)
    async with monitored(panel, tmp_path) as cloud:
        await cloud.advance(INTERVAL)

    assert Counter(
        row.server_id for row in panel.request_log.requests_for("backups")
    ) == Counter(dict.fromkeys(panel.cloud.servers, 2))


async def test_a_server_is_never_asked_twice_at_once(tmp_path: Path) -> None:
    """Whether its answers come or not, and however short the interval is."""
    panel = panel_of(6)
    panel.faults.add(faults.slow(0.003), resource="backups")
    poll = {"interval": "1s", "concurrency": 8}
    async with monitored(panel, tmp_path, poll=poll) as cloud:
        await cloud.advance(20)

    assert max(panel.request_log.most_in_flight_by_path.values()) == 1


async def test_a_server_that_hangs_delays_nobody_else(tmp_path: Path) -> None:
    """It holds one slot; the others are read in theirs, pass after pass."""
    panel = panel_of(5)
    async with monitored(panel, tmp_path, poll={"concurrency": 2}) as cloud:
        fault = panel.faults.add(faults.hang(), server_id=3, resource="backups")
        cloud.unanswered = 1
        await cloud.advance(4 * INTERVAL)
        reads = Counter(
            row.server_id for row in panel.request_log.requests_for("backups")
        )
        lag = await cloud.value("onapp_poll_lag_seconds")
        fault.remove()
        cloud.unanswered = 0
        await cloud.settle()

        assert reads == {1: 5, 2: 5, 3: 2, 4: 5, 5: 5}
        assert lag is not None
        assert lag > 3 * INTERVAL
        assert await cloud.value("onapp_vm_poll_success", vm_id=3) == 1
        assert await cloud.value("onapp_poll_lag_seconds") == 0
        assert await cloud.value("onapp_up") == 1


async def test_intervals_shorter_than_the_time_out_work(tmp_path: Path) -> None:
    """Servers are read each second although a request may take thirty."""
    panel = panel_of(3)
    poll = {"interval": "1s", "timeout": "30s"}
    async with monitored(panel, tmp_path, poll=poll) as cloud:
        cloud.unanswered = 1
        panel.faults.add(faults.hang(), server_id=2, resource="backups")
        await cloud.advance(50)

        assert len(asked(panel, "backups", 1)) == 51
        assert len(asked(panel, "backups", 2)) == 2
        assert await cloud.value("onapp_up") == 1
        assert await cloud.value("onapp_poll_interval_seconds") == 1


async def test_the_inventory_is_read_at_the_discovery_interval(tmp_path: Path) -> None:
    """A new server is found by the next one, and read at once."""
    panel = panel_of(2)
    discovery = {"interval": "10m"}
    async with monitored(panel, tmp_path, discovery=discovery) as cloud:
        panel.cloud.add_server(number=77)
        await cloud.advance(35 * MINUTE)

        assert asked(panel, "virtual_machines") == [0, 600, 1200, 1800]
        assert asked(panel, "backups", 77)[0] == 600
        assert await cloud.value("onapp_panel_virtual_machines") == 3


# One server's problem


async def test_a_failed_read_leaves_the_data_and_is_tried_again(
    tmp_path: Path,
) -> None:
    """The last good data stay; retries come later each time; then all is well."""
    panel = panel_of(3)
    async with monitored(panel, tmp_path) as cloud:
        before = await cloud.series("onapp_backup_size_bytes", vm_id=2)
        fault = panel.faults.add(faults.html_error(), server_id=2, resource="backups")
        await cloud.advance(2 * INTERVAL)
        during = await cloud.metrics()
        moments = asked(panel, "backups", 2)[1:]
        fault.remove()
        await cloud.advance(INTERVAL)

        assert series(during, "onapp_backup_size_bytes", vm_id=2) == before
        assert series(during, "onapp_vm_poll_success", panel="cp") == {
            "vm_id=1": 1.0,
            "vm_id=2": 0.0,
            "vm_id=3": 1.0,
        }
        assert series(during, "onapp_up") == {"panel=cp": 1.0}
        assert series(
            during, "onapp_collector_success", collector="backups", panel="cp"
        ) == {"": 0.0}
        assert gaps(moments)[:4] == [56.25, 112.5, 225.0, 506.25]
        assert await cloud.value("onapp_vm_poll_success", vm_id=2) == 1
        assert await cloud.value("onapp_collector_success", collector="backups") == 1


async def test_data_older_than_max_age_go_and_come_back(tmp_path: Path) -> None:
    """All that is made from the backups goes; inventory and poll series stay."""
    panel = panel_of(2)
    poll = {"max_age": "30m"}
    async with monitored(panel, tmp_path, poll=poll, expected_interval="1d") as cloud:
        whole = families_of(await cloud.metrics(), 2)
        fault = panel.faults.add(faults.status(500), server_id=2, resource="backups")
        await cloud.advance(30 * MINUTE)
        still = families_of(await cloud.metrics(), 2)
        await cloud.advance(15 * MINUTE)
        left = families_of(await cloud.metrics(), 2)
        other = families_of(await cloud.metrics(), 1)
        fault.remove()
        await cloud.advance(INTERVAL)

        assert still == whole
        assert whole - left == {name for name in whole if made_from_backups(name)}
        assert left == {
            "onapp_state_start_timestamp_seconds",
            "onapp_target_expected_interval_info",
            "onapp_target_expected_interval_seconds",
            "onapp_vm_state",
            "onapp_vm_info",
            "onapp_vm_suspended",
            "onapp_vm_backup_required",
            "onapp_vm_created_timestamp_seconds",
            "onapp_vm_poll_success",
            "onapp_vm_last_poll_success_timestamp_seconds",
        }
        assert other == whole
        assert families_of(await cloud.metrics(), 2) == whole


async def test_poll_success_falls_when_data_grow_too_old_unread(
    tmp_path: Path,
) -> None:
    """A read that hangs has not failed, but what it read before is no success now."""
    panel = panel_of(1)
    async with monitored(panel, tmp_path, poll={"max_age": "30m"}) as cloud:
        panel.faults.add(faults.hang(), resource="backups")
        cloud.unanswered = 1
        await cloud.advance(50 * MINUTE)

        assert await cloud.value("onapp_vm_poll_success") == 0
        assert await cloud.value("onapp_vm_backups", state="built") is None


async def test_a_server_that_goes_while_it_is_read_leaves_nothing_behind(
    tmp_path: Path,
) -> None:
    """Neither series nor what the reader remembers of its last answer."""
    panel = panel_of(2)
    async with monitored(panel, tmp_path) as cloud:
        fault = panel.faults.add(faults.hang(), resource="backups", server_id=2)
        cloud.unanswered = 1
        await cloud.advance(INTERVAL)
        panel.visible = lambda server: server.id == 1
        await cloud.advance(20 * MINUTE)
        panel.visible = lambda _: True
        fault.remove()
        cloud.unanswered = 0
        await cloud.settle()
        remembered = cloud.exporter.manager.panel_tasks["cp"].poller.api._cache  # noqa: SLF001  # what must not grow

        assert families_of(await cloud.metrics(), 2) == set()
        assert "virtual_machines/2/backups" not in remembered
        assert "virtual_machines/1/backups" in remembered


async def test_servers_that_come_and_go_leave_nothing_in_memory(
    tmp_path: Path,
) -> None:
    """What is kept is bounded by the servers that there are."""
    panel = panel_of(2)
    async with monitored(panel, tmp_path, discovery={"interval": "1m"}) as cloud:
        poller = cloud.exporter.manager.panel_tasks["cp"].poller
        for _ in range(20):
            server = panel.cloud.add_server()
            await cloud.advance(MINUTE)
            panel.cloud.remove_server(server.id)
            await cloud.advance(MINUTE)
        await cloud.advance(INTERVAL)
        queue = poller.queue
        kept = [
            len(poller.store.servers),
            len(queue._jobs[Priority.SERVER]),  # noqa: SLF001  # what must not grow
            len(queue._heaps[Priority.SERVER]),  # noqa: SLF001  # the same
            len(queue._in_progress),  # noqa: SLF001  # the same
            len(queue.untried),
        ]
        remembered = {
            path
            for path in poller.api._cache  # noqa: SLF001  # the same
            if path.endswith("backups")
        }

        assert kept == [2, 2, 2, 0, 0]
        assert remembered == {
            "virtual_machines/1/backups",
            "virtual_machines/2/backups",
        }


async def test_a_bug_in_a_read_is_logged_once_and_stops_nothing(
    tmp_path: Path,
) -> None:
    """The server counts as failed and is tried again, the others are read."""
    panel = panel_of(3)
    async with monitored(panel, tmp_path) as cloud:
        poller = cloud.exporter.manager.panel_tasks["cp"].poller
        sound = poller.api
        poller.inventory.servers.api = faulty(sound, FaultyBackups)
        with structlog.testing.capture_logs() as entries:
            await cloud.advance(3 * INTERVAL)
        success = await cloud.series("onapp_vm_poll_success", panel="cp")
        poller.inventory.servers.api = sound
        await cloud.advance(INTERVAL)

        assert success == {"vm_id=1": 1.0, "vm_id=2": 0.0, "vm_id=3": 1.0}
        assert [
            entry["event"] for entry in entries if entry["log_level"] == "error"
        ] == ["bug in the exporter"]
        assert await cloud.value("onapp_vm_poll_success", vm_id=2) == 1


async def test_a_bug_does_not_begin_an_outage_again(tmp_path: Path) -> None:
    """The server fails since its first failure, whatever the later ones are."""
    panel = panel_of(2)
    async with monitored(panel, tmp_path) as cloud:
        poller = cloud.exporter.manager.panel_tasks["cp"].poller
        reader, errors = poller.api, []
        for kind in (SlowBackups, FaultyBackups):
            poller.inventory.servers.api = faulty(reader, kind)
            await cloud.advance(2 * INTERVAL)
            errors.append(poller.store.servers[2].last_error)
        before, after = errors

    assert before is not None
    assert after is not None
    assert (before.reason, after.reason) == ("timeout", "bug")
    assert after.error == "a bug in the exporter: ZeroDivisionError"
    assert after.since == before.since < before.at < after.at


class SlowBackups(PanelApi):
    """A reader of a panel that does not answer for one server."""

    async def backups(self, vm_id: int) -> tuple[Backup, ...]:
        """Read a server's backups, except those of server 2."""
        if vm_id == 2:
            raise TimedOut("no answer")
        return await super().backups(vm_id)


class FaultyBackups(PanelApi):
    """A reader with a bug that one server brings out."""

    async def backups(self, vm_id: int) -> tuple[Backup, ...]:
        """Read a server's backups, except those of server 2."""
        if vm_id == 2:
            raise ZeroDivisionError
        return await super().backups(vm_id)


class FaultyVersion(PanelApi):
    """A reader with a bug that comes out at once."""

    async def version(self) -> str | None:
        """Return nothing, ever."""
        raise ZeroDivisionError


class FaultyInventory(PanelApi):
    """A reader with a bug in reading servers, those of a list and a single one."""

    async def inventory(self) -> Listed[Server]:
        """Return nothing, ever."""
        raise ZeroDivisionError

    async def server(self, vm_id: int | str) -> Server:
        """Return nothing, ever."""
        raise ZeroDivisionError(vm_id)


@pytest.mark.parametrize(
    ("kind", "keys", "values"),
    [
        (FaultyInventory, {}, (0, 0)),
        (FaultyInventory, {"virtual_machines": [1, 2]}, (0, 0)),
        (FaultyVersion, {}, (0, 1)),
    ],
    ids=["discovered", "configured", "version"],
)
async def test_a_bug_in_reading_the_panel_is_a_failed_read(
    kind: type[PanelApi],
    keys: dict[str, Any],
    values: tuple[float, float],
    tmp_path: Path,
) -> None:
    """No server goes, but nothing says that all is well."""
    panel = panel_of(2)
    async with monitored(panel, tmp_path, **keys) as cloud:
        poller = cloud.exporter.manager.panel_tasks["cp"].poller
        sound = poller.api
        poller.api = poller.inventory.api = faulty(sound, kind)
        await cloud.advance(INTERVAL)
        failed = await inventory_values(cloud)
        described = await cloud.series("onapp_vm_info", panel="cp")
        poller.api = poller.inventory.api = sound
        await cloud.advance(INTERVAL)

        assert failed == values
        assert len(described) == 2
        assert await inventory_values(cloud) == (1, 1)


async def inventory_values(cloud: MonitoredCloud) -> tuple[float | None, float | None]:
    """Return ``onapp_up``, and whether the inventory was read."""
    success = await cloud.value("onapp_collector_success", collector="inventory")
    return await cloud.value("onapp_up"), success


def faulty(reader: PanelApi, kind: type[PanelApi]) -> PanelApi:
    """Return a reader of the same panel with a bug."""
    return kind(reader.panel, reader.client, reader.breaker)


async def test_a_bug_in_asking_for_the_panel_hammers_nobody(tmp_path: Path) -> None:
    """What failed for no foreseen reason is tried again later each time."""
    panel = panel_of(1)
    async with monitored(panel, tmp_path, discovery={"interval": "5m"}) as cloud:
        poller = cloud.exporter.manager.panel_tasks["cp"].poller
        reader = poller.api
        poller.api = faulty(reader, FaultyVersion)
        (cloud.file.parent / "api-key").write_text("another key")
        panel.password = "another key"
        await cloud.advance(HOUR)
        poller.api = reader
        await cloud.advance(5 * MINUTE)

        assert await cloud.value("onapp_up") == 1
        assert await cloud.value("onapp_vm_poll_success") == 1


# Configured servers


async def test_an_identifier_is_resolved_as_soon_as_the_panel_knows_it(
    tmp_path: Path,
) -> None:
    """Until then it is what ``vm_id`` says, with a failed read; then it is gone."""
    panel = panel_of(1)
    async with monitored(panel, tmp_path, virtual_machines=[1, "latecomer"]) as cloud:
        before = await cloud.series("onapp_vm_poll_success", panel="cp")
        panel.cloud.add_server(identifier="latecomer", number=42)
        await cloud.advance(10 * MINUTE)
        after = await cloud.metrics()

        assert before == {"vm_id=1": 1.0, "vm_id=latecomer": 0.0}
        assert series(after, "onapp_vm_poll_success", panel="cp") == {
            "vm_id=1": 1.0,
            "vm_id=42": 1.0,
        }
        assert 'vm_id="latecomer"' not in after


async def test_an_identifier_once_resolved_survives_a_failed_lookup(
    tmp_path: Path,
) -> None:
    """What was known of it stays true until somebody says otherwise."""
    panel = panel_of(2)
    name = panel.cloud.servers[2].identifier
    async with monitored(panel, tmp_path, virtual_machines=[1, name]) as cloud:
        panel.faults.add(faults.status(500), path=rf"/virtual_machines/{name}")
        await cloud.advance(HOUR)

        assert await cloud.series("onapp_vm_poll_success", panel="cp") == {
            "vm_id=1": 1.0,
            "vm_id=2": 1.0,
        }
        assert await cloud.value("onapp_collector_success", collector="inventory") == 0


async def test_lookups_that_fail_do_not_keep_others_from_being_resolved(
    tmp_path: Path,
) -> None:
    """Five broken ones at the head of the list close the gate, but not for ever."""
    panel = panel_of(6)
    names = [server.identifier for server in panel.cloud.servers.values()]
    for name in names[:5]:
        panel.faults.add(faults.status(500), path=rf"/virtual_machines/{name}")
    async with monitored(panel, tmp_path, virtual_machines=names) as cloud:
        await cloud.advance(5 * MINUTE)

        assert await cloud.value("onapp_vm_poll_success", vm_id=6) == 1
        assert await cloud.value("onapp_up") == 1


async def test_a_lookup_that_failed_once_is_tried_again_soon(tmp_path: Path) -> None:
    """A server that could not be resolved does not wait for the next inventory."""
    panel = panel_of(1)
    name = panel.cloud.servers[1].identifier
    panel.faults.add(faults.status(500), resource="virtual_machines", times=1)
    async with monitored(panel, tmp_path, virtual_machines=[name]) as cloud:
        await cloud.advance(20)

        assert await cloud.series("onapp_vm_poll_success", panel="cp") == {
            "vm_id=1": 1.0
        }


# Up


async def test_up_is_absent_until_the_panel_was_first_heard(tmp_path: Path) -> None:
    """A port that takes the connection and says nothing is no answer yet."""
    panel = panel_of(1)
    fault = panel.faults.add(faults.hang())
    async with monitored(panel, tmp_path, unanswered=1) as cloud:
        during = await cloud.metrics()
        fault.remove()
        cloud.unanswered = 0
        await cloud.settle()

        assert series(during, "onapp_up") == {}
        assert series(during, "onapp_panel_info") == {}
        assert await cloud.value("onapp_up") == 1


async def test_up_is_0_once_the_first_request_has_timed_out(tmp_path: Path) -> None:
    """Then it is known that the panel does not answer."""
    panel = panel_of(1)
    panel.faults.add(faults.hang())
    async with monitored(panel, tmp_path, clock=SteppedTimeoutClock(NOW)) as cloud:
        assert await cloud.value("onapp_up") is None
        await cloud.advance(MINUTE)
        assert await cloud.value("onapp_up") == 0
        assert (await cloud.get("/-/ready"))[0] == 200


@pytest.mark.parametrize(
    "fault", [faults.status(500), faults.reset()], ids=["500", "reset"]
)
@pytest.mark.parametrize("configured", [False, True])
async def test_a_problem_of_the_only_server_never_changes_up(
    tmp_path: Path, fault: faults.Fault, *, configured: bool
) -> None:
    """Also where nothing else is asked for between two inventories."""
    panel = panel_of(1)
    panel.etags = False
    keys: dict[str, Any] = {"virtual_machines": [1]} if configured else {}
    async with monitored(
        panel,
        tmp_path,
        poll={"interval": "1m"},
        discovery={"interval": "1h"},
        **keys,
    ) as cloud:
        panel.faults.add(fault, server_id=1)
        ups = set()
        for _ in range(70):
            await cloud.advance(MINUTE)
            ups.add(await cloud.value("onapp_up"))

        assert ups == {1.0}
        assert await cloud.value("onapp_vm_poll_success") == 0


async def test_the_only_servers_time_out_never_changes_up(tmp_path: Path) -> None:
    """Not even where the one request allowed at a time is the one that hangs."""
    panel = panel_of(1)
    poll = {"interval": "1m", "timeout": "1s", "concurrency": 1}
    async with monitored(
        panel, tmp_path, clock=SteppedTimeoutClock(NOW), poll=poll
    ) as cloud:
        panel.faults.add(faults.hang(), server_id=1, times=2)
        await cloud.advance(90)

        assert await cloud.value("onapp_up") == 1
        assert (
            await cloud.value(
                "onapp_api_errors_total", reason="timeout", resource="backups"
            )
            == 2
        )


async def test_asking_for_the_panel_waits_for_a_free_slot(tmp_path: Path) -> None:
    """Its time-out must not begin while a server's slow answer holds the only one."""
    panel = panel_of(1)
    poll = {"concurrency": 1, "interval": "1m"}
    async with monitored(panel, tmp_path, poll=poll) as cloud:
        fault = panel.faults.add(faults.hang(), resource="backups")
        cloud.unanswered = 1
        await cloud.advance(10 * MINUTE)
        in_flight = cloud.exporter.manager.panel_tasks["cp"].poller.in_flight
        asked_for_it = asked(panel, "version")
        fault.remove()
        cloud.unanswered = 0
        await cloud.settle()

        assert in_flight == 1
        assert asked_for_it == [0.0]
        assert asked(panel, "version")[1:] == [600.0]
        assert await cloud.value("onapp_up") == 1


# Panels with problems


def add_section(file: Path, panel: Panel, name: str, **keys: Any) -> None:
    """Add a second panel to a configuration file."""
    content = yaml.safe_load(file.read_text())
    content["panels"].append(
        {
            "name": name,
            "url": panel.url,
            "basic_auth": {"username": panel.username, "password": panel.password},
            **keys,
        }
    )
    file.write_text(yaml.safe_dump(content))


async def test_a_panel_that_is_down_does_not_disturb_another(tmp_path: Path) -> None:
    """Its own series say so, and it is found again without a restart."""
    panel, other = panel_of(3), panel_of(2)
    async with other, monitored(panel, tmp_path) as cloud:
        other.clock = cloud.clock.time
        add_section(cloud.file, other, "other")
        assert (await cloud.get("/-/reload", method="POST"))[0] == 200

        await cloud.settle()
        port = URL(panel.url).port
        await panel.stop()
        reads = len(asked(other))
        await cloud.advance(2 * INTERVAL)
        during = await cloud.metrics()
        meanwhile = len(asked(other)) - reads
        await panel.start(port=port or 0)
        await cloud.advance(5 * MINUTE)

        assert series(during, "onapp_up") == {"panel=cp": 0.0, "panel=other": 1.0}
        assert series(during, "onapp_poll_lag_seconds")["panel=other"] == 0
        assert series(during, "onapp_poll_lag_seconds")["panel=cp"] > INTERVAL
        assert meanwhile == 2 * 2
        assert await cloud.series("onapp_up") == {"panel=cp": 1.0, "panel=other": 1.0}
        assert await cloud.value("onapp_poll_lag_seconds", panel="cp") == 0


async def test_requests_to_a_panel_that_is_down_back_off(tmp_path: Path) -> None:
    """They double up to five minutes, and one request is enough to find it."""
    panel = panel_of(10)
    panel.faults.add(faults.status(503))
    async with monitored(panel, tmp_path) as cloud:
        await cloud.advance(HOUR)
    moments = [row.at - NOW for row in panel.requests]

    assert gaps(moments)[:10] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]
    assert set(gaps(moments)[9:]) == {300}


async def test_no_gap_is_longer_than_the_interval(tmp_path: Path) -> None:
    """A panel that is read each ten seconds is sought each ten seconds."""
    panel = panel_of(1)
    panel.faults.add(faults.status(503))
    async with monitored(panel, tmp_path, poll={"interval": "10s"}) as cloud:
        await cloud.advance(5 * MINUTE)
    moments = [row.at - NOW for row in panel.requests]

    assert gaps(moments)[:5] == [1, 2, 4, 8, 10]
    assert set(gaps(moments)[4:]) == {10}


async def test_a_panel_that_goes_down_gets_few_requests(tmp_path: Path) -> None:
    """Three failures in a row are enough to see it, whatever is due."""
    panel = panel_of(50)
    async with monitored(panel, tmp_path) as cloud:
        before = len(panel.requests)
        panel.faults.add(faults.status(502))
        await cloud.advance(2 * HOUR)
        sent = moved_on(cloud, before)

        assert len(sent) <= 3 + 9 + 2 * 12
        assert await cloud.value("onapp_up") == 0


async def test_an_inventory_that_fails_is_not_asked_for_without_a_rest(
    tmp_path: Path,
) -> None:
    """Though the version is answered each time, retries come later and later."""
    panel = panel_of(1)
    fault = panel.faults.add(faults.status(500), resource="virtual_machines")
    async with monitored(panel, tmp_path) as cloud:
        await cloud.advance(20 * MINUTE)
        moments = asked(panel, "virtual_machines")
        fault.remove()
        await cloud.advance(5 * MINUTE)

        assert gaps(moments) == [15, 30, 60, 120, 240, 300, 300]
        assert await cloud.value("onapp_up") == 1
        assert await cloud.value("onapp_vm_poll_success") == 1


async def test_a_panel_that_goes_down_while_it_refuses_is_not_hammered(
    tmp_path: Path,
) -> None:
    """The try after ten minutes fails otherwise, and the back-off begins."""
    panel = panel_of(1)
    fault = panel.faults.add(faults.unauthorized())
    async with monitored(panel, tmp_path) as cloud:
        fault.remove()
        panel.faults.add(faults.status(503))
        await cloud.advance(10 * MINUTE + 60)
    moments = [row.at - NOW for row in panel.requests]

    assert moments == [0, 600, 601, 603, 607, 615, 631]


async def test_retry_after_of_a_panel_is_honoured(tmp_path: Path) -> None:
    """A limit on requests stops them all for as long as it asks."""
    panel = panel_of(20)
    async with monitored(panel, tmp_path) as cloud:
        panel.faults.add(faults.status(429, {"Retry-After": "120"}), times=1)
        before = len(panel.requests)
        await cloud.advance(INTERVAL)
        moments = [row.at - NOW for row in moved_on(cloud, before)]

        assert gaps(moments)[0] == 120
        assert await cloud.value("onapp_up") == 1
        assert await cloud.value("onapp_poll_lag_seconds") == 0


async def test_retry_after_of_a_whole_panel_is_learned_from_two_answers(
    tmp_path: Path,
) -> None:
    """A 503 may be one server's own, so one more request finds out."""
    panel = panel_of(20)
    async with monitored(panel, tmp_path) as cloud:
        panel.faults.add(faults.status(503, {"Retry-After": "200"}))
        before = len(panel.requests)
        await cloud.advance(INTERVAL)
        moments = [row.at - NOW for row in moved_on(cloud, before)]

        assert gaps(moments)[:4] == [0, 200, 200, 200]


async def test_retry_after_of_one_server_concerns_that_server_alone(
    tmp_path: Path,
) -> None:
    """The others are read as ever; its own retries wait for as long as it asks."""
    panel = panel_of(5)
    async with monitored(panel, tmp_path) as cloud:
        panel.faults.add(
            faults.status(503, {"Retry-After": "400"}),
            server_id=2,
            resource="backups",
        )
        lags = set()
        for _ in range(3 * 15):
            await cloud.advance(MINUTE)
            lags.add(await cloud.value("onapp_poll_lag_seconds"))
        reads = Counter(
            row.server_id for row in panel.request_log.requests_for("backups")
        )
        moments = asked(panel, "backups", 2)[1:]

        assert {reads[vm_id] for vm_id in (1, 3, 4, 5)} == {4}
        assert lags == {0.0}
        assert min(gaps(moments)) >= 400


# Readiness and lag


async def test_ready_only_when_the_first_pass_has_ended(tmp_path: Path) -> None:
    """The port is open before; metrics show what has come until then."""
    panel = panel_of(3)
    fault = panel.faults.add(faults.hang(), server_id=2, resource="backups")
    async with monitored(panel, tmp_path, unanswered=1) as cloud:
        during, _, _ = await cloud.get("/-/ready")
        shown = await cloud.series("onapp_vm_poll_success", panel="cp")
        fault.remove()
        cloud.unanswered = 0
        await cloud.settle()
        after, _, _ = await cloud.get("/-/ready")
        await panel.stop()
        await cloud.advance(2 * HOUR)

        assert (during, after) == (503, 200)
        assert shown == {"vm_id=1": 1.0, "vm_id=3": 1.0}
        assert (await cloud.get("/-/ready"))[0] == 200


async def test_servers_that_fail_do_not_end_the_first_pass_early(
    tmp_path: Path,
) -> None:
    """Three in a row make the exporter look twice, then the pass goes on."""
    panel = panel_of(12)
    panel.faults.add(faults.status(500), resource="backups", times=4)
    async with monitored(panel, tmp_path, poll={"concurrency": 1}) as cloud:
        during, _, _ = await cloud.get("/-/ready")
        await cloud.advance(2)
        success = await cloud.series("onapp_vm_poll_success")

        assert during == 503
        assert len(success) == 12
        assert (await cloud.get("/-/ready"))[0] == 200


async def test_a_server_that_goes_during_the_first_pass_does_not_hold_it_up(
    tmp_path: Path,
) -> None:
    """Whoever is no longer listed needs no reading."""
    panel = panel_of(3)
    panel.faults.add(faults.hang(), server_id=2, resource="backups")
    async with monitored(panel, tmp_path, unanswered=1) as cloud:
        panel.cloud.remove_server(2)
        await cloud.advance(10 * MINUTE)

        assert (await cloud.get("/-/ready"))[0] == 200


@pytest.mark.parametrize(
    "fault", [faults.status(500), faults.unauthorized(), faults.forbidden()]
)
async def test_ready_also_when_the_first_pass_ended_badly(
    tmp_path: Path, fault: faults.Fault
) -> None:
    """A panel with problems is for alerts, not for restarts of the exporter."""
    panel = panel_of(1)
    panel.faults.add(fault)
    async with monitored(panel, tmp_path) as cloud:
        assert (await cloud.get("/-/ready"))[0] == 200


async def test_the_lag_is_0_as_long_as_the_panel_keeps_up(tmp_path: Path) -> None:
    """And grows with time itself when it does not."""
    panel = panel_of(4)
    async with monitored(panel, tmp_path) as cloud:
        lags = set()
        for _ in range(30):
            await cloud.advance(MINUTE)
            lags.add(await cloud.value("onapp_poll_lag_seconds"))
        panel.faults.add(faults.hang(), resource="backups")
        cloud.unanswered = 4
        await cloud.advance(INTERVAL)
        early = await cloud.value("onapp_poll_lag_seconds")
        await cloud.advance(INTERVAL)
        late = await cloud.value("onapp_poll_lag_seconds")

        assert lags == {0.0}
        assert early is not None
        assert late == early + INTERVAL
