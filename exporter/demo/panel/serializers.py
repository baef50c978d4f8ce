"""Serializers: the fields of rows, as each version of the panel returns them."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from functools import cache, lru_cache
from typing import Literal

from ..cloud.rows import (
    Backup,
    BackupServer,
    Disk,
    RecoveryPoint,
    Schedule,
    ScheduleLog,
    Server,
    Transaction,
)
from .encoding import Fields, RowList, Symbol, Timestamp

ApiGeneration = Literal["6", "2"]


@cache
def _timezone(offset: str) -> timezone:
    if offset == "Z":
        return UTC
    hours, minutes = offset[1:].split(":")
    offset_from_utc = timedelta(hours=int(hours), minutes=int(minutes))
    return timezone(-offset_from_utc if offset[0] == "-" else offset_from_utc)


@lru_cache(32_768)
def _timestamp(seconds: float, offset: str, timespec: str) -> Timestamp:
    when = datetime.fromtimestamp(seconds, _timezone(offset))
    text = when.isoformat(timespec=timespec)
    return Timestamp(text.removesuffix("+00:00") + "Z" if offset == "Z" else text)


@dataclass(frozen=True, slots=True)
class Serializer:
    """Converts rows to fields, in the style of one panel."""

    generation: ApiGeneration = "6"
    utc_offset: str = "Z"
    fractions: bool = False

    def backup(self, row: Backup, server: Server) -> Fields:
        """Return a backup as this version lists it."""
        common = {
            **self._copied(
                row,
                *("id", "identifier", "backup_server_id", "disk_id", "built", "locked"),
                *("marked_for_delete", "built_at", "created_at", "updated_at"),
            ),
            "allow_resize_without_reboot": False,
            "allowed_hot_migrate": True,
            "allowed_swap": True,
            "min_disk_size": row.min_disk_gb,
            "min_memory_size": 128,
            "operating_system": server.operating_system,
            "operating_system_distro": _distro(server),
            "template_id": server.template_id,
        }
        if self.generation == "2":
            manual = row.initiated == "manual"
            return {
                **common,
                "backup_size": str(row.size_kib or 0),
                "backup_type": "manual" if manual else f"{row.initiated}-autobackup",
            }
        return {
            **common,
            **self._copied(row, "backup_type", "initiated", "note"),
            **self._copied(row, "target_id", "target_type"),
            "backup_size": row.size_kib,
            "data_store_type": Symbol("lvm"),
            "image_type": None,
            "iqn": None,
            "user_id": server.user_id,
            "volume_id": None,
        }

    def server(self, row: Server) -> Fields:
        """Return a server as it is listed, including its passwords."""
        old = self.generation == "2"
        address = {
            "id": row.id,
            "address": f"198.51.100.{row.id % 256}",
            "free": False,
        }
        return {
            **self.server_status(row),
            **self._copied(
                row,
                *("label", "operating_system", "template_id", "created_at"),
                *("initial_root_password", "remote_access_password", "updated_at"),
            ),
            "user_id": str(row.user_id) if old else row.user_id,
            "hypervisor_id": str(row.hypervisor_id) if old else row.hypervisor_id,
            "operating_system_distro": _distro(row),
            "template_label": f"{row.operating_system} template {row.template_id}",
            "memory": row.memory_mb,
            "cpus": 2,
            "cpu_shares": 10,
            "note": None,
            "deleted_at": None,
            "ip_addresses": RowList("ip_addresses", "ip_address", [address]),
        }

    def server_status(self, row: Server) -> Fields:
        """Return the fields of a server in the list of statuses."""
        return self._copied(
            row,
            *("id", "identifier", "hostname", "booted", "built", "locked", "suspended"),
        )

    def disk(self, row: Disk) -> Fields:
        """Return a disk."""
        return {
            **self._copied(
                row,
                *("id", "identifier", "primary", "is_swap", "has_autobackups"),
                *("built", "locked", "created_at"),
            ),
            "virtual_machine_id": row.server_id,
            "disk_size": row.size_gb,
            "data_store_id": 1,
            "disk_vm_number": 1,
            "file_system": None if row.is_swap else "ext4",
            "updated_at": self._date(row.created_at),
        }

    def schedule(self, row: Schedule) -> Fields:
        """Return a schedule with its logs."""
        fields: Fields = {
            **self._copied(
                row,
                *("id", "target_type", "target_id", "period", "duration", "status"),
                *("failure_count", "user_id", "start_at", "created_at", "updated_at"),
            ),
            "action": "autobackup",
            "params": None,
            "schedule_logs": RowList(
                "schedule_logs",
                "schedule_log",
                [self._schedule_log(log, row) for log in row.logs],
            ),
        }
        if self.generation != "2":
            fields["rotation_period"] = row.rotation_period
        return fields

    def transaction(self, row: Transaction) -> Fields:
        """Return a transaction with its log."""
        return {
            **self._copied(
                row,
                *("id", "identifier", "action", "status", "user_id", "params"),
                *("parent_type", "parent_id", "log_output"),
                *("associated_object_type", "associated_object_id"),
                *("created_at", "started_at", "updated_at"),
            ),
            "actor": None,
            "allowed_cancel": row.status == "pending",
            "dependent_transaction_id": None,
            "priority": 10,
            "pid": None if row.started_at is None else 2000 + row.id % 30000,
        }

    def backup_server(self, row: BackupServer) -> Fields:
        """Return a backup server."""
        return {
            **self._copied(row, "id", "label", "enabled", "ip_address"),
            **self._copied(row, "created_at", "updated_at"),
            "capacity": row.capacity_gb,
            "backup_server_group_id": 1,
        }

    def recovery_point(self, row: RecoveryPoint) -> Fields:
        """Return a backup that a plugin made."""
        return {
            **self._copied(row, "id", "resource_id", "state"),
            **self._copied(row, "created_at", "updated_at"),
            "size": row.size_bytes,
            "virtual_machine_id": row.server_id,
        }

    def _schedule_log(self, log: ScheduleLog, schedule: Schedule) -> Fields:
        return {
            **self._copied(log, "id", "status", "log_output", "created_at"),
            "schedule_id": schedule.id,
            "updated_at": self._date(log.created_at),
        }

    def _copied(self, row: object, *names: str) -> Fields:
        """Return fields with the same names as in the row; ``…_at`` is a date."""
        return {
            name: self._date(getattr(row, name))
            if name.endswith("_at")
            else getattr(row, name)
            for name in names
        }

    def _date(self, seconds: float | None) -> Timestamp | None:
        """Format a date in the panel's time zone."""
        if seconds is None:
            return None
        timespec = "milliseconds" if self.fractions else "seconds"
        return _timestamp(seconds, self.utc_offset, timespec)


def _distro(server: Server) -> str:
    return "2022" if server.operating_system == "windows" else "debian"
