"""What a panel knows about servers and their backups, in our words: frozen values.

Moments are Unix seconds (UTC, fractions kept), sizes are bytes, and what the panel
did not say is None. Nothing here does I/O.
"""

from __future__ import annotations

import msgspec

NORMAL = "normal"
INCREMENTAL = "incremental"

DISK = "Disk"
VIRTUAL_MACHINE = "VirtualMachine"

PERIOD_SECONDS = {
    "days": 86_400,
    "weeks": 7 * 86_400,
    "months": 31 * 86_400,
    "years": 366 * 86_400,
}
"""The longest that each of OnApp's periods can last: nothing is due earlier."""


class Target(msgspec.Struct, frozen=True, order=True):
    """What a backup protects: a disk (normal) or a whole server (incremental)."""

    type: str
    id: int


class Backup(msgspec.Struct, frozen=True):
    """One row of a server's list of backups."""

    id: int
    target: Target
    built: bool
    locked: bool
    marked_for_delete: bool
    """Rotation's victim: still listed, no longer a restore point."""
    size_bytes: int | None
    """0 is legitimate: an incremental backup without changes."""
    created_at: float | None
    built_at: float | None
    """None while the panel is still taking it."""
    backup_type: str
    """``normal`` or ``incremental``."""
    initiated: str
    """``manual`` or the period (``days``, …); empty when not said."""
    identifier: str
    backup_server_id: int | None
    """None: stored on the hypervisor."""


class Server(msgspec.Struct, frozen=True):
    """A virtual server as the inventory lists it."""

    id: int
    identifier: str
    label: str
    hostname: str
    user_id: int | None
    hypervisor_id: int | None
    suspended: bool | None
    created_at: float | None
