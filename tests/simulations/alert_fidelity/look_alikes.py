"""What is healthy in the simulated clouds but looks like a problem."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from alert_fidelity.clouds import START, CloudAndPanel, ProtectedTarget
from alert_fidelity.incidents import Incident
from alert_fidelity.server_problems import (
    LOCKED_BRIEFLY,
    UNREADABLE_BRIEFLY,
    End,
    Problem,
)
from alert_fidelity.timing import DAY, HOUR, MINUTE
from exporter.demo.cloud.rows import Disk, Target


@dataclass(frozen=True)
class LookAlike:
    """Something healthy that looks like a problem: how to cause and to add it."""

    kind: str
    happen: Problem | Callable[[CloudAndPanel, ProtectedTarget], object] | None = None
    """Causes it now, often in a long run; None: it lasts all the time."""
    last_days: float = 2.0
    """It does not begin in the last days of the run."""
    once: bool = False
    add: Callable[[CloudAndPanel], ProtectedTarget] = CloudAndPanel.protected_server
    """Adds the server that it befalls."""

    def plan(self, cloud: CloudAndPanel, days: float) -> None:
        """Add its server, and plan when it happens within a run of so many days."""
        protected = self.add(cloud)
        if self.happen is None:
            cloud.begin_incident(self.kind, protected).begins = START
            return
        happen = partial(self._happen, cloud, protected)
        at = START + cloud.rng.uniform(0.3, 1.2) * DAY
        while at < START + (days - self.last_days) * DAY:
            cloud.world.call_at(float(round(at)), happen)
            if self.once:
                return
            at += cloud.rng.uniform(3.0, 9.0) * DAY

    def _happen(self, cloud: CloudAndPanel, protected: ProtectedTarget) -> None:
        if isinstance(self.happen, Problem):
            self.happen.inject(cloud, protected)
        elif self.happen is not None:
            cloud.begin_incident(self.kind, protected)
            self.happen(cloud, protected)


def _waits(cloud: CloudAndPanel, protected: ProtectedTarget) -> None:
    cloud.world.inject_failure("wait", target=protected.target, seconds=2.7 * HOUR)


def _grown(cloud: CloudAndPanel, protected: ProtectedTarget) -> None:
    cloud.world.inject_failure("resize", target=protected.target, factor=3.0)


def _to_daily(cloud: CloudAndPanel, protected: ProtectedTarget) -> None:
    start = cloud.world.now + 20 * HOUR
    cloud.change_schedule(protected, period="days", start_at=start)


def _to_weekly(cloud: CloudAndPanel, protected: ProtectedTarget) -> None:
    cloud.change_schedule(protected, period="weeks")


def _later_start(cloud: CloudAndPanel, protected: ProtectedTarget) -> None:
    start = cloud.schedule_of(protected).start_at + 11 * HOUR
    cloud.change_schedule(protected, start_at=start)


def _destroy(cloud: CloudAndPanel, protected: ProtectedTarget) -> None:
    cloud.world.remove_server(protected.vm_id)


def _reuse(cloud: CloudAndPanel, protected: ProtectedTarget) -> None:
    cloud.reuse_number(protected.vm_id)


def _remove_disk(cloud: CloudAndPanel, protected: ProtectedTarget) -> None:
    cloud.world.remove_disk(cloud.world.disks_of(protected.vm_id)[1].id)


def _by_hand(cloud: CloudAndPanel, protected: ProtectedTarget) -> None:
    """Start two backups by hand: they wait in the queue."""
    for _ in range(2):
        cloud.world.take_backup(*protected.target)


def _create(cloud: CloudAndPanel, _home: ProtectedTarget) -> None:
    server = cloud.world.add_server(disk_gb=20, backup_server_id=1, swap=True)
    (target,) = cloud.disk_targets(server.id)
    cloud.world.add_schedule(*target, start_at=cloud.world.now + 22 * HOUR)
    protected = ProtectedTarget(server.id, target, DAY)
    cloud.begin_incident("server just created", protected)


def _buy_backups(cloud: CloudAndPanel, vm_id: int, disk: Disk, kind: str) -> None:
    """Order backups of a new disk, whose schedule comes half an hour later."""
    disk.has_autobackups = True
    target = Target("Disk", disk.id)
    at = cloud.world.now
    cloud.begin_incident(kind, ProtectedTarget(vm_id, target, DAY))
    cloud.world.call_at(
        at + HOUR / 2,
        lambda: cloud.world.add_schedule(*target, start_at=at + 20.5 * HOUR),
    )


def _create_for_later(cloud: CloudAndPanel, _home: ProtectedTarget) -> None:
    server = cloud.world.add_server(disk_gb=20, backup_server_id=1)
    (disk,) = cloud.world.disks_of(server.id)
    _buy_backups(cloud, server.id, disk, "server scheduled half an hour later")


def _add_disk_for_later(cloud: CloudAndPanel, protected: ProtectedTarget) -> None:
    disk = cloud.world.add_disk(protected.vm_id)
    _buy_backups(cloud, protected.vm_id, disk, "disk scheduled half an hour later")


def _retry(cloud: CloudAndPanel, protected: ProtectedTarget) -> None:
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


def _to_incremental(cloud: CloudAndPanel, protected: ProtectedTarget) -> None:
    cloud.world.remove_schedule(cloud.schedule_of(protected).id)
    cloud.world.add_schedule(
        "VirtualMachine", protected.vm_id, start_at=cloud.world.now + 9 * HOUR
    )


def _suspended(cloud: CloudAndPanel, protected: ProtectedTarget, _: Incident) -> End:
    server = cloud.world.servers[protected.vm_id]
    server.suspended = True
    return lambda: setattr(server, "suspended", False)


def _failed_restore(cloud: CloudAndPanel, protected: ProtectedTarget) -> None:
    newest = cloud.world.backups_of(protected.vm_id)[-1]
    for action in ("restore_backup", "destroy_backup", "convert_backup"):
        cloud.world.add_transaction(
            action=action,
            status="failed",
            parent_id=newest.id,
            server_id=protected.vm_id,
        )


def _two_disks(cloud: CloudAndPanel) -> ProtectedTarget:
    protected = cloud.protected_server(disks=2)
    cloud.add_schedule(cloud.disk_targets(protected.vm_id)[1])
    return protected


def _without(cloud: CloudAndPanel) -> ProtectedTarget:
    server = cloud.world.add_server(label="no backups were bought")
    return ProtectedTarget(server.id, cloud.disk_targets(server.id)[0], 0)


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


def _added(**fields: Any) -> Callable[[CloudAndPanel], ProtectedTarget]:
    return lambda cloud: cloud.protected_server(**fields)


_SUSPENDED = Problem("server suspended, then resumed", _suspended, 3.5, 3.5)

LOOK_ALIKES: tuple[LookAlike, ...] = (
    LookAlike("run that waits for nearly three hours", _waits),
    LookAlike("backup three times as large", _grown),
    LookAlike("server renamed", lambda cloud, own: cloud.rename(own.vm_id)),
    LookAlike("server destroyed", _destroy, 0.1, once=True),
    LookAlike("server destroyed, its number reused", _reuse, 1.0, once=True),
    LookAlike("server created", _create),
    LookAlike("server created for later", _create_for_later, 1.5),
    LookAlike("disk added for later", _add_disk_for_later, 1.5, once=True),
    LookAlike("run failed, its retry succeeded", _retry),
    LookAlike(
        *("schedule changed from weeks to days", _to_daily),
        once=True,
        add=_added(period="weeks"),
    ),
    LookAlike("schedule changed from days to weeks", _to_weekly, once=True),
    LookAlike("schedule moved by eleven hours", _later_start),
    LookAlike(
        *("switch from normal to incremental", _to_incremental),
        once=True,
        add=_two_disks,
    ),
    LookAlike("disk removed, its images left", _remove_disk, once=True, add=_two_disks),
    LookAlike(_SUSPENDED.kind, _SUSPENDED, 4.0),
    LookAlike("restore failed", _failed_restore),
    LookAlike("backups by hand", _by_hand),
    LookAlike(LOCKED_BRIEFLY.kind, LOCKED_BRIEFLY, once=True),
    LookAlike(UNREADABLE_BRIEFLY.kind, UNREADABLE_BRIEFLY),
    LookAlike("no backups bought", add=_without),
    LookAlike("weekly schedule", add=_added(period="weeks")),
    LookAlike("monthly schedule", add=_added(period="months", whole=True)),
    LookAlike("every three days", add=_added(duration=3)),
    LookAlike("incremental backups, some empty", add=_added(whole=True)),
    LookAlike("swap disk", add=_added(swap=True)),
    LookAlike("disabled schedule beside another", add=_beside_disabled),
)
"""On panels whose schedules can be read."""

LOOK_ALIKES_WITHOUT_SCHEDULES: tuple[LookAlike, ...] = (
    LookAlike("every three days, schedules unknown", add=_added(duration=3)),
    LookAlike("weekly, schedules unknown", add=_added(period="weeks", whole=True)),
    LookAlike("weekly with a daily row, schedules unknown", add=_daily_row_left),
    LookAlike("backups of a plugin alone", add=_plugin),
    LookAlike("run that waits for nearly three hours", _waits),
)
