"""Differences between a scrape and the expected metrics, by series."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from prometheus_client.parser import text_string_to_metric_families

from soak.expected_metrics import LAST_FAILED, PENDING, ExpectedMetrics, Series, series

NOT_IN_ROWS = {
    "onapp_panel_info",
    "onapp_panel_clock_skew_seconds",
    "onapp_inventory_last_success_timestamp_seconds",
    "onapp_vm_last_poll_success_timestamp_seconds",
    LAST_FAILED,
}
"""Not determined by rows: checked by other means."""
DEPENDS_ON_HISTORY = {
    "onapp_transactions_total",
    "onapp_vm_last_failed_backup_timestamp_seconds",
    PENDING,
}
"""What a new exporter cannot know, or what depends on that."""


_JUDGED = (
    *("onapp_state_start_", "onapp_vm_state", "onapp_vm_backup_in_time"),
    *("onapp_panel_servers", "onapp_panel_future_", "onapp_panel_credentials_"),
    *("onapp_panel_queue_", "onapp_collector_duration_", "onapp_target_schedules"),
    *("onapp_target_oldest_success_", "onapp_schedule_retention_"),
)
"""What the exporter judges or measures; the tests of states compare it."""


def panel_samples(text: str) -> dict[Series, float]:
    """Return a scrape's samples about panels, without the exporter's own metrics."""
    return {
        series(
            sample.name, **{k: v for k, v in sample.labels.items() if k != "shard"}
        ): sample.value
        for metric in text_string_to_metric_families(text)
        for sample in metric.samples
        if sample.name.startswith("onapp_")
        and not sample.name.startswith(("onapp_api_", "onapp_exporter_", *_JUDGED))
    }


def differences(
    found: dict[Series, float], expectations: list[ExpectedMetrics], now: float
) -> list[str]:
    """Return where a scrape differs from the simulated worlds."""
    wanted: dict[Series, float] = {}
    wrong: list[str] = []
    failed = {name: at for name, at in found.items() if name.family == LAST_FAILED}
    for expected in expectations:
        wanted |= expected.samples(now) | expected.pending(failed)
        wrong += _poll_moments(found, expected, now)
        wrong += _failures(found, expected)
    return wrong + differing_samples(found, wanted, "the world", NOT_IN_ROWS)


def _poll_moments(
    found: dict[Series, float], expected: ExpectedMetrics, now: float
) -> list[str]:
    """Return the servers and inventories that were not read in the last interval."""
    names = [
        series(
            "onapp_vm_last_poll_success_timestamp_seconds",
            panel=expected.name,
            vm_id=server.id,
        )
        for server in expected.servers
    ]
    names.append(
        series("onapp_inventory_last_success_timestamp_seconds", panel=expected.name)
    )
    return [
        f"{name} is {found.get(name)} at {now}"
        for name in names
        if not now - expected.interval_seconds <= found.get(name, 0.0) <= now
    ]


def _failures(found: dict[Series, float], expected: ExpectedMetrics) -> list[str]:
    """Return failures that are missing, and failures that never happened."""
    must = expected.known_failures()
    wrong = [
        f"{name} is {found.get(name)}, not {at}"
        for name, at in must.items()
        if found.get(name, 0.0) < at
    ]
    for name, at in found.items():
        labels = dict(name.labels)
        mine = name.family == LAST_FAILED and labels["panel"] == expected.name
        if mine and at not in expected.failed_at(int(labels["vm_id"])):
            wrong.append(f"{name} is {at}: nothing failed then")
    return wrong


def differing_samples(
    found: dict[Series, float],
    wanted: dict[Series, float],
    who: str,
    skipped: AbstractSet[str],
) -> list[str]:
    """Return the series in which two scrapes differ, but for these families.

    Of a target that is only found because a run of it has failed, whose row is gone,
    all is zero.
    """
    failed = {frozenset(name.labels) for name in found if name.family == LAST_FAILED}

    def is_of_failed(name: Series) -> bool:
        target = frozenset(label for label in name.labels if label[0] != "state")
        return name not in wanted and not found[name] and target in failed

    found = {n: v for n, v in found.items() if n.family not in skipped}
    found = {name: value for name, value in found.items() if not is_of_failed(name)}
    wanted = {n: v for n, v in wanted.items() if n.family not in skipped}
    return [
        f"{name.family}{dict(name.labels)} is {found.get(name)}, "
        f"by {who} {wanted.get(name)}"
        for name in sorted(found.keys() | wanted.keys())
        if found.get(name) != wanted.get(name)
    ]
