"""Tests that the dashboards keep the conventions of Grafana's dashboard linter.

Its rules are written again here, because the linter cannot be had everywhere that these
tests run; where one is not kept, the reason stands here.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import shipped_dashboards
import yaml
from alert_rules import metric_labels
from prometheus_versions import Promtool
from shipped_dashboards import ALL_VALUES

from exporter.health.conditions import SERVER_CONDITIONS, Severity
from grafana import files, queries

BOARDS = [*shipped_dashboards.DASHBOARDS]
_QUERIES = [asked for board in BOARDS for asked in shipped_dashboards.queries(board)]
_METRICS = metric_labels().keys()
_UNITS = {
    *("none", "s", "bytes", "percentunit", "reqps", "ops", "dtdurations"),
    *("dateTimeAsLocal", "dateTimeFromNow"),
}
"""Of Grafana's units those that are used."""
_SELECTOR = r"\b(ALERTS|up|(?:onapp|process|scrape)_\w+)\{([^}]*)\}"
_WITHOUT_INSTANCE = {"ALERTS"}
"""What the rules make has no instance."""
_COLOURS = {
    Severity.CRITICAL: "red",
    Severity.WARNING: "orange",
    Severity.NOTICE: "blue",
    Severity.FINE: "green",
}
_LONGEST_QUERY = 2000


@pytest.mark.parametrize("name", [f"{board}.json" for board in BOARDS])
def test_golden_dashboard_is_what_the_code_says(
    name: str, request: pytest.FixtureRequest
) -> None:
    """`make dashboards` writes these files; they are not edited by hand."""
    text = files.texts()[name]
    if request.config.getoption("--update-golden"):
        (shipped_dashboards.FOLDER / name).write_text(text, encoding="utf-8")

    assert (shipped_dashboards.FOLDER / name).read_text("utf-8") == text


def test_there_is_no_other_dashboard() -> None:
    """The test above would not see it."""
    assert sorted(files.texts()) == [f"{board}.json" for board in BOARDS]


@pytest.mark.parametrize("board", BOARDS)
def test_a_dashboard_is_found_by_its_uid_and_cannot_be_edited_in_place(
    board: str,
) -> None:
    """What is edited there would be lost with the next release."""
    found = shipped_dashboards.DASHBOARDS[board]
    numbers = [panel["id"] for panel in found["panels"]]

    assert found["uid"] == board
    assert found["editable"] is False
    assert found["title"]
    assert found["description"]
    assert found["refresh"] == "1m"
    assert "id" not in found
    assert len(numbers) == len(set(numbers))


@pytest.mark.parametrize("board", BOARDS)
def test_people_choose_the_data_source_and_the_exporters(board: str) -> None:
    """Rules template-datasource, -job, -instance and -on-time-change-reload."""
    found = {
        one["name"]: one
        for one in shipped_dashboards.DASHBOARDS[board]["templating"]["list"]
    }
    source = found.pop("datasource")

    assert (source["type"], source["query"]) == ("datasource", "prometheus")
    assert source["label"] == "Data source"
    for name in ("job", "instance"):
        assert found[name]["label"] == name.capitalize()
        assert found[name]["multi"] is True
        assert found[name]["allValue"] == shipped_dashboards.ALL_VALUES
    for variable in shipped_dashboards.variables(board).values():
        assert variable["datasource"]["uid"] == "$datasource"
        assert variable["refresh"] == 2


@pytest.mark.parametrize("board", BOARDS)
def test_every_variable_is_used(board: str) -> None:
    """Rule template-unused: a choice that changes nothing would mislead."""
    text = files.texts()[f"{board}.json"]
    listed = shipped_dashboards.DASHBOARDS[board]["templating"]["list"]
    unused = [
        one["name"]
        for one in listed
        if not re.search(rf"\$(?:{{{one['name']}[:}}]|{one['name']}\b)", text)
    ]

    assert unused == []


@pytest.mark.parametrize(
    "panel",
    [panel for board in BOARDS for panel in shipped_dashboards.panels(board)],
    ids=lambda panel: panel["title"],
)
def test_a_panel_says_what_it_shows_in_which_unit(panel: dict[str, Any]) -> None:
    """Rules panel-datasource, -title-description, -units and -no-targets."""
    overridden = {
        one["value"]
        for override in panel["fieldConfig"]["overrides"]
        for one in override["properties"]
        if one["id"] == "unit"
    }

    assert panel["title"]
    assert panel["description"][-1] in ".?"
    assert overridden | {panel["fieldConfig"]["defaults"]["unit"]} <= _UNITS
    assert panel["datasource"]["uid"] == "$datasource"
    assert panel["targets"]


@pytest.mark.parametrize("asked", _QUERIES, ids=lambda asked: asked.location)
def test_a_query_is_of_the_chosen_exporters_and_speaks_of_what_exists(
    asked: shipped_dashboards.Query,
) -> None:
    """Rules target-job, -instance, -rate-interval, -counter-agg and -histogram."""
    selectors = re.findall(_SELECTOR, asked.expression)
    names = {name for name, _ in selectors}
    counters = re.findall(r"(\w+)\((\w+_total|\w+_bucket)\{", asked.expression)
    unknown = {
        name
        for name in names
        if name.startswith("onapp") and re.sub("_bucket$", "", name) not in _METRICS
    }

    assert selectors
    assert unknown == set()
    for name, matchers in selectors:
        assert 'job=~"$job"' in matchers
        if name not in _WITHOUT_INSTANCE:
            assert 'instance=~"$instance"' in matchers
    assert len(counters) == len(re.findall(r"(?:_total|_bucket)\{", asked.expression))
    assert {how for how, _ in counters} <= {"rate", "increase"}
    assert {*re.findall(r"\[(.*?)\]", asked.expression)} <= {"$__rate_interval"}


@pytest.mark.parametrize("board", ["onapp-cloud", "onapp-server"])
def test_what_single_backups_say_is_only_in_the_panels_about_them(board: str) -> None:
    """Where their details are switched off nothing else is empty."""
    detailed = {
        asked.panel
        for asked in shipped_dashboards.queries(board)
        if re.search(r"\bonapp_backup_(?!server)", asked.expression)
    }

    assert all(panel.startswith("Each backup") for panel in detailed)


@pytest.mark.parametrize("board", BOARDS)
def test_dashboards_lead_to_each_other_with_what_was_chosen(board: str) -> None:
    """By their tag; rows and tiles lead to servers, status pages and panels."""
    (link,) = shipped_dashboards.DASHBOARDS[board]["links"]
    urls = re.findall(r'"url": "([^"]*)"', files.texts()[f"{board}.json"])

    assert link["tags"] == shipped_dashboards.DASHBOARDS[board]["tags"]
    assert link["includeVars"]
    assert link["keepTime"]
    for url in filter(lambda url: url.startswith("/"), urls):
        target = re.match(r"/d/([\w-]+)/", url)
        assert target
        assert target[1] in BOARDS
        assert "${datasource:queryparam}" in url
        assert ("var-panel=" in url) == ("var-vm=" in url) == ("var-state" not in url)
    if board != "onapp-exporter":
        assert any(
            re.match(r"\$\{exporter:raw}/server\?panel=.+&vm_id=", u) for u in urls
        )
        assert "${__data.fields.Address:raw}" in urls


@pytest.mark.parametrize("asked", _QUERIES, ids=lambda asked: asked.location)
def test_a_query_judges_nothing(asked: shipped_dashboards.Query) -> None:
    """What is wrong is decided once, by the exporter: no threshold stands here."""
    compared = re.findall(r"[^=](?:[<>]=?|==|!=) *([^ )]+)", asked.expression)

    assert {*compared} <= {"0", "1"}
    assert len(asked.expression) <= _LONGEST_QUERY


@pytest.mark.parametrize(
    ("board", "panel"),
    [
        ("onapp-cloud", "Servers, worst first"),
        ("onapp-server", "State"),
        ("onapp-server", "Begin of each state"),
    ],
)
def test_states_have_their_titles_and_the_colours_of_their_severities(
    board: str, panel: str
) -> None:
    """The same words as on the status page, and all of them."""
    shown = shipped_dashboards.mappings(board, panel, "State")

    assert shown == {
        state.key: {"text": state.title, "color": _COLOURS[state.severity]}
        for state in SERVER_CONDITIONS
    }


@pytest.mark.parametrize("board", ["onapp-cloud", "onapp-server"])
def test_failed_backups_are_marked_at_the_time_of_the_failure(board: str) -> None:
    """Grafana takes the value of the query for the time, in milliseconds."""
    (found,) = shipped_dashboards.DASHBOARDS[board]["annotations"]["list"]

    assert found["enable"]
    assert found["useValueForTime"]
    assert found["datasource"]["uid"] == "$datasource"
    assert found["expr"].startswith("1000 * max without (instance, pod, node")
    assert "onapp_vm_last_failed_backup_timestamp_seconds{" in found["expr"]


_SERIES = {
    'onapp_vm_state{panel="p", vm_id="1", state="fine", job="j", instance="a"}': 1,
    'onapp_vm_state{panel="p", vm_id="1", state="stuck", job="j", instance="b"}': 1,
    'onapp_vm_state{panel="p", vm_id="2", state="new", job="j", instance="a"}': 1,
    'onapp_vm_state{panel="p", vm_id="3", state="later", job="j", instance="a"}': 1,
    'onapp_panel_servers{panel="p", shard="0", state="stuck", instance="a"}': 2,
    'onapp_panel_servers{panel="p", shard="0", state="stuck", instance="b"}': 3,
    'onapp_panel_servers{panel="p", shard="1", state="stuck", instance="c"}': 10,
}
_SCOPE = queries.Scope(matchers="")
_ANSWERS: dict[str, dict[str, int]] = {
    _SCOPE.state(): {
        '{panel="p", vm_id="1", state="stuck", job="j"}': Severity.WARNING,
        '{panel="p", vm_id="2", state="new", job="j"}': Severity.NOTICE,
        '{panel="p", vm_id="3", state="later", job="j"}': Severity.NOTICE,
    },
    _SCOPE.summed("onapp_panel_servers"): {'{panel="p", state="stuck"}': 13},
}


def test_of_replicas_that_differ_the_more_severe_counts_and_shards_add_up(
    promtool: Promtool, tmp_path: Path
) -> None:
    """A state of a newer exporter is shown, too."""
    values = {"job": ALL_VALUES, "instance": ALL_VALUES}
    found = [
        {
            "expr": shipped_dashboards.substituted(expression, values),
            "eval_time": "0m",
            "exp_samples": [
                {"labels": labels, "value": int(value)}
                for labels, value in answer.items()
            ],
        }
        for expression, answer in _ANSWERS.items()
    ]
    series = [{"series": key, "values": str(value)} for key, value in _SERIES.items()]
    test = {"interval": "1m", "input_series": series, "promql_expr_test": found}
    file = tmp_path / "test.yml"
    file.write_text(yaml.safe_dump({"tests": [test]}))

    assert "SUCCESS" in promtool("test", "rules", file)
