"""Days in the life of a simulated cloud, by dice: what its owners do, what goes wrong.

The same seed gives the same days.
"""

from __future__ import annotations

import inspect
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, get_args

from exporter.demo import faults
from exporter.demo.calendar import Period
from exporter.demo.faults import Fault, Placed
from exporter.demo.misfortune import Kind
from exporter.demo.panel import Panel
from exporter.demo.resources import Resource
from exporter.demo.rows import Backup, ScheduleStatus, Server, Target
from exporter.demo.world import World

MINUTE = 60.0
HOUR = 3600.0
DAY = 24 * HOUR

_NONSENSE = b'[{"backup": {"id": 1, "built": tr'
_HTML = {"Content-Type": "text/html"}
_ARGUMENTS: dict[str, tuple[tuple[Any, ...], ...]] = {
    "slow": ((0.02,),),
    "status": (
        *((code,) for code in (400, 404, 406, 418, 422, 423, 500, 502, 504)),
        (429, {"Retry-After": "90"}),
        (503, {"Retry-After": "600"}),
    ),
    "html_error": ((500,), (502,)),
    "redirect": (("/users/sign_in",), ("https://elsewhere.example.com/",), ("",)),
    "answer": ((200, None, _NONSENSE), (200, _HTML, b"[]"), (200, None, b"")),
    "bad_rows": ((0.1,), (0.5,), (1.0,)),
}
"""What the kinds of faults are called with; one that is not here takes nothing."""
_LASTING = frozenset(
    {"status", "html_error", "forbidden", "html", "redirect", "answer"}
    | {"bad_rows", "reset", "cut", "early_eof", "slow"}
)
"""These cost no real time, and may last; others happen a few times."""
_STATUSES: tuple[ScheduleStatus, ...] = ("enabled", "enabled", "disabled")
_PERIODS: tuple[Period, ...] = ("days", "days", "weeks", "months")
_LOCKING = "unauthorized"
"""It stops everything for ten minutes and more: once is enough."""


def kinds() -> dict[str, Callable[..., Fault]]:
    """Return every way to fail that the simulated panel has."""
    return {
        name: function
        for name, function in inspect.getmembers(faults, inspect.isfunction)
        if function.__module__ == faults.__name__
        and not name.startswith("_")
        and inspect.signature(function).return_annotation in (Fault, "Fault")
    }


def arguments(kind: str) -> tuple[tuple[Any, ...], ...]:
    """Return what a kind of fault may be called with."""
    return _ARGUMENTS.get(kind, ((),))


@dataclass(eq=False)
class Weather:
    """Faults of one panel that come and go."""

    panel: Panel
    dice: random.Random
    counts: Counter[str] = field(default_factory=Counter)
    """How many of each kind were placed."""
    happened: Counter[str] = field(default_factory=Counter)
    """How many requests each kind has befallen."""
    _present: list[tuple[float, str, Placed]] = field(default_factory=list)

    def change(self, now: float) -> None:
        """Let faults end whose time is over, and others begin."""
        for entry in [entry for entry in self._present if entry[0] <= now]:
            self._end(entry)
        if self.dice.random() < 0.5:
            self._place(now)

    def clear(self) -> None:
        """Let all be well again."""
        for entry in list(self._present):
            self._end(entry)

    def _end(self, entry: tuple[float, str, Placed]) -> None:
        self._present.remove(entry)
        _, kind, placed = entry
        placed.remove()
        self.happened[kind] += placed.happened

    def _place(self, now: float) -> None:
        dice = self.dice
        functions = kinds()
        kind = dice.choice(sorted(functions))
        fault = functions[kind](*dice.choice(arguments(kind)))
        times: int | None = dice.randint(1, 3)
        if kind in _LASTING:
            times = dice.choice([None, 1, 5, 20])
        if kind == _LOCKING:
            times = 1
        resource: Resource | None = None
        server_id: int | None = None
        place = dice.choice(["server", "servers", "collector", "panel"])
        if place == "server":
            server_id = dice.choice(sorted(self.panel.world.servers))
        elif place == "servers":
            resource = "backups"
        elif place == "collector":
            resource = dice.choice(get_args(Resource))
        placed = self.panel.faults.add(
            fault, resource=resource, server_id=server_id, times=times
        )
        lasts = dice.choice([2 * MINUTE, 10 * MINUTE, 40 * MINUTE, 2 * HOUR])
        self._present.append((now + lasts, kind, placed))
        self.counts[kind] += 1


@dataclass(eq=False)
class Life:
    """What owners and their backups do in one cloud."""

    world: World
    dice: random.Random
    most_servers: int
    most_changes: int
    """At once."""
    kept: frozenset[int] = frozenset()
    """Servers that are never destroyed."""
    changes: int = 0

    @classmethod
    def begun(
        cls, world: World, dice: random.Random, servers: int, most_changes: int
    ) -> Life:
        """Return the life of a cloud that has so many servers."""
        life = cls(world, dice, servers + 4, most_changes)
        for number in range(1, 4):
            world.add_backup_server(f"store {number}", 500 * number)
        for _ in range(servers):
            life.add_server()
        return life

    def go_on(self) -> None:
        """Let some things happen within the next minute, at whole seconds."""
        for _ in range(self.dice.randint(0, self.most_changes)):
            act = self.dice.choice(
                [
                    *(self.add_server, self.destroy_server, self.rename, self.suspend),
                    *(self.add_disk, self.remove_disk, self.add_schedule),
                    *(self.change_schedule, self.remove_schedule, self.take),
                    *(self.remove_backup, self.lock, self.release, self.add_point),
                    *(self.remove_point, self.strike, self.switch_store),
                    *(self.take, self.take, self.take, self.destroy_server),
                ]
            )
            self.world.at(round(self.world.now) + self.dice.randint(1, 60), act)
            self.changes += 1

    def add_server(self) -> None:
        """Create a server with schedules, or without."""
        if len(self.world.servers) >= self.most_servers:
            return
        number = len(self.world.servers) + self.changes
        server = self.world.add_server(
            label=f'web "{number}" \\ ü',
            user_id=self.dice.randint(1, 9),
            disks=self.dice.randint(1, 3),
            disk_gb=self.dice.randint(5, 60),
            swap=self.dice.random() < 0.3,
            backup_server_id=self.dice.choice([None, *self.world.backup_servers]),
        )
        for _ in range(self.dice.randint(0, 2)):
            self._schedule(server)

    def destroy_server(self) -> None:
        """Destroy a server with all that it has."""
        found = [n for n in self.world.servers if n not in self.kept]
        if len(found) > self.most_servers // 3:
            self.world.remove_server(self.dice.choice(found))

    def rename(self) -> None:
        """Give a server another name."""
        for server in self._servers():
            server.label = f"renamed {self.changes}\n{server.id}"

    def suspend(self) -> None:
        """Suspend a server, or let it go on."""
        for server in self._servers():
            server.suspended = not server.suspended

    def add_disk(self) -> None:
        """Add a disk that may be forgotten."""
        for server in self._servers():
            if len(self.world.disks_of(server.id)) < 4:
                self.world.add_disk(server.id)

    def remove_disk(self) -> None:
        """Remove a disk whose backups stay."""
        for server in self._servers():
            disks = [d for d in self.world.disks_of(server.id) if not d.primary]
            if disks:
                self.world.remove_disk(self.dice.choice(disks).id)

    def add_schedule(self) -> None:
        """Plan backups."""
        for server in self._servers():
            if len(self.world.schedules_of(server.id)) < 4:
                self._schedule(server)

    def change_schedule(self) -> None:
        """Switch a schedule off or on, or change how often it starts."""
        if self.world.schedules:
            number = self.dice.choice(list(self.world.schedules))
            status = self.dice.choice(_STATUSES)
            period = self.dice.choice(_PERIODS)
            self.world.change_schedule(number, status=status, period=period)

    def remove_schedule(self) -> None:
        """Plan no more backups."""
        if len(self.world.schedules) > 4:
            self.world.remove_schedule(self.dice.choice(list(self.world.schedules)))

    def take(self) -> None:
        """Take a backup by hand."""
        for server in self._servers():
            if len(self.world.backups_of(server.id)) < 25:
                disks = self.world.disks_of(server.id)
                disk = self.dice.choice([d for d in disks if not d.is_swap])
                whole = self.dice.random() < 0.4
                target = Target("VirtualMachine", server.id)
                self.world.take_backup(*(target if whole else Target("Disk", disk.id)))

    def remove_backup(self) -> None:
        """Delete a backup, finished or not."""
        for backup in self._backups():
            self.world.remove_backup(backup.id)

    def lock(self) -> None:
        """Lock a backup, or unlock it."""
        for backup in self._backups():
            backup.locked = not backup.locked

    def release(self) -> None:
        """End a backup that hangs."""
        for take in list(self.world.takes.present.values()):
            if take.stage == "stuck":
                self.world.release(take.backup.id, self.dice.choice(["finish", "fail"]))

    def add_point(self) -> None:
        """Let a plugin take a backup."""
        for server in self._servers():
            if len(self.world.recovery_points_of(server.id)) < 5:
                self.world.add_recovery_point(
                    server.id, state=self.dice.choice(["built", "building"])
                )

    def remove_point(self) -> None:
        """Let a plugin forget a backup."""
        if self.world.recovery_points:
            del self.world.recovery_points[min(self.world.recovery_points)]

    def strike(self) -> None:
        """Let something go wrong with a backup to come."""
        kind = self.dice.choice([k for k in get_args(Kind) if k != "stall"])
        if len(self.world.misfortunes.present) < 8:
            self.world.strike(kind, factor=3.0, seconds=1800)

    def switch_store(self) -> None:
        """Switch a backup server off, or on."""
        store = self.dice.choice(list(self.world.backup_servers.values()))
        store.enabled = not store.enabled

    def _schedule(self, server: Server) -> None:
        disks = [d for d in self.world.disks_of(server.id) if not d.is_swap]
        if self.dice.random() < 0.3:
            self.world.add_schedule("VirtualMachine", server.id, rotation_period=4)
        else:
            period = self.dice.choice(_PERIODS[:2])
            self.world.add_schedule("Disk", self.dice.choice(disks).id, period)

    def _servers(self) -> Iterator[Server]:
        if self.world.servers:
            yield self.dice.choice(list(self.world.servers.values()))

    def _backups(self) -> Iterator[Backup]:
        if self.world.backups:
            yield self.dice.choice(list(self.world.backups.values()))
