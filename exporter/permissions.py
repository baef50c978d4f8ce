"""What a role must be permitted, by resource, and what is lost without it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .reader import (
    BACKUP_SERVERS,
    BACKUPS,
    DISKS,
    RECOVERY_POINTS,
    SCHEDULES,
    TRANSACTIONS,
    VERSION,
    VIRTUAL_MACHINES,
)


@dataclass(frozen=True, slots=True)
class Permission:
    """A permission, as OnApp 6 calls it."""

    names: str
    without: str


PERMISSIONS: Mapping[str, Permission] = {
    VERSION: Permission("settings.version", "the panel's version stays unknown"),
    VIRTUAL_MACHINES: Permission(
        "virtual_machines.read",
        "servers cannot be discovered or described, only be named by number",
    ),
    BACKUPS: Permission("backups.read", "there is nothing to watch"),
    SCHEDULES: Permission(
        "schedules.read", "how often a backup is expected is guessed from the past"
    ),
    DISKS: Permission("disks.read", "disks without any backup stay unseen"),
    TRANSACTIONS: Permission(
        "transactions.list and transactions.read",
        "a failed backup shows only as one that stays unbuilt or never comes",
    ),
    BACKUP_SERVERS: Permission(
        "backup_servers.read", "backup servers have no name, state or capacity"
    ),
    RECOVERY_POINTS: Permission(
        "backups.read", "servers that only a plugin protects look unprotected"
    ),
}
