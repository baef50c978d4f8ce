"""Strict YAML: a value that a parser would silently drop or change is an error.

Errors name the line but never quote it, because it may contain a password.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from ..errors import ConfigError

_ALLOWED_TYPES = ("map", "seq", "str", "int", "float", "bool", "null")
_SCALAR_TYPES = ("str", "int", "float", "bool", "timestamp", "merge", "value")
_TAG_PREFIX = "tag:yaml.org,2002:"
_ALLOWED_TAGS = {f"{_TAG_PREFIX}{kind}" for kind in _ALLOWED_TYPES}
_KEY_TAGS = (f"{_TAG_PREFIX}str", f"{_TAG_PREFIX}merge")
_TIMESTAMP_TAG = f"{_TAG_PREFIX}timestamp"
_INT_TAG = f"{_TAG_PREFIX}int"
_WHOLE_NUMBER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_KEY_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*|<<")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_SAFE_MESSAGE = re.compile(
    r"""(?:[^'"]|'[],}:?-]'|'<(?:(?:block|flow|stream|document)\ \w+(?:\ start)?
    |scalar|alias|anchor|tag|directive)>')*""",
    re.VERBOSE,
)
_CLEARER_MESSAGES = {
    "but found another document": "a second document begins: keep one",
    "found character '\\t' that cannot start any token": "a tab: indent with spaces",
}


@dataclass(frozen=True, slots=True, repr=False)
class Scalar:
    """A value as written: ``no``, ``0x10`` and ``"no"`` are different scalars."""

    text: str
    yaml_type: str
    """The type to which YAML resolves it: str, int, float, bool or timestamp."""
    plain: bool
    """Whether it is written without quotes."""

    def __repr__(self) -> str:
        """Return the text as error messages quote it."""
        return repr(self.text)


class Document(NamedTuple):
    """The content of a file, with the lines of its values."""

    content: Any
    root: yaml.Node | None

    def line(self, parts: tuple[str | int, ...]) -> int | None:
        """Return the line of a key or an item, or of its closest existing parent."""
        node, mark = self.root, None
        for part in parts:
            if isinstance(node, yaml.MappingNode):
                found = [pair for pair in node.value if pair[0].value == part]
                if not found:
                    break
                key, node = found[-1]  # of merged keys, the last one applies
                mark = key.start_mark
            elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
                node = node.value[part]
                mark = node.start_mark
            else:
                break
        return None if mark is None else mark.line + 1


def load(path: Path, *, scalars: bool = False) -> Document:
    """Return the file's content; raise ConfigError if it cannot be parsed.

    ``scalars``: all values except None are ``Scalar``, and any scalar may be a key.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: cannot be read: it is not UTF-8 text") from None
    try:
        loader = _ScalarLoader(text) if scalars else _Loader(text)
        root = loader.get_single_node()
        return Document(None if root is None else loader.construct_document(root), root)
    except yaml.MarkedYAMLError as error:
        raise ConfigError(f"{path}: {_error_text(error)}") from None
    except yaml.YAMLError:
        raise ConfigError(f"{path}: not YAML: it has forbidden characters") from None
    except RecursionError:
        raise ConfigError(f"{path}: is nested too deep") from None


class _Refused(yaml.MarkedYAMLError):
    """Valid YAML that the exporter rejects."""

    def __init__(self, problem: str, node: yaml.Node) -> None:
        super().__init__(problem=problem, problem_mark=node.start_mark)


class _Loader(yaml.SafeLoader):
    """Accepts mappings, lists, text, numbers, booleans and null; a date stays text."""

    yaml_constructors = {  # noqa: RUF012  # PyYAML's
        tag: constructor
        for tag, constructor in yaml.SafeLoader.yaml_constructors.items()
        if tag is None or tag in _ALLOWED_TAGS
    }
    yaml_implicit_resolvers = {  # noqa: RUF012  # PyYAML's
        first: [known for known in resolvers if known[0] != _TIMESTAMP_TAG]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def is_key(self, node: yaml.Node) -> bool:
        """Return whether a node may be a key."""
        return node.tag in _KEY_TAGS and _KEY_NAME.fullmatch(node.value) is not None

    def construct_mapping(
        self,
        node: yaml.MappingNode,
        deep: bool = False,  # noqa: FBT001, FBT002  # PyYAML's
    ) -> dict[Hashable, Any]:
        """Return the mapping; reject duplicate keys and nodes that cannot be keys."""
        seen: set[str] = set()
        for key, _ in node.value:
            if not self.is_key(key):
                raise _Refused("no key (not shown here): one is like interval", key)
            if key.value in seen:
                raise _Refused("the same key is given twice: keep one", key)
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_object(
        self,
        node: yaml.Node,
        deep: bool = False,  # noqa: FBT001, FBT002  # PyYAML's
    ) -> Any:
        """Return the value; reject one that does not fit its type or is too large."""
        try:
            value = super().construct_object(node, deep)
        except (ValueError, LookupError):  # such as 0x_, or !!bool maybe
            raise _Refused("no such number or word: quote it as text", node) from None
        if node.tag == _INT_TAG and not _WHOLE_NUMBER.fullmatch(node.value):
            # YAML 1.1 reads 010 as 8, 1_000 as 1000 and 12:30:45 as 45045.
            raise _Refused(
                "not a plain decimal number such as 10: write it so, or put it in "
                "quotes if it is text",
                node,
            )
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise _Refused("the number is too large", node)
        if isinstance(value, str) and _SURROGATE.search(value):
            raise _Refused("the text holds half a character (a surrogate)", node)
        return value


class _ScalarLoader(_Loader):
    """Keeps scalars as written; the code that reads a value interprets it."""

    yaml_implicit_resolvers = yaml.SafeLoader.yaml_implicit_resolvers

    def is_key(self, node: yaml.Node) -> bool:
        """Return whether a node may be a key; names of users may be numbers."""
        return isinstance(node, yaml.ScalarNode)

    def construct_mapping(
        self,
        node: yaml.MappingNode,
        deep: bool = False,  # noqa: FBT001, FBT002  # PyYAML's
    ) -> dict[Hashable, Any]:
        """Return the mapping with its keys as written."""
        mapping = super().construct_mapping(node, deep)
        return {getattr(key, "text", "~"): value for key, value in mapping.items()}

    def construct_object(
        self,
        node: yaml.Node,
        deep: bool = False,  # noqa: FBT001, FBT002  # PyYAML's
    ) -> Any:
        """Return the value; scalars as written."""
        yaml_type = node.tag.removeprefix(_TAG_PREFIX)
        if not isinstance(node, yaml.ScalarNode) or yaml_type not in _SCALAR_TYPES:
            return super().construct_object(node, deep)
        if _SURROGATE.search(node.value):
            raise _Refused("the text holds half a character (a surrogate)", node)
        return Scalar(node.value, yaml_type, plain=node.style is None)


def _error_text(error: yaml.MarkedYAMLError) -> str:
    mark, problem = error.problem_mark, error.problem or "not YAML"
    where = "" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: "
    if isinstance(error, _Refused):
        return where + problem
    if problem in _CLEARER_MESSAGES:
        return where + _CLEARER_MESSAGES[problem]
    if not _SAFE_MESSAGE.fullmatch(problem):  # PyYAML quotes pieces of the line
        problem = re.sub(r"(['\"]).*\1", "…", problem, flags=re.DOTALL)
    begin = error.context_mark
    if begin is not None and mark is not None and begin.line != mark.line:
        problem += f", in what begins in line {begin.line + 1}"
    return (
        f"{where}{problem}; check the indentation, the space after each colon, and "
        "closing brackets and quotes; put a value with special characters in quotes"
    )
