"""Tests with a real Prometheus that scrapes the exporter."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import bcrypt
import yaml
from certificates import write_certificates
from faulty_panel import Panel
from harness import NOW, MonitoredCloud, monitored
from prometheus_processes import Prometheus, prometheus

from exporter.demo.cloud.demo_cloud import demo_cloud

_JOB = "onapp"
_JOIN = (
    "onapp_target_backups{state='built'} * on (job, instance, panel, vm_id) "
    "group_left (label, hostname) onapp_vm_info"
)


@asynccontextmanager
async def scraping(
    program: str, cloud: MonitoredCloud, folder: Path, **jobs: dict[str, Any]
) -> AsyncIterator[Prometheus]:
    """Start a Prometheus that scrapes the exporter; it is gone afterwards.

    Each of ``jobs`` adds settings to what one job has that is called so.
    """
    job = {
        "scrape_interval": "5s",
        "scrape_timeout": "5s",
        "label_limit": 30,
        "label_name_length_limit": 64,
        "label_value_length_limit": 256,
        "static_configs": [{"targets": [_address(cloud)]}],
    }
    file = folder / "prometheus.yml"
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
    async with prometheus(program, file) as started:
        yield started


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


async def test_prometheus_scrapes_the_demo_without_a_complaint(
    prometheus_program: str, tmp_path: Path
) -> None:
    """The target is up, and its values are those of the cloud."""
    panel = Panel(demo_cloud(NOW))
    async with monitored(panel, tmp_path) as cloud:
        scrape = await cloud.metrics()
        async with scraping(prometheus_program, cloud, tmp_path) as started:
            target = await started.wait_for_scrape()
            up = await started.value(f"up{{job='{_JOB}'}}")
            ingested = await started.value("scrape_samples_scraped")
            servers = await started.value("count(onapp_vm_info)")
            built = await started.value("sum(onapp_vm_backups{state='built'})")
            joined = await started.query(_JOIN)
            age = await started.value("min(onapp_backup_age_seconds)")
            metadata = await started.api("metadata", metric="onapp_backup_size_bytes")
            log = started.log
        complained = complaints(log.read_text("utf-8"))
    world = panel.cloud
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
    prometheus_program: str,
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
    no_user, somebody = _secure("ca.pem"), _secure("ca.pem", "client.pem")
    async with (
        monitored(Panel(demo_cloud(NOW)), tmp_path, web_config_file=strict) as cloud,
        monitored(Panel(demo_cloud(NOW)), elsewhere, web_config_file=lax) as other,
    ):
        there = {"static_configs": [{"targets": [_address(other)]}]}
        jobs = {
            "good": somebody | user,
            "no_user": somebody,
            "wrong_password": somebody | wrong,
            "no_certificate": no_user | user,
            "strange_certificate": _secure("ca.pem", "stranger.pem") | user,
            "no_tls": user,
            "lax_good": there | no_user | user,
            "lax_no_user": there | no_user,
            "lax_no_trust": there | {"scheme": "https"} | user,
        }
        async with scraping(prometheus_program, cloud, tmp_path, **jobs) as started:
            found = await started.scrape_results(len(jobs))

    assert found.pop("good") == ("up", "")
    assert found.pop("lax_good") == ("up", "")
    assert {health for health, _ in found.values()} == {"down"}
    for job in ("no_user", "wrong_password", "lax_no_user"):
        assert found[job][1].endswith("401 Unauthorized")
    assert "certificate" in found["lax_no_trust"][1]


def _address(cloud: MonitoredCloud) -> str:
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
