"""How the exporter fares, told to whoever supervises it: ready, alive, in one line.

A watchdog is fed while every poller turns. A panel that is down, or that refuses
credentials, is no reason to starve it: a restart would only try the bad key again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import structlog

from .clock import Clock
from .model.store import PanelStore, Store
from .systemd import Supervisor

log = structlog.get_logger()

_STATUS_SECONDS = 15.0
_ANOTHER_LOOK_SECONDS = 1.0
"""What was late a moment ago, on a busy machine, must not cost a whole beat."""


@dataclass(slots=True, eq=False)
class Vitals:
    """Speaks for one exporter to its supervisor."""

    supervisor: Supervisor
    store: Store
    clock: Clock
    hanging: Callable[[], list[str]]
    """Returns the names of the panels whose poller does not turn."""
    _hung: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def told(self) -> AsyncIterator[None]:
        """Say that the exporter is ready, then how it fares, at last that it ends."""
        if not self.supervisor.address:
            yield
            return
        self.supervisor.tell("READY=1", self._status())
        telling = asyncio.create_task(self._tell())
        try:
            yield
        finally:
            self.supervisor.tell("STOPPING=1", "STATUS=ending")
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """Say that the configuration is being loaded again, and when that is over."""
        microseconds = int(self.clock.monotonic() * 1e6)
        self.supervisor.tell("RELOADING=1", f"MONOTONIC_USEC={microseconds}")
        try:
            yield
        finally:
            self.supervisor.tell("READY=1", self._status())

    async def _tell(self) -> None:
        never = asyncio.Event()
        while True:
            await self.clock.wait(never, self._beat())

    def _beat(self) -> float:
        """Feed the watchdog if all is well; return when to do so again."""
        hung, known = self.hanging(), self._hung
        self._hung = hung
        for name in hung:
            if name not in known:
                log.error("polling hangs", panel=name)
        words = [] if hung or self._watchdog is None else ["WATCHDOG=1"]
        self.supervisor.tell(*words, self._status())
        if hung:
            return _ANOTHER_LOOK_SECONDS
        return min(_STATUS_SECONDS, (self._watchdog or _STATUS_SECONDS) / 2)

    @property
    def _watchdog(self) -> float | None:
        return self.supervisor.watchdog_seconds

    def _status(self) -> str:
        if self._hung:
            return f"STATUS=polling hangs: {', '.join(self._hung)}"
        now = self.clock.monotonic()
        panels = self.store.panels.values()
        up = sum(panel.up(now) is True for panel in panels)
        servers = sum(len(panel.watches) for panel in panels)
        unread = sum(map(_unread, panels))
        pass_ = self._last_answer() if self.store.ready() else "first pass under way"
        return (
            f"STATUS={up} of {len(panels)} panels up; {servers} servers, {unread} of "
            f"them not read; {pass_}"
        )

    def _last_answer(self) -> str:
        heard = [panel.heard_at_monotonic for panel in self.store.panels.values()]
        at = max((moment for moment in heard if moment is not None), default=None)
        if at is None:
            return "no answer yet"
        seconds = self.clock.time() - (self.clock.monotonic() - at)
        moment = datetime.fromtimestamp(seconds, UTC)
        return f"last answer {moment:%H:%M:%S} UTC"


def _unread(panel: PanelStore) -> int:
    """Return how many servers could not be read when they were last tried."""
    return sum(watch.failing is True for watch in panel.watches.values())
