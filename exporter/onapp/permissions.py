"""Permissions that a role needs for each resource, and hints if one is missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import (
    ADDRESS_HINT,
    Forbidden,
    NotFound,
    RequestError,
    Undecodable,
    UnexpectedStatus,
    Unprocessable,
)
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
        "servers cannot be discovered or described, only configured by number",
    ),
    BACKUPS: Permission("backups.read", "no backups can be monitored"),
    SCHEDULES: Permission(
        "schedules.read", "how often a backup is expected is guessed from the past"
    ),
    DISKS: Permission("disks.read", "disks without any backup are not noticed"),
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
_CONTACT = (VERSION, VIRTUAL_MACHINES)
"""Requested first: a server that does not know them may not be a panel."""
_OF_SERVERS: Mapping[str, str] = {
    VIRTUAL_MACHINES: "check virtual_machines: it may be gone, or hidden from this "
    "account",
    BACKUPS: "the server may just have been destroyed, or be hidden from this account: "
    "look at the panel",
}
"""Hints if the panel does not know a server, by the requested resource."""


def permission_hint(resource: str) -> str:
    """Return the hint for a resource that the role may not read."""
    permission = PERMISSIONS[resource]
    hint = f"give the role {permission.names}; without it {permission.without}"
    if resource in _ALWAYS_REQUESTED:
        return hint
    return f"{hint}; collectors switches off a list that you do not want"


def request_hint(error: RequestError, resource: str, path: str) -> str:
    """Return the hint for an error of a request, by its resource and path.

    A specific hint of the error overrides the general hint of its type.
    """
    if isinstance(error, Forbidden):
        return permission_hint(resource)
    if error.hint != type(error).hint:
        return error.hint
    is_contact = resource in _CONTACT and path == resource
    if is_contact and isinstance(error, NotFound | Undecodable):
        return ADDRESS_HINT
    if isinstance(error, NotFound) and resource in _OF_SERVERS:
        return _OF_SERVERS[resource]
    if isinstance(error, Unprocessable) and resource == BACKUPS:
        return UnexpectedStatus.hint
    return error.hint
