"""The families about a panel as a whole, and about how its polling goes."""

from __future__ import annotations

from operator import itemgetter

from ..health.panel import poll_lag_seconds
from .family import Family, PanelCounter, PanelFamily
from .panel_samples import (
    backup_server_info,
    collector_success,
    each_backup_server,
    each_reading,
    each_share,
    of_panel,
    oldest_pending,
    panel_info,
    transactions_pending,
    transactions_total,
)
from .samples import itself

_PANEL = ("panel",)
_VM = ("panel", "vm_id")
_ACTION = ("panel", "action")
_BACKUP_SERVER = ("panel", "backup_server_id")

PANEL_FAMILIES: tuple[Family, ...] = (
    PanelFamily(
        "onapp_up",
        "Whether the panel answers: 0 when version or inventory could not be polled, "
        "or when its account got no answer for longer than a poll interval.",
        _PANEL,
        of_panel(lambda panel, now: panel.up(now.monotonic)),
        itself,
    ),
    PanelFamily(
        "onapp_panel_info",
        "The panel's address and its version as of the last poll.",
        (*_PANEL, "url", "version"),
        panel_info,
        itself,
    ),
    PanelFamily(
        "onapp_panel_virtual_machines",
        "Servers in the whole inventory of the panel after include and exclude, as of "
        "the last poll.",
        _PANEL,
        of_panel(lambda panel, _: panel.servers_listed),
        itself,
    ),
    PanelFamily(
        "onapp_panel_clock_skew_seconds",
        "The panel's clock minus the exporter's, in seconds, at the last answer.",
        _PANEL,
        of_panel(lambda panel, _: panel.skew_seconds),
        itself,
    ),
    PanelFamily(
        "onapp_poll_interval_seconds",
        "How often each server's backups are read, in seconds.",
        _PANEL,
        of_panel(lambda panel, _: panel.interval_seconds),
        itself,
    ),
    PanelFamily(
        "onapp_poll_lag_seconds",
        "How overdue the poll of the most overdue server is, in seconds.",
        _PANEL,
        of_panel(poll_lag_seconds),
        itself,
    ),
    PanelFamily(
        "onapp_inventory_last_success_timestamp_seconds",
        "When the inventory was last read whole, in Unix seconds.",
        _PANEL,
        of_panel(lambda panel, _: panel.inventory_read_at),
        itself,
    ),
    PanelFamily(
        "onapp_collector_success",
        "Whether the collector's last run succeeded; backups: every server's last "
        "poll.",
        (*_PANEL, "collector"),
        collector_success,
        itself,
    ),
    PanelFamily(
        "onapp_backup_server_info",
        "What describes the backup server, as of the last poll.",
        (*_BACKUP_SERVER, "label"),
        backup_server_info,
        itself,
    ),
    PanelFamily(
        "onapp_backup_server_enabled",
        "Whether the backup server is enabled, as of the last poll.",
        _BACKUP_SERVER,
        each_backup_server,
        lambda server: server.enabled,
    ),
    PanelFamily(
        "onapp_backup_server_capacity_bytes",
        "Configured capacity of the backup server in bytes, as of the last poll.",
        _BACKUP_SERVER,
        each_backup_server,
        lambda server: server.capacity_bytes,
    ),
    PanelFamily(
        "onapp_backup_server_backups",
        "Backups on the backup server, as of the last poll; none: on hypervisors.",
        _BACKUP_SERVER,
        each_share,
        lambda share: share.backups,
    ),
    PanelFamily(
        "onapp_backup_server_used_bytes",
        "Space that the polled backups take on the backup server, in bytes; none: on "
        "hypervisors.",
        _BACKUP_SERVER,
        each_share,
        lambda share: share.size_bytes,
    ),
    PanelCounter(
        "onapp_transactions_total",
        "Backup transactions of this exporter's servers, by the final status that they "
        "were seen to reach since the start, as polled.",
        (*_ACTION, "status"),
        transactions_total,
        itself,
    ),
    PanelFamily(
        "onapp_transactions_pending",
        "Backup transactions of this exporter's servers that wait or run, as of the "
        "last poll.",
        _ACTION,
        transactions_pending,
        itself,
    ),
    PanelFamily(
        "onapp_transactions_oldest_pending_timestamp_seconds",
        "When the oldest backup transaction that waits or runs was created, in Unix "
        "seconds, as polled.",
        _ACTION,
        oldest_pending,
        itself,
    ),
    PanelFamily(
        "onapp_vm_poll_success",
        "Whether the last poll of the server's backups succeeded and is not too old.",
        _VM,
        each_reading,
        itemgetter(0),
    ),
    PanelFamily(
        "onapp_vm_last_poll_success_timestamp_seconds",
        "When the server's backups were last polled with success, in Unix seconds.",
        _VM,
        each_reading,
        itemgetter(1),
    ),
)
