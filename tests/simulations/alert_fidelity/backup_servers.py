"""Backup servers that are nearly full, that get full, and that fill up for weeks."""

from __future__ import annotations

from alert_fidelity.clouds import START, CloudAndPanel, ProtectedTarget
from alert_fidelity.timing import DAY
from exporter.demo.cloud.backup_runs import KIB_PER_GB

STORED_SHARE = 0.85
"""How full those are that stay as they are."""
CAPACITY_GB = 4000
_STEADY_ROWS = 10
_FIRST_ROWS_GB = 400
_DAILY_GB = 49
_FULL_IN_A_FORTNIGHT_DAYS = 20
"""By the growth of the fortnight before; that comes in steps of a day."""
_TIDIED_DAYS = 25
_TIDIED_ROWS = 40


def add_archives(cloud: CloudAndPanel, days: float) -> None:
    """Add backup servers that hold backups made by hand: two, in a long run three."""
    for _ in range(2):
        archive, backup_server_id = _add_archive(cloud)
        for _ in range(_STEADY_ROWS):
            size_gb = CAPACITY_GB * STORED_SHARE / _STEADY_ROWS
            _add_row(cloud, archive, backup_server_id, size_gb)
        cloud.begin_incident("backup server at 85 %", archive).begins = START
    if days > _TIDIED_DAYS:
        _fill(cloud)


def _add_archive(cloud: CloudAndPanel) -> tuple[ProtectedTarget, int]:
    """Add a server that is backed up by hand alone, and a backup server for it."""
    world = cloud.world
    server = world.add_server(label="archive", created_at=world.now - 90 * DAY)
    (target,) = cloud.disk_targets(server.id)
    number = len(world.backup_servers) + 1
    row = world.add_backup_server(f"store {number}", CAPACITY_GB)
    return ProtectedTarget(server.id, target, 0), row.id


def _add_row(
    cloud: CloudAndPanel, archive: ProtectedTarget, backup_server_id: int, gb: float
) -> None:
    cloud.world.add_backup(
        archive.vm_id,
        initiated="manual",
        size_kib=round(gb * KIB_PER_GB),
        backup_server_id=backup_server_id,
    )


def _fill(cloud: CloudAndPanel) -> None:
    """Store the same amount every day, until old backups are deleted."""
    world = cloud.world
    archive, backup_server_id = _add_archive(cloud)
    _add_row(cloud, archive, backup_server_id, _FIRST_ROWS_GB)

    def store() -> None:
        _add_row(cloud, archive, backup_server_id, _DAILY_GB)
        world.call_at(world.now + DAY, store)

    def begin() -> None:
        labels = {"backup_server_id": str(backup_server_id)}
        incident = cloud.begin_incident("backup server filling", labels=labels)

        def tidy() -> None:
            for row in world.backups_of(archive.vm_id)[:_TIDIED_ROWS]:
                world.remove_backup(row.id)
            cloud.end_incident(incident)

        world.call_at(START + _TIDIED_DAYS * DAY, tidy)

    world.call_at(world.now + DAY, store)
    world.call_at(START + _FULL_IN_A_FORTNIGHT_DAYS * DAY, begin)
