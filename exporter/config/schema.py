"""The keys of the configuration file, and the frozen values that are made of them.

The descriptions of the keys are the tables of ``docs/configuration.md``.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import re
import ssl
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import msgspec
import yaml
import yarl

from ..errors import ConfigError
from ..model.selection import ConfiguredServer, Filter, Selection
from .messages import ErrorMessages
from .secrets import HIDDEN, Account, FileSecret
from .units import Duration, Size

BodyFormat = Literal["json", "xml"]


class PollKeys(msgspec.Struct, forbid_unknown_fields=True):
    """``poll``: intervals and limits of the requests to a panel."""

    interval: Duration | None = None
    """how often each server's backups are read; at least ``1s``. Requests are spread
    over the interval"""
    timeout: Duration | None = None
    """how long one request may take; at least ``1s``"""
    concurrency: int | None = None
    """requests in flight to one panel at once"""
    max_age: Duration | None = None
    """older data is no longer exported; at least twice ``interval`` (default: ``1h``,
    or twice ``interval`` if that is more)"""
    max_body: Size | None = None
    """a longer answer is refused"""


class DetailKeys(msgspec.Struct, forbid_unknown_fields=True):
    """``detail``: which series of single backups are exposed."""

    backups: bool | None = None
    """whether there are series for single backups (``onapp_backup_*``). No alert needs
    them"""
    newest_per_target: int | None = None
    """how many single backups are exposed of each target: ``0`` for all, else the
    newest so many, and all that are not built"""


class BasicAuthKeys(msgspec.Struct, forbid_unknown_fields=True):
    """``basic_auth``: the account's credentials."""

    username: str | None = None
    """the login, or for an API key the account's e-mail address; without a colon
    (default: needed)"""
    password_file: str | None = None
    """the file that holds the API key or the password. See
    [secrets](#secrets-and-their-rotation) (default: this or ``password`` is needed)"""
    password: str | None = None
    """the key or password itself, instead of a file (default: this or
    ``password_file`` is needed)"""


class TlsKeys(msgspec.Struct, forbid_unknown_fields=True):
    """``tls_config``: the authorities to trust, and the client's certificate."""

    ca_file: str | None = None
    """PEM file of the authorities to trust, and no others (default: the system's
    authorities)"""
    cert_file: str | None = None
    """PEM file of the certificate to show; goes with ``key_file``"""
    key_file: str | None = None
    """PEM file of its key, without a passphrase"""
    server_name: str | None = None
    """the name that the panel's certificate must be for (default: the host of
    ``url``)"""
    insecure_skip_verify: bool | None = None
    """``true`` trusts anybody who answers, and gives them the credentials. Better name
    the panel's own certificate as ``ca_file``"""


class FilterKeys(msgspec.Struct, forbid_unknown_fields=True):
    """``include``, ``exclude``: patterns on a server's attributes."""

    label: re.Pattern[str] | None = None
    """regular expression on the server's label (default: any)"""
    hostname: re.Pattern[str] | None = None
    """regular expression on its host name (default: any)"""
    identifier: re.Pattern[str] | None = None
    """regular expression on its identifier (default: any)"""
    user_id: list[int] | None = None
    """list of owners' numbers: ``[7, 12]`` (default: any)"""


class DiscoveryKeys(msgspec.Struct, forbid_unknown_fields=True):
    """``discovery``: which servers are monitored, and how often they are listed."""

    interval: Duration | None = None
    """how often the panel is asked which servers there are; at least ``1s``"""
    include: FilterKeys | None = None
    """only servers on which **all** of these match"""
    exclude: FilterKeys | None = None
    """no servers on which **any** of these matches"""


class RequiredKeys(msgspec.Struct, forbid_unknown_fields=True):
    """``backup_required``: which servers must have backups."""

    include: FilterKeys | None = None
    """a server must have backups if **all** of these match. Without it: if it has a
    schedule, autobackups on a disk, or an expected interval"""
    exclude: FilterKeys | None = None
    """a server need not have backups if **any** of these matches; goes first"""


class ServerKeys(msgspec.Struct, forbid_unknown_fields=True):
    """One of ``virtual_machines`` with settings of its own."""

    id: int | str
    """the number or the identifier (default: needed)"""
    expected_interval: Duration | None = None
    """how often a backup of this server is expected: ``7d``"""


class CollectorKeys(msgspec.Struct, forbid_unknown_fields=True):
    """``collectors``: what is read from a panel besides servers and backups."""

    schedules: bool | None = None
    """schedules and disks: what should have been backed up"""
    transactions: bool | None = None
    """the log of backup tasks: what went wrong, and changes at once"""
    backup_servers: bool | None = None
    """backup servers, and what the backups take there"""
    recovery_points: bool | None = None
    """what backup plugins keep; one more request per server"""


class PanelKeys(msgspec.Struct, forbid_unknown_fields=True):
    """One of ``panels``."""

    url: yarl.URL
    """the panel's address, ``http`` or ``https``, with a path if it needs one:
    ``https://cp.example.com``. Not with ``user:password@``, and without ``?`` and ``#``
    (default: needed)"""
    name: str | None = None
    """the value of the label ``panel``; each panel has its own (default: the host of
    ``url``)"""
    format: BodyFormat | None = None
    """``json`` or ``xml``: what the panel is asked for"""
    basic_auth: BasicAuthKeys | None = None
    """who asks (default: needed)"""
    tls_config: TlsKeys | None = None
    """whom to trust, and which certificate to show"""
    proxy_url: yarl.URL | None = None
    """the HTTP proxy to go through: ``http://proxy.example.com:3128``, with
    ``user:password@`` if it wants one. The variables ``http_proxy`` and ``https_proxy``
    are not read"""
    virtual_machines: list[int | str | ServerKeys] | None = None
    """the servers to watch: these and no others (default: all are discovered)"""
    discovery: DiscoveryKeys | None = None
    """which servers are found"""
    backup_required: RequiredKeys | None = None
    """which servers must have backups"""
    expected_interval: Duration | None = None
    """how often a backup is expected where nothing else tells: ``1d``. See
    [expectations](#expectations)"""
    collectors: CollectorKeys | None = None
    """what else is read of the panel"""
    poll: PollKeys | None = None
    """what is different from ``poll`` at the top"""


class FileKeys(msgspec.Struct, forbid_unknown_fields=True):
    """The whole file."""

    panels: list[PanelKeys]
    """the control panels to watch, one section each (default: needed)"""
    poll: PollKeys | None = None
    """how panels are asked; a panel may differ"""
    detail: DetailKeys | None = None
    """how much is exposed of single backups"""


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
"""The keys of each section; ``""`` is the file itself."""

_MESSAGES = ErrorMessages(
    sections=SECTIONS,
    secret_paths=re.compile(r"basic_auth|password|url"),
    example_key="panels",
    choices=get_args(BodyFormat),
)
_HOST = re.compile(
    r"(?=.{1,253}$)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?", re.IGNORECASE
)


def decode(content: Any, source: str) -> FileKeys:
    """Check the content of a configuration; raise ConfigError when it is wrong."""
    if content is None:
        raise ConfigError(f"{source}: is empty; list at least one panel under panels")
    try:
        return msgspec.convert(content, FileKeys, dec_hook=_convert)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{source}: {_MESSAGES.describe(error, content)}") from None


def _convert(target: type, value: Any) -> Any:
    """Convert to a type that YAML lacks; raise ValueError that says what is right."""
    return _CONVERTERS[getattr(target, "__origin__", target)](value)


def _pattern(value: Any) -> re.Pattern[str]:
    if not isinstance(value, str):
        raise ValueError("must be a regular expression in quotes")  # noqa: TRY004  # msgspec's way
    try:
        with warnings.catch_warnings():
            # Python warns about patterns whose meaning will change.
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
    """Return whether a text is the name or the address of a host."""
    try:
        return bool(ipaddress.ip_address(text))
    except ValueError:
        return _HOST.fullmatch(text) is not None


_CONVERTERS: Mapping[Any, Callable[[Any], Any]] = {
    Duration: Duration.parse,
    Size: Size.parse,
    re.Pattern: _pattern,
    yarl.URL: _url,
}


@dataclass(frozen=True, slots=True)
class Poll:
    """Intervals and limits of the requests to a panel."""

    interval: Duration
    timeout: Duration
    concurrency: int
    max_age: Duration
    max_body: Size


VERIFY_FLAGS = ssl.VERIFY_X509_TRUSTED_FIRST | ssl.VERIFY_X509_PARTIAL_CHAIN
"""For all TLS contexts; the defaults differ between versions of Python.

An intermediate authority can be trusted alone, and one without key usage too.
"""


@dataclass(frozen=True, slots=True)
class Tls:
    """The TLS settings of requests to a panel."""

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    server_name: str | None = None
    insecure_skip_verify: bool = False
    digest: bytes = field(default=b"", repr=False)
    """Of the files' content, so that a renewed certificate changes the value."""

    def ssl_context(self) -> ssl.SSLContext:
        """Return a new context for requests; raise OSError if a file is wrong."""
        context = ssl.create_default_context(cafile=self.ca_file)
        context.verify_flags = VERIFY_FLAGS
        if self.cert_file is not None:
            # Without a passphrase given, OpenSSL would ask the terminal for it.
            context.load_cert_chain(self.cert_file, self.key_file, password="")
        if self.insecure_skip_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


@dataclass(frozen=True, slots=True)
class CollectorSwitches:
    """Which collectors run besides the inventory and the backups."""

    schedules: bool = True
    transactions: bool = True
    backup_servers: bool = True
    recovery_points: bool = False
    """One more request per server."""


@dataclass(frozen=True, slots=True)
class Panel:
    """A control panel, with its servers that are monitored."""

    name: str
    url: yarl.URL
    account: Account
    body_format: BodyFormat
    tls: Tls
    proxy_url: yarl.URL | None = field(repr=False)
    """It may hold a password."""
    selection: Selection
    discovery_interval: Duration
    collectors: CollectorSwitches
    poll: Poll


@dataclass(frozen=True, slots=True)
class Detail:
    """Which series of single backups are exposed."""

    backups: bool = True
    newest_per_target: int = 0
    """The newest by ``created_at``, besides every unbuilt one; 0: all."""


@dataclass(frozen=True, slots=True)
class Config:
    """The configuration, checked, with all defaults."""

    panels: tuple[Panel, ...]
    detail: Detail


def effective_config(config: Config) -> str:
    """Return the configuration as YAML that would load the same; secrets are hidden."""
    content = {
        "detail": {
            "backups": config.detail.backups,
            "newest_per_target": config.detail.newest_per_target,
        },
        "panels": [_panel(panel) for panel in config.panels],
    }
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # PyYAML folds unprinted characters such as U+0085 unless they must be escaped.
    style = None if text.isprintable() else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


class _Dumper(yaml.SafeDumper):
    """Writes text so that it is read back unchanged, whatever characters it has."""

    yaml_representers: ClassVar[dict[type, Callable[[Any, Any], yaml.Node]]] = {
        **yaml.SafeDumper.yaml_representers,
        str: _represent_text,
    }


def _panel(panel: Panel) -> dict[str, Any]:
    selection = panel.selection
    content = {
        "name": panel.name,
        "url": str(panel.url),
        "format": panel.body_format,
        "basic_auth": _basic_auth(panel),
        "tls_config": _tls(panel.tls),
        "proxy_url": _proxy_url(panel),
        "virtual_machines": [_server(server) for server in selection.configured],
        "discovery": {
            "interval": str(panel.discovery_interval),
            "include": _filter(selection.include),
            "exclude": _filter(selection.exclude),
        },
        "backup_required": {
            "include": _filter(selection.required),
            "exclude": _filter(selection.not_required),
        },
        "expected_interval": _duration(selection.fallback_interval_seconds),
        "collectors": dataclasses.asdict(panel.collectors),
        "poll": {
            "interval": str(panel.poll.interval),
            "timeout": str(panel.poll.timeout),
            "concurrency": panel.poll.concurrency,
            "max_age": str(panel.poll.max_age),
            "max_body": str(panel.poll.max_body),
        },
    }
    if not selection.configured:
        del content["virtual_machines"]
    return content


def _basic_auth(panel: Panel) -> dict[str, str]:
    secret = panel.account.secret
    if isinstance(secret, FileSecret):
        return {
            "username": panel.account.username,
            "password_file": str(secret.path),
        }
    return {"username": panel.account.username, "password": HIDDEN}


def _tls(tls: Tls) -> dict[str, Any]:
    return {
        "ca_file": _text(tls.ca_file),
        "cert_file": _text(tls.cert_file),
        "key_file": _text(tls.key_file),
        "server_name": tls.server_name,
        "insecure_skip_verify": tls.insecure_skip_verify,
    }


def _proxy_url(panel: Panel) -> str | None:
    proxy = panel.proxy_url
    if proxy is None or proxy.raw_authority.rpartition("@")[0] == "":
        return _text(proxy)
    # A user's name without a password is often a token.
    return str(proxy.with_user(None)).replace("//", f"//{HIDDEN}@", 1)


def _server(server: ConfiguredServer) -> int | str | dict[str, Any]:
    if server.expected_interval_seconds is None:
        return server.id
    interval = _duration(server.expected_interval_seconds)
    return {"id": server.id, "expected_interval": interval}


def _filter(patterns: Filter) -> dict[str, Any]:
    content = {
        "label": patterns.label and patterns.label.pattern,
        "hostname": patterns.hostname and patterns.hostname.pattern,
        "identifier": patterns.identifier and patterns.identifier.pattern,
        "user_id": patterns.user_id and list(patterns.user_id),
    }
    return {key: value for key, value in content.items() if value is not None}


def _duration(seconds: float | None) -> str | None:
    return None if seconds is None else _text(seconds)


def _text(value: object | None) -> str | None:
    return None if value is None else str(value)
