"""The scheduler: when schedules start a backup, and what prevents a start."""

from functools import partial
from typing import Literal

from .backup_runs import BackupQueue, Outcome
from .database import Database
from .failures import Failures
from .rows import EventKind, Schedule, ScheduleStatus, Server
from .time import Period, next_start

StartUpdate = Literal["end", "begin"]
"""Whether the next start is shown once a backup has ended, or once it has begun."""

_FAILURE_LOG = "Backup node 10.200.7.31 refused\n"


class Scheduler:
    """Starts the backups that are due, and updates the schedules."""

    def __init__(
        self,
        database: Database,
        failures: Failures,
        start_update: StartUpdate,
        failure_limit: int | None,
    ) -> None:
        """Begin empty; `failure_limit` failures mark a schedule as failed."""
        self.backup_queue: BackupQueue
        self._database = database
        self._failures = failures
        self._start_update = start_update
        self._failure_limit = failure_limit

    def arm(self, schedule: Schedule) -> None:
        """Queue the next start of a schedule."""
        action = partial(self._run_due, schedule.id)
        self._database.event_queue.call_at(schedule.start_at, action)

    def change(
        self,
        schedule: Schedule,
        status: ScheduleStatus | None,
        period: Period | None,
        duration: int | None,
        start_at: float | None,
    ) -> None:
        """Change a schedule; None leaves a field as it is."""
        schedule.status = status or schedule.status
        schedule.period = period or schedule.period
        schedule.duration = duration or schedule.duration
        schedule.updated_at = self._database.now
        if start_at is not None:
            schedule.start_at = schedule.first_start_at = float(start_at)
            self.arm(schedule)
        elif schedule.current_backup_id is None:
            self._set_next_start(schedule)

    def backup_ended(self, schedule: Schedule, outcome: Outcome) -> None:
        """Record the end of a backup run, and queue the next start."""
        if schedule.id not in self._database.schedules:
            return
        schedule.updated_at = self._database.now
        if outcome == "finish":
            self._database.log_start(schedule, "complete", "")
        else:
            self._database.log_start(schedule, "failed", _FAILURE_LOG)
            self._count_failure(schedule)
        self.skip_missed(schedule)

    def skip_missed(self, schedule: Schedule) -> None:
        """Queue the next start, if the current one has passed."""
        if schedule.start_at <= self._database.now:
            self._set_next_start(schedule)

    def rearm_overdue(self) -> None:
        """Start now what a stall prevented."""
        for schedule in self._database.schedules.values():
            if schedule.start_at <= self._database.now:
                self.arm(schedule)

    def _run_due(self, number: int) -> None:
        schedule = self._database.schedules.get(number)
        if schedule is None or not self._may_start(schedule):
            return
        server = self._database.owner_of(schedule.target)
        if server is not None:
            self._start(schedule, server)

    def _may_start(self, schedule: Schedule) -> bool:
        """Return whether a schedule is enabled, due, and its last backup has ended."""
        return (
            schedule.status == "enabled"
            and schedule.current_backup_id is None
            and schedule.start_at <= self._database.now
        )

    def _start(self, schedule: Schedule, server: Server) -> None:
        key = (server.id, schedule.target, schedule.id)
        if self._failures.apply("stall", *key):
            self._log("start stalled", schedule)
        elif server.suspended or self._failures.apply("skip", *key):
            self._log("start skipped", schedule)
            self._set_next_start(schedule)
        else:
            self.backup_queue.enqueue(server, schedule.target, schedule)
            if self._start_update == "begin":
                self._set_next_start(schedule)

    def _set_next_start(self, schedule: Schedule) -> None:
        schedule.start_at = next_start(
            schedule.first_start_at,
            schedule.period,
            schedule.duration,
            self._database.now,
        )
        self.arm(schedule)

    def _count_failure(self, schedule: Schedule) -> None:
        schedule.failure_count += 1
        limit = self._failure_limit
        if limit is not None and schedule.failure_count >= limit:
            schedule.status = "failed"
            self._log("schedule failed", schedule)

    def _log(self, kind: EventKind, schedule: Schedule) -> None:
        server = self._database.owner_of(schedule.target)
        number = server.id if server else None
        self._database.log_event(kind, number, schedule.target, row_id=schedule.id)
