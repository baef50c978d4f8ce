"""What polling a panel costs it: requests a pass and an hour, by resource."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..config.settings import Panel
from ..model.entities import BACKUPS, TRANSACTIONS, VERSION, VIRTUAL_MACHINES
from ..polling.planner import transactions_seconds
from .findings import Cost

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
        often = transactions_seconds(panel) * work.log_pages
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
