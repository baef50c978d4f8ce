"""Every fault at every place: the whole of /metrics before, during and after it.

Each cell is an exporter over a small simulated cloud. When its fault begins, something
changes everywhere in the cloud. The same cloud is watched without any fault too, on the
same stepped clock: what is said there is true of the cloud, and whatever the rules of a
cell do not name must be said as there.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme
from expected_metrics import ExpectedMetrics, panel_samples
from expected_metrics import differences as untrue_samples
from harness import MonitoredCloud
from truth import EndedTransactions, Truth

from fault_matrix.cloud import (
    NamedPanel,
    Timing,
    change_everything,
    looking,
    small_cloud,
)
from fault_matrix.effects import (
    AFTER,
    ALWAYS,
    IN_STEP,
    PANEL,
    REFUSED,
    SCOPES,
    UNAUTHORIZED,
)
from fault_matrix.hostile_content import LONG, SHORT
from fault_matrix.matrix import CONNECTION, FAULTS, FaultCase, cells, impossible
from fault_matrix.rules import (
    Observation,
    Rule,
    comment_lines,
    differences,
    parse_scrape,
)

HOST = "cp.test"
_RECOVERY_SECONDS = 90.0
_AFTER_UNAUTHORIZED_SECONDS = 700.0
_AFTER_REFUSED_SECONDS = 4500.0
_AFTER_PAUSE_SECONDS = 300.0
_AFTER_SHORT_PAUSE_SECONDS = 180.0


@dataclass(frozen=True)
class Observed:
    """One scrape, and the moment of it."""

    text: str
    now: float
    elapsed: float


Observations = dict[str, Observed]
_ALWAYS_ASKED = ("version", "inventory", "one server", "every server")
Begin = Callable[[MonitoredCloud], Any]


def timing(fault: FaultCase, scope: str, form: str) -> Timing:
    """Return the rhythm in which a fault can be seen to come and go."""
    long = fault.representative and form == fault.forms[0]
    if fault.effect == REFUSED and scope not in _ALWAYS_ASKED:
        return Timing(600.0, _AFTER_REFUSED_SECONDS, long=long)
    after = _RECOVERY_SECONDS
    if fault.effect == UNAUTHORIZED:
        after = _AFTER_UNAUTHORIZED_SECONDS
    elif scope in ("recovery_points", PANEL):
        after = _AFTER_PAUSE_SECONDS if long else _AFTER_SHORT_PAUSE_SECONDS
    return Timing(60.0, after, long=long)


async def observe(
    cloud: MonitoredCloud,
    timing: Timing,
    begin: Begin,
    end: Begin,
    check: Callable[[str, float], None] = lambda *_: None,
) -> Observations:
    """Scrape before, during and after a fault."""
    observations: Observations = {}
    began = 0.0
    for name, seconds in timing.moments():
        if name == "after":
            await end(cloud)
        await cloud.advance(seconds)
        text, now = await cloud.metrics(), cloud.clock.time()
        check(text, now)
        text = text.replace(LONG, SHORT).replace(cloud.panel.url, "URL")
        observations[name] = Observed(text, now, now - (began or now))
        if name == "before":
            began = now
            change_everything(cloud.panel)
            await begin(cloud)
    return observations


async def nothing(_: MonitoredCloud) -> None:
    """Let the twin be."""


@pytest.fixture(scope="module")
def twins() -> dict[tuple[str, Timing], Observations]:
    """Keep what was said where there is no fault."""
    return {}


@pytest.fixture(scope="module")
def ran() -> set[tuple[str, str, str]]:
    """Collect the cells that were run."""
    return set()


@dataclass(frozen=True)
class Cell:
    """One fault at one place, in one format, and where to try it."""

    fault: FaultCase
    scope: str
    form: str
    folder: Path

    @property
    def timing(self) -> Timing:
        """Return the rhythm in which the fault can be seen to come and go."""
        return timing(self.fault, self.scope, self.form)


@pytest.fixture
def a_cell(request: pytest.FixtureRequest, tmp_path: Path) -> Cell:
    """Return the cell whose names are the parameter."""
    name, scope, form = request.param
    return Cell(FAULTS[name], scope, form, tmp_path)


@pytest.mark.parametrize("a_cell", cells(), ids="-".join, indirect=True)
async def test_a_fault_changes_what_it_must_and_nothing_else(
    a_cell: Cell,
    twins: dict[tuple[str, Timing], Observations],
    ran: set[tuple[str, str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While it lasts as the rules say, and afterwards as if it had never been."""
    fault = a_cell.fault
    reference = await a_twin(twins, a_cell)
    if fault.effect == CONNECTION:
        panel, observations = await without_connections(a_cell, monkeypatch)
    else:
        panel, observations = await with_wrong_answers(a_cell)
    ran.add((fault.name, a_cell.scope, a_cell.form))

    if fault.effect == UNAUTHORIZED:
        assert asked_after_refusal(panel, observations) == []
    assert list(wrong(a_cell, reference, observations)) == []
    assert answers(observations["after"].text) == Counter(
        (asked.resource, asked.status)
        for asked in panel.requests
        if asked.status is not None
    )


async def a_twin(
    twins: dict[tuple[str, Timing], Observations], cell: Cell
) -> Observations:
    """Return what is said where there is no fault: what is true of the cloud.

    Cells of one rhythm share it.
    """
    key = cell.form, cell.timing
    if key not in twins:
        folder = cell.folder / "twin"
        folder.mkdir()
        panel = NamedPanel(small_cloud())
        expected = ExpectedMetrics(
            *("cp", Truth(panel.cloud), EndedTransactions(panel.cloud)),
            interval_seconds=cell.timing.interval,
        )

        def check(text: str, now: float) -> None:
            assert untrue_samples(panel_samples(text), [expected], now) == []

        async with looking(panel, folder, *key) as cloud:
            twins[key] = await observe(cloud, cell.timing, nothing, nothing, check)
    return twins[key]


async def with_wrong_answers(cell: Cell) -> tuple[NamedPanel, Observations]:
    """Run a cell whose fault is in the panel's answers."""
    panel = NamedPanel(small_cloud())

    async def begin(_: MonitoredCloud) -> None:
        panel.faults.add(cell.fault.demo_fault(), **SCOPES[cell.scope].fault_arguments)

    async def end(_: MonitoredCloud) -> None:
        (placed,) = panel.faults.active
        assert placed.happened
        placed.remove()

    async with looking(panel, cell.folder, cell.form, cell.timing) as cloud:
        return panel, await observe(cloud, cell.timing, begin, end)


async def without_connections(
    cell: Cell, monkeypatch: pytest.MonkeyPatch
) -> tuple[NamedPanel, Observations]:
    """Run a cell whose fault keeps connections from being made."""
    names = NameServer({HOST})
    monkeypatch.setattr(socket, "getaddrinfo", names.getaddrinfo)
    authority = trustme.CA()
    file = cell.folder / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    over = datetime.now(UTC) - timedelta(hours=1)
    contexts = {
        "TLS: certificate expired": context(authority, HOST, not_after=over),
        "TLS: certificate for another host": context(authority, "other.test"),
        "TLS: unknown authority": context(trustme.CA(), HOST),
    }
    name = cell.fault.name
    good = context(authority, HOST) if name in contexts else None
    panel = NamedPanel(small_cloud(), context=good, host=HOST)
    placeholder = socket.socket()

    async def begin(cloud: MonitoredCloud) -> None:
        await panel.stop()
        if name == "connection refused":
            placeholder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            placeholder.bind(("127.0.0.1", panel.port))
            return
        if name == "DNS failure":
            names.known.clear()
            forget_names(cloud)
        panel.context = contexts.get(name)
        await panel.start_again()

    async def end(_: MonitoredCloud) -> None:
        await panel.stop()
        panel.context = good
        names.known.add(HOST)
        await panel.start_again()

    keys = {"tls_config": {"ca_file": str(file)}} if good else {}
    with placeholder:
        async with looking(panel, cell.folder, cell.form, cell.timing, **keys) as cloud:
            return panel, await observe(cloud, cell.timing, begin, end)


@dataclass
class NameServer:
    """Resolves the names that it knows to the loopback interface."""

    known: set[str]

    def __post_init__(self) -> None:
        """Keep the real one for all else."""
        self.real = socket.getaddrinfo

    def getaddrinfo(self, host: Any, *rest: Any, **more: Any) -> Any:
        """Answer as the C library does."""
        if host != HOST:
            return self.real(host, *rest, **more)
        if host not in self.known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return self.real("127.0.0.1", *rest, **more)


def forget_names(cloud: MonitoredCloud) -> None:
    """Empty the exporter's cache of names, as a few seconds would."""
    (member,) = cloud.exporter.manager.panel_tasks.values()
    connector = member.sessions.keep_alive.connector
    assert isinstance(connector, aiohttp.TCPConnector)
    connector.clear_dns_cache()


def context(
    authority: trustme.CA, name: str, not_after: datetime | None = None
) -> ssl.SSLContext:
    """Return what a panel needs to speak TLS under a name."""
    made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name, not_after=not_after).configure_cert(made)
    return made


def wrong(
    cell: Cell, reference: Observations, observations: Observations
) -> Iterator[str]:
    """Yield what a cell's scrapes say wrongly."""
    scope = SCOPES[cell.scope]
    expected = cell.fault.expected_at(scope)
    counted = cell.fault.expected_errors(scope)
    rules: dict[str, tuple[Rule, ...]] = {
        "before": (),
        "short": (*counted, *expected.short),
        "long": (*counted, *expected.long),
        "after": (*expected.after, *AFTER),
    }
    before = parse_scrape(observations["before"].text)
    last = parse_scrape([*observations.values()][-2].text)
    for name, seen in observations.items():
        observation = Observation(
            last if name == "after" else before,
            parse_scrape(reference[name].text),
            parse_scrape(seen.text),
            seen.now,
            seen.elapsed,
            recent_seconds=2 * cell.timing.interval,
        )
        for what in differences(observation, (*ALWAYS, *rules[name], IN_STEP)):
            yield f"{name}: {what}"
        if name in ("before", "after") and comment_lines(seen.text) != comment_lines(
            reference[name].text
        ):
            yield f"{name}: other families"


def asked_after_refusal(panel: NamedPanel, observations: Observations) -> list[str]:
    """Return what was asked between the refusal and the end of the fault.

    The first 401 may be about the cookie: one without it decides about the key.
    """
    end = observations["long"].now
    refused_at = min(
        asked.at for asked in panel.requests if asked.status == 401 and not asked.cookie
    )
    return [a.path for a in panel.requests if refused_at < a.at <= end]


def answers(text: str) -> Counter[tuple[str, int]]:
    """Return how many answers were counted, by resource and status."""
    counted = re.findall(
        r'^onapp_api_requests_total{code="(\d+)",panel="cp",resource="(\w+)"} (\d+)',
        text,
        re.MULTILINE,
    )
    return Counter(
        {(resource, int(code)): int(n) for code, resource, n in counted if n != "0"}
    )


def test_every_fault_meets_every_place_or_cannot(
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
    ran: set[tuple[str, str, str]],
) -> None:
    """Faults times places, less those that are impossible, each with its reason."""
    never = impossible()
    made = {(fault, scope) for fault, scope, _ in cells()}
    asked_for = {
        item.callspec.params["a_cell"]
        for item in request.session.items
        if hasattr(item, "callspec") and item.path == request.path
    }
    with capsys.disabled():
        print(  # noqa: T201  # the figures are to be seen
            f"\n{len(ran)} runs of {len({cell[:2] for cell in ran})} cells: "
            f"{len(FAULTS)} faults x {len(SCOPES)} places - {len(never)} impossible"
        )

    assert len(made) == len(FAULTS) * len(SCOPES) - len(never)
    assert made.isdisjoint(never)
    assert never.keys() <= {*product(FAULTS, SCOPES)}
    assert all(never.values())
    assert ran == asked_for
