"""The web configuration file → TLS, headers and users, as frozen values.

Every file that it names is read, and the TLS context is made: what loads can serve.
"""

from __future__ import annotations

import difflib
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from ..config import yaml_file
from ..config.file_watch import FileSet
from ..config.messages import ErrorMessages, Location, rejected
from ..config.secrets import CONTROL_CHARACTERS
from ..config.yaml_file import Scalar
from ..errors import ConfigError
from .tls import CIPHERS, CLIENT_AUTH, CURVES, VERSIONS, ServerTls


class Text(str):
    """A scalar of any type, as it is written in the file."""

    __slots__ = ()


class Boolean(int):
    """A YAML 1.1 boolean."""


class TlsServerKeys(msgspec.Struct, forbid_unknown_fields=True):
    """``tls_server_config``: certificate, client authentication and versions."""

    cert_file: Text | None = None
    key_file: Text | None = None
    client_auth_type: Text | None = None
    client_ca_file: Text | None = None
    min_version: Text | None = None
    max_version: Text | None = None
    cipher_suites: list[Text | None] | None = None
    prefer_server_cipher_suites: Boolean | None = None
    curve_preferences: list[Text | None] | None = None


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
_TRUE = ("true", "yes", "on", "y")
_FALSE = ("false", "no", "off", "n")


def decode(content: Any, source: str) -> WebKeys:
    """Check the result of ``yaml_file.load_scalars``; raise ConfigError if wrong."""
    if content is None:
        return WebKeys()
    try:
        return msgspec.convert(content, WebKeys, dec_hook=_convert)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{source}: {_MESSAGES.describe(error, content)}") from None


def _convert(target: type, value: Any) -> Any:
    return _CONVERTERS[target](value)


def _as_text(value: Any) -> Text:
    if not isinstance(value, Scalar):
        raise ValueError("must be text")  # noqa: TRY004  # msgspec's way
    return Text(value.text)


def _as_boolean(value: Any) -> Boolean:
    if isinstance(value, Scalar) and (value.yaml_type == "bool" or value.plain):
        word = value.text.lower()
        if word in _TRUE or word in _FALSE:
            return Boolean(word in _TRUE)
    raise ValueError("must be true or false")


_CONVERTERS: Mapping[type, Callable[[Any], Any]] = {
    Text: _as_text,
    Boolean: _as_boolean,
}


_V = TypeVar("_V")

HEADERS: Mapping[str, tuple[str, ...]] = {
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
_MAX_NAMED_CHOICES = 6
_BCRYPT_COSTS = range(4, 32)


@dataclass(frozen=True, slots=True)
class WebConfig:
    """The web configuration, checked."""

    empty: bool = True
    """Whether the file has no content."""
    tls: ServerTls | None = None
    ssl_context: ssl.SSLContext | None = field(default=None, compare=False)
    """Made from ``tls``; None: plain HTTP."""
    headers: Mapping[str, str] = field(default_factory=dict)
    users: Mapping[bytes, bytes] = field(default_factory=dict, repr=False)
    """User names and bcrypt hashes, as ``$2b$…``; empty: no authentication."""


def load(path: Path, files: FileSet) -> WebConfig:
    """Read the file and those that it names; raise ConfigError if one is unusable."""
    content = yaml_file.load_scalars(files.add(path))
    keys = decode(content, str(path))
    location = Location(str(path), path.parent.absolute())
    tls = _tls(location / "tls_server_config", keys.tls_server_config, files)
    http = keys.http_server_config or HttpServerKeys()
    return WebConfig(
        empty=content is None,
        tls=tls,
        ssl_context=_ssl_context(location / "tls_server_config", tls),
        headers=_headers(
            location / "http_server_config" / "headers", http.headers or {}
        ),
        users=_users(location / "basic_auth_users", keys.basic_auth_users or {}),
    )


def _tls(
    location: Location, keys: TlsServerKeys | None, files: FileSet
) -> ServerTls | None:
    keys = keys or TlsServerKeys()
    min_version = _choice(
        location / "min_version", keys.min_version or "TLS12", VERSIONS
    )
    max_version = _choice(
        location / "max_version", keys.max_version or "TLS13", VERSIONS
    )
    cipher_suites = [name for name in keys.cipher_suites or () if name is not None]
    for number, name in enumerate(cipher_suites):
        _choice((location / "cipher_suites")[number], name, CIPHERS)
    curve = _curve(location / "curve_preferences", keys)
    prefer_own = keys.prefer_server_cipher_suites
    files_named = (keys.cert_file, keys.key_file, keys.client_ca_file)
    if not any((*files_named, keys.client_auth_type)):
        return None
    return ServerTls(
        cert_file=_required_file(location / "cert_file", keys.cert_file, files),
        key_file=_required_file(location / "key_file", keys.key_file, files),
        client_auth=_client_auth(location, keys),
        client_ca_file=_readable_file(
            location / "client_ca_file", keys.client_ca_file, files
        ),
        min_version=min_version,
        max_version=max_version,
        cipher_suites=tuple(cipher_suites),
        curve=curve,
        prefer_server_suites=prefer_own is None or bool(prefer_own),
    )


def _choice(location: Location, name: str, choices: Mapping[str, _V]) -> _V:
    if name not in choices:
        close_matches = difflib.get_close_matches(name, choices, n=1, cutoff=0.8)
        hint = f"; did you mean {close_matches[0]}?" if close_matches else ""
        names = [*choices]
        if len(names) > _MAX_NAMED_CHOICES:
            names[_MAX_NAMED_CHOICES:] = ["others of Go's crypto/tls"]
        raise location.error(f"must be one of {', '.join(names)}{rejected(name)}{hint}")
    return choices[name]


def _curve(location: Location, keys: TlsServerKeys) -> str | None:
    names = [name for name in keys.curve_preferences or () if name is not None]
    curves = [
        _choice(location[number], name, CURVES) for number, name in enumerate(names)
    ]
    if len(curves) > 1:
        raise location.error(
            "Python's TLS can be told one curve: keep the one that you like best, or "
            "leave the key out"
        )
    return curves[0] if curves else None


def _client_auth(location: Location, keys: TlsServerKeys) -> ssl.VerifyMode:
    type_location = location / "client_auth_type"
    mode = _choice(type_location, keys.client_auth_type or "NoClientCert", CLIENT_AUTH)
    if mode is None:
        raise type_location.error(
            f"Python's TLS cannot do {keys.client_auth_type}, which takes certificates "
            "that nobody has verified: use RequireAndVerifyClientCert and "
            "client_ca_file"
        )
    if keys.client_ca_file and (keys.client_auth_type or "NoClientCert") == (
        "NoClientCert"
    ):
        raise type_location.error(
            "must be given beside client_ca_file, such as RequireAndVerifyClientCert: "
            "without it no client is asked for a certificate"
        )
    return mode


def _required_file(location: Location, name: str | None, files: FileSet) -> Path:
    path = _readable_file(location, name, files)
    if path is None:
        raise location.error("is missing: TLS needs cert_file and key_file")
    return path


def _readable_file(location: Location, name: str | None, files: FileSet) -> Path | None:
    if not name:
        return None
    path = files.add(location.folder / name)
    try:
        path.read_bytes()
    except (OSError, ValueError) as error:
        raise location.unreadable(path, error) from None
    return path


def _ssl_context(location: Location, tls: ServerTls | None) -> ssl.SSLContext | None:
    if tls is None:
        return None
    without_client_auth = replace(tls, client_ca_file=None, client_auth=ssl.CERT_NONE)
    try:
        without_client_auth.ssl_context()
    except OSError as error:
        raise location.error(
            f"cert_file and key_file are not usable ({_reason(error)}): both must be "
            "PEM files, the key must be the certificate's, have no passphrase and, for "
            "RSA, 2048 bits or more"
        ) from None
    try:
        return tls.ssl_context()
    except OSError as error:
        raise (location / "client_ca_file").error(
            f"is not usable ({_reason(error)}): it must be a PEM file of certificates"
        ) from None


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "no_pem").replace("_", " ").lower()
    return error.strerror or "cannot be read"


def _headers(location: Location, values: Mapping[str, Any]) -> Mapping[str, str]:
    headers = {}
    for name, value in values.items():
        header_location = location / name
        if name not in HEADERS:
            raise header_location.error(
                f"cannot be set; those that can are {', '.join(HEADERS)}"
            )
        text = _text(header_location, value)
        if HEADERS[name] and text not in HEADERS[name]:
            raise header_location.error(
                f"must be {' or '.join(HEADERS[name])}{rejected(text)}"
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
