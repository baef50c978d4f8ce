"""Dates in HTTP headers."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from functools import lru_cache


@lru_cache(maxsize=8)  # many responses have the same second
def unix_seconds(value: str | None) -> float | None:
    """Return the Unix time of a header's date; None: there is none."""
    try:
        return None if value is None else parsedate_to_datetime(value).timestamp()
    except (ValueError, OverflowError):
        return None
