"""Random activity in a simulated cloud, and random faults of its panel.

Repeatable by the seed.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import get_args

import faults
from fault_matrix.effects import SCOPES, UNAUTHORIZED
from fault_matrix.matrix import CONNECTION, CONTENT, FAULTS, FaultCase
from faults import ActiveFault
from faulty_panel import Panel

from exporter.demo.cloud.failures import FailureKind
from exporter.demo.cloud.rows import Backup, ScheduleStatus, Server, Target
from exporter.demo.cloud.simulation import SimulatedCloud
from exporter.demo.cloud.time import Period

MINUTE = 60.0
HOUR = 3600.0
DAY = 24 * HOUR

_STATUSES: tuple[ScheduleStatus, ...] = ("enabled", "enabled", "disabled")
_PERIODS: tuple[Period, ...] = ("days", "days", "weeks", "months")
_FAULTS = (
    *(fault for fault in FAULTS.values() if fault.effect not in (CONNECTION, CONTENT)),
    FaultCase("some bad rows", CONTENT, make=lambda: faults.bad_rows(0.3)),
)
"""Those of the fault matrix after which all is as before, and one more."""
_COST_REAL_TIME = {"timeout", "too_large"}


@dataclass(eq=False)
class RandomFaults:
    """Random faults of one panel."""

    panel: Panel
    rng: random.Random
    counts: Counter[str] = field(default_factory=Counter)
    """How many faults of each kind there were."""
    affected_requests: Counter[str] = field(default_factory=Counter)
    """How many requests each kind affected."""
    _active: list[tuple[float, str, ActiveFault]] = field(default_factory=list)

    def change(self, now: float) -> None:
        """End the faults whose time is over, and begin others."""
        for entry in [entry for entry in self._active if entry[0] <= now]:
            self._end(entry)
        if self.rng.random() < 0.5:
            self._begin(now)

    def clear(self) -> None:
        """End all faults."""
        for entry in list(self._active):
            self._end(entry)

    def _end(self, entry: tuple[float, str, ActiveFault]) -> None:
        self._active.remove(entry)
        _, kind, placed = entry
        placed.remove()
        self.affected_requests[kind] += placed.happened

    def _begin(self, now: float) -> None:
        rng = self.rng
        fault = rng.choice(_FAULTS)
        times = rng.choice([None, 1, 5, 20])
        if fault.reason in _COST_REAL_TIME:
            times = rng.randint(1, 3)
        if fault.effect == UNAUTHORIZED:
            times = 1  # It stops polling for ten minutes or more.
        scope = dict(rng.choice([*SCOPES.values()]).fault_arguments)
        if "server_id" in scope:
            scope["server_id"] = rng.choice(sorted(self.panel.cloud.servers))
        placed = self.panel.faults.add(fault.demo_fault(), times=times, **scope)
        lasts = rng.choice([2 * MINUTE, 10 * MINUTE, 40 * MINUTE, 2 * HOUR])
        self._active.append((now + lasts, fault.name, placed))
        self.counts[fault.name] += 1


@dataclass(eq=False)
class CloudActivity:
    """Random changes of servers, schedules and backups in one cloud."""

    world: SimulatedCloud
    rng: random.Random
    most_servers: int
    most_changes: int
    """In one step."""
    permanent: frozenset[int] = frozenset()
    """Servers that are never destroyed."""
    changes: int = 0

    @classmethod
    def started(
        cls, world: SimulatedCloud, rng: random.Random, servers: int, most_changes: int
    ) -> CloudActivity:
        """Fill a cloud with so many servers."""
        activity = cls(world, rng, servers + 4, most_changes)
        for number in range(1, 4):
            world.add_backup_server(f"store {number}", 500 * number)
        for _ in range(servers):
            activity.add_server()
        return activity

    def change_something(self) -> None:
        """Plan some changes within the next minute, at whole seconds."""
        for _ in range(self.rng.randint(0, self.most_changes)):
            act = self.rng.choice(
                [
                    *(self.add_server, self.destroy_server, self.rename, self.suspend),
                    *(self.add_disk, self.remove_disk, self.add_schedule),
                    *(self.change_schedule, self.remove_schedule, self.take_backup),
                    *(
                        self.remove_backup,
                        self.lock,
                        self.release_stuck_backup,
                        self.add_recovery_point,
                    ),
                    *(
                        self.remove_recovery_point,
                        self.break_next_backup,
                        self.toggle_backup_server,
                    ),
                    *(
                        self.take_backup,
                        self.take_backup,
                        self.take_backup,
                        self.destroy_server,
                    ),
                ]
            )
            self.world.call_at(round(self.world.now) + self.rng.randint(1, 60), act)
            self.changes += 1

    def add_server(self) -> None:
        """Create a server with schedules or without."""
        if len(self.world.servers) >= self.most_servers:
            return
        number = len(self.world.servers) + self.changes
        server = self.world.add_server(
            label=f'web "{number}" \\ ü',
            user_id=self.rng.randint(1, 9),
            disks=self.rng.randint(1, 3),
            disk_gb=self.rng.randint(5, 60),
            swap=self.rng.random() < 0.3,
            backup_server_id=self.rng.choice([None, *self.world.backup_servers]),
        )
        for _ in range(self.rng.randint(0, 2)):
            self._schedule(server)

    def destroy_server(self) -> None:
        """Destroy a server and everything of it."""
        found = [n for n in self.world.servers if n not in self.permanent]
        if len(found) > self.most_servers * 2 // 3:
            self.world.remove_server(self.rng.choice(found))

    def rename(self) -> None:
        """Give a server another name."""
        for server in self._servers():
            server.label = f"renamed {self.changes}\n{server.id}"

    def suspend(self) -> None:
        """Suspend a server, or resume it."""
        for server in self._servers():
            server.suspended = not server.suspended

    def add_disk(self) -> None:
        """Add a disk, which has no schedule."""
        for server in self._servers():
            if len(self.world.disks_of(server.id)) < 4:
                self.world.add_disk(server.id)

    def remove_disk(self) -> None:
        """Remove a disk whose backups stay."""
        for server in self._servers():
            disks = [d for d in self.world.disks_of(server.id) if not d.primary]
            if disks:
                self.world.remove_disk(self.rng.choice(disks).id)

    def add_schedule(self) -> None:
        """Add a schedule."""
        for server in self._servers():
            if len(self.world.schedules_of(server.id)) < 4:
                self._schedule(server)

    def change_schedule(self) -> None:
        """Enable or disable a schedule, or change its period."""
        if self.world.schedules:
            number = self.rng.choice(list(self.world.schedules))
            status = self.rng.choice(_STATUSES)
            period = self.rng.choice(_PERIODS)
            self.world.change_schedule(number, status=status, period=period)

    def remove_schedule(self) -> None:
        """Remove a schedule."""
        if len(self.world.schedules) > 4:
            self.world.remove_schedule(self.rng.choice(list(self.world.schedules)))

    def take_backup(self) -> None:
        """Start a backup by hand."""
        for server in self._servers():
            if len(self.world.backups_of(server.id)) < 25:
                disks = self.world.disks_of(server.id)
                disk = self.rng.choice([d for d in disks if not d.is_swap])
                whole = self.rng.random() < 0.4
                target = Target("VirtualMachine", server.id)
                self.world.take_backup(*(target if whole else Target("Disk", disk.id)))

    def remove_backup(self) -> None:
        """Delete a backup, finished or not."""
        for backup in self._backups():
            self.world.remove_backup(backup.id)

    def lock(self) -> None:
        """Lock a backup, or unlock it."""
        for backup in self._backups():
            self.world.lock_backup(backup.id, locked=not backup.locked)

    def release_stuck_backup(self) -> None:
        """End a stuck backup."""
        for run in list(self.world.backup_queue.runs.values()):
            if run.stage == "stuck":
                self.world.end_backup(
                    run.backup.id, self.rng.choice(["finish", "fail"])
                )

    def add_recovery_point(self) -> None:
        """Add a recovery point of a plugin."""
        for server in self._servers():
            if len(self.world.recovery_points_of(server.id)) < 5:
                self.world.add_recovery_point(
                    server.id, state=self.rng.choice(["built", "building"])
                )

    def remove_recovery_point(self) -> None:
        """Remove the oldest recovery point."""
        if self.world.recovery_points:
            del self.world.recovery_points[min(self.world.recovery_points)]

    def break_next_backup(self) -> None:
        """Let a future backup go wrong."""
        kind = self.rng.choice([k for k in get_args(FailureKind) if k != "stall"])
        if len(self.world.failures.active) < 8:
            self.world.inject_failure(kind, factor=3.0, seconds=1800)

    def toggle_backup_server(self) -> None:
        """Disable a backup server, or enable it."""
        store = self.rng.choice(list(self.world.backup_servers.values()))
        store.enabled = not store.enabled

    def _schedule(self, server: Server) -> None:
        disks = [d for d in self.world.disks_of(server.id) if not d.is_swap]
        if self.rng.random() < 0.3:
            self.world.add_schedule("VirtualMachine", server.id, rotation_period=4)
        else:
            period = self.rng.choice(_PERIODS[:2])
            self.world.add_schedule("Disk", self.rng.choice(disks).id, period)

    def _servers(self) -> Iterator[Server]:
        if self.world.servers:
            yield self.rng.choice(list(self.world.servers.values()))

    def _backups(self) -> Iterator[Backup]:
        if self.world.backups:
            yield self.rng.choice(list(self.world.backups.values()))
