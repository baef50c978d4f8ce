"""What a bound is, and the rhythm of the run that all bounds are made from."""

from __future__ import annotations

MINUTE = 60.0
HOUR = 3600.0
DAY = 24 * HOUR

POLL = HOUR
DISCOVERY = 30 * MINUTE
STEP = 15 * MINUTE
TWICE = 2 * STEP
