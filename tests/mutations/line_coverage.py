"""A pytest plugin that records which tests run each line of the exporter.

Each test is a context of coverage.py. What a fixture of a whole module runs is in the
context of the module, and a process that a test starts is measured in the test's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Any

import pytest
from coverage import Coverage

PACKAGE = "exporter"
IMPORT = "import"
"""The context of what is run when the exporter's modules are imported."""
COVERAGE_FILE = "lines"
"""What the name of each process' coverage file begins with."""
OUTCOMES_FILE = "outcomes"
"""What the name of each pytest process' file of outcomes begins with."""
_CHILD_CONFIG = """\
[run]
source = {package}
data_file = {data}
parallel = true
context = ${{LINE_COVERAGE_CONTEXT}}
sigterm = true
# Tests look at what a process writes to standard error.
disable_warnings =
    no-data-collected
    module-not-imported
    module-not-measured
    already-imported
"""
_LONGEST_END_SECONDS = 10.0


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that says where to write."""
    parser.addoption("--line-coverage", help="folder for the coverage of each test")


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Start before the tests import the exporter."""
    folder = Path(early_config.known_args_namespace.line_coverage)
    plugin = LineCoverage(folder, Path.cwd() / PACKAGE)
    early_config.pluginmanager.register(plugin)


class LineCoverage:
    """Keep coverage.py informed of which test runs."""

    def __init__(self, folder: Path, package: Path) -> None:
        """Measure this process from now on; what is found goes to the folder."""
        self._folder = folder
        self._context = ""
        self._seconds: dict[str, float] = {}
        self._not_passed: set[str] = set()
        self._clear: list[Callable[[], None]] = []
        data = str(folder / COVERAGE_FILE)
        self._child_config = folder / "child.ini"
        self._child_config.write_text(_CHILD_CONFIG.format(package=package, data=data))
        self._coverage = Coverage(
            data_file=data,
            data_suffix=True,
            source=[str(package)],
            config_file=False,
        )
        self._coverage.start()
        # What one test would import first, all may need.
        with self._in_context(IMPORT):
            for module in walk_packages([str(package)], f"{PACKAGE}."):
                if not module.name.endswith("__main__"):
                    import_module(module.name)

    def pytest_collection_finish(self) -> None:
        """Find what is cached: only the first test that needs it would run it."""
        names = (f"{Path.cwd() / PACKAGE}/", f"{Path.cwd()}/tests/support/")
        self._clear = [
            value.cache_clear
            for module in list(sys.modules.values())
            if (getattr(module, "__file__", None) or "").startswith(names)
            for value in vars(module).values()
            if hasattr(value, "cache_clear")
        ]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(
        self, item: pytest.Item
    ) -> Generator[None, object, object]:
        """Attribute what a test runs, in whichever thread and process."""
        for clear in self._clear:
            clear()
        with pytest.MonkeyPatch.context() as patch, self._in_context(item.nodeid):
            start = subprocess.Popen.__init__
            patch.setattr(subprocess.Popen, "kill", _end)
            patch.setattr(
                subprocess.Popen,
                "__init__",
                # Not a method of Popen, but called as one.
                lambda *args, **keys: self._start_measured(start, *args, **keys),
            )
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any]
    ) -> Generator[None, object, object]:
        """Attribute to all tests of a module what is set up for all of them."""
        if fixturedef.scope == "function":
            return (yield)
        module, _, _ = self._context.partition("::")
        with self._in_context(module):
            return (yield)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add up how long a test takes, with its set-up and tear-down."""
        seconds = self._seconds.get(report.nodeid, 0.0) + report.duration
        self._seconds[report.nodeid] = seconds
        if not report.passed:
            self._not_passed.add(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        """Write all down."""
        self._coverage.stop()
        self._coverage.save()
        outcomes = {"seconds": self._seconds, "not_passed": sorted(self._not_passed)}
        file = self._folder / f"{OUTCOMES_FILE}.{os.getpid()}.json"
        file.write_text(json.dumps(outcomes))

    @contextmanager
    def _in_context(self, context: str) -> Iterator[None]:
        before, self._context = self._context, context
        self._coverage.switch_context(context)
        try:
            yield
        finally:
            self._context = before
            self._coverage.switch_context(before)

    def _start_measured(
        self,
        start: Callable[..., None],
        *args: Any,
        env: dict[str, str] | None = None,
        **keys: Any,
    ) -> None:
        measured = {
            **(os.environ if env is None else env),
            "COVERAGE_PROCESS_START": str(self._child_config),
            "LINE_COVERAGE_CONTEXT": self._context,
        }
        start(*args, env=measured, **keys)


def _end(process: subprocess.Popen[Any]) -> None:
    """Let a process write its coverage before it is killed."""
    process.terminate()
    until = time.monotonic() + _LONGEST_END_SECONDS
    # Whoever waits for it gets its status: here it is only looked at.
    ended = partial(
        os.waitid, os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT
    )
    with suppress(ChildProcessError):
        while ended() is None:
            if time.monotonic() > until:
                process.send_signal(9)
                return
            time.sleep(0.01)
