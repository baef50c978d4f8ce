"""A fault never makes a server look better: of servers with every problem.

The servers of the demonstration are watched with a fault and without. While their data
are fresh, none has a state that is less severe than the old and the new facts give it.
Later some states are not known any more, but no server becomes fine, or in time, by it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from faulty_panel import Panel
from harness import NOW

from exporter.demo.cloud.demo_cloud import demo_cloud
from exporter.health.conditions import SERVER_CONDITIONS, Severity
from fault_matrix.cloud import Timing, looking
from fault_matrix.effects import SCOPES
from fault_matrix.matrix import FAULTS
from fault_matrix.rules import Scrape, parse_scrape, states

_FAULTS = ("500 with HTML", "401", "403", "429 with Retry-After")
"""One of each effect that makes data old."""
_FINE = {each.key for each in SERVER_CONDITIONS if each.severity is Severity.FINE}
_SEVERITY = {each.key: each.severity for each in SERVER_CONDITIONS}
_NO_TARGET = "disk_unprotected"
"""Of a disk without any backup nothing is known when disks are too old."""
_TIMING = Timing(60.0, 0.0, long=True)


async def watched(folder: Path, fault: str = "", scope: str = "") -> list[Scrape]:
    """Return what is said before, shortly after and long after a fault began."""
    panel = Panel(demo_cloud(NOW))
    scrapes: list[Scrape] = []
    async with looking(panel, folder, "json", _TIMING) as cloud:
        for name, seconds in [*_TIMING.moments()][:-1]:
            await cloud.advance(seconds)
            scrapes.append(parse_scrape(await cloud.metrics()))
            if name == "before" and fault:
                place = SCOPES[scope].fault_arguments
                panel.faults.add(FAULTS[fault].demo_fault(), **place)
    return scrapes


@pytest.fixture(scope="module")
def twin() -> list[Scrape]:
    """Keep what is said where there is no fault."""
    return []


def in_time(scrape: Scrape) -> dict[str, str]:
    """Return whether each server has its backups in time, by its series."""
    return {s: v for s, v in scrape.items() if s.startswith("onapp_vm_backup_in_time")}


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("fault", _FAULTS)
async def test_a_fault_never_makes_a_server_look_better(
    fault: str, scope: str, twin: list[Scrape], tmp_path: Path
) -> None:
    """Neither for a short time nor when its data are too old."""
    if not twin:
        (tmp_path / "twin").mkdir()
        twin += await watched(tmp_path / "twin")
    before, *references = twin
    _, short, long = await watched(tmp_path, fault, scope)

    assert {*states(before).values()} >= {
        *("very_stale", "unprotected", "stuck_long", "failed", "locked"),
        *("unscheduled", _NO_TARGET),
    }
    assert list(less_severe(short, before, references[0])) == []
    assert list(fine(long, before, references[1])) == []


def less_severe(found: Scrape, *others: Scrape) -> Iterator[str]:
    """Yield the servers whose state is less severe than in each of the others."""
    for vm_id, state in states(found).items():
        known = {states(other).get(vm_id, state) for other in others}
        if _SEVERITY[state] < min(map(_SEVERITY.__getitem__, known)):
            yield f"server {vm_id} is {state}, without the fault {known}"


def fine(found: Scrape, *others: Scrape) -> Iterator[str]:
    """Yield the servers that are fine or in time and in none of the others."""
    for vm_id, state in states(found).items():
        known = {states(other).get(vm_id, state) for other in others}
        if state in _FINE and known.isdisjoint({*_FINE, _NO_TARGET}):
            yield f"server {vm_id} is {state}, without the fault {known}"
    for series, value in in_time(found).items():
        vm_id = series.partition('vm_id="')[2].partition('"')[0]
        if value == "1" and "1" not in {other.get(series) for other in others}:
            known = {states(other).get(vm_id, "") for other in others}
            if known != {_NO_TARGET}:
                yield f"{series} is 1, without the fault {known}"
