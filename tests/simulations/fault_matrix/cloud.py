"""The small cloud of the fault matrix, how it changes, and who watches it."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builders import DAY, HOUR
from faulty_panel import Panel
from harness import NOW, MonitoredCloud, SteppedTimeoutClock, monitored

from exporter.demo.cloud.rows import TargetType
from exporter.demo.cloud.simulation import SimulatedCloud
from exporter.demo.cloud.time import Period

GIB = 1024**3
MOST_BYTES = 4 * 1024**2
"""What ``poll.max_body`` is here."""
TIMEOUT_SECONDS = 10.0
"""What ``poll.timeout`` is here."""
SCHEDULES: tuple[tuple[TargetType, int, Period], ...] = (
    ("Disk", 101, "days"),
    ("VirtualMachine", 2, "days"),
    ("Disk", 103, "weeks"),
)


def small_cloud() -> SimulatedCloud:
    """Return three servers with backups, and one of everything else.

    Servers 1 and 2 keep their backups, of 1 GiB each, on a backup server, server 3 on
    its hypervisor; 2 has incremental ones. Nothing changes by itself for a day.
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
        backup_type="incremental" if server == 2 else "normal",
        initiated="weeks" if server == 3 else "days",
        backup_server_id=None if server == 3 else 1,
    )


@dataclass(eq=False)
class NamedPanel(Panel):
    """A panel with another name than its address, and with TLS or without."""

    context: ssl.SSLContext | None = None
    host: str | None = None

    async def start(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        ssl_context: ssl.SSLContext | None = None,
    ) -> str:
        """Listen with the TLS of the moment."""
        url = await super().start(host, port, ssl_context or self.context)
        self.url = url.replace(host, self.host or host)
        return self.url


@dataclass(frozen=True)
class Timing:
    """When a cell's exporter is looked at: in seconds of its clock."""

    interval: float
    after: float
    long: bool
    """Whether the fault lasts longer than ``max_age`` too."""

    @property
    def max_age(self) -> float:
        """Return how old data may become."""
        return 3 * self.interval

    def moments(self) -> Iterator[tuple[str, float]]:
        """Yield what comes after what time."""
        yield "before", 1.1 * self.interval
        yield "short", 1.5 * self.interval
        if self.long:
            yield "long", 4.0 * self.interval
        yield "after", self.after


@asynccontextmanager
async def looking(
    panel: Panel, folder: Path, form: str, timing: Timing, **keys: Any
) -> AsyncIterator[MonitoredCloud]:
    """Watch a cloud with every collector."""
    poll = {
        "interval": f"{timing.interval:.0f}s",
        "max_age": f"{timing.max_age:.0f}s",
        "timeout": f"{TIMEOUT_SECONDS:.0f}s",
        "max_body": MOST_BYTES,
    }
    async with monitored(
        panel,
        folder,
        clock=SteppedTimeoutClock(panel.cloud.now),
        format=form,
        poll=poll,
        discovery={"interval": poll["interval"]},
        collectors={"recovery_points": True},
        **keys,
    ) as cloud:
        yield cloud
