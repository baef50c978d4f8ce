"""The dashboard *Server*: the backups of one server."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from . import frame, style
from .queries import Scope

_SCOPE = Scope(matchers='panel="$panel", vm_id="$vm"')
_ALL = Scope(matchers='panel="$panel"')
_TARGET = "{{target_type}} {{target_id}}"
_AGE = {"unit": "s", "decimals": 1}
_MOMENT = {"unit": "dateTimeAsLocal"}
_FROM_NOW = {"unit": "dateTimeFromNow"}
_MOMENTS = "onapp_state_start_timestamp_seconds"
_SUCCESS = _SCOPE.most("onapp_target_last_success_timestamp_seconds")
_YES_IS_BAD = {
    "mappings": style.texts({1: ("yes", "orange"), 0: ("no", "text")}),
    "custom.cellOptions": {"type": "color-text"},
}
_PAGE = {"links": [frame.SERVER_PAGE]}


def _limit(state: str) -> str:
    """Return from which moment on each target is in a state."""
    return _SCOPE.most(_MOMENTS, f'state="{state}"', besides="state")


_STATE = style.rows(
    "State",
    "The worst state of the server, as on its status page, and its names.",
    [
        _SCOPE.state(),
        _SCOPE.info("onapp_vm_info"),
        f"time() - {_SCOPE.most('onapp_vm_last_success_timestamp_seconds')}",
        f"time() - {_SCOPE.most('onapp_vm_last_poll_success_timestamp_seconds')}",
        _SCOPE.most("onapp_vm_backup_size_bytes"),
        _SCOPE.most("onapp_vm_backup_in_time"),
        _ALL.info("onapp_panel_info"),
    ],
    {
        "state": ("State", style.backgrounds(style.STATES) | _PAGE),
        "label": ("Server", _PAGE),
        "hostname": ("Hostname", {}),
        "vm_id": ("VM", {}),
        "identifier": ("Identifier", {}),
        "user_id": ("User", {}),
        "hypervisor_id": ("Hypervisor", {}),
        "C": ("Last success", _AGE),
        "D": ("Last read", _AGE),
        "E": ("Space", {"unit": "bytes"}),
        "F": (
            "In time",
            {"mappings": style.texts({1: ("yes", "green"), 0: ("no", "red")})},
        ),
        "panel": ("Panel", {}),
        "url": ("Address", {"links": [frame.PANEL]}),
    },
)

_SINCE = style.rows(
    "Begin of each state",
    "The moment from which each state holds in the server, a target or a schedule. "
    "It is in the future while the state does not hold yet.",
    [
        f"1000 * {_SCOPE.most(_MOMENTS)}",
    ],
    {
        "state": ("State", style.backgrounds(style.STATES)),
        "target_type": ("Target", {}),
        "target_id": ("Number", {}),
        "schedule_id": ("Schedule", {}),
        "A": (
            "From",
            _FROM_NOW | {"mappings": style.texts({0: ("not known", "text")})},
        ),
    },
    sort=[("From", False)],
    empty="No state holds or is to come",
)

_OVER_TIME = style.timeline(
    "States over time",
    "The worst state of the server over time. The colour is its severity.",
    {"{{state}}": _SCOPE.state()},
    {
        int(severity): (severity.name.lower(), colour)
        for severity, colour in style.COLOURS.items()
    },
)

_TARGETS = style.rows(
    "Targets",
    "Each disk that has backups, or the server as a whole: how often a backup is "
    "expected and why, when it becomes stale, the last good one, and the last "
    "failure.",
    [
        _SCOPE.most("onapp_target_backups", 'state="built"', besides="state"),
        _SCOPE.most("onapp_target_backups", 'state="unbuilt"', besides="state"),
        f"time() - {_SUCCESS}",
        _SCOPE.info("onapp_target_expected_interval_info"),
        _SCOPE.least("onapp_target_expected_interval_seconds"),
        f"1000 * {_limit('stale')}",
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
        "F": ("Stale", _FROM_NOW),
        "E": ("Expected every", {"unit": "s"}),
        "source": ("Interval from", {}),
        "G": ("Size", {"unit": "bytes"}),
        "H": ("Duration", {"unit": "s"}),
        "I": ("Last failure", _AGE),
        "K": ("Oldest unbuilt", _AGE),
        "A": ("Built", {}),
        "B": ("Unbuilt", {}),
        "J": ("Locked", {}),
    },
    sort=[("Stale", False)],
)

_FRESHNESS = style.graph(
    "Age of the last good backup",
    "Age of the last good backup of each target, and the ages at which it is stale and "
    "very stale. Marks: a backup failed.",
    {
        _TARGET: f"time() - {_SUCCESS}",
        f"{_TARGET}: stale": f"{_limit('stale')} - {_SUCCESS}",
        f"{_TARGET}: very stale": f"{_limit('very_stale')} - {_SUCCESS}",
    },
    unit="s",
)
_SIZES = style.graph(
    "Sizes",
    "Size of the last good backup of each target, and the space of all backups of the "
    "server. A sudden change may be a problem.",
    {
        _TARGET: _SCOPE.most("onapp_target_last_success_size_bytes"),
        "all backups": _SCOPE.most("onapp_vm_backup_size_bytes"),
    },
    unit="bytes",
)
_DURATIONS = style.graph(
    "Durations",
    "Duration of the last good backup of each target, with its time in the queue.",
    {_TARGET: _SCOPE.most("onapp_target_last_success_duration_seconds")},
    unit="s",
)

_SCHEDULED = "instance, pod, node, status, vm_id, target_type, target_id, period"


def _of_schedules(expression: str) -> str:
    """Return what is said of this server's schedules alone."""
    info = _SCOPE.series("onapp_schedule_info")
    return f"{expression}\nand ignoring ({_SCHEDULED}) {info}"


_STATUS = (
    "topk without (instance, pod, node, status) "
    f"(1, {_ALL.series('onapp_schedule_status')} == 1)"
)
_STATUSES = {
    "enabled": ("enabled", "green"),
    "disabled": ("disabled", "orange"),
    "failed": ("failed", "red"),
}

_SCHEDULES = style.rows(
    "Schedules",
    "The schedules of this server: the next start, and how many runs have failed.",
    [
        _of_schedules(f"max without (instance, pod, node) ({_STATUS})"),
        _of_schedules(
            f"1000 * {_ALL.most('onapp_schedule_next_start_timestamp_seconds')}"
        ),
        _of_schedules(_ALL.most("onapp_schedule_interval_seconds")),
        _of_schedules(_ALL.most("onapp_schedule_failures")),
        _SCOPE.info("onapp_schedule_info"),
    ],
    {
        "schedule_id": ("Schedule", {}),
        "target_type": ("Target", {}),
        "target_id": ("Number", {}),
        "status": ("Status", style.backgrounds(_STATUSES)),
        "period": ("Period", {}),
        "C": ("Every", {"unit": "s"}),
        "B": ("Next start", _MOMENT),
        "D": ("Failures", style.coloured([(None, "text"), (1, "orange")])),
    },
    sort=[("Next start", False)],
    empty="No schedules, or they cannot be read",
)

_DETAILS = (
    "Empty if details of backups are switched off (detail.backups in the exporter's "
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
    "When each backup existed, and its state: are backups made, built and rotated as "
    f"planned? {_DETAILS}",
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
    server = frame.choice(
        "vm",
        "Server",
        f"query_result(group by (label, vm_id) {_ALL.listed()})",
        multi=False,
        regex='/(?:label="(?<text>.*)",)?vm_id="(?<value>[^"]*)"/',
    )
    failed = _SCOPE.most("onapp_vm_last_failed_backup_timestamp_seconds")
    return frame.board(
        "onapp-server",
        "OnApp backups: server",
        "The state of one server and of its backups.",
        [frame.panels(multi=False), server, frame.status_pages()],
        [
            ("What is its state?", [(_STATE, 24, 4), (_TARGETS, 24, 6)]),
            ("Since when?", [(_SINCE, 12, 8), (_OVER_TIME, 12, 8)]),
            ("Over time", [(_FRESHNESS, 8, 9), (_SIZES, 8, 9), (_DURATIONS, 8, 9)]),
            ("What is scheduled", [(_SCHEDULES, 24, 6)]),
            ("Its backups", [(_LIVES, 24, 9), (_BACKUPS, 24, 10)]),
        ],
        since="now-30d",
        annotations=[frame.failed_backups(failed)],
    )
