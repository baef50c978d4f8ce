"""Whether a panel is polled as it should be, at one moment.

The same as the alerts in ``deploy/prometheus/exporter.rules.yml``; those that compare
with the past (a shrunken inventory) are Prometheus' alone.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..clock import Now
from ..errors import Unauthorized
from ..model.entities import INVENTORY
from ..model.selection import Shard
from ..model.store import PanelStore
from .conditions import (
    COLLECTOR,
    DOWN,
    GIVEN_UP,
    JAM,
    JAM_SECONDS,
    JAM_TAKES,
    LAG_INTERVALS,
    LAGGING,
    NO_SERVERS,
    PANEL_KINDS,
    READS_FAILING,
    SKEW,
    SKEW_SECONDS,
    STORE_DISABLED,
    UNAUTHORIZED,
    UNHEARD,
    UNREAD,
    UP,
    Condition,
    Problem,
)
from .server import overdue


def judge_panel(panel: PanelStore, now: Now, shard: Shard) -> tuple[Problem, ...]:
    """Return what is wrong with a panel, the worst first."""
    found = [*_contact(panel, now), *_queue(panel, now), *_stores(panel, now)]
    if panel.up(now.monotonic) is not False:
        found += _polling(panel, now, shard)
    if panel.skew_seconds is not None and abs(panel.skew_seconds) > SKEW_SECONDS:
        found.append(Problem(SKEW))
    if panel.unassigned_schedules is not None:
        schedules = panel.unassigned_schedules.schedules or ()
        found += overdue(panel, schedules, now)
        found += (
            Problem(GIVEN_UP, schedule.target, about=str(schedule.id))
            for schedule in schedules
            if schedule.status == "failed"
        )
    return tuple(sorted(found, key=lambda finding: PANEL_KINDS.index(finding.kind)))


def panel_state(findings: tuple[Problem, ...]) -> Condition:
    """Return the worst of what is wrong."""
    return findings[0].kind if findings else UP


def poll_lag_seconds(panel: PanelStore, now: Now) -> float:
    """Return how overdue the most overdue server is."""
    since = panel.overdue_since_monotonic
    return 0.0 if since is None else max(0.0, now.monotonic - since)


def _contact(panel: PanelStore, now: Now) -> Iterator[Problem]:
    up, trouble = panel.up(now.monotonic), panel.last_error
    since = None if trouble is None else trouble.at
    if up is None:
        yield Problem(UNHEARD)
    elif not up:
        refused = trouble is not None and trouble.reason == Unauthorized.reason
        yield Problem(UNAUTHORIZED if refused else DOWN, since=since)


def _polling(panel: PanelStore, now: Now, shard: Shard) -> Iterator[Problem]:
    """Judge what follows from a panel that is down, and is told only of others."""
    if poll_lag_seconds(panel, now) > LAG_INTERVALS * panel.interval_seconds:
        yield Problem(LAGGING)
    outcomes = {INVENTORY: panel.inventory_succeeded, **panel.collectors_succeeded()}
    for collector, succeeded in outcomes.items():
        if succeeded is False:
            yield Problem(COLLECTOR, about=collector)
    # Other shards read the others; how many of them do only Prometheus knows.
    if shard.total == 1 and panel.first_pass_ended:
        tried = sum(watch.failing is not None for watch in panel.servers.values())
        missing = (panel.servers_listed or 0) - tried - len(panel.unresolved)
        if missing > 0:
            yield Problem(UNREAD, about=str(missing))
    failing = sum(watch.failing is True for watch in panel.servers.values())
    if failing or panel.unresolved:
        yield Problem(READS_FAILING, about=str(failing + len(panel.unresolved)))
    elif panel.servers_listed == 0 and panel.inventory_succeeded:
        yield Problem(NO_SERVERS)


def _queue(panel: PanelStore, now: Now) -> Iterator[Problem]:
    """Judge whether the queue moves; takes of all kinds wait and end as one."""
    pending = panel.pending_transactions(now.monotonic)
    takes = sum(len(rows) for action, rows in pending.items() if _is_take(action))
    ended_at = (
        {} if panel.transaction_log is None else panel.transaction_log.last_ended_at
    )
    last = max(
        (at for action, at in ended_at.items() if _is_take(action)), default=None
    )
    moving = last is not None and now.monotonic - last <= JAM_SECONDS
    for action, rows in pending.items():
        moments = [row.created_at for row in rows if row.created_at is not None]
        if not moments or now.time - min(moments) <= JAM_SECONDS:
            continue
        if not (_is_take(action) and (moving or takes < JAM_TAKES)):
            yield Problem(JAM, since=min(moments), about=action)


def _is_take(action: str) -> bool:
    return action.startswith("take_")


def _stores(panel: PanelStore, now: Now) -> Iterator[Problem]:
    enabled = {s.id: s.enabled for s in panel.fresh_backup_servers(now.monotonic)}
    for number, share in panel.backup_server_usage(now.monotonic).items():
        if number is not None and share.backup_count and enabled.get(number) is False:
            yield Problem(STORE_DISABLED, about=str(number))
