"""Tests of the links that lead on: to runbooks, panels and other programs."""

from __future__ import annotations

import re
from html import unescape

import pytest
from alert_rules import ALERTS
from looker import served
from stores import TIME, a_backup, a_panel, a_server, a_store, add_server

from exporter.config.schema import Link
from exporter.config.url_template import UrlTemplate
from exporter.model.selection import Expectation
from exporter.model.store import LastError, PanelStore

DAY = 86_400
LINKS = tuple(
    Link(title, UrlTemplate.parse(url))
    for title, url in {
        "Grafana": "https://grafana/d/onapp-server?var-panel={panel}&var-vm={vm_id}",
        "Silence": "https://am/#/silences/new?filter={panel}/{vm_id}/{alert}",
        "In the panel": "{panel_url}/virtual_machines/{identifier}",
        "Wiki": "https://wiki/{alert}",
        "Cloud": "https://grafana/d/onapp-cloud?var-panel={panel}",
    }.items()
)


def a_stale_server(**fields: str) -> PanelStore:
    """Return a panel that is down, with a server whose last backup is old."""
    panel = a_panel(
        "a & b",
        url="https://cp.example.com/sub",
        reachable=False,
        last_error=LastError("timeout", "no answer", "", TIME, TIME),
    )
    server = a_server(created_at=TIME - 90 * DAY, **fields)
    add_server(panel, server, a_backup(built_at=TIME - 9 * DAY))
    panel.register_server(1, server, Expectation(own_interval_seconds=DAY))
    return panel


def _links(page: str) -> list[str]:
    """Return the addresses that lead away from the exporter, sorted."""
    return sorted(map(unescape, re.findall(r'href="(https?:[^"]*)"', page)))


async def test_links_appear_where_all_that_they_name_is_known() -> None:
    """Values are encoded, so that no text of a panel makes another address."""
    panel = a_stale_server(identifier='x/../?&#"><b>')
    async with served(a_store(panel), links=LINKS) as looker:
        _, overview = await looker.get("/")
        _, page = await looker.get("/server", panel="a & b", vm_id=1)

    assert _links(overview) == [
        "https://cp.example.com/sub",
        "https://grafana/d/onapp-cloud?var-panel=a%20%26%20b",
        "https://wiki/OnAppPanelDown",
    ]
    assert _links(page) == [
        "https://am/#/silences/new?filter=a%20%26%20b/1/OnAppBackupVeryStale",
        "https://cp.example.com/sub",
        "https://cp.example.com/sub/virtual_machines/x%2F..%2F%3F%26%23%22%3E%3Cb%3E",
        "https://grafana/d/onapp-server?var-panel=a%20%26%20b&var-vm=1",
        "https://wiki/OnAppBackupVeryStale",
    ]


async def test_without_any_link_the_pages_lead_to_the_panel() -> None:
    """By the address in the configuration."""
    async with served(a_store(a_stale_server())) as looker:
        _, overview = await looker.get("/")
        _, page = await looker.get("/server", panel="a & b", vm_id=1)

    assert _links(overview) == _links(page) == ["https://cp.example.com/sub"]


@pytest.mark.parametrize("alert", sorted(ALERTS))
async def test_every_alert_has_a_runbook_that_the_exporter_serves(alert: str) -> None:
    """Also by the name of its file, as runbook_url may lead here; links lead on."""
    async with served(a_store(a_panel())) as looker:
        status, page = await looker.get(f"/runbooks/{alert}")
        assert (await looker.get(f"/runbooks/{alert}.md"))[1] == page
        for link in re.findall(r'href="([^":#][^":]*)"', page):
            async with looker.session.get(
                f"{looker.base}/runbooks/{unescape(link)}"
            ) as answer:
                assert answer.status == 200, link

    assert status == 200
    assert f"<h1>{alert}</h1>" in page
    assert "<h2>What to do</h2>" in page


@pytest.mark.parametrize(
    "name", ["OnAppOther", "..%2F__init__.py", "OnAppPanelDown.html"]
)
async def test_another_runbook_is_404(name: str) -> None:
    """No name leads out of the runbooks."""
    async with (
        served(a_store()) as looker,
        looker.session.get(f"{looker.base}/runbooks/{name}") as answer,
    ):
        assert answer.status == 404


async def test_a_problem_leads_to_its_runbook_and_that_back_to_the_servers() -> None:
    """All within the exporter, whatever path a proxy puts before it."""
    async with served(a_store(a_stale_server())) as looker:
        _, page = await looker.get("/server", panel="a & b", vm_id=1)
        (link,) = re.findall(r'href="(runbooks/[^"]*)"', page)
        _, runbook = await looker.get(f"/{link}")
        (back,) = re.findall(r'href="(\.\./\?[^"]*)"', runbook)
        async with looker.session.get(f"{looker.base}/runbooks/{back}") as answer:
            servers = await answer.text()

    assert link == "runbooks/OnAppBackupVeryStale"
    assert "1 of 1 server" in servers
