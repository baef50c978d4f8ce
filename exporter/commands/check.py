"""The command ``check``: checks the panels one by one and reports each step."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from .. import __version__
from ..clock import Clock, SystemClock
from ..config.flags import Flags
from ..config.schema import Config, Panel
from ..config.units import Duration
from ..errors import ConfigError
from ..model.selection import Shard
from ..model.store import Store
from ..polling.manager import PollerManager
from .check_steps import PanelCheck, RequestCounts, run
from .output import write_stdout
from .report import (
    CheckReport,
    PanelReport,
    Progress,
    StepStatus,
    as_json,
    as_table,
    columns,
    exit_status,
    summary_line,
    worst_status,
)


@dataclass(slots=True, eq=False)
class RequestCountsByPanel:
    """The request counts of each panel."""

    by_panel: dict[str, RequestCounts] = field(default_factory=dict)

    def panel(self, name: str) -> RequestCounts:
        """Return a panel's counts."""
        return self.by_panel.setdefault(name, RequestCounts())

    def forget(self, panel: str) -> None:
        """Drop a panel's counts."""
        self.by_panel.pop(panel, None)


@dataclass(slots=True, eq=False)
class Check:
    """Checks all panels, one after another."""

    shard: Shard
    progress: Progress
    timeout: Duration
    """Limit for all panels together."""
    clock: Clock = field(default_factory=SystemClock)
    counts: RequestCountsByPanel = field(default_factory=RequestCountsByPanel)

    async def run(
        self, config: Config, show: Callable[[PanelReport], None]
    ) -> CheckReport:
        """Check every panel; ``show`` is called with each report when it is ready.

        Raises ConfigError if a panel's settings make requests impossible.
        """
        reports: list[PanelReport] = []
        deadline = asyncio.get_running_loop().time() + self.timeout
        manager = PollerManager(
            Store(), self.counts, self.clock, self.shard, _raise, random.random
        )
        for panel in config.panels:
            reports.append(await self._check_panel(manager, panel, deadline))
            show(reports[-1])
        status = worst_status(panel.status for panel in reports)
        return CheckReport(__version__, status, None, tuple(reports))

    async def _check_panel(
        self, manager: PollerManager, panel: Panel, deadline: float
    ) -> PanelReport:
        panel_task = manager.panel_task(panel)
        counts = self.counts.panel(panel.name)
        check = PanelCheck(
            panel, panel_task.poller, counts, self.clock, self.progress.show
        )
        try:
            async with asyncio.timeout_at(deadline):
                await run(check)
        except TimeoutError:
            check.record_timeout(str(self.timeout))
        finally:
            await panel_task.stop()
            self.progress.clear()
        return check.report()


def _raise(error: BaseException) -> None:
    """Raise the error; it stands in for the handler of crashed pollers.

    No poller runs here.
    """
    raise error


async def check(flags: Flags, load: Callable[[], Config], progress: Progress) -> int:
    """Check the configured panels and print a report; return the exit status.

    Raises ConfigError.
    """
    json_output = flags.output_format == "json"
    shard = Shard(flags.shard, flags.total_shards)
    try:
        report = await Check(shard, progress, flags.timeout).run(
            load(), _print_nothing if json_output else _print_table
        )
    except ConfigError as error:
        if json_output:
            failed = CheckReport(__version__, StepStatus.FAILED, str(error), ())
            write_stdout(as_json(failed).encode())
        raise
    write_stdout((as_json if json_output else summary_line)(report).encode())
    return exit_status(report.status)


def _print_table(report: PanelReport) -> None:
    text = as_table(report, columns(sys.stdout))
    write_stdout(f"{text}\n".encode())


def _print_nothing(report: PanelReport) -> None:
    """Ignore a panel's report; the JSON object is printed at the end."""
