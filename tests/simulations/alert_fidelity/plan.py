"""Three clouds with all that will happen to them, by dice: the same seed, the same."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from alert_fidelity.clouds import HISTORY_SECONDS, START, Ground
from alert_fidelity.look_alikes import ODDITIES, UNKNOWN_SCHEDULES, befall
from alert_fidelity.server_problems import (
    NEEDS_DISKS,
    ON_ONE_PANEL,
    ON_SERVERS,
    applicable,
)
from alert_fidelity.timing import DAY, HOUR
from exporter.demo.panel import Panel
from exporter.demo.world import World

_SIZES_KNOWN_DAYS = 3.4
"""A history of sizes of less than three days is none."""


@dataclass(frozen=True)
class Plan:
    """What is to be run."""

    seed: int = 1
    days: float = 60
    servers: int = 120
    """At the beginning, on all panels together."""

    @property
    def short(self) -> bool:
        """Tell whether each trouble comes once, and so many servers as that takes."""
        return self.days < 20

    @property
    def end(self) -> float:
        """Return the last moment."""
        return START + self.days * DAY


def grounds(plan: Plan) -> list[Ground]:
    """Return the clouds at the beginning of the run, with weeks of history.

    lon1 moves a schedule's start when its backup ends, ams1 when it begins, and both
    have servers of the same numbers. On ams1 transactions cannot be read, on nyc1
    schedules neither.
    """
    few = max(5, plan.servers // 12)
    half = (plan.servers - few) // 2
    found = [
        _ground(plan, "lon1", half, {}),
        _ground(
            plan,
            "ams1",
            plan.servers - few - half,
            {"collectors": {"transactions": False}},
        ),
        _ground(
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
    for ground in found:
        ground.world.advance(START)
    return found


def _ground(plan: Plan, name: str, servers: int, keys: dict[str, Any]) -> Ground:
    dice = random.Random(f"{plan.seed} {name}")  # noqa: S311  # no secrets
    world = World(
        START - HISTORY_SECONDS,
        plan.seed,
        slots=6,
        start_moves="end" if name == "lon1" else "begin",
        failure_limit=3,
    )
    for number in range(1, 4):
        world.add_backup_server(f"store {number}", 4000)
    ground = Ground(
        Panel(world, password=f"key-of-{name}", per_page_cap=40), name, dice, keys
    )
    oddities = UNKNOWN_SCHEDULES if name == "nyc1" else ODDITIES
    for number, odd in enumerate(oddities):
        if not plan.short or name == "nyc1" or number % 2 == (name == "ams1"):
            befall(ground, odd, odd.add(ground), plan.days)
    if plan.short:
        _each_once(ground)
    else:
        _all_the_time(ground, plan, servers - len(world.servers))
    return ground


def _each_once(ground: Ground) -> None:
    """Give each kind of trouble a server of its own, half of them on each panel."""
    for number, kind in enumerate(ON_SERVERS):
        whole = kind not in NEEDS_DISKS and number % 4 == 2
        elsewhere = number % 2 == (ground.name == "lon1") and ground.name != "nyc1"
        if kind not in applicable(ground, whole=whole):
            continue
        if elsewhere and kind not in ON_ONE_PANEL:
            continue
        days = _SIZES_KNOWN_DAYS if kind in ("backup shrunk", "backup grown") else 0.7
        ON_SERVERS[kind][0](ground, ground.home(whole=whole), _at(ground, days))


def _all_the_time(ground: Ground, plan: Plan, servers: int) -> None:
    """Let one trouble follow the other on each server, with days of health between."""
    for number in range(servers):
        whole = number % 4 == 3
        home = ground.home(whole=whole, swap=number % 5 == 4)
        days = _SIZES_KNOWN_DAYS + ground.dice.uniform(0, 5)
        kinds = applicable(ground, whole=whole)
        while days < plan.days - 8:
            kind = ground.dice.choice(kinds)
            act, lasts_days = ON_SERVERS[kind]
            act(ground, home, _at(ground, days))
            days += lasts_days + ground.dice.uniform(4.5, 9)


def _at(ground: Ground, days: float) -> float:
    """Return a whole second, a little after so many days."""
    return float(round(START + days * DAY + ground.dice.uniform(0, 2) * HOUR))
