"""The requests and results of one panel's check."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from ..clock import Clock
from ..errors import ExporterError, Forbidden, NotSent, PanelError, UnexpectedStatus
from ..onapp.error_body import printable
from ..onapp.permissions import permission_hint
from ..polling.manager import PanelTask
from .findings import StepResult, StepStatus, worst_status


@dataclass(slots=True, eq=False)
class RequestCounts:
    """Counts of one panel's answers, by resource."""

    answers: Counter[str] = field(default_factory=Counter)
    """Requests that were answered, with whatever status."""
    total_seconds: dict[str, float] = field(default_factory=dict)
    last_statuses: dict[str, int] = field(default_factory=dict)
    """HTTP status of the last answer."""
    unreadable_rows: Counter[str] = field(default_factory=Counter)
    """Rows that could not be used."""

    def observe_response(self, resource: str, status: int, seconds: float) -> None:
        """Count an answer."""
        self.answers[resource] += 1
        self.total_seconds[resource] = self.total_seconds.get(resource, 0.0) + seconds
        self.last_statuses[resource] = status

    def observe_error(self, resource: str, reason: str) -> None:
        """Ignore it: the caller records the error."""

    def observe_skipped_rows(self, resource: str, rows: int) -> None:
        """Count rows that could not be used."""
        self.unreadable_rows[resource] += rows

    def latency_seconds(self, resource: str | None = None) -> float:
        """Return the mean latency of a resource, of all if it has no answers."""
        if resource is not None and self.answers[resource]:
            return self.total_seconds[resource] / self.answers[resource]
        return sum(self.total_seconds.values()) / max(1, self.answers.total())


@dataclass(slots=True, eq=False)
class RequestCountsByPanel:
    """The request counts of each panel."""

    by_panel: dict[str, RequestCounts] = field(default_factory=dict)

    def panel(self, name: str) -> RequestCounts:
        """Return a panel's counts."""
        return self.by_panel.setdefault(name, RequestCounts())

    def forget(self, panel: str) -> None:
        """Drop a panel's counts."""
        self.by_panel.pop(panel, None)


_MAX_WAIT_SECONDS = 5.0
_LOG_HINT = "--log.level=warn names them"

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class CheckRun:
    """The check of one panel while it runs."""

    panel_task: PanelTask
    """Used for its API client; its poller never runs."""
    request_counts: RequestCounts
    clock: Clock
    show_progress: Callable[[str], None]
    """Called with what is being done."""
    results: dict[str, StepResult] = field(default_factory=dict)

    async def ask(self, activity: str, request: Callable[[], Awaitable[T]]) -> T:
        """Make a request, after a pause if the breaker is open; raise ExporterError."""
        self.show_progress(f"{self.panel_task.panel.name}: {activity}")
        breaker = self.panel_task.poller.breaker
        seconds = breaker.open_seconds()
        if seconds > _MAX_WAIT_SECONDS and not breaker.credentials_refused():
            raise NotSent(f"the panel asks to be left alone for {seconds:.0f} s")
        if 0 < seconds <= _MAX_WAIT_SECONDS:
            await self.clock.wait(asyncio.Event(), seconds)
        return await request()

    def record(
        self,
        step: str,
        status: StepStatus,
        text: str,
        *,
        hint: str = "",
        resource: str = "",
    ) -> None:
        """Record a step's result; unreadable rows make it at least ``degraded``."""
        unreadable_rows = self.request_counts.unreadable_rows[resource]
        if unreadable_rows:
            status = worst_status((status, StepStatus.DEGRADED))
            text, hint = (
                f"{text}; {unreadable_rows} rows cannot be read",
                hint or _LOG_HINT,
            )
        text = printable(text)  # it may come from a panel
        http_status = self.request_counts.last_statuses.get(resource)
        self.results[step] = StepResult(step, status, text, hint or None, http_status)

    def record_error(
        self, step: str, status: StepStatus, error: ExporterError, resource: str = ""
    ) -> None:
        """Record an error as a step's result, with its hint."""
        hint = error.hint
        if isinstance(error, NotSent):
            hint = UnexpectedStatus.hint
        if isinstance(error, Forbidden) and resource:
            hint = permission_hint(resource)
        self.record(step, status, str(error), hint=hint, resource=resource)


def panel_may_be_down(error: PanelError) -> bool:
    """Return whether the error does not prove that the panel answers requests."""
    return not error.proven
