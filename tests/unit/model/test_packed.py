"""Tests for packed backups."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from stores import a_backup, backups

from exporter.model.packed import packed


@given(st.lists(backups, max_size=5))
def test_what_is_unpacked_is_what_was_packed(rows: list[object]) -> None:
    """Every field of every row, in the same order, each time when it is looked at."""
    found = packed(rows)  # type: ignore[arg-type]  # the strategy has no type

    assert tuple(found) == tuple(rows) == tuple(found)
    assert len(found) == len(rows)
    assert all(row in found for row in rows)


def test_equal_rows_are_equal_packed_and_others_are_not() -> None:
    """So that it shows at a glance that a poll brought nothing new."""
    first, second = a_backup(id=1), a_backup(id=2)

    assert packed((first, second)) == packed((first, second))
    assert packed((first, second)) != packed((second, first))
    assert packed((first,)) != packed((first, second))
    assert packed(()) != packed((first,))


def test_a_backup_takes_a_fraction_of_what_its_fields_do() -> None:
    """A hundred of one server: what they have in common is kept once."""
    rows = packed(a_backup(id=1000 + n, created_at=9e8 + n) for n in range(100))

    assert len(rows.compressed_rows) < 100 * 30
