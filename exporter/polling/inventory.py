"""Inventory: the polled servers of a panel, either configured or discovered.

Rows can move between pages while they are read. A discovered server is therefore
removed only if two consecutive complete inventories do not list it, or if one does not
and its backups return HTTP 404. An empty inventory removes a server only with that 404;
a failed or truncated one removes none. A server that the filters no longer select is
removed at once, a configured server never. If the panel reuses an ID for another
server, the ID stands for the new server from then on.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import partial

import structlog

from ..clock import Clock
from ..errors import ExporterError, NotFound, NotSent, PanelError, RequestError
from ..model.entities import Server
from ..model.selection import NO_SERVERS_HINT, Selection, Shard
from ..model.store import LastError, PanelStore
from ..onapp.api import PanelApi
from ..onapp.decode import UNKNOWN_ID
from ..onapp.paging import ROWS_PER_PAGE
from .jobs import JobQueue, server_job
from .servers import ServerReader

log = structlog.get_logger()


@dataclass(slots=True, eq=False)
class Inventory:
    """Adds servers to one panel's store and queue, and removes them."""

    store: PanelStore
    api: PanelApi
    clock: Clock
    selection: Selection
    shard: Shard
    queue: JobQueue
    servers: ServerReader
    _resolved_ids: dict[str, int] = field(default_factory=dict)
    """Server IDs by configured identifier."""

    def add_known_servers(self) -> None:
        """Add the servers that are known before the first inventory.

        These are the servers configured by ID, and those that the store kept over a
        reload if they are still selected.
        """
        for known_id, entry in self.store.servers.items():
            if entry.state.server is not None:
                self._resolved_ids[entry.state.server.identifier] = known_id
        kept: dict[int, float | None] = {}
        for configured in self.selection.configured:
            vm_id = self._resolve(configured.id, None)
            if vm_id is not None:
                interval = kept.get(vm_id) or configured.expected_interval_seconds
                kept[vm_id] = interval
        if not self.selection.configured:
            kept = dict.fromkeys(filter(self._is_selected, self.store.servers))
        for known_id, interval in kept.items():
            self._add_or_update(known_id, None, interval)
        self._remove_others(set(kept))

    def _is_selected(self, vm_id: int) -> bool:
        server = self.store.servers[vm_id].state.server
        return server is None or self.selection.selects(server)

    async def read(self) -> bool:
        """Read the inventory; return whether it was complete.

        Raises NotSent, or another error if no part of it could be read.
        """
        store = self.store
        answered: bool | None = False  # stays False after a bug
        complete: bool | None = False
        try:
            complete = await (
                self._look_up() if self.selection.configured else self._discover()
            )
            answered = True
        except (NotSent, asyncio.CancelledError):
            answered, complete = store.inventory_answered, store.inventory_succeeded
            raise
        finally:
            store.inventory_answered, store.inventory_succeeded = answered, complete
        if complete:
            self.store.inventory_read_at = self.clock.time()
        return complete

    async def _discover(self) -> bool:
        inventory = await self.api.inventory()
        selected = [
            server for server in inventory.values if self.selection.selects(server)
        ]
        known = self.store.servers
        for server in selected:
            entry = known.get(server.id)
            # An unchanged server keeps its expectation.
            if entry is None or entry.state.server != server:
                self._add_or_update(server.id, server, None)
        listed_ids = {server.id for server in inventory.values}
        skipped_ids = {
            int(row_id) for row_id in inventory.skipped_ids if row_id.isdecimal()
        }
        skipped_ids &= known.keys()
        missing = known.keys() - listed_ids - skipped_ids
        at_least = 0
        if (
            inventory.truncated
            or inventory.changed_while_read
            or UNKNOWN_ID in inventory.skipped_ids
        ):
            for vm_id in listed_ids | skipped_ids:
                self.store.missing.pop(vm_id, None)
            at_least = self.store.servers_listed or 0
        else:
            missing = self._remove_gone(missing, empty=not inventory.values)
        selected_ids = {server.id for server in selected}
        self._remove_others(selected_ids | skipped_ids | missing)
        listed = max(len(selected) + len(skipped_ids), at_least)
        if not listed and self.store.servers_listed != 0:
            name, hint = self.store.name, NO_SERVERS_HINT
            log.warning("panel lists no servers", panel=name, hint=hint)
        self.store.servers_listed = listed
        return not inventory.truncated

    def _remove_gone(self, missing: set[int], *, empty: bool) -> set[int]:
        """Remove missing servers that are gone; return those that may still exist."""
        before, now = self.store.missing, self.clock.monotonic()
        self.store.missing = {n: before.get(n, False) or not empty for n in missing}
        for vm_id in missing:
            self.queue.do_not_await(vm_id)
            missing_twice = before.get(vm_id, False) and not empty
            if missing_twice or self.store.servers[vm_id].not_found:
                self._remove(vm_id)
            elif not empty:
                self.queue.run_soon(vm_id, now)
        return set(self.store.missing)

    def _read_failed(self, vm_id: int, error: ExporterError) -> None:
        """Record a failed read; remove a missing server that has no backups either."""
        if isinstance(error, NotFound) and vm_id in self.store.missing:
            self._remove(vm_id)
        else:
            self.servers.record_failure(vm_id, error)

    async def _look_up(self) -> bool:
        """Look up the configured servers one by one, or in a list if that is shorter.

        Servers that failed the last time come last: they may open the circuit breaker.
        """
        listed: dict[int | str, Server] = {}
        if len(self.selection.configured) > ROWS_PER_PAGE:
            for server in (await self.api.inventory()).values:
                listed |= {server.id: server, server.identifier: server}
        kept: dict[int, float | None] = {}
        existing: set[int] = set()
        unresolved: list[str] = []
        errors: list[ExporterError] = []
        last_errors = self.store.look_up_errors
        for configured in sorted(
            self.selection.configured,
            key=lambda server: str(server.id) in last_errors,
        ):
            name = str(configured.id)
            found = listed.get(configured.id)
            if found is None:
                found = await self._look_up_one(configured.id, errors)
            else:
                last_errors.pop(name, None)
            vm_id = self._resolve(configured.id, found)
            if vm_id is None:
                unresolved.append(name)
                continue
            error = last_errors.get(name)
            if error is None or error.reason != NotFound.reason:
                existing.add(vm_id)
            interval = kept.get(vm_id) or configured.expected_interval_seconds
            kept[vm_id] = interval
            self._add_or_update(vm_id, found, interval)
        self._remove_others(set(kept))
        self.store.unresolved = tuple(
            name
            for name in dict.fromkeys(unresolved)
            if self.shard.owns(self.store.name, name)
        )
        self.store.servers_listed = len(existing)
        # A single failure may concern only that server, not the panel.
        if len(errors) == len(self.selection.configured) > 1:
            _raise_unless_proven(errors)
        return not errors

    async def _look_up_one(
        self, vm_id: int | str, errors: list[ExporterError]
    ) -> Server | None:
        """Return a configured server; log a failure when its reason changes."""
        last_errors, name = self.store.look_up_errors, str(vm_id)
        try:
            server = await self.api.server(vm_id)
        except PanelError as error:
            if not isinstance(error, NotFound):
                errors.append(error)  # 404 is an answer: the server does not exist
            previous = last_errors.get(name)
            if previous is None or previous.reason != error.reason:
                log.warning(
                    "configured server not found",
                    panel=self.store.name,
                    vm_id=vm_id,
                    **error.log_fields(),
                )
            last_errors[name] = LastError.of(error, self.clock.time(), previous)
            return None
        except NotSent as error:
            errors.append(error)
            return None
        last_errors.pop(name, None)
        return server

    def _resolve(self, vm_id: int | str, found: Server | None) -> int | None:
        if isinstance(vm_id, int):
            return vm_id
        if found is not None:
            self._resolved_ids[vm_id] = found.id
        return self._resolved_ids.get(vm_id)

    def _add_or_update(
        self, vm_id: int, server: Server | None, own_interval: float | None
    ) -> None:
        if not self.shard.owns(self.store.name, vm_id):
            return
        known = self.store.known_server(vm_id)
        if server is not None and known is not None and server.is_other_than(known):
            self._remove(vm_id)
            self.servers.collectors.replace_server(vm_id)
        server = server or known
        expectation = self.selection.expectation(server, own_interval)
        time = self.clock.time()
        self.store.register_server(vm_id, server, expectation, time=time)
        tried = self.store.servers[vm_id].failing is not None
        job = server_job(
            self.store.name,
            vm_id,
            self.store.interval_seconds,
            run=partial(self.servers.read, vm_id),
            on_failure=partial(self._read_failed, vm_id),
        )
        self.queue.add(job, self.clock.monotonic(), tried=tried)

    def _remove_others(self, kept: set[int]) -> None:
        for vm_id in self.store.servers.keys() - kept:
            self.store.exclude(vm_id)
            self._drop(vm_id)

    def _remove(self, vm_id: int) -> None:
        self.store.forget(vm_id)
        self._drop(vm_id)

    def _drop(self, vm_id: int) -> None:
        self.store.missing.pop(vm_id, None)
        self.queue.remove_server(vm_id)
        self.api.forget(vm_id)
        self.servers.collectors.remove_server(vm_id)


def _raise_unless_proven(errors: list[ExporterError]) -> None:
    answers = (error for error in errors if isinstance(error, RequestError))
    if not any(error.proven for error in answers):
        raise errors[0]
