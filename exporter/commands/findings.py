"""The report of ``check``, and the estimate of what the polling costs a panel.

The fields of the structs are the keys of ``check --format json``: a contract.
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
    """The result of a step, a panel or a whole check."""

    OK = "ok"
    OFF = "off"
    """Switched off, or not used."""
    UNTRIED = "untried"
    """An earlier step failed."""
    DEGRADED = "degraded"
    """Something cannot be read, the rest works."""
    FAILED = "failed"
    """Backups cannot be monitored."""


_EXIT_STATUSES = {StepStatus.DEGRADED: 1, StepStatus.FAILED: 2}


def exit_status(status: StepStatus) -> int:
    """Return the exit status of the process: 0, 1 or 2."""
    return _EXIT_STATUSES.get(status, 0)


def worst_status(statuses: Iterable[StepStatus]) -> StepStatus:
    """Return the worst status: ok, degraded or failed; the others count as ok."""
    result = max(statuses, key=exit_status, default=StepStatus.OK)
    return result if exit_status(result) else StepStatus.OK


class StepResult(msgspec.Struct, frozen=True):
    """The result of one step."""

    step: str
    status: StepStatus
    text: str
    hint: str | None = None
    """What to do about it."""
    http_status: int | None = None
    """Of the last answer; None: there was none."""


class Sample(msgspec.Struct, frozen=True):
    """How reading the backups of some servers went."""

    servers: int
    failed: int
    backups: int


class Cost(msgspec.Struct, frozen=True):
    """The requests that polling makes, by resource."""

    requests_per_pass: dict[str, int]
    """To read everything once, as the first pass does."""
    requests_per_hour: dict[str, float]
    seconds_per_pass: float
    """A lower bound: with the latency of one request at a time."""
    concurrency: int
    """``poll.concurrency``: requests at once."""


class PanelReport(msgspec.Struct, frozen=True):
    """The result of one panel's check."""

    panel: str
    url: str
    status: StepStatus
    checks: tuple[StepResult, ...]
    version: str | None = None
    servers: int | None = None
    """Servers to be read by this exporter, which may be one of several shards."""
    sample: Sample | None = None
    clock_skew_seconds: float | None = None
    """The panel's clock minus this host's."""
    cost: Cost | None = None


class CheckReport(msgspec.Struct, frozen=True):
    """The result of the whole check."""

    exporter_version: str
    status: StepStatus
    error: str | None
    """Why no panel could be tried at all."""
    panels: tuple[PanelReport, ...]


_HOUR_SECONDS = 3600.0
_SEQUENTIAL = (VERSION, VIRTUAL_MACHINES)
"""Read one after the other, before anything else."""


@dataclass(frozen=True, slots=True)
class Workload:
    """How many requests it takes to read a panel."""

    servers: int
    discovery_requests: Mapping[str, int]
    """Requests by resource for the lists that are read at the discovery interval."""
    log_pages: int = 1
    """Pages of the transaction log that the first pass reads."""
    per_server: frozenset[str] = frozenset()
    """The resources that are read of each server, besides its backups."""


def estimate_cost(
    panel: Panel, workload: Workload, latency: Callable[[str], float]
) -> Cost:
    """Estimate the requests that the configuration makes to a panel.

    ``latency`` returns the mean latency of a resource in seconds.
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
        # Later reads stop at entries that are known: on the first page, mostly.
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
