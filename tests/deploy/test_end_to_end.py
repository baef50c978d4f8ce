"""A test of the whole way: from a panel to the receiver of a notification, and back.

Panel, exporter, Prometheus and Alertmanager run as they would, with the configuration
files that are shipped. Only addresses differ, and how long things take.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import yaml
from aiohttp import ContentTypeError, web
from alert_rules import RULES_FOLDER
from checkout import ROOT
from clouds import large_cloud
from exporter_process import exporter_process, poll_until
from faulty_panel import Panel
from prometheus_processes import Prometheus, alertmanager, free_port, prometheus

from exporter.demo.cloud.rows import Server

_QUICKER = {
    **dict.fromkeys(("scrape_interval", "evaluation_interval", "interval"), "1s"),
    **dict.fromkeys(("for", "keep_firing_for"), "1s"),
    **dict.fromkeys(("group_wait", "group_interval"), "3s"),
}
"""Durations that nobody could wait for here; no threshold is among them."""
_ADDRESSES = {"targets", "url"}
_DAILY = 5


class Receiver:
    """Whoever is told of alerts."""

    def __init__(self) -> None:
        """Begin without having been told anything."""
        self.url = ""
        self.notifications: list[dict[str, Any]] = []
        self._more = asyncio.Event()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Take notifications; it is gone afterwards."""
        port = free_port()
        application = web.Application()
        application.router.add_post("/", self._backup_run)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        self.url = f"http://127.0.0.1:{port}/"
        try:
            yield
        finally:
            await runner.cleanup()

    async def _backup_run(self, request: web.Request) -> web.Response:
        self.notifications.append(await request.json())
        self._more.set()
        return web.Response()

    async def has(self, count: int) -> list[dict[str, Any]]:
        """Wait until there are so many notifications."""
        while len(self.notifications) < count:
            self._more.clear()
            await self._more.wait()
        return self.notifications


def _shipped(name: str) -> Any:
    return yaml.safe_load((RULES_FOLDER / name).read_text("utf-8"))


def _quicker(value: Any) -> Any:
    """Return a configuration in which things take less time."""
    if isinstance(value, list):
        return [_quicker(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {key: _QUICKER.get(key) or _quicker(one) for key, one in value.items()}


def _prometheus(exporter: str, alerts: str) -> Any:
    config = _quicker(_shipped("prometheus.yml"))
    config["scrape_configs"][0]["static_configs"][0]["targets"] = [exporter]
    config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [alerts]
    return config


def _alertmanager(receiver: str) -> Any:
    config = _quicker(_shipped("alertmanager.yml"))
    config["receivers"][0]["webhook_configs"][0]["url"] = receiver
    return config


def _changed(before: Any, after: Any, key: str = "") -> Iterator[str]:
    """Yield the key of everything that differs."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in before.keys() | after.keys():
            yield from _changed(before.get(name), after.get(name), name)
    elif isinstance(before, list) and isinstance(after, list):
        for one, other in zip(before, after, strict=True):
            yield from _changed(one, other, key)
    elif before != after:
        yield key


@asynccontextmanager
async def _alerting(
    panel: Panel, receiver: Receiver, program: str, folder: Path
) -> AsyncIterator[Prometheus]:
    """Start all that is between a panel and a receiver."""
    file = folder / "exporter.yml"
    account = {"username": panel.username, "password": panel.password}
    watched = {"name": "lon1", "url": panel.url, "basic_auth": account}
    often = {"discovery": {"interval": "1s"}, "poll": {"interval": "1s"}}
    file.write_text(yaml.safe_dump({"panels": [watched | often]}))
    listen = "--web.listen-address=127.0.0.1:0"
    port = free_port()
    files = {
        "alertmanager.yml": _alertmanager(receiver.url),
        **{
            one.name: _quicker(_shipped(one.name))
            for one in RULES_FOLDER.glob("*.rules.yml")
        },
    }
    async with AsyncExitStack() as stack:
        exporter = await stack.enter_async_context(
            exporter_process(f"--config.file={file}", listen)
        )
        base = await exporter.base_url()
        await poll_until(f"{base}/-/ready", lambda status, _: status == 200)
        address = base.removeprefix("http://")
        files["prometheus.yml"] = _prometheus(address, f"127.0.0.1:{port}")
        for name, config in files.items():
            (folder / name).write_text(yaml.safe_dump(config))
        await stack.enter_async_context(alertmanager(folder / "alertmanager.yml", port))
        file = folder / "prometheus.yml"
        yield await stack.enter_async_context(prometheus(program, file))


async def _until(
    started: Prometheus, query: str, good: Callable[[list[dict[str, Any]]], object]
) -> None:
    """Wait until a query's answer is good."""
    while True:
        try:
            found = await started.query(query)
        except (OSError, ContentTypeError):
            found = []  # its port opens late, and answers with 503 at first
        if good(found):
            return
        await asyncio.sleep(0.2)


def _lose_backups(panel: Panel, server: Server) -> None:
    """Let all backups of a server but the oldest be gone."""
    for backup in panel.cloud.backups_of(server.id)[1:]:
        panel.cloud.remove_backup(backup.id)


def _back_up(panel: Panel, server: Server) -> None:
    """Let a server have a good backup."""
    oldest = panel.cloud.backups_of(server.id)[0]
    panel.cloud.add_backup(
        server.id,
        created_at=time.time() - 60,
        built_at=time.time() - 1,
        size_kib=oldest.size_kib,
        backup_type=oldest.backup_type,
        target_type=oldest.target.type,
        target_id=oldest.target.id,
        backup_server_id=oldest.backup_server_id,
    )


def test_what_is_used_here_is_what_is_shipped() -> None:
    """But for addresses, and for how long things take."""
    names = [file.name for file in RULES_FOLDER.glob("*.rules.yml")]
    pairs = [
        (_shipped("prometheus.yml"), _prometheus("a:1", "b:2")),
        (_shipped("alertmanager.yml"), _alertmanager("http://c:3/")),
        *((_shipped(name), _quicker(_shipped(name))) for name in names),
    ]
    changed = {key for pair in pairs for key in _changed(*pair)}

    assert changed == _QUICKER.keys() | _ADDRESSES
    assert len(names) == 2


async def test_a_lost_backup_is_told_once_and_its_return_too(
    prometheus_program: str, tmp_path: Path
) -> None:
    """By the gravest alert alone, which names the server and leads to its runbook."""
    panel = Panel(large_cloud(time.time(), 3, _DAILY), clock=time.time)
    await panel.start("127.0.0.1", 0)
    server = panel.cloud.servers[1]
    receiver = Receiver()
    judged = 'onapp_state_start_timestamp_seconds{state="very_stale"}'
    try:
        async with (
            receiver.listening(),
            _alerting(panel, receiver, prometheus_program, tmp_path) as started,
        ):
            await _until(started, judged, lambda found: len(found) == 3)
            healthy = await started.query("ALERTS")
            _lose_backups(panel, server)
            (broken,) = await receiver.has(1)
            firing = await started.query('ALERTS{alertstate="firing"}')
            _back_up(panel, server)
            await receiver.has(2)
            await _until(started, "ALERTS", lambda found: not found)
    finally:
        await panel.stop()
    output = [
        (one["status"], one["groupLabels"]["alertname"])
        for one in receiver.notifications
    ]
    (alert,) = broken["alerts"]
    page = alert["annotations"].pop("runbook_url").partition("/docs/")[2]

    assert healthy == []
    assert output == [
        ("firing", "OnAppBackupVeryStale"),
        ("resolved", "OnAppBackupVeryStale"),
    ]
    assert {one["alertname"] for one in firing} == {
        "OnAppBackupStale",
        "OnAppBackupVeryStale",
    }
    assert alert["labels"] == {
        "alertname": "OnAppBackupVeryStale",
        "severity": "critical",
        "job": "onapp-backups",
        "panel": "lon1",
        "vm_id": str(server.id),
        "target_type": "Disk",
        "target_id": str(panel.cloud.disks_of(server.id)[0].id),
    }
    assert server.label in alert["annotations"]["description"]
    assert (ROOT / "docs" / page).is_file()
