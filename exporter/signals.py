"""Signals: SIGTERM, SIGINT and SIGHUP for the server, the first two for commands."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress

from .errors import ConfigError
from .stderr import exit_at_once

_SHUTDOWN_TIMEOUT_SECONDS = 1.6
"""After that the process exits, even if something is still running."""


def run_command(work: Coroutine[object, object, int]) -> int:
    """Run a command; return its exit status, or 128 plus the number of the signal."""
    return asyncio.run(_run_until_signal(work))


async def _run_until_signal(work: Coroutine[object, object, int]) -> int:
    loop = asyncio.get_running_loop()
    task = loop.create_task(work)
    exit_statuses: list[int] = []

    def cancel(number: signal.Signals) -> None:
        exit_statuses.append(128 + number)
        task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, cancel, number)
    try:
        status = await task
    except asyncio.CancelledError:
        status = exit_statuses[0]
    # Threads cannot be cancelled, and one may wait long for a name server.
    loop.call_later(_SHUTDOWN_TIMEOUT_SECONDS, exit_at_once, status)
    return status


def install_signal_handlers(
    request_stop: Callable[[], None], reload: Callable[[], Awaitable[None]]
) -> None:
    """Call ``request_stop`` on SIGTERM and SIGINT, ``reload`` on SIGHUP."""
    loop = asyncio.get_running_loop()
    reloads: set[asyncio.Task[None]] = set()

    def stop() -> None:
        request_stop()
        # Threads cannot be cancelled, and one may wait for a name server or a file.
        loop.call_later(_SHUTDOWN_TIMEOUT_SECONDS, exit_at_once, 0)

    async def run_reload() -> None:
        with suppress(ConfigError):  # logged and counted by ``reload``
            await reload()

    def start_reload() -> None:
        task = loop.create_task(run_reload())
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    loop.add_signal_handler(signal.SIGHUP, start_reload)
