"""Summaries of a server's backups: last success, counts, expected interval per target.

Pure functions over values. Each target has its own last success: one disk of a server
can be backed up while another one is stale.
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
    """Summary of one target's backups; there may be none."""

    target: Target
    last_success: Backup | None
    """The newest built backup that is not marked for deletion."""
    last_success_at: float | None
    """Unix time when the last good restore point was completed."""
    built: int
    unbuilt: int
    locked: int
    marked_for_delete: int
    oldest_unbuilt_at: float | None
    oldest_locked_at: float | None
    """Unix time since which the longest-locked backup is unchanged; if unknown, when it
    was completed."""
    oldest_success_at: float | None
    """Unix time of the oldest restore point that is kept."""
    oldest_pending_at: float | None
    """Creation time of the oldest unbuilt backup whose run may still be in progress.

    Rows of failed, cancelled and overtaken runs may stay forever and are left out.
    """
    expected_interval: Interval | None
    last_failed_at: float | None
    scheduled_period_seconds: float | None
    """The period of the schedule that made the newest scheduled backup."""
    obsolete: bool
    """Whether no further backups are expected, as for a disk that is gone or
    replaced."""

    @property
    def last_success_duration_seconds(self) -> float | None:
        """Return the duration of the last success, including its time in the queue."""
        return (
            None if self.last_success is None else _duration_seconds(self.last_success)
        )


class BackupSummary(msgspec.Struct, frozen=True, gc=False):
    """Summary of all backups of one server."""

    targets: tuple[TargetSummary, ...]
    built: int
    unbuilt: int
    size_bytes: int | None
    """Size of all backups, including those marked for deletion; None: unknown."""
    last_success_at: float | None
    """Unix time of the newest restore point, including those of plugins."""


def completed_at(backup: Backup) -> float | None:
    """Return when a built backup was completed; if unknown, its creation time."""
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
    # A schedule starts a run only after its last one has ended; a person may start one
    # before.
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
    """Return the creation time of the oldest unbuilt row of a run in progress."""
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
    """Return the targets of failed runs, whose rows may be gone."""
    targets = (ended.target for ended in state.failed_backups if not ended.cancelled)
    return (t for t in targets if t is not None and not state.is_deleted_disk(t))


def scheduled_targets(state: ServerState) -> set[Target]:
    """Return the targets with an enabled schedule, as far as known."""
    return {each.target for each in last_schedules(state) or () if each.enabled}


def last_schedules(state: ServerState) -> tuple[Schedule, ...] | None:
    """Return the schedules, even if they are too old; None: never read."""
    return state.last_schedules if state.schedules is None else state.schedules


def _uses_disk_backups(
    state: ServerState, disks: Iterable[Disk], server_backup_at: float
) -> bool:
    """Return whether a server's disks are backed up individually.

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

    This is true of a disk that no longer exists. It is also true of a target without an
    enabled schedule: of a disk if the whole server has a newer backup, and of a whole
    server if every disk has a newer one.
    """
    return state.is_deleted_disk(target) or (
        superseded and target not in scheduled_targets(state)
    )


def _server_backup_at(state: ServerState, backups: Iterable[Backup]) -> float:
    """Return when the last server backup that replaces disk backups was completed."""
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
    """Return the restore points that may replace those of the other kind of target.

    Manual ones count only if all schedules are known: otherwise the backups of the
    other kind may continue.
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
    # No guess is made that schedules may contradict once they are read.
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
    """Return whether a server has only manual backups, but its disks have schedules.

    Then no further backup of the whole server is expected.
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
    """Return the period of the newest scheduled backup."""
    newest = max(_scheduled(backups), key=_row_order, default=None)
    return None if newest is None else PERIOD_SECONDS[newest.initiated]


def _history_seconds(backups: Iterable[Backup]) -> float | None:
    """Return the interval of the last scheduled backups.

    This is the longer of the newest backup's period and the gap to the one before, but
    four periods at most. Rows do not say how many periods lie between two starts.
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
    """Return the sum of the known sizes; None if there are sizes but none is known."""
    every_size = list(sizes)
    known = [size for size in every_size if size is not None]
    return sum(known) if known or not every_size else None


def least(values: Iterable[float | None]) -> float | None:
    """Return the least known value; None if there is none."""
    return min((value for value in values if value is not None), default=None)


def latest(times: Iterable[float | None]) -> float | None:
    """Return the latest known time; None if there is none."""
    return max((time for time in times if time is not None), default=None)
