"""A cloud ready made, to look at."""

from collections.abc import Callable
from functools import partial
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


HOSTILE_LABEL = 'shop "Ümläut" \\ <b>café</b> & 日本'

_PLUGIN_POINTS = 5


def add_troubled(builder: Builder) -> None:
    """Add a server for each trouble, visible at the moment to be looked at."""
    _add_misfortunes(builder)
    _add_unprotected(builder)
    _add_locked(builder)
    _add_disabled(builder)
    _add_suspended(builder)
    _add_plugin(builder)


def _add_misfortunes(builder: Builder) -> None:
    world = builder.world
    stale = builder.each_disk(builder.server("crm-stale", 3))
    stuck = builder.each_disk(builder.server("tracker-stuck", 2, gb=30))
    chain = builder.whole(builder.server("db-03-stuck", 2, gb=60))
    failed = builder.each_disk(builder.server("forum-failed", 4, gb=25))
    vanished = builder.each_disk(builder.server("ci-failed", 5, gb=25))
    shrunk = builder.each_disk(builder.server("reports-shrunk", 3, gb=50))
    builder.each_disk(builder.server(HOSTILE_LABEL, 3))

    def befall(server: Server, days_ago: float, strike: Callable[..., object]) -> None:
        happening = partial(strike, server_id=server.id)
        world.at(builder.until - days_ago * DAY, happening)

    befall(stale, 5.5, partial(world.strike, "skip", times=None))
    befall(stuck, 2.5, partial(world.strike, "stick"))
    befall(chain, 1.5, partial(world.strike, "stick"))
    befall(failed, 1.5, partial(world.strike, "fail"))
    befall(vanished, 3.5, partial(world.strike, "vanish", times=None))
    befall(shrunk, 1.5, partial(world.strike, "resize", factor=0.04))


def _add_unprotected(builder: Builder) -> None:
    """Add one that should have backups, one that need not, and a forgotten disk."""
    world = builder.world
    none_at_all = builder.server("hr-unprotected", 3, gb=40)
    world.disks_of(none_at_all.id)[0].has_autobackups = True
    builder.server("sandbox-without-backups", 5)
    forgotten = builder.server("nas-forgotten-disk", 5, disks=2, gb=100)
    builder.one_disk(world.disks_of(forgotten.id)[0].id)


def _add_locked(builder: Builder) -> None:
    world = builder.world
    locked = builder.each_disk(builder.server("vault-locked", 3, gb=30))

    def lock() -> None:
        world.backups_of(locked.id)[-1].locked = True

    world.at(builder.until - 6.5 * DAY, lock)


def _add_disabled(builder: Builder) -> None:
    world = builder.world
    disabled = builder.each_disk(builder.server("intranet-disabled", 3))
    schedule_id = world.schedules_of(disabled.id)[0].id
    disable = partial(world.change_schedule, schedule_id, status="disabled")
    world.at(builder.until - 4.5 * DAY, disable)


def _add_suspended(builder: Builder) -> None:
    world = builder.world
    suspended = builder.each_disk(builder.server("unpaid-suspended", 6))

    def suspend() -> None:
        suspended.suspended = True
        suspended.booted = False

    world.at(builder.until - 10.5 * DAY, suspend)


def _add_plugin(builder: Builder) -> None:
    """Add a server that only a plugin backs up."""
    world = builder.world
    exchange = builder.server("exchange-plugin", 4, gb=200)
    exchange.operating_system = "windows"
    add = partial(world.add_recovery_point, exchange.id, size_bytes=60 * 1024**3)
    for days_ago in range(_PLUGIN_POINTS):
        world.at(builder.until - (days_ago + 0.3) * DAY, add)


_MANUAL_SECONDS = 117.0
_MANUAL_KEPT = 3

_ON_DISK_BACKUPS = (
    ("web-01", 2, 1, 20),
    ("web-02", 2, 1, 20),
    ("api-01", 2, 1, 30),
    ("wiki", 4, 1, 15),
    ("git", 4, 2, 60),
    ("files-01", 5, 3, 120),
    ("ldap-01", 2, 1, 10),
)
"""Healthy servers, daily: label, user, disks, GB a disk."""

_ON_INCREMENTALS = (
    ("db-01", 2, 2, 80),
    ("db-02", 2, 2, 80),
    ("mail-01", 4, 1, 100),
    ("metrics", 5, 1, 60),
)


def demo_cloud(now: float, seed: int = 1, *, ahead: float = 0.0) -> World:
    """Return a cloud with weeks of history, some of whose servers are in trouble.

    It has been lived up to ``ahead`` seconds before ``now``; the rest is to come.
    """
    world = World(now - HISTORY_DAYS * DAY, seed)
    builder = Builder(world, now)
    add_troubled(builder)
    for label, user_id, disks, gb in _ON_DISK_BACKUPS:
        builder.each_disk(builder.server(label, user_id, disks, gb))
    for label, user_id, disks, gb in _ON_INCREMENTALS:
        builder.whole(builder.server(label, user_id, disks, gb))
    billing = builder.each_disk(builder.server("billing", 3, gb=40))
    builder.each_disk(builder.each_disk(billing, "weeks"), "months")
    builder.each_disk(builder.server("archive", 3, gb=200), "months")
    erp = builder.each_disk(builder.server("erp-windows", 3, gb=80), duration=3)
    erp.operating_system = "windows"
    _add_busy(builder)
    world.advance(now - ahead)
    return world


def _add_busy(builder: Builder) -> None:
    """Add a server whose owner takes a backup by hand every two minutes."""
    world = builder.world
    disk_id = world.disks_of(builder.server("ci-runner", 5, gb=8).id)[0].id

    def take() -> None:
        if disk_id not in world.disks:
            return
        built = [
            backup
            for backup in world.backups_of(world.disks[disk_id].server_id)
            if backup.built
        ]
        for backup in built[:-_MANUAL_KEPT]:
            world.remove_backup(backup.id)
        world.take_backup("Disk", disk_id)
        world.at(world.now + _MANUAL_SECONDS, take)

    world.at(builder.until - DAY / 24, take)
