"""From what is known to samples: one function a kind of value, none with any I/O.

An unknown value yields no sample.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from math import floor
from typing import TypeAlias, TypeVar

import msgspec

from ..config.schema import Detail
from ..health.targets import TargetVerdict, Verdict, judge
from ..model.entities import Backup, RecoveryPoint, Schedule, Target
from ..model.store import NOBODY, Knowledge

T = TypeVar("T")

_SCHEDULE_STATUSES = ("enabled", "disabled", "failed")

Sample: TypeAlias = tuple[tuple[str, ...], float]
"""The values of the family's labels, in its order, and the sample's value."""
Row: TypeAlias = tuple[tuple[str, ...], T]
"""The same labels, and what values are made of: families may share their rows."""


@dataclass(frozen=True, slots=True)
class ServerView:
    """One server's knowledge, judged."""

    knowledge: Knowledge
    verdict: Verdict
    detailed: tuple[Backup, ...]
    """The backups that get series of their own."""

    @property
    def labels(self) -> tuple[str, str]:
        """Return the values of ``panel`` and ``vm_id``."""
        return self.knowledge.panel, str(self.knowledge.vm_id)


def view(knowledge: Knowledge, detail: Detail) -> ServerView:
    """Judge a server's backups and choose those with series of their own."""
    backups = tuple(knowledge.backups or ())  # unpacked once
    known = msgspec.structs.replace(knowledge, backups=backups)
    return ServerView(known, judge(known), tuple(_detailed(backups, detail)))


def _detailed(backups: tuple[Backup, ...], detail: Detail) -> Iterable[Backup]:
    if not detail.backups:
        return ()
    if not detail.newest_per_target:
        return backups
    newest = sorted(backups, key=lambda b: (b.target, -(b.created_at or 0.0), -b.id))
    kept = {
        backup.id
        for _, rows in groupby(newest, key=lambda b: b.target)
        for rank, backup in enumerate(rows)
        if rank < detail.newest_per_target or not backup.built
    }
    return (backup for backup in backups if backup.id in kept)


def each_server(known: Knowledge) -> Iterator[Row[Knowledge]]:
    """Yield the server as far as the inventory and the log tell of it."""
    yield (known.panel, str(known.vm_id)), known


def each_verdict(server: ServerView) -> Iterator[Row[Verdict]]:
    """Yield what the server's backups say together."""
    yield server.labels, server.verdict


def each_backup(server: ServerView) -> Iterator[Row[Backup]]:
    """Yield the backups that have series of their own."""
    panel, vm_id = server.labels
    for backup in server.detailed:
        yield (panel, vm_id, str(backup.id)), backup


def each_schedule(known: Knowledge) -> Iterator[Row[Schedule]]:
    """Yield the schedules of the server."""
    for schedule in known.schedules or ():
        yield (known.panel, str(schedule.id)), schedule


def each_recovery_point(server: ServerView) -> Iterator[Row[RecoveryPoint]]:
    """Yield what plugins keep of the server."""
    for point in server.knowledge.recovery_points or ():
        yield (*server.labels, str(point.id)), point


def each_target(server: ServerView) -> Iterator[Row[TargetVerdict]]:
    """Yield what the backups of each target say."""
    for verdict in server.verdict.targets:
        yield _target_labels(server, verdict.target), verdict


def itself(value: float) -> float:
    """Return the value of a row that is nothing but its value."""
    return value


def _target_labels(server: ServerView, target: Target) -> tuple[str, ...]:
    return (*server.labels, target.type, str(target.id))


def age_seconds(time: float, moment: float) -> int:
    """Return how long ago a moment was, in whole seconds: no panel says it finer."""
    return floor(time) - floor(moment)


def text(value: object | None) -> str:
    """Return a label's value; empty when it is not known."""
    return "" if value is None else str(value)


def place(backup_server_id: int | None) -> str:
    """Return the value of the label ``backup_server_id``."""
    return "none" if backup_server_id is None else str(backup_server_id)


def server_info(known: Knowledge) -> Iterator[Row[int]]:
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


def server_states(server: ServerView) -> Iterator[Row[int]]:
    """Count the server's backups by state."""
    yield (*server.labels, "built"), server.verdict.built
    yield (*server.labels, "unbuilt"), server.verdict.unbuilt


def backup_info(server: ServerView) -> Iterator[Row[int]]:
    """Describe each backup."""
    panel, vm_id = server.labels
    for backup in server.detailed:
        yield (
            (
                panel,
                vm_id,
                str(backup.id),
                backup.identifier,
                backup.backup_type,
                backup.initiated,
                backup.target.type,
                str(backup.target.id),
                place(backup.backup_server_id),
            ),
            1,
        )


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


def schedule_statuses(known: Knowledge) -> Iterator[Row[float]]:
    """Tell of each schedule which status it has."""
    for schedule in known.schedules or ():
        for status in _SCHEDULE_STATUSES:
            labels = (known.panel, str(schedule.id), status)
            yield labels, float(schedule.status == status)


def schedule_info(known: Knowledge) -> Iterator[Row[int]]:
    """Describe each schedule."""
    vm_id = "" if known.vm_id == NOBODY else str(known.vm_id)
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


def last_success_bytes(verdict: TargetVerdict) -> int | None:
    """Return the size of the target's last success."""
    return None if verdict.last_success is None else verdict.last_success.size_bytes


def expected_seconds(verdict: TargetVerdict) -> float | None:
    """Return the target's expected interval."""
    interval = verdict.expected_interval
    return None if interval is None else interval.seconds


def server_created_at(known: Knowledge) -> float | None:
    """Return when the server was created."""
    return None if known.server is None else known.server.created_at


def server_suspended(known: Knowledge) -> bool | None:
    """Tell whether the server is suspended."""
    return None if known.server is None else known.server.suspended
