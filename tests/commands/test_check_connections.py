"""The command ``check`` where no good answer comes: what is mixed up has its own words.

All servers are real ones on loopback. What OpenSSL, Python or the HTTP library call an
error is shown to nobody.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import re
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import faults
import pytest
import trustme
from builders import a_cloud
from checking import checked, step
from faulty_panel import Panel
from harness import NOW, monitored, write_config
from structlog.testing import capture_logs

from exporter.commands.report import PanelReport, StepResult
from exporter.demo.cloud.simulation import SimulatedCloud

_FOREIGN_WORDS = re.compile(
    r"_ssl\.c|Errno|SSL:|aiohttp|[a-z]Error|\b(?!ONAPP)[A-Z]+_[A-Z]+|None"
)


@contextmanager
def unused_port() -> Iterator[int]:
    """Yield a port that refuses connections."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        yield unused.getsockname()[1]


@asynccontextmanager
async def answering(
    answer: bytes, context: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """Serve these bytes to whoever connects; yield the port."""

    async def answer_one(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await reader.read(65_536)
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer_one, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


def served_by(certificate: trustme.LeafCert) -> ssl.SSLContext:
    """Return the context of a server with this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


async def found_at(url: str, folder: Path, **keys: Any) -> PanelReport:
    """Check a panel at this address; no word of a library is in the report."""
    panel = Panel(SimulatedCloud(NOW))
    panel.url = url
    file = folder / "onapp.yml"
    write_config(file, panel, {}, keys)
    (found,) = (await checked(file)).panels
    words = [f"{each.text} {each.hint or ''}" for each in found.checks]
    assert [text for text in words if _FOREIGN_WORDS.search(text)] == []
    assert not any(panel.password in text for text in words)
    return found


def failed(found: PanelReport) -> StepResult:
    """Return the one step that failed."""
    (result,) = (each for each in found.checks if each.status == "failed")
    return result


async def test_https_to_a_port_of_plain_http(tmp_path: Path) -> None:
    """The port answers, but speaks no TLS."""
    async with a_cloud() as panel:
        port = int(panel.url.rpartition(":")[2])
        found = failed(await found_at(f"https://127.0.0.1:{port}", tmp_path))

    assert found.step == "tls"
    assert found.text.endswith(f": 127.0.0.1:{port} does not speak TLS")
    assert "mostly 443" in (found.hint or "")


_BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\n\r\n"
OF_TLS_PORTS = {
    "nginx": _BAD_REQUEST + b"<center>The plain HTTP request was sent to HTTPS port",
    "Apache": _BAD_REQUEST
    + b"Reason: You're speaking plain HTTP to an SSL-enabled server port.<br />",
    "Go": b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS "
    b"server.\n",
    "an alert of TLS": bytes.fromhex("15030300020246"),
}
"""What the ports of web servers answer that want TLS, and got plain HTTP."""


@pytest.mark.parametrize("server", OF_TLS_PORTS)
async def test_http_to_a_port_that_says_that_it_speaks_tls(
    server: str, tmp_path: Path
) -> None:
    """As the usual web servers do, in words of their own."""
    async with answering(OF_TLS_PORTS[server]) as port:
        found = failed(await found_at(f"http://127.0.0.1:{port}", tmp_path))

    assert found.step == "tls"
    assert f"127.0.0.1:{port} expects TLS" in found.text
    assert found.hint == "url must begin with https://"


async def test_http_to_a_port_that_speaks_tls_and_says_nothing(tmp_path: Path) -> None:
    """It hangs up, as a broken server may: the hint has both."""
    context = served_by(trustme.CA().issue_cert("127.0.0.1"))
    async with answering(b"", context) as port:
        found = failed(await found_at(f"http://127.0.0.1:{port}", tmp_path))

    assert found.step == "address"
    assert "closed without an answer" in found.text
    assert "it must begin with https:// if the port speaks TLS" in (found.hint or "")


async def test_a_redirect_to_https_is_named(tmp_path: Path) -> None:
    """The usual web server before a panel does that; the key is not sent on."""
    answer = b"HTTP/1.1 301 M\r\nLocation: https://127.0.0.1/version.json\r\n\r\n"
    async with answering(answer) as port:
        found = failed(await found_at(f"http://127.0.0.1:{port}", tmp_path))

    assert "a redirect is never followed" in found.text
    assert (found.hint or "").endswith("that may be https://127.0.0.1")


async def test_a_redirect_to_another_host_may_lead_to_a_login_portal(
    tmp_path: Path,
) -> None:
    """Whoever set `url` to it would send the key to somebody else."""
    answer = b"HTTP/1.1 302 F\r\nLocation: https://sso.example.com/login?x=1\r\n\r\n"
    async with answering(answer) as port:
        found = failed(await found_at(f"http://127.0.0.1:{port}", tmp_path))

    assert (found.hint or "").endswith(
        "that may be https://sso.example.com, unless that is a login portal, which "
        "must not get the key"
    )


def command_in(hint: str | None) -> str:
    """Return the first command of a hint."""
    found = re.search("`(.*?)`", hint or "")
    assert found is not None
    return found[1]


def in_a_shell(command: str, folder: Path) -> str:
    """Run a command as an operator would; return what it prints."""
    return subprocess.run(
        ["bash", "-c", command], cwd=folder, check=True, capture_output=True, text=True
    ).stdout


@pytest.mark.parametrize("kind", ["self-signed", "of an authority"])
async def test_the_hints_lead_to_a_trusted_certificate(
    kind: str, tmp_path: Path
) -> None:
    """Their commands are run as they stand: fetch it, name it, then name its host."""
    panel = a_cloud()
    if kind == "self-signed":
        certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
        new = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=cp"
        files = f"-keyout {key} -out {certificate}"
        in_a_shell(f"{new} {files} -addext subjectAltName=DNS:cp.example.com", tmp_path)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
    else:
        context = served_by(trustme.CA().issue_cert("cp.example.com"))
    await panel.start(ssl_context=context)
    try:
        first = failed(await found_at(panel.url, tmp_path))
        await asyncio.to_thread(in_a_shell, command_in(first.hint), tmp_path)
        tls = {"ca_file": "panel.pem"}
        second = failed(await found_at(panel.url, tmp_path, tls_config=tls))
        printed = await asyncio.to_thread(in_a_shell, command_in(second.hint), tmp_path)
        tls["server_name"] = "cp.example.com"
        third = await found_at(panel.url, tmp_path, tls_config=tls)
    finally:
        await panel.stop()

    assert f"certificate is {kind}" in first.text
    assert "tls_config.ca_file (ONAPP_CA_FILE)" in (first.hint or "")
    assert "fingerprint" in (first.hint or "")
    assert "certificate is not for the name 127.0.0.1" in second.text
    assert "tls_config.server_name" in (second.hint or "")
    assert "cp.example.com" in printed
    assert step(third, "tls").status == "ok"


async def test_a_certificate_that_has_expired(tmp_path: Path) -> None:
    """Not the same as one that nobody trusts: no file helps."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    past = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    expired = authority.issue_cert("127.0.0.1", not_before=past, not_after=past)
    async with answering(b"", served_by(expired)) as port:
        url, tls = f"https://127.0.0.1:{port}", {"ca_file": "ca.pem"}
        found = failed(await found_at(url, tmp_path, tls_config=tls))
        printed = await asyncio.to_thread(in_a_shell, command_in(found.hint), tmp_path)

    assert found.step == "tls"
    assert "has expired" in found.text
    assert "notAfter=Jan  1" in printed


async def test_other_authentication_than_basic_is_named(tmp_path: Path) -> None:
    """The credentials are not what is wrong, and trying others would be in vain."""
    headers = {"WWW-Authenticate": 'Digest realm="panel", nonce="1"'}
    async with a_cloud() as panel:
        panel.faults.add(faults.answer(401, headers))
        digest = failed(await found_at(panel.url, tmp_path))
        panel.faults.add(faults.answer(401, {"WWW-Authenticate": "Basic"}))
    async with a_cloud() as panel:
        panel.faults.add(faults.unauthorized())
        basic = failed(await found_at(panel.url, tmp_path))

    assert digest.step == basic.step == "credentials"
    assert "HTTP 401: Digest authentication is required instead of Basic" in digest.text
    assert "portal that requires Digest" in (digest.hint or "")
    assert "Digest" not in basic.text
    assert (basic.hint or "").startswith("check basic_auth")


REFUSED_TUNNELS = [
    (403, "allow CONNECT to cp.example.com:443 in the proxy"),
    (407, "check proxy_url, and the account in it"),
    (503, "the proxy has no connection to cp.example.com:443"),
]


@pytest.mark.parametrize(("code", "hint"), REFUSED_TUNNELS)
async def test_a_proxy_that_refuses_a_tunnel(
    code: int, hint: str, tmp_path: Path
) -> None:
    """Whether it is the proxy's rule, its account or its network."""
    refusal = f"HTTP/1.1 {code} No\r\nContent-Length: 0\r\n\r\n".encode()
    async with answering(refusal) as port:
        proxy = f"http://ops:secret@127.0.0.1:{port}"
        url = "https://cp.example.com"
        found = failed(await found_at(url, tmp_path, proxy_url=proxy))

    assert found.step == "address"
    assert f"the proxy answered HTTP {code}" in found.text
    assert (found.hint or "").startswith(hint)
    assert "secret" not in f"{found}"


async def test_a_proxy_that_refuses_plain_http_or_is_not_there(tmp_path: Path) -> None:
    """Not the panel is blamed, and proxy_url is the key to look at."""
    url = "http://cp.example.com"
    refusal = b"HTTP/1.1 403 No\r\nContent-Type: text/html\r\n\r\n<html>no</html>"
    async with answering(refusal) as port:
        proxy = f"http://127.0.0.1:{port}"
        refused = failed(await found_at(url, tmp_path, proxy_url=proxy))
    with unused_port() as port:
        proxy = f"http://127.0.0.1:{port}"
        missing = failed(await found_at(url, tmp_path, proxy_url=proxy))
    unknown = failed(await found_at(url, tmp_path, proxy_url="http://proxy.invalid:1"))

    assert "does the proxy allow cp.example.com:80" in (refused.hint or "")
    assert f"proxy 127.0.0.1:{port}: Connection refused" in missing.text
    assert (missing.hint or "").startswith("check proxy_url: nothing listens")
    assert "proxy proxy.invalid: Name or service not known" in unknown.text
    assert (unknown.hint or "").startswith("check proxy_url: DNS on this host")


async def test_a_header_that_is_too_long(tmp_path: Path) -> None:
    """Of a portal or a proxy, mostly; that is not a broken connection."""
    async with a_cloud() as panel:
        panel.faults.add(faults.more_headers({"X-Long": "x" * 66_000}))
        found = failed(await found_at(panel.url, tmp_path))

    assert found.step == "address"
    assert found.text.endswith("a header of the answer is longer than 65,536 bytes")
    assert "it must be shorter" in (found.hint or "")


async def test_what_is_no_http_at_all(tmp_path: Path) -> None:
    """Another service has the port."""
    async with answering(b"SSH-2.0-OpenSSH_9.2\r\n") as port:
        found = failed(await found_at(f"http://127.0.0.1:{port}", tmp_path))

    assert found.text.endswith("the answer is not HTTP")
    assert "another service" in (found.hint or "")


async def test_dates_in_the_future_degrade(tmp_path: Path) -> None:
    """They are ignored, so that a backup may seem to be missing: somebody must look."""
    panel = Panel(SimulatedCloud(NOW), clock=lambda: NOW)
    server = panel.cloud.add_server()
    for _ in range(2):
        panel.cloud.add_backup(server.id, created_at=NOW + 9e6, built_at=NOW + 9e6)
    async with panel:
        found = await found_at(panel.url, tmp_path)

    clock = step(found, "clock")
    assert (clock.status, found.status) == ("degraded", "degraded")
    assert "2 rows with a date in the future" in clock.text
    assert "such a date is ignored" in (clock.hint or "")


async def test_the_log_gives_the_same_hint_as_check(tmp_path: Path) -> None:
    """An error has one hint, wherever it is shown: which permission is missing."""
    panel = a_cloud()
    panel.faults.add(faults.forbidden(), resource="schedules")
    with capture_logs() as log:
        async with monitored(panel, tmp_path) as cloud:
            await cloud.advance(60.0)
            found = await found_at(panel.url, tmp_path)

    (entry,) = (line for line in log if "collector disabled" in line["event"])
    assert entry["hint"] == step(found, "schedules").hint
    assert "schedules.read" in entry["hint"]
