"""The three clouds of a run, and what will happen to them; repeatable by its seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from clouds import panel_of, rng_for

from alert_fidelity.backup_servers import CAPACITY_GB, add_archives
from alert_fidelity.clouds import HISTORY_SECONDS, START, CloudAndPanel
from alert_fidelity.look_alikes import LOOK_ALIKES, LOOK_ALIKES_WITHOUT_SCHEDULES
from alert_fidelity.server_problems import (
    NEEDS_DISKS,
    ON_ONE_PANEL,
    SERVER_PROBLEMS,
    applicable,
)
from alert_fidelity.timing import DAY, HOUR
from exporter.demo.cloud.simulation import SimulatedCloud

_SIZES_KNOWN_DAYS = 3.4
"""Sizes are judged only with a history of more than three days."""


@dataclass(frozen=True)
class Plan:
    """Seed, length and size of a run."""

    seed: int = 1
    days: float = 60
    servers: int = 100
    """At the beginning, on all panels together."""

    @property
    def short(self) -> bool:
        """Whether each problem comes once, with as many servers as that needs."""
        return self.days < 20

    @property
    def end(self) -> float:
        """Return the last moment."""
        return START + self.days * DAY


def simulated_clouds(plan: Plan) -> list[CloudAndPanel]:
    """Return the clouds at the beginning of the run, with weeks of history.

    lon1 moves a schedule's start when its backup ends, ams1 when it begins, and both
    have servers of the same numbers. On ams1 transactions cannot be read and schedules
    have no log, on nyc1 neither can be read.
    """
    few = max(5, plan.servers // 8)
    half = (plan.servers - few) // 2
    found = [
        _simulated_cloud(plan, "lon1", half, {}),
        _simulated_cloud(
            plan,
            "ams1",
            plan.servers - few - half,
            {"collectors": {"transactions": False}},
        ),
        _simulated_cloud(
            plan,
            "nyc1",
            few,
            {
                "collectors": {
                    "transactions": False,
                    "schedules": False,
                    "recovery_points": True,
                },
                "backup_required": {"include": {"label": "plugin"}},
            },
        ),
    ]
    for cloud in found:
        cloud.world.advance(START)
    return found


def _simulated_cloud(
    plan: Plan, name: str, servers: int, keys: dict[str, Any]
) -> CloudAndPanel:
    world = SimulatedCloud(
        START - HISTORY_SECONDS,
        plan.seed,
        slots=6,
        start_update="end" if name == "lon1" else "begin",
        failure_limit=3,
    )
    # Without log rows of schedules only their counts tell that a run failed.
    omitted = frozenset({"schedule_logs"} if name == "ams1" else ())
    panel = panel_of(
        *(name, world, (CAPACITY_GB,) * 3), per_page_cap=15, omitted_fields=omitted
    )
    cloud = CloudAndPanel(name, panel, rng_for(plan.seed, name), keys)
    look_alikes = LOOK_ALIKES_WITHOUT_SCHEDULES if name == "nyc1" else LOOK_ALIKES
    for number, look_alike in enumerate(look_alikes):
        if not plan.short or name == "nyc1" or number % 2 == (name == "ams1"):
            look_alike.plan(cloud, plan.days)
    if name != "nyc1":
        add_archives(cloud, plan.days)
    if plan.short:
        _each_once(cloud)
    else:
        _all_the_time(cloud, plan, servers - len(world.servers))
    return cloud


def _each_once(cloud: CloudAndPanel) -> None:
    """Give each kind of problem its own server, half of them on each panel."""
    for number, kind in enumerate(SERVER_PROBLEMS):
        whole = kind not in NEEDS_DISKS and number % 4 == 2
        elsewhere = number % 2 == (cloud.name == "lon1") and cloud.name != "nyc1"
        if kind not in applicable(cloud, whole=whole):
            continue
        if elsewhere and kind not in ON_ONE_PANEL:
            continue
        days = _SIZES_KNOWN_DAYS if kind in ("backup shrunk", "backup grown") else 0.7
        protected = cloud.protected_server(whole=whole)
        SERVER_PROBLEMS[kind].plan(cloud, protected, _at(cloud, days))


def _all_the_time(cloud: CloudAndPanel, plan: Plan, servers: int) -> None:
    """Plan problems one after another on each server, with healthy days between."""
    for number in range(servers):
        whole = number % 4 == 3
        protected = cloud.protected_server(whole=whole, swap=number % 5 == 4)
        days = _SIZES_KNOWN_DAYS + cloud.rng.uniform(0, 5)
        kinds = applicable(cloud, whole=whole)
        while days < plan.days - 8:
            problem = SERVER_PROBLEMS[cloud.rng.choice(kinds)]
            problem.plan(cloud, protected, _at(cloud, days))
            days += problem.lasts_days + cloud.rng.uniform(4.5, 9)


def _at(cloud: CloudAndPanel, days: float) -> float:
    """Return a whole second, a little after so many days."""
    return float(round(START + days * DAY + cloud.rng.uniform(0, 2) * HOUR))
