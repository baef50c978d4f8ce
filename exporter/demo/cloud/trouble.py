"""The demo cloud's servers that are in trouble, and some that only look like it."""

from collections.abc import Callable
from functools import partial

from .builder import Builder
from .rows import Server
from .time import DAY

HOSTILE_LABEL = 'shop "Ümläut" \\ <b>café</b> & 日本'

_PLUGIN_POINTS = 5


def add_troubled(builder: Builder) -> None:
    """Add a server for each trouble, visible at the moment to be looked at."""
    _add_misfortunes(builder)
    _add_unprotected(builder)
    _add_locked(builder)
    _add_disabled(builder)
    _add_suspended(builder)
    _add_plugin(builder)


def _add_misfortunes(builder: Builder) -> None:
    world = builder.world
    stale = builder.each_disk(builder.server("crm-stale", 3))
    stuck = builder.each_disk(builder.server("tracker-stuck", 2, gb=30))
    chain = builder.whole(builder.server("db-03-stuck", 2, gb=60))
    failed = builder.each_disk(builder.server("forum-failed", 4, gb=25))
    vanished = builder.each_disk(builder.server("ci-failed", 5, gb=25))
    shrunk = builder.each_disk(builder.server("reports-shrunk", 3, gb=50))
    builder.each_disk(builder.server(HOSTILE_LABEL, 3))

    def befall(server: Server, days_ago: float, strike: Callable[..., object]) -> None:
        happening = partial(strike, server_id=server.id)
        world.at(builder.until - days_ago * DAY, happening)

    befall(stale, 5.5, partial(world.strike, "skip", times=None))
    befall(stuck, 2.5, partial(world.strike, "stick"))
    befall(chain, 1.5, partial(world.strike, "stick"))
    befall(failed, 1.5, partial(world.strike, "fail"))
    befall(vanished, 3.5, partial(world.strike, "vanish", times=None))
    befall(shrunk, 1.5, partial(world.strike, "resize", factor=0.04))


def _add_unprotected(builder: Builder) -> None:
    """Add one that should have backups, one that need not, and a forgotten disk."""
    world = builder.world
    none_at_all = builder.server("hr-unprotected", 3, gb=40)
    world.disks_of(none_at_all.id)[0].has_autobackups = True
    builder.server("sandbox-without-backups", 5)
    forgotten = builder.server("nas-forgotten-disk", 5, disks=2, gb=100)
    builder.one_disk(world.disks_of(forgotten.id)[0].id)


def _add_locked(builder: Builder) -> None:
    world = builder.world
    locked = builder.each_disk(builder.server("vault-locked", 3, gb=30))

    def lock() -> None:
        world.backups_of(locked.id)[-1].locked = True

    world.at(builder.until - 6.5 * DAY, lock)


def _add_disabled(builder: Builder) -> None:
    world = builder.world
    disabled = builder.each_disk(builder.server("intranet-disabled", 3))
    schedule_id = world.schedules_of(disabled.id)[0].id
    disable = partial(world.change_schedule, schedule_id, status="disabled")
    world.at(builder.until - 4.5 * DAY, disable)


def _add_suspended(builder: Builder) -> None:
    world = builder.world
    suspended = builder.each_disk(builder.server("unpaid-suspended", 6))

    def suspend() -> None:
        suspended.suspended = True
        suspended.booted = False

    world.at(builder.until - 10.5 * DAY, suspend)


def _add_plugin(builder: Builder) -> None:
    """Add a server that only a plugin backs up."""
    world = builder.world
    exchange = builder.server("exchange-plugin", 4, gb=200)
    exchange.operating_system = "windows"
    add = partial(world.add_recovery_point, exchange.id, size_bytes=60 * 1024**3)
    for days_ago in range(_PLUGIN_POINTS):
        world.at(builder.until - (days_ago + 0.3) * DAY, add)
