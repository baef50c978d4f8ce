"""How long to wait after a failure: twice as long as after the one before."""

from __future__ import annotations

import math

_MAX_EXPONENT = 16
"""A second doubled so often is 18 hours: nothing here waits longer."""


def exponential_pause(
    first_seconds: float, earlier_failures: int, longest_seconds: float = math.inf
) -> float:
    """Return the pause that follows ``times`` earlier ones."""
    return min(
        first_seconds * 2.0 ** min(earlier_failures, _MAX_EXPONENT), longest_seconds
    )
