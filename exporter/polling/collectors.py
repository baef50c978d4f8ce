"""The collectors of one panel: everything that is read besides inventory and backups.

Panel-wide ones are jobs with an interval of their own; per-server ones are read right
after a server's backups.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..clock import Clock
from ..model.entities import (
    BACKUP_SERVERS,
    DISKS,
    RECOVERY_POINTS,
    SCHEDULES,
    TRANSACTIONS,
)
from ..model.store import PanelStore
from .jobs import JobQueue
from .per_server import PerServerCollector
from .schedules import ScheduleCollector

_EXPIRY_CHECK_SECONDS = 60.0
"""How often data are checked for their age."""


@dataclass(slots=True, eq=False)
class Collectors:
    """The enabled collectors of one panel."""

    job_queue: JobQueue
    per_server: tuple[PerServerCollector, ...]
    schedules: ScheduleCollector | None
    store: PanelStore
    enabled: frozenset[str]
    """Names of the collectors that the configuration switches on."""
    clock: Clock
    _expiry_checked_at: float = 0.0

    def drop_disabled(self) -> None:
        """Remove from the store what a reload left of disabled collectors."""
        enabled = (collector for collector in self.per_server if collector.enabled)
        running = {job.status.key for job in self.job_queue.jobs}
        running |= {collector.status.key for collector in enabled}
        outcomes = self.store.outcomes.items()
        self.store.outcomes = {
            key: succeeded for key, succeeded in outcomes if key in running
        }
        if SCHEDULES not in self.enabled:
            self.store.unassigned_schedules = None
            for vm_id in tuple(self.store.servers):
                self.store.update(vm_id, SCHEDULES, None)
                self.store.update(vm_id, DISKS, None)
            self.store.schedules_ever_read = False
            self.store.set_schedules_refused()
        for vm_id, entry in tuple(self.store.servers.items()):
            if RECOVERY_POINTS not in self.enabled or (
                entry.state.recovery_points is None
            ):
                self.store.update(vm_id, RECOVERY_POINTS, None)
        if TRANSACTIONS not in self.enabled:
            self.store.transaction_log = None
        if BACKUP_SERVERS not in self.enabled:
            self.store.backup_servers_until = None
        elif self.store.backup_servers_until is None:
            self.store.backup_servers_until = 0.0

    async def read_server(self, vm_id: int) -> None:
        """Read the lists of one server; raises no error but Unauthorized."""
        self._assign_schedules(vm_id)
        for collector in self.per_server:
            await collector.read(vm_id)
            # Its disks may show which schedules are its own.
            self._assign_schedules(vm_id)

    def _assign_schedules(self, vm_id: int) -> None:
        if self.schedules is not None:
            self.schedules.assign(vm_id)

    def expire_server(self, vm_id: int) -> None:
        """Drop the lists of a server that are too old."""
        for collector in self.per_server:
            if collector.enabled:
                collector.expire(vm_id)

    def expire_all(self) -> None:
        """Drop all lists that are too old; works once a minute at most."""
        now = self.clock.monotonic()
        if now - self._expiry_checked_at < _EXPIRY_CHECK_SECONDS:
            return
        self._expiry_checked_at = now
        if self.schedules is not None:
            self.schedules.expire()
        for vm_id in tuple(self.store.servers):
            self.expire_server(vm_id)

    def replace_server(self, vm_id: int) -> None:
        """Drop what panel-wide lists have of a server whose number another one got."""
        if self.schedules is not None:
            self.schedules.drop(vm_id)

    def remove_server(self, vm_id: int) -> None:
        """Drop the state of a server that is gone."""
        for collector in self.per_server:
            collector.remove(vm_id)
