"""Tests for the shape of the code: which module knows of which, and of what else."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import exporter

ROOT = Path(exporter.__file__).parent

WORDS = (
    "__init__",
    "errors",
    "trouble",
    "clock",
    "secret",
    "quantity",
    "model",
    "packed",
    "selection",
    "diagnosis",
    "schema",
    "settings",
)
"""What all others speak in."""
ASKING = (
    "sieve",
    "wire",
    "refusal",
    "client",
    "parser",
    "records",
    "backoff",
    "gate",
    "paging",
    "reader",
    "permissions",
    "journal",
    "timetable",
    "takes",
    "store",
    "errand",
    "particulars",
    "source",
    "schedules",
    "feed",
    "programme",
    "roster",
    "first_pass",
    "poller",
)
"""From a panel to what is known of it."""
SHOWING = (
    "verdict",
    "kinds",
    "schedule_judgement",
    "judgement",
    "panel_judgement",
    "deflate",
    "samples",
    "panel_samples",
    "family",
    "panel_families",
    "families",
    "collector",
    "lines",
    "blocks",
    "exposition",
    "scrapes",
    "negotiation",
    "query",
    "board",
    "status_schema",
    "status",
    "page",
    "views",
    "web",
)
"""From what is known to what is answered."""
RUNNING = (
    "telemetry",
    "document",
    "place",
    "login",
    "config",
    "effective",
    "transport",
    "planner",
    "fleet",
    "findings",
    "tally",
    "cost",
    "terminal",
    "inquiry",
    "contact",
    "survey",
    "probe",
    "flag_values",
    "flags",
    "logs",
    "vigil",
    "web_schema",
    "server_tls",
    "web_config",
    "basic_auth",
    "access",
    "connection",
    "systemd",
    "vitals",
    "server",
    "health",
    "output",
    "report",
    "ending",
    "check",
    "app",
    "once",
    "demonstration",
    "cli",
    "__main__",
)
"""From a command line to all of this at work."""
FLOW = (*WORDS, *ASKING, *SHOWING, *RUNNING)
"""The way of the data: each module imports only from those before it."""

FOREIGN = {
    "aiohttp": {
        *("client", "transport", "web", "access", "connection", "server"),
        "app",
    },
    "bcrypt": {"basic_auth"},
    "isal": {"deflate", "packed"},
    "jinja2": {"page"},
    "prometheus_client": {"collector", "exposition", "telemetry"},
    "xmltodict": {"wire"},
    "yaml": {"document", "effective"},
}
"""Who may know of a library: to replace it is to change these."""

LONGEST = 350
_WAITING_TO_BE_FILLED = {"[]", "{}", "dict()", "list()", "set()"}
_MUTATING = {
    *("append", "add", "clear", "discard", "extend", "insert", "pop", "popitem"),
    *("remove", "setdefault", "update"),
}


@cache
def sources() -> dict[str, Path]:
    """Return every module of the package and of the simulated cloud, by its name."""
    return {
        str(file.relative_to(ROOT).with_suffix("")): file
        for file in sorted(ROOT.rglob("*.py"))
    }


@cache
def tree(module: str) -> ast.Module:
    """Return the module, parsed."""
    return ast.parse(sources()[module].read_text("utf-8"))


def siblings(module: str) -> set[str]:
    """Return the modules of the package that this one imports, wherever it does."""
    found: set[str] = set()
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            names = [alias.name for alias in node.names]
            whole = [name if name in FLOW else "__init__" for name in names]
            found |= {node.module.partition(".")[0]} if node.module else set(whole)
    return found


def foreign(module: str) -> set[str]:
    """Return the packages that a module imports from outside, by their first name."""
    found: set[str] = set()
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.partition(".")[0])
    return found


def uses(module: str, owner: str, name: str) -> bool:
    """Tell whether a module speaks of ``owner.name``, by whichever import."""
    return any(
        (isinstance(node, ast.Attribute) and ast.unparse(node) == f"{owner}.{name}")
        or (
            isinstance(node, ast.ImportFrom)
            and node.module == owner
            and any(alias.name == name for alias in node.names)
        )
        for node in ast.walk(tree(module))
    )


def test_the_flow_lists_every_module_once() -> None:
    """A new module needs a place in the way of the data."""
    modules = [name for name in sources() if "/" not in name]

    assert sorted(FLOW) == sorted(modules)


@pytest.mark.parametrize("module", FLOW)
def test_imports_point_upstream(module: str) -> None:
    """No circle, and nothing that knows of what comes after it."""
    allowed = {*FLOW[: FLOW.index(module)]}
    if module == "demonstration":
        allowed |= {"demo"}

    assert siblings(module) - allowed == set()


@pytest.mark.parametrize("module", SHOWING)
def test_what_is_shown_knows_nothing_of_how_it_is_asked(module: str) -> None:
    """A scrape never touches a panel: there is no way from here to there."""
    assert siblings(module) & {*ASKING} <= {"store"}


@pytest.mark.parametrize("module", ASKING)
def test_what_is_asked_knows_nothing_of_how_it_is_shown(module: str) -> None:
    """A panel's answer never waits for a scrape."""
    assert siblings(module) & {*SHOWING, *RUNNING} == set()


@pytest.mark.parametrize("library", FOREIGN)
def test_a_library_is_known_to_few(library: str) -> None:
    """Foreign types and errors stop at the edge."""
    users = {module for module in FLOW if library in foreign(module)}

    assert users == FOREIGN[library]


def test_nothing_else_is_installed_for_it() -> None:
    """What is imported is the standard library or a declared dependency."""
    declared = {*FOREIGN, "msgspec", "structlog", "multidict", "yarl", "exporter"}
    imported = {name for module in sources() for name in foreign(module)}

    assert imported - declared - sys.stdlib_module_names == set()


@pytest.mark.parametrize(
    ("owner", "name", "users"),
    [
        ("os", "environ", {"cli"}),
        ("os", "getenv", set()),
        ("time", "sleep", set()),
        ("datetime", "now", set()),
        ("sys", "argv", {"cli"}),
    ],
)
def test_the_world_outside_is_an_argument(
    owner: str, name: str, users: set[str]
) -> None:
    """Environment and command line are read at the rim and handed down."""
    assert {module for module in sources() if uses(module, owner, name)} == users


def test_one_module_reads_the_clock() -> None:
    """All others are given it, so that simulations can give theirs."""
    readers = {
        module
        for module in sources()
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("time.time", "time.monotonic")
    }

    assert readers == {"clock"}


def test_the_simulated_cloud_shares_nothing_with_the_exporter() -> None:
    """So that a misreading of the API cannot cancel itself out."""
    demo = [name for name in sources() if name.startswith("demo/")]
    outside = {
        (module, ast.unparse(node))
        for module in demo
        for node in ast.walk(tree(module))
        if (isinstance(node, ast.ImportFrom) and node.level > 1)
        or (
            isinstance(node, (ast.Import, ast.ImportFrom))
            and "exporter" in ast.unparse(node)
        )
    }
    users = {module for module in FLOW if "demo" in siblings(module)}

    assert demo
    assert outside == set()
    assert users == {"demonstration"}


@pytest.mark.parametrize("module", sources())
def test_importing_does_no_work_and_keeps_no_state(module: str) -> None:
    """Definitions and constants only; what changes belongs to an object."""
    body = tree(module).body
    definitions = (
        *(ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef),
        *(ast.ClassDef, ast.Assign, ast.AnnAssign),
    )
    work = [
        ast.unparse(node)
        for node in body
        if not isinstance(node, definitions)
        and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
    ]

    assert work == (["main()"] if module == "__main__" else [])
    assert list(_changed(module)) == []


def _changed(module: str) -> Iterator[str]:
    """Yield what changes a name of the module: after import, or to be changed."""
    names = {
        target.id
        for node in tree(module).body
        if isinstance(node, (ast.Assign, ast.AnnAssign))
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }
    for statement in tree(module).body:
        value = getattr(statement, "value", None)
        if value is not None and ast.unparse(value) in _WAITING_TO_BE_FILLED:
            yield ast.unparse(statement)
    for node in ast.walk(tree(module)):
        match node:
            case ast.Global():
                yield ast.unparse(node)
            case ast.Call(func=ast.Attribute(ast.Name(name), method)) if (
                name in names and method in _MUTATING
            ):
                yield ast.unparse(node)
            case ast.Subscript(ast.Name(name), ctx=ast.Store() | ast.Del()) if (
                name in names
            ):
                yield ast.unparse(node)


@pytest.mark.parametrize("module", sources())
def test_a_module_is_read_in_one_sitting(module: str) -> None:
    """Longer ones become two, with two nouns, and every one says what it is for."""
    lines = sources()[module].read_text("utf-8").splitlines()

    assert len(lines) <= LONGEST
    assert ast.get_docstring(tree(module))


def test_one_place_catches_what_nobody_thought_of() -> None:
    """A bug must not stop the polling; everywhere else it must be seen."""
    broad = [
        module
        for module in sources()
        for node in ast.walk(tree(module))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or ast.unparse(node.type) == "Exception")
    ]

    assert broad == ["poller"]
