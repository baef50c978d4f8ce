"""Every metric family about panels: name, help, labels, and where its value comes from.

The one table that the collector, the exposition and ``docs/metrics.md`` read. A row's
class says what it is made from and so when it changes: with the panel's state or the
clock (PanelFamily), with the inventory (ServerFamily), with a server's backups
(BackupsFamily), or each second (AgeFamily).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from .samples import (
    Now,
    Sample,
    ServerView,
    backup_info,
    collector_success,
    expected_seconds,
    interval_sources,
    last_success_bytes,
    of_backup,
    of_panel,
    of_server,
    of_target,
    of_verdict,
    panel_info,
    poll_lag_seconds,
    poll_moments,
    poll_success,
    server_created_at,
    server_info,
    server_states,
    server_suspended,
    target_states,
)
from .store import Knowledge, PanelStore


@dataclass(frozen=True, slots=True)
class Family:
    """What all families have; ``name`` is the name of the samples."""

    name: str
    help: str
    labels: tuple[str, ...]

    type = "gauge"


@dataclass(frozen=True, slots=True)
class PanelFamily(Family):
    """Made from the state of a panel's polling, at every scrape."""

    samples: Callable[[PanelStore, Now], Iterable[Sample]]


@dataclass(frozen=True, slots=True)
class ServerFamily(Family):
    """Made from what the inventory says of a server."""

    samples: Callable[[Knowledge], Iterable[Sample]]


@dataclass(frozen=True, slots=True)
class BackupsFamily(Family):
    """Made from a server's backups, as long as they are fresh."""

    samples: Callable[[ServerView], Iterable[Sample]]


@dataclass(frozen=True, slots=True)
class AgeFamily(Family):
    """Seconds since moments (Unix time) in a server's backups."""

    moments: Callable[[ServerView], Iterable[Sample]]


_PANEL = ("panel",)
_VM = ("panel", "vm_id")
_BACKUP = ("panel", "vm_id", "backup_id")
_TARGET = ("panel", "vm_id", "target_type", "target_id")

FAMILIES: tuple[Family, ...] = (
    PanelFamily(
        "onapp_up",
        "Whether the panel answers: 0 when version or inventory could not be read or "
        "nothing was answered for a poll interval.",
        _PANEL,
        of_panel(lambda panel, now: panel.up(now.monotonic)),
    ),
    PanelFamily(
        "onapp_panel_info",
        "The panel's address and its version as of the last poll.",
        (*_PANEL, "url", "version"),
        panel_info,
    ),
    PanelFamily(
        "onapp_panel_virtual_machines",
        "Servers in the whole inventory of the panel after include and exclude, as of "
        "the last poll.",
        _PANEL,
        of_panel(lambda panel, _: panel.servers_listed),
    ),
    PanelFamily(
        "onapp_panel_clock_skew_seconds",
        "The panel's clock minus the exporter's, in seconds, at the last answer.",
        _PANEL,
        of_panel(lambda panel, _: panel.skew_seconds),
    ),
    PanelFamily(
        "onapp_poll_interval_seconds",
        "How often each server's backups are read, in seconds.",
        _PANEL,
        of_panel(lambda panel, _: panel.interval_seconds),
    ),
    PanelFamily(
        "onapp_poll_lag_seconds",
        "How overdue the poll of the most overdue server is, in seconds.",
        _PANEL,
        of_panel(poll_lag_seconds),
    ),
    PanelFamily(
        "onapp_inventory_last_success_timestamp_seconds",
        "When the inventory was last read whole, in Unix seconds.",
        _PANEL,
        of_panel(lambda panel, _: panel.inventory_read_at),
    ),
    PanelFamily(
        "onapp_collector_success",
        "Whether the collector's last run succeeded; backups: every server's last "
        "poll.",
        (*_PANEL, "collector"),
        collector_success,
    ),
    PanelFamily(
        "onapp_vm_poll_success",
        "Whether the last poll of the server's backups succeeded and is not too old.",
        _VM,
        poll_success,
    ),
    PanelFamily(
        "onapp_vm_last_poll_success_timestamp_seconds",
        "When the server's backups were last polled with success, in Unix seconds.",
        _VM,
        poll_moments,
    ),
    ServerFamily(
        "onapp_vm_info",
        "What describes the server, as of the last poll of the inventory.",
        (*_VM, "identifier", "label", "hostname", "user_id", "hypervisor_id"),
        server_info,
    ),
    ServerFamily(
        "onapp_vm_created_timestamp_seconds",
        "When the server was created, in Unix seconds, as polled.",
        _VM,
        of_server(server_created_at),
    ),
    ServerFamily(
        "onapp_vm_suspended",
        "Whether the server is suspended, as of the last poll of the inventory.",
        _VM,
        of_server(server_suspended),
    ),
    ServerFamily(
        "onapp_vm_backup_required",
        "Whether the server must have backups, by configuration and what was polled.",
        _VM,
        of_server(lambda known: known.expectation.backup_required),
    ),
    BackupsFamily(
        "onapp_vm_backups",
        "Backups of the server by state, as of the last poll; without those marked "
        "for delete.",
        (*_VM, "state"),
        server_states,
    ),
    BackupsFamily(
        "onapp_vm_backup_size_bytes",
        "Space that all backups of the server take, in bytes, as of the last poll.",
        _VM,
        of_verdict(lambda verdict: verdict.size_bytes),
    ),
    BackupsFamily(
        "onapp_vm_last_success_timestamp_seconds",
        "When the server's newest restore point was complete, over all its targets, "
        "in Unix seconds, as polled.",
        _VM,
        of_verdict(lambda verdict: verdict.last_success_at),
    ),
    BackupsFamily(
        "onapp_target_last_success_timestamp_seconds",
        "When the target's newest built backup, not marked for delete, was complete, "
        "in Unix seconds, as polled.",
        _TARGET,
        of_target(lambda verdict: verdict.last_success_at),
    ),
    BackupsFamily(
        "onapp_target_last_success_size_bytes",
        "Size of the target's last success in bytes, as polled.",
        _TARGET,
        of_target(last_success_bytes),
    ),
    BackupsFamily(
        "onapp_target_last_success_duration_seconds",
        "How long the target's last success took, from its creation and with its time "
        "in the queue, in seconds, as polled.",
        _TARGET,
        of_target(lambda verdict: verdict.last_success_seconds),
    ),
    BackupsFamily(
        "onapp_target_backups",
        "Backups of the target by state, as of the last poll; without those marked "
        "for delete.",
        (*_TARGET, "state"),
        target_states,
    ),
    BackupsFamily(
        "onapp_target_locked_backups",
        "Locked backups of the target, as of the last poll.",
        _TARGET,
        of_target(lambda verdict: verdict.locked),
    ),
    BackupsFamily(
        "onapp_target_marked_for_delete_backups",
        "Backups of the target that are marked for delete, as of the last poll.",
        _TARGET,
        of_target(lambda verdict: verdict.marked_for_delete),
    ),
    BackupsFamily(
        "onapp_target_oldest_unbuilt_timestamp_seconds",
        "When the target's oldest unbuilt backup was created, in Unix seconds, as "
        "polled; absent without one.",
        _TARGET,
        of_target(lambda verdict: verdict.oldest_unbuilt_at),
    ),
    BackupsFamily(
        "onapp_target_expected_interval_seconds",
        "How often a backup of the target is expected, in seconds, by configuration "
        "or what was polled.",
        _TARGET,
        of_target(expected_seconds),
    ),
    BackupsFamily(
        "onapp_target_expected_interval_info",
        "Where the target's expected interval comes from, as of the last poll.",
        (*_TARGET, "source"),
        interval_sources,
    ),
    BackupsFamily(
        "onapp_backup_size_bytes",
        "Space that the backup takes, in bytes, as of the last poll.",
        _BACKUP,
        of_backup(lambda backup: backup.size_bytes),
    ),
    BackupsFamily(
        "onapp_backup_built",
        "Whether the backup is built, as of the last poll.",
        _BACKUP,
        of_backup(lambda backup: backup.built),
    ),
    BackupsFamily(
        "onapp_backup_locked",
        "Whether the backup is locked, as of the last poll.",
        _BACKUP,
        of_backup(lambda backup: backup.locked),
    ),
    BackupsFamily(
        "onapp_backup_marked_for_delete",
        "Whether the backup is marked for delete, as of the last poll.",
        _BACKUP,
        of_backup(lambda backup: backup.marked_for_delete),
    ),
    AgeFamily(
        "onapp_backup_age_seconds",
        "Seconds since the backup was built, computed at the scrape from polled data.",
        _BACKUP,
        of_backup(lambda backup: backup.built_at if backup.built else None),
    ),
    BackupsFamily(
        "onapp_backup_built_timestamp_seconds",
        "When the backup was built, in Unix seconds, as polled.",
        _BACKUP,
        of_backup(lambda backup: backup.built_at if backup.built else None),
    ),
    BackupsFamily(
        "onapp_backup_created_timestamp_seconds",
        "When the backup was created, in Unix seconds, as polled.",
        _BACKUP,
        of_backup(lambda backup: backup.created_at),
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
    ),
)
