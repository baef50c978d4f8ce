"""Counting the requests to panels, to tell of them afterwards."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class Tally:
    """What one panel was asked, by resource, and how it answered."""

    requests: Counter[str] = field(default_factory=Counter)
    """The answers that came."""
    seconds: dict[str, float] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    """The HTTP status of the last answer."""
    unreadable: Counter[str] = field(default_factory=Counter)
    """Rows that could not be used."""

    def answered(self, resource: str, status: int, seconds: float) -> None:
        """Count an answer."""
        self.requests[resource] += 1
        self.seconds[resource] = self.seconds.get(resource, 0.0) + seconds
        self.statuses[resource] = status

    def failed(self, resource: str, reason: str) -> None:
        """Leave failures to whoever asked."""

    def skipped(self, resource: str, rows: int) -> None:
        """Count rows that could not be used."""
        self.unreadable[resource] += rows

    def latency_seconds(self, resource: str | None = None) -> float:
        """Return the mean time to an answer, of a resource if it was asked at all."""
        if resource is not None and self.requests[resource]:
            return self.seconds[resource] / self.requests[resource]
        return sum(self.seconds.values()) / max(1, self.requests.total())


@dataclass(slots=True, eq=False)
class Tallies:
    """A tally for each panel."""

    by_panel: dict[str, Tally] = field(default_factory=dict)

    def panel(self, name: str) -> Tally:
        """Return a panel's."""
        return self.by_panel.setdefault(name, Tally())

    def forget(self, panel: str) -> None:
        """Drop a panel's."""
        self.by_panel.pop(panel, None)
