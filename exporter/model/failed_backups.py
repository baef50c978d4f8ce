"""Failed backup runs: their targets, and which of them are kept."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from .entities import Backup, Target

_MAX_WITHOUT_TARGET = 8


class FailedBackup(msgspec.Struct, frozen=True):
    """A failed backup run from the transaction log."""

    backup_id: int | None
    failed_at: float
    """Unix time."""
    target: Target | None = None
    """None: unknown, as the backup was never listed."""


def with_targets(
    failures: tuple[FailedBackup, ...], *backup_lists: Iterable[Backup] | None
) -> tuple[FailedBackup, ...]:
    """Return the failures; the backup lists supply targets that are unknown."""
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
    """Return the newest failure of each target, and a few without a target."""
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
