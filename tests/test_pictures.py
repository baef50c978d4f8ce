"""Tests of the drawn dashboard: what it shows is what Prometheus answers."""

from __future__ import annotations

import re
from html import escape
from pathlib import Path

import boards
from pictures import BOARD, dashboard

from exporter.demo.trouble import HOSTILE_LABEL

_HOURS = 4 / 24
_MARKS = {"stat": "<b>", "table": "<td", "timeseries": "<path"}


async def test_each_panel_of_the_dashboard_is_drawn_with_what_it_shows(
    tmp_path: Path,
) -> None:
    """None is empty after a few hours of the demo cloud; its troubles are seen."""
    page = await dashboard(tmp_path, _HOURS)
    sections = dict(re.findall(r"<h2>(.*?)</h2>(.*?)</section>", page, re.DOTALL))
    servers = sections["Servers, worst first"].split("<tr>")[2:]
    first = re.findall(r"<td[^>]*>(?:<[^>]*>)*([^<]*)", servers[0])

    for panel in boards.panels(BOARD):
        drawn = sections[panel["title"]]
        assert _MARKS[panel["type"]] in drawn, panel["title"]
    assert first[:2] == ["Unprotected", "hr-unprotected"]
    assert "Very stale" in servers[1]
    assert "OnAppBackupStuck" in sections["Alerts"]
    assert sum(escape(HOSTILE_LABEL) in server for server in servers) == 1
    assert HOSTILE_LABEL not in page
