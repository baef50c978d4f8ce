"""The simulated clouds of a run, and the record of what was done to them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from clouds import RandomCloud
from harness import NOW
from truth import interval_seconds

from alert_fidelity.incidents import Incident
from alert_fidelity.timing import DAY, HOUR
from exporter.demo.cloud.rows import Schedule, Target
from exporter.demo.cloud.time import Period

START = NOW
HISTORY_SECONDS = 40 * DAY


@dataclass(frozen=True)
class ProtectedTarget:
    """A target that is backed up, and how often."""

    vm_id: int
    target: Target
    interval_seconds: float


@dataclass(eq=False)
class CloudAndPanel(RandomCloud):
    """A cloud, its panel, and the incidents of both."""

    incidents: list[Incident] = field(default_factory=list)

    def begin_incident(
        self, kind: str, protected: ProtectedTarget | None = None, **more: Any
    ) -> Incident:
        """Record that a problem, or what looks like one, begins now."""
        incident = Incident(kind, self.name, self.world.now, **more)
        if protected is not None:
            incident.vm_id, incident.target = protected.vm_id, protected.target
            incident.interval_seconds = protected.interval_seconds
        self.incidents.append(incident)
        return incident

    def end_incident(self, incident: Incident) -> None:
        """Record that an incident ends now."""
        incident.ends = self.world.now

    def schedule_of(self, protected: ProtectedTarget) -> Schedule:
        """Return the newest schedule of a target."""
        schedules = self.world.schedules_of(protected.vm_id)
        return [row for row in schedules if row.target == protected.target][-1]

    def change_schedule(self, protected: ProtectedTarget, **changes: Any) -> None:
        """Change the newest schedule of a target."""
        self.world.change_schedule(self.schedule_of(protected).id, **changes)

    def reset_failure_count(self, protected: ProtectedTarget) -> None:
        """Reset the failure count of a schedule, as its owner may."""
        self.schedule_of(protected).failure_count = 0

    def rename(self, vm_id: int) -> None:
        """Give a server another label and another host name."""
        server = self.world.servers[vm_id]
        server.label = f"renamed-{vm_id}-{self.world.now - START:.0f}"
        server.hostname = f"{server.label}.example.com"

    def reuse_number(self, vm_id: int) -> None:
        """Destroy a server and create another with its number at once."""
        self.world.remove_server(vm_id)
        self.world.add_server(disk_gb=20, backup_server_id=1, number=vm_id)
        (target,) = self.disk_targets(vm_id)
        self.world.add_schedule(*target, start_at=self.world.now + 20 * HOUR)
        protected = ProtectedTarget(vm_id, target, DAY)
        self.begin_incident("number reused", protected)

    def protected_server(
        self,
        *,
        period: Period = "days",
        duration: int = 1,
        whole: bool = False,
        start_at: float | None = None,
        **fields: Any,
    ) -> ProtectedTarget:
        """Add a server that is backed up as a whole, or whose first disk is."""
        world = self.world
        server = self.add_server(
            created_at=world.now - self.rng.randint(30, 600) * DAY,
            backup_server_id=1 + len(world.servers) % 2,
            **fields,
        )
        target = Target("VirtualMachine", server.id)
        if not whole:
            target = self.disk_targets(server.id)[0]
        schedule = self.add_schedule(target, period, duration, start_at)
        return ProtectedTarget(server.id, target, interval_seconds(schedule))
