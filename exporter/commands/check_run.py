"""Asking a panel step by step, and noting what each step has shown."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from ..clock import Clock
from ..errors import ExporterError, Forbidden, NotAsked, PanelError, UnexpectedStatus
from ..onapp.error_body import printable
from ..onapp.permissions import permission_hint
from ..polling.manager import Member
from .findings import Finding, Status, worst
from .tally import Tally

_LONGEST_PATIENCE_SECONDS = 5.0
_LOG_HINT = "--log.level=warn names them"

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Inquiry:
    """One panel's, under way."""

    member: Member
    """Its poller is asked through and never runs."""
    tally: Tally
    clock: Clock
    progress: Callable[[str], None]
    """Is told what is being done."""
    found: dict[str, Finding] = field(default_factory=dict)

    async def ask(self, what: str, question: Callable[[], Awaitable[T]]) -> T:
        """Ask, after a short pause if the panel needs one; raise ExporterError."""
        self.progress(f"{self.member.panel.name}: {what}")
        gate = self.member.poller.gate
        seconds = gate.seconds_closed()
        if seconds > _LONGEST_PATIENCE_SECONDS and not gate.refusing():
            raise NotAsked(f"the panel asks to be left alone for {seconds:.0f} s")
        if 0 < seconds <= _LONGEST_PATIENCE_SECONDS:
            await self.clock.wait(asyncio.Event(), seconds)
        return await question()

    def note(
        self,
        step: str,
        status: Status,
        text: str,
        *,
        hint: str = "",
        resource: str = "",
    ) -> None:
        """Note what a step has shown; rows that were no use make it less than good."""
        unreadable = self.tally.unreadable[resource]
        if unreadable:
            status = worst((status, Status.DEGRADED))
            text, hint = f"{text}; {unreadable} rows cannot be read", hint or _LOG_HINT
        text = printable(text)  # a panel may have said it
        answered = self.tally.statuses.get(resource)
        self.found[step] = Finding(step, status, text, hint or None, answered)

    def note_error(
        self, step: str, status: Status, error: ExporterError, resource: str = ""
    ) -> None:
        """Note why a step failed, and what to do about it."""
        hint = error.hint
        if isinstance(error, NotAsked):
            hint = UnexpectedStatus.hint
        if isinstance(error, Forbidden) and resource:
            hint = permission_hint(resource)
        self.note(step, status, str(error), hint=hint, resource=resource)


def unanswered(error: PanelError) -> bool:
    """Tell whether a failure may be the panel's, and not a word of it."""
    return not error.authenticated
