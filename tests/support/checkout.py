"""Where the files of the checkout are that the tests read."""

from __future__ import annotations

from pathlib import Path

TESTS = Path(__file__).parents[1]
SUPPORT = TESTS / "support"
DATA = TESTS / "data"
GOLDEN = TESTS / "golden"

ROOT = TESTS.parent
DEPLOY = ROOT / "deploy"
DOCS = ROOT / "docs"
TOOLS = ROOT / ".tools"
"""What ``tests/tools.sh`` has unpacked."""
