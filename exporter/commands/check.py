"""The command ``check``: try every panel in turn, and report each step."""

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
from ..errors import ConfigError, NotSent, Unauthorized
from ..health.conditions import CLOCK_SKEW_SECONDS
from ..model.entities import (
    BACKUP_SERVERS,
    BACKUPS,
    DISKS,
    INVENTORY,
    RECOVERY_POINTS,
    SCHEDULES,
    TRANSACTIONS,
    VERSION,
)
from ..model.selection import Shard
from ..model.store import Store
from ..onapp.error_body import printable
from ..polling.manager import PollerManager
from .check_run import CheckRun, RequestCountsByPanel
from .collector_steps import CollectorSteps
from .connect_steps import ADDRESS, CREDENTIALS, TLS, ConnectSteps
from .findings import (
    CheckReport,
    Cost,
    PanelReport,
    StepResult,
    StepStatus,
    estimate_cost,
    exit_status,
    worst_status,
)
from .output import write_stdout
from .report import Progress, as_json, as_table, columns, counted, summary_line


@dataclass(slots=True, eq=False)
class Check:
    """Checks all panels, one after the other."""

    shard: Shard
    progress: Progress
    timeout: Duration
    """For all panels together."""
    clock: Clock = field(default_factory=SystemClock)
    request_counts: RequestCountsByPanel = field(default_factory=RequestCountsByPanel)

    async def run(
        self, config: Config, show: Callable[[PanelReport], None]
    ) -> CheckReport:
        """Check every panel; ``show`` is called with each report when it is ready.

        Raises ConfigError when a panel's settings make requests impossible.
        """
        reports: list[PanelReport] = []
        deadline = asyncio.get_running_loop().time() + self.timeout
        manager = PollerManager(
            Store(), self.request_counts, self.clock, self.shard, _raise, random.random
        )
        for panel in config.panels:
            try:
                reports.append(await self._check_panel(manager, panel, deadline))
            finally:
                self.progress.clear()
            show(reports[-1])
        status = worst_status(panel.status for panel in reports)
        return CheckReport(__version__, status, None, tuple(reports))

    async def _check_panel(
        self, manager: PollerManager, panel: Panel, deadline: float
    ) -> PanelReport:
        panel_task = manager.panel_task(panel)
        counts = self.request_counts.panel(panel.name)
        panel_check = PanelCheck(
            CheckRun(panel_task, counts, self.clock, self.progress.show)
        )
        try:
            async with asyncio.timeout_at(deadline):
                await panel_check.run()
        except TimeoutError:
            panel_check.record_timeout(str(self.timeout))
        finally:
            await panel_task.stop()
        return panel_check.report()


def _raise(error: BaseException) -> None:
    """Stand in for the handler of crashed pollers: no poller runs here."""
    raise error


async def check(flags: Flags, load: Callable[[], Config], progress: Progress) -> int:
    """Check the configured panels and print a report; return the exit status.

    Raises ConfigError.
    """
    json_output = flags.output_format == "json"
    try:
        config = load()
        panels_check = Check(
            Shard(flags.shard, flags.total_shards), progress, flags.timeout
        )
        report = await panels_check.run(
            config, _print_nothing if json_output else _print_table
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
    """Print nothing: JSON is one object, printed at the end."""


CLOCK = "clock"
COST = "cost"
STEPS = (
    ADDRESS,
    TLS,
    CREDENTIALS,
    VERSION,
    INVENTORY,
    BACKUPS,
    SCHEDULES,
    DISKS,
    TRANSACTIONS,
    BACKUP_SERVERS,
    RECOVERY_POINTS,
    CLOCK,
    COST,
)
"""The steps of a panel's check, in the order of the report."""


@dataclass(slots=True, eq=False)
class PanelCheck:
    """Checks one panel, one request at a time."""

    check_run: CheckRun
    _connect_steps: ConnectSteps = field(init=False)
    _collector_steps: CollectorSteps = field(init=False)
    _cost: Cost | None = field(default=None, init=False)
    _collectors_checked: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        """Make the steps share one ``CheckRun``."""
        self._connect_steps = ConnectSteps(self.check_run)
        self._collector_steps = CollectorSteps(self.check_run)

    async def run(self) -> None:
        """Run all steps; those that an earlier failure makes pointless stay untried.

        Credentials that were refused once are not tried again.
        """
        breaker = self.check_run.panel_task.poller.breaker
        try:
            breaker.claim_trial()
            if await self._connect_steps.run():
                await self._collector_steps.run()
                self._collectors_checked = True
                self._record_clock()
                self._record_cost()
        except Unauthorized as error:
            self._connect_steps.record_refused(error)
        except NotSent as error:
            if breaker.credentials_refused():
                self._connect_steps.record_refused(error)
            else:
                step = next(
                    step for step in STEPS if step not in self.check_run.results
                )
                self.check_run.record_error(step, StepStatus.FAILED, error)
        finally:
            breaker.release_trial()

    def record_timeout(self, timeout: str) -> None:
        """Record that the first step without a result was not tried in time."""
        step = next((s for s in STEPS if s not in self.check_run.results), COST)
        self.check_run.record(
            step,
            StepStatus.FAILED,
            f"not tried within {timeout}",
            hint="raise --timeout, or find out what makes the panel slow",
        )

    def report(self) -> PanelReport:
        """Return the results so far."""
        panel = self.check_run.panel_task.panel
        poller = self.check_run.panel_task.poller
        results = self.check_run.results
        checks = tuple(results.get(step) or _untried_step(step) for step in STEPS)
        return PanelReport(
            panel=panel.name,
            url=str(panel.url),
            status=worst_status(check.status for check in checks),
            checks=checks,
            version=printable(self._connect_steps.version or "") or None,
            servers=len(poller.store.servers) if self._collectors_checked else None,
            sample=self._collector_steps.sample,
            clock_skew_seconds=poller.api.skew_seconds,
            cost=self._cost,
        )

    def _record_clock(self) -> None:
        skew = self.check_run.panel_task.poller.api.skew_seconds
        if skew is None:
            self.check_run.record(
                CLOCK, StepStatus.OFF, "the panel does not tell its time"
            )
            return
        text = f"{abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'} this host's"
        if abs(skew) > CLOCK_SKEW_SECONDS:
            hint = "set the clocks of panel and exporter right, with NTP"
            self.check_run.record(CLOCK, StepStatus.DEGRADED, text, hint=hint)
        else:
            self.check_run.record(CLOCK, StepStatus.OK, text)

    def _record_cost(self) -> None:
        panel, latency = (
            self.check_run.panel_task.panel,
            self.check_run.request_counts.latency_seconds,
        )
        cost = self._cost = estimate_cost(
            panel, self._collector_steps.workload(), latency
        )
        hourly = cost.requests_per_hour
        by_resource = ", ".join(f"{resource} {n:g}" for resource, n in hourly.items())
        requests = sum(cost.requests_per_pass.values())
        text = (
            f"a pass: {counted(requests, 'request')}, at least "
            f"{cost.seconds_per_pass:.1f} s with {cost.concurrency} at once; an "
            f"hour: {sum(hourly.values()):.0f} ({by_resource}), and one for each "
            "backup that begins or ends"
        )
        if cost.seconds_per_pass > panel.poll.interval:
            hint = (
                f"a pass takes longer than poll.interval ({panel.poll.interval}): "
                "raise it or poll.concurrency, or share the servers between shards"
            )
            self.check_run.record(COST, StepStatus.DEGRADED, text, hint=hint)
        else:
            self.check_run.record(COST, StepStatus.OK, text)


def _untried_step(step: str) -> StepResult:
    return StepResult(step, StepStatus.UNTRIED, "")
