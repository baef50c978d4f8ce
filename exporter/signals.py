"""What SIGTERM, SIGINT and SIGHUP do: to an exporter that serves, and to a command."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress

from .errors import ConfigError

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


def obey_signals(
    end: Callable[[], None], reload: Callable[[], Awaitable[None]]
) -> None:
    """Call ``end`` on SIGTERM and SIGINT, ``reload`` on SIGHUP."""
    loop = asyncio.get_running_loop()
    reloads: set[asyncio.Task[None]] = set()

    def end_soon() -> None:
        end()
        # Threads cannot be ended: one may wait for a name server or a file for long.
        loop.call_later(_LONGEST_FAREWELL_SECONDS, os._exit, 0)

    async def reload_once() -> None:
        with suppress(ConfigError):  # logged and counted where it happened
            await reload()

    def begin_reload() -> None:
        task = loop.create_task(reload_once())
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end_soon)
    loop.add_signal_handler(signal.SIGHUP, begin_reload)
