"""The clouds of the simulations, behind their panels; repeatable by a seed.

Random ones are built and changed here; what happens to them besides is the simulations'
own. A large one stands still, to measure with.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, TypeVar, get_args

from faulty_panel import Panel

from exporter.demo.cloud.backup_runs import KIB_PER_GB, BackupRun, Outcome
from exporter.demo.cloud.failures import FailureKind
from exporter.demo.cloud.pseudorandom import fraction
from exporter.demo.cloud.rows import Schedule, ScheduleStatus, Server, Target
from exporter.demo.cloud.simulation import SimulatedCloud
from exporter.demo.cloud.time import DAY, Period

_STATUSES: tuple[ScheduleStatus, ...] = ("enabled", "enabled", "disabled")
_PERIODS: tuple[Period, ...] = ("days", "days", "weeks", "months")
_FAILURES = tuple(kind for kind in get_args(FailureKind) if kind != "stall")
_OUTCOMES: tuple[Outcome, ...] = ("finish", "fail")
_MOST_BACKUPS = 25
"""Of one server that are started by hand."""

_Row = TypeVar("_Row")


def rng_for(seed: int, *whose: str) -> random.Random:
    """Return a generator that does not depend on when others are used."""
    return random.Random(" ".join((str(seed), *whose)))  # noqa: S311  # no secrets


def panel_of(
    name: str, world: SimulatedCloud, capacities_gb: tuple[int, ...], **options: Any
) -> Panel:
    """Return a panel with backup servers and a key of its own."""
    for number, capacity_gb in enumerate(capacities_gb, start=1):
        world.add_backup_server(f"store {number}", capacity_gb)
    return Panel(world, password=f"key-of-{name}", **options)


@dataclass(eq=False)
class RandomCloud:
    """A cloud that is built and changed at random, and its panel."""

    name: str
    panel: Panel
    rng: random.Random
    keys: dict[str, Any]
    """Of the panel's section of the configuration file."""
    most_servers: int = 0
    """Random changes add no more."""
    permanent: frozenset[int] = frozenset()
    """Servers that no random change destroys."""
    changes: int = field(default=0, init=False)

    @property
    def world(self) -> SimulatedCloud:
        """Return the world behind the panel."""
        return self.panel.cloud

    def section(self, **keys: Any) -> dict[str, Any]:
        """Return the panel's section of a configuration file.

        Its key is in a file of its name beside it.
        """
        account = {"username": self.panel.username, "password_file": self.name}
        return {
            "name": self.name,
            "url": self.panel.url,
            "basic_auth": account,
            **keys,
            **self.keys,
        }

    def write_key(self, folder: Path) -> None:
        """Write the panel's key into its file."""
        (folder / self.name).write_text(self.panel.password)

    def add_server(self, **fields: Any) -> Server:
        """Add a server with disks of a random size."""
        return self.world.add_server(disk_gb=self.rng.randint(10, 60), **fields)

    def add_schedule(
        self,
        target: Target,
        period: Period = "days",
        duration: int = 1,
        start_at: float | None = None,
        **fields: Any,
    ) -> Schedule:
        """Add a schedule; by default it starts within a day."""
        start = self.world.now + self.rng.randint(60, 86_000)
        return self.world.add_schedule(
            *(*target, period, duration, start_at or start), **fields
        )

    def disk_targets(self, vm_id: int) -> list[Target]:
        """Return the disks of a server that can be backed up."""
        disks = self.world.disks_of(vm_id)
        return [Target("Disk", disk.id) for disk in disks if not disk.is_swap]

    def stuck_runs(self) -> list[BackupRun]:
        """Return the backup runs that never end by themselves."""
        runs = self.world.backup_queue.runs.values()
        return [run for run in runs if run.stage == "stuck"]

    def change_something(self, most: int) -> None:
        """Plan up to so many changes within the next minute, at whole seconds."""
        for _ in range(self.rng.randint(0, most)):
            change = self.rng.choice(self._CHANGES)
            at = round(self.world.now) + self.rng.randint(1, 60)
            self.world.call_at(at, partial(change, self))
            self.changes += 1

    def create_server(self) -> None:
        """Create a server with up to two schedules, unless there are enough."""
        servers, rng = self.world.servers, self.rng
        if len(servers) >= self.most_servers:
            return
        server = self.add_server(
            label=f'web "{len(servers) + self.changes}" \\ ü',
            user_id=rng.randint(1, 9),
            disks=rng.randint(1, 3),
            swap=rng.random() < 0.3,
            backup_server_id=rng.choice([None, *self.world.backup_servers]),
        )
        for _ in range(rng.randint(0, 2)):
            self._schedule(server)

    def _destroy_server(self) -> None:
        found = [n for n in self.world.servers if n not in self.permanent]
        if len(found) > self.most_servers * 2 // 3:
            self.world.remove_server(self.rng.choice(found))

    def _rename(self) -> None:
        if server := self._any(self.world.servers):
            server.label = f"renamed {self.changes}\n{server.id}"

    def _suspend_or_resume(self) -> None:
        if server := self._any(self.world.servers):
            server.suspended = not server.suspended

    def _add_disk(self) -> None:
        server = self._any(self.world.servers)
        if server and len(self.world.disks_of(server.id)) < 4:
            self.world.add_disk(server.id)

    def _remove_disk(self) -> None:
        """Remove a disk, whose backups stay."""
        server = self._any(self.world.servers)
        disks = self.world.disks_of(server.id) if server else []
        if disks := [disk for disk in disks if not disk.primary]:
            self.world.remove_disk(self.rng.choice(disks).id)

    def _add_schedule(self) -> None:
        server = self._any(self.world.servers)
        if server and len(self.world.schedules_of(server.id)) < 4:
            self._schedule(server)

    def _change_schedule(self) -> None:
        if schedule := self._any(self.world.schedules):
            self.world.change_schedule(
                schedule.id,
                status=self.rng.choice(_STATUSES),
                period=self.rng.choice(_PERIODS),
            )

    def _remove_schedule(self) -> None:
        if len(self.world.schedules) > 4:
            self.world.remove_schedule(self.rng.choice([*self.world.schedules]))

    def _take_backup(self) -> None:
        server = self._any(self.world.servers)
        if server and len(self.world.backups_of(server.id)) < _MOST_BACKUPS:
            self.world.take_backup(*self._target(server, 0.4))

    def _remove_backup(self) -> None:
        """Delete a backup, finished or not."""
        if backup := self._any(self.world.backups):
            self.world.remove_backup(backup.id)

    def _lock_or_unlock(self) -> None:
        if backup := self._any(self.world.backups):
            self.world.lock_backup(backup.id, locked=not backup.locked)

    def _release_stuck_runs(self) -> None:
        for run in self.stuck_runs():
            self.world.end_backup(run.backup.id, self.rng.choice(_OUTCOMES))

    def _add_recovery_point(self) -> None:
        server = self._any(self.world.servers)
        if server and len(self.world.recovery_points_of(server.id)) < 5:
            state = self.rng.choice(["built", "building"])
            self.world.add_recovery_point(server.id, state=state)

    def _remove_recovery_point(self) -> None:
        """Remove the oldest recovery point."""
        if self.world.recovery_points:
            del self.world.recovery_points[min(self.world.recovery_points)]

    def _break_next_backup(self) -> None:
        kind = self.rng.choice(_FAILURES)
        if len(self.world.failures) < 8:
            self.world.inject_failure(kind, factor=3.0, seconds=1800)

    def _disable_or_enable_backup_server(self) -> None:
        if backup_server := self._any(self.world.backup_servers):
            backup_server.enabled = not backup_server.enabled

    def _schedule(self, server: Server) -> None:
        target = self._target(server, 0.3)
        whole = target.type == "VirtualMachine"
        self.add_schedule(target, rotation_period=4 if whole else None)

    def _target(self, server: Server, whole_share: float) -> Target:
        if self.rng.random() < whole_share:
            return Target("VirtualMachine", server.id)
        return self.rng.choice(self.disk_targets(server.id))

    def _any(self, rows: Mapping[int, _Row]) -> _Row | None:
        return self.rng.choice([*rows.values()]) if rows else None

    _CHANGES: ClassVar[tuple[Callable[[RandomCloud], None], ...]] = (
        create_server,
        *[_destroy_server] * 2,
        _rename,
        _suspend_or_resume,
        _add_disk,
        _remove_disk,
        _add_schedule,
        _change_schedule,
        _remove_schedule,
        *[_take_backup] * 4,
        _remove_backup,
        _lock_or_unlock,
        _release_stuck_runs,
        _add_recovery_point,
        _remove_recovery_point,
        _break_next_backup,
        _disable_or_enable_backup_server,
    )
    """What may happen at random, as often as it stands here."""


def large_cloud(
    now: float, servers: int, backups_per_server: int, seed: int = 1
) -> SimulatedCloud:
    """Return a healthy cloud of any size, placed at once and without a past."""
    world = SimulatedCloud(now, seed)
    store = world.add_backup_server("backup-1", 100_000).id
    for number in range(1, servers + 1):
        server = world.add_server(
            label=f"server-{number:05}",
            user_id=1 + number % 50,
            hypervisor_id=1 + number % 20,
            created_at=now - 2 * 365 * DAY,
            backup_server_id=store,
        )
        incremental = number % 2 == 0
        target = Target("VirtualMachine", server.id)
        if not incremental:
            target = Target("Disk", world.disks_of(server.id)[0].id)
        last = now - round(DAY * fraction(seed, "phase", server.id))
        for ago in range(backups_per_server - 1, -1, -1):
            created_at = last - ago * DAY
            world.add_backup(
                server.id,
                created_at=created_at,
                built_at=created_at + 120 + server.id % 60,
                size_kib=KIB_PER_GB + 1024 * (backups_per_server - ago) + server.id,
                backup_type="incremental" if incremental else "normal",
                target_type=target.type,
                target_id=target.id,
                backup_server_id=store,
            )
        world.add_schedule(
            *target, start_at=last + DAY, rotation_period=backups_per_server
        )
    return world
