"""A client of the pages of a given store, over real sockets."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html import unescape
from typing import Any
from urllib.parse import urlencode

import aiohttp
from web_handlers import handlers_for

from exporter.model.store import Store
from exporter.web.server import serving

_LONGEST_REAL_WAIT_SECONDS = 60


@asynccontextmanager
async def served(store: Store, **options: Any) -> AsyncIterator[Looker]:
    """Serve a store's pages."""
    handlers = handlers_for(store, **options)
    async with (
        asyncio.timeout(_LONGEST_REAL_WAIT_SECONDS),
        serving(
            handlers.application(),
            ("127.0.0.1:0",),
            show_error=handlers.show_error,
        ) as bound,
        aiohttp.ClientSession() as session,
    ):
        yield Looker(f"http://{bound[0]}", session)


class Looker:
    """Asks for pages."""

    def __init__(self, base: str, session: aiohttp.ClientSession) -> None:
        """Ask there."""
        self.base, self.session = base, session

    async def get(self, path: str, **parameters: Any) -> tuple[int, str]:
        """Return status and text of a page; lists are repeated parameters."""
        query = urlencode(parameters, doseq=True)
        async with self.session.get(f"{self.base}{path}?{query}") as response:
            return response.status, await response.text()

    async def status(self, **parameters: Any) -> dict[str, Any]:
        """Return the status as JSON."""
        code, text = await self.get("/api/v1/status", **parameters)
        assert code == 200, text
        found: dict[str, Any] = json.loads(text)
        return found

    async def ids(self, **parameters: Any) -> list[str]:
        """Return the numbers of the servers that are found, in their order."""
        found = await self.status(**parameters)
        return [server["vm_id"] for server in found["servers"]]


def words_of(page: str) -> str:
    """Return the words of a page, headings after ``#``; pictures by their label."""
    main = page[page.index("<main") : page.index("</main>")]
    main = re.sub(r'<svg[^>]* aria-label="([^"]*)"[^>]*>', r" \1 ", main)
    main = re.sub(r"<h\d[^>]*>", " # ", main)
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", main)).split())


def section(words: str, title: str) -> str:
    """Return what stands under a heading; empty: there is none."""
    found = (s for s in words.split("# ") if s.startswith(title))
    return next(found, "").removeprefix(title).strip()
