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


_EXIT_STATUSES = {StepStatus.DEGRADED: 1, StepStatus.FAILED: 2}


def exit_status(status: StepStatus) -> int:
    """Return the exit status that a status stands for: 0, 1 or 2."""
    return _EXIT_STATUSES.get(status, 0)


def worst_status(statuses: Iterable[StepStatus]) -> StepStatus:
    """Return the worst of them: ok, degraded or failed."""
    result = max(statuses, key=exit_status, default=StepStatus.OK)
    return result if exit_status(result) else StepStatus.OK


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
_SEQUENTIAL = (VERSION, VIRTUAL_MACHINES)
"""Asked before anything else can be."""


@dataclass(frozen=True, slots=True)
class Workload:
    """How much there is to ask for."""

    servers: int
    discovery_requests: Mapping[str, int]
    """Requests for what is read at the discovery interval: pages, or servers named."""
    log_pages: int = 1
    """How far back the log of transactions is read at first."""
    per_server: frozenset[str] = frozenset()
    """What is asked with each server's backups."""


def estimate_cost(
    panel: Panel, workload: Workload, latency: Callable[[str], float]
) -> Cost:
    """Estimate what the configuration asks of a panel.

    ``latency`` returns the seconds to an answer about a resource.
    """
    per_server = (BACKUPS, *sorted(workload.per_server))
    requests_per_pass = {
        **workload.discovery_requests,
        **dict.fromkeys(per_server, workload.servers),
    }
    intervals: dict[str, float] = {
        **dict.fromkeys(workload.discovery_requests, panel.discovery_interval),
        **dict.fromkeys(per_server, panel.poll.interval),
    }
    if panel.collectors.transactions:
        requests_per_pass[TRANSACTIONS] = workload.log_pages
        # Later readings end where the one before began: on the first page, mostly.
        log_interval = transactions_interval_seconds(panel) * workload.log_pages
        intervals[TRANSACTIONS] = log_interval
    sequential = sum(requests_per_pass.get(r, 0) * latency(r) for r in _SEQUENTIAL)
    concurrent = sum(
        n * latency(r) for r, n in requests_per_pass.items() if r not in _SEQUENTIAL
    )
    return Cost(
        requests_per_pass=requests_per_pass,
        requests_per_hour={
            resource: round(number * _HOUR_SECONDS / intervals[resource], 1)
            for resource, number in requests_per_pass.items()
        },
        seconds_per_pass=round(sequential + concurrent / panel.poll.concurrency, 3),
        concurrency=panel.poll.concurrency,
    )
