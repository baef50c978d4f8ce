"""The dashboards as shipped, and how Grafana fills in their queries."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from checkout import ROOT

FOLDER = ROOT / "grafana" / "dashboards"
DASHBOARDS: dict[str, dict[str, Any]] = {
    file.stem: json.loads(file.read_text("utf-8"))
    for file in sorted(FOLDER.glob("*.json"))
}
ALL_VALUES = ".*"

VariableValues: TypeAlias = Mapping[str, str]
"""The value of each variable, as it is written in a query."""


@dataclass(frozen=True)
class Query:
    """A query of a panel."""

    dashboard: str
    panel: str
    ref: str
    expression: str
    legend: str
    instant: bool

    @property
    def location(self) -> str:
        """Return dashboard, panel and query, for messages."""
        return f"{self.dashboard}: {self.panel}, {self.ref}"


def panels(board: str) -> list[dict[str, Any]]:
    """Return the panels of a dashboard, without row headings."""
    return [panel for panel in DASHBOARDS[board]["panels"] if panel["type"] != "row"]


def queries(board: str) -> Iterator[Query]:
    """Yield every query of a dashboard."""
    for panel in panels(board):
        for target in panel["targets"]:
            yield Query(
                board,
                panel["title"],
                target["refId"],
                target["expr"],
                target.get("legendFormat", ""),
                target.get("instant", False),
            )


def variables(board: str, kind: str = "query") -> dict[str, dict[str, Any]]:
    """Return the variables of a dashboard that are of a kind, by their names."""
    found = DASHBOARDS[board]["templating"]["list"]
    return {one["name"]: one for one in found if one["type"] == kind}


def mappings(board: str, panel: str, column: str) -> dict[str, dict[str, str]]:
    """Return as what a column of a table shows values: text and colour."""
    (found,) = (one for one in panels(board) if one["title"] == panel)
    (options,) = (
        prop["value"][0]["options"]
        for override in found["fieldConfig"]["overrides"]
        for prop in override["properties"]
        if prop["id"] == "mappings"
        and re.fullmatch(override["matcher"]["options"], column)
    )
    return dict(options)


def substituted(expression: str, values: VariableValues) -> str:
    """Return an expression with variables replaced, Grafana's own included."""
    known = sorted(values, key=len, reverse=True)
    names = "|".join(re.escape(name) for name in known)
    return re.sub(rf"\$(?:{names})\b", lambda found: values[found[0][1:]], expression)


def variable_value(*values: str) -> str:
    """Return how Grafana writes the selected values of a multi-value variable."""
    escaped = [re.sub(r"([\\^$.*+?()\[\]{}|])", r"\\\\\1", value) for value in values]
    return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"


def legend_text(legend: str, labels: Mapping[str, str]) -> str:
    """Return a series' name by the legend format."""
    return re.sub(r"{{(\w+)}}", lambda found: labels.get(found[1], ""), legend)
