"""Write the tables of docs/configuration.md from the keys' own descriptions."""  # noqa: INP001  # no package

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import yaml
from configuration_schema import described

from exporter.config import load as config
from exporter.config.decode import sections
from exporter.config.schema import Config, effective_config

_PAGE = Path(__file__).with_name("configuration.md")
_TABLE = r"\| key \| default \| meaning \|\n\|---\|---\|---\|\n(?:\|.*\n)+"
_HEADINGS = {
    "": "## The keys of the file",
    "include": "### `include`, `exclude`, `match`",
}
_SECTIONS = {name: section.cls for name, section in sections(Config).items()}
_EXAMPLE = {
    "url": "https://cp.example.com",
    "basic_auth": {"username": "ops@example.com", "password": "x"},
}


def text() -> str:
    """Return the page as it is, with its tables written again."""
    page = _PAGE.read_text("utf-8")
    for section, keys in _SECTIONS.items():
        if section in ("exclude", "match"):
            continue  # the same as include
        heading = _HEADINGS.get(section, f"### `{section}`")
        before, found, after = page.partition(f"\n{heading}\n")
        if not found or re.search(_TABLE, after) is None:
            raise ValueError(f"{_PAGE.name}: no table under {heading}")
        table = _table(section, keys).replace("\\", "\\\\")
        page = before + found + re.sub(_TABLE, table, after, count=1)
    return page


def _table(section: str, keys: type[msgspec.Struct]) -> str:
    rows = [
        f"| `{name}` | {_default(section, name, default)} | {meaning} |\n"
        for name, default, meaning in described(keys)
    ]
    return f"| key | default | meaning |\n|---|---|---|\n{''.join(rows)}"


def _default(section: str, key: str, named: str | None) -> str:
    """Return what is in force when nothing is set, unless the description says it."""
    if named is not None:
        return named
    loaded = config.build({"panels": [{**_EXAMPLE}]}, "example")
    shown: dict[str, Any] = yaml.safe_load(effective_config(loaded))
    panel = shown["panels"][0]
    locations = {"": shown, "detail": shown["detail"], "panels": panel}
    if key in _SECTIONS:
        return "`{}`"
    value = (locations.get(section) or panel.get(section) or {}).get(key)
    return "none" if value is None else f"`{yaml.safe_dump(value).splitlines()[0]}`"
