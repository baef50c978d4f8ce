"""Exponential backoff: each pause is twice as long as the previous one."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

_MAX_EXPONENT = 16
"""One second doubled 16 times is 18 hours; no pause is longer."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """The pause after a number of consecutive failures."""

    first_seconds: float
    longest_seconds: float = math.inf
    failures: int = 0

    @property
    def seconds(self) -> float:
        """The pause after these failures; 0 without failures."""
        if not self.failures:
            return 0.0
        exponent = min(self.failures - 1, _MAX_EXPONENT)
        return min(self.first_seconds * 2.0**exponent, self.longest_seconds)

    def after_failure(self) -> Backoff:
        """Return the backoff with one more failure."""
        return replace(self, failures=self.failures + 1)

    def after_success(self) -> Backoff:
        """Return the backoff without failures."""
        return replace(self, failures=0) if self.failures else self
