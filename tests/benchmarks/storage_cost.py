"""Measure what the series of an exporter cost a Prometheus: memory and disk.

A real Prometheus scrapes what an exporter shows of a large cloud as many times as in
three hours, the most that it keeps in memory before it writes a block, but every few
seconds instead of every minute. The ages of backups grow by a minute from scrape to
scrape, the time of a server's last poll by 15 minutes at every fifteenth, as in an
exporter. A snapshot then makes the block whose size is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import yaml
from aiohttp import web
from clouds import large_cloud
from faulty_panel import Panel
from prometheus_processes import Prometheus, free_port, prometheus

_BACKUPS = 30
"""Of each server."""
_MINUTE = 60
_SCRAPES = 180
_POLL_MINUTES = 15
_MEMORY = re.compile(r"^process_resident_memory_bytes (.*)$", re.MULTILINE)
_SERIES = re.compile(r"^prometheus_tsdb_head_series (.*)$", re.MULTILINE)
_BUILT = "onapp_backup_built_timestamp_seconds"
_AGE = "onapp_backup_age_seconds"
_POLLED = "onapp_vm_last_poll_success_timestamp_seconds"


def main() -> int:
    """Measure and write a line for each size."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--servers", nargs="+", type=int, default=(333, 1_000))
    options.add_argument("--prometheus", default="prometheus")
    options.add_argument("--seconds", type=int, default=3, help="between two scrapes")
    given = options.parse_args()
    sys.stdout.write("backups  series  memory  samples  block  write-ahead log\n")
    for servers in given.servers:
        with tempfile.TemporaryDirectory() as folder:
            line = asyncio.run(
                _measured(given.prometheus, servers, given.seconds, Path(folder))
            )
        sys.stdout.write(f"{servers * _BACKUPS}  {line}\n")
        sys.stdout.flush()
    return 0


async def _measured(program: str, servers: int, seconds: int, folder: Path) -> str:
    stated = await _stated(servers, time.time(), folder)
    scraped = 0

    async def metrics(_: web.Request) -> web.Response:
        nonlocal scraped
        scraped += 1
        text = "\n".join(_lines(stated, scraped)) + "\n"
        return web.Response(text=text, content_type="text/plain")

    application = web.Application()
    application.router.add_get("/metrics", metrics)
    runner = web.AppRunner(application)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    interval = {"scrape_interval": f"{seconds}s", "scrape_timeout": f"{seconds}s"}
    targets = {"static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
    file = folder / "prometheus.yml"
    config = {"global": interval, "scrape_configs": [{"job_name": "onapp", **targets}]}
    file.write_text(yaml.safe_dump(config))
    series, most = 0.0, 0.0
    async with prometheus(program, file, "--web.enable-admin-api", seconds=3600) as one:
        await one.wait_for_scrape()
        while scraped < _SCRAPES:
            await asyncio.sleep(1)
            text = await _own_metrics(one)
            most = max(most, _value(_MEMORY, text))
            series = max(series, _value(_SERIES, text))
        url = f"{one.base}/api/v1/admin/tsdb/snapshot"
        async with one.session.post(url) as response:
            response.raise_for_status()
        most = max(most, _value(_MEMORY, await _own_metrics(one)))
    await runner.cleanup()
    log = _size(folder / "data" / "wal")
    (block,) = (folder / "data" / "snapshots").glob("*/*/meta.json")
    samples = json.loads(block.read_text())["stats"]["numSamples"]
    size = _size(block.parent)
    return f"{series:.0f}  {most / 1e6:.0f} MB  {samples}  {size}  {log}"


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


async def _own_metrics(started: Prometheus) -> str:
    async with started.session.get(f"{started.base}/metrics") as response:
        return await response.text()


def _value(pattern: re.Pattern[str], text: str) -> float:
    return float(pattern.findall(text)[0])


async def _stated(servers: int, now: float, folder: Path) -> list[tuple[str, float]]:
    """Return the series of an exporter, and their values."""
    panel = Panel(large_cloud(now, servers, _BACKUPS), clock=time.time)
    await panel.start("127.0.0.1", 0)
    account = {"username": panel.username, "password": panel.password}
    config = {
        "poll": {"concurrency": 32},
        "panels": [{"name": "lon1", "url": panel.url, "basic_auth": account}],
    }
    file = folder / "exporter.yml"
    file.write_text(yaml.safe_dump(config))
    exporter = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "exporter", "once", f"--config.file={file}"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    stated, _ = await exporter.communicate()
    await panel.stop()
    pairs = (line.rsplit(" ", 1) for line in stated.decode().splitlines())
    return [(name, float(value)) for name, value in pairs if not name.startswith("#")]


def _lines(stated: list[tuple[str, float]], minute: int) -> Iterator[str]:
    """Yield what a scrape of this minute shows."""
    now = time.time() + minute * _MINUTE
    for number, (name, value) in enumerate(stated):
        if name.startswith(_POLLED):
            polled = minute - (minute + number) % _POLL_MINUTES
            yield f"{name} {value + polled * _MINUTE}"
            continue
        yield f"{name} {value}"
        if name.startswith(_BUILT):
            yield f"{name.replace(_BUILT, _AGE)} {now - value:.0f}"


if __name__ == "__main__":
    sys.exit(main())
