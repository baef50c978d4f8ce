"""Exponential backoff: each pause is twice as long as the one before."""

from __future__ import annotations

import math

_MAX_EXPONENT = 16
"""One second doubled 16 times is 18 hours; no pause is longer."""


def exponential_pause(
    first_seconds: float, earlier_failures: int, longest_seconds: float = math.inf
) -> float:
    """Return the seconds to wait after a failure that follows earlier ones."""
    return min(
        first_seconds * 2.0 ** min(earlier_failures, _MAX_EXPONENT), longest_seconds
    )
