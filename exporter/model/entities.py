"""The objects of a panel (servers, backups, schedules, …) as frozen values.

Times are Unix seconds with fractions, sizes are bytes. None means that the panel did
not send the value. Nothing here does I/O.
"""

from __future__ import annotations

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
"""The resources of the API, which are the values of the label ``resource``."""

INVENTORY = "inventory"
"""The collector that reads the servers; the others are named after their resource."""

NORMAL = "normal"
INCREMENTAL = "incremental"

MANUAL = "manual"
"""The value of ``initiated`` for a backup without a schedule."""

DISK = "Disk"
VIRTUAL_MACHINE = "VirtualMachine"

AUTOBACKUP = "autobackup"
"""The action of schedules that start backups."""

PERIOD_SECONDS = {
    "days": 86_400,
    "weeks": 7 * 86_400,
    "months": 31 * 86_400,
    "years": 366 * 86_400,
}
"""The maximum length of each period, so that no backup counts as overdue too early."""


class Target(msgspec.Struct, frozen=True, order=True, array_like=True, gc=False):
    """What a backup protects: a disk (normal) or a whole server (incremental)."""

    type: str
    id: int


class Backup(msgspec.Struct, frozen=True, gc=False):
    """A backup of a server or of one of its disks."""

    id: int
    target: Target
    built: bool
    locked: bool
    marked_for_delete: bool
    """Whether rotation will delete it: still listed, but no longer a restore point."""
    size_bytes: int | None
    """0 is valid: an incremental backup without changes has this size."""
    created_at: int | float | None
    built_at: int | float | None
    """None until the backup run has ended."""
    backup_type: str
    """``normal`` or ``incremental``."""
    initiated: str
    """``manual`` or the period (``days``, …); empty if unknown."""
    identifier: str
    backup_server_id: int | None
    """None: stored on the hypervisor."""
    locked_at: int | float | None = None
    """When a locked row last changed; it cannot change while it is locked."""


class BackupServerUsage(msgspec.Struct, frozen=True, gc=False):
    """Number and size of one server's backups on one backup server."""

    backup_server_id: int | None
    """None: stored on the hypervisors."""
    backup_count: int
    size_bytes: int


class Server(msgspec.Struct, frozen=True):
    """A virtual server in the inventory."""

    id: int
    identifier: str
    label: str
    hostname: str
    user_id: int | None
    hypervisor_id: int | None
    suspended: bool | None
    created_at: float | None

    def is_other_than(self, other: Server) -> bool:
        """Return whether the panel has reused the ID for another server."""
        identifiers = {self.identifier, other.identifier} - {""}
        creation_times = {self.created_at, other.created_at} - {None}
        return len(identifiers) > 1 or len(creation_times) > 1


class Schedule(msgspec.Struct, frozen=True):
    """A recurring action on a target."""

    id: int
    action: str
    """``autobackup``, or an action other than a backup."""
    target: Target
    period: str
    """``days``, ``weeks``, ``months`` or ``years``; empty if unknown."""
    duration: int | None
    """The number of periods from one start to the next."""
    status: str
    """``enabled``, ``disabled`` or ``failed``."""
    next_start_at: float | None
    failure_count: int | None
    retention_backups: int | None = None
    """How many backups it keeps; sent by newer panels only."""
    created_at: float | None = None
    updated_at: float | None = None
    """Some panels change it with every run."""
    ran: bool = False
    """Whether the panel lists runs of it."""
    failed_runs: tuple[float, ...] = ()
    """Unix times of the failed runs since the last good one, the oldest first."""
    changed_at: float | None = None
    """When this process saw it added, enabled again, or its interval shortened."""

    def since(
        self, previous: Schedule | None, watched_from: float | None, time: float
    ) -> Schedule:
        """Return it with ``changed_at``, as read at a Unix time after ``previous``."""
        if previous is None:
            created_at = self.created_at
            if created_at is None or watched_from is None or created_at <= watched_from:
                return self
            return msgspec.structs.replace(self, changed_at=created_at)
        before, after = previous.interval_seconds, self.interval_seconds
        shortened = before is not None and after is not None and after < before
        enabled_again = self.enabled and not previous.enabled
        changed_at = time if enabled_again or shortened else previous.changed_at
        return msgspec.structs.replace(self, changed_at=changed_at)

    @property
    def interval_seconds(self) -> float | None:
        """The longest time from one start to the next."""
        period = PERIOD_SECONDS.get(self.period)
        return period * self.duration if period and self.duration else None

    @property
    def enabled(self) -> bool:
        """Whether the panel runs it."""
        return self.status == "enabled"


class Disk(msgspec.Struct, frozen=True):
    """A disk of a server."""

    id: int
    vm_id: int | None
    is_swap: bool
    """Swap disks are never backed up."""
    has_autobackups: bool
    """Whether its owner enabled automatic backups."""
    created_at: float | None = None


class Transaction(msgspec.Struct, frozen=True):
    """A task of the panel, such as a backup run."""

    id: int
    action: str
    status: str
    """``pending``, ``running``, ``complete``, ``failed`` or ``cancelled``."""
    vm_id: int | None
    backup_id: int | None
    created_at: float | None
    updated_at: float | None


class BackupServer(msgspec.Struct, frozen=True):
    """A host that stores backups."""

    id: int
    label: str
    enabled: bool | None
    capacity_bytes: int | None


class RecoveryPoint(msgspec.Struct, frozen=True):
    """A backup of a whole server made by a backup plugin."""

    id: int
    size_bytes: int | None
    built: bool
    created_at: float | None
