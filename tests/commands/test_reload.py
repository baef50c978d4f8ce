"""A changed configuration takes effect without a restart, and a bad one does not."""

from __future__ import annotations

import asyncio
import gc
import signal
from pathlib import Path
from typing import Any

import aiohttp
import faults
import pytest
from builders import edit_and_reload, edit_config, panel_section, reload
from exporter_process import exporter_process, fetch, poll_until
from faulty_panel import Panel
from harness import BACKUPS_ONLY, NOW, MonitoredCloud, monitored, series
from harness import write_config as write_configuration

from exporter.demo.cloud.simulation import SimulatedCloud
from exporter.errors import ConfigError

MINUTE = 60
HOUR = 3600
INTERVAL = 15 * MINUTE
SUCCESSFUL = "onapp_exporter_config_last_reload_successful"
MOMENT = "onapp_exporter_config_last_reload_success_timestamp_seconds"


def panel_of(count: int, **habits: Any) -> Panel:
    """Return a panel with so many servers, each with one backup."""
    world = SimulatedCloud(NOW)
    for _ in range(count):
        server = world.add_server()
        world.add_backup(server.id, created_at=NOW - HOUR, built_at=NOW - HOUR + 60)
    return Panel(world, **habits)


def about(text: str, panel: str) -> list[str]:
    """Return the lines of a scrape about one panel, but for what varies with time."""
    varies = "onapp_collector_duration_seconds", "onapp_panel_future_dates"
    return [
        line
        for line in text.splitlines()
        if f'panel="{panel}"' in line and not line.startswith(varies)
    ]


def open_sessions() -> int:
    """Count the sessions that nobody has closed."""
    gc.collect()
    found = [o for o in gc.get_objects() if isinstance(o, aiohttp.ClientSession)]
    return sum(not session.closed for session in found)


async def tasks_beside_connections() -> int:
    """Count the tasks; servers have one more for each connection that is open."""
    for _ in range(4):  # those that are cancelled end
        await asyncio.sleep(0)
    return sum(
        "RequestHandler" not in getattr(task.get_coro(), "__qualname__", "")
        for task in asyncio.all_tasks()
    )


async def only(tasks: set[asyncio.Task[Any]]) -> bool:
    """Tell whether soon no task is left but these.

    The panel needs a moment to see that a connection was closed.
    """
    for _ in range(1000):
        if asyncio.all_tasks() <= tasks:
            return True
        await asyncio.sleep(0.001)
    return False


async def few_connections(*panels: Panel) -> bool:
    """Tell whether soon at most one connection to each panel is open."""
    for _ in range(1000):
        if all(panel.connections <= 1 for panel in panels):
            return True
        await asyncio.sleep(0.001)
    return False


# Bad files


async def test_a_bad_file_changes_nothing_and_says_why(tmp_path: Path) -> None:
    """500 with the reason; the old configuration stays in force."""
    panel = panel_of(2)
    async with monitored(panel, tmp_path) as cloud:
        effective = (await cloud.get("/config"))[1]
        loaded_at = await cloud.value(MOMENT)
        await cloud.advance(MINUTE)
        good = cloud.file.read_text()
        edit_config(
            cloud,
            lambda content: content["panels"][0].update(pol=1, format="html"),
        )
        status, text = await reload(cloud)
        during = await cloud.metrics()
        still = (await cloud.get("/config"))[1]
        await cloud.advance(INTERVAL - MINUTE)
        success = await cloud.series("onapp_vm_poll_success")
        cloud.file.write_text(good)
        again = await reload(cloud)

        assert status == 500
        assert "panels[0].pol" in text
        assert "panels[0].format" in text
        assert still == effective
        assert series(during, SUCCESSFUL) == {"": 0.0}
        assert series(during, MOMENT) == {"": loaded_at}
        assert set(success.values()) == {1.0}
        assert len(panel.request_log.requests_for("backups")) == 4
        assert again == (200, "Reloaded.\n")
        assert await cloud.value(SUCCESSFUL) == 1
        assert await cloud.value(MOMENT) == NOW + INTERVAL


async def test_a_bad_file_on_sighup_changes_nothing_either(tmp_path: Path) -> None:
    """The signal takes the same way as the request."""
    panel = panel_of(1)
    async with monitored(panel, tmp_path) as cloud:
        cloud.file.write_text("panels: [")
        with pytest.raises(ConfigError):
            await cloud.exporter.reload()

        assert await cloud.value(SUCCESSFUL) == 0
        assert await cloud.value("onapp_up") == 1


async def test_a_file_that_vanished_is_a_bad_file(tmp_path: Path) -> None:
    """A mount that went away must not take the exporter with it."""
    panel = panel_of(1)
    async with monitored(panel, tmp_path) as cloud:
        cloud.file.unlink()
        status, text = await reload(cloud)

        assert status == 500
        assert str(cloud.file) in text
        assert await cloud.value("onapp_up") == 1


async def test_an_unusable_panel_leaves_no_trace_of_the_others(tmp_path: Path) -> None:
    """Panels before it in the file are not half added."""
    panel = panel_of(1)
    async with monitored(panel, tmp_path) as cloud:
        (tmp_path / "ca.pem").write_text("no certificate at all")
        sessions, tasks = open_sessions(), await tasks_beside_connections()
        before = await cloud.metrics()
        edit_config(
            cloud,
            lambda content: content["panels"].extend(
                [
                    panel_section(panel, "fine"),
                    panel_section(panel, "broken", tls_config={"ca_file": "ca.pem"}),
                ]
            ),
        )
        status, _ = await reload(cloud)
        after = await cloud.metrics()

        assert status == 500
        assert about(after, "fine") == []
        assert about(after, "broken") == []
        assert about(after, "cp") == about(before, "cp")
        assert open_sessions() == sessions
        assert await tasks_beside_connections() == tasks


# What stays


async def test_an_unchanged_panel_does_not_notice_a_reload(tmp_path: Path) -> None:
    """Data, session and timetable stay: not one request more than without."""
    panel = panel_of(5)
    async with monitored(panel, tmp_path) as cloud:
        requests = len(panel.requests)
        before = about(await cloud.metrics(), "cp")
        for _ in range(3):
            await edit_and_reload(
                cloud, lambda content: content.update(detail={"backups": True})
            )
        after = about(await cloud.metrics(), "cp")
        extra = len(panel.requests) - requests
        await cloud.advance(2 * INTERVAL)

        assert after == before
        assert extra == 0
        assert panel.sessions_opened <= 8
        assert len(panel.request_log.requests_for("backups")) == 5 * 3


async def test_a_changed_interval_keeps_the_data(tmp_path: Path) -> None:
    """Nothing is missing from any scrape, though the panel does not answer now."""
    panel = panel_of(3)
    async with monitored(panel, tmp_path) as cloud:
        before = about(await cloud.metrics(), "cp")
        fault = panel.faults.add(faults.hang())
        cloud.unanswered = 8
        await edit_and_reload(
            cloud,
            lambda content: content["panels"][0].update(poll={"interval": "5m"}),
        )
        during = about(await cloud.metrics(), "cp")
        fault.remove()
        cloud.unanswered = 0
        await cloud.advance(10 * MINUTE)

        gone = {line for line in before if line not in during}
        assert {line for line in gone if "data_old" not in line} == {
            'onapp_poll_interval_seconds{panel="cp",shard="0"} 900'
        }
        assert await cloud.value("onapp_poll_interval_seconds") == 300
        assert len(panel.request_log.requests_for("backups", 1)) >= 4


async def test_known_servers_are_read_on_though_no_inventory_comes(
    tmp_path: Path,
) -> None:
    """A reload does not lose sight of servers that the panel fails to list now."""
    panel = panel_of(3)
    async with monitored(panel, tmp_path) as cloud:
        panel.faults.add(faults.status(500), resource="virtual_machines")
        await edit_and_reload(
            cloud,
            lambda content: content["panels"][0].update(poll={"interval": "5m"}),
        )
        await cloud.advance(2 * HOUR)

        assert await cloud.series("onapp_vm_poll_success", panel="cp") == {
            "vm_id=1": 1.0,
            "vm_id=2": 1.0,
            "vm_id=3": 1.0,
        }
        assert await cloud.value("onapp_vm_backups", vm_id=2, state="built") == 1


async def test_a_server_excluded_by_a_reload_is_gone_at_once(tmp_path: Path) -> None:
    """The file says that it is not wanted: no inventory is needed for that."""
    panel = panel_of(3)
    async with monitored(panel, tmp_path) as cloud:
        panel.faults.add(faults.status(500))
        await edit_and_reload(
            cloud,
            lambda content: content["panels"][0].update(
                discovery={"exclude": {"label": "server-2"}}
            ),
        )
        text = await cloud.metrics()

        assert 'vm_id="2"' not in text
        assert 'vm_id="3"' in text


async def test_from_discovery_to_a_list_only_the_listed_stay(tmp_path: Path) -> None:
    """By number or by identifier; what was known of them is not asked again."""
    panel = panel_of(4)
    name = panel.cloud.servers[3].identifier
    async with monitored(panel, tmp_path) as cloud:
        panel.faults.add(faults.status(500), resource="virtual_machines")
        await edit_and_reload(
            cloud,
            lambda content: content["panels"][0].update(virtual_machines=[1, name]),
        )

        assert await cloud.series("onapp_vm_poll_success", panel="cp") == {
            "vm_id=1": 1.0,
            "vm_id=3": 1.0,
        }
        assert len(await cloud.series("onapp_vm_info")) == 2


async def test_readiness_once_reached_survives_every_reload(tmp_path: Path) -> None:
    """Also when nobody had asked, and the new panel's first pass never ends."""
    panel, other = panel_of(1), panel_of(1)
    other.faults.add(faults.hang())
    async with other, monitored(panel, tmp_path) as cloud:
        edit_config(
            cloud,
            lambda content: content["panels"].append(panel_section(other, "other")),
        )
        await reload(cloud)

        assert (await cloud.get("/-/ready"))[0] == 200


# What comes and goes


async def test_an_added_panel_appears(tmp_path: Path) -> None:
    """With its servers, and without a request more to the other."""
    panel, other = panel_of(1), panel_of(2)
    async with other, monitored(panel, tmp_path) as cloud:
        other.clock = cloud.clock.time
        requests = len(panel.requests)
        await edit_and_reload(
            cloud,
            lambda content: content["panels"].append(panel_section(other, "other")),
        )

        assert await cloud.series("onapp_up") == {"panel=cp": 1.0, "panel=other": 1.0}
        assert len(await cloud.series("onapp_vm_backups", panel="other")) == 4
        assert len(panel.requests) == requests


async def test_a_removed_panel_goes_with_all_its_series_and_counters(
    tmp_path: Path,
) -> None:
    """And it is asked no more, not even by what was under way."""
    panel, other = panel_of(1), panel_of(2)
    async with other, monitored(panel, tmp_path) as cloud:
        other.clock = cloud.clock.time
        await edit_and_reload(
            cloud,
            lambda content: content["panels"].append(panel_section(other, "other")),
        )
        other.faults.add(faults.hang())
        cloud.unanswered = 8
        panel.faults.add(faults.hang(), times=0)
        await edit_and_reload(cloud, lambda content: content["panels"].pop())
        cloud.unanswered = 0
        requests = len(other.requests)
        await cloud.advance(HOUR)
        text = await cloud.metrics()

        assert about(text, "other") == []
        assert len(other.requests) == requests
        assert other.in_flight == 0


async def test_single_backups_can_be_switched_off_and_on(tmp_path: Path) -> None:
    """At once, and without asking any panel."""
    panel = panel_of(2)
    async with monitored(panel, tmp_path) as cloud:
        requests = len(panel.requests)
        whole = about(await cloud.metrics(), "cp")
        await edit_and_reload(
            cloud, lambda content: content.update(detail={"backups": False})
        )
        less = about(await cloud.metrics(), "cp")
        await edit_and_reload(
            cloud, lambda content: content.update(detail={"backups": True})
        )

        assert [line for line in less if "backup_id=" in line] == []
        assert [line for line in whole if "backup_id=" not in line] == less
        assert about(await cloud.metrics(), "cp") == whole
        assert len(panel.requests) == requests


async def test_a_panel_at_another_address_begins_anew(tmp_path: Path) -> None:
    """What was known of the one says nothing of the other."""
    panel, other = panel_of(3), panel_of(1)
    async with other, monitored(panel, tmp_path) as cloud:
        other.clock = cloud.clock.time
        await edit_and_reload(
            cloud, lambda content: content["panels"][0].update(url=other.url)
        )

        assert await cloud.series("onapp_vm_poll_success") == {"panel=cp,vm_id=1": 1.0}


# What a panel has said


async def test_a_reload_does_not_end_the_rest_a_panel_has_asked_for(
    tmp_path: Path,
) -> None:
    """Retry-After holds for the exporter, whatever its configuration."""
    panel = panel_of(5)
    async with monitored(panel, tmp_path) as cloud:
        panel.faults.add(faults.status(429, {"Retry-After": "250"}))
        await cloud.advance(INTERVAL / 2)
        requests = len(panel.requests)
        await edit_and_reload(
            cloud, lambda content: content["panels"][0].update(poll={"timeout": "9s"})
        )

        assert len(panel.requests) == requests


# Under load


async def test_hundreds_of_reloads_while_scraping_lose_and_leak_nothing(
    tmp_path: Path,
) -> None:
    """Every scrape is whole; no task, session, connection or file is left over.

    The panel that does not change keeps its one connection and its session; the one
    that does keeps its data; bad files in between do nothing.
    """
    steady, panel, other = panel_of(3), panel_of(2), panel_of(1)
    poll = {"interval": "1h", "max_age": "2h", "concurrency": 1}
    keys: dict[str, Any] = {"collectors": BACKUPS_ONLY, "poll": poll}
    async with steady, other, monitored(panel, tmp_path, **keys) as cloud:
        steady.clock = other.clock = cloud.clock.time
        added = panel_section(steady, "steady", **keys)
        await edit_and_reload(cloud, lambda content: content["panels"].append(added))
        one = cloud.file.read_text()
        added = panel_section(other, "other", **keys)
        await edit_and_reload(cloud, lambda content: content["panels"].append(added))
        both = cloud.file.read_text()
        changed = one.replace("1h", "50m", 1)
        await _reload_as(cloud, one)
        await cloud.settle()
        whole = len(about(await cloud.metrics(), "cp"))
        unchanged = about(await cloud.metrics(), "steady")
        kept = steady.connections_used, steady.sessions_opened, len(steady.requests)
        sessions, tasks = open_sessions(), await tasks_beside_connections()
        scrapes: list[str] = []
        ended = asyncio.Event()

        async def scrape() -> None:
            while not ended.is_set():
                scrapes.append(await cloud.metrics())
                await asyncio.sleep(0)

        scraper = asyncio.create_task(scrape())
        for _ in range(50):
            for content in (both, changed, "nonsense", one):
                await _reload_as(cloud, content)
        ended.set()
        await scraper
        await cloud.settle()
        used = steady.connections_used, steady.sessions_opened, len(steady.requests)
        await cloud.advance(HOUR)

        assert len(scrapes) >= 100
        assert {len(about(text, "cp")) for text in scrapes} == {whole}
        assert all(about(text, "steady") == unchanged for text in scrapes)
        assert used == kept
        assert len(steady.requests) > kept[2]
        assert steady.sessions_opened == 2  # a reload drops the cookies
        assert open_sessions() == sessions
        assert await tasks_beside_connections() == tasks
        assert await few_connections(panel, steady, other)
        assert list(cloud.exporter.manager.panel_tasks) == ["cp", "steady"]
        assert len(cloud.exporter.manager._credential_states) == 3  # noqa: SLF001  # what must not grow


async def _reload_as(cloud: MonitoredCloud, content: str) -> None:
    cloud.file.write_text(content)
    await reload(cloud)


async def test_a_hundred_signals_while_scraping(tmp_path: Path) -> None:
    """A real process takes them all, opens nothing anew and loses no scrape."""
    panel = panel_of(2)
    async with panel:
        write_configuration(
            tmp_path / "onapp.yml", panel, {}, {"poll": {"concurrency": 1}}
        )
        arguments = ("--config.file", str(tmp_path / "onapp.yml"))
        listen = ("--web.listen-address", "127.0.0.1:0")
        async with exporter_process(*arguments, *listen) as process:
            base = await process.base_url()
            await poll_until(f"{base}/-/ready", lambda status, _: status == 200)
            open_before = _files_of(process.process.pid)
            answers = []
            loaded_at = 0.0
            for _ in range(100):
                process.send(signal.SIGHUP)
                before = loaded_at
                while loaded_at <= before:
                    answers.append(await fetch(f"{base}/metrics"))
                    (loaded_at,) = series(answers[-1][1], MOMENT).values()

            assert {status for status, _ in answers} == {200}
            assert all(
                len(series(text, "onapp_vm_backups")) == 4 for _, text in answers
            )
            assert _files_of(process.process.pid) <= open_before + 1
            assert (panel.connections_used, panel.sessions_opened) == (1, 1)


def _files_of(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def mount(volume: Path, version: str, content: str) -> None:
    """Write a file as Kubernetes does: a new folder, and a link to it replaced."""
    folder = volume / f"..{version}"
    folder.mkdir()
    (folder / "onapp.yml").write_text(content)
    (volume / "..new").symlink_to(folder.name)
    (volume / "..new").rename(volume / "..data")


async def test_a_replaced_link_reloads_by_itself(tmp_path: Path) -> None:
    """A ConfigMap that was edited is in force after a while, without a signal.

    A bad one is reported once, however often it is looked at, and changes nothing; nor
    is a file reloaded that was only written shortly before the start.
    """
    panel = panel_of(1)
    async with panel:
        write_configuration(tmp_path / "onapp.yml", panel, {}, {})
        good = (tmp_path / "onapp.yml").read_text()
        volume = tmp_path / "volume"
        volume.mkdir()
        (volume / "onapp.yml").symlink_to("..data/onapp.yml")
        good = good.replace("api-key", str(tmp_path / "api-key"))
        mount(volume, "1", good)
        async with exporter_process(
            *("--config.file", str(volume / "onapp.yml")),
            *("--config.enable-auto-reload", "--config.auto-reload-interval", "1s"),
            *("--web.listen-address", "127.0.0.1:0"),
        ) as process:
            base = await process.base_url()
            mount(volume, "2", good.replace("name: cp", "name: second"))
            await process.wait_for("msg=.configuration reloaded")
            second = (await fetch(f"{base}/config"))[1]
            mount(volume, "3", good.replace("name: cp", "nam: third"))
            await process.wait_for("configuration could not be reloaded")
            bad = (await fetch(f"{base}/metrics"))[1]
            kept = (await fetch(f"{base}/config"))[1]
            mount(volume, "4", good.replace("name: cp", "name: fourth"))
            await process.wait_for("(?s)configuration reloaded.*configuration reloaded")
            fourth = (await fetch(f"{base}/config"))[1]
            metrics = (await fetch(f"{base}/metrics"))[1]

    assert "name: second" in second
    assert kept == second
    assert series(bad, SUCCESSFUL) == {"": 0.0}
    assert "name: fourth" in fourth
    assert series(metrics, SUCCESSFUL) == {"": 1.0}
    logged = [line for line in process.err if "configuration" in line]
    assert ["could not" in line for line in logged] == [False, True, False]
    assert "panels[0].nam (panel 127.0.0.1)" in logged[1]


async def test_reloads_at_once_are_made_one_after_the_other(tmp_path: Path) -> None:
    """However many signals come together, one poller a panel is left."""
    panel = panel_of(2)
    async with monitored(panel, tmp_path) as cloud:
        tasks = await tasks_beside_connections()
        edit_config(
            cloud, lambda content: content["panels"][0].update(poll={"timeout": 5})
        )
        edit_config(
            cloud,
            lambda content: content["panels"][0].update(poll={"interval": "10m"}),
        )
        await asyncio.gather(*(cloud.exporter.reload() for _ in range(20)))
        await cloud.settle()

        assert await tasks_beside_connections() == tasks
        assert await cloud.value("onapp_poll_interval_seconds") == 600


async def test_the_end_leaves_no_request_and_no_task(tmp_path: Path) -> None:
    """What a panel does not answer is given up, at once."""
    panel = panel_of(20)
    panel.faults.add(faults.hang(), resource="backups")
    sessions, tasks = open_sessions(), asyncio.all_tasks()
    async with monitored(panel, tmp_path, unanswered=8) as cloud:
        in_flight = panel.in_flight
        async with asyncio.timeout(5):
            await cloud.exporter.manager.stop()
            while panel.in_flight:  # noqa: ASYNC110  # until the panel has seen it
                await asyncio.sleep(0.001)

    assert in_flight == 8
    assert open_sessions() == sessions
    assert await only(tasks)


async def test_a_reload_that_comes_with_the_end_starts_nothing(
    tmp_path: Path,
) -> None:
    """One that is under way ends first; one that waits does not begin."""
    panel = panel_of(2)
    sessions, tasks = open_sessions(), asyncio.all_tasks()
    async with monitored(panel, tmp_path) as cloud:
        edit_config(
            cloud,
            lambda content: content["panels"][0].update(poll={"interval": "10m"}),
        )
        reloads = [asyncio.create_task(cloud.exporter.reload()) for _ in range(3)]
        await asyncio.sleep(0)
    late = asyncio.create_task(cloud.exporter.reload())
    await asyncio.wait([*reloads, late], timeout=0.05)
    unfinished = [task for task in (*reloads, late) if not task.done()]
    for task in unfinished:
        task.cancel()
    await asyncio.gather(*unfinished, return_exceptions=True)

    assert late in unfinished
    assert open_sessions() == sessions
    assert await only(tasks)
