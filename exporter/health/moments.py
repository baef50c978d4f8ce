"""Moments: the time from which each condition of a server or a target holds.

They are computed from facts with times of the panel, so that restarts, replicas and
shards do not change them. Changes without a recorded time (a schedule enabled again, a
shortened interval, the end of a suspension) count from when this process saw them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import inf

from ..model.entities import (
    DISK,
    RECOVERY_POINTS,
    VIRTUAL_MACHINE,
    Schedule,
    Target,
)
from ..model.store import NO_SERVER, ServerState
from .conditions import (
    DISK_UNPROTECTED,
    FAILED,
    FIRST_START_SECONDS,
    LOCKED,
    LOCKED_SECONDS,
    NEW_INTERVALS,
    NEW_SECONDS,
    QUEUE_ALLOWANCE_SECONDS,
    SCHEDULE_FAILED,
    SCHEDULE_FAILING,
    SCHEDULE_FAILING_SECONDS,
    SCHEDULE_OVERDUE,
    SCHEDULE_OVERDUE_SECONDS,
    STALENESS,
    STUCK,
    STUCK_LONG,
    STUCK_LONG_SECONDS,
    STUCK_SECONDS,
    UNPROTECTED,
    UNSCHEDULED,
    UNSCHEDULED_PERIODS,
    VERY_STALE,
    Moment,
)
from .targets import (
    HISTORY,
    SCHEDULE,
    BackupSummary,
    TargetSummary,
    backup_required,
    complete_schedules,
    last_schedules,
    latest,
    least,
    scheduled_targets,
)

_STUCK = ((STUCK, STUCK_SECONDS), (STUCK_LONG, STUCK_LONG_SECONDS))


def foresee(
    state: ServerState,
    summary: BackupSummary | None,
    schedules_read_at: float | None,
) -> tuple[Moment, ...]:
    """Return when each condition of a server starts to hold; it is not suspended.

    ``summary`` is None without fresh backups, ``schedules_read_at`` a Unix time.
    """
    moments = list(_schedule_moments(state, summary, schedules_read_at))
    moments += _unscheduled(state, summary)
    if summary is not None:
        moments += _server_moments(state, summary)
        for target in summary.targets:
            if not target.obsolete:
                moments += _target_moments(state, summary, target)
    return tuple(moments)


def next_overdue_at(
    state: ServerState, summary: BackupSummary | None, read_at: float
) -> float:
    """Return the time after which a read of schedules may find another one overdue."""
    targets = {} if summary is None else {t.target: t for t in summary.targets}
    limits = (
        max(at, _last_end_at(targets.get(schedule.target)))
        for schedule in state.schedules or ()
        if (at := _overdue_limit(state, schedule)) is not None
    )
    return min((at for at in limits if at >= read_at), default=inf)


# Schedules


def _schedule_moments(
    state: ServerState, summary: BackupSummary | None, read_at: float | None
) -> Iterator[Moment]:
    targets = {} if summary is None else {t.target: t for t in summary.targets}
    for schedule in state.schedules or ():
        target = targets.get(schedule.target)
        if (target is not None and target.obsolete) or state.is_deleted_disk(
            schedule.target
        ):
            continue
        if schedule.status == "failed":
            since = _failed_since(state, schedule)
            yield Moment(SCHEDULE_FAILED, since, schedule.target, schedule.id)
        for condition, at in (
            (SCHEDULE_FAILING, _failing_at(state, schedule, target)),
            (SCHEDULE_OVERDUE, _overdue_at(state, schedule, target, read_at)),
        ):
            if at is not None:
                yield Moment(condition, at, schedule.target, schedule.id)


def _failed_since(state: ServerState, schedule: Schedule) -> float | None:
    """Return since when a schedule is marked as failed; None: unknown."""
    # A failed schedule does not run, so no run has changed it since.
    times = (schedule.updated_at, schedule.created_at, state.first_read_at)
    return next((time for time in times if time is not None), None)


def _failing_at(
    state: ServerState, schedule: Schedule, target: TargetSummary | None
) -> float | None:
    """Return when the failures of a schedule have lasted too long."""
    if target is None or not schedule.enabled:
        return None
    success_at = target.last_success_at
    if schedule.ran:
        newer = (at for at in schedule.failed_runs if at > (success_at or -inf))
        first_at = next(newer, None)
    else:
        waited_from = _waited_from(state, target)
        interval = schedule.interval_seconds
        if not schedule.failure_count or waited_from is None or interval is None:
            return None
        first_at = max(
            waited_from, state.resumed_at or -inf, schedule.changed_at or -inf
        )
        first_at += interval
    if first_at is None:
        return None
    return max(first_at, state.resumed_at or -inf) + SCHEDULE_FAILING_SECONDS


def _overdue_at(
    state: ServerState,
    schedule: Schedule,
    target: TargetSummary | None,
    read_at: float | None,
) -> float | None:
    """Return since when a start is overdue; None unless a later read still lists it."""
    at = _overdue_limit(state, schedule)
    if at is None or read_at is None or read_at <= at:
        return None
    if state.backups is None or target is None:
        # Without a known server no run can be pending; otherwise that must be known.
        return at if state.server is None and state.first_read_at is None else None
    # A run that has ended since then may have moved the start.
    if target.oldest_pending_at is not None or read_at < _last_end_at(target):
        return None
    return at


def _last_end_at(target: TargetSummary | None) -> float:
    """Return when the last run of a target ended; minus infinity: unknown."""
    times = () if target is None else (target.last_success_at, target.last_failed_at)
    ended_at = latest(times)
    return -inf if ended_at is None else ended_at


def _overdue_limit(state: ServerState, schedule: Schedule) -> float | None:
    start = schedule.next_start_at if schedule.enabled else None
    if start is None:
        return None
    since = max(start, state.resumed_at or -inf, schedule.changed_at or -inf)
    return since + SCHEDULE_OVERDUE_SECONDS


def _unscheduled(state: ServerState, summary: BackupSummary | None) -> Iterator[Moment]:
    """Yield moments of targets that have only disabled or deleted schedules.

    Targets that another schedule covers are left out. A deleted schedule is noticed
    when its next backup is missing.
    """
    schedules = state.schedules or ()
    if state.expectation.backup_required is False or state.vm_id == NO_SERVER:
        return
    enabled = scheduled_targets(state)
    covered = enabled | {s.target for s in schedules if s.status == "failed"}
    if any(target.type == VIRTUAL_MACHINE for target in enabled):
        return
    targets = {} if summary is None else {t.target: t for t in summary.targets}
    for target in sorted(targets.keys() | {each.target for each in schedules}):
        known = targets.get(target)
        if (
            target in covered
            or (target.type == VIRTUAL_MACHINE and enabled)
            or (known is not None and known.obsolete)
            or state.is_deleted_disk(target)
        ):
            continue
        at = _unscheduled_at(state, target, known)
        if at is not None:
            yield Moment(UNSCHEDULED, at, target)


def _unscheduled_at(
    state: ServerState, target: Target, known: TargetSummary | None
) -> float | None:
    own = [each for each in state.schedules or () if each.target == target]
    disabled = [schedule for schedule in own if schedule.status == "disabled"]
    if not disabled and (own or complete_schedules(state) is None):
        return None  # a status is unknown, or there may be other schedules
    times = (
        latest(schedule.updated_at for schedule in disabled),
        None if known is None else _next_backup_missing_at(known),
        latest(schedule.created_at for schedule in disabled),
    )
    return next((time for time in times if time is not None), None)


def _next_backup_missing_at(target: TargetSummary) -> float | None:
    """Return when the next backup is missing, by the schedule of the last one."""
    period = target.scheduled_period_seconds
    if target.last_success_at is None or period is None:
        return None
    return target.last_success_at + UNSCHEDULED_PERIODS * period


# Backups


def _server_moments(state: ServerState, summary: BackupSummary) -> Iterator[Moment]:
    at = _unprotected_at(state, summary)
    if at is not None:
        yield Moment(UNPROTECTED, at)
    failed_at = latest(
        ended.failed_at
        for ended in state.failed_backups
        if ended.target is None and not ended.cancelled
    )
    if failed_at is None or failed_at <= (summary.last_success_at or -inf):
        return
    # Each failure is reported once.
    if not any(_failed_since_success(t) for t in summary.targets if not t.obsolete):
        yield Moment(FAILED, failed_at)


def _target_moments(
    state: ServerState, summary: BackupSummary, target: TargetSummary
) -> Iterator[Moment]:
    own = target.target
    at = _disk_unprotected_at(state, summary, target)
    if at is not None:
        yield Moment(DISK_UNPROTECTED, at, own)
    for condition, intervals in STALENESS.items():
        at = _stale_at(state, target, intervals)
        guessed = (
            target.expected_interval is not None
            and target.expected_interval.source == HISTORY
        )
        if at is not None and not (guessed and condition is VERY_STALE):
            yield Moment(condition, at, own)
    pending_at = target.oldest_pending_at
    if pending_at is not None:
        for condition, seconds in _STUCK:
            since = max(pending_at, state.resumed_at or -inf)
            yield Moment(condition, since + seconds, own)
    if (failed_at := target.last_failed_at) and _failed_since_success(target):
        yield Moment(FAILED, failed_at, own)
    if target.oldest_locked_at is not None:
        yield Moment(LOCKED, target.oldest_locked_at + LOCKED_SECONDS, own)


def _failed_since_success(target: TargetSummary) -> bool:
    failed_at, success_at = target.last_failed_at, target.last_success_at
    return failed_at is not None and (success_at is None or failed_at > success_at)


def _waited_from(state: ServerState, target: TargetSummary) -> float | None:
    """Return the time from which the age of a target's backups is counted."""
    if target.last_success is not None:
        return target.last_success_at  # None: no built row has a date
    schedules = (s for s in _enabled(state) if s.target == target.target)
    came_to_be = latest(
        (
            state.created_at,
            _disk_created_at(state, target.target),
            least(schedule.created_at for schedule in schedules),
        )
    )
    return target.oldest_unbuilt_at if came_to_be is None else came_to_be


def _stale_at(
    state: ServerState, target: TargetSummary, intervals: float
) -> float | None:
    """Return when the last success is older than a number of expected intervals."""
    expected, waited_from = target.expected_interval, _waited_from(state, target)
    if expected is None or waited_from is None:
        return None
    # After a change that this process saw, the intervals count from that change.
    waits: Iterable[tuple[float, float | None]] = (
        (schedule.interval_seconds, schedule.changed_at)
        for schedule in _enabled(state)
        if schedule.target == target.target and schedule.interval_seconds is not None
    )
    if expected.source != SCHEDULE:
        waits = ((expected.seconds, state.interval_shortened_at),)
    since = max(waited_from, state.resumed_at or -inf)
    return QUEUE_ALLOWANCE_SECONDS + min(
        max(since, from_ or -inf) + intervals * seconds for seconds, from_ in waits
    )


def _unprotected_at(state: ServerState, summary: BackupSummary) -> float | None:
    """Return when a server without any restore point becomes unprotected."""
    if summary.built or summary.last_success_at is not None:
        return None
    if RECOVERY_POINTS in state.partial or not backup_required(state):
        return None
    if any(point.built for point in state.recovery_points or ()):
        return None  # the panel does not report when it was built
    return _first_backup_due_at(state, summary.targets, None, state.created_at)


def _disk_unprotected_at(
    state: ServerState, summary: BackupSummary, disk: TargetSummary
) -> float | None:
    """Return when a disk becomes unprotected while other disks have restore points.

    None if the server is backed up as a whole: such a backup is expected, or is newer
    than the last one of a disk.
    """
    if disk.target.type != DISK or disk.built or not backup_required(state):
        return None
    if not any(t.built and t.target.type == DISK for t in summary.targets):
        return None
    servers = [t for t in summary.targets if t.target.type == VIRTUAL_MACHINE]
    if any(target.expected_interval is not None for target in servers):
        return None
    server_at = latest(target.last_success_at for target in servers)
    disk_at = latest(
        t.last_success_at for t in summary.targets if t.target.type == DISK
    )
    if server_at is not None and disk_at is not None and server_at > disk_at:
        return None
    created_at = _disk_created_at(state, disk.target)
    if created_at is not None:
        created_at = latest((state.created_at, created_at))
    return _first_backup_due_at(state, (disk,), disk.target, created_at)


def _first_backup_due_at(
    state: ServerState,
    targets: Iterable[TargetSummary],
    target: Target | None,
    created_at: float | None,
) -> float | None:
    """Return when the first backup is late, by the age and by the first start."""
    since = latest(
        (state.first_read_at if created_at is None else created_at, state.resumed_at)
    )
    if since is None:
        return None
    intervals = (t.expected_interval for t in targets)
    shortest = min((i.seconds for i in intervals if i is not None), default=0.0)
    at = since + max(NEW_SECONDS, NEW_INTERVALS * shortest)
    first_start = least(
        _first_start_at(schedule, since)
        for schedule in last_schedules(state) or ()
        if schedule.enabled and (target is None or schedule.target == target)
    )
    return at if first_start is None else max(at, first_start + FIRST_START_SECONDS)


def _first_start_at(schedule: Schedule, since: float) -> float | None:
    """Return a schedule's first start, or its first after ``since`` if it has no date.

    With every run the panel moves the next start by one interval.
    """
    start, interval = schedule.next_start_at, schedule.interval_seconds
    if start is None or interval is None:
        return start
    known = latest((schedule.created_at, schedule.changed_at))
    began_at = since if known is None else known
    return start - max(0, (start - began_at) // interval) * interval


def _enabled(state: ServerState) -> Iterable[Schedule]:
    return (schedule for schedule in state.schedules or () if schedule.enabled)


def _disk_created_at(state: ServerState, target: Target) -> float | None:
    if target.type != DISK:
        return None
    disks = state.disks or state.last_disks or ()
    return least(disk.created_at for disk in disks if disk.id == target.id)
