"""What was done to the simulated clouds, recorded as it was done.

An incident is a problem or a healthy look-alike. Nothing here has passed through the
exporter.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from exporter.demo.cloud.rows import Target


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
