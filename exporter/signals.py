"""How a command that does not serve ends: by itself, or by a signal."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Coroutine

_LONGEST_FAREWELL_SECONDS = 1.8


def run_to_the_end(work: Coroutine[object, object, int]) -> int:
    """Run a command; return its exit status, or 128 and the number of a signal."""
    return asyncio.run(_to_the_end(work))


async def _to_the_end(work: Coroutine[object, object, int]) -> int:
    loop = asyncio.get_running_loop()
    task = loop.create_task(work)
    signals: list[int] = []

    def end(number: signal.Signals) -> None:
        signals.append(128 + number)
        task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end, number)
    try:
        status = await task
    except asyncio.CancelledError:
        status = signals[0]
    # Threads cannot be ended: one may wait for a name server for long.
    loop.call_later(_LONGEST_FAREWELL_SECONDS, os._exit, status)
    return status
