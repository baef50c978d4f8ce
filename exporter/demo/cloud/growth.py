"""How large a backup gets and how long it takes."""

from collections.abc import Sequence

from . import pseudorandom as dice
from .rows import Disk
from .time import DAY

KIB_PER_GB = 1024 * 1024
_KIB_PER_SECOND = 80_000
_START_UP_SECONDS = 20.0
_IDLE_SHARE = 0.05
"""The share of incremental backups in which nothing had changed."""


def used_kib(disk: Disk, at: float, seed: int) -> float:
    """Return how full a disk is: a quarter when new, fuller by the year."""
    at_first = dice.between(0.2, 0.35, seed, "fill", disk.id)
    days = max(0.0, at - disk.created_at) / DAY
    noise = dice.between(0.985, 1.015, seed, "noise", disk.id, at)
    filled = min(0.95, at_first * (1 + days / 600)) * noise
    return disk.size_gb * KIB_PER_GB * filled


def full_kib(disks: Sequence[Disk], at: float, seed: int) -> int:
    """Return the size of a backup that holds everything."""
    return round(sum(used_kib(disk, at, seed) for disk in disks))


def delta_kib(full: int, *key: dice.Key) -> int:
    """Return the size of a backup that holds what changed since the last one."""
    if dice.fraction(*key, "idle") < _IDLE_SHARE:
        return 0
    return round(full * dice.between(0.002, 0.03, *key, "delta"))


def seconds_to_take(size_kib: int, *key: dice.Key) -> int:
    """Return how long it takes to copy a backup, in whole seconds."""
    pace = dice.between(0.8, 1.4, *key, "pace")
    return round(_START_UP_SECONDS + size_kib / _KIB_PER_SECOND * pace)
