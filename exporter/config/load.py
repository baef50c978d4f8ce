"""The configuration file or the environment → one frozen Config.

The defaults of ``poll``, ``discovery.interval`` and ``format`` are here; those of
switches, TLS and detail are in ``schema``. No other module reads the configuration or
the environment's ``ONAPP_*`` variables.
"""

from __future__ import annotations

import hashlib
import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import yarl

from ..errors import ConfigError
from ..model.selection import ConfiguredServer, Filter, Selection
from . import schema, yaml_file
from .messages import Location
from .schema import (
    BasicAuthKeys,
    CollectorSwitches,
    Config,
    Detail,
    Panel,
    Poll,
    Tls,
    TlsKeys,
    is_host,
)
from .secrets import CONTROL_CHARACTERS, Account, FileSecret, LiteralSecret, Secret
from .units import Duration, Size


def _account(location: Location, keys: BasicAuthKeys) -> Account:
    """Return the panel's account; raise ConfigError without a name and a secret."""
    if not keys.username:
        raise (location / "username").error(
            "is missing: the account's e-mail address or login"
        )
    if ":" in keys.username or CONTROL_CHARACTERS.search(keys.username):
        raise (location / "username").error(
            "must hold no colon, no line end and no other control character"
        )
    return Account(keys.username, _secret(location, keys))


def _secret(location: Location, keys: BasicAuthKeys) -> Secret:
    password, password_file = location / "password", location / "password_file"
    if keys.password is not None and keys.password_file is not None:
        raise password.error(f"is given beside {password_file}: keep one")
    if keys.password is not None:
        return _literal_secret(password, keys.password)
    if not keys.password_file:
        raise password_file.error(
            "is missing: the file that holds the API key; or give the key as "
            f"{password}"
        )
    secret = FileSecret(location.folder / keys.password_file)
    try:
        secret.load()
    except (OSError, ValueError) as error:
        raise password_file.unreadable(secret.path, error) from None
    return secret


def _literal_secret(location: Location, password: str) -> Secret:
    if not password:
        raise location.error("must not be empty")
    if CONTROL_CHARACTERS.search(password):
        raise location.error("must hold no line end and no other control character")
    return LiteralSecret(password)


def _tls(location: Location, keys: TlsKeys) -> Tls:
    """Return the client's TLS settings; raise ConfigError if a file is unusable."""
    if bool(keys.cert_file) != bool(keys.key_file):
        raise location.error("cert_file and key_file go together")
    if keys.server_name and not is_host(keys.server_name):
        raise (location / "server_name").error(
            f"must be the name of a host, not {keys.server_name!r}"
        )
    digest = hashlib.sha256()
    settings = Tls(
        ca_file=_readable_file(location / "ca_file", keys.ca_file, digest),
        cert_file=_readable_file(location / "cert_file", keys.cert_file, digest),
        key_file=_readable_file(location / "key_file", keys.key_file, digest),
        server_name=keys.server_name or None,
        insecure_skip_verify=bool(keys.insecure_skip_verify),
        digest=digest.digest(),
    )
    try:
        if settings.ca_file or settings.cert_file:
            settings.ssl_context()
    except ssl.SSLError as error:
        reason = (error.reason or "not PEM").replace("_", " ").lower()
        raise location.error(
            f"is not usable ({reason}): ca_file, cert_file and key_file must be PEM "
            "files, and the key must be the certificate's and have no passphrase"
        ) from None
    return settings


def _readable_file(
    location: Location, name: str | None, digest: hashlib._Hash
) -> Path | None:
    """Return the path of a readable file; add its content to the digest."""
    if not name:
        return None
    path = location.folder / name
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        raise location.unreadable(path, error) from None
    digest.update(hashlib.sha256(content).digest())
    return path


_SERVER_IDENTIFIER = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SERVER_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")
_DEFAULT_INTERVAL = Duration(900)
_DEFAULT_TIMEOUT = Duration(30)
_DEFAULT_CONCURRENCY = 8
_DEFAULT_MAX_AGE = Duration(3600)
_DEFAULT_MAX_BODY = Size(16 * 1024**2)
_DEFAULT_DISCOVERY_INTERVAL = Duration(600)
_POLL_DEFAULTS: Mapping[str, Any] = {
    "interval": _DEFAULT_INTERVAL,
    "timeout": _DEFAULT_TIMEOUT,
    "concurrency": _DEFAULT_CONCURRENCY,
    "max_age": None,  # _DEFAULT_MAX_AGE, or twice the interval if that is longer
    "max_body": _DEFAULT_MAX_BODY,
}
_PollSection: TypeAlias = tuple[Location, schema.PollKeys | None]
VARIABLES = {
    "panels[0].url": "ONAPP_URL",
    "panels[0].basic_auth.username": "ONAPP_USERNAME",
    "panels[0].basic_auth.password_file": "ONAPP_PASSWORD_FILE",
    "panels[0].basic_auth.password": "ONAPP_PASSWORD",
    "panels[0].virtual_machines": "ONAPP_VIRTUAL_MACHINES",
}
"""The key that each variable is equal to; a key precedes those it begins with."""


def load(file: Path | None, environment: Mapping[str, str]) -> Config:
    """Read the configuration; raise ConfigError when it cannot be used."""
    url = environment.get("ONAPP_URL")
    if file is None and not url:
        raise ConfigError(
            "no panel is configured: give --config.file, or set ONAPP_URL, "
            "ONAPP_USERNAME and ONAPP_PASSWORD_FILE"
        )
    if file is None:
        return _from_environment(environment)
    if url:
        raise ConfigError(
            f"both {file} (--config.file) and ONAPP_URL name panels: remove one of them"
        )
    return build(schema.decode(yaml_file.load(file), str(file)), str(file), file.parent)


def build(keys: schema.FileKeys, source: str, folder: Path = Path()) -> Config:
    """Add the defaults; raise ConfigError when a value or a combination is wrong.

    ``source`` is named in errors; relative paths begin at ``folder``.
    """
    root = Location(source, folder.absolute())
    if not keys.panels:
        raise (root / "panels").error("must list at least one panel")
    panels = tuple(
        _panel((root / "panels")[number], panel, (root / "poll", keys.poll))
        for number, panel in enumerate(keys.panels)
    )
    _check_names(root / "panels", panels)
    return Config(panels, _detail(root / "detail", keys.detail or schema.DetailKeys()))


def _from_environment(environment: Mapping[str, str]) -> Config:
    source = "environment"
    values = {
        key_path.rpartition(".")[2]: environment.get(name) or None
        for key_path, name in VARIABLES.items()
    }
    for (_, name), value in zip(VARIABLES.items(), values.values(), strict=True):
        if value is not None and not value.isascii() and not _is_utf8(value):
            raise ConfigError(f"{source}: {name}: is not UTF-8 text")
    panel: dict[str, Any] = {
        "url": values["url"],
        "basic_auth": {k: values[k] for k in schema.BasicAuthKeys.__struct_fields__},
    }
    servers = values["virtual_machines"]
    if servers is not None:
        panel["virtual_machines"] = [s.strip() for s in servers.split(",") if s.strip()]
    try:
        return build(schema.decode({"panels": [panel]}, source), source)
    except ConfigError as error:
        message = str(error)
        for key_path, name in VARIABLES.items():
            message = message.replace(key_path, name)
        raise ConfigError(message) from None


def _is_utf8(text: str) -> bool:
    """Return whether a variable is UTF-8; Python decodes other bytes as surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_names(location: Location, panels: tuple[Panel, ...]) -> None:
    first_index: dict[str, int] = {}
    for number, panel in enumerate(panels):
        if first_index.setdefault(panel.name, number) != number:
            raise (location[number] / "name").error(
                f"{panel.name!r} is the name of {location[first_index[panel.name]]} "
                "too: give each panel a name of its own"
            )


def _detail(location: Location, keys: schema.DetailKeys) -> Detail:
    newest = keys.newest_per_target or 0
    if newest < 0:
        raise (location / "newest_per_target").error(
            f"must be 0 (all) or more, not {newest}"
        )
    return Detail(keys.backups is not False, newest)


def _panel(location: Location, keys: schema.PanelKeys, poll: _PollSection) -> Panel:
    if keys.url.user is not None or keys.url.password is not None:
        basic_auth = location / "basic_auth"
        raise (location / "url").error(
            f"must not hold credentials: they go into {basic_auth / 'username'} and "
            f"{basic_auth / 'password_file'}"
        )
    name = (keys.url.host or "") if keys.name is None else keys.name
    if not name.strip() or not name.isprintable():
        raise (location / "name").error(
            f"must be printable and not empty, not {name!r}"
        )
    discovery = keys.discovery or schema.DiscoveryKeys()
    (location / "discovery" / "interval").check_duration(discovery.interval)
    return Panel(
        name=name,
        url=keys.url,
        account=_account(
            location / "basic_auth", keys.basic_auth or schema.BasicAuthKeys()
        ),
        body_format=keys.format or "json",
        tls=_tls(location / "tls_config", keys.tls_config or schema.TlsKeys()),
        proxy_url=_proxy_url(location / "proxy_url", keys.proxy_url),
        selection=_selection(location, keys),
        discovery_interval=discovery.interval or _DEFAULT_DISCOVERY_INTERVAL,
        collectors=_collectors(keys.collectors),
        poll=_poll((location / "poll", keys.poll), poll),
    )


def _proxy_url(location: Location, url: yarl.URL | None) -> yarl.URL | None:
    """Return the address; raise ConfigError if aiohttp cannot send its account."""
    name, password = (url and url.user) or "", (url and url.password) or ""
    try:
        (name + password).encode("latin-1")
        sendable = ":" not in name and not CONTROL_CHARACTERS.search(name + password)
    except UnicodeEncodeError:
        sendable = False
    if not sendable:
        raise location.error(
            "must have an account in Latin letters (ISO 8859-1), without a colon in "
            "the name and without control characters"
        )
    return url


def _poll(own: _PollSection, common: _PollSection) -> Poll:
    """Return the settings: the panel's section overrides the common one."""
    locations: dict[str, Location] = {}
    values: dict[str, Any] = {}
    for key, default in _POLL_DEFAULTS.items():
        locations[key], values[key] = common[0] / key, default
        for location, keys in (common, own):
            value = getattr(keys, key, None)
            if value is not None:
                locations[key], values[key] = location / key, value
    if values["max_age"] is None:
        values["max_age"] = max(_DEFAULT_MAX_AGE, Duration(2 * values["interval"]))
    poll = Poll(**values)
    _check_poll(poll, locations)
    return poll


def _check_poll(poll: Poll, locations: Mapping[str, Location]) -> None:
    locations["interval"].check_duration(poll.interval)
    locations["timeout"].check_duration(poll.timeout)
    for key in ("concurrency", "max_body"):
        if getattr(poll, key) < 1:
            raise locations[key].error(f"must be at least 1, not {getattr(poll, key)}")
    two_intervals = Duration(2 * poll.interval)
    if poll.max_age < two_intervals:
        raise locations["max_age"].error(
            f"must be at least twice {locations['interval']}, which makes "
            f"{two_intervals}, not {poll.max_age}"
        )


def _selection(location: Location, keys: schema.PanelKeys) -> Selection:
    discovery = keys.discovery or schema.DiscoveryKeys()
    required = keys.backup_required or schema.RequiredKeys()
    include = _filter(location / "discovery" / "include", discovery.include)
    exclude = _filter(location / "discovery" / "exclude", discovery.exclude)
    servers = location / "virtual_machines"
    if keys.virtual_machines is not None and (include or exclude):
        raise servers.error(
            "cannot be combined with discovery.include or discovery.exclude: list the "
            "servers, or let them be discovered"
        )
    if keys.virtual_machines == []:
        raise servers.error(
            "must list at least one server; leave it out to discover every server"
        )
    (location / "expected_interval").check_duration(keys.expected_interval)
    backup_required = location / "backup_required"
    return Selection(
        configured=tuple(
            _server(servers[number], server)
            for number, server in enumerate(keys.virtual_machines or ())
        ),
        include=include,
        exclude=exclude,
        required=_filter(backup_required / "include", required.include),
        not_required=_filter(backup_required / "exclude", required.exclude),
        fallback_interval_seconds=keys.expected_interval,
    )


def _server(
    location: Location, configured: int | str | schema.ServerKeys
) -> ConfiguredServer:
    keys = (
        configured
        if isinstance(configured, schema.ServerKeys)
        else schema.ServerKeys(configured)
    )
    vm_id = keys.id
    if isinstance(vm_id, str) and _SERVER_NUMBER.fullmatch(vm_id):
        vm_id = int(vm_id)
    valid = vm_id > 0 if isinstance(vm_id, int) else _SERVER_IDENTIFIER.fullmatch(vm_id)
    if not valid:
        raise location.error(
            f"must be a server's number or its identifier, not {keys.id!r}"
        )
    (location / "expected_interval").check_duration(keys.expected_interval)
    return ConfiguredServer(vm_id, keys.expected_interval)


def _collectors(keys: schema.CollectorKeys | None) -> CollectorSwitches:
    switches = {} if keys is None else msgspec.structs.asdict(keys)
    return CollectorSwitches(
        **{key: on for key, on in switches.items() if on is not None}
    )


def _filter(location: Location, keys: schema.FilterKeys | None) -> Filter:
    if keys is None:
        return Filter()
    if keys.user_id == []:
        raise (location / "user_id").error(
            "must list at least one user, or be left out"
        )
    users = None if keys.user_id is None else tuple(keys.user_id)
    return Filter(keys.label, keys.hostname, keys.identifier, users)
