"""Schedules and disks: panel-wide lists that are divided among the servers.

If the panel permits it, all schedules and all disks are read at once
(``PanelListCollector``); if it refuses, they are read per server
(``ServerListCollector``). ``ScheduleCollector`` then assigns the schedules. A schedule
belongs to a server, or to a disk and therefore to the disk's server. If the panel does
not list a disk, the server is inferred from its own list of disks or from a backup of
that disk. A schedule without a known server is stored as unassigned.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import inf
from operator import attrgetter
from typing import TypeVar

import structlog

from ..errors import NotSent, PanelError
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
from .lists import PanelListCollector

T = TypeVar("T", Schedule, Disk)
Key = TypeVar("Key", bound=Hashable)
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Index:
    """Rows of the panel-wide lists, by target and by server."""

    schedules_by_target: Mapping[Target, tuple[Schedule, ...]]
    disks_by_server: Mapping[int, tuple[Disk, ...]]
    ownerless_disks: frozenset[Target]
    """Disks that have a schedule but no listed server."""

    @classmethod
    def build(cls, schedules: Iterable[Schedule], disks: Iterable[Disk]) -> _Index:
        """Group the rows by target and by server."""
        by_target = _grouped_by(schedules, attrgetter("target"))
        by_server = _grouped_by(disks, attrgetter("vm_id"))
        by_server.pop(None, None)
        owned = {Target(DISK, disk.id) for rows in by_server.values() for disk in rows}
        on_disks = {target for target in by_target if target.type == DISK}
        return cls(by_target, by_server, frozenset(on_disks - owned))


@dataclass(slots=True, eq=False)
class ScheduleCollector:
    """Reader of one panel's schedules and disks, which it assigns to servers."""

    store: PanelStore
    shard: Shard
    schedules: PanelListCollector[Schedule]
    disks: PanelListCollector[Disk]
    read_again: Callable[[int], None]
    """Called with each server whose lists must be requested now."""
    _indexed_lists: tuple[object, object] = (None, None)
    """The lists that ``_index`` was built from."""
    _index: _Index = field(default_factory=lambda: _Index.build((), ()))
    _inferred_owners: dict[Target, int] = field(default_factory=dict)
    """The first server that has an ownerless disk, by disk."""
    _owners_changed: bool = False
    """Whether an owner was found or lost since the unassigned schedules were stored."""
    _without_schedules: dict[int, float] = field(default_factory=dict)
    """Servers that lost all schedules, with the Unix time of the first list without
    any."""

    async def read(self) -> None:
        """Read the panel-wide lists and assign them to the servers."""
        if self.store.servers_listed == 0 and self.store.servers:
            return  # an account that sees no servers sees no schedules either
        errors: list[PanelError] = []
        for collector in (self.schedules, self.disks):
            try:
                await collector.read()
            except NotSent:
                if not errors:
                    raise
                break  # report the first error: it has opened the circuit breaker
            except PanelError as error:
                errors.append(error)
        self._switch_per_server()
        self._assign_all()
        if errors:
            raise errors[0]

    def expire(self) -> None:
        """Drop lists that are too old because the panel could not be read."""
        if self.schedules.expire() | self.disks.expire():
            self._assign_all()

    def assign(self, vm_id: int) -> None:
        """Assign its rows of the panel-wide lists to one server."""
        if self._lists_changed():
            return  # being read; all servers get their rows afterwards
        self._assign_lists(vm_id)
        if self._owners_changed:
            self._publish_unassigned()

    def drop(self, vm_id: int) -> None:
        """Drop the rows of a server whose ID now belongs to another one."""
        disks = self._index.disks_by_server.get(vm_id, ())
        targets = {Target(DISK, disk.id) for disk in disks}
        targets.add(Target(VIRTUAL_MACHINE, vm_id))
        self.schedules.drop(lambda schedule: schedule.target in targets)
        self.disks.drop(lambda disk: disk.vm_id == vm_id)
        self._update_index()
        if vm_id in self._inferred_owners.values():
            self._assign_all()

    def _assign_all(self) -> None:
        for vm_id in self._without_schedules.keys() - self.store.servers.keys():
            del self._without_schedules[vm_id]
        self.store.schedules_read_at = self.schedules.last_read_at
        self._update_index()
        self._inferred_owners = {}
        for vm_id in self.store.servers:
            self._assign_lists(vm_id)
        self._publish_unassigned()

    def _update_index(self) -> None:
        if self._lists_changed():
            self._index = _Index.build(self.schedules.values, self.disks.values)
            self._indexed_lists = self.schedules.listed, self.disks.listed

    def _lists_changed(self) -> bool:
        """Return whether the lists have changed since the index was built."""
        lists = self.schedules.listed, self.disks.listed
        indexed = zip(lists, self._indexed_lists, strict=True)
        return any(new is not old for new, old in indexed)

    def _assign_lists(self, vm_id: int) -> None:
        entry = self.store.servers.get(vm_id)
        if entry is None:
            return
        if self.disks.in_use:
            # An empty list means that the role may not see the disks.
            disks = self._index.disks_by_server.get(vm_id, ())
            disks += self.disks.retained_rows(entry.state.disks)
            partial = self.disks.is_partial(entry.state, DISKS)
            self.store.update(vm_id, DISKS, disks or None, partial=partial)
        if self.schedules.in_use and (self.disks.settled or not self._owners_unknown()):
            schedules = self._schedules_of(vm_id, entry.state)
            if schedules is None:
                self.store.update(vm_id, SCHEDULES, None)
            elif schedules or self._has_none(vm_id, entry.state):
                self._without_schedules.pop(vm_id, None)
                time = self.schedules.clock.time()
                # An unlisted disk, and thus its schedule, may belong to this server.
                partial = self.schedules.is_partial(entry.state, SCHEDULES) or (
                    bool(self._index.ownerless_disks)
                    and self.disks.is_partial(entry.state, SCHEDULES)
                )
                self.store.record_schedules(vm_id, schedules, time, partial=partial)

    def _has_none(self, vm_id: int, state: ServerState) -> bool:
        """Return whether a server without listed schedules really has none.

        An account that no longer sees the server does not see its schedules either. The
        old ones stay until the next inventory lists the server, or until they are too
        old.
        """
        read_at, known = self.schedules.last_read_at, state.schedules or ()
        if not known or read_at is None or any(map(self.schedules.lists, known)):
            return True
        since = self._without_schedules.setdefault(vm_id, read_at)
        listed = (self.store.inventory_read_at or -inf) > since
        if listed and vm_id not in self.store.missing:
            return True
        return read_at - since > self.schedules.max_age_seconds

    def _switch_per_server(self) -> None:
        """Request refused lists per server; go back to panel-wide ones if permitted."""
        owners_unknown = self.shard.total > 1 and self.disks.refused
        modes = (
            # Without disks, a shard cannot know which disks belong to other shards.
            (self.schedules.per_server, self.schedules.refused or owners_unknown),
            (self.disks.per_server, self.disks.refused),
        )
        started = False
        for collector, enabled in modes:
            if collector.set_enabled(enabled=enabled) and enabled:
                started = True
                log.info(
                    "panel-wide list refused, requesting it per server",
                    panel=self.store.name,
                    resource=collector.name,
                )
        if started:
            for vm_id, entry in self.store.servers.items():
                if entry.failing is not None:
                    self.read_again(vm_id)

    def _owners_unknown(self) -> bool:
        """Return whether disks may belong to servers of another shard."""
        return self.shard.total > 1 and self.disks.listed is None

    def _schedules_of(
        self, vm_id: int, state: ServerState
    ) -> tuple[Schedule, ...] | None:
        if self.schedules.listed is None or self._owners_unknown():
            return None
        targets = [Target(VIRTUAL_MACHINE, vm_id)]
        targets += (
            Target(DISK, d.id) for d in self._index.disks_by_server.get(vm_id, ())
        )
        targets += self._inferred_disks(vm_id, state)
        found = (self._index.schedules_by_target.get(target, ()) for target in targets)
        return _sorted_by_id((self.schedules.retained_rows(state.schedules), *found))

    def _inferred_disks(self, vm_id: int, state: ServerState) -> Iterator[Target]:
        """Yield disks that the panel does not list but that the server has or had."""
        if self.shard.total > 1:
            return  # other shards would infer an owner of their own and show it too
        ownerless = self._index.ownerless_disks
        if not ownerless:
            return
        seen = self._seen_targets(state)
        for target in _targets(state.schedules) - seen:
            if self._inferred_owners.get(target) == vm_id:
                del self._inferred_owners[target]  # the server no longer refers to it
                self._owners_changed = True
        for target in sorted(seen & ownerless):
            self._owners_changed |= target not in self._inferred_owners
            if self._inferred_owners.setdefault(target, vm_id) == vm_id:
                yield target

    def _seen_targets(self, state: ServerState) -> set[Target]:
        targets = {backup.target for backup in state.backups or ()}
        targets |= {Target(DISK, disk.id) for disk in state.disks or ()}
        if not self.disks.complete:
            targets |= _targets(state.schedules)
        return targets

    def _publish_unassigned(self) -> None:
        """Store the schedules of unknown servers; each belongs to one shard."""
        self._owners_changed = False
        if not self.schedules.settled:
            return
        name = self.store.name
        unassigned = self._index.ownerless_disks - self._inferred_owners.keys()
        schedules = tuple(
            schedule
            for schedule in _sorted_by_id(
                self._index.schedules_by_target[target] for target in unassigned
            )
            if self.shard.owns(name, f"schedule {schedule.id}")
        )
        if self.schedules.per_server.enabled or self._owners_unknown():
            schedules = ()
        published = self.store.unassigned_schedules
        if schedules != (() if published is None else published.schedules):
            self.store.unassigned_schedules = ServerState(
                name, NO_SERVER, Expectation(), schedules=schedules
            )


def _targets(schedules: Iterable[Schedule] | None) -> set[Target]:
    return {schedule.target for schedule in schedules or ()}


def _sorted_by_id(groups: Iterable[Iterable[Schedule]]) -> tuple[Schedule, ...]:
    found = {schedule.id: schedule for group in groups for schedule in group}
    return tuple(found[number] for number in sorted(found))


def _grouped_by(rows: Iterable[T], key: Callable[[T], Key]) -> dict[Key, tuple[T, ...]]:
    found = defaultdict(list)
    for row in rows:
        found[key(row)].append(row)
    return {key: tuple(group) for key, group in found.items()}
