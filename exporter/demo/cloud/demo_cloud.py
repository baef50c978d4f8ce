"""A cloud ready made, to look at."""

from collections.abc import Callable
from functools import partial
from itertools import cycle

from . import pseudorandom as dice
from .rows import Server
from .simulation import SimulatedCloud
from .time import DAY, Period

HISTORY_DAYS = 45

_FIRST_START_SECONDS = 40.0
_START_SPACING_SECONDS = 95.0
"""How far the starts are apart, so that something moves while one looks."""


class Builder:
    """Adds servers to a world, their daily starts a little apart."""

    def __init__(self, cloud: SimulatedCloud, until: float) -> None:
        """Begin with two backup servers; `until` is the moment to be looked at."""
        self.cloud = cloud
        self.until = until
        backup_servers = [
            cloud.add_backup_server("backup-ams-1", 4000).id,
            cloud.add_backup_server("backup-ams-2", 2000).id,
        ]
        self._backup_server_ids = cycle([*backup_servers, backup_servers[0], None])
        self._schedule_count = 0

    def add_server(
        self, label: str, user_id: int, disks: int = 1, gb: int = 20
    ) -> Server:
        """Add a server without any schedule."""
        world = self.cloud
        number = len(world.servers) + 1
        age_days = dice.uniform(60, 700, world.seed, "age", number)
        return world.add_server(
            label=label,
            hostname=f"{_host(label)}.example.com",
            user_id=user_id,
            hypervisor_id=1 + number % 4,
            disks=disks,
            disk_gb=gb,
            swap=number % 3 == 0,
            created_at=float(round(world.now - age_days * DAY)),
            backup_server_id=next(self._backup_server_ids),
        )

    def back_up_disks(
        self, server: Server, period: Period = "days", duration: int = 1
    ) -> Server:
        """Back up every disk of a server but swap."""
        for disk in self.cloud.disks_of(server.id):
            if not disk.is_swap:
                self.back_up_disk(disk.id, period, duration)
        return server

    def back_up_disk(
        self, disk_id: int, period: Period = "days", duration: int = 1
    ) -> None:
        """Back up one disk."""
        start = self._next_start()
        self.cloud.add_schedule("Disk", disk_id, period, duration, start)

    def back_up_server(self, server: Server, period: Period = "days") -> Server:
        """Back up a server as a whole, incrementally."""
        start = self._next_start()
        self.cloud.add_schedule("VirtualMachine", server.id, period, 1, start)
        return server

    def _next_start(self) -> float:
        soon = _FIRST_START_SECONDS + _START_SPACING_SECONDS * self._schedule_count
        self._schedule_count += 1
        return self.until + soon - HISTORY_DAYS * DAY


def _host(label: str) -> str:
    kept = (c for c in label.lower() if c.isascii() and (c.isalnum() or c == "-"))
    return "".join(kept)


HOSTILE_LABEL = 'shop "Ümläut" \\ <b>café</b> & 日本'

_PLUGIN_POINTS = 5


def _add_unhealthy(builder: Builder) -> None:
    """Add a server for each trouble, visible at the moment to be looked at."""
    _add_failing(builder)
    _add_unprotected(builder)
    _add_locked(builder)
    _add_disabled(builder)
    _add_suspended(builder)
    _add_plugin(builder)


def _add_failing(builder: Builder) -> None:
    world = builder.cloud
    stale = builder.back_up_disks(builder.add_server("crm-stale", 3))
    stuck = builder.back_up_disks(builder.add_server("tracker-stuck", 2, gb=30))
    chain = builder.back_up_server(builder.add_server("db-03-stuck", 2, gb=60))
    failed = builder.back_up_disks(builder.add_server("forum-failed", 4, gb=25))
    vanished = builder.back_up_disks(builder.add_server("ci-failed", 5, gb=25))
    shrunk = builder.back_up_disks(builder.add_server("reports-shrunk", 3, gb=50))
    builder.back_up_disks(builder.add_server(HOSTILE_LABEL, 3))

    def inject_at(
        server: Server, days_ago: float, strike: Callable[..., object]
    ) -> None:
        happening = partial(strike, server_id=server.id)
        world.call_at(builder.until - days_ago * DAY, happening)

    inject_at(stale, 5.5, partial(world.inject_failure, "skip", times=None))
    inject_at(stuck, 2.5, partial(world.inject_failure, "stick"))
    inject_at(chain, 1.5, partial(world.inject_failure, "stick"))
    inject_at(failed, 1.5, partial(world.inject_failure, "fail"))
    inject_at(vanished, 3.5, partial(world.inject_failure, "vanish", times=None))
    inject_at(shrunk, 1.5, partial(world.inject_failure, "resize", factor=0.04))


def _add_unprotected(builder: Builder) -> None:
    """Add one that should have backups, one that need not, and a forgotten disk."""
    world = builder.cloud
    none_at_all = builder.add_server("hr-unprotected", 3, gb=40)
    world.disks_of(none_at_all.id)[0].has_autobackups = True
    builder.add_server("sandbox-without-backups", 5)
    forgotten = builder.add_server("nas-forgotten-disk", 5, disks=2, gb=100)
    builder.back_up_disk(world.disks_of(forgotten.id)[0].id)


def _add_locked(builder: Builder) -> None:
    world = builder.cloud
    locked = builder.back_up_disks(builder.add_server("vault-locked", 3, gb=30))

    def lock() -> None:
        world.backups_of(locked.id)[-1].locked = True

    world.call_at(builder.until - 6.5 * DAY, lock)


def _add_disabled(builder: Builder) -> None:
    world = builder.cloud
    disabled = builder.back_up_disks(builder.add_server("intranet-disabled", 3))
    schedule_id = world.schedules_of(disabled.id)[0].id
    disable = partial(world.change_schedule, schedule_id, status="disabled")
    world.call_at(builder.until - 4.5 * DAY, disable)


def _add_suspended(builder: Builder) -> None:
    world = builder.cloud
    suspended = builder.back_up_disks(builder.add_server("unpaid-suspended", 6))

    def suspend() -> None:
        suspended.suspended = True
        suspended.booted = False

    world.call_at(builder.until - 10.5 * DAY, suspend)


def _add_plugin(builder: Builder) -> None:
    """Add a server that only a plugin backs up."""
    world = builder.cloud
    exchange = builder.add_server("exchange-plugin", 4, gb=200)
    exchange.operating_system = "windows"
    add = partial(world.add_recovery_point, exchange.id, size_bytes=60 * 1024**3)
    for days_ago in range(_PLUGIN_POINTS):
        world.call_at(builder.until - (days_ago + 0.3) * DAY, add)


_MANUAL_INTERVAL_SECONDS = 117.0
_MANUAL_BACKUPS_KEPT = 3

_DISK_BACKUP_SERVERS = (
    ("web-01", 2, 1, 20),
    ("web-02", 2, 1, 20),
    ("api-01", 2, 1, 30),
    ("wiki", 4, 1, 15),
    ("git", 4, 2, 60),
    ("files-01", 5, 3, 120),
    ("ldap-01", 2, 1, 10),
)
"""Healthy servers, daily: label, user, disks, GB a disk."""

_INCREMENTAL_SERVERS = (
    ("db-01", 2, 2, 80),
    ("db-02", 2, 2, 80),
    ("mail-01", 4, 1, 100),
    ("metrics", 5, 1, 60),
)


def demo_cloud(
    now: float, seed: int = 1, *, ahead_seconds: float = 0.0
) -> SimulatedCloud:
    """Return a cloud with weeks of history, some of whose servers are in trouble.

    It has been lived up to ``ahead`` seconds before ``now``; the rest is to come.
    """
    world = SimulatedCloud(now - HISTORY_DAYS * DAY, seed)
    builder = Builder(world, now)
    _add_unhealthy(builder)
    for label, user_id, disks, gb in _DISK_BACKUP_SERVERS:
        builder.back_up_disks(builder.add_server(label, user_id, disks, gb))
    for label, user_id, disks, gb in _INCREMENTAL_SERVERS:
        builder.back_up_server(builder.add_server(label, user_id, disks, gb))
    billing = builder.back_up_disks(builder.add_server("billing", 3, gb=40))
    builder.back_up_disks(builder.back_up_disks(billing, "weeks"), "months")
    builder.back_up_disks(builder.add_server("archive", 3, gb=200), "months")
    erp = builder.back_up_disks(builder.add_server("erp-windows", 3, gb=80), duration=3)
    erp.operating_system = "windows"
    _add_busy(builder)
    world.advance(now - ahead_seconds)
    return world


def _add_busy(builder: Builder) -> None:
    """Add a server whose owner takes a backup by hand every two minutes."""
    world = builder.cloud
    disk_id = world.disks_of(builder.add_server("ci-runner", 5, gb=8).id)[0].id

    def take_backup() -> None:
        if disk_id not in world.disks:
            return
        built = [
            backup
            for backup in world.backups_of(world.disks[disk_id].server_id)
            if backup.built
        ]
        for backup in built[:-_MANUAL_BACKUPS_KEPT]:
            world.remove_backup(backup.id)
        world.take_backup("Disk", disk_id)
        world.call_at(world.now + _MANUAL_INTERVAL_SECONDS, take_backup)

    world.call_at(builder.until - DAY / 24, take_backup)
