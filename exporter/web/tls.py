"""TLS of the server: ``tls_server_config`` → a context of Python's ``ssl``.

The names are those of Go's ``crypto/tls``. Neither Go nor Python can restrict the
cipher suites of TLS 1.3.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import ssl
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from ..config.decode import Location, rejected
from ..config.schema import VERIFY_FLAGS, PemFile

_V = TypeVar("_V")


class Text(str):
    """A scalar of any type, as written in the file."""

    __slots__ = ()


class Boolean(int):
    """A YAML 1.1 boolean."""


class TlsServerKeys(msgspec.Struct, frozen=True):
    """``tls_server_config``: certificate, client authentication and versions."""

    cert: Text | None = None
    key: Text | None = None
    client_ca: Text | None = None
    cert_file: PemFile | None = None
    key_file: PemFile | None = None
    client_auth_type: Text | None = None
    client_ca_file: PemFile | None = None
    client_allowed_sans: tuple[Text | None, ...] | None = None
    min_version: Text | None = None
    max_version: Text | None = None
    cipher_suites: tuple[Text | None, ...] = ()
    prefer_server_cipher_suites: Boolean | None = None
    curve_preferences: tuple[Text | None, ...] = ()


VERSIONS: Mapping[str, ssl.TLSVersion] = {
    "TLS10": ssl.TLSVersion.TLSv1,
    "TLS11": ssl.TLSVersion.TLSv1_1,
    "TLS12": ssl.TLSVersion.TLSv1_2,
    "TLS13": ssl.TLSVersion.TLSv1_3,
}
CIPHERS: Mapping[str, str | None] = {
    "TLS_AES_128_GCM_SHA256": None,
    "TLS_AES_256_GCM_SHA384": None,
    "TLS_CHACHA20_POLY1305_SHA256": None,
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_RSA_WITH_AES_128_GCM_SHA256": "AES128-GCM-SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384": "AES256-GCM-SHA384",
    "TLS_RSA_WITH_AES_128_CBC_SHA": "AES128-SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA": "AES256-SHA",
}
"""OpenSSL's names; None: a suite of TLS 1.3, which cannot be chosen."""
CURVES: Mapping[str, str] = {
    "CurveP256": "prime256v1",
    "CurveP384": "secp384r1",
    "CurveP521": "secp521r1",
    "X25519": "X25519",
}
CLIENT_AUTH: Mapping[str, ssl.VerifyMode | None] = {
    "NoClientCert": ssl.CERT_NONE,
    # Go accepts any certificate or none here, so none needs to be requested.
    "RequestClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
    # Python verifies every certificate that it requests.
    "RequireAnyClientCert": None,
    "RequireClientCert": None,
}
"""How a client's certificate is verified; None: Python does not support it."""

PEM = "-----BEGIN "
"""The beginning of a certificate or a key."""
_LEGACY_CIPHERS = "@SECLEVEL=0:ECDH+AESGCM:ECDH+CHACHA20:ECDH+AES:RSA+AES:!aNULL:!eNULL"
_MAX_NAMED_CHOICES = 6


def server_context(location: Location, keys: TlsServerKeys) -> ssl.SSLContext | None:
    """Return a new context for the server side; None: plain HTTP.

    Raises ConfigError if a name is unknown or a file cannot be used.
    """
    min_version, max_version = (
        _choice(location / key, name, VERSIONS)
        for key, name in (
            ("min_version", keys.min_version or "TLS12"),
            ("max_version", keys.max_version or "TLS13"),
        )
    )
    suites = _choices(location / "cipher_suites", keys.cipher_suites, CIPHERS)
    curves = _choices(location / "curve_preferences", keys.curve_preferences, CURVES)
    if len(curves) > 1:
        raise (location / "curve_preferences").error(
            "Python's TLS supports one curve: keep one, or leave the key out"
        )
    _check_allowed_sans(location / "client_allowed_sans", keys)
    files_named = (keys.cert_file, keys.key_file, keys.client_ca_file)
    texts = (keys.cert, keys.key, keys.client_ca)
    if not any((*files_named, *texts, keys.client_auth_type)):
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with warnings.catch_warnings():
        # TLS 1.0 is deprecated, but was configured explicitly.
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = min_version
        context.maximum_version = max_version
    _set_ciphers(context, suites, legacy=min_version < ssl.TLSVersion.TLSv1_2)
    prefers_own = keys.prefer_server_cipher_suites
    if prefers_own is not None and not prefers_own:  # Python sets the option by default
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    _load_certificate(context, location, keys)
    _load_authorities(context, location, keys)
    for curve in curves:
        context.set_ecdh_curve(curve)
    context.set_alpn_protocols(["http/1.1"])
    return context


def _choices(
    location: Location, names: tuple[Text | None, ...], choices: Mapping[str, _V]
) -> list[_V]:
    return [
        _choice(location[number], name, choices)
        for number, name in enumerate(names)
        if name is not None
    ]


def _choice(location: Location, name: str, choices: Mapping[str, _V]) -> _V:
    if name not in choices:
        close_matches = difflib.get_close_matches(name, choices, n=1, cutoff=0.8)
        hint = f"; did you mean {close_matches[0]}?" if close_matches else ""
        names = [*choices]
        if len(names) > _MAX_NAMED_CHOICES:
            names[_MAX_NAMED_CHOICES:] = ["others of Go's crypto/tls"]
        raise location.error(f"must be one of {', '.join(names)}{rejected(name)}{hint}")
    return choices[name]


def _set_ciphers(
    context: ssl.SSLContext, suites: list[str | None], *, legacy: bool
) -> None:
    ciphers = [suite for suite in suites if suite is not None]
    if ciphers:
        context.set_ciphers(":".join(["@SECLEVEL=0", *ciphers] if legacy else ciphers))
    elif suites:
        # Only suites of TLS 1.3 are listed, so older versions cannot be used.
        context.minimum_version = ssl.TLSVersion.TLSv1_3
    elif legacy:
        context.set_ciphers(_LEGACY_CIPHERS)


def _load_certificate(
    context: ssl.SSLContext, location: Location, keys: TlsServerKeys
) -> None:
    cert = _one_source(location, "cert", keys.cert, keys.cert_file)
    key = _one_source(location, "key", keys.key, keys.key_file)
    if not cert or not key:
        raise (location / ("key_file" if cert else "cert_file")).error(
            "is missing: TLS needs cert_file and key_file, or cert and key"
        )
    try:
        with _as_file(cert) as cert_path, _as_file(key) as key_path:
            # Without a passphrase, OpenSSL would prompt for one on the terminal.
            context.load_cert_chain(cert_path, key_path, password="")
    except OSError as error:
        cert_key = "cert" if keys.cert else "cert_file"
        key_key = "key" if keys.key else "key_file"
        raise location.error(
            f"{cert_key} and {key_key} are not usable ({_reason(error)}): both must be "
            "PEM, the key must be the certificate's, have no passphrase and, for RSA, "
            "2048 bits or more"
        ) from None


@contextmanager
def _as_file(source: Path | str) -> Iterator[Path | str]:
    """Yield the path of a file, or of a file in memory that holds this text.

    Python's ``ssl`` reads keys only from files. The text is not written to disk, and
    the path is valid only in this process.
    """
    if isinstance(source, Path):
        yield source
        return
    descriptor = os.memfd_create("pem")
    try:
        with open(descriptor, "w", encoding="utf-8", closefd=False) as file:
            file.write(source)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _load_authorities(
    context: ssl.SSLContext, location: Location, keys: TlsServerKeys
) -> None:
    """Configure how client certificates are verified; raise ConfigError."""
    type_location = location / "client_auth_type"
    auth_type = keys.client_auth_type or "NoClientCert"
    mode = _choice(type_location, auth_type, CLIENT_AUTH)
    if mode is None:
        raise type_location.error(
            f"Python's TLS cannot do {auth_type}, which takes certificates "
            "that nobody has verified: use RequireAndVerifyClientCert and "
            "client_ca_file"
        )
    ca_key = "client_ca_file" if keys.client_ca_file else "client_ca"
    authorities = _one_source(
        location, "client_ca", keys.client_ca, keys.client_ca_file
    )
    if authorities is not None and auth_type == "NoClientCert":
        raise type_location.error(
            f"must be given beside {ca_key}, such as RequireAndVerifyClientCert: "
            "without it no client is asked for a certificate"
        )
    context.verify_mode = mode
    context.verify_flags = VERIFY_FLAGS
    if authorities is None:
        if mode != ssl.CERT_NONE:
            context.load_default_certs(ssl.Purpose.CLIENT_AUTH)
        return
    try:
        with _as_file(authorities) as path:
            context.load_verify_locations(path)
    except OSError as error:
        raise (location / ca_key).error(
            f"is not usable ({_reason(error)}): it must be a PEM file of certificates"
        ) from None


def _check_allowed_sans(location: Location, keys: TlsServerKeys) -> None:
    """Raise ConfigError if names are given but no certificate would be verified."""
    if keys.client_allowed_sans is not None and (
        keys.client_auth_type not in _VERIFYING
    ):
        raise location.error(
            f"needs client_auth_type {' or '.join(_VERIFYING)}: otherwise no client "
            "has a verified certificate whose names could be compared"
        )


_VERIFYING = ("RequireAndVerifyClientCert", "VerifyClientCertIfGiven")


def has_allowed_san(
    certificate: Mapping[str, Any] | None, allowed_sans: frozenset[str]
) -> bool:
    """Return whether a client's certificate has an allowed name.

    ``certificate`` is the result of ``getpeercert``. As in the exporter-toolkit, a
    client without a certificate has no name.
    """
    names: tuple[tuple[str, str], ...] = (certificate or {}).get("subjectAltName", ())
    return any(_san(kind, value) in allowed_sans for kind, value in names)


def _san(kind: str, value: str) -> str | None:
    """Return an alternative name in Go's notation; None: an unsupported kind."""
    if kind == "IP Address":
        try:
            return str(ipaddress.ip_address(value.strip()))
        except ValueError:
            return None
    return value if kind in ("DNS", "email", "URI") else None


def _one_source(
    location: Location, key: str, text: str | None, file: PemFile | None
) -> Path | str | None:
    """Return the path from ``…_file``, or the text; None: neither is given."""
    if text and file:
        raise (location / key).error(
            f"is given beside {key}_file, of which only one can count: remove one"
        )
    if text and PEM not in text:
        raise (location / key).error(
            f"must be PEM text (not shown here), with its line {PEM}…; the name of a "
            f"file belongs under {key}_file"
        )
    return text or (file.path if file else None)


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "no_pem").replace("_", " ").lower()
    return error.strerror or "cannot be read"
