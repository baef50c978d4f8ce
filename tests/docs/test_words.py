"""Tests that what people read has one vocabulary, in plain words."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest
from checkout import DOCS, ROOT

from exporter.health.conditions import PANEL_CONDITIONS, SERVER_CONDITIONS
from exporter.metrics import FAMILIES
from exporter.metrics.exporter import OWN_FAMILIES

_AVOIDED = re.compile(
    r"\b(a take|the taking of|mend(s|ed|ing)?|tells? of|(is|are) told|goes before|anew"
    r"|troubles?|gives? a schedule up|hung up on|porter|at hand|in hand"
    r"|well or badly)\b",
    re.IGNORECASE,
)
"""Each has a plainer word: backup run, fix, report, override, again, problem …"""
_NAMES = re.compile(r"`[^`\n]*`|^ {4}[^\n]*$|^```.*?^```", re.MULTILINE | re.DOTALL)
"""Code, and names that are fixed elsewhere."""
_PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")),
    *sorted(DOCS.glob("*.md")),
    *sorted(DOCS.glob("runbooks/*.md")),
]


@pytest.mark.parametrize("file", _PAGES, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_page_uses_plain_words(file: Path) -> None:
    """Readers search for fix, problem and again."""
    text = _NAMES.sub("", file.read_text("utf-8"))

    assert [found[0] for found in _AVOIDED.finditer(text)] == []


def test_log_messages_help_and_conditions_use_plain_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All of them are read beside the pages."""
    monkeypatch.syspath_prepend(str(DOCS))
    import log_messages_page  # noqa: PLC0415  # found by the line above

    page: ModuleType = log_messages_page
    texts = [
        *(family.help for family in FAMILIES),
        *(family.help for family in OWN_FAMILIES),
        *(message for message, _ in page.messages()),
        *(
            text
            for each in (*SERVER_CONDITIONS, *PANEL_CONDITIONS)
            for text in (each.title, each.action)
        ),
    ]

    assert [text for text in texts if _AVOIDED.search(text)] == []
