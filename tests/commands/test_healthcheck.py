"""The health check of an exporter behind TLS and users: what counts as alive."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from certificates import write_certificates
from secured_server import TLS, TLS_WITH_CLIENT_CERT, USERS, secured

from exporter.commands import healthcheck as command
from exporter.commands.healthcheck import healthcheck


async def outcome(address: str, *, behind: bool = True) -> int:
    """Return the exit status of the check."""
    return await asyncio.to_thread(healthcheck, (address,), web_config=behind)


@pytest.mark.parametrize(
    "text",
    [
        "",
        USERS,
        TLS,
        TLS + USERS,
        TLS_WITH_CLIENT_CERT + USERS,
        TLS_WITH_CLIENT_CERT + "  max_version: TLS12\n",
        TLS + "  min_version: TLS10\n  max_version: TLS11\n",
        TLS_WITH_CLIENT_CERT + "  min_version: TLS10\n  max_version: TLS10\n",
        TLS + "  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA]\n",
        TLS + "  min_version: TLS13\n",
    ],
    ids=range(10),  # what is random would differ from worker to worker
)
async def test_an_exporter_that_serves_is_healthy_whatever_it_demands(
    text: str, tmp_path: Path
) -> None:
    """The check knows no password and has no certificate, and lets nobody else in."""
    write_certificates(tmp_path)
    async with secured(tmp_path, text) as server:
        _, _, address = server.base.partition("://")

        assert await outcome(address) == 0
        assert server.checks == []


async def test_a_web_configuration_that_turned_bad_makes_nobody_look_dead(
    tmp_path: Path,
) -> None:
    """The exporter goes on with the old one, and a restart would end it."""
    write_certificates(tmp_path)
    async with secured(tmp_path, TLS_WITH_CLIENT_CERT + USERS) as server:
        server.write_web_config("nonsense: true")
        _, _, address = server.base.partition("://")

        assert await outcome(address) == 0


async def test_without_a_web_configuration_401_is_no_health(tmp_path: Path) -> None:
    """Something else answers there: this exporter would not ask who it is."""
    async with secured(tmp_path, USERS) as server:
        _, _, address = server.base.partition("://")

        assert await outcome(address, behind=False) == 1


@contextmanager
def peer(answer: bytes | None, context: ssl.SSLContext | None) -> Iterator[str]:
    """Answer one connection after another with these bytes; None: never."""
    held = []

    def serve(server: socket.socket) -> None:
        while True:
            try:
                client, _ = server.accept()
                held.append(client)
                if context is not None:
                    client = context.wrap_socket(client, server_side=True)
                    held.append(client)
                if answer is not None:
                    client.recv(1000)
                    client.sendall(answer)
                    client.shutdown(socket.SHUT_RDWR)
            except ssl.SSLError:
                continue
            except OSError:
                return

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        try:
            yield f"127.0.0.1:{server.getsockname()[1]}"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
    for one in held:
        one.close()


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize(
    "answer",
    [
        None,
        b"HTTP/1.1 500 Internal Server Error\r\nServer: onapp-backup-exporter\r\n\r\n",
        b"HTTP/1.1 401 Unauthorized\r\nServer: another\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n",
    ],
)
async def test_what_hangs_or_answers_something_else_is_not_healthy(
    answer: bytes | None,
    *,
    secure: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before the handshake or after it."""
    monkeypatch.setattr(command, "_TIMEOUT_SECONDS", 0.5)
    write_certificates(tmp_path)
    context = None
    if secure:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "both.pem")
    with peer(answer, context) as address:
        assert await outcome(address) == 1
