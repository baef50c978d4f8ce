"""The table of all metrics as a standard prometheus-client Collector.

For embedding the exporter into another registry. ``/metrics`` itself is rendered by
``exposition`` from the same table, many times faster.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from ..clock import Clock, Now
from ..config.schema import Detail
from ..model.store import PanelStore, Store
from . import FAMILIES
from .backup import age_seconds
from .family import (
    AgeFamily,
    BackupsFamily,
    Family,
    PanelFamily,
    Sample,
    ServerFamily,
    ServerView,
    server_view,
)


@dataclass(slots=True, eq=False)
class BackupCollector(Collector):
    """Builds all families from the store at every collection."""

    store: Store
    clock: Clock
    detail: Detail

    def collect(self) -> Iterator[Metric]:
        """Yield every family that has samples."""
        now = Now(self.clock.time(), self.clock.monotonic())
        panels = [
            (panel, self._server_views(panel, now))
            for panel in self.store.panels.values()
        ]
        for family in FAMILIES:
            metric = _empty_metric(family)
            for panel, views in panels:
                for values, value in _samples(family, panel, views, now):
                    labels = dict(zip(family.labels, values, strict=True))
                    metric.add_sample(family.name, labels, value)
            if metric.samples:
                yield metric

    def _server_views(self, panel: PanelStore, now: Now) -> list[ServerView]:
        return [
            server_view(entry.state, self.detail)
            for entry in panel.servers.values()
            if panel.is_fresh(entry, now.monotonic)
        ]

    def describe(self) -> Iterable[Metric]:
        """Yield every family without samples, so that registering collects nothing."""
        return map(_empty_metric, FAMILIES)


def _empty_metric(family: Family) -> Metric:
    # A counter's samples end in _total, its own name does not.
    name = family.name
    if family.type == "counter":
        name = name.removesuffix("_total")
    return Metric(name, family.help, family.type)


def _samples(
    family: Family, panel: PanelStore, views: list[ServerView], now: Now
) -> Iterable[Sample]:
    if isinstance(family, PanelFamily):
        return family.samples(panel, now)
    if isinstance(family, ServerFamily):
        return chain.from_iterable(map(family.samples, panel.server_states()))
    if not isinstance(family, BackupsFamily):
        return ()
    samples = chain.from_iterable(map(family.samples, views))
    if isinstance(family, AgeFamily):
        return ((labels, age_seconds(now.time, at)) for labels, at in samples)
    return samples
