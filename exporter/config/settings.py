"""The whole configuration as frozen values: what is left when nothing is wrong."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path

import yarl

from ..model.selection import Selection
from .schema import BodyFormat
from .secrets import Account
from .units import Duration, Size


@dataclass(frozen=True, slots=True)
class Poll:
    """How a panel is asked."""

    interval: Duration
    timeout: Duration
    concurrency: int
    max_age: Duration
    max_body: Size


@dataclass(frozen=True, slots=True)
class Tls:
    """Whom to trust, and who to be."""

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    server_name: str | None = None
    insecure_skip_verify: bool = False
    digest: bytes = field(default=b"", repr=False)
    """Of the files' content: a renewed certificate is another configuration."""

    def context(self) -> ssl.SSLContext:
        """Return what connections are opened with; raise OSError if a file is wrong."""
        context = ssl.create_default_context(cafile=self.ca_file)
        if self.cert_file is not None:
            # Without a passphrase given, OpenSSL would ask the terminal for it.
            context.load_cert_chain(self.cert_file, self.key_file, password="")
        if self.insecure_skip_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


@dataclass(frozen=True, slots=True)
class Collectors:
    """What is read beside the inventory and the backups."""

    schedules: bool = True
    transactions: bool = True
    backup_servers: bool = True
    recovery_points: bool = False
    """One more request per server."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One control panel and the servers of it that matter."""

    name: str
    url: yarl.URL
    account: Account
    form: BodyFormat
    tls: Tls
    proxy_url: yarl.URL | None = field(repr=False)
    """It may hold a password."""
    selection: Selection
    discovery_interval: Duration
    collectors: Collectors
    poll: Poll


@dataclass(frozen=True, slots=True)
class Detail:
    """How much is exposed of single backups."""

    backups: bool = True
    newest_per_target: int = 0
    """0: all; else so many by ``created_at``, and every unbuilt one."""


@dataclass(frozen=True, slots=True)
class Config:
    """The whole configuration."""

    panels: tuple[Panel, ...]
    detail: Detail
