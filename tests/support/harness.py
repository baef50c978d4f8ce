"""An exporter that monitors a simulated cloud, with a clock that tests move.

Everything but the clock is real: requests cross sockets of the loopback interface. Time
stands still until ``MonitoredCloud.advance`` moves it, for the exporter and the
simulated world alike. So a test covers hours in milliseconds, on any machine.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
)
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from faulty_panel import Panel
from prometheus_client.parser import text_string_to_metric_families

from exporter.app import Exporter
from exporter.config import load as config
from exporter.demo.cloud.simulation import SimulatedCloud
from exporter.model.selection import Shard
from exporter.systemd import NotifySocket

NOW = 1_800_000_000.0
"""When every test begins: 2027-01-15 08:00:00 UTC."""

BACKUPS_ONLY = {"schedules": False, "transactions": False, "backup_servers": False}
"""For ``collectors``: only inventory and backups are read."""

_LONGEST_REAL_WAIT_SECONDS = 60
_SHORTEST_SLEEP_SECONDS = 1e-6


@dataclass(eq=False)
class SteppedClock:
    """A clock that tests move, from one sleeper's due time to the next."""

    start: float = NOW
    elapsed: float = 0.0
    sleepers: dict[asyncio.Event, float] = field(default_factory=dict)

    def time(self) -> float:
        """Return the Unix time."""
        return self.start + self.elapsed

    def monotonic(self) -> float:
        """Return seconds since some moment before the beginning of the test."""
        return 1000.0 + self.elapsed

    async def wait(self, wake: asyncio.Event, seconds: float | None) -> None:
        """Wait until ``wake`` is set or the clock has moved so far."""
        if seconds is not None and seconds <= 0:
            await asyncio.sleep(0)
            return
        if seconds is None:
            await wake.wait()
            return
        moved = asyncio.Event()
        # Rounding must not make a sleeper due at the moment it begins to sleep.
        self.sleepers[moved] = self.elapsed + max(seconds, _SHORTEST_SLEEP_SECONDS)
        waits = [asyncio.create_task(event.wait()) for event in (wake, moved)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.sleepers.pop(moved, None)
            for task in waits:
                task.cancel()

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[object]:
        """Return a time-out in real time: the other end may be busy."""
        return asyncio.timeout(seconds)

    def next_stop(self, target: float) -> float:
        """Return where the clock next stops: at the next sleeper or at ``target``."""
        return min([target, *self.sleepers.values()])

    def move(self, target: float) -> bool:
        """Move to the next stop; return whether ``target`` is reached."""
        self.elapsed = max(self.elapsed, self.next_stop(target))
        for moved, due in list(self.sleepers.items()):
            if due <= self.elapsed:
                self.sleepers.pop(moved)
                moved.set()
        return self.elapsed >= target


@dataclass(eq=False)
class SteppedTimeoutClock(SteppedClock):
    """A stepped clock by which requests time out too, without real waiting."""

    @asynccontextmanager
    async def timeout(self, seconds: float) -> AsyncIterator[None]:
        """Raise TimeoutError in the body when the clock has moved so far."""
        moved = asyncio.Event()
        self.sleepers[moved] = self.elapsed + seconds
        try:
            async with asyncio.timeout(None) as scope:
                ending = asyncio.create_task(_expire(scope, moved))
                try:
                    yield
                finally:
                    ending.cancel()
        finally:
            self.sleepers.pop(moved, None)


async def _expire(scope: asyncio.Timeout, moved: asyncio.Event) -> None:
    await moved.wait()
    scope.reschedule(asyncio.get_running_loop().time())


@dataclass(eq=False)
class MonitoredCloud:
    """An exporter over simulated panels, and a client for it."""

    panel: Panel
    exporter: Exporter
    clock: SteppedClock
    base: str
    session: aiohttp.ClientSession
    file: Path
    """The exporter's configuration file; change it, then ``POST /-/reload``."""
    unanswered: int = 0
    """How many requests the panel leaves unanswered while time passes."""
    hung_jobs: int = 0
    """How many of the pollers' jobs never end."""

    @property
    def world(self) -> SimulatedCloud:
        """Return the world behind the (first) panel."""
        return self.panel.cloud

    async def settle(self) -> None:
        """Wait until every poller has done everything that is due now."""
        async with asyncio.timeout(_LONGEST_REAL_WAIT_SECONDS):
            await _run_ready_tasks()
            rests = 0
            while not self._is_settled() or rests < self._checks_wanted():
                rests = rests + 1 if self._is_settled() else 0
                await asyncio.sleep(0.0005)
                await _run_ready_tasks()

    def _checks_wanted(self) -> int:
        """Return how often to check: a panel notices late that a client is gone."""
        return 3 if self._simulates_timeouts() and self.panel.faults.held else 0

    def _simulates_timeouts(self) -> bool:
        return isinstance(self.clock, SteppedTimeoutClock)

    def _is_settled(self) -> bool:
        pollers = [
            member.poller for member in self.exporter.manager.panel_tasks.values()
        ]
        in_flight = sum(poller.in_flight for poller in pollers)
        if self._simulates_timeouts():
            allowed = self.panel.faults.held
        else:
            allowed = min(self.unanswered, self.panel.in_flight)
        return in_flight <= allowed + self.hung_jobs and all(
            poller.sleeping for poller in pollers
        )

    async def advance(self, seconds: float) -> None:
        """Move the clock, and let the exporter do what becomes due."""
        target = self.clock.elapsed + seconds
        await self.settle()
        while not self.clock.move(target):
            await self.settle()
        await self.settle()

    async def get(
        self, path: str, *, method: str = "GET", **headers: str
    ) -> tuple[int, str, Mapping[str, str]]:
        """Return status, text and headers of any path."""
        names = {key.replace("_", "-"): value for key, value in headers.items()}
        async with self.session.request(
            method, self.base + path, headers=names
        ) as response:
            return response.status, await response.text(), response.headers

    async def metrics(self) -> str:
        """Return a scrape in the text format."""
        status, text, _ = await self.get("/metrics", Accept="text/plain")
        assert status == 200, text
        return text

    async def series(self, family: str, **labels: object) -> dict[str, float]:
        """Return a family's samples that have these labels, by their other labels.

        The key is ``a=1,b=2`` of the labels not asked for, sorted by name.
        """
        return series(await self.metrics(), family, **labels)

    async def value(self, family: str, **labels: object) -> float | None:
        """Return the one sample with these labels, or None; raise if there are more."""
        found = await self.series(family, **labels)
        if not found:
            return None
        (value,) = found.values()
        return value


Start = Callable[..., AbstractAsyncContextManager[MonitoredCloud]]
"""Starts an exporter over a panel, with keys of its section of the configuration."""


async def _run_ready_tasks() -> None:
    """Let every task run that can: pollers that woke up, and what they started."""
    for _ in range(4):
        await asyncio.sleep(0)


def series(text: str, family: str, **labels: object) -> dict[str, float]:
    """Return the samples of a scrape as ``Cloud.series`` does.

    The label of the first shard, which is the only one as a rule, is left out.
    """
    wanted = {key: str(value) for key, value in labels.items()}
    # Only these lines: to parse a whole scrape takes longer than to make it.
    lines = [line for line in text.split("\n") if re.match(f"{family}[ {{]", line)]
    found: dict[str, float] = {}
    for metric in text_string_to_metric_families("\n".join(lines)):
        for sample in metric.samples:
            if wanted.items() <= sample.labels.items():
                rest = sample.labels.items() - wanted.items() - {("shard", "0")}
                found[",".join(f"{k}={v}" for k, v in sorted(rest))] = sample.value
    return found


@asynccontextmanager
async def monitored(  # noqa: PLR0913  # a test names what matters to it
    panel: Panel,
    folder: Path,
    *,
    clock: SteppedClock | None = None,
    shard: Shard | None = None,
    settings: Mapping[str, Any] | None = None,
    unanswered: int = 0,
    web_config_file: Path | None = None,
    **keys: Any,
) -> AsyncIterator[MonitoredCloud]:
    """Start a panel and an exporter that monitors it; stop both in the end.

    ``keys`` go into the panel's section of the configuration file, ``settings`` into
    its top level. The first pass has ended when the body begins, but for
    ``unanswered`` requests.
    """
    clock = clock or SteppedClock(panel.cloud.now)
    panel.clock = clock.time
    async with panel:
        file = folder / "onapp.yml"
        write_config(file, panel, settings or {}, keys)
        async with running_exporter(
            *(panel, file, clock),
            shard=shard,
            unanswered=unanswered,
            web_config_file=web_config_file,
        ) as cloud:
            yield cloud


@asynccontextmanager
async def running_exporter(  # noqa: PLR0913  # the same
    panel: Panel,
    file: Path,
    clock: SteppedClock,
    *,
    shard: Shard | None = None,
    unanswered: int = 0,
    web_config_file: Path | None = None,
    supervisor: NotifySocket | None = None,
) -> AsyncIterator[MonitoredCloud]:
    """Start an exporter with a configuration file, over a running panel."""
    exporter = Exporter(
        load=lambda files: config.load(file, {}, files),
        clock=clock,
        shard=shard or Shard(),
        web_config_file=web_config_file,
        notify_socket=supervisor or NotifySocket(),
        jitter=lambda: 0.0,
    )
    async with (
        exporter.running(("127.0.0.1:0",)) as (address,),
        aiohttp.ClientSession() as session,
    ):
        base = f"http://{address}"
        cloud = MonitoredCloud(panel, exporter, clock, base, session, file, unanswered)
        await cloud.settle()
        yield cloud


@asynccontextmanager
async def monitored_by_shards(
    panel: Panel, folder: Path, total: int, **keys: Any
) -> AsyncIterator[list[MonitoredCloud]]:
    """Start a panel and the exporters that share its servers, on one clock."""
    clock = SteppedClock(NOW)
    panel.clock = clock.time
    async with panel, AsyncExitStack() as stack:
        file = folder / "onapp.yml"
        write_config(file, panel, {}, keys)
        clouds = []
        for number in range(total):
            shard = Shard(number, total)
            cloud = await stack.enter_async_context(
                running_exporter(panel, file, clock, shard=shard)
            )
            clouds.append(cloud)
        yield clouds


async def advance_together(clouds: list[MonitoredCloud], seconds: float) -> None:
    """Move the clock that exporters share."""
    clock = clouds[0].clock
    target = clock.elapsed + seconds
    while True:
        for cloud in clouds:
            await cloud.settle()
        if clock.elapsed >= target:
            return
        clock.move(target)


def write_config(
    file: Path, panel: Panel, settings: Mapping[str, Any], keys: Mapping[str, Any]
) -> None:
    """Write a configuration file for one panel, its key in a file beside it."""
    key = file.with_name("api-key")
    key.write_text(panel.password + "\n")
    section = {
        "name": "cp",
        "url": panel.url,
        "basic_auth": {"username": panel.username, "password_file": key.name},
        **keys,
    }
    file.write_text(yaml.safe_dump({**settings, "panels": [section]}))


def show_progress(line: str) -> None:
    """Show how far a long run is, on a terminal."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{line}\033[K")
        sys.stderr.flush()
