"""The web configuration file → TLS, headers and users, as frozen values.

Loading reads every file that it names and creates the TLS context, so that a loaded
configuration can be served.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from ..config import yaml_file
from ..config.decode import Converter, Location, decode, rejected
from ..config.file_watch import FileSet
from ..config.schema import PemFile, file_converter
from ..config.secrets import CONTROL_CHARACTERS
from ..config.yaml_file import Scalar
from .tls import PEM, Boolean, Text, TlsServerKeys, server_context


class BcryptHash(bytes):
    """A bcrypt hash of version ``2b``, which every library accepts."""

    __slots__ = ()


class HttpServerKeys(msgspec.Struct, frozen=True):
    """``http_server_config``: protocol and response headers."""

    http2: Boolean | None = None
    headers: dict[str, Text | None] = {}


class RateLimitKeys(msgspec.Struct, frozen=True):
    """``rate_limit``: a bucket of ``burst`` tokens, one refilled each ``interval``."""

    interval: Text | None = None
    burst: Text | None = None


class WebKeys(msgspec.Struct, frozen=True):
    """The whole file."""

    tls_server_config: TlsServerKeys = TlsServerKeys()
    http_server_config: HttpServerKeys = HttpServerKeys()
    rate_limit: RateLimitKeys = RateLimitKeys()
    basic_auth_users: dict[str, BcryptHash] = {}


_BCRYPT_HASH = re.compile(
    r"\$[\x00-2](?:\$|[^$].)(?P<cost>[0-9]{2}).(?P<rest>.*)", re.DOTALL
)
_MIN_HASH_BYTES = 59
_BCRYPT_COSTS = range(4, 32)
_BOOLEANS = dict.fromkeys(("true", "yes", "on", "y"), True) | dict.fromkeys(
    ("false", "no", "off", "n"), False
)


def _as_text(value: Any, _: Location) -> Text:
    if not isinstance(value, Scalar):
        raise ValueError("must be text")  # noqa: TRY004  # msgspec expects it
    return Text(value.text)


def _as_boolean(value: Any, _: Location) -> Boolean:
    if isinstance(value, Scalar) and (value.yaml_type == "bool" or value.plain):
        word = value.text.lower()
        if word in _BOOLEANS:
            return Boolean(_BOOLEANS[word])
    raise ValueError("must be true or false")


def _as_file(value: Any, location: Location) -> PemFile | None:
    name = _as_text(value, location)
    if PEM in name:
        raise location.error("must name a file: its text belongs under the other key")
    file: PemFile | None = file_converter(PemFile)(name, location)
    return file


def _as_hash(value: Any, location: Location) -> BcryptHash:
    """Accept every version letter, as Prometheus' exporter-toolkit does."""
    *section, name = location.parts
    if ":" in str(name):  # a password may follow it
        raise location.error(
            "a user's name (not shown here) must hold no colon: nobody could log in "
            "by it",
            shown=replace(location, parts=tuple(section)),
        )
    text = "" if value is None else _as_text(value, location)
    match = _BCRYPT_HASH.fullmatch(text)
    too_short = len(text.encode()) < _MIN_HASH_BYTES
    if match is None or too_short or int(match["cost"]) not in _BCRYPT_COSTS:
        raise location.error(
            'must be a bcrypt hash (not shown here), such as `htpasswd -nBC 10 ""` '
            "prints after the colon: $2y$10$ and 53 characters more; costs are 04 to 31"
        )
    return BcryptHash(f"$2b${match['cost']}${match['rest']}".encode())


_CONVERTERS: Mapping[Any, Converter] = {
    Text: _as_text,
    Boolean: _as_boolean,
    PemFile: _as_file,
    BcryptHash: _as_hash,
}
_HEADERS: Mapping[str, tuple[str, ...]] = {
    "Strict-Transport-Security": (),
    "X-Content-Type-Options": ("nosniff",),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-XSS-Protection": (),
    "Content-Security-Policy": (),
}
"""The headers that can be set, with their allowed values; empty: any value."""


class RateLimit(NamedTuple):
    """The rate at which requests are answered."""

    interval_seconds: float
    """Average time between requests."""
    burst: int
    """Number of requests answered at once after a pause."""


@dataclass(frozen=True, slots=True)
class WebConfig:
    """The checked web configuration."""

    empty: bool = True
    """Whether the file has no content."""
    ssl_context: ssl.SSLContext | None = None
    """None: plain HTTP."""
    client_allowed_sans: frozenset[str] | None = None
    """A client's certificate must have one of these names; None: any name."""
    rate_limit: RateLimit | None = None
    """None: every request is answered."""
    headers: Mapping[str, str] = field(default_factory=dict)
    users: Mapping[bytes, bytes] = field(default_factory=dict, repr=False)
    """User names and bcrypt hashes, as ``$2b$…``; empty: no authentication."""


def load(path: Path, files: FileSet) -> WebConfig:
    """Read the file and those that it names; raise ConfigError if one is invalid."""
    document = yaml_file.load(files.add(path), scalars=True)
    location = Location(
        str(path), path.parent.absolute(), line_of=document.line, files=files
    )
    keys = decode(
        WebKeys,
        {} if document.content is None else document.content,
        location,
        _CONVERTERS,
        hidden_paths=r"basic_auth_users|^tls_server_config\.key$",
    )
    allowed_sans = keys.tls_server_config.client_allowed_sans
    return WebConfig(
        empty=document.content is None,
        ssl_context=server_context(
            location / "tls_server_config", keys.tls_server_config
        ),
        client_allowed_sans=None
        if allowed_sans is None
        else frozenset(filter(None, allowed_sans)),
        rate_limit=_rate_limit(location / "rate_limit", keys.rate_limit),
        headers=_headers(
            location / "http_server_config" / "headers", keys.http_server_config.headers
        ),
        users={n.encode(): hashed for n, hashed in keys.basic_auth_users.items()},
    )


def _headers(
    location: Location, values: Mapping[str, Text | None]
) -> Mapping[str, str]:
    headers = {}
    for name, value in values.items():
        header_location = location / name
        if name not in _HEADERS:
            raise header_location.error(
                f"cannot be set; those that can are {', '.join(_HEADERS)}"
            )
        text = value or ""
        if _HEADERS[name] and text not in _HEADERS[name]:
            raise header_location.error(
                f"must be {' or '.join(_HEADERS[name])}{rejected(text)}"
            )
        # A header must be one line.
        text = CONTROL_CHARACTERS.sub(" ", text).strip()
        if text:
            headers[name] = text
    return headers


_DURATION = re.compile(r"\+?((?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:ns|us|µs|μs|ms|s|m|h))+")
_DURATION_PART = re.compile("([0-9.]+)([^0-9.]+)")
_UNIT_SECONDS = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "μs": 1e-6,  # Go accepts both the micro sign and the Greek letter
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}


def _rate_limit(location: Location, keys: RateLimitKeys) -> RateLimit | None:
    interval, burst = keys.interval, keys.burst
    if interval is None and burst is not None:
        raise (location / "interval").error("is missing: burst requires interval")
    if interval is None or interval == "0":
        return None
    if not _DURATION.fullmatch(interval):
        raise (location / "interval").error(
            f"must be a duration with its unit, such as 100ms or 1m30s, or 0 for no "
            f"limit{rejected(interval)}"
        )
    seconds = sum(
        float(number) * _UNIT_SECONDS[unit]
        for number, unit in _DURATION_PART.findall(interval)
    )
    if not re.fullmatch("[1-9][0-9]{0,8}", burst or ""):
        raise (location / "burst").error(
            "must be a whole number from 1 on: how many requests are answered at once; "
            "with 0 none would be"
        )
    return RateLimit(seconds, int(burst or 0)) if seconds else None
