"""TLS of the server: the names of the web configuration → Python's ``ssl``.

The names are those of Go's ``crypto/tls``. Neither Go nor Python lets the cipher
suites of TLS 1.3 be chosen.
"""

from __future__ import annotations

import ssl
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..config.schema import VERIFY_FLAGS

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
"""OpenSSL's names; None for those of TLS 1.3, which cannot be chosen."""
CURVES: Mapping[str, str] = {
    "CurveP256": "prime256v1",
    "CurveP384": "secp384r1",
    "CurveP521": "secp521r1",
    "X25519": "X25519",
}
CLIENT_AUTH: Mapping[str, ssl.VerifyMode | None] = {
    "NoClientCert": ssl.CERT_NONE,
    # Go accepts any certificate or none here, so that none need be requested.
    "RequestClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
    # Python verifies whatever it asks for.
    "RequireAnyClientCert": None,
    "RequireClientCert": None,
}
"""How a client's certificate is verified; None: Python does not support it."""

_LEGACY_CIPHERS = "@SECLEVEL=0:ECDH+AESGCM:ECDH+CHACHA20:ECDH+AES:RSA+AES:!aNULL:!eNULL"


@dataclass(frozen=True, slots=True)
class ServerTls:
    """The TLS settings of the server."""

    cert_file: Path
    key_file: Path
    client_ca_file: Path | None = None
    client_auth: ssl.VerifyMode = ssl.CERT_NONE
    min_version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2
    max_version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
    cipher_suites: tuple[str, ...] = ()
    """Keys of ``CIPHERS``; empty: OpenSSL's default."""
    curve: str | None = None
    """OpenSSL's name of the only curve; None: OpenSSL's default."""
    prefer_server_suites: bool = True

    def ssl_context(self) -> ssl.SSLContext:
        """Return a new context for the server side.

        Raises OSError (SSLError is a subclass) when the certificate, its key or the
        authorities of client certificates cannot be used.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._set_versions(context)
        self._set_ciphers(context)
        # Without a passphrase given, OpenSSL would ask the terminal for it.
        context.load_cert_chain(self.cert_file, self.key_file, password="")
        context.verify_mode = self.client_auth
        context.verify_flags = VERIFY_FLAGS
        if self.client_ca_file is not None:
            context.load_verify_locations(self.client_ca_file)
        elif self.client_auth != ssl.CERT_NONE:
            context.load_default_certs(ssl.Purpose.CLIENT_AUTH)
        context.set_alpn_protocols(["http/1.1"])
        return context

    def _set_versions(self, context: ssl.SSLContext) -> None:
        with warnings.catch_warnings():
            # TLS 1.0 is deprecated, but was asked for explicitly.
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = self.min_version
            context.maximum_version = self.max_version

    def _set_ciphers(self, context: ssl.SSLContext) -> None:
        allows_legacy = self.min_version < ssl.TLSVersion.TLSv1_2
        ciphers = [name for suite in self.cipher_suites if (name := CIPHERS[suite])]
        if ciphers:
            context.set_ciphers(
                ":".join(["@SECLEVEL=0", *ciphers] if allows_legacy else ciphers)
            )
        elif self.cipher_suites:
            # Only suites of TLS 1.3 are listed: older versions have none.
            context.minimum_version = ssl.TLSVersion.TLSv1_3
        elif allows_legacy:
            context.set_ciphers(_LEGACY_CIPHERS)
        if self.curve is not None:
            context.set_ecdh_curve(self.curve)
        if self.prefer_server_suites:
            context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
        else:
            context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
