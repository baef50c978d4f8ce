"""The exporter's own metrics: requests to panels, errors, reloads, the process.

prometheus-client keeps them in a separate registry. ``OWN_FAMILIES`` declares each
family once; ``docs/metrics.md`` uses it too.
"""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.metrics import MetricWrapperBase

from ..errors import reasons
from ..model.entities import RESOURCES
from ..model.selection import Shard

_REQUEST_LABELS = ("panel", "resource")


@dataclass(frozen=True, slots=True)
class OwnFamily:
    """One family about the exporter itself."""

    metric_class: type[Counter | Gauge | Histogram]
    name: str
    help: str
    labels: tuple[str, ...] = ()

    @property
    def type(self) -> str:
        """Return the type by its name in the exposition formats."""
        return self.metric_class.__name__.lower()


REQUESTS = OwnFamily(
    Counter,
    "onapp_api_requests_total",
    "Number of requests that the panel answered, by HTTP status code.",
    (*_REQUEST_LABELS, "code"),
)
ERRORS = OwnFamily(
    Counter,
    "onapp_api_errors_total",
    "Number of requests to the panel without a usable answer, by reason.",
    (*_REQUEST_LABELS, "reason"),
)
ROWS_SKIPPED = OwnFamily(
    Counter,
    "onapp_api_rows_skipped_total",
    "Number of unusable rows in the panel's answers.",
    _REQUEST_LABELS,
)
REQUEST_DURATION = OwnFamily(
    Histogram,
    "onapp_api_request_duration_seconds",
    "Time in seconds until the panel's answer was complete.",
    _REQUEST_LABELS,
)
BUILD_INFO = OwnFamily(
    Gauge,
    "onapp_exporter_build_info",
    "Information about the exporter: its version; always 1.",
    ("version",),
)
SHARD_INFO = OwnFamily(
    Gauge,
    "onapp_exporter_shard_info",
    "Information about the share of servers that this exporter reads; always 1.",
    ("shard", "total_shards"),
)
SHARDS = OwnFamily(
    Gauge,
    "onapp_exporter_shards",
    "Number of exporters that share the servers of each panel.",
)
RELOAD_SUCCESSFUL = OwnFamily(
    Gauge,
    "onapp_exporter_config_last_reload_successful",
    "Whether the last reload of the configuration succeeded.",
)
RELOAD_TIMESTAMP = OwnFamily(
    Gauge,
    "onapp_exporter_config_last_reload_success_timestamp_seconds",
    "Unix time of the last successful reload of the configuration.",
)
OWN_FAMILIES = (
    REQUESTS,
    ERRORS,
    ROWS_SKIPPED,
    REQUEST_DURATION,
    BUILD_INFO,
    SHARD_INFO,
    SHARDS,
    RELOAD_SUCCESSFUL,
    RELOAD_TIMESTAMP,
)

_SUCCESS_CODES = ("200", "304")
_DURATION_BUCKETS_SECONDS = (
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    20.0,
    30.0,
    60.0,
)
"""A panel typically needs 0.02 to 0.5 s; the longest recorded answer took 26 s."""


class ExporterMetrics:
    """The exporter's own metrics, and the registry that holds them."""

    def __init__(self, *, version: str, shard: Shard) -> None:
        """Register all families in a new registry."""
        disable_created_metrics()  # type: ignore[no-untyped-call]
        # Auto-described so that name[] also finds the process metrics.
        self.registry = CollectorRegistry(auto_describe=True)
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self.requests = Counter(*_metric_arguments(REQUESTS), registry=self.registry)
        self.errors = Counter(*_metric_arguments(ERRORS), registry=self.registry)
        self.rows_skipped = Counter(
            *_metric_arguments(ROWS_SKIPPED), registry=self.registry
        )
        self.request_duration = Histogram(
            *_metric_arguments(REQUEST_DURATION),
            buckets=_DURATION_BUCKETS_SECONDS,
            registry=self.registry,
        )
        build_info = Gauge(*_metric_arguments(BUILD_INFO), registry=self.registry)
        build_info.labels(version).set(1)
        shard_info = Gauge(*_metric_arguments(SHARD_INFO), registry=self.registry)
        shard_info.labels(str(shard.number), str(shard.total)).set(1)
        Gauge(*_metric_arguments(SHARDS), registry=self.registry).set(shard.total)
        self._reload_successful = Gauge(
            *_metric_arguments(RELOAD_SUCCESSFUL), registry=self.registry
        )
        self._reload_timestamp = Gauge(
            *_metric_arguments(RELOAD_TIMESTAMP), registry=self.registry
        )

    def panel(self, name: str) -> PanelRequestMetrics:
        """Return the metrics of one panel, with all known series at 0."""
        for resource in RESOURCES:
            for code in _SUCCESS_CODES:
                self.requests.labels(name, resource, code)
            self.rows_skipped.labels(name, resource)
            self.request_duration.labels(name, resource)
            for reason in reasons():
                self.errors.labels(name, resource, reason)
        return PanelRequestMetrics(self, name)

    def forget(self, panel: str) -> None:
        """Remove the series of a panel that is no longer configured."""
        families: tuple[MetricWrapperBase, ...] = (
            self.requests,
            self.errors,
            self.rows_skipped,
            self.request_duration,
        )
        for family in families:
            family.remove_by_labels({"panel": panel})

    def panel_errors(self, panel: str) -> dict[str, int]:
        """Return the number of failed requests to a panel, by reason."""
        counts = dict.fromkeys(reasons(), 0)
        for metric in self.errors.collect():
            for sample in metric.samples:
                if sample.labels["panel"] == panel:
                    counts[sample.labels["reason"]] += int(sample.value)
        return counts

    def record_reload(self, *, time: float | None) -> None:
        """Record a configuration load at the Unix time ``time``; None: it failed."""
        self._reload_successful.set(time is not None)
        if time is not None:
            self._reload_timestamp.set(time)


@dataclass(frozen=True, slots=True)
class PanelRequestMetrics:
    """The metrics of requests to one panel."""

    own_metrics: ExporterMetrics
    panel: str

    def observe_response(self, resource: str, status: int, seconds: float) -> None:
        """Count a response."""
        self.own_metrics.requests.labels(self.panel, resource, str(status)).inc()
        self.own_metrics.request_duration.labels(self.panel, resource).observe(seconds)

    def observe_error(self, resource: str, reason: str) -> None:
        """Count a failed request."""
        self.own_metrics.errors.labels(self.panel, resource, reason).inc()

    def observe_skipped_rows(self, resource: str, rows: int) -> None:
        """Count rows that cannot be used."""
        self.own_metrics.rows_skipped.labels(self.panel, resource).inc(rows)


def _metric_arguments(family: OwnFamily) -> tuple[str, str, tuple[str, ...]]:
    return family.name, family.help, family.labels
