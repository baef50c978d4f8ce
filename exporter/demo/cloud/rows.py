"""The rows of a simulated cloud, which are changed in place."""

from collections import deque
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from .time import Period

TransactionStatus = Literal["pending", "running", "complete", "failed", "cancelled"]
ScheduleStatus = Literal["enabled", "disabled", "failed"]
TargetType = Literal["Disk", "VirtualMachine"]
BackupType = Literal["normal", "incremental"]
Initiated = Literal["manual", "days", "weeks", "months", "years"]
EventKind = Literal[
    "server added",
    "server removed",
    "disk added",
    "disk removed",
    "schedule added",
    "schedule changed",
    "schedule failed",
    "schedule removed",
    "start skipped",
    "start stalled",
    "backup queued",
    "backup started",
    "backup finished",
    "backup failed",
    "backup stuck",
    "backup cancelled",
    "backup rotated",
    "backup removed",
    "recovery point added",
    "slots changed",
    "failure begun",
    "failure ended",
]

_MAX_LOGS = 10


class Target(NamedTuple):
    """The object of a backup: one disk or one whole server."""

    type: TargetType
    id: int


@dataclass(slots=True, eq=False, weakref_slot=True)
class Revision:
    """A number that rises with every change of the rows of one server."""

    number: int = 0


@dataclass(slots=True, kw_only=True)
class VersionedRow:
    """A row whose changes raise the revision of its server."""

    revision: Revision = field(repr=False, compare=False)

    def __setattr__(self, name: str, value: object) -> None:
        """Set a field and raise the revision."""
        object.__setattr__(self, name, value)
        # The revision itself is the first field that is set.
        self.revision.number += 1


@dataclass(slots=True, kw_only=True)
class Server(VersionedRow):
    """A virtual server."""

    id: int
    identifier: str
    label: str
    hostname: str
    user_id: int
    hypervisor_id: int
    created_at: float
    updated_at: float
    suspended: bool = False
    booted: bool = True
    built: bool = True
    locked: bool = False
    operating_system: str = "linux"
    template_id: int = 1
    memory_mb: int = 2048
    backup_server_id: int | None = None
    """The storage of its next backups; None = on the hypervisor."""
    initial_root_password: str = field(repr=False)
    remote_access_password: str = field(repr=False)


@dataclass(slots=True, kw_only=True)
class Disk:
    """A disk of a server."""

    id: int
    identifier: str
    server_id: int
    size_gb: int
    primary: bool
    is_swap: bool
    created_at: float
    has_autobackups: bool = False
    built: bool = True
    locked: bool = False


@dataclass(slots=True, kw_only=True)
class Backup(VersionedRow):
    """A backup, built or not yet."""

    id: int
    identifier: str
    server_id: int
    target_type: TargetType
    target_id: int
    backup_type: BackupType
    initiated: Initiated
    built: bool
    created_at: float
    built_at: float | None
    updated_at: float
    size_kib: int | None
    backup_server_id: int | None = None
    locked: bool = False
    marked_for_delete: bool = False
    note: str | None = None
    min_disk_gb: int = 5

    @property
    def target(self) -> Target:
        """The disk or server that is backed up."""
        return Target(self.target_type, self.target_id)

    @property
    def disk_id(self) -> int | None:
        """The disk, if one is backed up."""
        return self.target_id if self.target_type == "Disk" else None


class ScheduleLog(NamedTuple):
    """The outcome of one start of a schedule."""

    id: int
    status: TransactionStatus
    log_output: str
    created_at: float


@dataclass(slots=True, kw_only=True)
class Schedule:
    """The schedule of a target's backups."""

    id: int
    target_type: TargetType
    target_id: int
    period: Period
    duration: int
    status: ScheduleStatus
    start_at: float
    """The next start."""
    first_start_at: float
    """The start from which all others are counted."""
    rotation_period: int
    """Number of incremental backups that are kept."""
    user_id: int
    created_at: float
    updated_at: float
    failure_count: int = 0
    current_backup_id: int | None = None
    """The pending or running backup, which delays the next start."""
    logs: deque[ScheduleLog] = field(default_factory=lambda: deque(maxlen=_MAX_LOGS))

    @property
    def target(self) -> Target:
        """The disk or server to back up."""
        return Target(self.target_type, self.target_id)


@dataclass(slots=True, kw_only=True)
class Transaction:
    """A task of the panel."""

    id: int
    identifier: str
    action: str
    status: TransactionStatus
    parent_type: str | None
    parent_id: int | None
    associated_object_type: str | None
    associated_object_id: int | None
    created_at: float
    started_at: float | None
    updated_at: float
    user_id: int
    params: dict[str, Any] | None = None
    log_output: str = ""


@dataclass(slots=True, kw_only=True)
class BackupServer:
    """A machine that stores backups."""

    id: int
    label: str
    capacity_gb: int
    enabled: bool
    ip_address: str
    created_at: float
    updated_at: float


@dataclass(slots=True, kw_only=True)
class RecoveryPoint:
    """A backup that a plugin made."""

    id: int
    server_id: int
    resource_id: int
    size_bytes: int
    state: str
    created_at: float
    updated_at: float


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """An event that really happened, even if the panel does not show it."""

    at: float
    kind: EventKind
    server_id: int | None = None
    target: Target | None = None
    detail: str = ""
    row_id: int | None = None
    """The affected backup, schedule, disk or recovery point."""
