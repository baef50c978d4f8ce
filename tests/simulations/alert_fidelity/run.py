"""Weeks of simulated clouds in minutes: all is told in time, and nothing else.

Two replicas of the real exporter watch three simulated panels, each replica in a
process of its own. What they say is given to Prometheus' own rule evaluation with the
shipped rules. What then fires is compared with what was done to the clouds.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from checkout import DOCS

from alert_fidelity.comparison import Judge, Verdict
from alert_fidelity.incidents import Chronicle
from alert_fidelity.plan import Plan
from alert_fidelity.replica import Lived, live
from alert_fidelity.report import page
from alert_fidelity.rule_evaluation import Alarm, alarms

_PAGE = DOCS / "fidelity.md"
_REPLICAS = ("a", "b")


@dataclass(eq=False)
class Run:
    """What both replicas have recorded of one plan."""

    plan: Plan
    lived: dict[str, Lived]

    def alarms(
        self,
        rules: Iterable[Path] = (),
        *,
        parts: int = 1,
        only: frozenset[int] = frozenset(),
    ) -> list[Alarm]:
        """Return what fires, by the shipped rules or by others."""
        tapes = {name: lived.tape for name, lived in self.lived.items()}
        with tempfile.TemporaryDirectory() as folder:
            return alarms(tapes, Path(folder), rules=rules, parts=parts, only=only)

    def verdict(self, found: list[Alarm]) -> Verdict:
        """Compare what fired with what truly happened."""
        truth = self.lived[_REPLICAS[0]]
        chronicles = {name: Chronicle.of(j) for name, j in truth.journals.items()}
        return Judge(truth.deeds, chronicles, self.plan.end, truth.servers).verdict(
            found
        )


def run(plan: Plan) -> Run:
    """Let both replicas live through a plan, side by side."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(len(_REPLICAS), context) as pool:
        futures = {name: pool.submit(live, plan, name, _told) for name in _REPLICAS}
        lived = {name: future.result() for name, future in futures.items()}
    one, other = lived.values()
    if (one.deeds, one.journals) != (other.deeds, other.journals):
        raise RuntimeError("the two replicas have not seen the same clouds")
    return Run(plan, lived)


def _told(days: float) -> None:
    """Show how far the run is."""
    _progress(f"day {days:.0f}")


def _progress(line: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{line}\033[K")
        sys.stderr.flush()


def main() -> int:
    """Run as the command line says, write the page; return the exit status."""
    parser = argparse.ArgumentParser(prog="make fidelity", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--days", type=float, default=60)
    parser.add_argument("--servers", type=int, default=100)
    parser.add_argument(
        "--output", type=Path, default=_PAGE, help="where the report goes"
    )
    asked = parser.parse_args()
    plan = Plan(asked.seed, asked.days, asked.servers)
    began = time.monotonic()
    lived = run(plan)
    _progress("the rules are evaluated")
    verdict = lived.verdict(lived.alarms(parts=4))
    lines = page(plan, verdict, time.monotonic() - began)
    asked.output.write_text("\n".join(lines), "utf-8")
    _progress("")
    sys.stdout.write("\n".join(lines))
    return 0 if verdict.good else 1


if __name__ == "__main__":
    sys.exit(main())
