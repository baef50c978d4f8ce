"""Time as an argument: simulations and tests pass a clock of their own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Protocol

_OVERRUN_GRACE_SECONDS = 60.0
"""A busy machine wakes tasks late; a wait that overruns by more counts as hung."""
_MAX_WORK_SECONDS = 600.0
"""Between two waits, for example to decode a very long answer."""


@dataclass(frozen=True, slots=True)
class Now:
    """Moment of a scrape: Unix time to show, monotonic time to compute ages with."""

    time: float
    monotonic: float


class Clock(Protocol):
    """Wall time, monotonic time, and waiting."""

    def time(self) -> float:
        """Return the Unix time in seconds, to be shown."""

    def monotonic(self) -> float:
        """Return seconds since some moment, to plan and to measure."""

    async def wait(self, wake: asyncio.Event, seconds: float | None) -> None:
        """Return when ``wake`` is set or ``seconds`` have passed."""

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[object]:
        """Return a context manager that raises TimeoutError after ``seconds``."""


class SystemClock:
    """Clock of the operating system and the event loop."""

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
        """Return a context manager that raises TimeoutError after ``seconds``."""
        return asyncio.timeout(seconds)


@dataclass(slots=True, eq=False)
class Heartbeat:
    """Heartbeat of one poller: whether its loop still runs.

    Every wait declares its longest duration. Whether the panel answers does not matter
    here: a poller that waits for a panel that is down runs as it should.
    """

    clock: Clock
    _deadlines: dict[object, float] = field(default_factory=dict)
    """Of the waits that are in progress."""
    _last_beat_at: float = field(init=False)

    def __post_init__(self) -> None:
        """Start with a beat."""
        self._last_beat_at = self.clock.monotonic()

    @contextmanager
    def waiting(self, seconds: float | None) -> Iterator[None]:
        """Declare that the body ends within ``seconds``; None: with another wait."""
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
        """Return whether no wait overran and the last one was not too long ago."""
        now = self.clock.monotonic()
        if self._deadlines:
            return now <= min(self._deadlines.values()) + _OVERRUN_GRACE_SECONDS
        return now <= self._last_beat_at + _MAX_WORK_SECONDS
