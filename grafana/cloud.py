"""The dashboard *Cloud overview*: what can be restored, and what room there is."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from . import frame, style
from .queries import DATA_OLD, FRESH, NOTHING_DUE, STUCK_LONG, Scope

_SCOPE = Scope(matchers='panel=~"$panel"', users=True)
_STATE = _SCOPE.named(_SCOPE.state())
_NAMES = "label, hostname, user_id"
_LINKS = {"links": [{"title": "This server's backups", "url": frame.SERVER_LINK}]}
_FOREVER_SECONDS = 10 * 366 * 86400


def _of_listed_servers(expression: str) -> str:
    """Leave out the servers of users that were not chosen."""
    return f"({expression})\nand ignoring ({_NAMES}) {_SCOPE.listed_servers()}"


def _count(condition: str) -> str:
    """Count the servers whose state is so."""
    return f"count (\n({_STATE}) {condition}\n) or vector(0)"


def _by_user(expression: str) -> str:
    return f"sum without (vm_id, label, hostname) (\n{expression}\n)"


def _by_panel(expression: str) -> str:
    return f"sum without (vm_id) (\n{expression}\n)"


_STATES = style.figures(
    "Servers by state",
    "Can every server be restored? Critical: nothing to restore from, a backup much "
    "too old, or one that is stuck for a day. Warning: too old, failed, stuck, a disk "
    "without any, or no more due. Not known: not read for long, so that nothing can be "
    "said.",
    {
        "Critical": (_count(f">= {STUCK_LONG}"), style.ZERO_IS_GOOD, "none"),
        "Not known": (
            _count(f"== {DATA_OLD}"),
            [(None, "green"), (1, "purple")],
            "none",
        ),
        "Warning": (
            _count(f">= {NOTHING_DUE} < {DATA_OLD}"),
            [(None, "green"), (1, "orange")],
            "none",
        ),
        "Fresh": (_count(f"== {FRESH}"), style.GREEN, "none"),
        "Others": (_count(f"< {FRESH}"), [(None, "text")], "none"),
    },
)

_READ = _SCOPE.most("onapp_vm_last_poll_success_timestamp_seconds")
_TRUST = style.figures(
    "What this is worth",
    "Nothing above is newer than what was last read: for how long the server that was "
    "longest not read has not been, and how many panels do not answer.",
    {
        "Oldest data": (
            f"max (time() - {_READ})",
            [(None, "green"), (3600, "red")],
            "s",
        ),
        "Panels down": (
            f"count ({_SCOPE.most('onapp_up')} == 0) or vector(0)",
            style.ZERO_IS_GOOD,
            "none",
        ),
    },
)

_WORST = style.rows(
    "Servers, worst first",
    "Every server with the gravest that is true of it, by the thresholds of the "
    "alerts; the link in the first columns leads to its dashboard. Waited: for how "
    "many of its intervals the target that waits longest has had no good backup.",
    [
        _STATE,
        _of_listed_servers(
            f"time() - {_SCOPE.most('onapp_vm_last_success_timestamp_seconds')}"
        ),
        _of_listed_servers(
            "max without (target_type, target_id) (\n"
            f"{_SCOPE.waited()} / {_SCOPE.interval()}\n)"
        ),
        _of_listed_servers(
            _SCOPE.most("onapp_vm_backups", 'state="built"', besides="state")
        ),
        _of_listed_servers(_SCOPE.most("onapp_vm_backup_size_bytes")),
    ],
    {
        "A": (
            "State",
            {
                "mappings": style.texts(style.STATES),
                "custom.cellOptions": {"type": "color-background", "mode": "basic"},
                "custom.width": 130,
            },
        ),
        "label": ("Server", _LINKS),
        "hostname": ("Hostname", _LINKS),
        "panel": ("Panel", {}),
        "vm_id": ("VM", {"custom.width": 80}),
        "user_id": ("User", {"custom.width": 80}),
        "B": ("Last success", {"unit": "s", "decimals": 1}),
        "C": (
            "Waited",
            {
                "unit": "none",
                "decimals": 1,
                "custom.cellOptions": {"type": "color-text"},
                "thresholds": style.steps(
                    [(None, "green"), (1.5, "orange"), (2.5, "red")]
                ).build(),
            },
        ),
        "D": ("Backups", {"unit": "none"}),
        "E": ("Space", {"unit": "bytes"}),
    },
    sort=[("State", True), ("Waited", True)],
)

_RUNBOOK = {"links": [{"title": "What to do", "url": frame.RUNBOOK_LINK}]}
_FIRED = 'ALERTS{alertname=~"OnApp.+", job=~"$job", panel=~"$panel|"}'
_FIRING = _FIRED.replace("}", ', alertstate="firing"}')
_ALERTING = f"max without (alertstate) (2 * {_FIRING} or {_FIRED})"
_ALERTS_STATES = {2: ("firing", "red"), 1: ("pending", "yellow")}
_ALERTS = style.rows(
    "Alerts",
    "What fires, or will if it lasts, where the rules of the exporter are loaded; "
    "without them this is empty, and the table of servers is not.",
    [
        _ALERTING,
    ],
    {
        "A": (
            "State",
            {
                "mappings": style.texts(_ALERTS_STATES),
                "custom.cellOptions": {"type": "color-background", "mode": "basic"},
                "custom.width": 90,
            },
        ),
        "alertname": ("Alert", _RUNBOOK),
        "severity": ("Severity", {"custom.width": 90}),
        "label": ("Server", {}),
        "panel": ("Panel", {}),
        "vm_id": ("VM", {"custom.width": 80}),
        "target_type": ("Target", {}),
        "target_id": ("Target number", {}),
    },
    sort=[("State", True), ("Severity", False)],
    empty="Nothing fires, or the rules are not loaded",
)

_USERS = style.rows(
    "By panel and user",
    "Who has how many servers, how many of them are in trouble (a state of warning or "
    "worse), and what their backups take; the growth is that over the time shown.",
    [
        _by_user(f"({_STATE}) >= bool {NOTHING_DUE}"),
        _by_user(_SCOPE.listed_servers()),
        _by_user(_SCOPE.named(_SCOPE.most("onapp_vm_backup_size_bytes"))),
        _by_user(
            _SCOPE.named(
                f"{_SCOPE.most('onapp_vm_backup_size_bytes')}\n"
                f"- {_SCOPE.most('onapp_vm_backup_size_bytes', ago='$__range')}"
            )
        ),
    ],
    {
        "panel": ("Panel", {}),
        "user_id": ("User", {}),
        "A": (
            "In trouble",
            {
                "unit": "none",
                "custom.cellOptions": {"type": "color-text"},
                "thresholds": style.steps([(None, "green"), (1, "orange")]).build(),
            },
        ),
        "B": ("Servers", {"unit": "none"}),
        "C": ("Space", {"unit": "bytes"}),
        "D": ("Growth", {"unit": "bytes"}),
    },
    sort=[("In trouble", True), ("Space", True)],
)

_PROBLEM = style.graph(
    "Servers in trouble",
    "Servers whose state is a warning, critical or not known: is it getting better?",
    {
        "{{panel}}: critical": _by_panel(f"{_SCOPE.state()} >= bool {STUCK_LONG}"),
        "{{panel}}: all": _by_panel(f"{_SCOPE.state()} >= bool {NOTHING_DUE}"),
    },
    unit="none",
).max_data_points(60)  # every moment judges every server anew

_ENDED = style.graph(
    "Backup tasks that ended",
    "Tasks of taking, deleting, restoring and converting backups by how they ended, as "
    "the panels' transactions tell.",
    {
        "{{action}} {{status}}": "sum by (action, status) (\n"
        + _SCOPE.over_shards(
            f"increase({_SCOPE.series('onapp_transactions_total')}[$__rate_interval])",
            "panel, action, status",
        )
        + "\n) > 0"
    },
    unit="none",
    stacked=True,
)

_SPACE = style.graph(
    "Space of all backups",
    "What the backups of all servers take together, by panel.",
    {"{{panel}}": _by_panel(_SCOPE.most("onapp_vm_backup_size_bytes"))},
    unit="bytes",
    stacked=True,
)


def _used(*, ago: str = "") -> str:
    """Return what is used of each backup server: every shard knows its servers'."""
    series = _SCOPE.series("onapp_backup_server_used_bytes", ago=ago)
    return _SCOPE.over_shards(series, "panel, backup_server_id", ago=ago)


_CAPACITY = _SCOPE.most("onapp_backup_server_capacity_bytes")
_ROOM = f"({_CAPACITY} > 0)"
_GROWN = f"{_used()} - {_used(ago='$__range')}"
_NAMED_STORES = (
    f"{_used()}\n* ignoring (label) group_left (label) (\n"
    f"{_SCOPE.info('onapp_backup_server_info')}\n"
    f"or ignoring (label) 0 * {_used()} + 1)"
)
_FULL_IN = (
    f"clamp_max(\nclamp_min({_ROOM} - {_used()}, 0)\n"
    f"/ clamp_min({_GROWN}, 0) * $__range_s,\n{_FOREVER_SECONDS})"
)
_STORES = style.rows(
    "Backup servers: room and forecast",
    "How full each backup server is, and when it will be full if it goes on as in the "
    "time shown (choose a week or more). None: backups on the hypervisors themselves. "
    "Only backups of watched servers are counted.",
    [
        _NAMED_STORES,
        _CAPACITY,
        f"{_used()} / {_ROOM}",
        _GROWN,
        _FULL_IN,
    ],
    {
        "panel": ("Panel", {}),
        "backup_server_id": ("Number", {}),
        "label": ("Backup server", {}),
        "A": ("Used", {"unit": "bytes"}),
        "B": ("Capacity", {"unit": "bytes"}),
        "C": (
            "Full",
            {
                "unit": "percentunit",
                "min": 0,
                "max": 1,
                "custom.cellOptions": {"type": "gauge", "mode": "basic"},
                "thresholds": style.steps(
                    [(None, "green"), (0.8, "orange"), (0.9, "red")]
                ).build(),
            },
        ),
        "D": ("Growth", {"unit": "bytes"}),
        "E": (
            "Full in",
            {
                "unit": "dtdurations",
                "mappings": style.texts({_FOREVER_SECONDS: ("not growing", "green")}),
                "custom.cellOptions": {"type": "color-text"},
                "thresholds": style.steps(
                    [(None, "red"), (14 * 86400, "orange"), (60 * 86400, "green")]
                ).build(),
            },
        ),
    },
    sort=[("Full", True)],
)


_TROUBLED = ((_WORST, 24, 12), (_ALERTS, 12, 9), (_USERS, 12, 9))


def board() -> Dashboard:
    """Return the dashboard."""
    user = frame.choice(
        "user", "User", f"label_values({_SCOPE.series('onapp_vm_info')}, user_id)"
    )
    return frame.board(
        "onapp-cloud",
        "OnApp backups: cloud overview",
        "Is everything restorable, what is in trouble, and is there room?",
        [frame.panels(), user],
        [
            ("Is everything restorable?", [(_STATES, 16, 5), (_TRUST, 8, 5)]),
            ("What is in trouble?", _TROUBLED),
            ("Is it getting better?", [(_PROBLEM, 12, 8), (_ENDED, 12, 8)]),
            ("Is there room?", [(_SPACE, 10, 8), (_STORES, 14, 8)]),
        ],
        since="now-7d",
    )
