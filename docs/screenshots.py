"""Take the pictures of the status page that the documentation shows: `make images`.

Of the demo cloud at a fixed moment, so that they change only with what they show.
"""  # noqa: INP001  # no package

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from browser import NARROW, WIDE, a_browser, in_a_thread, looking, the_demo

IMAGES = Path(__file__).with_name("images")
PICTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "status.png": ("/", {"size": WIDE}),
    "status-dark.png": ("/", {"size": WIDE, "color_scheme": "dark"}),
    "status-narrow.png": ("/?state=trouble", {"size": NARROW}),
    "server.png": ("/server?panel=demo&vm_id=3", {"size": WIDE}),
}
_ADDRESS = "https://cp.example.com"


def main() -> int:
    """Take all of them."""
    IMAGES.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp())
    with in_a_thread(lambda: the_demo(folder)) as demo, a_browser() as browser:
        for name, (path, options) in PICTURES.items():
            with looking(browser, **options) as look:
                look.page.goto(demo + path)
                # The port of the simulated panel is another each time.
                for address in look.page.locator(".address bdi:first-child").all():
                    address.evaluate(f"node => node.textContent = {_ADDRESS!r}")
                look.page.screenshot(path=IMAGES / name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
