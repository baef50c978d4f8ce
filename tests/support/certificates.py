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


AUTHORITIES = ("intermediate", "without-key-usage", "the-certificate-itself")
"""Those of ``write_chain`` that people name, and that OpenSSL may refuse."""


def write_chain(folder: Path, authority: str) -> tuple[Path, Path]:
    """Write an authority and a chain with key; return both files.

    The chain's certificate is for ``cp.example.com`` and for servers and clients.
    """
    ca, chain = folder / f"{authority}.pem", folder / f"{authority}-chain.pem"
    if authority == "without-key-usage":
        _write_authority_without_key_usage(ca, chain)
        return ca, chain
    intermediate = trustme.CA().create_child_ca()
    issued = intermediate.issue_cert("cp.example.com")
    issued.private_key_and_cert_chain_pem.write_to_path(chain)
    trusted = (
        intermediate.cert_pem
        if authority == "intermediate"
        else issued.cert_chain_pems[0]
    )
    trusted.write_to_path(ca)
    return ca, chain


def _write_authority_without_key_usage(ca: Path, chain: Path) -> None:
    """Write them as ``openssl req -x509`` without extensions made them for years."""
    ca_key, key = (rsa.generate_private_key(65537, 2048) for _ in range(2))
    issuer, subject = (
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        for name in ("own authority", "cp.example.com")
    )
    begin = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    unsigned = (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .serial_number(1)
        .not_valid_before(begin)
        .not_valid_after(begin + dt.timedelta(days=36_500))
    )
    authority = (
        unsigned.subject_name(issuer)
        .public_key(ca_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    names = x509.SubjectAlternativeName([x509.DNSName("cp.example.com")])
    certificate = (
        unsigned.subject_name(subject)
        .public_key(key.public_key())
        .add_extension(names, critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    ca.write_bytes(authority.public_bytes(pem))
    private_key = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    chain.write_bytes(private_key + certificate.public_bytes(pem))
