"""Several exporters that share one cloud's servers between them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from faulty_panel import Panel
from harness import NOW, advance_together, monitored_by_shards

from exporter.demo.cloud.simulation import SimulatedCloud

HOUR = 3600
INTERVAL = 15 * 60


def panel_of(count: int) -> Panel:
    """Return a panel with so many servers and something to tell of each."""
    world = SimulatedCloud(NOW)
    for number in range(count):
        server = world.add_server(disks=1 + number % 2)
        for age in range(number % 4):
            world.add_backup(
                server.id,
                created_at=NOW - (age + 1) * HOUR,
                built_at=NOW - (age + 1) * HOUR + 60,
            )
    return Panel(world)


def about_servers(text: str) -> list[str]:
    """Return the samples with a server's number."""
    return [line for line in text.splitlines() if 'vm_id="' in line]


def about_panels(text: str) -> list[str]:
    """Return the samples about the panel itself, as the panel tells them.

    Not the exporter's own counters, and not what is made of its own servers: whether
    they could be read, and sums over them.
    """
    own = ('vm_id="', "onapp_api_", 'shard="')
    return [
        line
        for line in text.splitlines()
        if 'panel="' in line and not any(part in line for part in own)
    ]


@pytest.mark.parametrize("configured", [False, True])
async def test_all_shards_together_show_exactly_the_whole(
    tmp_path: Path, *, configured: bool
) -> None:
    """Every server's series come from one shard; the panel's from each."""
    panel = panel_of(30)
    keys: dict[str, Any] = {}
    if configured:
        servers = list(panel.cloud.servers.values())
        named = [server.identifier for server in servers[10:]]
        keys = {"virtual_machines": [*range(1, 11), *named, "unknown", 999]}
    async with monitored_by_shards(panel, tmp_path, 1, **keys) as (one,):
        whole = await one.metrics()
    async with monitored_by_shards(panel, tmp_path, 3, **keys) as clouds:
        parts = [await cloud.metrics() for cloud in clouds]
    shares = [len(about_servers(part)) for part in parts]
    address = panel.url

    assert sorted(line for part in parts for line in about_servers(part)) == sorted(
        about_servers(whole)
    )
    assert min(shares) > 0
    assert [
        [line.replace(address, "URL") for line in about_panels(part)] for part in parts
    ] == [about_panels(parts[0].replace(address, "URL"))] * 3
    assert {line.split("{")[0] for line in about_panels(parts[0])} == {
        line.split("{")[0] for line in about_panels(whole)
    }
    assert [line for line in parts[1].splitlines() if "shard_info{" in line] == [
        'onapp_exporter_shard_info{shard="1",total_shards="3"} 1.0'
    ]


async def test_each_server_is_read_by_its_shard_alone(tmp_path: Path) -> None:
    """Together they ask a panel no more often than one exporter would."""
    panel = panel_of(24)
    async with monitored_by_shards(panel, tmp_path, 3) as clouds:
        await advance_together(clouds, 2 * INTERVAL)
    reads = Counter(row.server_id for row in panel.request_log.requests_for("backups"))

    assert reads == Counter(dict.fromkeys(panel.cloud.servers, 3))


async def test_a_server_that_comes_or_goes_does_so_on_one_shard(
    tmp_path: Path,
) -> None:
    """The number of servers is that of the whole inventory on each."""
    panel = panel_of(12)
    async with monitored_by_shards(panel, tmp_path, 3) as clouds:
        panel.cloud.remove_server(5)
        panel.cloud.add_server(number=50)
        await advance_together(clouds, INTERVAL)
        texts = [await cloud.metrics() for cloud in clouds]
        listed = [await cloud.value("onapp_panel_virtual_machines") for cloud in clouds]

        assert sum('vm_id="5"' in text for text in texts) == 0
        assert sum('vm_id="50"' in text for text in texts) == 1
        assert listed == [12, 12, 12]
