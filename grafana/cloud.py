"""The dashboard *Cloud overview*: what can be restored, and how much space is left.

Its queries read at most ten series a server: those over time none at all.
"""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from exporter.health.conditions import Severity

from . import frame, queries, style
from .queries import Scope

_SCOPE = Scope(matchers='panel=~"$panel"')
_USER = 'user_id=~"$user"'
_CHOSEN = 'state=~"$state"'
_FOREVER_SECONDS = 10 * 366 * 86400
_PROBLEM = f'state=~"{queries.keys(Severity.CRITICAL, Severity.WARNING)}"'
_PANEL = {"links": [frame.PANEL_PAGE]}
_SERVER = {"links": [frame.SERVER, frame.SERVER_PAGE]}


def _servers(*severities: Severity) -> str:
    """Return how many servers of each panel are in states of these severities."""
    states = f'state=~"{queries.keys(*severities)}"'
    return _SCOPE.summed("onapp_panel_servers", states, besides="state")


def _tile(severity: Severity, colour: str) -> tuple[str, dict[str, object]]:
    levels = [(None, "text"), (1, colour)]
    properties: dict[str, object] = {"thresholds": style.steps(levels).build()}
    if severity is not Severity.FINE:
        states = [state.key for state in queries.STATES[severity]]
        properties["links"] = frame.servers_in(states)
    return f"sum (\n{_servers(severity)}\n)", properties


_STATES = style.figures(
    "Servers by severity",
    "Number of servers by the severity of their worst state, as on the status page. Of "
    "all users.",
    {
        severity.name.capitalize(): _tile(severity, colour)
        for severity, colour in style.COLOURS.items()
    },
)

_UP = f"min without (shard) ({_SCOPE.most('onapp_up')})"
_LAG = f"max without (shard) ({_SCOPE.least('onapp_poll_lag_seconds')})"
_JAM = "onapp_panel_queue_jam_start_timestamp_seconds"
_PANELS = style.rows(
    "Control panels",
    "Whether each panel answers, and how late its most overdue server is read. The "
    "data of its servers can be that old.",
    [
        _UP,
        _SCOPE.info("onapp_panel_info"),
        _servers(Severity.CRITICAL),
        _servers(Severity.WARNING),
        _LAG,
        f"1000 * min without (action, shard) ({_SCOPE.least(_JAM)})",
        f"max without (shard) ({_SCOPE.most('onapp_panel_credentials_refused')})",
    ],
    {
        "panel": ("Panel", _PANEL),
        "url": ("Address", {"links": [frame.PANEL]}),
        "version": ("Version", {}),
        "A": (
            "Answers",
            style.backgrounds({0: ("no", "red"), 1: ("yes", "green")}),
        ),
        "G": (
            "Credentials",
            style.backgrounds({0: ("accepted", "green"), 1: ("refused", "red")}),
        ),
        "C": ("Critical", style.coloured([(None, "text"), (1, "red")])),
        "D": ("Warning", style.coloured([(None, "text"), (1, "orange")])),
        "E": ("Poll lag", {"unit": "s"}),
        "F": ("Queue jam since", {"unit": "dateTimeAsLocal"}),
    },
    sort=[("Answers", False), ("Critical", True)],
)

_WORST = style.rows(
    "Servers, worst first",
    "Every server with its worst state, as on its status page. The links lead to its "
    "dashboard and to that page.",
    [
        queries.named(_SCOPE.state(_CHOSEN), _SCOPE.listed(_USER)),
        f"time() - {_SCOPE.most('onapp_vm_last_success_timestamp_seconds')}",
        _SCOPE.most("onapp_vm_backup_size_bytes"),
    ],
    {
        "A": (
            "Severity",
            style.backgrounds(
                {
                    int(severity): (severity.name.lower(), colour)
                    for severity, colour in style.COLOURS.items()
                }
            ),
        ),
        "state": ("State", style.backgrounds(style.STATES)),
        "label": ("Server", _SERVER),
        "hostname": ("Hostname", {}),
        "panel": ("Panel", {}),
        "vm_id": ("VM", _SERVER),
        "user_id": ("User", {}),
        "B": ("Last success", {"unit": "s", "decimals": 1}),
        "C": ("Space", {"unit": "bytes"}),
    },
    sort=[("Severity", True), ("Last success", True)],
    only="A",
)

_ALERTS = style.rows(
    "Alerts",
    "Alerts that fire or are pending, if the rules of the exporter are loaded. Without "
    "the rules this table is empty; the table of servers is not.",
    ['ALERTS{alertname=~"OnApp.+", job=~"$job", panel=~"$panel|"}'],
    {
        "alertstate": (
            "State",
            style.backgrounds(
                {"firing": ("firing", "red"), "pending": ("pending", "yellow")}
            ),
        ),
        "severity": ("Severity", {}),
        "alertname": ("Alert", {"links": [frame.RUNBOOK]}),
        "panel": ("Panel", {}),
        "vm_id": ("VM", _SERVER),
        "target_type": ("Target", {}),
        "target_id": ("Target number", {}),
    },
    sort=[("State", False), ("Severity", False)],
    empty="No alert fires, or the rules are not loaded",
)


def _by_user(expression: str) -> str:
    return f"sum without (vm_id, state, label, hostname) (\n{expression}\n)"


_BAD = _SCOPE.most("onapp_vm_state", _PROBLEM, besides="state")
_SIZE = _SCOPE.most("onapp_vm_backup_size_bytes")
_USERS = style.rows(
    "By panel and user",
    "Number of servers of each user, how many of them have a warning or critical "
    "state, and the space of their backups.",
    [
        _by_user(queries.named(_BAD, _SCOPE.name(_USER))),
        _by_user(_SCOPE.name(_USER)),
        _by_user(queries.named(_SIZE, _SCOPE.name(_USER))),
    ],
    {
        "panel": ("Panel", {}),
        "user_id": ("User", {}),
        "A": ("With problems", style.coloured([(None, "text"), (1, "orange")])),
        "B": ("Servers", {}),
        "C": ("Space", {"unit": "bytes"}),
    },
    sort=[("With problems", True), ("Space", True)],
)

_OVER_TIME = style.graph(
    "Servers with problems",
    "Servers whose worst state is critical, a warning or a notice. Of all users. "
    "Marks: a backup failed.",
    {
        severity.name.lower(): f"sum (\n{_servers(severity)}\n)"
        for severity in style.COLOURS
        if severity is not Severity.FINE
    },
    unit="none",
    colours={
        severity.name.lower(): colour
        for severity, colour in style.COLOURS.items()
        if severity is not Severity.FINE
    },
    stacked=True,
)

_INCREASE = f"increase({_SCOPE.series('onapp_transactions_total')}[$__rate_interval])"
_ENDED = style.graph(
    "Backup transactions that ended",
    "Transactions that make, delete, restore and convert backups, by action and final "
    "status.",
    {
        "{{action}} {{status}}": "sum by (action, status) (\n"
        f"max without (instance, pod, node) ({_INCREASE})\n) > 0"
    },
    unit="none",
    stacked=True,
)

_USED = _SCOPE.summed("onapp_backup_server_used_bytes")
_SPACE = style.graph(
    "Space of all backups",
    "Space that the backups of all servers take together, by panel.",
    {"{{panel}}": f"sum without (backup_server_id) (\n{_USED}\n)"},
    unit="bytes",
    stacked=True,
)

_CAPACITY = _SCOPE.most("onapp_backup_server_capacity_bytes")
_ROOM = f"({_CAPACITY} > 0)"
_BEFORE = _SCOPE.summed("onapp_backup_server_used_bytes", ago="$__range")
_GROWN = f"{_USED} - {_BEFORE}"
_FULL_IN = (
    f"clamp_max(\nclamp_min({_ROOM} - {_USED}, 0)\n"
    f"/ clamp_min({_GROWN}, 0) * $__range_s,\n{_FOREVER_SECONDS})"
)
_STORES = style.rows(
    "Backup servers: space and forecast",
    "How full each backup server is, and when it will be full if it grows as in the "
    "time shown (choose a week or more). None: backups on the hypervisors. Only "
    "backups of watched servers are counted.",
    [
        _USED,
        _SCOPE.info("onapp_backup_server_info"),
        _CAPACITY,
        f"{_USED} / {_ROOM}",
        _GROWN,
        _FULL_IN,
    ],
    {
        "panel": ("Panel", {}),
        "backup_server_id": ("Number", {}),
        "label": ("Backup server", {}),
        "A": ("Used", {"unit": "bytes"}),
        "C": ("Capacity", {"unit": "bytes"}),
        "D": (
            "Full",
            style.coloured(
                [(None, "green"), (0.8, "orange"), (0.9, "red")],
                unit="percentunit",
            ),
        ),
        "E": ("Growth", {"unit": "bytes"}),
        "F": (
            "Full in",
            style.coloured(
                [(None, "red"), (14 * 86400, "orange"), (60 * 86400, "green")],
                unit="dtdurations",
                mappings=style.texts({_FOREVER_SECONDS: ("not growing", "green")}),
            ),
        ),
    },
    sort=[("Full", True)],
)


def board() -> Dashboard:
    """Return the dashboard."""
    user = frame.choice(
        "user", "User", f"label_values({_SCOPE.series('onapp_vm_info')}, user_id)"
    ).description("The owners whose servers the tables show.")
    failed = _SCOPE.most(
        "onapp_vm_last_failed_backup_timestamp_seconds", besides="vm_id"
    )
    return frame.board(
        "onapp-cloud",
        "OnApp backups: cloud overview",
        "Can every server be restored, what is wrong, and is there enough space?",
        [frame.panels(), user, frame.states(), frame.status_pages()],
        [
            ("Can every server be restored?", [(_STATES, 8, 6), (_PANELS, 16, 6)]),
            ("What is wrong?", [(_WORST, 24, 12), (_ALERTS, 12, 9), (_USERS, 12, 9)]),
            ("Is it getting better?", [(_OVER_TIME, 12, 8), (_ENDED, 12, 8)]),
            ("Is there enough space?", [(_SPACE, 10, 8), (_STORES, 14, 8)]),
        ],
        since="now-7d",
        annotations=[frame.failed_backups(failed)],
    )
