"""What can go wrong with backups in the simulated cloud."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from .rows import Target

FailureKind = Literal[
    "skip", "stall", "fail", "vanish", "stick", "wait", "slow", "resize"
]
"""skip    a start passes without a backup, and nothing says so
stall   a start does not happen and stays due
fail    a take fails and leaves its row unbuilt
vanish  a take fails and its row goes
stick   a take runs for ever
wait    a take waits longer in the queue, by `seconds`
slow    a take runs longer, by `factor`
resize  a take is larger or smaller, by `factor`
"""


@dataclass(slots=True, eq=False)
class Failure:
    """One trouble and what it befalls; what is not given befalls everything."""

    kind: FailureKind
    server_id: int | None = None
    target: Target | None = None
    schedule_id: int | None = None
    remaining: int | None = None
    """How many more times it strikes; None = until it is mended."""
    factor: float = 1.0
    seconds: float = 0.0

    def matches(self, server_id: int, target: Target, schedule_id: int | None) -> bool:
        """Say whether a take is concerned."""
        return (
            self.server_id in (None, server_id)
            and self.target in (None, target)
            and self.schedule_id in (None, schedule_id)
        )


class Failures:
    """The troubles of the moment."""

    def __init__(self, on_end: Callable[[Failure], None]) -> None:
        """Begin without any; `ended` is told of each that ceases."""
        self.active: list[Failure] = []
        self._on_end = on_end

    def apply(
        self, kind: FailureKind, server_id: int, target: Target, schedule_id: int | None
    ) -> Failure | None:
        """Return the trouble of that kind that befalls a take, and count it."""
        for failure in self.active:
            if failure.kind == kind and failure.matches(server_id, target, schedule_id):
                self._count(failure)
                return failure
        return None

    def end(self, failure: Failure) -> None:
        """End a trouble, if it has not ended by itself."""
        if failure in self.active:
            self.active.remove(failure)
            self._on_end(failure)

    def _count(self, failure: Failure) -> None:
        if failure.remaining is None:
            return
        failure.remaining -= 1
        if failure.remaining <= 0:
            self.end(failure)
