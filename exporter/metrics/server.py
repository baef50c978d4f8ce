"""Families about servers: polls, inventory, schedules, backups and targets."""

from __future__ import annotations

from collections.abc import Iterator
from operator import itemgetter
from typing import TypeAlias

from ..clock import Now
from ..health.targets import (
    BackupSummary,
    TargetSummary,
    backup_required,
    last_failed_at,
)
from ..model.entities import Schedule, Target
from ..model.store import NO_SERVER, PanelStore, ServerState
from .family import (
    BackupsFamily,
    Family,
    PanelFamily,
    Row,
    ServerFamily,
    ServerView,
    identity,
    label_value,
)

_VM_LABELS = ("panel", "vm_id")
_SCHEDULE_LABELS = ("panel", "schedule_id")
_TARGET_LABELS = ("panel", "vm_id", "target_type", "target_id")

# Polls of each server's backups

PollOutcome: TypeAlias = tuple[bool | None, float | None]
"""Whether the last poll succeeded and is fresh, and when one last succeeded."""


def poll_rows(panel: PanelStore, now: Now) -> Iterator[Row[PollOutcome]]:
    """Yield the outcome of the polls of each server's backups."""
    for vm_id, entry in panel.servers.items():
        succeeded = None
        if entry.failing is not None:
            succeeded = not entry.failing and panel.is_fresh(entry, now.monotonic)
        yield (panel.name, str(vm_id)), (succeeded, entry.read_at)
    for identifier in panel.unresolved:
        yield (panel.name, identifier), (False, None)


_POLLS: tuple[Family, ...] = (
    PanelFamily(
        "onapp_vm_poll_success",
        "Whether the last poll of the server's backups succeeded and is not too old.",
        _VM_LABELS,
        poll_rows,
        itemgetter(0),
    ),
    PanelFamily(
        "onapp_vm_last_poll_success_timestamp_seconds",
        "When the server's backups were last polled with success, in Unix seconds.",
        _VM_LABELS,
        poll_rows,
        itemgetter(1),
    ),
)


# Inventory and last failed backup of each server


def server_rows(state: ServerState) -> Iterator[Row[ServerState]]:
    """Yield the state of the server."""
    yield (state.panel, str(state.vm_id)), state


def server_info_rows(state: ServerState) -> Iterator[Row[int]]:
    """Yield the server's attributes, if the inventory lists it."""
    server = state.server
    if server is not None:
        yield (
            (
                state.panel,
                str(state.vm_id),
                server.identifier,
                server.label,
                server.hostname,
                label_value(server.user_id),
                label_value(server.hypervisor_id),
            ),
            1,
        )


def server_created_at(state: ServerState) -> float | None:
    """Return when the server was created; None: unknown."""
    return None if state.server is None else state.server.created_at


def server_suspended(state: ServerState) -> bool | None:
    """Return whether the server is suspended; None: unknown."""
    return None if state.server is None else state.server.suspended


_SERVERS: tuple[Family, ...] = (
    ServerFamily(
        "onapp_vm_info",
        "What describes the server, as of the last poll of the inventory.",
        (*_VM_LABELS, "identifier", "label", "hostname", "user_id", "hypervisor_id"),
        server_info_rows,
        identity,
    ),
    ServerFamily(
        "onapp_vm_created_timestamp_seconds",
        "When the server was created, in Unix seconds, as polled.",
        _VM_LABELS,
        server_rows,
        server_created_at,
    ),
    ServerFamily(
        "onapp_vm_suspended",
        "Whether the server is suspended, as of the last poll of the inventory.",
        _VM_LABELS,
        server_rows,
        server_suspended,
    ),
    ServerFamily(
        "onapp_vm_backup_required",
        "Whether the server must have backups, by configuration and what was polled.",
        _VM_LABELS,
        server_rows,
        backup_required,
    ),
    ServerFamily(
        "onapp_vm_last_failed_backup_timestamp_seconds",
        "When the taking of a backup of the server last failed, in Unix seconds, as "
        "the polled transactions tell.",
        _VM_LABELS,
        server_rows,
        last_failed_at,
    ),
)


# Schedules

_SCHEDULE_STATUSES = ("enabled", "disabled", "failed")


def schedule_rows(state: ServerState) -> Iterator[Row[Schedule]]:
    """Yield the schedules of the server."""
    for schedule in state.schedules or ():
        yield (state.panel, str(schedule.id)), schedule


def schedule_status_rows(state: ServerState) -> Iterator[Row[float]]:
    """Yield 1 for the current status of each schedule and 0 for the others."""
    for schedule in state.schedules or ():
        for status in _SCHEDULE_STATUSES:
            labels = (state.panel, str(schedule.id), status)
            yield labels, float(schedule.status == status)


def schedule_info_rows(state: ServerState) -> Iterator[Row[int]]:
    """Yield server, target and period of each schedule."""
    vm_id = "" if state.vm_id == NO_SERVER else str(state.vm_id)
    for schedule in state.schedules or ():
        target = schedule.target
        yield (
            (
                state.panel,
                str(schedule.id),
                vm_id,
                target.type,
                str(target.id),
                schedule.period,
            ),
            1,
        )


def next_start_at(schedule: Schedule) -> float | None:
    """Return when an enabled schedule is due next."""
    return schedule.next_start_at if schedule.enabled else None


_SCHEDULES: tuple[Family, ...] = (
    ServerFamily(
        "onapp_schedule_status",
        "Whether the schedule of backups has the status, as of the last poll.",
        (*_SCHEDULE_LABELS, "status"),
        schedule_status_rows,
        identity,
    ),
    ServerFamily(
        "onapp_schedule_failures",
        "Failures of the schedule that the panel counts, as of the last poll.",
        _SCHEDULE_LABELS,
        schedule_rows,
        lambda schedule: schedule.failure_count,
    ),
    ServerFamily(
        "onapp_schedule_interval_seconds",
        "How often the schedule starts a backup, in seconds, as polled.",
        _SCHEDULE_LABELS,
        schedule_rows,
        lambda schedule: schedule.interval_seconds,
    ),
    ServerFamily(
        "onapp_schedule_next_start_timestamp_seconds",
        "When the schedule, if enabled, starts its next backup, in Unix seconds, as "
        "polled.",
        _SCHEDULE_LABELS,
        schedule_rows,
        next_start_at,
    ),
    ServerFamily(
        "onapp_schedule_info",
        "What describes the schedule, as of the last poll; vm_id is empty when the "
        "server is not known.",
        (*_SCHEDULE_LABELS, "vm_id", "target_type", "target_id", "period"),
        schedule_info_rows,
        identity,
    ),
)


# Backups of a server, over all its targets


def summary_rows(server: ServerView) -> Iterator[Row[BackupSummary]]:
    """Yield the summary of the server's backups."""
    yield server.labels, server.summary


def backup_count_rows(server: ServerView) -> Iterator[Row[int]]:
    """Yield the number of the server's backups, by state."""
    yield (*server.labels, "built"), server.summary.built
    yield (*server.labels, "unbuilt"), server.summary.unbuilt


_SERVER_SUMMARIES: tuple[Family, ...] = (
    BackupsFamily(
        "onapp_vm_backups",
        "Backups of the server by state, as of the last poll; without those marked "
        "for delete.",
        (*_VM_LABELS, "state"),
        backup_count_rows,
        identity,
    ),
    BackupsFamily(
        "onapp_vm_backup_size_bytes",
        "Space that all backups of the server take, in bytes, as of the last poll.",
        _VM_LABELS,
        summary_rows,
        lambda summary: summary.size_bytes,
    ),
    BackupsFamily(
        "onapp_vm_last_success_timestamp_seconds",
        "When the server's newest restore point was complete, over all its targets, "
        "in Unix seconds, as polled.",
        _VM_LABELS,
        summary_rows,
        lambda summary: summary.last_success_at,
    ),
)


# Backups of each target


def target_rows(server: ServerView) -> Iterator[Row[TargetSummary]]:
    """Yield the summary of each target's backups."""
    for summary in server.summary.targets:
        yield _target_labels(server, summary.target), summary


def target_count_rows(server: ServerView) -> Iterator[Row[int]]:
    """Yield the number of each target's backups, by state."""
    for summary in server.summary.targets:
        labels = _target_labels(server, summary.target)
        yield (*labels, "built"), summary.built
        yield (*labels, "unbuilt"), summary.unbuilt


def interval_source_rows(server: ServerView) -> Iterator[Row[int]]:
    """Yield the source of each target's expected interval."""
    for summary in server.summary.targets:
        if summary.expected_interval is not None:
            labels = _target_labels(server, summary.target)
            yield (*labels, summary.expected_interval.source), 1


def last_success_size_bytes(summary: TargetSummary) -> int | None:
    """Return the size of the target's last success; None: none, or unknown."""
    return None if summary.last_success is None else summary.last_success.size_bytes


def expected_interval_seconds(summary: TargetSummary) -> float | None:
    """Return the target's expected interval; None: unknown, or none is expected."""
    interval = summary.expected_interval
    return None if interval is None else interval.seconds


def _target_labels(server: ServerView, target: Target) -> tuple[str, ...]:
    return (*server.labels, target.type, str(target.id))


_TARGETS: tuple[Family, ...] = (
    BackupsFamily(
        "onapp_target_last_success_timestamp_seconds",
        "When the target's newest built backup, not marked for delete, was complete, "
        "in Unix seconds, as polled.",
        _TARGET_LABELS,
        target_rows,
        lambda summary: summary.last_success_at,
    ),
    BackupsFamily(
        "onapp_target_last_success_size_bytes",
        "Size of the target's last success in bytes, as polled.",
        _TARGET_LABELS,
        target_rows,
        last_success_size_bytes,
    ),
    BackupsFamily(
        "onapp_target_last_success_duration_seconds",
        "How long the target's last success took, from its creation and with its time "
        "in the queue, in seconds, as polled.",
        _TARGET_LABELS,
        target_rows,
        lambda summary: summary.last_success_duration_seconds,
    ),
    BackupsFamily(
        "onapp_target_backups",
        "Backups of the target by state, as of the last poll; without those marked "
        "for delete.",
        (*_TARGET_LABELS, "state"),
        target_count_rows,
        identity,
    ),
    BackupsFamily(
        "onapp_target_locked_backups",
        "Locked backups of the target, as of the last poll.",
        _TARGET_LABELS,
        target_rows,
        lambda summary: summary.locked,
    ),
    BackupsFamily(
        "onapp_target_marked_for_delete_backups",
        "Backups of the target that are marked for delete, as of the last poll.",
        _TARGET_LABELS,
        target_rows,
        lambda summary: summary.marked_for_delete,
    ),
    BackupsFamily(
        "onapp_target_oldest_unbuilt_timestamp_seconds",
        "When the target's oldest unbuilt backup was created, in Unix seconds, as "
        "polled; absent without one.",
        _TARGET_LABELS,
        target_rows,
        lambda summary: summary.oldest_unbuilt_at,
    ),
    BackupsFamily(
        "onapp_target_oldest_pending_timestamp_seconds",
        "When the target's oldest unbuilt backup that neither failed, nor was "
        "cancelled, nor was overtaken by a good one was created, in Unix seconds, as "
        "polled; absent without one.",
        _TARGET_LABELS,
        target_rows,
        lambda summary: summary.oldest_pending_at,
    ),
    BackupsFamily(
        "onapp_target_last_failed_timestamp_seconds",
        "When the taking of a backup of the target last failed, in Unix seconds, as "
        "the polled transactions tell.",
        _TARGET_LABELS,
        target_rows,
        lambda summary: summary.last_failed_at,
    ),
    BackupsFamily(
        "onapp_target_expected_interval_seconds",
        "How often a backup of the target is expected, in seconds, by configuration "
        "or what was polled.",
        _TARGET_LABELS,
        target_rows,
        expected_interval_seconds,
    ),
    BackupsFamily(
        "onapp_target_expected_interval_info",
        "Where the target's expected interval comes from, as of the last poll.",
        (*_TARGET_LABELS, "source"),
        interval_source_rows,
        identity,
    ),
)

FAMILIES: tuple[Family, ...] = (
    *_POLLS,
    *_SERVERS,
    *_SCHEDULES,
    *_SERVER_SUMMARIES,
    *_TARGETS,
)
