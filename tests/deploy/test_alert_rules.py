"""Tests that the shipped rules are simple, valid, and speak of what exists."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from alert_rules import (
    ALERTS,
    RULES,
    RULES_FOLDER,
    alerting_rules,
    all_rules,
    metric_labels,
    run_tool,
)
from checkout import DOCS
from prometheus_versions import Promtool

from exporter.health import conditions
from exporter.health.conditions import PANEL_CONDITIONS, SERVER_CONDITIONS, Severity

RUNBOOKS = sorted((DOCS / "runbooks").glob("*.md"))

_HEADINGS = [
    "What it means",
    "What to look at",
    "What to do",
    "When it is wrong",
]
_RECORDED = r"\b\w+:\w+:\w+"
_MOMENT = "onapp_state_start_timestamp_seconds"
_SERVER_NAME = (
    '{{ with query (printf "onapp_vm_info{panel=%q, vm_id=%q} and ignoring (instance, '
    "pod, node, identifier, label, hostname, user_id, hypervisor_id, target_type, "
    'target_id, schedule_id) %s" $labels.panel $labels.vm_id $this) }}'
)
_SAME_LABELS = (
    '{{ $this := "vector(1)" }}{{ range $k, $v := $labels }}{{ $this = printf '
    '"label_replace(%s, %q, %q, ``, ``)" $this $k $v }}{{ end }}'
)
"""A series with exactly the labels of the alert, to match with."""


def the_expression(name: str, severity: str) -> str:
    """Return the expression of an alert, on one line."""
    found = [
        alert["expr"]
        for alert in alerting_rules()
        if (alert["alert"], alert["labels"]["severity"]) == (name, severity)
    ]
    return " ".join(" ".join(found).split())


def test_what_is_shipped_is_valid(promtool: Promtool) -> None:
    """Prometheus and Alertmanager load the example configurations with the rules."""
    output = promtool("check", "config", RULES_FOLDER / "prometheus.yml")
    checked = promtool("check", "rules", "--lint-fatal", *RULES)
    routed = run_tool("amtool", "check-config", RULES_FOLDER / "alertmanager.yml")

    assert output.count("rules found") == len(RULES)
    assert checked.count("SUCCESS") == len(RULES)
    assert "inhibit rules" in routed


def test_rules_are_tried_on_the_versions_of_prometheus_that_they_are_said_to_be(
    prometheus_version: str, prometheus_program: str, promtool: Promtool
) -> None:
    """A newer Prometheus on the ``PATH`` would stand in for the oldest unseen."""
    expected = f"version {prometheus_version}."

    assert expected in run_tool(prometheus_program, "--version")
    assert expected in promtool("--version")


def test_vmalert_takes_the_rules() -> None:
    """Expressions and templates of annotations are those that VictoriaMetrics has."""
    words = run_tool("vmalert", "-dryRun", *(f"-rule={file}" for file in RULES))

    assert words.count("finished reading 1 files") == len(RULES)


def test_alerts_have_the_names_that_people_know() -> None:
    """And no other."""
    assert {alert["alert"] for alert in alerting_rules()} == ALERTS


def test_recording_rules_are_few_and_remember_nothing() -> None:
    """None reads itself, directly or by another, and each is read by a later rule."""
    records = [rule["record"] for rule in all_rules() if "record" in rule]
    recorded: set[str] = set()
    early = []
    used: set[str] = set()
    for rule in sorted(all_rules(), key=lambda rule: "alert" in rule):
        names = set(re.findall(_RECORDED, rule["expr"]))
        early += sorted(names - recorded)
        used |= names
        recorded.add(rule.get("record", ""))

    assert len(records) <= 6
    assert early == []
    assert used == {*records}


@pytest.mark.parametrize("alert", alerting_rules(), ids=lambda alert: alert["alert"])
def test_an_alert_is_a_comparison_that_is_read_at_a_glance(
    alert: dict[str, Any],
) -> None:
    """Without joins and memory; what it waits for is in the moment or in a window."""
    expression = alert["expr"]
    guards = re.findall(r"\b(?:and|unless)\b", expression)

    assert len(expression.splitlines()) <= 8
    assert len(guards) <= 1
    assert {*re.findall(r"\w+", expression)} & {
        *("group_left", "group_right", "by", "on", "ALERTS", "onapp_vm_state")
    } == set()
    assert alert["for"] == "5m"
    assert alert["keep_firing_for"] == "15m"


def test_states_are_compared_with_the_time_at_their_severities() -> None:
    """Each state that has an alert is in that alert, and no other state is."""
    compared = {
        (state, alert["alert"], alert["labels"]["severity"])
        for alert in alerting_rules()
        for state in re.findall(rf'{_MOMENT}{{state="(\w+)"}}', alert["expr"])
    }
    named = {
        (one.key, one.alert, one.severity.name.lower())
        for one in SERVER_CONDITIONS
        if one.alert and one.severity >= Severity.WARNING
    }

    assert compared == named


def test_panels_have_alerts_at_their_severities() -> None:
    """The page and the alerts call the same thing equally grave."""
    shipped = {(one["alert"], one["labels"]["severity"]) for one in alerting_rules()}
    named = {
        (one.alert, one.severity.name.lower())
        for one in PANEL_CONDITIONS
        if one.alert and one.severity >= Severity.WARNING
    }

    assert named - shipped == set()


@pytest.mark.parametrize(
    ("alert", "severity", "pattern", "expected"),
    [
        (
            "OnAppPollLagging",
            "warning",
            r"> ([\d.]+) \* max without \([^)]*\) \(onapp_poll_interval_seconds\)",
            conditions.LAGGING_INTERVALS,
        ),
        (
            "OnAppClockSkew",
            "warning",
            r"\(abs\(onapp_panel_clock_skew_seconds\)\) > ([\d.]+)",
            conditions.CLOCK_SKEW_SECONDS,
        ),
        ("OnAppQueueJam", "warning", r"> (\S+ \* 3600)", conditions.QUEUE_JAM_SECONDS),
        (
            "OnAppScheduleFailing",
            "warning",
            r"> time\(\) - (\S+ \* 3600)",
            conditions.SCHEDULE_FAILING_SECONDS,
        ),
        (
            "OnAppBackupServerFull",
            "warning",
            r"> ([\d.]+) or",
            conditions.BACKUP_SERVER_FULL_SHARE,
        ),
    ],
    ids=lambda value: str(value) if str(value).startswith("OnApp") else "",
)
def test_the_few_thresholds_in_rules_are_those_of_the_judgement(
    alert: str, severity: str, pattern: str, expected: float
) -> None:
    """All others are in the moments."""
    (found,) = re.findall(pattern, the_expression(alert, severity))
    product = 1.0
    for factor in found.split("*"):
        product *= float(factor)

    assert product == expected


def test_moments_are_compared_without_thresholds() -> None:
    """A number beside a moment would be a second judgement."""
    numbers = {
        (alert["alert"], number)
        for alert in alerting_rules()
        if _MOMENT in alert["expr"]
        for number in re.findall(r"\b\d\d+\b|\b[2-9]\b", alert["expr"])
    }

    assert numbers == {
        ("OnAppScheduleFailing", "3"),
        ("OnAppScheduleFailing", "3600"),
    }


@pytest.mark.parametrize("alert", alerting_rules(), ids=lambda alert: alert["alert"])
def test_an_alert_says_how_grave_it_is_what_is_wrong_and_where_to_read_on(
    alert: dict[str, Any],
) -> None:
    """By the conventions of mixins; a server's name is looked up alike everywhere."""
    output = alert["annotations"]
    description = output["description"]
    page = f"/docs/runbooks/{alert['alert']}.md"

    assert alert["labels"].keys() in ({"severity"}, {"severity", "shard"})
    assert alert["labels"]["severity"] in ("critical", "warning")
    assert output.keys() == {"summary", "description", "runbook_url"}
    assert "{{" not in output["summary"]
    assert "$labels.panel" in description or "$labels.job" in description
    assert output["runbook_url"].endswith(page)
    assert description.startswith(_SAME_LABELS) == ("query" in description)
    assert (_SERVER_NAME in description) == (
        _MOMENT in alert["expr"] or "target:" in alert["expr"]
    )


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    """Each answers the same four questions."""
    pages = {page.stem: page.read_text("utf-8") for page in RUNBOOKS}
    headings = {
        name: re.findall("^#+ (.+)$", text, re.MULTILINE)
        for name, text in pages.items()
    }

    assert pages.keys() == ALERTS
    assert headings == {name: [name, *_HEADINGS] for name in ALERTS}


@pytest.mark.parametrize("file", RULES, ids=lambda file: file.name)
def test_rules_speak_of_metrics_and_labels_that_exist(file: Path) -> None:
    """A renamed metric or label would be silent for ever."""
    known = metric_labels()
    text = file.read_text("utf-8")
    selectors = re.findall(r"(?<![:\w])(up|onapp_\w+)(?![:\w/-])(?:\{([^}]*)\})?", text)
    used = {name for name, _ in selectors}
    wrong = [
        (name, label)
        for name, matchers in selectors
        if name in known
        for label in re.findall(r"(\w+)\s*(?:=|!)", re.sub('"[^"]*"', '""', matchers))
        if label not in known[name] | {"cluster"}
    ]

    assert len(used) > 1
    assert used - known.keys() == set()
    assert wrong == []


@pytest.mark.parametrize("page", [*RUNBOOKS, DOCS / "alerts.md"])
def test_recorded_series_that_are_spoken_of_exist(page: Path) -> None:
    """In what people read about rules."""
    records = {rule["record"] for rule in all_rules() if "record" in rule}
    named = set(re.findall(_RECORDED, page.read_text("utf-8"))) - {
        "level:metric:operation"
    }

    assert named - records == set()


@pytest.mark.parametrize("file", RULES, ids=lambda file: file.name)
def test_rules_keep_the_labels_of_people_and_need_no_details_of_backups(
    file: Path,
) -> None:
    """By naming what goes, never what stays; no series of single backups."""
    groups = yaml.safe_load(file.read_text("utf-8"))["groups"]
    text = "\n".join(rule["expr"] for group in groups for rule in group["rules"])
    dropped = re.findall(r"without \(([^)]*)\)", text)
    details = re.findall(r"(?<!:)\bonapp_(?:backup|recovery_point)_(?!server)\w+", text)

    assert {*re.findall(r"\w+", str(dropped))} & {"job", "panel", "cluster"} == set()
    assert details == []
