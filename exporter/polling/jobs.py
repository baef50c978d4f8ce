"""Panel-wide jobs, such as the list of all schedules: when they run and how they fare.

A job runs at its interval. After a failure it runs again after 15 s, doubled each time
up to its interval. A collector that the panel refuses (no permission, no such address)
is disabled for an hour. Messages are logged when the state of a collector changes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import structlog

from ..clock import Clock
from ..errors import REFUSED, ExporterError
from ..model.store import PanelStore
from ..onapp.backoff import exponential_pause

log = structlog.get_logger()

DISABLED_SECONDS = 3600.0
"""How long a refused collector is not tried again."""
_FIRST_RETRY_SECONDS = 15.0


@dataclass(slots=True, eq=False)
class CollectorStatus:
    """Outcome of a collector, or of one part of it, in the store and in the log."""

    store: PanelStore
    collector: str
    part: str = ""
    _logged_errors: set[type[ExporterError]] = field(default_factory=set)
    """Error types that were logged since the last success."""

    @property
    def key(self) -> tuple[str, str]:
        """Key of the outcome in the store."""
        return self.collector, self.part

    @contextmanager
    def timed(self, clock: Clock) -> Iterator[None]:
        """Store how long a run takes."""
        started_at = clock.monotonic()
        try:
            yield
        finally:
            self.store.durations[self.collector] = clock.monotonic() - started_at

    def record_success(self) -> None:
        """Store that the last run succeeded."""
        self.store.outcomes[self.key] = True
        self._log_recovery()

    def mark_unread(self) -> None:
        """Store a failure, without an error, until the first run succeeds."""
        self.store.outcomes[self.key] = False

    def clear(self) -> None:
        """Remove the outcome: the collector is no longer used."""
        self.store.outcomes.pop(self.key, None)
        self._log_recovery()

    def _log_recovery(self) -> None:
        if self._logged_errors:
            log.info(
                "collector works again",
                panel=self.store.name,
                collector=self.collector,
            )
        self._logged_errors.clear()

    def record_failure(self, error: ExporterError, **context: int) -> None:
        """Store that the last run failed; log an error type that is new."""
        self.store.outcomes[self.key] = False
        if type(error) in self._logged_errors:
            return
        self._logged_errors.add(type(error))
        log.warning(
            "collector off" if isinstance(error, REFUSED) else "collector failed",
            panel=self.store.name,
            collector=self.collector,
            **context,
            **error.log_fields(),
        )


@dataclass(slots=True, eq=False)
class PanelJob:
    """A periodic read of one panel-wide list."""

    status: CollectorStatus
    interval_seconds: float
    run: Callable[[], Awaitable[None]]
    due: float = 0.0
    """Monotonic time of the next run."""
    tried: bool = False
    """Whether it has run once, successfully or not."""
    _in_progress: bool = False
    _failures: int = 0

    def is_waiting(self) -> bool:
        """Return whether the job is not in progress."""
        return not self._in_progress

    def mark_started(self) -> None:
        """Set the job in progress."""
        self._in_progress = True

    def put_back(self) -> None:
        """Leave the job due: its request was not sent."""
        self._in_progress = False

    def record_success(self, now: float) -> None:
        """Plan the next run after a successful one."""
        self._in_progress, self.tried, self._failures = False, True, 0
        self.due = now + self.interval_seconds
        self.status.record_success()

    def record_failure(self, now: float, error: ExporterError) -> None:
        """Plan the next run after a failed one."""
        self._in_progress, self.tried = False, True
        self.status.record_failure(error)
        if isinstance(error, REFUSED):
            self.due = now + max(DISABLED_SECONDS, self.interval_seconds)
            return
        seconds = exponential_pause(
            _FIRST_RETRY_SECONDS, self._failures, self.interval_seconds
        )
        self._failures += 1
        self.due = now + seconds


@dataclass(slots=True, eq=False)
class JobQueue:
    """All jobs of one panel."""

    jobs: tuple[PanelJob, ...] = field(default=())

    def pop_due(self, now: float) -> PanelJob | None:
        """Return the most overdue job and mark it as in progress; None: none is due."""
        job = self._first()
        if job is None or job.due > now:
            return None
        job.mark_started()
        return job

    def next_due(self) -> float | None:
        """Return when the next waiting job is due; None: none waits."""
        first = self._first()
        return None if first is None else first.due

    def all_tried(self) -> bool:
        """Return whether each job has run once, successfully or not."""
        return all(job.tried for job in self.jobs)

    def _first(self) -> PanelJob | None:
        waiting = (job for job in self.jobs if job.is_waiting())
        return min(waiting, key=lambda job: job.due, default=None)
