"""Policies: how often a class of servers must have a restore point, by /metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import faults
import pytest
import yaml
from builders import DAY, HOUR
from faulty_panel import Panel
from harness import (
    NOW,
    MonitoredCloud,
    SteppedClock,
    monitored,
    running_exporter,
    write_config,
)

from exporter.demo.cloud.simulation import SimulatedCloud

DATABASES = {"match": {"label": "db-.*"}, "expected_interval": "12h"}
STALE_AFTER_HOURS = 1.5 * 12 + 3


def a_panel(*labels: str, scheduled: bool = False, hours_ago: float = 30) -> Panel:
    """Return servers with these labels and one backup each, built so long ago.

    The hosts are ``<label>.example.com``, the owners have the numbers 1, 2, ….
    """
    world = SimulatedCloud(NOW)
    for number, label in enumerate(labels, 1):
        world.add_server(
            label=label,
            hostname=f"{label}.example.com",
            user_id=number,
            created_at=NOW - 100 * DAY,
        )
        if scheduled:
            world.add_schedule("Disk", 100 + number, start_at=NOW + 30 * DAY)
        at = NOW - hours_ago * HOUR
        manual: Any = {"initiated": "manual"}
        world.add_backup(number, created_at=at, built_at=at, **manual)
    return Panel(world)


async def expected(cloud: MonitoredCloud) -> dict[str, tuple[float, str]]:
    """Return the expected interval in hours and its source, by the server's number."""
    family = "onapp_target_expected_interval"
    seconds = await cloud.series(f"{family}_seconds", panel="cp", target_type="Disk")
    sources = await cloud.series(f"{family}_info", panel="cp", target_type="Disk")
    by_target = {
        target: source.removeprefix("source=")
        for source, _, target in (labels.partition(",") for labels in sources)
    }
    return {
        target.partition("vm_id=")[2]: (value / HOUR, by_target[target])
        for target, value in seconds.items()
    }


async def stale_in_hours(cloud: MonitoredCloud) -> float | None:
    """Return in how many hours the one server is stale."""
    at = await cloud.value("onapp_state_start_timestamp_seconds", state="stale")
    return None if at is None else round((at - NOW) / HOUR, 2)


async def reload_with(cloud: MonitoredCloud, **keys: Any) -> None:
    """Reload the configuration with other keys of the panel."""
    content = yaml.safe_load(cloud.file.read_text())
    content["panels"][0].update(keys)
    cloud.file.write_text(yaml.safe_dump(content))
    status, *_ = await cloud.get("/-/reload", method="POST")
    assert status == 200
    await cloud.settle()


async def test_the_first_policy_that_matches_is_for_a_server(tmp_path: Path) -> None:
    """By label, host name and owner; schedules come after it, the fallback last."""
    panel = a_panel("db-old", "db-1", "web-1", "web-2", scheduled=True)
    panel.cloud.schedules.clear()
    panel.cloud.add_schedule("Disk", 102, start_at=NOW + DAY)
    panel.cloud.add_schedule("Disk", 104, start_at=NOW + DAY)
    policies = [
        {
            "match": {"label": "db-.*", "hostname": r".*old\.example\.com"},
            "expected_interval": "7d",
        },
        DATABASES,
        {"match": {"user_id": [1, 3]}, "expected_interval": "2d"},
    ]
    async with monitored(
        panel, tmp_path, policies=policies, expected_interval="9d"
    ) as cloud:
        assert await expected(cloud) == {
            "1": (168, "config"),
            "2": (12, "config"),
            "3": (48, "config"),
            "4": (24, "schedule"),
        }


async def test_a_servers_own_interval_comes_before_policies(tmp_path: Path) -> None:
    """What is said of one server is the exception from what is said of its class."""
    panel = a_panel("db-1", "db-2", "web-1")
    servers = [{"id": 1, "expected_interval": "3d"}, 2, 3]
    async with monitored(
        panel, tmp_path, virtual_machines=servers, policies=[DATABASES]
    ) as cloud:
        assert await expected(cloud) == {"1": (72, "config"), "2": (12, "config")}


async def test_servers_are_counted_by_how_they_keep_to_a_policy(tmp_path: Path) -> None:
    """And a policy makes backups required, unless they are excluded."""
    panel = a_panel("db-1", "db-2", "web-1")
    panel.cloud.add_server(label="db-new", created_at=NOW - 100 * DAY)
    panel.cloud.add_server(label="db-test", created_at=NOW - 100 * DAY)
    at = NOW - HOUR
    panel.cloud.add_backup(2, created_at=at, built_at=at, initiated="manual")
    keys: Any = {"backup_required": {"exclude": {"label": ".*-test"}}}
    async with monitored(panel, tmp_path, policies=[DATABASES], **keys) as cloud:
        in_time = await cloud.series("onapp_vm_backup_in_time", panel="cp")
        counts = await cloud.series("onapp_panel_servers", panel="cp")
        required = await cloud.series("onapp_vm_backup_required", panel="cp")

    assert in_time == {"vm_id=1": 0, "vm_id=2": 1, "vm_id=4": 0}
    assert {state: count for state, count in counts.items() if count} == {
        "state=stale": 1,
        "state=fine": 1,
        "state=unprotected": 1,
        "state=not_required": 2,
    }
    assert required["vm_id=4"] == 1
    assert required["vm_id=5"] == 0


@pytest.mark.parametrize("scheduled", [False, True])
async def test_a_policy_that_becomes_known_late_moves_no_moment(
    tmp_path: Path, *, scheduled: bool
) -> None:
    """After a restart backups may be read before a label is: nothing was shortened.

    Until then there is no guess by the fallback, and the next start says the same.
    """
    panel = a_panel("db-1", scheduled=scheduled)
    keys = {
        "virtual_machines": [1],
        "policies": [DATABASES],
        "expected_interval": "1d",
    }
    clock = SteppedClock(NOW)
    panel.clock = clock.time
    fault = panel.faults.add(faults.reset(), resource="virtual_machines")
    async with panel:
        write_config(file := tmp_path / "onapp.yml", panel, {}, keys)
        async with running_exporter(panel, file, clock) as cloud:
            read = await cloud.value("onapp_target_backups", state="built")
            unknown = await expected(cloud)
            fault.remove()
            await cloud.advance(HOUR)
            known = await expected(cloud), await stale_in_hours(cloud)
        async with running_exporter(panel, file, clock) as cloud:
            again = await expected(cloud), await stale_in_hours(cloud)

    assert read == 1
    assert unknown == ({"1": (24, "schedule")} if scheduled else {})
    assert known == again == ({"1": (12, "config")}, STALE_AFTER_HOURS - 30)


@pytest.mark.parametrize(
    ("scheduled", "before", "after", "stale"),
    [
        # Shorter than what was in force, or new: counts from the reload.
        (True, [], [DATABASES], STALE_AFTER_HOURS),
        (False, [{**DATABASES, "expected_interval": "7d"}], [DATABASES], 21),
        (False, [], [DATABASES], STALE_AFTER_HOURS),
        # Not shorter: what is overdue stays so, from the same moment on.
        (True, [], [{**DATABASES, "expected_interval": "2d"}], -30 + 75),
        (True, [DATABASES], [], -30 + 39),
        (False, [DATABASES], [{**DATABASES, "expected_interval": "1d"}], -30 + 39),
    ],
)
async def test_a_policy_that_a_reload_changes_waits_only_if_it_is_shorter(
    before: Any, after: Any, stale: float, tmp_path: Path, *, scheduled: bool
) -> None:
    """Nobody expected a backup so soon; but no reload hides what is overdue."""
    panel = a_panel("db-1", scheduled=scheduled)
    async with monitored(panel, tmp_path, policies=before or None) as cloud:
        await reload_with(cloud, policies=after or None)
        assert await stale_in_hours(cloud) == stale


async def test_a_server_that_is_renamed_into_a_policy_waits_from_then(
    tmp_path: Path,
) -> None:
    """The panel tells no date of it; this process saw it."""
    panel = a_panel("web-1")
    async with monitored(panel, tmp_path, policies=[DATABASES]) as cloud:
        before = await expected(cloud)
        panel.cloud.servers[1].label = "db-1"
        await cloud.advance(610)

        assert before == {}
        assert await expected(cloud) == {"1": (12, "config")}
        found = await stale_in_hours(cloud)
        assert found == pytest.approx(STALE_AFTER_HOURS + 600 / HOUR, abs=0.01)
