"""Conditions of servers and panels, their severities, and their thresholds.

The one place that decides what is wrong from when on: ``/metrics`` carries the moments
that follow from these thresholds, alerts compare them with the time, and the page and
dashboards show the same.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import msgspec

from ..model import recent_days
from ..model.entities import Target
from ..model.selection import NO_SERVERS_HINT

_HOUR = 3600.0
_DAY = 24 * _HOUR

NEW_SECONDS = 26 * _HOUR
"""A younger server need not have a backup yet."""
NEW_INTERVALS = 1.5
"""The same in expected intervals, if that is longer."""
FIRST_START_SECONDS = 6 * _HOUR
"""So long after its first scheduled start a backup must be there."""
STALE_INTERVALS = 1.5
VERY_STALE_INTERVALS = 2.5
QUEUE_ALLOWANCE_SECONDS = recent_days.QUEUE_ALLOWANCE_SECONDS
"""Added to the age limits of backups, which may wait in the panel's queue."""
STUCK_SECONDS = 6 * _HOUR
STUCK_LONG_SECONDS = 24 * _HOUR
FAILURES_SECONDS = _HOUR
"""So long after a start the log is waited for, which tells failed runs from stuck."""
SCHEDULE_OVERDUE_SECONDS = 3 * _HOUR
SCHEDULE_FAILING_SECONDS = 3 * _HOUR
"""A failed run that is repeated with success in this time is no problem."""
UNSCHEDULED_PERIODS = 1.5
"""After so many periods of a deleted schedule its next backup is missing."""
LOCKED_SECONDS = 3 * _DAY
DATA_OLD_INTERVALS = 2
DATA_OLD_SECONDS = 1200.0
"""Data are too old after DATA_OLD_INTERVALS poll intervals and these seconds."""
LAGGING_INTERVALS = 2
CLOCK_SKEW_SECONDS = 300.0
QUEUE_JAM_SECONDS = 6 * _HOUR
QUEUE_JAM_RUNS = 2
"""A single waiting backup run is no jam."""
BACKUP_SERVER_FULL_SHARE = 0.9


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
    action: str = ""
    """The first thing to do."""


UNPROTECTED = Condition(
    "unprotected",
    "Unprotected",
    Severity.CRITICAL,
    "OnAppServerUnprotected",
    "start a backup by hand, and see whether a schedule of the server is enabled",
)
STUCK_LONG = Condition(
    "stuck_long",
    "Stuck for a day",
    Severity.CRITICAL,
    "OnAppBackupStuck",
    "look for its transaction in the panel's log, and cancel it if it does not move",
)
SCHEDULE_FAILED = Condition(
    "schedule_failed",
    "Schedule failed",
    Severity.CRITICAL,
    "OnAppScheduleFailing",
    "read the log of the schedule in the panel, fix the cause, and enable it again",
)
VERY_STALE = Condition(
    "very_stale",
    "Very stale",
    Severity.CRITICAL,
    "OnAppBackupVeryStale",
    "see in the panel's log why no backup run of the target succeeded",
)
DISK_UNPROTECTED = Condition(
    "disk_unprotected",
    "Disk unprotected",
    Severity.WARNING,
    "OnAppDiskUnprotected",
    "enable autobackups on the disk, or add a schedule for it",
)
STUCK = Condition(
    "stuck",
    "Stuck",
    Severity.WARNING,
    "OnAppBackupStuck",
    "look for its transaction in the panel's log, and see whether the queue moves",
)
FAILED = Condition(
    "failed",
    "Failed",
    Severity.WARNING,
    "OnAppBackupFailed",
    "read the log of the failed transaction in the panel, and start the backup again",
)
SCHEDULE_FAILING = Condition(
    "schedule_failing",
    "Schedule failing",
    Severity.WARNING,
    "OnAppScheduleFailing",
    "read the log of the schedule in the panel before the panel marks it as failed",
)
SCHEDULE_OVERDUE = Condition(
    "schedule_overdue",
    "Schedule overdue",
    Severity.WARNING,
    "OnAppScheduleOverdue",
    "see whether the panel starts any schedule, then save this one again",
)
UNSCHEDULED = Condition(
    "unscheduled",
    "Unscheduled",
    Severity.WARNING,
    "OnAppScheduleDisabled",
    "enable the schedule or add one, or exclude the server in backup_required",
)
STALE = Condition(
    "stale",
    "Stale",
    Severity.WARNING,
    "OnAppBackupStale",
    "see in the panel's log whether the last backup run failed or still waits",
)
DATA_OLD = Condition(
    "data_old",
    "Data too old",
    Severity.WARNING,
    "OnAppBackupDataOld",
    "see why the panel does not give the server's backups: the error stands here",
)
LOCKED = Condition(
    "locked",
    "Locked",
    Severity.WARNING,
    "OnAppBackupLockedLong",
    "see what holds the backup: a restore that ended, or an owner's lock",
)
AWAITED = Condition("awaited", "First backup awaited", Severity.NOTICE)
POLL_FAILING = Condition("poll_failing", "Read failing", Severity.NOTICE)
NOT_READ = Condition("not_read", "Not read yet", Severity.NOTICE)
NEW = Condition(
    "new",
    "New",
    Severity.NOTICE,
    action="nothing yet: no alert fires for it while it is young",
)
INTERVAL_UNKNOWN = Condition(
    "interval_unknown",
    "Interval unknown",
    Severity.NOTICE,
    action="let the account read schedules and disks, set expected_interval, or "
    "exclude the server in backup_required: until then no alert fires for old backups",
)
"""No source says when the next backup is due, so none can be late."""
FINE = Condition("fine", "Fine", Severity.FINE)
SUSPENDED = Condition("suspended", "Suspended", Severity.FINE)
NOT_REQUIRED = Condition("not_required", "Not required", Severity.FINE)

STALENESS = {STALE: STALE_INTERVALS, VERY_STALE: VERY_STALE_INTERVALS}
"""After how many expected intervals each holds, beside QUEUE_ALLOWANCE_SECONDS."""

SERVER_CONDITIONS = (
    UNPROTECTED,
    STUCK_LONG,
    SCHEDULE_FAILED,
    VERY_STALE,
    DISK_UNPROTECTED,
    STUCK,
    FAILED,
    SCHEDULE_FAILING,
    SCHEDULE_OVERDUE,
    UNSCHEDULED,
    STALE,
    DATA_OLD,
    LOCKED,
    AWAITED,
    POLL_FAILING,
    NOT_READ,
    NEW,
    INTERVAL_UNKNOWN,
    FINE,
    SUSPENDED,
    NOT_REQUIRED,
)
"""All conditions of servers, worst first; the cause comes before the age."""
SERVER_CONDITION_RANK = {
    condition: rank for rank, condition in enumerate(SERVER_CONDITIONS)
}

UNAUTHORIZED = Condition(
    "unauthorized",
    "Credentials refused",
    Severity.CRITICAL,
    "OnAppPanelUnauthorized",
    "see whether the account is locked, then renew the key in its file",
)
DOWN = Condition(
    "down",
    "Unreachable",
    Severity.CRITICAL,
    "OnAppPanelDown",
    "run `onapp-backup-exporter check`: it says which step fails",
)
UNREAD = Condition(
    "unread",
    "Servers not read",
    Severity.CRITICAL,
    "OnAppBackupDataOld",
    "see the log of the exporter: the first pass has ended without them",
)
NO_SERVERS = Condition(
    "no_servers",
    "No servers",
    Severity.WARNING,
    "OnAppNoServers",
    NO_SERVERS_HINT,
)
LAGGING = Condition(
    "lagging",
    "Lagging",
    Severity.WARNING,
    "OnAppPollLagging",
    "raise poll.concurrency or poll.interval, or see why the panel answers slowly",
)
COLLECTOR_FAILING = Condition(
    "collector_failing",
    "Collector failing",
    Severity.WARNING,
    "OnAppCollectorFailing",
    "give the account the permission, or switch the collector off",
)
CLOCK_SKEW = Condition(
    "clock_skew",
    "Clocks differ",
    Severity.WARNING,
    "OnAppClockSkew",
    "set the clocks of the panel and of this host by NTP",
)
QUEUE_JAM = Condition(
    "queue_jam",
    "Queue jam",
    Severity.WARNING,
    "OnAppQueueJam",
    "look at the oldest running transaction in the panel's log",
)
BACKUP_SERVER_DISABLED = Condition(
    "backup_server_disabled",
    "Backup server disabled",
    Severity.WARNING,
    "OnAppBackupServerDisabledInUse",
    "enable the backup server, or move its backups",
)
BACKUP_SERVER_FULL = Condition(
    "backup_server_full",
    "Backup server full",
    Severity.WARNING,
    "OnAppBackupServerFull",
    "delete old backups, or add a backup server",
)
NOT_CONTACTED = Condition("not_contacted", "Not contacted yet", Severity.NOTICE)
READS_FAILING = Condition(
    "reads_failing",
    "Reads failing",
    Severity.NOTICE,
    action="look at those servers: an alert fires for each whose data get too old",
)
UP = Condition("up", "Up", Severity.FINE)

PANEL_CONDITIONS = (
    UNAUTHORIZED,
    DOWN,
    UNREAD,
    SCHEDULE_FAILED,
    NO_SERVERS,
    LAGGING,
    COLLECTOR_FAILING,
    CLOCK_SKEW,
    QUEUE_JAM,
    BACKUP_SERVER_DISABLED,
    BACKUP_SERVER_FULL,
    SCHEDULE_FAILING,
    SCHEDULE_OVERDUE,
    NOT_CONTACTED,
    READS_FAILING,
    UP,
)
"""All conditions of panels, worst first.

Schedules of unknown servers are the panel's. What only a comparison with the past
shows (OnAppInventoryShrank) is Prometheus' to find.
"""


class Problem(msgspec.Struct, frozen=True, gc=False):
    """A condition that holds for a panel, a server or one of its targets."""

    condition: Condition
    target: Target | None = None
    """None: the server as a whole, or the panel."""
    since: float | None = None
    """Unix time from which it holds; None: unknown."""
    about: str = ""
    """Which schedule, collector, action or backup server, or how many servers."""


class Moment(msgspec.Struct, frozen=True, gc=False):
    """From when on a condition holds, as far as the facts of now tell."""

    condition: Condition
    at: float | None
    """Unix time; in the future while it does not hold yet. None: it holds, and nothing
    tells since when."""
    target: Target | None = None
    """None: the server as a whole."""
    schedule_id: int | None = None

    def holds_at(self, time: float) -> bool:
        """Return whether the condition holds at a Unix time."""
        return self.at is None or self.at <= time
