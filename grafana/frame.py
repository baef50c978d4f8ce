"""What all dashboards have in common: variables, links between them, the time."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as model

from . import queries, style
from .style import SOURCE, TAG

Section = tuple[str, Sequence[tuple[Builder[model.Panel], int, int]]]
"""A heading, and the panels under it with width, of 24, and height."""

_Model = TypeVar("_Model")
_EVERYTHING = ".*"

_PROJECT = Path(__file__).parents[1] / "pyproject.toml"
_RUNBOOKS = tomllib.loads(_PROJECT.read_text("utf-8"))["project"]["urls"]["Runbooks"]
_CHOSEN = "${datasource:queryparam}&${job:queryparam}&${instance:queryparam}"
_OVERVIEW = (
    f"/d/onapp-cloud/onapp-cloud?{_CHOSEN}&${{panel:queryparam}}&${{user:queryparam}}"
    "&${__url_time_range}"
)
_OF_PANEL = "${__data.fields.Panel:percentencode}"
_OF_SERVER = "${__data.fields.VM:percentencode}"
RUNBOOK = style.link("What to do", f"{_RUNBOOKS}/${{__data.fields.Alert}}.md")
"""From a row with the name of an alert."""
SERVER = style.link(
    "Dashboard of this server",
    f"/d/onapp-server/onapp-server?{_CHOSEN}&var-panel={_OF_PANEL}&var-vm={_OF_SERVER}"
    "&${__url_time_range}",
)
"""From a row with the panel and number of a server, as the next."""
SERVER_PAGE = style.link(
    "Status page of this server",
    f"${{exporter:raw}}/server?panel={_OF_PANEL}&vm_id={_OF_SERVER}",
)
PANEL_PAGE = style.link(
    "Status page of this panel", f"${{exporter:raw}}/?panel={_OF_PANEL}"
)
PANEL = style.link("The control panel", "${__data.fields.Address:raw}")
"""From a row with the address of a panel."""


def servers_in(states: Sequence[str]) -> list[dict[str, object]]:
    """Lead to the servers in these states, here and on the status page."""
    here = "".join(f"&var-state={state}" for state in states)
    there = "&".join(f"state={state}" for state in states)
    return [
        style.link("These servers, below", f"{_OVERVIEW}{here}"),
        style.link("These servers on the status page", f"${{exporter:raw}}/?{there}"),
    ]


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


def status_pages() -> dashboard.QueryVariable:
    """Let people choose the exporter whose pages are linked, or type its address."""
    named = (
        'label_replace(onapp_exporter_build_info{job=~"$job", instance=~"$instance"}, '
        '"address", "http://$1", "instance", "(.+)")'
    )
    pattern = '/address="([^"]+)"/'
    query = f"query_result({named})"
    found = choice("exporter", "Status page", query, multi=False, regex=pattern)
    return found.description(
        "The exporter that links lead to. You can type another address."
    )


def states() -> dashboard.CustomVariable:
    """Let people choose among the states of servers."""
    titles = ", ".join(
        f"{state.title.replace(',', ' ')} : {state.key}"
        for states in queries.STATES.values()
        for state in states
    )
    everything = model.VariableOption(selected=True, text=["All"], value=["$__all"])
    return (
        dashboard.CustomVariable("state")
        .label("State")
        .values(titles)
        .multi(True)  # noqa: FBT003  # the SDK's way
        .include_all(True)  # noqa: FBT003  # the SDK's way
        .all_value(_EVERYTHING)
        .current(everything)
    )


class _FailedBackups(model.AnnotationQuery):
    """A mark at each moment that a query of Prometheus returns."""

    def to_json(self) -> dict[str, object]:
        """Return it with what only annotations from Prometheus have."""
        return {
            **super().to_json(),
            "step": "15m",
            "tagKeys": "panel,vm_id",
            "titleFormat": "A backup failed",
            "useValueForTime": True,
        }


def failed_backups(expression: str) -> Builder[model.AnnotationQuery]:
    """Mark when backups failed; the query returns Unix seconds."""
    milliseconds = f"1000 * {expression}"
    return _Built(
        _FailedBackups("Failed backups", SOURCE, icon_color="red", expr=milliseconds)
    )


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
    annotations: Sequence[Builder[model.AnnotationQuery]] = (),
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
        .annotations([*annotations])
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


class _Built(Builder[_Model]):
    """A builder of what has been built."""

    def __init__(self, built: _Model) -> None:
        self._built = built

    def build(self) -> _Model:
        """Return it."""
        return self._built


def _sized(
    builder: Builder[model.Panel], width: int, height: int
) -> Builder[model.Panel]:
    panel = builder.build()
    panel.grid_pos = model.GridPos(w=width, h=height)
    return _Built(panel)


def _numbered(built: model.Dashboard) -> model.Dashboard:
    """Give every panel a number: links to one panel need it."""
    for number, panel in enumerate(built.panels or [], 1):
        panel.id_val = number
    return built
