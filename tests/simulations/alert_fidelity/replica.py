"""One replica of the exporter in a run, and the recording of its scrapes.

It is the real exporter over real HTTP; only its clock is moved by hand, in steps of a
few minutes. Each replica runs in a process of its own, over clouds of its own: those
of the same plan are the same, whoever looks.
"""

from __future__ import annotations

import asyncio
import math
import re
import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import structlog
import yaml
from checkout import DEPLOY
from harness import SteppedClock

from alert_fidelity.clouds import START, CloudAndPanel
from alert_fidelity.incidents import Incident
from alert_fidelity.panel_problems import Event, PanelProblems, events
from alert_fidelity.plan import Plan, simulated_clouds
from alert_fidelity.timing import DAY, STEP
from exporter.app import Exporter
from exporter.config import load as config
from exporter.demo.cloud.rows import LoggedEvent
from exporter.errors import ConfigError
from exporter.model.selection import Shard

RULES = DEPLOY / "prometheus"
_POLL = {"interval": "1h", "concurrency": 2}
_DISCOVERY = {"interval": "30m"}
_TURNS = 4


def used_families() -> list[str]:
    """Return the metrics that the shipped rules use."""
    rules = [file.read_text("utf-8") for file in RULES.glob("*.rules.yml")]
    found = re.findall(r"(?<![:\w])onapp_\w+(?![:\w/-])", " ".join(rules))
    return sorted(set(found))


_STARTED = "process_start_time_seconds"
"""It is that of the test's own process, so the replica says it by its own clock."""


@dataclass(eq=False)
class CoarseClock(SteppedClock):
    """A clock that moves in steps of a few minutes: what is due meanwhile waits."""

    grain_seconds: float = 900.0

    def next_stop(self, target: float) -> float:
        """Return the end of the step in which the next sleeper is due."""
        due = super().next_stop(target)
        return min(target, math.ceil(due / self.grain_seconds) * self.grain_seconds)


@dataclass
class Recording:
    """The scrapes of a run: each series' values, as text, at steps where they change.

    None: the series is absent.
    """

    series: dict[str, list[tuple[int, str | None]]] = field(default_factory=dict)
    steps: int = 0
    _lines: set[str] = field(default_factory=set)

    def add_scrape(self, text: str) -> None:
        """Add the scrape of the next step; an empty one has failed."""
        lines = set(text.splitlines())
        changed = dict(_parts(line) for line in lines - self._lines)
        for name in {_parts(line)[0] for line in self._lines - lines}:
            changed.setdefault(name, None)
        for name, value in changed.items():
            self.series.setdefault(name, []).append((self.steps, value))
        self._lines = lines
        self.steps += 1


def _parts(line: str) -> tuple[str, str | None]:
    """Return the series of a line, and its value."""
    name, _, value = line.rpartition(" ")
    return name, value


@dataclass
class ReplicaRun:
    """What one replica recorded, and what happened in the clouds meanwhile."""

    recording: Recording
    incidents: list[Incident]
    journals: dict[str, list[LoggedEvent]]
    servers: int
    """How many there were at the beginning."""


@dataclass(eq=False)
class Replica:
    """An exporter that is started, stopped and scraped as the plan says."""

    name: str
    plan: Plan
    folder: Path
    clouds: list[CloudAndPanel]
    clock: CoarseClock
    incidents: list[Incident] = field(default_factory=list)
    """Of the exporters themselves."""
    recording: Recording = field(default_factory=Recording)
    exporter: Exporter | None = None
    started_at: float = 0.0
    restarting: bool = False
    """Whether it is restarted in every step."""
    base: str = ""
    _running: AsyncExitStack = field(default_factory=AsyncExitStack)
    _families: list[str] = field(default_factory=used_families)

    @property
    def file(self) -> Path:
        """Return where the configuration is."""
        return self.folder / "onapp.yml"

    async def run(self, progress: Callable[[float], None]) -> None:
        """Run the plan; ``progress`` is called with the simulated day."""
        problems = PanelProblems({g.name: g for g in self.clouds}, self.clock)
        coming = events(self.plan)
        present: list[tuple[float, Callable[[], object]]] = []
        self.write_configuration()
        await self.start()
        async with aiohttp.ClientSession() as session:
            for step in range(round(self.plan.days * DAY / STEP)):
                now = self.clock.time()
                for cloud in self.clouds:
                    cloud.world.advance(now)
                for entry in [entry for entry in present if entry[0] <= now]:
                    present.remove(entry)
                    ended = entry[1]()
                    if asyncio.isfuture(ended) or asyncio.iscoroutine(ended):
                        await ended
                while coming and coming[0].begins <= now:
                    event = coming.pop(0)
                    begin = problems.begin if event.panel else self.begin_event
                    present.append((event.ends, await begin(event)))
                await self.record(session)
                await self.advance(STEP)
                if step % round(DAY / STEP) == 0:
                    progress(step * STEP / DAY)
                    for cloud in self.clouds:
                        cloud.world.delete_old_transactions(now - 3 * DAY)
                        cloud.panel.requests.clear()
        await self.stop()

    async def record(self, session: aiohttp.ClientSession) -> None:
        """Add a scrape to the recording, after a restart if it is to be restarted."""
        if self.restarting:
            await self.start()
        await self.settle()
        self.recording.add_scrape(await self.scrape(session))

    async def begin_event(self, event: Event) -> Callable[[], object]:
        """Begin an event of the exporters; return the function that ends it."""
        kind = event.kind
        labels = {"instance": event.more} if kind == "one exporter down" else {}
        panels = ["", "lon1", "ams1", "nyc1"] if kind == "shard missing" else [""]
        incidents = [
            Incident(kind, panel, self.clock.time(), labels=labels)
            for panel in panels
            if panel or kind != "shard missing"
        ]
        self.incidents.extend(incidents)
        end_problem = await self._begin_event(event)

        async def end() -> None:
            for incident in incidents:
                incident.ends = self.clock.time()
            await end_problem()

        return end

    async def _begin_event(self, event: Event) -> Callable[[], Any]:
        if event.kind == "configuration broken":
            self.file.write_text("panels: nonsense")
            await self._reload()

            async def restore() -> None:
                self.write_configuration()
                await self._reload()

            return restore
        if event.kind == "shard missing":
            await self.start(Shard(0, 2))
            return self.start
        if "every quarter of an hour" in event.kind:
            self.restarting = self.name in event.more
            return self._end_restarts
        if self.name in event.more:
            await self.stop()
            return self.start
        return self._nothing

    async def _nothing(self) -> None:
        pass

    async def _end_restarts(self) -> None:
        self.restarting = False

    async def _reload(self) -> None:
        if self.exporter is not None:
            with suppress(ConfigError):
                await self.exporter.reload()

    async def start(self, shard: Shard | None = None) -> None:
        """Start the exporter again, as if the process were restarted."""
        await self.stop()
        self.exporter = Exporter(
            load=lambda _: config.load(self.file, {}),
            clock=self.clock,
            shard=shard or Shard(),
            jitter=lambda: 0.0,
        )
        (address,) = await self._running.enter_async_context(
            self.exporter.running(("127.0.0.1:0",))
        )
        self.base = f"http://{address}"
        self.started_at = self.clock.time()
        await self.settle()

    async def stop(self) -> None:
        """Stop the exporter, if it runs."""
        await self._running.aclose()
        self._running = AsyncExitStack()
        self.exporter = None

    async def scrape(self, session: aiohttp.ClientSession) -> str:
        """Return the metrics that rules use; ``up 0`` while it is stopped."""
        if self.exporter is None:
            return "up 0"
        names = [("name[]", family) for family in self._families]
        async with session.get(f"{self.base}/metrics", params=names) as response:
            response.raise_for_status()
            text = await response.text()
            lines = (line for line in text.splitlines() if line[0] != "#")
            return "\n".join([*lines, f"{_STARTED} {self.started_at}", "up 1"])

    async def advance(self, seconds: float) -> None:
        """Move the clock, and let the exporter do what becomes due."""
        target = self.clock.elapsed + seconds
        while not self.clock.move(target):
            await self.settle()
        await self.settle()

    async def settle(self) -> None:
        """Wait until everything that is due is done."""
        while True:
            for _ in range(_TURNS):
                await asyncio.sleep(0)
            if self._is_settled():
                return
            await asyncio.sleep(0.0003)

    def _is_settled(self) -> bool:
        if self.exporter is None:
            return True
        pollers = [
            member.poller for member in self.exporter.manager.panel_tasks.values()
        ]
        held = sum(cloud.panel.faults.held for cloud in self.clouds)
        in_flight = sum(poller.in_flight for poller in pollers)
        return in_flight <= held and all(poller.sleeping for poller in pollers)

    def write_configuration(self) -> None:
        """Write the exporter's configuration file."""
        sections = [cloud.section(discovery=_DISCOVERY) for cloud in self.clouds]
        self.file.write_text(yaml.safe_dump({"poll": _POLL, "panels": sections}))


async def _run(plan: Plan, name: str, progress: Callable[[float], None]) -> ReplicaRun:
    found = simulated_clouds(plan)
    servers = sum(len(cloud.world.servers) for cloud in found)
    clock = CoarseClock(START)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for cloud in found:
            cloud.panel.clock = clock.time
            cloud.write_key(folder)
            await stack.enter_async_context(cloud.panel)
        replica = Replica(name, plan, folder, found, clock)
        await replica.run(progress)
    return ReplicaRun(
        replica.recording,
        [*(i for cloud in found for i in cloud.incidents), *replica.incidents],
        {cloud.name: cloud.world.event_log for cloud in found},
        servers,
    )


def run_replica(
    plan: Plan, name: str, progress: Callable[[float], None] = lambda _: None
) -> ReplicaRun:
    """Run one replica in this process."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    return asyncio.run(_run(plan, name, progress))
