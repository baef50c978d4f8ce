"""Time as an argument: simulations and tests pass a clock of their own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol
from weakref import WeakKeyDictionary

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
    """Heartbeat of one poller: whether its loop and each of its jobs still run.

    Every task promises when it runs again. Whether the panel answers does not matter
    here: a poller that waits for a panel that is down runs as it should.
    """

    clock: Clock
    _deadlines: WeakKeyDictionary[asyncio.Task[Any], float] = field(
        default_factory=WeakKeyDictionary
    )
    """Until when each task must run again, but for a loop that waits for its jobs."""
    _last_beat_at: float = field(init=False)

    def __post_init__(self) -> None:
        """Start with a beat."""
        self._last_beat_at = self.clock.monotonic()

    def beat(self) -> None:
        """Note that the current task runs; its next wait begins within ten minutes."""
        self._promise(_MAX_WORK_SECONDS)

    @contextmanager
    def waiting(self, seconds: float | None) -> Iterator[None]:
        """Declare that the body ends within ``seconds``; None: with another task."""
        self._promise(None if seconds is None else seconds + _OVERRUN_GRACE_SECONDS)
        try:
            yield
        finally:
            self.beat()

    def is_alive(self) -> bool:
        """Return whether no task overran; without promises, whether one ran lately."""
        promised = [at for task, at in self._deadlines.items() if not task.done()]
        last = self._last_beat_at + _MAX_WORK_SECONDS
        return self.clock.monotonic() <= min(promised, default=last)

    def _promise(self, seconds: float | None) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # pollers run in tasks
        self._last_beat_at = self.clock.monotonic()
        if seconds is None:
            self._deadlines.pop(task, None)
        else:
            self._deadlines[task] = self._last_beat_at + seconds
