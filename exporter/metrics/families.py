"""Every metric family about panels: name, help, labels, and where its value comes from.

The one table that the collector, the exposition and ``docs/metrics.md`` read. A row's
class says what it is made from and so when it changes: with the panel's state or the
clock (PanelFamily), with inventory, schedules and log (ServerFamily), with a server's
backups (BackupsFamily), or each second (AgeFamily).
"""

from __future__ import annotations

from ..health.targets import backup_required, last_failed_at
from .family import AgeFamily, BackupsFamily, Family, ServerFamily
from .panel_families import PANEL_FAMILIES
from .samples import (
    backup_info,
    each_backup,
    each_recovery_point,
    each_schedule,
    each_server,
    each_target,
    each_verdict,
    expected_seconds,
    interval_sources,
    itself,
    last_success_bytes,
    next_start,
    schedule_info,
    schedule_statuses,
    server_created_at,
    server_info,
    server_states,
    server_suspended,
    target_states,
)

_VM = ("panel", "vm_id")
_BACKUP = ("panel", "vm_id", "backup_id")
_SCHEDULE = ("panel", "schedule_id")
_RECOVERY_POINT = ("panel", "vm_id", "recovery_point_id")
_TARGET = ("panel", "vm_id", "target_type", "target_id")

FAMILIES: tuple[Family, ...] = (
    *PANEL_FAMILIES,
    ServerFamily(
        "onapp_vm_info",
        "What describes the server, as of the last poll of the inventory.",
        (*_VM, "identifier", "label", "hostname", "user_id", "hypervisor_id"),
        server_info,
        itself,
    ),
    ServerFamily(
        "onapp_vm_created_timestamp_seconds",
        "When the server was created, in Unix seconds, as polled.",
        _VM,
        each_server,
        server_created_at,
    ),
    ServerFamily(
        "onapp_vm_suspended",
        "Whether the server is suspended, as of the last poll of the inventory.",
        _VM,
        each_server,
        server_suspended,
    ),
    ServerFamily(
        "onapp_vm_backup_required",
        "Whether the server must have backups, by configuration and what was polled.",
        _VM,
        each_server,
        backup_required,
    ),
    ServerFamily(
        "onapp_vm_last_failed_backup_timestamp_seconds",
        "When the taking of a backup of the server last failed, in Unix seconds, as "
        "the polled transactions tell.",
        _VM,
        each_server,
        last_failed_at,
    ),
    ServerFamily(
        "onapp_schedule_status",
        "Whether the schedule of backups has the status, as of the last poll.",
        (*_SCHEDULE, "status"),
        schedule_statuses,
        itself,
    ),
    ServerFamily(
        "onapp_schedule_failures",
        "Failures of the schedule that the panel counts, as of the last poll.",
        _SCHEDULE,
        each_schedule,
        lambda schedule: schedule.failure_count,
    ),
    ServerFamily(
        "onapp_schedule_interval_seconds",
        "How often the schedule starts a backup, in seconds, as polled.",
        _SCHEDULE,
        each_schedule,
        lambda schedule: schedule.interval_seconds,
    ),
    ServerFamily(
        "onapp_schedule_next_start_timestamp_seconds",
        "When the schedule, if enabled, starts its next backup, in Unix seconds, as "
        "polled.",
        _SCHEDULE,
        each_schedule,
        next_start,
    ),
    ServerFamily(
        "onapp_schedule_info",
        "What describes the schedule, as of the last poll; vm_id is empty when the "
        "server is not known.",
        (*_SCHEDULE, "vm_id", "target_type", "target_id", "period"),
        schedule_info,
        itself,
    ),
    BackupsFamily(
        "onapp_vm_backups",
        "Backups of the server by state, as of the last poll; without those marked "
        "for delete.",
        (*_VM, "state"),
        server_states,
        itself,
    ),
    BackupsFamily(
        "onapp_vm_backup_size_bytes",
        "Space that all backups of the server take, in bytes, as of the last poll.",
        _VM,
        each_verdict,
        lambda verdict: verdict.size_bytes,
    ),
    BackupsFamily(
        "onapp_vm_last_success_timestamp_seconds",
        "When the server's newest restore point was complete, over all its targets, "
        "in Unix seconds, as polled.",
        _VM,
        each_verdict,
        lambda verdict: verdict.last_success_at,
    ),
    BackupsFamily(
        "onapp_target_last_success_timestamp_seconds",
        "When the target's newest built backup, not marked for delete, was complete, "
        "in Unix seconds, as polled.",
        _TARGET,
        each_target,
        lambda verdict: verdict.last_success_at,
    ),
    BackupsFamily(
        "onapp_target_last_success_size_bytes",
        "Size of the target's last success in bytes, as polled.",
        _TARGET,
        each_target,
        last_success_bytes,
    ),
    BackupsFamily(
        "onapp_target_last_success_duration_seconds",
        "How long the target's last success took, from its creation and with its time "
        "in the queue, in seconds, as polled.",
        _TARGET,
        each_target,
        lambda verdict: verdict.last_success_seconds,
    ),
    BackupsFamily(
        "onapp_target_backups",
        "Backups of the target by state, as of the last poll; without those marked "
        "for delete.",
        (*_TARGET, "state"),
        target_states,
        itself,
    ),
    BackupsFamily(
        "onapp_target_locked_backups",
        "Locked backups of the target, as of the last poll.",
        _TARGET,
        each_target,
        lambda verdict: verdict.locked,
    ),
    BackupsFamily(
        "onapp_target_marked_for_delete_backups",
        "Backups of the target that are marked for delete, as of the last poll.",
        _TARGET,
        each_target,
        lambda verdict: verdict.marked_for_delete,
    ),
    BackupsFamily(
        "onapp_target_oldest_unbuilt_timestamp_seconds",
        "When the target's oldest unbuilt backup was created, in Unix seconds, as "
        "polled; absent without one.",
        _TARGET,
        each_target,
        lambda verdict: verdict.oldest_unbuilt_at,
    ),
    BackupsFamily(
        "onapp_target_oldest_pending_timestamp_seconds",
        "When the target's oldest unbuilt backup that neither failed nor was overtaken "
        "by a good one was created, in Unix seconds, as polled; absent without one.",
        _TARGET,
        each_target,
        lambda verdict: verdict.oldest_pending_at,
    ),
    BackupsFamily(
        "onapp_target_last_failed_timestamp_seconds",
        "When the taking of a backup of the target last failed, in Unix seconds, as "
        "the polled transactions tell.",
        _TARGET,
        each_target,
        lambda verdict: verdict.last_failed_at,
    ),
    BackupsFamily(
        "onapp_target_expected_interval_seconds",
        "How often a backup of the target is expected, in seconds, by configuration "
        "or what was polled.",
        _TARGET,
        each_target,
        expected_seconds,
    ),
    BackupsFamily(
        "onapp_target_expected_interval_info",
        "Where the target's expected interval comes from, as of the last poll.",
        (*_TARGET, "source"),
        interval_sources,
        itself,
    ),
    BackupsFamily(
        "onapp_backup_size_bytes",
        "Space that the backup takes, in bytes, as of the last poll.",
        _BACKUP,
        each_backup,
        lambda backup: backup.size_bytes,
    ),
    BackupsFamily(
        "onapp_backup_built",
        "Whether the backup is built, as of the last poll.",
        _BACKUP,
        each_backup,
        lambda backup: backup.built,
    ),
    BackupsFamily(
        "onapp_backup_locked",
        "Whether the backup is locked, as of the last poll.",
        _BACKUP,
        each_backup,
        lambda backup: backup.locked,
    ),
    BackupsFamily(
        "onapp_backup_marked_for_delete",
        "Whether the backup is marked for delete, as of the last poll.",
        _BACKUP,
        each_backup,
        lambda backup: backup.marked_for_delete,
    ),
    AgeFamily(
        "onapp_backup_age_seconds",
        "Whole seconds since the backup was built, computed at the scrape from polled "
        "data.",
        _BACKUP,
        each_backup,
        lambda backup: backup.built_at if backup.built else None,
    ),
    BackupsFamily(
        "onapp_backup_built_timestamp_seconds",
        "When the backup was built, in Unix seconds, as polled.",
        _BACKUP,
        each_backup,
        lambda backup: backup.built_at if backup.built else None,
    ),
    BackupsFamily(
        "onapp_backup_created_timestamp_seconds",
        "When the backup was created, in Unix seconds, as polled.",
        _BACKUP,
        each_backup,
        lambda backup: backup.created_at,
    ),
    BackupsFamily(
        "onapp_backup_info",
        "What describes the backup, as of the last poll.",
        (
            *_BACKUP,
            "identifier",
            "backup_type",
            "initiated",
            "target_type",
            "target_id",
            "backup_server_id",
        ),
        backup_info,
        itself,
    ),
    BackupsFamily(
        "onapp_recovery_point_size_bytes",
        "Space that the plugin's backup takes, in bytes, as of the last poll.",
        _RECOVERY_POINT,
        each_recovery_point,
        lambda point: point.size_bytes,
    ),
    BackupsFamily(
        "onapp_recovery_point_built",
        "Whether the plugin's backup is built, as of the last poll.",
        _RECOVERY_POINT,
        each_recovery_point,
        lambda point: point.built,
    ),
    BackupsFamily(
        "onapp_recovery_point_created_timestamp_seconds",
        "When the plugin's backup was created, in Unix seconds, as polled.",
        _RECOVERY_POINT,
        each_recovery_point,
        lambda point: point.created_at,
    ),
)
