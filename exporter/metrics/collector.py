"""The table of all metrics as a standard prometheus-client Collector.

It serves to embed the exporter into another registry. ``/metrics`` itself is rendered
by ``exposition`` from the same table, many times faster.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from ..clock import Clock, Now
from ..config.schema import Detail
from ..health.server import JudgedServers
from ..model.store import Store
from . import FAMILIES
from .backup import age_seconds
from .family import (
    AgeFamily,
    AnyFamily,
    HealthFamily,
    PanelFamily,
    PanelView,
    Sample,
    ServerFamily,
    ServerView,
    server_view,
)


@dataclass(slots=True, eq=False)
class BackupCollector(Collector):
    """Collector that builds all families from the store at every collection."""

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
            views = [view for view in found if view]
            panels.append((PanelView(panel, now, healths), views))
        for family in FAMILIES:
            metric = _empty_metric(family)
            for panel_view, views in panels:
                for values, value in _samples(family, panel_view, views):
                    labels = dict(zip(family.labels, values, strict=True))
                    metric.add_sample(family.name, labels, value)
            if metric.samples:
                yield metric

    def describe(self) -> Iterable[Metric]:
        """Yield every family without samples, so that registration collects nothing."""
        return map(_empty_metric, FAMILIES)


def _empty_metric(family: AnyFamily) -> Metric:
    # A counter's samples end in _total; the name of its family does not.
    name = family.name
    if family.type == "counter":
        name = name.removesuffix("_total")
    return Metric(name, family.help, family.type)


def _samples(
    family: AnyFamily, panel: PanelView, servers: list[ServerView]
) -> Iterable[Sample]:
    subjects: Iterable[Any] = servers
    more: Iterable[Sample] = ()
    if isinstance(family, PanelFamily):
        subjects = (panel,)
    elif isinstance(family, HealthFamily):
        subjects, more = panel.healths.values(), family.read_rows(panel)
    elif isinstance(family, ServerFamily):
        subjects = (health.state for health in panel.healths.values())
    samples = chain(chain.from_iterable(map(family.samples, subjects)), more)
    if isinstance(family, AgeFamily):
        return ((labels, age_seconds(panel.now.time, at)) for labels, at in samples)
    return samples
