"""Takes of backups that failed: what each was to protect, and which are kept."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from .entities import Backup, Target

_AIMLESS_KEPT = 8


class FailedBackup(msgspec.Struct, frozen=True):
    """A backup that failed, as the panel's log tells."""

    backup_id: int | None
    at: float
    target: Target | None = None
    """None: the backup's row was never seen."""


def aimed(
    takes: tuple[FailedBackup, ...], *lists: Iterable[Backup] | None
) -> tuple[FailedBackup, ...]:
    """Return takes with the target of those whose row is in one of the lists."""
    if all(take.target is not None for take in takes):
        return takes
    targets = {backup.id: backup.target for rows in lists for backup in rows or ()}
    return tuple(
        msgspec.structs.replace(take, target=targets.get(take.backup_id or 0))
        if take.target is None
        else take
        for take in takes
    )


def relevant(takes: Iterable[FailedBackup]) -> tuple[FailedBackup, ...]:
    """Return the newest failed take of each target, and a few of unknown ones."""
    newest_first = sorted(takes, key=lambda take: take.at, reverse=True)
    kept: dict[Target | int, FailedBackup] = {}
    aimless = 0
    for take in newest_first:
        if take.target is not None:
            kept.setdefault(take.target, take)
        elif aimless < _AIMLESS_KEPT:
            aimless += 1
            kept[aimless] = take
    return tuple(kept.values())
