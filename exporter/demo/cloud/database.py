"""All rows of a simulated cloud, by what they belong to."""

from .agenda import Agenda
from .rows import (
    Backup,
    BackupServer,
    Disk,
    EventKind,
    JournalEntry,
    RecoveryPoint,
    Schedule,
    Server,
    Target,
    Transaction,
)


class Inventory:
    """The rows by their ids, and a journal of what truly happened to them."""

    def __init__(self, now: float, seed: int) -> None:
        """Begin empty."""
        self.seed = seed
        self.agenda = Agenda(now)
        self.servers: dict[int, Server] = {}
        self.disks: dict[int, Disk] = {}
        self.schedules: dict[int, Schedule] = {}
        self.backups: dict[int, Backup] = {}
        self.transactions: dict[int, Transaction] = {}
        self.backup_servers: dict[int, BackupServer] = {}
        self.recovery_points: dict[int, RecoveryPoint] = {}
        self.journal: list[JournalEntry] = []
        self.backups_by_server: dict[int, dict[int, Backup]] = {}
        self.disks_by_server: dict[int, dict[int, Disk]] = {}

    @property
    def now(self) -> float:
        """The simulated moment."""
        return self.agenda.now

    def note(
        self,
        kind: EventKind,
        server_id: int | None = None,
        target: Target | None = None,
        detail: str = "",
        row_id: int | None = None,
    ) -> None:
        """Write down what happened now."""
        entry = JournalEntry(self.now, kind, server_id, target, detail, row_id)
        self.journal.append(entry)

    def server(self, key: str) -> Server | None:
        """Return the server of that number or identifier."""
        if key.isdecimal():
            return self.servers.get(int(key))
        return next((s for s in self.servers.values() if s.identifier == key), None)

    def owner_of(self, target: Target) -> Server | None:
        """Return the server a target belongs to, while both exist."""
        if target.type == "VirtualMachine":
            return self.servers.get(target.id)
        disk = self.disks.get(target.id)
        return self.servers.get(disk.server_id) if disk else None

    def disks_of(self, server_id: int) -> list[Disk]:
        """Return the disks of a server, swap included."""
        return list(self.disks_by_server.get(server_id, {}).values())

    def disks_in(self, target: Target) -> list[Disk]:
        """Return the disks that a backup of a target holds."""
        if target.type == "Disk":
            return [self.disks[target.id]]
        return [disk for disk in self.disks_of(target.id) if not disk.is_swap]

    def schedules_of(self, server_id: int) -> list[Schedule]:
        """Return the schedules of a server and of its disks."""
        disks = {disk.id for disk in self.disks_of(server_id)}
        return [
            schedule
            for schedule in self.schedules.values()
            if schedule.target == ("VirtualMachine", server_id)
            or (schedule.target_type == "Disk" and schedule.target_id in disks)
        ]

    def backups_of(self, server_id: int) -> list[Backup]:
        """Return the backups of a server, oldest row first."""
        return list(self.backups_by_server.get(server_id, {}).values())

    def recovery_points_of(self, server_id: int) -> list[RecoveryPoint]:
        """Return what a plugin keeps of a server."""
        points = self.recovery_points.values()
        return [point for point in points if point.server_id == server_id]

    def revision(self, server_id: int) -> int:
        """Return a number that rises whenever the backups of a server change."""
        return self.servers[server_id].ledger.revision

    def clean_transactions(self, before: float) -> None:
        """Forget the old tasks, as an administrator may."""
        for task in list(self.transactions.values()):
            if task.updated_at < before and task.status not in ("pending", "running"):
                del self.transactions[task.id]

    def drop_backup(self, number: int) -> None:
        """Remove a row."""
        backup = self.backups.pop(number)
        backup.ledger.revision += 1
        del self.backups_by_server[backup.server_id][number]

    def drop_disk(self, number: int) -> None:
        """Remove a disk and nothing else."""
        disk = self.disks.pop(number)
        del self.disks_by_server[disk.server_id][number]

    def drop_server(self, number: int) -> None:
        """Remove a server with its disks, backups and recovery points."""
        for backup in self.backups_of(number):
            del self.backups[backup.id]
        for point in self.recovery_points_of(number):
            del self.recovery_points[point.id]
        for disk in self.disks_of(number):
            self.drop_disk(disk.id)
        del self.disks_by_server[number]
        del self.backups_by_server[number]
        del self.servers[number]
