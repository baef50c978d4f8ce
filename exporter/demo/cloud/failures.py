"""What can go wrong with backups in the simulated cloud."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from .rows import Target

Kind = Literal["skip", "stall", "fail", "vanish", "stick", "wait", "slow", "resize"]
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
class Misfortune:
    """One trouble and what it befalls; what is not given befalls everything."""

    kind: Kind
    server_id: int | None = None
    target: Target | None = None
    schedule_id: int | None = None
    times: int | None = None
    """How many more times it strikes; None = until it is mended."""
    factor: float = 1.0
    seconds: float = 0.0

    def befalls(self, server_id: int, target: Target, schedule_id: int | None) -> bool:
        """Say whether a take is concerned."""
        return (
            self.server_id in (None, server_id)
            and self.target in (None, target)
            and self.schedule_id in (None, schedule_id)
        )


class Misfortunes:
    """The troubles of the moment."""

    def __init__(self, ended: Callable[[Misfortune], None]) -> None:
        """Begin without any; `ended` is told of each that ceases."""
        self.present: list[Misfortune] = []
        self._ended = ended

    def strike(
        self, kind: Kind, server_id: int, target: Target, schedule_id: int | None
    ) -> Misfortune | None:
        """Return the trouble of that kind that befalls a take, and count it."""
        for trouble in self.present:
            if trouble.kind == kind and trouble.befalls(server_id, target, schedule_id):
                self._spend(trouble)
                return trouble
        return None

    def mend(self, trouble: Misfortune) -> None:
        """End a trouble, if it has not ended by itself."""
        if trouble in self.present:
            self.present.remove(trouble)
            self._ended(trouble)

    def _spend(self, trouble: Misfortune) -> None:
        if trouble.times is None:
            return
        trouble.times -= 1
        if trouble.times <= 0:
            self.mend(trouble)
