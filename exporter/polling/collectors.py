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

_AGEING_SECONDS = 60.0
"""Less often than this nothing is found to be too old."""


@dataclass(slots=True, eq=False)
class Collectors:
    """Everything that one panel is asked for but inventory and backups."""

    errands: JobQueue
    particulars: tuple[PerServerCollector, ...]
    schedules: ScheduleCollector | None
    store: PanelStore
    collectors: frozenset[str]
    """Those that are switched on."""
    clock: Clock
    _aged_at: float = 0.0

    def begin(self) -> None:
        """Drop what the store holds of collectors that are switched off."""
        wanted = (part for part in self.particulars if part.wanted)
        runs = {e.condition.key for e in self.errands.errands}
        runs |= {particular.condition.key for particular in wanted}
        outcomes = self.store.outcomes.items()
        self.store.outcomes = {key: good for key, good in outcomes if key in runs}
        if SCHEDULES not in self.collectors:
            self.store.unassigned_schedules = None
            for vm_id in tuple(self.store.servers):
                self.store.update(vm_id, SCHEDULES, None)
                self.store.update(vm_id, DISKS, None)
        if RECOVERY_POINTS not in self.collectors:
            for vm_id in tuple(self.store.servers):
                self.store.update(vm_id, RECOVERY_POINTS, None)
        if TRANSACTIONS not in self.collectors:
            self.store.transaction_log = None
        if BACKUP_SERVERS not in self.collectors:
            self.store.backup_servers_until = None
        elif self.store.backup_servers_until is None:
            self.store.backup_servers_until = 0.0

    async def read(self, vm_id: int) -> None:
        """Read what belongs to one server; raise Unauthorized and nothing else."""
        self._assign(vm_id)
        for particular in self.particulars:
            await particular.read(vm_id)
            self._assign(vm_id)  # its disks may tell which schedules are its own

    def _assign(self, vm_id: int) -> None:
        if self.schedules is not None:
            self.schedules.assign(vm_id)

    def expire(self, vm_id: int) -> None:
        """Drop what was read of a server too long ago."""
        for particular in self.particulars:
            if particular.wanted:
                particular.expire(vm_id)

    def expire_old(self) -> None:
        """Drop all that was read too long ago, though nothing is read any more."""
        now = self.clock.monotonic()
        if now - self._aged_at < _AGEING_SECONDS:
            return
        self._aged_at = now
        if self.schedules is not None:
            self.schedules.expire()
        for vm_id in tuple(self.store.servers):
            self.expire(vm_id)

    def leave(self, vm_id: int) -> None:
        """Forget a server that is gone."""
        for particular in self.particulars:
            particular.leave(vm_id)
