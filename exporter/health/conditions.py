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

YOUNG_SECONDS = 26 * _HOUR
"""So old a server may get without a backup."""
YOUNG_INTERVALS = 1.5
"""Or so many of its expected intervals, where that is longer than a day."""
YOUNG_INTERVAL_SECONDS = _DAY
STALE_INTERVALS = 1.5
VERY_STALE_INTERVALS = 2.5
QUEUE_SECONDS = 3 * _HOUR
"""So long more, for the panel's queue, the last success may be ago."""
STUCK_SECONDS = 6 * _HOUR
STUCK_LONG_SECONDS = 24 * _HOUR
OVERDUE_SECONDS = 3 * _HOUR
LOCKED_SECONDS = 3 * _DAY
OLD_INTERVALS = 2
OLD_SECONDS = 1200.0
"""So long after that many poll intervals what was read is too old to judge by."""
LAG_INTERVALS = 2
SKEW_SECONDS = 300.0
JAM_SECONDS = 6 * _HOUR
JAM_TAKES = 2
"""One take that waits alone is no jam."""


class Level(enum.IntEnum):
    """How grave something is, as the severities of alerts."""

    FINE = 0
    NOTICE = 1
    """To be seen by who looks; no alert."""
    WARNING = 2
    CRITICAL = 3


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """One thing that can be said of a server, a target or a panel."""

    key: str
    """In the API and in addresses: stable."""
    title: str
    level: Level
    alert: str = ""
    """The alert that tells of it; empty: none does."""
    hint: str = ""
    """What is to be done, where no alert's runbook tells."""


UNPROTECTED = Kind("unprotected", "No backup", Level.CRITICAL, "OnAppServerUnprotected")
VERY_STALE = Kind("very_stale", "Very stale", Level.CRITICAL, "OnAppBackupVeryStale")
STUCK_LONG = Kind("stuck_long", "Stuck for long", Level.CRITICAL, "OnAppBackupStuck")
GIVEN_UP = Kind(
    "schedule_failed", "Schedule given up", Level.CRITICAL, "OnAppScheduleFailing"
)
DISK_UNPROTECTED = Kind(
    "disk_unprotected", "Disk without backup", Level.WARNING, "OnAppDiskUnprotected"
)
STALE = Kind("stale", "Stale", Level.WARNING, "OnAppBackupStale")
STUCK = Kind("stuck", "Stuck", Level.WARNING, "OnAppBackupStuck")
FAILED = Kind("failed", "Failed", Level.WARNING, "OnAppBackupFailed")
OVERDUE = Kind(
    "schedule_overdue", "Schedule overdue", Level.WARNING, "OnAppScheduleOverdue"
)
DISABLED = Kind(
    "schedule_disabled", "Schedule disabled", Level.WARNING, "OnAppScheduleDisabled"
)
DATA_OLD = Kind("data_old", "Data too old", Level.WARNING, "OnAppBackupDataOld")
AWAITED = Kind("awaited", "First backup awaited", Level.WARNING)
LOCKED = Kind("locked", "Locked", Level.NOTICE, "OnAppBackupLockedLong")
POLL_FAILING = Kind("poll_failing", "Poll failing", Level.NOTICE)
NOT_READ = Kind("not_read", "Not read yet", Level.NOTICE)
NEW = Kind(
    "new",
    "New, no backup yet",
    Level.NOTICE,
    hint="nothing yet: no alert tells of it while it is young",
)
INTERVAL_UNKNOWN = Kind(
    "interval_unknown",
    "Unknown when due",
    Level.NOTICE,
    hint="let the account read schedules and disks, set expected_interval, or exclude "
    "the server in backup_required: until then no alert tells that a backup is too old",
)
"""Nothing tells when the next backup is due: the last may be of any age."""
FINE = Kind("fine", "Fine", Level.FINE)
SUSPENDED = Kind("suspended", "Suspended", Level.FINE)
NOT_REQUIRED = Kind("not_required", "Not required", Level.FINE)

SERVER_KINDS = (
    UNPROTECTED,
    VERY_STALE,
    STUCK_LONG,
    GIVEN_UP,
    DISK_UNPROTECTED,
    STALE,
    STUCK,
    FAILED,
    OVERDUE,
    DISABLED,
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
RANK = {kind: rank for rank, kind in enumerate(SERVER_KINDS)}

UNAUTHORIZED = Kind(
    "unauthorized", "Credentials refused", Level.CRITICAL, "OnAppPanelUnauthorized"
)
DOWN = Kind("down", "Down", Level.CRITICAL, "OnAppPanelDown")
UNREAD = Kind("unread", "Servers not read", Level.CRITICAL, "OnAppBackupDataOld")
LAGGING = Kind("lagging", "Lagging", Level.WARNING, "OnAppPollLagging")
COLLECTOR = Kind(
    "collector_failing", "Collector failing", Level.WARNING, "OnAppCollectorFailing"
)
SKEW = Kind("clock_skew", "Clocks differ", Level.WARNING, "OnAppClockSkew")
JAM = Kind("queue_jam", "Queue jam", Level.WARNING, "OnAppQueueJam")
STORE_DISABLED = Kind(
    "backup_server_disabled",
    "Backup server disabled",
    Level.WARNING,
    "OnAppBackupServerDisabledInUse",
)
UNHEARD = Kind("unheard", "Not asked yet", Level.NOTICE, "OnAppPanelDown")
READS_FAILING = Kind(
    "reads_failing",
    "Reads failing",
    Level.NOTICE,
    hint="look at those servers: alerts tell of each whose data are too old",
)
NO_SERVERS = Kind("no_servers", "No servers", Level.NOTICE, hint=NO_SERVERS_HINT)
"""A panel of which nothing is watched is not as it should be, as far as is known."""
UP = Kind("up", "Up", Level.FINE)

PANEL_KINDS = (
    UNAUTHORIZED,
    DOWN,
    UNREAD,
    GIVEN_UP,
    LAGGING,
    COLLECTOR,
    SKEW,
    JAM,
    STORE_DISABLED,
    OVERDUE,
    UNHEARD,
    READS_FAILING,
    NO_SERVERS,
    UP,
)
"""The states of panels, the worst first."""


class Finding(msgspec.Struct, frozen=True, gc=False):
    """Something that is wrong, and where."""

    kind: Kind
    target: Target | None = None
    """None: the server as a whole, or the panel."""
    since: float | None = None
    """Unix time: of what it is measured from; None: not known."""
    about: str = ""
    """Which schedule, collector, action or backup server; a number or a name."""
