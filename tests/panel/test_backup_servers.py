"""Backup servers on ``/metrics``: what they are, and what the backups take there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import faults
import pytest
from faulty_panel import Panel
from harness import NOW, monitored, series

from exporter.demo.cloud.simulation import SimulatedCloud
from exporter.model.selection import Shard

KIB_PER_GIB = 1024**2


def a_world() -> SimulatedCloud:
    """Return a world with two backup servers, and backups on one and on none."""
    world = SimulatedCloud(NOW)
    world.add_backup_server("store-1", 100)
    world.add_backup_server("store-2", 200, enabled=False)
    for number in range(1, 5):
        world.add_server()
        world.add_backup(number, size_kib=KIB_PER_GIB, backup_server_id=1)
    world.add_backup(1, size_kib=KIB_PER_GIB, marked_for_delete=True)
    world.add_backup(1, size_kib=None, built=False, backup_server_id=1)
    return world


@pytest.mark.parametrize("form", ["json", "xml"])
async def test_a_backup_server_has_every_family(tmp_path: Path, form: str) -> None:
    """What the panel says of it, and the sums over the polled backups."""
    async with monitored(Panel(a_world()), tmp_path, format=form) as cloud:
        text = await cloud.metrics()

    def reported(family: str) -> dict[str, float]:
        return series(text, f"onapp_backup_server_{family}", panel="cp")

    first, second = "backup_server_id=1", "backup_server_id=2"
    assert reported("info") == {
        f"{first},label=store-1": 1,
        f"{second},label=store-2": 1,
    }
    assert reported("enabled") == {first: 1, second: 0}
    assert reported("capacity_bytes") == {first: 100 * 1024**3, second: 200 * 1024**3}
    assert reported("backups") == {first: 5, second: 0, "backup_server_id=none": 1}
    assert reported("used_bytes") == {
        first: 4 * 1024**3,
        second: 0,
        "backup_server_id=none": 1024**3,
    }


@pytest.mark.parametrize("missing", ["label", "enabled", "capacity"])
async def test_what_the_panel_does_not_say_is_left_out(
    tmp_path: Path, missing: str
) -> None:
    """A field that a version does not have costs its own family only."""
    panel = Panel(a_world(), omitted_fields=frozenset({missing}))

    async with monitored(panel, tmp_path) as cloud:
        text = await cloud.metrics()

    families = {"enabled": "enabled", "capacity": "capacity_bytes"}
    gone = families.pop(missing, None)
    assert not gone or not series(text, f"onapp_backup_server_{gone}")
    assert all(
        series(text, f"onapp_backup_server_{name}") for name in families.values()
    )
    assert len(series(text, "onapp_backup_server_info")) == 2


@pytest.mark.parametrize("code", [403, 404, 500])
async def test_use_is_known_where_backup_servers_are_not(
    tmp_path: Path, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only the collector's own series are missing, and it says so once."""
    panel = Panel(a_world())
    problem = panel.faults.add(faults.status(code), resource="backup_servers")

    async with monitored(panel, tmp_path) as cloud:
        await cloud.advance(3000)
        text = await cloud.metrics()
        lines = [n for n in capsys.readouterr().out.splitlines() if "collector" in n]
        asked = [a for a in panel.requests if a.resource == "backup_servers"]
        problem.remove()
        await cloud.advance(1000)
        fixed = await cloud.metrics()

    assert len(lines) == 1
    assert len(asked) <= (1 if code in (403, 404) else 11)
    assert not series(text, "onapp_backup_server_info")
    assert series(text, "onapp_backup_server_backups", panel="cp") == {
        "backup_server_id=1": 5,
        "backup_server_id=none": 1,
    }
    reported = series(text, "onapp_collector_success", panel="cp")
    assert reported.pop("collector=backup_servers") == 0
    assert set(reported.values()) == {1}
    assert series(text, "onapp_up") == {"panel=cp": 1}
    assert series(fixed, "onapp_backup_server_info")


async def test_shards_share_the_sums_and_all_describe(tmp_path: Path) -> None:
    """Every shard has info and enabled; added up, used and backups are the whole."""
    sums: dict[str, float] = {}
    for number in range(3):
        panel = Panel(a_world())
        async with monitored(panel, tmp_path, shard=Shard(number, 3)) as cloud:
            text = await cloud.metrics()
        assert len(series(text, "onapp_backup_server_info")) == 2
        assert len(series(text, "onapp_backup_server_enabled")) == 2
        for key, value in series(text, "onapp_backup_server_backups").items():
            whole = key.partition(",shard=")[0]
            sums[whole] = sums.get(whole, 0) + value

    assert sums == {
        "backup_server_id=1,panel=cp": 5,
        "backup_server_id=2,panel=cp": 0,
        "backup_server_id=none,panel=cp": 1,
    }


async def test_backup_servers_can_be_switched_off(tmp_path: Path) -> None:
    """Then none of their families is there, and nothing is asked."""
    keys: dict[str, Any] = {"collectors": {"backup_servers": False}}
    async with monitored(Panel(a_world()), tmp_path, **keys) as cloud:
        text = await cloud.metrics()
        resources = {asked.resource for asked in cloud.panel.requests}

    assert "onapp_backup_server" not in text
    assert "backup_servers" not in resources
    assert not series(text, "onapp_collector_success", collector="backup_servers")
