"""Plugins and options of all tests."""

from __future__ import annotations

import pytest

pytest_plugins = ["prometheus_versions", "strict_ci"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that updates golden files."""
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="write golden files and generated pages anew instead of comparing",
    )
