"""How long to wait after a failure: twice as long as after the one before."""

from __future__ import annotations

import math

_LONGEST_EXPONENT = 16
"""A second doubled so often is 18 hours: nothing here waits longer."""


def doubled(
    first_seconds: float, times: int, longest_seconds: float = math.inf
) -> float:
    """Return the pause that follows ``times`` earlier ones."""
    return min(first_seconds * 2.0 ** min(times, _LONGEST_EXPONENT), longest_seconds)
