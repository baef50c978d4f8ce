"""Failures of backups, injected into the simulated cloud."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from .rows import Target

FailureKind = Literal[
    "skip", "stall", "fail", "vanish", "stick", "wait", "slow", "resize"
]
"""skip    a start passes without a backup, and nothing reports it
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
    """How many more times it happens; None = until it is ended."""
    factor: float = 1.0
    seconds: float = 0.0

    def matches(self, server_id: int, target: Target, schedule_id: int | None) -> bool:
        """Return whether a start or a backup run is in its scope."""
        return (
            self.server_id in (None, server_id)
            and self.target in (None, target)
            and self.schedule_id in (None, schedule_id)
        )


class Failures:
    """The failures that are active now."""

    def __init__(self, on_end: Callable[[Failure], None]) -> None:
        """Begin without any; `on_end` is called with each that ends."""
        self.active: list[Failure] = []
        self._on_end = on_end

    def apply(
        self, kind: FailureKind, server_id: int, target: Target, schedule_id: int | None
    ) -> Failure | None:
        """Return the first active failure of a kind in scope, and count it."""
        for failure in self.active:
            if failure.kind == kind and failure.matches(server_id, target, schedule_id):
                self._count(failure)
                return failure
        return None

    def end(self, failure: Failure) -> None:
        """End a failure, if it has not ended by itself."""
        if failure in self.active:
            self.active.remove(failure)
            self._on_end(failure)

    def _count(self, failure: Failure) -> None:
        if failure.remaining is None:
            return
        failure.remaining -= 1
        if failure.remaining <= 0:
            self.end(failure)
