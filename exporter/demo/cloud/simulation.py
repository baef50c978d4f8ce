"""The simulated cloud: rows, the time that moves them, and what goes wrong.

Its state depends on the seed, on what was called at which simulated moment, and
on nothing else: neither on the steps in which time moves nor on the wall clock.
"""

from .backup_runs import Outcome, Takes
from .database import Inventory
from .failures import Kind, Misfortune, Misfortunes
from .rows import Backup, EventKind, Schedule, ScheduleStatus, Target, TargetType
from .scheduler import StartMoves, Timetable
from .time import Action, Period


class World(Inventory):
    """A cloud in which schedules fire, backups run, rotate and sometimes fail."""

    def __init__(
        self,
        now: float,
        seed: int = 1,
        slots: int = 4,
        *,
        start_moves: StartMoves = "end",
        failure_limit: int | None = None,
    ) -> None:
        """Begin empty at a moment in Unix seconds, with so many backups at once."""
        super().__init__(now, seed)
        self.misfortunes = Misfortunes(self._misfortune_ended)
        self._timetable = Timetable(self, self.misfortunes, start_moves, failure_limit)
        self.takes = Takes(self, self.misfortunes, slots, self._timetable.ended)
        self._timetable.takes = self.takes

    @property
    def slots(self) -> int:
        """How many backups run at once; none at all jams the queue."""
        return self.takes.slots

    @slots.setter
    def slots(self, slots: int) -> None:
        self.takes.slots = slots
        self.note("slots changed", detail=str(slots))
        self.takes.pump()

    def advance(self, to: float) -> None:
        """Let everything happen up to a moment; time never runs backwards."""
        self.agenda.advance(to)

    def at(self, when: float, action: Action) -> None:
        """Do something at a simulated moment."""
        self.agenda.at(when, action)

    def add_schedule(  # noqa: PLR0913, PLR0917  a row has many fields
        self,
        target_type: TargetType,
        target_id: int,
        period: Period = "days",
        duration: int = 1,
        start_at: float | None = None,
        status: ScheduleStatus = "enabled",
        *,
        rotation_period: int | None = None,
        number: int | None = None,
    ) -> Schedule:
        """Add a schedule; without a first start it begins within a day."""
        target = Target(target_type, target_id)
        schedule = self.new_schedule(
            target,
            period=period,
            duration=duration,
            start_at=start_at,
            status=status,
            rotation_period=rotation_period,
            number=number,
        )
        self._note_schedule("schedule added", schedule, status)
        self._timetable.arm(schedule)
        return schedule

    def change_schedule(
        self,
        schedule_id: int,
        *,
        status: ScheduleStatus | None = None,
        period: Period | None = None,
        duration: int | None = None,
        start_at: float | None = None,
    ) -> None:
        """Change a schedule, or switch it off or on again."""
        schedule = self.schedules[schedule_id]
        self._timetable.change(schedule, status, period, duration, start_at)
        self._note_schedule("schedule changed", schedule, schedule.status)

    def remove_schedule(self, schedule_id: int) -> None:
        """Remove a schedule; what it has begun goes on."""
        schedule = self.schedules.pop(schedule_id)
        self._note_schedule("schedule removed", schedule)

    def take_backup(self, target_type: TargetType, target_id: int) -> Backup:
        """Begin a backup by hand."""
        target = Target(target_type, target_id)
        server = self.owner_of(target)
        if server is None:
            raise KeyError(target)
        return self.takes.begin(server, target, None)

    def remove_backup(self, backup_id: int) -> None:
        """Delete a backup, finished or not."""
        backup = self.backups[backup_id]
        self._cancel(backup_id)
        self.note("backup removed", backup.server_id, backup.target, row_id=backup_id)
        self.drop_backup(backup_id)

    def remove_disk(self, disk_id: int) -> None:
        """Remove a disk and its schedules; its backups stay listed."""
        disk = self.disks[disk_id]
        for backup in self.backups_of(disk.server_id):
            if backup.disk_id == disk_id and backup.id in self.takes.present:
                self.remove_backup(backup.id)
        for schedule in self.schedules_of(disk.server_id):
            if schedule.target == ("Disk", disk_id):
                self.remove_schedule(schedule.id)
        self.drop_disk(disk_id)
        target = Target("Disk", disk_id)
        self.note("disk removed", disk.server_id, target, row_id=disk_id)

    def remove_server(self, server_id: int) -> None:
        """Destroy a server with all that belongs to it."""
        for backup in self.backups_of(server_id):
            self.takes.cancel(backup.id)
        for schedule in self.schedules_of(server_id):
            self.remove_schedule(schedule.id)
        self.note("server removed", server_id, detail=self.servers[server_id].label)
        self.drop_server(server_id)

    def strike(  # noqa: PLR0913  a trouble is told by what it befalls and how
        self,
        kind: Kind,
        *,
        server_id: int | None = None,
        target: tuple[TargetType, int] | None = None,
        schedule_id: int | None = None,
        times: int | None = 1,
        factor: float = 1.0,
        seconds: float = 0.0,
    ) -> Misfortune:
        """Let something go wrong with the next takes, or with all until it is mended.

        `times=None` lasts until `mend`, as a stall always does; what is not given
        befalls every server.
        """
        if kind == "stall":
            times = None
        place = Target(*target) if target else None
        trouble = Misfortune(
            kind, server_id, place, schedule_id, times, factor, seconds
        )
        self.misfortunes.present.append(trouble)
        self.note("misfortune begun", server_id, place, kind, schedule_id)
        return trouble

    def mend(self, trouble: Misfortune) -> None:
        """End a trouble; starts that were stalled happen now."""
        self.misfortunes.mend(trouble)

    def release(self, backup_id: int, outcome: Outcome = "finish") -> None:
        """End a backup that is stuck, or that waits or runs."""
        self.takes.release(backup_id, outcome)

    def _cancel(self, backup_id: int) -> None:
        take = self.takes.present.get(backup_id)
        self.takes.cancel(backup_id)
        if take and take.schedule and take.schedule.id in self.schedules:
            self._timetable.skip_missed(take.schedule)

    def _misfortune_ended(self, trouble: Misfortune) -> None:
        self.note(
            "misfortune ended",
            trouble.server_id,
            trouble.target,
            trouble.kind,
            trouble.schedule_id,
        )
        if trouble.kind == "stall":
            self._timetable.rearm_overdue()

    def _note_schedule(
        self,
        kind: EventKind,
        schedule: Schedule,
        detail: str = "",
    ) -> None:
        server = self.owner_of(schedule.target)
        number = server.id if server else None
        self.note(kind, number, schedule.target, detail, schedule.id)
