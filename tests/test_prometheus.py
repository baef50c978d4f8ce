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
import bcrypt
import pytest
import yaml
from certificates import write_certificates
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

    async def verdicts(self, jobs: int) -> dict[str, tuple[str, str]]:
        """Wait until each job was scraped once; return health and error of each."""
        while True:
            found = {
                target["labels"]["job"]: (target["health"], target["lastError"])
                for target in await self.targets()
            }
            known = [health for health, _ in found.values() if health != "unknown"]
            if len(known) == jobs:
                return found
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
async def scraping(
    cloud: Cloud, folder: Path, **jobs: dict[str, Any]
) -> AsyncIterator[Prometheus]:
    """Start a Prometheus that scrapes the exporter; it is gone afterwards.

    Each of ``jobs`` adds settings to what one job has that is called so.
    """
    if shutil.which("prometheus") is None:
        pytest.skip("prometheus is not on the PATH: `make tools` fetches it")
    job = {
        "scrape_interval": "5s",
        "scrape_timeout": "5s",
        "label_limit": 30,
        "label_name_length_limit": 64,
        "label_value_length_limit": 256,
        "static_configs": [{"targets": [_address(cloud)]}],
    }
    file, log = folder / "prometheus.yml", folder / "prometheus.log"
    file.write_text(
        yaml.safe_dump(
            {
                "scrape_configs": [
                    {"job_name": name, **job, **settings}
                    for name, settings in (jobs or {_JOB: {}}).items()
                ]
            }
        )
    )
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


async def test_prometheus_scrapes_over_tls_as_a_user_and_with_a_certificate(
    tmp_path: Path,
) -> None:
    """And who lacks what the file demands, or has a wrong one, is refused."""
    write_certificates(tmp_path)
    users = {"basic_auth_users": {"prometheus": _hash("correct horse")}}
    tls = {"cert_file": "cert.pem", "key_file": "key.pem"}
    demand = {"client_auth_type": "RequireAndVerifyClientCert"}
    demand |= {"client_ca_file": "ca.pem"}
    lax, strict = tmp_path / "lax.yml", tmp_path / "strict.yml"
    lax.write_text(yaml.safe_dump(users | {"tls_server_config": tls}))
    strict.write_text(yaml.safe_dump(users | {"tls_server_config": tls | demand}))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    user, wrong = _login("correct horse"), _login("wrong horse")
    nobody, somebody = _secure("ca.pem"), _secure("ca.pem", "client.pem")
    async with (
        watched(Panel(demo_cloud(NOW)), tmp_path, web_config_file=strict) as cloud,
        watched(Panel(demo_cloud(NOW)), elsewhere, web_config_file=lax) as other,
    ):
        there = {"static_configs": [{"targets": [_address(other)]}]}
        jobs = {
            "good": somebody | user,
            "no_user": somebody,
            "wrong_password": somebody | wrong,
            "no_certificate": nobody | user,
            "strange_certificate": _secure("ca.pem", "stranger.pem") | user,
            "no_tls": user,
            "lax_good": there | nobody | user,
            "lax_no_user": there | nobody,
            "lax_no_trust": there | {"scheme": "https"} | user,
        }
        async with scraping(cloud, tmp_path, **jobs) as prometheus:
            found = await prometheus.verdicts(len(jobs))

    assert found.pop("good") == ("up", "")
    assert found.pop("lax_good") == ("up", "")
    assert {health for health, _ in found.values()} == {"down"}
    for job in ("no_user", "wrong_password", "lax_no_user"):
        assert found[job][1].endswith("401 Unauthorized")
    assert "certificate" in found["lax_no_trust"][1]


def _address(cloud: Cloud) -> str:
    return cloud.base.removeprefix("http://")


def _hash(password: str) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(10)).decode()


def _login(password: str) -> dict[str, Any]:
    return {"basic_auth": {"username": "prometheus", "password": password}}


def _secure(authority: str, own: str | None = None) -> dict[str, Any]:
    """Return settings of a job over TLS; files are beside Prometheus' own."""
    config = {"ca_file": authority, "server_name": "localhost"}
    if own is not None:
        config |= {"cert_file": own, "key_file": own}
    return {"scheme": "https", "tls_config": config}
