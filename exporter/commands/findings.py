"""What was found out about a panel, as values: what ``check`` prints.

The names of the fields are the keys of ``check --format json``: a contract.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable

import msgspec


class Status(enum.StrEnum):
    """How something stands."""

    OK = "ok"
    OFF = "off"
    """Not wanted, or not used."""
    UNTRIED = "untried"
    """Something before it failed."""
    DEGRADED = "degraded"
    """Something is missing, the rest works."""
    FAILED = "failed"
    """Backups cannot be watched."""


_GRAVITY = {Status.DEGRADED: 1, Status.FAILED: 2}


def gravity(status: Status) -> int:
    """Return the exit status that a status stands for: 0, 1 or 2."""
    return _GRAVITY.get(status, 0)


def worst(statuses: Iterable[Status]) -> Status:
    """Return the worst of them: ok, degraded or failed."""
    bad = max(statuses, key=gravity, default=Status.OK)
    return bad if gravity(bad) else Status.OK


class Finding(msgspec.Struct, frozen=True):
    """What one step has shown."""

    step: str
    status: Status
    text: str
    hint: str | None = None
    """What to do about it."""
    http_status: int | None = None
    """The last answer's; None: there was none."""


class Sample(msgspec.Struct, frozen=True):
    """The servers whose backups were read to see whether that works."""

    servers: int
    failed: int
    backups: int


class Cost(msgspec.Struct, frozen=True):
    """What the polling asks of a panel, by resource."""

    requests_per_pass: dict[str, int]
    """Everything once, as a first pass does."""
    requests_per_hour: dict[str, float]
    seconds_per_pass: float
    """At the latency of one request at a time: the least it takes."""
    concurrency: int
    """``poll.concurrency``, so many requests at once."""


class PanelFindings(msgspec.Struct, frozen=True):
    """What was found out about one panel."""

    panel: str
    url: str
    status: Status
    checks: tuple[Finding, ...]
    version: str | None = None
    servers: int | None = None
    """Servers to be read by this exporter, which may be one of several shards."""
    sample: Sample | None = None
    clock_skew_seconds: float | None = None
    """The panel's clock minus ours."""
    cost: Cost | None = None


class Findings(msgspec.Struct, frozen=True):
    """What was found out in all."""

    exporter_version: str
    status: Status
    error: str | None
    """Why no panel could be tried at all."""
    panels: tuple[PanelFindings, ...]
