"""Text kept compressed, in pieces that stand side by side in one gzip member.

A piece is a raw deflate stream that ends on a byte boundary and refers to nothing
before it; the checksum of a whole is combined from those of its pieces. Clients read
such a member as any other: some stop silently after the first of several.
Source: RFC 1951 §2.3 and RFC 1952 §2.3.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec
from isal import isal_zlib

from ..model.packed import FINAL_BLOCK, deflated, inflated

_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
"""Deflated, no name, no time, no system."""


class DeflatedText(msgspec.Struct, frozen=True, gc=False):
    """Compressed text."""

    deflated: bytes
    crc: int
    length: int
    """Of the text, in bytes."""

    def inflate(self) -> bytes:
        """Return the text."""
        return inflated(self.deflated, self.length)


def deflated_text(text: bytes) -> DeflatedText:
    """Compress a text."""
    return DeflatedText(deflated(text), isal_zlib.crc32(text), len(text))


def gzip_member(texts: Iterable[DeflatedText]) -> Iterator[bytes]:
    """Yield the parts of the gzip member that holds the pieces' texts."""
    yield _HEADER
    crc = length = 0
    for text in texts:
        crc = isal_zlib.crc32_combine(crc, text.crc, text.length)
        length += text.length
        yield text.deflated
    yield FINAL_BLOCK
    yield crc.to_bytes(4, "little") + (length % 2**32).to_bytes(4, "little")
