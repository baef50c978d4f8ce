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
from ..config.settings import Config, Panel
from ..config.units import Duration
from ..errors import ConfigError
from ..model.selection import Shard
from ..model.store import Store
from ..polling.manager import Fleet
from .check_run import Inquiry
from .findings import Findings, PanelFindings, Status, gravity, worst
from .output import to_stdout
from .probe import Probe
from .report import as_json, as_table, summary
from .tally import Tallies
from .terminal import Progress, columns


@dataclass(slots=True, eq=False)
class Check:
    """Tries panels; keeps what it found."""

    shard: Shard
    progress: Progress
    limit: Duration
    """How long all panels together may take."""
    clock: Clock = field(default_factory=SystemClock)
    tallies: Tallies = field(default_factory=Tallies)

    async def run(
        self, config: Config, show: Callable[[PanelFindings], None]
    ) -> Findings:
        """Try one panel after the other; ``show`` is told of each when it is done.

        Raises ConfigError when one cannot even be tried.
        """
        found: list[PanelFindings] = []
        ends = asyncio.get_running_loop().time() + self.limit
        fleet = Fleet(
            Store(), self.tallies, self.clock, self.shard, _no_poller, random.random
        )
        for panel in config.panels:
            try:
                found.append(await self._try(fleet, panel, ends))
            finally:
                self.progress.clear()
            show(found[-1])
        status = worst(panel.status for panel in found)
        return Findings(__version__, status, None, tuple(found))

    async def _try(self, fleet: Fleet, panel: Panel, ends: float) -> PanelFindings:
        member = fleet.member(panel)
        tally = self.tallies.panel(panel.name)
        probe = Probe(Inquiry(member, tally, self.clock, self.progress.show))
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
            failed = Findings(__version__, Status.FAILED, str(error), ())
            to_stdout(as_json(failed).encode())
        raise
    to_stdout((as_json if plain else summary)(found).encode())
    return gravity(found.status)


def _show(findings: PanelFindings) -> None:
    text = as_table(findings, columns(sys.stdout))
    to_stdout(f"{text}\n".encode())


def _nothing(findings: PanelFindings) -> None:
    """JSON comes as one object, at the end."""
