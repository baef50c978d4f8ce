"""The further steps of a check: backups, and what each collector reads."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ..errors import REFUSED, PanelError, Unauthorized
from ..model.entities import (
    BACKUP_SERVERS,
    BACKUPS,
    DISKS,
    RECOVERY_POINTS,
    SCHEDULES,
    TRANSACTIONS,
    VERSION,
    VIRTUAL_MACHINES,
)
from ..onapp.paging import ROWS_PER_PAGE
from ..onapp.permissions import backups_hint
from ..polling.manager import has_few_servers
from ..polling.transactions import MAX_FIRST_PAGES
from .check_run import CheckRun, panel_may_be_down
from .findings import Sample, StepStatus, Workload
from .report import counted

SAMPLE_SIZE = 10
"""Servers whose backups are read, spread over all servers."""
_MAX_FAILURES = 3
"""In a row; then no more servers are tried."""
_MAX_NAMED_ERRORS = 3


@dataclass(slots=True, eq=False)
class CollectorSteps:
    """Finds out what can be read from a panel, and how many requests it needs."""

    check_run: CheckRun
    sample: Sample | None = None
    _discovery_requests: dict[str, int] = field(default_factory=dict)
    _log_pages: int = 1
    _per_server: set[str] = field(default_factory=set)

    async def run(self) -> None:
        """Try every collector that is switched on; raise Unauthorized and NotSent."""
        await self._check_backups()
        collectors = self.check_run.panel_task.panel.collectors
        steps: tuple[tuple[str, bool, Callable[[], Awaitable[None]]], ...] = (
            (
                SCHEDULES,
                collectors.schedules,
                partial(self._check_panel_list, SCHEDULES),
            ),
            (DISKS, collectors.schedules, partial(self._check_panel_list, DISKS)),
            (TRANSACTIONS, collectors.transactions, self._check_transactions),
            (BACKUP_SERVERS, collectors.backup_servers, self._check_backup_servers),
            (RECOVERY_POINTS, collectors.recovery_points, self._check_recovery_points),
        )
        for step, wanted, check in steps:
            if wanted:
                await check()
            else:
                self.check_run.record(
                    step, StepStatus.OFF, "switched off in collectors"
                )

    def workload(self) -> Workload:
        """Return how many requests the collectors need."""
        poller = self.check_run.panel_task.poller
        if poller.inventory.shard.total > 1 and DISKS in self._per_server:
            self._per_server.add(SCHEDULES)
            self._discovery_requests.pop(SCHEDULES, None)
        discovery_requests = {VERSION: 1, VIRTUAL_MACHINES: self._inventory_requests()}
        return Workload(
            servers=len(poller.store.servers),
            discovery_requests=discovery_requests | self._discovery_requests,
            log_pages=self._log_pages,
            per_server=frozenset(self._per_server),
        )

    def _inventory_requests(self) -> int:
        configured = len(
            self.check_run.panel_task.poller.inventory.selection.configured
        )
        answers = self.check_run.request_counts.answers[VIRTUAL_MACHINES]
        return configured if 0 < configured <= ROWS_PER_PAGE else max(1, answers)

    def _sampled_servers(self) -> list[int]:
        """Return servers at equal distances in the list."""
        server_ids = sorted(self.check_run.panel_task.poller.store.servers)
        step = max(1.0, len(server_ids) / SAMPLE_SIZE)
        return [
            server_ids[int(i * step)] for i in range(min(SAMPLE_SIZE, len(server_ids)))
        ]

    async def _check_backups(self) -> None:
        sampled = self._sampled_servers()
        errors: dict[int, PanelError] = {}
        read = backups = failures_in_row = 0
        for number, vm_id in enumerate(sampled, 1):
            activity = f"backups, server {number} of {len(sampled)}"
            request = partial(self.check_run.panel_task.poller.api.backups, vm_id)
            try:
                backups += len(await self.check_run.ask(activity, request))
            except Unauthorized:
                raise
            except PanelError as error:
                errors[vm_id] = error
                failures_in_row = failures_in_row + 1 if panel_may_be_down(error) else 0
            else:
                failures_in_row = 0
            read = number
            if failures_in_row == _MAX_FAILURES:
                break
        self.sample = Sample(read, len(errors), backups)
        self._record_backups(errors)

    def _record_backups(self, errors: dict[int, PanelError]) -> None:
        sample = self.sample
        if sample is None or not sample.servers:
            self.check_run.record(
                BACKUPS, StepStatus.UNTRIED, "there is no server to read"
            )
            return
        servers = len(self.check_run.panel_task.poller.store.servers)
        readable = sample.servers - sample.failed
        on = f"on {readable} of {counted(servers, 'server')}"
        text = f"{counted(sample.backups, 'backup')} {on}"
        if not errors:
            self.check_run.record(BACKUPS, StepStatus.OK, text, resource=BACKUPS)
            return
        messages = [str(error) for error in errors.values()][:_MAX_NAMED_ERRORS]
        text = f"{text}; {sample.failed} failed: {'; '.join(messages)}"
        first_error = next(iter(errors.values()))
        self.check_run.record(
            BACKUPS,
            StepStatus.DEGRADED if readable else StepStatus.FAILED,
            text,
            hint=backups_hint(first_error),
            resource=BACKUPS,
        )

    async def _check_panel_list(self, resource: str) -> None:
        """Try the panel-wide list; if it is refused, one server's list."""
        if has_few_servers(self.check_run.panel_task.panel):
            await self._check_server_list(resource, "readable, server by server")
            return
        request = partial(self.check_run.panel_task.poller.api.page_count, resource)
        self._discovery_requests[resource] = 1
        try:
            pages = await self.check_run.ask(resource, request)
        except REFUSED as error:
            del self._discovery_requests[resource]
            text = f"only server by server, which costs more requests ({error})"
            if not self._sampled_servers():
                self._record_degraded(resource, error)
                return
            await self._check_server_list(resource, text)
        except Unauthorized:
            raise
        except PanelError as error:
            self._record_degraded(resource, error)
        else:
            self._discovery_requests[resource] = pages
            self._record_readable(resource, f"readable ({counted(pages, 'page')})")

    async def _check_server_list(self, resource: str, text: str) -> None:
        """Try the list of one server."""
        api = self.check_run.panel_task.poller.api
        requests: dict[str, Callable[[int], Awaitable[Any]]] = {
            SCHEDULES: api.schedules_of,
            DISKS: api.disks_of,
            RECOVERY_POINTS: api.recovery_points_of,
        }
        sampled = self._sampled_servers()
        if not sampled:
            self.check_run.record(
                resource, StepStatus.UNTRIED, "there is no server to ask for"
            )
            return
        for vm_id in sampled[:_MAX_FAILURES]:  # a server may just have been destroyed
            request = partial(requests[resource], vm_id)
            try:
                await self.check_run.ask(resource, request)
            except REFUSED as error:
                self._record_degraded(resource, error)
                continue
            except Unauthorized:
                raise
            except PanelError as error:
                self._record_degraded(resource, error)
                return
            self._per_server.add(resource)
            self._record_readable(resource, text)
            return

    async def _check_transactions(self) -> None:
        self._log_pages = min(
            await self._check_first_page(TRANSACTIONS), MAX_FIRST_PAGES
        )

    async def _check_backup_servers(self) -> None:
        self._discovery_requests[BACKUP_SERVERS] = await self._check_first_page(
            BACKUP_SERVERS
        )

    async def _check_recovery_points(self) -> None:
        await self._check_server_list(RECOVERY_POINTS, "readable, server by server")

    async def _check_first_page(self, resource: str) -> int:
        """Read the first page of a list; return how many pages there seem to be."""
        request = partial(self.check_run.panel_task.poller.api.page_count, resource)
        try:
            pages = await self.check_run.ask(resource, request)
        except Unauthorized:
            raise
        except PanelError as error:
            self._record_degraded(resource, error)
            return 1
        self._record_readable(resource, f"readable ({counted(pages, 'page')})")
        return pages

    def _record_readable(self, resource: str, text: str) -> None:
        self.check_run.record(resource, StepStatus.OK, text, resource=resource)

    def _record_degraded(self, resource: str, error: PanelError) -> None:
        self.check_run.record_error(resource, StepStatus.DEGRADED, error, resource)
