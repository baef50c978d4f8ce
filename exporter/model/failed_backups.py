"""Takes of backups that failed: what each was to protect, and which are kept."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from .entities import Backup, Target

_MAX_WITHOUT_TARGET = 8


class FailedBackup(msgspec.Struct, frozen=True):
    """A backup that failed, as the panel's log tells."""

    backup_id: int | None
    failed_at: float
    target: Target | None = None
    """None: the backup's row was never seen."""


def with_targets(
    failures: tuple[FailedBackup, ...], *backup_lists: Iterable[Backup] | None
) -> tuple[FailedBackup, ...]:
    """Return takes with the target of those whose row is in one of the lists."""
    if all(failure.target is not None for failure in failures):
        return failures
    targets = {
        backup.id: backup.target for rows in backup_lists for backup in rows or ()
    }
    return tuple(
        msgspec.structs.replace(failure, target=targets.get(failure.backup_id or 0))
        if failure.target is None
        else failure
        for failure in failures
    )


def newest_per_target(failures: Iterable[FailedBackup]) -> tuple[FailedBackup, ...]:
    """Return the newest failed take of each target, and a few of unknown ones."""
    newest_first = sorted(failures, key=lambda failure: failure.failed_at, reverse=True)
    kept: dict[Target | int, FailedBackup] = {}
    without_target = 0
    for failure in newest_first:
        if failure.target is not None:
            kept.setdefault(failure.target, failure)
        elif without_target < _MAX_WITHOUT_TARGET:
            without_target += 1
            kept[without_target] = failure
    return tuple(kept.values())
