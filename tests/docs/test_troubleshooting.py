"""Tests that the page on troubleshooting quotes what the exporter really says."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from pathlib import Path

import faults
import pytest
from certificates import write_certificates
from checkout import DOCS
from exporter_process import exporter_process
from faults import Fault
from faulty_panel import Panel
from harness import NOW, SteppedTimeoutClock, monitored
from structlog.testing import capture_logs

from exporter.demo.cloud.simulation import SimulatedCloud
from exporter.demo.panel.routes import Resource

PAGE = DOCS / "troubleshooting.md"
PANEL = "A panel is down"
SERVER = "A server is not read"
COLLECTOR = "A collector is off"
START = "The exporter does not start"
ALL = None

EXPECTED_OUTPUT: dict[tuple[str, str], tuple[Fault, Resource | None]] = {
    (PANEL, "HTTP 401"): (faults.unauthorized(), ALL),
    (PANEL, "HTTP 403"): (faults.forbidden(), "virtual_machines"),
    (PANEL, "HTTP 404"): (faults.status(404), ALL),
    (PANEL, "HTTP 407"): (faults.status(407), ALL),
    (PANEL, "HTTP 429"): (faults.status(429), ALL),
    (PANEL, "HTTP 500"): (faults.html_error(500), ALL),
    (PANEL, "HTTP 503"): (faults.status(503), ALL),
    (PANEL, "answered text/html"): (faults.html(), ALL),
    (PANEL, "without the API's error message"): (faults.html_error(403), ALL),
    (PANEL, "a redirect is never followed"): (faults.redirect("/login"), ALL),
    (PANEL, "no whole answer in"): (faults.hang(), ALL),
    (PANEL, "longer than"): (faults.flood(), ALL),
    (PANEL, "the connection was closed before the answer was complete"): (
        faults.cut(),
        ALL,
    ),
    (PANEL, "Connection reset by peer"): (faults.reset(), ALL),
    (SERVER, "backups.json: HTTP 403"): (faults.forbidden(), "backups"),
    (SERVER, "backups.json: HTTP 404"): (faults.status(404), "backups"),
    (SERVER, "backups.json: HTTP 500"): (faults.html_error(), "backups"),
    (SERVER, "backups.json: no whole answer in"): (faults.hang(), "backups"),
    (COLLECTOR, "collector disabled for an hour: the panel refuses it"): (
        faults.forbidden(),
        "schedules",
    ),
    (COLLECTOR, "collector failed, retrying"): (faults.html_error(), "transactions"),
    (COLLECTOR, "row skipped"): (faults.bad_rows(0.5), "backups"),
}
"""What the log says of each fault, and what the fault is to be of."""
OTHERS = {
    (PANEL, "Connection refused"),
    (PANEL, "certificate is of an authority that this host does not trust"),
    (START, "no panel is configured"),
    (START, "address already in use"),
    (START, "cannot assign requested address"),
    (START, "systemd passed no socket"),
}
"""What further tests below bring about."""
SYMPTOMS = {
    PANEL: "onapp_up",
    SERVER: "onapp_vm_poll_success",
    COLLECTOR: "onapp_collector_success",
}
EVENTS = {PANEL: "panel ", SERVER: "reading the backups of a server failed"}


def quoted() -> set[tuple[str, str]]:
    """Return what the page says that the exporter says, by section."""
    found = set()
    for section in PAGE.read_text("utf-8").split("\n## ")[1:]:
        title = re.split("[:\n]", section, maxsplit=1)[0]
        if re.search(r"^\| (the log|it) says", section, re.MULTILINE):
            for cell in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE):
                found |= {(title, text) for text in re.findall("`(.*?)`", cell)}
    return found


def test_every_message_on_the_page_is_brought_about_by_a_test() -> None:
    """And no test is left of one that is there no more."""
    assert quoted() == {*EXPECTED_OUTPUT} | OTHERS


def a_panel() -> Panel:
    """Return a panel of two servers with four backups each."""
    world = SimulatedCloud(NOW)
    for _ in range(2):
        server = world.add_server()
        for _ in range(4):
            world.add_backup(server.id)
    return Panel(world)


@pytest.mark.parametrize(("section", "message"), EXPECTED_OUTPUT, ids=lambda text: text)
async def test_the_log_and_the_metrics_say_what_the_page_says(
    section: str, message: str, tmp_path: Path
) -> None:
    """Each row of the page, against a panel with that fault."""
    fault, resource = EXPECTED_OUTPUT[section, message]
    panel = a_panel()
    panel.faults.add(fault, resource=resource)
    with capture_logs() as logs:
        async with monitored(panel, tmp_path, clock=SteppedTimeoutClock(NOW)) as cloud:
            await cloud.advance(60)
            values = await cloud.series(SYMPTOMS[section])

    printed = [f"{line['event']} {line.get('error', '')}" for line in logs]
    assert any(message in line and EVENTS.get(section, "") in line for line in printed)
    assert message == "row skipped" or 0 in values.values()


async def test_a_port_that_nobody_listens_on() -> None:
    """The panel's web server does not run."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    variables = account(f"http://127.0.0.1:{port}")
    async with exporter_process("check", environment=variables) as process:
        await process.wait()

    assert "Connection refused" in process.output


def account(url: str) -> dict[str, str]:
    """Return the variables of a panel."""
    return {"ONAPP_URL": url, "ONAPP_USERNAME": "ops", "ONAPP_PASSWORD": "x"}


async def test_a_certificate_that_nobody_knows(tmp_path: Path) -> None:
    """As a panel has that signed its own."""
    write_certificates(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    server = await asyncio.start_server(_hang_up, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    async with server:
        variables = account(f"https://127.0.0.1:{port}")
        async with exporter_process("check", environment=variables) as process:
            await process.wait()

    message = "certificate is of an authority that this host does not trust"
    assert (PANEL, message) in OTHERS
    assert message in process.output


async def _hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def test_what_keeps_it_from_starting() -> None:
    """Each in its one line on standard error."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepted = f"--web.listen-address=127.0.0.1:{listener.getsockname()[1]}"
        variables = account("http://127.0.0.1:9")
        cases = {
            "no panel is configured": ((), {}),
            "address already in use": ((accepted,), variables),
            "cannot assign requested address": (
                ("--web.listen-address=192.0.2.1:0",),
                variables,
            ),
            "systemd passed no socket": (("--web.systemd-socket",), variables),
        }
        printed = {}
        for message, (arguments, environment) in cases.items():
            async with exporter_process(*arguments, environment=environment) as process:
                await process.wait()
            printed[message] = process.output

    assert {(START, message) for message in printed} <= OTHERS
    assert all(message in words for message, words in printed.items())
