"""The mutation sample: whether it notices what tests catch and what they do not."""

from __future__ import annotations

from pathlib import Path

import pytest
from line_tests import LineTests
from mutants import Mutant, chosen_mutants
from mutation_sample import MEASURED, UNMEASURED, measure, try_mutant

SOURCE = """\
def is_old(age: float) -> bool:
    return age > 5


def is_new(age: float) -> bool:
    return not is_old(age)
"""
TEST = """\
from exporter.model.ages import is_old


def test_age() -> None:
    assert is_old(6) and not is_old(5)
"""
USED = """\
from functools import cache
from time import sleep

_LIMIT = 1
LIMITS = {"low": _LIMIT}


def low() -> int:
    return LIMITS["low"]


@cache
def cached() -> int:
    return 1


def shared() -> int:
    return 1


async def awaited() -> int:
    return 1


def of_a_thread() -> int:
    return 1


def of_a_process() -> int:
    print(1, flush=True)
    sleep(600)
"""
USERS = """\
import asyncio
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from exporter.model import used


@pytest.fixture(scope="module")
def shared():
    return used.shared()


def test_low():
    assert used.low() == 1


def test_cached():
    assert used.cached() == 1


def test_cached_again():
    assert used.cached() == 1


def test_shared(shared):
    assert shared == 1


def test_awaited():
    assert asyncio.run(used.awaited()) == 1


def test_thread():
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(used.of_a_thread).result() == 1


def test_process():
    command = "from exporter.model.used import *; of_a_process()"
    with subprocess.Popen(
        [sys.executable, "-c", command], env={}, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"1\\n"
        process.kill()
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a small tree with two modules and their tests."""
    tree = tmp_path / "tree"
    for file, content in {
        "pytest.ini": "[pytest]\naddopts = -p no:cloudcoil",
        "exporter/__init__.py": "",
        "exporter/__main__.py": "",
        "exporter/model/__init__.py": "",
        "exporter/model/ages.py": SOURCE,
        "exporter/model/used.py": USED,
        "tests/unit/model/test_ages.py": TEST,
        "tests/unit/model/test_used.py": USERS,
    }.items():
        (tree / file).parent.mkdir(parents=True, exist_ok=True)
        (tree / file).write_text(content)
    return tree


@pytest.fixture
def tests(tree: Path, tmp_path: Path) -> LineTests:
    """Return which of its tests run each line."""
    folder = tmp_path / "measured"
    folder.mkdir()
    measure(tree, MEASURED, folder, jobs=1)
    return LineTests(tree, folder)


def test_an_obvious_mutant_is_caught_and_the_tree_stays(
    tree: Path, tests: LineTests
) -> None:
    """What no test looks at survives; each mutant is tried in a copy."""
    mutants = {
        mutant.line: mutant
        for mutant in chosen_mutants(tree, seed=1, count=100)
        if mutant.file == "exporter/model/ages.py"
    }
    caught = {n: try_mutant(tree, m, tests, 9).caught_by for n, m in mutants.items()}

    assert caught == {2: "tests/unit/model/test_ages.py::test_age", 6: None}
    assert (tree / "exporter/model/ages.py").read_text() == SOURCE


def test_the_tests_of_a_line_are_those_that_run_it(tests: LineTests) -> None:
    """Wherever they run it, and whoever runs it for them."""
    module = "tests/unit/model/test_used.py"
    running = {
        number: {
            test.removeprefix(f"{module}::")
            for test in tests.running("exporter/model/used.py", number)
        }
        for number, line in enumerate(USED.splitlines(), 1)
        if line.lstrip().startswith(("return", "print"))
    }

    assert list(running.values()) == [
        {"test_low"},
        {"test_cached", "test_cached_again"},
        set(_names(USERS)),
        {"test_awaited"},
        {"test_thread"},
        {"test_process"},
    ]


@pytest.mark.parametrize("constant", ["_LIMIT = 1", 'LIMITS = {"low": _LIMIT}'])
def test_a_line_that_imports_run_is_run_by_its_users(
    tests: LineTests, constant: str
) -> None:
    """Also by those of what is made of it; others only import it."""
    line = USED.splitlines().index(constant) + 1

    first, *_ = tests.running("exporter/model/used.py", line)

    assert first == "tests/unit/model/test_used.py::test_low"


def test_a_seed_gives_the_same_changes_wherever_they_are(tree: Path) -> None:
    """Lines that others add or remove do not change what is tried of a function."""

    def changes() -> list[str]:
        found: list[Mutant] = chosen_mutants(tree, seed=7, count=2)
        return [mutant.change for mutant in found]

    before = changes()
    module = tree / "exporter/model/ages.py"
    module.write_text(f"LIMITS = ()\n\n\n{SOURCE}")

    assert changes() == before


def test_the_measured_tests_exist() -> None:
    """Tests that move must be named again."""
    root = Path(__file__).parents[2]

    assert all((root / path).exists() for path in (*MEASURED, *UNMEASURED))


def _names(source: str) -> list[str]:
    return [
        line.removeprefix("def ").partition("(")[0]
        for line in source.splitlines()
        if line.startswith("def test_")
    ]
