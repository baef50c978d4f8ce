"""Backup runs: queued, running, finished or failed, and the rotation after them."""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

from .database import Database
from .failures import Failure, FailureKind
from .pseudorandom import Key, fraction, uniform
from .rows import (
    Backup,
    Disk,
    EventKind,
    Initiated,
    Schedule,
    Server,
    Target,
    Transaction,
)
from .time import DAY

KIB_PER_GB = 1024 * 1024
_KIB_PER_SECOND = 80_000
_START_UP_SECONDS = 20.0
_UNCHANGED_SHARE = 0.05
"""The share of incremental backups that contain no change."""


def used_kib(disk: Disk, at: float, seed: int) -> float:
    """Return the used space of a disk, which grows over the years."""
    at_first = uniform(0.2, 0.35, seed, "fill", disk.id)
    days = max(0.0, at - disk.created_at) / DAY
    noise = uniform(0.985, 1.015, seed, "noise", disk.id, at)
    filled = min(0.95, at_first * (1 + days / 600)) * noise
    return disk.size_gb * KIB_PER_GB * filled


def incremental_kib(full: int, *key: Key) -> int:
    """Return the size of an incremental backup; some contain no change."""
    if fraction(*key, "idle") < _UNCHANGED_SHARE:
        return 0
    return round(full * uniform(0.002, 0.03, *key, "delta"))


def run_seconds(size_kib: int, *key: Key) -> int:
    """Return the duration of a backup of this size, in whole seconds."""
    pace = uniform(0.8, 1.4, *key, "pace")
    return round(_START_UP_SECONDS + size_kib / _KIB_PER_SECOND * pace)


FailedOutcome = Literal["fail", "vanish", "stick"]
Outcome = Literal["finish"] | FailedOutcome
Stage = Literal["queued", "ready", "running", "stuck"]

_FAILED_OUTCOMES: tuple[FailedOutcome, ...] = get_args(FailedOutcome)
_FAILURE_LOG = "Remote server: 10.200.7.31\nlvcreate: insufficient free extents\n"


@dataclass(slots=True, eq=False)
class BackupRun:
    """A backup run and its future outcome."""

    backup: Backup
    transaction: Transaction
    schedule: Schedule | None
    outcome: Outcome
    size_kib: int
    seconds: int
    stage: Stage = "queued"


class BackupQueue:
    """The queue of a cloud; one backup per slot runs at once."""

    def __init__(
        self,
        database: Database,
        slots: int,
        next_failure: Callable[[FailureKind, int, Target, int | None], Failure | None],
        on_end: Callable[[Schedule, Outcome], None],
    ) -> None:
        """Start idle.

        `next_failure` returns a failure of a kind that applies to a run, and counts it.
        `on_end` is called at the end of a schedule's run.
        """
        self.slots = slots
        self.queue_delay_seconds = (20.0, 180.0)
        self.runs: dict[int, BackupRun] = {}
        self._database = database
        self._next_failure = next_failure
        self._on_end = on_end
        self._ready: deque[int] = deque()
        self._running: set[int] = set()
        self._counts: Counter[Target] = Counter()

    def enqueue(
        self, server: Server, target: Target, schedule: Schedule | None
    ) -> Backup:
        """Add the row of a backup and queue its run."""
        database = self._database
        initiated: Initiated = schedule.period if schedule else "manual"
        incremental = target.type == "VirtualMachine"
        disks = database.disks_in(target)
        backup = database.add_backup(
            server.id,
            built=False,
            backup_type="incremental" if incremental else "normal",
            target_type=target.type,
            target_id=target.id,
            initiated=initiated,
            backup_server_id=server.backup_server_id,
        )
        backup.min_disk_gb = max((disk.size_gb for disk in disks), default=1)
        transaction = database.add_transaction(
            action="take_incremental_backup" if incremental else "take_backup",
            status="pending",
            parent_id=backup.id,
            server_id=server.id,
            user_id=server.user_id,
        )
        self._add(self._new_run(backup, transaction, schedule, disks))
        return backup

    def start_waiting(self) -> None:
        """Start waiting runs while there are free slots."""
        while self._ready and len(self._running) < self.slots:
            run = self.runs.get(self._ready.popleft())
            if run and run.stage == "ready":
                self._start(run)

    def end_now(self, backup_id: int, outcome: Outcome) -> None:
        """End a run now, at any stage."""
        run = self.runs[backup_id]
        if run.transaction.started_at is None:
            run.transaction.started_at = self._database.now
        run.outcome = outcome
        self._end(run)

    def cancel(self, backup_id: int) -> None:
        """Cancel a run, if the backup has one."""
        run = self.runs.get(backup_id)
        if run is None:
            return
        run.backup.updated_at = self._database.now
        self._close(run, "cancelled")
        self._log("backup cancelled", run)
        if run.schedule:
            run.schedule.current_backup_id = None

    def _new_run(
        self,
        backup: Backup,
        transaction: Transaction,
        schedule: Schedule | None,
        disks: list[Disk],
    ) -> BackupRun:
        target = backup.target
        key = (self._database.seed, *target, self._counts[target])
        self._counts[target] += 1
        now, seed = self._database.now, self._database.seed
        size = round(sum(used_kib(disk, now, seed) for disk in disks))
        if target.type == "VirtualMachine" and self._chain(backup):
            size = incremental_kib(size, *key)
        seconds = run_seconds(size, *key)
        run = BackupRun(backup, transaction, schedule, "finish", size, seconds)
        for outcome in _FAILED_OUTCOMES:
            if self._apply_failure(outcome, run):
                run.outcome = outcome
                break
        if failure := self._apply_failure("resize", run):
            run.size_kib = round(run.size_kib * failure.factor)
        if failure := self._apply_failure("slow", run):
            run.seconds = round(run.seconds * failure.factor)
        return run

    def _add(self, run: BackupRun) -> None:
        key = (*run.backup.target, run.backup.created_at)
        delay = uniform(*self.queue_delay_seconds, self._database.seed, "queue", *key)
        if failure := self._apply_failure("wait", run):
            delay += failure.seconds
        self.runs[run.backup.id] = run
        if run.schedule:
            run.schedule.current_backup_id = run.backup.id
        self._log("backup queued", run)
        self._later(round(delay), run, "queued", self._make_ready)

    def _make_ready(self, run: BackupRun) -> None:
        run.stage = "ready"
        self._ready.append(run.backup.id)
        self.start_waiting()

    def _start(self, run: BackupRun) -> None:
        now = self._database.now
        run.stage = "running"
        run.transaction.status = "running"
        run.transaction.started_at = run.transaction.updated_at = now
        self._running.add(run.backup.id)
        self._log("backup started", run)
        self._later(run.seconds, run, "running", self._end)

    def _end(self, run: BackupRun) -> None:
        if run.outcome == "stick":
            self._get_stuck(run)
            return
        if run.outcome == "finish":
            self._finish(run)
        else:
            self._fail(run)
        if run.schedule:
            run.schedule.current_backup_id = None
            self._on_end(run.schedule, run.outcome)

    def _get_stuck(self, run: BackupRun) -> None:
        # A stuck run frees its slot, because it must not stop the whole cloud.
        run.stage = "stuck"
        self._running.discard(run.backup.id)
        self._log("backup stuck", run)
        self.start_waiting()

    def _finish(self, run: BackupRun) -> None:
        backup = run.backup
        backup.built = True
        backup.built_at = backup.updated_at = self._database.now
        backup.size_kib = run.size_kib
        self._close(run, "complete")
        self._log("backup finished", run)
        if run.schedule:
            self._rotate(backup, run.schedule)

    def _fail(self, run: BackupRun) -> None:
        run.transaction.log_output = _FAILURE_LOG
        run.backup.updated_at = self._database.now
        self._close(run, "failed")
        self._log("backup failed", run)
        if run.outcome == "vanish":
            self._database.drop_backup(run.backup.id)

    def _close(
        self, run: BackupRun, status: Literal["complete", "failed", "cancelled"]
    ) -> None:
        del self.runs[run.backup.id]
        self._running.discard(run.backup.id)
        run.transaction.status = status
        run.transaction.updated_at = self._database.now
        self.start_waiting()

    def _rotate(self, newest: Backup, schedule: Schedule) -> None:
        kept = 1 if newest.backup_type == "normal" else schedule.rotation_period
        chain = [
            backup
            for backup in self._chain(newest)
            if not (backup.marked_for_delete or backup.locked)
        ]
        for backup in chain[:-kept]:
            self._mark_for_delete(backup)

    def _mark_for_delete(self, backup: Backup) -> None:
        database = self._database
        backup.marked_for_delete = True
        backup.updated_at = database.now
        task = database.add_transaction(
            action="destroy_backup",
            status="pending",
            parent_id=backup.id,
            server_id=backup.server_id,
        )
        key = (database.seed, "rotate", *backup.target, backup.created_at)
        seconds = round(uniform(60, 240, *key))
        action = partial(self._destroy, backup, task)
        database.event_queue.call_at(database.now + seconds, action)

    def _destroy(self, backup: Backup, task: Transaction) -> None:
        database = self._database
        task.status = "complete"
        task.started_at = task.updated_at = database.now
        if backup.id in database.backups:
            database.log_event(
                "backup rotated", backup.server_id, backup.target, row_id=backup.id
            )
            database.drop_backup(backup.id)

    def _chain(self, backup: Backup) -> list[Backup]:
        """Return the built backups of the same target and schedule, oldest first."""
        return [
            other
            for other in self._database.backups_of(backup.server_id)
            if other.built
            and other.target == backup.target
            and other.initiated == backup.initiated
        ]

    def _apply_failure(self, kind: FailureKind, run: BackupRun) -> Failure | None:
        number = run.schedule.id if run.schedule else None
        backup = run.backup
        return self._next_failure(kind, backup.server_id, backup.target, number)

    def _log(self, kind: EventKind, run: BackupRun) -> None:
        backup = run.backup
        self._database.log_event(
            kind, backup.server_id, backup.target, backup.initiated, backup.id
        )

    def _later(
        self,
        seconds: float,
        run: BackupRun,
        stage: Stage,
        action: Callable[[BackupRun], None],
    ) -> None:
        """Continue a run later, unless it ends or is cancelled before."""

        def proceed() -> None:
            if run.stage == stage and run.backup.id in self.runs:
                action(run)

        self._database.event_queue.call_at(self._database.now + seconds, proceed)
