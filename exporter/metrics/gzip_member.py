"""Compressed texts that are joined into one gzip member as they are.

Each text is a raw deflate stream that ends on a byte boundary and refers to nothing
before it; the checksum of the member is combined from those of the texts. One member
and not one per text: some clients silently stop after the first of several.
Source: RFC 1951 §2.3 and RFC 1952 §2.3.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec
from isal import isal_zlib

from ..model.packed import FINAL_BLOCK, deflated, inflated

_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
"""Method deflate; no file name, time or operating system."""


class DeflatedText(msgspec.Struct, frozen=True, gc=False):
    """A text as a raw deflate stream, with its checksum."""

    deflated: bytes
    crc: int
    length: int
    """Of the uncompressed text, in bytes."""

    def inflate(self) -> bytes:
        """Return the uncompressed text."""
        return inflated(self.deflated, self.length)


def deflated_text(text: bytes) -> DeflatedText:
    """Compress a text."""
    return DeflatedText(deflated(text), isal_zlib.crc32(text), len(text))


def gzip_member(texts: Iterable[DeflatedText]) -> Iterator[bytes]:
    """Yield the parts of a gzip member that holds the texts."""
    yield _HEADER
    crc = length = 0
    for text in texts:
        crc = isal_zlib.crc32_combine(crc, text.crc, text.length)
        length += text.length
        yield text.deflated
    yield FINAL_BLOCK
    yield crc.to_bytes(4, "little") + (length % 2**32).to_bytes(4, "little")
