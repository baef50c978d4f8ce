"""Routes: the addresses of the API, their handlers and permissions."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ..cloud.database import Database
from ..cloud.rows import Backup, Schedule, Server, Transaction
from .encoding import Fields, Row, RowList
from .serializers import Serializer

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


class NotFound(Exception):
    """There is no such row, or not for this account."""


@dataclass(slots=True)
class LazyRowList:
    """A list whose rows are serialized only for the page that is returned."""

    root: str
    element: str
    rows: Sequence[Any]
    serialize: Callable[[Any], Fields]

    def page(self, first: int = 0, count: int | None = None) -> RowList:
        """Serialize some of the rows; None = up to the last."""
        last = None if count is None else first + count
        rows = [self.serialize(row) for row in self.rows[first:last]]
        return RowList(self.root, self.element, rows)


@dataclass(slots=True)
class RouteContext:
    """The data, account and parameters that a handler needs."""

    database: Database
    serializer: Serializer
    version: str
    visible: Callable[[Server], bool]
    parameters: dict[str, str] = field(default_factory=dict)

    @property
    def server(self) -> Server:
        """The server in the address, by number or identifier."""
        server = self.database.server(self.parameters["server"])
        if server is None or not self.visible(server):
            raise NotFound
        return server

    @property
    def servers(self) -> list[Server]:
        """The servers that the account may see."""
        return list(filter(self.visible, self.database.servers.values()))

    def can_see(self, server: Server | None) -> bool:
        """Return whether the account may see what belongs to a server or to none."""
        return server is None or self.visible(server)


Handler = Callable[[RouteContext], LazyRowList | Row | Fields]


@dataclass(frozen=True, slots=True)
class Route:
    """One address of the API, without its suffix."""

    pattern: re.Pattern[str]
    resource: Resource
    permission: str
    handler: Handler
    paged: bool = False
    """Whether it lists the whole cloud and is returned in pages."""
    unpaged_limit: int | None = None
    """The number of rows when no page is requested; None = all."""
    cached: bool = False
    """Whether it changes only with the revision of the server in the address."""


def _version(context: RouteContext) -> Fields:
    return {"version": context.version}


def _servers(context: RouteContext) -> LazyRowList:
    rows = context.servers
    return LazyRowList(
        "virtual_machines", "virtual_machine", rows, context.serializer.server
    )


def _statuses(context: RouteContext) -> LazyRowList:
    serialize = context.serializer.server_status
    return LazyRowList(
        "virtual_machines", "virtual_machine", context.servers, serialize
    )


def _server(context: RouteContext) -> Row:
    return Row("virtual_machine", context.serializer.server(context.server))


def _backup_list(
    context: RouteContext, is_listed: Callable[[Backup], bool] | None = None
) -> LazyRowList:
    server = context.server
    rows = list(filter(is_listed, context.database.backups_of(server.id)))
    serialize = context.serializer.backup
    return LazyRowList("backups", "backup", rows, lambda row: serialize(row, server))


def _backups(context: RouteContext) -> LazyRowList:
    return _backup_list(context)


def _images(context: RouteContext) -> LazyRowList:
    return _backup_list(context, lambda row: row.backup_type == "normal")


def _files(context: RouteContext) -> LazyRowList:
    return _backup_list(context, lambda row: row.backup_type == "incremental")


def _disk_backups(context: RouteContext) -> LazyRowList:
    disk_id = int(context.parameters["disk"])
    return _backup_list(context, lambda row: row.disk_id == disk_id)


def _backup(context: RouteContext) -> Row:
    backup = context.database.backups.get(int(context.parameters["backup"]))
    if backup is None:
        raise NotFound
    server = context.database.servers[backup.server_id]
    if not context.visible(server):
        raise NotFound
    return Row("backup", context.serializer.backup(backup, server))


def _recovery_points(context: RouteContext) -> LazyRowList:
    rows = context.database.recovery_points_of(context.server.id)
    serialize = context.serializer.recovery_point
    return LazyRowList("recovery_points", "recovery_point", rows, serialize)


def _server_disks(context: RouteContext) -> LazyRowList:
    rows = context.database.disks_of(context.server.id)
    return LazyRowList("disks", "disk", rows, context.serializer.disk)


def _all_disks(context: RouteContext) -> LazyRowList:
    visible_ids = {server.id for server in context.servers}
    rows = [d for d in context.database.disks.values() if d.server_id in visible_ids]
    return LazyRowList("disks", "disk", rows, context.serializer.disk)


def _schedule_list(context: RouteContext, rows: Iterable[Schedule]) -> LazyRowList:
    return LazyRowList("schedules", "schedule", list(rows), context.serializer.schedule)


def _server_schedules(context: RouteContext) -> LazyRowList:
    return _schedule_list(context, context.database.schedules_of(context.server.id))


def _all_schedules(context: RouteContext) -> LazyRowList:
    database = context.database
    return _schedule_list(
        context,
        (
            s
            for s in database.schedules.values()
            if context.can_see(database.owner_of(s.target))
        ),
    )


def _disk_schedules(context: RouteContext) -> LazyRowList:
    disk = context.database.disks.get(int(context.parameters["disk"]))
    if disk is None or not context.visible(context.database.servers[disk.server_id]):
        raise NotFound
    schedules = context.database.schedules.values()
    target = ("Disk", disk.id)
    return _schedule_list(context, (s for s in schedules if s.target == target))


def _transactions(context: RouteContext) -> LazyRowList:
    database = context.database
    rows = [
        row
        for row in database.transactions.values()
        if context.can_see(database.servers.get(row.associated_object_id or 0))
    ]
    return _transaction_list(context, rows)


def _transaction(context: RouteContext) -> Row:
    database = context.database
    row = database.transactions.get(int(context.parameters["transaction"]))
    if row is None:
        raise NotFound
    if not context.can_see(database.servers.get(row.associated_object_id or 0)):
        raise NotFound
    return Row("transaction", context.serializer.transaction(row))


def _server_transactions(context: RouteContext) -> LazyRowList:
    server_id = context.server.id
    rows = context.database.transactions.values()
    return _transaction_list(
        context, [row for row in rows if row.associated_object_id == server_id]
    )


def _transaction_list(context: RouteContext, rows: list[Transaction]) -> LazyRowList:
    rows.sort(key=lambda row: row.id, reverse=True)
    return LazyRowList(
        "transactions", "transaction", rows, context.serializer.transaction
    )


def _backup_servers(context: RouteContext) -> LazyRowList:
    rows = list(context.database.backup_servers.values())
    serialize = context.serializer.backup_server
    return LazyRowList("backup_servers", "backup_server", rows, serialize)


def _pattern(pattern: str) -> re.Pattern[str]:
    pattern = pattern.replace(":server", r"(?P<server>\w+)")
    pattern = re.sub(r":(disk|backup|transaction)", r"(?P<\1>\\d+)", pattern)
    return re.compile(pattern)


_SERVER = "/virtual_machines/:server"

ROUTES: tuple[Route, ...] = (
    Route(_pattern("/version"), "version", "settings.version", _version),
    Route(
        _pattern(f"{_SERVER}/backups"), "backups", "backups.read", _backups, cached=True
    ),
    Route(
        _pattern("/virtual_machines"),
        "virtual_machines",
        "virtual_machines.read",
        _servers,
        paged=True,
    ),
    Route(
        _pattern("/virtual_machines/status"),
        "virtual_machines",
        "virtual_machines.read",
        _statuses,
        paged=True,
    ),
    Route(_pattern(_SERVER), "virtual_machines", "virtual_machines.read", _server),
    Route(_pattern(f"{_SERVER}/backups/images"), "backups", "backups.read", _images),
    Route(_pattern(f"{_SERVER}/backups/files"), "backups", "backups.read", _files),
    Route(
        _pattern(f"{_SERVER}/backups/recovery_points"),
        "recovery_points",
        "backups.read",
        _recovery_points,
    ),
    Route(_pattern(f"{_SERVER}/disks"), "disks", "disks.read", _server_disks),
    Route(
        _pattern(f"{_SERVER}/disks/:disk/backups"),
        "backups",
        "backups.read",
        _disk_backups,
    ),
    Route(
        _pattern(f"{_SERVER}/schedules"),
        "schedules",
        "schedules.read",
        _server_schedules,
    ),
    Route(_pattern("/backups/:backup"), "backups", "backups.read", _backup),
    Route(
        _pattern("/settings/schedules"),
        "schedules",
        "schedules.read",
        _all_schedules,
        paged=True,
    ),
    Route(_pattern("/settings/disks"), "disks", "disks.read", _all_disks, paged=True),
    Route(
        _pattern("/settings/disks/:disk/schedules"),
        "schedules",
        "schedules.read",
        _disk_schedules,
    ),
    Route(
        _pattern("/transactions"),
        "transactions",
        "transactions.list",
        _transactions,
        paged=True,
        unpaged_limit=_LAST_TRANSACTIONS,
    ),
    Route(
        _pattern("/transactions/:transaction"),
        "transactions",
        "transactions.read",
        _transaction,
    ),
    Route(
        _pattern(f"{_SERVER}/transactions"),
        "transactions",
        "transactions.list",
        _server_transactions,
        paged=True,
        unpaged_limit=_LAST_TRANSACTIONS,
    ),
    Route(
        _pattern("/settings/backup_servers"),
        "backup_servers",
        "backup_servers.read",
        _backup_servers,
        paged=True,
    ),
)


def match_route(path: str) -> tuple[Route, dict[str, str]] | None:
    """Return the route of a path and the ids in it, or None."""
    for route in ROUTES:
        if match := route.pattern.fullmatch(path):
            return route, match.groupdict()
    return None
