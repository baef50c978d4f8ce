"""Tests that alerts fire when they should, and only then: by Prometheus' promtool.

The cases are in ``data/rules``: what the metrics say, and every alert that then fires.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
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
from checkout import DATA, DOCS
from prometheus_versions import Promtool

CASES = sorted((DATA / "rules").glob("*.yml"))
RUNBOOKS = sorted((DOCS / "runbooks").glob("*.md"))

_HEADINGS = [
    "What it means",
    "What to look at",
    "What to do",
    "When it is wrong",
]
_RECORDED = r"\b\w+:\w+:\w+"


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


@pytest.mark.parametrize("file", CASES, ids=lambda file: file.stem)
def test_alerts_fire_as_the_cases_say(file: Path, promtool: Promtool) -> None:
    """A case names every alert that fires at a moment: no other may."""
    assert "SUCCESS" in promtool("test", "rules", file)


@pytest.mark.parametrize(
    "file",
    [file for file in CASES if not file.stem.startswith("exporter")],
    ids=lambda file: file.stem,
)
def test_replicas_and_clusters_change_nothing_and_neither_do_missing_names(
    file: Path, promtool: Promtool, tmp_path: Path
) -> None:
    """Each cloud twice, each exporter twice, and no server's name: the same, twice."""
    text = re.sub(r'(label|hostname)="[^"]*"', "", file.read_text("utf-8"))
    cases = yaml.safe_load(text)
    cases["rule_files"] = [str(file) for file in RULES]
    for case in cases["tests"]:
        case.pop("alert_rule_test", None)
        case["input_series"] = list(_multiplied(case["input_series"]))
        for query in case["promql_expr_test"]:
            query["exp_samples"] = _twice(query)
    changed = tmp_path / file.name
    changed.write_text(yaml.safe_dump(cases), "utf-8")

    assert "SUCCESS" in promtool("test", "rules", changed)


def _multiplied(given: list[dict[str, str]]) -> Iterator[dict[str, str]]:
    for one in given:
        if one["series"].startswith("onapp_vm_info"):
            continue
        for cluster in ("eu", "us"):
            in_cluster = one["series"].replace("{", f'{{city="{cluster}", ')
            yield one | {"series": in_cluster}
            replica = re.sub(
                'instance="(.*?)"', r'instance="\1-2", pod="2", node="2"', in_cluster
            )
            if 'pod="' not in one["series"]:
                yield one | {"series": replica}


def _twice(query: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = query.get("exp_samples", [])
    if "count by" in query["expr"]:
        return [sample | {"value": 2 * sample["value"]} for sample in found]
    return [
        sample | {"labels": sample["labels"].replace("{", f'{{city="{cluster}", ')}
        for sample in found
        for cluster in ("eu", "us")
    ]


def test_alerts_have_the_names_that_people_know() -> None:
    """And no other."""
    assert {alert["alert"] for alert in alerting_rules()} == ALERTS


def test_every_alert_is_shown_to_fire_with_its_text_and_to_end() -> None:
    """In some case, at each of its severities; and no case lets it fire for ever."""
    tests = [
        test
        for file in CASES
        for test in yaml.safe_load(file.read_text("utf-8"))["tests"]
    ]
    rendered = {
        (found["alertname"], alert["exp_labels"]["severity"])
        for test in tests
        for found in test.get("alert_rule_test", [])
        for alert in found["exp_alerts"]
    }
    moments = [
        [str(query.get("exp_samples", [])) for query in test["promql_expr_test"]]
        for test in tests
    ]
    resolved = {
        name
        for name in ALERTS
        for test in moments
        for before, after in pairwise(test)
        if before.count(f'"{name}"') > after.count(f'"{name}"')
    }
    shipped = {(a["alert"], a["labels"]["severity"]) for a in alerting_rules()}

    assert rendered == shipped
    assert resolved == ALERTS


@pytest.mark.parametrize("alert", alerting_rules(), ids=lambda alert: alert["alert"])
def test_an_alert_says_how_grave_it_is_what_is_in_trouble_and_where_to_read_on(
    alert: dict[str, Any],
) -> None:
    """The conventions of mixins; a restart of the exporter ends no alert."""
    output = alert["annotations"]
    page = f"/docs/runbooks/{alert['alert']}.md"

    assert alert["labels"].keys() in ({"severity"}, {"severity", "shard"})
    assert alert["labels"]["severity"] in ("critical", "warning")
    assert alert["keep_firing_for"]
    assert output.keys() == {"summary", "description", "runbook_url"}
    assert "{{" not in output["summary"]
    assert (
        "$labels.panel" in output["description"]
        or "$labels.job" in output["description"]
    )
    assert output["runbook_url"].endswith(page)


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    """Each answers the same four questions."""
    pages = {page.stem: page.read_text("utf-8") for page in RUNBOOKS}
    headings = {
        name: re.findall("^#+ (.+)$", text, re.MULTILINE)
        for name, text in pages.items()
    }

    assert pages.keys() == ALERTS
    assert headings == {name: [name, *_HEADINGS] for name in ALERTS}


@pytest.mark.parametrize("file", [*RULES, *CASES], ids=lambda file: file.name)
def test_rules_and_cases_speak_of_metrics_and_labels_that_exist(file: Path) -> None:
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


@pytest.mark.parametrize("page", [*RUNBOOKS, DOCS / "alerts.md", *RULES])
def test_recorded_series_that_are_spoken_of_exist(page: Path) -> None:
    """In rules, and in what people read about them."""
    records = {rule["record"] for rule in all_rules() if "record" in rule}
    named = set(re.findall(_RECORDED, page.read_text("utf-8"))) - {
        "level:metric:operation"
    }

    assert named - records == set()


def test_rules_read_what_was_recorded_before_them() -> None:
    """Of the same moment, or else as far back as they say: ranges and offsets."""
    recorded: set[str] = set()
    early = []
    for rule in all_rules():
        present = re.sub(rf"{_RECORDED}(\{{[^}}]*\}})?(\[| offset)", "", rule["expr"])
        names = set(re.findall(_RECORDED, present))
        early += [(rule.get("record", ""), name) for name in names - recorded]
        recorded.add(rule.get("record", ""))

    assert early == []


@pytest.mark.parametrize("file", RULES, ids=lambda file: file.name)
def test_rules_keep_the_labels_of_people_and_need_no_details_of_backups(
    file: Path,
) -> None:
    """By naming what goes, never what stays; no series of single backups."""
    groups = yaml.safe_load(file.read_text("utf-8"))["groups"]
    text = "\n".join(rule["expr"] for group in groups for rule in group["rules"])
    dropped = re.findall(r"without \(([^)]*)\)", text)
    details = re.findall(r"(?<!:)\bonapp_(?:backup|recovery_point)_(?!server)\w+", text)

    assert {*re.findall(r"\w+", text)} & {"by", "on"} == set()
    assert {*re.findall(r"\w+", str(dropped))} & {"job", "panel", "cluster"} == set()
    assert details == []
