"""Compliance: how many servers that need backups have them in time.

The same judgement as ``onapp_vm_backup_in_time``.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..health.conditions import SUSPENDED
from ..health.targets import backup_required
from .schema import Compliance
from .select import JudgedServer


def compliance(servers: Iterable[JudgedServer]) -> Compliance:
    """Return the compliance of these servers together."""
    count = in_time = not_in_time = unknown = size_bytes = 0
    for judged in servers:
        count += 1
        size_bytes += (judged.summary and judged.summary.size_bytes) or 0
        found = judged.health.in_time
        if found is None:
            unknown += _may_need_backups(judged)
        elif found:
            in_time += 1
        else:
            not_in_time += 1
    return Compliance(count, in_time, not_in_time, unknown, size_bytes)


def _may_need_backups(judged: JudgedServer) -> bool:
    state = judged.health.state
    if judged.health.condition is SUSPENDED:
        return False
    return state is None or backup_required(state) is not False
