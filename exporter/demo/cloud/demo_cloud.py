"""Clouds ready made: one to look at, one to measure with."""

from . import pseudorandom as dice
from .builder import HISTORY_DAYS, Builder
from .growth import KIB_PER_GB
from .rows import Server, Target
from .simulation import World
from .time import DAY
from .trouble import add_troubled

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


def large_cloud(
    now: float, servers: int, backups_per_server: int, seed: int = 1
) -> World:
    """Return a healthy cloud of any size, placed at once and without a past."""
    world = World(now, seed)
    store = world.add_backup_server("backup-1", 100_000).id
    for number in range(1, servers + 1):
        created_at = now - 2 * 365 * DAY
        server = world.add_server(
            label=f"server-{number:05}",
            user_id=1 + number % 50,
            hypervisor_id=1 + number % 20,
            created_at=created_at,
            backup_server_id=store,
        )
        _place(world, server, backups_per_server)
    return world


def _place(world: World, server: Server, count: int) -> None:
    incremental = server.id % 2 == 0
    target = Target("VirtualMachine", server.id)
    if not incremental:
        target = Target("Disk", world.disks_of(server.id)[0].id)
    phase = round(DAY * dice.fraction(world.seed, "phase", server.id))
    last = world.now - phase
    for ago in range(count - 1, -1, -1):
        created_at = last - ago * DAY
        world.add_backup(
            server.id,
            created_at=created_at,
            built_at=created_at + 120 + server.id % 60,
            size_kib=KIB_PER_GB + 1024 * (count - ago) + server.id,
            backup_type="incremental" if incremental else "normal",
            target_type=target.type,
            target_id=target.id,
            backup_server_id=server.backup_server_id,
        )
    world.add_schedule(*target, start_at=last + DAY, rotation_period=count)


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
