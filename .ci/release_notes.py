"""Print what CHANGELOG.md says of a release: ``release_notes.py v1.2.3``.

Fails when the tag is not the version in the code, or the changelog has nothing on it.
"""  # noqa: INP001  # no package

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def notes(tag: str, root: Path) -> str:
    """Return the section of a tag's version; raise ValueError."""
    code = (root / "exporter" / "__init__.py").read_text("utf-8")
    found = re.search(r'^__version__ = "(.+)"$', code, re.MULTILINE)
    version = found[1] if found else "unknown"
    if tag != f"v{version}":
        raise ValueError(f"tag {tag}, but exporter/__init__.py says version {version}")
    changelog = (root / "CHANGELOG.md").read_text("utf-8")
    heading = rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d$"
    section = re.search(
        rf"{heading}\n(.*?)(?=^## |^\[|\Z)", changelog, re.MULTILINE | re.DOTALL
    )
    text = section[1].strip() if section else ""
    if not text:
        raise ValueError(f"CHANGELOG.md has no section [{version}] with a date")
    return text + "\n"


if __name__ == "__main__":
    try:
        sys.stdout.write(notes(sys.argv[1], ROOT))
    except ValueError as error:
        sys.exit(f"not released: {error}")
