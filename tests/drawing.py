"""A dashboard drawn from its own file: what Grafana shows of it, without Grafana.

Places, titles, units, thresholds, mappings and the order of rows are the dashboard's;
the values are Prometheus' answers to its queries. Source: Grafana's model of
dashboards, as far as ours use it; what is not known here raises KeyError.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from itertools import pairwise
from typing import Any, TypeAlias

Labels: TypeAlias = dict[str, str]
Series: TypeAlias = tuple[Labels, list[tuple[float, float]]]
"""Labels, and values by moments; an instant query's has one."""
Answers: TypeAlias = Mapping[str, Sequence[Series]]
"""What each query of a panel was answered, by its letter."""
_Row: TypeAlias = dict[str, Any]

COLORS = {
    "green": "#73bf69",
    "red": "#f2495c",
    "dark-red": "#c4162a",
    "orange": "#ff9830",
    "yellow": "#fade2a",
    "purple": "#b877d9",
    "blue": "#5794f2",
    "text": "#8e8e8e",
}
_LINES = ("#73bf69", "#f2cc0c", "#8ab8ff", "#ff780a", "#f2495c", "#5794f2", "#b877d9")
_COLUMN_PX, _ROW_PX, _GAP_PX = 64, 34, 8
_LEFT_PX, _TOP_PX = 70, 8
"""Around a graph, for the words of its axes."""
_STYLE = """
body { margin: 0; background: #f4f5f5; font: 13px/1.4 Inter, "DejaVu Sans", sans-serif;
  color: #24292e; }
main { position: relative; margin: 8px; }
section { position: absolute; box-sizing: border-box; overflow: hidden;
  background: #fff; border: 1px solid #e4e5e6; border-radius: 3px; }
section.row { background: none; border: 0; font-size: 16px; padding: 4px 2px; }
h2 { font: inherit; font-weight: 600; margin: 0; padding: 6px 10px; }
table { border-collapse: collapse; width: 100%; white-space: nowrap; font-size: 12px; }
td, th { text-align: left; padding: 3px 8px; border-bottom: 1px solid #eceded;
  max-width: 260px; overflow: hidden; text-overflow: ellipsis; }
th { color: #1f62e0; font-weight: 600; }
.number { text-align: right; }
.stats { display: flex; gap: 6px; padding: 0 8px; height: calc(100% - 42px); }
.stats div { flex: 1; border-radius: 3px; color: #fff; padding: 8px 12px; }
.stats b { display: block; font-size: 40px; line-height: 1.3; }
.gauge { background: #eceded; width: 120px; height: 12px; display: inline-block;
  margin-right: 8px; }
.gauge i { display: block; height: 100%; }
svg text { font-size: 11px; fill: #6e7379; }
i.key { display: inline-block; width: 14px; height: 4px; margin: 0 6px 3px 0; }
"""


@dataclass(frozen=True)
class Field:
    """How a panel shows one of its fields."""

    name: str
    config: Mapping[str, Any]

    def text(self, value: object) -> str:
        """Return a value in its unit, or what is said in its place."""
        mapped = self._mapped(value)
        if mapped is not None:
            return str(mapped["text"])
        if not isinstance(value, float):
            return str(value)
        return _UNITS[self.config.get("unit", "none")](value)

    def color(self, value: object) -> str:
        """Return the colour that a value is given."""
        mapped = self._mapped(value)
        if mapped is not None:
            return COLORS[mapped["color"]]
        name = "text"
        for step in self.config["thresholds"]["steps"]:
            below = step["value"] is None or (
                isinstance(value, float) and value >= step["value"]
            )
            name = step["color"] if below else name
        return COLORS[name]

    def _mapped(self, value: object) -> Mapping[str, Any] | None:
        key = f"{value:g}" if isinstance(value, float) else str(value)
        for mapping in self.config.get("mappings", ()):
            if found := mapping["options"].get(key):
                return dict(found)
        return None


def page(board: Mapping[str, Any], answers: Mapping[int, Answers]) -> str:
    """Return a dashboard as HTML, with the answers of each panel, by its number."""
    panels = board["panels"]
    bottom = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    drawn = "".join(_panel(panel, answers.get(panel["id"], {})) for panel in panels)
    height = bottom * (_ROW_PX + _GAP_PX)
    size = f"width:{24 * _COLUMN_PX}px;height:{height}px"
    head = f"<meta charset=utf-8><title>{escape(board['title'])}</title>"
    return f'{head}<style>{_STYLE}</style><main style="{size}">{drawn}</main>'


def _panel(panel: Mapping[str, Any], answers: Answers) -> str:
    grid, kind = panel["gridPos"], panel["type"]
    place = (
        f"left:{grid['x'] * _COLUMN_PX}px;top:{grid['y'] * (_ROW_PX + _GAP_PX)}px;"
        f"width:{grid['w'] * _COLUMN_PX - _GAP_PX}px;"
        f"height:{grid['h'] * (_ROW_PX + _GAP_PX) - _GAP_PX}px"
    )
    size = grid["w"] * _COLUMN_PX - _GAP_PX, grid["h"] * (_ROW_PX + _GAP_PX) - _GAP_PX
    content = _KINDS[kind](panel, answers, size)
    title = escape(panel["title"])
    return (
        f'<section class="{kind}" style="{place}"><h2>{title}</h2>{content}</section>'
    )


def _field(panel: Mapping[str, Any], name: str) -> Field:
    config = dict(panel["fieldConfig"]["defaults"])
    for override in panel["fieldConfig"]["overrides"]:
        if override["matcher"] == {"id": "byName", "options": name}:
            config |= {one["id"]: one["value"] for one in override["properties"]}
    return Field(name, config)


def _stat(panel: Mapping[str, Any], answers: Answers, _: tuple[int, int]) -> str:
    tiles = []
    for target in panel["targets"]:
        field = _field(panel, target["legendFormat"])
        for _labels, values in answers[target["refId"]]:
            value = values[-1][1]
            shown = f"{escape(field.name)}<b>{escape(field.text(value))}</b>"
            tiles.append(f'<div style="background:{field.color(value)}">{shown}</div>')
    return f'<div class="stats">{"".join(tiles)}</div>'


def _table(panel: Mapping[str, Any], answers: Answers, _: tuple[int, int]) -> str:
    rows = _merged(answers)
    _merge, chosen, organized = panel["transformations"]
    names = chosen["options"]["include"]["names"]
    order, called = (organized["options"][k] for k in ("indexByName", "renameByName"))
    columns = [
        (name, _field(panel, called[name]))
        for name in sorted(names, key=lambda name: order[name])
        if any(name in row for row in rows)
    ]
    for wanted in reversed(panel["options"]["sortBy"]):
        (name,) = (k for k, title in called.items() if title == wanted["displayName"])
        rows.sort(key=_sorting(name), reverse=wanted["desc"])
    heads = "".join(
        f"<th{_side(rows, name)}>{escape(field.name)}" for name, field in columns
    )
    cells = (
        "".join(
            _cell(field, row.get(name), _side(rows, name)) for name, field in columns
        )
        for row in rows
    )
    return f"<table><tr>{heads}{''.join(f'<tr>{row}' for row in cells)}</table>"


def _merged(answers: Answers) -> list[_Row]:
    """Return rows whose labels agree as one, each query's value in its own column."""
    rows: list[_Row] = []
    for letter, found in answers.items():
        name = f"Value #{letter}" if len(answers) > 1 else "Value"
        for labels, values in found:
            row = next((row for row in rows if _agree(row, labels, name)), None)
            if row is None:
                row = {}
                rows.append(row)
            row |= labels | {name: values[-1][1]}
    return rows


def _agree(row: _Row, labels: Labels, name: str) -> bool:
    return name not in row and all(row.get(k, v) == v for k, v in labels.items())


def _sorting(name: str) -> Callable[[_Row], tuple[bool, Any]]:
    return lambda row: (name in row, row.get(name, 0.0))


def _side(rows: Iterable[_Row], name: str) -> str:
    numbers = any(isinstance(row.get(name), float) for row in rows)
    return ' class="number"' if numbers and not name.endswith("#A") else ""


def _cell(field: Field, value: object, side: str) -> str:
    if value is None:
        return f"<td{side}>"
    text = escape(field.text(value))
    shown = field.config.get("custom.cellOptions", {}).get("type", "auto")
    if shown == "color-background":
        color = field.color(value)
        ink = "#24292e" if color == COLORS["yellow"] else "#fff"
        return f'<td{side} style="background:{color};color:{ink}">{text}'
    if shown == "color-text":
        return f'<td{side} style="color:{field.color(value)}">{text}'
    if shown == "gauge" and isinstance(value, float):
        bar = f"width:{100 * min(value, 1):.0f}%;background:{field.color(value)}"
        return f'<td{side}><span class="gauge"><i style="{bar}"></i></span>{text}'
    return f"<td{side}>{text}"


def _lines(panel: Mapping[str, Any], answers: Answers, size: tuple[int, int]) -> str:
    found = [
        (_legend(target["legendFormat"], labels), values)
        for target in panel["targets"]
        for labels, values in answers[target["refId"]]
    ]
    custom = panel["fieldConfig"]["defaults"]["custom"]
    stacked = "stacking" in custom
    field = _field(panel, "")
    width, height = size[0] - _LEFT_PX - 20, size[1] - 100 - 25 * len(found)
    moments = sorted({moment for _, values in found for moment, _ in values})
    tops = dict.fromkeys(moments, 0.0)
    shapes, lines = [], []
    for (name, values), color in zip(found, _LINES, strict=False):
        points = []
        for moment, value in values:
            tops[moment] = tops[moment] + value if stacked else value
            points.append((moment, tops[moment]))
        lines.append((points, color))
        most = max(value for _, value in values)
        key = f'<i class="key" style="background:{color}"></i>{escape(name)}'
        last = values[-1][1]
        shapes.append(f"<tr><td>{key}<td>{field.text(last)}<td>{field.text(most)}")
    highest = _rounded(max(value for points, _ in lines for _, value in points))
    drawn = "".join(
        _line(
            points, color, (moments[0], moments[-1], highest), (width, height), custom
        )
        for points, color in reversed(lines)
    )
    frame = _frame(moments, highest, (width, height), field)
    svg = f'<svg width="{size[0]}" height="{height + 30}">{frame}{drawn}</svg>'
    return f"{svg}<table><tr><th>Name<th>Last<th>Max{''.join(shapes)}</table>"


def _line(
    points: Sequence[tuple[float, float]],
    color: str,
    reach: tuple[float, float, float],
    size: tuple[int, int],
    custom: Mapping[str, Any],
) -> str:
    first, last, highest = reach
    height, scale = size[1], size[0] / ((last - first) or 1)
    step = min(
        (after - before for (before, _), (after, _) in pairwise(points)), default=0
    )
    parts: list[list[str]] = []
    before = -math.inf
    for moment, value in points:
        if moment - before > 1.5 * step:
            parts.append([])  # nothing is drawn where there is nothing
        x = _LEFT_PX + (moment - first) * scale
        y = _TOP_PX + height * (1 - value / highest)
        parts[-1].append(f"{x:.1f},{y:.1f}")
        before = moment
    ground, drawn = _TOP_PX + height, ""
    for part in parts:
        ends = f"L{part[-1].split(',')[0]},{ground}L{part[0].split(',')[0]},{ground}Z"
        path = f"M{'L'.join(part)}"
        drawn += (
            f'<path d="{path}{ends}" fill="{color}"'
            f' opacity="{custom["fillOpacity"] / 100}"/>'
            f'<path d="{path}{"h0.1" * (len(part) == 1)}" fill="none"'
            f' stroke="{color}" stroke-width="1.5" stroke-linecap="round"/>'
        )
    return drawn


def _frame(
    moments: Sequence[float], highest: float, size: tuple[int, int], field: Field
) -> str:
    """Return the lines and words of both axes."""
    width, height = size
    parts = []
    for share in (0.0, 0.5, 1.0):
        y, right = _TOP_PX + height * (1 - share), _LEFT_PX + width
        parts.append(
            f'<line x1="{_LEFT_PX}" x2="{right}" y1="{y}" y2="{y}" stroke="#eceded"/>'
            f'<text x="{_LEFT_PX - 7}" y="{y + 4}" text-anchor="end">'
            f"{field.text(highest * share)}</text>"
        )
    first, last = moments[0], moments[-1]
    for number in range(1, 6):
        at = first + (last - first) * number / 6
        x = _LEFT_PX + width * number / 6
        word = datetime.fromtimestamp(at, UTC).strftime("%d %b %H:%M")
        parts.append(
            f'<text x="{x}" y="{height + 26}" text-anchor="middle">{word}</text>'
        )
    return "".join(parts)


def _rounded(value: float) -> float:
    """Return a round number that is as large at least."""
    if value <= 0:
        return 1.0
    unit = 10 ** math.floor(math.log10(value))
    return float(next(unit * n for n in (1, 2, 4, 6, 8, 10) if unit * n >= value))


def _legend(form: str, labels: Labels) -> str:
    for name, value in labels.items():
        form = form.replace(f"{{{{{name}}}}}", value)
    return form


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _bytes(value: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(value) < 1024:
            return f"{_number(value)} {unit}"
        value /= 1024
    return f"{_number(value)} TiB"


def _seconds(value: float) -> str:
    for unit, size in (("weeks", 604_800), ("days", 86_400), ("hours", 3600)):
        if value >= size:
            return f"{value / size:.1f} {unit}"
    return f"{value / 60:.1f} mins" if value >= 60 else f"{_number(value)} s"


_UNITS: Mapping[str, Callable[[float], str]] = {
    "none": _number,
    "bytes": _bytes,
    "s": _seconds,
    "dtdurations": _seconds,
    "percentunit": lambda value: f"{100 * value:.1f}%",
}
_KINDS: Mapping[str, Callable[[Mapping[str, Any], Answers, tuple[int, int]], str]] = {
    "row": lambda *_: "",
    "stat": _stat,
    "table": _table,
    "timeseries": _lines,
}
