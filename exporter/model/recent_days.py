"""The last days of each target: which had a good run, a failed run, or none.

Rotation deletes backups, and only the newest failures are kept; the outcome of each day
is therefore remembered. A day is missing if a scheduled start passed while this process
read the server and no run belongs to that start. If in doubt, the day is not known: no
day is missing after a restart.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from math import inf
from typing import TypeAlias

import msgspec

from .entities import Backup, Schedule, Target, Transaction
from .store import PanelStore, RecentDays, ServerEntry, ServerState, TargetDays
from .transaction_log import BACKUP_RUN_ACTIONS

DAYS = 14
DAY_SECONDS = 86_400
QUEUE_ALLOWANCE_SECONDS = 3 * 3600.0
"""How long a backup run may wait in the panel's queue."""
_MAX_UNDECIDED_SECONDS = DAY_SECONDS
"""After this time, rotation may have deleted the backup of a start."""
CLOCK_SKEW_SECONDS = 300.0
"""If the clocks differ by more, the panel's starts cannot be judged."""

NOT_KNOWN, MISSING, UNCERTAIN, FAILED, GOOD = range(5)
"""Outcomes of a day; the greatest of several counts.

A day is uncertain if the end of a run was not seen, or if it is unclear whether a start
was due. An uncertain day is not missing.
"""

_Runs: TypeAlias = Mapping[Target, list[tuple[float, int]]]
"""Unix times at which a run was seen, and the outcome of that day."""


def remember_days(
    store: PanelStore, vm_id: int, *, time: float, monotonic: float
) -> None:
    """Remember the last days of a server, after a read at a Unix time."""
    entry = store.servers.get(vm_id)
    if entry is None or entry.state.backups is None:
        return
    known = _known(entry, time)
    if known.seen is not entry.state or time >= known.until:
        read = _Read(store, entry, known, _runs(entry.state), time, monotonic)
        store.servers[vm_id] = msgspec.structs.replace(entry, days=read.updated())


def last_days(
    entry: ServerEntry, targets: Iterable[Target], time: float
) -> dict[Target, bytes]:
    """Return by target the outcome of each day up to a Unix time, the oldest first."""
    known, runs = _known(entry, time), _runs(entry.state)
    return {target: _outcomes(known, target, runs, time) for target in targets}


class _Read(msgspec.Struct, frozen=True):
    """A server as it was just read."""

    store: PanelStore
    entry: ServerEntry
    known: RecentDays
    """What was known before."""
    runs: _Runs
    time: float
    monotonic: float

    def updated(self) -> RecentDays:
        """Return what is known of the last days, including this read."""
        known, today = self.known, _day(self.time)
        starts = self._passed_starts()
        starts |= {
            each.target: each.start_at
            for each in known.targets
            if each.start_at is not None
        }
        backed_up = {backup.target for backup in self.entry.state.backups or ()}
        remembered = {each.target for each in known.targets}
        found = (
            self._target_days(target, starts.get(target))
            for target in sorted(remembered | self.runs.keys() | starts.keys())
            if target in backed_up or not self.entry.state.is_deleted_disk(target)
        )
        targets = tuple(each for each in found if each.start_at or any(each.outcomes))
        return RecentDays(self.entry.state, self._until(targets), today, targets)

    def _target_days(self, target: Target, start_at: float | None) -> TargetDays:
        outcomes = _outcomes(self.known, target, self.runs, self.time)
        if start_at is None:
            return TargetDays(target, outcomes)
        outcome = self._start_outcome(target, start_at)
        if outcome is None:
            return TargetDays(target, outcomes, start_at)
        decided = [(start_at, outcome)]
        return TargetDays(target, _with_runs(outcomes, decided, _day(self.time)))

    def _until(self, targets: Iterable[TargetDays]) -> float:
        """Return the Unix time before which only a change of the server matters."""
        waiting = (each.start_at for each in targets)
        times = [_due(start_at) for start_at in waiting if start_at is not None]
        for schedule in self.entry.state.schedules or ():
            next_at = schedule.next_start_at if schedule.enabled else None
            if next_at is not None and next_at > self.time:
                times.append(next_at)
        return min(times, default=inf)

    @property
    def _schedules_before(self) -> dict[int, Schedule]:
        return {schedule.id: schedule for schedule in self.known.seen.schedules or ()}

    def _passed_starts(self) -> dict[Target, float]:
        """Return the scheduled starts that have just passed, by target.

        Each was in the future when this process first read the server.
        """
        state, before = self.entry.state, self._schedules_before
        found: dict[Target, float] = {}
        for schedule in state.schedules or ():
            old = before.get(schedule.id)
            start_at = old.next_start_at if old is not None and old.enabled else None
            if old is None or start_at is None or not schedule.enabled:
                continue
            since = max(state.first_read_at or inf, schedule.changed_at or -inf)
            just_passed = since < start_at <= self.time <= _due(start_at)
            if just_passed and not _was_put_off(old, schedule, start_at):
                found.setdefault(schedule.target, start_at)
        return found

    def _start_outcome(self, target: Target, start_at: float) -> int | None:
        """Return the outcome of a start that passed; None: it is too early to know."""
        if self._is_uncertain(target, start_at) or self._has_run(target, start_at):
            return UNCERTAIN
        store, entry, due_at = self.store, self.entry, _due(start_at)
        schedules_read_at = store.server_schedules_read_at(entry)
        if (
            min(self.time, schedules_read_at or -inf) < due_at
            or (store.inventory_read_at or -inf) < start_at
        ):
            return None
        log = store.transaction_log
        if log is None or log.refused:
            return MISSING
        pending = log.pending(self.monotonic)
        if not pending:
            return None  # the log was not read recently
        runs = (row for action in BACKUP_RUN_ACTIONS for row in pending[action])
        own = (row for row in runs if row.vm_id == entry.state.vm_id)
        return UNCERTAIN if any(map(self._is_unlisted, own)) else MISSING

    def _is_uncertain(self, target: Target, start_at: float) -> bool:
        """Return whether the start may not have been due, or is too long ago."""
        state, before = self.entry.state, self._schedules_before
        schedules = [s for s in state.schedules or () if s.target == target]
        return (
            self.time > start_at + _MAX_UNDECIDED_SECONDS
            or abs(self.store.skew_seconds or 0.0) > CLOCK_SKEW_SECONDS
            or state.server is None
            or state.server.suspended is not False
            or (state.resumed_at or -inf) > start_at
            or not any(schedule.enabled for schedule in schedules)
            or state.is_deleted_disk(target)
            # This may be the only sign of a failed run whose row is gone.
            or any(
                each.id in before
                and (each.failure_count or 0) > (before[each.id].failure_count or 0)
                for each in schedules
            )
        )

    def _is_unlisted(self, run: Transaction) -> bool:
        """Return whether no listed backup shows the target of a run."""
        backups = self.entry.state.backups or ()
        return all(backup.id != run.backup_id for backup in backups)

    def _has_run(self, target: Target, start_at: float) -> bool:
        """Return whether a run belongs to a start, or an earlier run has not ended."""
        state = self.entry.state
        times = [at for at, _ in self.runs.get(target, ())]
        times += (f.failed_at for f in state.failed_backups if f.target is None)
        for row in self.store.ended_transactions.get(state.vm_id, ()):
            if row.action in BACKUP_RUN_ACTIONS and self._is_unlisted(row):
                times += (at for at in (row.created_at, row.updated_at) if at)
        if any(
            _day(at) == _day(start_at) or start_at <= at <= _due(start_at)
            for at in times
        ):
            return True
        own = [backup for backup in state.backups or () if backup.target == target]
        newest_at = max((b.created_at or -inf for b in own if b.built), default=-inf)
        ended = {failure.backup_id for failure in state.failed_backups}
        return any(
            _is_undated(backup)
            or (
                not backup.built
                and backup.id not in ended
                and (backup.created_at or -inf) > newest_at
            )
            for backup in own
        )


def _is_undated(backup: Backup) -> bool:
    """Return whether a backup may belong to any start."""
    return backup.created_at is None and backup.built_at is None


def _due(start_at: float) -> float:
    return start_at + QUEUE_ALLOWANCE_SECONDS


def _was_put_off(old: Schedule, new: Schedule, start_at: float) -> bool:
    """Return whether a start may have been changed before it passed."""
    moved_to = new.next_start_at
    if moved_to == start_at:
        return False
    edited = new.updated_at is None or old.updated_at != new.updated_at < start_at
    return edited or moved_to is None or moved_to < start_at


def _runs(state: ServerState) -> _Runs:
    found: dict[Target, list[tuple[float, int]]] = defaultdict(list)
    for backup in state.backups or ():
        ended_at = backup.built_at or backup.created_at
        if backup.built and ended_at is not None:
            found[backup.target].append((ended_at, GOOD))
        if backup.created_at is not None:
            found[backup.target].append((backup.created_at, UNCERTAIN))
    for ended in state.failed_backups:
        if ended.target is not None:
            outcome = UNCERTAIN if ended.cancelled else FAILED
            found[ended.target].append((ended.failed_at, outcome))
    for schedule in state.schedules or ():
        if schedule.failed_runs:
            failed = ((at, FAILED) for at in schedule.failed_runs)
            found[schedule.target].extend(failed)
    return found


def _known(entry: ServerEntry, time: float) -> RecentDays:
    """Return what is known of a server; nothing until it is remembered."""
    return entry.days or RecentDays(entry.state, -inf, _day(time), ())


def _outcomes(known: RecentDays, target: Target, runs: _Runs, time: float) -> bytes:
    """Return the outcomes of the days up to a Unix time, remembered or seen now."""
    today = _day(time)
    found = (each.outcomes for each in known.targets if each.target == target)
    days = bytes(DAYS) + next(found, bytes(DAYS)) + bytes(DAYS)
    # Negative after the local clock was set back.
    since = max(-DAYS, min(today - known.day, DAYS))
    remembered = days[DAYS + since : 2 * DAYS + since]
    return _with_runs(remembered, runs.get(target, ()), today)


def _with_runs(outcomes: bytes, runs: Iterable[tuple[float, int]], today: int) -> bytes:
    days = bytearray(outcomes)
    for at, outcome in runs:
        index = DAYS - 1 - today + _day(at)
        if 0 <= index < DAYS:
            days[index] = max(days[index], outcome)
    return bytes(days)


def _day(time: float) -> int:
    """Return the number of a day (UTC) since 1970."""
    return int(time // DAY_SECONDS)
