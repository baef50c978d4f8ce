"""Simulated days with random faults: nothing leaks, nothing is lost.

Three simulated clouds change while their panels fail at random, are restarted and
change their keys, and while the exporter is reloaded and scraped. At the end of each
round there are no faults and time stands still: then ``/metrics`` must match the
simulated worlds, and a new exporter that has never seen a fault.
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
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import aiohttp
import structlog
import yaml
from builders import HOUR, MINUTE
from clouds import rng_for
from expected_metrics import (
    DEPENDS_ON_HISTORY,
    NOT_IN_ROWS,
    differences,
    differing_samples,
    panel_samples,
)
from harness import MonitoredCloud, SteppedClock, running_exporter, show_progress

from exporter.errors import ConfigError
from soak.clouds import (
    FAULTLESS_POLL,
    POLL,
    START,
    CloudAndPanel,
    Plan,
    simulated_clouds,
)
from soak.resource_usage import ResourceUsage, remembered_kib, resource_usage

_SETTLING_SECONDS = 30 * MINUTE
"""Longer than the interval: everything is read once more."""
_SETTLING_ROUNDS = 4
_SECRETS = ("root-secret-of", "remote-secret-of", "key-of-")

MAX_NATIVE_GROWTH_MIB = 4.0
"""Growth allowed after the first round: clouds and their history differ in size."""
MAX_BLOCKS_GROWTH = 1.25
"""The same for Python's blocks, in parts of those after the first round."""
MAX_EXTRA_KIB = 768.0
"""More than a new exporter holds: 2,000 ids of each panel's transaction log."""

_FORMATS = (
    {"Accept": "text/plain", "Accept-Encoding": "identity"},
    {"Accept": "text/plain", "Accept-Encoding": "gzip"},
    {"Accept": "application/openmetrics-text; version=1.0.0"},
)


class SoakFailure(AssertionError):
    """The soak found a failure, which the message describes."""


@dataclass(eq=False)
class Soak:
    """One run."""

    plan: Plan
    folder: Path
    rng: random.Random
    clouds: list[CloudAndPanel]
    clock: SteppedClock
    monitored: MonitoredCloud
    usages: list[ResourceUsage] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    series: int = 0
    """The number of series in the last comparison."""

    @property
    def days(self) -> float:
        """Return how much simulated time has passed."""
        return self.clock.elapsed / 86_400

    async def round(self) -> None:
        """Run hours of faults, end them, and compare, or raise SoakFailure."""
        async with aiohttp.ClientSession(auto_decompress=True) as session:
            await self._reload_with(POLL)
            until = self.clock.elapsed + self.plan.hours * HOUR
            while self.clock.elapsed < until:
                await self._change_something()
                step = self.rng.choice([1, 5, 10, 20]) * MINUTE
                await asyncio.gather(
                    self.monitored.advance(step),
                    *(self.scrape(session) for _ in range(2)),
                )
            await self._end_faults()
            for _ in range(12):
                part = self.plan.recovery_hours * HOUR / 12
                await asyncio.gather(self.monitored.advance(part), self.scrape(session))
            for cloud in self.clouds:
                cloud.panel.clock = None
            await self.monitored.advance(_SETTLING_SECONDS)
            await self.scrape(session)
            held = [remembered_kib(self.monitored.exporter)]
            for _ in range(_SETTLING_ROUNDS):
                await self.monitored.advance(_SETTLING_SECONDS)
                text = await self.scrape(session, _FORMATS[0])
                held.append(remembered_kib(self.monitored.exporter))
                if not is_leaking(held):
                    break
            else:
                shown = ", ".join(f"{kib:.1f}" for kib in held)
                raise SoakFailure(
                    f"more and more is remembered of what stays: {shown} KiB"
                )
        await self.measure(await self._compare(text))
        for cloud in self.clouds:
            self.counts["requests"] += len(cloud.panel.requests)
            cloud.panel.requests.clear()
            cloud.world.event_log.clear()
            cloud.expected.transactions.clean(cloud.world.now - 12 * HOUR)
            cloud.panel.clock = self.clock.time

    async def scrape(
        self, session: aiohttp.ClientSession, headers: dict[str, str] | None = None
    ) -> str:
        """Scrape in one of the formats; raise SoakFailure if that is incomplete."""
        wanted = headers or _FORMATS[self.counts["scrapes"] % len(_FORMATS)]
        address = f"{self.monitored.base}/metrics"
        async with session.get(address, headers=wanted) as response:
            text = await response.text()
            whole = "openmetrics" not in wanted["Accept"] or text.endswith("# EOF\n")
            if response.status != 200 or not whole:
                raise SoakFailure(
                    f"a scrape failed: HTTP {response.status}, {len(text)} B"
                )
        for secret in _SECRETS:
            if secret in text:
                raise SoakFailure(f"a scrape shows a secret: {secret}…")
        self.counts["scrapes"] += 1
        return text

    async def _change_something(self) -> None:
        """Change something about the clouds, their panels and the configuration."""
        now = self.clock.time()
        for cloud in self.clouds:
            cloud.change_something(self.plan.changes)
            cloud.faults.change(now)
            if cloud.down_until is not None and cloud.down_until <= now:
                await cloud.start_panel()
            elif cloud.down_until is None and self.rng.random() < 0.02:
                cloud.down_until = now + self.rng.choice([1, 10, 60]) * MINUTE
                await cloud.panel.stop()
                self.counts["panels stopped"] += 1
            if self.rng.random() < 0.02:
                self.counts["keys changed"] += 1
                cloud.panel.password = f"key-of-{cloud.name}-{self.rng.random()}"
                if self.rng.random() < 0.7:
                    cloud.write_key(self.folder)
        if self.rng.random() < 0.2:
            await self._reload(self.rng.choice([*self.clouds, None]))

    async def _reload(self, changed: CloudAndPanel | None) -> None:
        """Reload with one section changed, or with an invalid file."""
        self.counts["reloads"] += 1
        if changed is not None:
            interval = self.rng.choice(["7m", "15m", "21m"])
            await self._reload_with(
                POLL, {changed.name: {**POLL, "interval": interval}}
            )
            return
        self.monitored.file.write_text("panels: nonsense")
        try:
            await self.monitored.exporter.reload()
        except ConfigError:
            return
        raise SoakFailure("a bad configuration file was taken")

    async def _end_faults(self) -> None:
        for cloud in self.clouds:
            cloud.faults.clear()
            if cloud.down_until is not None:
                await cloud.start_panel()
            cloud.write_key(self.folder)
        await self._reload_with(FAULTLESS_POLL)

    async def _reload_with(
        self, poll: _Keys, changed: Mapping[str, _Keys] | None = None
    ) -> None:
        text = _configuration(self.clouds, poll, changed or {})
        self.monitored.file.write_text(text)
        await self.monitored.exporter.reload()

    async def _compare(self, text: str) -> float:
        """Compare a scrape with the worlds, and with a new exporter.

        Returns how many KiB the exporter holds beyond the new one.
        """
        found = panel_samples(text)
        expectations = [cloud.expected for cloud in self.clouds]
        wrong = differences(found, expectations, self.clock.time(), changed=True)
        panel, file = self.clouds[0].panel, self.monitored.file
        async with running_exporter(panel, file, self.clock) as fresh:
            other = panel_samples(await fresh.metrics())
            needed_kib = remembered_kib(fresh.exporter)
        wrong += differing_samples(
            *(found, other, "a new exporter"), NOT_IN_ROWS | DEPENDS_ON_HISTORY
        )
        if wrong:
            shown = "\n  ".join(wrong[:20])
            raise SoakFailure(
                f"{len(wrong)} series are not what they should be:\n  {shown}"
            )
        self.series = len(found)
        return remembered_kib(self.monitored.exporter) - needed_kib

    async def measure(self, extra_kib: float) -> None:
        """Close idle connections and measure; raise SoakFailure if anything grows."""
        for cloud in self.clouds:
            await cloud.panel.stop()
        self.usages.append(await resource_usage(extra_kib))
        for cloud in self.clouds:
            await cloud.start_panel()
        grown = growth(self.usages)
        if grown:
            raise SoakFailure("; ".join(grown))


_Keys = Mapping[str, str]


def _configuration(
    clouds: Sequence[CloudAndPanel], poll: _Keys, changed: Mapping[str, _Keys]
) -> str:
    """Return a configuration file with ``poll`` in all sections but the changed."""
    sections = [
        cloud.section(poll=dict(changed.get(cloud.name, poll))) for cloud in clouds
    ]
    return yaml.safe_dump({"panels": sections})


def is_leaking(held_kib: Sequence[float]) -> bool:
    """Return whether memory has grown each time, while nothing changed.

    It may grow once: something is counted for the first time.
    """
    return all(after > before for before, after in pairwise(held_kib))


def growth(usages: list[ResourceUsage]) -> list[str]:
    """Return what has grown beyond its limit since the start."""
    start, *rounds = usages
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
    first = rounds[0]
    if last.native_mib > first.native_mib + MAX_NATIVE_GROWTH_MIB:
        found.append(
            f"{last.native_mib:.1f} MiB of malloc are in use, "
            f"{first.native_mib:.1f} MiB after the first round"
        )
    if last.python_blocks > first.python_blocks * MAX_BLOCKS_GROWTH:
        found.append(
            f"{last.python_blocks} blocks of Python are in use, {first.python_blocks} "
            "after the first round"
        )
    if last.extra_kib > MAX_EXTRA_KIB:
        found.append(
            f"the exporter remembers {last.extra_kib:.0f} KiB more than a new one"
        )
    return found


@asynccontextmanager
async def running_soak(plan: Plan, folder: Path) -> AsyncIterator[Soak]:
    """Start the clouds and the exporter; stop them in the end."""
    found = simulated_clouds(plan)
    clock = SteppedClock(START)
    file = folder / "onapp.yml"
    try:
        for cloud in found:
            cloud.panel.clock = clock.time
            await cloud.panel.start()
            cloud.write_key(folder)
        file.write_text(_configuration(found, POLL, {}))
        async with running_exporter(found[0].panel, file, clock) as monitored:
            rng = rng_for(plan.seed, "all", "stir")
            soak = Soak(plan, folder, rng, found, clock, monitored)
            await soak.measure(0.0)
            yield soak
    finally:
        for cloud in found:
            await cloud.panel.stop()


async def run(plan: Plan, seconds: float) -> list[str]:
    """Run rounds for so many seconds; return the report."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        async with running_soak(plan, Path(folder)) as soak:
            while len(soak.usages) < 3 or time.monotonic() < began + seconds:
                await soak.round()
                passed = time.monotonic() - began
                show_progress(
                    f"{passed:4.0f} s, {soak.days:.1f} days, {soak.usages[-1]}"
                )
            return [*report(soak), f"{time.monotonic() - began:.0f} s in all"]


def report(soak: Soak) -> list[str]:
    """Return what was done, and what the exporter held."""
    usages = soak.usages
    chosen = (usages[0], usages[len(usages) // 2], usages[-1])
    placed: Counter[str] = Counter()
    befallen: Counter[str] = Counter()
    for cloud in soak.clouds:
        placed += cloud.faults.counts
        befallen += cloud.faults.affected_requests
    counts = ", ".join(f"{count} {what}" for what, count in soak.counts.items())
    rows = (
        ("RSS, MiB", *(f"{one.rss_mib:.1f}" for one in chosen)),
        ("malloc in use, MiB", *(f"{one.native_mib:.1f}" for one in chosen)),
        ("blocks of Python in use", *(str(one.python_blocks) for one in chosen)),
        ("open files", *(str(one.files) for one in chosen)),
        ("tasks", *(str(one.tasks) for one in chosen)),
        (
            "remembered beyond a new one, KiB",
            *(f"{one.extra_kib:.1f}" for one in chosen),
        ),
    )
    kinds = ", ".join(f"{kind} {placed[kind]}" for kind in sorted(placed))
    days = f"{soak.days:.1f} simulated days in {len(usages) - 1} rounds"
    return [
        f"{days}, seed {soak.plan.seed}: {counts}",
        f"{placed.total()} faults befell {befallen.total()} requests: {kinds}",
        f"{soak.series} series were as the worlds say at the end, and in each round",
        "",
        f"{'':34}{'start':>10}{'middle':>10}{'end':>10}",
        *(f"{what:34}{a:>10}{b:>10}{c:>10}" for what, a, b, c in rows),
        "",
    ]


def main() -> int:
    """Run the soak as the command line says; return the exit status."""
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
    except SoakFailure as error:
        print(f"\nseed {asked.seed}: {error}", file=sys.stderr)
        return 1
    print("\n" + "\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
