"""Requests for the pages over HTTP, timed until the answer is complete."""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import median, quantiles

import aiohttp
from cloud_process import Cloud
from scraping import Health, pinging
from subject_process import MeasuredExporter

PAGES = {
    "status page": "/",
    "status page, sorted": "/?sort=size&order=desc&page=2",
    "a server's page": "/server?panel=cp&vm_id=1",
    "the panel's page": "/panel?panel=cp",
    "JSON": "/api/v1/status",
}
_TIMES = 9
_SECONDS_BETWEEN = 1.1
_BROWSER = {"Accept": "text/html,*/*;q=0.8", "Accept-Encoding": "gzip"}
_EVER = aiohttp.ClientTimeout(total=None)


@dataclass(frozen=True)
class Viewed:
    """An answer, or the medians of several."""

    seconds: float
    transferred_bytes: int
    """To a client that accepts gzip."""
    plain_bytes: int
    cpu_seconds: float = 0.0
    """Of the exporter, whoever else had the machine meanwhile."""


@dataclass(frozen=True)
class PageTimes:
    """What each of the ``PAGES`` takes."""

    pages: Mapping[str, Viewed]
    health: Health
    """While one request follows another."""


def page_times(
    subject: MeasuredExporter, cloud: Cloud, url: str, seconds: float
) -> PageTimes:
    """Time every page, a second apart, each time after a server has changed."""
    timed: dict[str, list[Viewed]] = {name: [] for name in PAGES}
    for turn in range(_TIMES):
        for name, path in PAGES.items():
            vm_id = 1 + turn % cloud.servers
            cloud.change(vm_id)
            subject.cpu_of_a_pass([vm_id])
            time.sleep(_SECONDS_BETWEEN)
            cpu_before = subject.cpu()
            one = asyncio.run(_view(url + path))
            timed[name].append(replace(one, cpu_seconds=subject.cpu() - cpu_before))
    return PageTimes(
        {name: _medians(found) for name, found in timed.items()},
        _health(url, seconds),
    )


def _medians(timed: list[Viewed]) -> Viewed:
    return replace(
        timed[-1],
        seconds=median(one.seconds for one in timed),
        cpu_seconds=median(one.cpu_seconds for one in timed),
    )


async def _view(url: str) -> Viewed:
    """Ask for a page as a browser does."""
    async with aiohttp.ClientSession(auto_decompress=False, timeout=_EVER) as session:
        started = time.perf_counter()
        async with session.get(url, headers=_BROWSER) as response:
            response.raise_for_status()
            body = await response.read()
        seconds = time.perf_counter() - started
        return Viewed(seconds, len(body), len(gzip.decompress(body)))


def _health(url: str, seconds: float) -> Health:
    async def ask_repeatedly() -> None:
        ends = time.perf_counter() + seconds
        while time.perf_counter() < ends:
            await _view(url + PAGES["status page"])

    with pinging(url) as results:
        asyncio.run(ask_repeatedly())
    took = sorted(results)
    return Health(median(took), quantiles(took, n=100)[98], took[-1])
