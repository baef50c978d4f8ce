"""Tests that an open page shows what is true now, or says that it does not."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from browser import NARROW, Tab, chromium, open_tab, pages_in_thread
from harness import NOW
from playwright.sync_api import Browser, Route, expect
from stores import MONOTONIC, TIME, a_backup, a_panel, a_server

from exporter.model.selection import Expectation
from exporter.model.store import PanelStore

DAY = 86_400
SERVERS = 30


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Start the browser once."""
    with chromium() as started:
        yield started


@pytest.fixture
def panel() -> PanelStore:
    """Return a panel whose servers are all fine."""
    panel = a_panel()
    for number in range(1, SERVERS + 1):
        server = a_server(
            id=number, label=f"web-{number:02}", created_at=TIME - 90 * DAY
        )
        panel.register_server(number, server, Expectation(own_interval_seconds=DAY))
        record_age(panel, number, DAY / 2)
    return panel


@pytest.fixture
def address(panel: PanelStore) -> Iterator[str]:
    """Serve the pages of that panel."""
    with pages_in_thread(panel) as address:
        yield address


def record_age(panel: PanelStore, vm_id: int, age_seconds: float) -> None:
    """Let the last backup of a server have that age."""
    at = TIME - age_seconds
    backup = a_backup(id=vm_id, created_at=at - 60, built_at=at)
    panel.record_backups(vm_id, (backup,), time=TIME, monotonic=MONOTONIC)


def pass_time(tab: Tab, seconds: float) -> None:
    """Let the browser's clock show so much after the opening of the page."""
    tab.page.clock.set_fixed_time(datetime.fromtimestamp(NOW + seconds, UTC))
    tab.page.evaluate("tick()")


def test_an_open_page_renews_itself_under_the_reader(
    browser: Browser, address: str, panel: PanelStore
) -> None:
    """Focus, scroll, and what was typed or opened stay; a worse server comes first."""
    with open_tab(browser, size=NARROW) as tab:
        page = tab.page
        page.goto(f"{address}/?sort=server")
        page.get_by_label("Search").fill("half a na")
        chosen = page.get_by_role("link", name="web-20")
        chosen.focus()
        scrolled = page.evaluate("scrollY")
        record_age(panel, 25, 9 * DAY)
        panel.missing[3] = False
        del panel.servers[3]
        pass_time(tab, 31)
        expect(page).to_have_title("(1) OnApp backups")

        assert "Very stale" in tab.server_states()
        assert "web-03" not in tab.server_names()
        assert page.evaluate("document.activeElement.innerText") == "web-20"
        assert page.evaluate("scrollY") > scrolled / 2
        assert page.get_by_label("Search").input_value() == "half a na"
        assert tab.browser_errors == []


def test_rows_move_with_their_focus(
    browser: Browser, address: str, panel: PanelStore
) -> None:
    """A server that gets worse comes first, also while its link is chosen."""
    with open_tab(browser) as tab:
        tab.page.goto(address)
        tab.page.get_by_role("link", name="web-25").focus()
        record_age(panel, 25, 9 * DAY)
        pass_time(tab, 31)
        expect(tab.page).to_have_title("(1) OnApp backups")

        assert tab.server_names()[:2] == ["web-25", "web-01"]
        assert tab.page.evaluate("document.activeElement.innerText") == "web-25"
        assert len(tab.server_names()) == SERVERS


def test_the_icon_counts_the_critical_servers(
    browser: Browser, address: str, panel: PanelStore
) -> None:
    """So that a tab in the background shows it; a renewal without any takes it back."""
    icon = "link[rel=icon]"
    record_age(panel, 7, 9 * DAY)
    with open_tab(browser) as tab:
        tab.page.goto(address)
        bad = tab.page.locator(icon).get_attribute("href")
        title = tab.page.title()
        record_age(panel, 7, DAY / 2)
        pass_time(tab, 31)
        expect(tab.page).to_have_title("OnApp backups")
        good = tab.page.locator(icon).get_attribute("href")

    assert title == "(1) OnApp backups"
    assert bad is not None
    assert good is not None
    assert "%3E1%3C" in bad
    assert "%3E1%3C" not in good


def test_a_renewal_can_be_paused(
    browser: Browser, address: str, panel: PanelStore
) -> None:
    """Then the page says how old it is, and goes on when it is told to."""
    with open_tab(browser) as tab:
        page, live = tab.page, tab.page.locator("#live")
        page.goto(address)
        requests: list[str] = []
        page.on("request", lambda sent: requests.append(sent.url))
        page.get_by_role("button", name="Pause").click()
        record_age(panel, 25, 9 * DAY)
        pass_time(tab, 600)
        expect(live).to_contain_text("Paused. This page is as of 2027-01-15 08:00")
        expect(live).to_have_class("old")
        sent_while_paused = [*requests]
        page.get_by_role("button", name="Continue").click()
        expect(page).to_have_title("(1) OnApp backups")
        expect(live).to_contain_text("Renewed every 30 s.")
        expect(live).not_to_have_class("old")

    assert sent_while_paused == []


@pytest.mark.parametrize("answer", ["none", "proxy"])
def test_an_exporter_that_does_not_answer_is_reported(
    browser: Browser, address: str, panel: PanelStore, answer: str
) -> None:
    """And what was shown stays, with its time, until it answers again."""

    def fail(route: Route) -> None:
        if answer == "none":
            route.abort()
        else:
            route.fulfill(status=502, body="<main>Bad gateway</main>")

    with open_tab(browser, size=NARROW) as tab:
        page, live = tab.page, tab.page.locator("#live")
        page.goto(address)
        names = tab.server_names()
        page.route("**/*", fail)
        pass_time(tab, 31)
        expect(live).to_contain_text("The exporter does not answer")
        expect(live).to_contain_text("This page is as of 2027-01-15 08:00")
        expect(live).to_be_in_viewport()

        assert tab.server_names() == names
        assert tab.violations() == []
        page.unroute("**/*")
        record_age(panel, 25, 9 * DAY)
        pass_time(tab, 62)
        expect(page).to_have_title("(1) OnApp backups")
        expect(live).to_have_text("Renewed every 30 s. Pause")


def test_a_page_of_another_version_is_loaded_as_a_whole(
    browser: Browser, address: str
) -> None:
    """Its script and its style may be others."""

    def renew_otherwise(route: Route) -> None:
        if route.request.resource_type != "fetch":
            route.continue_()
            return
        text = route.fetch().text()
        route.fulfill(body=text.replace('"use strict"', '"use strict" '))

    with open_tab(browser) as tab:
        tab.page.goto(address)
        tab.page.route("**/*", renew_otherwise)
        with tab.page.expect_navigation():
            pass_time(tab, 31)


@pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])
def test_without_a_script_the_browser_loads_the_page_again(
    browser: Browser, address: str, *, script: bool
) -> None:
    """Nothing is announced that does not happen."""
    with open_tab(browser, java_script_enabled=script) as tab:
        tab.page.goto(address)
        refresh = tab.page.locator("meta[http-equiv=refresh]").count()
        announced = tab.page.locator("#live").is_visible()

    assert (refresh, announced) == ((0, True) if script else (1, False))
