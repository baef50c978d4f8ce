"""Tests of the pages for people, in a real browser: Chromium, headless."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from browser import (
    NARROW,
    WIDE,
    Tab,
    chromium,
    demo_exporter,
    open_tab,
    pages_in_thread,
    served_in_thread,
)
from builders import DAY
from harness import NOW
from playwright.sync_api import Browser
from stores import (
    MONOTONIC,
    TIME,
    a_backup,
    a_panel,
    a_server,
    add_server,
)

from exporter.model.entities import Target
from exporter.model.selection import Expectation
from exporter.model.store import LastError

EVIL = "<img src=x onerror=\"document.title='owned'\"><script>alert(1)</script>"
LONG = "x" * 300
TURNED = "\u202egnorw\u0301"

APPEARANCES = [
    pytest.param({"size": WIDE}, id="wide"),
    pytest.param({"size": NARROW}, id="narrow"),
    pytest.param({"size": WIDE, "color_scheme": "dark"}, id="wide-dark"),
    pytest.param({"size": NARROW, "color_scheme": "dark"}, id="narrow-dark"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Start the browser once."""
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve the demo cloud, always at the same moment."""
    folder: Path = tmp_path_factory.mktemp("demo")
    with served_in_thread(lambda: demo_exporter(folder)) as address:
        yield address


@pytest.fixture(scope="module")
def hostile() -> Iterator[str]:
    """Serve a panel whose texts want to be markup, or to be in the way."""
    problem = LastError("timeout", EVIL, EVIL, 0.0, 0.0)
    panel = a_panel(EVIL, version=LONG, url=f"https://cp/{LONG}", last_error=problem)
    for number, text in enumerate((EVIL, LONG, TURNED, "'\"><b>"), start=1):
        server = a_server(id=number, label=text, hostname=text, identifier=text)
        row = a_backup(target=Target(text, number), identifier=text, initiated=text)
        add_server(panel, server, row)
        panel.record_failure(number, problem)

    with pages_in_thread(panel) as address:
        yield address


def _every_kind_of_page(tab: Tab, start: str) -> dict[tuple[str, int], str]:
    """Follow the links; return one address of each first part of a path and status."""
    found: dict[tuple[str, int], str] = {}
    unread, seen = [f"{start}/", f"{start}/server?panel=demo&vm_id=0"], set[str]()
    while unread:
        address = unread.pop(0)
        kind = urlsplit(address).path.split("/")[1]
        if address in seen or (kind, 200) in found:
            continue
        seen.add(address)
        answer = tab.page.request.get(address)
        if answer.headers["content-type"].startswith("text/html"):
            found[kind, answer.status] = address
            tab.page.goto(address)
            links = tab.page.locator("a[href]").evaluate_all(
                "found => found.map(link => link.href.split('#')[0])"
            )
            unread += [link for link in links if link.startswith(start)]
    return found


@pytest.fixture(scope="module")
def four_panels() -> Iterator[str]:
    """Serve four panels, of which one is down, with servers of every state."""
    error = LastError(
        *("timeout", "no answer within 30 s"),
        "see whether the panel is up, and whether a firewall drops the requests",
        *(TIME - 40, TIME - 8 * 3600),
    )
    down = {
        "reachable": False,
        "last_error": error,
        "last_proven_at_monotonic": MONOTONIC - 8 * 3600,
    }
    panels = [
        a_panel(name, url=f"https://{name}.example.com", **changes)
        for name, changes in (("ams1", {}), ("fra1", {}), ("lon1", down), ("nyc1", {}))
    ]
    daily = Expectation(own_interval_seconds=DAY, backup_required=True)
    for number in range(1, 25):
        panel, label = panels[number % 4], f"customer-web-{number:02}"
        server = a_server(id=number, label=label, hostname=f"{label}.example.com")
        panel.register_server(number, server, daily)
        at = TIME - (3 * DAY if number % 2 else DAY / 2)
        rows = [a_backup(created_at=at - 60, built_at=at)]
        if number % 6 < 2:
            hung = {"built": False, "built_at": None, "created_at": TIME - 7 * 3600}
            rows.append(a_backup(id=2, **hung))
        panel.record_backups(number, tuple(rows), time=TIME, monotonic=MONOTONIC)

    with pages_in_thread(*panels) as address:
        yield address


@pytest.mark.parametrize("options", APPEARANCES)
def test_everybody_can_read_the_pages(
    browser: Browser, demo: str, options: dict[str, Any]
) -> None:
    """Wide and narrow, light and dark: axe-core finds nothing, nothing sticks out."""
    with open_tab(browser, **options) as tab:
        pages = _every_kind_of_page(tab, demo)
        tab.browser_errors.clear()  # that a page of an error has its status
        for path in (*pages.values(), f"{demo}/?sort=size"):
            tab.page.goto(path)

            assert tab.violations() == [], path
            assert tab.overflow() <= 0, path
            assert "-" not in tab.texts("td, dd"), path
        ground = tab.page.evaluate("getComputedStyle(document.body).backgroundColor")
    red = int(ground.removeprefix("rgb(").partition(",")[0])

    assert {kind for kind, _ in pages} >= {"", "server", "panel", "runbooks"}
    assert (red < 64) == (options.get("color_scheme") == "dark")


def test_the_demo_cloud_is_shown_worst_first(browser: Browser, demo: str) -> None:
    """Each with all that is wrong and why, and the worst of all as a headline."""
    with open_tab(browser) as tab:
        tab.page.goto(demo)
        headline = tab.texts("h1")
        shown = dict(zip(tab.server_names(), tab.server_states(), strict=True))
        reasons = tab.texts("tbody .reason")
        sparks = tab.page.locator("svg.spark").count()

    assert headline == [
        "4 critical, 5 warnings; 18 of 25 servers that need backups are in time"
    ]
    assert list(shown.items())[:5] == [
        ("hr-unprotected", "Unprotected"),
        ("tracker-stuck", "Stuck for a day Very stale"),
        ("ci-failed", "Very stale Failed Schedule failing"),
        ("crm-stale", "Very stale"),
        ("nas-forgotten-disk", "Disk unprotected"),
    ]
    assert reasons[:5] == [
        "no restore point; one was due 337 d 17 h ago",
        "a backup run has not ended for 1 d 23 h; overdue by 1 d 23 h",
        (
            "overdue by 2 d 23 h; last run failed 23 h 47 min ago; "
            "schedule 505 has been failing for 2 d 23 h; 3 failed runs"
        ),
        "overdue by 4 d 23 h",
        "disk 114: no restore point; one was due 253 d 10 h ago",
    ]
    assert shown["unpaid-suspended"] == "Suspended"
    assert shown["sandbox-without-backups"] == "Not required"
    assert 'shop "Ümläut" \\ <b>café</b> & 日本' in shown
    assert len(shown) == 29
    assert sparks > 5
    assert tab.browser_errors == []


@pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])
def test_servers_are_searched_filtered_and_sorted(
    browser: Browser, demo: str, *, script: bool
) -> None:
    """By a form and by links; a script only spares the button."""
    with open_tab(browser, java_script_enabled=script) as tab:
        page = tab.page
        page.goto(demo)
        page.get_by_label("Search").fill("WEB-")
        page.get_by_role("button", name="Show").click()
        page.wait_for_url("**/?q=WEB-*")
        searched = tab.server_names()
        page.goto(demo)
        page.get_by_text("Filter and sort").click()
        page.get_by_label("State").select_option("Very stale")
        if not script:
            page.get_by_role("button", name="Show").click()
        page.wait_for_url("**state=very_stale*")
        filtered = tab.server_names()
        kept = page.get_by_label("State").input_value()
        page.get_by_role("columnheader").get_by_role("link", name="Size").click()
        page.wait_for_url("**sort=size*")
        ascending = tab.server_names()
        page.get_by_role("columnheader").get_by_role("link", name="Size").click()
        page.wait_for_url("**order=desc*")
        descending = tab.server_names()
        output = page.locator("th[aria-sort]").get_attribute("aria-sort")
        arrow = page.locator("th[aria-sort] a").evaluate(
            "node => getComputedStyle(node, '::after').content"
        )
        page.get_by_label("Order").select_option("ascending")
        if not script:
            page.get_by_role("button", name="Show").click()
        page.wait_for_url(lambda url: "order=desc" not in url)
        by_field = tab.server_names()

    assert searched == ["web-01", "web-02"]
    assert filtered == ["tracker-stuck", "ci-failed", "crm-stale"]
    assert kept == "very_stale"
    assert ascending == ["crm-stale", "tracker-stuck", "ci-failed"]
    assert descending == ascending[::-1]
    assert output == "descending"
    assert "▼" in arrow
    assert by_field == ascending
    assert tab.browser_errors == []


@pytest.mark.parametrize("size", [(1280, 900), (390, 800)], ids=["desk", "phone"])
def test_the_first_screen_shows_what_is_wrong(
    browser: Browser, four_panels: str, size: tuple[int, int]
) -> None:
    """A panel with problems, open, one line of each other, and the worst servers."""
    with open_tab(browser, size=size) as tab:
        tab.page.goto(four_panels)
        (headline,) = tab.texts("h1")
        panels = tab.texts(".panel summary bdi")
        opened = tab.texts(".panel:has(details[open]) summary bdi")
        advice = tab.page.get_by_text("whether a firewall").is_visible()
        lines = [box["height"] for box in tab.boxes(".panel.fine")]
        ends = [box["y"] + box["height"] for box in tab.boxes("tbody th .reason")]
        violations = tab.violations()

    assert headline == (
        "1 of 4 panels with problems; 12 critical, 4 warnings; "
        "12 of 24 servers that need backups are in time"
    )
    assert panels == ["lon1", "ams1", "fra1", "nyc1"]
    assert opened == ["lon1"]
    assert advice
    assert max(lines) < 40
    assert sum(end < size[1] for end in ends) >= (10 if size[0] > 1000 else 1)
    assert violations == []


def test_who_needs_attention_is_one_click_away(browser: Browser, demo: str) -> None:
    """As many as the chip says; it is explained why the others sum up to more."""
    with open_tab(browser) as tab:
        tab.page.goto(demo)
        first, every, *others = tab.texts(".counts :is(a, [aria-current])")
        explained = tab.page.get_by_text("counts under each state").is_visible()
        tab.page.get_by_role("link", name=first).click()
        tab.page.wait_for_url("**state=problem*")
        attention = tab.server_states()
        current = tab.texts(".counts [aria-current]")

    assert (first, every) == ("Needs attention 9", "All 29")
    assert sum(int(text.rpartition(" ")[2]) for text in others) > 29
    assert explained
    assert len(attention) == 9
    assert not any("Fine" in states for states in attention)
    assert current == [first]


def test_no_backup_sorts_as_the_oldest(browser: Browser, demo: str) -> None:
    """First where the oldest come first, and last where they come last."""
    with open_tab(browser) as tab:
        tab.page.goto(f"{demo}/?sort=last_success&state=problem")
        ascending = tab.texts("tbody td:nth-of-type(2)")
        tab.page.goto(f"{demo}/?sort=last_success&state=problem&order=desc")
        descending = tab.texts("tbody td:nth-of-type(2)")

    assert ascending[0] == descending[-1] == "none"
    assert ascending[1].startswith("5 d 23 h ago")


def test_what_was_chosen_is_shown_without_a_scroll(browser: Browser, demo: str) -> None:
    """However much is said of panels before it."""
    with open_tab(browser, size=NARROW) as tab:
        tab.page.goto(demo)
        first = tab.page.locator("h2#servers").bounding_box()
        tab.page.locator(".counts a", has_text="Stale").last.click()
        tab.page.wait_for_url("**state=stale*")
        scrolled = tab.page.locator("h2#servers").bounding_box()

    assert first is not None
    assert first["y"] < NARROW[1]
    assert scrolled is not None
    assert abs(scrolled["y"]) < 40


def test_nothing_sticks_out_of_its_sheet(browser: Browser, demo: str) -> None:
    """Not on a phone either, where words stand beside values."""
    outside = """[...document.querySelectorAll("tbody *")].filter(
        (part) => part.getBoundingClientRect().right >
          part.closest("table").getBoundingClientRect().right
    ).length"""
    with open_tab(browser, size=NARROW) as tab:
        tab.page.goto(demo)

        assert tab.page.evaluate(outside) == 0


def test_only_what_is_judged_is_ticked(browser: Browser, demo: str) -> None:
    """Of who is suspended or needs no backups nobody knows that they are well."""
    mark = "node => getComputedStyle(node, '::before').content"
    with open_tab(browser) as tab:
        tab.page.goto(demo)
        marks = {
            name: tab.page.locator(".counts a", has_text=name).evaluate(mark)
            for name in ("Fine", "Suspended", "Not required")
        }

    assert "✓" in marks["Fine"]
    assert "✓" not in marks["Suspended"] + marks["Not required"]


def test_pages_lead_to_each_other(browser: Browser, demo: str) -> None:
    """By the links below the table; what was chosen stays chosen."""
    with open_tab(browser) as tab:
        tab.page.goto(f"{demo}/?per_page=20&sort=server")
        first = tab.server_names()
        tab.page.get_by_role("link", name="Next", exact=True).click()
        tab.page.wait_for_url("**page=2*")
        second = tab.server_names()
        ways = tab.texts("nav.pages a")

    assert (len(first), len(second)) == (20, 9)
    assert first + second == sorted(first + second, key=str.casefold)
    assert ways == ["Previous"]


def test_a_server_has_a_page_with_every_backup(browser: Browser, demo: str) -> None:
    """What is wrong, with the way to what to do about it, and each row."""
    with open_tab(browser) as tab:
        tab.page.goto(demo)
        tab.page.get_by_role("link", name="db-03-stuck").click()
        tab.page.wait_for_url("**/server?*")
        title = tab.page.title()
        headings = tab.texts("h2")
        problems = tab.texts(".problems li")
        chart = tab.page.locator("figure svg").get_attribute("aria-label")
        runbook = tab.page.get_by_role("link", name="OnAppBackupStuck")
        href = runbook.get_attribute("href")
        backups = tab.texts("section:last-of-type tbody tr td:nth-of-type(1)")

    assert title == "db-03-stuck - OnApp backups"
    assert headings == [
        *("What is wrong", "Facts", "Targets", "Sizes", "Schedules"),
        *("Last transactions", "Backups"),
    ]
    assert [text.split(" ")[0] for text in problems] == ["Stuck", "Stale"]
    assert "overdue by 23 h 53 min; since 8 h 53 min ago" in problems[1]
    assert chart is not None
    assert chart.startswith("whole server 3: 7 sizes, between 235.2 MiB and 741.6 MiB")
    assert href == "runbooks/OnAppBackupStuck"
    assert backups == ["not built"] + ["built"] * 7
    assert tab.browser_errors == []


@pytest.mark.parametrize(
    ("path", "status", "words", "way"),
    [
        ("/nowhere", 404, "There is no page at this address.", "All servers"),
        ("/far/below/here", 404, "There is no page at this address.", "All servers"),
        ("/?state=sad", 400, "state: must be one of", "All servers"),
        ("/api/v1/status?page=0", 400, "page: must be a whole number", "All servers"),
        ("/-/reload", 405, "does not answer such a request", "All servers"),
        ("/runbooks/nothing", 404, "There is no runbook of that name.", "All servers"),
        ("/server?panel=demo&vm_id=99", 404, "It was deleted", "Servers of panel demo"),
        ("/server?panel=else&vm_id=1", 404, "has no panel else", "All servers"),
        ("/server", 404, "names its panel and its number", "All servers"),
    ],
)
def test_an_error_has_a_page_with_a_way_back(  # noqa: PLR0913, PLR0917  # of a table
    browser: Browser, demo: str, path: str, status: int, words: str, way: str
) -> None:
    """Whoever followed an old link is one click from the servers."""
    with open_tab(browser, size=NARROW, color_scheme="dark") as tab:
        response = tab.page.goto(demo + path)
        text = tab.page.inner_text("main")
        found = tab.violations(), tab.overflow()
        tab.page.get_by_role("link", name=way, exact=True).click()
        tab.page.wait_for_url(f"{demo}/**")
        names = tab.server_names()

    assert response is not None
    assert (response.status, found) == (status, ([], 0))
    assert words in text
    assert len(names) == 29


def test_times_are_those_of_the_reader_and_go_on(browser: Browser, demo: str) -> None:
    """With a script; the moment in UTC stays at hand, and is shown without one."""
    path = "/server?panel=demo&vm_id=3"
    shown = "dl.facts div:nth-child(7) time"
    with open_tab(browser, java_script_enabled=False) as tab:
        tab.page.goto(demo + path)
        (plain,) = tab.texts(shown)
    with open_tab(browser, timezone="Asia/Kolkata") as tab:
        tab.page.goto(demo + path)
        (local,) = tab.texts(shown)
        moment = tab.page.locator(shown).get_attribute("datetime")
        tab.page.clock.set_fixed_time(datetime.fromtimestamp(NOW + 86_400, UTC))
        tab.page.evaluate("showAll()")
        (later,) = tab.texts(shown)

    assert plain == "1 d 23 h ago 2027-01-13 08:06 UTC"
    assert local == "1 d 23 h ago 2027-01-13 13:36 GMT+5:30"
    assert moment == "2027-01-13T08:06:59Z"
    assert later == "2 d 23 h ago 2027-01-13 13:36 GMT+5:30"


def test_the_keyboard_reaches_the_search(browser: Browser, demo: str) -> None:
    """A slash, as elsewhere; in the field itself it is a slash."""
    with open_tab(browser) as tab:
        tab.page.goto(demo)
        tab.page.keyboard.press("/")
        tab.page.keyboard.type("web/")
        text = tab.page.get_by_label("Search").input_value()

    assert text == "web/"


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_the_keyboard_reaches_the_first_server_soon(
    browser: Browser, demo: str, size: tuple[int, int]
) -> None:
    """Past panels, filters and the form, by the link that comes first on each page."""
    focused = "document.activeElement.innerText"
    with open_tab(browser, size=size) as tab:
        tab.page.goto(demo)
        tab.page.keyboard.press("Tab")
        way = tab.page.evaluate(focused)
        shown = tab.page.locator(".skip").bounding_box()
        tab.page.keyboard.press("Enter")
        stops = [way]
        while stops[-1] != tab.server_names()[0] and len(stops) < 20:
            tab.page.keyboard.press("Tab")
            stops.append(tab.page.evaluate(focused))
        tab.page.goto(f"{demo}/server?panel=demo&vm_id=3")
        tab.page.keyboard.press("Tab")
        tab.page.keyboard.press("Enter")
        within = tab.page.evaluate("document.activeElement.tagName")

    assert way == "Skip to the servers"
    assert shown is not None
    assert shown["x"] >= 0
    assert len(stops) <= 10
    assert within == "MAIN"


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_hostile_names_do_nothing(
    browser: Browser, hostile: str, size: tuple[int, int]
) -> None:
    """They run nothing, break out of nothing, and widen nothing."""
    dialogs: list[str] = []
    with open_tab(browser, size=size) as tab:
        tab.page.on("dialog", lambda dialog: dialogs.append(dialog.message))
        tab.page.goto(hostile)
        titles = [tab.page.title()]
        names = tab.server_names()
        widths = [tab.overflow()]
        for number in range(1, 5):
            tab.page.goto(hostile)
            tab.page.locator(f'a[href*="vm_id={number}"]').click()
            tab.page.wait_for_url("**/server?*")
            titles.append(tab.page.title())
            widths.append(tab.overflow())
            tab.page.get_by_role("link", name=EVIL).click()
            tab.page.wait_for_url("**/panel?*")
            widths.append(tab.overflow())
        barred = tab.violations()
        images = tab.page.locator("img, b").count()

    assert dialogs == []
    assert EVIL in names
    assert titles == [
        "OnApp backups",
        *(f"{text} - OnApp backups" for text in (EVIL, LONG, TURNED, "'\"><b>")),
    ]
    assert max(widths) <= 0
    assert images == 0
    assert barred == []
    assert tab.browser_errors == []


def test_the_policy_is_in_force(browser: Browser, demo: str) -> None:
    """A script that somebody smuggles in does not run, and is complained of."""
    smuggle = (
        "const s = document.createElement('script'); s.textContent = 'owned = 1';"
        "document.body.append(s); typeof owned"
    )
    with open_tab(browser) as tab:
        tab.page.goto(demo)
        kind = tab.page.evaluate(smuggle)

    assert kind == "undefined"
    assert any("Content Security Policy" in text for text in tab.browser_errors)


def test_what_bars_people_is_found(browser: Browser) -> None:
    """So that the tests above can fail."""
    with open_tab(browser, size=NARROW) as tab:
        tab.page.set_content("<p style='width: 900px'><img src='data:,'>x</p>")

        assert any("image-alt" in rule for rule in tab.violations())
        assert tab.overflow() > 0
