"""Where a simulated cloud takes its time from."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

Clock = Callable[[], float]
"""Tells the time in Unix seconds; ``time.time`` is one."""


@dataclass(slots=True)
class Accelerated:
    """A clock that starts at a moment and runs a number of times too fast."""

    start: float
    factor: float = 1.0
    monotonic: Clock = time.monotonic
    origin: float = field(init=False)

    def __post_init__(self) -> None:
        """Remember when the clock was started."""
        self.origin = self.monotonic()

    def __call__(self) -> float:
        """Tell the simulated time."""
        return self.start + (self.monotonic() - self.origin) * self.factor


@dataclass(slots=True)
class HandSet:
    """A clock that stands still until it is moved."""

    now: float

    def __call__(self) -> float:
        """Tell the time that was set."""
        return self.now

    def move(self, seconds: float) -> None:
        """Put the clock forward, or back."""
        self.now += seconds
