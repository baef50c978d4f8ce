"""Conditions of servers and panels, their severities, and their thresholds.

These thresholds are defined only here. ``/metrics`` exposes the times that follow from
them, and alerts compare these with the current time; the status page and the dashboards
show the same conditions.
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
"""A younger server does not need a backup yet."""
NEW_INTERVALS = 1.5
"""The same limit in expected intervals; the longer one counts."""
FIRST_START_SECONDS = 6 * _HOUR
"""A server must have a backup this long after its first scheduled start."""
STALE_INTERVALS = 1.5
VERY_STALE_INTERVALS = 2.5
QUEUE_ALLOWANCE_SECONDS = recent_days.QUEUE_ALLOWANCE_SECONDS
"""Added to the age limits of backups, which may wait in the panel's queue."""
STUCK_SECONDS = 6 * _HOUR
STUCK_LONG_SECONDS = 24 * _HOUR
FAILURES_SECONDS = _HOUR
"""How long after the first read of a server the log is awaited, which separates failed
runs from stuck ones."""
SCHEDULE_OVERDUE_SECONDS = 3 * _HOUR
SCHEDULE_FAILING_SECONDS = 3 * _HOUR
"""A failed run is no problem if it succeeds within this time."""
UNSCHEDULED_PERIODS = 1.5
"""The next backup is missing after this many periods of a deleted schedule."""
LOCKED_SECONDS = 3 * _DAY
DATA_OLD_INTERVALS = 2
DATA_OLD_SECONDS = 1200.0
"""Data are too old after DATA_OLD_INTERVALS poll intervals plus this time."""
LAGGING_INTERVALS = 2
CLOCK_SKEW_SECONDS = recent_days.CLOCK_SKEW_SECONDS
QUEUE_JAM_SECONDS = 6 * _HOUR
QUEUE_JAM_RUNS = 2
"""A single waiting backup run is no jam."""
BACKUP_SERVER_FULL_SHARE = 0.9


class Severity(enum.IntEnum):
    """The severity of a condition, on the scale of the alerts."""

    FINE = 0
    NOTICE = 1
    """Shown on the status page, but no reason for an alert."""
    WARNING = 2
    CRITICAL = 3


@dataclass(frozen=True, slots=True, eq=False)
class Condition:
    """A named condition of a server, a target or a panel."""

    key: str
    """Stable key: part of the API and of URLs."""
    title: str
    severity: Severity
    alert: str = ""
    """The alert that fires for it; empty: none."""
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
"""No source says when the next backup is due, so no backup counts as late."""
FINE = Condition("fine", "Fine", Severity.FINE)
SUSPENDED = Condition("suspended", "Suspended", Severity.FINE)
NOT_REQUIRED = Condition("not_required", "Not required", Severity.FINE)

STALENESS = {STALE: STALE_INTERVALS, VERY_STALE: VERY_STALE_INTERVALS}
"""Number of expected intervals after which each holds, plus QUEUE_ALLOWANCE_SECONDS."""

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
"""All conditions of servers, worst first; at the same severity, causes precede ages."""
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
    action="filter by Read failing: an alert fires for each server whose data get too "
    "old",
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

Problems of schedules whose server is unknown count as the panel's. Conditions that need
a comparison with the past (OnAppInventoryShrank) are left to Prometheus.
"""


class Problem(msgspec.Struct, frozen=True, gc=False):
    """A condition that holds for a panel, a server or one of its targets."""

    condition: Condition
    target: Target | None = None
    """None: the whole server, or the panel."""
    since: float | None = None
    """Unix time since which it holds; None: unknown."""
    about: str = ""
    """The schedule, collector, action or backup server concerned, or a number of
    servers."""


class Moment(msgspec.Struct, frozen=True, gc=False):
    """The time from which a condition holds, according to the current facts."""

    condition: Condition
    at: float | None
    """Unix time; in the future if the condition does not hold yet. None: it holds, but
    it is unknown since when."""
    target: Target | None = None
    """None: the whole server."""
    schedule_id: int | None = None

    def holds_at(self, time: float) -> bool:
        """Return whether the condition holds at a Unix time."""
        return self.at is None or self.at <= time
