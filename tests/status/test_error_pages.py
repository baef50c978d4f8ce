"""Tests for errors: a page with a way back in a browser, plain text for programs."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urljoin

import pytest
from faulty_panel import Panel
from harness import NOW, monitored
from looker import served
from secured_server import USERS, secured
from stores import TIME, a_backup, a_panel, a_server, a_store, add_server

from exporter import __version__
from exporter.demo.cloud.simulation import SimulatedCloud
from exporter.model.selection import Shard

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
EVIL = "<script>alert(1)</script>"


@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/plain", None])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/nowhere", "404: Not Found"),
        ("/-/reload", "405: Method Not Allowed"),
        (
            "/server?panel=cp&vm_id=2",
            "No such server here: panel or vm_id is wrong, or another shard's.\n",
        ),
        ("/api/v1/status?page=0", "page: must be a whole number from 1\n"),
    ],
)
async def test_programs_get_text(path: str, body: str, accept: str | None) -> None:
    """A script that reads it, or a probe that logs it, sees no markup."""
    headers = {} if accept is None else {"Accept": accept}
    panel = a_panel()
    add_server(panel, a_server(), a_backup())
    async with (
        served(a_store(panel)) as looker,
        looker.session.get(looker.base + path, headers=headers) as response,
    ):
        text, kind = await response.text(), response.content_type

    assert (text, kind) == (body, "text/plain")


async def test_an_error_keeps_its_status_and_headers() -> None:
    """The page is what a person sees; caches and clients see what they did."""
    async with served(a_store()) as looker:
        accepted = {"Accept": BROWSER, "Accept-Encoding": "identity"}
        url = f"{looker.base}/-/reload"
        async with looker.session.get(url, headers=accepted) as got:
            page, kind, headers = await got.text(), got.content_type, got.headers
        async with looker.session.head(looker.base, headers=accepted) as good:
            fine = good.status, good.content_type
        async with looker.session.head(url, headers=accepted) as head:
            empty = await head.read()

    assert (got.status, kind, fine) == (405, "text/html", (200, "text/html"))
    assert headers["Allow"] == "POST"
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Frame-Options"] == "DENY"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert int(headers["Content-Length"]) == len(page.encode())
    assert (head.status, empty) == (405, b"")


async def test_who_is_not_let_in_learns_nothing_of_the_exporter(tmp_path: Path) -> None:
    """Who cancels the login dialog gets a page without version, names or links."""
    async with secured(tmp_path, USERS) as server:
        response = await server.request(user=None, headers={"Accept": BROWSER})
        page = await response.text()

    assert (response.status, response.content_type) == (401, "text/html")
    assert response.headers["WWW-Authenticate"] == "Basic"
    assert __version__ not in page
    assert re.findall(r'href="([^"]*)"', page) == ["data:,", "./", "./"]


async def test_what_stands_in_the_address_is_text() -> None:
    """On the page of an error too."""
    panel = a_panel(EVIL)
    paths = [f"/{EVIL}", f"/?sort={EVIL}", f"/server?panel={EVIL}&vm_id={EVIL}"]
    async with served(a_store(panel)) as looker:
        pages = []
        for path in paths:
            url = urljoin(looker.base, path)
            headers = {"Accept": BROWSER}
            async with looker.session.get(url, headers=headers) as response:
                pages.append(await response.text())

    for page in pages:
        assert "<script>alert" not in page
        assert "All servers" in page


async def test_a_server_that_another_shard_may_read_is_not_called_deleted() -> None:
    """Only one of several processes knows it."""
    panel = a_panel(inventory_read_at=TIME - 60)
    pages = []
    for shard in (Shard(), Shard(0, 2)):
        async with (
            served(a_store(panel), shard=shard) as looker,
            looker.session.get(
                f"{looker.base}/server?panel=cp&vm_id=2", headers={"Accept": BROWSER}
            ) as response,
        ):
            pages.append(await response.text())
    alone, sharded = pages

    assert "last listed" in alone
    assert "1 min ago" in alone
    assert "another shard reads it" not in alone
    assert "another shard reads it" in sharded


async def test_a_server_that_was_deleted_gets_a_page(tmp_path: Path) -> None:
    """Once two inventories say so; until then its own page stays."""
    world = SimulatedCloud(NOW)
    (first, _) = world.add_server(), world.add_server()
    panel = Panel(world)
    path = f"/server?panel=cp&vm_id={first.id}"
    async with monitored(panel, tmp_path) as cloud:
        before = await cloud.get(path, Accept=BROWSER)
        world.remove_server(first.id)
        await cloud.advance(3600)
        after = await cloud.get(path, Accept=BROWSER)

    assert before[0] == 200
    assert after[0] == 404
    assert "It was deleted" in after[1]
    assert f'href="./?q={first.id}#servers"' in after[1]
