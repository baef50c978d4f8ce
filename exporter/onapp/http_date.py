"""Dates in HTTP headers: all of them UTC, also where they name no zone (RFC 9110)."""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import lru_cache


@lru_cache(maxsize=8)  # many responses have the same second
def unix_seconds(value: str | None) -> float | None:
    """Return the Unix time of a header's date; None: there is none."""
    try:
        if value is None:
            return None
        date = parsedate_to_datetime(value)
        return date.replace(tzinfo=date.tzinfo or UTC).timestamp()
    except (ValueError, OverflowError):
        return None
