"""The web configuration: which files are taken, and what is said of the others."""

from __future__ import annotations

import json
import re
import shutil
import ssl
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from certificates import write_certificates, write_unusable
from checkout import DATA, ROOT
from prometheus_versions import Promtool

from exporter.config.file_watch import FileSet
from exporter.errors import ConfigError
from exporter.web.config_file import (
    HttpServerKeys,
    RateLimit,
    RateLimitKeys,
    WebConfig,
    WebKeys,
    load,
)
from exporter.web.tls import TlsServerKeys

CORPUS = DATA / "web"
GOOD = sorted(CORPUS.glob("*.good.yml"))
BAD = sorted(CORPUS.glob("*.bad.yml"))
EXAMPLE = (ROOT / "deploy" / "web.example.yml").read_text("utf-8")
HASH = "$2b$04$" + "A" * 53


def _supports_x25519() -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).set_ecdh_curve("X25519")
    except (ValueError, ssl.SSLError):
        return False
    return True


EXCEPTIONS: Mapping[str, str] = {
    "client_any.good.yml": "Python verifies every certificate that it asks for",
    "client_any_old_name.good.yml": "the same",
    "client_ca_garbage.good.yml": "Python loads no file without a certificate, with "
    "which no client could be let in anyhow",
    "curves.good.yml": "Python can be told one curve",
    "key_short.good.yml": "OpenSSL serves no key of less than 112 bits of security",
    "user_with_a_colon.good.yml": "nobody could log in by such a name",
    "two_documents.good.yml": "what the second document says would be ignored",
    "new_cert_twice.good.yml": "the toolkit ignores the text",
    "new_inline_ca_garbage.good.yml": "with which no client could be let in anyhow",
    "new_sans_unverified.good.yml": "Python verifies what it asks for",
    "new_sans_without_tls.good.yml": "the toolkit ignores it",
    "new_rate_limit_burst_alone.good.yml": "the toolkit ignores it",
    "new_rate_limit_nanoseconds.good.yml": "that is no limit, and surely not meant",
    "new_rate_limit_without_burst.good.yml": "no request would be answered",
} | (
    {}
    if _supports_x25519()
    else {"curve_x25519.good.yml": "this Python can be told other curves only"}
)
"""The files that promtool accepts and the exporter refuses, and why."""
NEWER = "new_"
"""How the names of files begin whose keys promtool 2.42 does not know."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with every file that the corpus and the example name."""
    made = tmp_path_factory.mktemp("web")
    write_certificates(made)
    write_unusable(made)
    shutil.copy(made / "cert.pem", made / "tls.crt")
    shutil.copy(made / "key.pem", made / "tls.key")
    return made


def placed(path: Path, folder: Path) -> Path:
    """Copy a file of the corpus beside the certificates; @…@ is one's text."""
    placed = folder / path.name
    text = re.sub(
        "@([a-z-]+[.]pem)@",
        lambda match: json.dumps((folder / match[1]).read_text()),
        path.read_bytes().decode("utf-8", "surrogateescape"),
    )
    placed.write_bytes(text.encode("utf-8", "surrogateescape"))
    return placed


def written(folder: Path, text: str) -> Path:
    """Write a web configuration beside the certificates."""
    path = folder / "written.yml"
    path.write_text(text, "utf-8")
    return path


def read(path: Path) -> WebConfig:
    """Read a web configuration as the exporter does."""
    return load(path, FileSet(read_at=0.0))


def test_the_corpus_is_there() -> None:
    """A pattern that found no file would pass unseen."""
    assert len(GOOD) >= 40
    assert len(BAD) >= 40
    assert len(GOOD) + len(BAD) == len(list(CORPUS.iterdir()))
    assert set(EXCEPTIONS) <= {path.name for path in GOOD}


@pytest.fixture(scope="module")
def accepted_by_promtool(folder: Path, promtool: Promtool) -> set[str]:
    """Return the names of the files that promtool accepts, all tried by one call."""
    files = [placed(path, folder) for path in (*GOOD, *BAD)]
    run = subprocess.run(
        [promtool.program, "check", "web-config", *files],
        capture_output=True,
        text=True,
        check=False,
    )
    results = re.findall(r"^(\S+) (SUCCESS|FAILED: )", run.stderr, re.MULTILINE)
    assert [Path(file) for file, _ in results] == files
    return {Path(file).name for file, result in results if result == "SUCCESS"}


@pytest.mark.parametrize("path", [*GOOD, *BAD], ids=lambda path: path.name)
def test_promtool_and_the_exporter_take_the_same_files(
    path: Path, folder: Path, accepted_by_promtool: set[str], prometheus_version: str
) -> None:
    """One file serves for all exporters of a site; the exceptions are listed."""
    try:
        read(placed(path, folder))
        ours = True
    except ConfigError:
        ours = False

    good = path.name.endswith(".good.yml")
    known = prometheus_version != "2" or not path.name.startswith(NEWER)
    assert (path.name in accepted_by_promtool) == (good and known)
    assert ours == (good and path.name not in EXCEPTIONS)


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.name)
def test_a_bad_file_is_refused_with_the_message_it_begins_with(
    path: Path, folder: Path
) -> None:
    """Every message names the file, the place, the value if it may, and the mend."""
    file = placed(path, folder)

    with pytest.raises(ConfigError) as caught:
        read(file)

    output = str(caught.value).replace(str(file), "FILE").replace(str(folder), "DIR")
    expected = path.read_text(encoding="utf-8").partition("\n")[0]
    assert _without_library(f"# {output}") == _without_library(expected)


def _without_library(message: str) -> str:
    """Leave out what OpenSSL says, which differs between its versions."""
    return re.sub(r"not usable \([^)]*\)", "not usable", message)


@pytest.mark.parametrize("name", sorted(EXCEPTIONS))
def test_what_python_cannot_do_is_refused_by_name(name: str, folder: Path) -> None:
    """Silence would be taken for consent: no demand on clients is dropped unsaid."""
    with pytest.raises(ConfigError, match=rf"{name}: .*\w"):
        read(placed(CORPUS / name, folder))


def test_a_file_that_cannot_be_read_is_named(folder: Path) -> None:
    """The one that the flag names, and in the words of the system."""
    with pytest.raises(ConfigError, match=r"no\.yml: cannot be read: No such file"):
        read(folder / "no.yml")


def test_the_example_is_a_web_configuration_for_all_exporters(
    folder: Path, promtool: Promtool
) -> None:
    """It is what people copy: it works beside a certificate, and lets nobody in yet."""
    file = written(folder, EXAMPLE)
    found = read(file)

    subprocess.run([promtool.program, "check", "web-config", file], check=True)
    assert found.ssl_context is not None
    assert found.ssl_context.verify_mode == ssl.CERT_NONE
    assert [*found.headers] == ["X-Frame-Options", "X-Content-Type-Options"]
    assert [*found.users] == [b"prometheus"]
    assert found.rate_limit is None
    assert [line for line in EXAMPLE.splitlines() if len(line) > 90] == []


def test_the_example_has_every_key(folder: Path) -> None:
    """Those that older exporters refuse as a comment, which works as well."""
    whole = re.sub(r"^( *)# ( *\w+:(?: |$))", r"\1\2", EXAMPLE, flags=re.MULTILINE)
    keys = yaml.safe_load(whole)

    assert {*keys} == {*WebKeys.__struct_fields__}
    assert {*keys["tls_server_config"]} == {*TlsServerKeys.__struct_fields__}
    assert {*keys["http_server_config"]} == {*HttpServerKeys.__struct_fields__}
    assert {*keys["rate_limit"]} == {*RateLimitKeys.__struct_fields__}
    assert read(written(folder, whole)).rate_limit == RateLimit(0.1, 20)


def test_an_empty_file_asks_for_nothing(folder: Path) -> None:
    """No TLS, no users, no headers: as if there were no file."""
    found = read(written(folder, ""))

    assert found == WebConfig()
    assert found.ssl_context is None


@pytest.mark.parametrize(
    "user",
    [
        "alice: open-sesame",
        "alice:open-sesame",
        "'alice:open-sesame': no-hash",
        "'alice:open-sesame': [no-hash]",
    ],
)
def test_no_secret_shows_in_an_error_or_a_repr(user: str, folder: Path) -> None:
    """A hash can be attacked at leisure, and a clear password needs no attack."""
    good = read(written(folder, f"basic_auth_users: {{alice: {HASH}}}"))
    with pytest.raises(ConfigError) as refused:
        read(written(folder, f"basic_auth_users: {{{user}}}"))

    assert HASH not in repr(good)
    assert "open-sesame" not in str(refused.value)


def test_headers_are_one_line_each_and_blank_ones_are_not_sent(folder: Path) -> None:
    """As the toolkit has it: numbers and words that YAML takes for others are text."""
    file = written(
        folder,
        "http_server_config:\n  headers:\n"
        "    X-XSS-Protection: 0\n"
        "    Strict-Transport-Security: no\n"
        '    Content-Security-Policy: "a;\\r\\n b"\n',
    )
    blank = written
    headers = read(file).headers
    blanks = read(
        blank(folder, "http_server_config: {headers: {X-XSS-Protection: }}")
    ).headers

    assert headers == {
        "X-XSS-Protection": "0",
        "Strict-Transport-Security": "no",
        "Content-Security-Policy": "a;   b",
    }
    assert blanks == {}


@pytest.mark.parametrize("version", ["2", "2a", "2b", "2x", "2y", "2z", "1"])
def test_every_notation_of_a_hash_means_the_same(version: str, folder: Path) -> None:
    """The toolkit looks at cost, salt and digest alone."""
    text = HASH.replace("$2b$", f"${version}$")
    file = written(folder, f"basic_auth_users: {{alice: {text}}}")

    assert read(file).users == {b"alice": HASH.encode()}


_TLS = "tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\n  "


def agreed(
    folder: Path, keys: str, **client: ssl.TLSVersion
) -> tuple[str, str | None] | None:
    """Shake hands with a server of these keys; return cipher and version, or None."""
    server = read(written(folder, _TLS + keys)).ssl_context
    assert server is not None
    context = ssl.create_default_context(cafile=folder / "ca.pem")
    context.set_ciphers("ALL:@SECLEVEL=0")
    for name, version in client.items():
        setattr(context, name, version)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = (
        context.wrap_bio(to_client, to_server, server_hostname="localhost"),
        server.wrap_bio(to_server, to_client, server_side=True),
    )
    done: set[ssl.SSLObject] = set()
    while len(done) < len(sides):
        for side in sides:
            try:
                side.do_handshake()
                done.add(side)
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError:
                return None
    cipher = sides[0].cipher()
    assert cipher is not None
    return cipher[0], sides[0].version()


_CHACHA = "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"
_12, _13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


@pytest.mark.parametrize(
    ("keys", "newest", "expected"),
    [
        ("", _13, "TLSv1.3"),
        ("", _12, "TLSv1.2"),
        ("max_version: TLS12", _13, "TLSv1.2"),
        ("min_version: TLS13", _12, None),
        ("{min_version: TLS13, max_version: TLS12}", _13, None),
        ("cipher_suites: [TLS_AES_128_GCM_SHA256]", _12, None),
        ("cipher_suites: [TLS_AES_128_GCM_SHA256]", _13, "TLSv1.3"),
    ],
)
def test_versions_are_kept_to(
    keys: str, newest: ssl.TLSVersion, expected: str | None, folder: Path
) -> None:
    """From TLS 1.2 to TLS 1.3 unless the file says otherwise."""
    if keys.startswith("{"):
        keys = keys.strip("{}").replace(", ", "\n  ")
    found = agreed(folder, keys, maximum_version=newest)

    assert (found and found[1]) == expected


@pytest.mark.filterwarnings("ignore:.*TLSv1_?1 is deprecated:DeprecationWarning")
def test_old_clients_are_served_where_the_file_says_so(folder: Path) -> None:
    """TLS 1.1 and no other, for clients that know nothing newer."""
    old = ssl.TLSVersion.TLSv1_1
    keys = "min_version: TLS10\n  max_version: TLS11"
    found = agreed(folder, keys, minimum_version=old, maximum_version=old)
    default = agreed(folder, "", minimum_version=old, maximum_version=old)

    assert found is not None
    assert found[1] == "TLSv1.1"
    assert default is None


@pytest.mark.parametrize(
    ("suites", "expected"),
    [
        ("TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA", "ECDHE-ECDSA-AES256-SHA"),
        (
            f"{_CHACHA}, TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
            "ECDHE-ECDSA-CHACHA20-POLY1305",
        ),
        ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", None),
    ],
)
def test_suites_are_those_of_the_file_in_its_order(
    suites: str, expected: str | None, folder: Path
) -> None:
    """Up to TLS 1.2; none is left where the certificate's key fits none of them."""
    keys = f"cipher_suites: [{suites}]"
    found = agreed(folder, keys, maximum_version=_12)

    assert (found and found[0]) == expected
