"""The dashboard *Server*: what has become of the backups of one server."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from . import frame, style
from .queries import STALE_INTERVALS, VERY_STALE_INTERVALS, Scope

_SCOPE = Scope(matchers='panel="$panel", vm_id="$vm"')
_PANEL = 'panel="$panel"'
_TARGET = "{{target_type}} {{target_id}}"
_AGE = {"unit": "s", "decimals": 1}
_MOMENT = {"unit": "dateTimeAsLocal"}
_YES_IS_BAD = {
    "mappings": style.texts({1: ("yes", "orange"), 0: ("no", "text")}),
    "custom.cellOptions": {"type": "color-text"},
}

_STATE = style.rows(
    "State",
    "The gravest that is true of the server, by the thresholds of the alerts, and "
    "what the panel calls it.",
    [
        _SCOPE.state(),
        _SCOPE.info("onapp_vm_info"),
        f"time() - {_SCOPE.most('onapp_vm_last_success_timestamp_seconds')}",
        f"time() - {_SCOPE.most('onapp_vm_last_poll_success_timestamp_seconds')}",
        _SCOPE.most("onapp_vm_backup_size_bytes"),
        _SCOPE.most("onapp_vm_backup_required"),
    ],
    {
        "A": (
            "State",
            {
                "mappings": style.texts(style.STATES),
                "custom.cellOptions": {"type": "color-background", "mode": "basic"},
            },
        ),
        "label": ("Server", {}),
        "hostname": ("Hostname", {}),
        "identifier": ("Identifier", {}),
        "user_id": ("User", {}),
        "hypervisor_id": ("Hypervisor", {}),
        "C": ("Last success", _AGE),
        "D": ("Last read", _AGE),
        "E": ("Space", {"unit": "bytes"}),
        "F": (
            "Needs backups",
            {"mappings": style.texts({1: ("yes", "text"), 0: ("no", "text")})},
        ),
    },
)

_TARGETS = style.rows(
    "Targets",
    "Each disk, or the server as a whole, that has backups: how often one is expected "
    "and by whose word, what the last good one was, when a take last failed.",
    [
        _SCOPE.most("onapp_target_backups", 'state="built"', besides="state"),
        _SCOPE.most("onapp_target_backups", 'state="unbuilt"', besides="state"),
        f"time() - {_SCOPE.success()}",
        _SCOPE.info("onapp_target_expected_interval_info"),
        _SCOPE.least("onapp_target_expected_interval_seconds"),
        f"{_SCOPE.waited()} / {_SCOPE.interval()}",
        _SCOPE.most("onapp_target_last_success_size_bytes"),
        _SCOPE.most("onapp_target_last_success_duration_seconds"),
        f"time() - {_SCOPE.most('onapp_target_last_failed_timestamp_seconds')}",
        _SCOPE.most("onapp_target_locked_backups"),
        f"time() - {_SCOPE.least('onapp_target_oldest_unbuilt_timestamp_seconds')}",
    ],
    {
        "target_type": ("Target", {}),
        "target_id": ("Number", {}),
        "C": ("Last success", _AGE),
        "F": (
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
        "E": ("Expected every", {"unit": "s"}),
        "source": ("By", {}),
        "G": ("Size", {"unit": "bytes"}),
        "H": ("Duration", {"unit": "s"}),
        "I": ("Last failure", _AGE),
        "K": ("Oldest unbuilt", _AGE),
        "A": ("Built", {"unit": "none"}),
        "B": ("Unbuilt", {"unit": "none"}),
        "J": ("Locked", {"unit": "none"}),
    },
    sort=[("Waited", True)],
)

_FRESHNESS = style.graph(
    "Age of the last good backup",
    "How long ago each target was last backed up well, and from when on it is too old: "
    "the limits of the alerts, one and a half and two and a half intervals and three "
    "hours for the queue.",
    {
        _TARGET: f"time() - {_SCOPE.success()}",
        f"{_TARGET}: stale": _SCOPE.limit(STALE_INTERVALS),
        f"{_TARGET}: very stale": _SCOPE.limit(VERY_STALE_INTERVALS),
    },
    unit="s",
)
_SIZES = style.graph(
    "Sizes",
    "The size of the last good backup of each target, and what all of the server's "
    "backups take: did a backup collapse or explode?",
    {
        _TARGET: _SCOPE.most("onapp_target_last_success_size_bytes"),
        "all backups": _SCOPE.most("onapp_vm_backup_size_bytes"),
    },
    unit="bytes",
)
_DURATIONS = style.graph(
    "Durations",
    "How long the last good backup of each target took, with its time in the queue.",
    {_TARGET: _SCOPE.most("onapp_target_last_success_duration_seconds")},
    unit="s",
)

_SCHEDULED = "vm_id, target_type, target_id, period"


def _of_schedules(expression: str) -> str:
    """Return what is said of this server's schedules, with what describes them."""
    info = _SCOPE.info("onapp_schedule_info")
    return f"({expression})\n* ignoring ({_SCHEDULED}) group_right ()\n{info}"


_ALL = Scope(matchers=_PANEL)
_STATUS = "max without (instance, pod, node, status) ({})".format(
    "\nor ".join(
        f"""{number} * {_ALL.series("onapp_schedule_status", f'status="{status}"')}"""
        for number, status in enumerate(("enabled", "disabled", "failed"))
    )
)
_STATUSES = {0: ("enabled", "green"), 1: ("disabled", "orange"), 2: ("failed", "red")}

_SCHEDULES = style.rows(
    "Schedules",
    "When the panel means to back this server up, and how often it has failed to.",
    [
        _of_schedules(_STATUS),
        _of_schedules(
            f"1000 * {_ALL.most('onapp_schedule_next_start_timestamp_seconds')}"
        ),
        _of_schedules(_ALL.most("onapp_schedule_interval_seconds")),
        _of_schedules(_ALL.most("onapp_schedule_failures")),
    ],
    {
        "schedule_id": ("Schedule", {}),
        "target_type": ("Target", {}),
        "target_id": ("Number", {}),
        "A": (
            "Status",
            {
                "mappings": style.texts(_STATUSES),
                "custom.cellOptions": {"type": "color-background", "mode": "basic"},
            },
        ),
        "period": ("Period", {}),
        "C": ("Every", {"unit": "s"}),
        "B": ("Next start", _MOMENT),
        "D": (
            "Failures",
            {
                "unit": "none",
                "custom.cellOptions": {"type": "color-text"},
                "thresholds": style.steps([(None, "text"), (1, "orange")]).build(),
            },
        ),
    },
    sort=[("Next start", False)],
    empty="No schedules, or they cannot be read",
)

_DETAILS = (
    "Empty where details of backups are switched off (detail.backups in the exporter's "
    "configuration)."
)
_BACKUPS = style.rows(
    "Each backup",
    f"Every backup that the panel lists, the newest first. {_DETAILS}",
    [
        f"1000 * {_SCOPE.most('onapp_backup_created_timestamp_seconds')}",
        _SCOPE.info("onapp_backup_info"),
        _SCOPE.most("onapp_backup_built"),
        _SCOPE.most("onapp_backup_age_seconds"),
        _SCOPE.most("onapp_backup_size_bytes"),
        _SCOPE.most("onapp_backup_locked"),
        _SCOPE.most("onapp_backup_marked_for_delete"),
    ],
    {
        "A": ("Created", _MOMENT),
        "backup_id": ("Backup", {}),
        "target_type": ("Target", {}),
        "target_id": ("Number", {}),
        "backup_type": ("Type", {}),
        "initiated": ("Initiated", {}),
        "C": (
            "Built",
            {
                "mappings": style.texts({1: ("yes", "green"), 0: ("no", "orange")}),
                "custom.cellOptions": {"type": "color-text"},
            },
        ),
        "D": ("Age", _AGE),
        "E": ("Size", {"unit": "bytes"}),
        "F": ("Locked", _YES_IS_BAD),
        "G": ("Marked for delete", _YES_IS_BAD),
        "backup_server_id": ("Backup server", {}),
        "identifier": ("Identifier", {}),
    },
    sort=[("Created", True)],
    empty="No backups, or their details are switched off",
)
_LIVES = style.timeline(
    "Each backup over time",
    "From when to when each backup was there, and what it was then: are they taken, "
    f"built and rotated as they should be? {_DETAILS}",
    {
        "{{backup_id}}": f"3 * ({_SCOPE.most('onapp_backup_marked_for_delete')} == 1)\n"
        f"or 2 * ({_SCOPE.most('onapp_backup_locked')} == 1)\n"
        f"or {_SCOPE.most('onapp_backup_built')}"
    },
    {
        1: ("built", "green"),
        0: ("not built", "orange"),
        2: ("locked", "yellow"),
        3: ("marked for delete", "text"),
    },
)


def board() -> Dashboard:
    """Return the dashboard."""
    servers = Scope(matchers=_PANEL).listed_servers()
    server = frame.choice(
        "vm",
        "Server",
        f"query_result(group by (label, vm_id) ({servers}))",
        multi=False,
        regex='/(?:label="(?<text>.*)",)?vm_id="(?<value>[^"]*)"/',
    )
    return frame.board(
        "onapp-server",
        "OnApp backups: server",
        "What has become of the backups of one server?",
        [frame.panels(multi=False), server],
        [
            ("How is it?", [(_STATE, 24, 4), (_TARGETS, 24, 6)]),
            ("Over time", [(_FRESHNESS, 8, 9), (_SIZES, 8, 9), (_DURATIONS, 8, 9)]),
            ("What should happen", [(_SCHEDULES, 24, 6)]),
            ("Its backups", [(_LIVES, 24, 9), (_BACKUPS, 24, 10)]),
        ],
        since="now-30d",
    )
