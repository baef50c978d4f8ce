"""A cloud of any size, to measure with."""

from exporter.demo.cloud.backup_runs import KIB_PER_GB
from exporter.demo.cloud.pseudorandom import fraction
from exporter.demo.cloud.rows import Server, Target
from exporter.demo.cloud.simulation import SimulatedCloud
from exporter.demo.cloud.time import DAY


def large_cloud(
    now: float, servers: int, backups_per_server: int, seed: int = 1
) -> SimulatedCloud:
    """Return a healthy cloud of any size, placed at once and without a past."""
    world = SimulatedCloud(now, seed)
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
        _location(world, server, backups_per_server)
    return world


def _location(world: SimulatedCloud, server: Server, count: int) -> None:
    incremental = server.id % 2 == 0
    target = Target("VirtualMachine", server.id)
    if not incremental:
        target = Target("Disk", world.disks_of(server.id)[0].id)
    phase = round(DAY * fraction(world.seed, "phase", server.id))
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
