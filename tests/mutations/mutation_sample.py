"""Do the tests catch a line that is changed? ``make mutations``.

The tests are run once, to learn which of them run each line of the exporter. Then lines
of all packages are changed, one at a time and each in a copy of the tree, and the tests
of the line are run, some at a time, until one fails. A mutant that no test notices is
shown with its change: either a test is missing, or the change makes no difference.
The same seed takes the same changes of functions that two revisions have in common.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from checkout import ROOT, TOOLS, write_revision
from line_coverage import OUTCOMES_FILE
from line_tests import LineTests
from mutants import Mutant, chosen_mutants

MEASURED = (
    *("tests/unit", "tests/panel", "tests/metrics", "tests/status", "tests/web"),
    *("tests/commands", "tests/deploy/test_systemd.py"),
)
"""The tests that run the exporter."""
_SLOW = ("tests/status/test_browser.py",)
"""Those of them that take long and are about a page in a browser."""
UNMEASURED = ("tests/simulations/fault_matrix",)
"""The tests for a line that none of the others runs."""
_PYTEST = (
    *(sys.executable, "-m", "pytest", "-q", "-rfE", "--color=no", "--tb=short"),
    *("-p", "no:cacheprovider", "--hypothesis-seed=0"),
)
_PLUGINS = Path(__file__).parent
_CACHE = ROOT / ".mutations"
_FIRST_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+?)(?:\[| |$)", re.MULTILINE)
_NOTHING_TO_RUN = 5
_AT_ONCE = 24
_TIME_LIMIT = "time limit"
_TIMES_AS_LONG = 5
_STARTING_SECONDS = 30.0
_LONGEST_CHANGE = 90


@dataclass(frozen=True)
class Outcome:
    """What the tests said of a tree."""

    caught_by: str | None
    """The first test that failed; None: all passed."""
    seconds: float
    output: str = ""


def main() -> int:
    """Mutate and test; end with an error if the tests cannot be run at all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=100, help="how many to change")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--revision", help="mutate and test this one, as git names it")
    parser.add_argument(
        "--package", action="append", default=[], help="only of this one (repeatable)"
    )
    parser.add_argument(
        "--tests", type=int, default=400, help="how many to try on each, at most"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    with _tree(arguments.revision) as tree, ThreadPoolExecutor(arguments.jobs) as pool:
        mutants = chosen_mutants(
            tree, arguments.seed, arguments.lines, tuple(arguments.package)
        )
        print(f"{len(mutants)} mutants; first the tests without any", flush=True)
        tests = cached_line_tests(tree, arguments.jobs)
        print(f"{len(tests.seconds)} tests, {sum(tests.seconds.values()):.0f} s")
        for test in sorted(tests.not_passed):
            print(f"left out, it does not pass without any: {test}")
        outcomes: list[Outcome] = []
        tried = pool.map(
            lambda mutant: try_mutant(tree, mutant, tests, arguments.tests), mutants
        )
        for mutant, outcome in zip(mutants, tried, strict=True):
            outcomes.append(outcome)
            print(_row(mutant, outcome), flush=True)
    print("\n".join(_totals(mutants, outcomes)))
    return 0


def cached_line_tests(tree: Path, jobs: int) -> LineTests:
    """Return which tests run each line, measured unless the same tree has been."""
    state = sha256()
    state.update((_PLUGINS / "line_coverage.py").read_bytes())
    for file in sorted(tree.rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts:
            state.update(f"{file.relative_to(tree)} {file.stat().st_size} ".encode())
            state.update(file.read_bytes())
    folder = _CACHE / state.hexdigest()[:16]
    if not folder.exists():
        _CACHE.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=_CACHE) as measured:
            measure(tree, MEASURED, Path(measured), jobs)
            shutil.copytree(measured, folder)
    return LineTests(tree, folder)


def measure(tree: Path, paths: Sequence[str], folder: Path, jobs: int) -> None:
    """Run tests, and write to a folder which of them run each line."""
    options = ["-p", "line_coverage", f"--line-coverage={folder}"]
    options += [f"--ignore={path}" for path in _SLOW]
    options += ["-n", str(jobs), "--dist=loadfile"] if jobs > 1 else []
    options += [path for path in paths if (tree / path).exists()]
    output = run_tests(tree, options).output
    if not any(folder.glob(f"{OUTCOMES_FILE}.*")):
        raise SystemExit(output)


def try_mutant(tree: Path, mutant: Mutant, tests: LineTests, most: int) -> Outcome:
    """Test a copy of the tree with the mutant in it, with so many tests at most."""
    running = tests.running(mutant.file, mutant.line)
    chosen = running[:most]
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "tree"
        shutil.copytree(tree, copy, symlinks=True)
        (copy / mutant.file).write_text(mutant.source, "utf-8")
        start = time.monotonic()
        caught_by = None
        for options, usual_seconds in _turns(Path(folder), chosen, tests):
            caught_by = _caught_by(tree, copy, options, usual_seconds)
            if caught_by is not None:
                break
        seconds = time.monotonic() - start
    if caught_by is None:
        return Outcome(None, seconds, f"{len(chosen)} of {len(running)} tests passed")
    return Outcome(caught_by, seconds)


def _turns(
    folder: Path, running: Sequence[str], tests: LineTests
) -> Iterator[tuple[list[str], float]]:
    """Return what to give to pytest, one after the other, and how long it takes."""
    others = [path for path in UNMEASURED if (folder / "tree" / path).exists()]
    if others and not running:
        yield others, 0.0
    begin, size = 0, _AT_ONCE
    while begin < len(running):
        turn = running[begin : begin + size]
        begin, size = begin + size, size * 4
        rest = folder / "rest.json"
        rest.write_text(json.dumps(sorted(tests.seconds.keys() - turn)))
        modules = dict.fromkeys(test.partition("::")[0] for test in turn)
        options = ["-p", "chosen_tests", f"--leave-out={rest}", *modules]
        yield options, sum(tests.seconds[test] for test in turn)


def _caught_by(
    tree: Path, copy: Path, options: Sequence[str], usual_seconds: float
) -> str | None:
    """Run tests on a mutant; what takes many times as long as without it is caught."""
    limit = _TIMES_AS_LONG * usual_seconds + _STARTING_SECONDS
    while True:
        caught_by = run_tests(copy, ["-x", *options], limit).caught_by
        if caught_by != _TIME_LIMIT:
            return caught_by
        # Now, as the machine may be busier than when they were measured.
        usual_seconds = run_tests(tree, options).seconds
        if limit >= _TIMES_AS_LONG * usual_seconds:
            return caught_by
        limit = 2 * _TIMES_AS_LONG * usual_seconds


def run_tests(
    tree: Path, options: Sequence[str], limit_seconds: float | None = None
) -> Outcome:
    """Run tests until they end or the time is over."""
    start = time.monotonic()
    with subprocess.Popen(
        [*_PYTEST, *options],
        cwd=tree,
        env=os.environ | {"PYTHONPATH": str(_PLUGINS)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=limit_seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return Outcome(_TIME_LIMIT, time.monotonic() - start)
    caught_by = None
    if process.returncode < 0:  # A test may send a signal that is not handled then.
        caught_by = signal.Signals(-process.returncode).name
    elif process.returncode not in (0, _NOTHING_TO_RUN):
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
    by = outcome.caught_by or outcome.output
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
