"""Families about single backups and the recovery points of plugins."""

from __future__ import annotations

from collections.abc import Iterator
from math import floor

from ..model.entities import Backup, RecoveryPoint
from .family import (
    AgeFamily,
    AnyFamily,
    BackupsFamily,
    Row,
    ServerView,
    backup_server_label,
)

_BACKUP_LABELS = ("panel", "vm_id", "backup_id")
_RECOVERY_POINT_LABELS = ("panel", "vm_id", "recovery_point_id")


def backup_rows(server: ServerView) -> Iterator[Row[Backup]]:
    """Yield the backups that have series of their own."""
    panel, vm_id = server.labels
    for backup in server.detailed_backups:
        yield (panel, vm_id, str(backup.id)), backup


def backup_info_rows(server: ServerView) -> Iterator[Row[int]]:
    """Yield identifier, type, target and location of each backup."""
    panel, vm_id = server.labels
    for backup in server.detailed_backups:
        yield (
            (
                panel,
                vm_id,
                str(backup.id),
                backup.identifier,
                backup.backup_type,
                backup.initiated,
                backup.target.type,
                str(backup.target.id),
                backup_server_label(backup.backup_server_id),
            ),
            1,
        )


def age_seconds(time: float, timestamp: float) -> int:
    """Return the age of a timestamp in whole seconds, the resolution of panels.

    It is 0 if the timestamp is in the future, because the panel's clock is ahead.
    """
    return max(0, floor(time) - floor(timestamp))


_BACKUPS: tuple[AnyFamily, ...] = (
    BackupsFamily(
        "onapp_backup_size_bytes",
        "Space in bytes that the backup takes, as of the last poll.",
        _BACKUP_LABELS,
        backup_rows,
        lambda backup: backup.size_bytes,
    ),
    BackupsFamily(
        "onapp_backup_built",
        "Whether the backup is built, as of the last poll.",
        _BACKUP_LABELS,
        backup_rows,
        lambda backup: backup.built,
    ),
    BackupsFamily(
        "onapp_backup_locked",
        "Whether the backup is locked, as of the last poll.",
        _BACKUP_LABELS,
        backup_rows,
        lambda backup: backup.locked,
    ),
    BackupsFamily(
        "onapp_backup_marked_for_delete",
        "Whether the backup is marked for delete, as of the last poll.",
        _BACKUP_LABELS,
        backup_rows,
        lambda backup: backup.marked_for_delete,
    ),
    AgeFamily(
        "onapp_backup_age_seconds",
        "Whole seconds since the backup was built, computed at the scrape from polled "
        "data.",
        _BACKUP_LABELS,
        backup_rows,
        lambda backup: backup.built_at if backup.built else None,
    ),
    BackupsFamily(
        "onapp_backup_built_timestamp_seconds",
        "Unix time when the backup was built, as of the last poll.",
        _BACKUP_LABELS,
        backup_rows,
        lambda backup: backup.built_at if backup.built else None,
    ),
    BackupsFamily(
        "onapp_backup_created_timestamp_seconds",
        "Unix time when the backup was created, as of the last poll.",
        _BACKUP_LABELS,
        backup_rows,
        lambda backup: backup.created_at,
    ),
    BackupsFamily(
        "onapp_backup_info",
        "Information about the backup, as of the last poll; always 1.",
        (
            *_BACKUP_LABELS,
            "identifier",
            "backup_type",
            "initiated",
            "target_type",
            "target_id",
            "backup_server_id",
        ),
        backup_info_rows,
    ),
)


def recovery_point_rows(server: ServerView) -> Iterator[Row[RecoveryPoint]]:
    """Yield the server's recovery points."""
    for point in server.state.recovery_points or ():
        yield (*server.labels, str(point.id)), point


_RECOVERY_POINTS: tuple[AnyFamily, ...] = (
    BackupsFamily(
        "onapp_recovery_point_size_bytes",
        "Space in bytes that the plugin's backup takes, as of the last poll.",
        _RECOVERY_POINT_LABELS,
        recovery_point_rows,
        lambda point: point.size_bytes,
    ),
    BackupsFamily(
        "onapp_recovery_point_built",
        "Whether the plugin's backup is built, as of the last poll.",
        _RECOVERY_POINT_LABELS,
        recovery_point_rows,
        lambda point: point.built,
    ),
    BackupsFamily(
        "onapp_recovery_point_created_timestamp_seconds",
        "Unix time of the creation of the plugin's backup, as of the last poll.",
        _RECOVERY_POINT_LABELS,
        recovery_point_rows,
        lambda point: point.created_at,
    ),
)

FAMILIES: tuple[AnyFamily, ...] = (*_BACKUPS, *_RECOVERY_POINTS)
