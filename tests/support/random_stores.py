"""Stores with servers in every state that health distinguishes.

Random but repeatable; ages lie a second on either side of each threshold.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Any

from stores import MONOTONIC, TIME, a_backup, a_panel, a_server, a_store

from exporter.model.entities import (
    DISKS,
    SCHEDULES,
    Backup,
    Disk,
    RecoveryPoint,
    Schedule,
    Target,
)
from exporter.model.failed_backups import FailedBackup
from exporter.model.selection import Expectation
from exporter.model.store import PanelStore, Store

HOUR, DAY = 3600.0, 86_400.0
_EDGES = (
    *(0.0, HOUR, 3 * HOUR, 6 * HOUR, 24 * HOUR, 26 * HOUR, 1.5 * DAY),
    *(1.5 * DAY + 3 * HOUR, 2.5 * DAY + 3 * HOUR, 1.5 * 7 * DAY, 3 * DAY),
    *(1.5 * 7 * DAY + 3 * HOUR, 2.5 * 7 * DAY + 3 * HOUR, 40 * DAY),
)
_INTERVALS = (None, None, DAY, 7 * DAY, 6 * HOUR)
_POLL_AGES = (0.0, 900.0, 2 * 900.0, 2 * 900.0 + 1199, 2 * 900.0 + 1201, 3599.0, 3601.0)


@dataclass
class RandomStores:
    """Makes random panels and servers."""

    random: Random
    _numbers: count[int] = field(default_factory=lambda: count(1))

    def store(self, panels: int, servers: int) -> Store:
        """Make panels with so many servers each."""
        return a_store(*(self.panel(f"cp{n}", servers) for n in range(panels)))

    def panel(self, name: str, servers: int) -> PanelStore:
        """Make a panel whose schedules could be read, or not."""
        read = self.random.choice((True, False))
        outcomes = {("schedules", "schedules"): read, ("schedules", "disks"): True}
        panel = a_panel(name, outcomes=outcomes)
        for vm_id in range(1, servers + 1):
            self._server(panel, vm_id)
        return panel

    def _server(self, panel: PanelStore, vm_id: int) -> None:
        chosen = self.random.choice
        disks = [100 * vm_id + number for number in range(1, chosen((2, 3, 4)))]
        described = a_server(
            id=vm_id,
            suspended=self.random.random() < 0.08,
            created_at=chosen((None, TIME - self._age(), TIME - 90 * DAY)),
        )
        own = chosen((None, None, None, DAY, 7 * DAY))
        expectation = Expectation(own, chosen(_INTERVALS), chosen((None, True, False)))
        panel.register_server(
            vm_id, described if chosen((1, 1, 1, 0)) else None, expectation
        )
        if chosen((1,) * 12 + (0,)):
            age = chosen(_POLL_AGES)
            panel.record_backups(
                vm_id,
                tuple(self._backups(vm_id, disks)),
                time=TIME - age,
                monotonic=MONOTONIC - age,
            )
        if chosen((1,) + (0,) * 8):
            panel.record_failure(vm_id)
        known: dict[str, Any] = {
            "disks": chosen((None, tuple(self._disks(vm_id, disks)))),
            "schedules": chosen(
                (None, (), *[tuple(self._schedules(disks, vm_id))] * 4)
            ),
            "recovery_points": chosen((None, None, (self._point(),))),
            "failed_backups": chosen(((), (), tuple(self._failed(vm_id, disks)))),
        }
        for name, values in known.items():
            partial = name in (DISKS, SCHEDULES) and chosen((True, False, False))
            panel.update(vm_id, name, values, partial=partial)

    def _age(self) -> float:
        edge = self.random.choice(_EDGES)
        return max(0.0, edge + self.random.choice((-1, 1, 60 * 7)))

    def _backups(self, vm_id: int, disks: list[int]) -> list[Backup]:
        return [
            backup
            for target in self._targets(vm_id, disks)
            for backup in self._rows(target)
        ]

    def _targets(self, vm_id: int, disks: list[int]) -> list[Target]:
        targets = [Target("Disk", disk) for disk in disks]
        if self.random.random() < 0.4:
            targets.append(Target("VirtualMachine", vm_id))
        return targets

    def _rows(self, target: Target) -> list[Backup]:
        chosen = self.random.choice
        rows = []
        for _ in range(chosen((0, 1, 1, 2, 3))):
            built = chosen((True, True, False))
            age = self._age()
            took = chosen((60.0, 600.0, 7200.0))
            rows.append(
                a_backup(
                    id=next(self._numbers),
                    target=target,
                    built=built,
                    locked=chosen((True, False, False, False)),
                    marked_for_delete=self.random.random() < 0.1,
                    created_at=TIME - age - chosen((0.0, took)),
                    built_at=TIME - age if built else None,
                    initiated=chosen(("days", "weeks", "manual", "")),
                    backup_server_id=chosen((None, 1, 2)),
                )
            )
        return rows

    def _disks(self, vm_id: int, disks: list[int]) -> list[Disk]:
        return [
            Disk(
                disk,
                vm_id,
                is_swap=self.random.random() < 0.1,
                has_autobackups=self.random.random() < 0.3,
            )
            for disk in disks
        ]

    def _schedules(self, disks: list[int], vm_id: int) -> list[Schedule]:
        chosen = self.random.choice
        return [
            Schedule(
                next(self._numbers),
                "autobackup",
                target,
                chosen(("days", "weeks")),
                1,
                chosen(("enabled", "enabled", "disabled", "failed")),
                TIME - chosen((self._age(), -HOUR, -20 * HOUR)),
                0,
            )
            for target in self._targets(vm_id, disks)
            for _ in range(chosen((0, 1, 1, 2)))
        ]

    def _point(self) -> RecoveryPoint:
        built = self.random.choice((True, False))
        return RecoveryPoint(next(self._numbers), 1, built, TIME - self._age())

    def _failed(self, vm_id: int, disks: list[int]) -> list[FailedBackup]:
        target = self.random.choice((None, *self._targets(vm_id, disks)))
        return [FailedBackup(None, TIME - self._age(), target)]
