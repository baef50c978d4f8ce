"""Do the tests catch a line that is changed? ``make mutations``.

Lines of all packages are changed, one at a time and each in a copy of the tree, and the
tests run that are likely to notice. A mutant that no test notices is shown with its
change: either a test is missing, or the change makes no difference.
The same seed takes the same changes of functions that two revisions have in common.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from checkout import TOOLS, write_revision
from mutants import Mutant, chosen_mutants

_PANEL = "tests/panel"
TESTS: Mapping[str, tuple[str, ...]] = {
    "": (
        *("tests/unit/test_clock.py", "tests/unit/test_logs.py", "tests/commands"),
        *("tests/web/test_routes.py", "tests/deploy/test_systemd.py"),
    ),
    "commands": ("tests/commands",),
    "config": ("tests/unit/config", "tests/commands", _PANEL),
    "demo": ("tests/unit/demo", _PANEL, "tests/commands/test_cli.py"),
    "health": (
        *("tests/unit/health", "tests/panel/test_states.py", _PANEL),
        *("tests/status/test_status_page.py", "tests/metrics"),
    ),
    "metrics": ("tests/unit/metrics", "tests/metrics", _PANEL, "tests/web"),
    "model": ("tests/unit/model", "tests/metrics", _PANEL),
    "onapp": ("tests/unit/onapp", _PANEL, "tests/commands/test_check.py"),
    "polling": ("tests/unit/polling", _PANEL, "tests/simulations/fault_matrix"),
    "status": ("tests/status/test_status_page.py", "tests/web/test_routes.py"),
    "web": ("tests/web", "tests/commands"),
}
"""The tests that are likely to catch a mutant of a package, the likeliest first."""
_OTHERS = (*("tests/unit", "tests/metrics"), _PANEL, *("tests/web", "tests/commands"))
"""For a package that is not named above."""
_PYTEST = (
    *(sys.executable, "-m", "pytest", "-x", "-q", "-rfE", "--color=no"),
    *("-p", "no:cacheprovider", "--hypothesis-seed=0"),
)
_FIRST_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+?)(?:\[| |$)", re.MULTILINE)
_STARTING_SECONDS = 60.0
_LONGEST_CHANGE = 90


@dataclass(frozen=True)
class Outcome:
    """What the tests said of a tree."""

    caught_by: str | None
    """The first test that failed; None: all passed."""
    seconds: float
    output: str


def main() -> int:
    """Mutate and test; return 0 unless the tests fail without any change."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=100, help="how many to change")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--revision", help="mutate and test this one, as git names it")
    parser.add_argument(
        "--package", action="append", default=[], help="only of this one (repeatable)"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    with _tree(arguments.revision) as tree, ThreadPoolExecutor(arguments.jobs) as pool:
        mutants = chosen_mutants(
            tree, arguments.seed, arguments.lines, tuple(arguments.package)
        )
        paths = sorted({path for m in mutants for path in paths_for(tree, m.package)})
        print(f"{len(mutants)} mutants; first the tests without any", flush=True)
        usual = dict(
            zip(paths, pool.map(lambda p: run_tests(tree, [p]), paths), strict=True)
        )
        for path, outcome in usual.items():
            print(f"{outcome.seconds:6.0f} s  {path}")
            if outcome.caught_by is not None:
                print(f"{path} fails without any change:\n{outcome.output}")
                return 1

        def tried(mutant: Mutant) -> Outcome:
            tests = paths_for(tree, mutant.package)
            seconds = sum(usual[path].seconds for path in tests)
            return try_mutant(tree, mutant, tests, 3 * seconds + _STARTING_SECONDS)

        outcomes: list[Outcome] = []
        for mutant, outcome in zip(mutants, pool.map(tried, mutants), strict=True):
            outcomes.append(outcome)
            print(_row(mutant, outcome), flush=True)
    print("\n".join(_totals(mutants, outcomes)))
    return 0


def paths_for(tree: Path, package: str) -> list[str]:
    """Return the tests for a package that a tree has."""
    return [path for path in TESTS.get(package, _OTHERS) if (tree / path).exists()]


def try_mutant(
    tree: Path, mutant: Mutant, tests: Sequence[str], limit_seconds: float
) -> Outcome:
    """Test a copy of the tree with the mutant in it."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "tree"
        shutil.copytree(tree, copy, symlinks=True)
        (copy / mutant.file).write_text(mutant.source, "utf-8")
        return run_tests(copy, tests, limit_seconds)


def run_tests(
    tree: Path, tests: Sequence[str], limit_seconds: float | None = None
) -> Outcome:
    """Run tests until one fails or the time is over."""
    start = time.monotonic()
    with subprocess.Popen(
        [*_PYTEST, *tests],
        cwd=tree,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=limit_seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return Outcome("time limit", time.monotonic() - start, "")
    caught_by = None
    if process.returncode < 0:  # A test may send a signal that is not handled then.
        caught_by = signal.Signals(-process.returncode).name
    elif process.returncode > 0:
        found = _FIRST_FAILED.search(output)
        caught_by = f"pytest {process.returncode}" if found is None else found[1]
    return Outcome(caught_by, time.monotonic() - start, output)


@contextmanager
def _tree(revision: str | None) -> Iterator[Path]:
    """Copy a revision, or the files as they are now, into a folder."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        tree.mkdir()
        write_revision(revision, tree)
        if TOOLS.exists():
            (tree / TOOLS.name).symlink_to(TOOLS)
        yield tree


def _row(mutant: Mutant, outcome: Outcome) -> str:
    change = " ".join(mutant.change.split())
    if len(change) > _LONGEST_CHANGE:
        change = f"{change[:_LONGEST_CHANGE]}…"
    word = "survived" if outcome.caught_by is None else "caught"
    by = outcome.caught_by or "no test"
    where = f"{mutant.file}:{mutant.line}"
    return f"{word:8}  {outcome.seconds:5.0f} s  {where:42}  {change}  ({by})"


def _totals(mutants: list[Mutant], outcomes: list[Outcome]) -> Iterator[str]:
    caught = [outcome.caught_by is not None for outcome in outcomes]
    yield f"\n{'package':12} {'mutants':>8} {'caught':>8} {'survived':>8}"
    for package in sorted({mutant.package for mutant in mutants}):
        mine = [c for m, c in zip(mutants, caught, strict=True) if m.package == package]
        yield _line(package or "(program)", mine)
    yield _line("all", caught)


def _line(name: str, caught: list[bool]) -> str:
    missed = len(caught) - sum(caught)
    return f"{name:12} {len(caught):8} {sum(caught):8} {missed:8}"


if __name__ == "__main__":
    sys.exit(main())
