"""Tests that the dashboards keep the conventions of Grafana's dashboard linter.

Its rules are written anew here, because the linter cannot be had everywhere that these
tests run; where one is not kept, the reason stands here.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
import shipped_dashboards
from alert_rules import all_rules, metric_labels

from grafana import files, queries

BOARDS = [*shipped_dashboards.DASHBOARDS]
_QUERIES = [asked for board in BOARDS for asked in shipped_dashboards.queries(board)]
_METRICS = metric_labels().keys()
_RECORDS = {
    rule["record"]: " ".join(rule["expr"].split())
    for rule in all_rules()
    if "record" in rule
}
_UNITS = {
    *("none", "s", "bytes", "percentunit", "reqps", "ops", "dtdurations"),
    "dateTimeAsLocal",
}
"""Of Grafana's units those that are used."""
_SELECTOR = r"(?<![:\w])(ALERTS|up|(?:onapp|process|scrape)_\w+)(?::\w+)*\{([^}]*)\}"
_WITHOUT_INSTANCE = {"ALERTS"}
"""What the rules make has no instance; neither have recorded series."""


@pytest.mark.parametrize("name", [f"{board}.json" for board in BOARDS])
def test_golden_dashboard_is_what_the_code_says(
    name: str, request: pytest.FixtureRequest
) -> None:
    """`make dashboards` writes these files anew; nobody edits them."""
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
    for variable in found.values():
        assert variable["type"] == "query"
        assert variable["datasource"]["uid"] == "$datasource"
        assert variable["refresh"] == 2


@pytest.mark.parametrize("board", BOARDS)
def test_every_variable_is_used(board: str) -> None:
    """Rule template-unused: a choice that changes nothing would mislead."""
    asked = " ".join(query.expression for query in shipped_dashboards.queries(board))
    unused = [
        name
        for name in shipped_dashboards.variables(board)
        if not re.search(rf"\${name}\b", asked)
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
    sources = [target["datasource"]["uid"] for target in panel["targets"]]

    assert panel["title"]
    assert panel["description"][-1] in ".?"
    assert overridden | {panel["fieldConfig"]["defaults"]["unit"]} <= _UNITS
    assert {panel["datasource"]["uid"], *sources} == {"$datasource"}
    assert panel["targets"]


@pytest.mark.parametrize("asked", _QUERIES, ids=lambda asked: asked.location)
def test_a_query_is_of_the_chosen_exporters_and_speaks_of_what_exists(
    asked: shipped_dashboards.Query,
) -> None:
    """Rules target-job, -instance, -rate-interval, -counter-agg and -histogram."""
    selectors = re.findall(_SELECTOR, asked.expression)
    names = {name for name, _ in selectors}
    counters = re.findall(r"(\w+)\((\w+_total|\w+_bucket)\{", asked.expression)
    recorded = re.findall(r"\b\w+:(?:\w+:)+?\w+(?=\{)", asked.expression)
    unknown = {
        name
        for name in names
        if name.startswith("onapp") and re.sub("_bucket$", "", name) not in _METRICS
    }

    assert selectors
    assert unknown == set()
    assert {*recorded} <= _RECORDS.keys()
    for name, matchers in selectors:
        assert 'job=~"$job"' in matchers
        if name not in _WITHOUT_INSTANCE and name not in str(recorded):
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
        if re.search(r"(?<!:)\bonapp_backup_(?!server)", asked.expression)
    }

    assert all(panel.startswith("Each backup") for panel in detailed)


@pytest.mark.parametrize("board", BOARDS)
def test_dashboards_lead_to_each_other_with_what_was_chosen(board: str) -> None:
    """By their tag; a row of a table leads to its server."""
    (link,) = shipped_dashboards.DASHBOARDS[board]["links"]
    urls = re.findall(r'"url": "([^"]*)"', files.texts()[f"{board}.json"])

    assert link["tags"] == shipped_dashboards.DASHBOARDS[board]["tags"]
    assert link["includeVars"]
    assert link["keepTime"]
    for url in filter(lambda url: url.startswith("/"), urls):
        target = re.match(r"/d/([\w-]+)/", url)
        assert target
        assert target[1] in BOARDS
        for part in ("datasource:queryparam", "var-panel=", "var-vm="):
            assert part in url


def test_the_thresholds_are_those_of_the_rules() -> None:
    """Two words for one server would be worse than none."""
    interval = "target:onapp_backup_interval:seconds"

    assert (
        f"> {queries.STALE_INTERVALS} * {interval} + {queries.QUEUE_SECONDS}"
        in _RECORDS["target:onapp_backup_stale:seconds"]
    )
    assert (
        f"> {queries.VERY_STALE_INTERVALS} * {interval} + {queries.QUEUE_SECONDS}"
        in _RECORDS["target:onapp_backup_very_stale:seconds"]
    )
    assert (
        f"> {queries.STUCK_SECONDS} " in _RECORDS["target:onapp_backup_stuck:seconds"]
    )
    assert _RECORDS["target:onapp_backup_stuck_long:seconds"].endswith(
        f"> {queries.STUCK_LONG_SECONDS}"
    )
    assert (
        f"> time() - {queries.YOUNG_SECONDS}"
        in _RECORDS["vm:onapp_vm_created_timestamp_seconds:young"]
    )
    assert (
        f"{queries.DATA_OLD_INTERVALS} * max without (instance, pod, node) "
        f"(onapp_poll_interval_seconds) + {queries.DATA_OLD_SECONDS}"
        in _RECORDS["vm:onapp_backup_data_old:seconds"]
    )
