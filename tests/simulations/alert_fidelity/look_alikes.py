"""What is healthy in the simulated clouds but looks like trouble."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from alert_fidelity.clouds import START, Ground, Home
from alert_fidelity.server_problems import LOCKED_BRIEFLY, UNREADABLE_BRIEFLY
from alert_fidelity.timing import DAY, HOUR
from exporter.demo.rows import Target


@dataclass(frozen=True)
class Odd:
    """A way to look like trouble: how such servers are added, and what befalls them."""

    kind: str
    add: Callable[[Ground], Home]
    befall: Callable[[Ground, Home, float], None] | None = None
    """At a moment, several times in a long run; None: it is odd all the time."""
    last_days: float = 2.0
    """So much before the end of the run it is not done any more."""
    once: bool = True
    tells: bool = False
    """Whether it is written down by what is done."""


def _daily(ground: Ground) -> Home:
    return ground.home()


def _long_queue(ground: Ground, home: Home, _at: float) -> None:
    ground.world.strike("wait", target=home.target, seconds=2.7 * HOUR)


def _size_changes(ground: Ground, home: Home, _at: float) -> None:
    ground.world.strike("resize", target=home.target, factor=3.0)


def _rename(ground: Ground, home: Home, at: float) -> None:
    server = ground.world.servers[home.vm_id]
    server.label = f"renamed-{home.vm_id}-{at - START:.0f}"
    server.hostname = f"{server.label}.example.com"


def _destroy(ground: Ground, home: Home, _at: float) -> None:
    ground.world.remove_server(home.vm_id)


def _create(ground: Ground, _home: Home, at: float) -> None:
    server = ground.world.add_server(disk_gb=20, backup_server_id=1, swap=True)
    target = Target("Disk", ground.world.disks_of(server.id)[0].id)
    schedule = ground.world.add_schedule(*target, start_at=at + 22 * HOUR)
    home = Home(server.id, target, schedule.id, DAY)
    ground.healthy("server just created", at, home)


def _to_daily(ground: Ground, home: Home, at: float) -> None:
    ground.world.change_schedule(
        home.schedule_id, period="days", start_at=at + 20 * HOUR
    )


def _to_weekly(ground: Ground, home: Home, _at: float) -> None:
    ground.world.change_schedule(home.schedule_id, period="weeks")


def _later_start(ground: Ground, home: Home, _at: float) -> None:
    start = ground.world.schedules[home.schedule_id].start_at + 11 * HOUR
    ground.world.change_schedule(home.schedule_id, start_at=start)


def _to_incremental(ground: Ground, home: Home, at: float) -> None:
    ground.world.remove_schedule(home.schedule_id)
    ground.world.add_schedule("VirtualMachine", home.vm_id, start_at=at + 9 * HOUR)


def _remove_disk(ground: Ground, home: Home, _at: float) -> None:
    second = ground.world.disks_of(home.vm_id)[1]
    ground.world.remove_disk(second.id)


def _suspend(ground: Ground, home: Home, at: float) -> None:
    server = ground.world.servers[home.vm_id]
    server.suspended = True

    def resume() -> None:
        server.suspended = False

    ground.world.at(at + 3.5 * DAY, resume)


def _failed_restore(ground: Ground, home: Home, _at: float) -> None:
    newest = ground.world.backups_of(home.vm_id)[-1]
    for action in ("restore_backup", "destroy_backup", "convert_backup"):
        ground.world.add_transaction(
            action=action,
            status="failed",
            parent_id=newest.id,
            server_id=home.vm_id,
        )


def _by_hand(ground: Ground, home: Home, _at: float) -> None:
    """Let the owner take two by hand: they wait their turn."""
    for _ in range(2):
        ground.world.take_backup(*home.target)


def _two_disks(ground: Ground) -> Home:
    home = ground.home(disks=2)
    ground.schedule(Target("Disk", ground.world.disks_of(home.vm_id)[1].id))
    return home


def _without(ground: Ground) -> Home:
    server = ground.world.add_server(label="no backups were bought")
    return Home(server.id, Target("Disk", ground.world.disks_of(server.id)[0].id), 0, 0)


def _beside_disabled(ground: Ground) -> Home:
    home = ground.home()
    spare = ground.schedule(home.target, "weeks")
    ground.world.change_schedule(spare.id, status="disabled")
    return home


def _plugin(ground: Ground) -> Home:
    """Add a server of which only a plugin keeps backups, a new one every day."""
    world = ground.world
    server = world.add_server(label="plugin", created_at=START - 90 * DAY)

    def add() -> None:
        world.add_recovery_point(server.id)
        world.at(world.now + DAY, add)

    world.at(world.now, add)
    return Home(server.id, Target("VirtualMachine", server.id), 0, 0)


ODDITIES: tuple[Odd, ...] = (
    Odd("take that waits for nearly three hours", _daily, _long_queue, once=False),
    Odd("take three times as large", _daily, _size_changes, once=False),
    Odd("server renamed", _daily, _rename, once=False),
    Odd("server destroyed", _daily, _destroy, 0.1),
    Odd("server created", _daily, _create, once=False),
    Odd(
        "schedule changed from weeks to days",
        lambda ground: ground.home(period="weeks"),
        _to_daily,
    ),
    Odd("schedule changed from days to weeks", _daily, _to_weekly),
    Odd("schedule moved by eleven hours", _daily, _later_start, once=False),
    Odd("switch from normal to incremental", _two_disks, _to_incremental),
    Odd("disk removed, its images left", _two_disks, _remove_disk),
    Odd("server suspended, then resumed", _daily, _suspend, 4.0, once=False),
    Odd("restore failed", _daily, _failed_restore, once=False),
    Odd("backups by hand", _daily, _by_hand, once=False),
    Odd("backup locked for a day and a half", _daily, LOCKED_BRIEFLY, tells=True),
    Odd(
        "server unreadable for a quarter of an hour",
        _daily,
        UNREADABLE_BRIEFLY,
        once=False,
        tells=True,
    ),
    Odd("no backups bought", _without),
    Odd("weekly schedule", lambda ground: ground.home(period="weeks")),
    Odd("monthly schedule", lambda ground: ground.home(period="months", whole=True)),
    Odd("every three days", lambda ground: ground.home(duration=3)),
    Odd("incremental backups, some empty", lambda ground: ground.home(whole=True)),
    Odd("swap disk", lambda ground: ground.home(swap=True)),
    Odd("disabled schedule beside another", _beside_disabled),
)
"""Where schedules can be read."""

UNKNOWN_SCHEDULES: tuple[Odd, ...] = (
    Odd("every three days, schedules unknown", lambda ground: ground.home(duration=3)),
    Odd(
        "weekly, schedules unknown",
        lambda ground: ground.home(period="weeks", whole=True),
    ),
    Odd("backups of a plugin alone", _plugin),
    Odd("take that waits for nearly three hours", _daily, _long_queue, once=False),
)


def befall(ground: Ground, odd: Odd, home: Home, days: float) -> None:
    """Let what is odd happen within a run of so many days, and write it down."""
    if odd.befall is None:
        ground.healthy(odd.kind, START, home)
        return
    act = odd.befall
    at = START + ground.dice.uniform(0.3, 1.2) * DAY
    while at < START + (days - odd.last_days) * DAY:
        _at(ground, odd, home, act, float(round(at)))
        if odd.once:
            return
        at += ground.dice.uniform(3.0, 9.0) * DAY


def _at(
    ground: Ground,
    odd: Odd,
    home: Home,
    act: Callable[[Ground, Home, float], None],
    at: float,
) -> None:
    def happen() -> None:
        if not odd.tells:
            ground.healthy(odd.kind, at, home)
        act(ground, home, at)

    ground.world.at(at, happen)
