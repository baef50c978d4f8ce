"""Rules that every module keeps, whatever package it is in."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import exporter

ROOT = Path(exporter.__file__).parent
MODULES = {
    ".".join(file.relative_to(ROOT).with_suffix("").parts): file
    for file in sorted(ROOT.rglob("*.py"))
}
_WAITING_TO_BE_FILLED = {"[]", "{}", "dict()", "list()", "set()"}
_MUTATING = {
    *("append", "add", "clear", "discard", "extend", "insert", "pop", "popitem"),
    *("remove", "setdefault", "update"),
}


@cache
def tree(module: str) -> ast.Module:
    """Return the module, parsed."""
    return ast.parse(MODULES[module].read_text("utf-8"))


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
    assert {module for module in MODULES if uses(module, owner, name)} == users


def test_one_module_reads_the_clock() -> None:
    """All others are given it, so that simulations can give theirs."""
    readers = {
        module
        for module in MODULES
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("time.time", "time.monotonic")
    }

    assert readers == {"clock"}


@pytest.mark.parametrize("module", MODULES)
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


def test_one_place_catches_what_nobody_thought_of() -> None:
    """A bug must not stop the polling; everywhere else it must be seen."""
    broad = [
        module
        for module in MODULES
        for node in ast.walk(tree(module))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or ast.unparse(node.type) == "Exception")
    ]

    assert broad == ["polling.poller"]


@pytest.mark.parametrize("module", MODULES)
def test_a_module_says_what_it_is_for(module: str) -> None:
    """In its first line."""
    assert ast.get_docstring(tree(module))
