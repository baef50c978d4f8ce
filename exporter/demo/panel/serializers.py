"""Serializers: the fields of each row as the panel's versions return them."""

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

_STATUS_FIELDS = (
    *("id", "identifier", "hostname"),
    *("booted", "built", "locked", "suspended"),
)


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
    """Turns rows into fields, in the style of one panel."""

    generation: ApiGeneration = "6"
    utc_offset: str = "Z"
    fractions: bool = False

    def timestamp(self, seconds: float | None) -> Timestamp | None:
        """Format a date in the panel's time zone."""
        if seconds is None:
            return None
        timespec = "milliseconds" if self.fractions else "seconds"
        return _timestamp(seconds, self.utc_offset, timespec)

    def backup(self, row: Backup, server: Server) -> Fields:
        """Return a backup as this version lists it."""
        if self.generation == "2":
            return self._backup_v2(row, server)
        return {
            **self._common_backup_fields(row, server),
            "backup_size": row.size_kib,
            "backup_type": row.backup_type,
            "data_store_type": Symbol("lvm"),
            "initiated": row.initiated,
            "image_type": None,
            "iqn": None,
            "note": row.note,
            "target_id": row.target_id,
            "target_type": row.target_type,
            "user_id": server.user_id,
            "volume_id": None,
        }

    def server(self, row: Server) -> Fields:
        """Return a server as it is listed, its passwords included."""
        old = self.generation == "2"
        return {
            "id": row.id,
            "identifier": row.identifier,
            "label": row.label,
            "hostname": row.hostname,
            "user_id": str(row.user_id) if old else row.user_id,
            "hypervisor_id": str(row.hypervisor_id) if old else row.hypervisor_id,
            "booted": row.booted,
            "built": row.built,
            "locked": row.locked,
            "suspended": row.suspended,
            "operating_system": row.operating_system,
            "operating_system_distro": _distro(row),
            "template_id": row.template_id,
            "template_label": f"{row.operating_system} template {row.template_id}",
            "memory": row.memory_mb,
            "cpus": 2,
            "cpu_shares": 10,
            "initial_root_password": row.initial_root_password,
            "remote_access_password": row.remote_access_password,
            "note": None,
            "created_at": self.timestamp(row.created_at),
            "updated_at": self.timestamp(row.updated_at),
            "deleted_at": None,
            "ip_addresses": RowList(
                "ip_addresses",
                "ip_address",
                [
                    {
                        "id": row.id,
                        "address": f"198.51.100.{row.id % 256}",
                        "free": False,
                    }
                ],
            ),
        }

    def server_status(self, row: Server) -> Fields:
        """Return the few fields of the list of statuses."""
        fields = self.server(row)
        return {name: fields[name] for name in _STATUS_FIELDS}

    def disk(self, row: Disk) -> Fields:
        """Return a disk."""
        return {
            "id": row.id,
            "identifier": row.identifier,
            "virtual_machine_id": row.server_id,
            "disk_size": row.size_gb,
            "primary": row.primary,
            "is_swap": row.is_swap,
            "has_autobackups": row.has_autobackups,
            "built": row.built,
            "locked": row.locked,
            "data_store_id": 1,
            "disk_vm_number": 1,
            "file_system": None if row.is_swap else "ext4",
            "created_at": self.timestamp(row.created_at),
            "updated_at": self.timestamp(row.created_at),
        }

    def schedule(self, row: Schedule) -> Fields:
        """Return a schedule with its logs."""
        fields: Fields = {
            "id": row.id,
            "target_type": row.target_type,
            "target_id": row.target_id,
            "action": "autobackup",
            "period": row.period,
            "duration": row.duration,
            "status": row.status,
            "start_at": self.timestamp(row.start_at),
            "failure_count": row.failure_count,
            "user_id": row.user_id,
            "params": None,
            "created_at": self.timestamp(row.created_at),
            "updated_at": self.timestamp(row.updated_at),
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
            "id": row.id,
            "identifier": row.identifier,
            "action": row.action,
            "status": row.status,
            "actor": None,
            "allowed_cancel": row.status == "pending",
            "parent_type": row.parent_type,
            "parent_id": row.parent_id,
            "associated_object_type": row.associated_object_type,
            "associated_object_id": row.associated_object_id,
            "dependent_transaction_id": None,
            "user_id": row.user_id,
            "priority": 10,
            "pid": None if row.started_at is None else 2000 + row.id % 30000,
            "params": row.params,
            "log_output": row.log_output,
            "created_at": self.timestamp(row.created_at),
            "started_at": self.timestamp(row.started_at),
            "updated_at": self.timestamp(row.updated_at),
        }

    def backup_server(self, row: BackupServer) -> Fields:
        """Return a backup server."""
        return {
            "id": row.id,
            "label": row.label,
            "enabled": row.enabled,
            "capacity": row.capacity_gb,
            "ip_address": row.ip_address,
            "backup_server_group_id": 1,
            "created_at": self.timestamp(row.created_at),
            "updated_at": self.timestamp(row.updated_at),
        }

    def recovery_point(self, row: RecoveryPoint) -> Fields:
        """Return a backup that a plugin made."""
        return {
            "id": row.id,
            "resource_id": row.resource_id,
            "size": row.size_bytes,
            "state": row.state,
            "virtual_machine_id": row.server_id,
            "created_at": self.timestamp(row.created_at),
            "updated_at": self.timestamp(row.updated_at),
        }

    def _common_backup_fields(self, row: Backup, server: Server) -> Fields:
        return {
            "allow_resize_without_reboot": False,
            "allowed_hot_migrate": True,
            "allowed_swap": True,
            "backup_server_id": row.backup_server_id,
            "built": row.built,
            "built_at": self.timestamp(row.built_at),
            "created_at": self.timestamp(row.created_at),
            "disk_id": row.disk_id,
            "id": row.id,
            "identifier": row.identifier,
            "locked": row.locked,
            "marked_for_delete": row.marked_for_delete,
            "min_disk_size": row.min_disk_gb,
            "min_memory_size": 128,
            "operating_system": server.operating_system,
            "operating_system_distro": _distro(server),
            "template_id": server.template_id,
            "updated_at": self.timestamp(row.updated_at),
        }

    def _backup_v2(self, row: Backup, server: Server) -> Fields:
        manual = row.initiated == "manual"
        return {
            **self._common_backup_fields(row, server),
            "backup_size": str(row.size_kib or 0),
            "backup_type": "manual" if manual else f"{row.initiated}-autobackup",
        }

    def _schedule_log(self, log: ScheduleLog, schedule: Schedule) -> Fields:
        return {
            "id": log.id,
            "schedule_id": schedule.id,
            "status": log.status,
            "log_output": log.log_output,
            "created_at": self.timestamp(log.created_at),
            "updated_at": self.timestamp(log.created_at),
        }


def _distro(server: Server) -> str:
    return "2022" if server.operating_system == "windows" else "debian"
