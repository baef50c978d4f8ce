"""The permissions that a role needs by resource, and hints if one is missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import ExporterError, Forbidden, NotFound, UnexpectedStatus, Unprocessable
from ..model.entities import (
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
    """A permission of a role, by its name in OnApp 6."""

    names: str
    without: str
    """What does not work without it."""


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

_ALWAYS_REQUESTED = (VERSION, VIRTUAL_MACHINES, BACKUPS)


def permission_hint(resource: str) -> str:
    """Return the hint for a resource that the role may not read."""
    permission = PERMISSIONS[resource]
    hint = f"give the role {permission.names}; without it {permission.without}"
    if resource in _ALWAYS_REQUESTED:
        return hint
    return f"{hint}; collectors switches off what is not wanted"


def backups_hint(error: ExporterError) -> str:
    """Return the hint for a known server whose backups cannot be read."""
    if isinstance(error, Forbidden):
        return permission_hint(BACKUPS)
    if isinstance(error, NotFound):
        return (
            "the server may just have been destroyed, or be hidden from this account: "
            "look at the panel"
        )
    return UnexpectedStatus.hint if isinstance(error, Unprocessable) else error.hint


def look_up_hint(error: ExporterError) -> str:
    """Return the hint for a configured server that cannot be looked up."""
    if isinstance(error, Forbidden):
        return permission_hint(VIRTUAL_MACHINES)
    if isinstance(error, NotFound):
        return "check virtual_machines: it may be gone, or hidden from this account"
    return error.hint
