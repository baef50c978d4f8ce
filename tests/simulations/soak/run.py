"""Accelerated days with faults coming and going: nothing leaks, nothing is lost.

Three simulated clouds live on while their panels fail by dice, are restarted, change
their keys, and the exporter is reloaded and scraped all the while. At the end of each
round all is well again and time stands still: then ``/metrics`` must be what the
worlds say, and what an exporter says that has never seen a fault.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import aiohttp
import structlog
import yaml
from harness import Cloud, SteppedClock, exporting

from exporter.errors import ConfigError
from soak.activity import HOUR, MINUTE
from soak.clouds import CALM, NOON, POLL, Place, Plan, dice_of, places
from soak.comparison import REMEMBERED, UNTOLD, differences, told, unlike
from soak.resource_usage import Reading, held_kib, reading

_STANDSTILL = 30 * MINUTE
"""Longer than the interval: everything is read once more."""
_STANDSTILLS = 4
_SECRETS = ("root-secret-of", "remote-secret-of", "key-of-")

MOST_MORE_RSS_MIB = 16.0
"""From the end of the first round to the last: caches, and fragments of the heap."""
MOST_MORE_KIB = 768.0
"""What it may remember beyond a new one: 2,000 ids of the log of each panel."""

_FORMATS = (
    {"Accept": "text/plain", "Accept-Encoding": "identity"},
    {"Accept": "text/plain", "Accept-Encoding": "gzip"},
    {"Accept": "application/openmetrics-text; version=1.0.0"},
)


class Lost(AssertionError):
    """The soak has found something; the text says what."""


@dataclass(eq=False)
class Soak:
    """One run."""

    plan: Plan
    folder: Path
    dice: random.Random
    places: list[Place]
    clock: SteppedClock
    cloud: Cloud
    readings: list[Reading] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    series: int = 0
    """How many were compared last."""

    @property
    def days(self) -> float:
        """Return how much simulated time has passed."""
        return self.clock.elapsed / 86_400

    async def round(self) -> None:
        """Let everything happen, then let it heal; raise Lost if it does not."""
        async with aiohttp.ClientSession(auto_decompress=True) as session:
            await self._reload_with(POLL)
            until = self.clock.elapsed + self.plan.hours * HOUR
            while self.clock.elapsed < until:
                await self._stir()
                step = self.dice.choice([1, 5, 10, 20]) * MINUTE
                await asyncio.gather(
                    self.cloud.pass_(step), *(self.scrape(session) for _ in range(2))
                )
            await self._heal()
            for _ in range(12):
                part = self.plan.healing_hours * HOUR / 12
                await asyncio.gather(self.cloud.pass_(part), self.scrape(session))
            for place in self.places:
                place.panel.clock = None
            await self.cloud.pass_(_STANDSTILL)
            await self.scrape(session)
            held = [held_kib(self.cloud.exporter)]
            for _ in range(_STANDSTILLS):
                await self.cloud.pass_(_STANDSTILL)
                text = await self.scrape(session, _FORMATS[0])
                held.append(held_kib(self.cloud.exporter))
                if not is_leaking(held):
                    break
            else:
                shown = ", ".join(f"{kib:.1f}" for kib in held)
                raise Lost(f"more and more is remembered of what stays: {shown} KiB")
        await self.measure(await self._compare(text))
        for place in self.places:
            self.counts["requests"] += len(place.panel.requests)
            place.panel.requests.clear()
            place.life.world.journal.clear()
            place.truth.log.clean(place.life.world.now - 12 * HOUR)
            place.panel.clock = self.clock.time

    async def scrape(
        self, session: aiohttp.ClientSession, headers: dict[str, str] | None = None
    ) -> str:
        """Scrape in one of the formats; raise Lost if that is not whole."""
        wanted = headers or _FORMATS[self.counts["scrapes"] % len(_FORMATS)]
        address = f"{self.cloud.base}/metrics"
        async with session.get(address, headers=wanted) as response:
            text = await response.text()
            whole = "openmetrics" not in wanted["Accept"] or text.endswith("# EOF\n")
            if response.status != 200 or not whole:
                raise Lost(f"a scrape failed: HTTP {response.status}, {len(text)} B")
        for secret in _SECRETS:
            if secret in text:
                raise Lost(f"a scrape shows a secret: {secret}…")
        self.counts["scrapes"] += 1
        return text

    async def _stir(self) -> None:
        """Change something about the clouds, their panels and the configuration."""
        now = self.clock.time()
        for place in self.places:
            place.life.go_on()
            place.weather.change(now)
            if place.down_until is not None and place.down_until <= now:
                await place.open()
            elif place.down_until is None and self.dice.random() < 0.02:
                place.down_until = now + self.dice.choice([1, 10, 60]) * MINUTE
                await place.panel.stop()
                self.counts["panels stopped"] += 1
            if self.dice.random() < 0.02:
                self.counts["keys changed"] += 1
                place.panel.password = f"key-of-{place.name}-{self.dice.random()}"
                if self.dice.random() < 0.7:
                    self._write_key(place)
        if self.dice.random() < 0.2:
            await self._reload(self.dice.choice([*self.places, None]))

    async def _reload(self, changed: Place | None) -> None:
        """Reload with one section changed, or with a file that is no good."""
        sections = [place.section() for place in self.places]
        for place, section in zip(self.places, sections, strict=True):
            if place is changed:
                interval = self.dice.choice(["7m", "15m", "21m"])
                section["poll"] = {**POLL, "interval": interval}
        self.counts["reloads"] += 1
        if changed is None:
            self.cloud.file.write_text("panels: nonsense")
            try:
                await self.cloud.exporter.reload()
            except ConfigError:
                return
            raise Lost("a bad configuration file was taken")
        self.cloud.file.write_text(yaml.safe_dump({"panels": sections}))
        await self.cloud.exporter.reload()

    async def _heal(self) -> None:
        for place in self.places:
            place.weather.clear()
            if place.down_until is not None:
                await place.open()
            self._write_key(place)
        await self._reload_with(CALM)

    async def _reload_with(self, poll: dict[str, str]) -> None:
        sections = [{**place.section(), "poll": poll} for place in self.places]
        self.cloud.file.write_text(yaml.safe_dump({"panels": sections}))
        await self.cloud.exporter.reload()

    def _write_key(self, place: Place) -> None:
        (self.folder / place.name).write_text(place.panel.password)

    async def _compare(self, text: str) -> float:
        """Compare a scrape with the worlds, and with an exporter that begins now.

        Returns how many KiB the old one remembers beyond the new one.
        """
        found = told(text)
        truths = [place.truth for place in self.places]
        wrong = differences(found, truths, self.clock.time())
        panel, file = self.places[0].panel, self.cloud.file
        async with exporting(panel, file, self.clock) as fresh:
            other = told(await fresh.metrics())
            needed_kib = held_kib(fresh.exporter)
        skipped = UNTOLD | REMEMBERED
        wrong += unlike(
            {name: at for name, at in found.items() if name.family not in skipped},
            {name: at for name, at in other.items() if name.family not in skipped},
            "a new exporter",
        )
        if wrong:
            shown = "\n  ".join(wrong[:20])
            raise Lost(f"{len(wrong)} series are not what they should be:\n  {shown}")
        self.series = len(found)
        return held_kib(self.cloud.exporter) - needed_kib

    async def measure(self, more_kib: float) -> None:
        """Close every idle connection, and count; raise Lost if anything grows."""
        for place in self.places:
            await place.panel.stop()
        self.readings.append(await reading(more_kib))
        for place in self.places:
            await place.open()
        grown = growth(self.readings)
        if grown:
            raise Lost("; ".join(grown))


def is_leaking(held_kib: Sequence[float]) -> bool:
    """Tell whether what is held has grown each time, while nothing changed.

    Once it may: something happened for the first time, and is counted from then on.
    """
    return all(after > before for before, after in pairwise(held_kib))


def growth(readings: list[Reading]) -> list[str]:
    """Return what has grown beyond its bound since the start."""
    start, *rounds = readings
    if not rounds:
        return []
    last = rounds[-1]
    found = [
        f"{now} {what} are held, {before} at the start"
        for what, now, before in (
            ("open files", last.files, start.files),
            ("tasks", last.tasks, start.tasks),
        )
        if now != before
    ]
    if last.rss_mib > rounds[0].rss_mib + MOST_MORE_RSS_MIB:
        found.append(
            f"RSS is {last.rss_mib:.0f} MiB, {rounds[0].rss_mib:.0f} MiB "
            "after the first round"
        )
    if last.more_kib > MOST_MORE_KIB:
        found.append(
            f"the exporter remembers {last.more_kib:.0f} KiB more than a new one"
        )
    return found


@asynccontextmanager
async def soaking(plan: Plan, folder: Path) -> AsyncIterator[Soak]:
    """Start the clouds and the exporter; end them."""
    found = places(plan)
    clock = SteppedClock(NOON)
    file = folder / "onapp.yml"
    try:
        for place in found:
            place.panel.clock = clock.time
            await place.panel.start()
            (folder / place.name).write_text(place.panel.password)
        sections = [place.section() for place in found]
        file.write_text(yaml.safe_dump({"panels": sections}))
        async with exporting(found[0].panel, file, clock) as cloud:
            dice = dice_of(plan, "all", "stir")
            soak = Soak(plan, folder, dice, found, clock, cloud)
            await soak.measure(0.0)
            yield soak
    finally:
        for place in found:
            await place.panel.stop()


async def run(plan: Plan, seconds: float) -> list[str]:
    """Soak for so long; return the report."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        async with soaking(plan, Path(folder)) as soak:
            while len(soak.readings) < 3 or time.monotonic() < began + seconds:
                await soak.round()
                passed = time.monotonic() - began
                _progress(f"{passed:4.0f} s, {soak.days:.1f} days, {soak.readings[-1]}")
            return [*report(soak), f"{time.monotonic() - began:.0f} s in all"]


def report(soak: Soak) -> list[str]:
    """Return what was done, and what was held meanwhile."""
    readings = soak.readings
    chosen = (readings[0], readings[len(readings) // 2], readings[-1])
    placed: Counter[str] = Counter()
    befallen: Counter[str] = Counter()
    for place in soak.places:
        placed += place.weather.counts
        befallen += place.weather.happened
    counts = ", ".join(f"{count} {what}" for what, count in soak.counts.items())
    rows = (
        ("RSS, MiB", *(f"{one.rss_mib:.1f}" for one in chosen)),
        ("open files", *(str(one.files) for one in chosen)),
        ("tasks", *(str(one.tasks) for one in chosen)),
        (
            "remembered beyond a new one, KiB",
            *(f"{one.more_kib:.1f}" for one in chosen),
        ),
    )
    kinds = ", ".join(f"{kind} {placed[kind]}" for kind in sorted(placed))
    days = f"{soak.days:.1f} simulated days in {len(readings) - 1} rounds"
    return [
        f"{days}, seed {soak.plan.seed}: {counts}",
        f"{placed.total()} faults befell {befallen.total()} requests: {kinds}",
        f"{soak.series} series were as the worlds say at the end, and in each round",
        "",
        f"{'':34}{'start':>10}{'middle':>10}{'end':>10}",
        *(f"{what:34}{a:>10}{b:>10}{c:>10}" for what, a, b, c in rows),
        "",
    ]


def _progress(line: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{line}\033[K")
        sys.stderr.flush()


def main() -> int:
    """Soak as the command line says; return the exit status."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=3.0, help="how long, at least")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--hours", type=float, default=20.0, help="of faults a round")
    asked = parser.parse_args()
    # Two ways to cut one answer off are too much for the simulated panel's server.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL)
    )
    try:
        lines = asyncio.run(run(Plan(asked.seed, asked.hours), asked.minutes * 60))
    except Lost as error:
        print(f"\nseed {asked.seed}: {error}", file=sys.stderr)
        return 1
    print("\n" + "\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
