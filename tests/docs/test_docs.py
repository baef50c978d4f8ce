"""Tests that the documentation says what is there, all of it, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
from checkout import DOCS, ROOT
from stores import a_store
from web_handlers import handlers_for

from exporter.config.flags import PROGRAM
from exporter.metrics import FAMILIES
from exporter.metrics.exporter import OWN_FAMILIES, OwnFamily
from exporter.metrics.family import AnyFamily

_SKIPPED = {".pytest_cache", ".tools", ".venv", "build", "dist", "node_modules"}
WRITTEN = [
    file
    for file in sorted(ROOT.rglob("*.md"))
    if not _SKIPPED & {*file.relative_to(ROOT).parts}
]


GENERATED = [
    *(f"../deploy/shell/{name}" for name in (f"_{PROGRAM}", f"{PROGRAM}.1")),
    *(f"../deploy/shell/{name}" for name in (f"{PROGRAM}.bash", f"{PROGRAM}.fish")),
    *("alerts.md", "cli.md", "config.schema.json", "configuration.md"),
    *("log-messages.md", "metrics.md", "reliability.md", "sizing.md"),
]


@pytest.fixture
def generator(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the script that writes the generated pages."""
    monkeypatch.syspath_prepend(str(DOCS))
    return import_module("generate")


@pytest.mark.parametrize("page", GENERATED)
def test_golden_page_is_what_the_code_says(
    page: str, generator: ModuleType, request: pytest.FixtureRequest
) -> None:
    """`make docs` writes these pages; they are not edited by hand."""
    text = generator.PAGES[page]()
    if request.config.getoption("--update-golden"):
        (DOCS / page).write_text(text, encoding="utf-8")

    assert (DOCS / page).read_text("utf-8") == text


@pytest.mark.usefixtures("generator")
def test_golden_runbooks_of_the_exporter_are_those_of_the_manual(
    request: pytest.FixtureRequest,
) -> None:
    """`make docs` renders them too, one for each page of docs/runbooks."""
    pages = import_module("runbook_pages")
    rendered = {f"{each.stem}.html": pages.html(each) for each in pages.SOURCES}
    if request.config.getoption("--update-golden"):
        for name, text in rendered.items():
            (pages.RENDERED / name).write_text(text, encoding="utf-8")
    served = {file.name: file.read_text("utf-8") for file in pages.RENDERED.iterdir()}

    assert served == rendered


def test_no_other_page_is_generated(generator: ModuleType) -> None:
    """The test above would not see it."""
    assert sorted(generator.PAGES) == GENERATED


def test_every_flag_is_written_as_it_is_typed() -> None:
    """Its name and, unless it is a switch, one word for the value."""
    page = (DOCS / "cli.md").read_text("utf-8")
    flags = re.findall(r"^\| `(--.+?)` \|", page, re.MULTILINE)

    assert [flag for flag in flags if not re.fullmatch(_FLAG, flag)] == []
    assert "--format FORMAT" in flags


_FLAG = r"--[a-z.-]+( [A-Z]+)?"


def test_every_metric_is_documented_and_no_other() -> None:
    """The tables of the page name each family once; its text names no other."""
    page = (DOCS / "metrics.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    names = [*map(_name, FAMILIES), *map(_name, OWN_FAMILIES)]

    assert sorted(rows) == sorted(names)
    assert list(_unknown(page)) == []


@pytest.mark.parametrize("file", WRITTEN, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_page_speaks_of_a_metric_that_is_not_there(file: Path) -> None:
    """A renamed metric must be renamed everywhere."""
    assert list(_unknown(file.read_text("utf-8"))) == []


def _name(family: AnyFamily | OwnFamily) -> str:
    return family.name


def _unknown(text: str) -> Iterator[str]:
    """Yield the metrics in a text that do not exist; `onapp_vm_*` stands for many.

    Names with colons are those of recorded series, which test_alert_rules.py checks.
    """
    names = {*map(_name, FAMILIES), *map(_name, OWN_FAMILIES)}
    for found in re.finditer(r"(?<!:)\bonapp_(\w+)(\*?)", text):
        name = f"onapp_{found[1]}"
        base = re.sub("_(bucket|sum|count)$", "", name)
        many = found[2] and any(other.startswith(name) for other in names)
        if not (many or name in names or base in names):
            yield found[0]


def test_every_endpoint_is_documented_with_its_methods_and_no_other() -> None:
    """The table in docs/http.md is the list of routes."""
    page = (DOCS / "http.md").read_text("utf-8")
    documented = re.findall(r"^\| `(/\S*)` \| ([A-Z]+) \|", page, re.MULTILINE)
    pages = handlers_for(a_store())
    served = [
        (route.resource.canonical, route.method)
        for route in pages.application().router.routes()
        if route.resource is not None and route.method != "HEAD"
    ]

    assert sorted(documented) == sorted(served)


def test_the_manual_s_contents_lead_to_every_page() -> None:
    """What nobody is led to nobody reads."""
    contents = (DOCS / "README.md").read_text("utf-8")
    pages = {file.name for file in DOCS.glob("*.md")} - {"README.md"}

    assert {*re.findall(r"\]\(([\w-]+\.md)", contents)} == pages


@pytest.mark.parametrize("file", WRITTEN, ids=lambda file: str(file.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(file: Path) -> None:
    """To a file that is there and, where they name one, to a heading in it."""
    text = file.read_text("utf-8")
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    links = re.findall(r"(?<!`)\[[^\]]*\]\(([^)\s]+)\)", text)
    links += re.findall(r"^\[[^\]]+\]: (\S+)$", text, re.MULTILINE)

    assert [link for link in links if not _leads_somewhere(file, link)] == []


def _leads_somewhere(file: Path, link: str) -> bool:
    if re.match(r"https?:|mailto:", link):
        return True
    path, _, anchor = link.partition("#")
    target = file.parent / path if path else file
    if not target.exists():
        return False
    return not anchor or anchor in _anchors(target.read_text("utf-8"))


def _anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as code forges make them."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-")
        for heading in headings
    }


@pytest.mark.parametrize(
    "file",
    [file for file in WRITTEN if file.name != "fidelity.md"],
    ids=lambda file: str(file.relative_to(ROOT)),
)
def test_a_page_has_short_sentences(file: Path) -> None:
    """Of 25 words at most, but in tables: many readers are not native speakers."""
    text = re.sub(r"(?s)```.*?```", "", file.read_text("utf-8"))
    text = re.sub(r"(?m)^(\|| {4}).*$", "", text)
    text = re.sub(r"\]\([^)]*\)", "]", text)
    parts = re.split(r"\n\n|\n *- |\n *\d\. |(?<=[.:?])(?:\*\*)?\s", text)

    assert [part for part in parts if len(part.split()) > 25] == []
