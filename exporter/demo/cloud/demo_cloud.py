"""A cloud ready made, to look at."""

from .builder import HISTORY_DAYS, Builder
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
