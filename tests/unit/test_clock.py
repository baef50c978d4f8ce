"""The machine's clock, as pollers use it."""

from __future__ import annotations

import asyncio

from exporter.clock import SystemClock


async def test_waiting_ends_when_woken() -> None:
    """However long the wait would have been."""
    wake = asyncio.Event()
    waiting = asyncio.create_task(SystemClock().wait(wake, 1e6))
    await asyncio.sleep(0)
    wake.set()
    async with asyncio.timeout(10):
        await waiting

    assert wake.is_set()


async def test_waiting_ends_when_the_time_has_passed() -> None:
    """Nobody has to wake the sleeper."""
    clock, wake = SystemClock(), asyncio.Event()
    before = clock.monotonic()
    async with asyncio.timeout(10):
        await clock.wait(wake, 0.01)

    assert clock.monotonic() - before >= 0.01
    assert not wake.is_set()


async def test_waiting_without_an_end_is_ended_by_waking() -> None:
    """Nothing is due: only an event can change that."""
    wake = asyncio.Event()
    waiting = asyncio.create_task(SystemClock().wait(wake, None))
    asyncio.get_running_loop().call_later(0.01, wake.set)
    async with asyncio.timeout(10):
        await waiting

    assert wake.is_set()


async def test_a_wait_of_no_time_lets_others_run() -> None:
    """A poller that has something to do at once does not keep the server from its."""
    ran: list[str] = []

    async def other() -> None:
        await asyncio.sleep(0)
        ran.append("other")

    task = asyncio.create_task(other())
    for _ in range(3):
        await SystemClock().wait(asyncio.Event(), 0.0)

    assert ran == ["other"]
    await task
