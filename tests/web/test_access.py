"""Who is let in, over real sockets: users, certificates, headers, changes of files."""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
import threading
from pathlib import Path

import aiohttp
import bcrypt
import pytest
import trustme
from certificates import (
    AUTHORITIES,
    write_certificates,
    write_chain,
    write_unusable,
)
from harness import SteppedClock
from secured_server import (
    HASH,
    HEADERS,
    LONGEST_REAL_WAIT_SECONDS,
    PASSWORD,
    TLS,
    TLS_WITH_CLIENT_CERT,
    USERS,
    SecuredServer,
    basic_auth,
    client_context,
    secured,
)
from structlog.testing import capture_logs

from exporter.config.file_watch import FileSet, FileWatcher
from exporter.errors import ConfigError
from exporter.web.auth import PasswordChecker, basic_auth_login, watched_config
from exporter.web.config_file import load

PATHS = ("/", "/metrics", "/config", "/-/healthy", "/-/ready", "/no-such", "/-/reload")
_LINE = 16
"""So many passwords wait to be checked at most."""


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with certificates of one authority, and of a stranger's."""
    folder = tmp_path_factory.mktemp("certificates")
    write_certificates(folder)
    return folder


@pytest.fixture
def folder(tmp_path: Path, certificates: Path) -> Path:
    """Return a folder of its own with the same certificates."""
    for file in certificates.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


# Users


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "OPTIONS"])
async def test_every_path_and_method_is_behind_the_door(
    path: str, method: str, folder: Path
) -> None:
    """Who is not let in does not even learn which paths there are."""
    async with secured(folder, USERS) as server:
        refused = await server.request(path, method, user=None)
        accepted = await server.status(path, method)

    assert refused.status == 401
    assert refused.headers["WWW-Authenticate"] == "Basic"
    assert accepted != 401


async def test_an_expectation_is_not_answered_before_the_door(folder: Path) -> None:
    """`Expect` asks for an answer before the body; strangers get none but 401."""
    async with secured(folder, USERS) as server:
        for expectation in ("100-continue", "nonsense"):
            status = await server.status(
                "/-/reload", "POST", user=None, headers={"Expect": expectation}
            )

            assert status == 401


@pytest.mark.parametrize(
    ("user", "password"),
    [
        ("alice", "wrong"),
        ("alice", ""),
        ("Alice", PASSWORD),
        ("bob", PASSWORD),
        ("", PASSWORD),
        ("", ""),
    ],
)
async def test_a_wrong_name_or_password_is_refused(
    user: str, password: str, folder: Path
) -> None:
    """And refused the same way, with the same work."""
    async with secured(folder, USERS) as server:
        refused = await server.request(user=user, password=password)

    assert (refused.status, await refused.text()) == (401, "Unauthorized.\n")
    assert len(server.checks) == 1


@pytest.mark.parametrize(
    "header",
    [
        "Basic",
        "Basic ",
        "Basic !!!",
        "Basic YWxpY2U=",
        "Bearer YWxpY2U6Y29ycmVjdCBob3JzZQ==",
        "Basic YWxpY2U6Y29ycmVjdCBob3JzZQ==; x",
        "Basic \xff\xfe",
    ],
)
async def test_a_header_that_is_no_login_costs_nothing(
    header: str, folder: Path
) -> None:
    """Only what has a name and a password is worth a look at a hash."""
    async with secured(folder, USERS) as server:
        status = await server.status(user=None, headers={"Authorization": header})

    assert status == 401
    assert server.checks == []


async def test_a_user_who_does_not_exist_costs_what_a_wrong_password_costs(
    folder: Path,
) -> None:
    """The time of a refusal tells nobody which names there are."""
    costly = bcrypt.hashpw(b"x", bcrypt.gensalt(5)).decode()
    async with secured(folder, f"{USERS}  bob: {costly}\n") as server:
        await server.status(user="bob", password="wrong")
        await server.status(user="nobody", password="wrong")
    (_, known), (_, unknown) = server.checks

    assert known == costly.encode()
    assert unknown[:7] == known[:7] == b"$2b$05$"
    assert len(unknown) == len(known)


async def test_nobody_has_the_password_of_those_who_do_not_exist(
    folder: Path,
) -> None:
    """Even if a password had the hash that stands in for theirs."""
    async with secured(folder, USERS, check=lambda *_: True) as server:
        assert await server.status(user="nobody") == 401
        assert await server.status(user="alice", password="anything") == 200


async def test_a_password_is_checked_once(folder: Path) -> None:
    """A scrape does not pay for bcrypt, and neither does a wrong one for ever."""
    async with secured(folder, USERS) as server:
        good = [await server.status() for _ in range(3)]
        bad = [await server.status(password="wrong") for _ in range(3)]

    assert (good, bad) == ([200] * 3, [401] * 3)
    assert len(server.checks) == 2


async def test_the_same_password_is_checked_once_however_many_come(
    folder: Path,
) -> None:
    """A herd of scrapers after a restart is one check."""
    async with secured(folder, USERS) as server:
        found = await asyncio.gather(*(server.status() for _ in range(20)))

    assert set(found) == {200}
    assert len(server.checks) == 1


async def test_a_changed_hash_ends_the_old_password(folder: Path) -> None:
    """What is remembered belongs to the hash that it was checked against."""
    new = bcrypt.hashpw(b"battery staple", bcrypt.gensalt(4)).decode()
    async with secured(folder, USERS) as server:
        before = await server.status()
        server.write_web_config(f"basic_auth_users: {{alice: {new}}}")
        after = await server.status(), await server.status(password="battery staple")

    assert before == 200
    assert after == (401, 200)


@pytest.mark.parametrize("password", ["p" * 72, "p" * 100, "ü" * 50, "a:b", "\t x"])
async def test_every_password_that_bcrypt_takes_is_taken(
    password: str, folder: Path
) -> None:
    """Bcrypt looks at 72 bytes; what htpasswd hashed must not be refused for more."""
    hashed = bcrypt.hashpw(password.encode()[:72], bcrypt.gensalt(4)).decode()
    users = f"basic_auth_users: {{zoë@example.com: {hashed}}}"
    async with secured(folder, users) as server:
        status = await server.status(user="zoë@example.com", password=password)

    assert status == 200


async def test_a_hash_of_wrong_letters_is_nobodys_password(folder: Path) -> None:
    """The toolkit takes such a file; no login matches it, and nothing breaks."""
    users = "basic_auth_users:\n  alice: $2y$04$" + "!" * 53
    async with secured(folder, users) as server:
        assert await server.status() == 401


async def test_a_flood_of_wrong_passwords_holds_up_no_scrape(folder: Path) -> None:
    """It waits in a line of its own, which is short, and drives nobody out."""
    release = threading.Event()

    def slow(password: bytes, hashed: bytes) -> bool:
        if password.startswith(b"flood"):
            release.wait(LONGEST_REAL_WAIT_SECONDS)
        return bcrypt.checkpw(password, hashed)

    async with secured(folder, USERS, check=slow) as server:
        first = await server.status()
        flood = [
            asyncio.create_task(server.request(password=f"flood {number}"))
            for number in range(60)
        ]
        try:
            # Those for whom there is no room in the line are answered at once.
            answers = asyncio.as_completed(flood)
            refused = [await next(answers) for _ in range(len(flood) - _LINE)]
            during = [await server.status() for _ in range(3)]
        finally:
            release.set()
        found = [(await task).status for task in flood]
        after = await server.status()

    assert first == after == 200
    assert during == [200] * 3
    assert {answer.status for answer in refused} == {503}
    assert {answer.headers["Retry-After"] for answer in refused} == {"1"}
    assert sorted(found) == [401] * _LINE + [503] * (len(flood) - _LINE)


async def test_no_number_of_wrong_passwords_is_remembered_for_ever(
    folder: Path,
) -> None:
    """What is remembered is bounded, and the right password is not among it."""
    async with secured(
        folder, USERS, check=lambda p, _: p == b"correct horse"
    ) as server:
        await server.status()
        async with aiohttp.ClientSession() as session:
            for number in range(250):
                wrong = basic_auth("alice", str(number))
                async with session.get(f"{server.base}/", headers=wrong) as got:
                    assert got.status == 401
        asked = len(server.checks)
        await server.status()
        await server.status(password="0")

    assert asked == 251
    assert len(server.checks) == 252


async def test_no_password_is_kept_or_logged(folder: Path) -> None:
    """Not even in what remembers them."""
    passwords = PasswordChecker()
    users = {b"alice": HASH.encode()}
    with capture_logs() as logs:
        assert await passwords.matches(users, (b"alice", PASSWORD.encode()))
        assert not await passwords.matches(users, (b"alice", b"wrong horse"))
        async with secured(folder, USERS) as server:
            await server.status(password="wrong horse")
    passwords.close()

    for text in (repr(passwords), repr(logs)):
        assert "horse" not in text
        assert basic_auth("alice", PASSWORD)["Authorization"] not in text


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("basic YTpi", (b"a", b"b")),
        ("BASIC YTpi", (b"a", b"b")),
        ("Basic YTpiOmM=", (b"a", b"b:c")),
        ("Basic Og==", (b"", b"")),
    ],
)
def test_a_login_is_all_before_the_first_colon_and_all_after(
    header: str | None, expected: tuple[bytes, bytes] | None
) -> None:
    """RFC 7617: names hold no colon, passwords may."""
    assert basic_auth_login(header) == expected


# TLS


async def test_tls_serves_who_trusts_its_certificate(folder: Path) -> None:
    """The file's certificate is the one that is shown, and paths begin at the file."""
    async with secured(folder, TLS) as server:
        status = await server.status(user=None, ssl=client_context(folder))
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await server.status(user=None)

    assert status == 200


@pytest.mark.parametrize(
    ("demand", "certificate", "expected"),
    [
        ("RequireAndVerifyClientCert", "client.pem", True),
        ("RequireAndVerifyClientCert", "stranger.pem", False),
        ("RequireAndVerifyClientCert", None, False),
        ("VerifyClientCertIfGiven", "client.pem", True),
        ("VerifyClientCertIfGiven", "stranger.pem", False),
        ("VerifyClientCertIfGiven", None, True),
        ("RequestClientCert", "stranger.pem", True),
        ("RequestClientCert", None, True),
    ],
)
async def test_certificates_of_clients_are_demanded_as_the_file_says(
    demand: str,
    certificate: str | None,
    expected: bool,  # noqa: FBT001  # of a table
    folder: Path,
) -> None:
    """Signed by the file's authority, by another, or not there at all."""
    text = TLS_WITH_CLIENT_CERT.replace("RequireAndVerifyClientCert", demand)
    async with secured(folder, text) as server:
        try:
            asked = server.status(user=None, ssl=client_context(folder, certificate))
            served = await asked == 200
        except (aiohttp.ClientError, ConnectionError):
            served = False

    assert served == expected


@pytest.mark.parametrize("named", AUTHORITIES)
async def test_any_authority_of_clients_that_is_named_is_trusted(
    named: str, folder: Path
) -> None:
    """On every version of Python, as by Prometheus' own exporters."""
    ca_file, chain = write_chain(folder, named)
    client = client_context(folder)
    client.load_cert_chain(chain)
    text = TLS_WITH_CLIENT_CERT.replace("ca.pem", ca_file.name)
    async with secured(folder, text) as server:
        assert await server.status(user=None, ssl=client) == 200


async def test_a_certificate_does_not_replace_a_password(folder: Path) -> None:
    """Who asks for both means both."""
    known = client_context(folder, "client.pem")
    async with secured(folder, TLS_WITH_CLIENT_CERT + USERS) as server:
        assert await server.status(user=None, ssl=known) == 401
        assert await server.status(ssl=known) == 200


# Headers


@pytest.mark.parametrize("text", [HEADERS, HEADERS + USERS])
async def test_the_headers_of_the_file_are_on_every_answer(
    text: str, folder: Path
) -> None:
    """On errors too: 401, 404, 405, and what is no request at all."""
    async with secured(folder, text) as server:
        answers = [
            await server.request(path, method, user=user)
            for path in PATHS
            for method in ("GET", "POST", "PUT")
            for user in (None, "alice")
        ]
        reader, writer = await asyncio.open_connection(
            *server.base.removeprefix("http://").split(":")
        )
        writer.write(b"no request\r\n\r\n")
        output = (await reader.read()).decode()
        writer.close()

    assert {answer.headers.get("X-Frame-Options") for answer in answers} == {"deny"}
    assert {answer.headers["Server"] for answer in answers} == {"onapp-backup-exporter"}
    assert {200, 404, 405} <= {answer.status for answer in answers}
    assert output.startswith("HTTP/1.0 400")
    assert "X-Frame-Options: deny" in output


async def test_a_header_of_the_file_goes_before_our_own(folder: Path) -> None:
    """Whoever writes a policy for their site means every page."""
    text = "http_server_config: {headers: {Content-Security-Policy: sandbox}}"
    async with secured(folder, text) as server:
        page = await server.request("/")

    assert page.headers["Content-Security-Policy"] == "sandbox"


# Changes


async def test_a_changed_file_is_taken_with_the_next_request(folder: Path) -> None:
    """Users come and go, and headers too, without a restart."""
    async with secured(folder, "") as server:
        found = [await server.status(user=None)]
        server.write_web_config(USERS + HEADERS)
        found.append(await server.status(user=None))
        with_headers = await server.request()
        server.write_web_config(HEADERS)
        found.append(await server.status(user=None))

    assert found == [200, 401, 200]
    assert with_headers.headers["X-Frame-Options"] == "deny"


async def test_the_file_is_looked_at_once_a_second_at_most(folder: Path) -> None:
    """A thousand requests a second are not a thousand looks."""
    async with secured(folder, USERS) as server:
        server.file.write_text("", "utf-8")
        server.clock.elapsed += 0.9
        server.file.write_text(HEADERS, "utf-8")
        early = await server.status(user=None)
        server.clock.elapsed += 0.1
        late = await server.status(user=None)

    assert (early, late) == (401, 200)


async def test_a_new_certificate_is_shown_to_the_next_connection(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Connections that are open go on with the old one."""
    renewed = tmp_path_factory.mktemp("renewed")
    write_certificates(renewed)
    async with secured(folder, TLS) as server, aiohttp.ClientSession() as open_before:
        old = client_context(folder)
        async with open_before.get(f"{server.base}/-/healthy", ssl=old) as got:
            assert got.status == 200
        for name in ("cert.pem", "key.pem"):
            (folder / name).write_bytes((renewed / name).read_bytes())
        server.clock.elapsed += 1
        after = await server.status(user=None, ssl=client_context(renewed))
        async with open_before.get(f"{server.base}/-/healthy", ssl=old) as got:
            still = got.status
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await server.status(user=None, ssl=old)

    assert (after, still) == (200, 200)


async def test_a_new_authority_decides_on_the_next_connection(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Who was let in by the old one alone is let in no more."""
    renewed = tmp_path_factory.mktemp("renewed")
    write_certificates(renewed)
    known = client_context(folder, "client.pem")
    async with secured(folder, TLS_WITH_CLIENT_CERT) as server:
        before = await server.status(user=None, ssl=known)
        (folder / "ca.pem").write_bytes((renewed / "ca.pem").read_bytes())
        server.clock.elapsed += 1
        with pytest.raises((aiohttp.ClientError, ConnectionError)):
            await server.status(user=None, ssl=known)

    assert before == 200


@pytest.mark.parametrize(
    ("bad", "output"),
    [
        ("nonsense: true\n", "nonsense: unknown key"),
        ("basic_auth_users: {alice: x}\n", "must be a bcrypt hash"),
        ("basic_auth_users: [\n", "line 2"),
        ("", "is empty: to do without TLS and users, restart"),
        (USERS + TLS, "TLS cannot be switched on or off"),
        (None, "cannot be read"),
    ],
)
async def test_a_bad_file_keeps_the_old_one_and_is_logged_once(
    bad: str | None, output: str, folder: Path
) -> None:
    """When it turns bad, not with every request; and again when it is good."""
    with capture_logs() as logs:
        async with secured(folder, USERS) as server:
            if bad is None:
                server.file.unlink()
                server.clock.elapsed += 1
            else:
                server.write_web_config(bad)
            kept = []
            for _ in range(3):
                kept += [await server.status(user=None), await server.status()]
                server.clock.elapsed += 1
            server.write_web_config(USERS + HEADERS)
            after = await server.request()
    events = [entry for entry in logs if "web configuration" in entry["event"]]

    assert kept == [401, 200] * 3
    assert after.headers["X-Frame-Options"] == "deny"
    assert [entry["event"] for entry in events] == [
        "web configuration could not be reloaded, keeping the old one",
        "web configuration reloaded",
    ]
    assert output in events[0]["error"]


async def test_a_bad_certificate_keeps_the_old_one(folder: Path) -> None:
    """A key that is not the certificate's yet, as there is while both are written."""
    async with secured(folder, TLS) as server:
        key = (folder / "key.pem").read_bytes()
        for change in (b"", b"garbage", None):
            if change is None:
                (folder / "key.pem").unlink()
            else:
                (folder / "key.pem").write_bytes(change)
            server.clock.elapsed += 1
            assert await server.status(user=None, ssl=client_context(folder)) == 200
        (folder / "key.pem").write_bytes(key)
        server.clock.elapsed += 1
        assert await server.status(user=None, ssl=client_context(folder)) == 200


async def test_tls_is_not_switched_off_by_a_file_without_it(folder: Path) -> None:
    """Neither by an empty one nor by one with users alone."""
    with capture_logs() as logs:
        async with secured(folder, TLS + USERS) as server:
            for text in ("", USERS):
                server.write_web_config(text)
                assert await server.status(ssl=client_context(folder)) == 200
                assert await server.status(user=None, ssl=client_context(folder)) == 401

    assert [entry["event"] for entry in logs].count(
        "web configuration could not be reloaded, keeping the old one"
    ) == 2


def test_a_new_file_is_read_until_it_is_two_seconds_old(tmp_path: Path) -> None:
    """A file system may give two versions one time: the first may not be the last."""
    file = tmp_path / "file"
    file.touch()
    clock = SteppedClock(start=file.stat().st_mtime + 0.5)
    ages: list[float] = []

    def make(files: FileSet, _: object) -> float:
        files.add(file)
        ages.append(0.5 + clock.elapsed)
        return ages[-1]

    watcher = FileWatcher(make, lambda _: None, clock)
    for _ in range(10):
        clock.elapsed += 1
        watcher.current()

    assert ages == [0.5, 1.5, 2.5]


def test_a_bad_file_at_the_start_is_an_error(folder: Path) -> None:
    """There is no old one to keep."""
    file = folder / "web.yml"
    file.write_text("nonsense: 1")

    with pytest.raises(ConfigError, match=r"web\.yml: line 1: nonsense: unknown key"):
        watched_config(file, SteppedClock())


# What newer versions of the toolkit have


def inline(folder: Path, text: str) -> str:
    """Return a web configuration with the files' content in place of their names."""
    return re.sub(
        "(cert|key|client_ca)_file: (.*)",
        lambda named: f"{named[1]}: {json.dumps((folder / named[2]).read_text())}",
        text,
    )


async def test_certificates_and_key_can_stand_in_the_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One Secret holds all; no other file is read, and the key is written to none."""
    monkeypatch.setattr(tempfile, "tempdir", "/proc/no-such-folder")
    text = inline(folder, TLS_WITH_CLIENT_CERT)
    known = client_context(folder, "client.pem")
    (folder / "cert.pem").unlink()
    (folder / "key.pem").unlink()
    async with secured(folder, text) as server:
        accepted = await server.status(user=None, ssl=known)
        with pytest.raises((aiohttp.ClientError, ConnectionError)):
            await server.status(user=None, ssl=client_context(folder))

    assert accepted == 200


@pytest.mark.parametrize("kind", ["key is a list", "another key", "as a file's name"])
def test_a_key_in_the_file_is_never_shown(kind: str, folder: Path) -> None:
    """Neither its text nor a part of it, whatever is wrong."""
    key = (folder / "key.pem").read_text()
    text = inline(folder, TLS)
    if kind == "key is a list":
        text = f"tls_server_config: {{key: [{json.dumps(key)}]}}"
    elif kind == "another key":
        write_unusable(folder)
        key = (folder / "other-key.pem").read_text()
        text = inline(folder, TLS.replace("key.pem", "other-key.pem"))
    else:
        text = text.replace(" key:", " key_file:")
    (folder / "web.yml").write_text(text, "utf-8")

    with pytest.raises(ConfigError) as caught:
        load(folder / "web.yml", FileSet(read_at=0.0))

    assert "tls_server_config" in str(caught.value)
    assert not any(line in str(caught.value) for line in key.split("\n")[1:-2])


NAMES = ["prometheus@example.com", "a.example.com", "192.0.2.1", "2001:db8::1"]


@pytest.fixture
def named_clients(folder: Path) -> Path:
    """Return a folder with a server's certificate, and a client's for each name."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    server = authority.issue_cert("localhost", "127.0.0.1")
    server.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    server.private_key_pem.write_to_path(folder / "key.pem")
    for number, name in enumerate(NAMES):
        issued = authority.issue_cert(name).private_key_and_cert_chain_pem
        issued.write_to_path(folder / f"client{number}.pem")
    return folder


async def is_served(server: SecuredServer, folder: Path, client: str | None) -> bool:
    """Return whether a client with this certificate gets an answer."""
    try:
        context = client_context(folder, client)
        return await server.status(user=None, ssl=context) == 200
    except (aiohttp.ClientError, ConnectionError):
        return False


@pytest.mark.parametrize("newest", ["TLS12", "TLS13"])
async def test_only_clients_of_the_allowed_names_are_served(
    newest: str, named_clients: Path
) -> None:
    """Of every kind, as Go writes them; a change of the list counts at once."""
    base = f"{TLS_WITH_CLIENT_CERT}  max_version: {newest}\n  client_allowed_sans: "
    async with secured(named_clients, f"{base}{json.dumps(NAMES)}\n") as server:
        clients = [f"client{number}.pem" for number in range(len(NAMES))]
        all_served = [await is_served(server, named_clients, c) for c in clients]
        server.write_web_config(f"{base}[b.example.com, 2001:db8::1]\n")
        few_served = [await is_served(server, named_clients, c) for c in clients]
        server.write_web_config(f"{base}[]\n")
        none_served = [await is_served(server, named_clients, c) for c in clients]

    assert all_served == [True] * 4
    assert few_served == [False, False, False, True]
    assert none_served == [False] * 4


async def test_with_allowed_names_a_client_must_have_a_certificate(
    named_clients: Path,
) -> None:
    """Also where one is verified only if it is given: the toolkit refuses it too."""
    keys = TLS_WITH_CLIENT_CERT.replace(
        "RequireAndVerifyClientCert", "VerifyClientCertIfGiven"
    )
    text = f"{keys}  client_allowed_sans: [a.example.com]\n"
    async with secured(named_clients, text) as server:
        assert await is_served(server, named_clients, "client1.pem")
        assert not await is_served(server, named_clients, None)


async def test_more_requests_than_the_rate_limit_are_refused(folder: Path) -> None:
    """A burst at once, then one per interval; health checks are always answered."""
    limit = "rate_limit: {interval: 1m30s, burst: 2}\n"
    async with secured(folder, limit) as server:

        async def statuses(number: int) -> list[int]:
            return [await server.status(user=None) for _ in range(number)]

        first = await statuses(3)
        refused = await server.request(user=None)
        healthy = await server.status("/-/healthy", user=None)
        server.clock.elapsed += 89.0
        early = await statuses(1)
        server.clock.elapsed += 1.0
        second = await statuses(2)
        server.clock.elapsed += 3600.0
        after_a_pause = await statuses(3)
        server.write_web_config(limit.replace("2", "1"))
        changed = await statuses(2)
        server.write_web_config("rate_limit: {interval: 0, burst: 1}\n")
        unlimited = await statuses(5)

    assert first == [200, 200, 429]
    assert (refused.headers["Retry-After"], healthy) == ("90", 200)
    assert (early, second) == ([429], [200, 429])
    assert after_a_pause == [200, 200, 429]
    assert changed == [200, 429]
    assert unlimited == [200] * 5


async def test_passwords_beyond_the_rate_limit_are_not_checked(folder: Path) -> None:
    """That is what it is for: guessing, and bcrypt's costs, are limited."""
    text = f"{USERS}rate_limit: {{interval: 1h, burst: 2}}\n"
    async with secured(folder, text) as server:
        got = [await server.status(password=f"wrong {n}") for n in range(4)]

    assert got == [401, 401, 429, 429]
    assert len(server.checks) == 2
