"""The shape of the code: which package knows of which, and of what else."""

from __future__ import annotations

import ast
import sys
from importlib.util import resolve_name
from itertools import chain
from pathlib import Path

import pytest

import exporter

ORDER = (
    *("errors", "clock", "stderr", "logs", "signals", "demo"),
    *("model", "config", "onapp", "polling", "health", "metrics", "status", "web"),
    *("systemd", "app", "commands", "cli", "__main__"),
)
"""The way of the data: each imports only itself and those before it."""

LIBRARIES = {
    "aiohttp": {"onapp.client", "onapp.http_errors", "web"},
    "bcrypt": {"web.auth"},
    "isal": {"metrics.gzip_member"},
    "jinja2": {"status.html"},
    "multidict": {"onapp.client", "onapp.http_errors", "status.query"},
    "prometheus_client": {"metrics"},
    "xmltodict": {"onapp.decode"},
    "yaml": {"config"},
    "yarl": {"config", "onapp.client", "onapp.http_errors"},
}
"""Where a library is known: to replace it is to change these."""
EVERYWHERE = {"msgspec", "structlog"}
"""Frozen values and the log."""

ROOT = Path(exporter.__file__).parent


def _imports(file: Path) -> set[str]:
    """Return the dotted names that a module imports, wherever it does."""
    package = ".".join(("exporter", *file.relative_to(ROOT).parts[:-1]))
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = resolve_name("." * node.level + (node.module or ""), package)
            found |= {f"{module}.{alias.name}" for alias in node.names}
    return found


MODULES = {
    ".".join(file.relative_to(ROOT).with_suffix("").parts): _imports(file)
    for file in sorted(ROOT.rglob("*.py"))
}
"""What each module imports, by its name within the package."""


def _packages(module: str) -> set[str]:
    """Return the parts of the exporter that a module imports."""
    own = (name.split(".") for name in MODULES[module])
    return {parts[1] for parts in own if parts[0] == "exporter"} & {*ORDER}


@pytest.mark.parametrize("module", MODULES)
def test_data_goes_one_way(module: str) -> None:
    """No circle, and nothing that knows of what comes after it."""
    package = module.partition(".")[0]
    before = ORDER[: ORDER.index(package) + 1] if package in ORDER else ()

    assert _packages(module) <= {*before}


def test_every_package_has_its_place() -> None:
    """A new one needs a place in the way of the data."""
    assert {name.partition(".")[0] for name in MODULES} == {*ORDER, "__init__"}


@pytest.mark.parametrize("package", ["metrics", "status", "web"])
def test_a_scrape_cannot_reach_a_panel(package: str) -> None:
    """And a panel's answer never waits for a scrape: polling cannot reach these."""
    shown = {name for name in MODULES if name.startswith(f"{package}.")}

    assert {*chain(*map(_packages, shown))} & {"onapp", "polling"} == set()


def test_the_simulated_cloud_and_the_exporter_share_nothing() -> None:
    """So that a misreading of the API cannot cancel itself out."""
    demo = {name for name in MODULES if name.startswith("demo.")}
    users = {name for name in MODULES if "demo" in _packages(name)} - demo

    assert {*chain(*map(_packages, demo))} == {"demo"}
    assert users == {"commands.demo"}
    libraries = {name.partition(".")[0] for each in demo for name in MODULES[each]}
    assert (
        libraries & {"msgspec", "xmltodict", "prometheus_client", "structlog"} == set()
    )


def _users(library: str) -> set[str]:
    return {
        module
        for module, names in MODULES.items()
        if library in {name.partition(".")[0] for name in names}
        and not module.startswith("demo.")
    }


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_is_known_to_few(library: str) -> None:
    """Foreign types and errors stop at the edge."""
    locations = LIBRARIES[library]
    ways = {name: {name, name.partition(".")[0]} for name in _users(library)}

    assert {name for name, way in ways.items() if not way & locations} == set()
    assert locations <= {*chain(*ways.values())}, "some know it no more"


def test_nothing_else_is_installed_for_it() -> None:
    """What is imported is the standard library or a declared dependency."""
    imported = {name.partition(".")[0] for name in chain(*MODULES.values())}

    assert (
        imported - {*LIBRARIES, *EVERYWHERE, "exporter"} - sys.stdlib_module_names
        == set()
    )
