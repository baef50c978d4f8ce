"""What should be backed up: schedules and disks, and whose they are.

A panel is asked for all of them at once, where it permits that; otherwise each server
is asked for its own. Without the list of disks a disk's schedule is tied to its server
by the server's own list, or by the backups of that disk.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Generic, TypeVar

import structlog

from ..clock import Clock
from ..errors import NotAsked, PanelError, Unauthorized
from ..model.entities import (
    DISK,
    DISKS,
    SCHEDULES,
    VIRTUAL_MACHINE,
    Disk,
    Schedule,
    Target,
)
from ..model.selection import Expectation, Shard
from ..model.store import NO_SERVER, PanelStore, ServerState
from ..onapp.paging import Listed, Value
from .jobs import OFF_SECONDS, REFUSED
from .per_server import PerServerCollector

T = TypeVar("T", Schedule, Disk)
Key = TypeVar("Key", bound=Hashable)
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Index:
    """What the lists of a whole panel say, by whom it concerns."""

    schedules: Mapping[Target, tuple[Schedule, ...]]
    disks: Mapping[int, tuple[Disk, ...]]
    """By server."""
    owners: Mapping[int, int]
    """The servers of disks."""
    unowned: frozenset[Target]
    """The disks with a schedule that no server is known to have."""

    @classmethod
    def of(cls, schedules: Iterable[Schedule], disks: Iterable[Disk]) -> _Index:
        """Sort rows by whom they concern."""
        by_target = _grouped(schedules, attrgetter("target"))
        by_server = _grouped(disks, attrgetter("vm_id"))
        by_server.pop(None, None)
        owners = {d.id: vm_id for vm_id, owned in by_server.items() for d in owned}
        on_disks = (target for target in by_target if target.type == DISK)
        unowned = frozenset(t for t in on_disks if t.id not in owners)
        return cls(by_target, by_server, owners, unowned)

    def differing(self, other: _Index) -> set[int]:
        """Return the servers of which another index says something else."""
        if other is self:
            return set()
        found = _differing(self.disks, other.disks)
        for target in _differing(self.schedules, other.schedules):
            if target.type == DISK:
                owners = (index.owners.get(target.id) for index in (self, other))
                found.update(vm_id for vm_id in owners if vm_id is not None)
            else:
                found.add(target.id)
        return found


@dataclass(slots=True, eq=False)
class ScheduleCollector:
    """The schedules and disks of one panel."""

    store: PanelStore
    shard: Shard
    schedules: ListCollector[Schedule]
    disks: ListCollector[Disk]
    hasten: Callable[[int], None]
    """Is told of each server that is to be read anew."""
    _indexed: tuple[object, object] = (None, None)
    """The lists that the index is of."""
    _index: _Index = field(default_factory=lambda: _Index.of((), ()))
    _unclaimed: set[Target] = field(default_factory=set)
    _claims: dict[int, int] = field(default_factory=dict)
    """The servers of disks that the panel does not list: the first of each."""
    _told: set[int] = field(default_factory=set)
    """The servers that know what was said of them the last time."""
    _manner: tuple[tuple[bool, ...], ...] = ()
    """In which manner that was said."""

    async def read(self) -> None:
        """Read what the panel gives at once, and tell the servers."""
        errors: list[PanelError] = []
        for source in (self.schedules, self.disks):
            try:
                await source.read()
            except Unauthorized:
                raise
            except NotAsked:
                if not errors:
                    raise
                break  # what failed before has closed the gate: that is the news
            except PanelError as error:
                errors.append(error)
        self._settle_ways()
        self._tell()
        if errors:
            raise errors[0]

    def expire(self) -> None:
        """Drop what was read too long ago, when the panel cannot be asked."""
        if self.schedules.expire() | self.disks.expire():
            self._tell()

    def assign(self, vm_id: int) -> None:
        """Tell one server what the panel's lists say of it."""
        unclaimed = self._unclaimed.copy()
        self._assign(vm_id)
        if self._unclaimed != unclaimed:
            self._show_unclaimed()

    def _tell(self) -> None:
        for vm_id in self._concerned():
            self._assign(vm_id)
        self._show_unclaimed()

    def _concerned(self) -> Iterable[int]:
        """Take in the lists, and return the servers that are to be told."""
        index, lists = self._index, (self.schedules.listed, self.disks.listed)
        if any(new is not old for new, old in zip(lists, self._indexed, strict=True)):
            self._index = _Index.of(self.schedules.values, self.disks.values)
        self._indexed = lists
        unowned = self._index.unowned
        manner, self._manner = self._manner, (self.schedules.manner, self.disks.manner)
        # What may be missing depends on time, whose a disk is on all its claimants.
        whole = self.schedules.complete and self.disks.complete
        claimed = unowned or self._unclaimed or self._claims
        if whole and not claimed and self._manner == manner:
            self._told &= self.store.servers.keys()
            untold = self.store.servers.keys() - self._told
            return untold | self._index.differing(index)
        self._unclaimed, self._claims = set(unowned), {}
        return tuple(self.store.servers)

    def _assign(self, vm_id: int) -> None:
        watch = self.store.servers.get(vm_id)
        if watch is None:
            return
        self._told.add(vm_id)
        if self.disks.in_use:
            # A server without any disk is one whose disks the role cannot see.
            disks = self._index.disks.get(vm_id, ())
            disks += self.disks.lacked(watch.state.disks)
            partial = not self.disks.complete
            self.store.update(vm_id, DISKS, disks or None, partial=partial)
        if self.schedules.in_use and (self.disks.settled or not self._blind()):
            schedules = self._schedules_of(vm_id, watch.state)
            # A schedule of a disk that is not listed may be this server's too.
            lost = not self.disks.complete and bool(self._index.unowned)
            partial = lost or not self.schedules.complete
            self.store.update(vm_id, SCHEDULES, schedules, partial=partial)

    def _settle_ways(self) -> None:
        """Decide which lists are asked for server by server from now on."""
        blind = self.shard.total > 1 and self.disks.refused
        wanted = (
            # A shard that does not know whose a disk is cannot leave it to its owner.
            (self.schedules.one_by_one, self.schedules.refused or blind),
            (self.disks.one_by_one, self.disks.refused),
        )
        changed = [part for part, wish in wanted if part.want(wanted=wish)]
        begins = [part.name for part in changed if part.wanted]
        for name in begins:
            log.info("asked server by server", panel=self.store.name, resource=name)
        if begins:
            for vm_id, watch in self.store.servers.items():
                if watch.failing is not None:
                    self.hasten(vm_id)

    def _blind(self) -> bool:
        """Tell whether a disk may be another shard's for all that is known."""
        return self.shard.total > 1 and self.disks.listed is None

    def _schedules_of(
        self, vm_id: int, known: ServerState
    ) -> tuple[Schedule, ...] | None:
        if self.schedules.listed is None or self._blind():
            return None
        targets = [Target(VIRTUAL_MACHINE, vm_id)]
        targets += (Target(DISK, d.id) for d in self._index.disks.get(vm_id, ()))
        targets += self._claimed(vm_id, known)
        found = (self._index.schedules.get(target, ()) for target in targets)
        return _sorted((self.schedules.lacked(known.schedules), *found))

    def _claimed(self, vm_id: int, known: ServerState) -> Iterator[Target]:
        """Yield disks that the panel does not list, but that the server has or had."""
        if self.shard.total > 1:
            return  # another shard could not know, and would show them too
        if not (self._unclaimed or self._claims):
            return
        targets = self._backed_up_or_listed(known)
        self._give_up(vm_id, known, targets)
        for target in sorted(targets):
            known_of = target in self._unclaimed or target.id in self._claims
            if target.type != DISK or not known_of:
                continue
            if self._claims.setdefault(target.id, vm_id) == vm_id:
                self._unclaimed.discard(target)
                yield target

    def _backed_up_or_listed(self, known: ServerState) -> set[Target]:
        targets = {backup.target for backup in known.backups or ()}
        targets |= {Target(DISK, disk.id) for disk in known.disks or ()}
        if not self.disks.complete:
            targets |= _targets(known.schedules)
        return targets

    def _give_up(self, vm_id: int, known: ServerState, targets: set[Target]) -> None:
        """Let others claim the disks of which the server has nothing any more."""
        for target in (_targets(known.schedules) - targets) & self._index.unowned:
            if self._claims.get(target.id) == vm_id:
                del self._claims[target.id]
                self._unclaimed.add(target)

    def _show_unclaimed(self) -> None:
        """Show schedules whose server is not known, each from one shard."""
        if not self.schedules.settled:
            return
        name = self.store.name
        schedules = tuple(
            schedule
            for schedule in _sorted(self._index.schedules[t] for t in self._unclaimed)
            if self.shard.owns(name, f"schedule {schedule.id}")
        )
        if self.schedules.one_by_one.wanted or self._blind():
            schedules = ()
        known = self.store.unassigned_schedules
        if schedules != (() if known is None else known.schedules):
            self.store.unassigned_schedules = ServerState(
                name, NO_SERVER, Expectation(), schedules=schedules
            )


def _targets(schedules: Iterable[Schedule] | None) -> set[Target]:
    return {schedule.target for schedule in schedules or ()}


def _sorted(groups: Iterable[Iterable[Schedule]]) -> tuple[Schedule, ...]:
    found = {schedule.id: schedule for group in groups for schedule in group}
    return tuple(found[number] for number in sorted(found))


def _grouped(rows: Iterable[T], key: Callable[[T], Key]) -> dict[Key, tuple[T, ...]]:
    found = defaultdict(list)
    for row in rows:
        found[key(row)].append(row)
    return {key: tuple(group) for key, group in found.items()}


def _differing(one: Mapping[Key, Any], other: Mapping[Key, Any]) -> set[Key]:
    keys = one.keys() | other.keys()
    return {key for key in keys if one.get(key) != other.get(key)}


@dataclass(slots=True, eq=False)
class ListCollector(Generic[Value]):
    """A list that a panel gives for all servers at once, or else one by one."""

    everywhere: Callable[[], Awaitable[Listed[Value]]]
    one_by_one: PerServerCollector
    clock: Clock
    longest_age_seconds: float
    listed: Listed[Value] | None = None
    """What there is of all servers: the same object until it changes; None: unknown."""
    settled: bool = False
    """Whether that is the panel's word; until then what a reload left stays."""
    refused: bool = False
    """Whether the panel does not give the whole list: until it has given it."""
    recent: bool = True
    """Whether it was complete, or began, not too long ago."""
    _ids: frozenset[int] = frozenset()
    _read_at: float = field(init=False)
    _whole_at: float = field(init=False)
    """When it was last complete; at first, when it began."""
    _refused_until: float = 0.0

    def __post_init__(self) -> None:
        """Begin: what a reload left is young."""
        self._read_at = self._whole_at = self.clock.monotonic()

    @property
    def manner(self) -> tuple[bool, ...]:
        """Return on what it depends, beside the rows, what a server is told."""
        return self.settled, self.listed is not None, self.complete

    @property
    def values(self) -> tuple[Value, ...]:
        """Return what is listed: nothing, when that is not known."""
        return () if self.listed is None else self.listed.values

    @property
    def complete(self) -> bool:
        """Tell whether what is not listed does not exist."""
        return self.listed is None or self.listed.complete

    @property
    def in_use(self) -> bool:
        """Tell whether it tells the servers what is theirs."""
        return self.settled and not self.one_by_one.wanted

    async def read(self) -> None:
        """Read the list of the whole panel; refused, let each server be asked."""
        now = self.clock.monotonic()
        if now < self._refused_until:
            return
        try:
            listed = await self.everywhere()
        except REFUSED:
            self.listed, self.settled, self.refused = None, True, True
            self._refused_until = now + OFF_SECONDS
        except PanelError:
            self.expire()
            raise
        else:
            self._take_in(listed, now)
            listed.raise_if_truncated()

    def expire(self) -> bool:
        """Drop what was read too long ago; tell whether there was any."""
        age = self.clock.monotonic() - self._read_at
        known = self.listed is not None or not self.settled
        if not known or age <= self.longest_age_seconds:
            return False
        self.listed, self.settled = None, True
        return True

    def lacked(self, known: tuple[Value, ...] | None) -> tuple[Value, ...]:
        """Return what was known, and may only be missing in the list."""
        if self.listed is None or self.complete or not self.recent:
            return ()
        return tuple(
            value
            for value in known or ()
            if value.id not in self._ids and self.listed.may_omit(value.id)
        )

    def _take_in(self, listed: Listed[Value], now: float) -> None:
        self._read_at, self.settled = now, True
        if listed != self.listed:
            self.listed, self._ids = listed, listed.ids()
        self.refused = self.refused and listed.truncated
        if self.complete:
            self._whole_at = now
        self.recent = now - self._whole_at <= self.longest_age_seconds
