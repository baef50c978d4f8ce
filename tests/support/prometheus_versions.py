"""The versions of Prometheus that tests run on: fixtures give a test each of them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from alert_rules import needed_program, run_tool

_SUFFIXES = {"2": "", "3": "-3"}
"""By major version, what ``tests/tools.sh`` adds to the names of its programs."""


class Promtool:
    """The ``promtool`` of one version of Prometheus."""

    def __init__(self, program: str) -> None:
        """Use the program of this name."""
        self.program = needed_program(program)

    def __call__(self, *arguments: str | Path) -> str:
        """Run it and return what it says; fail with that if it fails."""
        return run_tool(self.program, *arguments)

    def complaints(self, scrape: str) -> str:
        """Return the complaints of ``check metrics``; empty if there are none."""
        run = subprocess.run(
            [self.program, "check", "metrics"],
            input=scrape,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return run.stdout + run.stderr + ("" if run.returncode == 0 else "failed")


@pytest.fixture(scope="session", params=_SUFFIXES, ids="prometheus-{}".format)
def prometheus_version(request: pytest.FixtureRequest) -> str:
    """Return a major version of Prometheus."""
    version: str = request.param
    return version


@pytest.fixture(scope="session")
def prometheus_program(prometheus_version: str) -> str:
    """Return the path of the ``prometheus`` of this version."""
    return needed_program(f"prometheus{_SUFFIXES[prometheus_version]}")


@pytest.fixture(scope="session")
def promtool(prometheus_version: str) -> Promtool:
    """Return the ``promtool`` of this version."""
    return Promtool(f"promtool{_SUFFIXES[prometheus_version]}")
