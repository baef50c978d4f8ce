"""How a panel is asked: what goes over the wire, what never does, what is counted."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import subprocess
import threading
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import aiohttp
import faults
import pytest
from builders import a_cloud, answer_with, in_both_formats
from certificates import AUTHORITIES, write_chain
from faulty_panel import Panel
from harness import BACKUPS_ONLY, NOW, MonitoredCloud, SteppedTimeoutClock
from harness import monitored as monitored_with
from structlog.testing import capture_logs

monitored = partial(monitored_with, collectors=BACKUPS_ONLY)

RESOURCES = (
    *("version", "virtual_machines", "backups", "schedules", "disks"),
    *("transactions", "backup_servers", "recovery_points"),
)
REASONS = (
    "timeout",
    "connection",
    "tls",
    "unauthorized",
    "forbidden",
    "not_found",
    "status",
    "redirect",
    "too_large",
    "decode",
)


@pytest.fixture
def log() -> Iterator[list[Any]]:
    """Collect what is logged."""
    with capture_logs() as entries:
        yield entries


@asynccontextmanager
async def refusing_proxy(heads: list[str]) -> AsyncIterator[str]:
    """Start a proxy that refuses every account; yield its host and port.

    The heads of the requests are added to ``heads``.
    """

    async def refuse(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 407 Who\r\nContent-Length: 0\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as proxy:
        yield f"127.0.0.1:{proxy.sockets[0].getsockname()[1]}"


async def errors(cloud: MonitoredCloud) -> dict[str, float]:
    """Return the errors that were counted, without those that never happened."""
    counted = await cloud.series("onapp_api_errors_total", panel="cp")
    return {where: count for where, count in counted.items() if count}


async def answers(cloud: MonitoredCloud, **labels: object) -> dict[str, float]:
    """Return the answers that were counted, without those that never came."""
    counted = await cloud.series("onapp_api_requests_total", panel="cp", **labels)
    return {where: count for where, count in counted.items() if count}


@in_both_formats
async def test_every_request_says_who_asks_and_for_what(
    form: str, tmp_path: Path
) -> None:
    """Suffix and Accept both: without them a page of HTML can come back."""
    panel = a_cloud()
    async with monitored(panel, tmp_path, format=form):
        asked = panel.requests

        assert [request.path for request in asked] == [
            f"/version.{form}",
            f"/virtual_machines.{form}",
            f"/virtual_machines/1/backups.{form}",
        ]
        assert {request.method for request in asked} == {"GET"}
        assert {request.accept for request in asked} == {f"application/{form}"}
        assert {request.authorization for request in asked} == {
            aiohttp.encode_basic_auth(panel.username, panel.password)
        }


@pytest.mark.parametrize(
    ("username", "password"),
    [
        ("jürgen@example.com", "pässwörd"),
        ("運用", "鍵🔑"),
        ("ops", "with:colon and space"),
        ("ops", '"quoted" \\ back'),
    ],
)
async def test_credentials_are_sent_in_utf_8(
    username: str, password: str, tmp_path: Path
) -> None:
    """Whatever characters they are made of."""
    panel = a_cloud(username=username, password=password)
    async with monitored(panel, tmp_path) as cloud:
        assert await cloud.value("onapp_up") == 1.0
        assert panel.failed_attempts == {}


async def test_one_session_serves_all_requests(tmp_path: Path) -> None:
    """A panel opens one for every request that brings no cookie."""
    panel = a_cloud(5)
    async with monitored(panel, tmp_path) as cloud:
        await cloud.advance(3600.0)

        assert panel.sessions_opened == 1
        assert len(panel.requests) > 20


async def test_a_session_that_the_panel_forgot_is_replaced(tmp_path: Path) -> None:
    """The credentials go with every request, so nothing fails."""
    panel = a_cloud()
    async with monitored(panel, tmp_path) as cloud:
        panel.authenticator.close_sessions()
        await cloud.advance(1800.0)

        assert panel.sessions_opened == 2
        assert await errors(cloud) == {}


@pytest.mark.parametrize("base_path", ["", "/", "/onapp", "/onapp/", "/a/b/"])
async def test_the_address_may_have_a_path_and_a_slash(
    base_path: str, tmp_path: Path
) -> None:
    """Paths of the API are below it."""
    panel = a_cloud(base_path=base_path)
    async with monitored(panel, tmp_path) as cloud:
        assert await cloud.value("onapp_up") == 1.0
        assert panel.requests[0].path == f"{base_path.rstrip('/')}/version.json"


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
async def test_a_redirect_is_never_followed(code: int, tmp_path: Path) -> None:
    """The other host is not contacted, let alone told the credentials."""
    panel = a_cloud()
    async with a_cloud() as other:
        panel.faults.add(faults.redirect(f"{other.url}/version.json", code))
        async with monitored(panel, tmp_path) as cloud:
            await cloud.advance(60.0)

            assert list(other.requests) == []
            assert await cloud.value("onapp_up") == 0.0
            assert {key.split(",")[0] for key in await errors(cloud)} == {
                "reason=redirect"
            }


async def test_a_redirect_of_one_server_is_that_servers_problem(
    log: list[Any], tmp_path: Path
) -> None:
    """Also one to the panel itself is not followed."""
    panel = a_cloud(2)
    panel.faults.add(faults.redirect("/users/sign_in"), resource="backups", server_id=2)
    async with monitored(panel, tmp_path) as cloud:
        assert await cloud.value("onapp_up") == 1.0
        assert await cloud.series("onapp_vm_poll_success", panel="cp") == {
            "vm_id=1": 1.0,
            "vm_id=2": 0.0,
        }
        assert "/users/sign_in" not in {request.path for request in panel.requests}

    assert [
        entry["error"]
        for entry in log
        if entry["event"] == "reading the backups of a server failed"
    ] == [
        "GET /virtual_machines/2/backups.json: HTTP 302: a redirect is never followed"
    ]


@pytest.mark.parametrize(("length", "good"), [(1024, 1.0), (1025, 0.0)])
async def test_a_body_of_just_the_limit_is_taken(
    length: int, good: float, tmp_path: Path
) -> None:
    """One byte more is too much."""
    panel = a_cloud()
    answer_with(panel, "json", b"[]".ljust(length))
    async with monitored(panel, tmp_path, poll={"max_body": "1KiB"}) as cloud:
        assert await cloud.value("onapp_vm_poll_success") == good


async def test_the_limit_is_on_what_is_unpacked(tmp_path: Path) -> None:
    """A small body may hold a large one."""
    panel = a_cloud(gzip=True)
    for _ in range(100):
        panel.cloud.add_backup(1, note="x" * 5000)
    async with monitored(panel, tmp_path, poll={"max_body": "100KiB"}) as cloud:
        assert await errors(cloud) == {"reason=too_large,resource=backups": 1.0}


@in_both_formats
@pytest.mark.parametrize(
    "habits", [{"gzip": True}, {"chunked": True}, {"keep_alive": False}, {}]
)
async def test_answers_come_in_every_framing(
    form: str, habits: dict[str, Any], tmp_path: Path
) -> None:
    """Compressed, in chunks, with or without keeping the connection."""
    panel = a_cloud(3, **habits)
    panel.cloud.add_backup(3)
    async with monitored(panel, tmp_path, format=form) as cloud:
        await cloud.advance(1800.0)

        assert await cloud.value("onapp_vm_backups", vm_id=3, state="built") == 1.0
        assert await errors(cloud) == {}


@pytest.mark.parametrize(("code", "reason"), [(204, "decode"), (418, "status")])
async def test_a_rare_status_is_counted_with_its_reason(
    code: int, reason: str, tmp_path: Path
) -> None:
    """As all others are, which the fault matrix tries."""
    panel = a_cloud()
    panel.faults.add(faults.answer(code, body=b"[]"), resource="backups")
    async with monitored(panel, tmp_path) as cloud:
        assert await cloud.value("onapp_vm_poll_success") == 0.0
        assert await errors(cloud) == {f"reason={reason},resource=backups": 1.0}
        assert await answers(cloud, resource="backups") == {f"code={code}": 1.0}


async def test_an_answer_that_is_not_http_is_not_quoted(
    log: list[Any], tmp_path: Path
) -> None:
    """What follows a broken answer may be a body, with passwords in it."""
    panel = a_cloud()
    head = {"Content-Type": "application/json", "Transfer-Encoding": "chunked"}
    chunked = answer_with(panel, "json", b"", headers=head)
    chunked.fault = garbled()
    async with monitored(panel, tmp_path) as cloud:
        assert await errors(cloud) == {"reason=connection,resource=backups": 1.0}

    assert "s3cret" not in repr(log)


def garbled() -> faults.Fault:
    """Send what is no chunk where a chunk should be."""

    async def act(scene: faults.FaultContext, *_: Any) -> aiohttp.web.StreamResponse:
        transport = scene.request.transport
        if transport is not None:
            transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                b"Transfer-Encoding: chunked\r\n\r\n"
                b'[{"virtual_machine": {"initial_root_password": "s3cret"}}]\r\n'
            )
            transport.close()
        return aiohttp.web.Response()

    return faults.Fault(act)


async def test_a_connection_that_was_closed_meanwhile_is_tried_once_more(
    tmp_path: Path,
) -> None:
    """Reused connections sometimes end early; the second try is on a new one."""
    panel = a_cloud()
    async with monitored(panel, tmp_path) as cloud:
        before = len(panel.requests)
        early = panel.faults.add(faults.early_eof(), resource="backups")
        await cloud.advance(900.0)
        asked = [r for r in list(panel.requests)[before:] if r.resource == "backups"]

        assert early.happened == 1
        assert len(asked) == 2
        assert await errors(cloud) == {}
        assert await cloud.value("onapp_vm_poll_success") == 1.0


async def test_of_many_connections_that_were_closed_meanwhile_none_counts(
    tmp_path: Path,
) -> None:
    """A second try may be on one of them too: the last is on a new connection."""
    panel = a_cloud(6)
    async with monitored(panel, tmp_path) as cloud:
        early = panel.faults.add(faults.early_eof())
        await cloud.advance(900.0)

        assert early.happened
        assert await errors(cloud) == {}


async def test_a_panel_that_resets_every_connection_is_tried_twice_at_most(
    tmp_path: Path,
) -> None:
    """A request is sent again once, not for ever."""
    panel = a_cloud()
    async with monitored(panel, tmp_path) as cloud:
        fault = panel.faults.add(faults.reset(), resource="backups")
        await cloud.advance(900.0)
        counted = await errors(cloud)

        assert set(counted) == {"reason=connection,resource=backups"}
        assert fault.happened <= 2 * sum(counted.values())


async def test_an_answer_that_does_not_come_is_given_up(
    log: list[Any], tmp_path: Path
) -> None:
    """After ``poll.timeout``, body included."""
    panel = a_cloud()
    panel.faults.add(faults.slow(3600, body=True), resource="backups")
    poll = {"timeout": "1s"}
    async with monitored(
        panel, tmp_path, clock=SteppedTimeoutClock(NOW), poll=poll
    ) as cloud:
        await cloud.advance(2.0)
        assert await errors(cloud) == {"reason=timeout,resource=backups": 1.0}
        assert await cloud.value("onapp_up") == 1.0

    (entry,) = (
        entry
        for entry in log
        if entry["event"] == "reading the backups of a server failed"
    )
    assert entry["error"] == (
        "GET /virtual_machines/1/backups.json: no whole answer in 1 s"
    )


@pytest.mark.parametrize("url", ["http://panel.invalid", "http://127.0.0.1:1/onapp"])
async def test_a_panel_that_cannot_be_reached_is_down(
    url: str, log: list[Any], tmp_path: Path
) -> None:
    """No such name, or nobody there: one line says so, with the mend."""
    async with monitored(a_cloud(), tmp_path, url=url) as cloud:
        assert await cloud.value("onapp_up") == 0.0
        assert await errors(cloud) == {"reason=connection,resource=version": 1.0}
        assert await answers(cloud) == {}

    (entry,) = (entry for entry in log if entry["event"] == "panel unreachable")
    assert url.partition("//")[2].partition("/")[0] in entry["error"]
    assert entry["hint"].startswith("check url")


async def test_an_ipv6_address_is_as_good(tmp_path: Path) -> None:
    """In brackets, with a port."""

    class OnIpv6(Panel):
        async def __aenter__(self) -> Self:
            await self.start(host="::1")
            return self

    async with monitored(OnIpv6(a_cloud().cloud), tmp_path) as cloud:
        assert await cloud.value("onapp_up") == 1.0


@dataclass
class Authority:
    """A certificate that vouches for itself, and its key."""

    certificate: Path
    key: Path


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Make a certificate for a name that is not the panel's address."""
    return made_for(tmp_path_factory.mktemp("tls"), "cp.example.com")


def made_for(folder: Path, name: str) -> Authority:
    """Make a certificate for a name, that vouches for itself."""
    made = Authority(folder / "panel.crt", folder / "panel.key")
    arguments = (
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 36500"
        f" -subj /CN={name} -addext subjectAltName=DNS:{name}"
    )
    files = ["-keyout", str(made.key), "-out", str(made.certificate)]
    subprocess.run(
        ["openssl", *arguments.split(), *files], check=True, capture_output=True
    )
    return made


class Secure(Panel):
    """A panel that speaks TLS."""

    context: ssl.SSLContext

    async def __aenter__(self) -> Self:
        """Start with that context."""
        await self.start(ssl_context=self.context)
        return self


@pytest.fixture
def secure(authority: Authority) -> Secure:
    """Return a panel with a self-signed certificate."""
    return secure_by(authority)


def secure_by(authority: Authority) -> Secure:
    """Return a panel with this certificate."""
    panel = Secure(a_cloud().cloud)
    panel.context = context_of(authority)
    return panel


def context_of(authority: Authority) -> ssl.SSLContext:
    """Return what a server with this certificate answers with."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(authority.certificate, authority.key)
    return context


async def test_a_self_signed_certificate_is_refused(
    secure: Secure, log: list[Any], tmp_path: Path
) -> None:
    """Nothing is sent, the credentials least of all; the log says how to trust it."""
    async with monitored(secure, tmp_path) as cloud:
        assert await cloud.value("onapp_up") == 0.0
        assert await errors(cloud) == {"reason=tls,resource=version": 1.0}
        assert list(secure.requests) == []

    (entry,) = (entry for entry in log if entry["event"] == "panel unreachable")
    assert "ca_file" in entry["hint"]


async def test_a_private_authority_can_be_trusted(
    secure: Secure, authority: Authority, tmp_path: Path
) -> None:
    """By ``ca_file``, with the name that the certificate is for as ``server_name``."""
    trust = {
        "ca_file": str(authority.certificate),
        "server_name": "cp.example.com",
    }
    async with monitored(secure, tmp_path, tls_config=trust) as cloud:
        assert await cloud.value("onapp_up") == 1.0
        assert await errors(cloud) == {}


@pytest.fixture
def _defaults_of_python_3_13(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make contexts as strict as newer versions of Python do."""
    create_default_context = ssl.create_default_context

    def create_strict_context(*arguments: Any, **options: Any) -> ssl.SSLContext:
        context = create_default_context(*arguments, **options)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", create_strict_context)


@pytest.mark.parametrize("named", AUTHORITIES)
@pytest.mark.usefixtures("_defaults_of_python_3_13")
async def test_any_authority_that_is_named_is_trusted(
    named: str, tmp_path: Path
) -> None:
    """On every version of Python, as by Prometheus."""
    ca_file, chain = write_chain(tmp_path, named)
    trust = {"ca_file": str(ca_file), "server_name": "cp.example.com"}
    panel = secure_by(Authority(chain, chain))
    async with monitored(panel, tmp_path, tls_config=trust) as cloud:
        assert await errors(cloud) == {}
        assert await cloud.value("onapp_up") == 1.0


async def test_a_reload_takes_a_certificate_that_was_renewed(
    authority: Authority, tmp_path: Path
) -> None:
    """The path is the same: what the file holds counts, and the data stay."""
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(authority.certificate.read_bytes())
    trust = {"ca_file": str(ca_file), "server_name": "cp.example.com"}
    renewed = made_for(tmp_path, "cp.example.com")
    panel = secure_by(authority)
    panel.cloud.add_backup(1)
    async with monitored(panel, tmp_path, tls_config=trust) as cloud:
        port = int(panel.url.rpartition(":")[2])
        await panel.stop()
        panel.context = context_of(renewed)
        await panel.start(port=port, ssl_context=panel.context)
        ca_file.write_bytes(renewed.certificate.read_bytes())
        await cloud.advance(900)
        before = await cloud.value("onapp_up")
        member = cloud.exporter.manager.panel_tasks["cp"]
        await cloud.get("/-/reload", method="POST")
        kept = await cloud.value("onapp_vm_backups", vm_id=1, state="built")
        await cloud.advance(900)

        assert before == 0
        assert kept == 1
        assert await cloud.value("onapp_up") == 1
        assert member.sessions.keep_alive.closed
        member = cloud.exporter.manager.panel_tasks["cp"]
        await cloud.get("/-/reload", method="POST")
        assert cloud.exporter.manager.panel_tasks["cp"] is member


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_panel_that_demands_a_certificate_is_a_matter_of_tls(
    version: ssl.TLSVersion, authority: Authority, log: list[Any], tmp_path: Path
) -> None:
    """In TLS 1.3 the client is refused only after its side of the handshake ended."""
    context = context_of(authority)
    context.minimum_version = context.maximum_version = version
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority.certificate)
    trust = {"ca_file": str(authority.certificate), "server_name": "cp.example.com"}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        refusing = threading.Thread(target=refuse_clients, args=(listener, context))
        refusing.start()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        async with monitored(a_cloud(), tmp_path, url=url, tls_config=trust) as cloud:
            assert await errors(cloud) == {"reason=tls,resource=version": 1.0}
        listener.shutdown(socket.SHUT_RDWR)
        await asyncio.to_thread(refusing.join)

    (entry,) = (entry for entry in log if entry["event"] == "panel unreachable")
    assert "cert_file" in entry["hint"]


def refuse_clients(listener: socket.socket, context: ssl.SSLContext) -> None:
    """Refuse all clients as servers do: asyncio's would close without an alert."""
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        with client.dup() as kept_open, client:
            with suppress(OSError):
                context.wrap_socket(client, server_side=True)
            # What is unread at the end would be answered by a reset, not by the alert.
            kept_open.settimeout(1.0)
            with suppress(OSError):
                while kept_open.recv(4096):
                    pass


async def test_verification_can_be_switched_off(secure: Secure, tmp_path: Path) -> None:
    """For those who know what they do."""
    trust = {"insecure_skip_verify": True}
    async with monitored(secure, tmp_path, tls_config=trust) as cloud:
        assert await cloud.value("onapp_up") == 1.0
        assert await errors(cloud) == {}


async def test_a_panel_without_tls_on_a_tls_address_is_refused(tmp_path: Path) -> None:
    """The other end speaks, but not TLS."""
    async with a_cloud() as plain:
        url = plain.url.replace("http:", "https:")
        async with monitored(a_cloud(), tmp_path, url=url) as cloud:
            assert await errors(cloud) == {"reason=tls,resource=version": 1.0}
            assert list(plain.requests) == []


async def test_a_proxy_is_asked_in_the_panels_stead(tmp_path: Path) -> None:
    """With the panel's address in the request."""
    async with (
        a_cloud() as proxy,
        monitored(
            a_cloud(), tmp_path, url="http://panel.invalid", proxy_url=proxy.url
        ) as cloud,
    ):
        assert await cloud.value("onapp_up") == 1.0
        assert len(proxy.requests) == 3


async def test_a_proxy_gets_the_password_that_its_file_holds_now(
    tmp_path: Path,
) -> None:
    """As a panel does: rotated without a restart, and shown nowhere."""
    file = tmp_path / "proxy-password"
    file.write_text("f1rst\n")
    heads: list[str] = []
    with capture_logs() as log:
        async with (
            refusing_proxy(heads) as proxy,
            monitored(
                *(a_cloud(), tmp_path),
                url="http://panel.invalid",
                proxy_url=f"http://ops@{proxy}",
                proxy_password_file=str(file),
            ) as cloud,
        ):
            file.write_text("s3cond\n")
            await cloud.advance(3600)
            shown = (await cloud.get("/config"))[1]

    first, second = (
        f"Proxy-Authorization: Basic {b64encode(account).decode()}\r\n"
        for account in (b"ops:f1rst", b"ops:s3cond")
    )
    assert first in heads[0]
    assert second in heads[-1]
    assert all(first in head or second in head for head in heads)
    assert not re.search("f1rst|s3cond", shown + repr(log))


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_gets_its_account_as_utf_8(tmp_path: Path, scheme: str) -> None:
    """As a panel does: in whatever alphabet, from the address and from the file."""
    file = tmp_path / "proxy-password"
    file.write_text("zażółć-пароль", "utf-8")
    heads: list[str] = []
    async with (
        refusing_proxy(heads) as proxy,
        monitored(
            *(a_cloud(), tmp_path),
            url=f"{scheme}://panel.invalid",
            proxy_url=f"http://jos%C3%A9@{proxy}",
            proxy_password_file=str(file),
        ),
    ):
        pass

    token = b64encode("josé:zażółć-пароль".encode()).decode()
    assert heads
    assert all(f"Proxy-Authorization: Basic {token}\r\n" in head for head in heads)


async def test_a_proxy_that_refuses_does_not_get_its_password_logged(
    tmp_path: Path,
) -> None:
    """The error that aiohttp raises then quotes the proxy's whole address."""
    with capture_logs() as log:
        async with (
            refusing_proxy([]) as proxy,
            monitored(
                *(a_cloud(), tmp_path),
                url="https://panel.invalid",
                proxy_url=f"http://ops:proxy-secret@{proxy}",
            ) as cloud,
        ):
            assert await errors(cloud) == {"reason=status,resource=version": 1.0}

    assert [line["event"] for line in log if line["log_level"] == "error"] == [
        "panel unreachable"
    ]
    assert "proxy-secret" not in repr(log)


async def test_own_counters_start_at_0(tmp_path: Path) -> None:
    """For every known label value, so that the first increase is seen."""
    panel = a_cloud()
    panel.faults.add(faults.reset())
    async with monitored(panel, tmp_path) as cloud:
        counted = await cloud.series("onapp_api_errors_total", panel="cp")
        counted.pop("reason=connection,resource=version")

        assert counted == {
            f"reason={reason},resource={resource}": 0.0
            for resource in RESOURCES
            for reason in REASONS
            if (resource, reason) != ("version", "connection")
        }
        assert await cloud.series("onapp_api_requests_total", panel="cp") == {
            f"code={code},resource={resource}": 0.0
            for resource in RESOURCES
            for code in (200, 304)
        }
        assert await cloud.series("onapp_api_rows_skipped_total", panel="cp") == {
            f"resource={resource}": 0.0 for resource in RESOURCES
        }
        assert await cloud.series(
            "onapp_api_request_duration_seconds_count", panel="cp"
        ) == {f"resource={resource}": 0.0 for resource in RESOURCES}


async def test_requests_are_counted_by_resource_and_code(tmp_path: Path) -> None:
    """Their durations too, but each only once it was answered."""
    panel = a_cloud(3, per_page_cap=2)
    panel.faults.add(faults.status(404), resource="backups", server_id=2)
    panel.faults.add(faults.reset(), resource="backups", server_id=3)
    async with monitored(panel, tmp_path) as cloud:
        assert await answers(cloud) == {
            "code=200,resource=version": 1.0,
            "code=200,resource=virtual_machines": 2.0,
            "code=200,resource=backups": 1.0,
            "code=404,resource=backups": 1.0,
        }
        assert await cloud.series(
            "onapp_api_request_duration_seconds_count", panel="cp"
        ) == {
            **{f"resource={resource}": 0.0 for resource in RESOURCES},
            "resource=version": 1.0,
            "resource=virtual_machines": 2.0,
            "resource=backups": 2.0,
        }
        assert await errors(cloud) == {
            "reason=not_found,resource=backups": 1.0,
            "reason=connection,resource=backups": 1.0,
        }


async def test_durations_are_counted_up_to_a_minute(tmp_path: Path) -> None:
    """The bounds are labels, which keep their values once they are released."""
    bounds = "0.01 0.025 0.05 0.1 0.25 0.5 1.0 2.5 5.0 10.0 20.0 30.0 60.0 +Inf"
    async with monitored(a_cloud(), tmp_path) as cloud:
        buckets = await cloud.series(
            "onapp_api_request_duration_seconds_bucket", panel="cp", resource="version"
        )

    assert buckets.keys() == {f"le={bound}" for bound in bounds.split()}


@pytest.mark.parametrize("bytes_", [8_191, 60_000])
async def test_a_long_response_header_is_read(bytes_: int, tmp_path: Path) -> None:
    """As a portal or a content security policy sets; it says nothing of the panel."""
    panel = a_cloud()
    panel.faults.add(faults.more_headers({"X-Long": "x" * bytes_}))
    async with monitored(panel, tmp_path) as cloud:
        assert await errors(cloud) == {}
        assert await cloud.value("onapp_up") == 1.0
