"""Families about a panel: its polling, backup servers and transactions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from ..clock import Now
from ..health.conditions import SERVER_CONDITIONS
from ..health.panel import poll_lag_seconds, queue_jams
from ..health.server import ServerHealth, count_conditions
from ..model.entities import (
    BACKUP_SERVERS,
    BACKUPS,
    INVENTORY,
    BackupServer,
    BackupServerUsage,
)
from ..model.store import PanelStore
from .family import (
    CountFamily,
    Family,
    PanelCounter,
    PanelFamily,
    Row,
    backup_server_label,
    identity,
    label_value,
)

_PANEL_LABELS = ("panel",)
_SHARD_LABELS = ("panel", "shard")
"""Of families whose value is one shard's: the values of all shards add up."""
_ACTION_LABELS = (*_SHARD_LABELS, "action")
_BACKUP_SERVER_LABELS = ("panel", "backup_server_id")
_USAGE_LABELS = (*_SHARD_LABELS, "backup_server_id")


def value_rows(
    value: Callable[[PanelStore, Now], float | None], *, of_shard: bool = False
) -> Callable[[PanelStore, Now], Iterator[Row[float]]]:
    """Return a function that yields the one row of a panel, if its value is known.

    A value that is one shard's has the shard in its labels.
    """

    def rows(panel: PanelStore, now: Now) -> Iterator[Row[float]]:
        known = value(panel, now)
        if known is not None:
            yield (panel.name, panel.shard) if of_shard else (panel.name,), known

    return rows


def state_count_rows(
    panel: PanelStore, healths: Mapping[int, ServerHealth]
) -> Iterator[Row[int]]:
    """Yield the number of own servers whose worst condition it is."""
    if panel.servers_listed is None:
        return  # no inventory was read yet
    counts = count_conditions(panel, healths)
    for condition in SERVER_CONDITIONS:
        yield (panel.name, panel.shard, condition.key), counts[condition]


def future_rows(panel: PanelStore, _: Now) -> int | None:
    """Return the number of rows with a date in the future, once all were read."""
    read = panel.first_pass_ended and panel.servers_listed is not None
    return panel.future_rows if read else None


def queue_jam_rows(panel: PanelStore, now: Now) -> Iterator[Row[float]]:
    """Yield since when the queue has not moved, by action."""
    for action, since in queue_jams(panel, now).items():
        yield (panel.name, action), since


def collector_duration_rows(panel: PanelStore, _: Now) -> Iterator[Row[float]]:
    """Yield how long each collector's last run took."""
    for collector, seconds in sorted(panel.durations.items()):
        yield (panel.name, panel.shard, collector), seconds


def panel_info_rows(panel: PanelStore, _: Now) -> Iterator[Row[int]]:
    """Yield the panel's URL and version, once it has answered."""
    if panel.last_proven_at_monotonic is not None:
        yield (panel.name, panel.url, label_value(panel.version)), 1


def collector_success_rows(panel: PanelStore, _: Now) -> Iterator[Row[float]]:
    """Yield the outcome of each collector's last run."""
    outcomes = (
        (INVENTORY, panel.inventory_succeeded),
        (BACKUPS, panel.backups_succeeded()),
        *panel.collectors_succeeded().items(),
    )
    for collector, succeeded in outcomes:
        if succeeded is not None:
            yield (panel.name, panel.shard, collector), float(succeeded)


_PANELS: tuple[Family, ...] = (
    PanelFamily(
        "onapp_up",
        "Whether the panel answers: 0 when version or inventory could not be polled, "
        "or when its account got no answer for longer than a poll interval.",
        _SHARD_LABELS,
        value_rows(lambda panel, _: panel.up(), of_shard=True),
        identity,
    ),
    PanelFamily(
        "onapp_panel_info",
        "Information about the panel, its address and version, as of the last poll; "
        "always 1.",
        (*_PANEL_LABELS, "url", "version"),
        panel_info_rows,
        identity,
    ),
    PanelFamily(
        "onapp_panel_virtual_machines",
        "Number of servers in the whole inventory of the panel after include and "
        "exclude, as of the last poll.",
        _PANEL_LABELS,
        value_rows(lambda panel, _: panel.servers_listed),
        identity,
    ),
    PanelFamily(
        "onapp_panel_clock_skew_seconds",
        "Clock of the panel minus clock of the exporter, in seconds, at the last "
        "answer.",
        _PANEL_LABELS,
        value_rows(lambda panel, _: panel.skew_seconds),
        identity,
    ),
    PanelFamily(
        "onapp_poll_interval_seconds",
        "Interval in seconds at which the backups of each server are polled.",
        _SHARD_LABELS,
        value_rows(lambda panel, _: panel.interval_seconds, of_shard=True),
        identity,
    ),
    PanelFamily(
        "onapp_poll_lag_seconds",
        "Delay in seconds of the poll of the most overdue server.",
        _SHARD_LABELS,
        value_rows(poll_lag_seconds, of_shard=True),
        identity,
    ),
    PanelFamily(
        "onapp_inventory_last_success_timestamp_seconds",
        "Unix time of the last complete poll of the inventory.",
        _PANEL_LABELS,
        value_rows(lambda panel, _: panel.inventory_read_at),
        identity,
    ),
    PanelFamily(
        "onapp_collector_success",
        "Whether the collector's last run succeeded; for backups, the last poll of "
        "every server.",
        (*_SHARD_LABELS, "collector"),
        collector_success_rows,
        identity,
    ),
    PanelFamily(
        "onapp_collector_duration_seconds",
        "Duration of the collector's last run in seconds; for backups, of one server.",
        (*_SHARD_LABELS, "collector"),
        collector_duration_rows,
        identity,
    ),
    CountFamily(
        "onapp_panel_servers",
        "Number of servers by their worst state, as of the last poll.",
        (*_SHARD_LABELS, "state"),
        state_count_rows,
    ),
    PanelFamily(
        "onapp_panel_future_dates",
        "Number of rows in the last answers with a date more than five minutes after "
        "the panel's clock.",
        _SHARD_LABELS,
        value_rows(future_rows, of_shard=True),
        identity,
    ),
    PanelFamily(
        "onapp_panel_credentials_refused",
        "Whether the panel refused the credentials in its last answer about them.",
        _SHARD_LABELS,
        value_rows(lambda panel, _: panel.credentials_refused, of_shard=True),
        identity,
    ),
    PanelFamily(
        "onapp_panel_queue_jam_start_timestamp_seconds",
        "Unix time since which no backup transaction of the panel has ended while "
        "some wait, as of the last poll; absent while the queue moves.",
        (*_PANEL_LABELS, "action"),
        queue_jam_rows,
        identity,
    ),
)


# Backup servers


def backup_server_rows(panel: PanelStore, now: Now) -> Iterator[Row[BackupServer]]:
    """Yield the backup servers that the panel lists."""
    for server in panel.listed(BACKUP_SERVERS, now.monotonic):
        yield (panel.name, str(server.id)), server


def backup_server_info_rows(panel: PanelStore, now: Now) -> Iterator[Row[int]]:
    """Yield the label of each backup server."""
    for server in panel.listed(BACKUP_SERVERS, now.monotonic):
        yield (panel.name, str(server.id), server.label), 1


def usage_rows(panel: PanelStore, now: Now) -> Iterator[Row[BackupServerUsage]]:
    """Yield number and size of the backups on each backup server."""
    for backup_server_id, usage in panel.backup_server_usage(now.monotonic).items():
        labels = (panel.name, panel.shard, backup_server_label(backup_server_id))
        yield labels, usage


_BACKUP_SERVERS: tuple[Family, ...] = (
    PanelFamily(
        "onapp_backup_server_info",
        "Information about the backup server, as of the last poll; always 1.",
        (*_BACKUP_SERVER_LABELS, "label"),
        backup_server_info_rows,
        identity,
    ),
    PanelFamily(
        "onapp_backup_server_enabled",
        "Whether the backup server is enabled, as of the last poll.",
        _BACKUP_SERVER_LABELS,
        backup_server_rows,
        lambda server: server.enabled,
    ),
    PanelFamily(
        "onapp_backup_server_capacity_bytes",
        "Configured capacity of the backup server in bytes, as of the last poll.",
        _BACKUP_SERVER_LABELS,
        backup_server_rows,
        lambda server: server.capacity_bytes,
    ),
    PanelFamily(
        "onapp_backup_server_backups",
        "Number of backups on the backup server, as of the last poll; none: on "
        "hypervisors.",
        _USAGE_LABELS,
        usage_rows,
        lambda usage: usage.backup_count,
    ),
    PanelFamily(
        "onapp_backup_server_used_bytes",
        "Space in bytes that the polled backups take on the backup server; none: on "
        "hypervisors.",
        _USAGE_LABELS,
        usage_rows,
        lambda usage: usage.size_bytes,
    ),
)


# Transactions


def transaction_count_rows(panel: PanelStore, _: Now) -> Iterator[Row[float]]:
    """Yield the number of ended transactions, by action and final status."""
    if panel.transaction_log is not None:
        for (action, status), count in panel.transaction_log.counts.items():
            yield (panel.name, panel.shard, action, status), count


def pending_count_rows(panel: PanelStore, now: Now) -> Iterator[Row[int]]:
    """Yield the number of pending and running transactions, by action."""
    for action, rows in panel.pending_transactions(now.monotonic).items():
        yield (panel.name, panel.shard, action), len(rows)


def oldest_pending_rows(panel: PanelStore, now: Now) -> Iterator[Row[float]]:
    """Yield when the oldest pending or running transaction was created, by action."""
    for action, rows in panel.pending_transactions(now.monotonic).items():
        created_times = [row.created_at for row in rows if row.created_at is not None]
        if created_times:
            yield (panel.name, panel.shard, action), min(created_times)


_TRANSACTIONS: tuple[Family, ...] = (
    PanelCounter(
        "onapp_transactions_total",
        "Number of backup transactions of this exporter's servers that ended since "
        "the start, by final status, as of the last poll.",
        (*_ACTION_LABELS, "status"),
        transaction_count_rows,
        identity,
    ),
    PanelFamily(
        "onapp_transactions_pending",
        "Number of backup transactions of this exporter's servers that wait or run, "
        "as of the last poll.",
        _ACTION_LABELS,
        pending_count_rows,
        identity,
    ),
    PanelFamily(
        "onapp_transactions_oldest_pending_timestamp_seconds",
        "Unix time when the oldest backup transaction that waits or runs was created, "
        "as of the last poll.",
        _ACTION_LABELS,
        oldest_pending_rows,
        identity,
    ),
)

FAMILIES: tuple[Family, ...] = (*_PANELS, *_BACKUP_SERVERS, *_TRANSACTIONS)
