"""The simulated clouds of the fidelity run, and how deeds are written down."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from harness import NOW

from alert_fidelity.incidents import Deed
from alert_fidelity.timing import DAY
from exporter.demo.calendar import Period
from exporter.demo.panel import Panel
from exporter.demo.rows import Schedule, Target
from exporter.demo.world import World

START = NOW
HISTORY_SECONDS = 40 * DAY


@dataclass(frozen=True)
class Home:
    """One target that is backed up, and its schedule."""

    vm_id: int
    target: Target
    schedule_id: int
    interval_seconds: float


@dataclass(eq=False)
class Ground:
    """One cloud, its panel, and what was done to both."""

    panel: Panel
    name: str
    dice: random.Random
    keys: dict[str, Any]
    """Of its section of the configuration file."""
    deeds: list[Deed] = field(default_factory=list)

    @property
    def world(self) -> World:
        """Return the world behind the panel."""
        return self.panel.world

    def begin(self, kind: str, home: Home | None = None, **more: Any) -> Deed:
        """Write down that something begins now."""
        deed = Deed(kind, self.name, self.world.now, **more)
        if home is not None:
            deed.vm_id, deed.target = home.vm_id, home.target
            deed.interval_seconds = home.interval_seconds
        self.deeds.append(deed)
        return deed

    def end(self, deed: Deed) -> None:
        """Write down that it ends now."""
        deed.ends = self.world.now

    def count_anew(self, home: Home) -> None:
        """Let the panel forget how often a schedule has failed, as its owner may."""
        self.world.schedules[home.schedule_id].failure_count = 0

    def healthy(self, kind: str, at: float, home: Home) -> None:
        """Write down something that must raise nothing, from a moment on."""
        target = home.target
        self.deeds.append(Deed(kind, self.name, at, vm_id=home.vm_id, target=target))

    def home(  # noqa: PLR0913  # a server has many sides
        self,
        *,
        period: Period = "days",
        duration: int = 1,
        whole: bool = False,
        disks: int = 1,
        swap: bool = False,
        label: str | None = None,
    ) -> Home:
        """Add a server whose first disk, or which as a whole, is backed up."""
        world, dice = self.world, self.dice
        server = world.add_server(
            label=label,
            created_at=world.now - dice.randint(30, 600) * DAY,
            disks=disks,
            disk_gb=dice.randint(10, 60),
            swap=swap,
            backup_server_id=1 + len(world.servers) % 2,
        )
        target = Target("VirtualMachine", server.id)
        if not whole:
            target = Target("Disk", world.disks_of(server.id)[0].id)
        schedule = self.schedule(target, period, duration)
        days = {"days": 1, "weeks": 7, "months": 31, "years": 366}[period] * duration
        return Home(server.id, target, schedule.id, days * DAY)

    def schedule(
        self, target: Target, period: Period = "days", duration: int = 1
    ) -> Schedule:
        """Add a schedule that begins within a day."""
        start = self.world.now + self.dice.randint(60, 86_000)
        return self.world.add_schedule(*target, period, duration, start)
