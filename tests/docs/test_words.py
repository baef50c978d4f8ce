"""Tests that what people read has one vocabulary, in plain words.

They read what is shipped: files, the help of each command, and pages that are served.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from alert_rules import alerting_rules
from checkout import DEPLOY, DOCS, ROOT
from exporter_process import fetch
from faulty_panel import Panel
from harness import NOW, monitored

from exporter.demo.cloud.demo_cloud import demo_cloud
from exporter.health.conditions import PANEL_CONDITIONS, SERVER_CONDITIONS, Condition
from exporter.metrics import FAMILIES
from exporter.metrics.exporter import OWN_FAMILIES

_AVOIDED = re.compile(
    r"\b(a take|the taking of|mend(s|ed|ing)?|tells? of|(is|are|was|were|be) told"
    r"|goes before|anew|troubles?|g(i|a)ve[sn]?( a schedule)? up|hung up on|porters?"
    r"|guests?|doors?|lets? in|at hand|in hand|well or badly|what stays as it is"
    r"|how far to trust)\b".replace(" ", r"\s+"),
    re.IGNORECASE,
)
"""Each has a plainer word: backup run, fix, report, override, again, problem …"""
_CODE = re.compile(r"`[^`\n]*`|^ {4}[^\n]*$|^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
"""Code, and names that are fixed elsewhere."""
_OTHER_STATES = {"built", "unbuilt"}
"""Of backups: the label `state` says these, too."""
_SUFFIXES = {
    *(".md", ".yml", ".yaml", ".json", ".service", ".socket", ".timer", ".conf", ".1"),
    *(".bash", ".fish", ".sh", ".txt", ".html", ".js"),
}
_COMMANDS = ((), ("check",), ("once",), ("demo",), ("healthcheck",))


def _pages() -> Iterator[Path]:
    yield from (ROOT / f"{name}.md" for name in ("README", "CHANGELOG", "CONTRIBUTING"))
    yield ROOT / "SECURITY.md"
    yield from sorted(DOCS.glob("**/*.md"))


def _other_files() -> Iterator[Path]:
    """Yield what is shipped besides the pages."""
    folders = (DEPLOY, ROOT / "grafana" / "dashboards", ROOT / "exporter" / "status")
    for folder in folders:
        for file in sorted(folder.rglob("*")):
            if file.suffix in _SUFFIXES or file.name.startswith("_onapp"):
                yield file
    yield DOCS / "config.schema.json"


PAGES, OTHER_FILES = [*_pages()], [*_other_files()]


def _name(file: Path) -> str:
    return str(file.relative_to(ROOT))


def _avoided(texts: Iterable[str]) -> list[str]:
    return [found[0] for text in texts for found in _AVOIDED.finditer(text)]


@pytest.mark.parametrize("file", PAGES, ids=_name)
def test_a_page_uses_plain_words(file: Path) -> None:
    """Readers search for fix, problem and again."""
    assert _avoided([_CODE.sub("", file.read_text("utf-8"))]) == []


@pytest.mark.parametrize("file", OTHER_FILES, ids=_name)
def test_a_shipped_file_uses_plain_words(file: Path) -> None:
    """Rules, dashboards, units, the chart, templates of pages, completions."""
    text = file.read_text("utf-8")
    text = re.sub(r'"key": "\w+"|state=\w+|- list: \w+', "", text)

    assert _avoided([text]) == []


@pytest.mark.parametrize("command", _COMMANDS, ids=str)
def test_the_help_of_a_command_uses_plain_words_and_its_flags_are_in_the_manual(
    command: tuple[str, ...],
) -> None:
    """As it is printed."""
    printed = subprocess.run(
        [sys.executable, "-m", "exporter", *command, "--help"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    ).stdout
    flags = {*re.findall(r"(?<![\w-])--[a-z][a-z.-]+[a-z]", printed)}
    page = (DOCS / "cli.md").read_text("utf-8")
    documented = {*re.findall(r"`(--[a-z][a-z.-]+[a-z])[ `]", page)}

    assert _avoided([printed]) == []
    assert flags > {"--help"}
    assert flags - documented == {"--help"} - documented


def test_log_messages_help_and_conditions_use_plain_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All of them are read beside the pages."""
    monkeypatch.syspath_prepend(str(DOCS))
    import log_messages_page  # noqa: PLC0415  # found by the line above

    page: Any = log_messages_page
    texts = [
        *(family.help for family in FAMILIES),
        *(family.help for family in OWN_FAMILIES),
        *(message for message, _ in page.messages()),
        *(
            text
            for each in (*SERVER_CONDITIONS, *PANEL_CONDITIONS)
            for text in (each.title, each.action)
        ),
    ]

    assert _avoided(texts) == []


# ---- States, titles, severities, alerts ----


def _row(condition: Condition) -> tuple[str, ...]:
    severity = condition.severity.name.lower()
    return (condition.key, severity, condition.title, condition.alert)


def test_the_manual_lists_every_state_with_its_severity_title_and_alert() -> None:
    """And no other, in the order of their gravity: first of servers, then of panels."""
    page = (DOCS / "http.md").read_text("utf-8")
    rows = re.findall(
        r"^\| `(\w+)` \| (critical|warning|notice|fine) \| ([^|]+) \| (\w*) ?\| ",
        page,
        re.MULTILINE,
    )

    assert rows == [_row(one) for one in (*SERVER_CONDITIONS, *PANEL_CONDITIONS)]


@pytest.mark.parametrize("file", [*PAGES, *OTHER_FILES], ids=_name)
def test_a_file_names_only_alerts_and_states_that_there_are(file: Path) -> None:
    """A renamed one must be renamed everywhere."""
    text = file.read_text("utf-8")
    alerts = {one["alert"] for one in alerting_rules()}
    states = {one.key for one in (*SERVER_CONDITIONS, *PANEL_CONDITIONS)}
    compared = re.findall(r'\bstate(?:=|!=|=~|!~)\\?"([\w|]+)\\?"', text)
    linked = re.findall(r"[?&](?:var-)?state=(\w+)", text)
    named = {*linked, *(state for found in compared for state in found.split("|"))}

    assert {*re.findall(r"\bOnApp[A-Z][A-Za-z]+[a-z]\b(?!\()", text)} - alerts == set()
    assert named - states - _OTHER_STATES - {"problem"} == set()


def test_every_alert_has_a_runbook_and_is_in_the_manual() -> None:
    """And no other."""
    alerts = {one["alert"] for one in alerting_rules()}
    listed = re.findall(
        r"^\| \[(\w+)\]\(runbooks/",
        (DOCS / "alerts.md").read_text("utf-8"),
        re.MULTILINE,
    )

    assert {file.stem for file in DOCS.glob("runbooks/*.md")} == alerts
    assert {*listed} == alerts


def test_every_key_of_the_configuration_is_in_the_manual() -> None:
    """As editors offer it."""
    schema = json.loads((DOCS / "config.schema.json").read_text("utf-8"))
    page = (DOCS / "configuration.md").read_text("utf-8")
    rows = {*re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)}

    assert len({*_keys(schema)}) > 40
    assert {*_keys(schema)} - rows == set()


def _keys(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("properties"), dict):
            yield from schema["properties"]
        for value in schema.values():
            yield from _keys(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _keys(value)


async def test_the_page_and_the_api_name_states_as_the_alerts_do(
    tmp_path: Path,
) -> None:
    """In a cloud with problems of most kinds."""
    known = {_row(one) for one in (*SERVER_CONDITIONS, *PANEL_CONDITIONS)}
    titles = {row[2] for row in known}
    async with monitored(Panel(demo_cloud(NOW)), tmp_path) as cloud:
        _, api = await fetch(f"{cloud.base}/api/v1/status?per_page=1000")
        _, page = await fetch(f"{cloud.base}/?per_page=100")
    shown = {*_conditions(json.loads(api))}

    assert len(shown) > 15
    assert {(*row[:3],) for row in shown} <= {row[:3] for row in known}
    assert {row for row in shown if row[3] is not None} <= known
    labels = re.findall(r'<span class="state [a-z ]+">([^<]+)</span>', page)
    offered = re.findall(r'<option value="\w+">([A-Z][^<]+)</option>', page)
    assert len({*labels}) > 8
    assert {*labels} <= titles
    assert {one.title for one in SERVER_CONDITIONS} <= {*offered}


def _conditions(answer: Any) -> Iterator[tuple[str, str, str, str | None]]:
    """Yield state, severity, title and alert, wherever the answer has them.

    The alert is None where it is not given.
    """
    if isinstance(answer, dict):
        if {"state", "level", "title"} <= answer.keys():
            alert = (answer["alert"] or "") if "alert" in answer else None
            yield (answer["state"], answer["level"], answer["title"], alert)
        for value in answer.values():
            yield from _conditions(value)
    elif isinstance(answer, list):
        for value in answer:
            yield from _conditions(value)
