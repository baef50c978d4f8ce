"""The response of ``/api/v1/status``, which the status page shows too."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime

from .. import __version__
from ..clock import Now
from ..health.conditions import (
    FINE,
    NOT_REQUIRED,
    SERVER_CONDITION_RANK,
    Condition,
    Problem,
)
from ..health.panel import panel_condition, poll_lag_seconds
from ..health.server import next_start_at
from ..health.targets import (
    TargetSummary,
    backup_required,
    completed_at,
    last_failed_at,
)
from ..model.entities import Backup, Target
from ..model.store import LastError, PanelStore
from .schema import (
    BackupSize,
    LastErrorStatus,
    PanelStatus,
    ProblemStatus,
    ServerStatus,
    StatusResponse,
    TargetStatus,
)
from .select import JudgedServer, StatusSelection

MAX_RECENT_SIZES = 12
"""The newest of each target."""
ErrorCounts = Callable[[str], Mapping[str, int]]
"""Returns the number of failed requests to a panel, by reason."""


def status_response(
    selection: StatusSelection, error_counts: ErrorCounts
) -> StatusResponse:
    """Return the status of all panels and of the selected servers."""
    return StatusResponse(
        generated_at=utc_datetime(selection.now.time),
        version=__version__,
        shard=selection.shard.number,
        total_shards=selection.shard.total,
        panels=tuple(
            panel_status(panel, problems, selection.now, error_counts(panel.name))
            for panel, problems in selection.panels
        ),
        states={condition.key: count for condition, count in selection.counts.items()},
        total=selection.total,
        matching=selection.matching,
        page=selection.query.page,
        pages=selection.pages,
        per_page=selection.query.per_page,
        servers=tuple(
            server_status(judged, selection.now) for judged in selection.servers
        ),
    )


def panel_status(
    panel: PanelStore,
    problems: tuple[Problem, ...],
    now: Now,
    errors: Mapping[str, int],
) -> PanelStatus:
    """Return the status of a panel."""
    entries = panel.servers.values()
    read_times = [entry.read_at for entry in entries if entry.read_at is not None]
    failing = sum(entry.failing is True for entry in entries)
    due = panel.next_request_monotonic
    condition = panel_condition(problems)
    return PanelStatus(
        name=panel.name,
        url=panel.url,
        version=panel.version,
        up=panel.up(now.monotonic),
        state=condition.key,
        title=condition.title,
        level=_severity(condition),
        findings=tuple(map(_problem_status, problems)),
        servers=len(entries) + len(panel.unresolved),
        servers_listed=panel.servers_listed,
        servers_failing=failing + len(panel.unresolved),
        first_pass_ended=panel.first_pass_ended,
        inventory_read_at=utc_datetime(panel.inventory_read_at),
        oldest_read_at=utc_datetime(min(read_times, default=None)),
        newest_read_at=utc_datetime(max(read_times, default=None)),
        next_request_at=utc_datetime(
            None if due is None else now.time + max(0.0, due - now.monotonic)
        ),
        poll_interval_seconds=float(panel.interval_seconds),
        poll_lag_seconds=poll_lag_seconds(panel, now),
        clock_skew_seconds=panel.skew_seconds,
        errors=errors,
        trouble=_last_error_status(panel.last_error),
    )


def server_status(judged: JudgedServer, now: Now) -> ServerStatus:
    """Return the status of a server."""
    state = None if judged.entry is None else judged.entry.state
    server = None if state is None else state.server
    summary, health = judged.summary, judged.health
    failing: bool | None = True
    read_at: float | None = None
    last_error = judged.panel.look_up_errors.get(judged.vm_id)
    if judged.entry is not None:
        failing, read_at = judged.entry.failing, judged.entry.read_at
        last_error = judged.entry.last_error
    return ServerStatus(
        panel=judged.panel.name,
        vm_id=judged.vm_id,
        label=None if server is None else server.label,
        hostname=None if server is None else server.hostname,
        identifier=None if server is None else server.identifier,
        state=health.condition.key,
        title=health.condition.title,
        level=_severity(health.condition),
        findings=tuple(map(_problem_status, health.problems)),
        suspended=None if server is None else server.suspended,
        backup_required=None if state is None else backup_required(state),
        created_at=utc_datetime(None if server is None else server.created_at),
        last_success_at=utc_datetime(
            None if summary is None else summary.last_success_at
        ),
        last_failed_at=utc_datetime(None if state is None else last_failed_at(state)),
        next_start_at=utc_datetime(
            None if state is None else next_start_at(state, now.time)
        ),
        backups_built=None if summary is None else summary.built,
        backups_unbuilt=None if summary is None else summary.unbuilt,
        backup_size_bytes=None if summary is None else summary.size_bytes,
        read_at=utc_datetime(read_at),
        read_succeeded=None if failing is None else not failing,
        trouble=_last_error_status(last_error),
        targets=_target_statuses(judged, now),
    )


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
    sizes = _recent_sizes(judged.entry.state.backups or ())
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
    condition, last_success = _target_condition(judged, summary), summary.last_success
    return TargetStatus(
        target_type=target.type,
        target_id=target.id,
        state=condition.key,
        title=condition.title,
        level=_severity(condition),
        last_success_at=utc_datetime(summary.last_success_at),
        last_success_size_bytes=None
        if last_success is None
        else last_success.size_bytes,
        last_success_duration_seconds=summary.last_success_duration_seconds,
        expected_interval_seconds=None if interval is None else float(interval.seconds),
        expected_interval_source=None if interval is None else interval.source,
        next_start_at=utc_datetime(
            None
            if judged.entry is None
            else next_start_at(judged.entry.state, now.time, target)
        ),
        backups_built=summary.built,
        backups_unbuilt=summary.unbuilt,
        backups_locked=summary.locked,
        backups_marked_for_delete=summary.marked_for_delete,
        oldest_unbuilt_at=utc_datetime(summary.oldest_unbuilt_at),
        last_failed_at=utc_datetime(summary.last_failed_at),
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
    # Whether backups are expected is known here: otherwise there would be a problem.
    expected = summary.expected_interval is not None
    return FINE if expected and summary.last_success_at is not None else NOT_REQUIRED


def _recent_sizes(backups: Iterable[Backup]) -> dict[Target, tuple[BackupSize, ...]]:
    """Return the sizes of the newest restore points of each target."""
    found: dict[Target, list[tuple[float, int]]] = {}
    for backup in backups:
        at = completed_at(backup)
        restore_point = backup.built and not backup.marked_for_delete
        if restore_point and at is not None and backup.size_bytes is not None:
            found.setdefault(backup.target, []).append((at, backup.size_bytes))
    return {
        target: tuple(
            BackupSize(utc_datetime(at), size)
            for at, size in sorted(rows)[-MAX_RECENT_SIZES:]
        )
        for target, rows in found.items()
    }


def _problem_status(problem: Problem) -> ProblemStatus:
    condition, target = problem.condition, problem.target
    return ProblemStatus(
        state=condition.key,
        title=condition.title,
        level=_severity(condition),
        alert=condition.alert or None,
        target_type=None if target is None else target.type,
        target_id=None if target is None else target.id,
        about=problem.about or None,
        action=condition.action or None,
        since=utc_datetime(problem.since),
    )


def _last_error_status(last_error: LastError | None) -> LastErrorStatus | None:
    if last_error is None:
        return None
    return LastErrorStatus(
        utc_datetime(last_error.at),
        utc_datetime(last_error.since),
        last_error.reason,
        last_error.error,
        last_error.hint,
    )


def _severity(condition: Condition) -> str:
    return condition.severity.name.lower()
