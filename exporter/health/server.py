"""The health of servers: the conditions that hold now, worst first.

``judge_server`` compares the moments of a server (``moments``) with the current time,
and adds conditions about reading its data. ``JudgedServers`` keeps the result until the
server changes or its next moment is reached.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from math import inf

import msgspec

from ..clock import Now
from ..model.entities import DISK, RECOVERY_POINTS, VIRTUAL_MACHINE, Target
from ..model.store import PanelStore, ServerEntry, ServerState
from .conditions import (
    AWAITED,
    DATA_OLD,
    DATA_OLD_INTERVALS,
    DATA_OLD_SECONDS,
    DISK_UNPROTECTED,
    FAILURES_SECONDS,
    FINE,
    INTERVAL_UNKNOWN,
    NEW,
    NEW_SECONDS,
    NOT_READ,
    NOT_REQUIRED,
    POLL_FAILING,
    SERVER_CONDITION_RANK,
    STALE,
    STUCK,
    STUCK_LONG,
    SUSPENDED,
    UNPROTECTED,
    VERY_STALE,
    Condition,
    Moment,
    Problem,
)
from .moments import foresee, next_overdue_at
from .targets import (
    BackupSummary,
    backup_required,
    least,
    scheduled_targets,
    summarize_backups,
)

_OUT_OF_TIME = {STALE, VERY_STALE, UNPROTECTED, DISK_UNPROTECTED}
_REPLACED_BY = {STALE: VERY_STALE, STUCK: STUCK_LONG}
"""Conditions, and the more specific ones that replace them."""


class ServerHealth(msgspec.Struct, frozen=True, gc=False):
    """The health of one server; the same object until something in it changes."""

    condition: Condition
    """The worst condition."""
    problems: tuple[Problem, ...] = ()
    """Worst first."""
    moments: tuple[Moment, ...] = ()
    """Moments that change with facts only, not with each read."""
    in_time: bool | None = None
    """Whether all targets have a backup in time; None: not needed, or unknown."""
    state: ServerState | None = None
    """The state that was judged; None: a configured identifier without a known
    server."""
    summary: BackupSummary | None = None
    """None: its backups were never read."""
    fresh: bool = False
    """Whether its backups are recent enough to be shown."""

    @property
    def shown_summary(self) -> BackupSummary | None:
        """Return the summary, unless the backups are too old."""
        return self.summary if self.fresh else None


UNRESOLVED = ServerHealth(DATA_OLD, (Problem(DATA_OLD),))
"""Health of a configured identifier that matches no known server."""


def judge_server(
    panel: PanelStore,
    entry: ServerEntry,
    now: Now,
    summary: BackupSummary | None = None,
) -> ServerHealth:
    """Return the health of a server; ``summary`` is that of its backups, if known."""
    state = entry.state
    if summary is None and state.backups is not None:
        summary = summarize_backups(state)
    fresh = panel.is_fresh(entry, now.monotonic)
    shown = summary if fresh else None
    if state.suspended:
        return ServerHealth(
            SUSPENDED,
            state=state,
            summary=summary,
            fresh=fresh,
        )
    moments = foresee(state, shown, panel.server_schedules_read_at(entry))
    if not _failures_known(panel, state, now):
        moments = tuple(m for m in moments if m.condition not in (STUCK, STUCK_LONG))
    problems = [
        *_held(moments, now.time),
        *_notices(state, shown, moments, now.time),
    ]
    read_condition = _read_condition(panel, entry, now)
    if read_condition is not None:
        since = data_old_at(panel, entry) if read_condition is DATA_OLD else None
        problems.append(Problem(read_condition, since=since))
    problems.sort(key=lambda problem: SERVER_CONDITION_RANK[problem.condition])
    fine = NOT_REQUIRED if backup_required(state) is False else FINE
    return ServerHealth(
        problems[0].condition if problems else fine,
        tuple(problems),
        moments,
        _in_time(state, shown, {problem.condition for problem in problems}),
        state,
        summary,
        fresh,
    )


def data_old_at(panel: PanelStore, entry: ServerEntry) -> float | None:
    """Return when a server's data become too old; None: not tried yet, or suspended."""
    since, error = entry.read_at, entry.last_error
    if since is None and error is not None:
        since = error.since
    if since is None or entry.state.suspended:
        return None
    return _too_old_at(panel, since)


def unresolved_data_old_at(panel: PanelStore, identifier: str) -> float | None:
    """Return when the data of a configured server that was not found become too old."""
    error = panel.look_up_errors.get(identifier)
    return None if error is None else _too_old_at(panel, error.since)


def _too_old_at(panel: PanelStore, since: float) -> float:
    return since + DATA_OLD_INTERVALS * panel.interval_seconds + DATA_OLD_SECONDS


def next_start_at(
    state: ServerState, time: float, target: Target | None = None
) -> float | None:
    """Return the next scheduled start of a server, or of one of its targets."""
    return least(
        schedule.next_start_at
        for schedule in state.schedules or ()
        if schedule.enabled
        and (target is None or schedule.target == target)
        and (schedule.next_start_at or 0.0) > time
    )


@dataclass(slots=True, eq=False)
class JudgedServers:
    """The health of all servers of one panel; not thread-safe."""

    _judged: dict[int, _Judged] = field(default_factory=dict)

    def update(self, panel: PanelStore, now: Now) -> dict[int, ServerHealth]:
        """Judge the servers that have changed, or whose next moment is reached."""
        self._judged = {
            vm_id: self._update_one(panel, vm_id, entry, now)
            for vm_id, entry in panel.servers.items()
        }
        if panel.unassigned_schedules is not None:
            unassigned = ServerEntry(panel.unassigned_schedules)
            self._judged[unassigned.state.vm_id] = self._update_one(
                panel, unassigned.state.vm_id, unassigned, now
            )
        return {vm_id: judged.health for vm_id, judged in self._judged.items()}

    def _update_one(
        self, panel: PanelStore, vm_id: int, entry: ServerEntry, now: Now
    ) -> _Judged:
        judged = self._judged.get(vm_id)
        if judged is not None and judged.holds(panel, now):
            if judged.entry == entry:
                return judged
            if judged.covers(panel, entry, now):
                return msgspec.structs.replace(judged, entry=entry)
        same_state = judged is not None and judged.entry.state is entry.state
        summary = judged.health.summary if judged is not None and same_state else None
        health = judge_server(panel, entry, now, summary)
        if judged is not None and same_state and health == judged.health:
            health = judged.health  # the same object: its lines are not rendered again
        fresh_until = inf
        if health.fresh and entry.read_at_monotonic is not None:
            fresh_until = entry.read_at_monotonic + panel.max_age_seconds
        return _Judged(
            health,
            entry,
            _next_change_at(health, data_old_at(panel, entry), now.time),
            fresh_until,
            next_overdue_at(
                entry.state,
                health.summary,
                panel.server_schedules_read_at(entry) or -inf,
            ),
            _failures_known(panel, entry.state, now),
        )


class _Judged(msgspec.Struct, frozen=True, gc=False):
    """A server's health, and until when it is valid."""

    health: ServerHealth
    entry: ServerEntry
    moment_at: float
    """Unix time of the next moment or change of a condition."""
    fresh_until: float
    """Monotonic time until which the server's backups are shown."""
    overdue_at: float
    """A read of schedules after this Unix time may find another one overdue."""
    failures_known: bool

    def holds(self, panel: PanelStore, now: Now) -> bool:
        """Return whether the health is valid: no input changed, no limit was passed."""
        return (
            now.time < self.moment_at
            and now.monotonic <= self.fresh_until
            and (panel.schedules_read_at or -inf) <= self.overdue_at
            and (
                self.failures_known or not _failures_known(panel, self.entry.state, now)
            )
        )

    def covers(self, panel: PanelStore, entry: ServerEntry, now: Now) -> bool:
        """Return whether a later read has found the same: most of them do."""
        return (
            entry.state is self.entry.state
            and (entry.schedules_read_at or -inf) <= self.overdue_at
            and _read_condition(panel, self.entry, now) is None
            and _read_condition(panel, entry, now) is None
        )


def count_conditions(
    panel: PanelStore, healths: Mapping[int, ServerHealth]
) -> Counter[Condition]:
    """Count the own servers of a panel by their worst condition."""
    counts = Counter(
        health.condition for vm_id, health in healths.items() if vm_id in panel.servers
    )
    if panel.unresolved:
        counts[UNRESOLVED.condition] += len(panel.unresolved)
    return counts


def _failures_known(panel: PanelStore, state: ServerState, now: Now) -> bool:
    """Return whether a failure of a waiting run would be known.

    Failures are in the log, which is awaited for a limited time after the first read.
    """
    log, read_at = panel.transaction_log, state.first_read_at
    if log is None or read_at is None or now.time >= read_at + FAILURES_SECONDS:
        return True
    return log.knows_failures(state.vm_id)


def _next_change_at(health: ServerHealth, old_at: float | None, time: float) -> float:
    """Return the next time at which the health changes by itself.

    From ``old_at`` on the data of the server are too old.
    """
    times = [old_at, *(moment.at for moment in health.moments)]
    times += (problem.since for problem in health.problems)
    if health.state is not None and health.state.created_at is not None:
        times.append(health.state.created_at + NEW_SECONDS)
    return min((at for at in times if at is not None and at > time), default=inf)


def _read_condition(
    panel: PanelStore, entry: ServerEntry, now: Now
) -> Condition | None:
    """Return the condition of the reads of a server's backups; None: up to date."""
    if entry.state is panel.unassigned_schedules:
        return None  # not a server
    if entry.failing is None and entry.read_at is None:
        return NOT_READ
    old_at = data_old_at(panel, entry)
    if old_at is not None and now.time >= old_at:
        return DATA_OLD
    up_to_date = entry.failing is False and panel.is_fresh(entry, now.monotonic)
    return None if up_to_date else POLL_FAILING


def _held(moments: Iterable[Moment], time: float) -> Iterator[Problem]:
    """Yield the conditions that hold, except those that another one replaces."""
    held = [moment for moment in moments if moment.holds_at(time)]
    found = {(moment.condition, moment.target) for moment in held}
    for moment in held:
        worse = _REPLACED_BY.get(moment.condition)
        if worse is None or (worse, moment.target) not in found:
            about = "" if moment.schedule_id is None else str(moment.schedule_id)
            yield Problem(moment.condition, moment.target, moment.at, about)


def _in_time(
    state: ServerState,
    summary: BackupSummary | None,
    conditions: AbstractSet[Condition],
) -> bool | None:
    """Return whether a server that needs backups has all of them in time."""
    if summary is None or not backup_required(state):
        return None
    if not conditions.isdisjoint(_OUT_OF_TIME) or any(
        target.expected_interval is not None and target.last_success is None
        for target in summary.targets
    ):
        return False
    has_any = summary.built > 0 or summary.last_success_at is not None
    if has_any and INTERVAL_UNKNOWN in conditions:
        return None
    return has_any if has_any or RECOVERY_POINTS not in state.partial else None


# Notices: shown on the page, without an alert


def _notices(
    state: ServerState,
    summary: BackupSummary | None,
    moments: Iterable[Moment],
    time: float,
) -> Iterator[Problem]:
    if summary is None:
        return
    due = {
        moment.target: moment
        for moment in moments
        if moment.condition in (UNPROTECTED, DISK_UNPROTECTED)
    }
    yield from (
        _waiting(state, target, time)
        for target, moment in due.items()
        if not moment.holds_at(time)
    )
    if None in due:
        return
    without_any = summary.built == 0 and summary.last_success_at is None
    if without_any and backup_required(state) is None and _is_young(state, time):
        yield Problem(NEW)
        return
    stale = {m.target for m in moments if m.condition is STALE and m.holds_at(time)}
    for each in summary.targets:
        if each.expected_interval is None or each.last_success_at is not None:
            continue
        if each.built:  # the panel does not report when it was built
            yield Problem(INTERVAL_UNKNOWN, each.target)
        elif each.target not in stale | due.keys():
            yield _waiting(state, each.target, time)
    yield from _interval_unknown(state, summary, set(due))


def _waiting(state: ServerState, target: Target | None, time: float) -> Problem:
    """Return a notice that a backup is awaited, or that the server is new."""
    if _is_young(state, time):
        return Problem(NEW, target)
    return Problem(AWAITED, target, next_start_at(state, time, target))


def _is_young(state: ServerState, time: float) -> bool:
    return state.created_at is not None and state.created_at > time - NEW_SECONDS


def _interval_unknown(
    state: ServerState, summary: BackupSummary, unprotected: set[Target | None]
) -> Iterator[Problem]:
    """Find targets whose expected interval is unknown from all sources."""
    targets, schedules = summary.targets, state.schedules or ()
    expected = {t.target.type for t in targets if t.expected_interval is not None}
    if VIRTUAL_MACHINE in expected or backup_required(state) is False:
        return
    # Schedules that are all disabled or failed are separate problems.
    enabled = scheduled_targets(state)
    not_enabled = {s.target for s in schedules} - enabled
    if not expected:
        if enabled or not not_enabled:
            yield Problem(INTERVAL_UNKNOWN)
        return
    for target in targets:
        if (
            target.target.type == DISK
            and target.expected_interval is None
            and not target.obsolete
            and target.target not in unprotected | not_enabled
        ):
            yield Problem(INTERVAL_UNKNOWN, target.target)
