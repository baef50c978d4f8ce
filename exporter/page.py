"""The page at ``/``: each panel at a glance, and the way to everything else."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from . import __version__
from .panel_samples import poll_lag_seconds
from .samples import Now
from .store import PanelStore, Store

_STYLE = """
:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #8886; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
"""
_HEADINGS = ("Panel", "Address", "Version", "State", "Servers", "Not read", "Lag")


def page(store: Store, now: Now, telemetry_path: str) -> str:
    """Return the page as HTML; nothing that a panel says becomes markup."""
    rows = "\n".join(_row(panel, now) for panel in store.panels.values())
    headings = "".join(f"<th scope=col>{heading}" for heading in _HEADINGS)
    links = "\n".join(
        f'<li><a href="{escape(path)}">{text}</a>'
        for path, text in (
            (telemetry_path, "Metrics"),
            ("/-/healthy", "Health"),
            ("/-/ready", "Readiness"),
            ("/config", "Configuration"),
        )
    )
    return f"""<!doctype html>
<html lang=en>
<meta charset=utf-8>
<meta name=viewport content="width=device-width">
<title>OnApp backup exporter</title>
<style>{_STYLE}</style>
<h1>OnApp backup exporter {__version__}</h1>
<ul>
{links}
</ul>
<table>
<caption>Panels</caption>
<thead><tr>{headings}</thead>
<tbody>
{rows}
</tbody>
</table>
</html>
"""


def _row(panel: PanelStore, now: Now) -> str:
    numbers = "".join(f"<td class=number>{text}" for text in _numbers(panel, now))
    texts = (panel.name, panel.url, panel.version or "?", _state(panel, now))
    return f"<tr>{''.join(f'<td>{escape(text)}' for text in texts)}{numbers}"


def _state(panel: PanelStore, now: Now) -> str:
    states = {None: "not asked yet", True: "up", False: "down"}
    return states[panel.up(now.monotonic)]


def _numbers(panel: PanelStore, now: Now) -> Iterator[str]:
    watches = panel.watches.values()
    yield str(len(watches) + len(panel.unresolved))
    yield str(sum(w.failing is True for w in watches) + len(panel.unresolved))
    yield f"{poll_lag_seconds(panel, now):.0f} s"
