"""The time, as an argument: tests and simulations bring a clock of their own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Protocol

_OVERRUN_GRACE_SECONDS = 60.0
"""A machine may be busy: what is later than this will not come."""
_MAX_WORK_SECONDS = 600.0
"""From one wait to the next, as to decode the longest of answers."""


@dataclass(frozen=True, slots=True)
class Now:
    """The moment of a scrape: Unix time to show, monotonic time to judge by."""

    time: float
    monotonic: float


class Clock(Protocol):
    """Two readings of time, and a way to let it pass."""

    def time(self) -> float:
        """Return the Unix time in seconds: for what is shown."""

    def monotonic(self) -> float:
        """Return seconds since some moment: for what is planned and measured."""

    async def wait(self, wake: asyncio.Event, seconds: float | None) -> None:
        """Return when ``wake`` is set or ``seconds`` have passed."""

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[object]:
        """Return what ends its body with TimeoutError when ``seconds`` have passed."""


class SystemClock:
    """The clock of the machine."""

    def time(self) -> float:
        """Return the Unix time in seconds."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds since some moment; never goes back."""
        return time.monotonic()

    async def wait(self, wake: asyncio.Event, seconds: float | None) -> None:
        """Return when ``wake`` is set or ``seconds`` have passed."""
        try:
            async with asyncio.timeout(seconds):
                await wake.wait()
        except TimeoutError:
            return

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[object]:
        """Return what ends its body with TimeoutError when ``seconds`` have passed."""
        return asyncio.timeout(seconds)


@dataclass(slots=True, eq=False)
class Heartbeat:
    """What one poller waits for, and until when: whether it turns.

    Whoever waits says how long at most. That a panel is down or refuses credentials
    is no matter here: to find that out, and to wait for better times, is to turn.
    """

    clock: Clock
    _deadlines: dict[object, float] = field(default_factory=dict)
    _last_beat_at: float = field(init=False)

    def __post_init__(self) -> None:
        """Begin with a beat."""
        self._last_beat_at = self.clock.monotonic()

    @contextmanager
    def waiting(self, seconds: float | None) -> Iterator[None]:
        """Promise that the body ends in time; None: when another wait does."""
        wait = object()
        self._last_beat_at = self.clock.monotonic()
        if seconds is not None:
            self._deadlines[wait] = self._last_beat_at + seconds
        try:
            yield
        finally:
            self._deadlines.pop(wait, None)
            self._last_beat_at = self.clock.monotonic()

    def is_alive(self) -> bool:
        """Tell whether every wait ended in time, and there was one lately."""
        now = self.clock.monotonic()
        if self._deadlines:
            return now <= min(self._deadlines.values()) + _OVERRUN_GRACE_SECONDS
        return now <= self._last_beat_at + _MAX_WORK_SECONDS
