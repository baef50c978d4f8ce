"""Decoders of backups, the version, and dates, for all versions of the panel.

Source: the vendor's page "Get List of All VS Backups" and recorded answers of OnApp 2.2
to 6.x. ``backup_size`` is in KiB, although the page says kB. Version 2.x has no
``initiated`` and no target: the period is in ``backup_type`` (``days-autobackup``) and
the disk in ``disk_id``. All its backups are normal ones.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from math import inf
from sys import intern
from typing import Annotated, Any, Generic, TypeVar

import msgspec

from ..config.schema import BodyFormat
from ..errors import Undecodable
from ..model.entities import (
    DISK,
    INCREMENTAL,
    MANUAL,
    NORMAL,
    VIRTUAL_MACHINE,
    Backup,
    Target,
)
from .decode import (
    DECODE_ERRORS,
    RowDecoder,
    SkippedRow,
    json_value,
    xml_root,
    xml_value,
)

Values = TypeVar("Values", bound=Collection[Any])
Amount = TypeVar("Amount", int, float)
Moment = Annotated[datetime, msgspec.Meta(tz=True)]

_KIB = 1024
_MAX_EXACT_FLOAT = 2**53
"""Samples are floats, which represent larger integers only approximately."""
_LATEST_UNIX_SECONDS = datetime(2100, 1, 1, tzinfo=UTC).timestamp()
_MAX_UINT64 = 2**64 - 1
DatabaseId = Annotated[int, msgspec.Meta(ge=-(2**63))]
"""A 64-bit ID, signed or unsigned; msgspec can only check the minimum."""
_AUTOBACKUP_SUFFIX = "-autobackup"


class BackupRow(msgspec.Struct, gc=False):
    """The fields of a ``backup`` row that the exporter uses."""

    id: DatabaseId
    backup_size: int | None = None
    built: bool | None = None
    locked: bool | None = None
    marked_for_delete: bool | None = None
    created_at: Moment | None = None
    updated_at: Moment | None = None
    built_at: Moment | None = None
    backup_type: str | None = None
    initiated: str | None = None
    target_type: str | None = None
    target_id: DatabaseId | None = None
    disk_id: DatabaseId | None = None
    backup_server_id: DatabaseId | None = None
    identifier: str | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for IDs of more than 64 bits."""
        if (
            self.id > _MAX_UINT64
            or (self.target_id or 0) > _MAX_UINT64
            or (self.disk_id or 0) > _MAX_UINT64
        ):
            raise ValueError("a number of more than 64 bits")
        if (self.backup_server_id or 0) > _MAX_UINT64:
            self.backup_server_id = None


class Parsed(msgspec.Struct, Generic[Values], frozen=True, gc=False):
    """The usable values of one answer, and its skipped rows."""

    values: Values
    skipped: tuple[SkippedRow, ...]
    row_count: int
    """Number of rows in the answer, including skipped ones."""
    future_rows: int = 0
    """Number of rows with a date that was ignored because it lies in the future."""


# Fields that decide are left out: the target, the dates, and whether it is a restore
# point.
_BACKUPS = RowDecoder(
    "backup",
    BackupRow,
    "backup_size locked backup_type initiated backup_server_id identifier updated_at",
)


def decode_backups(
    body: bytes, body_format: BodyFormat, latest: float = inf, *, vm_id: int
) -> Parsed[tuple[Backup, ...]]:
    """Decode ``/virtual_machines/:id/backups``; raise Undecodable if not a list.

    Dates after ``latest`` are ignored, here and in all lists.
    """
    dates = Dates(latest)
    decoded = _BACKUPS.decode(body, body_format)
    backups_by_id: dict[int, Backup] = {}
    targets: dict[Target, Target] = {}  # rows share one object: saves memory
    repeated: list[SkippedRow] = []
    for row in decoded.rows:
        if row.id in backups_by_id:
            repeated.append(SkippedRow(str(row.id), "the ID occurs twice in the list"))
        else:
            backups_by_id[row.id] = _backup(row, vm_id, dates, targets)
            dates.end_row()
    skipped = (*decoded.skipped, *repeated)
    return Parsed(
        tuple(backups_by_id.values()),
        skipped,
        len(backups_by_id) + len(skipped),
        dates.future_rows,
    )


def decode_version(body: bytes, body_format: BodyFormat) -> str:
    """Decode ``/version``; raise Undecodable if it has no version."""
    value = _json_version(body) if body_format == "json" else _xml_version(body)
    if type(value) in (int, float):
        value = str(value)
    if not isinstance(value, str) or not value.strip("\ufffd \n\t"):
        raise Undecodable("no version in the answer")
    return value.strip()


def _json_version(body: bytes) -> object:
    try:
        return json_value(body, dict[str, object]).get("version")
    except DECODE_ERRORS as error:
        raise Undecodable(f"not a version: {error}") from None


def _xml_version(body: bytes) -> object:
    tag, content = xml_root(body)
    if tag != "version":  # another root may have any text
        content = content.get("version") if isinstance(content, dict) else None
    return xml_value(content)


def _backup(
    row: BackupRow, vm_id: int, dates: Dates, targets: dict[Target, Target]
) -> Backup:
    backup_type, initiated = _type_and_initiator(row)
    target = _target(row, backup_type, vm_id)
    return Backup(  # by position, for speed: this runs for every row of every answer
        row.id,
        targets.setdefault(target, target),
        row.built is True,
        row.locked is True,
        row.marked_for_delete is True,
        _size_bytes(row.backup_size),
        dates.unix_seconds(row.created_at),
        dates.unix_seconds(row.built_at),
        intern(backup_type),
        intern(initiated),
        row.identifier or "",
        row.backup_server_id,
        dates.unix_seconds(row.updated_at) if row.locked else None,
    )


def _type_and_initiator(row: BackupRow) -> tuple[str, str]:
    """Return the backup's type and initiator, both in the terms of 6.x."""
    backup_type, initiated = row.backup_type or "", row.initiated or ""
    if backup_type in (NORMAL, INCREMENTAL):
        return backup_type, initiated
    if backup_type.endswith(_AUTOBACKUP_SUFFIX) or backup_type == MANUAL:
        return NORMAL, initiated or backup_type.removesuffix(_AUTOBACKUP_SUFFIX)
    if not backup_type:
        whole_server = row.target_type == VIRTUAL_MACHINE
        return (INCREMENTAL if whole_server else NORMAL), initiated
    return backup_type, initiated


def _target(row: BackupRow, backup_type: str, vm_id: int) -> Target:
    if row.target_type and row.target_id is not None:
        return Target(row.target_type, row.target_id)
    if row.disk_id is not None:
        return Target(DISK, row.disk_id)
    if row.target_id is not None and backup_type == NORMAL:
        return Target(DISK, row.target_id)
    return Target(VIRTUAL_MACHINE, vm_id)


def _size_bytes(kib: int | None) -> int | None:
    kib = plausible(kib)
    return None if kib is None else kib * _KIB


def plausible(amount: Amount | None) -> Amount | None:
    """Return an amount; None if it is negative or implausibly large.

    The other fields of the row can still be used.
    """
    return amount if amount is not None and 0 <= amount < _MAX_EXACT_FLOAT else None


class Dates:
    """Converter of dates to Unix seconds that counts rows with a future date."""

    __slots__ = ("_in_future", "future_rows", "latest")

    def __init__(self, latest: float) -> None:
        """Accept dates up to ``latest``."""
        self.latest = latest
        self.future_rows = 0
        self._in_future = False

    def end_row(self) -> None:
        """Finish a row: count it if a date since the last call was in the future."""
        self.future_rows += self._in_future
        self._in_future = False

    def unix_seconds(self, moment: datetime | None) -> int | float | None:
        """Return a past date in Unix seconds; None if it is implausible or future."""
        timestamp = unix_seconds(moment)
        if timestamp is None or timestamp <= self.latest:
            return timestamp
        # As the last success, a future date would hide problems until it has passed.
        self._in_future = True
        return None


def unix_seconds(moment: datetime | None) -> int | float | None:
    """Return a date in Unix seconds; None if it is implausible.

    Whole seconds, as in most rows, are integers.
    """
    # A server whose last success has a date like 9999-12-31 would never be stale.
    if moment is None:
        return None
    timestamp = moment.timestamp()
    if not 0.0 < timestamp < _LATEST_UNIX_SECONDS:
        return None
    return timestamp if moment.microsecond else int(timestamp)
