"""Tests for what the page of one panel says, over real sockets."""

from __future__ import annotations

import re
from pathlib import Path

import faults
import msgspec
import pytest
from call_counts import counting_calls
from faulty_panel import Panel
from harness import NOW, MonitoredCloud, monitored
from looker import section, served, words_of
from stores import MONOTONIC, TIME, a_backup, a_panel, a_server, a_store, add_server
from web_handlers import handlers_for

from exporter.demo.cloud.simulation import SimulatedCloud
from exporter.model.entities import BackupServer, Transaction
from exporter.model.selection import Shard
from exporter.model.store import PanelList, PanelStore
from exporter.model.transaction_log import LogExcerpt, TransactionLog
from exporter.status.api import judged_panel, panel_status

HOUR = 3600.0


async def page_words(panel: PanelStore) -> str:
    """Return the words of a panel's page."""
    async with served(a_store(panel)) as looker:
        code, text = await looker.get("/panel", panel=panel.name)

    assert code == 200

    return words_of(text)


def a_run(number: int, status: str, ended_ago: float, **changes: object) -> Transaction:
    """Return the row of a backup run of server 1, half an hour long."""
    ended_at = TIME - ended_ago
    row = Transaction(
        *(number, "take_backup", status, 1, None, ended_at - HOUR / 2, ended_at)
    )
    return msgspec.structs.replace(row, **changes)


def log_of(*reads: list[Transaction]) -> TransactionLog:
    """Return the log after these reads, one an hour, the last one now."""
    log = TransactionLog()
    for number, rows in enumerate(reads, start=1 - len(reads)):
        log.update(
            LogExcerpt({row.id: row for row in rows}),
            owns=lambda vm_id: vm_id == 1,
            now=MONOTONIC + number * HOUR,
            time=TIME + number * HOUR,
            expires_at=MONOTONIC + (number + 1) * HOUR,
        )
    return log


def with_log(log: TransactionLog | None) -> PanelStore:
    """Return a panel with a server and this log."""
    panel = a_panel(transaction_log=log)
    add_server(panel, a_server(label="web-1"), a_backup())
    return panel


async def test_a_day_without_any_run_has_no_chart() -> None:
    """An empty one would look as if it had not been drawn."""
    words = section(await page_words(with_log(log_of([]))), "Backup runs")

    assert "0 failed, 0 cancelled, 0 complete." in words
    assert "By the hour" not in words


async def test_the_runs_of_the_last_day_are_counted_by_outcome() -> None:
    """Those that had ended before the exporter started too, and each only once."""
    first = [
        a_run(1, "complete", 30 * HOUR),
        a_run(2, "failed", 20.1 * HOUR),
        a_run(3, "complete", 20.2 * HOUR),
        a_run(4, "complete", 3 * HOUR, action="restore_backup"),
        a_run(5, "complete", 3 * HOUR, vm_id=2),
    ]
    second = [
        *first,
        a_run(6, "complete", 0.3 * HOUR),
        a_run(7, "cancelled", 0.2 * HOUR),
    ]
    words = section(await page_words(with_log(log_of(first, second))), "Backup runs")

    assert "1 failed, 1 cancelled, 2 complete." in words
    assert "Not known before" not in words
    assert "11:00: 1 complete, 1 failed, 0 cancelled;" in words


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        (None, "Not known: the log of transactions was not read."),
        (TransactionLog(), "Not known: the log of transactions was not read."),
        (log_of([a_run(1, "complete", 2 * HOUR)]), "Not known before 2 h 30 min ago"),
        (log_of([a_run(1, "complete", 2 * HOUR)], []), "0 failed"),
    ],
)
async def test_what_the_log_does_not_reach_is_not_called_zero(
    log: TransactionLog | None, expected: str
) -> None:
    """That none failed is said about the whole day only if the log covers it."""
    assert expected in section(await page_words(with_log(log)), "Backup runs")


async def test_pending_and_running_ones_lead_to_their_servers() -> None:
    """The oldest first, which may be the one that holds up the others."""
    rows = [a_run(8, "pending", HOUR), a_run(9, "running", 5 * HOUR)]
    words = section(await page_words(with_log(log_of(rows))), "Pending and running")
    old = log_of(rows)
    old._expires_at = 0.0  # noqa: SLF001  # as after hours without a read
    unknown = section(await page_words(with_log(old)), "Pending and running")

    assert re.findall(r"(\d+) take_backup (\w+) (\S+)", words) == [
        ("9", "running", "web-1"),
        ("8", "pending", "web-1"),
    ]
    assert unknown.startswith("Not known")


async def test_backup_servers_have_use_and_capacity() -> None:
    """A capacity that the panel does not give is not known, not zero."""
    rows = (
        BackupServer(1, "bs-1", enabled=True, capacity_bytes=4 * 1024**3),
        BackupServer(2, "bs-2", enabled=False, capacity_bytes=None),
    )
    panel = with_log(None)
    panel.panel_lists["backup_servers"] = PanelList(rows, MONOTONIC + 60)
    words = section(await page_words(panel), "Backup servers")

    assert "bs-1 1 enabled 1 1.0 GiB, 25 % of its capacity 4.0 GiB" in words
    assert "bs-2 2 disabled 0 0 Bytes not known" in words
    assert "collector is off" in section(
        await page_words(with_log(None)), "Backup servers"
    )


async def _page(cloud: MonitoredCloud) -> str:
    status, text, _ = await cloud.get("/panel?panel=cp")

    assert status == 200

    return words_of(text)


@pytest.mark.parametrize("count", [2, 40])
def test_each_further_full_backup_server_costs_no_sum_over_all_servers(
    count: int,
) -> None:
    """A cloud has ten thousand servers, and every backup server may be full."""
    full = range(1, count + 1)
    rows = (BackupServer(n, f"bs-{n}", enabled=True, capacity_bytes=1) for n in full)
    panel = a_panel()
    panel.panel_lists["backup_servers"] = PanelList(tuple(rows), MONOTONIC + 60)
    backups = (a_backup(id=number, backup_server_id=number) for number in full)
    add_server(panel, a_server(), *backups)
    views = handlers_for(a_store(panel)).views
    moment = views.exposition.snapshot()
    healths = views.exposition.healths(moment)
    with counting_calls(PanelStore.backup_server_usage) as work:
        health = judged_panel(moment.panels[0], healths, Shard(), moment.now)
        found = panel_status(moment.panels[0], health, moment.now, {})
        views.pages.panel(found, moment.panels[0], health, moment.now, None)

    assert [p.state for p in found.problems] == ["backup_server_full"] * count
    assert all(problem.reason for problem in found.problems)
    assert work["backup_server_usage"] == 1


async def test_a_collector_has_its_last_run_and_its_error(tmp_path: Path) -> None:
    """Since when it fails, what to do, and nothing once it succeeds again."""
    world = SimulatedCloud(NOW)
    world.add_backup(world.add_server().id)
    panel = Panel(world)
    async with monitored(panel, tmp_path) as cloud:
        good = section(await _page(cloud), "Collectors")
        fault = panel.faults.add(faults.status(500), resource="backup_servers")
        await cloud.advance(3 * HOUR)
        failing = section(await _page(cloud), "Collectors")
        fault.remove()
        await cloud.advance(3 * HOUR)
        again = section(await _page(cloud), "Collectors")

    def row(words: str) -> str:
        return words.partition("backup_servers ")[2].partition(" schedules ")[0]

    assert row(good).endswith("s none")
    assert "failed" in row(failing)
    assert "HTTP 500" in row(failing)
    assert "since 2 h 5" in row(failing)
    assert row(again).startswith("succeeded")
    assert row(again).endswith("s none")


async def test_a_reload_that_failed_is_said_until_one_succeeds(tmp_path: Path) -> None:
    """Whoever looks at the panel sees that the file is not what is in force."""
    world = SimulatedCloud(NOW)
    world.add_server()
    async with monitored(Panel(world), tmp_path) as cloud:
        good = cloud.file.read_text()
        cloud.file.write_text(good + "unknown_key: 1\n")
        await cloud.get("/-/reload", method="POST")
        await cloud.advance(120)
        broken = await _page(cloud)
        cloud.file.write_text(good)
        await cloud.get("/-/reload", method="POST")
        fixed = await _page(cloud)

    assert "The last reload of the configuration failed" in broken
    assert "unknown_key" in broken
    assert "2 min ago" in broken
    assert "reload" not in fixed


async def test_a_panel_that_is_not_configured_is_404() -> None:
    """Of another name there is none."""
    async with served(a_store(a_panel())) as looker:
        found = await looker.get("/panel", panel="else")

    assert found == (404, "panel: must be one of cp\n")
