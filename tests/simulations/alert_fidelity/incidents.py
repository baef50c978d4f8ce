"""What was done to the simulated clouds, recorded as it was done.

An incident is a problem or a healthy look-alike. The history of a simulated world says
what became of each backup. Nothing here has passed through the exporter.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from exporter.demo.cloud.rows import LoggedEvent, Target


@dataclass(eq=True)
class Incident:
    """A problem, or something healthy that looks like one."""

    kind: str
    panel: str
    begins: float
    """In Unix seconds, as all moments are."""
    ends: float | None = None
    """None: not before the end of the run."""
    vm_id: int | None = None
    target: Target | None = None
    labels: dict[str, str] = field(default_factory=dict)
    """Further labels that its alert must have."""
    interval_seconds: float = 86_400.0
    """How often its target is to be backed up."""

    def alert_labels(self, level: str) -> dict[str, str]:
        """Return the labels that its alert must have."""
        found = {**self.labels}
        if level != "job" and self.panel:
            found["panel"] = self.panel
        if level in ("server", "target") and self.vm_id is not None:
            found["vm_id"] = str(self.vm_id)
        if level == "target" and self.target is not None:
            found["target_type"] = self.target.type
            found["target_id"] = str(self.target.id)
        return found

    def __str__(self) -> str:
        """Return kind, panel, server and target."""
        where = [self.panel, f"server {self.vm_id}" if self.vm_id else ""]
        where += [" ".join(map(str, self.target))] if self.target else []
        return f"{self.kind} ({', '.join(part for part in where if part)})"


_MOMENTS = {
    "backup queued": "queued",
    "backup finished": "finished",
    "backup failed": "failed",
    "start stalled": "stalled",
    "schedule failed": "given up",
}


@dataclass(eq=False)
class BackupHistory:
    """The history of one world's backups, by target, and by server."""

    _moments: dict[tuple[str, Target | int | None], list[float]] = field(
        default_factory=lambda: defaultdict(list)
    )
    _queued: dict[int, float] = field(default_factory=dict)
    _stuck: dict[Target, list[tuple[float, int]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    _queued_runs: list[tuple[float, Target, int]] = field(default_factory=list)
    _ends: list[float] = field(default_factory=list)

    @classmethod
    def of(cls, transaction_log: Iterable[LoggedEvent]) -> BackupHistory:
        """Return the history that a world's journal tells."""
        found = cls()
        for entry in transaction_log:
            if entry.target is None or entry.kind not in (*_MOMENTS, "backup stuck"):
                continue
            if entry.kind == "backup stuck":
                found._stuck[entry.target].append((entry.at, entry.row_id or 0))
                continue
            for subject in (entry.target, entry.server_id):
                found._moments[_MOMENTS[entry.kind], subject].append(entry.at)
            if entry.kind == "backup queued":
                found._queued[entry.row_id or 0] = entry.at
                found._queued_runs.append(
                    (entry.at, entry.target, entry.server_id or 0)
                )
            if entry.kind in ("backup finished", "backup failed"):
                found._ends.append(entry.at)
        return found

    def first(
        self, what: str, subject: Target | int | None, after: float
    ) -> float | None:
        """Return the first moment of a kind at or after another."""
        moments = self._moments[what, subject]
        index = bisect_left(moments, after)
        return moments[index] if index < len(moments) else None

    def last(self, what: str, target: Target, before: float) -> float | None:
        """Return the last moment of a kind at or before another."""
        moments = self._moments[what, target]
        index = bisect_right(moments, before)
        return moments[index - 1] if index else None

    def stuck_since(self, target: Target, after: float) -> float | None:
        """Return when the first backup that got stuck after a moment was queued."""
        for at, row_id in self._stuck[target]:
            if at >= after:
                return self._queued[row_id]
        return None

    def idle_since(self, moment: float) -> float | None:
        """Return since when backups wait in a queue that stands still.

        That is when the last one ended, or the first began to wait; with one alone it
        is not the queue that stands still.
        """
        waiting = [at for at, _, _ in self._queued_runs if at >= moment]
        if len(waiting) < 2:
            return None
        ended = [at for at in self._ends if moment <= at < moment + 6 * 3600]
        return max([moment, *ended[-1:], waiting[0], waiting[1] - 6 * 3600])

    def last_end_before(self, moment: float) -> float:
        """Return when the last backup run before a moment ended."""
        return max([at for at in self._ends if at <= moment], default=0.0)

    def queued_between(
        self, begins: float, ends: float
    ) -> Iterator[tuple[float, Target, int]]:
        """Yield moment, target and server of each backup queued in a period."""
        return (
            backup_run
            for backup_run in self._queued_runs
            if begins <= backup_run[0] < ends
        )
