"""From what was judged to what is shown, by the page and by ``/api/v1/status``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime

from .. import __version__
from ..clock import Now
from ..health.conditions import FINE, NOT_REQUIRED, RANK, Condition, Problem
from ..health.panel import panel_state, poll_lag_seconds
from ..health.targets import (
    TargetSummary,
    backup_required,
    completed_at,
    last_failed_at,
)
from ..model.entities import Backup, Target
from ..model.store import LastError, PanelStore
from .schema import (
    FindingStatus,
    PanelStatus,
    ServerStatus,
    Size,
    Status,
    TargetStatus,
    TroubleStatus,
)
from .select import Board, Entry, next_start_at

RECENT = 12
"""So many sizes are shown of a target."""
Errors = Callable[[str], Mapping[str, int]]
"""Counts the requests to a panel that brought nothing usable, by reason."""


def status(shown: Board, errors: Errors) -> Status:
    """Return what is to be shown of all panels and of the servers asked for."""
    return Status(
        generated_at=moment(shown.now.time),
        version=__version__,
        shard=shown.shard.number,
        total_shards=shown.shard.total,
        panels=tuple(
            panel_status(panel, findings, shown.now, errors(panel.name))
            for panel, findings in shown.panels
        ),
        states={kind.key: count for kind, count in shown.counts.items()},
        total=shown.total,
        matching=shown.matching,
        page=shown.query.page,
        pages=shown.pages,
        per_page=shown.query.per_page,
        servers=tuple(server_status(entry, shown.now) for entry in shown.entries),
    )


def panel_status(
    panel: PanelStore,
    findings: tuple[Problem, ...],
    now: Now,
    errors: Mapping[str, int],
) -> PanelStatus:
    """Return what is to be shown of a panel."""
    watches = panel.servers.values()
    reads = [watch.read_at for watch in watches if watch.read_at is not None]
    failing = sum(watch.failing is True for watch in watches)
    due = panel.next_request_monotonic
    state = panel_state(findings)
    return PanelStatus(
        name=panel.name,
        url=panel.url,
        version=panel.version,
        up=panel.up(now.monotonic),
        state=state.key,
        title=state.title,
        level=_level(state),
        findings=tuple(map(_finding, findings)),
        servers=len(watches) + len(panel.unresolved),
        servers_listed=panel.servers_listed,
        servers_failing=failing + len(panel.unresolved),
        first_pass_ended=panel.first_pass_ended,
        inventory_read_at=moment(panel.inventory_read_at),
        oldest_read_at=moment(min(reads, default=None)),
        newest_read_at=moment(max(reads, default=None)),
        next_request_at=moment(
            None if due is None else now.time + max(0.0, due - now.monotonic)
        ),
        poll_interval_seconds=float(panel.interval_seconds),
        poll_lag_seconds=poll_lag_seconds(panel, now),
        clock_skew_seconds=panel.skew_seconds,
        errors=errors,
        trouble=_trouble(panel.last_error),
    )


def server_status(entry: Entry, now: Now) -> ServerStatus:
    """Return what is to be shown of a server."""
    known = None if entry.watch is None else entry.watch.state
    server = None if known is None else known.server
    verdict, judgement = entry.verdict, entry.judgement
    failing: bool | None = True
    read_at: float | None = None
    trouble = entry.panel.look_up_errors.get(entry.vm_id)
    if entry.watch is not None:
        failing, read_at = entry.watch.failing, entry.watch.read_at
        trouble = entry.watch.last_error
    return ServerStatus(
        panel=entry.panel.name,
        vm_id=entry.vm_id,
        label=None if server is None else server.label,
        hostname=None if server is None else server.hostname,
        identifier=None if server is None else server.identifier,
        state=judgement.state.key,
        title=judgement.state.title,
        level=_level(judgement.state),
        findings=tuple(map(_finding, judgement.findings)),
        suspended=None if server is None else server.suspended,
        backup_required=None if known is None else backup_required(known),
        created_at=moment(None if server is None else server.created_at),
        last_success_at=moment(None if verdict is None else verdict.last_success_at),
        last_failed_at=moment(None if known is None else last_failed_at(known)),
        next_start_at=moment(next_start_at(entry, now)),
        backups_built=None if verdict is None else verdict.built,
        backups_unbuilt=None if verdict is None else verdict.unbuilt,
        backup_size_bytes=None if verdict is None else verdict.size_bytes,
        read_at=moment(read_at),
        read_succeeded=None if failing is None else not failing,
        trouble=_trouble(trouble),
        targets=_targets(entry, now),
    )


def moment(time: float | None) -> datetime | None:
    """Return a Unix time as a moment, in whole seconds; None where no calendar does."""
    if time is None:
        return None
    try:
        return datetime.fromtimestamp(int(time), UTC)
    except (OverflowError, ValueError, OSError):
        return None


def _targets(entry: Entry, now: Now) -> tuple[TargetStatus, ...]:
    if entry.verdict is None or entry.watch is None:
        return ()
    sizes = _recent_sizes(entry.watch.state.backups or ())
    found = [
        (_state(entry, target), _target(entry, target, now, sizes))
        for target in entry.verdict.targets
    ]
    found.sort(key=lambda pair: RANK[pair[0]])
    return tuple(target for _, target in found)


def _target(
    entry: Entry,
    verdict: TargetSummary,
    now: Now,
    sizes: Mapping[Target, tuple[Size, ...]],
) -> TargetStatus:
    target, interval = verdict.target, verdict.expected_interval
    state, success = _state(entry, verdict), verdict.last_success
    return TargetStatus(
        target_type=target.type,
        target_id=target.id,
        state=state.key,
        title=state.title,
        level=_level(state),
        last_success_at=moment(verdict.last_success_at),
        last_success_size_bytes=None if success is None else success.size_bytes,
        last_success_duration_seconds=verdict.last_success_seconds,
        expected_interval_seconds=None if interval is None else float(interval.seconds),
        expected_interval_source=None if interval is None else interval.source,
        next_start_at=moment(next_start_at(entry, now, target)),
        backups_built=verdict.built,
        backups_unbuilt=verdict.unbuilt,
        backups_locked=verdict.locked,
        backups_marked_for_delete=verdict.marked_for_delete,
        oldest_unbuilt_at=moment(verdict.oldest_unbuilt_at),
        last_failed_at=moment(verdict.last_failed_at),
        recent_sizes=sizes.get(target, ()),
    )


def _state(entry: Entry, verdict: TargetSummary) -> Condition:
    """Return the worst of what is said of a target, or of its server as a whole."""
    for finding in entry.judgement.findings:
        if finding.target in (None, verdict.target):
            return finding.kind
    state = entry.judgement.state
    if state.level == FINE.level and state is not FINE:
        return state
    # Where nobody knew whether something is expected, a finding would say it.
    due = verdict.expected_interval is not None
    return FINE if due and verdict.last_success_at is not None else NOT_REQUIRED


def _recent_sizes(backups: Iterable[Backup]) -> dict[Target, tuple[Size, ...]]:
    """Return the sizes of the newest restore points of each target."""
    found: dict[Target, list[tuple[float, int]]] = {}
    for backup in backups:
        at = completed_at(backup)
        good = backup.built and not backup.marked_for_delete
        if good and at is not None and backup.size_bytes is not None:
            found.setdefault(backup.target, []).append((at, backup.size_bytes))
    return {
        target: tuple(Size(moment(at), size) for at, size in sorted(rows)[-RECENT:])
        for target, rows in found.items()
    }


def _finding(finding: Problem) -> FindingStatus:
    kind, target = finding.kind, finding.target
    return FindingStatus(
        state=kind.key,
        title=kind.title,
        level=_level(kind),
        alert=kind.alert or None,
        target_type=None if target is None else target.type,
        target_id=None if target is None else target.id,
        about=finding.about or None,
        hint=kind.hint or None,
        since=moment(finding.since),
    )


def _trouble(trouble: LastError | None) -> TroubleStatus | None:
    if trouble is None:
        return None
    at = moment(trouble.at)
    return TroubleStatus(at, trouble.reason, trouble.error, trouble.hint)


def _level(kind: Condition) -> str:
    return kind.level.name.lower()
