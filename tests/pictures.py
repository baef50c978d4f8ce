"""Take the pictures that the documentation shows: the status page, a dashboard.

    make images

Of the demo cloud at a fixed moment, so that they change only with what they show. The
dashboard is drawn from its file and from what Prometheus answers to its queries.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Any

import boards
import drawing
from asking import answered
from browsing import NARROW, WIDE, a_browser, in_a_thread, looking, the_demo
from past import remembering

IMAGES = Path(__file__).parents[1] / "docs" / "images"
PICTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "status.png": ("/", {"size": WIDE}),
    "status-dark.png": ("/", {"size": WIDE, "color_scheme": "dark"}),
    "status-narrow.png": ("/?state=trouble", {"size": NARROW}),
    "server.png": ("/server?panel=demo&vm_id=3", {"size": WIDE}),
}
BOARD, DAYS = "onapp-cloud", 7.0
_ADDRESS = "https://cp.example.com"


def main() -> int:
    """Take all of them."""
    IMAGES.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp())
    (folder / "past").mkdir()
    drawn = folder / "dashboard.html"
    drawn.write_text(asyncio.run(dashboard(folder / "past", DAYS)), "utf-8")
    with in_a_thread(lambda: the_demo(folder)) as demo, a_browser() as browser:
        for name, (path, options) in PICTURES.items():
            with looking(browser, **options) as look:
                look.page.goto(demo + path)
                # The port of the simulated panel is another each time.
                for address in look.page.locator(".address bdi:first-child").all():
                    address.evaluate(f"node => node.textContent = {_ADDRESS!r}")
                look.page.screenshot(path=IMAGES / name)
        with looking(browser) as look:
            look.page.goto(drawn.as_uri())
            look.page.locator("main").screenshot(path=IMAGES / "dashboard-cloud.png")
    return 0


async def dashboard(folder: Path, days: float) -> str:
    """Return the overview of the demo cloud, as HTML, after so many days."""
    async with remembering(folder, BOARD, days) as (prometheus, now):
        answers = await answered(prometheus, BOARD, now, days)
    return drawing.page(boards.BOARDS[BOARD], answers)


if __name__ == "__main__":
    sys.exit(main())
