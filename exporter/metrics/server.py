"""Families about servers: polls, inventory, schedules, backups and targets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import chain
from math import ceil
from operator import itemgetter
from typing import TypeAlias

from ..health.conditions import DATA_OLD
from ..health.server import (
    UNRESOLVED,
    ServerHealth,
    data_old_at,
    unresolved_data_old_at,
)
from ..health.targets import (
    BackupSummary,
    Interval,
    TargetSummary,
    backup_required,
    last_failed_at,
)
from ..model.entities import Schedule, Target, Transaction
from ..model.store import NO_SERVER, ServerState
from .family import (
    AnyFamily,
    BackupsFamily,
    HealthFamily,
    PanelFamily,
    PanelView,
    Row,
    ServerFamily,
    ServerView,
    label_value,
)

_VM_LABELS = ("panel", "vm_id")
_SCHEDULE_LABELS = ("panel", "schedule_id")
_TARGET_LABELS = ("panel", "vm_id", "target_type", "target_id")

# Polls of each server's backups

PollOutcome: TypeAlias = tuple[bool | None, float | None]
"""Whether the last poll succeeded and is fresh, and when one last succeeded."""


def poll_rows(view: PanelView) -> Iterator[Row[PollOutcome]]:
    """Yield the outcome of the polls of each server's backups."""
    panel = view.panel
    for vm_id, entry in panel.servers.items():
        succeeded = None
        if entry.failing is not None:
            succeeded = not entry.failing and panel.is_fresh(entry, view.now.monotonic)
        yield (panel.name, str(vm_id)), (succeeded, entry.read_at)
    for identifier in panel.unresolved:
        yield (panel.name, identifier), (False, None)


_POLLS: tuple[AnyFamily, ...] = (
    PanelFamily(
        "onapp_vm_poll_success",
        "Whether the last poll of the server's backups succeeded and is not too old.",
        _VM_LABELS,
        poll_rows,
        itemgetter(0),
    ),
    PanelFamily(
        "onapp_vm_last_poll_success_timestamp_seconds",
        "Unix time of the last successful poll of the server's backups.",
        _VM_LABELS,
        poll_rows,
        itemgetter(1),
    ),
)


# Health of each server

_MOMENT_LABELS = (*_TARGET_LABELS, "schedule_id", "state")


def moment_rows(health: ServerHealth) -> Iterator[Row[float]]:
    """Yield the time from which each condition holds, as far as it is known."""
    if health.state is None:
        return
    panel, vm_id = health.state.panel, _vm_label(health.state)
    for moment in health.moments:
        target = ("", "")
        if moment.target is not None:
            target = moment.target.type, str(moment.target.id)
        schedule_id = label_value(moment.schedule_id)
        # An alert compares the value with the time, so a condition that holds needs
        # one.
        at = 0.0 if moment.at is None else moment.at
        yield (panel, vm_id, *target, schedule_id, moment.condition.key), at


def data_old_rows(view: PanelView) -> Iterator[Row[float]]:
    """Yield the time from which each server's data are too old; moves with each read.

    The values are whole seconds, which are rendered faster: a cloud has thousands of
    servers.
    """
    panel = view.panel
    unresolved = ((n, unresolved_data_old_at(panel, n)) for n in panel.unresolved)
    read = (
        (str(vm_id), data_old_at(panel, entry))
        for vm_id, entry in panel.servers.items()
    )
    for vm_id, at in chain(read, unresolved):
        if at is not None:
            yield (panel.name, vm_id, "", "", "", DATA_OLD.key), ceil(at)


def state_rows(health: ServerHealth) -> Iterator[Row[int]]:
    """Yield 1 for the worst condition of the server."""
    if health.state is not None and health.state.vm_id != NO_SERVER:
        state = health.state
        yield (state.panel, str(state.vm_id), health.condition.key), 1


def unresolved_state_rows(view: PanelView) -> Iterator[Row[int]]:
    """Yield the state of configured servers that were not found; always 1."""
    for identifier in view.panel.unresolved:
        yield (view.panel.name, identifier, UNRESOLVED.condition.key), 1


def in_time_rows(health: ServerHealth) -> Iterator[Row[bool]]:
    """Yield whether all backups of the server are in time, if it needs any."""
    if health.state is not None and health.in_time is not None:
        yield (health.state.panel, str(health.state.vm_id)), health.in_time


_HEALTH: tuple[AnyFamily, ...] = (
    HealthFamily(
        "onapp_state_start_timestamp_seconds",
        "Unix time from which the state holds of the server, target or schedule, as "
        "of the last poll; in the future while it does not hold yet, 0 if it holds and "
        "it is not known since when.",
        _MOMENT_LABELS,
        moment_rows,
        read_rows=data_old_rows,
    ),
    HealthFamily(
        "onapp_vm_state",
        "Worst state of the server, as of the last poll; always 1.",
        (*_VM_LABELS, "state"),
        state_rows,
        read_rows=unresolved_state_rows,
    ),
    HealthFamily(
        "onapp_vm_backup_in_time",
        "Whether every target of a server that needs backups has one in time, as of "
        "the last poll.",
        _VM_LABELS,
        in_time_rows,
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


def restore_rows(view: PanelView) -> Iterator[Row[Transaction]]:
    """Yield the last completed restore of each server, if the log shows one."""
    panel, log = view.panel, view.panel.transaction_log
    for vm_id in () if log is None else log.last_restores:
        restore = panel.last_restore(vm_id)
        if restore is not None:
            yield (panel.name, str(vm_id)), restore


_SERVERS: tuple[AnyFamily, ...] = (
    ServerFamily(
        "onapp_vm_info",
        "Information about the virtual server, as of the last poll of the inventory; "
        "always 1.",
        (*_VM_LABELS, "identifier", "label", "hostname", "user_id", "hypervisor_id"),
        server_info_rows,
    ),
    ServerFamily(
        "onapp_vm_created_timestamp_seconds",
        "Unix time of the server's creation, as of the last poll.",
        _VM_LABELS,
        server_rows,
        lambda state: state.created_at,
    ),
    ServerFamily(
        "onapp_vm_suspended",
        "Whether the server is suspended, as of the last poll of the inventory.",
        _VM_LABELS,
        server_rows,
        lambda state: state.suspended,
    ),
    ServerFamily(
        "onapp_vm_backup_required",
        "Whether the server must have backups, by the configuration and the last poll.",
        _VM_LABELS,
        server_rows,
        backup_required,
    ),
    ServerFamily(
        "onapp_vm_last_failed_backup_timestamp_seconds",
        "Unix time of the server's last failed backup transaction, as of the last "
        "poll.",
        _VM_LABELS,
        server_rows,
        last_failed_at,
    ),
    PanelFamily(
        "onapp_vm_last_restore_timestamp_seconds",
        "Unix time of the server's last completed restore, as far as the polled "
        "transactions tell.",
        _VM_LABELS,
        restore_rows,
        lambda restore: restore.updated_at,
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
    """Yield the server, target and period of each schedule."""
    for schedule in state.schedules or ():
        target = schedule.target
        yield (
            (
                state.panel,
                str(schedule.id),
                _vm_label(state),
                target.type,
                str(target.id),
                schedule.period,
            ),
            1,
        )


def target_schedule_rows(state: ServerState) -> Iterator[Row[int]]:
    """Yield the number of schedules of each target, by status."""
    if state.vm_id == NO_SERVER:
        return
    counts = Counter((each.target, each.status) for each in state.schedules or ())
    for target in sorted({target for target, _ in counts}):
        labels = (state.panel, str(state.vm_id), target.type, str(target.id))
        for status in _SCHEDULE_STATUSES:
            yield (*labels, status), counts[target, status]


def _vm_label(state: ServerState) -> str:
    return "" if state.vm_id == NO_SERVER else str(state.vm_id)


def next_start_at(schedule: Schedule) -> float | None:
    """Return when an enabled schedule is due next."""
    return schedule.next_start_at if schedule.enabled else None


_SCHEDULES: tuple[AnyFamily, ...] = (
    ServerFamily(
        "onapp_schedule_status",
        "Whether the backup schedule has the status, as of the last poll.",
        (*_SCHEDULE_LABELS, "status"),
        schedule_status_rows,
    ),
    ServerFamily(
        "onapp_schedule_failures",
        "Number of failures of the schedule that the panel counts, as of the last "
        "poll.",
        _SCHEDULE_LABELS,
        schedule_rows,
        lambda schedule: schedule.failure_count,
    ),
    ServerFamily(
        "onapp_schedule_interval_seconds",
        "Interval in seconds at which the schedule starts a backup, as of the last "
        "poll.",
        _SCHEDULE_LABELS,
        schedule_rows,
        lambda schedule: schedule.interval_seconds,
    ),
    ServerFamily(
        "onapp_schedule_next_start_timestamp_seconds",
        "Unix time of the next backup of the schedule, if it is enabled, as of the "
        "last poll.",
        _SCHEDULE_LABELS,
        schedule_rows,
        next_start_at,
    ),
    ServerFamily(
        "onapp_schedule_info",
        "Information about the schedule, as of the last poll; always 1; vm_id is "
        "empty when the server is not known.",
        (*_SCHEDULE_LABELS, "vm_id", "target_type", "target_id", "period"),
        schedule_info_rows,
    ),
    ServerFamily(
        "onapp_schedule_retention_backups",
        "Number of backups that the schedule keeps, as of the last poll.",
        _SCHEDULE_LABELS,
        schedule_rows,
        lambda schedule: schedule.retention_backups,
    ),
    ServerFamily(
        "onapp_target_schedules",
        "Number of schedules of the target, by status, as of the last poll.",
        (*_TARGET_LABELS, "status"),
        target_schedule_rows,
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


_SERVER_SUMMARIES: tuple[AnyFamily, ...] = (
    BackupsFamily(
        "onapp_vm_backups",
        "Number of backups of the server by state, as of the last poll; without those "
        "marked for delete.",
        (*_VM_LABELS, "state"),
        backup_count_rows,
    ),
    BackupsFamily(
        "onapp_vm_backup_size_bytes",
        "Space in bytes that all backups of the server take, as of the last poll.",
        _VM_LABELS,
        summary_rows,
        lambda summary: summary.size_bytes,
    ),
    BackupsFamily(
        "onapp_vm_last_success_timestamp_seconds",
        "Unix time of the server's newest complete restore point, over all its "
        "targets, as of the last poll.",
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


def interval_source_rows(health: ServerHealth) -> Iterator[Row[int]]:
    """Yield the source of each target's expected interval."""
    for labels, interval in interval_rows(health):
        yield (*labels, interval.source), 1


def interval_rows(health: ServerHealth) -> Iterator[Row[Interval]]:
    """Yield each target's expected interval; it stays when the backups expire."""
    state, summary = health.state, health.summary
    for each in () if state is None or summary is None else summary.targets:
        if each.expected_interval is not None and state is not None:
            target = each.target.type, str(each.target.id)
            yield (state.panel, str(state.vm_id), *target), each.expected_interval


def last_success_size_bytes(summary: TargetSummary) -> int | None:
    """Return the size of the target's last success in bytes; None: none, or unknown."""
    return None if summary.last_success is None else summary.last_success.size_bytes


def _target_labels(server: ServerView, target: Target) -> tuple[str, ...]:
    return (*server.labels, target.type, str(target.id))


_TARGETS: tuple[AnyFamily, ...] = (
    BackupsFamily(
        "onapp_target_last_success_timestamp_seconds",
        "Unix time when the target's newest built backup that is not marked for "
        "delete was complete, as of the last poll.",
        _TARGET_LABELS,
        target_rows,
        lambda summary: summary.last_success_at,
    ),
    BackupsFamily(
        "onapp_target_last_success_size_bytes",
        "Size of the target's last successful backup in bytes, as of the last poll.",
        _TARGET_LABELS,
        target_rows,
        last_success_size_bytes,
    ),
    BackupsFamily(
        "onapp_target_last_success_duration_seconds",
        "Duration of the target's last successful backup in seconds, from its "
        "creation and with its time in the queue, as of the last poll.",
        _TARGET_LABELS,
        target_rows,
        lambda summary: summary.last_success_duration_seconds,
    ),
    BackupsFamily(
        "onapp_target_backups",
        "Number of backups of the target by state, as of the last poll; without those "
        "marked for delete.",
        (*_TARGET_LABELS, "state"),
        target_count_rows,
    ),
    BackupsFamily(
        "onapp_target_locked_backups",
        "Number of locked backups of the target, as of the last poll.",
        _TARGET_LABELS,
        target_rows,
        lambda summary: summary.locked,
    ),
    BackupsFamily(
        "onapp_target_marked_for_delete_backups",
        "Number of backups of the target that are marked for delete, as of the last "
        "poll.",
        _TARGET_LABELS,
        target_rows,
        lambda summary: summary.marked_for_delete,
    ),
    BackupsFamily(
        "onapp_target_oldest_unbuilt_timestamp_seconds",
        "Unix time when the target's oldest unbuilt backup was created, as of the "
        "last poll; absent without one.",
        _TARGET_LABELS,
        target_rows,
        lambda summary: summary.oldest_unbuilt_at,
    ),
    BackupsFamily(
        "onapp_target_oldest_pending_timestamp_seconds",
        "Unix time when the target's oldest pending backup was created: unbuilt, not "
        "failed, not cancelled, and no good backup after it; as of the last poll.",
        _TARGET_LABELS,
        target_rows,
        lambda summary: summary.oldest_pending_at,
    ),
    BackupsFamily(
        "onapp_target_last_failed_timestamp_seconds",
        "Unix time of the target's last failed backup transaction, as of the last "
        "poll.",
        _TARGET_LABELS,
        target_rows,
        lambda summary: summary.last_failed_at,
    ),
    BackupsFamily(
        "onapp_target_oldest_success_timestamp_seconds",
        "Unix time when the target's oldest restore point that is kept was complete, "
        "as of the last poll.",
        _TARGET_LABELS,
        target_rows,
        lambda summary: summary.oldest_success_at,
    ),
    HealthFamily(
        "onapp_target_expected_interval_seconds",
        "Interval in seconds at which a backup of the target is expected, by the "
        "configuration or the last poll.",
        _TARGET_LABELS,
        interval_rows,
        lambda interval: interval.seconds,
    ),
    HealthFamily(
        "onapp_target_expected_interval_info",
        "Source of the target's expected interval, as of the last poll; always 1.",
        (*_TARGET_LABELS, "source"),
        interval_source_rows,
    ),
)

FAMILIES: tuple[AnyFamily, ...] = (
    *_POLLS,
    *_HEALTH,
    *_SERVERS,
    *_SCHEDULES,
    *_SERVER_SUMMARIES,
    *_TARGETS,
)
