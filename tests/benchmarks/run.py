"""Measure the exporter beside prometheus-client, and write docs/performance.md.

Worlds of several sizes, one after another, each watched by an exporter in a fresh
process; about five minutes in all, on loopback alone.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import sys
from pathlib import Path

from checkout import DOCS
from cloud_process import cloud
from floors import floors, inflation
from polls import polls
from results import Scraped, World
from scraping import (
    GZIP,
    PLAIN,
    at_once,
    health_at_rest,
    health_while_scraping,
    scrape,
    scrapes,
)
from subject_process import measured_exporter
from table import page
from viewing import page_times

PAGE = DOCS / "performance.md"
BACKUPS = 30
"""Of each server."""
SIZES = (1_000, 10_000, 100_000, 300_000)
_OURS_TIMES = 7
_OTHER_TIMES = 2
_HUGE = 200_000
"""From here on the other side is measured once."""
_HEALTH_SECONDS = 4.0
_AT_REST_SECONDS = 2.0


def main() -> int:
    """Measure, and write what was found."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("sizes", nargs="*", type=int, default=SIZES)
    options.add_argument("--output", type=Path, default=PAGE)
    given = options.parse_args()
    load = os.getloadavg()[0]
    worlds = []
    for size in given.sizes:
        _say(f"{size} backups")
        worlds.append(_measure(max(1, round(size / BACKUPS))))
    _say("polls")
    polled = {form: polls(form) for form in ("json", "xml")}
    text = page(worlds, polled, _machine(load))
    given.output.write_text(text, encoding="utf-8")
    print(text)
    return 0


def _measure(servers: int) -> World:
    with cloud(servers, BACKUPS) as panel, measured_exporter(panel) as exporter:
        ours, other = exporter.ours, exporter.other
        for encoding in (GZIP, PLAIN):
            asyncio.run(scrape(ours, encoding))  # to warm up
        total = exporter.memory()
        exporter.begin_peak()
        gzipped = scrapes(exporter, panel, ours, GZIP, _OURS_TIMES)
        plain = scrapes(exporter, panel, ours, PLAIN, _OURS_TIMES)
        four = at_once(exporter, panel, ours, 4)
        peak = exporter.peak()
        at_rest = health_at_rest(ours, _AT_REST_SECONDS)
        health = [
            health_while_scraping(ours, ours, encoding, _HEALTH_SECONDS)
            for encoding in (GZIP, PLAIN)
        ]
        times = _OTHER_TIMES if servers * BACKUPS < _HUGE else 1
        other_gzip = scrapes(exporter, panel, other, GZIP, times)
        other_plain = scrapes(exporter, panel, other, PLAIN, times)
        other_health = health_while_scraping(
            ours, other, GZIP, 0.0 if times == 1 else 1.0
        )
        looked = page_times(exporter, panel, ours, _HEALTH_SECONDS)
        text = plain[-1].text()
        return World(
            backups=servers * BACKUPS,
            series=sum(not line.startswith(b"#") for line in text.splitlines()),
            gzip=Scraped.of(gzipped),
            plain=Scraped.of(plain),
            four=four,
            other_gzip=Scraped.of(other_gzip),
            other_plain=Scraped.of(other_plain),
            health_at_rest=at_rest,
            health_gzip=health[0],
            health_plain=health[1],
            other_health=other_health,
            memory_bytes=total - exporter.bytes_before,
            total_bytes=total,
            peak_bytes=peak,
            floors=floors(text, gzipped[-1].body),
            inflation=inflation(text),
            page_times=looked,
        )


def _machine(load: float) -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return (
        f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores, "
        f"{platform.system()}, {python}; load average at the beginning {load:.1f}"
    )


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
