"""Tests for the exporter as its users run it: a process, signals, logs, exit status."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml
from exporter_process import exporter_process, fetch, poll_until
from faults import bad_rows, hang, html_error
from faulty_panel import Panel
from harness import NOW
from prometheus_client.parser import text_string_to_metric_families

from exporter.demo.cloud.simulation import SimulatedCloud

ANYWHERE = "--web.listen-address=127.0.0.1:0"
_SECRET = "the-key-of-the-account"


@pytest.fixture
async def panel() -> AsyncIterator[Panel]:
    """Serve a world of two servers with a backup each."""
    world = SimulatedCloud(NOW)
    for _ in range(2):
        world.add_backup(world.add_server().id)
    async with Panel(world, password=_SECRET) as panel:
        yield panel


def written(folder: Path, panel: Panel, **keys: object) -> Path:
    """Write a configuration file for the panel that waits for answers very long."""
    section = {
        "name": "cp",
        "url": panel.url,
        "basic_auth": {"username": panel.username, "password": _SECRET},
    }
    file = folder / "onapp.yml"
    poll = {"timeout": "10m", "interval": "15m"}
    file.write_text(yaml.safe_dump({"panels": [section], "poll": poll, **keys}))
    return file


def samples(text: str, family: str) -> dict[str, float]:
    """Return a family's values by the labels that tell its samples apart."""
    return {
        ",".join(sample.labels.values()): sample.value
        for metric in text_string_to_metric_families(text)
        for sample in metric.samples
        if sample.name == family
    }


async def test_the_port_answers_before_the_first_pass_ends(
    panel: Panel, tmp_path: Path
) -> None:
    """A panel that hangs holds up neither the port nor the process's health."""
    panel.faults.add(hang())
    file = written(tmp_path, panel)
    async with exporter_process(f"--config.file={file}", ANYWHERE) as process:
        base = await process.base_url()
        healthy = await fetch(base + "/-/healthy")
        ready, _ = await fetch(base + "/-/ready")
        status, scrape = await fetch(base + "/metrics")
        panel.faults.clear()
        await poll_until(base + "/-/ready", lambda status, _: status == 200)
        _, after = await fetch(base + "/metrics")

    assert healthy[0] == status == 200
    assert ready == 503
    assert samples(scrape, "onapp_up") == {}
    assert samples(after, "onapp_up") == {"cp,0": 1}
    assert len(samples(after, "onapp_backup_built")) == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_well_whatever_is_under_way(
    number: signal.Signals, panel: Panel, tmp_path: Path
) -> None:
    """A panel that hangs and a scrape that is not read keep nobody waiting."""
    panel.faults.add(hang(), resource="backups")
    # Enough for the scrape to outgrow all buffers on its way.
    panel.cloud.servers[1].label = "x" * 12 * 1024**2
    file = written(tmp_path, panel)
    async with exporter_process(f"--config.file={file}", ANYWHERE) as process:
        base = await process.base_url()
        described = "onapp_vm_info{"
        info = f"{base}/metrics?name[]=onapp_vm_info"
        await poll_until(info, lambda _, text: described in text)
        host, _, port = base.removeprefix("http://").rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readexactly(1)

        process.send(number)
        status = await process.wait()
        writer.close()

    assert status == 0
    assert "Traceback" not in process.output
    assert re.search("level=info msg=stopping", process.output)


async def test_a_signal_ends_it_though_a_thread_cannot_be_ended(
    panel: Panel, tmp_path: Path
) -> None:
    """Reading a file or asking a name server may last for ever."""
    file = written(tmp_path, panel)
    async with exporter_process(f"--config.file={file}", ANYWHERE) as process:
        base = await process.base_url()
        file.unlink()
        os.mkfifo(file)
        process.send(signal.SIGHUP)
        # Opening a pipe for writing works as soon as somebody wants to read it.
        pipe = await asyncio.to_thread(os.open, file, os.O_WRONLY)
        healthy, _ = await fetch(base + "/-/healthy")
        process.send(signal.SIGTERM)
        status = await process.wait()
        os.close(pipe)

    assert healthy == 200
    assert status == 0


async def test_a_signal_ends_it_while_its_file_keeps_it_waiting(
    tmp_path: Path,
) -> None:
    """A pipe to which nobody writes, or a file server that is gone, at the start."""
    file = tmp_path / "onapp.yml"
    os.mkfifo(file)
    async with exporter_process(f"--config.file={file}", ANYWHERE) as process:
        # Opening a pipe for writing works as soon as somebody wants to read it.
        pipe = await asyncio.to_thread(os.open, file, os.O_WRONLY)
        process.send(signal.SIGTERM)
        status = await process.wait()
        os.close(pipe)

    assert status == 0
    assert "Traceback" not in process.output


@pytest.mark.parametrize("form", ["logfmt", "json"])
async def test_every_line_of_the_log_is_one_record(
    form: str, panel: Panel, tmp_path: Path
) -> None:
    """Whatever a panel says, a line begins with time, level and message, or is JSON."""
    panel.faults.add(html_error(), server_id=1)
    panel.faults.add(bad_rows(0.5), resource="virtual_machines")
    file = written(tmp_path, panel)
    async with exporter_process(
        f"--config.file={file}", ANYWHERE, f"--log.format={form}", "--log.level=debug"
    ) as process:
        await process.wait_for("listening")
        await process.wait_for("reading the backups of a server failed")
        process.send(signal.SIGTERM)
        await process.wait()
    lines = [line.rstrip("\n") for line in process.err]

    assert process.out == []
    for line in lines:
        if form == "json":
            assert json.loads(line).keys() >= {"ts", "level", "msg"}
        else:
            assert re.match(
                r"ts=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z "
                r'level=(debug|info|warning|error) msg=("[^"]+"|\S+)( \w+=|$)',
                line,
            )


async def test_secrets_from_the_environment_stay_there(panel: Panel) -> None:
    """Nor are they said when they come without a file."""
    environment = {
        "ONAPP_URL": panel.url,
        "ONAPP_USERNAME": panel.username,
        "ONAPP_PASSWORD": _SECRET,
        "ONAPP_EXPORTER_LOG_LEVEL": "debug",
    }
    async with exporter_process(ANYWHERE, environment=environment) as process:
        base = await process.base_url()
        await poll_until(base + "/-/ready", lambda status, _: status == 200)
        _, text = await fetch(base + "/config")
        process.send(signal.SIGTERM)
        status = await process.wait()

    assert status == 0
    assert "<secret>" in text
    assert _SECRET not in text + process.output


async def test_the_demo_shows_where_to_look_and_something_to_see() -> None:
    """A newcomer needs one command: an address, a sample, and problems worth a look."""
    async with exporter_process("demo", ANYWHERE) as process:
        await process.wait_for("Ctrl-C ends it")
        page = await process.wait_for(r"Open:\n +(http://\S+/)\n +(http://\S+)\n")
        shown, _ = await fetch(page[1])
        _, scrape = await fetch(page[2])
        process.send(signal.SIGINT)
        status = await process.wait()
    sample = "".join(process.out)
    to_try = re.findall(
        r"^  (\S+)(?: -m exporter)? (?:check|once)$", sample, re.MULTILINE
    )
    built = samples(scrape, "onapp_backup_built")
    backups = samples(scrape, "onapp_vm_backups")

    assert (shown, status) == (200, 0)
    assert len(to_try) == 2
    assert all(shutil.which(program) for program in to_try)
    assert 'onapp_up{panel="demo",shard="0"} 1' in sample
    assert "# HELP onapp_target_last_success_timestamp_seconds" in sample
    assert samples(scrape, "onapp_up") == {"demo,0": 1, "branch-office,0": 1}
    assert len(built) > 50
    assert samples(scrape, "onapp_target_oldest_unbuilt_timestamp_seconds") != {}
    assert "demo,12,built" in backups
    assert [
        key for key, count in backups.items() if key.endswith(",built") and not count
    ]
    assert [key for key, count in backups.items() if key.endswith("unbuilt") and count]
    assert "Traceback" not in process.output


async def test_the_demo_has_as_many_servers_as_wanted_and_problems_of_a_panel() -> None:
    """Recovery points too, so that there is something to see of everything."""
    async with exporter_process("demo", ANYWHERE, "--servers=200") as process:
        await process.wait_for("Ctrl-C ends it")
        page = await process.wait_for(r"Open:\n +(http://\S+/)\n")
        _, text = await fetch(f"{page[1]}api/v1/status")
        _, scrape = await fetch(f"{page[1]}metrics")
        process.send(signal.SIGTERM)
        await process.wait()
    status = json.loads(text)
    levels = {panel["name"]: panel["level"] for panel in status["panels"]}
    problems = {found["state"] for found in status["panels"][1]["problems"]}

    assert [panel["servers"] for panel in status["panels"]] == [200, 6]
    assert levels == {"demo": "fine", "branch-office": "warning"}
    assert problems == {"queue_jam", "backup_server_disabled"}
    assert status["states"]["very_stale"] > 3
    assert status["states"]["fine"] > 150
    assert sum(samples(scrape, "onapp_recovery_point_built").values()) == 5


async def test_a_signal_ends_the_demo_before_its_introduction() -> None:
    """Whoever changes his mind at once needs no second Ctrl-C."""
    async with exporter_process("demo", ANYWHERE, "--log.level=debug") as process:
        await process.wait_for(r"\S")
        process.send(signal.SIGTERM)
        status = await process.wait()

    assert status == 0
    assert "Traceback" not in process.output
