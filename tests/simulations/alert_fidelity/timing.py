"""The intervals of the run, in seconds; every bound is derived from them."""

from __future__ import annotations

MINUTE = 60.0
HOUR = 3600.0
DAY = 24 * HOUR

POLL = HOUR
DISCOVERY = 30 * MINUTE
STEP = 15 * MINUTE
TWICE = 2 * STEP
