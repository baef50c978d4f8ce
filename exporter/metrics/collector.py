"""The table of all metrics as a standard prometheus-client Collector.

For embedding the exporter into another registry. ``/metrics`` itself is rendered by
``exposition`` from the same table, many times faster.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, cast

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from ..clock import Clock, Now
from ..config.schema import Detail
from ..health.server import JudgedServers, ServerHealth
from ..model.store import PanelStore, Store
from . import FAMILIES
from .backup import age_seconds
from .family import (
    AgeFamily,
    CachedFamily,
    CountFamily,
    Family,
    HealthFamily,
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
        panels = []
        for panel in self.store.panels.values():
            healths = JudgedServers().update(panel, now)
            found = (server_view(each, self.detail) for each in healths.values())
            panels.append((panel, healths, [view for view in found if view]))
        for family in FAMILIES:
            metric = _empty_metric(family)
            for panel, healths, views in panels:
                for values, value in _samples(family, panel, healths, views, now):
                    labels = dict(zip(family.labels, values, strict=True))
                    metric.add_sample(family.name, labels, value)
            if metric.samples:
                yield metric

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
    family: Family,
    panel: PanelStore,
    healths: Mapping[int, ServerHealth],
    views: list[ServerView],
    now: Now,
) -> Iterable[Sample]:
    if isinstance(family, PanelFamily):
        return family.samples(panel, now)
    if isinstance(family, CountFamily):
        return family.samples(panel, healths)
    if isinstance(family, HealthFamily):
        judged = chain.from_iterable(map(family.samples, healths.values()))
        return chain(judged, family.read_rows(panel))
    subjects: Iterable[Any] = views
    if isinstance(family, ServerFamily):
        subjects = panel.server_states()
    cached = cast("CachedFamily[Any, Any]", family)
    samples = chain.from_iterable(map(cached.samples, subjects))
    if isinstance(family, AgeFamily):
        return ((labels, age_seconds(now.time, at)) for labels, at in samples)
    return samples
