"""What a panel knows about servers and their backups, in our words: frozen values.

Moments are Unix seconds (UTC, fractions kept), sizes are bytes, and what the panel
did not say is None. Nothing here does I/O.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeAlias

import msgspec

VERSION = "version"
VIRTUAL_MACHINES = "virtual_machines"
BACKUPS = "backups"
SCHEDULES = "schedules"
DISKS = "disks"
TRANSACTIONS = "transactions"
BACKUP_SERVERS = "backup_servers"
RECOVERY_POINTS = "recovery_points"
RESOURCES = (
    VERSION,
    VIRTUAL_MACHINES,
    BACKUPS,
    SCHEDULES,
    DISKS,
    TRANSACTIONS,
    BACKUP_SERVERS,
    RECOVERY_POINTS,
)
"""What can be asked for: the values of the label ``resource``."""

INVENTORY = "inventory"
"""The collector that reads the servers; the others are called as what they read."""

NORMAL = "normal"
INCREMENTAL = "incremental"

MANUAL = "manual"
"""What initiated a backup that no schedule asked for."""

DISK = "Disk"
VIRTUAL_MACHINE = "VirtualMachine"

AUTOBACKUP = "autobackup"
"""The only action of a schedule that concerns us."""

PERIOD_SECONDS = {
    "days": 86_400,
    "weeks": 7 * 86_400,
    "months": 31 * 86_400,
    "years": 366 * 86_400,
}
"""The longest that each of OnApp's periods can last: nothing is due earlier."""


class Target(msgspec.Struct, frozen=True, order=True, array_like=True, gc=False):
    """What a backup protects: a disk (normal) or a whole server (incremental)."""

    type: str
    id: int


class Backup(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One row of a server's list of backups."""

    id: int
    target: Target
    built: bool
    locked: bool
    marked_for_delete: bool
    """Rotation's victim: still listed, no longer a restore point."""
    size_bytes: int | None
    """0 is legitimate: an incremental backup without changes."""
    created_at: int | float | None
    built_at: int | float | None
    """None while the panel is still taking it."""
    backup_type: str
    """``normal`` or ``incremental``."""
    initiated: str
    """``manual`` or the period (``days``, …); empty when not said."""
    identifier: str
    backup_server_id: int | None
    """None: stored on the hypervisor."""


Backups: TypeAlias = Collection[Backup]
"""Those of one server; they may be made anew at each look."""


class BackupServerUsage(msgspec.Struct, frozen=True, gc=False):
    """What one server's backups take on one backup server."""

    backup_server_id: int | None
    """None: on the hypervisors."""
    backup_count: int
    size_bytes: int


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


class Schedule(msgspec.Struct, frozen=True):
    """When something is to be done with a target."""

    id: int
    action: str
    """``autobackup``, or what does not concern us."""
    target: Target
    period: str
    """``days``, ``weeks``, ``months`` or ``years``; empty when not said."""
    duration: int | None
    """Every how many periods."""
    status: str
    """``enabled``, ``disabled`` or ``failed``."""
    next_start_at: float | None
    failure_count: int | None

    @property
    def interval_seconds(self) -> float | None:
        """Return how long it is from one start to the next, at most."""
        period = PERIOD_SECONDS.get(self.period)
        return period * self.duration if period and self.duration else None

    @property
    def enabled(self) -> bool:
        """Tell whether it starts backups."""
        return self.status == "enabled"


class Disk(msgspec.Struct, frozen=True):
    """A disk of a server."""

    id: int
    vm_id: int | None
    is_swap: bool
    """Swap is never backed up."""
    has_autobackups: bool
    """Whether the owner wants backups of it."""


class Transaction(msgspec.Struct, frozen=True):
    """One task of the panel, such as the taking of a backup."""

    id: int
    action: str
    status: str
    """``pending``, ``running``, ``complete``, ``failed`` or ``cancelled``."""
    vm_id: int | None
    backup_id: int | None
    created_at: float | None
    updated_at: float | None


class BackupServer(msgspec.Struct, frozen=True):
    """A machine that stores backups."""

    id: int
    label: str
    enabled: bool | None
    capacity_bytes: int | None


class RecoveryPoint(msgspec.Struct, frozen=True):
    """A backup that a plugin took of a whole server."""

    id: int
    vm_id: int
    size_bytes: int | None
    built: bool
    created_at: float | None
