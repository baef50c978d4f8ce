"""What a server's backups mean: last success, counts and expectation per target.

Pure functions over values. The question "when did a good restore point last
complete?" is one per target: a server with two disks can have one good and one stale.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from operator import attrgetter

import msgspec

from ..model.entities import (
    DISK,
    DISKS,
    MANUAL,
    PERIOD_SECONDS,
    SCHEDULES,
    VIRTUAL_MACHINE,
    Backup,
    Disk,
    Schedule,
    Target,
)
from ..model.store import NO_SERVER, ServerState

CONFIG = "config"
SCHEDULE = "schedule"
HISTORY = "history"
FALLBACK = "fallback"


class Interval(msgspec.Struct, frozen=True, gc=False):
    """How often a target's backups are expected, and who says so."""

    seconds: float
    source: str


class TargetSummary(msgspec.Struct, frozen=True, gc=False):
    """What one target's backups say; a target may have none."""

    target: Target
    last_success: Backup | None
    """The newest built backup that is not marked for delete."""
    last_success_at: float | None
    """When the last good restore point was complete."""
    built: int
    unbuilt: int
    locked: int
    marked_for_delete: int
    oldest_unbuilt_at: float | None
    oldest_locked_at: float | None
    """When the oldest locked row was complete: it is locked no longer than that."""
    oldest_pending_at: float | None
    """Of those rows only that are not left over, which may stay for ever."""
    expected_interval: Interval | None
    last_failed_at: float | None
    over: bool
    """Nothing more is to be expected of it: a disk that is gone, or was replaced."""

    @property
    def last_success_seconds(self) -> float | None:
        """Return how long the last success took, its time in the queue included."""
        return None if self.last_success is None else _seconds_taken(self.last_success)


class BackupSummary(msgspec.Struct, frozen=True, gc=False):
    """What all backups of one server say."""

    targets: tuple[TargetSummary, ...]
    built: int
    unbuilt: int
    size_bytes: int | None
    """All rows together, those marked for delete too: the space they take."""
    last_success_at: float | None
    """Of the newest restore point, a plugin's too."""


def completed_at(backup: Backup) -> float | None:
    """Return when a built backup was complete, or a moment surely before that."""
    return backup.created_at if backup.built_at is None else backup.built_at


def judge(knowledge: ServerState) -> BackupSummary:
    """Judge what is known of one server; its backups must have been read."""
    backups = knowledge.backups or ()
    by_target = attrgetter("target")
    rows = {
        target: tuple(group)
        for target, group in groupby(sorted(backups, key=by_target), key=by_target)
    }
    whole_server_at = _whole_server_at(knowledge, backups)
    targets = tuple(
        _judge_target(knowledge, target, rows.get(target, ()), whole_server_at)
        for target in sorted({*rows, *_protectable(knowledge, whole_server_at)})
    )
    points = knowledge.recovery_points or ()
    moments = [point.created_at for point in points if point.built]
    return BackupSummary(
        targets=targets,
        built=sum(target.built for target in targets),
        unbuilt=sum(target.unbuilt for target in targets),
        size_bytes=_total(backup.size_bytes for backup in backups),
        last_success_at=_latest((*(t.last_success_at for t in targets), *moments)),
    )


def backup_required(knowledge: ServerState) -> bool | None:
    """Tell whether a server must have backups; None: nothing tells."""
    configured = knowledge.expectation.backup_required
    if configured is not None or knowledge.vm_id == NO_SERVER:
        return configured
    disks = knowledge.disks or ()
    if knowledge.schedules or any(disk.has_autobackups for disk in disks):
        return True
    lists = _every_schedule(knowledge), _every_disk(knowledge)
    return None if None in lists else False


def last_failed_at(knowledge: ServerState) -> float | None:
    """Return when the taking of a backup of the server last failed."""
    return _latest(take.failed_at for take in knowledge.failed_backups)


def _judge_target(
    knowledge: ServerState,
    target: Target,
    backups: tuple[Backup, ...],
    whole_server_at: float,
) -> TargetSummary:
    counted = [backup for backup in backups if not backup.marked_for_delete]
    unbuilt = [backup for backup in counted if not backup.built]
    waiting_since = [b.created_at for b in unbuilt if b.created_at is not None]
    last_success = max(
        _restore_points(backups),
        key=lambda backup: (completed_at(backup) or 0.0, backup.id),
        default=None,
    )
    success_at = None if last_success is None else completed_at(last_success)
    failed_at = _latest(
        take.failed_at for take in knowledge.failed_backups if take.target == target
    )
    over = _is_over(knowledge, target, superseded=whole_server_at > (success_at or 0.0))
    return TargetSummary(
        target=target,
        last_success=last_success,
        last_success_at=success_at,
        built=len(counted) - len(unbuilt),
        unbuilt=len(unbuilt),
        locked=sum(backup.locked for backup in backups),
        marked_for_delete=len(backups) - len(counted),
        oldest_unbuilt_at=min(waiting_since, default=None),
        oldest_pending_at=min(
            (at for at in waiting_since if not _has_ended(at, last_success, failed_at)),
            default=None,
        ),
        oldest_locked_at=min(
            (completed_at(b) or 0.0 for b in backups if b.locked), default=None
        ),
        expected_interval=None if over else _expected(knowledge, target, backups),
        last_failed_at=failed_at,
        over=over,
    )


def _seconds_taken(backup: Backup) -> float | None:
    if backup.built_at is None or backup.created_at is None:
        return None
    seconds = backup.built_at - backup.created_at
    return seconds if seconds >= 0 else None


def _has_ended(
    created_at: float, last_success: Backup | None, failed_at: float | None
) -> bool:
    """Tell whether an unbuilt row is left over: it failed, or a later one was built."""
    if failed_at is not None and failed_at >= created_at:
        return True
    if last_success is None or _seconds_taken(last_success) is None:
        return False
    return (last_success.created_at or 0.0) > created_at


def _every_schedule(knowledge: ServerState) -> tuple[Schedule, ...] | None:
    """Return the schedules, if there are certainly no more than these."""
    return None if SCHEDULES in knowledge.partial else knowledge.schedules


def _every_disk(knowledge: ServerState) -> tuple[Disk, ...] | None:
    """Return the disks, if there are certainly no more than these."""
    # No server is without disks: with an empty list the role may not see them.
    return None if DISKS in knowledge.partial else knowledge.disks or None


def _protectable(knowledge: ServerState, whole_server_at: float) -> set[Target]:
    """Return what should or could have backups, whether or not it has any."""
    found = {t for t in _scheduled(knowledge) if not _is_gone(knowledge, t)}
    disks = knowledge.disks or ()
    if _on_normal_backups(knowledge, disks, whole_server_at):
        found |= {Target(DISK, disk.id) for disk in disks if not disk.is_swap}
    return found


def _scheduled(knowledge: ServerState) -> set[Target]:
    schedules = knowledge.schedules or ()
    return {schedule.target for schedule in schedules if schedule.enabled}


def _on_normal_backups(
    knowledge: ServerState, disks: Iterable[Disk], whole_server_at: float
) -> bool:
    """Tell whether a server's disks are backed up one by one.

    They no longer are when the server was backed up as a whole since, and no schedule
    asks for more of them: then all that they have is over.
    """
    if any(target.type == DISK for target in _scheduled(knowledge)):
        return True
    rows = [b for b in knowledge.backups or () if b.target.type == DISK]
    newest_at = max((completed_at(backup) or 0.0 for backup in rows), default=0.0)
    if whole_server_at > newest_at:
        return False
    schedules = knowledge.schedules or ()
    return (
        bool(rows)
        or any(schedule.target.type == DISK for schedule in schedules)
        or any(disk.has_autobackups for disk in disks)
    )


def _is_gone(knowledge: ServerState, target: Target) -> bool:
    """Tell whether a target is a disk that no longer exists."""
    disks = _every_disk(knowledge)
    if target.type != DISK or disks is None:
        return False
    return all(disk.id != target.id for disk in disks)


def _is_over(knowledge: ServerState, target: Target, *, superseded: bool) -> bool:
    """Tell whether nothing more is to be expected of a target.

    That is so for a disk that no longer exists, and for one without an enabled
    schedule whose server has a newer backup as a whole.
    """
    if target.type != DISK:
        return False
    return _is_gone(knowledge, target) or (
        superseded and target not in _scheduled(knowledge)
    )


def _whole_server_at(knowledge: ServerState, backups: Iterable[Backup]) -> float:
    """Return when a backup last showed that the server is backed up as a whole now.

    One taken by hand does not, where schedules cannot tell that the disks' have ended.
    """
    any_does = _every_schedule(knowledge) is not None
    return max(
        (
            completed_at(backup) or 0.0
            for backup in _restore_points(backups)
            if backup.target.type == VIRTUAL_MACHINE
            and (any_does or backup.initiated != MANUAL)
        ),
        default=0.0,
    )


def _restore_points(backups: Iterable[Backup]) -> Iterable[Backup]:
    return (b for b in backups if b.built and not b.marked_for_delete)


def _expected(
    knowledge: ServerState, target: Target, backups: Iterable[Backup]
) -> Interval | None:
    """Return the expected interval from the first source that tells."""
    expectation = knowledge.expectation
    schedules = knowledge.schedules or ()
    # What is known of a target's schedules tells more than its past.
    told = any(schedule.target == target for schedule in schedules)
    readable = told or _every_schedule(knowledge) is not None
    beside = _is_beside_schedules(knowledge, target, backups)
    sources = (
        (CONFIG, expectation.own_interval_seconds),
        (SCHEDULE, _scheduled_seconds(knowledge, target)),
        (HISTORY, None if readable else _shortest_period(backups)),
        (FALLBACK, None if beside else expectation.fallback_interval_seconds),
    )
    return next(
        (Interval(seconds, name) for name, seconds in sources if seconds is not None),
        None,
    )


def _is_beside_schedules(
    knowledge: ServerState, target: Target, backups: Iterable[Backup]
) -> bool:
    """Tell whether backups of the whole server were only ever taken by hand.

    And schedules ask for its disks: nobody meant the server to get a next one.
    """
    return (
        target.type == VIRTUAL_MACHINE
        and target not in _scheduled(knowledge)
        and any(scheduled.type == DISK for scheduled in _scheduled(knowledge))
        and all(backup.initiated == MANUAL for backup in backups)
    )


def _scheduled_seconds(knowledge: ServerState, target: Target) -> float | None:
    """Return the shortest interval of the target's enabled schedules."""
    return _shortest(
        schedule.interval_seconds
        for schedule in knowledge.schedules or ()
        if schedule.enabled and schedule.target == target
    )


def _shortest_period(backups: Iterable[Backup]) -> float | None:
    return _shortest(PERIOD_SECONDS.get(backup.initiated) for backup in backups)


def _shortest(intervals: Iterable[float | None]) -> float | None:
    return min((seconds for seconds in intervals if seconds is not None), default=None)


def _total(sizes: Iterable[int | None]) -> int | None:
    """Return the sum of what is known; None when there is something, but unknown."""
    listed = list(sizes)
    known = [size for size in listed if size is not None]
    return sum(known) if known or not listed else None


def _latest(moments: Iterable[float | None]) -> float | None:
    return max((moment for moment in moments if moment is not None), default=None)
