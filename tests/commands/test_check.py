"""The command ``check``: each problem of a panel by its name, and what to do."""

from __future__ import annotations

import io
import json
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import faults
import msgspec
import pytest
import yaml
from builders import ALL_PERMISSIONS
from checking import checked, step
from checkout import DOCS
from faults import Fault
from faulty_panel import Panel
from harness import NOW, write_config

from exporter.commands.check import Check
from exporter.commands.report import (
    CheckReport,
    PanelReport,
    Progress,
    StepResult,
    as_json,
    as_table,
    summary_line,
)
from exporter.config import load as config
from exporter.config.units import Duration
from exporter.demo.cloud.simulation import SimulatedCloud
from exporter.errors import ConfigError
from exporter.model.entities import RESOURCES
from exporter.model.selection import Shard
from exporter.onapp.permissions import PERMISSIONS


@pytest.fixture
def panel() -> Panel:
    """Return a panel of three servers with a backup each, not started."""
    world = SimulatedCloud(NOW)
    world.add_backup_server("store", 100)
    for _ in range(3):
        server = world.add_server()
        world.add_backup(server.id, created_at=NOW - 60, built_at=NOW - 30)
    return Panel(world, clock=lambda: NOW)


async def check_one(
    panel: Panel, folder: Path, *, shard: Shard | None = None, **keys: Any
) -> PanelReport:
    """Start a panel and check it alone."""
    async with panel:
        file = folder / "onapp.yml"
        write_config(file, panel, {}, keys)
        (found,) = (await checked(file, shard=shard)).panels
    return found


def steps(found: PanelReport) -> dict[str, str]:
    """Return how each step stands."""
    return {check.step: str(check.status) for check in found.checks}


@contextmanager
def unused_port() -> Iterator[int]:
    """Yield a port that refuses connections."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        yield unused.getsockname()[1]


def self_signed(folder: Path) -> ssl.SSLContext:
    """Return what serves TLS with a certificate that no authority has signed."""
    certificate, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    return context


# A panel that is well.


async def test_a_panel_that_is_well_is_ok_in_every_step(
    panel: Panel, tmp_path: Path
) -> None:
    """What is not wanted or not used is off; that is no fault."""
    found = await check_one(panel, tmp_path)

    assert found.status == "ok"
    assert steps(found) == {
        "address": "ok",
        "tls": "off",
        "credentials": "ok",
        "version": "ok",
        "inventory": "ok",
        "backups": "ok",
        "schedules": "ok",
        "disks": "ok",
        "transactions": "ok",
        "backup_servers": "ok",
        "recovery_points": "off",
        "clock": "ok",
        "cost": "ok",
    }
    assert (found.version, found.servers) == ("6.10.0", 3)
    assert found.sample is not None
    assert (found.sample.servers, found.sample.backups) == (3, 3)


async def test_what_it_says_of_the_cost_is_what_a_poller_asks(
    panel: Panel, tmp_path: Path
) -> None:
    """Fifty servers at the usual intervals: 290 requests an hour."""
    for _ in range(47):
        panel.cloud.add_server()
    found = await check_one(panel, tmp_path)

    assert found.cost is not None
    assert found.cost.requests_per_pass == {
        "version": 1,
        "virtual_machines": 1,
        "schedules": 1,
        "disks": 1,
        "backup_servers": 1,
        "backups": 50,
        "transactions": 1,
    }
    assert sum(found.cost.requests_per_hour.values()) == 290.0
    assert found.cost.concurrency == 8
    assert 0 < found.cost.seconds_per_pass < 60


async def test_lists_refused_as_a_whole_cost_more(panel: Panel, tmp_path: Path) -> None:
    """The exporter then asks each server for its own, with its backups."""
    panel.faults.add(faults.forbidden(), path="/settings/(schedules|disks)")
    found = await check_one(panel, tmp_path)

    assert found.status == "ok"
    assert "only server by server" in step(found, "schedules").text
    assert found.cost is not None
    assert found.cost.requests_per_pass["schedules"] == 3
    assert found.cost.requests_per_hour["disks"] == 12.0


async def test_of_a_large_cloud_few_servers_are_read(
    panel: Panel, tmp_path: Path
) -> None:
    """A check costs a few requests, whatever a pass costs; they lie far apart."""
    for _ in range(497):
        panel.cloud.add_server()
    found = await check_one(panel, tmp_path)

    read = [asked.server_id for asked in panel.requests if asked.resource == "backups"]
    assert read == [1, 51, 101, 151, 201, 251, 301, 351, 401, 451]
    assert len(panel.requests) == 1 + 5 + 10 + 4
    assert found.servers == 500
    assert found.cost is not None
    assert found.cost.requests_per_pass["backups"] == 500
    assert found.cost.requests_per_pass["virtual_machines"] == 5


async def test_a_shard_reads_its_own_servers_alone(
    panel: Panel, tmp_path: Path
) -> None:
    """Its share, and what its share costs."""
    found = await check_one(panel, tmp_path, shard=Shard(0, 2))

    assert found.servers is not None
    assert 0 < found.servers < 3
    assert f"{found.servers} of them this shard's" in step(found, "inventory").text


async def test_servers_named_in_the_file_are_looked_up(
    panel: Panel, tmp_path: Path
) -> None:
    """One that is not there is named; the others are fine."""
    found = await check_one(panel, tmp_path, virtual_machines=[2, 77, "nosuchserver12"])

    assert found.status == "degraded"
    reported = step(found, "inventory")
    assert "not found: 77 (not_found), nosuchserver12 (not_found)" in reported.text
    assert reported.hint is not None
    assert "virtual_machines" in reported.hint


async def test_a_policy_that_is_for_no_server_is_named(
    panel: Panel, tmp_path: Path
) -> None:
    """A pattern that is misspelt would be an expectation that nobody has."""
    panel.cloud.servers[1].label = "db-1"
    policies = [
        {"match": {"label": "db-.*"}, "expected_interval": "12h"},
        {"match": {"label": "db-"}, "expected_interval": "12h"},
        {"match": {"label": "db-1"}, "expected_interval": "1d"},
    ]
    found = await check_one(panel, tmp_path, policies=policies)

    assert found.status == "degraded"
    reported = step(found, "inventory")
    assert reported.text.endswith("3 servers; none for policies[1], policies[2]")
    assert "whole label" in (reported.hint or "")


# Each problem has a name.


async def test_a_refused_connection_is_named(tmp_path: Path, panel: Panel) -> None:
    """Nobody listens: nothing else is tried."""
    with unused_port() as port:
        panel.url = f"http://127.0.0.1:{port}"
        file = tmp_path / "onapp.yml"
        write_config(file, panel, {}, {})
        (found,) = (await checked(file)).panels

    assert found.status == "failed"
    assert "Connection refused" in step(found, "address").text
    assert set(steps(found).values()) == {"failed", "untried"}


async def test_a_name_that_nobody_knows_is_named(tmp_path: Path, panel: Panel) -> None:
    """The resolver's own words; nothing else is tried."""
    panel.url = "http://cp.invalid"
    file = tmp_path / "onapp.yml"
    write_config(file, panel, {}, {})
    (found,) = (await checked(file)).panels

    assert step(found, "address").status == "failed"
    assert "cp.invalid" in step(found, "address").text
    assert "check url" in (step(found, "address").hint or "")


async def test_an_authority_that_nobody_trusts_is_named(
    tmp_path: Path, panel: Panel
) -> None:
    """The address is right; the credentials are never sent."""
    await panel.start(ssl_context=self_signed(tmp_path))
    try:
        file = tmp_path / "onapp.yml"
        write_config(file, panel, {}, {})
        (found,) = (await checked(file)).panels
        write_config(file, panel, {}, {"tls_config": {"insecure_skip_verify": True}})
        (blind,) = (await checked(file)).panels
    finally:
        await panel.stop()

    assert step(found, "address").status == "ok"
    assert step(found, "tls").status == "failed"
    assert "ca_file" in (step(found, "tls").hint or "")
    assert step(found, "credentials").status == "untried"
    assert step(blind, "tls").status == "off"
    assert blind.status == "ok"


PROBLEMS = [
    (faults.html(), "address", "check that url is the address"),
    (faults.status(404), "address", "check that url is the address"),
    (faults.html_error(403), "address", "check that url is the address"),
    (faults.html_error(404), "address", "check that url is the address"),
    (faults.answer(422), "address", "check that url is the address"),
    (faults.redirect("/users/sign_in"), "address", "not to one that redirects"),
    (faults.status(503), "version", "the panel has a problem"),
    (faults.html_error(500), "version", "the panel has a problem"),
    (faults.status(407), "address", "proxy_url"),
    (faults.reset(), "address", "check url"),
    (faults.cut(), "address", "load balancers"),
    (faults.unauthorized(), "credentials", "check basic_auth"),
]


@pytest.mark.parametrize(("fault", "name", "hint"), PROBLEMS)
async def test_a_problem_of_the_whole_panel_fails_one_step(
    panel: Panel, tmp_path: Path, fault: Fault, name: str, hint: str
) -> None:
    """With what to do about it; what depends on it is left untried."""
    panel.faults.add(fault)
    found = await check_one(panel, tmp_path)

    assert found.status == "failed"
    assert [check.step for check in found.checks if check.status == "failed"] == [name]
    assert hint in (step(found, name).hint or "")
    assert step(found, "backups").status == "untried"


async def test_a_version_that_cannot_be_read_fails_as_it_does_when_served(
    panel: Panel, tmp_path: Path
) -> None:
    """onapp_up would be 0; an old panel without the address is only degraded."""
    page = panel.faults.add(faults.html(), resource="version")
    unreadable = await check_one(panel, tmp_path)
    page.remove()
    panel.faults.add(faults.status(404), resource="version")
    missing = await check_one(panel, tmp_path)

    assert step(unreadable, "version").status == unreadable.status == "failed"
    assert step(unreadable, "inventory").status == "ok"
    assert step(missing, "version").status == missing.status == "degraded"
    assert step(missing, "version").http_status == 404


async def test_a_slow_panel_is_named(panel: Panel, tmp_path: Path) -> None:
    """Each request ends at its own time-out."""
    panel.faults.add(faults.hang())
    found = await check_one(panel, tmp_path, poll={"timeout": "1s"})

    assert step(found, "address").status == "failed"
    assert "no whole answer in 1 s" in step(found, "address").text
    assert "poll.timeout" in (step(found, "address").hint or "")


async def test_the_whole_ends_in_time(panel: Panel, tmp_path: Path) -> None:
    """A request that hangs takes its panel's time, and that of those after it."""
    panel.faults.add(faults.hang(), resource="transactions")
    async with panel:
        file = tmp_path / "onapp.yml"
        write_config(file, panel, {}, {})
        none = await checked(file, limit=0.0)
        found = await checked(file, limit=1.0)

    assert none.panels[0].status == found.panels[0].status == "failed"
    assert "--timeout" in (step(none.panels[0], "address").hint or "")
    assert any("not tried within 1s" in c.text for c in found.panels[0].checks)


PERMITTED = [
    ("settings.version", ["version"], "degraded"),
    ("virtual_machines.read", ["inventory"], "failed"),
    ("backups.read", ["backups"], "failed"),
    ("schedules.read", ["schedules"], "degraded"),
    ("disks.read", ["disks"], "degraded"),
    ("transactions.list", ["transactions"], "degraded"),
    ("backup_servers.read", ["backup_servers"], "degraded"),
]


@pytest.mark.parametrize(("permission", "names", "status"), PERMITTED)
async def test_a_missing_permission_is_named(
    panel: Panel, tmp_path: Path, permission: str, names: list[str], status: str
) -> None:
    """By its own name, with what is lost without it; all else is tried."""
    panel.permissions = ALL_PERMISSIONS - {permission}
    found = await check_one(panel, tmp_path)

    bad = [c for c in found.checks if c.status in ("degraded", "failed")]
    assert [check.step for check in bad if check.http_status == 403] == names
    assert step(found, names[0]).status == status
    assert permission in (step(found, names[0]).hint or "")
    assert step(found, "credentials").status == "ok"
    assert step(found, "transactions").status != "untried"


def test_the_page_of_permissions_names_each() -> None:
    """What check asks for is what the documentation explains."""
    page = (DOCS / "permissions.md").read_text("utf-8")
    names = {
        name
        for permission in PERMISSIONS.values()
        for name in permission.names.split(" and ")
    }

    assert {*PERMISSIONS} == {*RESOURCES}
    assert [name for name in sorted(names) if f"`{name}`" not in page] == []


async def test_one_server_that_fails_degrades(panel: Panel, tmp_path: Path) -> None:
    """The others can be watched."""
    panel.faults.add(faults.html_error(), resource="backups", server_id=2)
    found = await check_one(panel, tmp_path)

    assert found.status == "degraded"
    assert "2 backups on 2 of 3 servers; 1 failed" in step(found, "backups").text
    assert step(found, "schedules").status == "ok"


async def test_rows_that_cannot_be_read_are_told(panel: Panel, tmp_path: Path) -> None:
    """The others count; how many are missing must be seen."""
    panel.cloud.add_backup(1)
    panel.faults.add(faults.bad_rows(0.5), resource="backups")
    found = await check_one(panel, tmp_path)

    assert "cannot be read" in step(found, "backups").text
    assert step(found, "backups").status == "degraded"


@pytest.mark.parametrize(("skew", "status"), [(299, "ok"), (-302, "degraded")])
async def test_a_clock_that_is_wrong_is_told(
    panel: Panel, tmp_path: Path, skew: float, status: str
) -> None:
    """Above five minutes: from then on ages mislead."""
    panel.date_skew_seconds = skew
    found = await check_one(panel, tmp_path)

    assert found.clock_skew_seconds == pytest.approx(skew, abs=1.5)
    assert step(found, "clock").status == found.status == status


async def test_a_panel_without_servers_is_no_success(
    panel: Panel, tmp_path: Path
) -> None:
    """The role may just not see them: "all is well" would be a guess."""
    panel.visible = lambda _: False
    found = await check_one(panel, tmp_path)

    assert found.status == "degraded"
    assert "own user's servers" in (step(found, "inventory").hint or "")


async def test_a_panel_that_wants_to_be_left_alone_is(
    panel: Panel, tmp_path: Path
) -> None:
    """A long Retry-After ends the check of it."""
    busy = faults.status(503, {"Retry-After": "600"})
    panel.faults.add(busy, resource="backups")
    found = await check_one(panel, tmp_path)

    assert found.status == "failed"
    assert "must not be contacted" in step(found, "backups").text
    assert sum(asked.resource == "backups" for asked in panel.requests) == 2
    assert panel.requests[-1].resource == "backups"


# The account must not be locked.


async def test_refused_credentials_are_tried_once_for_all_sections(
    panel: Panel, tmp_path: Path
) -> None:
    """Sections that share address and account share the one attempt."""
    async with panel:
        account = {"username": panel.username, "password": "wrong"}
        sections = [
            {"name": name, "url": panel.url + end, "basic_auth": account}
            for name, end in (("a", ""), ("b", "/"), ("c", ""))
        ]
        file = tmp_path / "onapp.yml"
        file.write_text(yaml.safe_dump({"panels": sections}))
        found = await checked(file)

    assert sum(panel.failed_attempts.values()) == 1
    assert len(panel.requests) == 1
    assert [p.status for p in found.panels] == ["failed"] * 3
    assert "not tried again" in step(found.panels[1], "credentials").text
    assert found.status == "failed"


async def test_credentials_refused_midway_are_not_tried_again(
    panel: Panel, tmp_path: Path
) -> None:
    """Somebody may change the key just then; or the cookie is what is refused."""
    panel.faults.add(faults.unauthorized(), resource="backups")
    found = await check_one(panel, tmp_path)

    assert [bool(r.cookie) for r in panel.requests if r.status == 401] == [True, False]
    assert panel.requests[-1].resource == "backups"
    assert step(found, "credentials").status == "failed"


# What is printed.


async def test_neither_key_nor_root_password_is_shown(
    panel: Panel, tmp_path: Path
) -> None:
    """Whatever the panel says, or repeats."""
    panel.password = "the-very-key"
    output = json.dumps({"errors": ["the-very-key is not welcome"]}).encode()
    panel.faults.add(faults.answer(403, None, output), resource="transactions")
    found = await check_one(panel, tmp_path)
    report = CheckReport("1", found.status, None, (found,))
    text = as_json(report) + as_table(found, None)

    assert "is not welcome" in text
    assert "the-very-key" not in text
    assert "secret-of" not in text


async def test_what_a_panel_says_cannot_move_the_cursor(
    panel: Panel, tmp_path: Path
) -> None:
    """Escapes, bells, and the marks that turn the direction of writing."""
    hostile = "6.1\x1b[2J\x07\u009b31m\u202e"
    panel.version = hostile
    output = json.dumps({"errors": [f"no{hostile}pe"]}).encode()
    panel.faults.add(faults.answer(422, None, output), resource="backup_servers")
    found = await check_one(panel, tmp_path)
    report = CheckReport("1", found.status, None, (found,))

    for text in (as_json(report), as_table(found, 80)):
        assert all(c.isprintable() or c == "\n" for c in text)
    assert "6.1" in (found.version or "")


@pytest.mark.parametrize("width", [40, 80, 200])
async def test_a_table_is_as_wide_as_the_terminal(
    panel: Panel, tmp_path: Path, width: int
) -> None:
    """Nothing is cut off: words go to the next line."""
    panel.permissions = ALL_PERMISSIONS - {"disks.read", "backups.read"}
    found = await check_one(panel, tmp_path)
    lines = as_table(found, width).splitlines()

    words = " ".join(" ".join(lines).split())
    assert max(map(len, lines)) <= width
    assert all(check.text in words for check in found.checks if check.text)


async def test_the_summary_counts_panels(panel: Panel, tmp_path: Path) -> None:
    """The worst of them is the exit status."""
    with unused_port() as port:
        async with panel:
            account = {"username": panel.username, "password": panel.password}
            sections = [
                {"name": "good", "url": panel.url, "basic_auth": account},
                {
                    "name": "gone",
                    "url": f"http://127.0.0.1:{port}",
                    "basic_auth": account,
                },
            ]
            file = tmp_path / "onapp.yml"
            file.write_text(yaml.safe_dump({"panels": sections}))
            found = await checked(file)

    assert summary_line(found) == "2 panels: 1 ok, 1 failed\n"
    assert found.status == "failed"


def test_the_page_of_commands_explains_every_key_of_the_json() -> None:
    """The keys are a contract."""
    page = (DOCS / "commands.md").read_text("utf-8")
    kinds: tuple[type[msgspec.Struct], ...] = (CheckReport, PanelReport, StepResult)
    names = [f.name for kind in kinds for f in msgspec.structs.fields(kind)]

    assert [name for name in names if f"`{name}`" not in page] == []


async def test_a_certificate_that_has_gone_is_the_configurations_fault(
    panel: Panel, tmp_path: Path
) -> None:
    """Between the reading of the file and the check."""
    panel.url = "https://127.0.0.1:1"
    authority = tmp_path / "ca.pem"
    context = ssl.create_default_context()
    found = context.get_ca_certs(binary_form=True)[0]
    authority.write_text(ssl.DER_cert_to_PEM_cert(found))
    file = tmp_path / "onapp.yml"
    write_config(file, panel, {}, {"tls_config": {"ca_file": "ca.pem"}})
    loaded = config.load(file, {})
    authority.unlink()
    job = Check(Shard(), Progress(io.StringIO()), Duration(9))

    with pytest.raises(ConfigError, match="tls_config"):
        await job.run(loaded, lambda _: None)
