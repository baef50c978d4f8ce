"""The pollers of all panels: one each, replaced when the configuration changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from .. import __version__
from ..clock import Clock, Heartbeat
from ..config.schema import Panel
from ..model.selection import Shard
from ..model.store import PanelStore, Store
from ..onapp.api import PanelApi
from ..onapp.circuit_breaker import CircuitBreaker, CredentialState
from ..onapp.client import Client, RequestObserver, Sessions, open_sessions
from ..onapp.cookies import Cookies
from .collectors import Collectors
from .inventory import Inventory
from .jobs import JobQueue
from .poller import Poller
from .servers import ServerReader

log = structlog.get_logger()

_MAX_PAUSE_SECONDS = 300.0
"""Maximum pause of a circuit breaker, unless the polling interval is shorter."""


class RequestCounters(Protocol):
    """The request metrics of all panels."""

    def panel(self, name: str) -> RequestObserver:
        """Return the observer of a panel's requests."""

    def forget(self, panel: str) -> None:
        """Remove the request metrics of a panel."""


@dataclass(slots=True, eq=False)
class PanelTask:
    """One panel's poller with its HTTP sessions; it runs once ``task`` is set."""

    panel: Panel
    sessions: Sessions
    poller: Poller
    task: asyncio.Task[None] | None = None
    _stopping: bool = False

    def is_hung(self) -> bool:
        """Return whether the poller or one of its jobs hangs, or the poller crashed."""
        if self.task is None or (self.task.done() and self._stopping):
            return False
        return self.task.done() or not self.poller.heartbeat.is_alive()

    async def stop(self) -> None:
        """Stop the poller and close its connections."""
        self._stopping = True
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
        await self.sessions.close()


@dataclass(slots=True, eq=False)
class PollerManager:
    """The pollers of all configured panels, by the panel's name."""

    store: Store
    counters: RequestCounters
    clock: Clock
    shard: Shard
    on_crash: Callable[[BaseException], None]
    """Called with the exception of a poller that ended unexpectedly, which is a bug."""
    jitter: Callable[[], float]
    panel_tasks: dict[str, PanelTask] = field(default_factory=dict)
    _credential_states: dict[str, CredentialState] = field(default_factory=dict)
    """By the panel's address; kept so that a reload does not retry a refused key."""
    _logged_hung: list[str] = field(default_factory=list)
    """The panels whose poller hung at the last check."""

    async def replace(self, panels: tuple[Panel, ...]) -> None:
        """Run pollers for exactly these panels; unchanged ones keep running.

        Raises ConfigError, and changes nothing, if one of them cannot be created.
        """
        kept = {
            panel.name: self.panel_tasks[panel.name]
            for panel in panels
            if panel.name in self.panel_tasks
            and self.panel_tasks[panel.name].panel == panel
        }
        created: list[PanelTask] = []
        try:
            created += (self.panel_task(p) for p in panels if p.name not in kept)
        except BaseException:
            await asyncio.gather(*(task.stop() for task in created))
            self._forget_counters(
                {task.panel.name for task in created} - self.panel_tasks.keys()
            )
            raise
        for task in kept.values():
            task.poller.api.client.cookies.clear()
        removed = [
            task
            for name, task in self.panel_tasks.items()
            if kept.get(name) is not task
        ]
        await asyncio.gather(*(task.stop() for task in removed))
        self._forget_counters(
            self.panel_tasks.keys() - {panel.name for panel in panels}
        )
        for task in created:
            self._take_over(task)
        running = kept | {task.panel.name: task for task in created}
        self.panel_tasks = {panel.name: running[panel.name] for panel in panels}
        self.store.replace(
            {name: task.poller.store for name, task in self.panel_tasks.items()}
        )
        for task in created:
            self._start(task)

    def hung_panels(self) -> list[str]:
        """Return the names of panels whose poller hangs; log the new ones."""
        hung = [name for name, task in self.panel_tasks.items() if task.is_hung()]
        for name in [name for name in hung if name not in self._logged_hung]:
            log.error("polling hangs", panel=name, hint="restart the exporter")
        self._logged_hung = hung
        return hung

    async def stop(self) -> None:
        """Stop all pollers."""
        await asyncio.gather(*(task.stop() for task in self.panel_tasks.values()))

    def _start(self, panel_task: PanelTask) -> None:
        panel_task.task = asyncio.create_task(panel_task.poller.run())
        panel_task.task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.on_crash(error)

    def panel_task(self, panel: Panel) -> PanelTask:
        """Return a panel's poller, not started yet; raises ConfigError.

        Panels with the same address share the state of their credentials.
        """
        sessions = open_sessions(panel, __version__)
        return PanelTask(panel, sessions, self._poller(panel, sessions))

    def _poller(self, panel: Panel, sessions: Sessions) -> Poller:
        breaker, heartbeat = self._breaker(panel), Heartbeat(self.clock)
        client = Client(
            sessions=sessions,
            url=panel.url,
            body_format=panel.body_format,
            timeout_seconds=panel.poll.timeout,
            max_body_bytes=panel.poll.max_body,
            observer=self.counters.panel(panel.name),
            clock=self.clock,
            heartbeat=heartbeat,
            cookies=Cookies(
                base_path=panel.url.path,
                https=panel.url.scheme == "https",
                interval_seconds=panel.poll.interval,
                clock=self.clock,
            ),
            proxy=panel.current_proxy,
            server_name=panel.tls.server_name or None,
        )
        api = PanelApi(panel.name, client, breaker)
        store = self._store(panel)
        queue = JobQueue()
        collectors = Collectors(panel, store, api, self.clock, self.shard, queue)
        servers = ServerReader(store, api, self.clock, collectors)
        inventory = Inventory(
            store, api, self.clock, panel.selection, self.shard, queue, servers
        )
        return Poller(
            store=store,
            api=api,
            breaker=breaker,
            clock=self.clock,
            discovery_seconds=panel.discovery.interval,
            concurrency=panel.poll.concurrency,
            inventory=inventory,
            queue=queue,
            collectors=collectors,
            heartbeat=heartbeat,
        )

    def _breaker(self, panel: Panel) -> CircuitBreaker:
        address = str(panel.url).rstrip("/")
        credential_state = self._credential_states.setdefault(
            address,
            CredentialState(self.clock.monotonic, self.jitter, self.shard.total),
        )
        return CircuitBreaker(
            credentials=panel.account.credentials,
            credential_state=credential_state,
            longest_pause_seconds=min(panel.poll.interval, _MAX_PAUSE_SECONDS),
        )

    def _store(self, panel: Panel) -> PanelStore:
        return PanelStore(
            name=panel.name,
            url=str(panel.url),
            interval_seconds=panel.poll.interval,
            max_age_seconds=panel.poll.max_age,
            longest_silence_seconds=panel.poll.interval + 2 * panel.poll.timeout,
            shard=str(self.shard.number),
            recovery_points_enabled=panel.collectors.recovery_points,
        )

    def _take_over(self, panel_task: PanelTask) -> None:
        """Pass the state of the panel's previous poller on to a new one."""
        previous = self.panel_tasks.get(panel_task.panel.name)
        if previous is not None and previous.panel.url == panel_task.panel.url:
            panel_task.poller.store.take_over(previous.poller.store)
            panel_task.poller.breaker.take_over(previous.poller.breaker)
            panel_task.poller.api.skew_seconds = previous.poller.api.skew_seconds

    def _forget_counters(self, panels: set[str]) -> None:
        for panel in panels:
            self.counters.forget(panel)
