"""The collectors of one panel: everything but the inventory and the backups.

Each panel-wide list has its own job; lists of single servers are read after the
server's backups. A list that is only stored and shown needs no code here, only its row
in ``onapp.resources``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from msgspec.structs import asdict

from ..clock import Clock
from ..config.schema import Panel
from ..model.entities import DISKS, SCHEDULES, TRANSACTIONS
from ..model.selection import Shard
from ..model.store import PanelList, PanelStore
from ..model.transaction_log import TransactionLog
from ..onapp.api import PanelApi
from ..onapp.backoff import Backoff
from ..onapp.paging import ROWS_PER_PAGE
from ..onapp.resources import PANEL_LISTS, SERVER_LISTS
from .jobs import Job, JobQueue, Priority
from .lists import (
    CollectorStatus,
    PanelListCollector,
    ServerListCollector,
)
from .schedules import ScheduleCollector
from .transactions import TransactionCollector

_FIRST_RETRY_SECONDS = 15.0
"""Delay of the first retry after a panel-wide list failed."""
_EXPIRY_CHECK_SECONDS = 60.0
"""How often the age of the data is checked."""
_MAX_TRANSACTIONS_INTERVAL_SECONDS = 60.0


def has_few_servers(panel: Panel) -> bool:
    """Return whether the configured servers are few enough to be read one by one."""
    return 0 < len(panel.selection.configured) <= ROWS_PER_PAGE


def transactions_interval_seconds(panel: Panel) -> float:
    """Return the interval at which the transaction log is read."""
    return min(_MAX_TRANSACTIONS_INTERVAL_SECONDS, panel.poll.interval)


@dataclass(slots=True, eq=False)
class Collectors:
    """The collectors that are enabled for a panel."""

    panel: Panel
    store: PanelStore
    api: PanelApi
    clock: Clock
    shard: Shard
    queue: JobQueue
    jobs: dict[CollectorStatus, Job] = field(default_factory=dict, init=False)
    """Jobs of the panel-wide lists; ``start`` queues them."""
    server_lists: list[ServerListCollector] = field(default_factory=list, init=False)
    schedules: ScheduleCollector | None = field(default=None, init=False)
    _enabled: frozenset[str] = field(init=False)
    _started: bool = field(default=False, init=False)
    _expiry_checked_at: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        """Create the enabled collectors."""
        switches = asdict(self.panel.collectors)
        self._enabled = frozenset(name for name, on in switches.items() if on)
        if SCHEDULES in self._enabled:
            self._add_schedules()
        for name in self._plain_lists():
            self._add_job(name, partial(self._read_panel_list, name))
        if TRANSACTIONS in self._enabled:
            self._add_transactions()
        for name in SERVER_LISTS:
            if name in self._enabled and name != SCHEDULES:
                self.server_lists.append(self._server_list(name, name))

    def _plain_lists(self) -> list[str]:
        """Return the panel-wide lists that are only stored and shown."""
        followed = (SCHEDULES, TRANSACTIONS)
        return [n for n in PANEL_LISTS if n in self._enabled and n not in followed]

    def _add_job(
        self,
        name: str,
        read: Callable[[], Awaitable[None]],
        interval_seconds: float | None = None,
    ) -> None:
        interval = interval_seconds or self.panel.discovery.interval
        status = CollectorStatus(self.store, self.clock, name)

        async def run() -> None:
            with status.timed():
                await read()
            status.record_success()

        self.jobs[status] = Job(
            *(interval, Backoff(_FIRST_RETRY_SECONDS, interval)),
            refusable=True,
            run=run,
            on_failure=status.record_failure,
            priority=Priority.LIST,
            number=len(self.jobs),
        )

    def _add_schedules(self) -> None:
        self.schedules = ScheduleCollector(
            store=self.store,
            shard=self.shard,
            schedules=self._divided_list(SCHEDULES),
            disks=self._divided_list(DISKS),
            read_again=partial(self.run_soon, untried=True),
        )
        if not has_few_servers(self.panel):
            self._add_job(SCHEDULES, self.schedules.read)

    def _add_transactions(self) -> None:
        self.store.transaction_log = self.store.transaction_log or TransactionLog()
        interval = transactions_interval_seconds(self.panel)
        transactions = TransactionCollector(
            store=self.store,
            api=self.api,
            clock=self.clock,
            owns=self._owns,
            poll_soon=self.run_soon,
            interval_seconds=interval,
            max_age_seconds=self._max_age_seconds(),
        )
        self._add_job(TRANSACTIONS, transactions.read, interval)

    def _divided_list(self, name: str) -> PanelListCollector[Any]:
        """Return a panel-wide list that is divided among the servers."""
        per_server = self._server_list(name, SCHEDULES)
        per_server.enabled = has_few_servers(self.panel)
        self.server_lists.append(per_server)
        now = self.clock.monotonic()  # data kept by a reload count as just read
        return PanelListCollector(
            *(0.0, Backoff(0.0)),
            max_age_seconds=self._max_age_seconds(),
            read_at=now,
            complete_at=now,
            fetch_all=partial(self.api.panel_list, name),
            per_server=per_server,
            clock=self.clock,
        )

    def _server_list(self, name: str, collector: str) -> ServerListCollector:
        return ServerListCollector(
            name=name,
            store=self.store,
            clock=self.clock,
            status=CollectorStatus(self.store, self.clock, collector, name),
            fetch=partial(self.api.server_list, name),
        )

    def _max_age_seconds(self) -> float:
        """Return the maximum age of a panel-wide list."""
        return max(self.panel.poll.max_age, 2 * self.panel.discovery.interval)

    def _owns(self, vm_id: int | None) -> bool:
        """Return whether this exporter counts the transactions of a server."""
        if self.panel.selection.partial:
            return vm_id in self.store.servers
        return self.shard.owns(self.store.name, "" if vm_id is None else vm_id)

    def run_soon(self, vm_id: int, *, untried: bool = False) -> None:
        """Make a server due before its slot."""
        self.queue.run_soon(vm_id, self.clock.monotonic(), untried=untried)

    async def _read_panel_list(self, name: str) -> None:
        listed = await self.api.panel_list(name)
        until = self.clock.monotonic() + self._max_age_seconds()
        self.store.panel_lists[name] = PanelList(listed.values, until)
        listed.raise_if_truncated()

    def start(self) -> None:
        """Queue the panel-wide lists; does nothing the second time."""
        if not self._started:
            self._started = True
            for job in self.jobs.values():
                self.queue.add(job, self.clock.monotonic())

    def fail_untried(self) -> None:
        """Store a failure for each panel-wide list that was never read."""
        for status in self.jobs:
            if status.key not in self.store.outcomes:
                status.mark_unread()

    def drop_disabled(self) -> None:
        """Remove the data of disabled collectors that a reload left in the store."""
        store = self.store
        statuses = [*self.jobs]
        statuses += [each.status for each in self.server_lists if each.enabled]
        running = {status.key for status in statuses}
        outcomes = store.outcomes.items()
        store.outcomes = {key: value for key, value in outcomes if key in running}
        for key in store.collector_errors.keys() - running:
            del store.collector_errors[key]
        known = store.panel_lists
        store.panel_lists = {n: known.get(n, PanelList()) for n in self._plain_lists()}
        if TRANSACTIONS not in self._enabled:
            store.transaction_log = None
        wanted = {collector.name for collector in self.server_lists}
        for vm_id, entry in tuple(store.servers.items()):
            for name in SERVER_LISTS:
                if name not in wanted or getattr(entry.state, name) is None:
                    store.update(vm_id, name, None)
        if SCHEDULES not in self._enabled:
            store.unassigned_schedules = None
            store.schedules_ever_read = False
            store.set_schedules_refused()

    async def read_server(self, vm_id: int) -> None:
        """Read the lists of one server; raises no error of the panel."""
        self._assign_schedules(vm_id)
        for collector in self.server_lists:
            await collector.read(vm_id)
            # The server's disks may show which schedules belong to it.
            self._assign_schedules(vm_id)

    def _assign_schedules(self, vm_id: int) -> None:
        if self.schedules is not None:
            self.schedules.assign(vm_id)

    def expire_server(self, vm_id: int) -> None:
        """Drop the lists of a server that are too old."""
        for collector in self.server_lists:
            collector.expire(vm_id)

    def expire_all(self) -> None:
        """Drop all lists that are too old; checks once a minute at most."""
        now = self.clock.monotonic()
        if now - self._expiry_checked_at < _EXPIRY_CHECK_SECONDS:
            return
        self._expiry_checked_at = now
        if self.schedules is not None:
            self.schedules.expire()
        for vm_id in self.store.servers:
            self.expire_server(vm_id)

    def replace_server(self, vm_id: int) -> None:
        """Drop the rows of a server from panel-wide lists: its ID has been reused."""
        if self.schedules is not None:
            self.schedules.drop(vm_id)

    def remove_server(self, vm_id: int) -> None:
        """Drop the state of a server that is gone."""
        for collector in self.server_lists:
            collector.remove(vm_id)
