"""The command ``check`` without its process: run on a file, and its report read."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

from harness import SteppedClock

from exporter.commands.check import Check
from exporter.commands.report import (
    CheckReport,
    PanelReport,
    Progress,
    StepResult,
)
from exporter.config import load as config
from exporter.config.units import Duration
from exporter.model.selection import Shard


class HastyClock(SteppedClock):
    """A clock that moves when somebody waits."""

    async def wait(self, wake: asyncio.Event, seconds: float | None) -> None:
        """Let the time pass at once."""
        del wake
        self.elapsed += seconds or 0.0


async def checked(
    file: Path, *, shard: Shard | None = None, limit: float = 900.0
) -> CheckReport:
    """Check what a file configures."""
    job = Check(
        shard or Shard(), Progress(io.StringIO()), Duration(limit), HastyClock()
    )
    return await job.run(config.load(file, {}), lambda _: None)


def step(found: PanelReport, name: str) -> StepResult:
    """Return one step."""
    return next(check for check in found.checks if check.step == name)
