"""Health of a server: the problems of its reads, backups and schedules at one moment.

Each check mirrors an alert in ``deploy/prometheus/backups.rules.yml``, guard by guard.
Alerts also use the history of metrics, which is not available here: docs/alerts.md
lists the differences.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec

from ..clock import Now
from ..model.entities import DISK, VIRTUAL_MACHINE, Schedule, Target
from ..model.store import PanelStore, ServerEntry, ServerState
from .conditions import (
    AWAITED,
    DATA_OLD,
    DATA_OLD_INTERVALS,
    DATA_OLD_SECONDS,
    DISK_UNPROTECTED,
    FAILED,
    FINE,
    INTERVAL_UNKNOWN,
    LOCKED,
    LOCKED_SECONDS,
    NEW,
    NEW_INTERVAL_MIN_SECONDS,
    NEW_INTERVALS,
    NEW_SECONDS,
    NOT_READ,
    NOT_REQUIRED,
    POLL_FAILING,
    QUEUE_ALLOWANCE_SECONDS,
    SCHEDULE_FAILED,
    SCHEDULE_OVERDUE,
    SCHEDULE_OVERDUE_SECONDS,
    SERVER_CONDITION_RANK,
    STALE,
    STALE_INTERVALS,
    STUCK,
    STUCK_LONG,
    STUCK_LONG_SECONDS,
    STUCK_SECONDS,
    SUSPENDED,
    UNPROTECTED,
    UNSCHEDULED,
    VERY_STALE,
    VERY_STALE_INTERVALS,
    Condition,
    Problem,
)
from .targets import (
    HISTORY,
    BackupSummary,
    Interval,
    TargetSummary,
    backup_required,
    last_failed_at,
)

_NEVER = float("-inf")


class ServerHealth(msgspec.Struct, frozen=True, gc=False):
    """The worst condition of a server, and its problems, worst first."""

    condition: Condition
    problems: tuple[Problem, ...] = ()


_FINE, _SUSPENDED = ServerHealth(FINE), ServerHealth(SUSPENDED)
_NOT_REQUIRED = ServerHealth(NOT_REQUIRED)
UNRESOLVED = ServerHealth(DATA_OLD, (Problem(DATA_OLD),))
"""Health of a configured identifier that matches no known server."""


def judge_server(
    panel: PanelStore, entry: ServerEntry, summary: BackupSummary | None, now: Now
) -> ServerHealth:
    """Return the health of a server; ``summary`` is None without fresh backups."""
    state = entry.state
    if state.server is not None and state.server.suspended:
        return _SUSPENDED
    problems = [
        *_read_problems(panel, entry, now),
        *judge_schedules(panel, entry, summary, now),
    ]
    if summary is not None and not _is_fine(state, summary, now.time):
        problems += _HealthCheck(state, summary, now.time).problems()
    if problems:
        problems.sort(key=lambda problem: SERVER_CONDITION_RANK[problem.condition])
        return ServerHealth(problems[0].condition, tuple(problems))
    return _NOT_REQUIRED if backup_required(state) is False else _FINE


def _read_problems(
    panel: PanelStore, entry: ServerEntry, now: Now
) -> Iterator[Problem]:
    """Check whether the server's backups are read, successfully and recently."""
    if entry.failing is None and entry.read_at is None:
        yield Problem(NOT_READ)
        return
    poll_failing = entry.failing is not False or not panel.is_fresh(
        entry, now.monotonic
    )
    max_age_seconds = DATA_OLD_INTERVALS * panel.interval_seconds + DATA_OLD_SECONDS
    if entry.read_at is None or now.time - entry.read_at > max_age_seconds:
        yield Problem(DATA_OLD, since=entry.read_at)
    elif poll_failing:
        yield Problem(POLL_FAILING, since=entry.read_at)


def _is_fine(state: ServerState, summary: BackupSummary, time: float) -> bool:
    """Return whether no check can fail: a cheap test that most servers pass."""
    if state.failed_backups or not summary.targets:
        return False
    for target in summary.targets:
        interval, success_at = target.expected_interval, target.last_success_at
        if (
            interval is None
            or success_at is None
            or time - success_at
            > STALE_INTERVALS * interval.seconds + QUEUE_ALLOWANCE_SECONDS
            or target.oldest_pending_at is not None
            or target.oldest_locked_at is not None
        ):
            return False
    return True


@dataclass(slots=True)
class _HealthCheck:
    """The checks of one server's backups at one moment."""

    state: ServerState
    summary: BackupSummary
    time: float

    def problems(self) -> Iterator[Problem]:
        """Yield all problems, in no particular order."""
        server_problems = list(self._unprotected()) if self.summary.built == 0 else []
        yield from server_problems
        unprotected_disks = self._unprotected_disks()
        if not server_problems:
            yield from self._interval_unknown(unprotected_disks)
        for target in self.summary.targets:
            if target.target in unprotected_disks:
                yield from self._disk_unprotected(target)
            elif target.expected_interval is not None:
                yield from self._stale(target, target.expected_interval)
            pending_since = target.oldest_pending_at
            if pending_since is not None:
                yield from self._stuck(target, pending_since)
            if target.oldest_locked_at is not None:
                yield from self._locked(target, target.oldest_locked_at)
        if self.state.failed_backups:
            yield from self._failed()

    def _unprotected(self) -> Iterator[Problem]:
        """Check a server without a restore point; its first run may be yet to start."""
        required = backup_required(self.state)
        if self.summary.last_success_at is not None or required is False:
            return
        if self._is_new():
            yield Problem(NEW)
            return
        if required is None:
            if any(t.expected_interval is not None for t in self.summary.targets):
                yield Problem(AWAITED, since=self._next_start(None))
            return
        marked_for_delete = any(
            target.marked_for_delete for target in self.summary.targets
        )
        next_start = None if marked_for_delete else self._next_start(None)
        yield (
            Problem(UNPROTECTED)
            if next_start is None
            else Problem(AWAITED, since=next_start)
        )

    def _interval_unknown(self, unprotected_disks: set[Target]) -> Iterator[Problem]:
        """Find targets that no source gives an expected interval for."""
        targets, schedules = self.summary.targets, self.state.schedules or ()
        expected = {t.target.type for t in targets if t.expected_interval is not None}
        if VIRTUAL_MACHINE in expected or backup_required(self.state) is False:
            return
        # Schedules that are all disabled or failed are problems of their own.
        enabled = {s.target for s in schedules if s.enabled}
        not_enabled = {s.target for s in schedules} - enabled
        if not expected:
            yield from (
                () if not_enabled and not enabled else (Problem(INTERVAL_UNKNOWN),)
            )
            return
        settled = {
            t.target for t in targets if t.expected_interval is not None or t.obsolete
        }
        for target in targets:
            if (
                target.target.type == DISK
                and target.target not in settled | unprotected_disks | not_enabled
            ):
                yield Problem(INTERVAL_UNKNOWN, target.target)

    def _unprotected_disks(self) -> set[Target]:
        """Return disks without backups of a server whose other disks have some.

        Empty if the server is backed up as a whole: such a backup is expected, or is
        newer than the last one of a disk.
        """
        targets = self.summary.targets
        disks = {t.target for t in targets if t.built == 0 and t.target.type == DISK}
        if not disks or not backup_required(self.state):
            return set()
        if not any(t.built and t.target.type == DISK for t in targets):
            return set()
        expected = any(
            target.expected_interval is not None
            for target in targets
            if target.target.type == VIRTUAL_MACHINE
        )
        server_backup_at, disk_backup_at = (
            self._last_success_at(VIRTUAL_MACHINE),
            self._last_success_at(DISK),
        )
        return (
            set() if expected or server_backup_at > disk_backup_at > _NEVER else disks
        )

    def _disk_unprotected(self, disk: TargetSummary) -> Iterator[Problem]:
        next_start = self._next_start(disk)
        if self._is_new():
            yield Problem(NEW, disk.target)
        elif next_start is None:
            yield Problem(DISK_UNPROTECTED, disk.target)
        else:
            yield Problem(AWAITED, disk.target, next_start)

    def _stale(self, target: TargetSummary, interval: Interval) -> Iterator[Problem]:
        """Check the age of a target's last success, or for how long it has had none."""
        since = target.last_success_at
        if since is None:
            if self.summary.last_success_at is None:
                if target.built:  # the panel does not say when
                    yield Problem(INTERVAL_UNKNOWN, target.target)
                return  # without any backup, the server is unprotected
            since = target.oldest_unbuilt_at
        seconds = 0.0 if since is None else self.time - since
        from_history = interval.source == HISTORY
        if (
            seconds > VERY_STALE_INTERVALS * interval.seconds + QUEUE_ALLOWANCE_SECONDS
            and not from_history
        ):
            yield Problem(VERY_STALE, target.target, since)
        elif seconds > STALE_INTERVALS * interval.seconds + QUEUE_ALLOWANCE_SECONDS:
            yield Problem(STALE, target.target, since)
        elif target.last_success_at is None:
            condition = NEW if self._is_new() else AWAITED
            yield Problem(condition, target.target, self._next_start(target))

    def _stuck(self, target: TargetSummary, pending_since: float) -> Iterator[Problem]:
        """Check a backup in progress; one of a superseded disk blocks nothing."""
        if self.time - pending_since <= STUCK_SECONDS:
            return
        if not self._is_superseded(target, pending_since):
            stuck_long = self.time - pending_since > STUCK_LONG_SECONDS
            yield Problem(
                STUCK_LONG if stuck_long else STUCK, target.target, pending_since
            )

    def _has_failed(self, target: TargetSummary) -> bool:
        failed_at, success_at = target.last_failed_at, target.last_success_at
        if failed_at is None or (success_at is not None and failed_at <= success_at):
            return False
        return not self._is_superseded(target, failed_at)

    def _failed(self) -> Iterator[Problem]:
        """Check failed backup runs of targets, else the last of unknown target."""
        failed = [t for t in self.summary.targets if self._has_failed(t)]
        for target in failed:
            yield Problem(FAILED, target.target, target.last_failed_at)
        failed_at = last_failed_at(self.state)
        if failed or failed_at is None:
            return
        success_at = self.summary.last_success_at
        if success_at is None or failed_at > success_at:
            yield Problem(FAILED, since=failed_at)

    def _locked(self, target: TargetSummary, since: float) -> Iterator[Problem]:
        if self.time - since > LOCKED_SECONDS:
            yield Problem(LOCKED, target.target, since)

    def _is_superseded(self, target: TargetSummary, at: float) -> bool:
        """Return whether backups of the whole server have replaced the disk's since."""
        return (
            target.target.type == DISK
            and target.expected_interval is None
            and at < self._last_success_at(VIRTUAL_MACHINE)
        )

    def _last_success_at(self, target_type: str) -> float:
        """Return the newest success of all targets of a type."""
        return max(
            (
                target.last_success_at
                for target in self.summary.targets
                if target.target.type == target_type
                and target.last_success_at is not None
            ),
            default=_NEVER,
        )

    def _is_new(self) -> bool:
        server = self.state.server
        if server is None or server.created_at is None:
            return False
        intervals = (
            target.expected_interval.seconds
            for target in self.summary.targets
            if target.expected_interval is not None
            and target.expected_interval.seconds > NEW_INTERVAL_MIN_SECONDS
        )
        shortest = min(intervals, default=0.0)
        max_age_seconds = max(NEW_SECONDS, NEW_INTERVALS * shortest)
        return server.created_at > self.time - max_age_seconds

    def _next_start(self, target: TargetSummary | None) -> float | None:
        """Return the next scheduled start of a target, or of the server if None."""
        return min(
            (
                schedule.next_start_at
                for schedule in self.state.schedules or ()
                if schedule.enabled
                and schedule.next_start_at is not None
                and schedule.next_start_at > self.time
                and (target is None or schedule.target == target.target)
            ),
            default=None,
        )


def judge_schedules(
    panel: PanelStore, entry: ServerEntry, summary: BackupSummary | None, now: Now
) -> Iterator[Problem]:
    """Check whether schedules are enabled and start backups on time."""
    schedules = entry.state.schedules or ()
    yield from _unscheduled(entry.state, schedules, summary, now)
    if all(_is_on_time(schedule, now) for schedule in schedules):
        return
    for schedule in schedules:
        if schedule.status == "failed":
            yield Problem(SCHEDULE_FAILED, schedule.target, about=str(schedule.id))
    up_to_date = panel.is_fresh(entry, now.monotonic) and entry.failing is False
    if entry.failing is None or up_to_date:
        in_progress = {
            target.target
            for target in (() if summary is None else summary.targets)
            if target.oldest_pending_at is not None
        }
        for problem in overdue_schedules(panel, schedules, now):
            if problem.target not in in_progress:
                yield problem


def _is_on_time(schedule: Schedule, now: Now) -> bool:
    """Return whether no check can fail: a cheap test that most schedules pass."""
    start = schedule.next_start_at
    return schedule.status == "enabled" and (start is None or start >= now.time)


def overdue_schedules(
    panel: PanelStore, schedules: Iterable[Schedule], now: Now
) -> Iterator[Problem]:
    """Find schedules whose start was overdue when the inventory was last read.

    Schedules are read as often as the inventory: later starts are not known yet.
    """
    read_at = now.time if panel.inventory_read_at is None else panel.inventory_read_at
    for schedule in schedules:
        start = schedule.next_start_at if schedule.enabled else None
        if (
            start is None
            or start >= now.time
            or read_at - start <= SCHEDULE_OVERDUE_SECONDS
        ):
            continue
        yield Problem(SCHEDULE_OVERDUE, schedule.target, start, str(schedule.id))


def _unscheduled(
    state: ServerState,
    schedules: tuple[Schedule, ...],
    summary: BackupSummary | None,
    now: Now,
) -> Iterator[Problem]:
    """Find targets whose schedules are disabled or deleted, and that no other covers.

    A deleted one shows when its next backup is late.
    """
    unscheduled = {
        target.target: Problem(UNSCHEDULED, target.target, target.last_success_at)
        for target in (() if summary is None else summary.targets)
        if target.schedule_deleted_from is not None
        and now.time > target.schedule_deleted_from
    }
    unscheduled |= {
        s.target: Problem(UNSCHEDULED, s.target, about=str(s.id))
        for s in schedules
        if s.status == "disabled"
    }
    if not unscheduled or state.expectation.backup_required is False:
        return
    enabled = {s.target for s in schedules if s.enabled}
    covered = enabled | {s.target for s in schedules if s.status == "failed"}
    if any(target.type == VIRTUAL_MACHINE for target in enabled):
        return
    for target, problem in unscheduled.items():
        disks_scheduled = target.type == VIRTUAL_MACHINE and bool(enabled)
        if target not in covered and not disks_scheduled:
            yield problem
