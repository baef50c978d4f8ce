"""The command ``check``: try every panel in turn, and say how it went."""

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
    cost,
    gravity,
    worst,
)
from .output import to_stdout
from .report import Progress, as_json, as_table, columns, counted, summary


@dataclass(slots=True, eq=False)
class Check:
    """Tries panels; keeps what it found."""

    shard: Shard
    progress: Progress
    limit: Duration
    """How long all panels together may take."""
    clock: Clock = field(default_factory=SystemClock)
    tallies: RequestCountsByPanel = field(default_factory=RequestCountsByPanel)

    async def run(
        self, config: Config, show: Callable[[PanelReport], None]
    ) -> CheckReport:
        """Try one panel after the other; ``show`` is told of each when it is done.

        Raises ConfigError when one cannot even be tried.
        """
        found: list[PanelReport] = []
        ends = asyncio.get_running_loop().time() + self.limit
        fleet = PollerManager(
            Store(), self.tallies, self.clock, self.shard, _no_poller, random.random
        )
        for panel in config.panels:
            try:
                found.append(await self._try(fleet, panel, ends))
            finally:
                self.progress.clear()
            show(found[-1])
        status = worst(panel.status for panel in found)
        return CheckReport(__version__, status, None, tuple(found))

    async def _try(
        self, fleet: PollerManager, panel: Panel, ends: float
    ) -> PanelReport:
        member = fleet.panel_task(panel)
        tally = self.tallies.panel(panel.name)
        probe = PanelCheck(CheckRun(member, tally, self.clock, self.progress.show))
        try:
            async with asyncio.timeout_at(ends):
                await probe.run()
        except TimeoutError:
            probe.out_of_time(str(self.limit))
        finally:
            await member.stop()
        return probe.findings()


def _no_poller(error: BaseException) -> None:
    """Nothing polls here, so that nothing can end by itself."""
    raise error


async def check(flags: Flags, load: Callable[[], Config], progress: Progress) -> int:
    """Try what is configured and print it; return 0, 1 or 2.

    Raises ConfigError, when there is nothing to try.
    """
    plain = flags.output_format == "json"
    try:
        config = load()
        job = Check(Shard(flags.shard, flags.total_shards), progress, flags.timeout)
        found = await job.run(config, _nothing if plain else _show)
    except ConfigError as error:
        if plain:
            failed = CheckReport(__version__, StepStatus.FAILED, str(error), ())
            to_stdout(as_json(failed).encode())
        raise
    to_stdout((as_json if plain else summary)(found).encode())
    return gravity(found.status)


def _show(findings: PanelReport) -> None:
    text = as_table(findings, columns(sys.stdout))
    to_stdout(f"{text}\n".encode())


def _nothing(findings: PanelReport) -> None:
    """JSON comes as one object, at the end."""


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
"""What is found out about a panel, in the order in which it is shown."""

_LARGEST_SKEW_SECONDS = 300.0


@dataclass(slots=True, eq=False)
class PanelCheck:
    """Tries one panel, one request at a time."""

    inquiry: CheckRun
    _contact: ConnectSteps = field(init=False)
    _survey: CollectorSteps = field(init=False)
    _cost: Cost | None = field(default=None, init=False)
    _surveyed: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        """Begin with nothing found."""
        self._contact = ConnectSteps(self.inquiry)
        self._survey = CollectorSteps(self.inquiry)

    async def run(self) -> None:
        """Try everything; what the panel's answer makes pointless is left untried.

        Credentials that were refused once are not tried again.
        """
        gate = self.inquiry.member.poller.breaker
        try:
            gate.claim_trial()
            if await self._contact.make():
                await self._survey.make()
                self._surveyed = True
                self._note_clock()
                self._note_cost()
        except Unauthorized as error:
            self._contact.refused(error)
        except NotSent as error:
            if gate.credentials_refused():
                self._contact.refused(error)
            else:
                step = next(step for step in STEPS if step not in self.inquiry.found)
                self.inquiry.note_error(step, StepStatus.FAILED, error)
        finally:
            gate.release_trial()

    def out_of_time(self, limit: str) -> None:
        """Note that there was no time for the rest."""
        step = next((s for s in STEPS if s not in self.inquiry.found), COST)
        self.inquiry.note(
            step,
            StepStatus.FAILED,
            f"not tried within {limit}",
            hint="raise --timeout, or find out what makes the panel slow",
        )

    def findings(self) -> PanelReport:
        """Return what was found out so far."""
        panel = self.inquiry.member.panel
        poller = self.inquiry.member.poller
        found = self.inquiry.found
        checks = tuple(found.get(step) or _untried(step) for step in STEPS)
        return PanelReport(
            panel=panel.name,
            url=str(panel.url),
            status=worst(check.status for check in checks),
            checks=checks,
            version=printable(self._contact.version or "") or None,
            servers=len(poller.store.servers) if self._surveyed else None,
            sample=self._survey.sample,
            clock_skew_seconds=poller.api.skew_seconds,
            cost=self._cost,
        )

    def _note_clock(self) -> None:
        skew = self.inquiry.member.poller.api.skew_seconds
        if skew is None:
            self.inquiry.note(CLOCK, StepStatus.OFF, "the panel does not tell its time")
            return
        text = f"{abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'} this host's"
        if abs(skew) > _LARGEST_SKEW_SECONDS:
            hint = "set the clocks of panel and exporter right, with NTP"
            self.inquiry.note(CLOCK, StepStatus.DEGRADED, text, hint=hint)
        else:
            self.inquiry.note(CLOCK, StepStatus.OK, text)

    def _note_cost(self) -> None:
        panel, latency = self.inquiry.member.panel, self.inquiry.tally.latency_seconds
        costs = self._cost = cost(panel, self._survey.workload(), latency)
        hourly = costs.requests_per_hour
        kinds = ", ".join(f"{kind} {n:g}" for kind, n in hourly.items())
        once = sum(costs.requests_per_pass.values())
        text = (
            f"a pass: {counted(once, 'request')}, at least "
            f"{costs.seconds_per_pass:.1f} s with {costs.concurrency} at once; an "
            f"hour: {sum(hourly.values()):.0f} ({kinds}), and one for each backup "
            "that begins or ends"
        )
        if costs.seconds_per_pass > panel.poll.interval:
            hint = (
                f"a pass takes longer than poll.interval ({panel.poll.interval}): "
                "raise it or poll.concurrency, or share the servers between shards"
            )
            self.inquiry.note(COST, StepStatus.DEGRADED, text, hint=hint)
        else:
            self.inquiry.note(COST, StepStatus.OK, text)


def _untried(step: str) -> StepResult:
    return StepResult(step, StepStatus.UNTRIED, "")
