"""Take the pictures of the status page that the documentation shows: `make images`.

Of the demo cloud at a fixed moment, so that they change only with what they show.
"""  # noqa: INP001  # no package

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from browser import NARROW, WIDE, chromium, demo_exporter, open_tab, served_in_thread

IMAGES = Path(__file__).with_name("images")
PICTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "status.png": ("/", {"size": WIDE}),
    "status-dark.png": ("/", {"size": WIDE, "color_scheme": "dark"}),
    "status-narrow.png": ("/?state=problem", {"size": NARROW}),
    "server.png": ("/server?panel=demo&vm_id=5", {"size": WIDE}),
    "panel.png": ("/panel?panel=demo", {"size": WIDE}),
}
_ADDRESS = "https://cp.example.com"


def main() -> int:
    """Take all of them."""
    IMAGES.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp())
    with served_in_thread(lambda: demo_exporter(folder)) as demo, chromium() as browser:
        for name, (path, options) in PICTURES.items():
            with open_tab(browser, **options) as tab:
                tab.page.goto(demo + path)
                # The port of the simulated panel is another each time.
                for address in tab.page.get_by_text("http://127.0.0.1").all():
                    address.evaluate(f"node => node.textContent = {_ADDRESS!r}")
                tab.page.screenshot(path=IMAGES / name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
