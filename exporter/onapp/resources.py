"""Decoders of all lists except backups.

Servers, schedules, disks, transactions, backup servers and recovery points; for backups
see ``backups``. Source: the vendor's pages and recorded answers of OnApp 2.2 to 6.x.
Logs (``log_output``), addresses and parameters are never decoded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from itertools import takewhile
from math import inf
from operator import itemgetter
from typing import Any, TypeAlias, TypeVar

import msgspec

from ..config.schema import BodyFormat
from ..errors import Undecodable
from ..model.entities import (
    AUTOBACKUP,
    BACKUP_SERVERS,
    DISK,
    DISKS,
    RECOVERY_POINTS,
    SCHEDULES,
    TRANSACTIONS,
    VIRTUAL_MACHINE,
    VIRTUAL_MACHINES,
    BackupServer,
    Disk,
    RecoveryPoint,
    Schedule,
    Server,
    Target,
    Transaction,
)
from ..model.transaction_log import PENDING_STATUSES
from .backups import (
    Dates,
    Moment,
    Parsed,
    plausible,
    unix_seconds,
)
from .decode import RowDecoder

Row = TypeVar("Row", bound=msgspec.Struct)
Value = TypeVar(
    "Value", Server, Schedule, Disk, Transaction, BackupServer, RecoveryPoint
)

_GIB = 1024**3
_FAILED = "failed"
_MAX_RUNS = 32
"""Maximum runs that are read from a schedule's log, the newest ones."""
_SERVER_TYPES = (VIRTUAL_MACHINE, "VirtualServer", None)


class ServerRow(msgspec.Struct, gc=False):
    """The fields of a ``virtual_machine`` row that the exporter uses."""

    id: int
    identifier: str | None = None
    label: str | None = None
    hostname: str | None = None
    user_id: int | None = None
    hypervisor_id: int | None = None
    suspended: bool | None = None
    created_at: Moment | None = None


class ScheduleLogRow(msgspec.Struct):
    """The fields of a ``schedule_log`` row that the exporter uses."""

    status: str | None = None
    created_at: Moment | None = None


class ScheduleLogItem(msgspec.Struct):
    """A run in the log of a schedule."""

    schedule_log: ScheduleLogRow | None = None


class ScheduleRow(msgspec.Struct):
    """The fields of a ``schedule`` row that the exporter uses."""

    id: int
    target_type: str | None = None
    target_id: int | None = None
    action: str | None = None
    period: str | None = None
    duration: int | None = None
    status: str | None = None
    start_at: Moment | None = None
    failure_count: int | None = None
    rotation_period: int | None = None
    created_at: Moment | None = None
    updated_at: Moment | None = None
    schedule_logs: list[ScheduleLogItem] | None = None


class DiskRow(msgspec.Struct):
    """The fields of a ``disk`` row that the exporter uses."""

    id: int
    virtual_machine_id: int | None = None
    is_swap: bool | None = None
    has_autobackups: bool | None = None
    created_at: Moment | None = None


class TransactionRow(msgspec.Struct):
    """The fields of a ``transaction`` row that the exporter uses."""

    id: int
    action: str | None = None
    status: str | None = None
    parent_type: str | None = None
    parent_id: int | None = None
    associated_object_type: str | None = None
    associated_object_id: int | None = None
    created_at: Moment | None = None
    updated_at: Moment | None = None


class BackupServerRow(msgspec.Struct):
    """The fields of a ``backup_server`` row that the exporter uses."""

    id: int
    label: str | None = None
    enabled: bool | None = None
    capacity: float | None = None


class RecoveryPointRow(msgspec.Struct):
    """The fields of a ``recovery_point`` row that the exporter uses."""

    id: int
    size: int | None = None
    state: str | None = None
    created_at: Moment | None = None


def _server(row: ServerRow, dates: Dates) -> Server:
    return Server(
        id=row.id,
        identifier=row.identifier or "",
        label=row.label or "",
        hostname=row.hostname or "",
        user_id=row.user_id,
        hypervisor_id=row.hypervisor_id,
        suspended=row.suspended,
        created_at=dates.unix_seconds(row.created_at),
    )


def _schedule(row: ScheduleRow, dates: Dates) -> Schedule:
    runs = sorted(
        (at, run.status == _FAILED)
        for item in row.schedule_logs or ()
        if (run := item.schedule_log) is not None
        and run.status not in PENDING_STATUSES
        and (at := dates.unix_seconds(run.created_at)) is not None
    )
    failed_runs = takewhile(itemgetter(1), reversed(runs[-_MAX_RUNS:]))
    return Schedule(
        id=row.id,
        action=row.action or AUTOBACKUP,
        target=Target(row.target_type or DISK, row.target_id or 0),
        period=row.period or "",
        duration=plausible(row.duration),
        status=row.status or "",
        next_start_at=unix_seconds(row.start_at),
        failure_count=plausible(row.failure_count),
        retention_backups=plausible(row.rotation_period),
        created_at=dates.unix_seconds(row.created_at),
        updated_at=dates.unix_seconds(row.updated_at),
        ran=bool(runs),
        failed_runs=tuple(at for at, _ in failed_runs)[::-1],
    )


def _disk(row: DiskRow, dates: Dates) -> Disk:
    return Disk(
        id=row.id,
        vm_id=row.virtual_machine_id,
        is_swap=bool(row.is_swap),
        has_autobackups=bool(row.has_autobackups),
        created_at=dates.unix_seconds(row.created_at),
    )


def _transaction(row: TransactionRow, dates: Dates) -> Transaction:
    of_backup = row.parent_type == "Backup"
    vm_id = row.associated_object_id
    if row.associated_object_type not in _SERVER_TYPES:
        vm_id = None
    if vm_id is None and row.parent_type == VIRTUAL_MACHINE:
        vm_id = row.parent_id
    return Transaction(
        id=row.id,
        action=row.action or "",
        status=row.status or "",
        vm_id=vm_id,
        backup_id=row.parent_id if of_backup else None,
        created_at=dates.unix_seconds(row.created_at),
        updated_at=dates.unix_seconds(row.updated_at),
    )


def _backup_server(row: BackupServerRow, _: Dates) -> BackupServer:
    # The panel's "GB" are GiB: it divides KiB by 1024 twice to show them.
    capacity = plausible(row.capacity)
    return BackupServer(
        id=row.id,
        label=row.label or "",
        enabled=row.enabled,
        capacity_bytes=None if capacity is None else round(capacity * _GIB),
    )


def _recovery_point(row: RecoveryPointRow, dates: Dates) -> RecoveryPoint:
    return RecoveryPoint(
        id=row.id,
        size_bytes=plausible(row.size),
        built=row.state == "built",
        created_at=dates.unix_seconds(row.created_at),
    )


def _decode(
    decoder: RowDecoder[Row],
    convert: Callable[[Row, Dates], Value],
    body: bytes,
    body_format: BodyFormat,
    latest: float = inf,
) -> Parsed[tuple[Value, ...]]:
    decoded, dates = decoder.decode(body, body_format), Dates(latest)
    row_count = len(decoded.rows) + len(decoded.skipped)
    values_by_id: dict[int, Value] = {}
    for row in decoded.rows:
        value = convert(row, dates)
        dates.end_row()
        # A second row with the same ID would duplicate its series.
        values_by_id.setdefault(value.id, value)
    return Parsed(
        tuple(values_by_id.values()), decoded.skipped, row_count, dates.future_rows
    )


decode_servers = partial(
    _decode,
    RowDecoder(
        "virtual_machine",
        ServerRow,
        "identifier label hostname user_id hypervisor_id suspended created_at",
    ),
    _server,
)
decode_schedules = partial(
    _decode,
    RowDecoder(
        "schedule",
        ScheduleRow,
        "start_at failure_count rotation_period created_at updated_at schedule_logs",
        nested="schedule_log",
    ),
    _schedule,
)
"""Decode a list of schedules, of any action."""
decode_disks = partial(_decode, RowDecoder("disk", DiskRow, "created_at"), _disk)
decode_transactions = partial(
    _decode,
    RowDecoder("transaction", TransactionRow, "created_at updated_at"),
    _transaction,
)
decode_backup_servers = partial(
    _decode,
    RowDecoder("backup_server", BackupServerRow, "label enabled capacity"),
    _backup_server,
)
decode_recovery_points = partial(
    _decode, RowDecoder("recovery_point", RecoveryPointRow, "size"), _recovery_point
)


def decode_server(body: bytes, body_format: BodyFormat, latest: float = inf) -> Server:
    """Decode ``/virtual_machines/:id``; raise Undecodable if it has no server."""
    found = decode_servers(body, body_format, latest).values
    if not found:
        raise Undecodable("no virtual_machine in the answer")
    return found[0]


def decode_transaction(
    body: bytes, body_format: BodyFormat, latest: float = inf, *, number: int
) -> Transaction:
    """Decode ``/transactions/:id``; raise Undecodable if it is a different one."""
    found = decode_transactions(body, body_format, latest).values
    if [row.id for row in found] != [number]:
        raise Undecodable("not the transaction that was asked for", rows_skipped=1)
    return found[0]


Parse: TypeAlias = Callable[[bytes, BodyFormat, float], Parsed[Any]]
PANEL_LISTS: Mapping[str, tuple[str, Parse]] = {
    VIRTUAL_MACHINES: ("virtual_machines", decode_servers),
    SCHEDULES: ("settings/schedules", decode_schedules),
    DISKS: ("settings/disks", decode_disks),
    TRANSACTIONS: ("transactions", decode_transactions),
    BACKUP_SERVERS: ("settings/backup_servers", decode_backup_servers),
}
"""The path and the decoder of each panel-wide list."""
SERVER_LISTS: Mapping[str, tuple[str, Parse]] = {
    SCHEDULES: ("schedules", decode_schedules),
    DISKS: ("disks", decode_disks),
    RECOVERY_POINTS: ("backups/recovery_points", decode_recovery_points),
}
"""The same for each list of a server, except backups and transactions; the paths are
relative to the server's."""
