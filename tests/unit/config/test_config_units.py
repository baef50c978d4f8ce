"""Durations and sizes are read as people write them, and written back the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.config.units import Duration, Size

CENTURY_MILLISECONDS = 100 * 365 * 86_400_000


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("5m", 300),
        ("1h30m", 5400),
        ("7d", 604_800),
        ("2w", 1_209_600),
        ("1y", 31_536_000),
        ("1y2w3d4h5m6s7ms", 33_019_506.007),
        ("1500ms", 1.5),
        ("90m", 5400),
        ("0s", 0),
        ("100y", 3_153_600_000),
    ],
)
def test_a_duration_is_read_as_prometheus_reads_it(text: str, seconds: float) -> None:
    """Units fall from years to milliseconds, and each stands once at most."""
    assert Duration.parse(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "5", "m", "5 m", "-5m", "+5m", "1.5h", "30m1h", "1h1h", "5M", "5m\n", "٣m"],
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    """The message says what one looks like."""
    with pytest.raises(ValueError, match=r"^must be a duration such as 30s, 15m"):
        Duration.parse(text)


@pytest.mark.parametrize("value", [None, 5, 5.0, True, b"5m", ["5m"]])
def test_only_text_is_a_duration(value: object) -> None:
    """A bare number has no unit, and nobody knows which was meant."""
    with pytest.raises(ValueError, match=r"^must be a duration such as"):
        Duration.parse(value)


@pytest.mark.parametrize("text", ["101y", "100y1ms", "999999999999999d"])
def test_a_duration_ends_at_a_century(text: str) -> None:
    """Beyond it, clocks and sleeps overflow."""
    with pytest.raises(ValueError, match=r"^must be at most 100y$"):
        Duration.parse(text)


@pytest.mark.parametrize("digits", [16, 400, 5000])
def test_a_number_of_any_length_is_refused_as_any_other_text(digits: int) -> None:
    """Neither floats overflow nor does Python refuse to convert it."""
    with pytest.raises(ValueError, match=r"^must be a duration such as"):
        Duration.parse("9" * digits + "d")
    with pytest.raises(ValueError, match=r"^must be a size such as"):
        Size.parse("9" * digits)


@given(st.integers(0, CENTURY_MILLISECONDS))
def test_every_duration_is_written_so_that_it_reads_the_same(milliseconds: int) -> None:
    """Exact to the millisecond, whatever units it takes."""
    duration = Duration(milliseconds / 1000)

    assert Duration.parse(str(duration)) == duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (5400, "1h30m"), (604_800, "7d"), (1.5, "1s500ms"), (86_400, "1d")],
)
def test_a_duration_is_written_in_the_largest_units(seconds: float, text: str) -> None:
    """Weeks and years stay days."""
    assert str(Duration(seconds)) == text


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("16MiB", 16 * 1024**2),
        ("512 KiB", 512 * 1024),
        ("1GiB", 1024**3),
        ("7B", 7),
        ("7", 7),
        (7, 7),
        (0, 0),
    ],
)
def test_a_size_is_a_number_of_bytes_or_of_a_binary_unit(
    text: object, size: int
) -> None:
    """Without a unit it is bytes."""
    assert Size.parse(text) == size


@pytest.mark.parametrize(
    "text", ["", "MiB", "16MB", "16mib", "-1", -1, "1.5MiB", 1.5, True, None, "1 \nB"]
)
def test_what_is_no_size_is_refused(text: object) -> None:
    """Decimal units too: a thousand is not 1024, and nobody should have to guess."""
    with pytest.raises(ValueError, match=r"^must be a size such as 512KiB, 16MiB"):
        Size.parse(text)


@given(st.integers(0, 2**49))
def test_every_size_is_written_so_that_it_reads_the_same(size: int) -> None:
    """Exact to the byte."""
    assert Size.parse(str(Size(size))) == size
