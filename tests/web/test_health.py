"""Tests of the health check: a poller that hangs is told, by the name of its panel.

Time is moved without waking whoever waits: so does a loop that hangs.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from certificates import write_certificates
from faults import hang
from faulty_panel import Panel
from harness import NOW, MonitoredCloud, monitored
from secured_server import PASSWORD, TLS_WITH_CLIENT_CERT, USERS, basic_auth

from exporter.commands.healthcheck import healthcheck
from exporter.demo.cloud.simulation import SimulatedCloud
from exporter.polling.inventory import Inventory

_HUNG = (503, "Polling hangs, restart the exporter; panels: cp.\n")
_HEALTHY = (200, "Healthy.\n")
_CERTIFICATE_IF_GIVEN = TLS_WITH_CLIENT_CERT.replace(
    "RequireAndVerifyClientCert", "VerifyClientCertIfGiven"
)
_MINUTE = 60.0
_HOUR = 3600.0


def a_panel() -> Panel:
    """Return a panel with one server."""
    cloud = SimulatedCloud(NOW)
    cloud.add_server(label="web")
    return Panel(cloud)


async def health(cloud: MonitoredCloud) -> tuple[int, str]:
    """Return status and text of the answer."""
    status, text, _ = await cloud.get("/-/healthy")
    return status, text


def promised(cloud: MonitoredCloud) -> float:
    """Return in how many seconds the loop is to turn again."""
    return min(cloud.clock.sleepers.values()) - cloud.clock.elapsed


async def test_a_loop_that_does_not_wake_up_is_told(tmp_path: Path) -> None:
    """A minute after the moment that it promised; its panel is not accused."""
    async with monitored(a_panel(), tmp_path) as cloud:
        await cloud.advance(100)
        cloud.clock.elapsed += promised(cloud) + 59
        late = await health(cloud)
        cloud.clock.elapsed += 2
        hung = await health(cloud)
        cloud.clock.elapsed += 3600
        up = await cloud.value("onapp_up")
        lag = await cloud.value("onapp_poll_lag_seconds")

    assert late == _HEALTHY
    assert hung == _HUNG
    assert up == 1
    assert lag is not None
    assert lag > 2 * 15 * _MINUTE


@pytest.mark.parametrize("concurrency", [1, 8])
async def test_a_job_that_never_ends_is_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    concurrency: int,
) -> None:
    """After ten minutes without a step of it, also while others go on."""
    poll = {"concurrency": concurrency}
    async with monitored(a_panel(), tmp_path, poll=poll) as cloud:

        async def never(_: Inventory) -> bool:
            cloud.hung_jobs += 1
            await asyncio.Event().wait()
            return True

        monkeypatch.setattr(Inventory, "read", never)
        await cloud.advance(19 * _MINUTE)  # the inventory is due after ten
        busy = await health(cloud)
        await cloud.advance(2 * _MINUTE)
        hung = await health(cloud), await health(cloud)
        await cloud.advance(_HOUR)
        up = await cloud.value("onapp_up")

    assert busy == _HEALTHY
    assert hung == (_HUNG, _HUNG)
    assert up == 1
    assert capsys.readouterr().out.count("polling hangs") == 1


async def test_a_reload_that_replaces_a_hung_poller_ends_it(tmp_path: Path) -> None:
    """The panel has a poller that runs."""
    async with monitored(a_panel(), tmp_path) as cloud:
        cloud.clock.elapsed += _HOUR
        hung = await health(cloud)
        cloud.file.write_text(cloud.file.read_text() + "  poll: {interval: 20m}\n")
        await cloud.get("/-/reload", method="POST")
        await cloud.settle()
        replaced = await health(cloud)

    assert hung == _HUNG
    assert replaced == _HEALTHY


async def test_a_loop_that_ended_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever ended it, nobody asks that panel any more; a scrape logs it too."""
    async with monitored(a_panel(), tmp_path) as cloud:
        task = cloud.exporter.manager.panel_tasks["cp"].task
        assert task is not None
        task.cancel()
        await asyncio.wait([task])
        await cloud.metrics()
        logged = capsys.readouterr().out
        hung = await health(cloud)

    assert hung == _HUNG
    assert "polling hangs" in logged
    assert "panel=cp" in logged


@pytest.mark.parametrize("fault", ["refused", "stopped"])
async def test_a_loop_that_rests_because_of_its_panel_is_healthy(
    tmp_path: Path, fault: str
) -> None:
    """A restart would only try the refused key again."""
    panel = a_panel()
    async with monitored(panel, tmp_path) as cloud:
        if fault == "refused":
            panel.password = "another"
        else:
            await panel.stop()
        answers = []
        for _ in range(8):
            await cloud.advance(15 * _MINUTE)
            answers.append(await health(cloud))

    assert answers == [_HEALTHY] * 8


@pytest.mark.parametrize("path", ["/-/healthy", "/-/ready"])
async def test_users_do_not_hide_that_something_is_wrong(
    tmp_path: Path, path: str
) -> None:
    """A probe cannot log in; without a login no panel's name is told."""
    file = tmp_path / "web.yml"
    file.write_text(USERS)
    panel = a_panel()
    if path == "/-/ready":
        panel.faults.add(hang())  # the first pass does not end
    async with monitored(panel, tmp_path, web_config_file=file, unanswered=1) as cloud:
        if path == "/-/healthy":
            cloud.clock.elapsed += 90_000
        address = cloud.base.partition("://")[2]
        wrong, text, _ = await cloud.get(path)
        other, _, _ = await cloud.get("/")
        outcome = await asyncio.to_thread(
            healthcheck, (address,), web_config=True, path=path
        )
        known, detail, _ = await cloud.get(path, **basic_auth("alice", PASSWORD))

    assert (wrong, text) == (503, "Not healthy, or not ready.\n")
    assert other == 401
    assert outcome == 1
    assert known == 503
    assert detail != text


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (TLS_WITH_CLIENT_CERT, 0),
        (_CERTIFICATE_IF_GIVEN + USERS, 1),
    ],
)
async def test_a_demanded_certificate_hides_a_hang_from_the_check(
    tmp_path: Path, text: str, status: int
) -> None:
    """It has none; where it may come without one, it sees what is wrong."""
    write_certificates(tmp_path)
    file = tmp_path / "web.yml"
    file.write_text(text)
    async with monitored(a_panel(), tmp_path, web_config_file=file) as cloud:
        address = cloud.base.partition("://")[2]
        found = []
        for _ in range(2):
            check = asyncio.to_thread(healthcheck, (address,), web_config=True)
            found.append(await check)
            cloud.clock.elapsed += 90_000

    assert found == [0, status]
