"""Wiring: a configuration's ``collectors`` become the programme of a panel."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from ..clock import Clock
from ..config.settings import Panel
from ..model.entities import (
    BACKUP_SERVERS,
    DISKS,
    RECOVERY_POINTS,
    SCHEDULES,
    TRANSACTIONS,
)
from ..model.selection import Shard
from ..model.store import PanelStore
from ..model.transaction_log import Journal
from ..onapp.api import Reader
from ..onapp.paging import PER_PAGE, Listed
from .jobs import Condition, Errand, Errands
from .per_server import Particular
from .programme import Programme
from .scheduler import Timetable
from .schedules import Schedules
from .source import Source
from .transactions import Feed

_TRANSACTIONS_SECONDS = 60.0


def few_named(panel: Panel) -> bool:
    """Tell whether so few servers are named that a whole cloud is too much."""
    return 0 < len(panel.selection.configured) <= PER_PAGE


def transactions_seconds(panel: Panel) -> float:
    """Return how often the log of transactions is read."""
    return min(_TRANSACTIONS_SECONDS, panel.poll.interval)


@dataclass(frozen=True, slots=True)
class Planner:
    """Makes the programme of one panel."""

    panel: Panel
    store: PanelStore
    reader: Reader
    clock: Clock
    shard: Shard
    timetable: Timetable

    def programme(self) -> Programme:
        """Return what the configuration asks for."""
        switched = self.panel.collectors
        schedules = self._schedules() if switched.schedules else None
        particulars: list[Particular] = []
        if schedules is not None:
            sources = schedules.schedules, schedules.disks
            particulars += (source.one_by_one for source in sources)
        if switched.recovery_points:
            ask = self.reader.recovery_points_of
            points = self._particular(RECOVERY_POINTS, RECOVERY_POINTS, ask)
            points.exclusive = False  # plugins number their own
            particulars.append(points)
        return Programme(
            Errands(tuple(self._errands(schedules))),
            tuple(particulars),
            schedules,
            self.store,
            frozenset(name for name, on in asdict(switched).items() if on),
            self.clock,
        )

    def _errands(self, schedules: Schedules | None) -> Iterator[Errand]:
        if schedules is not None and not few_named(self.panel):
            yield Errand(
                Condition(self.store, SCHEDULES),
                self.panel.discovery_interval,
                schedules.read,
            )
        if self.panel.collectors.backup_servers:
            yield Errand(
                Condition(self.store, BACKUP_SERVERS),
                self.panel.discovery_interval,
                self._read_backup_servers,
            )
        if self.panel.collectors.transactions:
            self.store.journal = self.store.journal or Journal()
            interval = transactions_seconds(self.panel)
            feed = Feed(
                store=self.store,
                reader=self.reader,
                clock=self.clock,
                owns=self._owns,
                hasten=self._hasten,
                interval_seconds=interval,
                longest_age_seconds=self._longest_age(),
            )
            yield Errand(Condition(self.store, TRANSACTIONS), interval, feed.read)

    def _owns(self, vm_id: int | None) -> bool:
        """Tell whether a server's transactions are counted here."""
        if self.panel.selection.partial:
            return vm_id in self.store.watches
        return self.shard.owns(self.store.name, "" if vm_id is None else vm_id)

    async def _read_backup_servers(self) -> None:
        listed = await self.reader.backup_servers()
        self.store.backup_servers = listed.values
        until = self.clock.monotonic() + self._longest_age()
        self.store.backup_servers_until = until
        listed.raise_if_cut_short()

    def _longest_age(self) -> float:
        """Return how old what is read at the discovery interval may become."""
        return max(self.panel.poll.max_age, 2 * self.panel.discovery_interval)

    def _schedules(self) -> Schedules:
        reader = self.reader
        longest_age = self._longest_age()
        few = few_named(self.panel)
        schedules = self._particular(SCHEDULES, SCHEDULES, reader.schedules_of, few)
        disks = self._particular(DISKS, SCHEDULES, reader.disks_of, few)
        return Schedules(
            store=self.store,
            shard=self.shard,
            schedules=Source(reader.schedules, schedules, self.clock, longest_age),
            disks=Source(reader.disks, disks, self.clock, longest_age),
            hasten=self._hasten,
        )

    def _particular(
        self,
        name: str,
        collector: str,
        ask: Callable[[int], Awaitable[Listed[Any]]],
        wanted: bool = True,  # noqa: FBT001, FBT002  # what the field is called
    ) -> Particular:
        return Particular(
            name=name,
            store=self.store,
            clock=self.clock,
            condition=Condition(self.store, collector, name),
            ask=ask,
            wanted=wanted,
        )

    def _hasten(self, vm_id: int) -> None:
        self.timetable.hasten(vm_id, self.clock.monotonic())
