"""Tests for compressed pieces; other implementations of gzip are the judges."""

from __future__ import annotations

import gzip
import zlib

from hypothesis import given
from hypothesis import strategies as st

from exporter.metrics.gzip_member import (
    deflated,
    deflated_text,
    gzip_member,
    inflated,
)

texts = st.binary(max_size=2000) | st.binary(max_size=20).map(lambda b: b * 500)


@given(st.lists(texts, max_size=6))
def test_pieces_side_by_side_are_one_member(contents: list[bytes]) -> None:
    """In any number and order, repeated or empty, with nothing behind the member."""
    pieces = [deflated_text(content) for content in contents]
    body = b"".join(gzip_member([*pieces, *pieces]))
    reader = zlib.decompressobj(wbits=31)
    found = reader.decompress(body)

    assert found == b"".join([*contents, *contents])
    assert (reader.eof, reader.unused_data) == (True, b"")
    assert gzip.decompress(body) == found


@given(texts)
def test_a_piece_becomes_its_text_again(content: bytes) -> None:
    """By itself, without the others that it is sent with."""
    assert deflated_text(content).inflate() == content
    assert inflated(deflated(content), len(content)) == content


def test_a_damaged_piece_is_noticed_by_whoever_reads_the_member() -> None:
    """The checksum is that of the texts, combined from those of the pieces."""
    parts = list(gzip_member([deflated_text(b"one\n"), deflated_text(b"two\n")]))
    parts[1], parts[2] = parts[2], parts[1]
    try:
        found: object = gzip.decompress(b"".join(parts))
    except gzip.BadGzipFile as error:
        found = error

    assert "CRC" in str(found)


def test_a_member_may_hold_more_than_its_length_can_say() -> None:
    """RFC 1952 writes the length modulo 2**32."""
    mebibyte = deflated_text(bytes(2**20))
    *_, trailer = gzip_member([mebibyte] * (2**12 + 1))

    assert trailer[4:] == (2**20).to_bytes(4, "little")
