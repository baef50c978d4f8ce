"""Whether a server's backups are as they should be: the one judgement in the code.

It says at one moment what the alerts in ``deploy/prometheus/backups.rules.yml`` say
of the metrics, guard by guard. What they know from history it cannot know:
docs/alerts.md names the differences.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec

from ..clock import Now
from ..model.entities import DISK, VIRTUAL_MACHINE, Schedule, Target
from ..model.store import PanelStore, ServerEntry, ServerState
from .conditions import (
    AWAITED,
    DATA_OLD,
    DISABLED,
    DISK_UNPROTECTED,
    FAILED,
    FINE,
    GIVEN_UP,
    INTERVAL_UNKNOWN,
    LOCKED,
    LOCKED_SECONDS,
    NEW,
    NOT_READ,
    NOT_REQUIRED,
    OLD_INTERVALS,
    OLD_SECONDS,
    OVERDUE,
    OVERDUE_SECONDS,
    POLL_FAILING,
    QUEUE_SECONDS,
    RANK,
    STALE,
    STALE_INTERVALS,
    STUCK,
    STUCK_LONG,
    STUCK_LONG_SECONDS,
    STUCK_SECONDS,
    SUSPENDED,
    UNPROTECTED,
    VERY_STALE,
    VERY_STALE_INTERVALS,
    YOUNG_INTERVAL_SECONDS,
    YOUNG_INTERVALS,
    YOUNG_SECONDS,
    Condition,
    Problem,
)
from .targets import (
    HISTORY,
    BackupSummary,
    Interval,
    TargetSummary,
    backup_required,
    last_failed_at,
)

_NEVER = float("-inf")


class ServerHealth(msgspec.Struct, frozen=True, gc=False):
    """What is to be said of one server; the findings with the worst first."""

    state: Condition
    findings: tuple[Problem, ...] = ()


_FINE, _SUSPENDED = ServerHealth(FINE), ServerHealth(SUSPENDED)
_NOT_REQUIRED = ServerHealth(NOT_REQUIRED)
UNRESOLVED = ServerHealth(DATA_OLD, (Problem(DATA_OLD),))
"""Of a configured identifier that no server is known for: nothing could be read."""


def judge_server(
    panel: PanelStore, watch: ServerEntry, verdict: BackupSummary | None, now: Now
) -> ServerHealth:
    """Judge a server by what is known of it; ``verdict`` is None where that is old."""
    known = watch.state
    if known.server is not None and known.server.suspended:
        return _SUSPENDED
    found = [*_reading(panel, watch, now), *judge_schedules(panel, watch, verdict, now)]
    if verdict is not None and not _is_fine(known, verdict, now.time):
        found += _HealthCheck(known, verdict, now.time).findings()
    if found:
        found.sort(key=lambda finding: RANK[finding.kind])
        return ServerHealth(found[0].kind, tuple(found))
    return _NOT_REQUIRED if backup_required(known) is False else _FINE


def _reading(panel: PanelStore, watch: ServerEntry, now: Now) -> Iterator[Problem]:
    """Judge whether what was read is good to judge by."""
    if watch.failing is None and watch.read_at is None:
        yield Problem(NOT_READ)
        return
    bad = watch.failing is not False or not panel.is_fresh(watch, now.monotonic)
    longest = OLD_INTERVALS * panel.interval_seconds + OLD_SECONDS
    if watch.read_at is None or now.time - watch.read_at > longest:
        yield Problem(DATA_OLD, since=watch.read_at)
    elif bad:
        yield Problem(POLL_FAILING, since=watch.read_at)


def _is_fine(known: ServerState, verdict: BackupSummary, time: float) -> bool:
    """Tell whether nothing can be wrong: so it is with most, and quickly seen."""
    if known.failed_backups or not verdict.targets:
        return False
    for target in verdict.targets:
        interval, success_at = target.expected_interval, target.last_success_at
        if (
            interval is None
            or success_at is None
            or time - success_at > STALE_INTERVALS * interval.seconds + QUEUE_SECONDS
            or target.oldest_pending_at is not None
            or target.oldest_locked_at is not None
        ):
            return False
    return True


@dataclass(slots=True)
class _HealthCheck:
    """One server's backups, at one moment."""

    known: ServerState
    verdict: BackupSummary
    time: float

    def findings(self) -> Iterator[Problem]:
        """Yield what is wrong, in any order."""
        missing = list(self._unprotected()) if self.verdict.built == 0 else []
        yield from missing
        bare = self._bare_disks()
        if not missing:
            yield from self._unexpected(bare)
        for target in self.verdict.targets:
            if target.target in bare:
                yield from self._bare(target)
            elif target.expected_interval is not None:
                yield from self._stale(target, target.expected_interval)
            begun_at = target.oldest_pending_at
            if begun_at is not None:
                yield from self._stuck(target, begun_at)
            if target.oldest_locked_at is not None:
                yield from self._locked(target, target.oldest_locked_at)
        if self.known.failed_backups:
            yield from self._failed()

    def _unprotected(self) -> Iterator[Problem]:
        """Judge a server without a restore point; the first start is waited for."""
        required = backup_required(self.known)
        if self.verdict.last_success_at is not None or required is False:
            return
        if self._is_young():
            yield Problem(NEW)
            return
        if required is None:
            if any(t.expected_interval is not None for t in self.verdict.targets):
                yield Problem(AWAITED, since=self._next_start(None))
            return
        lost = any(target.marked_for_delete for target in self.verdict.targets)
        start = None if lost else self._next_start(None)
        yield Problem(UNPROTECTED) if start is None else Problem(AWAITED, since=start)

    def _unexpected(self, bare: set[Target]) -> Iterator[Problem]:
        """Find what may have backups of any age, for nothing tells when one is due."""
        targets, schedules = self.verdict.targets, self.known.schedules or ()
        expected = {t.target.type for t in targets if t.expected_interval is not None}
        if VIRTUAL_MACHINE in expected or backup_required(self.known) is False:
            return
        # Schedules that are all disabled or given up are findings of their own.
        enabled = {s.target for s in schedules if s.enabled}
        idle = {s.target for s in schedules} - enabled
        if not expected:
            yield from () if idle and not enabled else (Problem(INTERVAL_UNKNOWN),)
            return
        told = {t.target for t in targets if t.expected_interval is not None or t.over}
        for target in targets:
            if target.target.type == DISK and target.target not in told | bare | idle:
                yield Problem(INTERVAL_UNKNOWN, target.target)

    def _bare_disks(self) -> set[Target]:
        """Return the disks without a backup beside others with some.

        Not where the server is backed up as a whole: that is expected, or happened
        after the last backup of a disk.
        """
        targets = self.verdict.targets
        bare = {t.target for t in targets if t.built == 0 and t.target.type == DISK}
        if not bare or not backup_required(self.known):
            return set()
        if not any(t.built and t.target.type == DISK for t in targets):
            return set()
        expected = any(
            target.expected_interval is not None
            for target in targets
            if target.target.type == VIRTUAL_MACHINE
        )
        whole_at, disks_at = self._latest(VIRTUAL_MACHINE), self._latest(DISK)
        return set() if expected or whole_at > disks_at > _NEVER else bare

    def _bare(self, disk: TargetSummary) -> Iterator[Problem]:
        start = self._next_start(disk)
        if self._is_young():
            yield Problem(NEW, disk.target)
        elif start is None:
            yield Problem(DISK_UNPROTECTED, disk.target)
        else:
            yield Problem(AWAITED, disk.target, start)

    def _stale(self, target: TargetSummary, interval: Interval) -> Iterator[Problem]:
        """Judge how old a target's last success is, or for how long it has none."""
        since = target.last_success_at
        if since is None:
            if self.verdict.last_success_at is None:
                if target.built:  # the panel does not tell when
                    yield Problem(INTERVAL_UNKNOWN, target.target)
                return  # or nothing at all: the server is unprotected
            since = target.oldest_unbuilt_at
        seconds = 0.0 if since is None else self.time - since
        guessed = interval.source == HISTORY
        if (
            seconds > VERY_STALE_INTERVALS * interval.seconds + QUEUE_SECONDS
            and not guessed
        ):
            yield Problem(VERY_STALE, target.target, since)
        elif seconds > STALE_INTERVALS * interval.seconds + QUEUE_SECONDS:
            yield Problem(STALE, target.target, since)
        elif target.last_success_at is None:
            kind = NEW if self._is_young() else AWAITED
            yield Problem(kind, target.target, self._next_start(target))

    def _stuck(self, target: TargetSummary, begun_at: float) -> Iterator[Problem]:
        """Judge a backup under way; it blocks nothing where the disk is over."""
        if self.time - begun_at <= STUCK_SECONDS:
            return
        if not self._is_over(target, begun_at):
            long = self.time - begun_at > STUCK_LONG_SECONDS
            yield Problem(STUCK_LONG if long else STUCK, target.target, begun_at)

    def _has_failed(self, target: TargetSummary) -> bool:
        failed_at, success_at = target.last_failed_at, target.last_success_at
        if failed_at is None or (success_at is not None and failed_at <= success_at):
            return False
        return not self._is_over(target, failed_at)

    def _failed(self) -> Iterator[Problem]:
        """Judge failed takes: of targets, or else one whose target is not known."""
        failed = [t for t in self.verdict.targets if self._has_failed(t)]
        for target in failed:
            yield Problem(FAILED, target.target, target.last_failed_at)
        failed_at = last_failed_at(self.known)
        if failed or failed_at is None:
            return
        success_at = self.verdict.last_success_at
        if success_at is None or failed_at > success_at:
            yield Problem(FAILED, since=failed_at)

    def _locked(self, target: TargetSummary, since: float) -> Iterator[Problem]:
        if self.time - since > LOCKED_SECONDS:
            yield Problem(LOCKED, target.target, since)

    def _is_over(self, target: TargetSummary, moment: float) -> bool:
        """Tell whether the whole server was backed up since, and the disk is over."""
        return (
            target.target.type == DISK
            and target.expected_interval is None
            and moment < self._latest(VIRTUAL_MACHINE)
        )

    def _latest(self, kind: str) -> float:
        """Return the last success of all targets of a type."""
        return max(
            (
                target.last_success_at
                for target in self.verdict.targets
                if target.target.type == kind and target.last_success_at is not None
            ),
            default=_NEVER,
        )

    def _is_young(self) -> bool:
        server = self.known.server
        if server is None or server.created_at is None:
            return False
        intervals = (
            target.expected_interval.seconds
            for target in self.verdict.targets
            if target.expected_interval is not None
            and target.expected_interval.seconds > YOUNG_INTERVAL_SECONDS
        )
        shortest = min(intervals, default=0.0)
        longest = max(YOUNG_SECONDS, YOUNG_INTERVALS * shortest)
        return server.created_at > self.time - longest

    def _next_start(self, target: TargetSummary | None) -> float | None:
        """Return the next start to come, of a target or of anything of the server."""
        return min(
            (
                schedule.next_start_at
                for schedule in self.known.schedules or ()
                if schedule.enabled
                and schedule.next_start_at is not None
                and schedule.next_start_at > self.time
                and (target is None or schedule.target == target.target)
            ),
            default=None,
        )


def judge_schedules(
    panel: PanelStore, watch: ServerEntry, verdict: BackupSummary | None, now: Now
) -> Iterator[Problem]:
    """Judge whether schedules start backups when they should."""
    schedules = watch.state.schedules
    if not schedules or all(_is_on_time(schedule, now) for schedule in schedules):
        return
    for schedule in schedules:
        if schedule.status == "failed":
            yield Problem(GIVEN_UP, schedule.target, about=str(schedule.id))
    yield from _disabled(watch.state, schedules)
    readable = panel.is_fresh(watch, now.monotonic) and watch.failing is False
    if watch.failing is None or readable:
        under_way = {
            target.target
            for target in (() if verdict is None else verdict.targets)
            if target.oldest_pending_at is not None
        }
        for finding in overdue(panel, schedules, now):
            if finding.target not in under_way:
                yield finding


def _is_on_time(schedule: Schedule, now: Now) -> bool:
    """Tell whether nothing can be wrong: so it is with most, and quickly seen."""
    start = schedule.next_start_at
    return schedule.status == "enabled" and (start is None or start >= now.time)


def overdue(
    panel: PanelStore, schedules: Iterable[Schedule], now: Now
) -> Iterator[Problem]:
    """Find schedules whose start has passed, as of the last reading of the inventory.

    Schedules are read as often: what was started since cannot be known.
    """
    read_at = now.time if panel.inventory_read_at is None else panel.inventory_read_at
    for schedule in schedules:
        start = schedule.next_start_at if schedule.enabled else None
        if start is None or start >= now.time or read_at - start <= OVERDUE_SECONDS:
            continue
        yield Problem(OVERDUE, schedule.target, start, str(schedule.id))


def _disabled(known: ServerState, schedules: tuple[Schedule, ...]) -> Iterator[Problem]:
    """Find targets whose schedules are all disabled, and that no other covers."""
    disabled = {s.target: s.id for s in schedules if s.status == "disabled"}
    if not disabled or not backup_required(known):
        return
    enabled = {s.target for s in schedules if s.enabled}
    covered = enabled | {s.target for s in schedules if s.status == "failed"}
    if any(target.type == VIRTUAL_MACHINE for target in enabled):
        return
    for target, number in disabled.items():
        whole = target.type == VIRTUAL_MACHINE and bool(enabled)
        if target not in covered and not whole:
            yield Problem(DISABLED, target, about=str(number))
