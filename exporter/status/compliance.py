"""Compliance: how many servers that need backups have them in time, also by owner.

The rule is that of ``onapp_vm_backup_in_time``.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

import msgspec

from ..health.conditions import SUSPENDED
from ..health.targets import backup_required
from .schema import Compliance, OwnerCompliance
from .select import JudgedServer


def compliance(servers: Iterable[JudgedServer]) -> Compliance:
    """Return the compliance of all these servers together."""
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


def compliance_by_owner(servers: Iterable[JudgedServer]) -> list[OwnerCompliance]:
    """Return the compliance of each owner; most servers not in time first.

    Owners on different panels are different, even if their numbers are equal.
    """
    owned: dict[tuple[str, int | None], list[JudgedServer]] = {}
    for judged in servers:
        owned.setdefault((judged.panel.name, judged.user_id), []).append(judged)
    owners = [
        OwnerCompliance(
            panel=panel,
            user_id=user_id,
            **msgspec.structs.asdict(compliance(of_owner)),
        )
        for (panel, user_id), of_owner in owned.items()
    ]
    return sorted(owners, key=_worst_first)


def _worst_first(owner: OwnerCompliance) -> tuple[int, int, str, float]:
    number = inf if owner.user_id is None else owner.user_id
    return -owner.not_in_time, -owner.unknown, owner.panel, number


def _may_need_backups(judged: JudgedServer) -> bool:
    state = judged.health.state
    if judged.health.condition is SUSPENDED:
        return False
    return state is None or backup_required(state) is not False
