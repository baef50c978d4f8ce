"""When a schedule is due: days, weeks, months and years from its first start."""

import heapq
import itertools
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal

Action = Callable[[], object]
"""Whatever it returns is of no interest."""


class EventQueue:
    """Actions in the order of their moments; equal moments in order of entry."""

    def __init__(self, now: float) -> None:
        """Begin at a moment, in Unix seconds."""
        self.now = now
        self._events: list[tuple[float, int, Action]] = []
        self._sequence = itertools.count()

    def call_at(self, when: float, action: Action) -> None:
        """Enter an action; what is already past happens with the next move."""
        entry = (max(when, self.now), next(self._sequence), action)
        heapq.heappush(self._events, entry)

    def advance(self, to: float) -> None:
        """Let everything happen up to a moment; time never runs backwards."""
        while self._events and self._events[0][0] <= to:
            self.now, _, action = heapq.heappop(self._events)
            action()
        self.now = max(self.now, to)


Period = Literal["days", "weeks", "months", "years"]

DAY = 86_400.0

_SECONDS = {"days": DAY, "weeks": 7 * DAY}
_MONTHS = {"months": 1, "years": 12}
_MONTH_LENGTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def _month_length(year: int, month: int) -> int:
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return 29 if month == 2 and leap else _MONTH_LENGTHS[month - 1]


def add_months(moment: float, months: int) -> float:
    """Return the same time of the same day of a later month, or its last day."""
    first = datetime.fromtimestamp(moment, UTC)
    year, month = divmod(first.year * 12 + first.month - 1 + months, 12)
    day = min(first.day, _month_length(year, month + 1))
    return first.replace(year=year, month=month + 1, day=day).timestamp()


def next_start(anchor: float, period: Period, duration: int, after: float) -> float:
    """Return the first start after a moment, counted from the very first one.

    Counting from the first one keeps a schedule of the 31st on the 31st.
    """
    if anchor > after:
        return anchor
    if period in _SECONDS:
        step = _SECONDS[period] * duration
        return anchor + step * ((after - anchor) // step + 1)
    step_months = _MONTHS[period] * duration
    passed = int((after - anchor) // (366 * DAY)) * 12
    count = passed // step_months
    while add_months(anchor, count * step_months) <= after:
        count += 1
    return add_months(anchor, count * step_months)
