"""What each version of the panel lets /metrics say, as the page of metrics has it."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import faults
import pytest
from checkout import ROOT
from faulty_panel import Panel
from harness import NOW, monitored
from prometheus_client.parser import text_string_to_metric_families

from exporter.demo.cloud.demo_cloud import demo_cloud

ROWS = dict(
    re.findall(
        r"^\| ((?:2|3|5)\.\S.*?) \|.*\| ?(.*?) ?\|$",
        (ROOT / "docs" / "metrics.md").read_text("utf-8"),
        re.MULTILINE,
    )
)
"""The last column of the table, by the first."""


async def families(panel: Panel, folder: Path) -> dict[str, int]:
    """Return the number of samples of each family that has some."""
    everything = {"recovery_points": True}
    async with monitored(panel, folder, collectors=everything) as cloud:
        text = await cloud.metrics()
    return {
        family.name: len(family.samples)
        for family in text_string_to_metric_families(text)
        if family.name.startswith("onapp_") and family.samples
    }


@pytest.mark.parametrize(
    ("version", "options", "plugins"),
    [
        ("2.x", {"version": "2.3.3", "api_generation": "2"}, False),
        ("3.x to 5.8", {"version": "5.5.0"}, False),
        ("5.9 and newer", {"version": "7.0.0"}, True),
    ],
)
async def test_a_version_leaves_out_the_metrics_of_its_row(
    version: str, options: Any, tmp_path: Path, *, plugins: bool
) -> None:
    """And no others: backups, servers and targets are as many as of the newest."""
    newest = await families(Panel(demo_cloud(NOW)), tmp_path)
    panel = Panel(demo_cloud(NOW), **options)
    if not plugins:
        panel.faults.add(faults.status(404), resource="recovery_points")
    found = await families(panel, tmp_path)

    documented = re.findall("`(.*?)`", ROWS[version])
    away = {each for each in newest if any(fnmatch(each, name) for name in documented)}
    assert newest.keys() - found.keys() == away
    assert not found.keys() - newest.keys()
    for family in ("onapp_backup_info", "onapp_vm_info", "onapp_vm_backups"):
        assert found[family] == newest[family]


async def test_a_panel_without_marks_and_suspensions_has_none(tmp_path: Path) -> None:
    """A field that is missing costs its own metric."""
    missing = frozenset({"suspended", "marked_for_delete"})
    panel = Panel(demo_cloud(NOW), omitted_fields=missing)
    async with monitored(panel, tmp_path) as cloud:
        suspended = await cloud.series("onapp_vm_suspended")
        marked = await cloud.series("onapp_backup_marked_for_delete")
        states = await cloud.series("onapp_panel_servers", panel="cp")

    assert suspended == {}
    assert marked
    assert set(marked.values()) == {0}
    assert states["state=suspended"] == 0
