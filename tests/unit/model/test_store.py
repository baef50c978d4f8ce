"""The store of one panel: what it keeps of servers that are not monitored."""

from __future__ import annotations

from stores import a_panel, a_server

from exporter.model.entities import Transaction
from exporter.model.selection import Expectation

KEPT = 1_000


def test_failures_of_the_last_thousand_other_servers_are_kept() -> None:
    """A server may be monitored later, and a log of any length costs no more."""
    panel = a_panel()
    numbers = range(1, KEPT + 2)
    for number in numbers:
        panel.record_failed_backup(
            Transaction(
                id=number,
                action="take_backup",
                status="failed",
                vm_id=number,
                backup_id=None,
                created_at=float(number),
                updated_at=None,
            )
        )
    for number in numbers:
        panel.register_server(
            number, a_server(id=number, created_at=None), Expectation()
        )

    known = [n for n in numbers if panel.servers[n].state.failed_backups]

    assert known == list(numbers)[1:]
