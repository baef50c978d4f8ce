"""One replica of the exporter that lives through the run, and what it was scraped for.

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

from alert_fidelity.clouds import START, Ground
from alert_fidelity.incidents import Deed
from alert_fidelity.panel_problems import Event, Weather, events
from alert_fidelity.plan import Plan, grounds
from alert_fidelity.timing import DAY, STEP
from exporter.app import Exporter
from exporter.config import load as config
from exporter.demo.rows import JournalEntry
from exporter.errors import ConfigError
from exporter.model.selection import Shard

RULES = DEPLOY / "prometheus"
_POLL = {"interval": "1h", "concurrency": 2}
_DISCOVERY = {"interval": "30m"}
_TURNS = 4


def used_families() -> list[str]:
    """Return the metrics that the shipped rules speak of."""
    rules = [file.read_text("utf-8") for file in RULES.glob("*.rules.yml")]
    found = re.findall(r"(?<![:\w])onapp_\w+(?![:\w/-])", " ".join(rules))
    return sorted(set(found))


@dataclass(eq=False)
class CoarseClock(SteppedClock):
    """A clock that moves in steps of a few minutes: what is due meanwhile waits."""

    grain_seconds: float = 900.0

    def move(self, target: float) -> bool:
        """Move to the end of the step in which the next sleeper is due."""
        due = min([target, *self.sleepers.values()])
        grain = self.grain_seconds
        due = min(target, math.ceil(due / grain) * grain)
        self.elapsed = max(self.elapsed, due)
        for moved, moment in list(self.sleepers.items()):
            if moment <= self.elapsed:
                self.sleepers.pop(moved)
                moved.set()
        return self.elapsed >= target


@dataclass
class Tape:
    """What was scraped at each step: each series' values, as text, where they change.

    None is a series that is not there.
    """

    series: dict[str, list[tuple[int, str | None]]] = field(default_factory=dict)
    steps: int = 0
    _lines: set[str] = field(default_factory=set)

    def enter(self, text: str) -> None:
        """Take in a scrape; an empty one has failed."""
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
class Lived:
    """What one replica has recorded, and what truly happened meanwhile."""

    tape: Tape
    deeds: list[Deed]
    journals: dict[str, list[JournalEntry]]
    servers: int
    """How many there were at the beginning."""


@dataclass(eq=False)
class Replica:
    """An exporter that is started, stopped and scraped as the plan says."""

    name: str
    plan: Plan
    folder: Path
    grounds: list[Ground]
    clock: CoarseClock
    outside: Ground
    """Where deeds to exporters are written down."""
    tape: Tape = field(default_factory=Tape)
    exporter: Exporter | None = None
    base: str = ""
    _running: AsyncExitStack = field(default_factory=AsyncExitStack)
    _families: list[str] = field(default_factory=used_families)

    @property
    def file(self) -> Path:
        """Return where the configuration is."""
        return self.folder / "onapp.yml"

    async def live(self, told: Callable[[float], None]) -> None:
        """Run from the beginning to the end; ``told`` hears how far that is."""
        weather = Weather({g.name: g for g in self.grounds}, self.clock)
        coming = events(self.plan)
        present: list[tuple[float, Callable[[], object]]] = []
        self.write_configuration()
        await self.start()
        async with aiohttp.ClientSession() as session:
            for step in range(round(self.plan.days * DAY / STEP)):
                now = self.clock.time()
                for ground in self.grounds:
                    ground.world.advance(now)
                for entry in [entry for entry in present if entry[0] <= now]:
                    present.remove(entry)
                    ended = entry[1]()
                    if asyncio.isfuture(ended) or asyncio.iscoroutine(ended):
                        await ended
                while coming and coming[0].begins <= now:
                    event = coming.pop(0)
                    end = await (
                        weather.begin(event) if event.panel else self.befall(event)
                    )
                    present.append((event.ends, end))
                await self.settle()
                self.tape.enter(await self.scrape(session))
                await self.pass_(STEP)
                if step % round(DAY / STEP) == 0:
                    told(step * STEP / DAY)
                    for ground in self.grounds:
                        ground.world.clean_transactions(now - 3 * DAY)
                        ground.panel.requests.clear()
        await self.stop()

    async def befall(self, event: Event) -> Callable[[], object]:
        """Let something happen to the exporters; return what ends it."""
        kind = event.kind
        labels = {"instance": event.more} if kind == "one exporter down" else {}
        panels = ["", "lon1", "ams1", "nyc1"] if kind == "shard missing" else [""]
        deeds = [
            Deed(kind, panel, self.clock.time(), labels=labels)
            for panel in panels
            if panel or kind != "shard missing"
        ]
        self.outside.deeds.extend(deeds)
        mend = await self._befall(event)

        async def end() -> None:
            for deed in deeds:
                deed.ends = self.clock.time()
            await mend()

        return end

    async def _befall(self, event: Event) -> Callable[[], Any]:
        if event.kind == "configuration broken":
            self.file.write_text("panels: nonsense")
            await self._reload()

            async def mended() -> None:
                self.write_configuration()
                await self._reload()

            return mended
        if event.kind == "shard missing":
            await self.start(Shard(0, 2))
            return self.start
        if self.name in event.more:
            await self.stop()
            return self.start
        return self._nothing

    async def _nothing(self) -> None:
        pass

    async def _reload(self) -> None:
        if self.exporter is not None:
            with suppress(ConfigError):
                await self.exporter.reload()

    async def start(self, shard: Shard | None = None) -> None:
        """Start it anew, as if the process had been."""
        await self.stop()
        self.exporter = Exporter(
            load=lambda: config.load(self.file, {}),
            clock=self.clock,
            shard=shard or Shard(),
            jitter=lambda: 0.0,
        )
        (address,) = await self._running.enter_async_context(
            self.exporter.running(("127.0.0.1:0",))
        )
        self.base = f"http://{address}"
        await self.settle()

    async def stop(self) -> None:
        """End it, if it runs."""
        await self._running.aclose()
        self._running = AsyncExitStack()
        self.exporter = None

    async def scrape(self, session: aiohttp.ClientSession) -> str:
        """Return what it says of the metrics that rules use, if it runs."""
        if self.exporter is None:
            return "up 0"
        names = [("name[]", family) for family in self._families]
        async with session.get(f"{self.base}/metrics", params=names) as response:
            response.raise_for_status()
            text = await response.text()
            lines = (line for line in text.splitlines() if line[0] != "#")
            return "\n".join([*lines, "up 1"])

    async def pass_(self, seconds: float) -> None:
        """Let time pass."""
        target = self.clock.elapsed + seconds
        while not self.clock.move(target):
            await self.settle()
        await self.settle()

    async def settle(self) -> None:
        """Wait until everything was done that is due."""
        while True:
            for _ in range(_TURNS):
                await asyncio.sleep(0)
            if self._resting():
                return
            await asyncio.sleep(0.0003)

    def _resting(self) -> bool:
        if self.exporter is None:
            return True
        pollers = [member.poller for member in self.exporter.fleet.members.values()]
        held = sum(ground.panel.faults.held for ground in self.grounds)
        in_flight = sum(poller.in_flight for poller in pollers)
        return in_flight <= held and all(poller.asleep for poller in pollers)

    def write_configuration(self) -> None:
        """Write what the exporter is configured with."""
        sections = []
        for ground in self.grounds:
            account = {
                "username": ground.panel.username,
                "password": f"key-of-{ground.name}",
            }
            section = {
                "name": ground.name,
                "url": ground.panel.url,
                "basic_auth": account,
                "discovery": _DISCOVERY,
                **ground.keys,
            }
            sections.append(section)
        self.file.write_text(yaml.safe_dump({"poll": _POLL, "panels": sections}))


async def _live(plan: Plan, name: str, told: Callable[[float], None]) -> Lived:
    found = grounds(plan)
    servers = sum(len(ground.world.servers) for ground in found)
    clock = CoarseClock(START)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for ground in found:
            ground.panel.clock = clock.time
            await stack.enter_async_context(ground.panel)
        outside = Ground(found[0].panel, "", found[0].dice, {})
        replica = Replica(name, plan, folder, found, clock, outside)
        await replica.live(told)
    return Lived(
        replica.tape,
        [deed for ground in (*found, outside) for deed in ground.deeds],
        {ground.name: ground.world.journal for ground in found},
        servers,
    )


def live(
    plan: Plan, name: str, told: Callable[[float], None] = lambda _: None
) -> Lived:
    """Let a replica live through the run, in this process."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    return asyncio.run(_live(plan, name, told))
