"""Write docs/metrics.md from the tables of all metrics."""  # noqa: INP001  # no package

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractAsyncContextManager

from exporter.config.schema import Detail
from exporter.metrics import FAMILIES
from exporter.metrics.collector import BackupCollector
from exporter.metrics.exporter import OWN_FAMILIES, ExporterMetrics, OwnFamily
from exporter.metrics.family import AnyFamily
from exporter.model.entities import Backup, Server, Target
from exporter.model.selection import Expectation, Shard
from exporter.model.store import PanelStore, Store

_TEXT = """\
# Metrics

Generated from the tables of the exporter by `make docs`; do not edit.

Every value comes from the last poll of a panel, not from the moment of the scrape. Only
ages are computed at the scrape, in whole seconds. A scrape never asks a panel.

## Labels and joins

Labels identify: `panel` is the name of the panel in the configuration, `vm_id` the
number of a server there, and `backup_id` the number of a backup. `target_type` and
`target_id` say what a backup protects: a `Disk`, or a `VirtualMachine` as a whole.
Names and other descriptions are labels of `_info` metrics with the value 1, which you
join:

    onapp_target_last_success_timestamp_seconds
      * on (job, instance, panel, vm_id) group_left (label, hostname)
    onapp_vm_info

Such a join drops servers without `onapp_vm_info`, for example while the account may not
read the inventory. Where nothing must be lost, as in an alert, keep both:

    <the join>
      or on (job, instance, panel, vm_id, target_type, target_id)
    onapp_target_last_success_timestamp_seconds

## What is absent

An unknown value is left out: it is never -1, and 0 always means 0.

- `onapp_up` is absent before the panel's first answer, or failure to answer.
- `onapp_backup_age_seconds` and `onapp_backup_built_timestamp_seconds` are absent until
  the backup is built, `onapp_backup_size_bytes` until the panel sends the size.
- `onapp_target_last_success_*` are absent for a target without a built backup, and
  `onapp_target_oldest_unbuilt_timestamp_seconds` for one without an unbuilt one.
- `onapp_target_oldest_pending_timestamp_seconds` ignores old rows: those created before
  the last success or the last failed transaction, and those whose transaction was
  cancelled.
- `onapp_vm_last_restore_timestamp_seconds` is absent until a completed restore was seen
  in the panel's log, of which a start reads a thousand transactions. Prometheus has the
  earlier ones: `max_over_time(onapp_vm_last_restore_timestamp_seconds[1y])`.
- A target that has no backups at all has no series; its server has
  `onapp_vm_backups` 0.
- A server configured by an identifier that the panel does not know (yet) has only
  `onapp_vm_poll_success` 0, with the identifier as `vm_id`.
- `onapp_backup_*` are absent where `detail.backups` is `false`.

## Versions of OnApp

You need not configure the version: the exporter uses the fields that a row has.

| OnApp | what its panel lists | metrics that are absent |
|---|---|---|
{versions}

It is not known of every field in which version it was added. Without a field only its
metric is absent. Without `suspended` there is no `onapp_vm_suspended`, and no server
counts as suspended; without `marked_for_delete` no backup is marked.

## Freshness

`onapp_vm_poll_success` is 1 while the last read of a server's backups succeeded and is
not older than `poll.max_age`. After a failed read the last good values stay until they
are older than that. Then all series that are made from the server's backups are
removed. The age of a server's values is:

    time() - onapp_vm_last_poll_success_timestamp_seconds

A server is removed, with all its series, when two complete inventories in a row do not
list it: a single one can miss a row between two pages. One inventory is enough if its
backups answer HTTP 404, too, with the API's error message. An empty inventory removes
only servers whose backups are not found. A server that the filters no longer select is
removed at once. `onapp_panel_virtual_machines` follows each inventory. A deleted backup
is removed with the next poll of its server.

## How many series

| of each | series |
|---|---|
{counts}

`detail.backups: false` leaves out the series of backups, and `detail.newest_per_target`
all but the newest of each target. The series of targets and servers stay the same.

{sections}

## The process

prometheus-client adds its metrics of every Python process: `process_*` and `python_*`.
"""

_VERSIONS = (
    (
        "2.x",
        (
            "backups of disks: the size as text, the period in the type, the disk in "
            "place of a target. They are shown as those of newer versions, with "
            "`target_type` `Disk` and `backup_type` `normal`"
        ),
        "`onapp_schedule_retention_backups`, `onapp_recovery_point_*`",
    ),
    (
        "3.x to 5.8",
        (
            "incremental backups of whole servers too, and how many backups a schedule "
            "keeps, if it has that field"
        ),
        "`onapp_recovery_point_*`",
    ),
    (
        "5.9 and newer",
        (
            "recovery points of backup plugins too, if `collectors.recovery_points` is "
            "switched on"
        ),
        "none",
    ),
)
"""What the versions of OnApp list, and the metrics that are absent."""
_GROUPS = {
    "Backups": "backup_id",
    "Recovery points": "recovery_point_id",
    "Schedules": "schedule_id",
    "Backup servers": "backup_server_id",
    "Targets": "target_id",
    "Servers": "vm_id",
    "Transactions": "action",
    "Requests": "resource",
    "Panels": "panel",
}
"""Each kind of family, the narrowest first, by a label that only it and those above
it have."""
_EXPORTER = "The exporter itself"


def text() -> str:
    """Return the page."""
    return _TEXT.format(
        versions="\n".join(f"| {' | '.join(row)} |" for row in _VERSIONS),
        counts="\n".join(_counts()),
        sections="\n\n".join(_sections()),
    )


def _sections() -> Iterator[str]:
    families: tuple[AnyFamily | OwnFamily, ...] = (*FAMILIES, *OWN_FAMILIES)
    groups = {family.name: _group(family.labels) for family in families}
    for title in (*reversed(_GROUPS), _EXPORTER):
        rows = [_row(f) for f in families if groups[f.name] == title]
        if rows:
            head = "| metric | type | labels | value |\n|---|---|---|---|"
            yield "\n".join([f"## {title}\n", head, *rows])


def _group(labels: Iterable[str]) -> str:
    return next((t for t, label in _GROUPS.items() if label in labels), _EXPORTER)


def _row(family: AnyFamily | OwnFamily) -> str:
    labels = ", ".join(f"`{label}`" for label in family.labels)
    return f"| `{family.name}` | {family.type} | {labels} | {family.help} |"


def _counts() -> Iterator[str]:
    """Measure how many series one thing more brings."""
    one = _series(1, 1, 1)
    backup = _series(1, 1, 2) - one
    target = _series(1, 2, 1) - one - backup
    server = _series(2, 1, 1) - one - target - backup
    panel = one - server - target - backup
    yield f"| backup (built) | {backup} |"
    yield f"| target, without its backups | {target} |"
    yield f"| server, without its targets | {server} |"
    yield f"| panel, without its servers | {panel} |"
    yield f"| panel, for the requests to it | {_requests()} |"


def _series(servers: int, targets: int, backups: int) -> int:
    """Count the series of a cloud so large, in which everything is known."""
    panel = PanelStore(
        "cp",
        "https://cp.example.com",
        interval_seconds=900.0,
        max_age_seconds=3600.0,
        longest_silence_seconds=900.0,
        version="6.10.0",
        reachable=True,
        last_proven_at_monotonic=0.0,
        skew_seconds=0.0,
        servers_listed=servers,
        inventory_answered=True,
        inventory_succeeded=True,
        inventory_read_at=0.0,
    )
    for vm_id in range(servers):
        server = Server(vm_id, "", "", "", 1, 1, suspended=False, created_at=0.0)
        expected = Expectation(86400.0, backup_required=True)
        panel.register_server(vm_id, server, expected)
        rows = [_backup(t, b) for t in range(targets) for b in range(backups)]
        panel.record_backups(vm_id, tuple(rows), time=0.0, monotonic=0.0)
    collector = BackupCollector(Store({"cp": panel}), _Status(), Detail())
    return sum(len(metric.samples) for metric in collector.collect())


def _backup(target: int, number: int) -> Backup:
    return Backup(
        id=1000 * target + number,
        target=Target("Disk", target),
        built=True,
        locked=False,
        marked_for_delete=False,
        size_bytes=0,
        created_at=0.0,
        built_at=0.0,
        backup_type="normal",
        initiated="days",
        identifier="",
        backup_server_id=1,
    )


def _requests() -> int:
    telemetry = ExporterMetrics(version="", shard=Shard())
    before = _samples(telemetry)
    telemetry.panel("cp")
    return _samples(telemetry) - before


def _samples(telemetry: ExporterMetrics) -> int:
    return sum(len(metric.samples) for metric in telemetry.registry.collect())


class _Status:
    """A clock that stands at 0."""

    def time(self) -> float:
        """Return 0."""
        return 0.0

    def monotonic(self) -> float:
        """Return 0."""
        return 0.0

    async def wait(self, wake: object, seconds: float | None) -> None:
        """Is never called: nothing polls here."""

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[object]:
        """Is never called either."""
        raise NotImplementedError
