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
            world.change_schedule(protected.schedule_id, status="enabled")
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
                if row.built and not row.marked_for_delete
            ]
            incident = cloud.begin_incident(kind, protected)
            world.lock_backup(built[-1].id)
            world.call_at(at + days * DAY, lambda: end(incident, built[-1].id))

        def end(incident: Incident, backup_id: int) -> None:
            world.lock_backup(backup_id, locked=False)
            cloud.end_incident(incident)

        world.call_at(at, begin)

    return inject


def _disabled(cloud: CloudAndPanel, protected: ProtectedTarget, at: float) -> None:
    world = cloud.world

    def begin() -> None:
        incident = cloud.begin_incident("schedule disabled", protected)
        world.change_schedule(protected.schedule_id, status="disabled")
        world.call_at(at + 1.2 * DAY, lambda: end(incident))

    def end(incident: Incident) -> None:
        world.change_schedule(protected.schedule_id, status="enabled")
        cloud.end_incident(incident)

    world.call_at(at, begin)


def _lost(cloud: CloudAndPanel, protected: ProtectedTarget, at: float) -> None:
    world = cloud.world

    def begin() -> None:
        # Just after a backup, else the next one would soon be there.
        soon = world.schedules[protected.schedule_id].start_at - world.now < 6 * HOUR
        if soon or any(not row.built for row in world.backups_of(protected.vm_id)):
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


def _forgotten_disk(
    cloud: CloudAndPanel, protected: ProtectedTarget, at: float
) -> None:
    world = cloud.world

    def begin() -> None:
        target = Target("Disk", world.add_disk(protected.vm_id).id)
        incident = cloud.begin_incident(
            "disk forgotten", vm_id=protected.vm_id, target=target
        )
        world.call_at(at + 1.2 * DAY, lambda: end(incident, target))

    def end(incident: Incident, target: Target) -> None:
        world.add_schedule(*target, start_at=world.now + HOUR)
        cloud.end_incident(incident)

    world.call_at(at, begin)


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
    "starts skipped, schedules unknown": (
        _struck("starts skipped, schedules unknown", "skip", days=2.4),
        3.5,
    ),
    "start stalled": (_struck("start stalled", "stall", days=3.6), 3.8),
    "take stuck": (_stuck("take stuck", 3.6), 3.8),
    "take stuck, schedules unknown": (
        _stuck("take stuck, schedules unknown", 3.6),
        3.8,
    ),
    "take stuck behind a dead row": (
        _stuck("take stuck behind a dead row", 4.4, dead_row_before=True),
        4.6,
    ),
    "take failed": (_struck("take failed", "fail", times=1), 2.2),
    "take failed, its row gone": (
        _struck("take failed, its row gone", "vanish", times=1),
        2.2,
    ),
    "takes failed, transactions unknown": (
        _struck("takes failed, transactions unknown", "fail", times=2),
        3.4,
    ),
    "schedule given up": (_given_up("schedule given up"), 5.4),
    "schedule given up, transactions unknown": (
        _given_up("schedule given up, transactions unknown"),
        5.4,
    ),
    "backup shrunk": (_struck("backup shrunk", "resize", times=1, factor=0.05), 2.3),
    "backup grown": (_struck("backup grown", "resize", times=1, factor=9.0), 2.3),
    "backup locked": (_locked("backup locked", 3.7), 3.9),
    "schedule disabled": (_disabled, 2.4),
    "backups lost": (_lost, 2.5),
    "server forgotten": (_forgotten_server, 2.0),
    "disk forgotten": (_forgotten_disk, 1.6),
    "server unreadable": (_unreadable("server unreadable", 4 * HOUR), 0.4),
}
"""Each problem that a single server can have, and how many days it lasts in all."""

NEEDS_DISKS = {"backup shrunk", "backup grown", "disk forgotten"}
NEEDS_TRANSACTIONS = {
    *("take failed", "take failed, its row gone", "take stuck behind a dead row"),
    "schedule given up",
}
WITHOUT_TRANSACTIONS = {
    kind for kind in SERVER_PROBLEMS if kind.endswith("transactions unknown")
}
ON_ONE_PANEL = NEEDS_TRANSACTIONS | WITHOUT_TRANSACTIONS
WITHOUT_SCHEDULES = (
    *("starts skipped, schedules unknown", "take stuck, schedules unknown"),
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
