"""How often refused credentials are tried: counted at the panel, over hours.

A panel locks an account after a few wrong tries, whoever makes them. Each case tells
what goes wrong, and the minutes at which the panel then refuses a request: at once,
after ten minutes, twenty, forty, and every hour.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import faults
import pytest
from builders import a_cloud, edit_and_reload, edit_config, panel_section
from faults import Fault, FaultContext
from faulty_panel import Panel
from harness import (
    NOW,
    MonitoredCloud,
    SteppedClock,
    advance_together,
    monitored,
    monitored_by_shards,
    running_exporter,
)
from harness import write_config as write_configuration

from exporter.demo.cloud import pseudorandom
from exporter.demo.panel.auth import credentials

MINUTE = 60
HOUR = 3600
INTERVAL = 15 * MINUTE
A_DAY = [0, 10, 30, 70, *range(130, 24 * 60, 60)]
"""When credentials that are wrong from the start are tried, in minutes."""
WITHOUT_COOKIES = 1
"""One request that decides, after requests with cookies were refused."""


def refusals(panel: Panel) -> list[float]:
    """Return the minutes at which the panel refused a request, each one counted."""
    found = [row.at for row in panel.requests if row.status == 401]

    assert len(found) == sum(panel.failed_attempts.values())

    return [round((at - NOW) / MINUTE, 1) for at in found]


def refused(panel: Panel) -> Counter[float]:
    """Return how many requests the panel refused at which minute."""
    return Counter(refusals(panel))


def gaps(moments: list[float]) -> list[float]:
    """Return the minutes between moments."""
    return [round(later - earlier) for earlier, later in pairwise(moments)]


def secret(folder: Path, value: str) -> None:
    """Change the file with the key."""
    (folder / "api-key").write_text(value)


@asynccontextmanager
async def monitored_by(
    key: str, panel: Panel, folder: Path, *, unanswered: int = 0
) -> AsyncIterator[MonitoredCloud]:
    """Start a panel and an exporter that has this key, and may not be let in."""
    clock = SteppedClock(NOW)
    panel.clock = clock.time
    async with panel:
        file = folder / "onapp.yml"
        write_configuration(file, panel, {}, {})
        secret(folder, key)
        async with running_exporter(panel, file, clock, unanswered=unanswered) as cloud:
            yield cloud


def where(fault: Fault, applies: Callable[[FaultContext], bool]) -> Fault:
    """Let a fault befall some requests only."""
    return replace(fault, applies=applies)


# Wrong from the start


async def test_wrong_from_the_start(tmp_path: Path) -> None:
    """One request alone each time, over a whole day."""
    panel = a_cloud(30, lock_after=30)
    async with monitored_by("wrong", panel, tmp_path) as cloud:
        ready, _, _ = await cloud.get("/-/ready")
        await cloud.advance(24 * HOUR - 1)

        assert refusals(panel) == A_DAY
        assert len(panel.requests) == len(A_DAY)
        assert not panel.locked
        assert await cloud.value("onapp_up") == 0
        assert ready == 200


async def test_a_forbidden_answer_is_no_refusal(tmp_path: Path) -> None:
    """403 comes after the panel has looked at who asks: nothing stops."""
    panel = a_cloud(3)
    panel.faults.add(faults.forbidden())
    servers = [1, 2, 3]
    async with monitored(panel, tmp_path, virtual_machines=servers) as cloud:
        await cloud.advance(2 * INTERVAL)
        reads = Counter(
            row.server_id for row in panel.request_log.requests_for("backups")
        )

        assert refusals(panel) == []
        assert min(reads[number] for number in servers) >= 3


async def test_an_exporter_that_is_started_again_tries_again(tmp_path: Path) -> None:
    """Nothing is kept on disk: each start is one try, and one only."""
    panel = a_cloud(5)
    for _ in range(3):
        async with monitored_by("wrong", panel, tmp_path) as cloud:
            await cloud.advance(9 * MINUTE)

    assert refused(panel) == {0: 3}


# Bad in the middle


async def test_bad_in_mid_pass(tmp_path: Path) -> None:
    """Only what is under way is refused, and the data that came before stay."""
    panel = a_cloud(40)
    async with monitored(panel, tmp_path, poll={"concurrency": 4}) as cloud:
        fault = panel.faults.add(faults.hang(), resource="backups")
        cloud.unanswered = 4
        await cloud.advance(INTERVAL)
        panel.password = "changed at the panel"
        fault.remove()
        cloud.unanswered = 0
        await cloud.advance(9 * MINUTE)
        at_once = len(refusals(panel))
        data = await cloud.series("onapp_vm_backups", state="built")
        await cloud.advance(6 * HOUR)

        assert at_once == 4 + WITHOUT_COOKIES
        assert refusals(panel)[at_once:] == [25, 45, 85, 145, 205, 265, 325]
        assert len(data) == 40
        assert await cloud.value("onapp_up") == 0


async def test_mended_in_the_file(tmp_path: Path) -> None:
    """Whoever mends the key sees it at work, and it is proven by one request alone."""
    panel = a_cloud(10)
    async with monitored(panel, tmp_path) as cloud:
        panel.password = "the new key"
        await cloud.advance(INTERVAL / 2)
        before = len(panel.requests)
        await cloud.advance(20)
        waiting = len(panel.requests) - before
        secret(tmp_path, "the new key\n")
        await cloud.advance(5)

        assert len(refusals(panel)) == 1 + WITHOUT_COOKIES
        assert waiting == 0
        assert panel.requests[before].resource in ("version", "virtual_machines")
        assert await cloud.value("onapp_up") == 1
        assert await cloud.value("onapp_poll_lag_seconds") == 0


async def test_mended_at_the_panel(tmp_path: Path) -> None:
    """The key that was refused works again: the next try finds out."""
    panel = a_cloud(3)
    async with monitored(panel, tmp_path) as cloud:
        key, panel.password = panel.password, "changed by mistake"
        await cloud.advance(HOUR)
        panel.password = key
        await cloud.advance(HOUR)

        assert gaps(refusals(panel)) == [0, 10, 20]
        assert await cloud.value("onapp_up") == 1
        assert set((await cloud.series("onapp_vm_poll_success")).values()) == {1.0}


# Changes of the file


async def test_rotated_in_time(tmp_path: Path) -> None:
    """The file may change a moment before the panel is asked with it."""
    panel = a_cloud(10)
    async with monitored(panel, tmp_path) as cloud:
        for number in range(5):
            panel.password = f"key {number}"
            secret(tmp_path, f"key {number}")
            await cloud.advance(INTERVAL)

        assert refusals(panel) == []
        assert {row.status for row in panel.requests} == {200, 304}


async def test_a_slip_of_the_pen(tmp_path: Path) -> None:
    """However much is due when the file changes, one request finds out."""
    panel = a_cloud(10)
    async with monitored(panel, tmp_path) as cloud:
        secret(tmp_path, "a slip of the pen")
        await cloud.advance(9 * MINUTE)

        assert len(refusals(panel)) == 1


async def test_a_slip_of_the_pen_in_mid_pass(tmp_path: Path) -> None:
    """What is under way goes no further with a secret that nobody has tried."""
    panel = a_cloud(20)
    more = {"recovery_points": True}
    async with monitored(panel, tmp_path, collectors=more) as cloud:
        fault = panel.faults.add(faults.hang(), resource="backups")
        cloud.unanswered = 8
        await cloud.advance(INTERVAL)
        secret(tmp_path, "a slip of the pen")
        fault.remove()
        cloud.unanswered = 0
        await cloud.advance(9 * MINUTE)

        assert refused(panel) == {15: 1}


async def test_two_wrong_keys_in_turns(tmp_path: Path) -> None:
    """A bad one that comes back is known."""
    panel = a_cloud(2)
    async with monitored(panel, tmp_path) as cloud:
        for number in range(20):
            secret(tmp_path, "bad" if number % 2 else "worse")
            await cloud.advance(25)

        assert len(refusals(panel)) == 2


# Panels and proxies that refuse some requests


async def test_a_panel_that_refuses_every_other_request(tmp_path: Path) -> None:
    """An answer between two refusals takes back neither the rest nor its growth."""
    panel = a_cloud(40)
    numbers = count()
    every_other = where(
        faults.unauthorized(),
        lambda _: pseudorandom.fraction("refused", next(numbers)) < 0.5,
    )
    panel.faults.add(every_other)
    async with monitored(panel, tmp_path, poll={"concurrency": 4}) as cloud:
        await cloud.advance(12 * HOUR)
        at = sorted(refused(panel))

        assert max(refused(panel).values()) <= 2 * 4  # with cookies, and without
        assert gaps(at)[:3] == [10, 20, 40]
        assert min(gaps(at)[3:]) >= 60


async def test_a_proxy_that_refuses_one_resource(tmp_path: Path) -> None:
    """It is a refusal like any other, though the version is still told."""
    panel = a_cloud(3)
    panel.faults.add(faults.unauthorized(), resource="schedules")
    async with monitored(panel, tmp_path) as cloud:
        await cloud.advance(6 * HOUR)

        assert sorted(refused(panel)) == [0, 10, 30, 70, 130, 190, 250, 310]
        assert max(refused(panel).values()) == 1 + WITHOUT_COOKIES
        assert await cloud.value("onapp_up") == 0


async def test_what_has_worked_for_an_hour_begins_anew(tmp_path: Path) -> None:
    """A refusal long ago does not make the next rest longer."""
    panel = a_cloud(3)
    async with monitored(panel, tmp_path) as cloud:
        for _ in range(3):
            panel.faults.add(faults.unauthorized(), times=1 + WITHOUT_COOKIES)
            await cloud.advance(90 * MINUTE)
        panel.faults.add(faults.unauthorized())
        await cloud.advance(15 * MINUTE)

        assert gaps(refusals(panel))[-1] == 10


# Several who ask


async def test_two_sections_with_one_account(tmp_path: Path) -> None:
    """Their tries would count towards one lock-out: they try in common."""
    panel = a_cloud(4)
    some = {"label": "server-[12]"}
    async with monitored(panel, tmp_path, discovery={"include": some}) as cloud:
        more = panel_section(panel, "more", discovery={"exclude": some})
        await edit_and_reload(cloud, lambda content: content["panels"].append(more))
        both = await cloud.series("onapp_up")
        panel.password = "changed at the panel"
        await cloud.advance(6 * HOUR)

        assert both == {"panel=cp": 1.0, "panel=more": 1.0}
        assert gaps(refusals(panel)) == [10, 20, 40, 60, 60, 60, 60]
        assert await cloud.series("onapp_up") == {"panel=cp": 0.0, "panel=more": 0.0}


async def test_who_was_refused_for_another_section_is_down(tmp_path: Path) -> None:
    """It never tried by itself, and does as soon as the other is let in."""
    panel = a_cloud(4)
    panel.faults.add(faults.unauthorized(), times=2)
    async with monitored(panel, tmp_path, name="one") as cloud:
        more = panel_section(panel, "two")
        await edit_and_reload(cloud, lambda content: content["panels"].append(more))
        await cloud.advance(15 * MINUTE)
        down = await cloud.series("onapp_up")
        _, output, _ = await cloud.get("/api/v1/status")
        await cloud.advance(20 * MINUTE)

        assert down == {"panel=one": 0.0, "panel=two": 0.0}
        assert [p["state"] for p in json.loads(output)["panels"]] == [
            "unauthorized"
        ] * 2
        assert await cloud.series("onapp_up") == {"panel=one": 1.0, "panel=two": 1.0}
        assert refusals(panel) == [0, 10]
        panel.faults.add(faults.unauthorized(), times=1 + WITHOUT_COOKIES)
        await cloud.advance(2 * MINUTE)
        assert await cloud.series("onapp_up") == {"panel=one": 0.0, "panel=two": 0.0}
        await cloud.advance(HOUR)
        assert await cloud.series("onapp_up") == {"panel=one": 1.0, "panel=two": 1.0}
        assert len(refusals(panel)) == 3 + WITHOUT_COOKIES


async def test_two_accounts_of_one_panel(tmp_path: Path) -> None:
    """The one that is refused does not stop the other."""
    panel = a_cloud(4)
    bad = "bad@example.com"
    panel.faults.add(
        where(
            faults.unauthorized(),
            lambda scene: credentials(scene.request.headers["Authorization"])[0] == bad,
        )
    )
    async with monitored(panel, tmp_path) as cloud:
        account = {"username": bad, "password": "any"}
        other = {**panel_section(panel, "other"), "basic_auth": account}
        await edit_and_reload(cloud, lambda content: content["panels"].append(other))
        await cloud.advance(2 * HOUR)

        assert refusals(panel) == [0, 10, 30, 70]
        assert set(panel.failed_attempts) == {bad}
        assert (
            len(panel.request_log.requests_for("backups", 1))
            == 1 + 2 * HOUR // INTERVAL
        )
        assert await cloud.series("onapp_up") == {"panel=cp": 1.0, "panel=other": 0.0}


async def test_three_shards(tmp_path: Path) -> None:
    """Each waits as many times longer as there are that count towards the lock-out."""
    panel = a_cloud(6)
    panel.faults.add(faults.unauthorized())
    async with monitored_by_shards(panel, tmp_path, 3) as clouds:
        await advance_together(clouds, 6 * HOUR)

    assert refused(panel) == dict.fromkeys([0, 30, 90, 210], 3)


# Reloads


@pytest.mark.parametrize(
    "edit",
    [
        lambda panel: panel.update(poll={"interval": "5m"}),
        lambda panel: panel.update(name="renamed"),
        lambda panel: panel.update(
            basic_auth={"username": panel["basic_auth"]["username"], "password": "bad"}
        ),
        lambda panel: panel.update(url=panel["url"] + "/"),
    ],
    ids=["interval", "name", "same key elsewhere", "slash"],
)
async def test_a_reload_does_not_make_a_bad_key_good(
    tmp_path: Path, edit: Callable[[dict[str, Any]], Any]
) -> None:
    """Refused credentials wait for their ten minutes, whatever else changes."""
    panel = a_cloud(1)
    async with monitored_by("bad", panel, tmp_path) as cloud:
        await cloud.advance(MINUTE)
        await edit_and_reload(cloud, lambda content: edit(content["panels"][0]))
        await cloud.advance(10 * MINUTE)

        assert refusals(panel) == [0, 10]


async def test_a_reload_with_a_new_key_tries_it_at_once(tmp_path: Path) -> None:
    """Mending the configuration is what a reload is for."""
    panel = a_cloud(1)
    async with monitored(panel, tmp_path) as cloud:
        panel.password = "the new key"
        await cloud.advance(INTERVAL)
        await edit_and_reload(
            cloud,
            lambda content: content["panels"][0]["basic_auth"].update(
                password="the new key", password_file=None
            ),
        )

        assert await cloud.value("onapp_up") == 1


def _poll(poll: dict[str, Any], content: dict[str, Any]) -> None:
    content["panels"][0].update(poll=poll)


async def storm(cloud: MonitoredCloud, reloads: int, seconds: float) -> None:
    """Reload so often, the panel's section changed each time, and let time pass."""
    for number in range(reloads):
        poll = {"timeout": f"{1000 + number}s", "concurrency": 8}
        edit_config(cloud, partial(_poll, poll))
        await cloud.exporter.reload()
        await cloud.advance(seconds / reloads)


async def test_a_hundred_reloads_in_an_hour(tmp_path: Path) -> None:
    """They mean no more tries than none at all."""
    panel = a_cloud(5)
    async with monitored_by("bad", panel, tmp_path) as cloud:
        await storm(cloud, 100, HOUR)

        assert refusals(panel) == [0, 10, 30]
        assert await cloud.value("onapp_up") == 0


async def test_a_hundred_reloads_that_never_hear_the_answer(tmp_path: Path) -> None:
    """Each may have been refused: it is tried seldom, as if nobody had reloaded."""
    panel = a_cloud(5)
    panel.faults.add(faults.hang())
    async with monitored_by("bad", panel, tmp_path, unanswered=8) as cloud:
        await storm(cloud, 100, HOUR)

        assert 1 < len(panel.requests) < 16


async def test_a_hundred_reloads_in_mid_pass(tmp_path: Path) -> None:
    """What is given up may have been refused, though it had worked before."""
    panel = a_cloud(40)
    async with monitored(panel, tmp_path) as cloud:
        panel.faults.add(faults.hang())
        cloud.unanswered = 8
        before = len(panel.requests)
        await cloud.advance(INTERVAL)
        under_way = len(panel.requests) - before
        await storm(cloud, 100, HOUR)

        assert under_way == 8
        assert len(panel.requests) - before - under_way < 16
