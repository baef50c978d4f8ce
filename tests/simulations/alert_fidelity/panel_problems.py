"""Problems of whole panels and of the exporters themselves, and when they come."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass

import faults
from faults import ActiveFault, Fault, FaultContext, Proceed
from harness import SteppedClock

from alert_fidelity.clouds import START, CloudAndPanel
from alert_fidelity.plan import Plan
from alert_fidelity.timing import DAY, HOUR, MINUTE, STEP
from exporter.demo.cloud.rows import Server
from exporter.demo.panel.routes import Resource


@dataclass(frozen=True)
class Event:
    """A problem of a panel or of exporters, from one moment to another."""

    kind: str
    panel: str
    """Empty: it is a problem of the exporters."""
    begins: float
    ends: float
    more: str = ""
    """Which resource, replica or shard."""


_WEEK: tuple[tuple[float, float, str, str, str], ...] = (
    (0.5, 10 * MINUTE, "panel in maintenance", "lon1", ""),
    (0.8, 3 * HOUR, "clock a little wrong", "lon1", ""),
    (1.0, 2 * HOUR, "panel stopped", "lon1", ""),
    (1.2, 70 * MINUTE, "key refused", "ams1", ""),
    (1.3, 2 * HOUR, "configuration broken", "", ""),
    (1.5, 5 * HOUR, "backup server disabled", "lon1", "1"),
    (1.5, 5 * HOUR, "empty backup server disabled", "ams1", "3"),
    (1.9, 10 * HOUR, "queue jammed", "lon1", ""),
    (2.0, 2 * HOUR, "one exporter down", "", "b"),
    (2.2, 2 * DAY, "summer time", "ams1", ""),
    (2.3, 3 * HOUR, "servers hidden", "ams1", ""),
    (2.6, 10 * MINUTE, "exporter restarted", "", "a"),
    (2.8, 10 * MINUTE, "exporters restarted", "", "ab"),
    (3.0, 3 * HOUR, "collector broken", "ams1", "backup_servers"),
    (3.3, 3 * HOUR, "collector broken", "lon1", "transactions"),
    (3.5, 2 * HOUR, "clock wrong", "ams1", ""),
    (3.7, 7 * HOUR, "panel slow", "ams1", ""),
    (4.3, 4 * HOUR, "shard missing", "", ""),
    (4.7, 40 * MINUTE, "all exporters down", "", "ab"),
    (4.8, 3 * HOUR, "collector broken", "lon1", "schedules"),
)
"""Days since the beginning of a week, length, kind, panel, and what of it."""


def events(plan: Plan) -> list[Event]:
    """Return the events of a run in order; in a long one they come back each week."""
    rng = random.Random(f"{plan.seed} weather")  # noqa: S311  # no secrets
    found = []
    for week in range(max(1, int(plan.days // 7))):
        late_hours = rng.uniform(0, 20) if week else 0.0
        for days, seconds, kind, panel, more in _WEEK:
            begins = START + (7 * week + days) * DAY + late_hours * HOUR
            begins = START + (begins - START) // STEP * STEP
            where = _other(panel) if week % 2 and kind != "queue jammed" else panel
            resource = kind == "collector broken" and where != "lon1"
            what = "backup_servers" if resource and more == "transactions" else more
            found.append(Event(kind, where, begins, begins + seconds, what))
    return [event for event in found if event.ends < plan.end - 4 * HOUR]


def _other(panel: str) -> str:
    return {"lon1": "ams1", "ams1": "lon1"}.get(panel, panel)


def delayed(clock: SteppedClock, seconds: float) -> Fault:
    """Delay an answer, by the simulated clock."""

    async def inject(
        _scene: FaultContext, placed: ActiveFault, proceed: Proceed
    ) -> object:
        placed.held += 1
        try:
            await clock.wait(placed.ended, seconds)
        finally:
            placed.held -= 1
        return await proceed()

    return Fault(inject)  # type: ignore[arg-type]


@dataclass(eq=False)
class PanelProblems:
    """Applies events to the panels."""

    clouds: dict[str, CloudAndPanel]
    clock: SteppedClock

    async def begin(self, event: Event) -> Callable[[], object]:
        """Begin an event; return the function that ends it."""
        cloud = self.clouds[event.panel]
        labels = {}
        if event.kind == "collector broken":
            labels["collector"] = event.more
        if event.kind == "backup server disabled":
            labels["backup_server_id"] = event.more
        incident = cloud.begin_incident(event.kind, labels=labels)
        end_problem = await self._change(event, cloud)

        def end() -> object:
            cloud.end_incident(incident)
            return end_problem()

        return end

    async def _change(self, event: Event, cloud: CloudAndPanel) -> Callable[[], object]:
        panel = cloud.panel
        match event.kind:
            case "panel stopped":
                await panel.stop()
                port = int(panel.url.rpartition(":")[2])
                return lambda: asyncio.ensure_future(panel.start(port=port))
            case "panel in maintenance":
                return panel.faults.add(faults.status(503)).remove
            case "collector broken":
                resource: Resource = event.more  # type: ignore[assignment]
                fault = faults.html_error(500)
                return panel.faults.add(fault, resource=resource).remove
            case "panel slow":
                fault = delayed(self.clock, 25 * MINUTE)
                return panel.faults.add(fault, resource="backups").remove
            case _:
                return self._set(event, cloud)

    def _set(self, event: Event, cloud: CloudAndPanel) -> Callable[[], object]:
        panel = cloud.panel
        changes: dict[str, tuple[object, str, object]] = {
            "key refused": (panel, "password", "another-key"),
            "clock wrong": (panel, "date_skew_seconds", 600.0),
            "clock a little wrong": (panel, "date_skew_seconds", -150.0),
            "servers hidden": (panel, "visible", _first_two_thirds),
            "queue jammed": (cloud.world, "slots", 0),
            "summer time": (panel, "utc_offset", "+02:00"),
        }
        if "backup server" in event.kind:
            store = cloud.world.backup_servers[int(event.more)]
            changes[event.kind] = (store, "enabled", False)
        owner, name, value = changes[event.kind]
        before = getattr(owner, name)
        setattr(owner, name, value)
        return lambda: setattr(owner, name, before)


def _first_two_thirds(server: Server) -> bool:
    return server.id % 3 != 0
