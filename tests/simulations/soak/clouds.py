"""The three simulated clouds of a soak, with their history."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from faulty_panel import Panel

from exporter.demo.cloud.simulation import SimulatedCloud
from soak.activity import HOUR, MINUTE, CloudActivity, RandomFaults
from soak.expected_metrics import EndedTransactions, ExpectedMetrics

START = 1_800_014_400.0
_HISTORY = 10 * 24 * HOUR
_HISTORY_STEP = 10 * MINUTE
"""As in the rounds that follow, so that the clouds are as full as they will be."""
POLL = {"interval": "15m", "timeout": "1s", "max_body": "256KiB"}
FAULTLESS_POLL = {**POLL, "timeout": "60s"}
"""While there are no faults, nothing times out, however slow the machine is."""


@dataclass(frozen=True)
class Plan:
    """Seed, length and size of a soak."""

    seed: int
    hours: float = 20.0
    """Of faults in each round, simulated."""
    recovery_hours: float = 3.0
    """A refused collector or key is not tried again for an hour or more."""
    servers: int = 10
    changes: int = 3
    """Of each cloud between two steps of time, at most."""


def rng_for(plan: Plan, *whose: str) -> random.Random:
    """Return a generator that does not depend on when others are used."""
    return random.Random(f"{plan.seed} {whose}")  # noqa: S311  # no secrets


@dataclass(eq=False)
class CloudAndPanel:
    """A cloud, its panel, and what happens to both."""

    name: str
    panel: Panel
    activity: CloudActivity
    faults: RandomFaults
    expected: ExpectedMetrics
    keys: dict[str, Any]
    down_until: float | None = None

    def section(self) -> dict[str, Any]:
        """Return the panel's section of the configuration file."""
        account = {"username": self.panel.username, "password_file": self.name}
        return {
            "name": self.name,
            "url": self.panel.url,
            "basic_auth": account,
            "collectors": {"recovery_points": True},
            "poll": POLL,
            **self.keys,
        }

    async def start_panel(self) -> None:
        """Start the panel on the port that it had."""
        self.down_until = None
        port = self.panel.url.rpartition(":")[2]
        await self.panel.start(port=int(port or 0))


def simulated_clouds(plan: Plan) -> list[CloudAndPanel]:
    """Return three clouds with some days of history and different panels."""
    found = []
    ways: tuple[tuple[str, dict[str, Any], dict[str, Any]], ...] = (
        ("json", {"per_page_cap": 20}, {}),
        (
            "xml",
            {"utc_offset": "+03:00", "fractions": True, "xml_nil": "long"},
            {"format": "xml"},
        ),
        ("few", {"gzip": True, "chunked": True, "etags": False}, {}),
    )
    for number, (name, habits, keys) in enumerate(ways):
        world = SimulatedCloud(START - _HISTORY, plan.seed + number)
        activity = CloudActivity.started(
            world, rng_for(plan, name, "life"), plan.servers, plan.changes
        )
        chosen: frozenset[int] | None = None
        if name == "few":
            chosen = activity.permanent = frozenset([1, 2, 3, 4])
            keys["virtual_machines"] = [1, 2, 4, world.servers[3].identifier]
        while world.now < START:
            activity.change_something()
            world.advance(world.now + _HISTORY_STEP)
        panel = Panel(world, password=f"key-of-{name}", **habits)
        expected = ExpectedMetrics(name, world, EndedTransactions(world), chosen)
        found.append(
            CloudAndPanel(
                name,
                panel,
                activity,
                RandomFaults(panel, rng_for(plan, name, "weather")),
                expected,
                keys,
            )
        )
    return found
