"""The dashboard *Exporter*: whether its data are fresh, and what it costs."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from . import frame, style
from .queries import Scope, select

_SCOPE = Scope(matchers='panel=~"$panel"')
_WHERE = "{{instance}} {{panel}}"

_LOADED = "onapp_exporter_config_last_reload_success_timestamp_seconds"
_YES_NO = {1: ("yes", "green"), 0: ("no", "red")}
_EXPORTERS = style.rows(
    "Exporters",
    "The exporters that run: version, share of the servers, and whether the last "
    "load of the configuration succeeded. After a failed load the old one stays in "
    "use.",
    [
        f"time() - {select('process_start_time_seconds')}",
        select("onapp_exporter_build_info"),
        select("onapp_exporter_shard_info"),
        select("onapp_exporter_config_last_reload_successful"),
        f"time() - {select(_LOADED)}",
        f"sum without (panel, state) ({_SCOPE.series('onapp_panel_servers')})",
    ],
    {
        "job": ("Job", {}),
        "instance": ("Instance", {}),
        "version": ("Version", {}),
        "shard": ("Shard", {}),
        "total_shards": ("Shards", {}),
        "A": ("Running for", {"unit": "s", "decimals": 1}),
        "D": ("Configuration loaded", style.backgrounds(_YES_NO)),
        "E": ("Last loaded", {"unit": "s", "decimals": 1}),
        "F": ("Servers", {}),
    },
)

_ANSWERS = style.timeline(
    "Panels that answer",
    "Whether each panel answers each exporter: version, inventory and account.",
    {_WHERE: _SCOPE.series("onapp_up")},
    {1: ("answers", "green"), 0: ("does not", "red")},
)
_LAG = style.graph(
    "Poll lag",
    "Delay of the most overdue server's poll, in poll intervals. OnAppPollLagging "
    "fires above two.",
    {
        _WHERE: f"{_SCOPE.series('onapp_poll_lag_seconds')}\n"
        f"/ {_SCOPE.series('onapp_poll_interval_seconds')}"
    },
    unit="none",
    levels=[(None, "green"), (2, "red")],
)
_COLLECTORS = style.timeline(
    "Collectors",
    "Whether each collector succeeds. One that fails may lack a permission, or the "
    "panel may be too old for it.",
    {f"{_WHERE} {{{{collector}}}}": _SCOPE.series("onapp_collector_success")},
    {1: ("works", "green"), 0: ("fails", "red")},
)
_TOOK = style.graph(
    "Durations of collectors",
    "Duration of each collector's last run.",
    {f"{_WHERE} {{{{collector}}}}": _SCOPE.series("onapp_collector_duration_seconds")},
    unit="s",
)
_SKEW = style.graph(
    "Clock skew",
    "Difference between the clocks of panel and exporter. Ages are wrong by that. "
    "OnAppClockSkew fires above five minutes.",
    {_WHERE: f"abs({_SCOPE.series('onapp_panel_clock_skew_seconds')})"},
    unit="s",
    levels=[(None, "green"), (300, "red")],
)


def _latency(quantile: float) -> str:
    buckets = _SCOPE.series("onapp_api_request_duration_seconds_bucket")
    return (
        f"histogram_quantile({quantile}, sum without (instance, pod, node) (\n"
        f"rate({buckets}[$__rate_interval])\n))"
    )


_LATENCY = style.graph(
    "Time until a panel's answer is complete",
    "Median and 99th percentile of the panels' answers, by resource.",
    {
        "{{panel}} {{resource}}: median": _latency(0.5),
        "{{panel}} {{resource}}: 99 %": _latency(0.99),
    },
    unit="s",
)
_REQUESTS = style.graph(
    "Requests",
    "Requests that the panels answered, by HTTP status code.",
    {
        "{{panel}} {{code}}": "sum without (instance, pod, node, resource) (rate("
        f"{_SCOPE.series('onapp_api_requests_total')}[$__rate_interval])) > 0"
    },
    unit="reqps",
    stacked=True,
)
_ERRORS = style.graph(
    "Errors",
    "Requests without a usable answer, by reason, and rows that were skipped.",
    {
        "{{panel}} {{reason}}": "sum without (instance, pod, node, resource) (rate("
        f"{_SCOPE.series('onapp_api_errors_total')}[$__rate_interval]))",
        "{{panel}} rows skipped": "sum without (instance, pod, node, resource) (rate("
        f"{_SCOPE.series('onapp_api_rows_skipped_total')}[$__rate_interval]))",
    },
    unit="ops",
    stacked=True,
)
_CPU = style.graph(
    "CPU",
    "CPU time of each exporter, as a share of one core.",
    {"{{instance}}": f"rate({select('process_cpu_seconds_total')}[$__rate_interval])"},
    unit="percentunit",
)
_MEMORY = style.graph(
    "Memory",
    "Resident memory of each exporter.",
    {"{{instance}}": select("process_resident_memory_bytes")},
    unit="bytes",
)
_SERIES = style.graph(
    "Series",
    "Number of series that Prometheus stores of each exporter.",
    {"{{instance}}": select("scrape_samples_scraped")},
    unit="none",
)


def board() -> Dashboard:
    """Return the dashboard."""
    return frame.board(
        "onapp-exporter",
        "OnApp backups: exporter",
        "Are the data fresh, do the panels answer, and what does the exporter cost?",
        [frame.panels()],
        [
            ("Which exporters run?", [(_EXPORTERS, 24, 5)]),
            ("Is it fresh?", [(_ANSWERS, 12, 8), (_LAG, 12, 8)]),
            (
                "Is anything missing?",
                [(_COLLECTORS, 8, 8), (_TOOK, 8, 8), (_SKEW, 8, 8)],
            ),
            (
                "How are the panels?",
                [(_LATENCY, 8, 9), (_REQUESTS, 8, 9), (_ERRORS, 8, 9)],
            ),
            (
                "What does it cost?",
                [(_CPU, 8, 7), (_MEMORY, 8, 7), (_SERIES, 8, 7)],
            ),
        ],
        since="now-6h",
    )
