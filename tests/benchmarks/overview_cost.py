"""Measure what a minute of the open cloud overview costs a Prometheus.

A real Prometheus is given a week of series, as two replicas of the exporter export
them, and is asked what Grafana asks at each refresh of the dashboard, once a minute.
With ``--before REVISION`` the dashboard of that revision is measured over the same.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from checkout import ROOT
from prometheus_processes import Prometheus, prometheus
from shipped_dashboards import ALL_VALUES, substituted

from exporter.health.conditions import SERVER_CONDITIONS

_FILE = "grafana/dashboards/onapp-cloud.json"
_DAY = 86400
_RANGE_SECONDS = 7 * _DAY
_STEP_SECONDS = 720
"""Between two points of a graph of 840 pixels, and between samples of what it draws."""
_COARSE_SECONDS = 14 * _STEP_SECONDS
"""The same of a graph of 60 points, which once was all that judged over time."""
_OVER_TIME = {"onapp_vm_backup_size_bytes", "onapp_vm_last_failed_backup"}
"""Families of servers that are drawn at every point."""
_SERIES_A_REQUEST = 20_000
_TIMESTAMP = b"\x10TTTTTT"
_ROUNDS = 2
_LONGEST_SECONDS = 3600
_FLAGS = (
    "--web.enable-remote-write-receiver",
    "--storage.tsdb.retention.time=30d",
    "--storage.tsdb.min-block-duration=30d",
    "--storage.tsdb.max-block-duration=30d",
    "--query.timeout=30m",
    "--query.max-samples=1000000000",
)
"""Nothing is compacted meanwhile; what is beyond usual limits is measured, too."""
_VARIABLES = {
    **dict.fromkeys(("job", "instance", "panel", "user", "state"), ALL_VALUES),
    "__range": f"{_RANGE_SECONDS}s",
    "__range_s": str(_RANGE_SECONDS),
    "__rate_interval": f"{_STEP_SECONDS + 60}s",
}


Request: TypeAlias = tuple[str, dict[str, Any]]
"""A path of Prometheus' API, and parameters."""


@dataclass(frozen=True)
class Cost:
    """What one refresh of a dashboard costs."""

    queries: int
    cpu_seconds: float
    answer_bytes: int


def main() -> int:
    """Measure, and print a table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--servers", type=int, default=5_000)
    options.add_argument("--before", metavar="REVISION")
    options.add_argument("--prometheus", default="prometheus", metavar="PROGRAM")
    given = options.parse_args()
    boards = {"now": (ROOT / _FILE).read_text("utf-8")}
    if given.before:
        show = ("git", "-C", str(ROOT), "show", f"{given.before}:{_FILE}")
        boards[given.before] = subprocess.check_output(show, text=True)
    with tempfile.TemporaryDirectory() as folder:
        costs = asyncio.run(
            _measure(given.prometheus, Path(folder), given.servers, boards)
        )
    print(f"{given.servers} servers, two replicas; one refresh a minute, of 7 days")
    print("| dashboard | queries | CPU | answers |\n|---|---:|---:|---:|")
    for name, cost in costs.items():
        megabytes = cost.answer_bytes / 1e6
        print(
            f"| {name} | {cost.queries} | {cost.cpu_seconds:.2f} s "
            f"| {megabytes:.1f} MB |"
        )
    return 0


async def _measure(
    program: str, folder: Path, servers: int, boards: dict[str, str]
) -> dict[str, Cost]:
    file = folder / "prometheus.yml"
    file.write_text("{}")
    end = int(time.time()) // _COARSE_SECONDS * _COARSE_SECONDS
    async with prometheus(program, file, *_FLAGS, seconds=_LONGEST_SECONDS) as started:
        await _ready(started)
        await _fill(started, servers, end)
        return {
            name: await _cost(started, json.loads(text), end)
            for name, text in boards.items()
        }


# ---- The series ----


def _series(servers: int, end: float) -> Iterator[tuple[dict[str, str], float]]:
    """Yield what two replicas export of a panel, one server in twenty with a problem.

    One server in three has two targets.
    """
    for replica in range(2):
        scraped = {"job": "onapp-backups", "instance": f"10.0.0.{replica}:10058"}
        for labels, value in _of_panel(servers, end):
            yield {**scraped, "panel": "lon1", **labels}, value
        for number in range(1, servers + 1):
            labels = {**scraped, "panel": "lon1", "vm_id": str(number)}
            for name, own, value in _of_server(number, end):
                yield {"__name__": name, **labels, **own}, value


def _of_panel(servers: int, end: float) -> Iterator[tuple[dict[str, str], float]]:
    plain: dict[str, float] = {
        "onapp_up": 1,
        "onapp_poll_interval_seconds": 900,
        "onapp_poll_lag_seconds": 3,
        "onapp_panel_virtual_machines": servers,
        "onapp_panel_credentials_refused": 0,
        "onapp_inventory_last_success_timestamp_seconds": end - 60,
        "onapp_exporter_build_info": 1,
        "onapp_exporter_shard_info": 1,
    }
    for name, value in plain.items():
        yield {"__name__": name}, value
    info = {"url": "https://cp.example.com", "version": "6.9"}
    yield {"__name__": "onapp_panel_info", **info}, 1
    for state in SERVER_CONDITIONS:
        shown = {"shard": "0", "state": state.key}
        yield {"__name__": "onapp_panel_servers", **shown}, servers / 20
    for action in ("take_backup", "take_incremental_backup", "destroy_backup"):
        for status in ("complete", "failed", "cancelled"):
            ended = {"shard": "0", "action": action, "status": status}
            yield {"__name__": "onapp_transactions_total", **ended}, 100
    for store in ("1", "2", "none"):
        of = {"backup_server_id": store}
        yield {"__name__": "onapp_backup_server_used_bytes", "shard": "0", **of}, 1e12
        yield {"__name__": "onapp_backup_server_capacity_bytes", **of}, 2e12
        yield {"__name__": "onapp_backup_server_info", "label": f"s{store}", **of}, 1


def _of_server(number: int, end: float) -> Iterator[tuple[str, dict[str, str], float]]:
    bad = number % 20 == 0
    problems = [one.key for one in SERVER_CONDITIONS if one.severity > 1]
    state = problems[number // 20 % len(problems)] if bad else "fine"
    named = {
        "identifier": f"id{number:012}",
        "label": f"server-{number:05}",
        "hostname": f"server-{number:05}.example.com",
        "user_id": str(number % 50),
        "hypervisor_id": str(number % 40),
    }
    plain: dict[str, float] = {
        "onapp_vm_backup_required": 1,
        "onapp_vm_backup_size_bytes": 3e10,
        "onapp_vm_last_success_timestamp_seconds": end - (4 if bad else 0.5) * _DAY,
        "onapp_vm_created_timestamp_seconds": end - 400 * _DAY,
        "onapp_vm_suspended": 0,
        "onapp_vm_poll_success": 1,
        "onapp_vm_last_poll_success_timestamp_seconds": end - 300,
    }
    for name, value in plain.items():
        yield name, {}, value
    yield "onapp_vm_info", named, 1
    yield "onapp_vm_state", {"state": state}, 1
    for built in ("built", "unbuilt"):
        yield "onapp_vm_backups", {"state": built}, 30 * (built == "built")
    if bad:
        yield "onapp_vm_last_failed_backup_timestamp_seconds", {}, end - 2 * _DAY
    for disk in range(1 + (number % 3 == 0)):
        target = {"target_type": "Disk", "target_id": str(2 * number + disk)}
        for name, value in _of_target(end, bad=bad).items():
            yield f"onapp_target_{name}", target, value
        source = {**target, "source": "schedule"}
        yield "onapp_target_expected_interval_info", source, 1
        for built in ("built", "unbuilt"):
            held = {**target, "state": built}
            yield "onapp_target_backups", held, 30 * (built == "built")


def _of_target(end: float, *, bad: bool) -> dict[str, float]:
    success = end - (4 if bad else 0.5) * _DAY
    usual = {
        "last_success_timestamp_seconds": success,
        "last_success_duration_seconds": 600.0,
        "expected_interval_seconds": 1.0 * _DAY,
    }
    if not bad:
        return usual
    return {
        **usual,
        "oldest_unbuilt_timestamp_seconds": end - 2 * _DAY,
        "oldest_pending_timestamp_seconds": end - 2 * _DAY,
        "last_failed_timestamp_seconds": end - 2 * _DAY,
    }


# ---- Remote write ----


async def _fill(started: Prometheus, servers: int, end: int) -> None:
    """Write all series: those of servers that no graph draws, at fewer moments."""
    drawn: list[bytes] = []
    others: list[bytes] = []
    for labels, value in _series(servers, end):
        name = labels["__name__"]
        is_drawn = "vm_id" not in labels or any(name.startswith(n) for n in _OVER_TIME)
        (drawn if is_drawn else others).append(_encoded(labels, value))
    for moment in range(end - _RANGE_SECONDS, end + 1, _STEP_SECONDS):
        coarse = moment % _COARSE_SECONDS == 0
        await _write(started, [*drawn, *others] if coarse else drawn, moment)


async def _write(started: Prometheus, series: list[bytes], moment: int) -> None:
    stamp = b"\x10" + _varint(moment * 1000)
    headers = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"}
    for first in range(0, len(series), _SERIES_A_REQUEST):
        part = b"".join(series[first : first + _SERIES_A_REQUEST])
        # Snappy, with nothing compressed: the length, and one literal.
        body = part.replace(_TIMESTAMP, stamp)
        body = _varint(len(body)) + b"\xfc" + struct.pack("<I", len(body) - 1) + body
        url = f"{started.base}/api/v1/write"
        async with started.session.post(url, data=body, headers=headers) as response:
            assert response.status < 300, await response.text()


def _encoded(labels: dict[str, str], value: float) -> bytes:
    """Return a TimeSeries of a WriteRequest with one sample, its time left open."""
    pairs = b"".join(
        _field(1, _field(1, name.encode()) + _field(2, text.encode()))
        for name, text in sorted(labels.items())
    )
    sample = _field(2, b"\x09" + struct.pack("<d", value) + _TIMESTAMP)
    return _field(1, pairs + sample)


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


# ---- The dashboard ----


async def _cost(started: Prometheus, board: dict[str, Any], end: int) -> Cost:
    asked = [*_variables(board, end), *_queries(board, end)]
    for path, parameters in asked:
        if path != "query_range":
            await started.api(path, **parameters)  # to warm up
    before, received = await _cpu_seconds(started), 0
    for path, parameters in asked * _ROUNDS:
        url = f"{started.base}/api/v1/{path}"
        async with started.session.get(url, params=parameters) as response:
            received += len(await response.read())
    spent = await _cpu_seconds(started) - before
    return Cost(len(asked), spent / _ROUNDS, received // _ROUNDS)


def _variables(board: dict[str, Any], end: int) -> Iterator[Request]:
    """Yield how Grafana finds the values of variables."""
    over = {"start": end - _RANGE_SECONDS, "end": end}
    for variable in board["templating"]["list"]:
        if variable["type"] != "query":
            continue
        query = substituted(variable["query"], _VARIABLES)
        if values := re.fullmatch(r"label_values\((.*), (\w+)\)", query):
            yield f"label/{values[2]}/values", {"match[]": values[1], **over}
        elif result := re.fullmatch(r"query_result\((.*)\)", query, re.DOTALL):
            yield "query", {"query": result[1], "time": end}


def _queries(board: dict[str, Any], end: int) -> Iterator[Request]:
    """Yield how Grafana asks for annotations and panels."""
    over = {"start": end - _RANGE_SECONDS, "end": end}
    for annotation in board["annotations"].get("list", []):
        query = substituted(annotation["expr"], _VARIABLES)
        yield "query_range", {"query": query, "step": _STEP_SECONDS, **over}
    for panel in board["panels"]:
        points = panel.get("maxDataPoints") or _RANGE_SECONDS // _STEP_SECONDS
        for target in panel.get("targets", []):
            query = substituted(target["expr"], _VARIABLES)
            if target.get("instant"):
                yield "query", {"query": query, "time": end}
            else:
                step = _RANGE_SECONDS // int(points)
                yield "query_range", {"query": query, "step": step, **over}


async def _cpu_seconds(started: Prometheus) -> float:
    async with started.session.get(f"{started.base}/metrics") as response:
        text = await response.text()
    found = re.search(r"^process_cpu_seconds_total (\S+)$", text, re.MULTILINE)
    assert found
    return float(found[1])


async def _ready(started: Prometheus) -> None:
    while True:
        try:
            async with started.session.get(f"{started.base}/-/ready") as response:
                if response.status == 200:
                    return
        except OSError:
            pass
        await asyncio.sleep(0.2)


if __name__ == "__main__":
    sys.exit(main())
