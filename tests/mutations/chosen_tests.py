"""A pytest plugin that leaves out the tests that a file names.

It does not name those to run: a mutant may have changed what they are called.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that says which file."""
    parser.addoption("--leave-out", type=Path, help="JSON file with a list of tests")


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Deselect them."""
    names = set(json.loads(config.getoption("leave_out").read_text("utf-8")))
    config.hook.pytest_deselected(items=[i for i in items if i.nodeid in names])
    items[:] = [item for item in items if item.nodeid not in names]
