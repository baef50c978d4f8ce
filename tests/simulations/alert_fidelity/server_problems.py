"""The problems of single servers, and how the simulated clouds bring them about."""

from __future__ import annotations

from collections.abc import Callable

import faults

from alert_fidelity.clouds import CloudAndPanel, ProtectedTarget
from alert_fidelity.incidents import Incident
from alert_fidelity.timing import DAY, HOUR, MINUTE
from exporter.demo.cloud.failures import Failure, FailureKind
from exporter.demo.cloud.rows import Target

Injection = Callable[[CloudAndPanel, ProtectedTarget, float], None]
"""Causes a problem of a target at a moment, in Unix seconds."""


def _struck(
    kind: str,
    failure: FailureKind,
    *,
    days: float | None = None,
    times: int | None = None,
    factor: float = 1.0,
) -> Injection:
    """Return an injection by which backups go wrong, so often or for so many days."""

    def inject(cloud: CloudAndPanel, protected: ProtectedTarget, at: float) -> None:
        def begin() -> None:
            incident = cloud.begin_incident(kind, protected)
            cloud.reset_failure_count(protected)
            placed = cloud.world.inject_failure(
                failure, target=protected.target, times=times, factor=factor
            )
            if days is not None:
                cloud.world.call_at(at + days * DAY, lambda: end_problem(incident))

            def end_problem(incident: Incident) -> None:
                cloud.world.end_failure(placed)
                cloud.end_incident(incident)

        cloud.world.call_at(at, begin)

    return inject


def _stuck(kind: str, days: float, *, dead_row_before: bool = False) -> Injection:
    """Return an injection by which a backup is stuck for so many days."""

    def inject(cloud: CloudAndPanel, protected: ProtectedTarget, at: float) -> None:
        world = cloud.world

        def begin() -> None:
            incident = cloud.begin_incident(kind, protected)
            cloud.reset_failure_count(protected)
            if dead_row_before:
                world.inject_failure("fail", target=protected.target)
            wait = DAY if dead_row_before else 0.0
            world.call_at(
                at + wait,
                lambda: world.inject_failure("stick", target=protected.target),
            )
            world.call_at(at + days * DAY, lambda: release(incident))

        def release(incident: Incident) -> None:
            for backup_run in list(world.backup_queue.runs.values()):
                if (
                    backup_run.backup.target == protected.target
                    and backup_run.stage == "stuck"
                ):
                    world.end_backup(backup_run.backup.id)
            cloud.end_incident(incident)

        world.call_at(at, begin)

    return inject


def _given_up(kind: str) -> Injection:
    """Return an injection of failures until the panel marks the schedule as failed."""

    def inject(cloud: CloudAndPanel, protected: ProtectedTarget, at: float) -> None:
        world = cloud.world

        def begin() -> None:
            incident = cloud.begin_incident(kind, protected)
            cloud.reset_failure_count(protected)
            placed = world.inject_failure("fail", target=protected.target, times=3)
            world.call_at(at + 4.2 * DAY, lambda: end(incident, placed))

        def end(incident: Incident, placed: Failure) -> None:
            world.end_failure(placed)
            cloud.reset_failure_count(protected)
            world.change_schedule(cloud.schedule_of(protected).id, status="enabled")
            cloud.end_incident(incident)

        world.call_at(at, begin)

    return inject


def _locked(kind: str, days: float) -> Injection:
    def inject(cloud: CloudAndPanel, protected: ProtectedTarget, at: float) -> None:
        world = cloud.world

        def begin() -> None:
            built = [
                row
                for row in world.backups_of(protected.vm_id)
                if row.target == protected.target
                and row.built
                and not row.marked_for_delete
            ]
            incident = cloud.begin_incident(kind, protected)
            world.lock_backup(built[-1].id)
            world.call_at(at + days * DAY, lambda: end(incident, built[-1].id))

        def end(incident: Incident, backup_id: int) -> None:
            world.lock_backup(backup_id, locked=False)
            cloud.end_incident(incident)

        world.call_at(at, begin)

    return inject


def _disabled(kind: str) -> Injection:
    def inject(cloud: CloudAndPanel, protected: ProtectedTarget, at: float) -> None:
        def begin() -> None:
            incident = cloud.begin_incident(kind, protected)
            schedule = cloud.schedule_of(protected)
            cloud.world.change_schedule(schedule.id, status="disabled")

            def end() -> None:
                cloud.world.change_schedule(schedule.id, status="enabled")
                cloud.end_incident(incident)

            cloud.world.call_at(at + 1.2 * DAY, end)

        cloud.world.call_at(at, begin)

    return inject


def _deleted(cloud: CloudAndPanel, protected: ProtectedTarget, at: float) -> None:
    world = cloud.world

    def begin() -> None:
        incident = cloud.begin_incident("schedule deleted", protected)
        world.remove_schedule(cloud.schedule_of(protected).id)

        def end() -> None:
            world.add_schedule(*protected.target, start_at=world.now + HOUR)
            cloud.end_incident(incident)

        world.call_at(at + 3 * DAY, end)

    world.call_at(at, begin)


def _cancelled(cloud: CloudAndPanel, protected: ProtectedTarget, at: float) -> None:
    """Let the next run wait in the queue until it is cancelled."""
    world = cloud.world

    def begin() -> None:
        incident = cloud.begin_incident("run cancelled", protected)
        world.inject_failure("wait", target=protected.target, seconds=3 * HOUR)

        def cancel() -> None:
            for run in list(world.backup_queue.runs.values()):
                if run.backup.target == protected.target:
                    world.cancel_backup(run.backup.id)
                    cloud.end_incident(incident)
                    return
            world.call_at(world.now + 20 * MINUTE, cancel)

        world.call_at(world.now + 20 * MINUTE, cancel)

    world.call_at(at, begin)


def _future(cloud: CloudAndPanel, protected: ProtectedTarget, at: float) -> None:
    """Add a backup whose dates lie a month ahead, and delete it after some days."""
    world = cloud.world

    def begin() -> None:
        incident = cloud.begin_incident("dates in the future", protected)
        whole = protected.target.type == "VirtualMachine"
        row = world.add_backup(
            protected.vm_id,
            backup_type="incremental" if whole else "normal",
            target_type=protected.target.type,
            target_id=protected.target.id,
            initiated="manual",
            created_at=world.now + 30 * DAY,
        )

        def end() -> None:
            world.remove_backup(row.id)
            cloud.end_incident(incident)

        world.call_at(at + 1.5 * DAY, end)

    world.call_at(at, begin)


def _every_two_days(cloud: CloudAndPanel, _home: ProtectedTarget, at: float) -> None:
    """Let the schedule of another server, of every two days, stop for a week."""
    kind = "starts skipped, every two days"
    start = cloud.world.now + 0.9 * DAY
    protected = cloud.protected_server(duration=2, start_at=start)
    _struck(kind, "skip", days=7)(cloud, protected, at)


def _reused(cloud: CloudAndPanel, _home: ProtectedTarget, at: float) -> None:
    """Replace another server by one of the same number while it is stale."""
    kind = "starts skipped, number reused"
    protected = cloud.protected_server()
    _struck(kind, "skip", days=2.2)(cloud, protected, at)
    cloud.world.call_at(at + 2.2 * DAY, lambda: cloud.reuse_number(protected.vm_id))


def _renamed(injection: Injection) -> Injection:
    """Return an injection whose server gets another name every half hour."""

    def inject(cloud: CloudAndPanel, protected: ProtectedTarget, at: float) -> None:
        def begin() -> None:
            rename(cloud.incidents[-1])

        def rename(incident: Incident) -> None:
            if incident.ends is None:
                cloud.rename(protected.vm_id)
                cloud.world.call_at(
                    cloud.world.now + HOUR / 2, lambda: rename(incident)
                )

        injection(cloud, protected, at)
        cloud.world.call_at(at, begin)

    return inject


def _lost(cloud: CloudAndPanel, protected: ProtectedTarget, at: float) -> None:
    world = cloud.world

    def begin() -> None:
        # Just after a backup, else the next one would soon be there.
        schedule = cloud.schedule_of(protected)
        soon = schedule.start_at - world.now < 6 * HOUR
        if soon or schedule.current_backup_id is not None:
            world.call_at(world.now + HOUR, begin)
            return
        cloud.begin_incident("backups lost", protected)
        for row in world.backups_of(protected.vm_id):
            world.remove_backup(row.id)

    world.call_at(at, begin)


def _forgotten_server(cloud: CloudAndPanel, _home: ProtectedTarget, at: float) -> None:
    world = cloud.world

    def begin() -> None:
        server = world.add_server(disk_gb=20, backup_server_id=1)
        disk = world.disks_of(server.id)[0]
        disk.has_autobackups = True
        target = Target("Disk", disk.id)
        incident = cloud.begin_incident(
            "server forgotten", vm_id=server.id, target=target
        )
        world.call_at(at + 1.7 * DAY, lambda: end(incident, target))

    def end(incident: Incident, target: Target) -> None:
        world.add_schedule(*target, start_at=world.now + HOUR)
        cloud.end_incident(incident)

    world.call_at(at, begin)


def _forgotten_disk(kind: str) -> Injection:
    def inject(cloud: CloudAndPanel, protected: ProtectedTarget, at: float) -> None:
        world = cloud.world

        def begin() -> None:
            target = Target("Disk", world.add_disk(protected.vm_id).id)
            incident = cloud.begin_incident(kind, vm_id=protected.vm_id, target=target)
            world.call_at(at + 1.7 * DAY, lambda: end(incident, target))

        def end(incident: Incident, target: Target) -> None:
            world.add_schedule(*target, start_at=world.now + HOUR)
            cloud.end_incident(incident)

        world.call_at(at, begin)

    return inject


def _unreadable(kind: str, seconds: float) -> Injection:
    def inject(cloud: CloudAndPanel, protected: ProtectedTarget, at: float) -> None:
        def begin() -> None:
            incident = cloud.begin_incident(kind, protected)
            placed = cloud.panel.faults.add(
                faults.html_error(500), resource="backups", server_id=protected.vm_id
            )

            def end() -> None:
                placed.remove()
                cloud.end_incident(incident)

            cloud.world.call_at(at + seconds, end)

        cloud.world.call_at(at, begin)

    return inject


SERVER_PROBLEMS: dict[str, tuple[Injection, float]] = {
    "starts skipped": (_struck("starts skipped", "skip", days=3.2), 4.3),
    "starts skipped, renamed": (
        _renamed(_struck("starts skipped, renamed", "skip", days=3.2)),
        4.3,
    ),
    "starts skipped, every two days": (_every_two_days, 0.0),
    "starts skipped, number reused": (_reused, 0.0),
    "starts skipped, schedules unknown": (
        _struck("starts skipped, schedules unknown", "skip", days=2.4),
        3.5,
    ),
    "start stalled": (_struck("start stalled", "stall", days=3.6), 3.8),
    "run stuck": (_stuck("run stuck", 3.6), 3.8),
    "run stuck, schedules unknown": (
        _stuck("run stuck, schedules unknown", 3.6),
        3.8,
    ),
    "run stuck behind a dead row": (
        _stuck("run stuck behind a dead row", 4.4, dead_row_before=True),
        4.6,
    ),
    "run failed": (_struck("run failed", "fail", times=1), 2.2),
    "run failed, its row gone": (
        _struck("run failed, its row gone", "vanish", times=1),
        2.2,
    ),
    "runs failed, transactions unknown": (
        _struck("runs failed, transactions unknown", "fail", times=2),
        3.4,
    ),
    "run cancelled": (_cancelled, 2.2),
    "schedule marked as failed": (_given_up("schedule marked as failed"), 5.4),
    "schedule marked as failed, transactions unknown": (
        _given_up("schedule marked as failed, transactions unknown"),
        5.4,
    ),
    "backup shrunk": (_struck("backup shrunk", "resize", times=1, factor=0.05), 2.3),
    "backup grown": (_struck("backup grown", "resize", times=1, factor=9.0), 2.3),
    "backup locked": (_locked("backup locked", 3.7), 3.9),
    "schedule disabled": (_disabled("schedule disabled"), 2.4),
    "schedule disabled, renamed": (
        _renamed(_disabled("schedule disabled, renamed")),
        2.4,
    ),
    "schedule deleted": (_deleted, 4.2),
    "dates in the future": (_future, 1.7),
    "backups lost": (_lost, 2.5),
    "server forgotten": (_forgotten_server, 2.0),
    "disk forgotten": (_forgotten_disk("disk forgotten"), 2.1),
    "disk forgotten, renamed": (
        _renamed(_forgotten_disk("disk forgotten, renamed")),
        2.1,
    ),
    "server unreadable": (_unreadable("server unreadable", 4 * HOUR), 0.4),
}
"""Each problem that a single server can have, and how many days it lasts in all."""

NEEDS_DISKS = {
    *("backup shrunk", "backup grown", "disk forgotten", "disk forgotten, renamed"),
}
NEEDS_TRANSACTIONS = {
    *("run failed", "run failed, its row gone", "run stuck behind a dead row"),
    *("run cancelled", "schedule marked as failed"),
}
WITHOUT_TRANSACTIONS = {
    kind for kind in SERVER_PROBLEMS if kind.endswith("transactions unknown")
}
ON_ONE_PANEL = NEEDS_TRANSACTIONS | WITHOUT_TRANSACTIONS
WITHOUT_SCHEDULES = (
    *("starts skipped, schedules unknown", "run stuck, schedules unknown"),
    "backup locked",
)

LOCKED_BRIEFLY = _locked("backup locked for a day and a half", 1.5)
UNREADABLE_BRIEFLY = _unreadable(
    "server unreadable for a quarter of an hour", 15 * MINUTE
)


def applicable(cloud: CloudAndPanel, *, whole: bool) -> list[str]:
    """Return the problems that a target on a panel can have, in a fixed order."""
    if cloud.name == "nyc1":
        return [*WITHOUT_SCHEDULES]
    barred = {kind for kind in SERVER_PROBLEMS if kind.endswith("schedules unknown")}
    barred |= NEEDS_DISKS if whole else set()
    on_lon1 = cloud.name == "lon1"
    barred |= WITHOUT_TRANSACTIONS if on_lon1 else NEEDS_TRANSACTIONS
    return [kind for kind in SERVER_PROBLEMS if kind not in barred]
