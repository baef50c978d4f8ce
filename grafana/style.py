"""How the dashboards look: every panel, table and variable is made here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

from . import queries

TAG = "onapp-backups"
SOURCE = model.DataSourceRef(type_val="prometheus", uid="$datasource")

Steps: TypeAlias = Sequence[tuple[float | None, str]]
"""From which value on which colour; the first begins at None."""
Column: TypeAlias = tuple[str, Mapping[str, object]]
"""The heading of a column, and what else it has, such as a unit: by Grafana's names."""

GREEN: Steps = [(None, "green")]
ZERO_IS_GOOD: Steps = [(None, "green"), (1, "red")]
ONE_IS_GOOD: Steps = [(None, "red"), (1, "green")]

STATES = {
    queries.UNPROTECTED: ("Unprotected", "dark-red"),
    queries.VERY_STALE: ("Very stale", "red"),
    queries.STUCK_LONG: ("Stuck for a day", "red"),
    queries.DATA_OLD: ("Not known", "purple"),
    queries.DISK_UNPROTECTED: ("Disk unprotected", "orange"),
    queries.STUCK: ("Stuck", "orange"),
    queries.FAILED: ("Failed", "orange"),
    queries.STALE: ("Stale", "orange"),
    queries.NOTHING_DUE: ("Nothing due", "yellow"),
    queries.FRESH: ("Fresh", "green"),
    queries.NEW: ("New", "blue"),
    queries.NONE_NEEDED: ("None needed", "text"),
    queries.SUSPENDED: ("Suspended", "text"),
}
"""What the numbers of the states are shown as."""


def texts(words: Mapping[int, tuple[str, str]]) -> list[model.ValueMapping]:
    """Show numbers as words in a colour."""
    results = {
        str(number): model.ValueMappingResult(text=word, color=colour, index=index)
        for index, (number, (word, colour)) in enumerate(words.items())
    }
    return [model.ValueMap(options=results)]


def yes_no(*, good: bool) -> list[model.ValueMapping]:
    """Show 1 and 0 as yes and no; the one that is not good in red."""
    yes, no = ("green", "red") if good else ("red", "green")
    return texts({1: ("yes", yes), 0: ("no", no)})


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
    return query.datasource(SOURCE).legend_format(legend)


def figures(
    title: str, description: str, asked: Mapping[str, tuple[str, Steps, str]]
) -> stat.Panel:
    """Show a few numbers: for each name a query, its thresholds and its unit."""
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
    for ref, name in zip("ABCDEFGH", asked, strict=False):
        expression, levels, unit = asked[name]
        query = prometheus.Dataquery().expr(expression).instant().ref_id(ref)
        panel = panel.with_target(query.datasource(SOURCE).legend_format(name))
        own = {"thresholds": steps(levels).build(), "unit": unit}
        found = [_property(key, value) for key, value in own.items()]
        panel = panel.override_by_name(name, found)
    return panel


def graph(  # noqa: PLR0913  # so has a graph
    title: str,
    description: str,
    asked: Mapping[str, str],
    *,
    unit: str,
    levels: Steps | None = None,
    stacked: bool = False,
) -> timeseries.Panel:
    """Show lines: a query by each legend."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .min(0)
        .thresholds(steps(levels or GREEN))
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
        panel = panel.thresholds_style(
            lines.mode(kinds.GraphThresholdsStyleMode.DASHED)
        )
    if stacked:
        together = common.StackingConfig().mode(kinds.StackingMode.NORMAL)
        panel = panel.stacking(together)
    for ref, (legend, expression) in zip("ABCDEFGH", asked.items(), strict=False):
        panel = panel.with_target(ask(expression, legend, ref))
    return panel


def timeline(
    title: str,
    description: str,
    asked: Mapping[str, str],
    words: Mapping[int, tuple[str, str]],
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
) -> table.Panel:
    """Show a table; each query brings a column, rows are put together by labels.

    ``columns`` maps what Prometheus calls a column (a label, or `A` for the value of
    the first query) to its heading and properties, in order; all others are left out.
    ``sort`` names headings, and whether they descend.
    """
    alone = len(asked) == 1
    fields = {_field(name, alone=alone): column for name, column in columns.items()}
    panel = (
        table.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit("none")
        .thresholds(steps([(None, "text")]))
        .filterable(True)  # noqa: FBT003  # the SDK's way
        .transformations(_arranged({name: head for name, (head, _) in fields.items()}))
    )
    for heading, properties in fields.values():
        found = [_property(key, value) for key, value in properties.items()]
        panel = panel.override_by_name(heading, found) if found else panel
    by: list[Builder[kinds.TableSortByFieldState]] = [
        common.TableSortByFieldState().display_name(name).desc(down)
        for name, down in sort
    ]
    panel = panel.sort_by(by) if by else panel
    panel = panel.no_value(empty) if empty else panel
    for ref, expression in zip("ABCDEFGHIJKL", asked, strict=False):
        query = prometheus.Dataquery().expr(expression).instant().ref_id(ref)
        query = query.datasource(SOURCE).format(PromQueryFormat.TABLE)
        panel = panel.with_target(query)
    return panel


def _field(name: str, *, alone: bool) -> str:
    """Return how Grafana calls what Prometheus calls so."""
    if len(name) > 1:
        return name
    return "Value" if alone else f"Value #{name}"


def _arranged(headings: Mapping[str, str]) -> list[model.DataTransformerConfig]:
    """Put rows together, keep these columns alone, in this order, and name them."""
    options: dict[str, dict[str, object]] = {
        "merge": {},
        "filterFieldsByName": {"include": {"names": [*headings]}},
        "organize": {
            "excludeByName": {},
            "indexByName": {name: index for index, name in enumerate(headings)},
            "renameByName": dict(headings),
        },
    }
    return [
        model.DataTransformerConfig(id_val=name, options=option)
        for name, option in options.items()
    ]


def _property(name: str, value: object) -> model.DynamicConfigValue:
    return model.DynamicConfigValue(id_val=name, value=value)
