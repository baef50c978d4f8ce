"""Two replicas on one panel: what they share is its account, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import faults
import pytest
from alert_fidelity.replica import Recording
from alert_fidelity.rule_evaluation import fired_alerts
from alert_fidelity.timing import STEP
from builders import a_cloud
from faults import Fault
from faulty_panel import Panel
from harness import (
    NOW,
    MonitoredCloud,
    SteppedClock,
    advance_together,
    running_exporter,
    write_config,
)

MINUTE = 60
HOUR = 3600


class Replicas:
    """Two exporters on one clock and one panel; the second one can die."""

    def __init__(self, panel: Panel, survivor: MonitoredCloud) -> None:
        """Begin with one of them."""
        self.panel = panel
        self.survivor = survivor
        self.alive = [survivor]
        self.scrapes = {"a": Recording(), "b": Recording()}
        self.other = AsyncExitStack()

    async def start_other(self) -> None:
        """Start the second one."""
        first = self.survivor
        running = running_exporter(first.panel, first.file, first.clock)
        self.alive = [first, await self.other.enter_async_context(running)]

    async def kill_other(self) -> None:
        """End the second one."""
        await self.other.aclose()
        self.alive = [self.survivor]

    async def advance(self, hours: float) -> int:
        """Scrape both every quarter of an hour; return how often the panel was asked.

        One that is dead cannot be scraped.
        """
        before = len(self.panel.requests)
        for _ in range(round(hours * HOUR / STEP)):
            texts = [await cloud.metrics() for cloud in self.alive]
            for recording in self.scrapes.values():
                text = "\n".join([*_samples(texts.pop(0)), "up 1"]) if texts else "up 0"
                recording.add_scrape(text)
            await advance_together(self.alive, STEP)
        return len(self.panel.requests) - before

    def fired(self, folder: Path) -> dict[tuple[str, str], tuple[float, float | None]]:
        """Return the shipped alerts that fire, with the hours of begin and end.

        Keys are the name, and what it is about: a server, or an exporter.
        """
        return {
            (alert.name, labels.get("vm_id") or labels.get("instance", "")): (
                (alert.begins - NOW) / HOUR,
                None if alert.ends is None else (alert.ends - NOW) / HOUR,
            )
            for alert in fired_alerts(self.scrapes, folder)
            if (labels := dict(alert.labels))
        }

    def refusals(self) -> list[int]:
        """Return the minutes of the logins that the panel refused."""
        return [
            round((row.at - NOW) / MINUTE)
            for row in self.panel.requests
            if row.status == 401
        ]


def _samples(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("onapp_")]


@asynccontextmanager
async def two_replicas(
    panel: Panel, folder: Path, *, key: str | None = None, **keys: object
) -> AsyncIterator[Replicas]:
    """Start a panel and two exporters with the same configuration, as a rule valid."""
    clock, file = SteppedClock(NOW), folder / "onapp.yml"
    panel.clock = clock.time
    async with panel:
        write_config(file, panel, {}, keys)
        if key is not None:
            file.with_name("api-key").write_text(key)
        async with running_exporter(panel, file, clock) as survivor:
            replicas = Replicas(panel, survivor)
            async with replicas.other:
                await replicas.start_other()
                yield replicas


async def test_when_one_dies_the_other_goes_on_and_every_alert_comes_once(
    tmp_path: Path,
) -> None:
    """Whether it fired before or begins afterwards; one more says what has died."""
    panel = a_cloud(2)
    for server, age in ((1, 40.0), (2, 34.5)):  # stale after 39 hours
        built_at = NOW - age * HOUR
        panel.cloud.add_backup(server, built_at=built_at, initiated="manual")
    async with two_replicas(panel, tmp_path, expected_interval="1d") as replicas:
        asked_by_both = await replicas.advance(3)
        one, other = [await cloud.series("onapp_vm_state") for cloud in replicas.alive]
        await replicas.kill_other()
        asked_by_one = await replicas.advance(3)
        states = await replicas.survivor.series("onapp_vm_state")
        up = await replicas.survivor.value("onapp_up")

    assert one == other
    assert one == {"panel=cp,state=stale,vm_id=1": 1, "panel=cp,state=fine,vm_id=2": 1}
    assert states == dict.fromkeys(
        ("panel=cp,state=stale,vm_id=1", "panel=cp,state=stale,vm_id=2"), 1
    )
    assert up == 1
    assert 1.8 < asked_by_both / asked_by_one < 2.2
    assert replicas.fired(tmp_path) == {
        ("OnAppBackupStale", "1"): (0.25, None),
        ("OnAppBackupStale", "2"): (5.0, None),
        ("OnAppExporterDown", "b"): (3.25, None),
    }


@pytest.mark.parametrize("fault", [faults.unauthorized, faults.html_error])
async def test_a_replica_that_hangs_does_not_hide_that_a_panel_is_lost(
    tmp_path: Path, fault: Callable[[], Fault]
) -> None:
    """Its last ``onapp_up`` stays, but what both of them know gets old."""
    panel = a_cloud()
    async with two_replicas(panel, tmp_path) as replicas:
        await replicas.advance(1)
        task = replicas.alive[1].exporter.manager.panel_tasks["cp"].task
        assert task is not None
        task.cancel()
        await asyncio.wait([task])
        panel.faults.add(fault())
        await replicas.advance(2)

    assert replicas.fired(tmp_path)["OnAppBackupDataOld", "1"] == (2.0, None)


async def test_a_lock_out_counts_the_logins_of_both(tmp_path: Path) -> None:
    """As many as the page says, and half as many when one has died."""
    panel = a_cloud()
    async with two_replicas(panel, tmp_path, key="wrong") as replicas:
        await replicas.advance(3)
        of_both = replicas.refusals()
        await replicas.kill_other()
        await replicas.advance(3)
        of_one = replicas.refusals()[len(of_both) :]
        replicas.survivor.file.with_name("api-key").write_text(panel.password)
        await replicas.survivor.advance(MINUTE)
        up = await replicas.survivor.value("onapp_up")

    assert of_both == [0, 0, 10, 10, 30, 30, 70, 70, 130, 130]
    assert of_one == [190, 250, 310]
    assert up == 1
