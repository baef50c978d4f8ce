"""The configuration file or the environment → one frozen Config.

Every default stands here. Nothing else in the exporter reads configuration or the
environment's ``ONAPP_*`` variables.
"""

from __future__ import annotations

import hashlib
import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from ..errors import ConfigError
from ..model.selection import ConfiguredServer, Filter, Selection
from . import schema
from . import yaml_file as document
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
from .secrets import CONTROL, Account, FileSecret, LiteralSecret, Secret
from .units import Duration, Size


def account(place: Location, keys: BasicAuthKeys) -> Account:
    """Return who asks; raise ConfigError unless there is a name and a secret."""
    if not keys.username:
        raise (place / "username").error(
            "is missing: the account's e-mail address or login"
        )
    if ":" in keys.username or CONTROL.search(keys.username):
        raise (place / "username").error(
            "must hold no colon, no line end and no other control character"
        )
    return Account(keys.username, _secret(place, keys))


def _secret(place: Location, keys: BasicAuthKeys) -> Secret:
    here, file = place / "password", place / "password_file"
    if keys.password is not None and keys.password_file is not None:
        raise here.error(f"is given beside {file}: keep one")
    if keys.password is not None:
        return _literal(here, keys.password)
    if not keys.password_file:
        raise file.error(
            f"is missing: the file that holds the API key; or give the key as {here}"
        )
    secret = FileSecret(place.folder / keys.password_file)
    try:
        secret.load()
    except (OSError, ValueError) as error:
        raise file.unreadable(secret.path, error) from None
    return secret


def _literal(place: Location, password: str) -> Secret:
    if not password:
        raise place.error("must not be empty")
    if CONTROL.search(password):
        raise place.error("must hold no line end and no other control character")
    return LiteralSecret(password)


def tls(place: Location, keys: TlsKeys) -> Tls:
    """Return whom to trust and who to be; raise ConfigError if a file is no use."""
    if bool(keys.cert_file) != bool(keys.key_file):
        raise place.error("cert_file and key_file go together")
    if keys.server_name and not is_host(keys.server_name):
        raise (place / "server_name").error(
            f"must be the name of a host, not {keys.server_name!r}"
        )
    digest = hashlib.sha256()
    made = Tls(
        ca_file=_file(place / "ca_file", keys.ca_file, digest),
        cert_file=_file(place / "cert_file", keys.cert_file, digest),
        key_file=_file(place / "key_file", keys.key_file, digest),
        server_name=keys.server_name or None,
        insecure_skip_verify=bool(keys.insecure_skip_verify),
        digest=digest.digest(),
    )
    try:
        if made.ca_file or made.cert_file:
            made.context()
    except ssl.SSLError as error:
        why = (error.reason or "not PEM").replace("_", " ").lower()
        raise place.error(
            f"is not usable ({why}): ca_file, cert_file and key_file must be PEM "
            "files, and the key must be the certificate's and have no passphrase"
        ) from None
    return made


def _file(place: Location, name: str | None, digest: hashlib._Hash) -> Path | None:
    """Return the path of a file that can be read, and take in what it holds."""
    if not name:
        return None
    path = place.folder / name
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        raise place.unreadable(path, error) from None
    digest.update(hashlib.sha256(content).digest())
    return path


_IDENTIFIER = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NUMBER = re.compile(r"[0-9]{1,18}")
_INTERVAL = Duration(900)
_TIMEOUT = Duration(30)
_CONCURRENCY = 8
_MAX_AGE = Duration(3600)
_MAX_BODY = Size(16 * 1024**2)
_DISCOVERY_INTERVAL = Duration(600)
_POLL: Mapping[str, Any] = {
    "interval": _INTERVAL,
    "timeout": _TIMEOUT,
    "concurrency": _CONCURRENCY,
    "max_age": None,  # _MAX_AGE, or more where servers are read seldom
    "max_body": _MAX_BODY,
}
_PollSection: TypeAlias = tuple[Location, schema.PollKeys | None]
VARIABLES = {
    "panels[0].url": "ONAPP_URL",
    "panels[0].basic_auth.username": "ONAPP_USERNAME",
    "panels[0].basic_auth.password_file": "ONAPP_PASSWORD_FILE",
    "panels[0].basic_auth.password": "ONAPP_PASSWORD",
    "panels[0].virtual_machines": "ONAPP_VIRTUAL_MACHINES",
}
"""Where the variable's value would stand in a file: the longer place comes first."""


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
    return build(schema.keys(document.load(file), str(file)), str(file), file.parent)


def build(keys: schema.FileKeys, source: str, folder: Path = Path()) -> Config:
    """Fill in the defaults; raise ConfigError when values do not go together.

    ``source`` is what errors name; relative paths begin at ``folder``.
    """
    top = Location(source, folder.absolute())
    if not keys.panels:
        raise (top / "panels").error("must list at least one panel")
    panels = tuple(
        _panel((top / "panels")[number], panel, (top / "poll", keys.poll))
        for number, panel in enumerate(keys.panels)
    )
    _check_names(top / "panels", panels)
    return Config(panels, _detail(top / "detail", keys.detail or schema.DetailKeys()))


def _from_environment(environment: Mapping[str, str]) -> Config:
    source = "environment"
    given = {
        place.rpartition(".")[2]: environment.get(name) or None
        for place, name in VARIABLES.items()
    }
    for (_, name), value in zip(VARIABLES.items(), given.values(), strict=True):
        if value is not None and not value.isascii() and not _is_utf8(value):
            raise ConfigError(f"{source}: {name}: is not UTF-8 text")
    panel: dict[str, Any] = {
        "url": given["url"],
        "basic_auth": {k: given[k] for k in schema.BasicAuthKeys.__struct_fields__},
    }
    servers = given["virtual_machines"]
    if servers is not None:
        panel["virtual_machines"] = [s.strip() for s in servers.split(",") if s.strip()]
    try:
        return build(schema.keys({"panels": [panel]}, source), source)
    except ConfigError as error:
        message = str(error)
        for place, name in VARIABLES.items():
            message = message.replace(place, name)
        raise ConfigError(message) from None


def _is_utf8(text: str) -> bool:
    """Tell whether a variable was text: what is not comes as surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_names(place: Location, panels: tuple[Panel, ...]) -> None:
    first: dict[str, int] = {}
    for number, panel in enumerate(panels):
        if first.setdefault(panel.name, number) != number:
            raise (place[number] / "name").error(
                f"{panel.name!r} is the name of {place[first[panel.name]]} too: give "
                "each panel a name of its own"
            )


def _detail(place: Location, keys: schema.DetailKeys) -> Detail:
    newest = keys.newest_per_target or 0
    if newest < 0:
        raise (place / "newest_per_target").error(
            f"must be 0 (all) or more, not {newest}"
        )
    return Detail(keys.backups is not False, newest)


def _panel(place: Location, keys: schema.PanelKeys, poll: _PollSection) -> Panel:
    if keys.url.user is not None or keys.url.password is not None:
        login = place / "basic_auth"
        raise (place / "url").error(
            f"must not hold credentials: they go into {login / 'username'} and "
            f"{login / 'password_file'}"
        )
    name = (keys.url.host or "") if keys.name is None else keys.name
    if not name.strip() or not name.isprintable():
        raise (place / "name").error(f"must be printable and not empty, not {name!r}")
    discovery = keys.discovery or schema.DiscoveryKeys()
    (place / "discovery" / "interval").check_shortest(discovery.interval)
    return Panel(
        name=name,
        url=keys.url,
        account=account(
            place / "basic_auth", keys.basic_auth or schema.BasicAuthKeys()
        ),
        form=keys.format or "json",
        tls=tls(place / "tls_config", keys.tls_config or schema.TlsKeys()),
        proxy_url=keys.proxy_url,
        selection=_selection(place, keys),
        discovery_interval=discovery.interval or _DISCOVERY_INTERVAL,
        collectors=_collectors(keys.collectors),
        poll=_poll((place / "poll", keys.poll), poll),
    )


def _poll(own: _PollSection, common: _PollSection) -> Poll:
    """Take each key from the panel's section, or else from the common one."""
    places: dict[str, Location] = {}
    given: dict[str, Any] = {}
    for key, default in _POLL.items():
        places[key], given[key] = common[0] / key, default
        for place, keys in (common, own):
            value = getattr(keys, key, None)
            if value is not None:
                places[key], given[key] = place / key, value
    if given["max_age"] is None:
        given["max_age"] = max(_MAX_AGE, Duration(2 * given["interval"]))
    poll = Poll(**given)
    _check_poll(poll, places)
    return poll


def _check_poll(poll: Poll, places: Mapping[str, Location]) -> None:
    places["interval"].check_shortest(poll.interval)
    places["timeout"].check_shortest(poll.timeout)
    for key in ("concurrency", "max_body"):
        if getattr(poll, key) < 1:
            raise places[key].error(f"must be at least 1, not {getattr(poll, key)}")
    longest_gap = Duration(2 * poll.interval)
    if poll.max_age < longest_gap:
        raise places["max_age"].error(
            f"must be at least twice {places['interval']}, which makes {longest_gap}, "
            f"not {poll.max_age}"
        )


def _selection(place: Location, keys: schema.PanelKeys) -> Selection:
    discovery = keys.discovery or schema.DiscoveryKeys()
    required = keys.backup_required or schema.RequiredKeys()
    include = _filter(place / "discovery" / "include", discovery.include)
    exclude = _filter(place / "discovery" / "exclude", discovery.exclude)
    servers = place / "virtual_machines"
    if keys.virtual_machines is not None and (include or exclude):
        raise servers.error(
            "cannot be combined with discovery.include or discovery.exclude: list the "
            "servers, or let them be discovered"
        )
    if keys.virtual_machines == []:
        raise servers.error(
            "must list at least one server; leave it out to discover every server"
        )
    (place / "expected_interval").check_shortest(keys.expected_interval)
    demanded = place / "backup_required"
    return Selection(
        configured=tuple(
            _server(servers[number], server)
            for number, server in enumerate(keys.virtual_machines or ())
        ),
        include=include,
        exclude=exclude,
        required=_filter(demanded / "include", required.include),
        not_required=_filter(demanded / "exclude", required.exclude),
        fallback_interval_seconds=keys.expected_interval,
    )


def _server(place: Location, given: int | str | schema.ServerKeys) -> ConfiguredServer:
    keys = given if isinstance(given, schema.ServerKeys) else schema.ServerKeys(given)
    vm_id = keys.id
    if isinstance(vm_id, str) and _NUMBER.fullmatch(vm_id):
        vm_id = int(vm_id)
    good = vm_id > 0 if isinstance(vm_id, int) else _IDENTIFIER.fullmatch(vm_id)
    if not good:
        raise place.error(
            f"must be a server's number or its identifier, not {keys.id!r}"
        )
    (place / "expected_interval").check_shortest(keys.expected_interval)
    return ConfiguredServer(vm_id, keys.expected_interval)


def _collectors(keys: schema.CollectorKeys | None) -> CollectorSwitches:
    given = {} if keys is None else msgspec.structs.asdict(keys)
    return CollectorSwitches(**{key: on for key, on in given.items() if on is not None})


def _filter(place: Location, keys: schema.FilterKeys | None) -> Filter:
    if keys is None:
        return Filter()
    if keys.user_id == []:
        raise (place / "user_id").error("must list at least one user, or be left out")
    users = None if keys.user_id is None else tuple(keys.user_id)
    return Filter(keys.label, keys.hostname, keys.identifier, users)
