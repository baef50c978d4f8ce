"""What will happen when: the only thing that moves simulated time."""

import heapq
import itertools
from collections.abc import Callable

Action = Callable[[], object]
"""Whatever it returns is of no interest."""


class Agenda:
    """Actions in the order of their moments; equal moments in order of entry."""

    def __init__(self, now: float) -> None:
        """Begin at a moment, in Unix seconds."""
        self.now = now
        self._entries: list[tuple[float, int, Action]] = []
        self._order = itertools.count()

    def at(self, when: float, action: Action) -> None:
        """Enter an action; what is already past happens with the next move."""
        entry = (max(when, self.now), next(self._order), action)
        heapq.heappush(self._entries, entry)

    def advance(self, to: float) -> None:
        """Let everything happen up to a moment; time never runs backwards."""
        while self._entries and self._entries[0][0] <= to:
            self.now, _, action = heapq.heappop(self._entries)
            action()
        self.now = max(self.now, to)
