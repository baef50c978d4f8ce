"""Durations and sizes in Prometheus notation: parsing and formatting."""

from __future__ import annotations

import re

_UNIT_MILLISECONDS = {
    "y": 365 * 86_400_000,
    "w": 7 * 86_400_000,
    "d": 86_400_000,
    "h": 3_600_000,
    "m": 60_000,
    "s": 1000,
    "ms": 1,
}
_DURATION = re.compile(
    "".join(f"(?:([0-9]{{1,15}}){unit})?" for unit in _UNIT_MILLISECONDS)
)
_MAX_MILLISECONDS = 100 * _UNIT_MILLISECONDS["y"]
_SIZE = re.compile(r"([0-9]{1,15}) *(B|KiB|MiB|GiB)?")
_UNIT_BYTES = {None: 1, "B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}


class Duration(float):
    """Seconds, in Prometheus notation: ``30s``, ``1h30m``, ``7d``."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: object) -> Duration:
        """Parse a duration; raise ValueError with examples."""
        match = _DURATION.fullmatch(text) if isinstance(text, str) and text else None
        if match is None:
            raise ValueError("must be a duration such as 30s, 15m, 1h30m or 7d")
        parts = zip(match.groups("0"), _UNIT_MILLISECONDS.values(), strict=True)
        milliseconds = sum(int(number) * unit for number, unit in parts)
        if milliseconds > _MAX_MILLISECONDS:
            raise ValueError("must be at most 100y")
        return cls(milliseconds / 1000)

    def __str__(self) -> str:
        """Format the exact duration; the largest unit is the day."""
        remaining = round(self * 1000)
        text = ""
        for unit, milliseconds in _UNIT_MILLISECONDS.items():
            if unit in ("y", "w"):
                continue  # readers expect 7d, not 1w
            number, remaining = divmod(remaining, milliseconds)
            text += f"{number}{unit}" if number else ""
        return text or "0s"


class Size(int):
    """Bytes, written with a binary unit: ``16MiB``."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: object) -> Size:
        """Parse a size; raise ValueError with examples."""
        convertible = isinstance(text, (str, int)) and not isinstance(text, bool)
        match = _SIZE.fullmatch(str(text)) if convertible else None
        if match is None:
            raise ValueError(
                "must be a size such as 512KiB, 16MiB or a number of bytes"
            )
        return cls(int(match[1]) * _UNIT_BYTES[match[2]])

    def __str__(self) -> str:
        """Format the exact size in the largest possible unit."""
        number, unit = int(self), "B"
        for larger in ("KiB", "MiB", "GiB"):
            if number == 0 or number % 1024:
                break
            number, unit = number // 1024, larger
        return f"{number}{unit}"
