"""Weeks of simulated clouds in minutes: every alert comes in time, and no other.

Two replicas of the exporter monitor three simulated panels, each replica in its own
process. promtool evaluates the shipped rules over the recorded scrapes. The alerts that
fire are compared with what was done to the clouds.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from checkout import DOCS
from harness import show_progress
from truth import BackupHistory

from alert_fidelity.comparison import AlertComparison, FidelityResult
from alert_fidelity.plan import Plan
from alert_fidelity.replica import Recording, ReplicaRun, run_replica
from alert_fidelity.report import page
from alert_fidelity.rule_evaluation import FiredAlert, fired_alerts, firing_after
from alert_fidelity.timing import DAY, STEP

_PAGE = DOCS / "fidelity.md"
_REPLICAS = ("a", "b")


@dataclass(eq=False)
class Run:
    """What both replicas recorded in a run of one plan."""

    plan: Plan
    replicas: dict[str, ReplicaRun]

    @property
    def recordings(self) -> dict[str, Recording]:
        """Return the scrapes of each replica."""
        return {name: replica.recording for name, replica in self.replicas.items()}

    def fired_alerts(
        self,
        rules: Iterable[Path] = (),
        *,
        parts: int = 1,
        only: frozenset[int] = frozenset(),
    ) -> list[FiredAlert]:
        """Return the alerts that fire, by the shipped rules or by others."""
        with tempfile.TemporaryDirectory() as folder:
            return fired_alerts(
                self.recordings, Path(folder), rules=rules, parts=parts, only=only
            )

    def firing_after(
        self, first_day: float, days: float, is_lost: Callable[[int], bool]
    ) -> set[str]:
        """Return the alerts that fire after some days without scrapes that are lost."""
        with tempfile.TemporaryDirectory() as folder:
            return firing_after(
                *(self.recordings, Path(folder)),
                first=round(first_day * DAY / STEP),
                steps=round(days * DAY / STEP),
                is_lost=is_lost,
            )

    def compare(self, found: list[FiredAlert]) -> FidelityResult:
        """Compare the alerts that fired with what happened in the clouds."""
        truth = self.replicas[_REPLICAS[0]]
        histories = {name: BackupHistory.of(j) for name, j in truth.journals.items()}
        return AlertComparison(
            truth.incidents, histories, self.plan.end, truth.servers
        ).result(found)


def run(plan: Plan) -> Run:
    """Run both replicas side by side."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(len(_REPLICAS), context) as pool:
        futures = {
            name: pool.submit(run_replica, plan, name, _show_day) for name in _REPLICAS
        }
        replica_runs = {name: future.result() for name, future in futures.items()}
    one, other = replica_runs.values()
    if (one.incidents, one.journals) != (other.incidents, other.journals):
        raise RuntimeError("the two replicas have not seen the same clouds")
    return Run(plan, replica_runs)


def _show_day(days: float) -> None:
    """Show the simulated day."""
    show_progress(f"day {days:.0f}")


def main() -> int:
    """Run as the command line says, write the page; return the exit status."""
    parser = argparse.ArgumentParser(prog="make fidelity", description=__doc__)
    parser.add_argument("--seed", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--days", type=float, default=60)
    parser.add_argument("--servers", type=int, default=100)
    parser.add_argument(
        "--output", type=Path, default=_PAGE, help="where the report goes"
    )
    asked = parser.parse_args()
    plans = [Plan(seed, asked.days, asked.servers) for seed in asked.seed]
    began = time.monotonic()
    results = []
    for plan in plans:
        replica_runs = run(plan)
        show_progress("the rules are evaluated")
        results.append(replica_runs.compare(replica_runs.fired_alerts(parts=4)))
    lines = page(plans, results, time.monotonic() - began)
    asked.output.write_text("\n".join(lines), "utf-8")
    show_progress("")
    sys.stdout.write("\n".join(lines))
    return 0 if all(result.good for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
