"""What is read of a panel as a whole: when, and how it goes.

A collector is one kind of reading. One that the panel refuses (no permission, no such
address) is off: it is tried again now and then. Anything else that goes wrong is tried
again soon, then later each time. The log speaks when that changes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog

from ..errors import ExporterError, Forbidden, NotFound, Unprocessable
from ..model.store import PanelStore
from ..onapp.backoff import exponential_pause

log = structlog.get_logger()

REFUSED = (Forbidden, NotFound, Unprocessable)
"""What a panel answers when it never will, as it is."""
DISABLED_SECONDS = 3600.0
"""How long a refused collector is off."""
_FIRST_RETRY_SECONDS = 15.0


@dataclass(slots=True, eq=False)
class CollectorStatus:
    """How a collector fares, or one part of it."""

    store: PanelStore
    collector: str
    part: str = ""
    _logged_errors: set[type[ExporterError]] = field(default_factory=set)
    """What the log has told of since it last worked."""

    @property
    def key(self) -> tuple[str, str]:
        """Return where the store holds the outcome."""
        return self.collector, self.part

    def record_success(self) -> None:
        """Note a run that succeeded."""
        self.store.outcomes[self.key] = True
        self._log_recovery()

    def mark_unread(self) -> None:
        """Note that nothing is known, because something better was refused."""
        self.store.outcomes[self.key] = False

    def clear(self) -> None:
        """Note that it is no longer needed."""
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
        """Note a run that failed, and log it if that is news."""
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
    """One reading of the panel as a whole that is repeated."""

    status: CollectorStatus
    interval_seconds: float
    run: Callable[[], Awaitable[None]]
    due: float = 0.0
    tried: bool = False
    """Whether it has ever run to its end, well or badly."""
    _in_progress: bool = False
    _failures: int = 0

    def is_waiting(self) -> bool:
        """Tell whether it is not being run."""
        return not self._in_progress

    def mark_started(self) -> None:
        """Take it in hand."""
        self._in_progress = True

    def put_back(self) -> None:
        """Return it undone: it stays due."""
        self._in_progress = False

    def record_success(self, now: float) -> None:
        """Plan the next run after a good one."""
        self._in_progress, self.tried, self._failures = False, True, 0
        self.due = now + self.interval_seconds
        self.status.record_success()

    def record_failure(self, now: float, error: ExporterError) -> None:
        """Plan the next run after a bad one."""
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
    """All errands to one panel."""

    jobs: tuple[PanelJob, ...] = field(default=())

    def pop_due(self, now: float) -> PanelJob | None:
        """Hand out the one that is due longest, if any is."""
        job = self._first()
        if job is None or job.due > now:
            return None
        job.mark_started()
        return job

    def next_due(self) -> float | None:
        """Return when the next one is due."""
        first = self._first()
        return None if first is None else first.due

    def all_tried(self) -> bool:
        """Tell whether each has run to its end once, well or badly."""
        return all(job.tried for job in self.jobs)

    def _first(self) -> PanelJob | None:
        waiting = (job for job in self.jobs if job.is_waiting())
        return min(waiting, key=lambda errand: errand.due, default=None)
