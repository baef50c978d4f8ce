"""Random faults of a panel, repeatable by the seed."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field

import faults
from builders import HOUR, MINUTE
from fault_matrix.effects import SCOPES, UNAUTHORIZED
from fault_matrix.matrix import CONNECTION, CONTENT, FAULTS, FaultCase
from faults import ActiveFault
from faulty_panel import Panel

_FAULTS = (
    *(fault for fault in FAULTS.values() if fault.effect not in (CONNECTION, CONTENT)),
    FaultCase("some bad rows", CONTENT, make=lambda: faults.bad_rows(0.3)),
)
"""Those of the fault matrix after which all is as before, and one more."""
_COST_REAL_TIME = {"timeout", "too_large"}


@dataclass(eq=False)
class RandomFaults:
    """Random faults of one panel."""

    panel: Panel
    rng: random.Random
    counts: Counter[str] = field(default_factory=Counter)
    """How many faults of each kind there were."""
    affected_requests: Counter[str] = field(default_factory=Counter)
    """How many requests each kind affected."""
    _active: list[tuple[float, str, ActiveFault]] = field(default_factory=list)

    def change(self, now: float) -> None:
        """End the faults whose time is over, and begin others."""
        for entry in [entry for entry in self._active if entry[0] <= now]:
            self._end(entry)
        if self.rng.random() < 0.5:
            self._begin(now)

    def clear(self) -> None:
        """End all faults."""
        for entry in list(self._active):
            self._end(entry)

    def _end(self, entry: tuple[float, str, ActiveFault]) -> None:
        self._active.remove(entry)
        _, kind, placed = entry
        placed.remove()
        self.affected_requests[kind] += placed.happened

    def _begin(self, now: float) -> None:
        rng = self.rng
        fault = rng.choice(_FAULTS)
        times = rng.choice([None, 1, 5, 20])
        if fault.reason in _COST_REAL_TIME:
            times = rng.randint(1, 3)
        if fault.effect == UNAUTHORIZED:
            times = 1  # It stops polling for ten minutes or more.
        scope = dict(rng.choice([*SCOPES.values()]).fault_arguments)
        if "server_id" in scope:
            scope["server_id"] = rng.choice(sorted(self.panel.cloud.servers))
        placed = self.panel.faults.add(fault.demo_fault(), times=times, **scope)
        lasts = rng.choice([2 * MINUTE, 10 * MINUTE, 40 * MINUTE, 2 * HOUR])
        self._active.append((now + lasts, fault.name, placed))
        self.counts[fault.name] += 1
