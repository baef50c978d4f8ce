"""The simulated cloud: a database whose schedules start backups, and failures.

Its state depends only on the seed and on the calls and their simulated times. It does
not depend on the steps in which time advances, or on the wall clock.
"""

from functools import partial
from typing import Literal

from .backup_runs import BackupQueue, Outcome
from .database import Database
from .failures import Failure, FailureKind
from .pseudorandom import fraction
from .rows import (
    Backup,
    Schedule,
    ScheduleLog,
    ScheduleStatus,
    Server,
    Target,
    TargetType,
    TransactionStatus,
)
from .time import DAY, Action, Period, next_start

StartUpdate = Literal["end", "begin"]
"""Whether the next start is shown after the end or the start of a backup."""

_CHAIN_LENGTHS: dict[Period, int] = {"days": 7, "weeks": 4, "months": 3, "years": 2}
_FAILURE_LOG = "Backup node 10.200.7.31 refused\n"


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
        """Start empty at a time in Unix seconds; `slots` backups run at once.

        A schedule is marked as failed after `failure_limit` failures; None = never.
        """
        super().__init__(now, seed)
        self.failures: list[Failure] = []
        """Active failures."""
        self.backup_queue = BackupQueue(
            self, slots, self._next_failure, self._backup_ended
        )
        self._start_update = start_update
        self._failure_limit = failure_limit

    @property
    def slots(self) -> int:
        """Number of backups that run at once; 0 jams the queue."""
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
        number = self._new_id("schedule", number)
        if start_at is None:
            start_at = self.now + DAY * fraction(self.seed, "start", number)
        server = self.owner_of(Target(target_type, target_id))
        schedule = Schedule(
            id=number,
            target_type=target_type,
            target_id=target_id,
            period=period,
            duration=duration,
            status=status,
            start_at=float(round(start_at)),
            first_start_at=float(round(start_at)),
            rotation_period=rotation_period or _CHAIN_LENGTHS[period],
            user_id=server.user_id if server else 1,
            created_at=self.now,
            updated_at=self.now,
        )
        self.schedules[number] = schedule
        if target_type == "Disk" and target_id in self.disks:
            self.disks[target_id].has_autobackups = True
        self.log_schedule("schedule added", schedule, status)
        self._arm(schedule)
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
        """Change a schedule, or disable or enable it; None leaves a field as it is."""
        schedule = self.schedules[schedule_id]
        schedule.status = status or schedule.status
        schedule.period = period or schedule.period
        schedule.duration = duration or schedule.duration
        schedule.updated_at = self.now
        if start_at is not None:
            schedule.start_at = schedule.first_start_at = float(start_at)
            self._arm(schedule)
        elif schedule.current_backup_id is None:
            self._set_next_start(schedule)
        self.log_schedule("schedule changed", schedule, schedule.status)

    def remove_schedule(self, schedule_id: int) -> None:
        """Remove a schedule; its backup run continues."""
        schedule = self.schedules.pop(schedule_id)
        self.log_schedule("schedule removed", schedule)

    def log_start(
        self, schedule: Schedule, status: TransactionStatus, text: str
    ) -> None:
        """Add the outcome of a start to the schedule's own log."""
        number = self._new_id("schedule_log")
        schedule.logs.append(ScheduleLog(number, status, text, self.now))

    def take_backup(self, target_type: TargetType, target_id: int) -> Backup:
        """Start a manual backup; raise KeyError if the target does not exist."""
        target = Target(target_type, target_id)
        server = self.owner_of(target)
        if server is None:
            raise KeyError(target)
        return self.backup_queue.enqueue(server, target, None)

    def retry(self, schedule_id: int) -> None:
        """Start the backup of a schedule again, regardless of its next start."""
        schedule = self.schedules[schedule_id]
        server = self.owner_of(schedule.target)
        if server is not None and schedule.current_backup_id is None:
            self.backup_queue.enqueue(server, schedule.target, schedule)

    def lock_backup(self, backup_id: int, *, locked: bool = True) -> None:
        """Lock or unlock a backup, and update the time in its row."""
        backup = self.backups[backup_id]
        backup.locked = locked
        backup.updated_at = self.now

    def cancel_backup(self, backup_id: int) -> None:
        """Cancel a backup run; its row stays, unbuilt, and its schedule continues."""
        run = self.backup_queue.runs.get(backup_id)
        self.backup_queue.cancel(backup_id)
        if run and run.schedule and run.schedule.id in self.schedules:
            self._skip_missed(run.schedule)

    def end_backup(self, backup_id: int, outcome: Outcome = "finish") -> None:
        """End a queued, running or stuck backup run now."""
        self.backup_queue.end_now(backup_id, outcome)

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
        """Remove a server with everything that belongs to it."""
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
        """Make the next starts or backup runs in scope fail; return the failure.

        With `times=None`, the failure lasts until `end_failure`, as a stall always
        does. Without a scope, it includes everything.
        """
        if kind == "stall":
            times = None
        scope = Target(*target) if target else None
        failure = Failure(kind, server_id, scope, schedule_id, times, factor, seconds)
        self.failures.append(failure)
        self.log_event("failure begun", server_id, scope, kind, schedule_id)
        return failure

    def end_failure(self, failure: Failure) -> None:
        """End an active failure; stalled starts happen now."""
        if failure not in self.failures:
            return
        self.failures.remove(failure)
        self.log_event(
            "failure ended",
            failure.server_id,
            failure.target,
            failure.kind,
            failure.schedule_id,
        )
        if failure.kind == "stall":
            for schedule in self.schedules.values():
                if schedule.start_at <= self.now:
                    self._arm(schedule)

    def _next_failure(
        self, kind: FailureKind, server_id: int, target: Target, schedule_id: int | None
    ) -> Failure | None:
        """Return the first active failure of a kind in scope, and count it."""
        for failure in self.failures:
            if failure.matches(kind, server_id, target, schedule_id):
                if failure.remaining is not None:
                    failure.remaining -= 1
                    if failure.remaining <= 0:
                        self.end_failure(failure)
                return failure
        return None

    def _arm(self, schedule: Schedule) -> None:
        """Queue the next start of a schedule."""
        self.call_at(schedule.start_at, partial(self._run_due, schedule.id))

    def _run_due(self, number: int) -> None:
        """Start the backup of a due schedule, unless its last one is still running."""
        schedule = self.schedules.get(number)
        if (
            schedule is None
            or schedule.status != "enabled"
            or schedule.current_backup_id is not None
            or schedule.start_at > self.now
        ):
            return
        server = self.owner_of(schedule.target)
        if server is not None:
            self._start(schedule, server)

    def _start(self, schedule: Schedule, server: Server) -> None:
        key = (server.id, schedule.target, schedule.id)
        if self._next_failure("stall", *key):
            self.log_schedule("start stalled", schedule)
        elif server.suspended or self._next_failure("skip", *key):
            self.log_schedule("start skipped", schedule)
            self._set_next_start(schedule)
        else:
            self.backup_queue.enqueue(server, schedule.target, schedule)
            if self._start_update == "begin":
                self._set_next_start(schedule)

    def _backup_ended(self, schedule: Schedule, outcome: Outcome) -> None:
        """Log the end of a backup run, and queue the next start."""
        if schedule.id not in self.schedules:
            return
        schedule.updated_at = self.now
        if outcome == "finish":
            self.log_start(schedule, "complete", "")
        else:
            self.log_start(schedule, "failed", _FAILURE_LOG)
            schedule.failure_count += 1
            limit = self._failure_limit
            if limit is not None and schedule.failure_count >= limit:
                schedule.status = "failed"
                self.log_schedule("schedule failed", schedule)
        self._skip_missed(schedule)

    def _skip_missed(self, schedule: Schedule) -> None:
        """Queue the next start if the time of the current one has passed."""
        if schedule.start_at <= self.now:
            self._set_next_start(schedule)

    def _set_next_start(self, schedule: Schedule) -> None:
        schedule.start_at = next_start(
            schedule.first_start_at, schedule.period, schedule.duration, self.now
        )
        self._arm(schedule)
