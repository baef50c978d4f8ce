"""The jobs of one panel: what is requested repeatedly, when, and in which order.

After a success, a ``Job`` is due an interval later. After a failure, its ``Backoff`` or
the panel's ``Retry-After`` sets the time. A list that the panel refuses (no permission,
no such address) is disabled for an hour.

The job of a server is due in its own slot of every interval instead. Slots are spread
evenly by a hash of the server, so requests do not come in bursts, and a server keeps
its slot when others are added or removed. After a failure the job is due after 1/16,
1/8 and 1/4 of the interval, or in its next slot if that is earlier; after that, only in
its slots. A server that changed (``run_soon``) is due before its slot. All times are
monotonic seconds.
"""

from __future__ import annotations

import enum
import heapq
import math
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from ..errors import REFUSED, ExporterError, retry_after
from ..onapp.backoff import Backoff

REFUSED_SECONDS = 3600.0
"""How long a refused list is not requested."""
_FIRST_RETRY_SHARE = 1 / 16
"""Delay of a server's first retry as a share of the interval: about 1 of 15 minutes."""
_MAX_EARLY_RETRIES = 3
"""Retries before the next slot; a fourth one would come just before it."""
_BURST_SECONDS = 30.0
"""Servers that change together are polled within this time."""
_UNDELAYED_RUNS = 8
"""How many servers of a burst are due at once."""
_MIN_RUNS_PER_SECOND = 2
"""The n-th further server waits at most n seconds divided by this."""
_GOLDEN_RATIO = (math.sqrt(5) - 1) / 2
_SLOT_TOLERANCE = 1e-6
"""A slot closer than this share of the interval is the one that was just used."""


@dataclass(slots=True, eq=False)
class Recurrence:
    """The times of a repeated request, after a success and after a failure."""

    interval_seconds: float
    backoff: Backoff
    slot: float | None = None
    """The slot as a share of the interval; None: due an interval after the last
    success."""
    refusable: bool = False
    """Whether a refusal stops the requests for an hour, as it does for lists."""
    due: float = 0.0
    not_before: float = 0.0
    """The time that the last failure set; ``run_soon`` cannot make it due earlier."""

    def record_success(self, now: float) -> None:
        """Set the next time after a success."""
        self.backoff, self.not_before = self.backoff.after_success(), 0.0
        self.due = self._next_regular(now)

    def record_failure(self, now: float, error: ExporterError | None = None) -> None:
        """Set the next time after a failure."""
        if self.refusable and isinstance(error, REFUSED):
            self.due = self.not_before = now + max(
                REFUSED_SECONDS, self.interval_seconds
            )
            return
        self.backoff = self.backoff.after_failure()
        retry = now + self.backoff.seconds
        if self.slot is not None:
            early = self.backoff.failures <= _MAX_EARLY_RETRIES
            slot = self._next_regular(now)
            retry = min(retry, slot) if early else slot
        asked_for = min(retry_after(error), self.backoff.longest_seconds)
        self.due = self.not_before = max(retry, now + asked_for)

    def _next_regular(self, now: float) -> float:
        interval = self.interval_seconds
        if self.slot is None:
            return now + interval
        intervals = math.floor(now / interval - self.slot + _SLOT_TOLERANCE)
        return (intervals + 1 + self.slot) * interval


class Priority(enum.IntEnum):
    """The order of jobs that are due: the lowest value runs first."""

    PANEL = 0
    LIST = 1
    SERVER = 2


@dataclass(slots=True, eq=False, kw_only=True)
class Job(Recurrence):
    """A repeated request, or a series of them, that runs in its own task."""

    run: Callable[[], Awaitable[None]]
    on_failure: Callable[[ExporterError], None]
    """Called after a failed run, once the next one is planned."""
    priority: Priority
    number: int
    """ID of the server, or number of the list; unique within the priority."""
    in_progress: bool = False
    run_again: bool = False
    """Whether the server changed while the job was in progress."""
    removed: bool = False
    """Whether the job was removed while it was in progress."""


def server_job(
    panel: str,
    vm_id: int,
    interval_seconds: float,
    run: Callable[[], Awaitable[None]],
    on_failure: Callable[[ExporterError], None],
) -> Job:
    """Return the job of one server."""
    return Job(
        interval_seconds,
        Backoff(interval_seconds * _FIRST_RETRY_SHARE, interval_seconds),
        slot=zlib.crc32(f"{panel}/{vm_id}".encode()) / 2**32,
        run=run,
        on_failure=on_failure,
        priority=Priority.SERVER,
        number=vm_id,
    )


@dataclass(slots=True, eq=False)
class JobQueue:
    """All jobs of one panel, each either waiting or in progress."""

    untried: set[Job] = field(default_factory=set)
    """Jobs that have not run yet, successfully or not."""
    _jobs: tuple[dict[int, Job], ...] = field(
        default_factory=lambda: tuple({} for _ in Priority)
    )
    """Jobs by priority and number."""
    _heaps: tuple[list[tuple[float, int]], ...] = field(
        default_factory=lambda: tuple([] for _ in Priority)
    )
    """Due times and numbers, by priority; outdated entries are skipped."""
    _in_progress: set[Job] = field(default_factory=set)
    _burst_count: int = 0
    """How many servers the current burst of ``run_soon`` has."""
    _burst_ends_at: float = 0.0

    def add(self, job: Job, now: float, *, tried: bool = False) -> None:
        """Add a new job, due at once; a known job keeps its time.

        A job that was removed while in progress runs again afterwards.
        """
        known = self._jobs[job.priority].setdefault(job.number, job)
        if known is not job:
            if not known.removed:
                return
            known.record_success(now)
            known.removed, known.run_again = False, True
        if not tried:
            self.untried.add(known)
        self.plan(known, now)

    def remove_server(self, vm_id: int) -> None:
        """Remove the job of a server, waiting or in progress."""
        job = self._jobs[Priority.SERVER].get(vm_id)
        if job is not None:
            job.removed = True
            self._drop_removed(job)

    def run_soon(self, vm_id: int, now: float, *, untried: bool = False) -> None:
        """Make a server due before its slot, or again after the run in progress.

        A few servers are due at once, many within half a minute. A server that waits
        for a retry or for ``Retry-After`` stays due at that time. If ``untried``, the
        first pass does not end before the server was polled.
        """
        job = self._jobs[Priority.SERVER].get(vm_id)
        if job is None or job.removed:
            return
        if untried:
            self.untried.add(job)
        job.run_again = job.in_progress
        due = max(now, job.not_before)
        if not job.in_progress and job.due > due:
            self.plan(job, min(job.due, due + self._burst_delay_seconds(now)))

    def do_not_await(self, vm_id: int) -> None:
        """Let the first pass end without waiting for a server that may be gone."""
        job = self._jobs[Priority.SERVER].get(vm_id)
        if job is not None:
            self.untried.discard(job)

    def plan(self, job: Job, due: float) -> None:
        """Set the due time of a job."""
        job.due = due
        heapq.heappush(self._heaps[job.priority], (due, job.number))

    def first(self, priority: Priority) -> Job | None:
        """Return the waiting job of a priority that is due first; None: none waits."""
        heap, jobs = self._heaps[priority], self._jobs[priority]
        while heap:
            due, number = heap[0]
            job = jobs.get(number)
            if job is not None and not job.in_progress and job.due == due:
                return job
            heapq.heappop(heap)
        return None

    def start(self, job: Job) -> None:
        """Mark a job as in progress; ``end`` or ``put_back`` ends that."""
        job.in_progress, job.run_again = True, False
        self._in_progress.add(job)

    def put_back(self, job: Job) -> None:
        """Put back a job that sent nothing; it keeps its due time."""
        job.in_progress = False
        self._in_progress.discard(job)
        if not self._drop_removed(job):
            self.plan(job, job.due)

    def end(self, job: Job, now: float, error: ExporterError | None = None) -> None:
        """Plan the next run of a job that succeeded or failed."""
        again = job.run_again and error is None
        if not again:
            self.untried.discard(job)
        if error is not None:
            job.record_failure(now, error)
        else:
            job.record_success(now)
            job.due = now if again else job.due
        self.put_back(job)

    def overdue_since(self) -> float | None:
        """Return the earliest due time of all servers, including those in progress."""
        due = [
            job.due
            for job in (*self._in_progress, self.first(Priority.SERVER))
            if job and job.priority is Priority.SERVER and not job.removed
        ]
        return min(due, default=None)

    def _drop_removed(self, job: Job) -> bool:
        """Drop a removed job unless it is in progress; return whether it was."""
        if not job.removed or job.in_progress:
            return False
        del self._jobs[job.priority][job.number]
        self.untried.discard(job)
        return True

    def _burst_delay_seconds(self, now: float) -> float:
        """Return the delay of the next server in a burst.

        The size of the burst is not known in advance. Multiples of the golden ratio are
        spread evenly for any number of servers; the span grows with that number.
        """
        if now >= self._burst_ends_at:
            self._burst_count, self._burst_ends_at = 0, now + _BURST_SECONDS
        excess = max(0, self._burst_count - _UNDELAYED_RUNS + 1)
        self._burst_count += 1
        span = min(_BURST_SECONDS, excess / _MIN_RUNS_PER_SECOND)
        return span * (excess * _GOLDEN_RATIO % 1)
