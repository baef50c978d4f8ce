"""Where the files of the checkout are that the tests read."""

from __future__ import annotations

import shutil
import subprocess
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


def write_revision(revision: str | None, folder: Path) -> None:
    """Write the files of a revision into a folder; None: as they are in the tree."""
    if revision is not None:
        archive = _git("archive", revision)
        subprocess.run(["tar", "-x"], cwd=folder, input=archive, check=True)
        return
    names = _git("ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in names.decode().split("\0"):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


def _git(*arguments: str) -> bytes:
    command = ["git", *arguments]
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
