"""When schedules start a backup, and what keeps them from it."""

from functools import partial
from typing import Literal

from .backup_runs import Outcome, Takes
from .database import Inventory
from .failures import Misfortunes
from .rows import EventKind, Schedule, ScheduleStatus, Server
from .time import Period, next_start

StartMoves = Literal["end", "begin"]
"""Whether a panel shows the next start when a backup has ended or has begun."""

_FAILURE_LOG = "Backup node 10.200.7.31 refused\n"


class Timetable:
    """Starts the takes that are due and keeps the schedules' books."""

    def __init__(
        self,
        register: Inventory,
        misfortunes: Misfortunes,
        start_moves: StartMoves,
        failure_limit: int | None,
    ) -> None:
        """Begin empty; a schedule that failed too often is given up."""
        self.takes: Takes
        self._register = register
        self._misfortunes = misfortunes
        self._start_moves = start_moves
        self._failure_limit = failure_limit

    def arm(self, schedule: Schedule) -> None:
        """See to it that the next start happens."""
        action = partial(self._due, schedule.id)
        self._register.agenda.at(schedule.start_at, action)

    def change(
        self,
        schedule: Schedule,
        status: ScheduleStatus | None,
        period: Period | None,
        duration: int | None,
        start_at: float | None,
    ) -> None:
        """Change a schedule as its owner may."""
        schedule.status = status or schedule.status
        schedule.period = period or schedule.period
        schedule.duration = duration or schedule.duration
        schedule.updated_at = self._register.now
        if start_at is not None:
            schedule.start_at = schedule.anchor = float(start_at)
            self.arm(schedule)
        elif schedule.current is None:
            self._move_on(schedule)

    def ended(self, schedule: Schedule, outcome: Outcome) -> None:
        """Book the end of a take, and be ready for the next start."""
        if schedule.id not in self._register.schedules:
            return
        schedule.updated_at = self._register.now
        if outcome == "finish":
            self._register.log_start(schedule, "complete", "")
        else:
            self._register.log_start(schedule, "failed", _FAILURE_LOG)
            self._count_failure(schedule)
        self.skip_missed(schedule)

    def skip_missed(self, schedule: Schedule) -> None:
        """Turn to the next start, when the last one has passed."""
        if schedule.start_at <= self._register.now:
            self._move_on(schedule)

    def rearm_overdue(self) -> None:
        """Start now what a stall had kept from starting."""
        for schedule in self._register.schedules.values():
            if schedule.start_at <= self._register.now:
                self.arm(schedule)

    def _due(self, number: int) -> None:
        schedule = self._register.schedules.get(number)
        if schedule is None or not self._may_start(schedule):
            return
        server = self._register.owner_of(schedule.target)
        if server is not None:
            self._start(schedule, server)

    def _may_start(self, schedule: Schedule) -> bool:
        """Refuse a start that was moved, switched off or blocked by its forerunner."""
        return (
            schedule.status == "enabled"
            and schedule.current is None
            and schedule.start_at <= self._register.now
        )

    def _start(self, schedule: Schedule, server: Server) -> None:
        key = (server.id, schedule.target, schedule.id)
        if self._misfortunes.strike("stall", *key):
            self._note("start stalled", schedule)
        elif server.suspended or self._misfortunes.strike("skip", *key):
            self._note("start skipped", schedule)
            self._move_on(schedule)
        else:
            self.takes.begin(server, schedule.target, schedule)
            if self._start_moves == "begin":
                self._move_on(schedule)

    def _move_on(self, schedule: Schedule) -> None:
        schedule.start_at = next_start(
            schedule.anchor, schedule.period, schedule.duration, self._register.now
        )
        self.arm(schedule)

    def _count_failure(self, schedule: Schedule) -> None:
        schedule.failure_count += 1
        limit = self._failure_limit
        if limit is not None and schedule.failure_count >= limit:
            schedule.status = "failed"
            self._note("schedule failed", schedule)

    def _note(self, kind: EventKind, schedule: Schedule) -> None:
        server = self._register.owner_of(schedule.target)
        number = server.id if server else None
        self._register.note(kind, number, schedule.target, row_id=schedule.id)
