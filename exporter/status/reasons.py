"""Reasons for the problems of servers and panels, in a few words with figures.

They are pure functions of the facts from which the health was determined. Times are
relative to the time of that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from ..clock import Now
from ..health import conditions as c
from ..health.conditions import Condition, Problem
from ..health.panel import poll_lag_seconds
from ..health.targets import TargetSummary
from ..model.entities import BACKUP_SERVERS, BackupServerUsage, Schedule
from ..model.store import LastError, PanelStore, ServerEntry, ServerState
from .select import JudgedServer

_DURATION_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def duration(seconds: float) -> str:
    """Format a duration in its two largest units."""
    left, parts = int(seconds), []
    for length, unit in _DURATION_UNITS:
        if left >= length:
            parts.append(f"{left // length} {unit}")
            left %= length
        if len(parts) == 2 or (parts and not left):
            break
    return " ".join(parts) or "0 s"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: 1 backup, 2 backups."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def overdue_since(problem: Problem, target: TargetSummary | None) -> float | None:
    """Return since when the next backup of a stale target is overdue (Unix time).

    None: the target is not stale, or this is unknown.
    """
    intervals = c.STALENESS.get(problem.condition)
    expected = None if target is None else target.expected_interval
    if intervals is None or expected is None or problem.since is None:
        return None
    late_seconds = (intervals - 1) * expected.seconds + c.QUEUE_ALLOWANCE_SECONDS
    return problem.since - late_seconds


class Subject(msgspec.Struct, frozen=True):
    """A panel or one of its servers at a given time, whose problems are explained."""

    panel: PanelStore
    now: Now
    judged: JudgedServer | None = None
    """The server; None: the subject is the panel."""
    backup_server_usage: Mapping[int | None, BackupServerUsage] = {}
    """Usage of the panel's backup servers, by their ID."""

    def reason(self, problem: Problem) -> str:
        """Return the reason for a problem; empty if its title says everything."""
        found = _REASONS.get(problem.condition)
        return "" if found is None else found(_Facts(problem, self))


class _Facts(msgspec.Struct, frozen=True):
    """A problem and the facts that it follows from."""

    problem: Problem
    subject: Subject

    @property
    def panel(self) -> PanelStore:
        """Return the panel that has the problem, or whose server has it."""
        return self.subject.panel

    @property
    def now(self) -> Now:
        """Return the time at which the health was determined."""
        return self.subject.now

    @property
    def judged(self) -> JudgedServer | None:
        """Return the server; None: the problem is the panel's."""
        return self.subject.judged

    @property
    def since(self) -> float | None:
        """Return since when the problem exists (Unix time); None: unknown."""
        return self.problem.since

    @property
    def about(self) -> str:
        """Return the number or the name that the problem is about."""
        return self.problem.about

    @property
    def entry(self) -> ServerEntry | None:
        """Return the server; None: a panel, or a server that is only configured."""
        return None if self.judged is None else self.judged.entry

    @property
    def target(self) -> TargetSummary | None:
        """Return the target; None: the problem has none, or it is unknown."""
        summary = None if self.judged is None else self.judged.summary
        targets = () if summary is None else summary.targets
        return next((t for t in targets if t.target == self.problem.target), None)

    @property
    def schedule(self) -> Schedule | None:
        """Return the schedule; None: the problem has none, or it is unknown."""
        state: ServerState | None = self.panel.unassigned_schedules
        if self.judged is not None:
            state = None if self.entry is None else self.entry.state
        schedules = () if state is None else state.schedules or ()
        return next((s for s in schedules if str(s.id) == self.about), None)

    @property
    def read_error(self) -> LastError | None:
        """Return why the server is not read; this may be an error of its panel."""
        if self.judged is not None and self.entry is None:
            return self.panel.look_up_errors.get(self.judged.vm_id)
        if self.entry is not None and self.entry.failing:
            return self.entry.last_error
        return self.panel.last_error

    def ago(self, words: str, time: float | None, *, earlier: float = 0.0) -> str:
        """Return the words, with how long ago a Unix time was; None: words only."""
        return words if time is None else f"{words} {self._age(time - earlier)} ago"

    def lasting(self, words: str, time: float | None, *, earlier: float = 0.0) -> str:
        """Return the words, with the duration since a Unix time; None: words only."""
        return words if time is None else f"{words} for {self._age(time - earlier)}"

    def _age(self, time: float) -> str:
        return duration(max(0.0, self.now.time - time))


def _joined(*parts: str) -> str:
    return "; ".join(filter(None, parts))


# Servers


def _stale(facts: _Facts) -> str:
    target, due_at = facts.target, overdue_since(facts.problem, facts.target)
    without_any = target is not None and target.last_success is None
    late = None if due_at is None else max(0.0, facts.now.time - due_at)
    return _joined(
        "" if late is None else f"overdue by {duration(late)}",
        "no restore point" if without_any else "",
    )


def _stuck(facts: _Facts) -> str:
    pending_at = None if facts.target is None else facts.target.oldest_pending_at
    return facts.lasting("a backup run has not ended", pending_at)


def _locked(facts: _Facts) -> str:
    locked_at = None if facts.target is None else facts.target.oldest_locked_at
    return facts.lasting("a backup has been locked", locked_at)


def _not_read(facts: _Facts) -> str:
    read_at = None if facts.entry is None else facts.entry.read_at
    error = facts.read_error
    return _joined(
        "never read" if read_at is None else facts.ago("last read", read_at),
        "" if error is None else facts.lasting("failing", error.since),
        _last_try(facts, error),
    )


def _last_try(facts: _Facts, error: LastError | None) -> str:
    return "" if error is None else facts.ago("last try", error.at)


def _awaited(facts: _Facts) -> str:
    seconds = 0.0 if facts.since is None else facts.since - facts.now.time
    return f"due in {duration(seconds)}" if seconds > 0 else ""


def _new(facts: _Facts) -> str:
    server = None if facts.entry is None else facts.entry.state.server
    return "" if server is None else facts.ago("created", server.created_at)


# Schedules


def _schedule_failing(facts: _Facts) -> str:
    count = 0 if facts.schedule is None else facts.schedule.failure_count or 0
    return _joined(
        facts.lasting(
            f"schedule {facts.about} has been failing",
            facts.since,
            earlier=c.SCHEDULE_FAILING_SECONDS,
        ),
        counted(count, "failed run") if count else "",
    )


# Panels


def _no_answer(facts: _Facts, what: str = "no usable answer") -> str:
    return _joined(
        facts.lasting(what, facts.since),
        _last_try(facts, facts.panel.last_error),
    )


def _clock_skew(facts: _Facts) -> str:
    skew = facts.panel.skew_seconds or 0.0
    way = "ahead" if skew > 0 else "behind"
    return f"the panel's clock is {duration(abs(skew))} {way}"


def _backup_server(facts: _Facts) -> str:
    number = int(facts.about)
    usage = facts.subject.backup_server_usage.get(number)
    if usage is None:
        return ""
    listed = facts.panel.listed(BACKUP_SERVERS, facts.now.monotonic)
    capacity = next((s.capacity_bytes for s in listed if s.id == number), None)
    return _joined(
        f"backup server {number} holds {counted(usage.backup_count, 'backup')}",
        f"{100 * usage.size_bytes / capacity:.0f} % of its capacity"
        if capacity
        else "",
    )


_REASONS: Mapping[Condition, Callable[[_Facts], str]] = {
    c.UNPROTECTED: lambda f: f.ago("no restore point; one was due", f.since),
    c.STUCK_LONG: _stuck,
    c.SCHEDULE_FAILED: lambda f: f.ago(
        f"the panel marked schedule {f.about} as failed", f.since
    ),
    c.VERY_STALE: _stale,
    c.DISK_UNPROTECTED: lambda f: f.ago("no restore point; one was due", f.since),
    c.STUCK: _stuck,
    c.FAILED: lambda f: f.ago("last run failed", f.since),
    c.SCHEDULE_FAILING: _schedule_failing,
    c.SCHEDULE_OVERDUE: lambda f: f.ago(
        f"schedule {f.about} should have started",
        f.since,
        earlier=c.SCHEDULE_OVERDUE_SECONDS,
    ),
    c.UNSCHEDULED: lambda f: f.lasting("no enabled schedule", f.since),
    c.STALE: _stale,
    c.DATA_OLD: _not_read,
    c.LOCKED: _locked,
    c.AWAITED: _awaited,
    c.POLL_FAILING: _not_read,
    c.NEW: _new,
    c.INTERVAL_UNKNOWN: lambda _: "nothing says when the next backup is due",
    c.UNAUTHORIZED: lambda f: _no_answer(f, "refused"),
    c.DOWN: _no_answer,
    c.UNREAD: lambda f: f"{counted(int(f.about), 'server')} never read",
    c.LAGGING: lambda f: (
        f"a server is read {duration(poll_lag_seconds(f.panel, f.now))} late"
    ),
    c.COLLECTOR_FAILING: lambda f: f"the last run of {f.about} failed",
    c.CLOCK_SKEW: _clock_skew,
    c.QUEUE_JAM: lambda f: f.lasting(f"no {f.about} has ended", f.since),
    c.BACKUP_SERVER_DISABLED: _backup_server,
    c.BACKUP_SERVER_FULL: _backup_server,
    c.READS_FAILING: lambda f: f"{counted(int(f.about), 'server')} could not be read",
}
