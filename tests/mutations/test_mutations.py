"""The mutation sample: whether it notices what tests catch and what they do not."""

from __future__ import annotations

from pathlib import Path

import pytest
from mutants import Mutant, chosen_mutants
from mutation_sample import TESTS, paths_for, try_mutant

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


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a small tree with one module and its test."""
    for file, content in {
        "pytest.ini": "[pytest]\naddopts = -p no:cloudcoil",
        "exporter/__init__.py": "",
        "exporter/__main__.py": "",
        "exporter/model/__init__.py": "",
        "exporter/model/ages.py": SOURCE,
        "exporter/model/forgotten.py": SOURCE,
        "tests/unit/model/test_ages.py": TEST,
    }.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(content)
    return tmp_path


def test_an_obvious_mutant_is_caught_and_the_tree_stays(tree: Path) -> None:
    """What no test looks at survives; each mutant is tried in a copy."""
    mutants = {m.line: m for m in chosen_mutants(tree, seed=1, count=100)}
    tests = paths_for(tree, "model")
    caught = {n: try_mutant(tree, m, tests, 60).caught_by for n, m in mutants.items()}

    assert caught == {2: "tests/unit/model/test_ages.py::test_age", 6: None}
    assert (tree / "exporter/model/ages.py").read_text() == SOURCE


def test_a_seed_gives_the_same_changes_wherever_they_are(tree: Path) -> None:
    """Lines that others add or remove do not change what is tried of a function."""

    def changes() -> list[str]:
        found: list[Mutant] = chosen_mutants(tree, seed=7, count=2)
        return [mutant.change for mutant in found]

    before = changes()
    module = tree / "exporter/model/ages.py"
    module.write_text(f"LIMITS = ()\n\n\n{SOURCE}")

    assert changes() == before


def test_every_package_has_its_tests() -> None:
    """A package that is new, or tests that move, must be named."""
    root = Path(__file__).parents[2]
    packages = {m.package for m in chosen_mutants(root, seed=1, count=30)}

    assert packages == TESTS.keys()
    assert all((root / path).exists() for paths in TESTS.values() for path in paths)
