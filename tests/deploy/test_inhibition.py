"""Tests with a real Alertmanager: of alerts about one problem, one is sent."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeAlias

import aiohttp
from alert_rules import RULES_FOLDER, alerting_rules
from prometheus_processes import alertmanager, free_port

Labels: TypeAlias = dict[str, str]


def alert(name: str, severity: str = "warning", **labels: str) -> Labels:
    """Return an alert's labels."""
    return {"alertname": name, "severity": severity, **labels}


def of_target(name: str, severity: str = "warning", **labels: str) -> Labels:
    """Return the labels of an alert about one disk."""
    target = {"vm_id": "1", "target_type": "Disk", "target_id": "11"}
    return alert(name, severity, **target, **labels)


_JAM = alert("OnAppQueueJam", action="take_backup")
_STALE = of_target("OnAppBackupStale")
_VERY_STALE = of_target("OnAppBackupVeryStale", "critical")
_STUCK = of_target("OnAppBackupStuck")
_STUCK_LONG = of_target("OnAppBackupStuck", "critical")
_FAILED = of_target("OnAppBackupFailed")
_OVERDUE = of_target("OnAppScheduleOverdue", schedule_id="7")
_GIVEN_UP = of_target("OnAppScheduleFailing", "critical", schedule_id="7")
_DATA_OLD = alert("OnAppBackupDataOld", vm_id="1")
_LAGGING = alert("OnAppPollLagging")
_DOWN = alert("OnAppPanelDown", "critical")
_REFUSED = alert("OnAppPanelUnauthorized", "critical")
_UNPROTECTED = alert("OnAppServerUnprotected", "critical", vm_id="1")
_LAST = {"job": "last", "panel": "last"}
_EXPORTER_DOWN = alert("OnAppExporterDown", "critical")
_SHARD_DOWN = alert("OnAppExporterDown", "critical", shard="missing")
_FLAPPING = alert("OnAppExporterFlapping", instance="x")
_UNREAD = alert("OnAppBackupDataOld", "critical")
_FAILED_ROW_GONE = alert("OnAppBackupFailed", vm_id="1")
_DISK = of_target("OnAppDiskUnprotected")
_UNSCHEDULED = of_target("OnAppScheduleDisabled")
_FAILING = of_target("OnAppScheduleFailing", schedule_id="7")
_NO_SERVERS, _SHRANK = alert("OnAppNoServers"), alert("OnAppInventoryShrank")

PROBLEMS: dict[str, tuple[list[Labels], list[Labels]]] = {
    "too old, then much too old": ([_VERY_STALE, _STALE], [_VERY_STALE]),
    "stuck": ([_STUCK, _STALE], [_STUCK]),
    "stuck long": ([_STUCK_LONG, _STUCK, _VERY_STALE, _STALE], [_STUCK_LONG]),
    "failed": ([_FAILED, _STALE], [_FAILED]),
    "failed too often": ([_GIVEN_UP, _FAILED, _VERY_STALE, _STALE], [_GIVEN_UP]),
    "failed, and the row is gone": (
        [_FAILED_ROW_GONE, _FAILING, _STALE],
        [_FAILED_ROW_GONE],
    ),
    "failed for long, and the row is gone": (
        [_VERY_STALE, _FAILED_ROW_GONE, _STALE],
        [_VERY_STALE],
    ),
    "failing": ([_FAILING, _STALE], [_FAILING]),
    "failing, and failed": ([_FAILED, _FAILING, _STALE], [_FAILED]),
    "unscheduled": ([_UNSCHEDULED, _STALE], [_UNSCHEDULED]),
    "a disk without a backup": ([_DISK, _FAILED, _STALE, _UNSCHEDULED], [_DISK]),
    "no servers": ([_NO_SERVERS, _SHRANK], [_NO_SERVERS]),
    "overdue": ([_OVERDUE, _STALE], [_OVERDUE]),
    "overdue for long": ([_OVERDUE, _VERY_STALE, _STALE], [_VERY_STALE]),
    "no backup at all": ([_UNPROTECTED, _STUCK_LONG, _FAILED, _STALE], [_UNPROTECTED]),
    "a queue that is jammed": ([_JAM, _STUCK, _STALE, _OVERDUE], [_JAM]),
    "a panel that is down": ([_DOWN, _DATA_OLD, _LAGGING, _VERY_STALE], [_DOWN]),
    "credentials refused": ([_REFUSED, _DOWN, _DATA_OLD, _STALE], [_REFUSED]),
    "slow": ([_LAGGING, _DATA_OLD], [_LAGGING]),
    "one server that cannot be read": ([_DATA_OLD], [_DATA_OLD]),
}


class Alertmanager:
    """A running Alertmanager, and its API."""

    def __init__(self, port: int, session: aiohttp.ClientSession) -> None:
        """Ask the one on this port."""
        self.alerts = f"http://127.0.0.1:{port}/api/v2/alerts"
        self.session = session

    async def reported(self, alerts: list[Labels]) -> list[Labels]:
        """Let alerts fire; return those that nothing inhibits."""
        await self._send([*alerts, _VERY_STALE | _LAST, _STALE | _LAST])
        while True:
            async with self.session.get(self.alerts) as response:
                found = await response.json()
            inhibited = [one for one in found if one["status"]["inhibitedBy"]]
            if any(one["labels"].get("panel") == _LAST["panel"] for one in inhibited):
                break  # alerts are taken in one by one, and these were the last
            await asyncio.sleep(0.05)
        reported = [one["labels"] for one in found if one not in inhibited]
        return [labels for labels in reported if labels.get("panel") != _LAST["panel"]]

    async def _send(self, alerts: list[Labels]) -> None:
        body = [{"labels": labels} for labels in alerts]
        while True:
            try:
                async with self.session.post(self.alerts, json=body) as response:
                    response.raise_for_status()
                    return
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.05)  # it does not listen yet


@asynccontextmanager
async def alerting(folder: Path) -> AsyncIterator[Alertmanager]:
    """Start an Alertmanager with the shipped configuration; it is gone afterwards."""
    file = folder / "alertmanager.yml"
    shutil.copy(RULES_FOLDER / file.name, file)
    port = free_port()
    async with alertmanager(file, port) as session:
        yield Alertmanager(port, session)


def _lines(alerts: list[Labels]) -> list[str]:
    return sorted(str(sorted(labels.items())) for labels in alerts)


async def test_one_problem_is_reported_once(tmp_path: Path) -> None:
    """The cause where it is known, the graver one, and never none."""
    sent, expected = [], []
    for problem, (alerts, reported) in PROBLEMS.items():
        where = {"job": "onapp", "panel": problem}
        sent += [labels | where for labels in alerts]
        expected += [labels | where for labels in reported]
    async with alerting(tmp_path) as started:
        reported = await started.reported(sent)

    assert _lines(expected) == _lines(reported)


async def test_another_target_server_panel_or_cloud_is_told_too(tmp_path: Path) -> None:
    """What is inhibited has the labels of what inhibits it."""
    home = {"cluster": "eu", "job": "onapp", "panel": "lon1"}
    others = [
        _STALE | home | {"target_id": "12"},
        _STALE | home | {"panel": "ams1"},
        _STALE | home | {"cluster": "us"},
        _STALE | home | {"job": "other"},
        of_target("OnAppBackupFailed") | home | {"vm_id": "2"},
        alert("OnAppBackupServerDisabledInUse", backup_server_id="1") | home,
    ]
    sent = [_VERY_STALE | home, _STALE | home, *others]
    async with alerting(tmp_path) as started:
        reported = await started.reported(sent)

    assert _lines([_VERY_STALE | home, *others]) == _lines(reported)


async def test_an_exporter_that_is_down_silences_its_job_a_shard_nothing(
    tmp_path: Path,
) -> None:
    """The other shards still know what they say."""
    all_down, shard_down = {"job": "a"}, {"job": "b"}
    replica = alert("OnAppExporterDown", instance="x")
    below = (_DOWN, _STALE, replica, _FLAPPING)
    sent = [
        *(labels | all_down for labels in (_EXPORTER_DOWN, *below)),
        *(labels | shard_down for labels in (_SHARD_DOWN, _UNREAD, replica, _STALE)),
    ]
    async with alerting(tmp_path) as started:
        reported = await started.reported(sent)

    assert _lines(
        [
            _EXPORTER_DOWN | all_down,
            *(labels | shard_down for labels in (_SHARD_DOWN, _STALE)),
        ]
    ) == _lines(reported)


def test_inhibition_speaks_of_alerts_that_exist() -> None:
    """A renamed alert must be renamed there too: these cases use shipped ones."""
    shipped = {(one["alert"], one["labels"]["severity"]) for one in alerting_rules()}
    used = {
        (labels["alertname"], labels["severity"])
        for alerts, _ in PROBLEMS.values()
        for labels in alerts
    }

    assert used <= shipped
