"""The dashboards as the files that Grafana reads."""

from __future__ import annotations

import json
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from . import cloud, exporter, server

FOLDER = Path(__file__).with_name("dashboards")
_WIDTH = 160
_DEFAULTS: dict[str, object] = {
    **dict.fromkeys(("asDropdown", "auto", "hide", "inspect", "instant"), False),
    **dict.fromkeys(
        ("range", "showPercentChange", "showTypeIcons", "skipUrlSync", "targetBlank"),
        False,
    ),
    "transparent": False,
    **dict.fromkeys(("icon", "tooltip"), ""),
    "align": "auto",
    "alignValue": "left",
    "allowCustomValue": True,
    "auto_count": 30,
    "auto_min": "10s",
    "builtIn": 0,
    "cellHeight": "sm",
    "fiscalYearStartMonth": 0,
    "footer": {"countRows": False, "reducer": [], "show": False},
    "frameIndex": 0,
    "justifyMode": "auto",
    "orientation": "auto",
    "percentChangeColorMode": "standard",
    "perPage": 20,
    "placement": "bottom",
    "repeatDirection": "h",
    "rowHeight": 0.9,
    "showHeader": True,
    "showLegend": True,
    "wideLayout": True,
}
"""What the SDK writes though Grafana assumes it."""


def texts() -> dict[str, str]:
    """Return the text of each file, by its name."""
    boards = (cloud.board(), server.board(), exporter.board())
    return {
        f"{board.uid}.json": _text(_found(JSONEncoder().encode(board))) + "\n"
        for board in boards
    }


def _found(encoded: str) -> object:
    def without_defaults(pairs: list[tuple[str, object]]) -> dict[str, object]:
        return {
            key: value
            for key, value in sorted(pairs)
            if key not in _DEFAULTS or value != _DEFAULTS[key]
        }

    return json.loads(encoded, object_pairs_hook=without_defaults)


def _text(value: object, indent: str = "") -> str:
    """Return a value as JSON, in one line where that is short."""
    line = json.dumps(value, ensure_ascii=False)
    inner = indent + " "
    if not isinstance(value, dict | list) or len(indent + line) <= _WIDTH:
        return line
    if isinstance(value, list):
        parts = [_text(one, inner) for one in value]
    else:
        parts = [
            f"{json.dumps(key)}: {_text(one, inner)}" for key, one in value.items()
        ]
    opening, closing = "[]" if isinstance(value, list) else "{}"
    body = ",\n".join(f"{inner}{part}" for part in parts)
    return f"{opening}\n{body}\n{indent}{closing}"
