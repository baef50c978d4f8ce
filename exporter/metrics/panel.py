"""Families about a panel: its polling, backup servers and transactions."""

from __future__ import annotations

from collections.abc import Iterator

from ..health.conditions import SERVER_CONDITIONS
from ..health.panel import poll_lag_seconds, queue_jams
from ..health.server import count_conditions
from ..health.targets import least
from ..model.entities import (
    BACKUP_SERVERS,
    BackupServer,
    BackupServerUsage,
    Transaction,
)
from .family import (
    AnyFamily,
    PanelFamily,
    PanelView,
    Row,
    backup_server_label,
    label_value,
)

_PANEL_LABELS = ("panel",)
_SHARD_LABELS = ("panel", "shard")
"""Labels of families whose value is per shard: the values of all shards add up."""
_ACTION_LABELS = (*_SHARD_LABELS, "action")
_BACKUP_SERVER_LABELS = ("panel", "backup_server_id")
_USAGE_LABELS = (*_SHARD_LABELS, "backup_server_id")


def panel_rows(view: PanelView) -> Iterator[Row[PanelView]]:
    """Yield the panel with labels for values that are the same on all shards."""
    yield (view.panel.name,), view


def shard_rows(view: PanelView) -> Iterator[Row[PanelView]]:
    """Yield the panel with labels for values that are per shard."""
    yield view.shard_labels, view


def state_count_rows(view: PanelView) -> Iterator[Row[int]]:
    """Yield the number of own servers by their worst condition."""
    if view.panel.servers_listed is None:
        return  # no inventory has been read yet
    counts = count_conditions(view.panel, view.healths)
    for condition in SERVER_CONDITIONS:
        yield (*view.shard_labels, condition.key), counts[condition]


def future_rows(view: PanelView) -> int | None:
    """Return the number of rows with a future date; None before all were read."""
    panel = view.panel
    read = panel.first_pass_ended and panel.servers_listed is not None
    return panel.future_rows if read else None


def queue_jam_rows(view: PanelView) -> Iterator[Row[float]]:
    """Yield since when the queue is jammed, by action."""
    for action, since in queue_jams(view.panel, view.now).items():
        yield (view.panel.name, action), since


def collector_duration_rows(view: PanelView) -> Iterator[Row[float]]:
    """Yield the duration of each collector's last run."""
    for collector, seconds in sorted(view.panel.durations.items()):
        yield (*view.shard_labels, collector), seconds


def panel_info_rows(view: PanelView) -> Iterator[Row[int]]:
    """Yield the panel's URL and version, once it has answered."""
    panel = view.panel
    if panel.last_proven_at_monotonic is not None:
        yield (panel.name, panel.url, label_value(panel.version)), 1


def collector_success_rows(view: PanelView) -> Iterator[Row[bool | None]]:
    """Yield the outcome of each collector's last run."""
    for collector, succeeded in view.panel.collectors_succeeded().items():
        yield (*view.shard_labels, collector), succeeded


_PANELS: tuple[AnyFamily, ...] = (
    PanelFamily(
        "onapp_up",
        "Whether the panel answers: 0 when version or inventory could not be polled, "
        "or when its account got no answer for longer than a poll interval.",
        _SHARD_LABELS,
        shard_rows,
        lambda view: view.panel.up(),
    ),
    PanelFamily(
        "onapp_panel_info",
        "Information about the panel, its address and version, as of the last poll; "
        "always 1.",
        (*_PANEL_LABELS, "url", "version"),
        panel_info_rows,
    ),
    PanelFamily(
        "onapp_panel_virtual_machines",
        "Number of servers in the whole inventory of the panel after include and "
        "exclude, as of the last poll.",
        _PANEL_LABELS,
        panel_rows,
        lambda view: view.panel.servers_listed,
    ),
    PanelFamily(
        "onapp_panel_clock_skew_seconds",
        "Clock of the panel minus clock of the exporter, in seconds, at the last "
        "answer.",
        _PANEL_LABELS,
        panel_rows,
        lambda view: view.panel.skew_seconds,
    ),
    PanelFamily(
        "onapp_poll_interval_seconds",
        "Interval in seconds at which the backups of each server are polled.",
        _SHARD_LABELS,
        shard_rows,
        lambda view: view.panel.interval_seconds,
    ),
    PanelFamily(
        "onapp_poll_lag_seconds",
        "Delay in seconds of the poll of the most overdue server.",
        _SHARD_LABELS,
        shard_rows,
        lambda view: poll_lag_seconds(view.panel, view.now),
    ),
    PanelFamily(
        "onapp_inventory_last_success_timestamp_seconds",
        "Unix time of the last complete poll of the inventory.",
        _PANEL_LABELS,
        panel_rows,
        lambda view: view.panel.inventory_read_at,
    ),
    PanelFamily(
        "onapp_collector_success",
        "Whether the collector's last run succeeded; for backups, the last poll of "
        "every server.",
        (*_SHARD_LABELS, "collector"),
        collector_success_rows,
    ),
    PanelFamily(
        "onapp_collector_duration_seconds",
        "Duration of the collector's last run in seconds; for backups, of one server.",
        (*_SHARD_LABELS, "collector"),
        collector_duration_rows,
    ),
    PanelFamily(
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
        shard_rows,
        future_rows,
    ),
    PanelFamily(
        "onapp_panel_credentials_refused",
        "Whether the panel refused the credentials in its last answer about them.",
        _SHARD_LABELS,
        shard_rows,
        lambda view: view.panel.credentials_refused,
    ),
    PanelFamily(
        "onapp_panel_queue_jam_start_timestamp_seconds",
        "Unix time since which no backup transaction of the panel has ended while "
        "some wait, as of the last poll; absent while the queue moves.",
        (*_PANEL_LABELS, "action"),
        queue_jam_rows,
    ),
)


# Backup servers


def backup_server_rows(view: PanelView) -> Iterator[Row[BackupServer]]:
    """Yield the backup servers that the panel lists."""
    for server in view.panel.listed(BACKUP_SERVERS, view.now.monotonic):
        yield (view.panel.name, str(server.id)), server


def backup_server_info_rows(view: PanelView) -> Iterator[Row[int]]:
    """Yield the label of each backup server."""
    for server in view.panel.listed(BACKUP_SERVERS, view.now.monotonic):
        yield (view.panel.name, str(server.id), server.label), 1


def usage_rows(view: PanelView) -> Iterator[Row[BackupServerUsage]]:
    """Yield the number and the size of the backups on each backup server."""
    usages = view.panel.backup_server_usage(view.now.monotonic)
    for backup_server_id, usage in usages.items():
        yield (*view.shard_labels, backup_server_label(backup_server_id)), usage


_BACKUP_SERVERS: tuple[AnyFamily, ...] = (
    PanelFamily(
        "onapp_backup_server_info",
        "Information about the backup server, as of the last poll; always 1.",
        (*_BACKUP_SERVER_LABELS, "label"),
        backup_server_info_rows,
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


def transaction_count_rows(view: PanelView) -> Iterator[Row[float]]:
    """Yield the number of ended transactions, by action and final status."""
    log = view.panel.transaction_log
    for (action, status), count in () if log is None else log.counts.items():
        yield (*view.shard_labels, action, status), count


def pending_rows(view: PanelView) -> Iterator[Row[list[Transaction]]]:
    """Yield the pending and running transactions, by action."""
    pending = view.panel.pending_transactions(view.now.monotonic)
    for action, transactions in pending.items():
        yield (*view.shard_labels, action), transactions


_TRANSACTIONS: tuple[AnyFamily, ...] = (
    PanelFamily(
        "onapp_transactions_total",
        "Number of backup transactions of this exporter's servers that ended since "
        "the start, by final status, as of the last poll.",
        (*_ACTION_LABELS, "status"),
        transaction_count_rows,
    ),
    PanelFamily(
        "onapp_transactions_pending",
        "Number of backup transactions of this exporter's servers that are pending or "
        "running, as of the last poll.",
        _ACTION_LABELS,
        pending_rows,
        len,
    ),
    PanelFamily(
        "onapp_transactions_oldest_pending_timestamp_seconds",
        "Unix time when the oldest backup transaction that is pending or running was "
        "created, as of the last poll.",
        _ACTION_LABELS,
        pending_rows,
        lambda transactions: least(each.created_at for each in transactions),
    ),
)

FAMILIES: tuple[AnyFamily, ...] = (*_PANELS, *_BACKUP_SERVERS, *_TRANSACTIONS)
