"""What was found out about a panel, as values: what ``check`` prints.

The names of the fields are the keys of ``check --format json``: a contract.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import msgspec

from ..config.schema import Panel
from ..model.entities import BACKUPS, TRANSACTIONS, VERSION, VIRTUAL_MACHINES
from ..polling.manager import transactions_interval_seconds


class StepStatus(enum.StrEnum):
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


_GRAVITY = {StepStatus.DEGRADED: 1, StepStatus.FAILED: 2}


def gravity(status: StepStatus) -> int:
    """Return the exit status that a status stands for: 0, 1 or 2."""
    return _GRAVITY.get(status, 0)


def worst(statuses: Iterable[StepStatus]) -> StepStatus:
    """Return the worst of them: ok, degraded or failed."""
    bad = max(statuses, key=gravity, default=StepStatus.OK)
    return bad if gravity(bad) else StepStatus.OK


class StepResult(msgspec.Struct, frozen=True):
    """What one step has shown."""

    step: str
    status: StepStatus
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


class PanelReport(msgspec.Struct, frozen=True):
    """What was found out about one panel."""

    panel: str
    url: str
    status: StepStatus
    checks: tuple[StepResult, ...]
    version: str | None = None
    servers: int | None = None
    """Servers to be read by this exporter, which may be one of several shards."""
    sample: Sample | None = None
    clock_skew_seconds: float | None = None
    """The panel's clock minus ours."""
    cost: Cost | None = None


class CheckReport(msgspec.Struct, frozen=True):
    """What was found out in all."""

    exporter_version: str
    status: StepStatus
    error: str | None
    """Why no panel could be tried at all."""
    panels: tuple[PanelReport, ...]


_HOUR_SECONDS = 3600.0
_ONE_AFTER_ANOTHER = (VERSION, VIRTUAL_MACHINES)
"""Asked before anything else can be."""


@dataclass(frozen=True, slots=True)
class Workload:
    """How much there is to ask for."""

    servers: int
    once: Mapping[str, int]
    """Requests for what is read at the discovery interval: pages, or servers named."""
    log_pages: int = 1
    """How far back the log of transactions is read at first."""
    one_by_one: frozenset[str] = frozenset()
    """What is asked with each server's backups."""


def cost(panel: Panel, work: Workload, latency: Callable[[str], float]) -> Cost:
    """Estimate what the configuration asks of a panel.

    ``latency`` returns the seconds to an answer about a resource.
    """
    each_server = (BACKUPS, *sorted(work.one_by_one))
    a_pass = {**work.once, **dict.fromkeys(each_server, work.servers)}
    intervals: dict[str, float] = {
        **dict.fromkeys(work.once, panel.discovery_interval),
        **dict.fromkeys(each_server, panel.poll.interval),
    }
    if panel.collectors.transactions:
        a_pass[TRANSACTIONS] = work.log_pages
        # Later readings end where the one before began: on the first page, mostly.
        often = transactions_interval_seconds(panel) * work.log_pages
        intervals[TRANSACTIONS] = often
    first = sum(a_pass.get(r, 0) * latency(r) for r in _ONE_AFTER_ANOTHER)
    rest = sum(n * latency(r) for r, n in a_pass.items() if r not in _ONE_AFTER_ANOTHER)
    return Cost(
        requests_per_pass=a_pass,
        requests_per_hour={
            resource: round(number * _HOUR_SECONDS / intervals[resource], 1)
            for resource, number in a_pass.items()
        },
        seconds_per_pass=round(first + rest / panel.poll.concurrency, 3),
        concurrency=panel.poll.concurrency,
    )
