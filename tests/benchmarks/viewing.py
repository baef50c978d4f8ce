"""Requests for the status page over HTTP, timed until the answer is complete."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from statistics import median, quantiles

import aiohttp
from cloud_process import Cloud
from scraping import Health, pinging
from subject_process import MeasuredExporter

_PAGE, _SORTED, _JSON = "/", "/?sort=size&order=desc&page=2", "/api/v1/status"
_TIMES = 9
_SECONDS_BETWEEN = 1.1
_EVER = aiohttp.ClientTimeout(total=None)


@dataclass(frozen=True)
class PageTimes:
    """Medians in seconds, and the size of the page."""

    seconds: float
    sorted_seconds: float
    json_seconds: float
    bytes: int
    health: Health
    """While one request follows another."""


def page_times(
    subject: MeasuredExporter, cloud: Cloud, url: str, seconds: float
) -> PageTimes:
    """Time every page, a second apart, each time after a server has changed."""
    timed: dict[str, list[tuple[float, int]]] = {_PAGE: [], _SORTED: [], _JSON: []}
    for turn in range(_TIMES):
        for path, found in timed.items():
            vm_id = 1 + turn % cloud.servers
            cloud.change(vm_id)
            subject.cpu_of_a_pass([vm_id])
            time.sleep(_SECONDS_BETWEEN)
            found.append(asyncio.run(_view(url + path)))
    medians = {path: median(s for s, _ in found) for path, found in timed.items()}
    return PageTimes(
        medians[_PAGE],
        medians[_SORTED],
        medians[_JSON],
        timed[_PAGE][-1][1],
        _health(url, seconds),
    )


async def _view(url: str) -> tuple[float, int]:
    """Return how long a page took, and how many bytes it has."""
    async with aiohttp.ClientSession(timeout=_EVER) as session:
        started = time.perf_counter()
        async with session.get(url) as response:
            response.raise_for_status()
            body = await response.read()
        return time.perf_counter() - started, len(body)


def _health(url: str, seconds: float) -> Health:
    async def ask_repeatedly() -> None:
        ends = time.perf_counter() + seconds
        while time.perf_counter() < ends:
            await _view(url + _PAGE)

    with pinging(url) as results:
        asyncio.run(ask_repeatedly())
    took = sorted(results)
    return Health(median(took), quantiles(took, n=100)[98], took[-1])
