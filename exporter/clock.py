"""The time, as an argument: tests and simulations bring a clock of their own."""

from __future__ import annotations

import asyncio
import time
from contextlib import AbstractAsyncContextManager
from typing import Protocol


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
