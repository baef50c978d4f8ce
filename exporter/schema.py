"""The configuration file: its keys, and what is said of one that is wrong.

An error names the file, the place in it, the value and what would be right. Values
are shown only where no secret can be: a password put into the wrong place stays hidden.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
import yaml
import yarl

from .errors import ConfigError
from .quantity import Duration, Size

T = TypeVar("T")


class PollKeys(msgspec.Struct, forbid_unknown_fields=True):
    """``poll``: how a panel is asked."""

    interval: Duration | None = None
    timeout: Duration | None = None
    concurrency: int | None = None
    max_age: Duration | None = None
    max_body: Size | None = None


class DetailKeys(msgspec.Struct, forbid_unknown_fields=True):
    """``detail``: how much is exposed of single backups."""

    backups: bool | None = None
    newest_per_target: int | None = None


class BasicAuthKeys(msgspec.Struct, forbid_unknown_fields=True):
    """``basic_auth``: who asks."""

    username: str | None = None
    password: str | None = None
    password_file: str | None = None


class TlsKeys(msgspec.Struct, forbid_unknown_fields=True):
    """``tls_config``: whom to trust, and who to be."""

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    server_name: str | None = None
    insecure_skip_verify: bool | None = None


class FilterKeys(msgspec.Struct, forbid_unknown_fields=True):
    """``include``, ``exclude``: patterns on what the inventory says of a server."""

    label: re.Pattern[str] | None = None
    hostname: re.Pattern[str] | None = None
    identifier: re.Pattern[str] | None = None
    user_id: list[int] | None = None


class DiscoveryKeys(msgspec.Struct, forbid_unknown_fields=True):
    """``discovery``: which servers are found, and how often they are looked for."""

    interval: Duration | None = None
    include: FilterKeys | None = None
    exclude: FilterKeys | None = None


class RequiredKeys(msgspec.Struct, forbid_unknown_fields=True):
    """``backup_required``: which servers must have backups."""

    include: FilterKeys | None = None
    exclude: FilterKeys | None = None


class ServerKeys(msgspec.Struct, forbid_unknown_fields=True):
    """One of ``virtual_machines`` with settings of its own."""

    id: int | str
    expected_interval: Duration | None = None


class CollectorKeys(msgspec.Struct, forbid_unknown_fields=True):
    """``collectors``: what a panel is asked for beside servers and backups."""

    schedules: bool | None = None
    transactions: bool | None = None
    backup_servers: bool | None = None
    recovery_points: bool | None = None


class PanelKeys(msgspec.Struct, forbid_unknown_fields=True):
    """One of ``panels``."""

    url: yarl.URL
    name: str | None = None
    format: Literal["json", "xml"] | None = None
    basic_auth: BasicAuthKeys | None = None
    tls_config: TlsKeys | None = None
    proxy_url: yarl.URL | None = None
    virtual_machines: list[int | str | ServerKeys] | None = None
    discovery: DiscoveryKeys | None = None
    backup_required: RequiredKeys | None = None
    expected_interval: Duration | None = None
    collectors: CollectorKeys | None = None
    poll: PollKeys | None = None


class FileKeys(msgspec.Struct, forbid_unknown_fields=True):
    """The whole file."""

    panels: list[PanelKeys]
    poll: PollKeys | None = None
    detail: DetailKeys | None = None


_SECTIONS: tuple[type[msgspec.Struct], ...] = (
    FileKeys,
    PollKeys,
    DetailKeys,
    PanelKeys,
    BasicAuthKeys,
    TlsKeys,
    DiscoveryKeys,
    RequiredKeys,
    FilterKeys,
    ServerKeys,
    CollectorKeys,
)
_KEYS = sorted({key for section in _SECTIONS for key in section.__struct_fields__})
_DELICATE = re.compile(r"basic_auth|password|url")


def load(path: Path) -> FileKeys:
    """Read the file; raise ConfigError when it cannot be used."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {_reason(error)}") from None
    try:
        content = yaml.load(text, _Loader)  # noqa: S506  # a SafeLoader
    except yaml.MarkedYAMLError as error:
        raise ConfigError(f"{path}: {_yaml_problem(error)}") from None
    except (yaml.YAMLError, RecursionError):
        raise ConfigError(f"{path}: not YAML: it has forbidden characters") from None
    return keys(content, str(path))


def keys(content: Any, source: str) -> FileKeys:
    """Check the content of a configuration; raise ConfigError when it is wrong."""
    if content is None:
        raise ConfigError(f"{source}: is empty; list at least one panel under panels")
    try:
        return msgspec.convert(content, FileKeys, dec_hook=_hook)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{source}: {_problem(str(error), content)}") from None


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or "not UTF-8 text"


class _Loader(yaml.SafeLoader):
    """Refuses a key given twice, of which YAML would silently keep the last."""

    def construct_mapping(
        self,
        node: yaml.MappingNode,
        deep: bool = False,  # noqa: FBT001, FBT002  # PyYAML's
    ) -> dict[Hashable, Any]:
        """Return the mapping; raise MarkedYAMLError at a repeated key."""
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                problem = f"the key {key.value} is given twice"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _yaml_problem(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark
    where = "" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: "
    # PyYAML quotes pieces of the line, and a line may hold a password.
    problem = re.sub(r"(['\"]).*\1", "…", error.problem or "not YAML")
    return f"{where}{problem}; quote values that hold special characters"


def _hook(kind: type, value: Any) -> Any:
    """Convert to the types that YAML does not know; raise ValueError with the mend."""
    read = _READERS.get(kind)
    if read is None:
        origin: type = getattr(kind, "__origin__", kind)
        read = _READERS[origin]
    return read(value)


def _pattern(value: Any) -> re.Pattern[str]:
    try:
        return re.compile(value)
    except (re.error, TypeError, OverflowError) as error:
        raise ValueError(f"must be a regular expression: {error}") from None


def _url(value: Any) -> yarl.URL:
    try:
        url = yarl.URL(value)
        usable = url.scheme in ("http", "https") and bool(url.host)
        usable = usable and url.port is not None
    except (ValueError, TypeError):
        usable = False
    if not usable:
        raise ValueError("must be an address such as https://cp.example.com")
    return url


_READERS: Mapping[Any, Callable[[Any], Any]] = {
    Duration: Duration.parse,
    Size: Size.parse,
    re.Pattern: _pattern,
    yarl.URL: _url,
}


def _problem(message: str, content: Any) -> str:
    """Turn a ValidationError into place, value and what would be right."""
    said, _, where = message.partition(" - at `$")
    path = where.rstrip("`").lstrip(".")
    unknown = re.fullmatch(r"Object contains unknown field `(.*)`", said)
    if unknown is not None:
        close = difflib.get_close_matches(unknown[1], _KEYS, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        return f"{_join(path, unknown[1])}: unknown key{hint}"
    missing = re.fullmatch(r"Object missing required field `(.*)`", said)
    if missing is not None:
        return f"{_join(path, missing[1])}: is missing"
    said = said.replace("Expected", "must be").replace("`", "")
    said = re.sub(r", got .*", "", said).replace(" | null", "").replace(" | ", " or ")
    said = said.replace("must be array", "must be a list").replace("object", "keys")
    shown = _shown(path, _value(content, path))
    return f"{path or 'the file'}: {said}{shown}"


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _value(content: Any, path: str) -> Any:
    for step in re.findall(r"[^.\[\]]+", path):
        content = content[int(step)] if isinstance(content, list) else content[step]
    return content


def _shown(path: str, value: Any) -> str:
    if isinstance(value, (dict, list)):
        return ""
    if _DELICATE.search(path) or "@" in str(value):
        return f", not this {'nothing' if value is None else 'value'} (not shown here)"
    return f", not {value!r}"
