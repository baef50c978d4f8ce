"""The further steps of an inquiry: backups, and what each collector needs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ..errors import PanelError, Unauthorized
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
from ..polling.jobs import REFUSED
from ..polling.manager import has_few_servers
from ..polling.transactions import MAX_FIRST_PAGES
from .check_run import CheckRun, unanswered
from .findings import Sample, StepStatus, Workload
from .report import counted

SAMPLE = 10
"""So many servers are read, spread over all of them."""
_ENOUGH = 3
"""So many failures in a row, or refusals, tell enough."""
_MOST_NAMED = 3


@dataclass(slots=True, eq=False)
class CollectorSteps:
    """Finds out what of a panel can be read, and how much there is."""

    inquiry: CheckRun
    sample: Sample | None = None
    _once: dict[str, int] = field(default_factory=dict)
    _log_pages: int = 1
    _one_by_one: set[str] = field(default_factory=set)

    async def make(self) -> None:
        """Try everything that the configuration asks for.

        Raises Unauthorized and NotSent.
        """
        await self._backups()
        switched = self.inquiry.member.panel.collectors
        looks: tuple[tuple[str, bool, Callable[[], Awaitable[None]]], ...] = (
            (SCHEDULES, switched.schedules, partial(self._list, SCHEDULES)),
            (DISKS, switched.schedules, partial(self._list, DISKS)),
            (TRANSACTIONS, switched.transactions, self._transactions),
            (BACKUP_SERVERS, switched.backup_servers, self._backup_servers),
            (RECOVERY_POINTS, switched.recovery_points, self._recovery_points),
        )
        for step, wanted, look in looks:
            if wanted:
                await look()
            else:
                self.inquiry.note(step, StepStatus.OFF, "switched off in collectors")

    def workload(self) -> Workload:
        """Return how much there is to ask for."""
        poller = self.inquiry.member.poller
        if poller.inventory.shard.total > 1 and DISKS in self._one_by_one:
            self._one_by_one.add(SCHEDULES)
            self._once.pop(SCHEDULES, None)
        once = {VERSION: 1, VIRTUAL_MACHINES: self._inventory_requests()}
        return Workload(
            servers=len(poller.store.servers),
            once=once | self._once,
            log_pages=self._log_pages,
            one_by_one=frozenset(self._one_by_one),
        )

    def _inventory_requests(self) -> int:
        configured = len(self.inquiry.member.poller.inventory.selection.configured)
        asked = self.inquiry.tally.requests[VIRTUAL_MACHINES]
        return configured if 0 < configured <= ROWS_PER_PAGE else max(1, asked)

    def _sampled(self) -> list[int]:
        """Return servers from all over the list."""
        known = sorted(self.inquiry.member.poller.store.servers)
        step = max(1.0, len(known) / SAMPLE)
        return [known[int(i * step)] for i in range(min(SAMPLE, len(known)))]

    async def _backups(self) -> None:
        sampled = self._sampled()
        errors: dict[int, PanelError] = {}
        read = found = silent = 0
        for number, vm_id in enumerate(sampled, 1):
            what = f"backups, server {number} of {len(sampled)}"
            ask = partial(self.inquiry.member.poller.api.backups, vm_id)
            try:
                found += len(await self.inquiry.ask(what, ask))
            except Unauthorized:
                raise
            except PanelError as error:
                errors[vm_id] = error
                silent = silent + 1 if unanswered(error) else 0
            else:
                silent = 0
            read = number
            if silent == _ENOUGH:
                break
        self.sample = Sample(read, len(errors), found)
        self._note_backups(errors)

    def _note_backups(self, errors: dict[int, PanelError]) -> None:
        sample = self.sample
        if sample is None or not sample.servers:
            self.inquiry.note(BACKUPS, StepStatus.UNTRIED, "there is no server to read")
            return
        servers = len(self.inquiry.member.poller.store.servers)
        good = sample.servers - sample.failed
        on = f"on {good} of {counted(servers, 'server')}"
        text = f"{counted(sample.backups, 'backup')} {on}"
        if not errors:
            self.inquiry.note(BACKUPS, StepStatus.OK, text, resource=BACKUPS)
            return
        named = [str(error) for error in errors.values()][:_MOST_NAMED]
        text = f"{text}; {sample.failed} failed: {'; '.join(named)}"
        first = next(iter(errors.values()))
        self.inquiry.note(
            BACKUPS,
            StepStatus.DEGRADED if good else StepStatus.FAILED,
            text,
            hint=backups_hint(first),
            resource=BACKUPS,
        )

    async def _list(self, resource: str) -> None:
        """Look at the list of the whole panel, or else at one server's."""
        if has_few_servers(self.inquiry.member.panel):
            await self._one(resource, "readable, server by server")
            return
        ask = partial(self.inquiry.member.poller.api.page_count, resource)
        self._once[resource] = 1
        try:
            pages = await self.inquiry.ask(resource, ask)
        except REFUSED as error:
            del self._once[resource]
            text = f"only server by server, which costs more requests ({error})"
            if not self._sampled():
                self._degraded(resource, error)
                return
            await self._one(resource, text)
        except Unauthorized:
            raise
        except PanelError as error:
            self._degraded(resource, error)
        else:
            self._once[resource] = pages
            self._readable(resource, f"readable ({counted(pages, 'page')})")

    async def _one(self, resource: str, text: str) -> None:
        """Look at the list of one server."""
        reader = self.inquiry.member.poller.api
        questions: dict[str, Callable[[int], Awaitable[Any]]] = {
            SCHEDULES: reader.schedules_of,
            DISKS: reader.disks_of,
            RECOVERY_POINTS: reader.recovery_points_of,
        }
        sampled = self._sampled()
        if not sampled:
            self.inquiry.note(
                resource, StepStatus.UNTRIED, "there is no server to ask for"
            )
            return
        for vm_id in sampled[:_ENOUGH]:  # one may just have been destroyed
            ask = partial(questions[resource], vm_id)
            try:
                await self.inquiry.ask(resource, ask)
            except REFUSED as error:
                self._degraded(resource, error)
                continue
            except Unauthorized:
                raise
            except PanelError as error:
                self._degraded(resource, error)
                return
            self._one_by_one.add(resource)
            self._readable(resource, text)
            return

    async def _transactions(self) -> None:
        self._log_pages = min(await self._pages(TRANSACTIONS), MAX_FIRST_PAGES)

    async def _backup_servers(self) -> None:
        self._once[BACKUP_SERVERS] = await self._pages(BACKUP_SERVERS)

    async def _recovery_points(self) -> None:
        await self._one(RECOVERY_POINTS, "readable, server by server")

    async def _pages(self, resource: str) -> int:
        """Look at the first page of a list; return how many there seem to be."""
        ask = partial(self.inquiry.member.poller.api.page_count, resource)
        try:
            pages = await self.inquiry.ask(resource, ask)
        except Unauthorized:
            raise
        except PanelError as error:
            self._degraded(resource, error)
            return 1
        self._readable(resource, f"readable ({counted(pages, 'page')})")
        return pages

    def _readable(self, resource: str, text: str) -> None:
        self.inquiry.note(resource, StepStatus.OK, text, resource=resource)

    def _degraded(self, resource: str, error: PanelError) -> None:
        self.inquiry.note_error(resource, StepStatus.DEGRADED, error, resource)
