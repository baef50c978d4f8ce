"""What can be wrong with a server's backups or with a panel, and from when on it is.

The alerts in ``deploy/prometheus`` say the same of the metrics; tests compare both,
each threshold and what comes out.
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
"""So old a server may get without a backup."""
NEW_INTERVALS = 1.5
"""Or so many of its expected intervals, where that is longer than a day."""
NEW_INTERVAL_MIN_SECONDS = _DAY
STALE_INTERVALS = 1.5
VERY_STALE_INTERVALS = 2.5
QUEUE_ALLOWANCE_SECONDS = 3 * _HOUR
"""So long more, for the panel's queue, the last success may be ago."""
STUCK_SECONDS = 6 * _HOUR
STUCK_LONG_SECONDS = 24 * _HOUR
SCHEDULE_OVERDUE_SECONDS = 3 * _HOUR
LOCKED_SECONDS = 3 * _DAY
DATA_OLD_INTERVALS = 2
DATA_OLD_SECONDS = 1200.0
"""So long after that many poll intervals what was read is too old to judge by."""
LAGGING_INTERVALS = 2
CLOCK_SKEW_SECONDS = 300.0
QUEUE_JAM_SECONDS = 6 * _HOUR
QUEUE_JAM_RUNS = 2
"""One take that waits alone is no jam."""


class Severity(enum.IntEnum):
    """How grave something is, as the severities of alerts."""

    FINE = 0
    NOTICE = 1
    """To be seen by who looks; no alert."""
    WARNING = 2
    CRITICAL = 3


@dataclass(frozen=True, slots=True, eq=False)
class Condition:
    """One thing that can be said of a server, a target or a panel."""

    key: str
    """In the API and in addresses: stable."""
    title: str
    severity: Severity
    alert: str = ""
    """The alert that tells of it; empty: none does."""
    hint: str = ""
    """What is to be done, where no alert's runbook tells."""


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
    "schedule_disabled", "Schedule disabled", Severity.WARNING, "OnAppScheduleDisabled"
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
"""Nothing tells when the next backup is due: the last may be of any age."""
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
"""The states of servers, the worst first."""
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
"""A panel of which nothing is watched is not as it should be, as far as is known."""
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
"""The states of panels, the worst first."""


class Problem(msgspec.Struct, frozen=True, gc=False):
    """Something that is wrong, and where."""

    condition: Condition
    target: Target | None = None
    """None: the server as a whole, or the panel."""
    since: float | None = None
    """Unix time: of what it is measured from; None: not known."""
    about: str = ""
    """Which schedule, collector, action or backup server; a number or a name."""
