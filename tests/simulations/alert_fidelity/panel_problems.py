"""Problems of whole panels and of the exporters themselves, and when they come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import faults
from clouds import rng_for
from faults import ActiveFault, Fault, FaultContext, Proceed
from faulty_panel import Panel
from harness import SteppedClock

from alert_fidelity.backup_servers import STORED_SHARE
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
    (0.4, 9 * HOUR, "rows slip between pages", "ams1", ""),
    (0.5, 10 * MINUTE, "panel in maintenance", "lon1", ""),
    (0.8, 3 * HOUR, "clock a little wrong", "lon1", ""),
    (1.0, 2 * HOUR, "panel stopped", "lon1", ""),
    (1.2, 70 * MINUTE, "key refused", "ams1", ""),
    (1.3, 2 * HOUR, "configuration broken", "", ""),
    (1.5, 5 * HOUR, "backup server disabled", "lon1", "1"),
    (1.5, 5 * HOUR, "empty backup server disabled", "ams1", "3"),
    (1.6, 4 * HOUR, "exporter restarts every quarter of an hour", "", "b"),
    (1.9, 10 * HOUR, "queue jammed", "lon1", ""),
    (2.0, 2 * HOUR, "one exporter down", "", "b"),
    (2.2, 2 * DAY, "summer time", "ams1", ""),
    (2.3, 3 * HOUR, "servers hidden", "ams1", ""),
    (2.4, 70 * MINUTE, "key refused, a server unreadable", "lon1", ""),
    (2.45, 8 * HOUR, "backup server full", "ams1", "5"),
    (2.6, 10 * MINUTE, "exporter restarted", "", "a"),
    (2.8, 10 * MINUTE, "exporters restarted", "", "ab"),
    (2.95, 4 * HOUR, "schedules refused", "lon1", ""),
    (3.0, 3 * HOUR, "collector broken", "ams1", "backup_servers"),
    (3.3, 3 * HOUR, "collector broken", "lon1", "transactions"),
    (3.5, 2 * HOUR, "clock wrong", "ams1", ""),
    (3.7, 7 * HOUR, "panel slow", "ams1", ""),
    (4.05, 2 * HOUR, "no servers", "ams1", ""),
    (4.3, 4 * HOUR, "shard missing", "", ""),
    (4.5, 4 * HOUR, "exporters restart every quarter of an hour", "", "ab"),
    (4.7, 40 * MINUTE, "all exporters down", "", "ab"),
    (4.8, 3 * HOUR, "collector broken", "lon1", "schedules"),
)
"""Days since the beginning of a week, length, kind, panel, and what of it."""


def events(plan: Plan) -> list[Event]:
    """Return the events of a run in order; in a long one they come back each week."""
    rng = rng_for(plan.seed, "weather")
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
        if event.kind == "schedules refused":
            labels["collector"] = "schedules"
        if event.kind in ("backup server disabled", "backup server full"):
            labels["backup_server_id"] = event.more
        incident = cloud.begin_incident(event.kind, labels=labels)
        end_problem = await self._change(event, cloud)

        def end() -> object:
            cloud.end_incident(incident)
            return end_problem()

        return end

    async def _change(self, event: Event, cloud: CloudAndPanel) -> Callable[[], object]:
        panel = cloud.panel
        if event.kind == "panel stopped":
            await panel.stop()
            return lambda: asyncio.ensure_future(panel.start_again())
        if event.kind == "rows slip between pages":
            return _slipping(panel)
        ends = [*self._break(event, panel), *self._set(event, cloud)]
        return lambda: [end() for end in ends]

    def _break(self, event: Event, panel: Panel) -> Iterator[Callable[[], object]]:
        """Add the faults of an event; yield what removes them."""
        match event.kind:
            case "panel in maintenance":
                yield panel.faults.add(faults.status(503)).remove
            case "collector broken":
                resource: Resource = event.more  # type: ignore[assignment]
                fault = faults.html_error(500)
                yield panel.faults.add(fault, resource=resource).remove
            case "schedules refused":
                yield panel.faults.add(faults.forbidden(), resource="schedules").remove
            case "panel slow":
                fault = delayed(self.clock, 25 * MINUTE)
                yield panel.faults.add(fault, resource="backups").remove
            case "key refused, a server unreadable":
                last = next(reversed(panel.cloud.servers))
                fault = faults.html_error(500)
                placed = panel.faults.add(fault, resource="backups", server_id=last)
                yield placed.remove

    def _set(
        self, event: Event, cloud: CloudAndPanel
    ) -> Iterator[Callable[[], object]]:
        """Set what an event sets; yield what sets it back."""
        panel = cloud.panel
        changes: dict[str, tuple[object, str, object]] = {
            "key refused": (panel, "password", "another-key"),
            "key refused, a server unreadable": (panel, "password", "another-key"),
            "clock wrong": (panel, "date_skew_seconds", 600.0),
            "clock a little wrong": (panel, "date_skew_seconds", -150.0),
            "servers hidden": (panel, "visible", _first_two_thirds),
            "no servers": (panel, "visible", lambda _server: False),
            "queue jammed": (cloud.world, "slots", 0),
            "summer time": (panel, "utc_offset", "+02:00"),
        }
        if "backup server" in event.kind:
            store = cloud.world.backup_servers[int(event.more)]
            capacity_gb = round(store.capacity_gb * STORED_SHARE / 0.95)
            changes["backup server full"] = (store, "capacity_gb", capacity_gb)
            changes["backup server disabled"] = (store, "enabled", False)
            changes["empty backup server disabled"] = (store, "enabled", False)
        if event.kind in changes:
            owner, name, value = changes[event.kind]
            before = getattr(owner, name)
            setattr(owner, name, value)
            yield lambda: setattr(owner, name, before)


def _slipping(panel: Panel) -> Callable[[], object]:
    """Hide the first server, or show it again, while every third inventory is read.

    Where it is hidden, the first row of the second page is missed.
    """
    hidden = False
    inventories = 0

    def change() -> None:
        nonlocal hidden, inventories
        inventories += 1
        if inventories % 3 == 0:
            hidden = not hidden

    before = panel.visible
    first = next(iter(panel.cloud.servers))
    panel.visible = lambda server: not (hidden and server.id == first)
    fault = panel.faults.add(
        faults.slipped_page(change), path="/virtual_machines(/status)?"
    )

    def end() -> None:
        fault.remove()
        panel.visible = before

    return end


def _first_two_thirds(server: Server) -> bool:
    return server.id % 3 != 0
