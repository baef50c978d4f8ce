"""A real browser that opens the pages of a real exporter.

The exporter runs in a thread with its own event loop: Playwright's commands block, and
the exporter must serve meanwhile.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from checkout import TOOLS
from faulty_panel import demo_panel
from harness import NOW, SteppedClock, running_exporter, write_config
from playwright.sync_api import (
    Browser,
    BrowserContext,
    FloatRect,
    Page,
    ViewportSize,
    sync_playwright,
)
from stores import a_store
from web_handlers import handlers_for

from exporter.model.store import PanelStore
from exporter.web.server import serving

WIDE, NARROW = (1180, 900), (360, 740)
_LONGEST_REAL_WAIT_SECONDS = 60.0
_STANDARDS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@asynccontextmanager
async def demo_exporter(folder: Path) -> AsyncIterator[str]:
    """Run an exporter over the demo cloud at a fixed moment; yield its address."""
    clock = SteppedClock(NOW)
    panel = await demo_panel(clock=clock.time)
    try:
        file = folder / "onapp.yml"
        write_config(file, panel, {}, {"name": "demo"})
        async with running_exporter(panel, file, clock) as cloud:
            yield cloud.base
    finally:
        await panel.stop()


@contextmanager
def pages_in_thread(*panels: PanelStore) -> Iterator[str]:
    """Serve the pages of these panels in a thread; yield the address."""

    @asynccontextmanager
    async def served() -> AsyncIterator[str]:
        app = handlers_for(a_store(*panels)).application()
        async with serving(app, ("127.0.0.1:0",)) as (address,):
            yield f"http://{address}"

    with served_in_thread(served) as address:
        yield address


@contextmanager
def served_in_thread(
    served: Callable[[], AbstractAsyncContextManager[str]],
) -> Iterator[str]:
    """Serve in a thread with its own event loop; yield the address."""
    addresses: list[str] = []
    begun = threading.Event()
    ending: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def serve() -> None:
        ended = asyncio.Event()
        ending.append((asyncio.get_running_loop(), ended))
        async with served() as address:
            addresses.append(address)
            begun.set()
            await ended.wait()

    def run() -> None:
        try:
            asyncio.run(serve())
        finally:
            begun.set()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert begun.wait(_LONGEST_REAL_WAIT_SECONDS)
        assert addresses, "nothing was served"
        yield addresses[0]
    finally:
        loop, ended = ending[0]
        loop.call_soon_threadsafe(ended.set)
        thread.join(_LONGEST_REAL_WAIT_SECONDS)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start Chromium without a sandbox: it opens only our own pages."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not on the PATH: `make tools` fetches it")
    with _libraries(), sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program,
            chromium_sandbox=False,
            env={**os.environ, "TZ": "UTC"},
        )
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def _libraries() -> Iterator[None]:
    """Add the libraries that tests/tools.sh unpacked to the driver's path."""
    folders = map(str, TOOLS.glob("libatomic1/usr/lib/*-linux-gnu*"))
    known = filter(None, [os.environ.get("LD_LIBRARY_PATH")])
    with pytest.MonkeyPatch.context() as patch:
        if found := ":".join([*folders, *known]):
            patch.setenv("LD_LIBRARY_PATH", found)
        yield


@dataclass(eq=False)
class Tab:
    """An open page, and the errors that the browser reported."""

    page: Page
    browser_errors: list[str] = field(default_factory=list)

    def texts(self, selector: str) -> list[str]:
        """Return the text of each such element, blanks collapsed."""
        found = self.page.locator(selector).all_inner_texts()
        return [" ".join(text.split()) for text in found]

    def boxes(self, selector: str) -> list[FloatRect]:
        """Return where each such element that is shown is."""
        found = [part.bounding_box() for part in self.page.locator(selector).all()]
        return [box for box in found if box is not None]

    def server_names(self) -> list[str]:
        """Return the names of the servers shown, in order."""
        return self.texts("tbody th.first > a")

    def server_states(self) -> list[str]:
        """Return the states of each server shown, in order."""
        return self.texts("tbody td.first")

    def overflow(self) -> int:
        """Return by how many pixels the page is wider than its window."""
        width: int = self.page.evaluate(
            "document.documentElement.scrollWidth - window.innerWidth"
        )
        return width

    def violations(self) -> list[str]:
        """Return the accessibility violations that axe-core finds."""
        source = (
            files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")
        )
        # By the debugging protocol: the page's policy forbids other scripts.
        self.page.evaluate(source)
        options = json.dumps(
            {
                "runOnly": {"type": "tag", "values": _STANDARDS},
                "resultTypes": ["violations"],
            }
        )
        found: dict[str, Any] = self.page.evaluate(f"axe.run(document, {options})")
        return [
            f"{rule['id']}: {node['html']}"
            for rule in found["violations"]
            for node in rule["nodes"]
        ]


@contextmanager
def open_tab(browser: Browser, **options: Any) -> Iterator[Tab]:
    """Open a tab in a fresh profile, with the browser's clock fixed at ``NOW``."""
    size = options.pop("size", WIDE)
    viewport: ViewportSize = {"width": size[0], "height": size[1]}
    zone = options.pop("timezone", "UTC")
    context: BrowserContext = browser.new_context(
        viewport=viewport, timezone_id=zone, locale="en-GB", **options
    )
    context.set_default_timeout(_LONGEST_REAL_WAIT_SECONDS * 1000)
    try:
        page = context.new_page()
        tab = Tab(page)
        page.on("console", lambda output: tab.browser_errors.append(output.text))
        page.on("pageerror", lambda error: tab.browser_errors.append(str(error)))
        page.on("requestfailed", lambda sent: tab.browser_errors.append(sent.url))
        if options.get("java_script_enabled", True):
            page.clock.set_fixed_time(datetime.fromtimestamp(NOW, UTC))
        yield tab
    finally:
        context.close()
