"""Backups kept as few bytes: a cloud has hundreds of thousands, rarely looked at.

As objects they take ten times as much. They are looked at when they change, when what
is expected of them does, and when a transaction asks for the target of one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec
from isal import isal_zlib

from .entities import Backup, BackupServerUsage

_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(tuple[Backup, ...])
_COMPRESSION_LEVEL = 1
"""Higher ones of ISA-L take three times as long to save a hundredth."""
_RAW_WINDOW_BITS = -15
FINAL_BLOCK = b"\x03\x00"
"""An empty block that says that it is the last."""


class PackedBackups(msgspec.Struct, frozen=True, gc=False):
    """The backups of one server; equal where all rows are, in the same order."""

    compressed_rows: bytes
    uncompressed_length: int
    """Of the rows before they were compressed, in bytes."""
    backup_server_usage: tuple[BackupServerUsage, ...]
    """Where the backups are; counted while they are at hand."""

    def __iter__(self) -> Iterator[Backup]:
        """Make the rows anew."""
        return iter(self._unpacked())

    def __len__(self) -> int:
        """Count the rows; ``tuple`` and ``bool`` ask, so nothing is unpacked."""
        return sum(usage.backup_count for usage in self.backup_server_usage)

    def __contains__(self, row: object) -> bool:
        """Tell whether a row is among them."""
        return row in self._unpacked()

    def _unpacked(self) -> tuple[Backup, ...]:
        return _DECODER.decode(inflated(self.compressed_rows, self.uncompressed_length))


def packed(backups: Iterable[Backup]) -> PackedBackups:
    """Pack the backups of one server; their numbers must have 64 bits at most."""
    values = tuple(backups)
    rows = _ENCODER.encode(values)
    return PackedBackups(deflated(rows), len(rows), _backup_server_usage(values))


def _backup_server_usage(backups: Iterable[Backup]) -> tuple[BackupServerUsage, ...]:
    counts: dict[int | None, list[int]] = {}
    for backup in backups:
        count = counts.setdefault(backup.backup_server_id, [0, 0])
        count[0] += 1
        count[1] += backup.size_bytes or 0
    return tuple(BackupServerUsage(number, *count) for number, count in counts.items())


def deflated(content: bytes) -> bytes:
    """Compress, up to a byte boundary but without an end."""
    compressor = isal_zlib.compressobj(
        _COMPRESSION_LEVEL, isal_zlib.DEFLATED, _RAW_WINDOW_BITS
    )
    head: bytes = compressor.compress(content)
    tail: bytes = compressor.flush(isal_zlib.Z_SYNC_FLUSH)
    return head + tail


def inflated(compressed: bytes, length: int) -> bytes:
    """Return what was compressed, which has so many bytes."""
    content: bytes = isal_zlib.decompress(
        compressed + FINAL_BLOCK, _RAW_WINDOW_BITS, length
    )
    return content
