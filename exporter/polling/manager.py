"""The pollers that run, one a panel: started, and replaced when the file changes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

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
from ..onapp import api as reader
from ..onapp import client
from ..onapp.api import PanelApi
from ..onapp.circuit_breaker import CircuitBreaker, CredentialState
from ..onapp.client import Client, Sessions, open_sessions
from ..onapp.paging import ROWS_PER_PAGE, Listed
from .collectors import Collectors
from .inventory import Inventory
from .jobs import CollectorStatus, JobQueue, PanelJob
from .per_server import PerServerCollector
from .poller import Poller, PollIntervals
from .scheduler import Scheduler
from .schedules import ListCollector, ScheduleCollector
from .transactions import TransactionCollector

_LONGEST_PAUSE_SECONDS = 300.0


class Counter(client.ResponseObserver, reader.ReadObserver, Protocol):
    """Counts the requests to one panel."""


class Counters(Protocol):
    """Has a counter for each panel."""

    def panel(self, name: str) -> Counter:
        """Return one panel's."""

    def forget(self, panel: str) -> None:
        """Drop one panel's."""


@dataclass(slots=True, eq=False)
class PanelTask:
    """One panel's poller, at work once it has a task."""

    panel: Panel
    sessions: Sessions
    poller: Poller
    task: asyncio.Task[None] | None = None
    _told_to_end: bool = False

    def hangs(self) -> bool:
        """Tell whether the poller does not turn though it should."""
        if self.task is None or (self.task.done() and self._told_to_end):
            return False
        return self.task.done() or not self.poller.pulse.beats()

    async def stop(self) -> None:
        """End the polling and close the connections."""
        self._told_to_end = True
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
        await self.sessions.close()


@dataclass(slots=True, eq=False)
class PollerManager:
    """Keeps one poller running for each panel of the configuration."""

    store: Store
    counters: Counters
    clock: Clock
    shard: Shard
    crashed: Callable[[BaseException], None]
    """Is called when a poller ends by itself, which it never should."""
    jitter: Callable[[], float]
    members: dict[str, PanelTask] = field(default_factory=dict)
    _standings: dict[str, CredentialState] = field(default_factory=dict)
    """By the address of the panel; kept, so that no reload makes a bad key new."""

    async def replace(self, panels: tuple[Panel, ...]) -> None:
        """Run pollers for just these panels; an unchanged one is not disturbed.

        Raises ConfigError, and changes nothing, when one of them cannot be asked.
        """
        kept = {
            panel.name: self.members[panel.name]
            for panel in panels
            if panel.name in self.members and self.members[panel.name].panel == panel
        }
        made: list[PanelTask] = []
        try:
            made += (self.member(p) for p in panels if p.name not in kept)
        except BaseException:
            await asyncio.gather(*(member.stop() for member in made))
            self._forget({member.panel.name for member in made} - self.members.keys())
            raise
        ended = [m for name, m in self.members.items() if kept.get(name) is not m]
        await asyncio.gather(*(member.stop() for member in ended))
        self._forget(self.members.keys() - {panel.name for panel in panels})
        for member in made:
            self._inherit(member)
        running = kept | {member.panel.name: member for member in made}
        self.members = {panel.name: running[panel.name] for panel in panels}
        self.store.replace(
            {name: member.poller.store for name, member in self.members.items()}
        )
        for member in made:
            self._start(member)

    def hanging(self) -> list[str]:
        """Return the names of the panels whose poller does not turn."""
        return [name for name, member in self.members.items() if member.hangs()]

    async def stop(self) -> None:
        """End all polling."""
        await asyncio.gather(*(member.stop() for member in self.members.values()))

    def _start(self, member: PanelTask) -> None:
        member.task = asyncio.create_task(member.poller.run())
        member.task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.crashed(error)

    def member(self, panel: Panel) -> PanelTask:
        """Return a panel's poller, not at work yet; raise ConfigError if none can be.

        What is learned of credentials is shared by all that ask the same address.
        """
        sessions = open_sessions(panel, __version__)
        return PanelTask(panel, sessions, self._poller(panel, sessions))

    def _poller(self, panel: Panel, sessions: Sessions) -> Poller:
        counters = self.counters.panel(panel.name)
        gate, pulse = self._gate(panel), Heartbeat(self.clock)
        client = Client(
            sessions=sessions,
            url=panel.url,
            body_format=panel.form,
            timeout_seconds=panel.poll.timeout,
            max_body_bytes=panel.poll.max_body,
            observer=counters,
            clock=self.clock,
            heartbeat=pulse,
            proxy_url=None if panel.proxy_url is None else str(panel.proxy_url),
            server_name=panel.tls.server_name,
        )
        reader = PanelApi(panel.name, client, gate, panel.account, counters)
        store = self._store(panel)
        timetable = Scheduler(panel.name, panel.poll.interval)
        programme = CollectorFactory(
            panel, store, reader, self.clock, self.shard, timetable
        ).programme()
        return Poller(
            store=store,
            reader=reader,
            gate=gate,
            clock=self.clock,
            rhythm=PollIntervals(
                interval_seconds=panel.poll.interval,
                discovery_seconds=panel.discovery_interval,
                concurrency=panel.poll.concurrency,
            ),
            roster=Inventory(
                store,
                reader,
                self.clock,
                panel.selection,
                self.shard,
                timetable,
                left=programme.leave,
            ),
            timetable=timetable,
            programme=programme,
            pulse=pulse,
        )

    def _gate(self, panel: Panel) -> CircuitBreaker:
        address = str(panel.url).rstrip("/")
        standing = self._standings.setdefault(
            address,
            CredentialState(self.clock.monotonic, self.jitter, self.shard.total),
        )
        return CircuitBreaker(
            credentials=panel.account.credentials,
            credential_state=standing,
            longest_pause_seconds=min(panel.poll.interval, _LONGEST_PAUSE_SECONDS),
        )

    def _store(self, panel: Panel) -> PanelStore:
        return PanelStore(
            name=panel.name,
            url=str(panel.url),
            interval_seconds=panel.poll.interval,
            max_age_seconds=panel.poll.max_age,
            longest_silence_seconds=panel.poll.interval + 2 * panel.poll.timeout,
        )

    def _inherit(self, member: PanelTask) -> None:
        """Give a new member what was known of the same panel until now."""
        known = self.members.get(member.panel.name)
        if known is not None and known.panel.url == member.panel.url:
            member.poller.store.take_over(known.poller.store)
            member.poller.gate.take_over(known.poller.gate)
            member.poller.reader.skew_seconds = known.poller.reader.skew_seconds

    def _forget(self, names: set[str]) -> None:
        for name in names:
            self.counters.forget(name)


_TRANSACTIONS_SECONDS = 60.0


def few_named(panel: Panel) -> bool:
    """Tell whether so few servers are named that a whole cloud is too much."""
    return 0 < len(panel.selection.configured) <= ROWS_PER_PAGE


def transactions_seconds(panel: Panel) -> float:
    """Return how often the log of transactions is read."""
    return min(_TRANSACTIONS_SECONDS, panel.poll.interval)


@dataclass(frozen=True, slots=True)
class CollectorFactory:
    """Makes the programme of one panel."""

    panel: Panel
    store: PanelStore
    reader: PanelApi
    clock: Clock
    shard: Shard
    timetable: Scheduler

    def programme(self) -> Collectors:
        """Return what the configuration asks for."""
        switched = self.panel.collectors
        schedules = self._schedules() if switched.schedules else None
        particulars: list[PerServerCollector] = []
        if schedules is not None:
            sources = schedules.schedules, schedules.disks
            particulars += (source.one_by_one for source in sources)
        if switched.recovery_points:
            ask = self.reader.recovery_points_of
            points = self._particular(RECOVERY_POINTS, RECOVERY_POINTS, ask)
            points.exclusive = False  # plugins number their own
            particulars.append(points)
        return Collectors(
            JobQueue(tuple(self._errands(schedules))),
            tuple(particulars),
            schedules,
            self.store,
            frozenset(name for name, on in asdict(switched).items() if on),
            self.clock,
        )

    def _errands(self, schedules: ScheduleCollector | None) -> Iterator[PanelJob]:
        if schedules is not None and not few_named(self.panel):
            yield PanelJob(
                CollectorStatus(self.store, SCHEDULES),
                self.panel.discovery_interval,
                schedules.read,
            )
        if self.panel.collectors.backup_servers:
            yield PanelJob(
                CollectorStatus(self.store, BACKUP_SERVERS),
                self.panel.discovery_interval,
                self._read_backup_servers,
            )
        if self.panel.collectors.transactions:
            self.store.transaction_log = self.store.transaction_log or TransactionLog()
            interval = transactions_seconds(self.panel)
            feed = TransactionCollector(
                store=self.store,
                reader=self.reader,
                clock=self.clock,
                owns=self._owns,
                hasten=self._hasten,
                interval_seconds=interval,
                longest_age_seconds=self._longest_age(),
            )
            yield PanelJob(
                CollectorStatus(self.store, TRANSACTIONS), interval, feed.read
            )

    def _owns(self, vm_id: int | None) -> bool:
        """Tell whether a server's transactions are counted here."""
        if self.panel.selection.partial:
            return vm_id in self.store.servers
        return self.shard.owns(self.store.name, "" if vm_id is None else vm_id)

    async def _read_backup_servers(self) -> None:
        listed = await self.reader.backup_servers()
        self.store.backup_servers = listed.values
        until = self.clock.monotonic() + self._longest_age()
        self.store.backup_servers_until = until
        listed.raise_if_truncated()

    def _longest_age(self) -> float:
        """Return how old what is read at the discovery interval may become."""
        return max(self.panel.poll.max_age, 2 * self.panel.discovery_interval)

    def _schedules(self) -> ScheduleCollector:
        reader = self.reader
        longest_age = self._longest_age()
        few = few_named(self.panel)
        schedules = self._particular(SCHEDULES, SCHEDULES, reader.schedules_of, few)
        disks = self._particular(DISKS, SCHEDULES, reader.disks_of, few)
        return ScheduleCollector(
            store=self.store,
            shard=self.shard,
            schedules=ListCollector(
                reader.schedules, schedules, self.clock, longest_age
            ),
            disks=ListCollector(reader.disks, disks, self.clock, longest_age),
            hasten=self._hasten,
        )

    def _particular(
        self,
        name: str,
        collector: str,
        ask: Callable[[int], Awaitable[Listed[Any]]],
        wanted: bool = True,  # noqa: FBT001, FBT002  # what the field is called
    ) -> PerServerCollector:
        return PerServerCollector(
            name=name,
            store=self.store,
            clock=self.clock,
            condition=CollectorStatus(self.store, collector, name),
            ask=ask,
            wanted=wanted,
        )

    def _hasten(self, vm_id: int) -> None:
        self.timetable.hasten(vm_id, self.clock.monotonic())
