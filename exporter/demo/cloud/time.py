"""Simulated time: the event queue that moves it, and the calendar of schedules."""

import heapq
import itertools
from calendar import monthrange
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal

Action = Callable[[], object]
"""A function whose result is ignored."""


class EventQueue:
    """Actions in the order of their times; those at the same time in order of entry."""

    def __init__(self, now: float) -> None:
        """Start at a time in Unix seconds."""
        self.now = now
        self._events: list[tuple[float, int, Action]] = []
        self._sequence = itertools.count()

    def call_at(self, when: float, action: Action) -> None:
        """Add an action; if its time has passed, it runs at the next advance."""
        entry = (max(when, self.now), next(self._sequence), action)
        heapq.heappush(self._events, entry)

    def advance(self, to: float) -> None:
        """Run all actions up to a time; time never runs backwards."""
        while self._events and self._events[0][0] <= to:
            self.now, _, action = heapq.heappop(self._events)
            action()
        self.now = max(self.now, to)


Period = Literal["days", "weeks", "months", "years"]

DAY = 86_400.0

_SECONDS = {"days": DAY, "weeks": 7 * DAY}
_MONTHS = {"months": 1, "years": 12}


def add_months(moment: float, months: int) -> float:
    """Return the same day and time of a later month, or the month's last day."""
    start = datetime.fromtimestamp(moment, UTC)
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    day = min(start.day, monthrange(year, month + 1)[1])
    return start.replace(year=year, month=month + 1, day=day).timestamp()


def next_start(first: float, period: Period, duration: int, after: float) -> float:
    """Return the next start after a time, counted from the schedule's first start.

    This keeps a schedule of the 31st on the 31st.
    """
    if first > after:
        return first
    if period in _SECONDS:
        step = _SECONDS[period] * duration
        return first + step * ((after - first) // step + 1)
    step_months = _MONTHS[period] * duration
    passed = int((after - first) // (366 * DAY)) * 12
    count = passed // step_months
    while add_months(first, count * step_months) <= after:
        count += 1
    return add_months(first, count * step_months)
