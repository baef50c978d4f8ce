"""CI passes only what ran."""

import os
import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
from checkout import SUPPORT

MODULES = {
    "skips": """\
        import pytest
        def test_calls_skip(): pytest.skip("no tool")
        @pytest.mark.skip(reason="no time")
        def test_has_skip_mark(): pass
        @pytest.mark.skipif(True, reason="no luck")
        def test_has_skipif_mark(): pass
        """,
    "fixtures": """\
        import pytest
        @pytest.fixture
        def missing(): pytest.skip("no set-up")
        @pytest.fixture
        def leaving():
            yield
            pytest.skip("no tear-down")
        def test_needs_missing(missing): pass
        def test_needs_leaving(leaving): pass
        """,
    "xfails": """\
        import pytest
        @pytest.mark.xfail(reason="known bug")
        def test_fails_as_expected(): assert False
        @pytest.mark.xfail
        def test_fails_for_no_reason(): assert False
        @pytest.mark.xfail(reason="mended bug", strict=False)
        def test_passes_unexpectedly(): pass
        @pytest.mark.xfail(reason="slow bug", run=False)
        def test_does_not_run(): pass
        def test_calls_xfail(): pytest.xfail("sudden bug")
        """,
    "unittests": """\
        import unittest
        class Case(unittest.TestCase):
            def test_skips(self): self.skipTest("no case")
            @unittest.expectedFailure
            def test_fails_as_expected(self): self.fail()
        """,
    "imports": """\
        import pytest
        pytest.importorskip("no_such_module", reason="no module")
        def test_is_never_seen(): pass
        """,
    "platforms": """\
        import pytest
        pytest.skip("no platform", allow_module_level=True)
        """,
}

COMPLAINTS = {
    "skips": {
        "test_skips.py::test_calls_skip": "skipped in CI: no tool",
        "test_skips.py::test_has_skip_mark": "skipped in CI: no time",
        "test_skips.py::test_has_skipif_mark": "skipped in CI: no luck",
    },
    "fixtures": {
        "test_fixtures.py::test_needs_missing": "skipped in CI: no set-up",
        "test_fixtures.py::test_needs_leaving": "skipped in CI: no tear-down",
    },
    "xfails": {
        "test_xfails.py::test_fails_as_expected": "xfailed in CI: known bug",
        "test_xfails.py::test_fails_for_no_reason": "xfailed in CI: no reason given",
        "test_xfails.py::test_passes_unexpectedly": "xpassed in CI: mended bug",
        "test_xfails.py::test_does_not_run": "xfailed in CI: [NOTRUN] slow bug",
        "test_xfails.py::test_calls_xfail": "xfailed in CI: sudden bug",
    },
    "unittests": {
        "test_unittests.py::Case::test_skips": "skipped in CI: no case",
        "test_unittests.py::Case::test_fails_as_expected": (
            "xfailed in CI: no reason given"
        ),
    },
    "imports": {"test_imports.py": "skipped in CI: no module"},
    "platforms": {"test_platforms.py": "skipped in CI: no platform"},
}


def outcome(folder: Path, *modules: str, ci: str | None) -> tuple[int, str]:
    """Run some of the modules in a pytest of their own: exit status and output."""
    for module in modules:
        path = folder / f"test_{module}.py"
        path.write_text(dedent(MODULES[module]), encoding="utf-8")
    environment = os.environ | {
        "CI": ci or "",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONPATH": str(SUPPORT),
    }
    environment.pop("PYTEST_ADDOPTS", None)
    if ci is None:
        del environment["CI"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-ra", "-p", "strict_ci", "--rootdir=."],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("module", MODULES)
def test_ci_fails_what_did_not_run(tmp_path: Path, module: str) -> None:
    """Each skip and each expected failure is a failure that tells its reason."""
    status, output = outcome(tmp_path, module, ci="true")

    assert status != 0
    assert (
        dict(re.findall(r"^(?:FAILED|ERROR) (\S+) - (.*)$", output, re.MULTILINE))
        == COMPLAINTS[module]
    )
    assert not re.search(r"\d (skipped|xfailed|xpassed)", output)


@pytest.mark.parametrize("ci", [None, "false"])
def test_elsewhere_pytest_is_left_as_it_is(tmp_path: Path, ci: str | None) -> None:
    """Without CI=true, skips and expected failures pass."""
    status, output = outcome(tmp_path, *MODULES, ci=ci)

    assert status == 0, output
    # A test whose tear-down skips counts twice: passed and skipped.
    assert "1 passed, 8 skipped, 5 xfailed, 1 xpassed" in output
