"""Write the generated pages of docs/ anew: `make docs`."""  # noqa: INP001  # no package

from __future__ import annotations

from pathlib import Path

import cli_page
import metrics_page

PAGES = {"cli.md": cli_page.text, "metrics.md": metrics_page.text}


def main() -> None:
    """Write every page."""
    for name, text in PAGES.items():
        Path(__file__).with_name(name).write_text(text(), encoding="utf-8")


if __name__ == "__main__":
    main()
