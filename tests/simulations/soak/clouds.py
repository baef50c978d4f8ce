"""The three simulated clouds of a soak, with their history."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from builders import DAY, MINUTE
from clouds import RandomCloud, panel_of, rng_for
from expected_metrics import ExpectedMetrics
from truth import EndedTransactions, Truth

from exporter.demo.cloud.simulation import SimulatedCloud
from soak.random_faults import RandomFaults

START = 1_800_014_400.0
_HISTORY = 10 * DAY
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


@dataclass(eq=False)
class CloudAndPanel(RandomCloud):
    """A cloud, its panel, and what happens to both."""

    faults: RandomFaults = field(init=False)
    expected: ExpectedMetrics = field(init=False)
    down_until: float | None = None

    async def start_panel(self) -> None:
        """Start the panel on the port that it had."""
        self.down_until = None
        await self.panel.start_again()


_WAYS: tuple[tuple[str, dict[str, Any], dict[str, Any]], ...] = (
    ("json", {"per_page_cap": 20}, {}),
    (
        "xml",
        {"utc_offset": "+03:00", "fractions": True, "xml_nil": "long"},
        {"format": "xml"},
    ),
    ("few", {"gzip": True, "chunked": True, "etags": False}, {}),
)
"""Names, options of the panels, and keys of their sections."""


def simulated_clouds(plan: Plan) -> list[CloudAndPanel]:
    """Return three clouds with some days of history and different panels."""
    found = []
    for number, (name, options, keys) in enumerate(_WAYS):
        world = SimulatedCloud(START - _HISTORY, plan.seed + number)
        panel = panel_of(name, world, (500, 1000, 1500), **options)
        cloud = CloudAndPanel(
            *(name, panel, rng_for(plan.seed, name, "life")),
            {"collectors": {"recovery_points": True}, **keys},
            most_servers=plan.servers + 4,
        )
        for _ in range(plan.servers):
            cloud.create_server()
        chosen: frozenset[int] | None = None
        if name == "few":
            chosen = cloud.permanent = frozenset([1, 2, 3, 4])
            cloud.keys["virtual_machines"] = [1, 2, 4, world.servers[3].identifier]
        while world.now < START:
            cloud.change_something(plan.changes)
            world.advance(world.now + _HISTORY_STEP)
        cloud.faults = RandomFaults(panel, rng_for(plan.seed, name, "weather"))
        cloud.expected = ExpectedMetrics(
            name, Truth(world, chosen), EndedTransactions(world)
        )
        found.append(cloud)
    return found
