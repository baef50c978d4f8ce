"""When each server is read: at once, then in its own slot of every interval.

A new server is due at once. After a successful read it is due in its next slot; slots
are spread evenly over the interval by a hash of the server, so that requests do not
come in bursts and a server keeps its slot when others come and go.

After a failed read it is due again after 1/16, 1/8 and 1/4 of the interval, or in its
next slot if that comes first; after that only in its slots. A panel's ``Retry-After``
postpones that, by an interval at most. A server that changed (``poll_soon``) is due
before its slot. All moments are monotonic seconds.
"""

from __future__ import annotations

import heapq
import math
import zlib
from collections.abc import KeysView
from dataclasses import dataclass, field

from ..model.store import PanelStore
from .jobs import JobQueue

_FIRST_RETRY_SHARE = 1 / 16
"""First retry, as a share of the interval: about a minute of 15."""
_MAX_EARLY_RETRIES = 3
"""In a row, before the next slot; a fourth one would come just before it."""
_BURST_SECONDS = 30.0
"""Servers that changed together are spread over this time."""
_UNDELAYED_POLLS = 8
"""So many of them are due at once."""
_MIN_POLLS_PER_SECOND = 2
"""The others wait no longer than the earlier ones take at this rate."""
_GOLDEN_RATIO = (math.sqrt(5) - 1) / 2
_SLOT_TOLERANCE = 1e-6
"""A slot nearer than this share of the interval is the one that was just used."""


@dataclass(slots=True, eq=False)
class Scheduler:
    """Queue of one panel's servers, each either waiting or in progress."""

    panel: str
    interval_seconds: float
    requested_early: set[int] = field(default_factory=set)
    """Servers for which ``poll_soon`` was called, until they are read."""
    _due: dict[int, float] = field(default_factory=dict)
    _failures: dict[int, int] = field(default_factory=dict)
    _in_progress: set[int] = field(default_factory=set)
    _changed_in_progress: set[int] = field(default_factory=set)
    """Servers in progress for which ``poll_soon`` was called meanwhile."""
    _not_before: dict[int, float] = field(default_factory=dict)
    """Earliest time of the next read; ``poll_soon`` respects it."""
    _queue: list[tuple[float, int]] = field(default_factory=list)
    """Heap of due time and server; entries that are not current are skipped."""
    _burst_count: int = 0
    """How many servers the present burst of ``poll_soon`` has."""
    _burst_ends_at: float = 0.0

    def add(self, vm_id: int, now: float) -> None:
        """Make a new server due at once; a known one keeps its time.

        A read in progress is that of another server, which had its number.
        """
        if vm_id not in self._due:
            self._enqueue(vm_id, now)
            if vm_id in self._in_progress:
                self._changed_in_progress.add(vm_id)

    def poll_soon(self, vm_id: int, now: float) -> None:
        """Make a server due before its slot; one in progress, right after that.

        A few servers are due at once, many within half a minute. One that waits for a
        retry or for ``Retry-After`` stays due at that time.
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
        """Remove a server, waiting or in progress."""
        self._due.pop(vm_id, None)
        self._failures.pop(vm_id, None)
        self._not_before.pop(vm_id, None)
        self._changed_in_progress.discard(vm_id)
        self.requested_early.discard(vm_id)

    def pop_due(self, now: float) -> int | None:
        """Return the most overdue server and mark it as in progress; None: none is due.

        The caller ends that with ``reschedule`` or ``put_back``.
        """
        if self.next_due() is None or self._queue[0][0] > now:
            return None
        _, vm_id = heapq.heappop(self._queue)
        self._in_progress.add(vm_id)
        self._changed_in_progress.discard(vm_id)
        return vm_id

    def put_back(self, vm_id: int) -> None:
        """Put back a server that was not asked: it stays as overdue as it was."""
        self._in_progress.discard(vm_id)
        if vm_id in self._due:
            self._enqueue(vm_id, self._due[vm_id])

    def reschedule(
        self, vm_id: int, now: float, *, failed: bool, retry_after_seconds: float = 0.0
    ) -> None:
        """Plan the next read of a server after one that succeeded or failed.

        ``retry_after_seconds`` is what the panel asked for; an interval at most counts.
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
        """Return when the next waiting server is due; None: none waits."""
        while self._queue and not self._is_current(*self._queue[0]):
            heapq.heappop(self._queue)
        return self._queue[0][0] if self._queue else None

    def overdue_since(self) -> float | None:
        """Return the earliest due time of all servers, those in progress included."""
        due = [self._due[vm_id] for vm_id in self._in_progress if vm_id in self._due]
        waiting = self.next_due()
        return min(due if waiting is None else [*due, waiting], default=None)

    def _enqueue(self, vm_id: int, due: float) -> None:
        self._due[vm_id] = due
        heapq.heappush(self._queue, (due, vm_id))

    def _is_current(self, due: float, vm_id: int) -> bool:
        return vm_id not in self._in_progress and self._due.get(vm_id) == due

    def _burst_delay_seconds(self, now: float) -> float:
        """Return how long the next server of a burst waits.

        The size of the burst is not known beforehand: multiples of the golden ratio
        are spread evenly whatever their number, over a span that grows with it.
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
    """First pass of a poller: ends when every server and every job was tried once.

    A server may be read twice: the first time it may not have been known that its
    schedules have to be requested per server.
    """

    store: PanelStore
    scheduler: Scheduler
    job_queue: JobQueue
    _untried: set[int] | None = field(default=None, init=False)
    """Servers of the inventory that were not tried yet; None: no inventory yet."""
    _untried_is_final: bool = field(default=False, init=False)
    """Whether no further read of a server is added to the first pass."""

    @property
    def has_inventory(self) -> bool:
        """Return whether the inventory was read once."""
        return self._untried is not None

    def update_servers(self, missing: KeysView[int]) -> None:
        """Follow the servers of the store after an inventory, which lacked some."""
        servers = self.store.servers
        if self._untried is None:
            self._untried = {
                vm_id for vm_id, entry in servers.items() if entry.failing is None
            }
        self._untried &= servers.keys() - missing

    def mark_tried(self, vm_id: int) -> None:
        """Count a server as tried, unless it is due again soon."""
        if self._untried is not None and vm_id not in self.scheduler.requested_early:
            self._untried.discard(vm_id)

    def has_ended(self) -> bool:
        """Return whether everything was tried."""
        if self._untried is None or not self.job_queue.all_tried():
            return False
        if not self._untried_is_final:
            # Now it is known what has to be requested per server.
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
