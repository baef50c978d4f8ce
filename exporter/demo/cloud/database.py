"""The database of a simulated cloud: rows by ID and by owner."""

from collections import Counter
from typing import Any

from .pseudorandom import random_identifier
from .rows import (
    Backup,
    BackupServer,
    BackupType,
    Disk,
    EventKind,
    Initiated,
    LoggedEvent,
    RecoveryPoint,
    Revision,
    Schedule,
    Server,
    Target,
    TargetType,
    Transaction,
    TransactionStatus,
)
from .time import EventQueue

_FIRST_IDS = {
    "server": 1,
    "backup_server": 1,
    "disk": 101,
    "schedule": 501,
    "backup": 1001,
    "transaction": 5001,
    "schedule_log": 1,
    "recovery_point": 9001,
}
"""Each table starts at a different number, so that mixed-up IDs are noticed."""

_DEFAULT_SIZE_KIB = 1024 * 1024


class Database:
    """The rows by their IDs, and a log of what really happened to them."""

    def __init__(self, now: float, seed: int) -> None:
        """Start empty."""
        self.seed = seed
        self.event_queue = EventQueue(now)
        self.servers: dict[int, Server] = {}
        self.disks: dict[int, Disk] = {}
        self.schedules: dict[int, Schedule] = {}
        self.backups: dict[int, Backup] = {}
        self.transactions: dict[int, Transaction] = {}
        self.backup_servers: dict[int, BackupServer] = {}
        self.recovery_points: dict[int, RecoveryPoint] = {}
        self.event_log: list[LoggedEvent] = []
        self.backups_by_server: dict[int, dict[int, Backup]] = {}
        self.disks_by_server: dict[int, dict[int, Disk]] = {}
        self._last_ids: Counter[str] = Counter()

    @property
    def now(self) -> float:
        """The simulated time in Unix seconds."""
        return self.event_queue.now

    def log_event(
        self,
        kind: EventKind,
        server_id: int | None = None,
        target: Target | None = None,
        detail: str = "",
        row_id: int | None = None,
    ) -> None:
        """Add an event at the current time to the log."""
        entry = LoggedEvent(self.now, kind, server_id, target, detail, row_id)
        self.event_log.append(entry)

    def log_schedule(
        self, kind: EventKind, schedule: Schedule, detail: str = ""
    ) -> None:
        """Add an event of a schedule and its server to the log."""
        server = self.owner_of(schedule.target)
        number = server.id if server else None
        self.log_event(kind, number, schedule.target, detail, schedule.id)

    def server(self, key: str) -> Server | None:
        """Return the server with this number or identifier; None: not found."""
        if key.isdecimal():
            return self.servers.get(int(key))
        return next((s for s in self.servers.values() if s.identifier == key), None)

    def owner_of(self, target: Target) -> Server | None:
        """Return the server that a target belongs to; None: one does not exist."""
        if target.type == "VirtualMachine":
            return self.servers.get(target.id)
        disk = self.disks.get(target.id)
        return self.servers.get(disk.server_id) if disk else None

    def disks_of(self, server_id: int) -> list[Disk]:
        """Return the disks of a server, swap included."""
        return list(self.disks_by_server.get(server_id, {}).values())

    def disks_in(self, target: Target) -> list[Disk]:
        """Return the disks that a backup of a target contains, without swap."""
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
        """Return the backups of a server, oldest rows first."""
        return list(self.backups_by_server.get(server_id, {}).values())

    def recovery_points_of(self, server_id: int) -> list[RecoveryPoint]:
        """Return the plugin's backups of a server."""
        points = self.recovery_points.values()
        return [point for point in points if point.server_id == server_id]

    def revision(self, server_id: int) -> int:
        """Return a number that rises when a server or one of its backups changes."""
        return self.servers[server_id].revision.number

    def add_server(  # noqa: PLR0913  a row has many fields
        self,
        *,
        label: str | None = None,
        hostname: str | None = None,
        identifier: str | None = None,
        user_id: int = 1,
        hypervisor_id: int = 1,
        created_at: float | None = None,
        suspended: bool = False,
        booted: bool = True,
        operating_system: str = "linux",
        disks: int = 1,
        swap: bool = False,
        disk_gb: int = 20,
        backup_server_id: int | None = None,
        number: int | None = None,
    ) -> Server:
        """Add a server with its disks; the first is the primary one."""
        number = self._new_id("server", number)
        created_at = self.now if created_at is None else created_at
        server = Server(
            revision=Revision(),
            id=number,
            identifier=identifier or random_identifier(self.seed, "server", number),
            label=f"server-{number}" if label is None else label,
            hostname=hostname or f"host{number}.example.com",
            user_id=user_id,
            hypervisor_id=hypervisor_id,
            created_at=created_at,
            updated_at=created_at,
            suspended=suspended,
            booted=booted and not suspended,
            operating_system=operating_system,
            template_id=1 + number % 5,
            backup_server_id=backup_server_id,
            initial_root_password=f"root-secret-of-{number}",
            remote_access_password=f"remote-secret-of-{number}",
        )
        self.servers[number] = server
        self.backups_by_server[number] = {}
        self.disks_by_server[number] = {}
        self.log_event("server added", number, detail=server.label)
        for _ in range(disks):
            self.add_disk(number, size_gb=disk_gb, created_at=created_at)
        if swap:
            self.add_disk(number, size_gb=1, swap=True, created_at=created_at)
        return server

    def add_disk(
        self,
        server_id: int,
        *,
        size_gb: int = 20,
        swap: bool = False,
        created_at: float | None = None,
        number: int | None = None,
    ) -> Disk:
        """Add a disk to a server."""
        number = self._new_id("disk", number)
        primary = not swap and not self.disks_of(server_id)
        disk = Disk(
            id=number,
            identifier=random_identifier(self.seed, "disk", number),
            server_id=server_id,
            size_gb=size_gb,
            primary=primary,
            is_swap=swap,
            created_at=self.now if created_at is None else created_at,
        )
        self.disks[number] = self.disks_by_server[server_id][number] = disk
        self.log_event("disk added", server_id, Target("Disk", number), row_id=number)
        return disk

    def add_backup(  # noqa: PLR0913  a row has many fields
        self,
        server_id: int,
        *,
        built: bool = True,
        created_at: float | None = None,
        built_at: float | None = None,
        updated_at: float | None = None,
        size_kib: int | None = None,
        backup_type: BackupType = "normal",
        target_type: TargetType | None = None,
        target_id: int | None = None,
        initiated: Initiated = "days",
        locked: bool = False,
        marked_for_delete: bool = False,
        backup_server_id: int | None = None,
        identifier: str | None = None,
        note: str | None = None,
        number: int | None = None,
    ) -> Backup:
        """Add a row exactly as given; by default it was built within a minute.

        Without a target, a normal backup is of the server's first disk, and an
        incremental backup is of the whole server.
        """
        number = self._new_id("backup", number)
        created_at = self.now if created_at is None else created_at
        target = self._target(server_id, backup_type, target_type, target_id)
        if built:
            built_at = created_at + 60 if built_at is None else built_at
            size_kib = _DEFAULT_SIZE_KIB if size_kib is None else size_kib
        backup = Backup(
            revision=self.servers[server_id].revision,
            id=number,
            identifier=identifier or random_identifier(self.seed, "backup", number),
            server_id=server_id,
            target_type=target.type,
            target_id=target.id,
            backup_type=backup_type,
            initiated=initiated,
            built=built,
            created_at=created_at,
            built_at=built_at,
            updated_at=(built_at or created_at) if updated_at is None else updated_at,
            size_kib=size_kib,
            backup_server_id=backup_server_id,
            locked=locked,
            marked_for_delete=marked_for_delete,
            note=note,
        )
        self.backups[number] = self.backups_by_server[server_id][number] = backup
        return backup

    def add_backup_server(
        self,
        label: str,
        capacity_gb: int,
        *,
        enabled: bool = True,
        number: int | None = None,
    ) -> BackupServer:
        """Add a backup server."""
        number = self._new_id("backup_server", number)
        self.backup_servers[number] = BackupServer(
            id=number,
            label=label,
            capacity_gb=capacity_gb,
            enabled=enabled,
            ip_address=f"192.0.2.{number % 256}",
            created_at=self.now,
            updated_at=self.now,
        )
        return self.backup_servers[number]

    def add_recovery_point(
        self,
        server_id: int,
        *,
        size_bytes: int = 1024**3,
        created_at: float | None = None,
        state: str = "built",
        number: int | None = None,
    ) -> RecoveryPoint:
        """Add a backup that a plugin made."""
        number = self._new_id("recovery_point", number)
        created_at = self.now if created_at is None else created_at
        self.recovery_points[number] = RecoveryPoint(
            id=number,
            server_id=server_id,
            resource_id=1,
            size_bytes=size_bytes,
            state=state,
            created_at=created_at,
            updated_at=created_at,
        )
        self.log_event("recovery point added", server_id, row_id=number)
        return self.recovery_points[number]

    def add_transaction(  # noqa: PLR0913  a row has many fields
        self,
        *,
        action: str = "take_backup",
        status: TransactionStatus = "complete",
        parent_type: str | None = "Backup",
        parent_id: int | None = None,
        server_id: int | None = None,
        created_at: float | None = None,
        started_at: float | None = None,
        updated_at: float | None = None,
        user_id: int = 1,
        params: dict[str, Any] | None = None,
        log_output: str = "",
        number: int | None = None,
    ) -> Transaction:
        """Add a task of the panel, of a server if one is given."""
        number = self._new_id("transaction", number)
        created_at = self.now if created_at is None else created_at
        self.transactions[number] = Transaction(
            id=number,
            identifier=random_identifier(self.seed, "transaction", number),
            action=action,
            status=status,
            parent_type=parent_type,
            parent_id=parent_id,
            associated_object_type=None if server_id is None else "VirtualMachine",
            associated_object_id=server_id,
            created_at=created_at,
            started_at=started_at,
            updated_at=created_at if updated_at is None else updated_at,
            user_id=user_id,
            params=params,
            log_output=log_output,
        )
        return self.transactions[number]

    def delete_old_transactions(self, before: float) -> None:
        """Delete the finished transactions that are older than a time."""
        for task in list(self.transactions.values()):
            if task.updated_at < before and task.status not in ("pending", "running"):
                del self.transactions[task.id]

    def drop_backup(self, number: int) -> None:
        """Delete the row of a backup."""
        backup = self.backups.pop(number)
        backup.revision.number += 1
        del self.backups_by_server[backup.server_id][number]

    def drop_disk(self, number: int) -> None:
        """Delete a disk and nothing else."""
        disk = self.disks.pop(number)
        del self.disks_by_server[disk.server_id][number]

    def drop_server(self, number: int) -> None:
        """Delete a server with its disks, backups and recovery points."""
        for backup in self.backups_of(number):
            del self.backups[backup.id]
        for point in self.recovery_points_of(number):
            del self.recovery_points[point.id]
        for disk in self.disks_of(number):
            self.drop_disk(disk.id)
        del self.disks_by_server[number]
        del self.backups_by_server[number]
        del self.servers[number]

    def _target(
        self,
        server_id: int,
        backup_type: BackupType,
        target_type: TargetType | None,
        target_id: int | None,
    ) -> Target:
        wanted = target_type or (
            "Disk" if backup_type == "normal" else "VirtualMachine"
        )
        if target_id is not None:
            return Target(wanted, target_id)
        if wanted == "VirtualMachine":
            return Target("VirtualMachine", server_id)
        return Target("Disk", self.disks_of(server_id)[0].id)

    def _new_id(self, table: str, requested: int | None = None) -> int:
        last = max(self._last_ids[table], _FIRST_IDS[table] - 1)
        number = last + 1 if requested is None else requested
        self._last_ids[table] = max(last, number)
        return number
