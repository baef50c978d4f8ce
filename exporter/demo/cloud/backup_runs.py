"""How a backup is taken: queued, run, finished or failed, and what it replaces."""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from . import pseudorandom as dice
from .database import Inventory
from .failures import Kind, Misfortune, Misfortunes
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
_IDLE_SHARE = 0.05
"""The share of incremental backups in which nothing had changed."""


def used_kib(disk: Disk, at: float, seed: int) -> float:
    """Return how full a disk is: a quarter when new, fuller by the year."""
    at_first = dice.between(0.2, 0.35, seed, "fill", disk.id)
    days = max(0.0, at - disk.created_at) / DAY
    noise = dice.between(0.985, 1.015, seed, "noise", disk.id, at)
    filled = min(0.95, at_first * (1 + days / 600)) * noise
    return disk.size_gb * KIB_PER_GB * filled


def full_kib(disks: Sequence[Disk], at: float, seed: int) -> int:
    """Return the size of a backup that holds everything."""
    return round(sum(used_kib(disk, at, seed) for disk in disks))


def delta_kib(full: int, *key: dice.Key) -> int:
    """Return the size of a backup that holds what changed since the last one."""
    if dice.fraction(*key, "idle") < _IDLE_SHARE:
        return 0
    return round(full * dice.between(0.002, 0.03, *key, "delta"))


def seconds_to_take(size_kib: int, *key: dice.Key) -> int:
    """Return how long it takes to copy a backup, in whole seconds."""
    pace = dice.between(0.8, 1.4, *key, "pace")
    return round(_START_UP_SECONDS + size_kib / _KIB_PER_SECOND * pace)


Outcome = Literal["finish", "fail", "vanish", "stick"]
Stage = Literal["queued", "ready", "running", "stuck"]

_MISHAPS: tuple[Literal["fail", "vanish", "stick"], ...] = ("fail", "vanish", "stick")
_FAILURE_LOG = "Remote server: 10.200.7.31\nlvcreate: insufficient free extents\n"


@dataclass(slots=True, eq=False)
class Take:
    """A backup in the making."""

    backup: Backup
    transaction: Transaction
    schedule: Schedule | None
    outcome: Outcome
    size_kib: int
    seconds: int
    stage: Stage = "queued"


class Takes:
    """The queue of a cloud: a few backups run at once, the others wait."""

    def __init__(
        self,
        register: Inventory,
        misfortunes: Misfortunes,
        slots: int,
        ended: Callable[[Schedule, Outcome], None],
    ) -> None:
        """Begin idle; `ended` is told how each take of a schedule ended."""
        self.slots = slots
        self.queue_delay = (20.0, 180.0)
        self.present: dict[int, Take] = {}
        self._register = register
        self._misfortunes = misfortunes
        self._ended = ended
        self._ready: deque[int] = deque()
        self._running: set[int] = set()
        self._counts: Counter[Target] = Counter()

    def begin(
        self, server: Server, target: Target, schedule: Schedule | None
    ) -> Backup:
        """Create the row and queue its taking."""
        register = self._register
        initiated: Initiated = schedule.period if schedule else "manual"
        incremental = target.type == "VirtualMachine"
        disks = register.disks_in(target)
        backup = register.add_backup(
            server.id,
            built=False,
            backup_type="incremental" if incremental else "normal",
            target_type=target.type,
            target_id=target.id,
            initiated=initiated,
            backup_server_id=server.backup_server_id,
        )
        backup.min_disk_gb = max((disk.size_gb for disk in disks), default=1)
        transaction = register.add_transaction(
            action="take_incremental_backup" if incremental else "take_backup",
            status="pending",
            parent_id=backup.id,
            server_id=server.id,
            user_id=server.user_id,
        )
        self._queue(self._take(backup, transaction, schedule, disks))
        return backup

    def pump(self) -> None:
        """Let waiting backups run while there are free slots."""
        while self._ready and len(self._running) < self.slots:
            take = self.present.get(self._ready.popleft())
            if take and take.stage == "ready":
                self._run(take)

    def release(self, backup_id: int, outcome: Outcome) -> None:
        """End a take at once, wherever it is."""
        take = self.present[backup_id]
        if take.transaction.started_at is None:
            take.transaction.started_at = self._register.now
        take.outcome = outcome
        self._end(take)

    def cancel(self, backup_id: int) -> None:
        """Forget a take, as when its server is destroyed."""
        take = self.present.get(backup_id)
        if take is None:
            return
        self._close(take, "cancelled")
        self._note("backup cancelled", take)
        if take.schedule:
            take.schedule.current = None

    def _take(
        self,
        backup: Backup,
        transaction: Transaction,
        schedule: Schedule | None,
        disks: list[Disk],
    ) -> Take:
        target = backup.target
        key = (self._register.seed, *target, self._counts[target])
        self._counts[target] += 1
        size = full_kib(disks, self._register.now, self._register.seed)
        if target.type == "VirtualMachine" and self._has_chain(backup):
            size = delta_kib(size, *key)
        seconds = seconds_to_take(size, *key)
        take = Take(backup, transaction, schedule, "finish", size, seconds)
        for mishap in _MISHAPS:
            if self._struck(mishap, take):
                take.outcome = mishap
                break
        if trouble := self._struck("resize", take):
            take.size_kib = round(take.size_kib * trouble.factor)
        if trouble := self._struck("slow", take):
            take.seconds = round(take.seconds * trouble.factor)
        return take

    def _queue(self, take: Take) -> None:
        key = (*take.backup.target, take.backup.created_at)
        delay = dice.between(*self.queue_delay, self._register.seed, "queue", *key)
        if trouble := self._struck("wait", take):
            delay += trouble.seconds
        self.present[take.backup.id] = take
        if take.schedule:
            take.schedule.current = take.backup.id
        self._note("backup queued", take)
        self._later(round(delay), take, "queued", self._get_ready)

    def _get_ready(self, take: Take) -> None:
        take.stage = "ready"
        self._ready.append(take.backup.id)
        self.pump()

    def _run(self, take: Take) -> None:
        now = self._register.now
        take.stage = "running"
        take.transaction.status = "running"
        take.transaction.started_at = take.transaction.updated_at = now
        self._running.add(take.backup.id)
        self._note("backup started", take)
        self._later(take.seconds, take, "running", self._end)

    def _end(self, take: Take) -> None:
        if take.outcome == "stick":
            self._stick(take)
            return
        if take.outcome == "finish":
            self._finish(take)
        else:
            self._fail(take)
        if take.schedule:
            take.schedule.current = None
            self._ended(take.schedule, take.outcome)

    def _stick(self, take: Take) -> None:
        # One that hangs gives its slot up: it must not stop the whole cloud.
        take.stage = "stuck"
        self._running.discard(take.backup.id)
        self._note("backup stuck", take)
        self.pump()

    def _finish(self, take: Take) -> None:
        backup = take.backup
        backup.built = True
        backup.built_at = backup.updated_at = self._register.now
        backup.size_kib = take.size_kib
        self._close(take, "complete")
        self._note("backup finished", take)
        if take.schedule:
            self._rotate(backup, take.schedule)

    def _fail(self, take: Take) -> None:
        take.transaction.log_output = _FAILURE_LOG
        take.backup.updated_at = self._register.now
        self._close(take, "failed")
        self._note("backup failed", take)
        if take.outcome == "vanish":
            self._register.drop_backup(take.backup.id)

    def _close(
        self, take: Take, status: Literal["complete", "failed", "cancelled"]
    ) -> None:
        del self.present[take.backup.id]
        self._running.discard(take.backup.id)
        take.transaction.status = status
        take.transaction.updated_at = self._register.now
        self.pump()

    def _rotate(self, newest: Backup, schedule: Schedule) -> None:
        kept = 1 if newest.backup_type == "normal" else schedule.rotation_period
        chain = [
            backup
            for backup in self._chain(newest)
            if not (backup.marked_for_delete or backup.locked)
        ]
        for backup in chain[:-kept]:
            self._mark(backup)

    def _mark(self, backup: Backup) -> None:
        register = self._register
        backup.marked_for_delete = True
        backup.updated_at = register.now
        task = register.add_transaction(
            action="destroy_backup",
            status="pending",
            parent_id=backup.id,
            server_id=backup.server_id,
        )
        key = (register.seed, "rotate", *backup.target, backup.created_at)
        seconds = round(dice.between(60, 240, *key))
        action = partial(self._destroy, backup, task)
        register.agenda.at(register.now + seconds, action)

    def _destroy(self, backup: Backup, task: Transaction) -> None:
        register = self._register
        task.status = "complete"
        task.started_at = task.updated_at = register.now
        if backup.id in register.backups:
            register.note(
                "backup rotated", backup.server_id, backup.target, row_id=backup.id
            )
            register.drop_backup(backup.id)

    def _chain(self, backup: Backup) -> list[Backup]:
        """Return the finished backups that one continues, itself included."""
        return [
            other
            for other in self._register.backups_of(backup.server_id)
            if other.built
            and other.target == backup.target
            and other.initiated == backup.initiated
        ]

    def _has_chain(self, backup: Backup) -> bool:
        return bool(self._chain(backup))

    def _struck(self, kind: Kind, take: Take) -> Misfortune | None:
        number = take.schedule.id if take.schedule else None
        backup = take.backup
        return self._misfortunes.strike(kind, backup.server_id, backup.target, number)

    def _note(self, kind: EventKind, take: Take) -> None:
        backup = take.backup
        self._register.note(
            kind, backup.server_id, backup.target, backup.initiated, backup.id
        )

    def _later(
        self, seconds: float, take: Take, stage: Stage, action: Callable[[Take], None]
    ) -> None:
        """Go on with a take, unless it was released or cancelled meanwhile."""

        def go_on() -> None:
            if take.stage == stage and take.backup.id in self.present:
                action(take)

        self._register.agenda.at(self._register.now + seconds, go_on)
