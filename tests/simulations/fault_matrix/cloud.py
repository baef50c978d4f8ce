"""The small cloud of the fault matrix, and how it changes."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Self

from faulty_panel import Panel
from harness import NOW

from exporter.demo.cloud.rows import TargetType
from exporter.demo.cloud.simulation import SimulatedCloud
from exporter.demo.cloud.time import Period

HOUR = 3600.0
DAY = 24 * HOUR
GIB = 1024**3
SCHEDULES: tuple[tuple[TargetType, int, Period], ...] = (
    ("Disk", 101, "days"),
    ("VirtualMachine", 2, "days"),
    ("Disk", 103, "weeks"),
)


def small_cloud() -> SimulatedCloud:
    """Return three servers with backups, and one of everything else.

    Servers 1 and 2 keep their backups on a backup server, server 3 on its hypervisor; 2
    has incremental ones. Nothing changes by itself for a day.
    """
    world = SimulatedCloud(NOW)
    world.add_backup_server("store-1", 500)
    world.add_backup_server("store-2", 100)
    for server in (1, 2, 3):
        world.add_server(label=f"web-{server}", created_at=NOW - 30 * DAY)
        for days in (2, 1):
            _add_backup(world, server, NOW - days * DAY)
        world.add_recovery_point(server, created_at=NOW - 3 * DAY)
    world.add_backup(3, built=False, created_at=NOW - HOUR, initiated="weeks")
    for target_type, target_id, period in SCHEDULES:
        world.add_schedule(target_type, target_id, period, start_at=NOW + DAY)
    for server, backup in ((1, 1099), (3, 1005)):
        world.add_transaction(
            status="failed",
            parent_id=backup,
            server_id=server,
            created_at=NOW - 5 * DAY,
        )
    world.add_transaction(status="pending", parent_id=1007, server_id=3)
    return world


def change_everything(panel: Panel) -> None:
    """Change something in every list, so that old values differ from new ones.

    New are the backups 1008, 1009 and 1010 of servers 1, 2 and 3, disk 104 and recovery
    point 9004 of server 1, and transaction 5004; server 3 is renamed, schedule 503 has
    failed once, backup server 2 is disabled, and the panel has another version.
    """
    world = panel.cloud
    panel.version = "6.11.0"
    world.servers[3].label = "renamed"
    for server in (1, 2, 3):
        _add_backup(world, server, world.now - 90)
    world.schedules[503].failure_count = 1
    world.add_disk(1)
    world.add_transaction(
        action="restore_backup", status="failed", created_at=world.now
    )
    world.backup_servers[2].enabled = False
    world.add_recovery_point(1, created_at=world.now)


def _add_backup(world: SimulatedCloud, server: int, created_at: float) -> None:
    world.add_backup(
        server,
        created_at=created_at,
        built_at=created_at + 60,
        size_kib=GIB // 1024,
        backup_type="incremental" if server == 2 else "normal",
        initiated="weeks" if server == 3 else "days",
        backup_server_id=None if server == 3 else 1,
    )


@dataclass(eq=False)
class RestartablePanel(Panel):
    """A panel that can be restarted on its port, with TLS or without."""

    context: ssl.SSLContext | None = None
    host: str | None = None
    port: int = field(default=0, init=False)

    async def __aenter__(self) -> Self:
        """Start on a free port."""
        await self.start_again()
        return self

    async def start_again(self) -> None:
        """Listen again on the same port."""
        url = await self.start(port=self.port, ssl_context=self.context)
        self.port = int(url.rpartition(":")[2])
        if self.host is not None:
            self.url = url.replace("127.0.0.1", self.host)
