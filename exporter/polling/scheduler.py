"""When each server is due: at once, then in a slot of its own in every interval.

Slots are spread evenly by a hash, so that requests to a panel do not come in bursts
and a server keeps its slot when others come and go. A server that changed is due before
that, many that did so together one after another. A failed read is tried again before
the next slot, later each time. Moments are monotonic seconds.
"""

from __future__ import annotations

import heapq
import math
import zlib
from dataclasses import dataclass, field

from ..model.store import PanelStore
from .jobs import JobQueue

_FIRST_RETRY = 1 / 16
"""Of the interval: a minute, nearly, when servers are read every 15."""
_MOST_RETRIES = 3
"""A fourth would come just before the next slot."""
_BURST_SECONDS = 30.0
"""Over so long are those spread that changed together."""
_AT_ONCE = 8
"""So many that changed together are not kept waiting."""
_SLOWEST_PER_SECOND = 2
"""Nor are others longer than it takes to read those before them at this pace."""
_GOLDEN_RATIO = (math.sqrt(5) - 1) / 2
_ROUNDING = 1e-6
"""A slot nearer than this share of the interval is the one just used."""


@dataclass(slots=True, eq=False)
class Scheduler:
    """The servers of one panel, each waiting or in hand."""

    name: str
    interval_seconds: float
    hurried: set[int] = field(default_factory=set)
    """Those that were hastened, until they are done."""
    _due: dict[int, float] = field(default_factory=dict)
    _failures: dict[int, int] = field(default_factory=dict)
    _in_hand: set[int] = field(default_factory=set)
    _again: set[int] = field(default_factory=set)
    """Those in hand that have changed meanwhile."""
    _rest: dict[int, float] = field(default_factory=dict)
    """Until when failing ones, and those that asked for it, are left alone."""
    _queue: list[tuple[float, int]] = field(default_factory=list)
    _burst: int = 0
    """How many were hastened within the last moments."""
    _burst_ends: float = 0.0

    def enter(self, vm_id: int, now: float) -> None:
        """Make a new server due at once; one that is here keeps its time."""
        if vm_id not in self._due:
            self._wait(vm_id, now)

    def hasten(self, vm_id: int, now: float) -> None:
        """Make a server due soon; one in hand, as soon as it is done.

        A few are due at once, many within half a minute. One that is left alone is due
        when that ends.
        """
        if vm_id in self._due:
            self.hurried.add(vm_id)
        if vm_id in self._in_hand:
            self._again.add(vm_id)
            return
        due = max(now, self._rest.get(vm_id, now))
        if self._due.get(vm_id, due) > due:
            self._wait(vm_id, min(self._due[vm_id], due + self._seconds_in_burst(now)))

    def leave(self, vm_id: int) -> None:
        """Forget a server; one in hand is not given out again."""
        self._due.pop(vm_id, None)
        self._failures.pop(vm_id, None)
        self._rest.pop(vm_id, None)
        self._again.discard(vm_id)
        self.hurried.discard(vm_id)

    def take(self, now: float) -> int | None:
        """Hand out the server that is due longest, until it is done or put back."""
        if self.next_due() is None or self._queue[0][0] > now:
            return None
        _, vm_id = heapq.heappop(self._queue)
        self._in_hand.add(vm_id)
        self._again.discard(vm_id)
        return vm_id

    def put_back(self, vm_id: int) -> None:
        """Return a server unread: it stays as overdue as it was."""
        self._in_hand.discard(vm_id)
        if vm_id in self._due:
            self._wait(vm_id, self._due[vm_id])

    def done(
        self, vm_id: int, now: float, *, failed: bool, rest_seconds: float = 0.0
    ) -> None:
        """Give a server that was read, or could not be, its next time.

        ``rest_seconds`` is how long it is to be left alone, an interval at most.
        """
        self._in_hand.discard(vm_id)
        if vm_id not in self._due:
            return
        if failed or vm_id not in self._again:
            self.hurried.discard(vm_id)
        failures = self._failures.get(vm_id, 0) + 1 if failed else 0
        self._failures[vm_id] = failures
        slot = self._next_slot(vm_id, now)
        if 0 < failures <= _MOST_RETRIES:
            retry = self.interval_seconds * _FIRST_RETRY * 2 ** (failures - 1)
            slot = min(slot, now + retry)
        elif vm_id in self._again and not failed:
            slot = now
        rest = now + min(rest_seconds, self.interval_seconds)
        due = max(slot, rest)
        self._rest[vm_id] = due if failed else rest
        self._wait(vm_id, due)

    def next_due(self) -> float | None:
        """Return when the first waiting server is due."""
        while self._queue and not self._is_waiting(*self._queue[0]):
            heapq.heappop(self._queue)
        return self._queue[0][0] if self._queue else None

    def overdue_since(self) -> float | None:
        """Return when the most overdue server, waiting or in hand, was due."""
        due = [self._due[vm_id] for vm_id in self._in_hand if vm_id in self._due]
        waiting = self.next_due()
        return min(due if waiting is None else [*due, waiting], default=None)

    def _wait(self, vm_id: int, due: float) -> None:
        self._due[vm_id] = due
        heapq.heappush(self._queue, (due, vm_id))

    def _is_waiting(self, due: float, vm_id: int) -> bool:
        return vm_id not in self._in_hand and self._due.get(vm_id) == due

    def _seconds_in_burst(self, now: float) -> float:
        """Return how long the next of those that are hastened together is to wait.

        How many there will be is not known: multiples of the golden ratio lie evenly
        spread however many they are, over a span that grows with their number.
        """
        if now >= self._burst_ends:
            self._burst, self._burst_ends = 0, now + _BURST_SECONDS
        beyond = max(0, self._burst - _AT_ONCE + 1)
        self._burst += 1
        span = min(_BURST_SECONDS, beyond / _SLOWEST_PER_SECOND)
        return span * (beyond * _GOLDEN_RATIO % 1)

    def _next_slot(self, vm_id: int, now: float) -> float:
        share = zlib.crc32(f"{self.name}/{vm_id}".encode()) / 2**32
        passed = math.floor(now / self.interval_seconds - share + _ROUNDING)
        return (passed + 1 + share) * self.interval_seconds


@dataclass(slots=True, eq=False)
class FirstPass:
    """Everything that is due at once when a poller starts, each tried once.

    A server may be due twice: read before it was clear that its schedules have to be
    asked for one by one, it is read again.
    """

    store: PanelStore
    timetable: Scheduler
    errands: JobQueue
    _untried: set[int] | None = field(default=None, init=False)
    """Servers of the first inventory that were not read yet; None: not known."""
    _closed: bool = field(default=False, init=False)
    """Whether no server is to be read again for the first pass's sake."""

    @property
    def begun(self) -> bool:
        """Tell whether the inventory was read once."""
        return self._untried is not None

    def expect(self) -> None:
        """Take in which servers there are, after an inventory."""
        watches = self.store.servers
        if self._untried is None:
            self._untried = {v for v, watch in watches.items() if watch.failing is None}
        self._untried &= watches.keys()

    def tried(self, vm_id: int) -> None:
        """Take in that a server was read, or could not be."""
        if self._untried is not None and vm_id not in self.timetable.hurried:
            self._untried.discard(vm_id)

    def over(self) -> bool:
        """Tell whether everything was tried."""
        if self._untried is None or not self.errands.all_tried():
            return False
        if not self._closed:
            # By now it is clear what must be asked server by server.
            self._untried |= {v for v in self.timetable.hurried if self._was_read(v)}
            self._closed = True
        return not self._untried

    def _was_read(self, vm_id: int) -> bool:
        watch = self.store.servers.get(vm_id)
        return watch is not None and watch.failing is False
