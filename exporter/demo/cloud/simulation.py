"""The simulated cloud: a database, a scheduler, a backup queue, and failures.

Its state depends only on the seed and on what was called at which simulated time,
neither on the steps in which time advances nor on the wall clock.
"""

from .backup_runs import BackupQueue, Outcome
from .database import Database
from .failures import Failure, FailureKind, Failures
from .rows import Backup, EventKind, Schedule, ScheduleStatus, Target, TargetType
from .scheduler import Scheduler, StartUpdate
from .time import Action, Period


class SimulatedCloud(Database):
    """A cloud whose schedules start backups, which rotate and sometimes fail."""

    def __init__(
        self,
        now: float,
        seed: int = 1,
        slots: int = 4,
        *,
        start_update: StartUpdate = "end",
        failure_limit: int | None = None,
    ) -> None:
        """Begin empty at a time in Unix seconds; `slots` backups run at once."""
        super().__init__(now, seed)
        self.failures = Failures(self._failure_ended)
        self._scheduler = Scheduler(self, self.failures, start_update, failure_limit)
        self.backup_queue = BackupQueue(
            self, self.failures, slots, self._scheduler.backup_ended
        )
        self._scheduler.backup_queue = self.backup_queue

    @property
    def slots(self) -> int:
        """How many backups run at once; 0 jams the queue."""
        return self.backup_queue.slots

    @slots.setter
    def slots(self, slots: int) -> None:
        self.backup_queue.slots = slots
        self.log_event("slots changed", detail=str(slots))
        self.backup_queue.start_waiting()

    def advance(self, to: float) -> None:
        """Simulate up to a time; time never runs backwards."""
        self.event_queue.advance(to)

    def call_at(self, when: float, action: Action) -> None:
        """Run an action at a simulated time."""
        self.event_queue.call_at(when, action)

    def add_schedule(  # noqa: PLR0913, PLR0917  a row has many fields
        self,
        target_type: TargetType,
        target_id: int,
        period: Period = "days",
        duration: int = 1,
        start_at: float | None = None,
        status: ScheduleStatus = "enabled",
        *,
        rotation_period: int | None = None,
        number: int | None = None,
    ) -> Schedule:
        """Add a schedule; by default it first starts within a day."""
        target = Target(target_type, target_id)
        schedule = self.new_schedule(
            target,
            period=period,
            duration=duration,
            start_at=start_at,
            status=status,
            rotation_period=rotation_period,
            number=number,
        )
        self._log_schedule("schedule added", schedule, status)
        self._scheduler.arm(schedule)
        return schedule

    def change_schedule(
        self,
        schedule_id: int,
        *,
        status: ScheduleStatus | None = None,
        period: Period | None = None,
        duration: int | None = None,
        start_at: float | None = None,
    ) -> None:
        """Change a schedule, or disable or enable it."""
        schedule = self.schedules[schedule_id]
        self._scheduler.change(schedule, status, period, duration, start_at)
        self._log_schedule("schedule changed", schedule, schedule.status)

    def remove_schedule(self, schedule_id: int) -> None:
        """Remove a schedule; its backup run continues."""
        schedule = self.schedules.pop(schedule_id)
        self._log_schedule("schedule removed", schedule)

    def take_backup(self, target_type: TargetType, target_id: int) -> Backup:
        """Start a manual backup; KeyError without such a target."""
        target = Target(target_type, target_id)
        server = self.owner_of(target)
        if server is None:
            raise KeyError(target)
        return self.backup_queue.enqueue(server, target, None)

    def retry(self, schedule_id: int) -> None:
        """Start the backup of a schedule again, whenever its next start is."""
        schedule = self.schedules[schedule_id]
        server = self.owner_of(schedule.target)
        if server is not None and schedule.current_backup_id is None:
            self.backup_queue.enqueue(server, schedule.target, schedule)

    def lock_backup(self, backup_id: int, *, locked: bool = True) -> None:
        """Lock a backup, or unlock it; its row shows when that was."""
        backup = self.backups[backup_id]
        backup.locked = locked
        backup.updated_at = self.now

    def cancel_backup(self, backup_id: int) -> None:
        """Cancel a backup run; its row stays, unbuilt, and its schedule continues."""
        run = self.backup_queue.runs.get(backup_id)
        self.backup_queue.cancel(backup_id)
        if run and run.schedule and run.schedule.id in self.schedules:
            self._scheduler.skip_missed(run.schedule)

    def remove_backup(self, backup_id: int) -> None:
        """Delete a backup, built or not."""
        backup = self.backups[backup_id]
        self.cancel_backup(backup_id)
        self.log_event(
            "backup removed", backup.server_id, backup.target, row_id=backup_id
        )
        self.drop_backup(backup_id)

    def remove_disk(self, disk_id: int) -> None:
        """Remove a disk and its schedules; its built backups stay listed."""
        disk = self.disks[disk_id]
        for backup in self.backups_of(disk.server_id):
            if backup.disk_id == disk_id and backup.id in self.backup_queue.runs:
                self.remove_backup(backup.id)
        for schedule in self.schedules_of(disk.server_id):
            if schedule.target == ("Disk", disk_id):
                self.remove_schedule(schedule.id)
        self.drop_disk(disk_id)
        target = Target("Disk", disk_id)
        self.log_event("disk removed", disk.server_id, target, row_id=disk_id)

    def remove_server(self, server_id: int) -> None:
        """Remove a server with all that belongs to it."""
        for backup in self.backups_of(server_id):
            self.backup_queue.cancel(backup.id)
        for schedule in self.schedules_of(server_id):
            self.remove_schedule(schedule.id)
        self.log_event(
            "server removed", server_id, detail=self.servers[server_id].label
        )
        self.drop_server(server_id)

    def inject_failure(  # noqa: PLR0913  a failure has a scope and parameters
        self,
        kind: FailureKind,
        *,
        server_id: int | None = None,
        target: tuple[TargetType, int] | None = None,
        schedule_id: int | None = None,
        times: int | None = 1,
        factor: float = 1.0,
        seconds: float = 0.0,
    ) -> Failure:
        """Let the next starts or backup runs in scope fail, and return the failure.

        `times=None` lasts until `end_failure`, as a stall always does; a scope that
        is not given includes everything.
        """
        if kind == "stall":
            times = None
        scope = Target(*target) if target else None
        failure = Failure(kind, server_id, scope, schedule_id, times, factor, seconds)
        self.failures.active.append(failure)
        self.log_event("failure begun", server_id, scope, kind, schedule_id)
        return failure

    def end_failure(self, failure: Failure) -> None:
        """End a failure; starts that were stalled happen now."""
        self.failures.end(failure)

    def end_backup(self, backup_id: int, outcome: Outcome = "finish") -> None:
        """End a backup run now, be it queued, running or stuck."""
        self.backup_queue.end_now(backup_id, outcome)

    def _failure_ended(self, failure: Failure) -> None:
        self.log_event(
            "failure ended",
            failure.server_id,
            failure.target,
            failure.kind,
            failure.schedule_id,
        )
        if failure.kind == "stall":
            self._scheduler.rearm_overdue()

    def _log_schedule(
        self,
        kind: EventKind,
        schedule: Schedule,
        detail: str = "",
    ) -> None:
        server = self.owner_of(schedule.target)
        number = server.id if server else None
        self.log_event(kind, number, schedule.target, detail, schedule.id)
