"""The walk through the pages in the manual leads through the pages that there are."""

from __future__ import annotations

import re
from pathlib import Path

import aiohttp
from checkout import DOCS
from faulty_panel import Panel
from harness import NOW, monitored

from exporter.demo.cloud.demo_cloud import demo_cloud

_PAGE = (DOCS / "on-call.md").read_text("utf-8")


async def test_every_page_of_the_walk_shows_what_the_walk_says(tmp_path: Path) -> None:
    """Each address answers, and the server has the states, in this order."""
    paths = re.findall(r"`(/[^`]+)`", _PAGE)
    states = re.findall(r"\*([A-Z][a-z ]+)\*", _PAGE.partition("\n2. ")[0])
    texts = {}
    panel = Panel(demo_cloud(NOW))
    async with (
        monitored(panel, tmp_path, name="demo") as cloud,
        aiohttp.ClientSession() as session,
    ):
        for path in paths:
            async with session.get(cloud.base + path) as response:
                texts[path] = await response.text()
                assert response.status == 200, path

    assert len(paths) == 5
    server = texts[paths[0]]
    found = [server.find(f"{state}</") for state in states]

    assert len(states) == 3
    assert -1 not in found
    assert found == sorted(found)
    assert "Last transactions" in server
    assert "last 24 hours" in texts[paths[2]]
