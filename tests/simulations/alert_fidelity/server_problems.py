"""The problems of single servers, and how the simulated clouds bring them about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import faults
from truth import is_good

from alert_fidelity.clouds import CloudAndPanel, ProtectedTarget
from alert_fidelity.incidents import Incident
from alert_fidelity.timing import DAY, HOUR, MINUTE
from exporter.demo.cloud.failures import FailureKind
from exporter.demo.cloud.rows import Target

End = Callable[[], object]
Begin = Callable[[CloudAndPanel, ProtectedTarget, Incident], End]
"""Brings a problem about now; returns what ends it."""


@dataclass(frozen=True)
class Problem:
    """A problem that a single server can have."""

    kind: str
    begin: Begin
    days: float | None
    """When it is ended; None: it ends by itself."""
    lasts_days: float
    """In all, until nothing reminds of it; 0: it befalls a server of its own."""
    server: Callable[[CloudAndPanel], ProtectedTarget] | None = None
    """Adds that server."""
    renamed: bool = False
    """Whether the server gets another name every half hour while it lasts."""
    is_ready: Callable[[CloudAndPanel, ProtectedTarget], bool] = lambda *_: True
    """Whether it can begin now; else an hour later."""

    def plan(self, cloud: CloudAndPanel, protected: ProtectedTarget, at: float) -> None:
        """Plan it for a target at a moment, in Unix seconds."""
        whose = protected if self.server is None else self.server(cloud)
        cloud.world.call_at(at, partial(self.inject, cloud, whose))

    def inject(self, cloud: CloudAndPanel, protected: ProtectedTarget) -> None:
        """Cause it now."""
        world = cloud.world
        if not self.is_ready(cloud, protected):
            world.call_at(world.now + HOUR, partial(self.inject, cloud, protected))
            return
        incident = cloud.begin_incident(self.kind, protected)
        end = self.begin(cloud, protected, incident)

        def end_problem() -> None:
            end()
            cloud.end_incident(incident)

        def rename() -> None:
            if incident.ends is None:
                cloud.rename(protected.vm_id)
                world.call_at(world.now + HOUR / 2, rename)

        if self.days is not None:
            world.call_at(world.now + self.days * DAY, end_problem)
        if self.renamed:
            rename()


def _struck(
    failure: FailureKind, times: int | None = None, factor: float = 1.0
) -> Begin:
    """Let backups go wrong, so often or until the end."""

    def begin(cloud: CloudAndPanel, protected: ProtectedTarget, _: Incident) -> End:
        cloud.reset_failure_count(protected)
        placed = cloud.world.inject_failure(
            failure, target=protected.target, times=times, factor=factor
        )
        return lambda: cloud.world.end_failure(placed)

    return begin


def _reused(
    cloud: CloudAndPanel, protected: ProtectedTarget, incident: Incident
) -> End:
    """Replace a server by one of the same number while it is stale."""
    end_failure = _struck("skip")(cloud, protected, incident)

    def end() -> None:
        cloud.reuse_number(protected.vm_id)
        end_failure()

    return end


def _stuck(
    cloud: CloudAndPanel, protected: ProtectedTarget, _: Incident, after: float = 0.0
) -> End:
    world = cloud.world
    cloud.reset_failure_count(protected)
    stick = partial(world.inject_failure, "stick", target=protected.target)
    world.call_at(world.now + after, stick)

    def release() -> None:
        for run in cloud.stuck_runs():
            if run.backup.target == protected.target:
                world.end_backup(run.backup.id)

    return release


def _stuck_behind_a_dead_row(
    cloud: CloudAndPanel, protected: ProtectedTarget, incident: Incident
) -> End:
    cloud.world.inject_failure("fail", target=protected.target)
    return _stuck(cloud, protected, incident, DAY)


def _given_up(
    cloud: CloudAndPanel, protected: ProtectedTarget, incident: Incident
) -> End:
    """Let runs fail until the panel marks the schedule as failed."""
    end_failure = _struck("fail", times=3)(cloud, protected, incident)

    def end() -> None:
        end_failure()
        cloud.reset_failure_count(protected)
        cloud.change_schedule(protected, status="enabled")

    return end


def _locked(cloud: CloudAndPanel, protected: ProtectedTarget, _: Incident) -> End:
    rows = filter(is_good, cloud.world.backups_of(protected.vm_id))
    backup_id = [row.id for row in rows if row.target == protected.target][-1]
    cloud.world.lock_backup(backup_id)
    return lambda: cloud.world.lock_backup(backup_id, locked=False)


def _disabled(cloud: CloudAndPanel, protected: ProtectedTarget, _: Incident) -> End:
    schedule_id = cloud.schedule_of(protected).id
    cloud.world.change_schedule(schedule_id, status="disabled")
    return lambda: cloud.world.change_schedule(schedule_id, status="enabled")


def _deleted(cloud: CloudAndPanel, protected: ProtectedTarget, _: Incident) -> End:
    cloud.world.remove_schedule(cloud.schedule_of(protected).id)
    return _scheduling(cloud, protected.target)


def _scheduling(cloud: CloudAndPanel, target: Target) -> End:
    world = cloud.world
    return lambda: world.add_schedule(*target, start_at=world.now + HOUR)


def _cancelled(
    cloud: CloudAndPanel, protected: ProtectedTarget, incident: Incident
) -> End:
    """Let the next run wait in the queue until it is cancelled."""
    world = cloud.world
    world.inject_failure("wait", target=protected.target, seconds=3 * HOUR)

    def cancel() -> None:
        for run in list(world.backup_queue.runs.values()):
            if run.backup.target == protected.target:
                world.cancel_backup(run.backup.id)
                cloud.end_incident(incident)
                return
        world.call_at(world.now + 20 * MINUTE, cancel)

    world.call_at(world.now + 20 * MINUTE, cancel)
    return cancel


def _future(cloud: CloudAndPanel, protected: ProtectedTarget, _: Incident) -> End:
    """Add a backup whose dates lie a month ahead; delete it in the end."""
    world = cloud.world
    whole = protected.target.type == "VirtualMachine"
    row = world.add_backup(
        protected.vm_id,
        backup_type="incremental" if whole else "normal",
        target_type=protected.target.type,
        target_id=protected.target.id,
        initiated="manual",
        created_at=world.now + 30 * DAY,
    )
    return lambda: world.remove_backup(row.id)


def _lost(cloud: CloudAndPanel, protected: ProtectedTarget, _: Incident) -> End:
    for row in cloud.world.backups_of(protected.vm_id):
        cloud.world.remove_backup(row.id)
    return lambda: None


def _is_after_a_backup(cloud: CloudAndPanel, protected: ProtectedTarget) -> bool:
    """Return whether the next backup is not there soon."""
    schedule = cloud.schedule_of(protected)
    soon = schedule.start_at - cloud.world.now < 6 * HOUR
    return not soon and schedule.current_backup_id is None


def _forgotten_server(
    cloud: CloudAndPanel, _: ProtectedTarget, incident: Incident
) -> End:
    server = cloud.world.add_server(disk_gb=20, backup_server_id=1)
    (disk,) = cloud.world.disks_of(server.id)
    disk.has_autobackups = True
    incident.vm_id, incident.target = server.id, Target("Disk", disk.id)
    return _scheduling(cloud, incident.target)


def _forgotten_disk(
    cloud: CloudAndPanel, protected: ProtectedTarget, incident: Incident
) -> End:
    incident.target = Target("Disk", cloud.world.add_disk(protected.vm_id).id)
    return _scheduling(cloud, incident.target)


def _unreadable(cloud: CloudAndPanel, protected: ProtectedTarget, _: Incident) -> End:
    return cloud.panel.faults.add(
        faults.html_error(500), resource="backups", server_id=protected.vm_id
    ).remove


def _every_two_days(cloud: CloudAndPanel) -> ProtectedTarget:
    return cloud.protected_server(duration=2, start_at=cloud.world.now + 0.9 * DAY)


_SKIPPED = _struck("skip")
SERVER_PROBLEMS = {
    problem.kind: problem
    for problem in (
        Problem("starts skipped", _SKIPPED, 3.2, 4.3),
        Problem("starts skipped, renamed", _SKIPPED, 3.2, 4.3, renamed=True),
        Problem(
            *("starts skipped, every two days", _SKIPPED, 7, 0.0),
            server=_every_two_days,
        ),
        Problem(
            *("starts skipped, number reused", _reused, 2.2, 0.0),
            server=CloudAndPanel.protected_server,
        ),
        Problem("starts skipped, schedules unknown", _SKIPPED, 2.4, 3.5),
        Problem("start stalled", _struck("stall"), 3.6, 3.8),
        Problem("run stuck", _stuck, 3.6, 3.8),
        Problem("run stuck, schedules unknown", _stuck, 3.6, 3.8),
        Problem("run stuck behind a dead row", _stuck_behind_a_dead_row, 4.4, 4.6),
        Problem("run failed", _struck("fail", 1), None, 2.2),
        Problem("run failed, its row gone", _struck("vanish", 1), None, 2.2),
        Problem("runs failed, transactions unknown", _struck("fail", 2), None, 3.4),
        Problem("run cancelled", _cancelled, None, 2.2),
        Problem("schedule marked as failed", _given_up, 4.2, 5.4),
        Problem("schedule marked as failed, transactions unknown", _given_up, 4.2, 5.4),
        Problem("backup shrunk", _struck("resize", 1, 0.05), None, 2.3),
        Problem("backup grown", _struck("resize", 1, 9.0), None, 2.3),
        Problem("backup locked", _locked, 3.7, 3.9),
        Problem("schedule disabled", _disabled, 1.2, 2.4),
        Problem("schedule disabled, renamed", _disabled, 1.2, 2.4, renamed=True),
        Problem("schedule deleted", _deleted, 3, 4.2),
        Problem("dates in the future", _future, 1.5, 1.7),
        Problem("backups lost", _lost, None, 2.5, is_ready=_is_after_a_backup),
        Problem("server forgotten", _forgotten_server, 1.7, 2.0),
        Problem("disk forgotten", _forgotten_disk, 1.7, 2.1),
        Problem("disk forgotten, renamed", _forgotten_disk, 1.7, 2.1, renamed=True),
        Problem("server unreadable", _unreadable, 4 / 24, 0.4),
    )
}
"""Each problem that a single server can have."""

NEEDS_DISKS = {
    *("backup shrunk", "backup grown", "disk forgotten", "disk forgotten, renamed")
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

LOCKED_BRIEFLY = Problem("backup locked for a day and a half", _locked, 1.5, 1.5)
UNREADABLE_BRIEFLY = Problem(
    "server unreadable for a quarter of an hour", _unreadable, 1 / 96, 1 / 96
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
