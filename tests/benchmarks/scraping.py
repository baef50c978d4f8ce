"""Scrapes over HTTP, timed as a client sees them, and checked to be new each time."""

from __future__ import annotations

import asyncio
import gzip
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from statistics import median, quantiles

import aiohttp
from cloud_process import CONTEXT, Cloud
from subject_process import MeasuredExporter

GZIP = "gzip"
PLAIN = "identity"

_SECONDS_BETWEEN = 1.1
"""So that no scrape can be that of a second before."""
_PING_SECONDS = 0.005
_AGE = re.compile(rb"^onapp_backup_age_seconds\{[^}]*\} ([\d.e+]+)$", re.MULTILINE)
_MAGIC = b"\x1f\x8b"
_EVER = aiohttp.ClientTimeout(total=None)


@dataclass(frozen=True)
class Timed:
    """A scrape, and what it took."""

    seconds: float
    first_byte_seconds: float
    body: bytes
    cpu_seconds: float = 0.0
    """Of the exporter, whoever else had the machine meanwhile."""

    def text(self) -> bytes:
        """Return what it says."""
        gzipped = self.body.startswith(_MAGIC)
        return gzip.decompress(self.body) if gzipped else self.body


@dataclass(frozen=True)
class Health:
    """How long ``/-/healthy`` took."""

    median_seconds: float
    p99_seconds: float
    longest_seconds: float


async def scrape(url: str, encoding: str) -> Timed:
    """Scrape once, on a connection of its own; the body stays as it was sent."""
    async with aiohttp.ClientSession(auto_decompress=False, timeout=_EVER) as session:
        started = time.perf_counter()
        async with session.get(
            f"{url}/metrics", headers={"Accept-Encoding": encoding}
        ) as response:
            response.raise_for_status()
            pieces: list[bytes] = []
            first = 0.0
            async for piece in response.content.iter_any():
                first = first or time.perf_counter() - started
                pieces.append(piece)
        return Timed(time.perf_counter() - started, first, b"".join(pieces))


def scrapes(
    subject: MeasuredExporter, cloud: Cloud, url: str, encoding: str, times: int
) -> list[Timed]:
    """Scrape so many times, a second apart, each time after a server has changed."""
    timed: list[Timed] = []
    ages: set[bytes] = set()
    for turn in range(times):
        number = _change(subject, cloud, turn)
        cpu_before = subject.cpu()
        one = asyncio.run(scrape(url, encoding))
        timed.append(replace(one, cpu_seconds=subject.cpu() - cpu_before))
        _check(timed[-1], number, ages)
    return timed


def at_once(subject: MeasuredExporter, cloud: Cloud, url: str, scrapers: int) -> float:
    """Return the seconds until so many scrapers that ask at once have all been served.

    The first of four tries only warms up; a server has changed before each.
    """

    async def together() -> tuple[float, list[Timed]]:
        started = time.perf_counter()
        timed = await asyncio.gather(*(scrape(url, GZIP) for _ in range(scrapers)))
        return time.perf_counter() - started, timed

    found = []
    ages: set[bytes] = set()
    for turn in range(4):
        number = _change(subject, cloud, turn)
        seconds, timed = asyncio.run(together())
        _check(timed[0], number, ages)
        found.append(seconds)
    return median(found[1:])


def _change(subject: MeasuredExporter, cloud: Cloud, turn: int) -> int:
    """Let a server have a new backup, and a second pass; return the backup's number."""
    vm_id = 1 + turn % cloud.servers
    number = cloud.change(vm_id)
    subject.cpu_of_a_pass([vm_id])
    _stay_awake(_SECONDS_BETWEEN)
    return number


def _check(timed: Timed, number: int, ages: set[bytes]) -> None:
    """Raise if a scrape lacks a backup, or has the ages of one before."""
    text = timed.text()
    age = next(_AGE.finditer(text))[1]
    if b'backup_id="%d"' % number not in text or age in ages:
        raise RuntimeError("what was scraped is not new")
    ages.add(age)


def _stay_awake(seconds: float) -> None:
    """Wait without letting the machine sleep.

    A virtual machine that has slept needs longer to wake up than for a small scrape.
    """
    ends = time.perf_counter() + seconds
    while time.perf_counter() < ends:
        pass


def health_at_rest(url: str, seconds: float) -> Health:
    """Ask for health again and again while nothing else is asked for."""
    with pinging(url) as results:
        time.sleep(seconds)
    return _health(results)


def health_while_scraping(
    ours: str, scraped: str, encoding: str, seconds: float
) -> Health:
    """Ask for health again and again while one scrape follows another."""

    async def scrape_on() -> None:
        ends = time.perf_counter() + seconds
        await scrape(scraped, encoding)
        while time.perf_counter() < ends:
            await scrape(scraped, encoding)

    with pinging(ours) as results:
        asyncio.run(scrape_on())
    return _health(results)


def _health(seconds: list[float]) -> Health:
    took = sorted(seconds)
    return Health(median(took), quantiles(took, n=100)[98], took[-1])


@contextmanager
def pinging(url: str) -> Iterator[list[float]]:
    """Ask for health in a process of its own; fill the list when it ends."""
    ours, theirs = CONTEXT.Pipe()
    process = CONTEXT.Process(target=_ping, args=(theirs, url), daemon=True)
    process.start()
    ours.recv()
    results: list[float] = []
    try:
        yield results
        ours.send(None)
        results += ours.recv()
    finally:
        process.terminate()
        process.join()


def _ping(orders: Connection, url: str) -> None:
    asyncio.run(_ping_on(orders, url))


async def _ping_on(orders: Connection, url: str) -> None:
    took: list[float] = []
    async with aiohttp.ClientSession(timeout=_EVER) as session:
        orders.send(None)
        while not orders.poll():
            started = time.perf_counter()
            async with session.get(f"{url}/-/healthy") as response:
                await response.read()
            took.append(time.perf_counter() - started)
            await asyncio.sleep(_PING_SECONDS)
    orders.send(took)
