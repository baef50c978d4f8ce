"""The web configuration file → TLS, headers and users, as frozen values.

Every file that it names is read, and the TLS context is made: what loads can serve.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from ..config import yaml_file
from ..config.decode import Converter, Location, decode, rejected
from ..config.file_watch import FileSet
from ..config.secrets import CONTROL_CHARACTERS
from ..config.yaml_file import Scalar
from .tls import Boolean, Text, TlsServerKeys, server_context


class HttpServerKeys(msgspec.Struct, frozen=True):
    """``http_server_config``: protocol and response headers."""

    http2: Boolean | None = None
    headers: dict[str, Any] = {}


class WebKeys(msgspec.Struct, frozen=True):
    """The whole file."""

    tls_server_config: TlsServerKeys = TlsServerKeys()
    http_server_config: HttpServerKeys = HttpServerKeys()
    basic_auth_users: dict[str, Any] = {}


_BOOLEANS = dict.fromkeys(("true", "yes", "on", "y"), True) | dict.fromkeys(
    ("false", "no", "off", "n"), False
)


def _as_text(value: Any, _: Location) -> Text:
    if not isinstance(value, Scalar):
        raise ValueError("must be text")  # noqa: TRY004  # msgspec's way
    return Text(value.text)


def _as_boolean(value: Any, _: Location) -> Boolean:
    if isinstance(value, Scalar) and (value.yaml_type == "bool" or value.plain):
        word = value.text.lower()
        if word in _BOOLEANS:
            return Boolean(_BOOLEANS[word])
    raise ValueError("must be true or false")


_CONVERTERS: Mapping[Any, Converter] = {Text: _as_text, Boolean: _as_boolean}
_HEADERS: Mapping[str, tuple[str, ...]] = {
    "Strict-Transport-Security": (),
    "X-Content-Type-Options": ("nosniff",),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-XSS-Protection": (),
    "Content-Security-Policy": (),
}
"""The headers that can be set, with the values allowed; none: any value."""
_BCRYPT_HASH = re.compile(
    r"\$[\x00-2](?:\$|[^$].)(?P<cost>[0-9]{2}).(?P<rest>.*)", re.DOTALL
)
_MIN_HASH_BYTES = 59
_BCRYPT_COSTS = range(4, 32)


@dataclass(frozen=True, slots=True)
class WebConfig:
    """The web configuration, checked."""

    empty: bool = True
    """Whether the file has no content."""
    ssl_context: ssl.SSLContext | None = None
    """None: plain HTTP."""
    headers: Mapping[str, str] = field(default_factory=dict)
    users: Mapping[bytes, bytes] = field(default_factory=dict, repr=False)
    """User names and bcrypt hashes, as ``$2b$…``; empty: no authentication."""


def load(path: Path, files: FileSet) -> WebConfig:
    """Read the file and those that it names; raise ConfigError if one is unusable."""
    content = yaml_file.load_scalars(files.add(path))
    location = Location(str(path), path.parent.absolute())
    keys = decode(
        WebKeys,
        {} if content is None else content,
        location,
        _CONVERTERS,
        hidden_paths="basic_auth_users",
    )
    return WebConfig(
        empty=content is None,
        ssl_context=server_context(
            location / "tls_server_config",
            keys.tls_server_config,
            files,
        ),
        headers=_headers(
            location / "http_server_config" / "headers", keys.http_server_config.headers
        ),
        users=_users(location / "basic_auth_users", keys.basic_auth_users),
    )


def _headers(location: Location, values: Mapping[str, Any]) -> Mapping[str, str]:
    headers = {}
    for name, value in values.items():
        header_location = location / name
        if name not in _HEADERS:
            raise header_location.error(
                f"cannot be set; those that can are {', '.join(_HEADERS)}"
            )
        text = _text(header_location, value)
        if _HEADERS[name] and text not in _HEADERS[name]:
            raise header_location.error(
                f"must be {' or '.join(_HEADERS[name])}{rejected(text)}"
            )
        # A header is one line.
        text = CONTROL_CHARACTERS.sub(" ", text).strip()
        if text:
            headers[name] = text
    return headers


def _users(location: Location, values: Mapping[str, Any]) -> Mapping[bytes, bytes]:
    return {
        name.encode(): _hash(location / name, _text(location / name, value))
        for name, value in values.items()
    }


def _text(location: Location, value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, Scalar):
        raise location.error("must be text")
    return value.text


def _hash(location: Location, text: str) -> bytes:
    """Return a bcrypt hash with the version ``2b``, which every library accepts.

    Like Prometheus' exporter-toolkit, it accepts every version letter.
    """
    match = _BCRYPT_HASH.fullmatch(text)
    too_short = len(text.encode()) < _MIN_HASH_BYTES
    if match is None or too_short or int(match["cost"]) not in _BCRYPT_COSTS:
        raise location.error(
            'must be a bcrypt hash (not shown here), such as `htpasswd -nBC 10 ""` '
            "prints after the colon: $2y$10$ and 53 characters more; costs are 04 to 31"
        )
    return f"$2b${match['cost']}${match['rest']}".encode()
