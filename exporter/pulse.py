"""Whether a poller turns: whoever waits says how long at most.

That a panel is down or refuses credentials is no matter here: to find that out, and to
wait for better times, is to turn.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from .clock import Clock

_LATE_SECONDS = 60.0
"""A machine may be busy: what is later than this will not come."""
_LONGEST_WORK_SECONDS = 600.0
"""From one wait to the next, as to decode the longest of answers."""


@dataclass(slots=True, eq=False)
class Pulse:
    """What one poller waits for, and until when."""

    clock: Clock
    _ends: dict[object, float] = field(default_factory=dict)
    _felt_at: float = field(init=False)

    def __post_init__(self) -> None:
        """Begin with a beat."""
        self._felt_at = self.clock.monotonic()

    @contextmanager
    def waiting(self, seconds: float | None) -> Iterator[None]:
        """Promise that the body ends in time; None: when another wait does."""
        wait = object()
        self._felt_at = self.clock.monotonic()
        if seconds is not None:
            self._ends[wait] = self._felt_at + seconds
        try:
            yield
        finally:
            self._ends.pop(wait, None)
            self._felt_at = self.clock.monotonic()

    def beats(self) -> bool:
        """Tell whether every wait ended in time, and there was one lately."""
        now = self.clock.monotonic()
        if self._ends:
            return now <= min(self._ends.values()) + _LATE_SECONDS
        return now <= self._felt_at + _LONGEST_WORK_SECONDS
