"""Routes: the addresses of the API, their handlers and permissions."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..cloud.database import Database
from ..cloud.rows import Backup, Schedule, Server, Transaction
from .encoding import Fields, Row, RowList
from .options import PanelOptions
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

_OTHER_PERMISSIONS: dict[Resource, str] = {
    "version": "settings.version",
    "transactions": "transactions.list",
    "recovery_points": "backups.read",
}
"""Permissions that are not named after their resource."""
_LAST_TRANSACTIONS = 10


class NotFound(Exception):
    """The row does not exist, or the account may not see it."""


@dataclass(slots=True)
class LazyRowList:
    """A list that serializes only the rows of the returned page."""

    element: str
    rows: Sequence[Any]
    serialize: Callable[[Any], Fields]

    def page(self, first: int = 0, count: int | None = None) -> RowList:
        """Serialize some of the rows; a count of None = up to the last."""
        last = None if count is None else first + count
        rows = [self.serialize(row) for row in self.rows[first:last]]
        return RowList(f"{self.element}s", self.element, rows)


@dataclass(slots=True)
class RouteContext:
    """The data, account and parameters that a handler needs."""

    database: Database
    options: PanelOptions
    serializer: Serializer
    parameters: dict[str, str]

    @property
    def server(self) -> Server:
        """The server in the address, by number or identifier."""
        server = self.database.server(self.parameters["server"])
        if server is None or not self.options.visible(server):
            raise NotFound
        return server

    @property
    def servers(self) -> list[Server]:
        """The servers that the account may see."""
        return list(filter(self.options.visible, self.database.servers.values()))

    def can_see(self, server: Server | None) -> bool:
        """Return whether the account may see a server's rows; None = without server."""
        return server is None or self.options.visible(server)

    def can_see_task(self, task: Transaction) -> bool:
        """Return whether the account may see a transaction."""
        return self.can_see(self.database.servers.get(task.associated_object_id or 0))


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
    """The number of rows if no page is requested; None = all."""
    cached: bool = False
    """Whether it changes only with the revision of the server in the address."""


def _version(context: RouteContext) -> Fields:
    return {"version": context.options.version}


def _servers(context: RouteContext) -> LazyRowList:
    serialize = context.serializer.server
    return LazyRowList("virtual_machine", context.servers, serialize)


def _statuses(context: RouteContext) -> LazyRowList:
    serialize = context.serializer.server_status
    return LazyRowList("virtual_machine", context.servers, serialize)


def _server(context: RouteContext) -> Row:
    return Row("virtual_machine", context.serializer.server(context.server))


def _backup_list(
    context: RouteContext, is_listed: Callable[[Backup], bool] | None = None
) -> LazyRowList:
    server = context.server
    rows = list(filter(is_listed, context.database.backups_of(server.id)))
    serialize = context.serializer.backup
    return LazyRowList("backup", rows, lambda row: serialize(row, server))


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
    if not context.can_see(server):
        raise NotFound
    return Row("backup", context.serializer.backup(backup, server))


def _recovery_points(context: RouteContext) -> LazyRowList:
    rows = context.database.recovery_points_of(context.server.id)
    return LazyRowList("recovery_point", rows, context.serializer.recovery_point)


def _server_disks(context: RouteContext) -> LazyRowList:
    rows = context.database.disks_of(context.server.id)
    return LazyRowList("disk", rows, context.serializer.disk)


def _all_disks(context: RouteContext) -> LazyRowList:
    visible_ids = {server.id for server in context.servers}
    rows = [d for d in context.database.disks.values() if d.server_id in visible_ids]
    return LazyRowList("disk", rows, context.serializer.disk)


def _schedule_list(context: RouteContext, rows: Iterable[Schedule]) -> LazyRowList:
    return LazyRowList("schedule", list(rows), context.serializer.schedule)


def _server_schedules(context: RouteContext) -> LazyRowList:
    return _schedule_list(context, context.database.schedules_of(context.server.id))


def _all_schedules(context: RouteContext) -> LazyRowList:
    owner_of, rows = context.database.owner_of, context.database.schedules.values()
    visible = (row for row in rows if context.can_see(owner_of(row.target)))
    return _schedule_list(context, visible)


def _disk_schedules(context: RouteContext) -> LazyRowList:
    disk = context.database.disks.get(int(context.parameters["disk"]))
    if disk is None or not context.can_see(context.database.servers[disk.server_id]):
        raise NotFound
    schedules = context.database.schedules.values()
    target = ("Disk", disk.id)
    return _schedule_list(context, (s for s in schedules if s.target == target))


def _transaction_list(
    context: RouteContext, is_listed: Callable[[Transaction], bool]
) -> LazyRowList:
    rows = list(filter(is_listed, context.database.transactions.values()))
    rows.sort(key=lambda row: row.id, reverse=True)
    return LazyRowList("transaction", rows, context.serializer.transaction)


def _transactions(context: RouteContext) -> LazyRowList:
    return _transaction_list(context, context.can_see_task)


def _server_transactions(context: RouteContext) -> LazyRowList:
    server_id = context.server.id
    return _transaction_list(context, lambda row: row.associated_object_id == server_id)


def _transaction(context: RouteContext) -> Row:
    number = int(context.parameters["transaction"])
    row = context.database.transactions.get(number)
    if row is None or not context.can_see_task(row):
        raise NotFound
    return Row("transaction", context.serializer.transaction(row))


def _backup_servers(context: RouteContext) -> LazyRowList:
    rows = list(context.database.backup_servers.values())
    return LazyRowList("backup_server", rows, context.serializer.backup_server)


def _route(
    pattern: str,
    resource: Resource,
    handler: Handler,
    permission: str | None = None,
    **options: Any,
) -> Route:
    """Return a route; parameters in its pattern are names after colons."""
    pattern = pattern.replace(":server", r"(?P<server>\w+)")
    pattern = re.sub(r":(disk|backup|transaction)", r"(?P<\1>\\d+)", pattern)
    default = _OTHER_PERMISSIONS.get(resource, f"{resource}.read")
    return Route(
        re.compile(pattern), resource, permission or default, handler, **options
    )


_SERVER = "/virtual_machines/:server"
_LOG: dict[str, Any] = {"paged": True, "unpaged_limit": _LAST_TRANSACTIONS}

ROUTES: tuple[Route, ...] = (
    _route("/version", "version", _version),
    _route(f"{_SERVER}/backups", "backups", _backup_list, cached=True),
    _route("/virtual_machines", "virtual_machines", _servers, paged=True),
    _route("/virtual_machines/status", "virtual_machines", _statuses, paged=True),
    _route(_SERVER, "virtual_machines", _server),
    _route(f"{_SERVER}/backups/images", "backups", _images),
    _route(f"{_SERVER}/backups/files", "backups", _files),
    _route(f"{_SERVER}/backups/recovery_points", "recovery_points", _recovery_points),
    _route(f"{_SERVER}/disks", "disks", _server_disks),
    _route(f"{_SERVER}/disks/:disk/backups", "backups", _disk_backups),
    _route(f"{_SERVER}/schedules", "schedules", _server_schedules),
    _route("/backups/:backup", "backups", _backup),
    _route("/settings/schedules", "schedules", _all_schedules, paged=True),
    _route("/settings/disks", "disks", _all_disks, paged=True),
    _route("/settings/disks/:disk/schedules", "schedules", _disk_schedules),
    _route("/transactions", "transactions", _transactions, **_LOG),
    _route(
        "/transactions/:transaction", "transactions", _transaction, "transactions.read"
    ),
    _route(f"{_SERVER}/transactions", "transactions", _server_transactions, **_LOG),
    _route("/settings/backup_servers", "backup_servers", _backup_servers, paged=True),
)


def match_route(path: str) -> tuple[Route, dict[str, str]] | None:
    """Return the route of a path and the IDs in it; None: no route matches."""
    for route in ROUTES:
        if match := route.pattern.fullmatch(path):
            return route, match.groupdict()
    return None
