"""Measure what evaluating alerting rules costs a Prometheus: `rule_cost.py FOLDER…`.

Each folder holds rule files, such as ``deploy/prometheus`` of two revisions; all are
measured over the same series of two replicas, one after the other. What is measured is
the CPU time that Prometheus uses more than without rules, so that a busy machine counts
for little; the duration of the groups divides it among them.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web
from clouds import large_cloud
from faulty_panel import Panel
from prometheus_processes import Prometheus, free_port, prometheus

from exporter.config.units import Duration

_DAILY = 5
"""Backups of each server."""
_WARM_SECONDS = 45
_EVALUATIONS = 12
_INTERVAL_SECONDS = 10
_GROUP = re.compile(
    r'^prometheus_rule_group_last_duration_seconds\{rule_group=".*;(.*)"\} (.*)$',
    re.MULTILINE,
)
_SERIES = re.compile(r"^prometheus_tsdb_head_series (.*)$", re.MULTILINE)
_CPU = re.compile(r"^process_cpu_seconds_total (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Usage:
    """What a Prometheus used."""

    series: int
    cpu_seconds: float
    """For each evaluation of all groups, scrapes included."""
    group_seconds: dict[str, float]

    def in_two_minutes(
        self, without_rules: Usage, shipped_seconds: dict[str, float]
    ) -> dict[str, float]:
        """Return the CPU time of each group at the interval that is shipped."""
        own = max(0.0, self.cpu_seconds - without_rules.cpu_seconds)
        total = sum(self.group_seconds.values())
        return {
            group: own * seconds / total * 120 / shipped_seconds[group]
            for group, seconds in self.group_seconds.items()
        }


def main() -> int:
    """Measure and write a line for each folder and size."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("folders", nargs="+", type=Path)
    options.add_argument("--servers", nargs="+", type=int, default=(3_400, 10_000))
    options.add_argument("--prometheus", default="prometheus")
    options.add_argument("--holds", help="a state that holds of every server or target")
    given = options.parse_args()
    sys.stdout.write("servers  rules  series  CPU seconds in two minutes, by group\n")
    for servers in given.servers:
        with tempfile.TemporaryDirectory() as made:
            scraped = asyncio.run(_scraped(servers, Path(made)))
            if given.holds:
                begun = rf'(state="{given.holds}"}}) .*'.encode()
                scraped = re.sub(begun, rb"\1 1", scraped)
            none = Path(made, "none")
            none.mkdir()
            without = asyncio.run(_measured(given.prometheus, scraped, none))
            for number, rules in enumerate(given.folders):
                folder = Path(made, str(number))
                shipped_seconds = _copy_rules(rules, folder)
                used = asyncio.run(_measured(given.prometheus, scraped, folder))
                each = used.in_two_minutes(without, shipped_seconds)
                shown = ", ".join(f"{group} {cpu:.3f}" for group, cpu in each.items())
                total = sum(each.values())
                sys.stdout.write(
                    f"{servers:7}  {rules}  {used.series}  {total:.3f} ({shown})\n"
                )
                sys.stdout.flush()
    return 0


def _copy_rules(rules: Path, folder: Path) -> dict[str, float]:
    """Write the rules with a short interval; return that of each group, in seconds."""
    folder.mkdir()
    shipped_seconds = {}
    for file in rules.glob("*.rules.yml"):
        groups: Any = yaml.safe_load(file.read_text("utf-8"))
        for group in groups["groups"]:
            shipped_seconds[group["name"]] = float(Duration.parse(group["interval"]))
            group["interval"] = f"{_INTERVAL_SECONDS}s"
        (folder / file.name).write_text(yaml.safe_dump(groups))
    return shipped_seconds


def _write(file: Path, config: Any) -> Path:
    file.write_text(yaml.safe_dump(config))
    return file


async def _scraped(servers: int, folder: Path) -> bytes:
    """Return what an exporter says of a cloud of so many servers."""
    panel = Panel(large_cloud(time.time(), servers, _DAILY), clock=time.time)
    await panel.start("127.0.0.1", 0)
    account = {"username": panel.username, "password": panel.password}
    config = {
        "detail": {"backups": False},
        "poll": {"concurrency": 32},
        "panels": [{"name": "lon1", "url": panel.url, "basic_auth": account}],
    }
    file = _write(folder / "exporter.yml", config)
    exporter = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "exporter", "once", f"--config.file={file}"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    stated, _ = await exporter.communicate()
    await panel.stop()
    return stated


async def _measured(program: str, scraped: bytes, folder: Path) -> Usage:
    """Return what a Prometheus uses that evaluates the rules of a folder."""
    ports = [free_port(), free_port()]
    runner = await _serve(scraped, ports)
    targets = [f"127.0.0.1:{port}" for port in ports]
    scrapes = {"static_configs": [{"targets": targets}]}
    config = {
        "global": {"scrape_interval": "30s", "scrape_timeout": "25s"},
        "rule_files": [str(folder / "*.rules.yml")],
        "scrape_configs": [{"job_name": "onapp-backups", **scrapes}],
    }
    file = _write(folder / "prometheus.yml", config)
    async with prometheus(program, file) as started:
        await started.wait_for_scrape()
        await asyncio.sleep(_WARM_SECONDS)
        before = await _own_metrics(started)
        await asyncio.sleep(_EVALUATIONS * _INTERVAL_SECONDS)
        after = await _own_metrics(started)
    await runner.cleanup()
    used = float(_CPU.findall(after)[0]) - float(_CPU.findall(before)[0])
    groups = {group: float(value) for group, value in _GROUP.findall(after)}
    series = int(float(_SERIES.findall(after)[0]))
    return Usage(series, used / _EVALUATIONS, groups)


async def _own_metrics(started: Prometheus) -> str:
    async with started.session.get(f"{started.base}/metrics") as response:
        return await response.text()


async def _serve(scraped: bytes, ports: list[int]) -> web.AppRunner:
    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=scraped, content_type="text/plain")

    application = web.Application()
    application.router.add_get("/metrics", metrics)
    runner = web.AppRunner(application)
    await runner.setup()
    for port in ports:
        await web.TCPSite(runner, "127.0.0.1", port).start()
    return runner


if __name__ == "__main__":
    sys.exit(main())
