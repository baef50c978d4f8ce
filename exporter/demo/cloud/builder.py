"""Adds servers to the demo cloud, their daily starts a little apart."""

from itertools import cycle

from . import pseudorandom as dice
from .rows import Server
from .simulation import World
from .time import DAY, Period

HISTORY_DAYS = 45

_FIRST_START_SECONDS = 40.0
_APART_SECONDS = 95.0
"""How far the starts are apart, so that something moves while one looks."""


class Builder:
    """Adds servers to a world, their daily starts a little apart."""

    def __init__(self, world: World, until: float) -> None:
        """Begin with two backup servers; `until` is the moment to be looked at."""
        self.world = world
        self.until = until
        stores = [
            world.add_backup_server("backup-ams-1", 4000).id,
            world.add_backup_server("backup-ams-2", 2000).id,
        ]
        self._homes = cycle([*stores, stores[0], None])
        self._starts = 0

    def server(self, label: str, user_id: int, disks: int = 1, gb: int = 20) -> Server:
        """Add a server without any schedule."""
        world = self.world
        number = len(world.servers) + 1
        age_days = dice.between(60, 700, world.seed, "age", number)
        return world.add_server(
            label=label,
            hostname=f"{_host(label)}.example.com",
            user_id=user_id,
            hypervisor_id=1 + number % 4,
            disks=disks,
            disk_gb=gb,
            swap=number % 3 == 0,
            created_at=float(round(world.now - age_days * DAY)),
            backup_server_id=next(self._homes),
        )

    def each_disk(
        self, server: Server, period: Period = "days", duration: int = 1
    ) -> Server:
        """Back up every disk of a server but swap."""
        for disk in self.world.disks_of(server.id):
            if not disk.is_swap:
                self.one_disk(disk.id, period, duration)
        return server

    def one_disk(
        self, disk_id: int, period: Period = "days", duration: int = 1
    ) -> None:
        """Back up one disk."""
        start = self._next_start()
        self.world.add_schedule("Disk", disk_id, period, duration, start)

    def whole(self, server: Server, period: Period = "days") -> Server:
        """Back up a server as a whole, incrementally."""
        start = self._next_start()
        self.world.add_schedule("VirtualMachine", server.id, period, 1, start)
        return server

    def _next_start(self) -> float:
        soon = _FIRST_START_SECONDS + _APART_SECONDS * self._starts
        self._starts += 1
        return self.until + soon - HISTORY_DAYS * DAY


def _host(label: str) -> str:
    kept = (c for c in label.lower() if c.isascii() and (c.isalnum() or c == "-"))
    return "".join(kept)
