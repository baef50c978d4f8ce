"""Clocks, which are passed as arguments so that simulations and tests control time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol
from weakref import WeakKeyDictionary

_OVERRUN_GRACE_SECONDS = 60.0
"""Tolerated delay of a wait on a busy machine; after that, the task counts as hung."""
_MAX_WORK_SECONDS = 600.0
"""Limit on work between two waits, for example to decode a very long answer."""


@dataclass(frozen=True, slots=True)
class Now:
    """Time of a scrape: Unix time for display, monotonic time for computing ages."""

    time: float
    monotonic: float


class Clock(Protocol):
    """Wall time, monotonic time, and waiting."""

    def time(self) -> float:
        """Return the Unix time in seconds, for display."""

    def monotonic(self) -> float:
        """Return seconds from an arbitrary start, for planning and measuring."""

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
        """Return seconds from an arbitrary start; they never decrease."""
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
    """Heartbeat of one poller: whether its loop and all of its jobs are running.

    Every task sets a deadline by which it runs again. Whether the panel answers does
    not matter: a poller that waits for an unreachable panel is running correctly.
    """

    clock: Clock
    _deadlines: WeakKeyDictionary[asyncio.Task[Any], float] = field(
        default_factory=WeakKeyDictionary
    )
    """Monotonic time by which each task must run again.

    A loop that waits for its jobs has none.
    """
    _last_beat_at: float = field(init=False)

    def __post_init__(self) -> None:
        """Start with a beat."""
        self._last_beat_at = self.clock.monotonic()

    def beat(self) -> None:
        """Record that the current task runs; it must wait again within ten minutes."""
        self._promise(_MAX_WORK_SECONDS)

    @contextmanager
    def waiting(self, seconds: float | None) -> Iterator[None]:
        """Expect the body to end within ``seconds``; None: when another task ends."""
        self._promise(None if seconds is None else seconds + _OVERRUN_GRACE_SECONDS)
        try:
            yield
        finally:
            self.beat()

    def is_alive(self) -> bool:
        """Return whether no task missed its deadline.

        Without deadlines: whether a task ran in the last ten minutes.
        """
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
