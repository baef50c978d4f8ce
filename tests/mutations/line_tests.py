"""Which tests run a line, in the order in which to try them."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from pathlib import Path

from coverage import Coverage, CoverageData
from line_coverage import COVERAGE_FILE, IMPORT, OUTCOMES_FILE, PACKAGE

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class _Statement:
    """A statement without those within it."""

    file: str
    lines: frozenset[int]
    names: frozenset[str]
    """What it mentions."""
    defines: frozenset[str]
    """What it names when it is imported; within a function, the function."""
    imported: bool
    """Within no function: an import runs it."""


class LineTests:
    """What a run of all tests with the plugin ``line_coverage`` has told of a tree."""

    def __init__(self, tree: Path, folder: Path) -> None:
        """Read what the processes of the run have written into a folder."""
        self._tree = tree
        self.seconds: dict[str, float] = {}
        """How long each test takes."""
        self.not_passed: set[str] = set()
        """Those that fail, or are skipped, without any change."""
        for file in folder.glob(f"{OUTCOMES_FILE}.*"):
            outcomes = json.loads(file.read_text("utf-8"))
            self.seconds |= outcomes["seconds"]
            self.not_passed |= set(outcomes["not_passed"])
        data = str(folder / COVERAGE_FILE)
        if any(folder.glob(f"{COVERAGE_FILE}.*")):
            coverage = Coverage(data_file=data, config_file=False)
            coverage.combine([str(folder)])
            coverage.save()
        self._data = CoverageData(data)
        self._data.read()
        self._contexts: dict[str, dict[int, list[str]]] = {}

    def running(self, file: str, line: int) -> list[str]:
        """Return the tests that run a line, or use what it defines if imports run it.

        Those that run different lines of the file come first, the cheapest of each.
        """
        own = [s for s in self._statements if s.file == file and line in s.lines]
        contexts = self._contexts_of(file, {line})
        for statement in own:
            contexts = contexts or self._contexts_of(file, statement.lines)
        running = self._in_turn(contexts, {file})
        names = {name for statement in own for name in statement.defines}
        if any(statement.imported for statement in own):
            # Also processes that tests start import it, whether they use it or not.
            return list(dict.fromkeys([*self._using(names), *running]))
        if IMPORT in contexts or not running:
            return list(dict.fromkeys([*running, *self._using(names)]))
        return running

    def _using(self, names: set[str]) -> list[str]:
        """Return the tests that run what mentions names, or what is made of that."""
        seen: set[str] = set()
        found: list[str] = []
        while names and not found:
            seen |= names
            users = [s for s in self._statements if s.names & names]
            contexts = {
                context
                for user in users
                if not user.imported
                for context in self._contexts_of(user.file, user.lines)
            }
            found = self._in_turn(contexts, {user.file for user in users})
            names = {name for user in users for name in user.defines} - seen
        return found

    def _in_turn(self, contexts: set[str], files: set[str]) -> list[str]:
        lines: dict[str, set[tuple[str, int]]] = {}
        for file in files:
            for line, found in self._by_line(file).items():
                for context in found:
                    lines.setdefault(context, set()).add((file, line))
        alike: dict[frozenset[tuple[str, int]], list[str]] = {}
        for test in sorted(self.seconds, key=lambda test: self.seconds[test]):
            module = test.partition("::")[0]
            if not contexts.isdisjoint((test, module)) and test not in self.not_passed:
                run = lines.get(test, set()) | lines.get(module, set())
                alike.setdefault(frozenset(run), []).append(test)
        return [t for turn in zip_longest(*alike.values()) for t in turn if t]

    def _contexts_of(self, file: str, lines: Iterable[int]) -> set[str]:
        by_line = self._by_line(file)
        return {context for line in lines for context in by_line.get(line, ())}

    def _by_line(self, file: str) -> dict[int, list[str]]:
        """Return the contexts that run each line of a file."""
        if file not in self._contexts:
            # The tree was elsewhere when they were measured.
            measured = self._data.measured_files()
            names = [name for name in measured if name.endswith(f"/{file}")]
            self._contexts[file] = dict(
                line
                for name in names
                for line in self._data.contexts_by_lineno(name).items()
            )
        return self._contexts[file]

    @cached_property
    def _statements(self) -> list[_Statement]:
        return [
            statement
            for path in sorted((self._tree / PACKAGE).rglob("*.py"))
            for statement in _statements_within(
                ast.parse(path.read_text("utf-8")),
                path.relative_to(self._tree).as_posix(),
                None,
            )
        ]


def _statements_within(
    node: ast.AST, file: str, function: str | None
) -> Iterator[_Statement]:
    """Return all statements below a node, which is in a function or in none."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt):
            own = [child, *_own_nodes(child)]
            names = {name for part in own for name in _mentioned(part)}
            defines = {name for part in own for name in _defined(part)}
            yield _Statement(
                file=file,
                lines=frozenset(part.lineno for part in own if hasattr(part, "lineno")),
                names=frozenset(names),
                defines=frozenset(defines if function is None else {function}),
                imported=function is None,
            )
        inner = child.name if isinstance(child, _FUNCTIONS) else function
        yield from _statements_within(child, file, inner)


def _own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.stmt):
            yield child
            yield from _own_nodes(child)


def _mentioned(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Name(id=name, ctx=ast.Load()) | ast.Attribute(attr=name):
            yield name
        case ast.alias(name=name):
            yield name.rpartition(".")[2]


def _defined(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Name(id=name, ctx=ast.Store()):
            yield name
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            yield name
        case ast.alias(asname=str(name)):
            yield name
