"""Write the generated pages, and the files for shells: `make docs`."""  # noqa: INP001  # no package

from __future__ import annotations

from pathlib import Path

import alerts_page
import cli_page
import completion
import configuration_page
import configuration_schema
import log_messages_page
import man_page
import metrics_page
import reliability_page
import runbook_pages
import sizing_page

from exporter.config.flags import PROGRAM

_SHELL = "../deploy/shell"
PAGES = {
    f"{_SHELL}/_{PROGRAM}": completion.zsh,
    f"{_SHELL}/{PROGRAM}.1": man_page.text,
    f"{_SHELL}/{PROGRAM}.bash": completion.bash,
    f"{_SHELL}/{PROGRAM}.fish": completion.fish,
    "alerts.md": alerts_page.text,
    "cli.md": cli_page.text,
    "config.schema.json": configuration_schema.text,
    "configuration.md": configuration_page.text,
    "log-messages.md": log_messages_page.text,
    "metrics.md": metrics_page.text,
    "reliability.md": reliability_page.text,
    "sizing.md": sizing_page.text,
}


def main() -> None:
    """Write every page."""
    for name, text in PAGES.items():
        (Path(__file__).parent / name).write_text(text(), encoding="utf-8")
    for source in runbook_pages.SOURCES:
        page = runbook_pages.RENDERED / f"{source.stem}.html"
        page.write_text(runbook_pages.html(source), encoding="utf-8")


if __name__ == "__main__":
    main()
