"""How the exporter presents itself to a panel: account and certificates, checked."""

from __future__ import annotations

import hashlib
import ssl
from pathlib import Path

from .place import Place
from .schema import BasicAuthKeys, TlsKeys, is_host
from .secrets import CONTROL, Account, FromFile, Literal, Secret
from .settings import Tls


def account(place: Place, keys: BasicAuthKeys) -> Account:
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


def _secret(place: Place, keys: BasicAuthKeys) -> Secret:
    here, file = place / "password", place / "password_file"
    if keys.password is not None and keys.password_file is not None:
        raise here.error(f"is given beside {file}: keep one")
    if keys.password is not None:
        return _literal(here, keys.password)
    if not keys.password_file:
        raise file.error(
            f"is missing: the file that holds the API key; or give the key as {here}"
        )
    secret = FromFile(place.folder / keys.password_file)
    try:
        secret.load()
    except (OSError, ValueError) as error:
        raise file.unreadable(secret.path, error) from None
    return secret


def _literal(place: Place, password: str) -> Secret:
    if not password:
        raise place.error("must not be empty")
    if CONTROL.search(password):
        raise place.error("must hold no line end and no other control character")
    return Literal(password)


def tls(place: Place, keys: TlsKeys) -> Tls:
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


def _file(place: Place, name: str | None, digest: hashlib._Hash) -> Path | None:
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
