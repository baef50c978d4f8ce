"""Conditions of servers and panels, their severities, and their thresholds.

The alerts in ``deploy/prometheus`` express the same conditions over the metrics; tests
compare the thresholds and the results of both.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import msgspec

from ..model.entities import Target
from ..model.selection import NO_SERVERS_HINT

_HOUR = 3600.0
_DAY = 24 * _HOUR

NEW_SECONDS = 26 * _HOUR
"""A younger server need not have a backup yet."""
NEW_INTERVALS = 1.5
"""The same in expected intervals, where one is longer than NEW_INTERVAL_MIN_SECONDS."""
NEW_INTERVAL_MIN_SECONDS = _DAY
STALE_INTERVALS = 1.5
VERY_STALE_INTERVALS = 2.5
QUEUE_ALLOWANCE_SECONDS = 3 * _HOUR
"""Added to the age limits of backups, which may wait in the panel's queue."""
STUCK_SECONDS = 6 * _HOUR
STUCK_LONG_SECONDS = 24 * _HOUR
SCHEDULE_OVERDUE_SECONDS = 3 * _HOUR
LOCKED_SECONDS = 3 * _DAY
DATA_OLD_INTERVALS = 2
DATA_OLD_SECONDS = 1200.0
"""Data are too old after DATA_OLD_INTERVALS poll intervals and these seconds."""
LAGGING_INTERVALS = 2
CLOCK_SKEW_SECONDS = 300.0
QUEUE_JAM_SECONDS = 6 * _HOUR
QUEUE_JAM_RUNS = 2
"""A single waiting backup run is no jam."""


class Severity(enum.IntEnum):
    """The severity of a condition, on the scale of the alerts."""

    FINE = 0
    NOTICE = 1
    """Shown on the status page; not worth an alert yet."""
    WARNING = 2
    CRITICAL = 3


@dataclass(frozen=True, slots=True, eq=False)
class Condition:
    """A named condition of a server, a target or a panel."""

    key: str
    """Stable: part of the API and of URLs."""
    title: str
    severity: Severity
    alert: str = ""
    """The alert that fires for it; empty: none does."""
    hint: str = ""
    """What to do, where there is no alert with a runbook."""


UNPROTECTED = Condition(
    "unprotected", "No backup", Severity.CRITICAL, "OnAppServerUnprotected"
)
VERY_STALE = Condition(
    "very_stale", "Very stale", Severity.CRITICAL, "OnAppBackupVeryStale"
)
STUCK_LONG = Condition(
    "stuck_long", "Stuck for long", Severity.CRITICAL, "OnAppBackupStuck"
)
SCHEDULE_FAILED = Condition(
    "schedule_failed", "Schedule given up", Severity.CRITICAL, "OnAppScheduleFailing"
)
DISK_UNPROTECTED = Condition(
    "disk_unprotected", "Disk without backup", Severity.WARNING, "OnAppDiskUnprotected"
)
STALE = Condition("stale", "Stale", Severity.WARNING, "OnAppBackupStale")
STUCK = Condition("stuck", "Stuck", Severity.WARNING, "OnAppBackupStuck")
FAILED = Condition("failed", "Failed", Severity.WARNING, "OnAppBackupFailed")
SCHEDULE_OVERDUE = Condition(
    "schedule_overdue", "Schedule overdue", Severity.WARNING, "OnAppScheduleOverdue"
)
UNSCHEDULED = Condition(
    "unscheduled", "Unscheduled", Severity.WARNING, "OnAppScheduleDisabled"
)
DATA_OLD = Condition("data_old", "Data too old", Severity.WARNING, "OnAppBackupDataOld")
AWAITED = Condition("awaited", "First backup awaited", Severity.WARNING)
LOCKED = Condition("locked", "Locked", Severity.NOTICE, "OnAppBackupLockedLong")
POLL_FAILING = Condition("poll_failing", "Poll failing", Severity.NOTICE)
NOT_READ = Condition("not_read", "Not read yet", Severity.NOTICE)
NEW = Condition(
    "new",
    "New, no backup yet",
    Severity.NOTICE,
    hint="nothing yet: no alert tells of it while it is young",
)
INTERVAL_UNKNOWN = Condition(
    "interval_unknown",
    "Unknown when due",
    Severity.NOTICE,
    hint="let the account read schedules and disks, set expected_interval, or exclude "
    "the server in backup_required: until then no alert tells that a backup is too old",
)
"""No source says when the next backup is due, so none can be late."""
FINE = Condition("fine", "Fine", Severity.FINE)
SUSPENDED = Condition("suspended", "Suspended", Severity.FINE)
NOT_REQUIRED = Condition("not_required", "Not required", Severity.FINE)

SERVER_CONDITIONS = (
    UNPROTECTED,
    VERY_STALE,
    STUCK_LONG,
    SCHEDULE_FAILED,
    DISK_UNPROTECTED,
    STALE,
    STUCK,
    FAILED,
    SCHEDULE_OVERDUE,
    UNSCHEDULED,
    DATA_OLD,
    AWAITED,
    LOCKED,
    POLL_FAILING,
    NOT_READ,
    NEW,
    INTERVAL_UNKNOWN,
    FINE,
    SUSPENDED,
    NOT_REQUIRED,
)
"""All conditions of servers, worst first."""
SERVER_CONDITION_RANK = {
    condition: rank for rank, condition in enumerate(SERVER_CONDITIONS)
}

UNAUTHORIZED = Condition(
    "unauthorized", "Credentials refused", Severity.CRITICAL, "OnAppPanelUnauthorized"
)
DOWN = Condition("down", "Down", Severity.CRITICAL, "OnAppPanelDown")
UNREAD = Condition(
    "unread", "Servers not read", Severity.CRITICAL, "OnAppBackupDataOld"
)
LAGGING = Condition("lagging", "Lagging", Severity.WARNING, "OnAppPollLagging")
COLLECTOR_FAILING = Condition(
    "collector_failing", "Collector failing", Severity.WARNING, "OnAppCollectorFailing"
)
CLOCK_SKEW = Condition(
    "clock_skew", "Clocks differ", Severity.WARNING, "OnAppClockSkew"
)
QUEUE_JAM = Condition("queue_jam", "Queue jam", Severity.WARNING, "OnAppQueueJam")
BACKUP_SERVER_DISABLED = Condition(
    "backup_server_disabled",
    "Backup server disabled",
    Severity.WARNING,
    "OnAppBackupServerDisabledInUse",
)
NOT_CONTACTED = Condition("unheard", "Not asked yet", Severity.NOTICE, "OnAppPanelDown")
READS_FAILING = Condition(
    "reads_failing",
    "Reads failing",
    Severity.NOTICE,
    hint="look at those servers: alerts tell of each whose data are too old",
)
NO_SERVERS = Condition(
    "no_servers", "No servers", Severity.NOTICE, hint=NO_SERVERS_HINT
)
"""Not UP: most panels have servers that the account should see."""
UP = Condition("up", "Up", Severity.FINE)

PANEL_CONDITIONS = (
    UNAUTHORIZED,
    DOWN,
    UNREAD,
    SCHEDULE_FAILED,
    LAGGING,
    COLLECTOR_FAILING,
    CLOCK_SKEW,
    QUEUE_JAM,
    BACKUP_SERVER_DISABLED,
    SCHEDULE_OVERDUE,
    NOT_CONTACTED,
    READS_FAILING,
    NO_SERVERS,
    UP,
)
"""All conditions of panels, worst first."""


class Problem(msgspec.Struct, frozen=True, gc=False):
    """A condition that holds for a panel, a server or one of its targets."""

    condition: Condition
    target: Target | None = None
    """None: the server as a whole, or the panel."""
    since: float | None = None
    """Unix time that its duration is measured from; None: unknown."""
    about: str = ""
    """Which schedule, collector, action or backup server, or how many servers."""
