"""Mutants: a module with one thing changed on one line, chosen by a seed."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from importlib.util import resolve_name
from pathlib import Path

PACKAGE = "exporter"

_COMPARISONS: Mapping[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_ARITHMETIC: Mapping[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
_FUNCTIONS = {"min": "max", "max": "min", "any": "all", "all": "any"}
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_NOT_RUN = {"annotation", "returns", "decorator_list", "keywords of a class"}
"""Parts of a node that say nothing about what happens when a line runs."""

_Change = tuple[ast.expr | ast.stmt, ast.expr | ast.stmt]


@dataclass(frozen=True)
class Mutant:
    """A module with one thing changed."""

    file: str
    """Relative to the tree."""
    line: int
    change: str
    source: str = field(repr=False)
    """The whole module, changed."""
    rank: str = field(repr=False)
    """A hash of the seed, the function and the change: other code does not move it."""

    @property
    def package(self) -> str:
        """Return the name of its package, or ``""`` of the program's own modules."""
        _, *folders, _ = Path(self.file).parts
        return folders[0] if folders else ""


def chosen_mutants(
    tree: Path, seed: int, count: int, packages: tuple[str, ...] = ()
) -> list[Mutant]:
    """Return mutants of so many lines, as many of each package as there are."""
    queues: dict[str, list[Mutant]] = {}
    for file in sorted(imported_modules(tree)):
        for mutant in _mutants_of(tree, file, seed):
            queues.setdefault(mutant.package, []).append(mutant)
    waiting = [
        iter(_one_a_line(sorted(queues[package], key=lambda mutant: mutant.rank)))
        for package in sorted(queues)
        if not packages or package in packages
    ]
    found: list[Mutant] = []
    while waiting and len(found) < count:
        turn = [(queue, next(queue, None)) for queue in waiting]
        waiting = [queue for queue, mutant in turn if mutant is not None]
        found += [mutant for _, mutant in turn if mutant is not None]
    return found[:count]


def _one_a_line(mutants: list[Mutant]) -> list[Mutant]:
    return list({(m.file, m.line): m for m in reversed(mutants)}.values())[::-1]


def imported_modules(tree: Path) -> set[str]:
    """Return the files of the exporter that the tests import, also by others."""
    waiting = {
        name for file in tree.glob("tests/**/*.py") for name in _imports(file, "")
    }
    waiting.add(f"{PACKAGE}.__main__")
    found: dict[str, str] = {}
    while waiting:
        name = waiting.pop()
        path = name.replace(".", "/")
        for file in (f"{path}.py", f"{path}/__init__.py"):
            if name not in found and (tree / file).is_file():
                found[name] = file
                above = name.rpartition(".")[0]
                package = name if file.endswith("/__init__.py") else above
                waiting |= {above, *_imports(tree / file, package)}
    return set(found.values())


def _imports(file: Path, package: str) -> set[str]:
    """Return what a module imports of the exporter: modules, and names that may be."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = resolve_name("." * node.level + (node.module or ""), package)
            found |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return {name for name in found if name.split(".")[0] == PACKAGE}


def _mutants_of(tree: Path, file: str, seed: int) -> Iterator[Mutant]:
    source = (tree / file).read_bytes()
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    seen: dict[str, int] = {}
    for scope, before, after in _changes_within(ast.parse(source), ""):
        new = ast.unparse(ast.fix_missing_locations(after))
        change = f"{ast.unparse(before)} → {new}"
        key = f"{seed} {scope} {change}"
        seen[key] = seen.get(key, 0) + 1
        assert before.end_lineno is not None
        assert before.end_col_offset is not None
        begin = starts[before.lineno - 1] + before.col_offset
        end = starts[before.end_lineno - 1] + before.end_col_offset
        text = new if isinstance(after, ast.stmt) else f"({new})"
        yield Mutant(
            file=file,
            line=before.lineno,
            change=change,
            source=(source[:begin] + text.encode() + source[end:]).decode(),
            rank=sha256(f"{key} {seen[key]}".encode()).hexdigest(),
        )


def _changes_within(node: ast.AST, scope: str) -> Iterator[tuple[str, *_Change]]:
    """Return each change of a node and all below it, with the function it is in."""
    yield from ((scope, *change) for change in _changes(node))
    if isinstance(node, _SCOPES):
        scope = f"{scope}.{node.name}"
    for name, value in ast.iter_fields(node):
        # Within an f-string, Python 3.11 does not know where a node is.
        if name in _NOT_RUN or isinstance(value, ast.JoinedStr):
            continue
        if isinstance(node, ast.ClassDef) and name == "keywords":
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not isinstance(child, ast.JoinedStr):
                yield from _changes_within(child, scope)


def _changes(node: ast.AST) -> Iterator[_Change]:
    """Return what a node may be replaced by."""
    yield from _changed_values(node)
    yield from _changed_flow(node)


def _changed_values(node: ast.AST) -> Iterator[_Change]:
    match node:
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            yield node, ast.Compare(left, [_COMPARISONS[type(op)]()], [right])
        case ast.BoolOp(op=op, values=values):
            other = ast.Or() if isinstance(op, ast.And) else ast.And()
            yield node, ast.BoolOp(other, values)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            yield node, ast.BinOp(left, _ARITHMETIC[type(op)](), right)
        case ast.Constant(value=bool(value)):
            yield node, ast.Constant(not value)
        case ast.Constant(value=int(value) | float(value)):
            yield node, ast.Constant(value * 2 or 1)
        case ast.Call(func=ast.Name(id=name)) if name in _FUNCTIONS:
            yield node.func, ast.Name(_FUNCTIONS[name])


def _changed_flow(node: ast.AST) -> Iterator[_Change]:
    match node:
        case ast.If(test=test) | ast.IfExp(test=test) | ast.comprehension(ifs=[test]):
            yield test, ast.UnaryOp(ast.Not(), test)
        case ast.Return(value=ast.expr() as value) if not _is_none(value):
            yield node, ast.Return(ast.Constant(None))
        case (
            ast.Expr(value=ast.Call() | ast.Await())
            | ast.AugAssign()
            | ast.Raise()
            | ast.Delete()
            | ast.Assign(targets=[ast.Attribute() | ast.Subscript()])
        ):
            yield node, ast.Pass()


def _is_none(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value is None
