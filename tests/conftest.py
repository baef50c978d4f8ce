"""What all tests share."""

from __future__ import annotations

import pytest

pytest_plugins = ["strict_ci"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that writes golden files anew."""
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="write golden files and generated pages anew instead of comparing",
    )
