"""The alerts that each problem must raise, and how soon: written before any run.

Servers are read every hour (`poll.interval: 1h`), inventories every half hour, and the
rules are evaluated every quarter of an hour. A bound is the `for` of the rule, the time
until the exporter next reads what has changed, and two evaluations. An alert keeps
firing for the rule's `keep_firing_for` after the problem was fixed and read again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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
    """Whether only the rules know the beginning, which they forget in an hour."""
    required: bool = True
    """Whether it is missed if it does not fire; else it may fire."""


_KEPT = 30 * MINUTE + POLL + TWICE


def _stale(until: Until = "success", *, required: bool = True) -> ExpectedAlert:
    """Return the alert of a backup older than 1.5 intervals and three hours."""
    return ExpectedAlert(
        *("OnAppBackupStale", "warning", "target"),
        max_delay_seconds=15 * MINUTE + TWICE,
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
        max_delay_seconds=15 * MINUTE + TWICE,
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
        max_delay_seconds=5 * MINUTE + POLL + TWICE,
        max_overrun_seconds=_KEPT,
        since=since,
        grace_seconds=hours * HOUR,
        until=until,
    )


def _failed() -> ExpectedAlert:
    return ExpectedAlert(
        *("OnAppBackupFailed", "warning", "server"),
        max_delay_seconds=5 * MINUTE + POLL + TWICE,
        max_overrun_seconds=_KEPT,
        since="failed",
        until="success",
    )


def _schedule_failing(until: Until, *, required: bool = True) -> ExpectedAlert:
    """Return the alert of failures without any success for an interval.

    Where transactions are read it takes over when a restarted exporter no longer finds
    the failed one among them.
    """
    return ExpectedAlert(
        *("OnAppScheduleFailing", "warning", "target"),
        max_delay_seconds=15 * MINUTE + DISCOVERY + TWICE,
        max_overrun_seconds=_KEPT,
        since="success",
        grace_intervals=1.0,
        until=until,
        required=required,
    )


def _old(*, required: bool, level: Level = "panel", kept: float = 0.0) -> ExpectedAlert:
    """Return the alert of backups not read for two intervals and twenty minutes.

    The last read may have been up to an interval before the problem.
    """
    return ExpectedAlert(
        *("OnAppBackupDataOld", "warning", level),
        max_delay_seconds=POLL + 5 * MINUTE + TWICE,
        max_overrun_seconds=kept + 15 * MINUTE + POLL + TWICE,
        grace_seconds=POLL + 20 * MINUTE,
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
    kept: float = 15 * MINUTE + DISCOVERY + TWICE,
    grace: float = 0.0,
    level: Level = "panel",
    since: Since = "begun",
    required: bool = True,
) -> ExpectedAlert:
    return ExpectedAlert(
        *(alert, severity, level),
        required=required,
        max_delay_seconds=late,
        max_overrun_seconds=kept,
        grace_seconds=grace,
        since=since,
    )


EXPECTED_ALERTS: Mapping[str, tuple[ExpectedAlert, ...]] = {
    "starts skipped": (_stale(), _very_stale()),
    "starts skipped, schedules unknown": (_stale(),),
    "start stalled": (
        ExpectedAlert(
            *("OnAppScheduleOverdue", "warning", "target"),
            max_delay_seconds=30 * MINUTE + DISCOVERY + TWICE,
            max_overrun_seconds=30 * MINUTE + POLL + TWICE,
            since="stalled",
            grace_seconds=3 * HOUR,
        ),
        _stale(),
        _very_stale(),
    ),
    "take stuck": (_stuck(6), _stuck(24), _stale(), _very_stale()),
    "take stuck behind a dead row": (
        _stuck(6),
        _stuck(24),
        _stale(),
        _very_stale(),
        _failed(),
        _schedule_failing("success", required=False),
    ),
    "take stuck, schedules unknown": (_stuck(6), _stuck(24), _stale()),
    "take failed": (_failed(), _stale(), _schedule_failing("success", required=False)),
    "take failed, its row gone": (
        _failed(),
        _stale(),
        _schedule_failing("success", required=False),
    ),
    # Where transactions cannot be read, a failed row looks like one that is stuck.
    "takes failed, transactions unknown": (
        _stuck(6, "queued", "success"),
        _stuck(24, "queued", "success"),
        _schedule_failing("success"),
        _stale(),
        _very_stale(),
    ),
    "schedule given up": (
        ExpectedAlert(
            *("OnAppScheduleFailing", "critical", "target"),
            max_delay_seconds=15 * MINUTE + DISCOVERY + TWICE,
            max_overrun_seconds=_KEPT,
            since="given up",
        ),
        _failed(),
        _schedule_failing("given up", required=False),
        _stale("given up"),
        _very_stale("given up"),
    ),
    "schedule given up, transactions unknown": (
        ExpectedAlert(
            *("OnAppScheduleFailing", "critical", "target"),
            max_delay_seconds=15 * MINUTE + DISCOVERY + TWICE,
            max_overrun_seconds=_KEPT,
            since="given up",
        ),
        _stuck(6, "queued", "success"),
        _stuck(24, "queued", "success"),
        _schedule_failing("given up"),
        _stale("given up"),
        _very_stale("given up"),
    ),
    "backup shrunk": (_size(),),
    "backup grown": (_size(),),
    "backup locked": (
        ExpectedAlert(
            *("OnAppBackupLockedLong", "warning", "target"),
            max_delay_seconds=POLL + TWICE,
            max_overrun_seconds=_KEPT,
            grace_seconds=3 * DAY,
            remembered=True,
        ),
    ),
    "schedule disabled": (
        ExpectedAlert(
            *("OnAppScheduleDisabled", "warning", "target"),
            max_delay_seconds=HOUR + DISCOVERY + TWICE,
            max_overrun_seconds=30 * MINUTE + DISCOVERY + TWICE,
        ),
    ),
    "backups lost": (
        ExpectedAlert(
            *("OnAppServerUnprotected", "critical", "server"),
            max_delay_seconds=15 * MINUTE + POLL + TWICE,
            max_overrun_seconds=_KEPT,
            until="success",
        ),
    ),
    "server forgotten": (
        ExpectedAlert(
            *("OnAppServerUnprotected", "critical", "server"),
            max_delay_seconds=15 * MINUTE + DISCOVERY + TWICE,
            max_overrun_seconds=_KEPT,
            grace_seconds=26 * HOUR,
            until="success",
        ),
    ),
    "disk forgotten": (
        ExpectedAlert(
            *("OnAppDiskUnprotected", "warning", "target"),
            max_delay_seconds=HOUR + DISCOVERY + POLL + TWICE,
            max_overrun_seconds=_KEPT,
            until="success",
        ),
    ),
    "server unreadable": (_old(required=True, level="server"),),
    "panel stopped": (
        _panel("OnAppPanelDown", "critical", late=15 * MINUTE + DISCOVERY + TWICE),
        _old(required=False),
    ),
    "key refused": (
        _panel(
            *("OnAppPanelUnauthorized", "critical"),
            late=5 * MINUTE + TWICE,
            kept=HOUR + 15 * MINUTE + TWICE,
        ),
        _old(required=False, kept=HOUR),
    ),
    "collector broken": (
        _panel(
            *("OnAppCollectorFailing", "warning"),
            late=HOUR + DISCOVERY + TWICE,
        ),
    ),
    "backup server disabled": (
        _panel(
            *("OnAppBackupServerDisabledInUse", "warning"),
            late=HOUR + DISCOVERY + TWICE,
            kept=30 * MINUTE + DISCOVERY + TWICE,
        ),
    ),
    "servers hidden": (
        _panel("OnAppInventoryShrank", "warning", late=15 * MINUTE + DISCOVERY + TWICE),
    ),
    "clock wrong": (
        _panel("OnAppClockSkew", "warning", late=15 * MINUTE + DISCOVERY + TWICE),
    ),
    "queue jammed": (
        _panel(
            *("OnAppQueueJam", "warning"),
            late=15 * MINUTE + TWICE,
            grace=6 * HOUR,
            since="idle",
        ),
        # Where a take is stuck already, the first to wait behind it is the second.
        _panel(
            *("OnAppQueueJam", "warning"),
            late=15 * MINUTE + TWICE,
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
            kept=HOUR + 15 * MINUTE + TWICE,
            grace=2 * POLL,
        ),
        _old(required=False),
        _panel(  # of a server that is new
            *("OnAppBackupDataOld", "critical"), late=0.0, grace=HOUR, required=False
        ),
    ),
    "shard missing": (
        _panel("OnAppBackupDataOld", "critical", late=HOUR + DISCOVERY + TWICE),
        _panel(
            *("OnAppExporterDown", "critical"),
            late=30 * MINUTE + TWICE,
            kept=5 * MINUTE + TWICE,
            level="job",
        ),
    ),
    "all exporters down": (
        _panel(
            *("OnAppExporterDown", "critical"),
            late=5 * MINUTE + TWICE,
            kept=5 * MINUTE + TWICE,
            level="job",
        ),
    ),
    "one exporter down": (
        _panel(
            *("OnAppExporterDown", "warning"),
            late=15 * MINUTE + TWICE,
            kept=5 * MINUTE + TWICE,
            level="job",
        ),
    ),
    "configuration broken": (
        _panel(
            *("OnAppExporterReloadFailed", "warning"),
            late=5 * MINUTE + TWICE,
            kept=5 * MINUTE + TWICE,
            level="job",
        ),
    ),
}

JAM_ALERTS = (
    _stuck(6, "queued", "over"),
    _stale(required=False),
    _very_stale(required=False),
)
"""What a queue jam may raise for each target whose backup waits in the queue."""

HIDING_PROBLEMS = {
    *("panel stopped", "key refused", "panel slow", "shard missing"),
    *("all exporters down", "servers hidden", "server unreadable", "collector broken"),
    "exporters restarted",
}
"""While one of these lasts, others cannot be seen: their deadlines are extended."""
