"""The configuration: each key with its type, default, description and checks.

``/config``, ``docs/configuration.md`` and ``docs/config.schema.json`` are generated
from it.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
import ssl
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import msgspec
import yaml
import yarl
from msgspec import Meta, field

from ..model.selection import ConfiguredServer, Filter, Policy, Selection
from .decode import Converter, Location, Mistake, Section
from .secrets import (
    CONTROL_CHARACTERS,
    HIDDEN,
    Credentials,
    FileSecret,
    LiteralSecret,
    Secret,
    trimmed,
)
from .units import Duration, Size
from .url_template import UrlTemplate

BodyFormat = Literal["json", "xml"]
HIDDEN_PATHS = "basic_auth|password|url"
"""Matches the paths under which values may be secrets."""
VERIFY_FLAGS = ssl.VERIFY_X509_TRUSTED_FIRST | ssl.VERIFY_X509_PARTIAL_CHAIN
"""Set in all TLS contexts, as the defaults differ between versions of Python.

An authority can be trusted even if it is intermediate or lacks a key usage extension.
"""
_DEFAULT_MAX_AGE = Duration(3600)
_HOST = re.compile(
    r"(?=.{1,253}$)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?", re.IGNORECASE
)
_ENDPOINT = re.compile(
    r"\.(json|xml)$|/(virtual_machines|transactions|settings|users|login)(/|$)"
)
_SERVER_IDENTIFIER = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SERVER_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")

Item = TypeVar("Item")
PositiveInt = Annotated[int, Meta(ge=1)]
NonEmptyList = Annotated[tuple[Item, ...], Meta(min_length=1)]


class Poll(Section, frozen=True):
    """``poll``: intervals and limits of the requests to a panel."""

    interval: Duration = Duration(900)
    """how often each server's backups are read; at least ``1s``. Requests are spread
    over the interval"""
    timeout: Duration = Duration(30)
    """how long one request may take; at least ``1s``"""
    concurrency: PositiveInt = 8
    """requests in flight to one panel at once"""
    max_age: Duration = Duration(0)
    """older data is no longer exported; at least twice ``interval`` (default: ``1h``,
    or twice ``interval`` if that is more)"""
    max_body: Size = Size(16 * 1024**2)
    """a longer answer is rejected"""

    def __post_init__(self) -> None:
        """Fill in the default that depends on another key."""
        if not self.max_age:
            max_age = max(_DEFAULT_MAX_AGE, Duration(2 * self.interval))
            msgspec.structs.force_setattr(self, "max_age", max_age)


class Detail(Section, frozen=True):
    """``detail``: the series of single backups that are exposed."""

    backups: bool = True
    """whether there are series for single backups (``onapp_backup_*``). No alert needs
    them"""
    newest_per_target: Annotated[int, Meta(ge=0)] = 0
    """how many single backups of each target are exposed: the newest ones, and all that
    are not built; ``0``: all"""


class Account(Section, frozen=True):
    """``basic_auth``: the account for requests to a panel."""

    username: str = ""
    """the login, or the account's e-mail address for an API key; without a colon
    (default: needed)"""
    password_file: FileSecret | None = None
    """the file that holds the API key or the password. See
    [secrets](#secrets-and-their-rotation) (default: this or ``password`` is needed)"""
    password: LiteralSecret | None = None
    """the key or password itself, instead of a file (default: this or
    ``password_file`` is needed)"""

    def check(self, location: Location) -> Iterator[Mistake]:
        """Yield mistakes in the name, and a missing or second secret."""
        username = location / "username"
        password, password_file = location / "password", location / "password_file"
        if not self.username:
            yield username.error("is missing: the account's e-mail address or login")
        if not _is_sendable(self.username):
            yield username.error(
                "must contain no colon, no line end and no other control character"
            )
        if trimmed(self.username) != self.username:
            yield username.error("must not begin or end with white space")
        if self.password and self.password_file:
            yield password.error(f"is given beside {password_file}: keep one")
        if not self.password and not self.password_file:
            yield password_file.error(
                "is missing: the file that holds the API key; or give the key as "
                f"{password}",
                follows_from=password,
            )

    @property
    def secret(self) -> Secret:
        """The API key or password, from its file or written in place."""
        secret = self.password_file or self.password
        assert secret is not None  # noqa: S101  # checked
        return secret

    def credentials(self) -> Credentials:
        """Return the credentials with the current secret."""
        return Credentials(self.username, self.secret.reveal())


class PemFile:
    """A file with its content, so that a renewed certificate is a different value."""

    def __init__(self, path: Path) -> None:
        """Read the file; raise OSError or ValueError if that fails."""
        self.path, self._digest = path, hashlib.sha256(path.read_bytes()).digest()

    def __eq__(self, other: object) -> bool:
        """Compare the path and the content."""
        return isinstance(other, PemFile) and vars(self) == vars(other)

    def __hash__(self) -> int:
        """Return the same for equal files."""
        return hash(self._digest)

    def __str__(self) -> str:
        """Return the path."""
        return str(self.path)


class Tls(Section, frozen=True):
    """``tls_config``: the authorities to trust, and the client's certificate."""

    ca_file: PemFile | None = None
    """PEM file of the only authorities to trust (default: the system's authorities)"""
    cert_file: PemFile | None = None
    """PEM file of the client certificate to send; requires ``key_file``"""
    key_file: PemFile | None = None
    """PEM file of its key, without a passphrase"""
    server_name: str | None = None
    """the name that the panel's certificate must be for (default: the host of
    ``url``)"""
    insecure_skip_verify: bool = False
    """``true`` accepts any certificate, so that anybody who answers gets the
    credentials. Set ``ca_file`` to the panel's own certificate instead"""

    def check(self, location: Location) -> Iterator[Mistake]:
        """Yield mistakes in the files and the name."""
        if bool(self.cert_file) != bool(self.key_file):
            missing = location / ("key_file" if self.cert_file else "cert_file")
            yield missing.error("is missing: cert_file and key_file go together")
        if self.server_name is not None and not _is_host(self.server_name):
            yield (location / "server_name").error(
                f"must be the name of a host, not {self.server_name!r}"
            )
        try:
            if self.ca_file or self.cert_file:
                self.ssl_context()
        except ssl.SSLError as error:
            reason = (error.reason or "not PEM").replace("_", " ").lower()
            at = location if self.cert_file else location / "ca_file"
            yield at.error(
                f"is not usable ({reason}): ca_file, cert_file and key_file must be "
                "PEM files, and the key must be the certificate's and have no "
                "passphrase"
            )

    def ssl_context(self) -> ssl.SSLContext:
        """Return a new context for requests; raise OSError if a file is wrong."""
        context = ssl.create_default_context(
            cafile=self.ca_file.path if self.ca_file else None
        )
        context.verify_flags = VERIFY_FLAGS
        if self.cert_file and self.key_file:
            # Without a passphrase, OpenSSL would prompt for one on the terminal.
            context.load_cert_chain(self.cert_file.path, self.key_file.path, "")
        if self.insecure_skip_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


class Discovery(Section, frozen=True):
    """``discovery``: which servers are monitored, and how often they are listed."""

    interval: Duration = Duration(600)
    """how often the panel's servers are listed; at least ``1s``"""
    include: Filter = Filter()
    """monitor only servers that match **all** of these"""
    exclude: Filter = Filter()
    """do not monitor servers that match **any** of these"""


class BackupRequired(Section, frozen=True):
    """``backup_required``: which servers must have backups."""

    include: Filter = Filter()
    """a server must have backups if it matches **all** of these. Without ``include``,
    it must if it has a schedule, autobackups on a disk, or an expected interval"""
    exclude: Filter = Filter()
    """a server need not have backups if it matches **any** of these; overrides
    ``include``"""


class PolicyKeys(Section, frozen=True):
    """One of ``policies``."""

    match: Filter
    """the servers that match **all** of these; at least one is required (default:
    needed)"""
    expected_interval: Duration
    """how often a backup of them is expected: ``12h`` (default: needed)"""

    def check(self, location: Location) -> Iterator[Mistake]:
        """Yield a mistake if the policy matches all servers."""
        if not self.match:
            yield (location / "match").error(
                "must hold at least one of label, hostname, identifier and user_id; "
                "the panel's own expected_interval is for all servers"
            )


class ServerKeys(Section, frozen=True, omit_defaults=True):
    """An item of ``virtual_machines`` with settings."""

    id: int | str
    """the number or the identifier (default: needed)"""
    expected_interval: Duration | None = None
    """how often a backup of this server is expected: ``7d``"""


class CollectorSwitches(Section, frozen=True):
    """``collectors``: what is read from a panel besides servers and backups."""

    schedules: bool = True
    """schedules and disks, which show what should have been backed up"""
    transactions: bool = True
    """the log of backup tasks, which shows failures, and changes without delay"""
    backup_servers: bool = True
    """backup servers, and the space that backups use there"""
    recovery_points: bool = False
    """recovery points of backup plugins; one more request per server"""


class Panel(Section, frozen=True, kw_only=True):
    """One of ``panels``."""

    url: yarl.URL
    """the panel's address, ``http`` or ``https``, with a path if it needs one:
    ``https://cp.example.com``. Without ``user:password@``, ``?`` and ``#`` (default:
    needed)"""
    name: Annotated[str, Meta(min_length=1)] = ""
    """the value of the label ``panel``, unique for each panel (default: the host of
    ``url``)"""
    body_format: BodyFormat = field(default="json", name="format")
    """the format of the panel's answers: ``json`` or ``xml``"""
    account: Account = field(default=Account(), name="basic_auth")
    """the account for requests (default: needed)"""
    tls: Tls = field(default=Tls(), name="tls_config")
    """the authorities to trust, and the client certificate"""
    proxy_url: yarl.URL | None = None
    """the HTTP proxy: ``http://proxy.example.com:3128``, with ``user:password@`` if it
    requires them. The variables ``http_proxy`` and ``https_proxy`` are not read"""
    proxy_password_file: FileSecret | None = None
    """the file that holds the password of the user in ``proxy_url``, instead of the
    password there; read again when it changes"""
    virtual_machines: NonEmptyList[int | str | ServerKeys] | None = None
    """the only servers to monitor (default: all are discovered)"""
    discovery: Discovery = Discovery()
    """which servers are monitored"""
    backup_required: BackupRequired = BackupRequired()
    """which servers must have backups"""
    policies: NonEmptyList[PolicyKeys] | None = None
    """how often groups of servers must have a restore point. The first policy that
    matches applies, unless the server has its own ``expected_interval``. See
    [expectations](#expectations)"""
    expected_interval: Duration | None = None
    """how often a backup is expected if nothing else defines it: ``1d``. See
    [expectations](#expectations)"""
    collectors: CollectorSwitches = CollectorSwitches()
    """what is read from the panel besides servers and backups"""
    poll: Poll = Poll()
    """settings that differ from the top-level ``poll``"""

    def __post_init__(self) -> None:
        """Fill in the default that depends on another key."""
        if not self.name:
            msgspec.structs.force_setattr(self, "name", self.url.host or "")

    def __repr__(self) -> str:
        """Return the fields without the proxy's password."""
        return f"Panel(name={self.name!r})"

    def current_proxy(self) -> yarl.URL | None:
        """Return the proxy's address with its current password."""
        if self.proxy_url is None or self.proxy_password_file is None:
            return self.proxy_url
        return self.proxy_url.with_password(self.proxy_password_file.reveal())

    @property
    def selection(self) -> Selection:
        """The servers to monitor, and their expected backups."""
        return Selection(
            configured=tuple(map(_configured_server, self.virtual_machines or ())),
            include=self.discovery.include,
            exclude=self.discovery.exclude,
            required=self.backup_required.include,
            not_required=self.backup_required.exclude,
            policies=tuple(
                Policy(policy.match, policy.expected_interval)
                for policy in self.policies or ()
            ),
            fallback_interval_seconds=self.expected_interval,
        )

    def check(self, location: Location) -> Iterator[Mistake]:
        """Yield mistakes in the name, the addresses and the servers."""
        if self.url.user is not None or self.url.password is not None:
            account = location / "basic_auth"
            yield (location / "url").error(
                f"must not hold credentials: they go into {account / 'username'} and "
                f"{account / 'password_file'}"
            )
        if not self.name.strip() or not self.name.isprintable():
            yield (location / "name").error(
                f"must be printable and not empty, not {self.name!r}"
            )
        proxy = self.proxy_url or yarl.URL()
        if not _is_sendable(proxy.user or "", proxy.password or ""):
            yield (location / "proxy_url").error(
                "must have an account without a colon in the name and without control "
                "characters"
            )
        if self.proxy_password_file and (
            self.proxy_url is None or not self.proxy_url.user or self.proxy_url.password
        ):
            proxy_url = location / "proxy_url"
            yield (location / "proxy_password_file").error(
                f"needs {proxy_url} with a user and without a password, such as "
                "http://monitoring@proxy.example.com:3128",
                follows_from=proxy_url,
            )
        yield from self._check_servers(location / "virtual_machines")
        two_intervals = Duration(2 * self.poll.interval)
        if self.poll.max_age < two_intervals:
            poll = location / "poll"
            yield (poll / "max_age").error(
                f"must be at least twice {poll / 'interval'}, which makes "
                f"{two_intervals}, not {self.poll.max_age}"
            )

    def _check_servers(self, location: Location) -> Iterator[Mistake]:
        selection = self.selection
        if selection.configured and (selection.include or selection.exclude):
            yield location.error(
                "cannot be combined with discovery.include or discovery.exclude: list "
                "the servers, or let them be discovered"
            )
        for number, server in enumerate(selection.configured):
            if not (
                server.id > 0
                if isinstance(server.id, int)
                else _SERVER_IDENTIFIER.fullmatch(server.id)
            ):
                yield location[number].error(
                    f"must be a server's number or its identifier, not {server.id!r}"
                )


class Link(Section, frozen=True):
    """One of ``links``."""

    title: Annotated[str, Meta(min_length=1)]
    """the text of the link: ``Grafana`` (default: needed)"""
    url: UrlTemplate
    """its address, with placeholders: see
    [links to other programs](#links-to-other-programs) (default: needed)"""


class Config(Section, frozen=True, kw_only=True):
    """The whole file."""

    poll: Poll = Poll()
    """intervals and limits of requests; a panel may override them"""
    detail: Detail = Detail()
    """how much of single backups is exposed"""
    links: tuple[Link, ...] = ()
    """links to other programs on the status page (default: none)"""
    panels: NonEmptyList[Panel]
    """the control panels to monitor, one section each (default: needed)"""

    def check(self, location: Location) -> Iterator[Mistake]:
        """Yield panels with the name of another panel."""
        panels, first_index = location / "panels", dict[str, int]()
        for number, panel in enumerate(self.panels):
            first = first_index.setdefault(panel.name, number)
            if first != number:
                yield (panels[number] / "name").error(
                    f"{panel.name!r} is the name of {panels[first]} too: give each "
                    "panel a name of its own"
                )


def name_of_panel(keys: Mapping[str, Any]) -> str:
    """Return the name of a panel with these keys; "" if they do not define one."""
    name = keys.get("name")
    if name is None:
        try:
            name = _url(keys.get("url"), Location("", Path())).host
        except ValueError:
            name = ""
    return name if isinstance(name, str) and name.isprintable() else ""


def _configured_server(keys: int | str | ServerKeys) -> ConfiguredServer:
    if isinstance(keys, ServerKeys):
        server = _configured_server(keys.id)
        return ConfiguredServer(server.id, keys.expected_interval)
    is_number = isinstance(keys, str) and _SERVER_NUMBER.fullmatch(keys)
    return ConfiguredServer(int(keys) if is_number else keys)


def _is_sendable(username: str, password: str = "") -> bool:
    """Return whether an account can be sent with Basic authentication."""
    return ":" not in username and not CONTROL_CHARACTERS.search(username + password)


def _is_host(text: str) -> bool:
    """Return whether a text is the name or the address of a host."""
    try:
        return bool(ipaddress.ip_address(text))
    except ValueError:
        return _HOST.fullmatch(text) is not None


def _duration(value: Any, _: Location) -> Duration:
    duration = Duration.parse(value)
    if duration < 1:
        raise ValueError("must be at least 1s")
    return duration


def _size(value: Any, _: Location) -> Size:
    size = Size.parse(value)
    if size < 1:
        raise ValueError("must be at least 1")
    return size


def _pattern(value: Any, _: Location) -> re.Pattern[str]:
    if not isinstance(value, str):
        raise ValueError("must be a regular expression in quotes")  # noqa: TRY004  # as for every value
    try:
        with warnings.catch_warnings():
            # Python warns about patterns whose meaning will change.
            warnings.simplefilter("error")
            return re.compile(value)
    except (re.error, OverflowError, RecursionError, Warning) as error:
        raise ValueError(
            f"must be a regular expression, where .* is any text: {error}"
        ) from None


def _url(value: Any, _: Location) -> yarl.URL:
    text = value if isinstance(value, str) else "https://"
    if trimmed(text) != text:
        raise ValueError("must not begin or end with white space")
    if not text.lower().startswith(("https://", "http://")):
        raise ValueError("must begin with https:// or http://")
    try:
        url = yarl.URL(value)
        usable = url.scheme in ("http", "https") and _is_host(url.raw_host or "")
        usable = usable and bool(url.port)
    except (ValueError, TypeError):
        usable = False
    if not usable:
        raise ValueError("must be an address such as https://cp.example.com")
    if url.query_string or url.fragment or "@" in url.raw_path:
        raise ValueError("must end with its path: without ?, # and @ in or after it")
    if _ENDPOINT.search(url.raw_path):
        raise ValueError(
            "must be the panel's address alone, without an endpoint such as "
            "/virtual_machines.json"
        )
    return url


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("must be text in quotes")  # noqa: TRY004  # as for every value
    return value


def _password(value: Any, location: Location) -> LiteralSecret:
    if not _text(value):
        raise location.error("must not be empty")
    if CONTROL_CHARACTERS.search(value):
        raise location.error("must hold no line end and no other control character")
    if trimmed(value) != value:
        raise location.error("must not begin or end with white space")
    return LiteralSecret(value)


def file_converter(make: Callable[[Path], Item]) -> Converter:
    """Return a converter that reads the file at a path; "" means no file."""

    def read(value: Any, location: Location) -> Item | None:
        if not _text(value):
            return None
        try:
            return make(location.files.add(location.folder / value))
        except (OSError, ValueError) as error:
            raise location.unreadable(value, error) from None

    return read


CONVERTERS: Mapping[Any, Converter] = {
    Duration: _duration,
    Size: _size,
    re.Pattern: _pattern,
    yarl.URL: _url,
    UrlTemplate: lambda value, _: UrlTemplate.parse(value),
    LiteralSecret: _password,
    FileSecret: file_converter(FileSecret),
    PemFile: file_converter(PemFile),
}


def effective_config(config: Config) -> str:
    """Return the configuration as equivalent YAML; secrets are hidden."""
    content = msgspec.to_builtins(config, enc_hook=_shown)
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def _shown(value: Any) -> str:
    match value:
        case LiteralSecret():
            return HIDDEN
        case re.Pattern():
            return str(value.pattern)
        case yarl.URL() if value.raw_authority.rpartition("@")[0]:
            # A user's name without a password is often a token.
            return str(value.with_user(None)).replace("//", f"//{HIDDEN}@", 1)
    return str(value)


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # PyYAML folds unprintable characters such as U+0085 unless they are escaped.
    style = None if text.isprintable() else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


class _Dumper(yaml.SafeDumper):
    """Writes text with any characters so that it is read back unchanged."""

    yaml_representers: ClassVar[dict[type, Callable[[Any, Any], yaml.Node]]] = {
        **yaml.SafeDumper.yaml_representers,
        str: _represent_text,
    }
