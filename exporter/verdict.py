"""What a server's backups mean: last success, counts and expectation per target.

Pure functions over values. The question "when did a good restore point last
complete?" is one per target: a server with two disks can have one good and one stale.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

from .model import DISK, PERIOD_SECONDS, VIRTUAL_MACHINE, Backup, Target
from .selection import Expectation
from .store import Knowledge

CONFIG = "config"
HISTORY = "history"
FALLBACK = "fallback"


@dataclass(frozen=True, slots=True)
class Interval:
    """How often a target's backups are expected, and who says so."""

    seconds: float
    source: str


@dataclass(frozen=True, slots=True)
class TargetVerdict:
    """What one target's backups say."""

    target: Target
    last_success: Backup | None
    """The newest built backup that is not marked for delete."""
    built: int
    unbuilt: int
    locked: int
    marked_for_delete: int
    oldest_unbuilt_at: float | None
    expected_interval: Interval | None

    @property
    def last_success_at(self) -> float | None:
        """Return when the last good restore point was complete."""
        return None if self.last_success is None else completed_at(self.last_success)

    @property
    def last_success_seconds(self) -> float | None:
        """Return how long the last success took, its time in the queue included."""
        backup = self.last_success
        if backup is None or backup.built_at is None or backup.created_at is None:
            return None
        seconds = backup.built_at - backup.created_at
        return seconds if seconds >= 0 else None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What all backups of one server say."""

    targets: tuple[TargetVerdict, ...]
    built: int
    unbuilt: int
    size_bytes: int | None
    """All rows together, those marked for delete too: the space they take."""
    last_success_at: float | None


def completed_at(backup: Backup) -> float | None:
    """Return when a built backup was complete, or a moment surely before that."""
    return backup.created_at if backup.built_at is None else backup.built_at


def judge(knowledge: Knowledge) -> Verdict:
    """Judge what is known of one server; its backups must have been read."""
    backups = knowledge.backups or ()
    by_target = attrgetter("target")
    groups = [
        (target, tuple(rows))
        for target, rows in groupby(sorted(backups, key=by_target), key=by_target)
    ]
    whole = max(
        (
            completed_at(backup) or 0.0
            for backup in _restore_points(backups)
            if backup.target.type == VIRTUAL_MACHINE
        ),
        default=None,
    )
    targets = tuple(
        _judge_target(target, rows, knowledge.expectation, whole)
        for target, rows in groups
    )
    return Verdict(
        targets=targets,
        built=sum(target.built for target in targets),
        unbuilt=sum(target.unbuilt for target in targets),
        size_bytes=_total(backup.size_bytes for backup in backups),
        last_success_at=_latest(target.last_success_at for target in targets),
    )


def _judge_target(
    target: Target,
    backups: tuple[Backup, ...],
    expectation: Expectation,
    whole_server_at: float | None,
) -> TargetVerdict:
    counted = [backup for backup in backups if not backup.marked_for_delete]
    unbuilt = [backup for backup in counted if not backup.built]
    last_success = max(
        _restore_points(backups),
        key=lambda backup: (completed_at(backup) or 0.0, backup.id),
        default=None,
    )
    newest_at = 0.0 if last_success is None else completed_at(last_success) or 0.0
    over = target.type == DISK and (whole_server_at or 0.0) > newest_at
    return TargetVerdict(
        target=target,
        last_success=last_success,
        built=len(counted) - len(unbuilt),
        unbuilt=len(unbuilt),
        locked=sum(backup.locked for backup in backups),
        marked_for_delete=len(backups) - len(counted),
        oldest_unbuilt_at=min(
            (b.created_at for b in unbuilt if b.created_at is not None), default=None
        ),
        expected_interval=None if over else _expected(expectation, backups),
    )


def _restore_points(backups: Iterable[Backup]) -> Iterable[Backup]:
    return (b for b in backups if b.built and not b.marked_for_delete)


def _expected(expectation: Expectation, backups: Iterable[Backup]) -> Interval | None:
    """Return the expected interval from the first source that tells."""
    if expectation.own_interval_seconds is not None:
        return Interval(expectation.own_interval_seconds, CONFIG)
    history = _shortest_period(backups)
    if history is not None:
        return Interval(history, HISTORY)
    if expectation.fallback_interval_seconds is not None:
        return Interval(expectation.fallback_interval_seconds, FALLBACK)
    return None


def _shortest_period(backups: Iterable[Backup]) -> float | None:
    periods = (PERIOD_SECONDS.get(backup.initiated) for backup in backups)
    return min((seconds for seconds in periods if seconds is not None), default=None)


def _total(sizes: Iterable[int | None]) -> int | None:
    """Return the sum of what is known; None when there is something, but unknown."""
    listed = list(sizes)
    known = [size for size in listed if size is not None]
    return sum(known) if known or not listed else None


def _latest(moments: Iterable[float | None]) -> float | None:
    return max((moment for moment in moments if moment is not None), default=None)
