"""What all dashboards have in common: variables, links between them, the time."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as model

from . import queries
from .style import SOURCE, TAG

Section = tuple[str, Sequence[tuple[Builder[model.Panel], int, int]]]
"""A heading, and the panels under it with width, of 24, and height."""

_EVERYTHING = ".+"

_PROJECT = Path(__file__).parents[1] / "pyproject.toml"
_RUNBOOKS = tomllib.loads(_PROJECT.read_text("utf-8"))["project"]["urls"]["Runbooks"]
RUNBOOK_LINK = f"{_RUNBOOKS}/${{__data.fields.Alert}}.md"
"""To what an alert means, from a row that has its name."""
SERVER_LINK = (
    "/d/onapp-server/onapp-server?${datasource:queryparam}&${job:queryparam}"
    "&${instance:queryparam}&var-panel=${__data.fields.Panel:percentencode}"
    "&var-vm=${__data.fields.VM:percentencode}&${__url_time_range}"
)
"""To a server's dashboard, from a row that has its panel and number."""


def source() -> dashboard.DatasourceVariable:
    """Let people choose the Prometheus."""
    return (
        dashboard.DatasourceVariable("datasource")
        .label("Data source")
        .type("prometheus")
    )


def choice(
    name: str, label: str, query: str, *, multi: bool = True, regex: str = ""
) -> dashboard.QueryVariable:
    """Let people choose among what a query finds, as the time that is shown has it."""
    variable = (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query(query)
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.NATURAL_ASC)
        .multi(multi)
        .include_all(multi)
    )
    if regex:
        variable = variable.regex(regex)
    if not multi:
        return variable
    everything = model.VariableOption(selected=True, text=["All"], value=["$__all"])
    return variable.all_value(_EVERYTHING).current(everything)


def exporters() -> list[dashboard.QueryVariable]:
    """Let people choose exporters, by job and instance."""
    build = "onapp_exporter_build_info"
    return [
        choice("job", "Job", f"label_values({build}, job)"),
        choice(
            "instance", "Instance", f'label_values({build}{{job=~"$job"}}, instance)'
        ),
    ]


def panels(*, multi: bool = True) -> dashboard.QueryVariable:
    """Let people choose among the control panels that are watched."""
    watched = queries.select("onapp_poll_interval_seconds")
    return choice("panel", "Panel", f"label_values({watched}, panel)", multi=multi)


def board(  # noqa: PLR0913  # a dashboard has many parts
    uid: str,
    title: str,
    description: str,
    variables: Sequence[Builder[model.VariableModel]],
    sections: Sequence[Section],
    *,
    since: str,
) -> model.Dashboard:
    """Return a dashboard, which leads to the others with what was chosen."""
    built = (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags([TAG])
        .timezone("browser")
        .time(since, "now")
        .refresh("1m")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .readonly()
        .variables([source(), *exporters(), *variables])
        .link(
            dashboard.DashboardLink("OnApp backups")
            .type(model.DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .include_vars(True)  # noqa: FBT003  # the SDK's way
            .keep_time(True)  # noqa: FBT003  # the SDK's way
        )
    )
    for heading, found in sections:
        built = built.with_row(dashboard.Row(heading))
        for panel, width, height in found:
            built = built.with_panel(_sized(panel, width, height))
    return _numbered(built.build())


class _Sized(Builder[model.Panel]):
    """A panel that has been built."""

    def __init__(self, panel: model.Panel) -> None:
        self._panel = panel

    def build(self) -> model.Panel:
        """Return it."""
        return self._panel


def _sized(builder: Builder[model.Panel], width: int, height: int) -> _Sized:
    panel = builder.build()
    panel.grid_pos = model.GridPos(w=width, h=height)
    return _Sized(panel)


def _numbered(built: model.Dashboard) -> model.Dashboard:
    """Give every panel a number: links to one panel need it."""
    for number, panel in enumerate(built.panels or [], 1):
        panel.id_val = number
    return built
