"""The last days of a target: on which of them a backup run is known to have succeeded.

Only what is kept is known: rotation deletes backups, so that a day without any is not
known, and never called missing.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ..model.entities import Target
from ..model.store import ServerState

DAYS = 14
DAY_SECONDS = 86_400
GOOD, FAILED, UNKNOWN = "good", "failed", "not known"


class Day(msgspec.Struct, frozen=True):
    """A day in UTC."""

    start: float
    """Unix time."""
    outcome: str


def last_days(state: ServerState, target: Target, time: float) -> Sequence[Day]:
    """Return the days up to a Unix time, the oldest first.

    A run counts on the day on which it ended. A day with a failed run and a good one
    is good.
    """
    good = {
        _day(at)
        for backup in state.backups or ()
        if backup.target == target and backup.built
        for at in (backup.built_at or backup.created_at,)
        if at is not None
    }
    failed = {
        _day(ended.failed_at)
        for ended in state.failed_backups
        if ended.target == target and not ended.cancelled
    } | {
        _day(at)
        for schedule in state.schedules or ()
        if schedule.target == target
        for at in schedule.failed_runs
    }
    today = _day(time)
    return [
        Day(
            float(day * DAY_SECONDS),
            GOOD if day in good else FAILED if day in failed else UNKNOWN,
        )
        for day in range(today - DAYS + 1, today + 1)
    ]


def _day(time: float) -> int:
    return int(time // DAY_SECONDS)
