"""What is measured of one world."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from floors import Floors
from scraping import Health, Timed
from viewing import PageTimes


@dataclass(frozen=True)
class Scraped:
    """One way to scrape one world: medians, in seconds."""

    seconds: float
    first_byte_seconds: float
    cpu_seconds: float
    bytes: int

    @classmethod
    def of(cls, timed: list[Timed]) -> Scraped:
        """Take the medians."""
        return cls(
            median(each.seconds for each in timed),
            median(each.first_byte_seconds for each in timed),
            median(each.cpu_seconds for each in timed),
            len(timed[-1].body),
        )


@dataclass(frozen=True)
class World:
    """All that was measured of one size."""

    backups: int
    series: int
    gzip: Scraped
    plain: Scraped
    four: float
    other_gzip: Scraped
    other_plain: Scraped
    health_at_rest: Health
    health_gzip: Health
    health_plain: Health
    other_health: Health
    memory_bytes: int
    """Beyond what the exporter took before it knew of any server."""
    total_bytes: int
    peak_bytes: int
    floors: Floors
    inflation: float
    page_times: PageTimes
