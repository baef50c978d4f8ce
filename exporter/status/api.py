"""The response of ``/api/v1/status``, which the status page shows too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import cache
from itertools import chain
from typing import Any, TypeVar, get_type_hints

import msgspec

from .. import __version__
from ..clock import Now
from ..health.conditions import (
    FINE,
    NOT_REQUIRED,
    SERVER_CONDITION_RANK,
    Condition,
    Problem,
    Severity,
)
from ..health.panel import PanelHealth, judge_panel, poll_lag_seconds
from ..health.server import next_start_at
from ..health.targets import (
    TargetSummary,
    backup_required,
    completed_at,
    last_failed_at,
    least,
)
from ..metrics.exposition import Snapshot
from ..model.entities import Backup, Target
from ..model.selection import Shard
from ..model.store import NO_SERVER, LastError, PanelStore
from .compliance import compliance
from .query import Query
from .reasons import Subject, overdue_since
from .schema import (
    BackupSize,
    LastErrorStatus,
    PanelStatus,
    ProblemStatus,
    ServerStatus,
    StatusResponse,
    TargetStatus,
)
from .select import Healths, JudgedServer, all_servers, conditions, paginate, select

MAX_RECENT_SIZES = 12
"""Number of newest backup sizes shown per target."""
ErrorCounts = Callable[[str], Mapping[str, int]]
"""Returns the number of failed requests to a panel, by reason."""


T = TypeVar("T", bound=msgspec.Struct)


def status_response(
    snapshot: Snapshot,
    healths: Healths,
    shard: Shard,
    query: Query,
    error_counts: ErrorCounts,
) -> StatusResponse:
    """Return the status of all panels and of the selected servers."""
    now = snapshot.now
    servers = list(all_servers(snapshot, healths))
    counts = Counter(chain.from_iterable(map(conditions, servers)))
    levels = Counter(judged.health.condition.severity for judged in servers)
    shown = paginate(select(servers, query, now), query.page, query.per_page)
    return StatusResponse(
        generated_at=utc_datetime(now.time),
        version=__version__,
        shard=shard.number,
        total_shards=shard.total,
        panels=tuple(
            panel_status(
                panel,
                judged_panel(panel, healths, shard, now),
                now,
                error_counts(panel.name),
            )
            for panel in snapshot.panels
        ),
        states={c.key: counts[c] for c in SERVER_CONDITION_RANK if c in counts},
        levels={level.name.lower(): levels[level] for level in reversed(Severity)},
        compliance=compliance(servers),
        total=len(servers),
        matching=shown.total,
        page=shown.page,
        pages=shown.pages,
        per_page=query.per_page,
        servers=tuple(server_status(judged, now) for judged in shown.rows),
    )


def judged_panel(
    panel: PanelStore, healths: Healths, shard: Shard, now: Now
) -> PanelHealth:
    """Return the health of a panel, including that of its unassigned schedules."""
    return judge_panel(panel, now, shard, healths[panel.name].get(NO_SERVER))


def panel_status(
    panel: PanelStore, health: PanelHealth, now: Now, errors: Mapping[str, int]
) -> PanelStatus:
    """Return the status of a panel."""
    subject = Subject(panel, now, backup_server_usage=health.backup_server_usage)
    entries = panel.servers.values()
    read_times = [entry.read_at for entry in entries if entry.read_at is not None]
    failing = sum(entry.failing is True for entry in entries)
    due = panel.next_request_monotonic
    return _build(
        PanelStatus,
        panel,
        **_condition_fields(health.condition),
        up=panel.up(),
        problems=_problem_statuses(health.problems, subject),
        servers=len(entries) + len(panel.unresolved),
        servers_failing=failing + len(panel.unresolved),
        oldest_read_at=min(read_times, default=None),
        newest_read_at=max(read_times, default=None),
        next_request_at=None
        if due is None
        else now.time + max(0.0, due - now.monotonic),
        poll_interval_seconds=float(panel.interval_seconds),
        poll_lag_seconds=poll_lag_seconds(panel, now),
        clock_skew_seconds=panel.skew_seconds,
        errors=errors,
        last_error=last_error_status(panel.last_error),
    )


def server_status(judged: JudgedServer, now: Now) -> ServerStatus:
    """Return the status of a server."""
    entry, summary = judged.entry, judged.summary
    state = entry and entry.state
    succeeded: bool | None = False
    last_error = judged.panel.look_up_errors.get(judged.vm_id)
    if entry is not None:
        succeeded = None if entry.failing is None else not entry.failing
        last_error = entry.last_error
    return _build(
        ServerStatus,
        *(state and state.server, entry, summary),
        **_condition_fields(judged.health.condition),
        panel=judged.panel.name,
        vm_id=judged.vm_id,
        problems=_problem_statuses(
            judged.health.problems, Subject(judged.panel, now, judged)
        ),
        backup_required=state and backup_required(state),
        in_time=judged.health.in_time,
        last_failed_at=state and last_failed_at(state),
        next_start_at=state and next_start_at(state, now.time),
        backups_built=summary and summary.built,
        backups_unbuilt=summary and summary.unbuilt,
        backup_size_bytes=summary and summary.size_bytes,
        read_succeeded=succeeded,
        last_error=last_error_status(last_error),
        targets=_target_statuses(judged, now),
    )


def _build(kind: type[T], *sources: object, **fields: Any) -> T:
    """Build a part of the response; missing fields are attributes of the ``sources``.

    Attributes of a source that is None are null. Unix times become dates.
    """
    for name in kind.__struct_fields__:
        if name not in fields:
            value: Any = None
            for source in sources:
                value = getattr(source, name, value)
            fields[name] = value
    for name in _time_fields(kind):
        fields[name] = utc_datetime(fields[name])
    return kind(**fields)


@cache
def _time_fields(kind: type[msgspec.Struct]) -> tuple[str, ...]:
    hints = get_type_hints(kind)
    return tuple(name for name, hint in hints.items() if hint == datetime | None)


def utc_datetime(time: float | None) -> datetime | None:
    """Return a Unix time in whole seconds; None if it is unknown or out of range."""
    if time is None:
        return None
    try:
        return datetime.fromtimestamp(int(time), UTC)
    except (OverflowError, ValueError, OSError):
        return None


def _target_statuses(judged: JudgedServer, now: Now) -> tuple[TargetStatus, ...]:
    if judged.summary is None or judged.entry is None:
        return ()
    sizes = recent_sizes(judged.entry.state.backups or (), MAX_RECENT_SIZES)
    found = [
        (_target_condition(judged, target), _target_status(judged, target, now, sizes))
        for target in judged.summary.targets
    ]
    found.sort(key=lambda pair: SERVER_CONDITION_RANK[pair[0]])
    return tuple(target for _, target in found)


def _target_status(
    judged: JudgedServer,
    summary: TargetSummary,
    now: Now,
    sizes: Mapping[Target, tuple[BackupSize, ...]],
) -> TargetStatus:
    target, interval = summary.target, summary.expected_interval
    last_success, entry = summary.last_success, judged.entry
    return _build(
        TargetStatus,
        summary,
        **_condition_fields(_target_condition(judged, summary)),
        target_type=target.type,
        target_id=target.id,
        last_success_size_bytes=last_success and last_success.size_bytes,
        expected_interval_seconds=interval and float(interval.seconds),
        expected_interval_source=interval and interval.source,
        overdue_since=least(
            overdue_since(problem, summary)
            for problem in judged.health.problems
            if problem.target == target
        ),
        next_start_at=entry and next_start_at(entry.state, now.time, target),
        backups_built=summary.built,
        backups_unbuilt=summary.unbuilt,
        backups_locked=summary.locked,
        backups_marked_for_delete=summary.marked_for_delete,
        recent_sizes=sizes.get(target, ()),
    )


def _target_condition(judged: JudgedServer, summary: TargetSummary) -> Condition:
    """Return the worst condition of a target, or of its server as a whole."""
    for problem in judged.health.problems:
        if problem.target in (None, summary.target):
            return problem.condition
    condition = judged.health.condition
    if condition.severity == FINE.severity and condition is not FINE:
        return condition
    # Without a problem, it is known whether backups are expected.
    expected = summary.expected_interval is not None
    return FINE if expected and summary.last_success_at is not None else NOT_REQUIRED


def recent_sizes(
    backups: Iterable[Backup], limit: int
) -> dict[Target, tuple[BackupSize, ...]]:
    """Return the sizes of each target's newest restore points, oldest first."""
    found: dict[Target, list[tuple[float, int]]] = {}
    for backup in backups:
        at = completed_at(backup)
        restore_point = backup.built and not backup.marked_for_delete
        if restore_point and at is not None and backup.size_bytes is not None:
            found.setdefault(backup.target, []).append((at, backup.size_bytes))
    return {
        target: tuple(
            BackupSize(utc_datetime(at), size) for at, size in sorted(rows)[-limit:]
        )
        for target, rows in found.items()
    }


def _problem_statuses(
    problems: Iterable[Problem], subject: Subject
) -> tuple[ProblemStatus, ...]:
    return tuple(
        _problem_status(problem, subject.reason(problem)) for problem in problems
    )


def _problem_status(problem: Problem, why: str) -> ProblemStatus:
    condition, target = problem.condition, problem.target
    return _build(
        ProblemStatus,
        problem,
        **_condition_fields(condition),
        alert=condition.alert or None,
        target_type=target and target.type,
        target_id=target and target.id,
        about=problem.about or None,
        action=condition.action or None,
        reason=why or None,
    )


def last_error_status(last_error: LastError | None) -> LastErrorStatus | None:
    """Return the status of an error; None: there is none."""
    return None if last_error is None else _build(LastErrorStatus, last_error)


def _condition_fields(condition: Condition) -> dict[str, str]:
    level = condition.severity.name.lower()
    return {"state": condition.key, "title": condition.title, "level": level}
