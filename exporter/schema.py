"""The keys of the configuration file, and the types of their values."""

from __future__ import annotations

import ipaddress
import re
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

import msgspec
import yarl

from .diagnosis import Diagnosis
from .errors import ConfigError
from .quantity import Duration, Size

Format = Literal["json", "xml"]


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
    format: Format | None = None
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


SECTIONS: Mapping[str, type[msgspec.Struct]] = {
    "": FileKeys,
    "poll": PollKeys,
    "detail": DetailKeys,
    "panels": PanelKeys,
    "basic_auth": BasicAuthKeys,
    "tls_config": TlsKeys,
    "virtual_machines": ServerKeys,
    "discovery": DiscoveryKeys,
    "backup_required": RequiredKeys,
    "collectors": CollectorKeys,
    "include": FilterKeys,
    "exclude": FilterKeys,
}
"""What stands under each key that has keys of its own; ``""`` is the file."""

_SAYING = Diagnosis(
    sections=SECTIONS,
    delicate=re.compile(r"basic_auth|password|url"),
    example="panels",
    choices=get_args(Format),
)
_HOST = re.compile(
    r"(?=.{1,253}$)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?", re.IGNORECASE
)


def keys(content: Any, source: str) -> FileKeys:
    """Check the content of a configuration; raise ConfigError when it is wrong."""
    if content is None:
        raise ConfigError(f"{source}: is empty; list at least one panel under panels")
    try:
        return msgspec.convert(content, FileKeys, dec_hook=_hook)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{source}: {_SAYING.problem(error, content)}") from None


def _hook(kind: type, value: Any) -> Any:
    """Convert to the types that YAML does not know; raise ValueError with the mend."""
    return _READERS[getattr(kind, "__origin__", kind)](value)


def _pattern(value: Any) -> re.Pattern[str]:
    if not isinstance(value, str):
        raise ValueError("must be a regular expression in quotes")  # noqa: TRY004  # msgspec's way
    try:
        with warnings.catch_warnings():
            # What Python warns of will match something else one day.
            warnings.simplefilter("error")
            return re.compile(value)
    except (re.error, OverflowError, RecursionError, Warning) as error:
        raise ValueError(f"must be a regular expression: {error}") from None


def _url(value: Any) -> yarl.URL:
    try:
        url = yarl.URL(value)
        usable = url.scheme in ("http", "https") and is_host(url.raw_host or "")
        usable = usable and bool(url.port)
    except (ValueError, TypeError):
        usable = False
    if not usable:
        raise ValueError("must be an address such as https://cp.example.com")
    if url.query_string or url.fragment or "@" in url.raw_path:
        raise ValueError("must end with its path: without ?, # and @ in or after it")
    return url


def is_host(text: str) -> bool:
    """Tell whether a text is the name or the address of a host."""
    try:
        return bool(ipaddress.ip_address(text))
    except ValueError:
        return _HOST.fullmatch(text) is not None


_READERS: Mapping[Any, Callable[[Any], Any]] = {
    Duration: Duration.parse,
    Size: Size.parse,
    re.Pattern: _pattern,
    yarl.URL: _url,
}
