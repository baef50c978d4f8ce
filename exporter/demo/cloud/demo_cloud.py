"""The demo cloud: weeks of history, with healthy and unhealthy servers."""

from collections.abc import Callable
from functools import partial
from itertools import cycle

from .pseudorandom import fraction, uniform
from .rows import Server
from .simulation import SimulatedCloud
from .time import DAY, Period

HISTORY_DAYS = 45
HOSTILE_LABEL = 'shop "Ümläut" \\ <b>café</b> & 日本'

_FIRST_START_SECONDS = 40.0
_START_SPACING_SECONDS = 95.0
"""Time between the starts of daily schedules, so that changes are frequent."""
_PLUGIN_POINTS = 5
_MANUAL_INTERVAL_SECONDS = 117.0
_MANUAL_BACKUPS_KEPT = 3
_JAM_DAYS = 1.1
_FILLER_BACKUPS = 3
_FILLER_OWNERS = 40
_FILLER_STALE_SHARE = 0.02
_RESTORE_SECONDS = 600.0

_DISK_BACKUP_SERVERS = (
    ("web-01", 2, 1, 20),
    ("web-02", 2, 1, 20),
    ("api-01", 2, 1, 30),
    ("wiki", 4, 1, 15),
    ("git", 4, 2, 60),
    ("files-01", 5, 3, 120),
    ("ldap-01", 2, 1, 10),
)
"""Healthy servers with daily backups: label, user, disks, GB per disk."""

_INCREMENTAL_SERVERS = (
    ("db-01", 2, 2, 80),
    ("db-02", 2, 2, 80),
    ("mail-01", 4, 1, 100),
    ("metrics", 5, 1, 60),
)


def demo_cloud(now: float, seed: int = 1, *, servers: int = 0) -> SimulatedCloud:
    """Return a cloud with weeks of history and some unhealthy servers.

    Servers with a few days of history are added until there are ``servers``.
    """
    cloud = SimulatedCloud(now - HISTORY_DAYS * DAY, seed)
    builder = Builder(cloud, now)
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
    _restore(builder, billing)
    _add_busy(builder)
    cloud.call_at(now + DAY, partial(_forget_daily, cloud))
    cloud.advance(now)
    for _ in range(servers - len(cloud.servers)):
        _add_one_of_many(builder)
    return cloud


def _forget_daily(cloud: SimulatedCloud) -> None:
    """Delete old history every day, because a demo may run for months."""
    cloud.event_log.clear()
    cloud.delete_old_transactions(cloud.now - HISTORY_DAYS * DAY)
    cloud.call_at(cloud.now + DAY, partial(_forget_daily, cloud))


def jammed_cloud(now: float, seed: int = 2) -> SimulatedCloud:
    """Return a small cloud with a jammed queue and a disabled backup server."""
    cloud = SimulatedCloud(now - HISTORY_DAYS * DAY, seed)
    builder = Builder(cloud, now)
    for number in range(1, 7):
        server = builder.add_server(f"branch-{number:02}", 20 + number % 2)
        builder.back_up_disks(server)

    def jam() -> None:
        cloud.slots = 0
        cloud.backup_servers[server.backup_server_id or 1].enabled = False

    cloud.call_at(now - _JAM_DAYS * DAY, jam)
    cloud.advance(now)
    return cloud


class Builder:
    """Adds servers to a cloud, and spreads the starts of their schedules."""

    def __init__(self, cloud: SimulatedCloud, until: float) -> None:
        """Add two backup servers; the history ends at `until`."""
        self.cloud = cloud
        self.until = until
        ids = [
            cloud.add_backup_server("backup-ams-1", 4000).id,
            cloud.add_backup_server("backup-ams-2", 2000).id,
        ]
        self._backup_server_ids = cycle([*ids, ids[0], None])
        self._schedule_count = 0

    def add_server(
        self, label: str, user_id: int, disks: int = 1, gb: int = 20
    ) -> Server:
        """Add a server without any schedule."""
        cloud = self.cloud
        number = len(cloud.servers) + 1
        age_days = uniform(60, 700, cloud.seed, "age", number)
        return cloud.add_server(
            label=label,
            hostname=f"{_host(label)}.example.com",
            user_id=user_id,
            hypervisor_id=1 + number % 4,
            disks=disks,
            disk_gb=gb,
            swap=number % 3 == 0,
            created_at=float(round(cloud.now - age_days * DAY)),
            backup_server_id=next(self._backup_server_ids),
        )

    def back_up_disks(
        self, server: Server, period: Period = "days", duration: int = 1
    ) -> Server:
        """Back up every disk of a server except swap."""
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
        """Back up a whole server, incrementally."""
        start = self._next_start()
        self.cloud.add_schedule("VirtualMachine", server.id, period, 1, start)
        return server

    def _next_start(self) -> float:
        soon = _FIRST_START_SECONDS + _START_SPACING_SECONDS * self._schedule_count
        self._schedule_count += 1
        return self.until + soon - HISTORY_DAYS * DAY


def _add_one_of_many(builder: Builder) -> None:
    """Add a server with rows of its last daily backups; it is simulated from now on."""
    cloud = builder.cloud
    number = len(cloud.servers) + 1
    server = builder.add_server(f"vm-{number:05}", 100 + number % _FILLER_OWNERS)
    (disk, *_) = cloud.disks_of(server.id)
    start = cloud.now + DAY * fraction(cloud.seed, "filler start", number)
    cloud.add_schedule("Disk", disk.id, start_at=start)
    missed = 4 * (fraction(cloud.seed, "filler", number) < _FILLER_STALE_SHARE)
    for days_ago in range(_FILLER_BACKUPS + missed, missed, -1):
        cloud.add_backup(
            server.id,
            created_at=float(round(start - days_ago * DAY)),
            size_kib=int(uniform(20_000, 200_000, cloud.seed, "filler size", number)),
            backup_server_id=server.backup_server_id,
        )


def _host(label: str) -> str:
    kept = (c for c in label.lower() if c.isascii() and (c.isalnum() or c == "-"))
    return "".join(kept)


def _add_unhealthy(builder: Builder) -> None:
    """Add a server for each condition that the exporter reports."""
    _add_failing(builder)
    _add_unprotected(builder)
    _add_locked(builder)
    _add_disabled(builder)
    _add_suspended(builder)
    _add_plugin(builder)


def _add_failing(builder: Builder) -> None:
    cloud = builder.cloud
    stale = builder.back_up_disks(builder.add_server("crm-stale", 3))
    stuck = builder.back_up_disks(builder.add_server("tracker-stuck", 2, gb=30))
    chain = builder.back_up_server(builder.add_server("db-03-stuck", 2, gb=60))
    failed = builder.back_up_disks(builder.add_server("forum-failed", 4, gb=25))
    vanished = builder.back_up_disks(builder.add_server("ci-failed", 5, gb=25))
    shrunk = builder.back_up_disks(builder.add_server("reports-shrunk", 3, gb=50))
    builder.back_up_disks(builder.add_server(HOSTILE_LABEL, 3))

    def inject_at(
        server: Server, days_ago: float, inject: Callable[..., object]
    ) -> None:
        action = partial(inject, server_id=server.id)
        cloud.call_at(builder.until - days_ago * DAY, action)

    inject_at(stale, 5.5, partial(cloud.inject_failure, "skip", times=None))
    inject_at(stuck, 2.5, partial(cloud.inject_failure, "stick"))
    inject_at(chain, 1.5, partial(cloud.inject_failure, "stick"))
    inject_at(failed, 1.5, partial(cloud.inject_failure, "fail"))
    inject_at(vanished, 3.5, partial(cloud.inject_failure, "vanish", times=None))
    inject_at(shrunk, 1.5, partial(cloud.inject_failure, "resize", factor=0.04))


def _add_unprotected(builder: Builder) -> None:
    """Add a server without backups, one that needs none, and an unscheduled disk."""
    cloud = builder.cloud
    none_at_all = builder.add_server("hr-unprotected", 3, gb=40)
    cloud.disks_of(none_at_all.id)[0].has_autobackups = True
    builder.add_server("sandbox-without-backups", 5)
    forgotten = builder.add_server("nas-forgotten-disk", 5, disks=2, gb=100)
    builder.back_up_disk(cloud.disks_of(forgotten.id)[0].id)


def _add_locked(builder: Builder) -> None:
    cloud = builder.cloud
    locked = builder.back_up_disks(builder.add_server("vault-locked", 3, gb=30))

    def lock() -> None:
        cloud.lock_backup(cloud.backups_of(locked.id)[-1].id)

    cloud.call_at(builder.until - 6.5 * DAY, lock)


def _add_disabled(builder: Builder) -> None:
    cloud = builder.cloud
    disabled = builder.back_up_disks(builder.add_server("intranet-disabled", 3))
    schedule_id = cloud.schedules_of(disabled.id)[0].id
    disable = partial(cloud.change_schedule, schedule_id, status="disabled")
    cloud.call_at(builder.until - 4.5 * DAY, disable)


def _add_suspended(builder: Builder) -> None:
    cloud = builder.cloud
    suspended = builder.back_up_disks(builder.add_server("unpaid-suspended", 6))

    def suspend() -> None:
        suspended.suspended = True
        suspended.booted = False

    cloud.call_at(builder.until - 10.5 * DAY, suspend)


def _add_plugin(builder: Builder) -> None:
    """Add a server whose only backups are a plugin's."""
    cloud = builder.cloud
    exchange = builder.add_server("exchange-plugin", 4, gb=200)
    exchange.operating_system = "windows"
    add = partial(cloud.add_recovery_point, exchange.id, size_bytes=60 * 1024**3)
    for days_ago in range(_PLUGIN_POINTS):
        cloud.call_at(builder.until - (days_ago + 0.3) * DAY, add)


def _restore(builder: Builder, server: Server) -> None:
    """Restore the last disk backup of a server, some hours before now."""
    cloud = builder.cloud

    def restore() -> None:
        backup = [row for row in cloud.backups_of(server.id) if row.built][-1]
        cloud.add_transaction(
            action="restore_backup",
            parent_id=backup.id,
            server_id=server.id,
            created_at=cloud.now - _RESTORE_SECONDS,
            updated_at=cloud.now,
        )

    cloud.call_at(builder.until - DAY / 3, restore)


def _add_busy(builder: Builder) -> None:
    """Add a server whose owner starts a manual backup every two minutes."""
    cloud = builder.cloud
    disk_id = cloud.disks_of(builder.add_server("ci-runner", 5, gb=8).id)[0].id

    def take_backup() -> None:
        if disk_id not in cloud.disks:
            return
        built = [
            backup
            for backup in cloud.backups_of(cloud.disks[disk_id].server_id)
            if backup.built
        ]
        for backup in built[:-_MANUAL_BACKUPS_KEPT]:
            cloud.remove_backup(backup.id)
        cloud.take_backup("Disk", disk_id)
        cloud.call_at(cloud.now + _MANUAL_INTERVAL_SECONDS, take_backup)

    cloud.call_at(builder.until - DAY / 24, take_backup)
