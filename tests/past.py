"""A Prometheus that has watched the demo cloud for days, made in a minute or two.

The exporter lives through them by a clock that is moved by hand; what it was scraped
for, and what the shipped rules make of that, is written into Prometheus' own storage.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

from boards import FOLDER
from fidelity_bound import DAY, STEP
from fidelity_ground import START
from fidelity_replica import CoarseClock, Tape, used_families
from fidelity_rules import named, recorded
from harness import exporting, write
from monitoring import Prometheus, prometheus

from exporter.demo.cloud import demo_cloud
from exporter.demo.panel import Panel

EXPORTER = "exporter"
_LOOKBACK = f"{round(STEP / 60) + 5}m"
_RECORDED = re.compile(r"\w+:onapp_\w+(?::\w+)?")


@asynccontextmanager
async def remembering(
    folder: Path, board: str, days: float
) -> AsyncIterator[tuple[Prometheus, float]]:
    """Start it with all that a dashboard asks for; yield it and the last moment."""
    queries = (FOLDER / f"{board}.json").read_text("utf-8")
    families = {*re.findall(r"(?<!:)\bonapp_\w+", queries), *used_families()}
    tape = await _lived(folder, sorted(families), days)
    rules = sorted(set(_RECORDED.findall(queries)))
    file = folder / "samples.txt"
    with file.open("w", encoding="utf-8") as written:
        written.writelines(_scraped(tape))
        made = await asyncio.to_thread(recorded, tape, [*rules, "ALERTS"], folder)
        for name, samples in made.items():
            written.writelines(f"{name} {value} {at:.0f}\n" for at, value in samples)
        written.write("# EOF\n")
    await asyncio.to_thread(_stored, file, folder / "data")
    configuration = folder / "prometheus.yml"
    configuration.write_text("global: {}\n")
    lookback = f"--query.lookback-delta={_LOOKBACK}"
    async with prometheus(configuration, lookback) as started:
        yield started, START + (tape.steps - 1) * STEP


async def _lived(folder: Path, families: list[str], days: float) -> Tape:
    clock, tape = CoarseClock(START), Tape()
    seconds = days * DAY
    panel = Panel(demo_cloud(START + seconds, ahead=seconds), clock=clock.time)
    names = "&".join(f"name[]={family}" for family in families)
    async with panel:
        file = folder / "onapp.yml"
        write(file, panel, {}, {"name": "demo"})
        async with exporting(panel, file, clock) as cloud:
            for _ in range(round(seconds / STEP) + 1):
                _, text, _ = await cloud.get(f"/metrics?{names}", Accept="text/plain")
                lines = (line for line in text.splitlines() if line[0] != "#")
                tape.enter("\n".join([*lines, "up 1"]))
                await cloud.pass_(STEP)
                panel.requests.clear()
    return tape


def _scraped(tape: Tape) -> Iterator[str]:
    """Yield each sample of a tape, as a line of OpenMetrics."""
    for name, runs in tape.series.items():
        series = named(name, EXPORTER)
        ends = [*(at for at, _ in runs[1:]), tape.steps]
        for (begin, value), end in zip(runs, ends, strict=True):
            for step in range(begin, end) if value is not None else ():
                yield f"{series} {value} {START + step * STEP:.0f}\n"


def _stored(samples: Path, data: Path) -> None:
    """Let promtool write samples as Prometheus stores them."""
    program = shutil.which("promtool")
    assert program, "promtool is not on the PATH: `make tools` fetches it"
    what = (*("create-blocks-from", "openmetrics", "--quiet"), samples, data)
    run = subprocess.run(
        [program, "tsdb", *what], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
