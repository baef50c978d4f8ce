"""Problems of a panel at one moment: contact, polling, queue and backup servers.

They mirror the alerts in ``deploy/prometheus/exporter.rules.yml``. Alerts that compare
with the past, such as a shrunken inventory, exist in Prometheus only.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..clock import Now
from ..errors import Unauthorized
from ..model.entities import INVENTORY
from ..model.selection import Shard
from ..model.store import PanelStore
from .conditions import (
    BACKUP_SERVER_DISABLED,
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
    SCHEDULE_FAILED,
    UNAUTHORIZED,
    UNREAD,
    UP,
    Condition,
    Problem,
)
from .server import overdue_schedules


def judge_panel(panel: PanelStore, now: Now, shard: Shard) -> tuple[Problem, ...]:
    """Return the problems of a panel, worst first."""
    problems = [
        *_contact_problems(panel, now),
        *_queue_problems(panel, now),
        *_backup_server_problems(panel, now),
    ]
    if panel.up(now.monotonic) is not False:
        problems += _polling_problems(panel, now, shard)
    if panel.skew_seconds is not None and abs(panel.skew_seconds) > CLOCK_SKEW_SECONDS:
        problems.append(Problem(CLOCK_SKEW))
    if panel.unassigned_schedules is not None:
        schedules = panel.unassigned_schedules.schedules or ()
        problems += overdue_schedules(panel, schedules, now)
        problems += (
            Problem(SCHEDULE_FAILED, schedule.target, about=str(schedule.id))
            for schedule in schedules
            if schedule.status == "failed"
        )
    return tuple(
        sorted(problems, key=lambda problem: PANEL_CONDITIONS.index(problem.condition))
    )


def panel_condition(problems: tuple[Problem, ...]) -> Condition:
    """Return the condition of the first, worst problem; UP if there is none."""
    return problems[0].condition if problems else UP


def poll_lag_seconds(panel: PanelStore, now: Now) -> float:
    """Return by how long the poll of the most overdue server is late."""
    since = panel.overdue_since_monotonic
    return 0.0 if since is None else max(0.0, now.monotonic - since)


def _contact_problems(panel: PanelStore, now: Now) -> Iterator[Problem]:
    up, last_error = panel.up(now.monotonic), panel.last_error
    since = None if last_error is None else last_error.at
    if up is None:
        yield Problem(NOT_CONTACTED)
    elif not up:
        refused = last_error is not None and last_error.reason == Unauthorized.reason
        yield Problem(UNAUTHORIZED if refused else DOWN, since=since)


def _polling_problems(panel: PanelStore, now: Now, shard: Shard) -> Iterator[Problem]:
    """Yield problems of polling; for a panel that is down they would be repetition."""
    if poll_lag_seconds(panel, now) > LAGGING_INTERVALS * panel.interval_seconds:
        yield Problem(LAGGING)
    outcomes = {INVENTORY: panel.inventory_succeeded, **panel.collectors_succeeded()}
    for collector, succeeded in outcomes.items():
        if succeeded is False:
            yield Problem(COLLECTOR_FAILING, about=collector)
    # Other shards read the other servers; only Prometheus sees all shards.
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


def _queue_problems(panel: PanelStore, now: Now) -> Iterator[Problem]:
    """Yield jams of the queue, in which backup runs of all types wait together."""
    pending = panel.pending_transactions(now.monotonic)
    pending_runs = sum(
        len(rows) for action, rows in pending.items() if _is_backup_run(action)
    )
    ended_at = (
        {} if panel.transaction_log is None else panel.transaction_log.last_ended_at
    )
    last_ended_at = max(
        (at for action, at in ended_at.items() if _is_backup_run(action)), default=None
    )
    moving = (
        last_ended_at is not None and now.monotonic - last_ended_at <= QUEUE_JAM_SECONDS
    )
    for action, rows in pending.items():
        created_times = [row.created_at for row in rows if row.created_at is not None]
        if not created_times or now.time - min(created_times) <= QUEUE_JAM_SECONDS:
            continue
        if not (_is_backup_run(action) and (moving or pending_runs < QUEUE_JAM_RUNS)):
            yield Problem(QUEUE_JAM, since=min(created_times), about=action)


def _is_backup_run(action: str) -> bool:
    return action.startswith("take_")


def _backup_server_problems(panel: PanelStore, now: Now) -> Iterator[Problem]:
    enabled = {
        server.id: server.enabled
        for server in panel.fresh_backup_servers(now.monotonic)
    }
    for backup_server_id, usage in panel.backup_server_usage(now.monotonic).items():
        if (
            backup_server_id is not None
            and usage.backup_count
            and enabled.get(backup_server_id) is False
        ):
            yield Problem(BACKUP_SERVER_DISABLED, about=str(backup_server_id))
