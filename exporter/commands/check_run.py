"""Asking a panel step by step, and noting what each step has shown."""

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
from .findings import StepResult, StepStatus, worst


@dataclass(slots=True, eq=False)
class RequestCounts:
    """What one panel was asked, by resource, and how it answered."""

    requests: Counter[str] = field(default_factory=Counter)
    """The answers that came."""
    seconds: dict[str, float] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    """The HTTP status of the last answer."""
    unreadable: Counter[str] = field(default_factory=Counter)
    """Rows that could not be used."""

    def observe_response(self, resource: str, status: int, seconds: float) -> None:
        """Count an answer."""
        self.requests[resource] += 1
        self.seconds[resource] = self.seconds.get(resource, 0.0) + seconds
        self.statuses[resource] = status

    def observe_error(self, resource: str, reason: str) -> None:
        """Leave failures to whoever asked."""

    def observe_skipped_rows(self, resource: str, rows: int) -> None:
        """Count rows that could not be used."""
        self.unreadable[resource] += rows

    def latency_seconds(self, resource: str | None = None) -> float:
        """Return the mean time to an answer, of a resource if it was asked at all."""
        if resource is not None and self.requests[resource]:
            return self.seconds[resource] / self.requests[resource]
        return sum(self.seconds.values()) / max(1, self.requests.total())


@dataclass(slots=True, eq=False)
class RequestCountsByPanel:
    """A tally for each panel."""

    by_panel: dict[str, RequestCounts] = field(default_factory=dict)

    def panel(self, name: str) -> RequestCounts:
        """Return a panel's."""
        return self.by_panel.setdefault(name, RequestCounts())

    def forget(self, panel: str) -> None:
        """Drop a panel's."""
        self.by_panel.pop(panel, None)


_LONGEST_PATIENCE_SECONDS = 5.0
_LOG_HINT = "--log.level=warn names them"

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class CheckRun:
    """One panel's, under way."""

    member: PanelTask
    """Its poller is asked through and never runs."""
    tally: RequestCounts
    clock: Clock
    progress: Callable[[str], None]
    """Is told what is being done."""
    found: dict[str, StepResult] = field(default_factory=dict)

    async def ask(self, what: str, question: Callable[[], Awaitable[T]]) -> T:
        """Ask, after a short pause if the panel needs one; raise ExporterError."""
        self.progress(f"{self.member.panel.name}: {what}")
        gate = self.member.poller.breaker
        seconds = gate.open_seconds()
        if seconds > _LONGEST_PATIENCE_SECONDS and not gate.credentials_refused():
            raise NotSent(f"the panel asks to be left alone for {seconds:.0f} s")
        if 0 < seconds <= _LONGEST_PATIENCE_SECONDS:
            await self.clock.wait(asyncio.Event(), seconds)
        return await question()

    def note(
        self,
        step: str,
        status: StepStatus,
        text: str,
        *,
        hint: str = "",
        resource: str = "",
    ) -> None:
        """Note what a step has shown; rows that were no use make it less than good."""
        unreadable = self.tally.unreadable[resource]
        if unreadable:
            status = worst((status, StepStatus.DEGRADED))
            text, hint = f"{text}; {unreadable} rows cannot be read", hint or _LOG_HINT
        text = printable(text)  # a panel may have said it
        answered = self.tally.statuses.get(resource)
        self.found[step] = StepResult(step, status, text, hint or None, answered)

    def note_error(
        self, step: str, status: StepStatus, error: ExporterError, resource: str = ""
    ) -> None:
        """Note why a step failed, and what to do about it."""
        hint = error.hint
        if isinstance(error, NotSent):
            hint = UnexpectedStatus.hint
        if isinstance(error, Forbidden) and resource:
            hint = permission_hint(resource)
        self.note(step, status, str(error), hint=hint, resource=resource)


def unanswered(error: PanelError) -> bool:
    """Tell whether a failure may be the panel's, and not a word of it."""
    return not error.authenticated
