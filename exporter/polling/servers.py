"""The job of one server: reads its backups, then its other lists."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from ..clock import Clock
from ..errors import ExporterError, Unauthorized
from ..model.entities import BACKUPS
from ..model.recent_days import remember_days
from ..model.store import LastError, PanelStore
from ..onapp.api import PanelApi
from .collectors import Collectors
from .lists import CollectorStatus

log = structlog.get_logger()


@dataclass(slots=True, eq=False)
class ServerReader:
    """Reader of one panel's servers."""

    store: PanelStore
    api: PanelApi
    clock: Clock
    collectors: Collectors

    async def read(self, vm_id: int) -> None:
        """Read the backups of a server, then its other lists."""
        entry = self.store.servers.get(vm_id)
        with CollectorStatus(self.store, self.clock, BACKUPS).timed():
            backups = await self.api.backups(vm_id)
        if self.store.is_other_server(vm_id, entry):
            self.api.forget(vm_id)  # removed or replaced while it was being read
            return
        if entry is not None and entry.failing:
            log.info(
                "reading the backups of a server works again",
                panel=self.store.name,
                vm_id=vm_id,
            )
        time, monotonic = self.clock.time(), self.clock.monotonic()
        self.store.record_backups(vm_id, backups, time=time, monotonic=monotonic)
        await self.collectors.read_server(vm_id)
        remember_days(self.store, vm_id, time=time, monotonic=monotonic)

    def record_failure(self, vm_id: int, error: ExporterError) -> None:
        """Record a failed read of a server's backups; the last good ones are kept."""
        self.collectors.expire_server(vm_id)
        entry = self.store.servers.get(vm_id)
        if entry is None:
            return
        if not entry.failing and not isinstance(error, Unauthorized):
            where = {"panel": self.store.name, "vm_id": vm_id}
            log.warning(
                "reading the backups of a server failed",
                **where,
                **error.log_fields(),
            )
        previous = entry.last_error if entry.failing else None
        last_error = LastError.of(error, self.clock.time(), previous)
        self.store.record_failure(vm_id, last_error)
