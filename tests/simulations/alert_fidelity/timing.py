"""What a bound is, and the rhythm of the run that all bounds are made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MINUTE = 60.0
HOUR = 3600.0
DAY = 24 * HOUR

POLL = HOUR
DISCOVERY = 30 * MINUTE
STEP = 15 * MINUTE
TWICE = 2 * STEP

Since = Literal[
    "begun",
    "success",
    "stuck",
    "queued",
    "failed",
    "stalled",
    "given up",
    "finished",
    "idle",
    "rest",
]
Until = Literal["ended", "success", "over", "given up"]
Level = Literal["job", "panel", "server", "target"]


@dataclass(frozen=True)
class Bound:
    """One alert that a kind of trouble must raise, or may raise beside others."""

    alert: str
    severity: Literal["warning", "critical"]
    level: Level
    """What its labels must name."""
    late_seconds: float
    """From the end of the grace time to the alert, at most."""
    kept_seconds: float
    """From the mend to the alert's end, at most."""
    since: Since = "begun"
    """From which moment of the journal the grace time runs."""
    grace_seconds: float = 0.0
    grace_intervals: float = 0.0
    """Of the target's own schedule, beside the seconds."""
    until: Until = "ended"
    """Which moment of the journal is the mend."""
    remembered: bool = False
    """Whether only the rules know since when, and forget it after an hour unseen."""
    must: bool = True
    """Whether it is missed when it does not come; else it is only no surprise."""
