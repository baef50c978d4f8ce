"""Tests with a real Prometheus that scrapes the exporter."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
import yaml
from harness import NOW, Cloud, watched
from processes import LONGEST_REAL_WAIT_SECONDS

from exporter.demo.cloud import demo_cloud
from exporter.demo.panel import Panel

_JOB = "onapp"
_JOIN = (
    "onapp_target_backups{state='built'} * on (job, instance, panel, vm_id) "
    "group_left (label, hostname) onapp_vm_info"
)


def free_port() -> int:
    """Return a port of the loopback interface that nobody uses."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


class Prometheus:
    """A running Prometheus, and its API."""

    def __init__(self, port: int, session: aiohttp.ClientSession, log: Path) -> None:
        """Ask the one on this port; its log goes to this file."""
        self.base = f"http://127.0.0.1:{port}"
        self.session = session
        self.log = log

    async def api(self, path: str) -> Any:
        """Return the data of an answer."""
        async with self.session.get(f"{self.base}/api/v1/{path}") as response:
            return (await response.json())["data"]

    async def targets(self) -> list[dict[str, Any]]:
        """Return the state of its targets, or none while it starts."""
        try:
            found = await self.api("targets")
        except (aiohttp.ClientConnectionError, aiohttp.ContentTypeError):
            return []  # its port opens late, and answers with 503 at first
        return [dict(target) for target in found["activeTargets"]]

    async def scraped(self) -> dict[str, Any]:
        """Wait until a scrape, good or bad, can be queried; return the target."""
        while True:
            for target in await self.targets():
                # The state is told a little before the samples are in.
                if target["health"] != "unknown" and await self.query("up"):
                    return target
            await asyncio.sleep(0.05)

    async def query(self, expression: str) -> list[dict[str, Any]]:
        """Return an instant query's labels and values."""
        result = (await self.api(f"query?query={quote(expression)}"))["result"]
        return [{**one["metric"], "value": float(one["value"][1])} for one in result]

    async def value(self, expression: str) -> float:
        """Return the value of a query with one result."""
        (only,) = await self.query(expression)
        return float(only["value"])


@asynccontextmanager
async def scraping(cloud: Cloud, folder: Path) -> AsyncIterator[Prometheus]:
    """Start a Prometheus that scrapes the exporter; it is gone afterwards."""
    if shutil.which("prometheus") is None:
        pytest.skip("prometheus is not on the PATH: `make tools` fetches it")
    job = {
        "job_name": _JOB,
        "scrape_interval": "5s",
        "scrape_timeout": "5s",
        "label_limit": 30,
        "label_name_length_limit": 64,
        "label_value_length_limit": 256,
        "static_configs": [{"targets": [cloud.base.removeprefix("http://")]}],
    }
    file, log = folder / "prometheus.yml", folder / "prometheus.log"
    file.write_text(yaml.safe_dump({"scrape_configs": [job]}))
    port = free_port()
    with log.open("wb") as said:
        process = await asyncio.create_subprocess_exec(
            "prometheus",
            f"--config.file={file}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=debug",
            "--log.format=json",
            stdout=said,
            stderr=said,
        )
    try:
        async with (
            asyncio.timeout(LONGEST_REAL_WAIT_SECONDS),
            aiohttp.ClientSession() as session,
        ):
            yield Prometheus(port, session, log)
    finally:
        process.kill()
        await process.wait()


def complaints(log: str) -> list[str]:
    """Return the lines of Prometheus' log about scrapes that went wrong."""
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    assert lines
    return [
        str(line)
        for line in lines
        if line["level"].lower() in ("warn", "error")
        or re.search("[Ss]crape (failed|commit)|[Ee]rror on ingesting", str(line))
    ]


async def test_prometheus_scrapes_the_demo_without_a_complaint(tmp_path: Path) -> None:
    """The target is up, and its values are those of the cloud."""
    panel = Panel(demo_cloud(NOW))
    async with watched(panel, tmp_path) as cloud:
        scrape = await cloud.metrics()
        async with scraping(cloud, tmp_path) as prometheus:
            target = await prometheus.scraped()
            up = await prometheus.value(f"up{{job='{_JOB}'}}")
            ingested = await prometheus.value("scrape_samples_scraped")
            servers = await prometheus.value("count(onapp_vm_info)")
            built = await prometheus.value("sum(onapp_vm_backups{state='built'})")
            joined = await prometheus.query(_JOIN)
            age = await prometheus.value("min(onapp_backup_age_seconds)")
            metadata = await prometheus.api("metadata?metric=onapp_backup_size_bytes")
            log = prometheus.log
        complained = complaints(log.read_text("utf-8"))
    world = panel.world
    rows = [backup for id_ in world.servers for backup in world.backups_of(id_)]
    good = [row for row in rows if row.built and not row.marked_for_delete]

    assert (target["health"], target["lastError"]) == ("up", "")
    assert up == 1
    assert complained == []
    assert ingested == sum(line[0] != "#" for line in scrape.splitlines())
    assert servers == len(world.servers)
    assert built == len(good)
    assert {row["label"] for row in joined} <= {s.label for s in world.servers.values()}
    assert len(joined) == scrape.count('state="built"') - len(world.servers)
    assert age == NOW - max(row.built_at for row in rows if row.built and row.built_at)
    assert metadata["onapp_backup_size_bytes"][0]["type"] == "gauge"
