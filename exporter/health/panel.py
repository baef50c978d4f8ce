"""Current problems of a panel: contact, polling, queue and backup servers.

Problems that need a comparison with the past, such as a shrunken inventory, exist only
as alerts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import inf

import msgspec

from ..clock import Now
from ..model.entities import BACKUP_SERVERS, BACKUPS, BackupServerUsage
from ..model.selection import Shard
from ..model.store import PanelStore
from ..model.transaction_log import BACKUP_RUN_ACTIONS
from .conditions import (
    BACKUP_SERVER_DISABLED,
    BACKUP_SERVER_FULL,
    BACKUP_SERVER_FULL_SHARE,
    CLOCK_SKEW,
    CLOCK_SKEW_SECONDS,
    COLLECTOR_FAILING,
    DOWN,
    LAGGING,
    LAGGING_INTERVALS,
    NO_SERVERS,
    NOT_CONTACTED,
    PANEL_CONDITIONS,
    QUEUE_JAM,
    QUEUE_JAM_RUNS,
    QUEUE_JAM_SECONDS,
    READS_FAILING,
    UNAUTHORIZED,
    UNREAD,
    UP,
    Condition,
    Problem,
)
from .server import ServerHealth
from .targets import least


class PanelHealth(msgspec.Struct, frozen=True):
    """The health of one panel."""

    problems: tuple[Problem, ...]
    """Worst first."""
    backup_server_usage: Mapping[int | None, BackupServerUsage]
    """Usage by all servers: the input of the problems, kept so it is not computed
    again."""

    @property
    def condition(self) -> Condition:
        """Return the worst condition; UP if there is no problem."""
        return self.problems[0].condition if self.problems else UP


def judge_panel(
    panel: PanelStore, now: Now, shard: Shard, unassigned: ServerHealth | None = None
) -> PanelHealth:
    """Return the health of a panel.

    ``unassigned`` is the health of the schedules whose server is unknown.
    """
    usages = panel.backup_server_usage(now.monotonic)
    problems = [
        *_contact_problems(panel, now),
        *(
            Problem(QUEUE_JAM, since=at, about=a)
            for a, at in queue_jams(panel, now).items()
        ),
        *_backup_server_problems(panel, usages, now),
    ]
    if panel.up() is not False:
        problems += _polling_problems(panel, now, shard)
    if panel.skew_seconds is not None and abs(panel.skew_seconds) > CLOCK_SKEW_SECONDS:
        problems.append(Problem(CLOCK_SKEW))
    if unassigned is not None:
        problems += (p for p in unassigned.problems if p.condition in PANEL_CONDITIONS)
    problems.sort(key=lambda problem: PANEL_CONDITIONS.index(problem.condition))
    return PanelHealth(tuple(problems), usages)


def poll_lag_seconds(panel: PanelStore, now: Now) -> float:
    """Return how late the poll of the most overdue server is."""
    since = panel.overdue_since_monotonic
    return 0.0 if since is None else max(0.0, now.monotonic - since)


def _contact_problems(panel: PanelStore, now: Now) -> Iterator[Problem]:
    up, last_error = panel.up(), panel.last_error
    since = None if last_error is None else last_error.since
    if since is None and panel.last_proven_at_monotonic is not None:
        # The panel answers, but nothing proves any more that the answers are its own.
        since = now.time - (now.monotonic - panel.last_proven_at_monotonic)
    if up is None:
        yield Problem(NOT_CONTACTED)
    elif up:
        return
    elif panel.credentials_refused:
        # Earlier or other failures have a different cause.
        yield Problem(UNAUTHORIZED, since=panel.credentials_refused_at or since)
    else:
        yield Problem(DOWN, since=since)


def _polling_problems(panel: PanelStore, now: Now, shard: Shard) -> Iterator[Problem]:
    """Yield problems of polling; if the panel is down, they would be repetitive."""
    if poll_lag_seconds(panel, now) > LAGGING_INTERVALS * panel.interval_seconds:
        yield Problem(LAGGING)
    for collector, succeeded in panel.collectors_succeeded().items():
        if succeeded is False and collector != BACKUPS:
            yield Problem(COLLECTOR_FAILING, about=collector)
    # Each shard reads only its own servers; Prometheus sees all shards.
    if shard.total == 1 and panel.first_pass_ended:
        tried = sum(entry.failing is not None for entry in panel.servers.values())
        missing = (panel.servers_listed or 0) - tried - len(panel.unresolved)
        if missing > 0:
            yield Problem(UNREAD, about=str(missing))
    failing = sum(entry.failing is True for entry in panel.servers.values())
    if failing or panel.unresolved:
        yield Problem(READS_FAILING, about=str(failing + len(panel.unresolved)))
    elif panel.servers_listed == 0 and panel.inventory_succeeded:
        yield Problem(NO_SERVERS)


def queue_jams(panel: PanelStore, now: Now) -> dict[str, float]:
    """Return since when the queue is jammed, by action; no entry while it moves.

    Backup runs of all types and servers wait in the same queue.
    """
    log = panel.transaction_log
    if log is None:
        return {}
    pending = log.pending(now.monotonic, of_all_servers=True)
    runs = sum(len(pending[action]) for action in BACKUP_RUN_ACTIONS if pending)
    jams: dict[str, float] = {}
    for action, rows in pending.items():
        is_run = action in BACKUP_RUN_ACTIONS
        together = BACKUP_RUN_ACTIONS if is_run else (action,)
        oldest_at = least(row.created_at for row in rows)
        if oldest_at is None or (is_run and runs < QUEUE_JAM_RUNS):
            continue
        ended = (log.last_ended_at.get(other, 0.0) for other in together)
        since = max(oldest_at, *ended)
        if now.time - since > QUEUE_JAM_SECONDS:
            jams[action] = since
    return jams


def _backup_server_problems(
    panel: PanelStore, usages: Mapping[int | None, BackupServerUsage], now: Now
) -> Iterator[Problem]:
    for server in panel.listed(BACKUP_SERVERS, now.monotonic):
        usage = usages.get(server.id)
        if usage is None or not usage.backup_count:
            continue
        if server.enabled is False:
            yield Problem(BACKUP_SERVER_DISABLED, about=str(server.id))
        # Each shard knows a part of the usage; the alert adds the parts.
        if usage.size_bytes > BACKUP_SERVER_FULL_SHARE * (server.capacity_bytes or inf):
            yield Problem(BACKUP_SERVER_FULL, about=str(server.id))
