"""Failed and cancelled backup runs: their targets, and which of them are kept."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from .entities import Backup, Server, Target

_MAX_WITHOUT_TARGET = 8


class FailedBackup(msgspec.Struct, frozen=True):
    """A failed or cancelled backup run from the transaction log."""

    backup_id: int | None
    failed_at: float
    """Unix time."""
    target: Target | None = None
    """None: unknown, because the backup was never listed."""
    cancelled: bool = False
    """Whether it was cancelled: no failure, but its backup stays unbuilt."""


class UnassignedFailures(msgspec.Struct, frozen=True):
    """The failed backups of a server that is not monitored."""

    failures: tuple[FailedBackup, ...] = ()
    server: Server | None = None
    """The server when it was excluded; None: it was never monitored."""


def with_targets(
    failures: tuple[FailedBackup, ...], *backup_lists: Iterable[Backup] | None
) -> tuple[FailedBackup, ...]:
    """Return the failures with unknown targets filled in from the backup lists."""
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


def newest_per_target(
    failures: Iterable[FailedBackup], backups: Iterable[Backup] = ()
) -> tuple[FailedBackup, ...]:
    """Return the newest failure of each target, and a few without a target.

    Failed and cancelled runs of unbuilt backups are kept as well.
    """
    newest_first = sorted(failures, key=lambda failure: failure.failed_at, reverse=True)
    unbuilt = {backup.id for backup in backups if not backup.built}
    kept: dict[Target | tuple[bool, int | None], FailedBackup] = {}
    without_target = dict.fromkeys((False, True), 0)
    for failure in newest_first:
        own = failure.cancelled, failure.backup_id
        if failure.target is None:
            without_target[failure.cancelled] += 1
            if without_target[failure.cancelled] <= _MAX_WITHOUT_TARGET:
                kept.setdefault(own, failure)
        elif failure.backup_id in unbuilt:
            kept.setdefault(own, failure)
        elif not failure.cancelled:
            kept.setdefault(failure.target, failure)
    return tuple(kept.values())
