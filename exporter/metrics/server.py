"""The families about servers: their reading, what they are, schedules, targets."""

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
    itself,
    text,
)

_VM = ("panel", "vm_id")
_SCHEDULE = ("panel", "schedule_id")
_TARGET = ("panel", "vm_id", "target_type", "target_id")

# How the reading of each server's backups goes

PollOutcome: TypeAlias = tuple[bool | None, float | None]
"""Whether the last read succeeded and is fresh, and the moment of the last good one."""


def each_reading(panel: PanelStore, now: Now) -> Iterator[Row[PollOutcome]]:
    """Yield how the reading of each server's backups goes."""
    for vm_id, watch in panel.servers.items():
        good = None
        if watch.failing is not None:
            good = not watch.failing and panel.is_fresh(watch, now.monotonic)
        yield (panel.name, str(vm_id)), (good, watch.read_at)
    for name in panel.unresolved:
        yield (panel.name, name), (False, None)


_READINGS: tuple[Family, ...] = (
    PanelFamily(
        "onapp_vm_poll_success",
        "Whether the last poll of the server's backups succeeded and is not too old.",
        _VM,
        each_reading,
        itemgetter(0),
    ),
    PanelFamily(
        "onapp_vm_last_poll_success_timestamp_seconds",
        "When the server's backups were last polled with success, in Unix seconds.",
        _VM,
        each_reading,
        itemgetter(1),
    ),
)


# What inventory and log say of each server


def each_server(known: ServerState) -> Iterator[Row[ServerState]]:
    """Yield the server as far as the inventory and the log tell of it."""
    yield (known.panel, str(known.vm_id)), known


def server_info(known: ServerState) -> Iterator[Row[int]]:
    """Describe the server, if the inventory does."""
    server = known.server
    if server is not None:
        yield (
            (
                known.panel,
                str(known.vm_id),
                server.identifier,
                server.label,
                server.hostname,
                text(server.user_id),
                text(server.hypervisor_id),
            ),
            1,
        )


def server_created_at(known: ServerState) -> float | None:
    """Return when the server was created."""
    return None if known.server is None else known.server.created_at


def server_suspended(known: ServerState) -> bool | None:
    """Tell whether the server is suspended."""
    return None if known.server is None else known.server.suspended


_SERVERS: tuple[Family, ...] = (
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
)


# Schedules

_SCHEDULE_STATUSES = ("enabled", "disabled", "failed")


def each_schedule(known: ServerState) -> Iterator[Row[Schedule]]:
    """Yield the schedules of the server."""
    for schedule in known.schedules or ():
        yield (known.panel, str(schedule.id)), schedule


def schedule_statuses(known: ServerState) -> Iterator[Row[float]]:
    """Tell of each schedule which status it has."""
    for schedule in known.schedules or ():
        for status in _SCHEDULE_STATUSES:
            labels = (known.panel, str(schedule.id), status)
            yield labels, float(schedule.status == status)


def schedule_info(known: ServerState) -> Iterator[Row[int]]:
    """Describe each schedule."""
    vm_id = "" if known.vm_id == NO_SERVER else str(known.vm_id)
    for schedule in known.schedules or ():
        target = schedule.target
        yield (
            (
                known.panel,
                str(schedule.id),
                vm_id,
                target.type,
                str(target.id),
                schedule.period,
            ),
            1,
        )


def next_start(schedule: Schedule) -> float | None:
    """Return when an enabled schedule is due next."""
    return schedule.next_start_at if schedule.enabled else None


_SCHEDULES: tuple[Family, ...] = (
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
)


# What a server's backups say together


def each_verdict(server: ServerView) -> Iterator[Row[BackupSummary]]:
    """Yield what the server's backups say together."""
    yield server.labels, server.verdict


def server_states(server: ServerView) -> Iterator[Row[int]]:
    """Count the server's backups by state."""
    yield (*server.labels, "built"), server.verdict.built
    yield (*server.labels, "unbuilt"), server.verdict.unbuilt


_BACKUPS_OF_SERVERS: tuple[Family, ...] = (
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
)


# What the backups of each target say


def each_target(server: ServerView) -> Iterator[Row[TargetSummary]]:
    """Yield what the backups of each target say."""
    for verdict in server.verdict.targets:
        yield _target_labels(server, verdict.target), verdict


def target_states(server: ServerView) -> Iterator[Row[int]]:
    """Count each target's backups by state."""
    for verdict in server.verdict.targets:
        labels = _target_labels(server, verdict.target)
        yield (*labels, "built"), verdict.built
        yield (*labels, "unbuilt"), verdict.unbuilt


def interval_sources(server: ServerView) -> Iterator[Row[int]]:
    """Name the source of each target's expected interval."""
    for verdict in server.verdict.targets:
        if verdict.expected_interval is not None:
            labels = _target_labels(server, verdict.target)
            yield (*labels, verdict.expected_interval.source), 1


def last_success_bytes(verdict: TargetSummary) -> int | None:
    """Return the size of the target's last success."""
    return None if verdict.last_success is None else verdict.last_success.size_bytes


def expected_seconds(verdict: TargetSummary) -> float | None:
    """Return the target's expected interval."""
    interval = verdict.expected_interval
    return None if interval is None else interval.seconds


def _target_labels(server: ServerView, target: Target) -> tuple[str, ...]:
    return (*server.labels, target.type, str(target.id))


_TARGETS: tuple[Family, ...] = (
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
)

FAMILIES: tuple[Family, ...] = (
    *_READINGS,
    *_SERVERS,
    *_SCHEDULES,
    *_BACKUPS_OF_SERVERS,
    *_TARGETS,
)
