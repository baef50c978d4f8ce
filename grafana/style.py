"""How the dashboards look: every panel, table and variable is made here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from grafana_foundation_sdk.builders import (
    common,
    dashboard,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common as kinds
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from exporter.health.conditions import Severity

from . import queries

TAG = "onapp-backups"
SOURCE = model.DataSourceRef(type_val="prometheus", uid="$datasource")

Steps: TypeAlias = Sequence[tuple[float | None, str]]
"""From which value on which colour; the first begins at None."""
Column: TypeAlias = tuple[str, Mapping[str, object]]
"""The heading of a column, and what else it has, such as a unit: by Grafana's names."""
Words: TypeAlias = Mapping[int, tuple[str, str]] | Mapping[str, tuple[str, str]]
"""What values are shown as, and in which colour."""

GREEN: Steps = [(None, "green")]
ZERO_IS_GOOD: Steps = [(None, "green"), (1, "red")]
ONE_IS_GOOD: Steps = [(None, "red"), (1, "green")]

COLOURS = {
    Severity.CRITICAL: "red",
    Severity.WARNING: "orange",
    Severity.NOTICE: "blue",
    Severity.FINE: "green",
}
STATES = {
    state.key: (state.title, COLOURS[severity])
    for severity, states in queries.STATES.items()
    for state in states
}
"""What the states of servers are shown as, the worst first."""


def texts(words: Words) -> list[model.ValueMapping]:
    """Show values as words in a colour."""
    results = {
        str(value): model.ValueMappingResult(text=word, color=colour)
        for value, (word, colour) in words.items()
    }
    return [model.ValueMap(options=results)]


def backgrounds(words: Words) -> dict[str, object]:
    """Return the properties of a column that shows words on a colour."""
    cell = {"type": "color-background", "mode": "basic"}
    return {"mappings": texts(words), "custom.cellOptions": cell}


def coloured(levels: Steps, **properties: object) -> dict[str, object]:
    """Return the properties of a column of numbers, coloured by thresholds."""
    found = {"thresholds": steps(levels).build(), **properties}
    return {"custom.cellOptions": {"type": "color-text"}, **found}


def link(title: str, url: str) -> dict[str, object]:
    """Return a link of a value, which opens another page of the same window."""
    return {"title": title, "url": url}


def steps(levels: Steps) -> dashboard.ThresholdsConfig:
    """Colour values by thresholds."""
    return (
        dashboard.ThresholdsConfig()
        .mode(model.ThresholdsMode.ABSOLUTE)
        .steps([model.Threshold(value=value, color=colour) for value, colour in levels])
    )


def ask(expression: str, legend: str, ref: str) -> prometheus.Dataquery:
    """Query over the time that is shown."""
    query = prometheus.Dataquery().expr(expression).range().ref_id(ref)
    return query.legend_format(legend)


def figures(
    title: str, description: str, asked: Mapping[str, tuple[str, Mapping[str, object]]]
) -> stat.Panel:
    """Show a few numbers: for each name a query and properties."""
    panel = (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit("none")
        .color_mode(kinds.BigValueColorMode.BACKGROUND)
        .graph_mode(kinds.BigValueGraphMode.NONE)
        .text_mode(kinds.BigValueTextMode.VALUE_AND_NAME)
        .thresholds(steps(GREEN))
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    )
    for ref, (name, (expression, properties)) in zip(
        "ABCDEFGH", asked.items(), strict=False
    ):
        query = prometheus.Dataquery().expr(expression).instant().ref_id(ref)
        panel = panel.with_target(query.legend_format(name))
        panel = panel.override_by_name(name, _properties(properties))
    return panel


def graph(  # noqa: PLR0913  # so has a graph
    title: str,
    description: str,
    asked: Mapping[str, str],
    *,
    unit: str,
    levels: Steps | None = None,
    colours: Mapping[str, str] | None = None,
    stacked: bool = False,
) -> timeseries.Panel:
    """Show lines: a query by each legend; ``colours`` are those of legends."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .min(0)
        .fill_opacity(20 if stacked else 0)
        .legend(
            common.VizLegendOptions()
            .display_mode(kinds.LegendDisplayMode.TABLE)
            .placement(kinds.LegendPlacement.BOTTOM)
            .calcs(["lastNotNull", "max"])
            .show_legend(True)  # noqa: FBT003  # the SDK's way
        )
        .tooltip(common.VizTooltipOptions().mode(kinds.TooltipDisplayMode.MULTI))
    )
    if levels:
        lines = common.GraphThresholdsStyleConfig()
        panel = panel.thresholds(steps(levels)).thresholds_style(
            lines.mode(kinds.GraphThresholdsStyleMode.DASHED)
        )
    if stacked:
        together = common.StackingConfig().mode(kinds.StackingMode.NORMAL)
        panel = panel.stacking(together)
    for legend, colour in (colours or {}).items():
        fixed = {"color": {"mode": "fixed", "fixedColor": colour}}
        panel = panel.override_by_name(legend, _properties(fixed))
    for ref, (legend, expression) in zip("ABCDEFGH", asked.items(), strict=False):
        panel = panel.with_target(ask(expression, legend, ref))
    return panel


def timeline(
    title: str,
    description: str,
    asked: Mapping[str, str],
    words: Words,
) -> statetimeline.Panel:
    """Show which state was when."""
    panel = (
        statetimeline.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit("none")
        .mappings(texts(words))
        .thresholds(steps([(None, "text")]))
        .merge_values(True)  # noqa: FBT003  # the SDK's way
        .show_value(kinds.VisibilityMode.NEVER)
    )
    for ref, (legend, expression) in zip("ABCDEFGH", asked.items(), strict=False):
        panel = panel.with_target(ask(expression, legend, ref))
    return panel


def rows(  # noqa: PLR0913  # a table has many parts
    title: str,
    description: str,
    asked: Sequence[str],
    columns: Mapping[str, Column],
    *,
    sort: Sequence[tuple[str, bool]] = (),
    empty: str | None = None,
    only: str | None = None,
) -> table.Panel:
    """Show a table; each query brings a column, rows are put together by labels.

    ``columns`` maps what Prometheus calls a column (a label, or `A` for the value of
    the first query) to its heading and properties, in order; all others are left out.
    ``sort`` names headings, and whether they descend; rows without the value of the
    query ``only`` are left out.
    """
    alone = len(asked) == 1
    headings = {
        _field(name, alone=alone): heading for name, (heading, _) in columns.items()
    }
    panel = (
        table.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit("none")
        .thresholds(steps([(None, "text")]))
        .filterable(True)  # noqa: FBT003  # the SDK's way
        .transformations(_arranged(headings, only))
    )
    for properties, alike in _alike(columns.values()):
        names = f"^({'|'.join(alike)})$"
        panel = panel.override_by_regexp(names, _properties(properties))
    by: list[Builder[kinds.TableSortByFieldState]] = [
        common.TableSortByFieldState().display_name(name).desc(down)
        for name, down in sort
    ]
    panel = panel.sort_by(by) if by else panel
    panel = panel.no_value(empty) if empty else panel
    for ref, expression in zip("ABCDEFGHIJKL", asked, strict=False):
        query = prometheus.Dataquery().expr(expression).instant().ref_id(ref)
        panel = panel.with_target(query.format(PromQueryFormat.TABLE))
    return panel


def _field(name: str, *, alone: bool) -> str:
    """Return how Grafana calls what Prometheus calls so."""
    if len(name) > 1:
        return name
    return "Value" if alone else f"Value #{name}"


def _arranged(
    headings: Mapping[str, str], only: str | None
) -> list[model.DataTransformerConfig]:
    """Put rows together, keep these columns alone, in this order, and name them."""
    options: dict[str, dict[str, object]] = {"merge": {}}
    if only:
        known = {"id": "isNotNull", "options": {}}
        filters = [{"fieldName": f"Value #{only}", "config": known}]
        found = {"filters": filters, "match": "all", "type": "include"}
        options["filterByValue"] = dict(found)
    options["filterFieldsByName"] = {"include": {"names": [*headings]}}
    options["organize"] = {
        "indexByName": {name: index for index, name in enumerate(headings)},
        "renameByName": dict(headings),
    }
    return [
        model.DataTransformerConfig(id_val=name, options=option)
        for name, option in options.items()
    ]


def _alike(columns: Iterable[Column]) -> list[tuple[Mapping[str, object], list[str]]]:
    """Return each set of properties once, with the headings that have it."""
    found: list[tuple[Mapping[str, object], list[str]]] = []
    for heading, properties in columns:
        for known, headings in found:
            if known == properties:
                headings.append(heading)
                break
        else:
            found.append((properties, [heading]))
    return [(properties, headings) for properties, headings in found if properties]


def _properties(properties: Mapping[str, object]) -> list[model.DynamicConfigValue]:
    return [
        model.DynamicConfigValue(id_val=name, value=value)
        for name, value in properties.items()
    ]
