"""Whether schedules start backups when they should, at one moment.

The same as the alerts in ``deploy/prometheus/backups.rules.yml``; failures that are
counted up are Prometheus' alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..clock import Now
from ..model.entities import VIRTUAL_MACHINE, Schedule
from ..model.store import Knowledge, PanelStore, Watch
from .conditions import DISABLED, GIVEN_UP, OVERDUE, OVERDUE_SECONDS, Finding
from .targets import Verdict, backup_required


def judge_schedules(
    panel: PanelStore, watch: Watch, verdict: Verdict | None, now: Now
) -> Iterator[Finding]:
    """Judge whether schedules start backups when they should."""
    schedules = watch.knowledge.schedules
    if not schedules or all(_is_on_time(schedule, now) for schedule in schedules):
        return
    for schedule in schedules:
        if schedule.status == "failed":
            yield Finding(GIVEN_UP, schedule.target, about=str(schedule.id))
    yield from _disabled(watch.knowledge, schedules)
    readable = panel.fresh(watch, now.monotonic) and watch.failing is False
    if watch.failing is None or readable:
        under_way = {
            target.target
            for target in (() if verdict is None else verdict.targets)
            if target.oldest_pending_at is not None
        }
        for finding in overdue(panel, schedules, now):
            if finding.target not in under_way:
                yield finding


def _is_on_time(schedule: Schedule, now: Now) -> bool:
    """Tell whether nothing can be wrong: so it is with most, and quickly seen."""
    start = schedule.next_start_at
    return schedule.status == "enabled" and (start is None or start >= now.time)


def overdue(
    panel: PanelStore, schedules: Iterable[Schedule], now: Now
) -> Iterator[Finding]:
    """Find schedules whose start has passed, as of the last reading of the inventory.

    Schedules are read as often: what was started since cannot be known.
    """
    read_at = now.time if panel.inventory_read_at is None else panel.inventory_read_at
    for schedule in schedules:
        start = schedule.next_start_at if schedule.enabled else None
        if start is None or start >= now.time or read_at - start <= OVERDUE_SECONDS:
            continue
        yield Finding(OVERDUE, schedule.target, start, str(schedule.id))


def _disabled(known: Knowledge, schedules: tuple[Schedule, ...]) -> Iterator[Finding]:
    """Find targets whose schedules are all disabled, and that no other covers."""
    disabled = {s.target: s.id for s in schedules if s.status == "disabled"}
    if not disabled or not backup_required(known):
        return
    enabled = {s.target for s in schedules if s.enabled}
    covered = enabled | {s.target for s in schedules if s.status == "failed"}
    if any(target.type == VIRTUAL_MACHINE for target in enabled):
        return
    for target, number in disabled.items():
        whole = target.type == VIRTUAL_MACHINE and bool(enabled)
        if target not in covered and not whole:
            yield Finding(DISABLED, target, about=str(number))
