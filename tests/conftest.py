"""Plugins, options and fixtures of all tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
from faulty_panel import Panel
from harness import MonitoredCloud, Start, monitored

from exporter.demo.cloud.simulation import SimulatedCloud

pytest_plugins = ["prometheus_versions", "strict_ci"]


@pytest.fixture(autouse=True)
def _plain_tracebacks() -> None:
    """Print tracebacks as Python does: with rich installed, one takes minutes."""
    if not structlog.is_configured():
        *others, renderer = structlog.get_config()["processors"]
        if isinstance(renderer, structlog.dev.ConsoleRenderer):
            plain = structlog.dev.ConsoleRenderer(
                colors=False, exception_formatter=structlog.dev.plain_traceback
            )
            structlog.configure(processors=[*others, plain])


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that updates golden files."""
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="write golden files and generated pages anew instead of comparing",
    )


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Watch a panel or a world; it is asked for JSON unless ``format`` says else."""

    @asynccontextmanager
    async def start(
        panel: Panel | SimulatedCloud, **keys: Any
    ) -> AsyncIterator[MonitoredCloud]:
        panel = Panel(panel) if isinstance(panel, SimulatedCloud) else panel
        async with monitored(panel, tmp_path, **keys) as cloud:
            yield cloud

    return start
