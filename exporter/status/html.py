"""The HTML pages, in which every text from a panel is escaped.

The pages are self-contained and fully usable without JavaScript. Links are relative,
so that the pages work under any prefix that a proxy adds.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from importlib.resources import files
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import jinja2
import msgspec
from jinja2.filters import do_filesizeformat

from .. import __version__
from ..clock import Now
from ..config.schema import Link
from ..health.conditions import SERVER_CONDITIONS, Severity
from ..health.panel import PanelHealth
from ..health.targets import last_schedules
from ..model.entities import (
    DISK,
    VIRTUAL_MACHINE,
    Backup,
    RecoveryPoint,
    Target,
)
from ..model.recent_days import (
    DAY_SECONDS,
    DAYS,
    FAILED,
    GOOD,
    MISSING,
    NOT_KNOWN,
    UNCERTAIN,
    last_days,
)
from ..model.selection import Shard
from ..model.store import PanelStore, ServerEntry
from .api import recent_sizes, utc_datetime
from .panel_details import panel_details, server_transactions
from .query import DEFAULT_PER_PAGE, SORTS, Query
from .reasons import counted, duration
from .schema import (
    BackupSize,
    LastErrorStatus,
    OwnerCompliance,
    PanelStatus,
    ServerStatus,
    StatusResponse,
)
from .select import JudgedServer, paginate

BACKUPS_PER_PAGE = OWNERS_PER_PAGE = 200
_MAX_RECOVERY_POINTS = 50
_MAX_PANEL_PROBLEMS = 100
_MAX_OPEN_TRANSACTIONS = 100
_MAX_CHART_SIZES = 60
_CHART_WIDTH, _CHART_HEIGHT = 600, 100
_MAX_HEALTHY_PANELS = 6
"""More are collapsed, so that servers with problems stay on the first screen."""
_MAX_REASONS = 3
"""Limit per server on the overview; the server's page shows all."""
_MAX_PROBLEMS = 10
"""Limit per panel on the overview; thousands of schedules may have no known server."""
_COLUMNS = (
    ("state", "State"),
    ("server", "Server"),
    ("last_success", "Last good backup"),
    ("size", "Size"),
    ("interval", "Expected every"),
    ("next_start", "Next run"),
)
Row = TypeVar("Row", Backup, RecoveryPoint)
_SERVER_PLACEHOLDERS = {"vm_id", "identifier"}
_DAY_OUTCOMES = {
    GOOD: "good",
    FAILED: "failed",
    MISSING: "missing",
    UNCERTAIN: "not known",
    NOT_KNOWN: "not known",
}
_TARGET_TYPES = {DISK: "disk", VIRTUAL_MACHINE: "whole server"}


@dataclass(slots=True, eq=False)
class StatusPages:
    """Renders the pages."""

    telemetry_path: str
    shard: Shard
    links: Callable[[], Sequence[Link]] = tuple
    """Returns the configured links to other programs."""
    _environment: jinja2.Environment = field(init=False)
    content_security_policy: str = field(init=False)
    """The ``Content-Security-Policy`` header of the pages."""
    _runbooks: dict[str, str] = field(init=False)
    """The HTML of each runbook, by the name of its alert."""

    def __post_init__(self) -> None:
        """Load the templates and the runbooks."""
        loader = jinja2.PackageLoader("exporter.status", "templates")
        environment = jinja2.Environment(
            loader=loader,
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.filters |= {
            "ago": _ago,
            "bytes": _bytes,
            "counted": counted,
            "duration": _duration,
            "kind": lambda target_type: _TARGET_TYPES.get(target_type, target_type),
            "sum_values": lambda counts: sum(counts.values()),
            "utc_datetime": utc_datetime,
        }
        # Embedded unchanged in each page.
        style, script = (
            loader.get_source(environment, name)[0] for name in ("page.css", "page.js")
        )
        environment.globals |= {
            "style": style,
            "script": script,
            "version": __version__,
            "shard": self.shard.number,
            "total_shards": self.shard.total,
            "telemetry_path": self.telemetry_path.lstrip("/"),
            "server_link": _server_link,
            "icon": _icon,
            "link_to_server": _link_to_server,
            "panel_link": lambda name: f"panel?{urlencode({'panel': name})}",
            "links": self._links,
            "root": "",
            "chart_size": (_CHART_WIDTH, _CHART_HEIGHT),
        }
        self._environment = environment
        self._runbooks = {
            file.name.removesuffix(".html"): file.read_text("utf-8")
            for file in files("exporter.status").joinpath("runbooks").iterdir()
        }
        self.content_security_policy = (
            "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; "
            "form-action 'self'; img-src data:; connect-src 'self'; "
            f"style-src '{_csp_hash(style)}'; script-src '{_csp_hash(script)}'"
        )

    def overview(self, status: StatusResponse, query: Query, *, ready: bool) -> str:
        """Render the page of all panels and of the selected servers."""
        shown_query = replace(query, page=status.page)
        return self._environment.get_template("overview.html").render(
            status=status,
            now=status.generated_at,
            critical=status.levels["critical"],
            query=shown_query,
            ready=ready,
            conditions=SERVER_CONDITIONS,
            headline=_headline(status),
            panels=sorted(status.panels, key=_severity, reverse=True),
            severities=Severity,
            columns=_COLUMNS,
            sorts=SORTS.items(),
            default_per_page=DEFAULT_PER_PAGE,
            max_healthy=_MAX_HEALTHY_PANELS,
            max_reasons=_MAX_REASONS,
            max_problems=_MAX_PROBLEMS,
            link=lambda **changes: _servers_link(shown_query, **changes),
        )

    def compliance(
        self, owners: Sequence[OwnerCompliance], query: Query, time: float
    ) -> str:
        """Render the page of the compliance of each owner."""
        shown = paginate(owners, query.page, OWNERS_PER_PAGE)
        return self._environment.get_template("compliance.html").render(
            owners=shown,
            now=utc_datetime(time),
            link=lambda **changes: _query_link("compliance", query, **changes),
        )

    def server(
        self, server: ServerStatus, judged: JudgedServer, page: int, now: Now
    ) -> str:
        """Render the page of one server, with one page of its backups."""
        state = None if judged.entry is None else judged.entry.state
        backups = (state and state.backups) or ()
        points = state and state.recovery_points
        sizes = recent_sizes(backups, _MAX_CHART_SIZES)
        schedules = state and last_schedules(state)
        return self._environment.get_template("server.html").render(
            server=server,
            state=state,
            charts=[(t, SizeChart(s)) for t, s in sorted(sizes.items()) if len(s) > 1],
            days=judged.entry and _days(judged.entry, server, now),
            schedules=schedules and sorted(schedules, key=lambda s: (s.target, s.id)),
            recovery_points=points
            and paginate(_newest_first(points), 1, _MAX_RECOVERY_POINTS),
            backups=paginate(_newest_first(backups), page, BACKUPS_PER_PAGE),
            transactions=state and server_transactions(judged.panel, state.vm_id, now),
            restore=state and judged.panel.last_restore(state.vm_id),
            now=utc_datetime(now.time),
            fresh=judged.summary is not None,
            panel_url=judged.panel.url,
        )

    def panel(
        self,
        status: PanelStatus,
        panel: PanelStore,
        health: PanelHealth,
        now: Now,
        reload_error: LastErrorStatus | None,
    ) -> str:
        """Render the page of one panel."""
        details = panel_details(panel, health, now)
        shown = [row.vm_id for row in (details.open or ())[:_MAX_OPEN_TRANSACTIONS]]
        known = (
            (n, panel.servers[n].state.server) for n in shown if n in panel.servers
        )
        return self._environment.get_template("panel.html").render(
            panel=status,
            details=details,
            labels={n: "" if server is None else server.label for n, server in known},
            reload_error=reload_error,
            now=utc_datetime(now.time),
            max_problems=_MAX_PANEL_PROBLEMS,
            max_rows=_MAX_OPEN_TRANSACTIONS,
            servers_link=_servers_link(Query(panels=(panel.name,))),
        )

    def absent_server(
        self,
        panel_name: str,
        panel: PanelStore | None,
        vm_id: str,
        now: datetime | None,
    ) -> str:
        """Render the page that explains why a server is not shown, with links."""
        return self._environment.get_template("absent.html").render(
            panel_name=panel_name,
            panel=panel,
            vm_id=vm_id,
            now=now,
            link=lambda **changes: _servers_link(Query(), **changes),
        )

    def error(self, title: str, text: str, root: str) -> str:
        """Render the page of an error; ``root`` is the URL of the overview."""
        return self._environment.get_template("error.html").render(
            title=title, text=text, root=root
        )

    def runbook(self, alert: str) -> str | None:
        """Render the runbook of an alert; None: there is none."""
        if alert not in self._runbooks:
            return None
        return self._environment.get_template("runbook.html").render(
            root="../",
            alert=alert,
            text=self._runbooks[alert],
            states=[c.key for c in SERVER_CONDITIONS if c.alert == alert],
        )

    def _links(
        self,
        panel: str,
        panel_url: str,
        server: ServerStatus | None = None,
        alert: str | None = None,
    ) -> list[tuple[str, str]]:
        """Return titles and addresses of the links for a panel, a server or an alert.

        Each link belongs to the most specific of these that its placeholders name.
        """
        values, needed = {"panel": panel, "panel_url": panel_url}, set[str]()
        if server is not None:
            values["vm_id"], needed = server.vm_id, _SERVER_PLACEHOLDERS
            if server.identifier is not None:
                values["identifier"] = server.identifier
        if alert is not None:
            values["alert"], needed = alert, {"alert"}
        return [
            (link.title, link.url.filled_in(values))
            for link in self.links()
            if link.url.names <= values.keys()
            and (not needed or link.url.names & needed)
        ]


class SizeChart(msgspec.Struct, frozen=True):
    """A line chart of a target's sizes over time."""

    sizes: tuple[BackupSize, ...]
    """At least two, oldest first."""

    @property
    def largest(self) -> int:
        """Return the largest size in bytes."""
        return max(size.bytes for size in self.sizes)

    @property
    def smallest(self) -> int:
        """Return the smallest size in bytes."""
        return min(size.bytes for size in self.sizes)

    @property
    def points(self) -> list[tuple[int, int]]:
        """Return the points of the line; the lower edge is 0 bytes."""
        times = [size.at.timestamp() if size.at else 0.0 for size in self.sizes]
        span, top = max(times[-1] - times[0], 1.0), max(self.largest, 1)
        return [
            (
                round(_CHART_WIDTH * (time - times[0]) / span),
                round(_CHART_HEIGHT * (1 - size.bytes / top)),
            )
            for time, size in zip(times, self.sizes, strict=True)
        ]


class Day(msgspec.Struct, frozen=True):
    """A day (UTC) and the outcome of a target's backups on it."""

    start: datetime | None
    outcome: str


def _days(
    entry: ServerEntry, server: ServerStatus, now: Now
) -> dict[tuple[str, int], list[Day]]:
    """Return the last days of each target (its type and number), the oldest first."""
    targets = [Target(each.target_type, each.target_id) for each in server.targets]
    starts = [utc_datetime(now.time - ago * DAY_SECONDS) for ago in range(DAYS)[::-1]]
    return {
        (target.type, target.id): [
            Day(start, _DAY_OUTCOMES[outcome])
            for start, outcome in zip(starts, outcomes, strict=True)
        ]
        for target, outcomes in last_days(entry, targets, now.time).items()
    }


def _newest_first(rows: Iterable[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: (row.created_at or 0, row.id), reverse=True)


def _csp_hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _icon(critical: int | None) -> str:
    """Return an icon with the number of critical servers; None: unknown, no icon."""
    if critical is None:
        return "data:,"
    colour, text = ("#b3121d", min(critical, 99)) if critical else ("#1c6b35", "✓")
    return "data:image/svg+xml," + quote(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">'
        f'<rect width="32" height="32" rx="8" fill="{colour}"/>'
        '<text x="16" y="23" font-size="21" font-family="sans-serif" '
        f'font-weight="bold" text-anchor="middle" fill="#fff">{text}</text></svg>'
    )


def _severity(panel: PanelStatus) -> Severity:
    return Severity[panel.level.upper()]


def _headline(status: StatusResponse) -> str:
    """Return a summary of panels and servers in one sentence."""
    affected = sum(_severity(panel) >= Severity.WARNING for panel in status.panels)
    panels = f"{affected} of {counted(len(status.panels), 'panel')} with problems"
    levels, found = status.levels, status.compliance
    needing = found.in_time + found.not_in_time
    need = "needs" if needing == 1 else "need"
    are = "is" if found.in_time == 1 else "are"
    in_time = (
        f"{found.in_time} of {counted(needing, 'server')} that {need} backups "
        f"{are} in time"
    )
    parts = (
        panels if affected else "",
        f"{levels['critical']} critical, {counted(levels['warning'], 'warning')}",
        in_time if needing else "",
        f"not known for {counted(found.unknown, 'server')}" if found.unknown else "",
    )
    return "; ".join(filter(None, parts))


def _servers_link(query: Query, **changes: Any) -> str:
    """Return the URL of the overview for a changed query, on its first page."""
    return f"{_query_link('./', query, **changes)}#servers"


def _query_link(path: str, query: Query, **changes: Any) -> str:
    """Return the URL of a path for a changed query, on its first page."""
    changed = replace(query, **{"page": 1, **changes})
    pairs = [
        ("q", changed.text),
        *(("state", state) for state in changed.states),
        *(("panel", panel) for panel in changed.panels),
        ("sort", "" if changed.sort == "state" else changed.sort),
        ("order", "desc" if changed.descending else ""),
        ("per_page", "" if changed.per_page == DEFAULT_PER_PAGE else changed.per_page),
        ("page", "" if changed.page == 1 else changed.page),
        ("format", "csv" if changed.format == "csv" else ""),
    ]
    parameters = urlencode([(name, value) for name, value in pairs if value != ""])
    return f"{path}?{parameters}" if parameters else path


def _server_link(server: ServerStatus, page: int = 1) -> str:
    return _link_to_server(server.panel, server.vm_id, page)


def _link_to_server(panel: str, vm_id: str | int, page: int = 1) -> str:
    pairs = {"panel": panel, "vm_id": vm_id}
    more = {"page": str(page)} if page > 1 else {}
    return f"server?{urlencode(pairs | more)}"


def _ago(at: datetime, now: datetime) -> str:
    seconds = (now - at).total_seconds()
    if abs(seconds) < 1:
        return "now"
    length = duration(abs(seconds))
    return f"{length} ago" if seconds > 0 else f"in {length}"


def _duration(seconds: float | None) -> str:
    return "none" if seconds is None else duration(seconds)


def _bytes(size: int | None) -> str:
    return "none" if size is None else do_filesizeformat(size, binary=True)
