"""The command ``once``: one whole pass, written once, and what went wrong in it."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import stat
import sys
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import faults
import pytest
import yaml
from builders import ALL_PERMISSIONS
from checkout import DOCS
from exporter_process import LONGEST_REAL_WAIT_SECONDS, exporter_process
from faulty_panel import Panel
from harness import NOW, SteppedClock, running_exporter, series, write_config
from prometheus_client.parser import text_string_to_metric_families
from prometheus_versions import Promtool
from structlog.testing import capture_logs

from exporter.app import Exporter
from exporter.commands.once import FILE_METRICS, MOVING_METRICS, poll_once
from exporter.commands.output import check_writable, replace_file
from exporter.commands.report import Progress, StepStatus
from exporter.config import load as config
from exporter.demo.cloud.simulation import SimulatedCloud
from exporter.model.selection import Shard

DAY = 86_400.0
MINUTE = 60.0
LIMIT_SECONDS = 900.0
COMMANDS_PAGE = (DOCS / "commands.md").read_text("utf-8")


def a_world() -> SimulatedCloud:
    """Return a cloud with everything that the collectors can bring."""
    world = SimulatedCloud(NOW)
    store = world.add_backup_server("store", 100).id
    for _ in range(12):
        server = world.add_server(created_at=NOW - 9 * DAY)
        world.add_schedule("VirtualMachine", server.id, start_at=NOW + DAY)
        world.add_backup(
            server.id,
            created_at=NOW - 60,
            built_at=NOW - 30,
            target_type="VirtualMachine",
            target_id=server.id,
            backup_server_id=store,
        )
    return world


@pytest.fixture
async def panel() -> AsyncIterator[Panel]:
    """Serve that cloud."""
    async with Panel(a_world(), clock=lambda: NOW) as panel:
        yield panel


class Once:
    """The command within this process, so that time can be moved."""

    def __init__(
        self,
        panel: Panel,
        folder: Path,
        clock: SteppedClock | None = None,
        **keys: Any,
    ) -> None:
        """Write the configuration."""
        self.configuration = folder / "onapp.yml"
        self.file = folder / "onapp.prom"
        write_config(self.configuration, panel, {}, keys)
        self.clock = clock or SteppedClock(NOW)
        self.exporter = Exporter(
            load=lambda _: config.load(self.configuration, {}),
            clock=self.clock,
            jitter=lambda: 0.0,
        )

    async def ends(self, limit: float = LIMIT_SECONDS) -> StepStatus:
        """Run it to its end."""
        progress = Progress(io.StringIO())
        return await poll_once(self.exporter, limit, progress, self.file)

    @property
    def text(self) -> str:
        """Return what was written."""
        return self.file.read_text("utf-8")


async def until(true: Callable[[], bool]) -> None:
    """Wait for something that is sure to come."""
    async with asyncio.timeout(60):
        while not true():  # noqa: ASYNC110  # nothing tells
            await asyncio.sleep(0.001)


# What is in it.


async def test_a_pass_brings_what_serving_brings(panel: Panel, tmp_path: Path) -> None:
    """Every series of every collector, but those of the process and the moment."""
    of_a_process = ("process_", "python_", "onapp_exporter_")
    keys: dict[str, Any] = {"collectors": {"recovery_points": True}}
    once = Once(panel, tmp_path, **keys)
    status = await once.ends()
    clock = SteppedClock(NOW)
    async with running_exporter(panel, once.configuration, clock) as cloud:
        served = await cloud.metrics()

    def names(text: str) -> set[str]:
        found = {
            f"{s.name}{sorted(s.labels.items())}"
            for family in text_string_to_metric_families(text)
            for s in family.samples
        }
        return {name for name in found if not name.startswith(of_a_process)}

    assert status == "ok"
    assert names(once.text) == {
        name for name in names(served) if name.partition("[")[0] not in MOVING_METRICS
    }
    assert len(series(once.text, "onapp_schedule_status", status="enabled")) == 12
    assert series(once.text, "onapp_backup_server_backups")
    assert series(once.text, "onapp_transactions_pending")


async def test_a_file_holds_neither_the_process_nor_the_moment(
    panel: Panel, tmp_path: Path
) -> None:
    """They would clash with node_exporter's own, or freeze there."""
    once = Once(panel, tmp_path)
    await once.ends()
    families = {f.name for f in text_string_to_metric_families(once.text)}

    assert not [n for n in families if n.startswith(("process_", "python_"))]
    assert "onapp_backup_age_seconds" not in families
    assert {"onapp_up", "onapp_backup_built_timestamp_seconds"} <= families
    assert families <= {name.removesuffix("_total") for name in FILE_METRICS}


async def test_promtool_finds_nothing_wrong(
    panel: Panel, promtool: Promtool, tmp_path: Path
) -> None:
    """It reads with the parser that node_exporter reads with."""
    once = Once(panel, tmp_path)
    await once.ends()

    assert await asyncio.to_thread(promtool.complaints, once.text) == ""


async def test_schedules_that_are_asked_one_by_one_are_all_there(
    panel: Panel, tmp_path: Path
) -> None:
    """Servers that were read before that was clear are read again."""
    panel.permissions = ALL_PERMISSIONS
    refused = panel.faults.add(faults.hang(), path="/settings/schedules")
    panel.faults.add(faults.forbidden(), path="/settings/.*")
    once = Once(panel, tmp_path)
    task = asyncio.create_task(once.ends())
    await until(lambda: sum(a.resource == "backups" for a in panel.requests) == 12)
    await until(lambda: panel.in_flight == 1)
    refused.remove()
    async with asyncio.timeout(60):
        while not task.done():
            # Those that are read again come one after another.
            if panel.in_flight == 0:
                once.clock.move(once.clock.elapsed + 0.1)
            await asyncio.sleep(0.01)

    assert len(series(once.text, "onapp_schedule_status", status="enabled")) == 12


async def test_a_shard_writes_its_own_servers(panel: Panel, tmp_path: Path) -> None:
    """Two files of two hosts have all, and nothing twice."""
    found: list[str] = []
    for number in (0, 1):
        once = Once(panel, tmp_path)
        once.exporter.shard = Shard(number, 2)
        await once.ends()
        found += series(once.text, "onapp_vm_poll_success", panel="cp")

    assert sorted(found) == sorted(f"vm_id={n}" for n in range(1, 13))


# What went wrong is in it, too.


async def test_one_server_that_fails_shows_and_degrades(
    panel: Panel, tmp_path: Path
) -> None:
    """As it would on /metrics."""
    panel.faults.add(faults.html_error(), resource="backups", server_id=3)
    once = Once(panel, tmp_path)
    status = await once.ends()

    assert status == "degraded"
    assert series(once.text, "onapp_vm_poll_success", vm_id=3) == {"panel=cp": 0}
    assert series(once.text, "onapp_vm_poll_success", vm_id=4) == {"panel=cp": 1}
    assert series(once.text, "onapp_collector_success", collector="backups") == {
        "panel=cp": 0
    }


@pytest.mark.parametrize("fault", [faults.status(503), faults.unauthorized()])
async def test_a_panel_that_fails_replaces_the_old_file(
    panel: Panel, tmp_path: Path, fault: faults.Fault
) -> None:
    """The old one would go on saying that all is well."""
    once = Once(panel, tmp_path)
    once.file.write_text('onapp_up{panel="cp"} 1\n')
    panel.faults.add(fault)
    status = await once.ends()

    assert status == "failed"
    assert series(once.text, "onapp_up") == {"panel=cp": 0}
    assert series(once.text, "onapp_vm_poll_success") == {}
    assert sum(panel.failed_attempts.values()) <= 1


async def test_what_was_not_read_in_time_counts_as_failed(
    panel: Panel, tmp_path: Path
) -> None:
    """Half a pass must not look like a whole one of half as many servers."""
    panel.faults.add(faults.hang(), path="/virtual_machines/[0-9]+/backups")
    panel.faults.add(faults.hang(), resource="transactions")
    once = Once(panel, tmp_path, poll={"timeout": "20m", "interval": "15m"})
    task = asyncio.create_task(once.ends(limit=10 * MINUTE))
    await until(lambda: panel.in_flight == 8)
    once.clock.move(10 * MINUTE)
    status = await task

    assert status == "failed"
    assert len(series(once.text, "onapp_vm_poll_success")) == 12
    assert set(series(once.text, "onapp_vm_poll_success").values()) == {0}
    collectors = series(once.text, "onapp_collector_success", panel="cp")
    assert collectors["collector=backups"] == 0
    assert collectors["collector=transactions"] == 0
    assert collectors["collector=inventory"] == 1


async def test_a_panel_that_never_answers_in_time_is_down(
    panel: Panel, tmp_path: Path
) -> None:
    """No series at all would be silence."""
    panel.faults.add(faults.hang())
    once = Once(panel, tmp_path, poll={"timeout": "20m", "interval": "15m"})
    task = asyncio.create_task(once.ends(limit=MINUTE))
    await until(lambda: panel.in_flight == 1)
    once.clock.move(MINUTE)
    status = await task

    assert status == "failed"
    assert series(once.text, "onapp_up") == {"panel=cp": 0}
    assert series(once.text, "onapp_collector_success", collector="inventory") == {
        "panel=cp": 0
    }


async def test_an_optional_collector_that_is_refused_degrades(
    panel: Panel, tmp_path: Path
) -> None:
    """It can be switched off; silently missing it must not be."""
    panel.permissions = ALL_PERMISSIONS - {"transactions.list"}
    status = await Once(panel, tmp_path).ends()
    off = {"transactions": False}

    assert status == "degraded"
    assert await Once(panel, tmp_path, collectors=off).ends() == "ok"


async def test_a_panel_that_lists_no_servers_degrades(
    panel: Panel, tmp_path: Path
) -> None:
    """The role may just not see them: whoever reads the status must not be glad."""
    panel.visible = lambda _: False
    with capture_logs() as log:
        status = await Once(panel, tmp_path).ends()
    (entry,) = (entry for entry in log if entry["event"] == "panel lists no servers")

    assert status == "degraded"
    assert "own user's servers" in entry["hint"]


class ClockThatFails(SteppedClock):
    """One by which no poller can sleep: a bug outside all that a poller catches."""

    async def wait(self, wake: asyncio.Event, seconds: float | None) -> None:
        """Wait as long as a whole pass may take, but no other time."""
        if seconds != LIMIT_SECONDS:
            raise RuntimeError("the clock fails")
        await super().wait(wake, seconds)


async def test_a_bug_that_ends_the_polling_is_an_error(
    panel: Panel, tmp_path: Path
) -> None:
    """What is known until then is not written as if it were a whole pass."""
    once = Once(panel, tmp_path, clock=ClockThatFails(NOW))

    async with asyncio.timeout(LONGEST_REAL_WAIT_SECONDS):
        with pytest.raises(RuntimeError, match="the clock fails"):
            await once.ends()

    assert not once.file.exists()


# The file.


def test_a_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    """Whoever reads meanwhile sees the old one or the new one, whole."""
    file = tmp_path / "onapp.prom"
    contents = [bytes([letter]) * 100_000 for letter in b"ab"]
    replace_file(contents[0], file)
    over = threading.Event()
    seen: list[bytes] = []

    def read() -> None:
        while not over.is_set():
            seen.append(file.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number in range(50):
            replace_file(contents[number % 2], file)
    finally:
        over.set()
        reader.join()

    assert {*seen} <= {*contents}
    assert [path.name for path in tmp_path.iterdir()] == ["onapp.prom"]


def test_a_file_is_readable_by_all_whatever_the_mask(tmp_path: Path) -> None:
    """node_exporter runs as another user."""
    before = os.umask(0o077)
    try:
        replace_file(b"x", tmp_path / "onapp.prom")
    finally:
        os.umask(before)

    mode = (tmp_path / "onapp.prom").stat().st_mode
    assert stat.S_IMODE(mode) == 0o644


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path,
) -> None:
    """The name cannot be taken any more, at the last step."""
    file = tmp_path / "onapp.prom"
    file.mkdir()
    (file / "content").touch()
    with pytest.raises(OSError, match="onapp"):
        replace_file(b"x", file)

    assert [path.name for path in tmp_path.iterdir()] == ["onapp.prom"]


def test_a_link_to_a_file_stays_a_link(tmp_path: Path) -> None:
    """Its target is replaced."""
    link, target = tmp_path / "link.prom", tmp_path / "target.prom"
    link.symlink_to(target)
    replace_file(b"x", link)

    assert link.is_symlink()
    assert target.read_bytes() == b"x"


@pytest.mark.parametrize("name", ["missing/onapp.prom", "", "/dev/null", "/dev/stdout"])
def test_what_cannot_be_written_is_refused_at_once(tmp_path: Path, name: str) -> None:
    """Before minutes of polling are wasted."""
    with pytest.raises(OSError, match=r"."):
        check_writable(tmp_path / name)

    assert list(tmp_path.iterdir()) == []


# The process.


def environment(panel: Panel) -> dict[str, str]:
    """Return what makes a configuration file needless."""
    return {
        "ONAPP_URL": panel.url,
        "ONAPP_USERNAME": panel.username,
        "ONAPP_PASSWORD": panel.password,
    }


async def test_standard_output_is_the_exposition_and_nothing_else(
    panel: Panel,
) -> None:
    """With the families of the process: nobody else's are beside them."""
    async with exporter_process("once", environment=environment(panel)) as process:
        status = await process.wait()
    text = "".join(process.out)

    assert (status, process.err) == (0, [])
    assert series(text, "onapp_up") == {"panel=127.0.0.1": 1}
    assert len(series(text, "onapp_vm_poll_success")) == 12
    assert "process_cpu_seconds_total" in text
    assert "onapp_backup_built_timestamp_seconds" in text
    assert not series(text, "onapp_backup_age_seconds")
    assert not series(text, "onapp_vm_state")


async def test_a_file_is_written_and_the_status_tells_how_it_went(
    panel: Panel, tmp_path: Path
) -> None:
    """Cron sees 1 when something is missing, and why on standard error."""
    panel.faults.add(faults.html_error(), resource="backups", server_id=3)
    file = tmp_path / "onapp.prom"
    arguments = ("once", f"--output={file}")
    async with exporter_process(*arguments, environment=environment(panel)) as process:
        status = await process.wait()

    assert (status, process.out) == (1, [])
    assert "reading the backups of a server failed" in process.output
    assert len(series(file.read_text(), "onapp_vm_poll_success")) == 12


@pytest.mark.parametrize("command", ["once", "check"])
async def test_a_bad_configuration_ends_with_2_and_writes_nothing(
    command: str, tmp_path: Path
) -> None:
    """The old file stays: its age tells."""
    file = tmp_path / "onapp.prom"
    file.write_text("old\n")
    bad = tmp_path / "bad.yml"
    bad.write_text("panels: []\n")
    output = (f"--output={file}",) if command == "once" else ()
    async with exporter_process(command, f"--config.file={bad}", *output) as process:
        status = await process.wait()

    assert (status, process.out) == (2, [])
    assert "panels" in process.output
    assert "Traceback" not in process.output
    assert file.read_text() == "old\n"


async def test_an_output_that_cannot_be_written_asks_no_panel(
    panel: Panel, tmp_path: Path
) -> None:
    """One line, and no request."""
    arguments = ("once", f"--output={tmp_path}/missing/onapp.prom")
    async with exporter_process(*arguments, environment=environment(panel)) as process:
        status = await process.wait()

    assert status == 2
    assert process.output.endswith(
        f": cannot write {tmp_path}/missing/onapp.prom: its directory "
        f"{tmp_path}/missing: No such file or directory\n"
    )
    assert process.output.count("\n") == 1
    assert not panel.requests


@pytest.mark.parametrize("command", ["once", "check"])
async def test_a_stream_that_is_closed_is_no_problem(
    panel: Panel, command: str
) -> None:
    """Whoever closes it wants to hear nothing; all else is as it would be."""
    ended = []
    for streams in ("", ">&-", "2>&-", ">&- 2>&-"):
        process = await asyncio.create_subprocess_exec(
            *("sh", "-c", f'exec "$0" -m exporter {command} {streams}', sys.executable),
            env={**os.environ, **environment(panel)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        _, printed = await process.communicate()
        ended.append((process.returncode, printed))

    assert ended == [ended[0]] * 4
    assert ended[0][1] == b""


@pytest.mark.parametrize("command", ["once", "check"])
async def test_a_result_that_nobody_can_take_is_a_failure(
    panel: Panel, command: str
) -> None:
    """A full disk behind standard output, in one line."""
    process = await asyncio.create_subprocess_exec(
        *("sh", "-c", f'exec "$0" -m exporter {command} >/dev/full', sys.executable),
        env={**os.environ, "PYTHONUNBUFFERED": "", **environment(panel)},
        stderr=asyncio.subprocess.PIPE,
    )
    _, printed = await process.communicate()

    assert process.returncode == 2
    assert b"cannot write the result: " in printed
    assert printed.count(b"\n") == 1


@pytest.mark.parametrize("command", ["once", "check"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_cleanly(
    panel: Panel, tmp_path: Path, command: str, number: signal.Signals
) -> None:
    """With the shell's status for the signal; the old file stays, and no other."""
    panel.faults.add(faults.hang(), resource="backups")
    file = tmp_path / "onapp.prom"
    file.write_text("old\n")
    output = (f"--output={file}",) if command == "once" else ()
    async with exporter_process(
        command, *output, environment=environment(panel)
    ) as process:
        await until(lambda: any(a.resource == "backups" for a in panel.requests))
        process.send(number)
        status = await process.wait()

    assert status == 128 + number
    assert process.output == ""
    assert file.read_text() == "old\n"
    assert os.listdir(tmp_path) == ["onapp.prom"]  # noqa: PTH208  # names are enough


async def test_two_sections_of_one_account_try_a_bad_key_once(
    panel: Panel, tmp_path: Path
) -> None:
    """Each further attempt would be a step towards the lock."""
    account = {"username": panel.username, "password": "wrong"}
    sections = [
        {"name": name, "url": panel.url, "basic_auth": account} for name in "ab"
    ]
    file = tmp_path / "onapp.yml"
    file.write_text(yaml.safe_dump({"panels": sections}))
    async with exporter_process("once", f"--config.file={file}") as process:
        status = await process.wait()

    assert status == 2
    assert sum(panel.failed_attempts.values()) == 1
    assert series("".join(process.out), "onapp_up") == {"panel=a": 0, "panel=b": 0}


async def test_two_files_on_one_host_have_no_series_in_common(
    panel: Panel, tmp_path: Path
) -> None:
    """node_exporter refuses the same series twice: each panel has a file of its own."""
    seen: list[set[str]] = []
    for name in ("one", "two"):
        once = Once(panel, tmp_path, name=name)
        await once.ends()
        lines = once.text.splitlines()
        seen.append({x.rpartition(" ")[0] for x in lines if not x.startswith("#")})

    assert seen[0]
    assert seen[0] & seen[1] == set()


async def test_the_documented_line_logs_in_once_with_a_refused_key(
    panel: Panel, tmp_path: Path
) -> None:
    """Again only with another key, or an hour later."""
    key, output, file = (tmp_path / n for n in ("key", "onapp.prom", "onapp.yml"))
    key.write_text("wrong")
    os.utime(key, (1_000_000_000, 1_000_000_000))
    account = {"username": panel.username, "password_file": str(key)}
    section = {"name": "cp", "url": panel.url, "basic_auth": account}
    file.write_text(yaml.safe_dump({"panels": [section]}))
    (line,) = (x for x in COMMANDS_PAGE.splitlines() if x.startswith("grep -qs"))
    for documented, real in {
        "/var/lib/node_exporter/textfile/onapp.prom": str(output),
        "/etc/onapp-key": str(key),
        "/etc/onapp.yml": str(file),
        "onapp-backup-exporter": f"{sys.executable} -m exporter",
    }.items():
        line = line.replace(documented, real)

    async def run() -> int:
        process = await asyncio.create_subprocess_shell(
            line, stderr=asyncio.subprocess.DEVNULL
        )
        await process.wait()
        return sum(panel.failed_attempts.values())

    refused = [await run() for _ in range(3)]
    os.utime(output, (1_000_000_000, 1_000_000_000))
    after_an_hour = await run()
    key.write_text(panel.password)
    os.utime(key)
    with_the_right_key = await run()

    assert refused == [1, 1, 1]
    assert after_an_hour == with_the_right_key == 2
    assert series(output.read_text(), "onapp_up") == {"panel=cp": 1}
