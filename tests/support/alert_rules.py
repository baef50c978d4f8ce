"""The alerting and recording rules as shipped, and the tools that check them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from checkout import DEPLOY

from exporter.metrics import FAMILIES
from exporter.metrics.exporter import OWN_FAMILIES, OwnFamily
from exporter.metrics.family import AnyFamily

RULES_FOLDER = DEPLOY / "prometheus"
RULES = sorted(RULES_FOLDER.glob("*.rules.yml"))

ALERTS = {
    *("OnAppPanelDown", "OnAppPanelUnauthorized", "OnAppPollLagging"),
    *("OnAppBackupDataOld", "OnAppCollectorFailing", "OnAppBackupStale"),
    *("OnAppBackupVeryStale", "OnAppBackupStuck", "OnAppBackupFailed"),
    *("OnAppServerUnprotected", "OnAppDiskUnprotected", "OnAppScheduleFailing"),
    *("OnAppScheduleOverdue", "OnAppScheduleDisabled", "OnAppBackupSizeAnomaly"),
    *("OnAppBackupLockedLong", "OnAppBackupServerDisabledInUse", "OnAppQueueJam"),
    *("OnAppInventoryShrank", "OnAppClockSkew", "OnAppExporterDown"),
    *("OnAppExporterFlapping", "OnAppExporterReloadFailed", "OnAppNoServers"),
    "OnAppBackupServerFull",
}
"""People silence and route alerts by these names: they stay."""
_OF_TARGETS = {"job", "instance", "pod", "node"}
"""Labels that Prometheus or its users add to what is scraped."""


def rule_groups() -> Iterator[dict[str, Any]]:
    """Yield every group of rules, in the order of evaluation."""
    for file in RULES:
        yield from yaml.safe_load(file.read_text("utf-8"))["groups"]


def all_rules() -> Iterator[dict[str, Any]]:
    """Yield every rule, in the order of evaluation."""
    for group in rule_groups():
        yield from group["rules"]


def alerting_rules() -> list[dict[str, Any]]:
    """Return every alerting rule."""
    return [rule for rule in all_rules() if "alert" in rule]


def metric_labels() -> dict[str, set[str]]:
    """Return the labels of every metric, those of its target included."""
    families: tuple[AnyFamily | OwnFamily, ...] = (*FAMILIES, *OWN_FAMILIES)
    declared = {family.name: {*family.labels} for family in families}
    scraped = {name: labels | _OF_TARGETS for name, labels in declared.items()}
    return scraped | {"up": _OF_TARGETS}


def needed_program(name: str) -> str:
    """Return the path of a program; fail without it."""
    found = shutil.which(name)
    if found is None:
        pytest.fail(f"{name} is not on the PATH: `make tools` provides it")
    return found


def run_tool(program: str, *arguments: str | Path) -> str:
    """Run a program and return what it says; fail with that if it fails."""
    command = (needed_program(program), *arguments)
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout + ended.stderr
