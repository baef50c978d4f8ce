"""Which address answers what, and which permission it takes."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ..cloud.database import Inventory
from ..cloud.rows import Backup, Schedule, Server
from .encoding import Fields, Row, Rows
from .serializers import Dialect

Resource = Literal[
    "version",
    "virtual_machines",
    "backups",
    "schedules",
    "disks",
    "transactions",
    "backup_servers",
    "recovery_points",
]

_LAST_TRANSACTIONS = 10


class Missing(Exception):
    """There is no such row, or not for this account."""


@dataclass(slots=True)
class Listing:
    """A list whose rows are worded only when they are shown."""

    root: str
    element: str
    rows: Sequence[Any]
    worded: Callable[[Any], Fields]

    def shown(self, first: int = 0, count: int | None = None) -> Rows:
        """Word some of the rows."""
        last = None if count is None else first + count
        rows = [self.worded(row) for row in self.rows[first:last]]
        return Rows(self.root, self.element, rows)


@dataclass(slots=True)
class Question:
    """What one request asks for."""

    world: Inventory
    dialect: Dialect
    version: str
    visible: Callable[[Server], bool]
    parameters: dict[str, str] = field(default_factory=dict)

    @property
    def server(self) -> Server:
        """The server in the address, by number or identifier."""
        server = self.world.server(self.parameters["server"])
        if server is None or not self.visible(server):
            raise Missing
        return server

    @property
    def servers(self) -> list[Server]:
        """Every server the account may see."""
        return list(filter(self.visible, self.world.servers.values()))

    def sees(self, server: Server | None) -> bool:
        """Say whether the account may see what belongs to a server, if any does."""
        return server is None or self.visible(server)


Answer = Callable[[Question], Listing | Row | Fields]


@dataclass(frozen=True, slots=True)
class Route:
    """One address of the panel, without its suffix."""

    pattern: re.Pattern[str]
    resource: Resource
    permission: str
    answer: Answer
    paged: bool = False
    """Whether it lists the whole cloud and so comes in pages."""
    unasked: int | None = None
    """How many rows come when no page is asked for; None = all."""
    cached: bool = False
    """Whether it changes only with the ledger of the server in the address."""


def _version(question: Question) -> Fields:
    return {"version": question.version}


def _servers(question: Question) -> Listing:
    rows = question.servers
    return Listing("virtual_machines", "virtual_machine", rows, question.dialect.server)


def _statuses(question: Question) -> Listing:
    worded = question.dialect.server_status
    return Listing("virtual_machines", "virtual_machine", question.servers, worded)


def _server(question: Question) -> Row:
    return Row("virtual_machine", question.dialect.server(question.server))


def _backup_list(
    question: Question, wanted: Callable[[Backup], bool] | None = None
) -> Listing:
    server = question.server
    rows = list(filter(wanted, question.world.backups_of(server.id)))
    dialect = question.dialect
    return Listing("backups", "backup", rows, lambda row: dialect.backup(row, server))


def _backups(question: Question) -> Listing:
    return _backup_list(question)


def _images(question: Question) -> Listing:
    return _backup_list(question, lambda row: row.backup_type == "normal")


def _files(question: Question) -> Listing:
    return _backup_list(question, lambda row: row.backup_type == "incremental")


def _disk_backups(question: Question) -> Listing:
    disk_id = int(question.parameters["disk"])
    return _backup_list(question, lambda row: row.disk_id == disk_id)


def _backup(question: Question) -> Row:
    backup = question.world.backups.get(int(question.parameters["backup"]))
    if backup is None:
        raise Missing
    server = question.world.servers[backup.server_id]
    if not question.visible(server):
        raise Missing
    return Row("backup", question.dialect.backup(backup, server))


def _recovery_points(question: Question) -> Listing:
    rows = question.world.recovery_points_of(question.server.id)
    worded = question.dialect.recovery_point
    return Listing("recovery_points", "recovery_point", rows, worded)


def _server_disks(question: Question) -> Listing:
    rows = question.world.disks_of(question.server.id)
    return Listing("disks", "disk", rows, question.dialect.disk)


def _all_disks(question: Question) -> Listing:
    seen = {server.id for server in question.servers}
    rows = [d for d in question.world.disks.values() if d.server_id in seen]
    return Listing("disks", "disk", rows, question.dialect.disk)


def _schedule_list(question: Question, rows: Iterable[Schedule]) -> Listing:
    return Listing("schedules", "schedule", list(rows), question.dialect.schedule)


def _server_schedules(question: Question) -> Listing:
    return _schedule_list(question, question.world.schedules_of(question.server.id))


def _all_schedules(question: Question) -> Listing:
    world = question.world
    return _schedule_list(
        question,
        (
            s
            for s in world.schedules.values()
            if question.sees(world.owner_of(s.target))
        ),
    )


def _disk_schedules(question: Question) -> Listing:
    disk = question.world.disks.get(int(question.parameters["disk"]))
    if disk is None or not question.visible(question.world.servers[disk.server_id]):
        raise Missing
    schedules = question.world.schedules.values()
    wanted = ("Disk", disk.id)
    return _schedule_list(question, (s for s in schedules if s.target == wanted))


def _transactions(question: Question) -> Listing:
    world = question.world
    rows = [
        row
        for row in world.transactions.values()
        if question.sees(world.servers.get(row.associated_object_id or 0))
    ]
    rows.sort(key=lambda row: row.id, reverse=True)
    return Listing("transactions", "transaction", rows, question.dialect.transaction)


def _backup_servers(question: Question) -> Listing:
    rows = list(question.world.backup_servers.values())
    worded = question.dialect.backup_server
    return Listing("backup_servers", "backup_server", rows, worded)


def _address(pattern: str) -> re.Pattern[str]:
    for name, shape in (("server", r"\w+"), ("disk", r"\d+"), ("backup", r"\d+")):
        pattern = pattern.replace(f":{name}", f"(?P<{name}>{shape})")
    return re.compile(pattern)


_ONE = "/virtual_machines/:server"

ROUTES: tuple[Route, ...] = (
    Route(_address("/version"), "version", "settings.version", _version),
    Route(
        _address(f"{_ONE}/backups"), "backups", "backups.read", _backups, cached=True
    ),
    Route(
        _address("/virtual_machines"),
        "virtual_machines",
        "virtual_machines.read",
        _servers,
        paged=True,
    ),
    Route(
        _address("/virtual_machines/status"),
        "virtual_machines",
        "virtual_machines.read",
        _statuses,
        paged=True,
    ),
    Route(_address(_ONE), "virtual_machines", "virtual_machines.read", _server),
    Route(_address(f"{_ONE}/backups/images"), "backups", "backups.read", _images),
    Route(_address(f"{_ONE}/backups/files"), "backups", "backups.read", _files),
    Route(
        _address(f"{_ONE}/backups/recovery_points"),
        "recovery_points",
        "backups.read",
        _recovery_points,
    ),
    Route(_address(f"{_ONE}/disks"), "disks", "disks.read", _server_disks),
    Route(
        _address(f"{_ONE}/disks/:disk/backups"),
        "backups",
        "backups.read",
        _disk_backups,
    ),
    Route(
        _address(f"{_ONE}/schedules"), "schedules", "schedules.read", _server_schedules
    ),
    Route(_address("/backups/:backup"), "backups", "backups.read", _backup),
    Route(
        _address("/settings/schedules"),
        "schedules",
        "schedules.read",
        _all_schedules,
        paged=True,
    ),
    Route(_address("/settings/disks"), "disks", "disks.read", _all_disks, paged=True),
    Route(
        _address("/settings/disks/:disk/schedules"),
        "schedules",
        "schedules.read",
        _disk_schedules,
    ),
    Route(
        _address("/transactions"),
        "transactions",
        "transactions.list",
        _transactions,
        paged=True,
        unasked=_LAST_TRANSACTIONS,
    ),
    Route(
        _address("/settings/backup_servers"),
        "backup_servers",
        "backup_servers.read",
        _backup_servers,
        paged=True,
    ),
)


def find(path: str) -> tuple[Route, dict[str, str]] | None:
    """Return the route of an address, and the ids in it."""
    for route in ROUTES:
        if match := route.pattern.fullmatch(path):
            return route, match.groupdict()
    return None
