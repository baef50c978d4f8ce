"""The alerts that each problem must raise, and how soon: written before any run.

Servers are read every hour (`poll.interval: 1h`), inventories every half hour, and the
rules are evaluated every quarter of an hour. A bound is the `for` of the rule and two
evaluations, and the time until the exporter next reads what has changed unless it was
read long before the grace time is over: the judgement gives its moments in advance.
An alert keeps firing for the rule's `keep_firing_for` after the problem was fixed and
read again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from truth import GRACE

from alert_fidelity.timing import DAY, DISCOVERY, HOUR, MINUTE, POLL, TWICE

Since = Literal[
    "begun",
    "success",
    "stuck",
    "queued",
    "failed",
    "stalled",
    "given up",
    "failing",
    "finished",
    "idle",
    "rest",
]
Until = Literal["ended", "success", "over", "given up"]
Level = Literal["job", "panel", "server", "target"]


_FOR = 5 * MINUTE
_KEEP = 30 * MINUTE
"""No alert keeps firing for longer."""
_KEPT = _KEEP + POLL + TWICE


@dataclass(frozen=True)
class ExpectedAlert:
    """An alert that a kind of problem must raise, or may raise beside others.

    The bounds are those of what is judged in advance, and read again at the next poll.
    """

    alert: str
    severity: Literal["warning", "critical"]
    level: Level
    """What its labels must identify."""
    max_delay_seconds: float = _FOR + TWICE
    """From the end of the grace time to the alert, at most."""
    max_overrun_seconds: float = _KEPT
    """From the fix to the alert's end, at most."""
    since: Since = "begun"
    """The event in the history at which the grace time begins."""
    grace_seconds: float = 0.0
    grace_intervals: float = 0.0
    """Of the target's own schedule, beside the seconds."""
    until: Until = "ended"
    """The event in the history that counts as the fix."""
    remembered: bool = False
    """Whether only the exporter knows the beginning, which a restart forgets."""
    momentary: bool = False
    """Whether it reports a change, and ends by itself an hour later."""
    required: bool = True
    """Whether it is missed if it does not fire; else it may fire."""


_STALE = ExpectedAlert(
    *("OnAppBackupStale", "warning", "target"),
    since="success",
    grace_seconds=GRACE["stale"].seconds,
    grace_intervals=GRACE["stale"].intervals,
    until="success",
)
_VERY_STALE = replace(
    _STALE,
    alert="OnAppBackupVeryStale",
    severity="critical",
    grace_seconds=GRACE["very_stale"].seconds,
    grace_intervals=GRACE["very_stale"].intervals,
)
"""Backups older than so many intervals and three hours."""


def _stuck(state: str, since: Since = "stuck", until: Until = "ended") -> ExpectedAlert:
    """Return the alert of a backup that is unbuilt for too long."""
    return ExpectedAlert(
        *("OnAppBackupStuck", "warning" if state == "stuck" else "critical", "target"),
        since=since,
        grace_seconds=GRACE[state].seconds,
        until=until,
    )


_RUN_FAILED = ExpectedAlert(
    *("OnAppBackupFailed", "warning", "server", _FOR + POLL + TWICE),
    since="failed",
    until="success",
)


def _schedule_failing(
    since: Since = "failed", until: Until = "success"
) -> ExpectedAlert:
    """Return the alert of a schedule whose newest run failed, three hours later.

    Without log rows it is not known before an interval without success.
    """
    return ExpectedAlert(
        *("OnAppScheduleFailing", "warning", "target"),
        since=since,
        grace_seconds=3 * HOUR,
        until=until,
    )


_SCHEDULE_FAILED = ExpectedAlert(
    *("OnAppScheduleFailing", "critical", "target", _FOR + DISCOVERY + TWICE),
    since="given up",
)
_UNSCHEDULED = ExpectedAlert(
    *("OnAppScheduleDisabled", "warning", "target", _FOR + DISCOVERY + TWICE),
    max_overrun_seconds=_KEEP + DISCOVERY + TWICE,
)
_UNPROTECTED = ExpectedAlert(
    *("OnAppServerUnprotected", "critical", "server"), grace_seconds=26 * HOUR
)
"""Of a server that never had a schedule, until it has one."""
_DISK_UNPROTECTED = ExpectedAlert(
    *("OnAppDiskUnprotected", "warning", "target"), grace_seconds=26 * HOUR
)


def _old(*, required: bool, level: Level = "panel", kept: float = 0.0) -> ExpectedAlert:
    """Return the alert of backups not read for two intervals and twenty minutes.

    The last read may have been up to an interval before the problem.
    """
    return ExpectedAlert(
        *("OnAppBackupDataOld", "warning", level, _FOR + POLL + TWICE, kept + _KEPT),
        grace_seconds=POLL + 20 * MINUTE,
        remembered=True,
        required=required,
    )


_SIZE = ExpectedAlert(
    *("OnAppBackupSizeAnomaly", "warning", "target"),
    max_delay_seconds=15 * MINUTE + POLL + TWICE,
    max_overrun_seconds=35 * MINUTE + _KEPT,
    since="finished",
    until="success",
)


def _panel(
    alert: str,
    severity: Literal["warning", "critical"] = "warning",
    *,
    late: float,
    kept: float = _KEEP + DISCOVERY + TWICE,
    **more: Any,
) -> ExpectedAlert:
    return ExpectedAlert(alert, severity, "panel", late, kept, **more)


_REFUSED = (
    _panel(
        *("OnAppPanelUnauthorized", "critical"),
        late=_FOR + TWICE,
        kept=HOUR + _KEEP + TWICE,
    ),
    _old(required=False, kept=HOUR),
)


def _exporter(
    alert: str,
    severity: Literal["warning", "critical"] = "warning",
    *,
    late: float,
    kept: float = 0,
) -> ExpectedAlert:
    """Return an alert about the exporters themselves, which need not read anything."""
    return ExpectedAlert(alert, severity, "job", late + TWICE, kept + _KEEP + TWICE)


EXPECTED_ALERTS: Mapping[str, tuple[ExpectedAlert, ...]] = {
    "starts skipped": (_STALE, _VERY_STALE),
    "starts skipped, renamed": (_STALE, _VERY_STALE),
    "starts skipped, every two days": (_STALE, _VERY_STALE),
    "starts skipped, number reused": (
        replace(_STALE, until="ended"),
        replace(_VERY_STALE, until="ended"),
    ),
    "starts skipped, schedules unknown": (_STALE,),
    "start stalled": (
        ExpectedAlert(
            *("OnAppScheduleOverdue", "warning", "target"),
            # Schedules must have been read after the grace time.
            max_delay_seconds=_FOR + DISCOVERY + TWICE,
            since="stalled",
            grace_seconds=3 * HOUR,
        ),
        _STALE,
        _VERY_STALE,
    ),
    "run stuck": (_stuck("stuck"), _stuck("stuck_long"), _STALE, _VERY_STALE),
    "run stuck behind a dead row": (
        _stuck("stuck"),
        _stuck("stuck_long"),
        _STALE,
        _VERY_STALE,
        _RUN_FAILED,
        _schedule_failing(),
    ),
    "run stuck, schedules unknown": (_stuck("stuck"), _stuck("stuck_long"), _STALE),
    "run failed": (_RUN_FAILED, _STALE, _schedule_failing()),
    "run failed, its row gone": (_RUN_FAILED, _STALE, _schedule_failing()),
    # Where transactions cannot be read, a failed row looks like one that is stuck.
    "runs failed, transactions unknown": (
        _stuck("stuck", "queued", "success"),
        _stuck("stuck_long", "queued", "success"),
        _schedule_failing("failing"),
        _STALE,
        _VERY_STALE,
    ),
    "run cancelled": (_STALE,),
    "schedule marked as failed": (
        _SCHEDULE_FAILED,
        _RUN_FAILED,
        _schedule_failing(until="given up"),
        # Where it is enabled again, until the next good backup.
        replace(_schedule_failing(), required=False),
        replace(_STALE, until="given up"),
        replace(_VERY_STALE, until="given up"),
    ),
    "schedule marked as failed, transactions unknown": (
        _SCHEDULE_FAILED,
        _stuck("stuck", "queued", "success"),
        _stuck("stuck_long", "queued", "success"),
        _schedule_failing("failing", "given up"),
        replace(_schedule_failing("failing"), required=False),
        replace(_STALE, until="given up"),
        replace(_VERY_STALE, until="given up"),
    ),
    "backup shrunk": (_SIZE,),
    "backup grown": (_SIZE,),
    "backup locked": (
        ExpectedAlert(
            *("OnAppBackupLockedLong", "warning", "target"),
            grace_seconds=GRACE["locked"].seconds,
        ),
    ),
    "schedule disabled": (_UNSCHEDULED,),
    "schedule disabled, renamed": (_UNSCHEDULED,),
    "schedule deleted": (replace(_UNSCHEDULED, since="success", grace_intervals=1.5),),
    "backups lost": (
        replace(
            _UNPROTECTED,
            max_delay_seconds=_FOR + POLL + TWICE,
            grace_seconds=0.0,
            until="success",
        ),
    ),
    "server forgotten": (_UNPROTECTED,),
    "disk forgotten": (_DISK_UNPROTECTED,),
    "disk forgotten, renamed": (_DISK_UNPROTECTED,),
    "server unreadable": (_old(required=True, level="server"),),
    "dates in the future": (
        ExpectedAlert(
            *("OnAppClockSkew", "warning", "panel"),
            max_delay_seconds=_FOR + POLL + TWICE,
            momentary=True,
        ),
    ),
    "panel stopped": (
        _panel("OnAppPanelDown", "critical", late=15 * MINUTE + DISCOVERY + TWICE),
        _old(required=False),
    ),
    "key refused": _REFUSED,
    "key refused, a server unreadable": _REFUSED,
    "collector broken": (
        _panel("OnAppCollectorFailing", late=HOUR + DISCOVERY + TWICE),
    ),
    # What is refused is asked again after an hour.
    "schedules refused": (
        _panel(
            "OnAppCollectorFailing",
            late=HOUR + DISCOVERY + TWICE,
            kept=HOUR + _KEEP + DISCOVERY + TWICE,
        ),
    ),
    "backup server disabled": (
        _panel("OnAppBackupServerDisabledInUse", late=HOUR + DISCOVERY + TWICE),
    ),
    "backup server full": (_panel("OnAppBackupServerFull", late=HOUR + POLL + TWICE),),
    # A forecast by the growth of a fortnight that comes in daily steps.
    "backup server filling": (
        _panel("OnAppBackupServerFull", late=2 * DAY, kept=2 * DAY),
    ),
    "servers hidden": (
        _panel(
            "OnAppInventoryShrank",
            late=15 * MINUTE + DISCOVERY + TWICE,
            remembered=True,
        ),
    ),
    "no servers": (
        _panel("OnAppNoServers", late=15 * MINUTE + DISCOVERY + TWICE),
        _panel("OnAppInventoryShrank", late=0.0, required=False),
        _old(required=False),
    ),
    "clock wrong": (_panel("OnAppClockSkew", late=15 * MINUTE + DISCOVERY + TWICE),),
    "queue jammed": (
        _panel(
            "OnAppQueueJam", late=_FOR + TWICE, grace_seconds=6 * HOUR, since="idle"
        ),
        # Where a run is stuck already, the first to wait behind it is the second.
        _panel(
            "OnAppQueueJam",
            late=_FOR + TWICE,
            grace_seconds=6 * HOUR,
            since="rest",
            required=False,
        ),
    ),
    "panel slow": (
        _panel(
            "OnAppPollLagging",
            # Some are read meanwhile: the lag grows slower than the time.
            late=15 * MINUTE + POLL + TWICE,
            kept=HOUR + _KEEP + TWICE,
            grace_seconds=2 * POLL,
            remembered=True,
        ),
        _old(required=False),
        _panel(  # of a server that is new
            *("OnAppBackupDataOld", "critical"),
            late=0.0,
            grace_seconds=HOUR,
            required=False,
        ),
    ),
    "shard missing": (
        _panel("OnAppBackupDataOld", "critical", late=HOUR + DISCOVERY + TWICE),
        _exporter("OnAppExporterDown", "critical", late=30 * MINUTE),
    ),
    "all exporters down": (_exporter("OnAppExporterDown", "critical", late=_FOR),),
    "one exporter down": (_exporter("OnAppExporterDown", late=15 * MINUTE),),
    "exporter restarts every quarter of an hour": (
        _exporter("OnAppExporterFlapping", late=HOUR + _FOR, kept=HOUR),
    ),
    "exporters restart every quarter of an hour": (
        _exporter("OnAppExporterFlapping", late=HOUR + _FOR, kept=HOUR),
    ),
    "configuration broken": (_exporter("OnAppExporterReloadFailed", late=_FOR),),
}

JAM_ALERTS = (
    _stuck("stuck", "queued", "over"),
    replace(_STALE, required=False),
    replace(_VERY_STALE, required=False),
)
"""What a queue jam may raise for each target whose backup waits in the queue."""

RESTARTING = "exporters restart every quarter of an hour"
"""It hides only what the exporter alone remembers; all else are facts of the panel."""

HIDING_PROBLEMS = {
    *("panel stopped", "key refused", "panel slow", "shard missing", "no servers"),
    *("all exporters down", "servers hidden", "server unreadable", "collector broken"),
    *("exporters restarted", "schedules refused", "key refused, a server unreadable"),
    RESTARTING,
}
"""While one of these lasts, others cannot be seen: their deadlines are extended."""

FORGETTING = {
    *("exporter restarted", "exporters restarted", "shard missing", RESTARTING),
    *("one exporter down", "all exporters down", "servers hidden", "no servers"),
    "exporter restarts every quarter of an hour",
}
"""With one of these, an exporter forgets what no fact of the panel says."""
