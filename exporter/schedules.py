"""What should be backed up: schedules and disks, and whose they are.

A panel is asked for all of them at once, where it permits that; otherwise each server
is asked for its own. Without the list of disks a disk's schedule is tied to its server
by the backups of that disk.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import structlog

from .clock import Clock
from .errand import OFF_SECONDS, REFUSED
from .errors import NotAsked, PanelError, Unauthorized, Undecodable
from .model import DISK, VIRTUAL_MACHINE, Disk, Schedule, Target
from .paging import Listed
from .particulars import Particular
from .selection import Expectation, Shard
from .store import NOBODY, Knowledge, PanelStore

T = TypeVar("T")
log = structlog.get_logger()


@dataclass(slots=True, eq=False)
class Source(Generic[T]):
    """A list that a panel gives for all servers at once, or else one by one."""

    everywhere: Callable[[], Awaitable[Listed[T]]]
    one_by_one: Particular
    clock: Clock
    longest_age_seconds: float
    values: tuple[T, ...] | None = None
    """Those of all servers; None: not known."""
    complete: bool = True
    """Whether what is not among them does not exist."""
    settled: bool = False
    """Whether that is the panel's word; until then what a reload left stays."""
    refused: bool = False
    """Whether the panel does not give the whole list: until it has given it."""
    recent: bool = True
    """Whether it was complete, or began, not too long ago."""
    _read_at: float | None = None
    _whole_at: float | None = None
    _refused_until: float = 0.0

    async def read(self) -> None:
        """Read the list of the whole panel; refused, let each server be asked."""
        now = self.clock.monotonic()
        if self._read_at is None:
            self._read_at = self._whole_at = now
        if now < self._refused_until:
            return
        try:
            listed = await self.everywhere()
        except REFUSED:
            self.values, self.settled, self.refused = None, True, True
            self._refused_until = now + OFF_SECONDS
        except PanelError:
            if now - self._read_at > self.longest_age_seconds:
                self.values, self.settled = None, True
            raise
        else:
            self._read_at, self.settled = now, True
            self.values, self.complete = listed.values, listed.complete
            self.refused = self.refused and listed.cut_short
            self._note_age(now)
            if listed.cut_short:
                raise Undecodable("the panel counts more rows than it lists")

    def _note_age(self, now: float) -> None:
        if self.complete or self._whole_at is None:
            self._whole_at = now
        self.recent = now - self._whole_at <= self.longest_age_seconds


@dataclass(slots=True, eq=False)
class Schedules:
    """The schedules and disks of one panel."""

    store: PanelStore
    shard: Shard
    schedules: Source[Schedule]
    disks: Source[Disk]
    hasten: Callable[[int], None]
    """Is told of each server that is to be read anew."""
    _by_target: dict[Target, list[Schedule]] = field(default_factory=dict)
    _by_server: dict[int, list[Disk]] = field(default_factory=dict)
    _owners: dict[int, int] = field(default_factory=dict)
    """The servers of disks, as the panel lists them."""
    _unclaimed: dict[Target, list[Schedule]] = field(default_factory=dict)
    _listed: frozenset[int] = frozenset()
    """The ids of all schedules that the panel lists."""
    _claims: dict[int, int] = field(default_factory=dict)
    """The servers of disks that nobody lists: the first with backups of each."""

    async def read(self) -> None:
        """Read what the panel gives at once, and tell the servers."""
        errors: list[PanelError] = []
        for source in (self.schedules, self.disks):
            try:
                await source.read()
            except (NotAsked, Unauthorized):
                raise
            except PanelError as error:
                errors.append(error)
        self._settle_ways()
        self._index()
        for vm_id in tuple(self.store.watches):
            self._assign(vm_id)
        self._show_unclaimed()
        if errors:
            raise errors[0]

    def assign(self, vm_id: int) -> None:
        """Tell one server what the panel's lists say of it."""
        unclaimed = len(self._unclaimed)
        self._assign(vm_id)
        if len(self._unclaimed) != unclaimed:
            self._show_unclaimed()

    def _assign(self, vm_id: int) -> None:
        watch = self.store.watches.get(vm_id)
        if watch is None:
            return
        lists: dict[str, tuple[Any, ...] | None] = {}
        if self.disks.settled and not self.disks.one_by_one.wanted:
            lists["disks"] = self._disks_of(vm_id, watch.knowledge)
        if self.schedules.settled and not self.schedules.one_by_one.wanted:
            lists["schedules"] = self._schedules_of(vm_id, watch.knowledge)
        self.store.learn(vm_id, **lists)

    def _settle_ways(self) -> None:
        """Decide which lists are asked for server by server from now on."""
        blind = self.shard.total > 1 and self.disks.refused
        wanted = (
            # A shard that does not know whose a disk is cannot leave it to its owner.
            (self.schedules.one_by_one, self.schedules.refused or blind),
            (self.disks.one_by_one, self.disks.refused),
        )
        begins = [part.name for part, wish in wanted if part.want(wanted=wish)]
        for name in begins:
            log.info("asked server by server", panel=self.store.name, resource=name)
        if begins:
            for vm_id, watch in self.store.watches.items():
                if watch.failing is not None:
                    self.hasten(vm_id)

    def _blind(self) -> bool:
        """Tell whether a disk may be another shard's for all that is known."""
        return self.shard.total > 1 and self.disks.values is None

    def _index(self) -> None:
        by_target, by_server = defaultdict(list), defaultdict(list)
        for schedule in self.schedules.values or ():
            by_target[schedule.target].append(schedule)
        for disk in self.disks.values or ():
            if disk.vm_id is not None:
                by_server[disk.vm_id].append(disk)
        self._by_target, self._by_server = dict(by_target), dict(by_server)
        self._owners = {d.id: vm for vm, disks in by_server.items() for d in disks}
        self._listed = frozenset(s.id for s in self.schedules.values or ())
        self._claims = {}
        self._unclaimed = {
            target: schedules
            for target, schedules in by_target.items()
            if target.type == DISK and target.id not in self._owners
        }

    def _disks_of(self, vm_id: int, known: Knowledge) -> tuple[Disk, ...] | None:
        disks = tuple(self._by_server.get(vm_id, ()))
        if not self.disks.complete:
            ids = {disk.id for disk in disks}
            targets = (b.target for b in known.backups or () if b.target.type == DISK)
            if any(target.id not in ids for target in targets):
                return None  # it may be gone, or missing in the list only
        # A server without any disk is one whose disks the role cannot see.
        return disks or None

    def _schedules_of(
        self, vm_id: int, known: Knowledge
    ) -> tuple[Schedule, ...] | None:
        if self.schedules.values is None:
            return None
        if self._blind():
            return None if self.disks.settled else known.schedules
        targets = [Target(VIRTUAL_MACHINE, vm_id)]
        targets += (Target(DISK, disk.id) for disk in self._by_server.get(vm_id, ()))
        targets += self._claimed(vm_id, known)
        found = _sorted(self._by_target.get(target, ()) for target in targets)
        if self.schedules.complete and self.disks.complete:
            return found
        # What is missing may be this server's: to have none would be a guess.
        return _sorted((self._missing(known), found)) or None

    def _missing(self, known: Knowledge) -> Iterator[Schedule]:
        """Yield schedules that were known, and may only be missing in the list."""
        if not self.schedules.complete and self.schedules.recent:
            for schedule in known.schedules or ():
                if schedule.id not in self._listed:
                    yield schedule

    def _claimed(self, vm_id: int, known: Knowledge) -> Iterator[Target]:
        """Yield disks that nobody lists, but that the server has backups of."""
        if self.shard.total > 1:
            return  # another shard could not know, and would show them too
        targets = {backup.target for backup in known.backups or ()}
        if not self.disks.complete:
            targets |= {schedule.target for schedule in known.schedules or ()}
        for target in sorted(targets):
            if target.type != DISK or target.id in self._owners:
                continue
            if self._claims.setdefault(target.id, vm_id) == vm_id:
                self._unclaimed.pop(target, None)
                yield target

    def _show_unclaimed(self) -> None:
        """Show schedules whose server is not known, each from one shard."""
        if not self.schedules.settled:
            return
        name = self.store.name
        schedules = tuple(
            schedule
            for schedule in _sorted(self._unclaimed.values())
            if self.shard.owns(name, f"schedule {schedule.id}")
        )
        if self.schedules.one_by_one.wanted or self._blind():
            schedules = ()
        known = self.store.unclaimed
        if schedules != (() if known is None else known.schedules):
            self.store.unclaimed = Knowledge(
                name, NOBODY, Expectation(), schedules=schedules
            )


def _sorted(groups: Iterable[Iterable[Schedule]]) -> tuple[Schedule, ...]:
    found = {schedule.id: schedule for group in groups for schedule in group}
    return tuple(found[number] for number in sorted(found))
