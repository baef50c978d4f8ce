"""What is healthy in the simulated clouds but looks like a problem."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from alert_fidelity.clouds import START, CloudAndPanel, ProtectedTarget
from alert_fidelity.server_problems import LOCKED_BRIEFLY, UNREADABLE_BRIEFLY
from alert_fidelity.timing import DAY, HOUR, MINUTE
from exporter.demo.cloud.rows import Disk, Target


@dataclass(frozen=True)
class LookAlike:
    """Something healthy that looks like a problem: how to add and to cause it."""

    kind: str
    add: Callable[[CloudAndPanel], ProtectedTarget]
    happen: Callable[[CloudAndPanel, ProtectedTarget, float], None] | None = None
    """Causes it at a moment, often in a long run; None: it lasts all the time."""
    last_days: float = 2.0
    """It does not begin in the last days of the run."""
    once: bool = True
    records_itself: bool = False
    """Whether ``happen`` records the incident itself."""


def _daily(cloud: CloudAndPanel) -> ProtectedTarget:
    return cloud.protected_server()


def _long_queue(cloud: CloudAndPanel, protected: ProtectedTarget, _at: float) -> None:
    cloud.world.inject_failure("wait", target=protected.target, seconds=2.7 * HOUR)


def _size_changes(cloud: CloudAndPanel, protected: ProtectedTarget, _at: float) -> None:
    cloud.world.inject_failure("resize", target=protected.target, factor=3.0)


def _rename(cloud: CloudAndPanel, protected: ProtectedTarget, _at: float) -> None:
    cloud.rename(protected.vm_id)


def _destroy(cloud: CloudAndPanel, protected: ProtectedTarget, _at: float) -> None:
    cloud.world.remove_server(protected.vm_id)


def _reuse(cloud: CloudAndPanel, protected: ProtectedTarget, _at: float) -> None:
    cloud.reuse_number(protected.vm_id)


def _create(cloud: CloudAndPanel, _home: ProtectedTarget, at: float) -> None:
    server = cloud.world.add_server(disk_gb=20, backup_server_id=1, swap=True)
    target = Target("Disk", cloud.world.disks_of(server.id)[0].id)
    cloud.world.add_schedule(*target, start_at=at + 22 * HOUR)
    protected = ProtectedTarget(server.id, target, DAY)
    cloud.record_look_alike("server just created", at, protected)


def _buy_backups(cloud: CloudAndPanel, vm_id: int, disk: Disk, kind: str) -> None:
    """Order backups of a new disk, whose schedule comes half an hour later."""
    disk.has_autobackups = True
    target = Target("Disk", disk.id)
    at = cloud.world.now
    cloud.record_look_alike(kind, at, ProtectedTarget(vm_id, target, DAY))
    cloud.world.call_at(
        at + HOUR / 2,
        lambda: cloud.world.add_schedule(*target, start_at=at + 20.5 * HOUR),
    )


def _create_for_later(cloud: CloudAndPanel, _home: ProtectedTarget, _at: float) -> None:
    server = cloud.world.add_server(disk_gb=20, backup_server_id=1)
    (disk,) = cloud.world.disks_of(server.id)
    _buy_backups(cloud, server.id, disk, "server scheduled half an hour later")


def _add_disk_for_later(
    cloud: CloudAndPanel, protected: ProtectedTarget, _at: float
) -> None:
    disk = cloud.world.add_disk(protected.vm_id)
    _buy_backups(cloud, protected.vm_id, disk, "disk scheduled half an hour later")


def _retry(cloud: CloudAndPanel, protected: ProtectedTarget, _at: float) -> None:
    """Let the next run fail, and its retry succeed a minute later."""
    world, schedule = cloud.world, cloud.schedule_of(protected)
    cloud.reset_failure_count(protected)
    world.inject_failure("fail", target=protected.target)

    def retry() -> None:
        if schedule.failure_count:
            world.retry(schedule.id)
        else:
            world.call_at(world.now + MINUTE, retry)

    retry()


def _to_daily(cloud: CloudAndPanel, protected: ProtectedTarget, at: float) -> None:
    cloud.world.change_schedule(
        cloud.schedule_of(protected).id, period="days", start_at=at + 20 * HOUR
    )


def _to_weekly(cloud: CloudAndPanel, protected: ProtectedTarget, _at: float) -> None:
    cloud.world.change_schedule(cloud.schedule_of(protected).id, period="weeks")


def _later_start(cloud: CloudAndPanel, protected: ProtectedTarget, _at: float) -> None:
    start = cloud.schedule_of(protected).start_at + 11 * HOUR
    cloud.world.change_schedule(cloud.schedule_of(protected).id, start_at=start)


def _to_incremental(
    cloud: CloudAndPanel, protected: ProtectedTarget, at: float
) -> None:
    cloud.world.remove_schedule(cloud.schedule_of(protected).id)
    cloud.world.add_schedule("VirtualMachine", protected.vm_id, start_at=at + 9 * HOUR)


def _remove_disk(cloud: CloudAndPanel, protected: ProtectedTarget, _at: float) -> None:
    second = cloud.world.disks_of(protected.vm_id)[1]
    cloud.world.remove_disk(second.id)


def _suspend(cloud: CloudAndPanel, protected: ProtectedTarget, at: float) -> None:
    kind = "server suspended, then resumed"
    incident = cloud.record_look_alike(kind, at, protected)
    server = cloud.world.servers[protected.vm_id]
    server.suspended = True

    def resume() -> None:
        server.suspended = False
        cloud.end_incident(incident)

    cloud.world.call_at(at + 3.5 * DAY, resume)


def _failed_restore(
    cloud: CloudAndPanel, protected: ProtectedTarget, _at: float
) -> None:
    newest = cloud.world.backups_of(protected.vm_id)[-1]
    for action in ("restore_backup", "destroy_backup", "convert_backup"):
        cloud.world.add_transaction(
            action=action,
            status="failed",
            parent_id=newest.id,
            server_id=protected.vm_id,
        )


def _by_hand(cloud: CloudAndPanel, protected: ProtectedTarget, _at: float) -> None:
    """Start two backups by hand: they wait in the queue."""
    for _ in range(2):
        cloud.world.take_backup(*protected.target)


def _two_disks(cloud: CloudAndPanel) -> ProtectedTarget:
    protected = cloud.protected_server(disks=2)
    cloud.add_schedule(cloud.disk_targets(protected.vm_id)[1])
    return protected


def _without(cloud: CloudAndPanel) -> ProtectedTarget:
    server = cloud.world.add_server(label="no backups were bought")
    return ProtectedTarget(
        server.id, Target("Disk", cloud.world.disks_of(server.id)[0].id), 0
    )


def _beside_disabled(cloud: CloudAndPanel) -> ProtectedTarget:
    protected = cloud.protected_server()
    spare = cloud.add_schedule(protected.target, "weeks")
    cloud.world.change_schedule(spare.id, status="disabled")
    return protected


def _plugin(cloud: CloudAndPanel) -> ProtectedTarget:
    """Add a server with recovery points of a plugin only, a new one every day."""
    world = cloud.world
    server = world.add_server(label="plugin", created_at=START - 90 * DAY)

    def add() -> None:
        world.add_recovery_point(server.id)
        world.call_at(world.now + DAY, add)

    world.call_at(world.now, add)
    return ProtectedTarget(server.id, Target("VirtualMachine", server.id), 0)


def _daily_row_left(cloud: CloudAndPanel) -> ProtectedTarget:
    """Add a server of a weekly chain before which it was backed up daily once."""
    protected = cloud.protected_server(period="weeks", whole=True)
    cloud.world.add_backup(
        protected.vm_id,
        backup_type="incremental",
        created_at=cloud.world.now - DAY,
        initiated="days",
    )
    return protected


LOOK_ALIKES: tuple[LookAlike, ...] = (
    LookAlike("run that waits for nearly three hours", _daily, _long_queue, once=False),
    LookAlike("backup three times as large", _daily, _size_changes, once=False),
    LookAlike("server renamed", _daily, _rename, once=False),
    LookAlike("server destroyed", _daily, _destroy, 0.1),
    LookAlike("server destroyed, its number reused", _daily, _reuse, 1.0),
    LookAlike("server created", _daily, _create, once=False),
    LookAlike("server created for later", _daily, _create_for_later, 1.5, once=False),
    LookAlike("disk added for later", _daily, _add_disk_for_later, 1.5),
    LookAlike("run failed, its retry succeeded", _daily, _retry, once=False),
    LookAlike(
        "schedule changed from weeks to days",
        lambda cloud: cloud.protected_server(period="weeks"),
        _to_daily,
    ),
    LookAlike("schedule changed from days to weeks", _daily, _to_weekly),
    LookAlike("schedule moved by eleven hours", _daily, _later_start, once=False),
    LookAlike("switch from normal to incremental", _two_disks, _to_incremental),
    LookAlike("disk removed, its images left", _two_disks, _remove_disk),
    LookAlike(
        "server suspended, then resumed",
        _daily,
        _suspend,
        4.0,
        once=False,
        records_itself=True,
    ),
    LookAlike("restore failed", _daily, _failed_restore, once=False),
    LookAlike("backups by hand", _daily, _by_hand, once=False),
    LookAlike(
        "backup locked for a day and a half",
        _daily,
        LOCKED_BRIEFLY,
        records_itself=True,
    ),
    LookAlike(
        "server unreadable for a quarter of an hour",
        _daily,
        UNREADABLE_BRIEFLY,
        once=False,
        records_itself=True,
    ),
    LookAlike("no backups bought", _without),
    LookAlike("weekly schedule", lambda cloud: cloud.protected_server(period="weeks")),
    LookAlike(
        "monthly schedule",
        lambda cloud: cloud.protected_server(period="months", whole=True),
    ),
    LookAlike("every three days", lambda cloud: cloud.protected_server(duration=3)),
    LookAlike(
        "incremental backups, some empty",
        lambda cloud: cloud.protected_server(whole=True),
    ),
    LookAlike("swap disk", lambda cloud: cloud.protected_server(swap=True)),
    LookAlike("disabled schedule beside another", _beside_disabled),
)
"""On panels whose schedules can be read."""

LOOK_ALIKES_WITHOUT_SCHEDULES: tuple[LookAlike, ...] = (
    LookAlike(
        "every three days, schedules unknown",
        lambda cloud: cloud.protected_server(duration=3),
    ),
    LookAlike(
        "weekly, schedules unknown",
        lambda cloud: cloud.protected_server(period="weeks", whole=True),
    ),
    LookAlike("weekly with a daily row, schedules unknown", _daily_row_left),
    LookAlike("backups of a plugin alone", _plugin),
    LookAlike("run that waits for nearly three hours", _daily, _long_queue, once=False),
)


def add_look_alike(
    cloud: CloudAndPanel,
    look_alike: LookAlike,
    protected: ProtectedTarget,
    days: float,
) -> None:
    """Plan when it happens within a run of so many days, and that it is recorded."""
    if look_alike.happen is None:
        cloud.record_look_alike(look_alike.kind, START, protected)
        return
    inject = look_alike.happen
    at = START + cloud.rng.uniform(0.3, 1.2) * DAY
    while at < START + (days - look_alike.last_days) * DAY:
        _at(cloud, look_alike, protected, inject, float(round(at)))
        if look_alike.once:
            return
        at += cloud.rng.uniform(3.0, 9.0) * DAY


def _at(
    cloud: CloudAndPanel,
    look_alike: LookAlike,
    protected: ProtectedTarget,
    inject: Callable[[CloudAndPanel, ProtectedTarget, float], None],
    at: float,
) -> None:
    def happen() -> None:
        if not look_alike.records_itself:
            cloud.record_look_alike(look_alike.kind, at, protected)
        inject(cloud, protected, at)

    cloud.world.call_at(at, happen)
