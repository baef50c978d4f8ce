"""Compressed lists of backups: a cloud has hundreds of thousands of backups.

As objects they need ten times the memory. They are unpacked rarely: when they or
their expectation change, and to find the target of a failed backup.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec
from isal import isal_zlib

from .entities import Backup, BackupServerUsage

_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(tuple[Backup, ...])
_COMPRESSION_LEVEL = 1
"""Higher levels of ISA-L need three times as long and save one percent."""
_RAW_WINDOW_BITS = -15
"""Negative: raw deflate without header and checksum."""
FINAL_BLOCK = b"\x03\x00"
"""An empty deflate block that is marked as the last."""


class PackedBackups(msgspec.Struct, frozen=True, gc=False):
    """The backups of one server; equal if they have equal rows in the same order."""

    compressed_rows: bytes
    uncompressed_length: int
    """Bytes of the rows before compression."""
    backup_server_usage: tuple[BackupServerUsage, ...]
    """Computed before compression, so as not to unpack the rows for it."""

    def __iter__(self) -> Iterator[Backup]:
        """Unpack the rows."""
        return iter(self._unpacked())

    def __len__(self) -> int:
        """Count the rows without unpacking them: ``tuple`` and ``bool`` call this."""
        return sum(usage.backup_count for usage in self.backup_server_usage)

    def __contains__(self, row: object) -> bool:
        """Return whether a row is contained; unpacks all."""
        return row in self._unpacked()

    def _unpacked(self) -> tuple[Backup, ...]:
        return _DECODER.decode(inflated(self.compressed_rows, self.uncompressed_length))


def packed(backups: Iterable[Backup]) -> PackedBackups:
    """Pack the backups of one server; their ids must not exceed 64 bits."""
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
    """Return raw deflate data up to a byte boundary, without a final block."""
    compressor = isal_zlib.compressobj(
        _COMPRESSION_LEVEL, isal_zlib.DEFLATED, _RAW_WINDOW_BITS
    )
    head: bytes = compressor.compress(content)
    tail: bytes = compressor.flush(isal_zlib.Z_SYNC_FLUSH)
    return head + tail


def inflated(compressed: bytes, length: int) -> bytes:
    """Return the ``length`` bytes that ``deflated`` compressed."""
    content: bytes = isal_zlib.decompress(
        compressed + FINAL_BLOCK, _RAW_WINDOW_BITS, length
    )
    return content
