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
from ..config.file_watch import FileSet
from ..config.messages import ErrorMessages, Location, rejected
from ..config.secrets import CONTROL_CHARACTERS
from ..config.yaml_file import Scalar
from ..errors import ConfigError
from .tls import Boolean, Text, TlsServerKeys, server_context


class HttpServerKeys(msgspec.Struct, forbid_unknown_fields=True):
    """``http_server_config``: protocol and response headers."""

    http2: Boolean | None = None
    headers: dict[str, Any] | None = None


class WebKeys(msgspec.Struct, forbid_unknown_fields=True):
    """The whole file."""

    tls_server_config: TlsServerKeys | None = None
    http_server_config: HttpServerKeys | None = None
    basic_auth_users: dict[str, Any] | None = None


_MESSAGES = ErrorMessages(
    sections={
        "": WebKeys,
        "tls_server_config": TlsServerKeys,
        "http_server_config": HttpServerKeys,
    },
    secret_paths=re.compile("basic_auth_users"),
    example_key="tls_server_config",
)
_BOOLEANS = dict.fromkeys(("true", "yes", "on", "y"), True) | dict.fromkeys(
    ("false", "no", "off", "n"), False
)
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
    try:
        keys = msgspec.convert(
            {} if content is None else content, WebKeys, dec_hook=_convert
        )
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {_MESSAGES.describe(error, content)}") from None
    location = Location(str(path), path.parent.absolute())
    http = keys.http_server_config or HttpServerKeys()
    return WebConfig(
        empty=content is None,
        ssl_context=server_context(
            location / "tls_server_config",
            keys.tls_server_config or TlsServerKeys(),
            files,
        ),
        headers=_headers(
            location / "http_server_config" / "headers", http.headers or {}
        ),
        users=_users(location / "basic_auth_users", keys.basic_auth_users or {}),
    )


def _convert(target: type, value: Any) -> Any:
    if target is Text:
        if isinstance(value, Scalar):
            return Text(value.text)
        raise ValueError("must be text")
    if isinstance(value, Scalar) and (value.yaml_type == "bool" or value.plain):
        word = value.text.lower()
        if word in _BOOLEANS:
            return Boolean(_BOOLEANS[word])
    raise ValueError("must be true or false")


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
