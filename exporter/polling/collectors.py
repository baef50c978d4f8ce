"""What one panel is asked for beside its servers' backups.

Errands concern the panel as a whole, particulars are read with each server.
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
"""Less often than this nothing is found to be too old."""


@dataclass(slots=True, eq=False)
class Collectors:
    """Everything that one panel is asked for but inventory and backups."""

    job_queue: JobQueue
    per_server: tuple[PerServerCollector, ...]
    schedules: ScheduleCollector | None
    store: PanelStore
    enabled: frozenset[str]
    """Those that are switched on."""
    clock: Clock
    _expiry_checked_at: float = 0.0

    def drop_disabled(self) -> None:
        """Drop what the store holds of collectors that are switched off."""
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
        if RECOVERY_POINTS not in self.enabled:
            for vm_id in tuple(self.store.servers):
                self.store.update(vm_id, RECOVERY_POINTS, None)
        if TRANSACTIONS not in self.enabled:
            self.store.transaction_log = None
        if BACKUP_SERVERS not in self.enabled:
            self.store.backup_servers_until = None
        elif self.store.backup_servers_until is None:
            self.store.backup_servers_until = 0.0

    async def read_server(self, vm_id: int) -> None:
        """Read what belongs to one server; raise Unauthorized and nothing else."""
        self._assign_schedules(vm_id)
        for collector in self.per_server:
            await collector.read(vm_id)
            self._assign_schedules(
                vm_id
            )  # its disks may tell which schedules are its own

    def _assign_schedules(self, vm_id: int) -> None:
        if self.schedules is not None:
            self.schedules.assign(vm_id)

    def expire_server(self, vm_id: int) -> None:
        """Drop what was read of a server too long ago."""
        for collector in self.per_server:
            if collector.enabled:
                collector.expire(vm_id)

    def expire_all(self) -> None:
        """Drop all that was read too long ago, though nothing is read any more."""
        now = self.clock.monotonic()
        if now - self._expiry_checked_at < _EXPIRY_CHECK_SECONDS:
            return
        self._expiry_checked_at = now
        if self.schedules is not None:
            self.schedules.expire()
        for vm_id in tuple(self.store.servers):
            self.expire_server(vm_id)

    def remove_server(self, vm_id: int) -> None:
        """Forget a server that is gone."""
        for collector in self.per_server:
            collector.remove(vm_id)
