"""The documented keys of ``/api/v1/status``, which the status page shows too.

Times are RFC 3339 in UTC, sizes in bytes, durations in seconds. Unknown values are
null.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec


class LastErrorStatus(msgspec.Struct, frozen=True):
    """Why a panel is unreachable, or why a read of a server last failed."""

    at: datetime | None
    """Time of the last attempt."""
    since: datetime | None
    """Time of the first failed attempt since the last success."""
    reason: str
    error: str
    hint: str


class ProblemStatus(msgspec.Struct, frozen=True):
    """A problem of a panel or a server."""

    state: str
    title: str
    level: str
    alert: str | None
    target_type: str | None
    target_id: int | None
    about: str | None
    """The schedule, collector, action or backup server with the problem."""
    action: str | None
    """The first thing to do."""
    since: datetime | None
    """Since when the problem exists."""
    reason: str | None
    """The reason, with figures as of ``generated_at``."""


class BackupSize(msgspec.Struct, frozen=True):
    """The size of one good backup."""

    at: datetime | None
    bytes: int


class TargetStatus(msgspec.Struct, frozen=True):
    """The status of a backup target: a disk, or a whole server."""

    target_type: str
    target_id: int
    state: str
    title: str
    level: str
    last_success_at: datetime | None
    last_success_size_bytes: int | None
    last_success_duration_seconds: float | None
    expected_interval_seconds: float | None
    expected_interval_source: str | None
    overdue_since: datetime | None
    """When the missing backup of a stale target was expected."""
    next_start_at: datetime | None
    backups_built: int
    backups_unbuilt: int
    backups_locked: int
    backups_marked_for_delete: int
    oldest_unbuilt_at: datetime | None
    last_failed_at: datetime | None
    recent_sizes: tuple[BackupSize, ...]
    """Sizes of the newest backups, oldest first."""


class ServerStatus(msgspec.Struct, frozen=True):
    """The status of a virtual server."""

    panel: str
    vm_id: str
    label: str | None
    hostname: str | None
    identifier: str | None
    user_id: int | None
    """The owner's ID."""
    state: str
    title: str
    level: str
    problems: tuple[ProblemStatus, ...]
    suspended: bool | None
    backup_required: bool | None
    in_time: bool | None
    """Whether all its backups are in time; null: it needs none, or unknown."""
    created_at: datetime | None
    last_success_at: datetime | None
    last_failed_at: datetime | None
    next_start_at: datetime | None
    backups_built: int | None
    backups_unbuilt: int | None
    backup_size_bytes: int | None
    read_at: datetime | None
    read_succeeded: bool | None
    """Whether the last read succeeded; null: none was tried yet."""
    last_error: LastErrorStatus | None
    targets: tuple[TargetStatus, ...]


class PanelStatus(msgspec.Struct, frozen=True):
    """The status of a control panel."""

    name: str
    url: str
    version: str | None
    up: bool | None
    state: str
    title: str
    level: str
    problems: tuple[ProblemStatus, ...]
    servers: int
    """Number of servers that this exporter reads."""
    servers_listed: int | None
    """Number of servers in the whole inventory."""
    servers_failing: int
    first_pass_ended: bool
    inventory_read_at: datetime | None
    oldest_read_at: datetime | None
    """Every readable server has been read since this time."""
    newest_read_at: datetime | None
    next_request_at: datetime | None
    poll_interval_seconds: float
    poll_lag_seconds: float
    clock_skew_seconds: float | None
    errors: Mapping[str, int]
    last_error: LastErrorStatus | None


class Compliance(msgspec.Struct, frozen=True):
    """How many servers have their backups in time."""

    servers: int
    in_time: int
    not_in_time: int
    unknown: int
    """Servers that may need backups, but it is unknown whether these are in time."""
    backup_size_bytes: int


class OwnerCompliance(Compliance, frozen=True, kw_only=True):
    """The compliance of the servers of one owner."""

    panel: str
    user_id: int | None
    """The owner's ID; null: unknown."""


class StatusResponse(msgspec.Struct, frozen=True):
    """The whole response."""

    generated_at: datetime | None
    version: str
    shard: int
    total_shards: int
    panels: tuple[PanelStatus, ...]
    states: Mapping[str, int]
    """Number of servers by state; a server with several problems counts for each."""
    levels: Mapping[str, int]
    """Number of servers by the level of their worst state."""
    compliance: Compliance
    total: int
    matching: int
    page: int
    pages: int
    per_page: int
    servers: tuple[ServerStatus, ...]
