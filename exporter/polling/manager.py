"""Manager of the pollers: one per panel, replaced when the configuration changes.

``PollerManager`` starts and stops them; ``CollectorFactory`` says which collectors a
panel has, from its configuration.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from msgspec.structs import asdict

from .. import __version__
from ..clock import Clock, Heartbeat
from ..config.schema import Panel
from ..model.entities import (
    BACKUP_SERVERS,
    DISKS,
    RECOVERY_POINTS,
    SCHEDULES,
    TRANSACTIONS,
)
from ..model.selection import Shard
from ..model.store import PanelStore, Store
from ..model.transaction_log import TransactionLog
from ..onapp.api import PanelApi, ReadObserver
from ..onapp.circuit_breaker import CircuitBreaker, CredentialState
from ..onapp.client import Client, ResponseObserver, Sessions, open_sessions
from ..onapp.cookies import Cookies
from ..onapp.paging import ROWS_PER_PAGE, Listed
from .collectors import Collectors
from .inventory import Inventory
from .jobs import CollectorStatus, JobQueue, PanelJob
from .per_server import PerServerCollector
from .poller import Poller, PollIntervals
from .scheduler import Scheduler
from .schedules import ListCollector, ScheduleCollector
from .transactions import TransactionCollector

_MAX_PAUSE_SECONDS = 300.0
"""Of a circuit breaker, unless the polling interval is shorter."""


class RequestCounter(ResponseObserver, ReadObserver, Protocol):
    """Counts the requests to one panel, and what became of them."""


class RequestCounters(Protocol):
    """The request counters of all panels."""

    def panel(self, name: str) -> RequestCounter:
        """Return the counter of a panel."""

    def forget(self, panel: str) -> None:
        """Remove the counter of a panel."""


@dataclass(slots=True, eq=False)
class PanelTask:
    """One panel's poller with its HTTP sessions; it runs once ``task`` is set."""

    panel: Panel
    sessions: Sessions
    poller: Poller
    task: asyncio.Task[None] | None = None
    _stopping: bool = False

    def is_hung(self) -> bool:
        """Return whether the poller should run and does not."""
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
    """Runs one poller for each panel of the configuration."""

    store: Store
    counters: RequestCounters
    clock: Clock
    shard: Shard
    on_crash: Callable[[BaseException], None]
    """Called with the exception of a poller that ended by itself, a bug."""
    jitter: Callable[[], float]
    panel_tasks: dict[str, PanelTask] = field(default_factory=dict)
    _credential_states: dict[str, CredentialState] = field(default_factory=dict)
    """By the panel's address; kept, so that no reload retries a refused key."""

    async def replace(self, panels: tuple[Panel, ...]) -> None:
        """Run pollers for exactly these panels; unchanged ones keep running.

        Raises ConfigError, and changes nothing, when one of them cannot be created.
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
        """Return the names of the panels whose poller should run and does not."""
        return [name for name, task in self.panel_tasks.items() if task.is_hung()]

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
        """Return a panel's poller, not running yet; raises ConfigError.

        Panels with the same address share what is known of their credentials.
        """
        sessions = open_sessions(panel, __version__)
        return PanelTask(panel, sessions, self._poller(panel, sessions))

    def _poller(self, panel: Panel, sessions: Sessions) -> Poller:
        counters = self.counters.panel(panel.name)
        breaker, heartbeat = self._breaker(panel), Heartbeat(self.clock)
        client = Client(
            sessions=sessions,
            url=panel.url,
            body_format=panel.body_format,
            timeout_seconds=panel.poll.timeout,
            max_body_bytes=panel.poll.max_body,
            observer=counters,
            clock=self.clock,
            heartbeat=heartbeat,
            cookies=Cookies(
                base_path=panel.url.path,
                https=panel.url.scheme == "https",
                interval_seconds=panel.poll.interval,
                clock=self.clock,
            ),
            proxy_url=None if panel.proxy_url is None else str(panel.proxy_url),
            server_name=panel.tls.server_name or None,
        )
        api = PanelApi(panel.name, client, breaker, panel.account, counters)
        store = self._store(panel)
        scheduler = Scheduler(panel.name, panel.poll.interval)
        collectors = CollectorFactory(
            panel, store, api, self.clock, self.shard, scheduler
        ).collectors()
        return Poller(
            store=store,
            api=api,
            breaker=breaker,
            clock=self.clock,
            intervals=PollIntervals(
                interval_seconds=panel.poll.interval,
                discovery_seconds=panel.discovery.interval,
                concurrency=panel.poll.concurrency,
            ),
            inventory=Inventory(
                store,
                api,
                self.clock,
                panel.selection,
                self.shard,
                scheduler,
                on_removed=collectors.remove_server,
                on_replaced=collectors.replace_server,
            ),
            scheduler=scheduler,
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
        """Give a new poller what was known of the same panel until now."""
        previous = self.panel_tasks.get(panel_task.panel.name)
        if previous is not None and previous.panel.url == panel_task.panel.url:
            panel_task.poller.store.take_over(previous.poller.store)
            panel_task.poller.breaker.take_over(previous.poller.breaker)
            panel_task.poller.api.skew_seconds = previous.poller.api.skew_seconds

    def _forget_counters(self, panels: set[str]) -> None:
        for panel in panels:
            self.counters.forget(panel)


_MAX_TRANSACTIONS_INTERVAL_SECONDS = 60.0


def has_few_servers(panel: Panel) -> bool:
    """Return whether the configured servers are few enough to be read one by one."""
    return 0 < len(panel.selection.configured) <= ROWS_PER_PAGE


def transactions_interval_seconds(panel: Panel) -> float:
    """Return the interval at which the transaction log is read."""
    return min(_MAX_TRANSACTIONS_INTERVAL_SECONDS, panel.poll.interval)


@dataclass(frozen=True, slots=True)
class CollectorFactory:
    """Creates the collectors of one panel: a new list is added here."""

    panel: Panel
    store: PanelStore
    api: PanelApi
    clock: Clock
    shard: Shard
    scheduler: Scheduler

    def collectors(self) -> Collectors:
        """Return the collectors that the configuration enables."""
        switches = self.panel.collectors
        schedules = self._schedule_collector() if switches.schedules else None
        per_server: list[PerServerCollector] = []
        if schedules is not None:
            lists = schedules.schedules, schedules.disks
            per_server += (collector.per_server for collector in lists)
        if switches.recovery_points:
            fetch = self.api.recovery_points_of
            per_server.append(
                self._per_server_collector(RECOVERY_POINTS, RECOVERY_POINTS, fetch)
            )
        return Collectors(
            JobQueue(tuple(self._jobs(schedules))),
            tuple(per_server),
            schedules,
            self.store,
            frozenset(name for name, on in asdict(switches).items() if on),
            self.clock,
        )

    def _jobs(self, schedules: ScheduleCollector | None) -> Iterator[PanelJob]:
        if schedules is not None and not has_few_servers(self.panel):
            yield PanelJob(
                CollectorStatus(self.store, SCHEDULES),
                self.panel.discovery.interval,
                schedules.read,
            )
        if self.panel.collectors.backup_servers:
            yield PanelJob(
                CollectorStatus(self.store, BACKUP_SERVERS),
                self.panel.discovery.interval,
                self._read_backup_servers,
            )
        if self.panel.collectors.transactions:
            self.store.transaction_log = self.store.transaction_log or TransactionLog()
            interval = transactions_interval_seconds(self.panel)
            transactions = TransactionCollector(
                store=self.store,
                api=self.api,
                clock=self.clock,
                owns=self._owns,
                poll_soon=self._poll_soon,
                interval_seconds=interval,
                max_age_seconds=self._max_age_seconds(),
            )
            yield PanelJob(
                CollectorStatus(self.store, TRANSACTIONS), interval, transactions.read
            )

    def _owns(self, vm_id: int | None) -> bool:
        """Return whether the transactions of a server are counted by this exporter."""
        if self.panel.selection.partial:
            return vm_id in self.store.servers
        return self.shard.owns(self.store.name, "" if vm_id is None else vm_id)

    async def _read_backup_servers(self) -> None:
        listed = await self.api.backup_servers()
        self.store.backup_servers = listed.values
        until = self.clock.monotonic() + self._max_age_seconds()
        self.store.backup_servers_until = until
        listed.raise_if_truncated()

    def _max_age_seconds(self) -> float:
        """Return how old a panel-wide list may become."""
        return max(self.panel.poll.max_age, 2 * self.panel.discovery.interval)

    def _schedule_collector(self) -> ScheduleCollector:
        api = self.api
        max_age = self._max_age_seconds()
        per_server = has_few_servers(self.panel)
        schedules = self._per_server_collector(
            SCHEDULES, SCHEDULES, api.schedules_of, per_server
        )
        disks = self._per_server_collector(DISKS, SCHEDULES, api.disks_of, per_server)
        return ScheduleCollector(
            store=self.store,
            shard=self.shard,
            schedules=ListCollector(api.schedules, schedules, self.clock, max_age),
            disks=ListCollector(api.disks, disks, self.clock, max_age),
            poll_soon=self._poll_soon,
        )

    def _per_server_collector(
        self,
        name: str,
        collector: str,
        fetch: Callable[[int], Awaitable[Listed[Any]]],
        enabled: bool = True,  # noqa: FBT001, FBT002  # as in PerServerCollector
    ) -> PerServerCollector:
        return PerServerCollector(
            name=name,
            store=self.store,
            clock=self.clock,
            status=CollectorStatus(self.store, collector, name),
            fetch=fetch,
            enabled=enabled,
        )

    def _poll_soon(self, vm_id: int) -> None:
        self.scheduler.poll_soon(vm_id, self.clock.monotonic())
