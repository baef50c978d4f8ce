"""Tests that what would endanger users is seen: leaked secrets, weak dependencies."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from checkout import ROOT, write_revision
from locked_versions import BUILD, RUNTIME, locked_versions

_KEY = hashlib.sha1(b"an API key of OnApp", usedforsecurity=False).hexdigest()


def leaks(folder: Path) -> str:
    """Return what gitleaks says of the files in a folder; nothing if it is content."""
    done = subprocess.run(
        ["gitleaks", "dir", "--no-banner", "--no-color", "--verbose", folder],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.stdout if done.returncode else ""


@pytest.mark.skipif(shutil.which("gitleaks") is None, reason="gitleaks is missing")
def test_no_file_of_the_project_holds_a_secret(tmp_path: Path) -> None:
    """A key that was tried by hand and stayed is found before it is published."""
    write_revision(None, tmp_path)

    assert leaks(tmp_path) == ""

    (tmp_path / "deploy" / "panel.env").write_text(f"ONAPP_PASSWORD={_KEY}\n")

    assert "panel.env" in leaks(tmp_path)


class _Vulnerabilities(BaseHTTPRequestHandler):
    """What https://osv.dev answers, of a world that has one vulnerability."""

    server: VulnerabilityService

    def do_POST(self) -> None:
        """Answer the query of one version of one package."""
        query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.add(query["package"]["name"])
        vulnerable = query["package"]["name"] == self.server.vulnerable
        found = {"id": "PYSEC-2099-1", "affected": [], "summary": "It is broken."}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"vulns": [found]} if vulnerable else {}).encode())

    def log_message(self, *_: object) -> None:
        """Stay silent."""


class VulnerabilityService(HTTPServer):
    """A service that knows vulnerabilities, on a port of its own."""

    def __init__(self, vulnerable: str | None) -> None:
        """Know one of a package, or none."""
        super().__init__(("127.0.0.1", 0), _Vulnerabilities)
        self.vulnerable = vulnerable
        self.asked: set[str] = set()

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Serve; yield the address."""
        thread = threading.Thread(target=self.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{self.server_port}/v1/query"
        finally:
            self.shutdown()
            thread.join()
            self.server_close()


def audit(service: str) -> tuple[int, str]:
    """Call `make audit` with another service; return its exit status and output."""
    done = subprocess.run(
        # The environment is there: these tests run in it.
        [
            *("make", "--silent", "--assume-old=.venv/.dev", "audit"),
            f"ARGS=--vulnerability-service osv --osv-url {service}",
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def test_every_locked_package_is_looked_up() -> None:
    """With none known, all is well."""
    service = VulnerabilityService(None)
    with service.serving() as address:
        status, output = audit(address)

    assert (status, "No known vulnerabilities found" in output) == (0, True), output
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert service.asked == {
        *locked_versions(RUNTIME, python),
        *locked_versions(BUILD, python),
    }


def test_a_vulnerable_package_fails_the_audit() -> None:
    """By its name and that of the vulnerability."""
    with VulnerabilityService("aiohttp").serving() as address:
        status, output = audit(address)

    assert status != 0
    assert "aiohttp" in output
    assert "PYSEC-2099-1" in output


def test_an_audit_that_cannot_ask_fails() -> None:
    """Nothing known is not the same as nothing asked."""
    with VulnerabilityService(None).serving() as address:
        pass

    assert audit(address)[0] != 0
