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
from typing import Literal

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


@dataclass(frozen=True)
class ExpectedAlert:
    """An alert that a kind of problem must raise, or may raise beside others."""

    alert: str
    severity: Literal["warning", "critical"]
    level: Level
    """What its labels must identify."""
    max_delay_seconds: float
    """From the end of the grace time to the alert, at most."""
    max_overrun_seconds: float
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


_FOR = 5 * MINUTE
_KEEP = 30 * MINUTE
"""No alert keeps firing for longer."""
_KEPT = _KEEP + POLL + TWICE


def _stale(until: Until = "success", *, required: bool = True) -> ExpectedAlert:
    """Return the alert of a backup older than 1.5 intervals and three hours."""
    return ExpectedAlert(
        *("OnAppBackupStale", "warning", "target"),
        max_delay_seconds=_FOR + TWICE,
        max_overrun_seconds=_KEPT,
        since="success",
        grace_seconds=3 * HOUR,
        grace_intervals=1.5,
        until=until,
        required=required,
    )


def _very_stale(until: Until = "success", *, required: bool = True) -> ExpectedAlert:
    """Return the alert of a backup older than 2.5 intervals and three hours."""
    return ExpectedAlert(
        *("OnAppBackupVeryStale", "critical", "target"),
        max_delay_seconds=_FOR + TWICE,
        max_overrun_seconds=_KEPT,
        since="success",
        grace_seconds=3 * HOUR,
        grace_intervals=2.5,
        until=until,
        required=required,
    )


def _stuck(
    hours: float, since: Since = "stuck", until: Until = "ended"
) -> ExpectedAlert:
    """Return the alert of a backup that is unbuilt for so many hours."""
    return ExpectedAlert(
        *("OnAppBackupStuck", "warning" if hours < 24 else "critical", "target"),
        max_delay_seconds=_FOR + TWICE,
        max_overrun_seconds=_KEPT,
        since=since,
        grace_seconds=hours * HOUR,
        until=until,
    )


def _failed() -> ExpectedAlert:
    return ExpectedAlert(
        *("OnAppBackupFailed", "warning", "server"),
        max_delay_seconds=_FOR + POLL + TWICE,
        max_overrun_seconds=_KEPT,
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
        max_delay_seconds=_FOR + TWICE,
        max_overrun_seconds=_KEPT,
        since=since,
        grace_seconds=3 * HOUR,
        until=until,
    )


def _schedule_failed() -> ExpectedAlert:
    return ExpectedAlert(
        *("OnAppScheduleFailing", "critical", "target"),
        max_delay_seconds=_FOR + DISCOVERY + TWICE,
        max_overrun_seconds=_KEPT,
        since="given up",
    )


def _unscheduled() -> ExpectedAlert:
    return ExpectedAlert(
        *("OnAppScheduleDisabled", "warning", "target"),
        max_delay_seconds=_FOR + DISCOVERY + TWICE,
        max_overrun_seconds=_KEEP + DISCOVERY + TWICE,
    )


def _unprotected() -> ExpectedAlert:
    """Return the alert of a server that never had a schedule, until it has one."""
    return ExpectedAlert(
        *("OnAppServerUnprotected", "critical", "server"),
        max_delay_seconds=_FOR + TWICE,
        max_overrun_seconds=_KEPT,
        grace_seconds=26 * HOUR,
    )


def _disk_unprotected() -> ExpectedAlert:
    return ExpectedAlert(
        *("OnAppDiskUnprotected", "warning", "target"),
        max_delay_seconds=_FOR + TWICE,
        max_overrun_seconds=_KEPT,
        grace_seconds=26 * HOUR,
    )


def _refused() -> tuple[ExpectedAlert, ...]:
    return (
        _panel(
            *("OnAppPanelUnauthorized", "critical"),
            late=_FOR + TWICE,
            kept=HOUR + _KEEP + TWICE,
        ),
        _old(required=False, kept=HOUR),
    )


def _old(*, required: bool, level: Level = "panel", kept: float = 0.0) -> ExpectedAlert:
    """Return the alert of backups not read for two intervals and twenty minutes.

    The last read may have been up to an interval before the problem.
    """
    return ExpectedAlert(
        *("OnAppBackupDataOld", "warning", level),
        max_delay_seconds=_FOR + POLL + TWICE,
        max_overrun_seconds=kept + _KEPT,
        grace_seconds=POLL + 20 * MINUTE,
        remembered=True,
        required=required,
    )


def _size() -> ExpectedAlert:
    return ExpectedAlert(
        *("OnAppBackupSizeAnomaly", "warning", "target"),
        max_delay_seconds=15 * MINUTE + POLL + TWICE,
        max_overrun_seconds=35 * MINUTE + _KEPT,
        since="finished",
        until="success",
    )


def _panel(  # noqa: PLR0913  # a bound has many sides
    alert: str,
    severity: Literal["warning", "critical"],
    *,
    late: float,
    kept: float = _KEEP + DISCOVERY + TWICE,
    grace: float = 0.0,
    level: Level = "panel",
    since: Since = "begun",
    required: bool = True,
    remembered: bool = False,
) -> ExpectedAlert:
    return ExpectedAlert(
        *(alert, severity, level),
        required=required,
        remembered=remembered,
        max_delay_seconds=late,
        max_overrun_seconds=kept,
        grace_seconds=grace,
        since=since,
    )


def _exporter(
    alert: str,
    severity: Literal["warning", "critical"],
    *,
    late: float,
    kept: float = 0,
) -> ExpectedAlert:
    """Return an alert about the exporters themselves, which need not read anything."""
    return ExpectedAlert(
        *(alert, severity, "job"),
        max_delay_seconds=late + TWICE,
        max_overrun_seconds=kept + _KEEP + TWICE,
    )


EXPECTED_ALERTS: Mapping[str, tuple[ExpectedAlert, ...]] = {
    "starts skipped": (_stale(), _very_stale()),
    "starts skipped, renamed": (_stale(), _very_stale()),
    "starts skipped, every two days": (_stale(), _very_stale()),
    "starts skipped, number reused": (_stale("ended"), _very_stale("ended")),
    "starts skipped, schedules unknown": (_stale(),),
    "start stalled": (
        ExpectedAlert(
            *("OnAppScheduleOverdue", "warning", "target"),
            # Schedules must have been read after the grace time.
            max_delay_seconds=_FOR + DISCOVERY + TWICE,
            max_overrun_seconds=_KEPT,
            since="stalled",
            grace_seconds=3 * HOUR,
        ),
        _stale(),
        _very_stale(),
    ),
    "run stuck": (_stuck(6), _stuck(24), _stale(), _very_stale()),
    "run stuck behind a dead row": (
        _stuck(6),
        _stuck(24),
        _stale(),
        _very_stale(),
        _failed(),
        _schedule_failing(),
    ),
    "run stuck, schedules unknown": (_stuck(6), _stuck(24), _stale()),
    "run failed": (_failed(), _stale(), _schedule_failing()),
    "run failed, its row gone": (_failed(), _stale(), _schedule_failing()),
    # Where transactions cannot be read, a failed row looks like one that is stuck.
    "runs failed, transactions unknown": (
        _stuck(6, "queued", "success"),
        _stuck(24, "queued", "success"),
        _schedule_failing("failing"),
        _stale(),
        _very_stale(),
    ),
    "run cancelled": (_stale(),),
    "schedule marked as failed": (
        _schedule_failed(),
        _failed(),
        _schedule_failing(until="given up"),
        # Where it is enabled again, until the next good backup.
        replace(_schedule_failing(), required=False),
        _stale("given up"),
        _very_stale("given up"),
    ),
    "schedule marked as failed, transactions unknown": (
        _schedule_failed(),
        _stuck(6, "queued", "success"),
        _stuck(24, "queued", "success"),
        _schedule_failing("failing", "given up"),
        replace(_schedule_failing("failing"), required=False),
        _stale("given up"),
        _very_stale("given up"),
    ),
    "backup shrunk": (_size(),),
    "backup grown": (_size(),),
    "backup locked": (
        ExpectedAlert(
            *("OnAppBackupLockedLong", "warning", "target"),
            max_delay_seconds=_FOR + TWICE,
            max_overrun_seconds=_KEPT,
            grace_seconds=3 * DAY,
        ),
    ),
    "schedule disabled": (_unscheduled(),),
    "schedule disabled, renamed": (_unscheduled(),),
    "schedule deleted": (
        replace(_unscheduled(), since="success", grace_intervals=1.5),
    ),
    "backups lost": (
        replace(
            _unprotected(),
            max_delay_seconds=_FOR + POLL + TWICE,
            grace_seconds=0.0,
            until="success",
        ),
    ),
    "server forgotten": (_unprotected(),),
    "disk forgotten": (_disk_unprotected(),),
    "disk forgotten, renamed": (_disk_unprotected(),),
    "server unreadable": (_old(required=True, level="server"),),
    "dates in the future": (
        ExpectedAlert(
            *("OnAppClockSkew", "warning", "panel"),
            max_delay_seconds=_FOR + POLL + TWICE,
            max_overrun_seconds=_KEPT,
            momentary=True,
        ),
    ),
    "panel stopped": (
        _panel("OnAppPanelDown", "critical", late=15 * MINUTE + DISCOVERY + TWICE),
        _old(required=False),
    ),
    "key refused": _refused(),
    "key refused, a server unreadable": _refused(),
    "collector broken": (
        _panel(
            *("OnAppCollectorFailing", "warning"),
            late=HOUR + DISCOVERY + TWICE,
        ),
    ),
    # What is refused is asked again after an hour.
    "schedules refused": (
        _panel(
            *("OnAppCollectorFailing", "warning"),
            late=HOUR + DISCOVERY + TWICE,
            kept=HOUR + _KEEP + DISCOVERY + TWICE,
        ),
    ),
    "backup server disabled": (
        _panel(
            *("OnAppBackupServerDisabledInUse", "warning"),
            late=HOUR + DISCOVERY + TWICE,
        ),
    ),
    "backup server full": (
        _panel("OnAppBackupServerFull", "warning", late=HOUR + POLL + TWICE),
    ),
    # A forecast by the growth of a fortnight that comes in daily steps.
    "backup server filling": (
        _panel("OnAppBackupServerFull", "warning", late=2 * DAY, kept=2 * DAY),
    ),
    "servers hidden": (
        _panel(
            *("OnAppInventoryShrank", "warning"),
            late=15 * MINUTE + DISCOVERY + TWICE,
            remembered=True,
        ),
    ),
    "no servers": (
        _panel("OnAppNoServers", "warning", late=15 * MINUTE + DISCOVERY + TWICE),
        _panel("OnAppInventoryShrank", "warning", late=0.0, required=False),
        _old(required=False),
    ),
    "clock wrong": (
        _panel("OnAppClockSkew", "warning", late=15 * MINUTE + DISCOVERY + TWICE),
    ),
    "queue jammed": (
        _panel(
            *("OnAppQueueJam", "warning"),
            late=_FOR + TWICE,
            grace=6 * HOUR,
            since="idle",
        ),
        # Where a run is stuck already, the first to wait behind it is the second.
        _panel(
            *("OnAppQueueJam", "warning"),
            late=_FOR + TWICE,
            grace=6 * HOUR,
            since="rest",
            required=False,
        ),
    ),
    "panel slow": (
        _panel(
            *("OnAppPollLagging", "warning"),
            # Some are read meanwhile: the lag grows slower than the time.
            late=15 * MINUTE + POLL + TWICE,
            kept=HOUR + _KEEP + TWICE,
            grace=2 * POLL,
            remembered=True,
        ),
        _old(required=False),
        _panel(  # of a server that is new
            *("OnAppBackupDataOld", "critical"), late=0.0, grace=HOUR, required=False
        ),
    ),
    "shard missing": (
        _panel("OnAppBackupDataOld", "critical", late=HOUR + DISCOVERY + TWICE),
        _exporter("OnAppExporterDown", "critical", late=30 * MINUTE),
    ),
    "all exporters down": (_exporter("OnAppExporterDown", "critical", late=_FOR),),
    "one exporter down": (_exporter("OnAppExporterDown", "warning", late=15 * MINUTE),),
    "exporter restarts every quarter of an hour": (
        _exporter("OnAppExporterFlapping", "warning", late=HOUR + _FOR, kept=HOUR),
    ),
    "exporters restart every quarter of an hour": (
        _exporter("OnAppExporterFlapping", "warning", late=HOUR + _FOR, kept=HOUR),
    ),
    "configuration broken": (
        _exporter("OnAppExporterReloadFailed", "warning", late=_FOR),
    ),
}

JAM_ALERTS = (
    _stuck(6, "queued", "over"),
    _stale(required=False),
    _very_stale(required=False),
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
