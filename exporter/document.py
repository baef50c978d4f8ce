"""A YAML file, read strictly: what YAML would drop or change silently is refused.

Errors name the line. They never quote it, because a line may hold a password.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from .errors import ConfigError

_NAMES = ("map", "seq", "str", "int", "float", "bool", "null")
_TAG = "tag:yaml.org,2002:"
_KINDS = {f"{_TAG}{kind}" for kind in _NAMES}
_KEY_TAGS = (f"{_TAG}str", f"{_TAG}merge")
_DATE = f"{_TAG}timestamp"
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*|<<")
_HALF_A_CHARACTER = re.compile(r"[\ud800-\udfff]")
_HARMLESS = re.compile(
    r"""(?:[^'"]|'[],}:?-]'|'<(?:(?:block|flow|stream|document)\ \w+(?:\ start)?
    |scalar|alias|anchor|tag|directive)>')*""",
    re.VERBOSE,
)
_MENDS = {
    "but found another document": "a second document begins: keep one",
    "found character '\\t' that cannot start any token": "a tab: indent with spaces",
}


def load(path: Path) -> Any:
    """Return what the file says; raise ConfigError when it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: cannot be read: it is not UTF-8 text") from None
    try:
        return yaml.load(text, _Loader)  # noqa: S506  # a SafeLoader
    except yaml.MarkedYAMLError as error:
        raise ConfigError(f"{path}: {_problem(error)}") from None
    except yaml.YAMLError:
        raise ConfigError(f"{path}: not YAML: it has forbidden characters") from None
    except RecursionError:
        raise ConfigError(f"{path}: is nested too deep") from None


class _Refused(yaml.MarkedYAMLError):
    """What YAML would take, and we do not."""

    def __init__(self, problem: str, node: yaml.Node) -> None:
        super().__init__(problem=problem, problem_mark=node.start_mark)


class _Loader(yaml.SafeLoader):
    """Knows keys, lists, text, numbers, true, false and null; a date stays text."""

    yaml_constructors = {  # noqa: RUF012  # PyYAML's
        tag: constructor
        for tag, constructor in yaml.SafeLoader.yaml_constructors.items()
        if tag is None or tag in _KINDS
    }
    yaml_implicit_resolvers = {  # noqa: RUF012  # PyYAML's
        first: [known for known in resolvers if known[0] != _DATE]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(
        self,
        node: yaml.MappingNode,
        deep: bool = False,  # noqa: FBT001, FBT002  # PyYAML's
    ) -> dict[Hashable, Any]:
        """Return the mapping; refuse a key given twice, and what cannot be one."""
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag not in _KEY_TAGS or not _KEY.fullmatch(key.value):
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
        """Return the value; refuse what is not what it says, or fits nowhere."""
        try:
            value = super().construct_object(node, deep)
        except (ValueError, LookupError):  # such as 0x_, or !!bool maybe
            raise _Refused("no such number or word: quote it as text", node) from None
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise _Refused("the number is too large", node)
        if isinstance(value, str) and _HALF_A_CHARACTER.search(value):
            raise _Refused("the text holds half a character (a surrogate)", node)
        return value


def _problem(error: yaml.MarkedYAMLError) -> str:
    mark, problem = error.problem_mark, error.problem or "not YAML"
    where = "" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: "
    if isinstance(error, _Refused):
        return where + problem
    if problem in _MENDS:
        return where + _MENDS[problem]
    if not _HARMLESS.fullmatch(problem):  # PyYAML quotes pieces of the line
        problem = re.sub(r"(['\"]).*\1", "…", problem, flags=re.DOTALL)
    return (
        f"{where}{problem}; mind the indentation, and quote values that hold special "
        "characters"
    )
