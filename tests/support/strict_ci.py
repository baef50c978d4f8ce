"""Let CI pass only what ran: a test that is skipped or expected to fail has failed.

A pytest plugin that does nothing unless the environment says ``CI=true``. Elsewhere
a skip is a fair answer to a missing tool; in CI it would hide that nothing was tested.
"""

import os
from collections.abc import Generator

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Be strict where the environment says that this is CI."""
    if os.environ.get("CI") == "true":
        config.pluginmanager.register(StrictCI(), "strict_ci.StrictCI")


class StrictCI:
    """Turn every outcome that is neither passed nor failed into failed."""

    # Outermost, to see what pytest itself has made of skips and expected failures.
    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self,
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Fail a test that skips, in set-up and tear-down too, or has an xfail mark."""
        report = yield
        if hasattr(report, "wasxfail"):
            happened = "xpassed" if report.passed else "xfailed"
            _fail(report, f"{happened} in CI: {report.wasxfail or 'no reason given'}")
            # With it, pytest would not count the failure.
            del report.wasxfail
        elif report.skipped:
            _fail(report, f"skipped in CI: {_reason(report)}")
        return report

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_make_collect_report(
        self,
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """Fail a module that skips itself, by ``importorskip`` for one."""
        report = yield
        if report.skipped:
            _fail(report, f"skipped in CI: {_reason(report)}")
        return report


def _fail(report: pytest.TestReport | pytest.CollectReport, message: str) -> None:
    report.outcome = "failed"
    report.longrepr = message


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    # Of a skip, pytest reports the path, the line and the reason.
    match report.longrepr:
        case (str(), int(), str(reason)):
            return reason.removeprefix("Skipped: ")
        case other:
            return str(other)
