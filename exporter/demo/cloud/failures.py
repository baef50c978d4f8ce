"""Failures of backups, injected into the simulated cloud."""

from dataclasses import dataclass
from typing import Literal

from .rows import Target

FailureKind = Literal[
    "skip", "stall", "fail", "vanish", "stick", "wait", "slow", "resize"
]
"""skip    a start passes without a backup, and is not reported
stall   a start does not happen and stays due
fail    a backup run fails and leaves its row unbuilt
vanish  a backup run fails and its row is deleted
stick   a backup run never ends
wait    a backup run waits longer in the queue, by `seconds`
slow    a backup run takes longer, by `factor`
resize  a backup is larger or smaller, by `factor`
"""


@dataclass(slots=True, eq=False)
class Failure:
    """One injected failure; a scope that is None includes everything."""

    kind: FailureKind
    server_id: int | None = None
    target: Target | None = None
    schedule_id: int | None = None
    remaining: int | None = None
    """Number of remaining occurrences; None = unlimited until it is ended."""
    factor: float = 1.0
    seconds: float = 0.0

    def matches(
        self,
        kind: FailureKind,
        server_id: int,
        target: Target,
        schedule_id: int | None,
    ) -> bool:
        """Return whether the kind is the same and a start or run is in scope."""
        return (
            self.kind == kind
            and self.server_id in (None, server_id)
            and self.target in (None, target)
            and self.schedule_id in (None, schedule_id)
        )
