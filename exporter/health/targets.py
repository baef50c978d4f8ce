"""Summaries of a server's backups: last success, counts, expected interval per target.

Pure functions over values. Each target has a last success of its own: of the two disks
of a server, one can be backed up and the other stale.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from math import inf
from operator import attrgetter

import msgspec

from ..model.entities import (
    DISK,
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
_MAX_HISTORY_PERIODS = 4


class Interval(msgspec.Struct, frozen=True, gc=False):
    """The expected interval between a target's backups, and its source."""

    seconds: float
    source: str


class TargetSummary(msgspec.Struct, frozen=True, gc=False):
    """Summary of one target's backups, of which there may be none."""

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
    """When the backup that is locked longest was last changed, else complete."""
    oldest_success_at: float | None
    """Of the oldest restore point that is kept."""
    oldest_pending_at: float | None
    """When the oldest unbuilt backup was created whose run is not known to have ended.

    Rows of failed, cancelled and overtaken runs may stay for ever.
    """
    expected_interval: Interval | None
    last_failed_at: float | None
    scheduled_period_seconds: float | None
    """The period of the schedule that made its newest scheduled backup."""
    obsolete: bool
    """No further backups are expected, as of a disk that is gone or was replaced."""

    @property
    def last_success_duration_seconds(self) -> float | None:
        """Return how long the last success took, its time in the queue included."""
        return (
            None if self.last_success is None else _duration_seconds(self.last_success)
        )


class BackupSummary(msgspec.Struct, frozen=True, gc=False):
    """Summary of all backups of one server."""

    targets: tuple[TargetSummary, ...]
    built: int
    unbuilt: int
    size_bytes: int | None
    """Space used by all backups, those marked for delete included; None: unknown."""
    last_success_at: float | None
    """Of the newest restore point, including those of plugins."""


def completed_at(backup: Backup) -> float | None:
    """Return when a built backup was complete, else when it was created: earlier."""
    return backup.created_at if backup.built_at is None else backup.built_at


def summarize_backups(state: ServerState) -> BackupSummary:
    """Summarize the backups of one server, which must have been read."""
    backups = state.backups or ()
    target_of = attrgetter("target")
    by_target = {
        target: tuple(group)
        for target, group in groupby(sorted(backups, key=target_of), key=target_of)
    }
    server_backup_at = _server_backup_at(state, backups)
    replaced_at = {
        DISK: server_backup_at,
        VIRTUAL_MACHINE: _all_disks_backup_at(state, backups),
    }
    known = {
        *by_target,
        *_backup_targets(state, server_backup_at),
        *_failed_targets(state),
    }
    targets = tuple(
        _summarize_target(
            state,
            target,
            by_target.get(target, ()),
            replaced_at.get(target.type, 0.0),
        )
        for target in sorted(known)
    )
    recovery_points = state.recovery_points or ()
    recovery_point_times = [
        point.created_at for point in recovery_points if point.built
    ]
    return BackupSummary(
        targets=targets,
        built=sum(target.built for target in targets),
        unbuilt=sum(target.unbuilt for target in targets),
        size_bytes=_sum_known(backup.size_bytes for backup in backups),
        last_success_at=latest(
            (*(t.last_success_at for t in targets), *recovery_point_times)
        ),
    )


def backup_required(state: ServerState) -> bool | None:
    """Return whether a server must have backups; None: unknown."""
    configured = state.expectation.backup_required
    if configured is not None or state.vm_id == NO_SERVER:
        return configured
    disks = state.disks or ()
    if state.schedules or any(disk.has_autobackups for disk in disks):
        return True
    lists = complete_schedules(state), state.complete_disks
    return None if None in lists else False


def last_failed_at(state: ServerState) -> float | None:
    """Return when a backup run of the server last failed."""
    return latest(
        ended.failed_at for ended in state.failed_backups if not ended.cancelled
    )


def _summarize_target(
    state: ServerState,
    target: Target,
    backups: tuple[Backup, ...],
    replaced_at: float,
) -> TargetSummary:
    counted = [backup for backup in backups if not backup.marked_for_delete]
    unbuilt = [backup for backup in counted if not backup.built]
    restore_points = tuple(_restore_points(backups))
    last_success = max(
        restore_points,
        key=lambda backup: (completed_at(backup) or 0.0, backup.id),
        default=None,
    )
    success_at = None if last_success is None else completed_at(last_success)
    ended = [each for each in state.failed_backups if each.target == target]
    failed_at = latest(each.failed_at for each in ended if not each.cancelled)
    ended_ids = {each.backup_id for each in ended}
    by_hand = {backup.id for backup in unbuilt if backup.initiated == MANUAL}
    # A schedule starts no run before its last one has ended; a person may.
    ended_before = latest(
        each.failed_at
        for each in ended
        if not each.cancelled and each.backup_id not in by_hand
    )
    obsolete = _is_obsolete(state, target, superseded=replaced_at > (success_at or 0.0))
    return TargetSummary(
        target=target,
        last_success=last_success,
        last_success_at=success_at,
        built=len(counted) - len(unbuilt),
        unbuilt=len(unbuilt),
        locked=sum(backup.locked for backup in backups),
        marked_for_delete=len(backups) - len(counted),
        oldest_unbuilt_at=least(backup.created_at for backup in unbuilt),
        oldest_pending_at=_oldest_pending_at(
            (backup for backup in unbuilt if backup.id not in ended_ids),
            restore_points,
            ended_before,
        ),
        oldest_locked_at=least(
            completed_at(backup) if backup.locked_at is None else backup.locked_at
            for backup in backups
            if backup.locked
        ),
        oldest_success_at=least(map(completed_at, restore_points)),
        expected_interval=None
        if obsolete
        else _expected_interval(state, target, backups),
        last_failed_at=failed_at,
        scheduled_period_seconds=_scheduled_period_seconds(backups),
        obsolete=obsolete,
    )


def _duration_seconds(backup: Backup) -> float | None:
    if backup.built_at is None or backup.created_at is None:
        return None
    seconds = backup.built_at - backup.created_at
    return seconds if seconds >= 0 else None


def _oldest_pending_at(
    unbuilt: Iterable[Backup],
    restore_points: Iterable[Backup],
    ended_before: float | None,
) -> float | None:
    """Return the oldest unbuilt row that is not left over from an earlier run."""
    overtaken_before = latest(
        backup.created_at
        for backup in restore_points
        if _duration_seconds(backup) is not None
    )
    return least(
        backup.created_at
        for backup in unbuilt
        if backup.created_at is not None
        and backup.created_at > (ended_before or -inf)
        and backup.created_at >= (overtaken_before or -inf)
    )


def complete_schedules(state: ServerState) -> tuple[Schedule, ...] | None:
    """Return the schedules; None if there may be others."""
    return None if SCHEDULES in state.partial else state.schedules


def _backup_targets(state: ServerState, server_backup_at: float) -> set[Target]:
    """Return targets that should or could have backups, even if they have none."""
    targets = {t for t in scheduled_targets(state) if not state.is_deleted_disk(t)}
    disks = state.disks or ()
    if _uses_disk_backups(state, disks, server_backup_at):
        targets |= {Target(DISK, disk.id) for disk in disks if not disk.is_swap}
    return targets


def _failed_targets(state: ServerState) -> Iterable[Target]:
    """Return the targets of failed runs; their rows may be gone."""
    targets = (ended.target for ended in state.failed_backups if not ended.cancelled)
    return (t for t in targets if t is not None and not state.is_deleted_disk(t))


def scheduled_targets(state: ServerState) -> set[Target]:
    """Return the targets that have an enabled schedule, as far as is known."""
    return {each.target for each in last_schedules(state) or () if each.enabled}


def last_schedules(state: ServerState) -> tuple[Schedule, ...] | None:
    """Return the schedules, also those that are too old; None: they were never read."""
    return state.last_schedules if state.schedules is None else state.schedules


def _uses_disk_backups(
    state: ServerState, disks: Iterable[Disk], server_backup_at: float
) -> bool:
    """Return whether a server's disks are backed up one by one.

    They no longer are if a backup of the whole server is newer and no enabled schedule
    covers a disk.
    """
    if any(target.type == DISK for target in scheduled_targets(state)):
        return True
    backups = [b for b in state.backups or () if b.target.type == DISK]
    newest_at = max((completed_at(backup) or 0.0 for backup in backups), default=0.0)
    if server_backup_at > newest_at:
        return False
    schedules = state.schedules or ()
    return (
        bool(backups)
        or any(schedule.target.type == DISK for schedule in schedules)
        or any(disk.has_autobackups for disk in disks)
    )


def _is_obsolete(state: ServerState, target: Target, *, superseded: bool) -> bool:
    """Return whether no further backups of a target are expected.

    That holds for a disk that no longer exists; without an enabled schedule for a disk
    whose server has a newer backup as a whole, and for a whole server of which every
    disk has a newer one.
    """
    return state.is_deleted_disk(target) or (
        superseded and target not in scheduled_targets(state)
    )


def _server_backup_at(state: ServerState, backups: Iterable[Backup]) -> float:
    """Return when the last backup was complete that replaces those of the disks."""
    return max(
        (
            completed_at(backup) or 0.0
            for backup in _replacing(state, backups)
            if backup.target.type == VIRTUAL_MACHINE
        ),
        default=0.0,
    )


def _all_disks_backup_at(state: ServerState, backups: Iterable[Backup]) -> float:
    """Return since when every disk has a backup that replaces those of the server."""
    disks = state.complete_disks or ()
    newest = {Target(DISK, disk.id): 0.0 for disk in disks if not disk.is_swap}
    for backup in _replacing(state, backups) if newest else ():
        if backup.target in newest:
            at = completed_at(backup) or 0.0
            newest[backup.target] = max(newest[backup.target], at)
    return min(newest.values(), default=0.0)


def _replacing(state: ServerState, backups: Iterable[Backup]) -> Iterable[Backup]:
    """Return the restore points that may replace those of another kind of target.

    Manual ones only if all schedules are known: otherwise the others may continue.
    """
    schedules_known = complete_schedules(state) is not None
    return (
        backup
        for backup in _restore_points(backups)
        if schedules_known or backup.initiated != MANUAL
    )


def _restore_points(backups: Iterable[Backup]) -> Iterable[Backup]:
    return (b for b in backups if b.built and not b.marked_for_delete)


def _expected_interval(
    state: ServerState, target: Target, backups: Iterable[Backup]
) -> Interval | None:
    """Return the expected interval from the first source that has one."""
    expectation = state.expectation
    manual_only = _is_manual_only(state, target, backups)
    # A guess that schedules, once they are read, would correct is none.
    schedules_unread = state.schedules is None and not state.schedules_refused
    sources = (
        (CONFIG, expectation.own_interval_seconds),
        (SCHEDULE, _scheduled_interval_seconds(state, target)),
        (HISTORY, _history_seconds(backups) if state.schedules_refused else None),
        (
            FALLBACK,
            None
            if manual_only or schedules_unread
            else expectation.fallback_interval_seconds,
        ),
    )
    return next(
        (Interval(seconds, name) for name, seconds in sources if seconds is not None),
        None,
    )


def _is_manual_only(
    state: ServerState, target: Target, backups: Iterable[Backup]
) -> bool:
    """Return whether a whole server has only manual backups and its disks schedules.

    Then nobody expects another backup of the whole server.
    """
    return (
        target.type == VIRTUAL_MACHINE
        and target not in scheduled_targets(state)
        and any(scheduled.type == DISK for scheduled in scheduled_targets(state))
        and all(backup.initiated == MANUAL for backup in backups)
    )


def _scheduled_interval_seconds(state: ServerState, target: Target) -> float | None:
    """Return the shortest interval of the target's enabled schedules."""
    return least(
        schedule.interval_seconds
        for schedule in state.schedules or ()
        if schedule.enabled and schedule.target == target
    )


def _scheduled_period_seconds(backups: Iterable[Backup]) -> float | None:
    """Return the period of the newest backup that a schedule made."""
    newest = max(_scheduled(backups), key=_row_order, default=None)
    return None if newest is None else PERIOD_SECONDS[newest.initiated]


def _history_seconds(backups: Iterable[Backup]) -> float | None:
    """Return how often a schedule made the last backups.

    The period of the newest, or the gap to the one before, up to four periods: how
    many periods lie between two starts is not in the rows.
    """
    newest_first = sorted(_scheduled(backups), key=_row_order, reverse=True)
    if not newest_first:
        return None
    period = PERIOD_SECONDS[newest_first[0].initiated]
    gap = 0.0
    if len(newest_first) > 1:
        at, before = (backup.created_at for backup in newest_first[:2])
        gap = 0.0 if at is None or before is None else at - before
    return min(max(period, gap), _MAX_HISTORY_PERIODS * period)


def _scheduled(backups: Iterable[Backup]) -> Iterable[Backup]:
    return (backup for backup in backups if backup.initiated in PERIOD_SECONDS)


def _row_order(backup: Backup) -> tuple[float, int]:
    return backup.created_at or 0.0, backup.id


def _sum_known(sizes: Iterable[int | None]) -> int | None:
    """Return the sum of the known sizes; None if all of several are unknown."""
    every_size = list(sizes)
    known = [size for size in every_size if size is not None]
    return sum(known) if known or not every_size else None


def least(values: Iterable[float | None]) -> float | None:
    """Return the least known value; None: there is none."""
    return min((value for value in values if value is not None), default=None)


def latest(times: Iterable[float | None]) -> float | None:
    """Return the latest known time; None: there is none."""
    return max((time for time in times if time is not None), default=None)
