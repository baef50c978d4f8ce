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

_FIRST_RETRY_SHARE = 1 / 16
"""Of the interval: a minute, nearly, when servers are read every 15."""
_MAX_EARLY_RETRIES = 3
"""A fourth would come just before the next slot."""
_BURST_SECONDS = 30.0
"""Over so long are those spread that changed together."""
_UNDELAYED_POLLS = 8
"""So many that changed together are not kept waiting."""
_MIN_POLLS_PER_SECOND = 2
"""Nor are others longer than it takes to read those before them at this pace."""
_GOLDEN_RATIO = (math.sqrt(5) - 1) / 2
_SLOT_TOLERANCE = 1e-6
"""A slot nearer than this share of the interval is the one just used."""


@dataclass(slots=True, eq=False)
class Scheduler:
    """The servers of one panel, each waiting or in hand."""

    panel: str
    interval_seconds: float
    requested_early: set[int] = field(default_factory=set)
    """Those that were hastened, until they are done."""
    _due: dict[int, float] = field(default_factory=dict)
    _failures: dict[int, int] = field(default_factory=dict)
    _in_progress: set[int] = field(default_factory=set)
    _changed_in_progress: set[int] = field(default_factory=set)
    """Those in hand that have changed meanwhile."""
    _not_before: dict[int, float] = field(default_factory=dict)
    """Until when failing ones, and those that asked for it, are left alone."""
    _queue: list[tuple[float, int]] = field(default_factory=list)
    _burst_count: int = 0
    """How many were hastened within the last moments."""
    _burst_ends_at: float = 0.0

    def add(self, vm_id: int, now: float) -> None:
        """Make a new server due at once; one that is here keeps its time."""
        if vm_id not in self._due:
            self._enqueue(vm_id, now)

    def poll_soon(self, vm_id: int, now: float) -> None:
        """Make a server due soon; one in hand, as soon as it is done.

        A few are due at once, many within half a minute. One that is left alone is due
        when that ends.
        """
        if vm_id in self._due:
            self.requested_early.add(vm_id)
        if vm_id in self._in_progress:
            self._changed_in_progress.add(vm_id)
            return
        due = max(now, self._not_before.get(vm_id, now))
        if self._due.get(vm_id, due) > due:
            self._enqueue(
                vm_id, min(self._due[vm_id], due + self._burst_delay_seconds(now))
            )

    def remove(self, vm_id: int) -> None:
        """Forget a server; one in hand is not given out again."""
        self._due.pop(vm_id, None)
        self._failures.pop(vm_id, None)
        self._not_before.pop(vm_id, None)
        self._changed_in_progress.discard(vm_id)
        self.requested_early.discard(vm_id)

    def pop_due(self, now: float) -> int | None:
        """Hand out the server that is due longest, until it is done or put back."""
        if self.next_due() is None or self._queue[0][0] > now:
            return None
        _, vm_id = heapq.heappop(self._queue)
        self._in_progress.add(vm_id)
        self._changed_in_progress.discard(vm_id)
        return vm_id

    def put_back(self, vm_id: int) -> None:
        """Return a server unread: it stays as overdue as it was."""
        self._in_progress.discard(vm_id)
        if vm_id in self._due:
            self._enqueue(vm_id, self._due[vm_id])

    def reschedule(
        self, vm_id: int, now: float, *, failed: bool, retry_after_seconds: float = 0.0
    ) -> None:
        """Give a server that was read, or could not be, its next time.

        ``rest_seconds`` is how long it is to be left alone, an interval at most.
        """
        self._in_progress.discard(vm_id)
        if vm_id not in self._due:
            return
        if failed or vm_id not in self._changed_in_progress:
            self.requested_early.discard(vm_id)
        failures = self._failures.get(vm_id, 0) + 1 if failed else 0
        self._failures[vm_id] = failures
        planned = self._next_slot(vm_id, now)
        if 0 < failures <= _MAX_EARLY_RETRIES:
            retry = self.interval_seconds * _FIRST_RETRY_SHARE * 2 ** (failures - 1)
            planned = min(planned, now + retry)
        elif vm_id in self._changed_in_progress and not failed:
            planned = now
        not_before = now + min(retry_after_seconds, self.interval_seconds)
        due = max(planned, not_before)
        self._not_before[vm_id] = due if failed else not_before
        self._enqueue(vm_id, due)

    def next_due(self) -> float | None:
        """Return when the first waiting server is due."""
        while self._queue and not self._is_current(*self._queue[0]):
            heapq.heappop(self._queue)
        return self._queue[0][0] if self._queue else None

    def overdue_since(self) -> float | None:
        """Return when the most overdue server, waiting or in hand, was due."""
        due = [self._due[vm_id] for vm_id in self._in_progress if vm_id in self._due]
        waiting = self.next_due()
        return min(due if waiting is None else [*due, waiting], default=None)

    def _enqueue(self, vm_id: int, due: float) -> None:
        self._due[vm_id] = due
        heapq.heappush(self._queue, (due, vm_id))

    def _is_current(self, due: float, vm_id: int) -> bool:
        return vm_id not in self._in_progress and self._due.get(vm_id) == due

    def _burst_delay_seconds(self, now: float) -> float:
        """Return how long the next of those that are hastened together is to wait.

        How many there will be is not known: multiples of the golden ratio lie evenly
        spread however many they are, over a span that grows with their number.
        """
        if now >= self._burst_ends_at:
            self._burst_count, self._burst_ends_at = 0, now + _BURST_SECONDS
        excess = max(0, self._burst_count - _UNDELAYED_POLLS + 1)
        self._burst_count += 1
        span = min(_BURST_SECONDS, excess / _MIN_POLLS_PER_SECOND)
        return span * (excess * _GOLDEN_RATIO % 1)

    def _next_slot(self, vm_id: int, now: float) -> float:
        offset = zlib.crc32(f"{self.panel}/{vm_id}".encode()) / 2**32
        intervals = math.floor(now / self.interval_seconds - offset + _SLOT_TOLERANCE)
        return (intervals + 1 + offset) * self.interval_seconds


@dataclass(slots=True, eq=False)
class FirstPass:
    """Everything that is due at once when a poller starts, each tried once.

    A server may be due twice: read before it was clear that its schedules have to be
    asked for one by one, it is read again.
    """

    store: PanelStore
    scheduler: Scheduler
    job_queue: JobQueue
    _untried: set[int] | None = field(default=None, init=False)
    """Servers of the first inventory that were not read yet; None: not known."""
    _untried_is_final: bool = field(default=False, init=False)
    """Whether no server is to be read again for the first pass's sake."""

    @property
    def has_inventory(self) -> bool:
        """Tell whether the inventory was read once."""
        return self._untried is not None

    def update_servers(self) -> None:
        """Take in which servers there are, after an inventory."""
        servers = self.store.servers
        if self._untried is None:
            self._untried = {
                vm_id for vm_id, entry in servers.items() if entry.failing is None
            }
        self._untried &= servers.keys()

    def mark_tried(self, vm_id: int) -> None:
        """Take in that a server was read, or could not be."""
        if self._untried is not None and vm_id not in self.scheduler.requested_early:
            self._untried.discard(vm_id)

    def has_ended(self) -> bool:
        """Tell whether everything was tried."""
        if self._untried is None or not self.job_queue.all_tried():
            return False
        if not self._untried_is_final:
            # By now it is clear what must be asked server by server.
            self._untried |= {
                vm_id
                for vm_id in self.scheduler.requested_early
                if self._was_read(vm_id)
            }
            self._untried_is_final = True
        return not self._untried

    def _was_read(self, vm_id: int) -> bool:
        entry = self.store.servers.get(vm_id)
        return entry is not None and entry.failing is False
