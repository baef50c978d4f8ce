"""The configuration file or the environment → one frozen Config.

Every default stands here. Nothing else in the exporter reads configuration or the
environment's ``ONAPP_*`` variables.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import yarl

from . import schema
from .errors import ConfigError
from .quantity import Duration, Size
from .samples import Detail
from .secret import Account, FromFile, Literal, Secret
from .selection import ConfiguredServer, Filter, Selection
from .wire import Format

_IDENTIFIER = re.compile(r"[A-Za-z0-9_-]{1,64}")
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
_VARIABLES = {
    "panels[0].url": "ONAPP_URL",
    "panels[0].basic_auth.username": "ONAPP_USERNAME",
    "panels[0].basic_auth.password_file": "ONAPP_PASSWORD_FILE",
    "panels[0].basic_auth.password": "ONAPP_PASSWORD",
    "panels[0].basic_auth": "ONAPP_USERNAME, ONAPP_PASSWORD",
    "panels[0].virtual_machines": "ONAPP_VIRTUAL_MACHINES",
}


@dataclass(frozen=True, slots=True)
class Poll:
    """How a panel is asked."""

    interval: Duration
    timeout: Duration
    concurrency: int
    max_age: Duration
    max_body: Size


@dataclass(frozen=True, slots=True)
class Tls:
    """Whom to trust, and who to be."""

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    server_name: str | None = None
    insecure_skip_verify: bool = False


@dataclass(frozen=True, slots=True)
class Collectors:
    """What is read beside the inventory and the backups."""

    schedules: bool = True
    transactions: bool = True
    backup_servers: bool = True
    recovery_points: bool = False
    """One more request per server."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One control panel and the servers of it that matter."""

    name: str
    url: yarl.URL
    account: Account
    form: Format
    tls: Tls
    proxy_url: yarl.URL | None
    selection: Selection
    discovery_interval: Duration
    collectors: Collectors
    poll: Poll


@dataclass(frozen=True, slots=True)
class Config:
    """The whole configuration."""

    panels: tuple[Panel, ...]
    detail: Detail


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
    return build(schema.load(file), str(file), file.parent)


def build(keys: schema.FileKeys, source: str, folder: Path | None = None) -> Config:
    """Fill in the defaults; raise ConfigError when values do not go together.

    ``source`` is what errors name; relative paths begin at ``folder``.
    """
    return _Builder(source, folder or Path()).config(keys)


def _from_environment(environment: Mapping[str, str]) -> Config:
    def variable(name: str) -> str | None:
        return environment.get(f"ONAPP_{name}") or None

    panel: dict[str, Any] = {
        "url": variable("URL"),
        "basic_auth": {
            "username": variable("USERNAME"),
            "password": variable("PASSWORD"),
            "password_file": variable("PASSWORD_FILE"),
        },
    }
    servers = variable("VIRTUAL_MACHINES")
    if servers is not None:
        panel["virtual_machines"] = [s.strip() for s in servers.split(",") if s.strip()]
    source = "environment"
    try:
        keys = schema.keys({"panels": [panel]}, source)
        return build(keys, source)
    except ConfigError as error:
        message = str(error)
        for place, name in _VARIABLES.items():
            message = message.replace(place, name)
        raise ConfigError(message) from None


@dataclass(frozen=True, slots=True)
class _Builder:
    """Makes a Config of checked keys; says where each value stood."""

    source: str
    folder: Path

    def config(self, keys: schema.FileKeys) -> Config:
        """Make the whole configuration."""
        if not keys.panels:
            raise self._error("panels", "must list at least one panel")
        panels = tuple(
            self._panel(f"panels[{number}]", panel, keys.poll)
            for number, panel in enumerate(keys.panels)
        )
        self._check_names(panels)
        return Config(panels, self._detail(keys.detail or schema.DetailKeys()))

    def _error(self, place: str, problem: str) -> ConfigError:
        return ConfigError(f"{self.source}: {place}: {problem}")

    def _check_names(self, panels: tuple[Panel, ...]) -> None:
        places: dict[str, int] = {}
        for number, panel in enumerate(panels):
            first = places.setdefault(panel.name, number)
            if first != number:
                raise self._error(
                    f"panels[{number}].name",
                    f"{panel.name!r} is the name of panels[{first}] too: give each "
                    "panel a name of its own",
                )

    def _detail(self, keys: schema.DetailKeys) -> Detail:
        newest = keys.newest_per_target or 0
        if newest < 0:
            raise self._error(
                "detail.newest_per_target", f"must be 0 (all) or more, not {newest}"
            )
        return Detail(keys.backups is not False, newest)

    def _panel(
        self, place: str, keys: schema.PanelKeys, poll: schema.PollKeys | None
    ) -> Panel:
        if keys.url.user is not None or keys.url.password is not None:
            raise self._error(
                f"{place}.url", "must not hold credentials: they go into basic_auth"
            )
        name = (keys.url.host or "") if keys.name is None else keys.name
        if not name.strip():
            raise self._error(f"{place}.name", "must not be empty")
        discovery = (keys.discovery or schema.DiscoveryKeys()).interval
        if discovery is not None:
            self._check_shortest(f"{place}.discovery.interval", discovery)
        return Panel(
            name=name,
            url=keys.url,
            account=self._account(f"{place}.basic_auth", keys.basic_auth),
            form=keys.format or "json",
            tls=self._tls(f"{place}.tls_config", keys.tls_config or schema.TlsKeys()),
            proxy_url=keys.proxy_url,
            selection=self._selection(place, keys),
            discovery_interval=discovery or _DISCOVERY_INTERVAL,
            collectors=_collectors(keys.collectors),
            poll=self._poll((f"{place}.poll", keys.poll), ("poll", poll)),
        )

    def _poll(self, *sections: tuple[str, schema.PollKeys | None]) -> Poll:
        """Take each key from the first section that has it."""

        def first(key: str, default: Any) -> tuple[str, Any]:
            for place, keys in sections:
                value = getattr(keys, key, None)
                if value is not None:
                    return f"{place}.{key}", value
            return f"poll.{key}", default

        places, given = {}, {}
        for key, default in _POLL.items():
            places[key], given[key] = first(key, default)
        if given["max_age"] is None:
            given["max_age"] = max(_MAX_AGE, Duration(2 * given["interval"]))
        poll = Poll(**given)
        self._check_poll(poll, places)
        return poll

    def _check_poll(self, poll: Poll, places: Mapping[str, str]) -> None:
        self._check_shortest(places["interval"], poll.interval)
        self._check_shortest(places["timeout"], poll.timeout)
        for key in ("concurrency", "max_body"):
            if getattr(poll, key) < 1:
                raise self._error(
                    places[key], f"must be at least 1, not {getattr(poll, key)}"
                )
        longest_gap = Duration(2 * poll.interval)
        if poll.max_age < longest_gap:
            raise self._error(
                places["max_age"],
                f"must be at least twice the interval ({longest_gap}), "
                f"not {poll.max_age}",
            )

    def _check_shortest(self, place: str, duration: Duration) -> None:
        if duration < 1:
            raise self._error(place, f"must be at least 1s, not {duration}")

    def _account(self, place: str, keys: schema.BasicAuthKeys | None) -> Account:
        if keys is None or not keys.username:
            raise self._error(
                f"{place}.username", "is missing: the account's e-mail address or login"
            )
        if ":" in keys.username:
            raise self._error(f"{place}.username", "must not contain a colon")
        if (keys.password is None) == (keys.password_file is None):
            raise self._error(
                place, "needs password_file, or else password, and not both"
            )
        return Account(keys.username, self._secret(place, keys))

    def _secret(self, place: str, keys: schema.BasicAuthKeys) -> Secret:
        if keys.password_file is None:
            if not keys.password:
                raise self._error(f"{place}.password", "must not be empty")
            return Literal(keys.password)
        secret = FromFile(self.folder / keys.password_file)
        try:
            secret.load()
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is empty"
            raise self._error(
                f"{place}.password_file",
                f"{secret.path} cannot be read: {why}; it must hold the API key",
            ) from None
        return secret

    def _tls(self, place: str, keys: schema.TlsKeys) -> Tls:
        def path(key: str) -> Path | None:
            name: str | None = getattr(keys, key)
            if not name:
                return None
            try:
                (self.folder / name).read_bytes()
            except OSError as error:
                raise self._error(
                    f"{place}.{key}",
                    f"{self.folder / name} cannot be read: {error.strerror}",
                ) from None
            return self.folder / name

        if bool(keys.cert_file) != bool(keys.key_file):
            raise self._error(place, "cert_file and key_file go together")
        return Tls(
            ca_file=path("ca_file"),
            cert_file=path("cert_file"),
            key_file=path("key_file"),
            server_name=keys.server_name or None,
            insecure_skip_verify=bool(keys.insecure_skip_verify),
        )

    def _selection(self, place: str, keys: schema.PanelKeys) -> Selection:
        discovery = keys.discovery or schema.DiscoveryKeys()
        required = keys.backup_required or schema.RequiredKeys()
        include, exclude = _filter(discovery.include), _filter(discovery.exclude)
        if keys.virtual_machines is not None and (include or exclude):
            raise self._error(
                f"{place}.virtual_machines",
                "cannot be combined with discovery.include or discovery.exclude: "
                "list the servers, or let them be discovered",
            )
        if keys.virtual_machines == []:
            raise self._error(
                f"{place}.virtual_machines",
                "must list at least one server; leave it out to discover every server",
            )
        return Selection(
            configured=tuple(
                self._server(f"{place}.virtual_machines[{number}]", server)
                for number, server in enumerate(keys.virtual_machines or ())
            ),
            include=include,
            exclude=exclude,
            required=_filter(required.include),
            not_required=_filter(required.exclude),
            fallback_interval_seconds=keys.expected_interval,
        )

    def _server(
        self, place: str, given: int | str | schema.ServerKeys
    ) -> ConfiguredServer:
        keys = (
            given if isinstance(given, schema.ServerKeys) else schema.ServerKeys(given)
        )
        vm_id = keys.id
        if isinstance(vm_id, str) and vm_id.isascii() and vm_id.isdecimal():
            vm_id = int(vm_id)
        good = vm_id > 0 if isinstance(vm_id, int) else _IDENTIFIER.fullmatch(vm_id)
        if not good:
            raise self._error(
                place,
                f"must be a server's number or its identifier, not {keys.id!r}",
            )
        return ConfiguredServer(vm_id, keys.expected_interval)


def _collectors(keys: schema.CollectorKeys | None) -> Collectors:
    given = {} if keys is None else msgspec.structs.asdict(keys)
    return Collectors(**{key: on for key, on in given.items() if on is not None})


def _filter(keys: schema.FilterKeys | None) -> Filter:
    if keys is None:
        return Filter()
    users = None if keys.user_id is None else tuple(keys.user_id)
    return Filter(keys.label, keys.hostname, keys.identifier, users)
