"""Certificates and keys, generated when a test needs them."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

HOSTS = ("localhost", "127.0.0.1")


def write_certificates(folder: Path) -> None:
    """Write the files that the tests' web configurations name.

    ``cert.pem`` with ``key.pem`` is the server's and ``client.pem`` a client's, both of
    the authority ``ca.pem``; ``stranger.pem`` is of an authority that nobody trusts.
    """
    authority, other = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    server = authority.issue_cert(*HOSTS)
    server.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    server.private_key_pem.write_to_path(folder / "key.pem")
    both = server.private_key_and_cert_chain_pem
    both.write_to_path(folder / "both.pem")
    for name, issuer in (("client.pem", authority), ("stranger.pem", other)):
        issued = issuer.issue_cert("prometheus@example.com")
        issued.private_key_and_cert_chain_pem.write_to_path(folder / name)


def write_unusable(folder: Path) -> None:
    """Write certificates and keys that cannot be used."""
    server = trustme.CA().issue_cert(*HOSTS)
    server.private_key_pem.write_to_path(folder / "other-key.pem")
    (folder / "empty.pem").write_bytes(b"")
    (folder / "garbage.pem").write_text("no certificate\n")
    body = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    (folder / "broken.pem").write_text(body)
    key = serialization.load_pem_private_key(server.private_key_pem.bytes(), None)
    (folder / "locked-key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"passphrase"),
        )
    )
    _write_short_key(folder)


def _write_short_key(folder: Path) -> None:
    """Write a certificate whose RSA key has 1,024 bits."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505  # it must be refused
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "short")])
    begin = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(begin)
        .not_valid_after(begin + dt.timedelta(days=36_500))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "short.pem").write_bytes(certificate.public_bytes(pem))
    (folder / "short-key.pem").write_bytes(
        key.private_bytes(
            pem,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
