"""Tests that the code and the shipped alerts judge alike."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml
from alert_rules import RULES, alerting_rules, all_rules, run_tool
from random_stores import RandomStores
from stores import MONOTONIC, TIME, FixedClock

from exporter.clock import Now
from exporter.config.schema import Detail
from exporter.health import conditions
from exporter.health.conditions import Condition, Problem, Severity
from exporter.health.panel import judge_panel
from exporter.health.server import UNRESOLVED, judge_server
from exporter.metrics.exporter import ExporterMetrics
from exporter.metrics.exposition import TEXT, Exposition
from exporter.metrics.family import server_view
from exporter.model.selection import Shard
from exporter.model.store import PanelStore, Store

NOW = Now(TIME, MONOTONIC)
_LABELS = (
    *("panel", "vm_id", "target_type", "target_id", "schedule_id"),
    *("collector", "action", "backup_server_id"),
)
_EACH_ALSO = {
    conditions.VERY_STALE: conditions.STALE,
    conditions.STUCK_LONG: conditions.STUCK,
}
"""Of these two alerts fire."""
_ABOUT = {
    **dict.fromkeys(
        (conditions.SCHEDULE_FAILED, conditions.SCHEDULE_OVERDUE), "schedule_id"
    ),
    conditions.COLLECTOR_FAILING: "collector",
    conditions.QUEUE_JAM: "action",
    conditions.BACKUP_SERVER_DISABLED: "backup_server_id",
}
_SHIFT = {conditions.NOT_CONTACTED: Severity.CRITICAL}
"""Nobody is called for a panel that was not asked yet, unless it stays so."""


def the_rule(record: str) -> str:
    """Return the expression of a recording rule, on one line."""
    (found,) = (rule["expr"] for rule in all_rules() if rule.get("record") == record)
    return " ".join(found.split())


def the_alert(name: str) -> str:
    """Return the expressions of an alert, on one line."""
    found = [alert["expr"] for alert in alerting_rules() if alert["alert"] == name]
    return " ".join(" ".join(found).split())


_NUMBER = r"([\d.]+(?: \* [\d.]+)?)"


@pytest.mark.parametrize(
    ("expression", "pattern", "expected"),
    [
        (
            the_rule("target:onapp_backup_stale:seconds"),
            rf"> {_NUMBER} \* target:onapp_backup_interval:seconds \+ {_NUMBER}",
            (conditions.STALE_INTERVALS, conditions.QUEUE_ALLOWANCE_SECONDS),
        ),
        (
            the_rule("target:onapp_backup_very_stale:seconds"),
            rf"> {_NUMBER} \* target:onapp_backup_interval:seconds \+ {_NUMBER}",
            (conditions.VERY_STALE_INTERVALS, conditions.QUEUE_ALLOWANCE_SECONDS),
        ),
        (
            the_rule("target:onapp_backup_stuck:seconds"),
            rf"under_way:since_timestamp_seconds > {_NUMBER}",
            (conditions.STUCK_SECONDS,),
        ),
        (
            the_rule("target:onapp_backup_stuck_long:seconds"),
            rf"> {_NUMBER}",
            (conditions.STUCK_LONG_SECONDS,),
        ),
        (
            the_rule("vm:onapp_vm_created_timestamp_seconds:young"),
            rf"time\(\) - {_NUMBER} or .* - {_NUMBER} \* min .*:min > {_NUMBER}",
            (
                conditions.NEW_SECONDS,
                conditions.NEW_INTERVALS,
                conditions.NEW_INTERVAL_MIN_SECONDS,
            ),
        ),
        (
            the_rule("vm:onapp_backup_data_old:seconds"),
            rf"{_NUMBER} \* max without \([^)]*\) \([^)]*\) \+ {_NUMBER}",
            (conditions.DATA_OLD_INTERVALS, conditions.DATA_OLD_SECONDS),
        ),
        (
            the_rule("schedule:onapp_schedule_overdue:seconds"),
            rf"next_start_timestamp_seconds:passed > {_NUMBER}",
            (conditions.SCHEDULE_OVERDUE_SECONDS,),
        ),
        (
            the_rule("target:onapp_backup_locked:seconds"),
            rf"since_timestamp_seconds > {_NUMBER}",
            (conditions.LOCKED_SECONDS,),
        ),
        (
            the_alert("OnAppPollLagging"),
            rf"> {_NUMBER} \* max without",
            (conditions.LAGGING_INTERVALS,),
        ),
        (
            the_alert("OnAppClockSkew"),
            rf"abs\(onapp_panel_clock_skew_seconds\)\) > {_NUMBER}",
            (conditions.CLOCK_SKEW_SECONDS,),
        ),
        (
            the_alert("OnAppQueueJam"),
            rf"\) > {_NUMBER} unless .* < (\d+) unless .*\[(\d+)h\]",
            (
                conditions.QUEUE_JAM_SECONDS,
                conditions.QUEUE_JAM_RUNS,
                conditions.QUEUE_JAM_SECONDS / 3600,
            ),
        ),
    ],
    ids=lambda value: re.sub(r"\W+", "_", value)[:24] if "\\" in str(value) else "",
)
def test_thresholds_are_those_of_the_shipped_rules(
    expression: str, pattern: str, expected: tuple[float, ...]
) -> None:
    """Whoever changes one must change both."""
    found = re.search(pattern, expression)

    assert found is not None, expression
    assert tuple(map(_product, found.groups())) == expected


def _product(text: str) -> float:
    left, _, right = text.partition(" * ")
    return float(left) * float(right or 1)


def test_kinds_name_alerts_at_their_severity() -> None:
    """What is shown as critical or as a warning is so for whoever is alerted."""
    shipped = {(a["alert"], a["labels"]["severity"]) for a in alerting_rules()}
    alerts = {alert for alert, _ in shipped}
    every = {*conditions.SERVER_CONDITIONS, *conditions.PANEL_CONDITIONS}
    reported = {
        (k.alert, k.severity.name.lower())
        for k in every
        if k.severity > Severity.NOTICE
    }

    assert {alert for alert, _ in reported} <= alerts | {""}
    assert {pair for pair in reported if pair[0]} <= shipped
    assert {k.alert for k in every} - {""} <= alerts


@pytest.mark.parametrize("seed", range(2))
def test_code_and_alerts_judge_generated_worlds_alike(
    seed: int, tmp_path: Path
) -> None:
    """Every alert that the shipped rules raise at a moment, and no other."""
    store = RandomStores(Random(seed)).store(panels=8, servers=20)  # noqa: S311  # no secret
    judged = set(_judged(store))
    by = ", ".join(("alertname", "severity", *_LABELS))
    case = {
        "interval": "500000h",
        "input_series": list(_series(_exposed(store))),
        "promql_expr_test": [
            {
                "expr": f"group by ({by}) (ALERTS)",
                "eval_time": "500000h",
                "exp_samples": [
                    {"labels": labels, "value": 1} for labels in sorted(judged)
                ],
            }
        ],
    }
    file = tmp_path / "world.yml"
    whole = {
        "rule_files": [str(rules) for rules in RULES],
        "evaluation_interval": "500000h",
        "tests": [case],
    }
    file.write_text(yaml.safe_dump(whole, width=10_000), "utf-8")
    alerts = {re.findall(r'alertname="(\w+)"', labels)[0] for labels in judged}

    assert len(alerts) >= 14
    assert "SUCCESS" in run_tool("promtool", "test", "rules", file)


def _exposed(store: Store) -> str:
    """Return what `/metrics` says of a store."""
    telemetry = ExporterMetrics(version="0", shard=Shard())
    telemetry.record_reload(time=TIME)
    for panel in store.panels.values():
        counters = telemetry.panel(panel.name)
        if panel.last_error is not None:
            counters.observe_error("version", panel.last_error.reason)
    made = Exposition(store, FixedClock(), Detail(backups=False), telemetry.registry)
    return made.render(TEXT).decode()


def _series(text: str) -> Iterator[dict[str, str]]:
    for line in text.splitlines():
        if line.startswith("onapp_") and not line.startswith("onapp_api_request"):
            name, _, value = line.rpartition(" ")
            scraped = name.replace("{", '{job="onapp",instance="a",', 1)
            yield {"series": scraped, "values": f"_ {value}"}


def _judged(store: Store) -> Iterator[str]:
    """Yield the labels of the alerts that follow from what the code says."""
    for panel in store.panels.values():
        for finding in judge_panel(panel, NOW, Shard()):
            yield from _alerts(panel, finding)
        for vm_id, watch in panel.servers.items():
            fresh = panel.is_fresh(watch, NOW.monotonic)
            outcome = server_view(watch.state, Detail()).summary if fresh else None
            for finding in judge_server(panel, watch, outcome, NOW).problems:
                yield from _alerts(panel, finding, str(vm_id))
        for name in panel.unresolved:
            for finding in UNRESOLVED.problems:
                yield from _alerts(panel, finding, name)


def _alerts(panel: PanelStore, finding: Problem, vm_id: str = "") -> Iterator[str]:
    kind = finding.condition
    if kind is conditions.UNSCHEDULED and not finding.about:
        return  # the rule knows disabled schedules only, until it reads the judgement
    also = _EACH_ALSO.get(kind)
    for reported in (kind,) if also is None else (kind, also):
        if reported.alert and reported is not conditions.LOCKED:
            yield _labels(panel.name, vm_id, reported, finding)


def _labels(panel: str, vm_id: str, kind: Condition, finding: Problem) -> str:
    target = finding.target
    labels: dict[str, Any] = {
        "alertname": kind.alert,
        "severity": _SHIFT.get(kind, kind.severity).name.lower(),
        "panel": panel,
        "vm_id": vm_id,
        "target_type": "" if target is None else target.type,
        "target_id": "" if target is None else target.id,
    }
    if kind in _ABOUT:
        labels[_ABOUT[kind]] = finding.about
    known = (f'{name}="{value}"' for name, value in labels.items() if value != "")
    written = ", ".join(known)
    return f"{{{written}}}"
