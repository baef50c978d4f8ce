"""Names are the field's standard terms: no metaphor comes back."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from checkout import ROOT

METAPHORS = {
    *("anew", "befall", "crowd", "deed", "deeds", "dice", "door", "doors"),
    *("doubt", "doubts", "dressed", "errand", "errands", "farewell", "feed"),
    *("fleet", "gate", "guest", "guests", "hasten", "hastened", "hears", "heard"),
    *("knock", "knowledge", "lament", "lamented", "look", "looks", "mend"),
    *("mended", "mishap", "misfortune", "nobody", "particular", "particulars"),
    *("places", "porter", "programme", "pulse", "rhythm", "roster", "said"),
    *("saying", "shelf", "shelves", "sieve", "standing", "stray", "strays"),
    *("survey", "take", "taken", "takes", "tally", "tell", "telling"),
    *("timetable", "told", "trouble", "troubles", "verdict", "verdicts", "vigil"),
    *("vital", "vitals", "weather", "whim"),
}
ALLOWED = {
    "take_backup",  # what OnApp calls it
    "take_over",
    "look_up",
    "look_alike",
    "look_alikes",
}
"""Words of the field that hold one, and names that are a contract."""

FILES = sorted(
    file
    for folder in ("exporter", "tests", "docs", "grafana")
    for file in (ROOT / folder).rglob("*.py")
)


def _names(file: Path) -> Iterator[str]:
    """Yield what a file gives a name to; a test's name is a sentence of its own."""
    yield file.stem
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        match node:
            case ast.FunctionDef(name) | ast.AsyncFunctionDef(name) if (
                not name.startswith("test_")
            ):
                yield name
            case ast.ClassDef(name) | ast.arg(name) | ast.alias(asname=str(name)):
                yield name
            case ast.Name(name, ast.Store()) | ast.Attribute(_, name, ast.Store()):
                yield name


def _words(name: str) -> set[str]:
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    for allowed in ALLOWED:
        snake = re.sub(rf"(?<![a-z]){allowed}(?![a-z])", "", snake)
    return set(snake.split("_"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_name_is_a_metaphor(file: Path) -> None:
    """A newcomer searches for the words of Prometheus, OnApp and asyncio."""
    assert {name for name in _names(file) if _words(name) & METAPHORS} == set()
