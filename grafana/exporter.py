"""The dashboard *Exporter*: what the others are worth, and what it costs."""

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
    "Which exporters run: version, share of the servers, and whether the last load of "
    "the configuration succeeded; one that failed goes on with the old one.",
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
    "How overdue the poll of the most overdue server is, in intervals: an alert from "
    "two on.",
    {
        _WHERE: f"{_SCOPE.series('onapp_poll_lag_seconds')}\n"
        f"/ {_SCOPE.series('onapp_poll_interval_seconds')}"
    },
    unit="none",
    levels=[(None, "green"), (2, "red")],
)
_COLLECTORS = style.timeline(
    "Collectors",
    "What can be read besides the inventory: a collector that fails lacks a "
    "permission, or the panel is too old for it.",
    {f"{_WHERE} {{{{collector}}}}": _SCOPE.series("onapp_collector_success")},
    {1: ("works", "green"), 0: ("fails", "red")},
)
_TOOK = style.graph(
    "Durations of collectors",
    "How long each collector took the last time.",
    {f"{_WHERE} {{{{collector}}}}": _SCOPE.series("onapp_collector_duration_seconds")},
    unit="s",
)
_SKEW = style.graph(
    "Clock skew",
    "By how much the clocks of panel and exporter differ: ages are wrong by that; an "
    "alert from five minutes on.",
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
    "How slow the panels are, by what is asked: the median, and what one answer of a "
    "hundred takes longer than.",
    {
        "{{panel}} {{resource}}: median": _latency(0.5),
        "{{panel}} {{resource}}: 99 %": _latency(0.99),
    },
    unit="s",
)
_REQUESTS = style.graph(
    "Requests",
    "What the panels are asked, by the status of the answer.",
    {
        "{{panel}} {{code}}": "sum without (instance, pod, node, resource) (rate("
        f"{_SCOPE.series('onapp_api_requests_total')}[$__rate_interval])) > 0"
    },
    unit="reqps",
    stacked=True,
)
_ERRORS = style.graph(
    "Errors",
    "Requests that brought nothing usable, by reason, and rows of answers that could "
    "not be used.",
    {
        "{{panel}} {{reason}}": "sum without (instance, pod, node, resource) (rate("
        f"{_SCOPE.series('onapp_api_errors_total')}[$__rate_interval]))",
        "{{panel}} rows": "sum without (instance, pod, node, resource) (rate("
        f"{_SCOPE.series('onapp_api_rows_skipped_total')}[$__rate_interval]))",
    },
    unit="ops",
    stacked=True,
)
_CPU = style.graph(
    "CPU",
    "How much of one core each exporter takes.",
    {"{{instance}}": f"rate({select('process_cpu_seconds_total')}[$__rate_interval])"},
    unit="percentunit",
)
_MEMORY = style.graph(
    "Memory",
    "What each exporter holds of the machine's memory.",
    {"{{instance}}": select("process_resident_memory_bytes")},
    unit="bytes",
)
_SERIES = style.graph(
    "Series",
    "How many series each exporter has: what it costs Prometheus.",
    {"{{instance}}": select("scrape_samples_scraped")},
    unit="none",
)


def board() -> Dashboard:
    """Return the dashboard."""
    return frame.board(
        "onapp-exporter",
        "OnApp backups: exporter",
        "Is what is known fresh, do the panels answer, and what does it cost?",
        [frame.panels()],
        [
            ("Does it know what it should?", [(_EXPORTERS, 24, 5)]),
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
