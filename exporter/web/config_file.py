"""The web configuration file → TLS, headers and users, as frozen values.

Everything that the file names is read and tried: what is returned can serve.
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
from ..config.messages import ErrorMessages, Location, shown
from ..config.secrets import CONTROL
from ..config.yaml_file import Scalar
from ..errors import ConfigError
from .tls import CIPHERS, CLIENT_AUTH, CURVES, VERSIONS, ServerTls


class Text(str):
    """Any scalar, as it is written."""

    __slots__ = ()


class Switch(int):
    """A YAML 1.1 boolean."""


class TlsServerKeys(msgspec.Struct, forbid_unknown_fields=True):
    """``tls_server_config``: who the server is, and whom it lets in."""

    cert_file: Text | None = None
    key_file: Text | None = None
    client_auth_type: Text | None = None
    client_ca_file: Text | None = None
    min_version: Text | None = None
    max_version: Text | None = None
    cipher_suites: list[Text | None] | None = None
    prefer_server_cipher_suites: Switch | None = None
    curve_preferences: list[Text | None] | None = None


class HttpServerKeys(msgspec.Struct, forbid_unknown_fields=True):
    """``http_server_config``: how answers are sent."""

    http2: Switch | None = None
    headers: dict[str, Any] | None = None


class WebKeys(msgspec.Struct, forbid_unknown_fields=True):
    """The whole file."""

    tls_server_config: TlsServerKeys | None = None
    http_server_config: HttpServerKeys | None = None
    basic_auth_users: dict[str, Any] | None = None


_SAYING = ErrorMessages(
    sections={
        "": WebKeys,
        "tls_server_config": TlsServerKeys,
        "http_server_config": HttpServerKeys,
    },
    delicate=re.compile("basic_auth_users"),
    example="tls_server_config",
)
_TRUE = ("true", "yes", "on", "y")
_FALSE = ("false", "no", "off", "n")


def decoded(content: Any, source: str) -> WebKeys:
    """Check what ``document.load_scalars`` returned; raise ConfigError if wrong."""
    if content is None:
        return WebKeys()
    try:
        return msgspec.convert(content, WebKeys, dec_hook=_hook)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{source}: {_SAYING.problem(error, content)}") from None


def _hook(kind: type, value: Any) -> Any:
    return _READERS[kind](value)


def _as_text(value: Any) -> Text:
    if not isinstance(value, Scalar):
        raise ValueError("must be text")  # noqa: TRY004  # msgspec's way
    return Text(value.text)


def _switch(value: Any) -> Switch:
    if isinstance(value, Scalar) and (value.kind == "bool" or value.plain):
        word = value.text.lower()
        if word in _TRUE or word in _FALSE:
            return Switch(word in _TRUE)
    raise ValueError("must be true or false")


_READERS: Mapping[type, Callable[[Any], Any]] = {Text: _as_text, Switch: _switch}


_V = TypeVar("_V")

HEADERS: Mapping[str, tuple[str, ...]] = {
    "Strict-Transport-Security": (),
    "X-Content-Type-Options": ("nosniff",),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-XSS-Protection": (),
    "Content-Security-Policy": (),
}
"""The headers that can be set, with their values where there are only some."""

_HASH = re.compile(r"\$[\x00-2](?:\$|[^$].)(?P<cost>[0-9]{2}).(?P<rest>.*)", re.DOTALL)
_SHORTEST_HASH = 59
_MOST_NAMED = 6
_COSTS = range(4, 32)


@dataclass(frozen=True, slots=True)
class WebConfig:
    """How the exporter serves."""

    empty: bool = True
    """Whether the file says nothing at all."""
    tls: ServerTls | None = None
    context: ssl.SSLContext | None = field(default=None, compare=False)
    """Made of ``tls``; None: plain HTTP."""
    headers: Mapping[str, str] = field(default_factory=dict)
    users: Mapping[bytes, bytes] = field(default_factory=dict, repr=False)
    """Names and bcrypt hashes, which begin with ``$2b$``; empty: everybody may read."""


def load(path: Path, files: FileSet) -> WebConfig:
    """Read the file and all that it names; raise ConfigError when it cannot be used."""
    content = yaml_file.load_scalars(files.note(path))
    keys = decoded(content, str(path))
    place = Location(str(path), path.parent.absolute())
    tls = _tls(place / "tls_server_config", keys.tls_server_config, files)
    http = keys.http_server_config or HttpServerKeys()
    return WebConfig(
        empty=content is None,
        tls=tls,
        context=_context(place / "tls_server_config", tls),
        headers=_headers(place / "http_server_config" / "headers", http.headers or {}),
        users=_users(place / "basic_auth_users", keys.basic_auth_users or {}),
    )


def _tls(
    place: Location, keys: TlsServerKeys | None, files: FileSet
) -> ServerTls | None:
    keys = keys or TlsServerKeys()
    minimum = _choice(place / "min_version", keys.min_version or "TLS12", VERSIONS)
    maximum = _choice(place / "max_version", keys.max_version or "TLS13", VERSIONS)
    suites = [name for name in keys.cipher_suites or () if name is not None]
    for number, name in enumerate(suites):
        _choice((place / "cipher_suites")[number], name, CIPHERS)
    curve = _curve(place / "curve_preferences", keys)
    prefer = keys.prefer_server_cipher_suites
    needing = (keys.cert_file, keys.key_file, keys.client_ca_file)
    if not any((*needing, keys.client_auth_type)):
        return None
    return ServerTls(
        cert_file=_needed(place / "cert_file", keys.cert_file, files),
        key_file=_needed(place / "key_file", keys.key_file, files),
        client_auth=_client_auth(place, keys),
        client_ca_file=_file(place / "client_ca_file", keys.client_ca_file, files),
        minimum=minimum,
        maximum=maximum,
        suites=tuple(suites),
        curve=curve,
        prefer_own_suites=prefer is None or bool(prefer),
    )


def _choice(place: Location, name: str, known: Mapping[str, _V]) -> _V:
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
        hint = f"; did you mean {close[0]}?" if close else ""
        names = [*known]
        if len(names) > _MOST_NAMED:
            names[_MOST_NAMED:] = ["others of Go's crypto/tls"]
        raise place.error(f"must be one of {', '.join(names)}{shown(name)}{hint}")
    return known[name]


def _curve(place: Location, keys: TlsServerKeys) -> str | None:
    names = [name for name in keys.curve_preferences or () if name is not None]
    curves = [_choice(place[at], name, CURVES) for at, name in enumerate(names)]
    if len(curves) > 1:
        raise place.error(
            "Python's TLS can be told one curve: keep the one that you like best, or "
            "leave the key out"
        )
    return curves[0] if curves else None


def _client_auth(place: Location, keys: TlsServerKeys) -> ssl.VerifyMode:
    here = place / "client_auth_type"
    mode = _choice(here, keys.client_auth_type or "NoClientCert", CLIENT_AUTH)
    if mode is None:
        raise here.error(
            f"Python's TLS cannot do {keys.client_auth_type}, which takes certificates "
            "that nobody has verified: use RequireAndVerifyClientCert and "
            "client_ca_file"
        )
    if keys.client_ca_file and (keys.client_auth_type or "NoClientCert") == (
        "NoClientCert"
    ):
        raise here.error(
            "must be given beside client_ca_file, such as RequireAndVerifyClientCert: "
            "without it no client is asked for a certificate"
        )
    return mode


def _needed(place: Location, name: str | None, files: FileSet) -> Path:
    path = _file(place, name, files)
    if path is None:
        raise place.error("is missing: TLS needs cert_file and key_file")
    return path


def _file(place: Location, name: str | None, files: FileSet) -> Path | None:
    if not name:
        return None
    path = files.note(place.folder / name)
    try:
        path.read_bytes()
    except (OSError, ValueError) as error:
        raise place.unreadable(path, error) from None
    return path


def _context(place: Location, tls: ServerTls | None) -> ssl.SSLContext | None:
    if tls is None:
        return None
    own = replace(tls, client_ca_file=None, client_auth=ssl.CERT_NONE)
    try:
        own.context()
    except OSError as error:
        raise place.error(
            f"cert_file and key_file are not usable ({_why(error)}): both must be PEM "
            "files, the key must be the certificate's, have no passphrase and, for "
            "RSA, 2048 bits or more"
        ) from None
    try:
        return tls.context()
    except OSError as error:
        raise (place / "client_ca_file").error(
            f"is not usable ({_why(error)}): it must be a PEM file of certificates"
        ) from None


def _why(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "no_pem").replace("_", " ").lower()
    return error.strerror or "cannot be read"


def _headers(place: Location, given: Mapping[str, Any]) -> Mapping[str, str]:
    headers = {}
    for name, value in given.items():
        here = place / name
        if name not in HEADERS:
            raise here.error(f"cannot be set; those that can are {', '.join(HEADERS)}")
        text = _text(here, value)
        if HEADERS[name] and text not in HEADERS[name]:
            raise here.error(f"must be {' or '.join(HEADERS[name])}{shown(text)}")
        # A header is one line.
        text = CONTROL.sub(" ", text).strip()
        if text:
            headers[name] = text
    return headers


def _users(place: Location, given: Mapping[str, Any]) -> Mapping[bytes, bytes]:
    return {
        name.encode(): _hash(place / name, _text(place / name, value))
        for name, value in given.items()
    }


def _text(place: Location, value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, Scalar):
        raise place.error("must be text")
    return value.text


def _hash(place: Location, text: str) -> bytes:
    """Return a bcrypt hash in the one notation that libraries agree on.

    As in the toolkit, the letter of the version makes no difference.
    """
    found = _HASH.fullmatch(text)
    too_short = len(text.encode()) < _SHORTEST_HASH
    if found is None or too_short or int(found["cost"]) not in _COSTS:
        raise place.error(
            'must be a bcrypt hash (not shown here), such as `htpasswd -nBC 10 ""` '
            "prints after the colon: $2y$10$ and 53 characters more; costs are 04 to 31"
        )
    return f"$2b${found['cost']}${found['rest']}".encode()
