"""Clouds, rows and answers with defaults: a test names only what matters to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import faults
import pytest
import yaml
from faults import ActiveFault
from faulty_panel import Panel
from harness import NOW, MonitoredCloud

from exporter.demo.cloud.simulation import SimulatedCloud
from exporter.demo.panel.encoding import (
    Fields,
    RowList,
    Timestamp,
    XmlStyle,
    to_json,
    to_xml,
)
from exporter.demo.panel.routes import Resource

MINUTE = 60.0
HOUR = 3600.0
DAY = 24 * HOUR

ALL_PERMISSIONS = {
    "settings.version",
    "virtual_machines.read",
    "backups.read",
    "schedules.read",
    "disks.read",
    "transactions.list",
    "transactions.read",
    "backup_servers.read",
}
"""The permissions that every collector needs."""

in_both_formats = pytest.mark.parametrize("form", ["json", "xml"])
"""Run a test as JSON and as XML."""

_TYPES = {
    "json": "application/json; charset=utf-8",
    "xml": "application/xml; charset=utf-8",
}


def a_cloud(servers: int = 1, *, disks: int = 1, **habits: Any) -> Panel:
    """Return a panel of servers 1, 2, … with disks 101, 102, … and no backups.

    ``habits`` are those of ``exporter.demo.habits``.
    """
    world = SimulatedCloud(NOW)
    for _ in range(servers):
        world.add_server(disks=disks, created_at=NOW - 30 * DAY)
    return Panel(world, **habits)


def a_backup_row(**changes: Any) -> Fields:
    """Return the row of a backup of disk 101, built an hour ago, with changes."""
    return {
        "id": 1001,
        "identifier": "azbygzz6zjui4k",
        "backup_size": 1024,
        "backup_type": "normal",
        "initiated": "days",
        "built": True,
        "locked": False,
        "marked_for_delete": False,
        "created_at": Timestamp("2027-01-15T06:30:00Z"),
        "built_at": Timestamp("2027-01-15T07:00:00Z"),
        "target_type": "Disk",
        "target_id": 101,
        "disk_id": 101,
        "backup_server_id": None,
        **changes,
    }


def without_fields(row: Fields, *names: str) -> Fields:
    """Return a row without some of its fields."""
    return {name: value for name, value in row.items() if name not in names}


def list_body(form: str, *rows: Fields, name: str = "backup") -> bytes:
    """Return these rows as the body of a panel's answer."""
    listed = RowList(f"{name}s", name, list(rows))
    return to_json(listed) if form == "json" else to_xml(listed, XmlStyle())


def answer_backups(panel: Panel, form: str, *rows: Fields) -> ActiveFault:
    """Let the panel list exactly these backups, whichever server is asked for."""
    return answer_with(panel, form, list_body(form, *rows))


def answer_servers(
    panel: Panel,
    form: str,
    *rows: Fields,
    path: str = "/virtual_machines",
    headers: dict[str, str] | None = None,
) -> ActiveFault:
    """Let the panel list exactly these servers."""
    body = list_body(form, *rows, name="virtual_machine")
    return answer_with(panel, form, body, resource=None, path=path, headers=headers)


def answer_with(  # noqa: PLR0913  # each names one thing about an answer
    panel: Panel,
    form: str,
    body: bytes | str,
    *,
    resource: Resource | None = "backups",
    path: str | None = None,
    status: int = 200,
    headers: dict[str, str] | None = None,
    times: int | None = None,
) -> ActiveFault:
    """Let the panel answer with this body and status."""
    answer = faults.answer(
        status,
        {"Content-Type": _TYPES[form], **(headers or {})},
        body.encode() if isinstance(body, str) else body,
    )
    return panel.faults.add(answer, resource=resource, path=path, times=times)


async def sample_lines(cloud: MonitoredCloud, *beginnings: str) -> list[str]:
    """Return the lines of a scrape that begin with one of these texts."""
    return [
        line
        for line in (await cloud.metrics()).splitlines()
        if line.startswith(beginnings)
    ]


async def sample_labels(
    cloud: MonitoredCloud, family: str, **wanted: object
) -> dict[str, str]:
    """Return the remaining labels of the one sample that has these labels."""
    (found,) = await cloud.series(family, **wanted)
    return dict(pair.split("=", 1) for pair in found.split(","))


def panel_section(panel: Panel, name: str, **keys: Any) -> dict[str, Any]:
    """Return a panel's section for a configuration file."""
    return {
        "name": name,
        "url": panel.url,
        "basic_auth": {"username": panel.username, "password": panel.password},
        **keys,
    }


def edit_config(cloud: MonitoredCloud, edit: Callable[[dict[str, Any]], Any]) -> None:
    """Edit the parsed configuration file and write it back."""
    content = yaml.safe_load(cloud.file.read_text())
    edit(content)
    cloud.file.write_text(yaml.safe_dump(content))


async def reload(cloud: MonitoredCloud) -> tuple[int, str]:
    """Reload over HTTP; return the status and the body."""
    status, text, _ = await cloud.get("/-/reload", method="POST")
    return status, text


async def edit_and_reload(
    cloud: MonitoredCloud, edit: Callable[[dict[str, Any]], Any]
) -> None:
    """Edit the configuration file, reload it, and wait until nothing is due."""
    edit_config(cloud, edit)

    assert await reload(cloud) == (200, "Reloaded.\n")

    await cloud.settle()
