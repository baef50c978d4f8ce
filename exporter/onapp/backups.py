"""A panel's rows → the model; absorbs what differs between versions of the panel.

Source: the vendor's page "Get List of All VS Backups" and recorded answers of OnApp
2.2 to 6.x. ``backup_size`` is in KiB, though the page says kB. On 2.x there is no
``initiated`` and no target: the period stands in ``backup_type``
(``days-autobackup``) and the disk in ``disk_id``; all backups are normal ones.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
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
    Server,
    Target,
)
from ..model.packed import PackedBackups, packed
from .decode import UNREADABLE, RowDecoder, Skipped, xml_root, xml_value

Values = TypeVar("Values", bound=Collection[Any])
Amount = TypeVar("Amount", int, float)
Moment = Annotated[datetime, msgspec.Meta(tz=True)]

_KIB = 1024
_LARGEST = 2**53
"""A float holds larger numbers no longer exactly, and a sample is a float."""
_LATEST = datetime(2100, 1, 1, tzinfo=UTC).timestamp()
_LARGEST_NUMBER = 2**64 - 1
Number = Annotated[int, msgspec.Meta(ge=-(2**63))]
"""What a database's column can hold, with a sign or without; msgspec sees to the least
alone."""
_AUTOBACKUP = "-autobackup"


class BackupRow(msgspec.Struct, gc=False):
    """The fields that we use of a ``backup`` row."""

    id: Number
    backup_size: int | None = None
    built: bool | None = None
    locked: bool | None = None
    marked_for_delete: bool | None = None
    created_at: Moment | None = None
    built_at: Moment | None = None
    backup_type: str | None = None
    initiated: str | None = None
    target_type: str | None = None
    target_id: Number | None = None
    disk_id: Number | None = None
    backup_server_id: Number | None = None
    identifier: str | None = None

    def __post_init__(self) -> None:
        """Refuse numbers that are none of a database's."""
        if (
            self.id > _LARGEST_NUMBER
            or (self.target_id or 0) > _LARGEST_NUMBER
            or (self.disk_id or 0) > _LARGEST_NUMBER
            or (self.backup_server_id or 0) > _LARGEST_NUMBER
        ):
            raise ValueError("a number of more than 64 bits")


class ServerRow(msgspec.Struct, gc=False):
    """The fields that we use of a ``virtual_machine`` row."""

    id: int
    identifier: str | None = None
    label: str | None = None
    hostname: str | None = None
    user_id: int | None = None
    hypervisor_id: int | None = None
    suspended: bool | None = None
    created_at: Moment | None = None


class Parsed(msgspec.Struct, Generic[Values], frozen=True, gc=False):
    """The usable rows of one answer, and those that had to be skipped."""

    values: Values
    skipped: tuple[Skipped, ...]
    listed: int
    """How many rows there were."""


_BACKUPS = RowDecoder("backup", BackupRow)
_SERVERS = RowDecoder("virtual_machine", ServerRow)


def backups(body: bytes, form: BodyFormat, *, vm_id: int) -> Parsed[PackedBackups]:
    """Read ``/virtual_machines/:id/backups``; raise Undecodable if it is no list."""
    decoded = _BACKUPS.decode(body, form)
    found: dict[int, Backup] = {}
    repeated: list[Skipped] = []
    for row in decoded.rows:
        if row.id in found:
            repeated.append(Skipped(str(row.id), "the id stands in the list twice"))
        else:
            found[row.id] = _backup(row, vm_id)
    skipped = (*decoded.skipped, *repeated)
    return Parsed(packed(found.values()), skipped, len(found) + len(skipped))


def servers(body: bytes, form: BodyFormat) -> Parsed[tuple[Server, ...]]:
    """Read ``/virtual_machines``; raise Undecodable if it is no list.

    A server that stands there twice is one.
    """
    decoded = _SERVERS.decode(body, form)
    found = {row.id: _server(row) for row in reversed(decoded.rows)}
    listed = len(decoded.rows) + len(decoded.skipped)
    return Parsed(tuple(reversed(found.values())), decoded.skipped, listed)


def server(body: bytes, form: BodyFormat) -> Server:
    """Read ``/virtual_machines/:id``; raise Undecodable if it shows no server."""
    decoded = _SERVERS.decode(body, form)
    if not decoded.rows:
        raise Undecodable("no virtual_machine in the answer")
    return _server(decoded.rows[0])


def version(body: bytes, form: BodyFormat) -> str:
    """Read ``/version``; raise Undecodable if it names none."""
    found = _json_version(body) if form == "json" else _xml_version(body)
    if type(found) in (int, float):
        found = str(found)
    if not isinstance(found, str) or not found.strip():
        raise Undecodable("no version in the answer")
    return found.strip()


def _json_version(body: bytes) -> object:
    try:
        return msgspec.json.decode(body, type=dict[str, object]).get("version")
    except UNREADABLE as error:
        raise Undecodable(f"not a version: {error}") from None


def _xml_version(body: bytes) -> object:
    tag, content = xml_root(body)
    if tag != "version" and isinstance(content, dict):
        content = content.get("version")
    return xml_value(content)


def _backup(row: BackupRow, vm_id: int) -> Backup:
    kind, initiated = _kind(row)
    return Backup(  # its fields by position: this runs for every row of every answer
        row.id,
        _target(row, kind, vm_id),
        row.built is True,
        row.locked is True,
        row.marked_for_delete is True,
        _size(row.backup_size),
        seconds(row.created_at),
        seconds(row.built_at),
        kind,
        initiated,
        row.identifier or "",
        row.backup_server_id,
    )


def _kind(row: BackupRow) -> tuple[str, str]:
    """Return the backup's type and what initiated it."""
    kind, initiated = row.backup_type or "", row.initiated or ""
    if kind in (NORMAL, INCREMENTAL):
        return kind, initiated
    if kind.endswith(_AUTOBACKUP) or kind == MANUAL:
        return NORMAL, initiated or kind.removesuffix(_AUTOBACKUP)
    if not kind:
        whole = row.target_type == VIRTUAL_MACHINE
        return (INCREMENTAL if whole else NORMAL), initiated
    return kind, initiated


def _target(row: BackupRow, kind: str, vm_id: int) -> Target:
    if row.target_type and row.target_id is not None:
        return Target(row.target_type, row.target_id)
    if row.disk_id is not None:
        return Target(DISK, row.disk_id)
    if row.target_id is not None and kind == NORMAL:
        return Target(DISK, row.target_id)
    return Target(VIRTUAL_MACHINE, vm_id)


def _size(kib: int | None) -> int | None:
    kib = possible(kib)
    return None if kib is None else kib * _KIB


def possible(amount: Amount | None) -> Amount | None:
    """Return an amount, or None when nothing can be that large or below zero.

    An impossible one says nothing; the rest of its row may be good all the same.
    """
    return amount if amount is not None and 0 <= amount < _LARGEST else None


def seconds(moment: datetime | None) -> int | float | None:
    """Return a moment as Unix seconds, or None when it cannot be true.

    Whole ones, as most are, are integers.
    """
    # As a last success, a date like 9999-12-31 would say for ever that all is well.
    if moment is None:
        return None
    at = moment.timestamp()
    if not 0.0 < at < _LATEST:
        return None
    return at if moment.microsecond else int(at)


def _server(row: ServerRow) -> Server:
    return Server(
        id=row.id,
        identifier=row.identifier or "",
        label=row.label or "",
        hostname=row.hostname or "",
        user_id=row.user_id,
        hypervisor_id=row.hypervisor_id,
        suspended=row.suspended,
        created_at=seconds(row.created_at),
    )
