"""Which servers of a panel are read: those configured, or those discovered.

A server is gone only when a complete inventory no longer lists it; a failed or
cut-short one takes nothing away. A configured server is never gone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from ..clock import Clock
from ..errors import ExporterError, NotAsked, NotFound, PanelError, Unauthorized
from ..model.entities import Server
from ..model.selection import NO_SERVERS_HINT, Selection, Shard
from ..model.store import LastError, PanelStore
from ..onapp.api import PanelApi
from ..onapp.decode import UNKNOWN_ID
from ..onapp.paging import ROWS_PER_PAGE
from ..onapp.permissions import look_up_hint
from .scheduler import Scheduler

log = structlog.get_logger()


@dataclass(slots=True, eq=False)
class Inventory:
    """Keeps the servers of one panel's store and timetable."""

    store: PanelStore
    reader: PanelApi
    clock: Clock
    selection: Selection
    shard: Shard
    timetable: Scheduler
    left: Callable[[int], None]
    """Is told of each server that is gone."""
    _numbers: dict[str, int] = field(default_factory=dict)
    """What configured identifiers were resolved to."""
    missed: dict[int | str, LastError] = field(default_factory=dict)
    """Why configured servers could not be looked up: logged when it changes."""

    def enter_known(self) -> None:
        """Let servers be read that are known before the panel describes them.

        These are the ones configured by number, and what a reload has left in the
        store, as far as it is still wanted.
        """
        for vm_id, watch in self.store.servers.items():
            if watch.state.server is not None:
                self._numbers[watch.state.server.identifier] = vm_id
        stay: dict[int, float | None] = {}
        for configured in self.selection.configured:
            number = self._number(configured.id, None)
            if number is not None:
                interval = stay.get(number) or configured.expected_interval_seconds
                stay[number] = interval
        if not self.selection.configured:
            stay = dict.fromkeys(filter(self._is_wanted, self.store.servers))
        for vm_id, interval in stay.items():
            self._enter(vm_id, None, interval)
        self._keep(set(stay))

    def _is_wanted(self, vm_id: int) -> bool:
        server = self.store.servers[vm_id].state.server
        return server is None or self.selection.selects(server)

    async def read(self) -> bool:
        """Read the inventory and tell whether all of it came.

        Raises PanelError or NotAsked when none of it did.
        """
        try:
            if self.selection.configured:
                whole = await self._look_up()
            else:
                whole = await self._discover()
        except PanelError:
            self.store.inventory_answered = self.store.inventory_succeeded = False
            raise
        self.store.inventory_answered, self.store.inventory_succeeded = True, whole
        if whole:
            self.store.inventory_read_at = self.clock.time()
        return whole

    async def _discover(self) -> bool:
        inventory = await self.reader.inventory()
        wanted = [
            server for server in inventory.values if self.selection.selects(server)
        ]
        watches = self.store.servers
        for server in wanted:
            watch = watches.get(server.id)
            # A watched server is expected what enter_known or its entry said.
            if watch is None or watch.state.server != server:
                self._enter(server.id, server, None)
        stay = {server.id for server in wanted}
        named = {int(number) for number in inventory.skipped_ids if number.isdecimal()}
        stay |= named & self.store.servers.keys()
        missing = 0
        if (
            inventory.truncated
            or inventory.changed_while_read
            or UNKNOWN_ID in inventory.skipped_ids
        ):
            stay |= self.store.servers.keys() - {s.id for s in inventory.values}
            missing = self.store.servers_listed or 0
        self._keep(stay)
        listed = max(len(wanted) + len(stay & named), missing)
        if not listed and self.store.servers_listed != 0:
            name, hint = self.store.name, NO_SERVERS_HINT
            log.warning("panel lists no servers", panel=name, hint=hint)
        self.store.servers_listed = listed
        return not inventory.truncated

    async def _look_up(self) -> bool:
        """Look up what is configured, one by one or, when that is less, in a list.

        What could not be found the last time comes last: it may close the gate.
        """
        listed: dict[int | str, Server] = {}
        if len(self.selection.configured) > ROWS_PER_PAGE:
            for server in (await self.reader.inventory()).values:
                listed |= {server.id: server, server.identifier: server}
        stay: dict[int, float | None] = {}
        unresolved: list[str] = []
        errors: list[ExporterError] = []
        for configured in sorted(
            self.selection.configured, key=lambda server: server.id in self.missed
        ):
            found = listed.get(configured.id) or await self._one(configured.id, errors)
            vm_id = self._number(configured.id, found)
            if vm_id is None:
                unresolved.append(str(configured.id))
                continue
            interval = stay.get(vm_id) or configured.expected_interval_seconds
            stay[vm_id] = interval
            self._enter(vm_id, found, interval)
        self._keep(set(stay))
        self.store.unresolved = tuple(
            name
            for name in dict.fromkeys(unresolved)
            if self.shard.owns(self.store.name, name)
        )
        absent = {n for n, w in self.missed.items() if w.reason == NotFound.reason}
        self.store.look_up_errors = {str(n): w for n, w in self.missed.items()}
        self.store.servers_listed = len(stay.keys() - absent)
        # A single failure may be that server's own: it says nothing of the panel.
        if len(errors) == len(self.selection.configured) > 1:
            _raise_unless_answered(errors)
        return not errors

    async def _one(
        self, vm_id: int | str, errors: list[ExporterError]
    ) -> Server | None:
        try:
            server = await self.reader.server(vm_id)
        except Unauthorized:
            raise
        except PanelError as error:
            if not isinstance(error, NotFound):
                errors.append(error)  # else it is an answer: there is no such server
            known, hint = self.missed.get(vm_id), look_up_hint(error)
            if known is None or known.reason != error.reason:
                log.warning(
                    "configured server not found",
                    panel=self.store.name,
                    vm_id=vm_id,
                    **error.told(hint),
                )
            self.missed[vm_id] = LastError.of(error, self.clock.time(), hint)
            return None
        except NotAsked as error:
            errors.append(error)
            return None
        self.missed.pop(vm_id, None)
        return server

    def _number(self, vm_id: int | str, found: Server | None) -> int | None:
        if isinstance(vm_id, int):
            return vm_id
        if found is not None:
            self._numbers[vm_id] = found.id
        return self._numbers.get(vm_id)

    def _enter(
        self, vm_id: int, server: Server | None, own_interval: float | None
    ) -> None:
        if not self.shard.owns(self.store.name, vm_id):
            return
        watch = self.store.servers.get(vm_id)
        if server is None and watch is not None:
            server = watch.state.server
        expectation = self.selection.expectation(server, own_interval)
        self.store.register_server(vm_id, server, expectation)
        self.timetable.enter(vm_id, self.clock.monotonic())

    def _keep(self, stay: set[int]) -> None:
        for vm_id in self.store.servers.keys() - stay:
            self.store.forget(vm_id)
            self.timetable.leave(vm_id)
            self.reader.forget(vm_id)
            self.left(vm_id)


def _raise_unless_answered(errors: list[ExporterError]) -> None:
    known = (error for error in errors if isinstance(error, PanelError))
    if not any(error.authenticated for error in known):
        raise errors[0]
