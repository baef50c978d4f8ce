"""Tests that the dashboards say what is so: every query, asked of a real Prometheus.

It scrapes two replicas of the exporter, which watch two panels whose servers have the
same numbers. One replica reads the inventory but once, so that the two differ.
"""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import chain, product
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import shipped_dashboards
import yaml
from alert_rules import RULES_FOLDER
from exporter_process import exporter_process
from faulty_panel import Panel, demo_panel
from prometheus_processes import Prometheus, free_port, prometheus
from shipped_dashboards import ALL_VALUES, Query, VariableValues

from exporter.demo.cloud.demo_cloud import HOSTILE_LABEL
from exporter.health.conditions import SERVER_CONDITIONS, Severity

Row: TypeAlias = tuple[dict[str, str], float]
"""Labels and the last value."""

_JOB = "onapp-backups"
_SEEDS = {"ams.1": 2, "lon.1": 1}
_RENAMED = "web-01"
_DESCRIBING = {
    *("label", "hostname", "identifier", "hypervisor_id", "version", "period"),
    *("source", "backup_type", "initiated"),
}
"""Labels by which no row is told from another."""
_REPORTED = {
    "hr-unprotected": "unprotected",
    "nas-forgotten-disk": "disk_unprotected",
    "forum-failed": "failed",
    "unpaid-suspended": "suspended",
    "sandbox-without-backups": "not_required",
    "web-02": "fine",
    "db-01": "fine",
}
_LOOKED_AT = (
    *("forum-failed", f"{_RENAMED}-now", "db-01", "intranet-disabled"),
    *(
        "sandbox-without-backups",
        "nas-forgotten-disk",
        "exchange-plugin",
        HOSTILE_LABEL,
    ),
)
"""Servers whose dashboard is looked at; of the first there is everything to be said."""
_EXPORTERS = tuple(product(("2s", "1h"), (0, 1)))
"""Two replicas, of which one looks for new names; each is two shards."""
_ENDED = 'onapp_transactions_total{action="take_backup", status="complete"}'
_EMPTY = {"onapp-cloud: Control panels, F"}
"""What nothing has an answer to: since when the queue of transactions has not moved."""
_MOST_SERIES = 10
"""Of each server, in each exporter, so many series may the overview read."""


@dataclass(eq=False)
class Answers:
    """What was asked, with which variables, and what the answer was."""

    rows: dict[tuple[Query, str, str], list[Row]] = field(default_factory=dict)
    """By query, variable and its value."""
    options: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    """What each variable of each dashboard can be."""
    servers: dict[str, str] = field(default_factory=dict)
    """The names of servers by their numbers, on either panel."""
    reads: float = 0
    """How many series of servers all queries of the overview read, each for itself."""

    def of(self, board: str, panel: str, ref: str = "A") -> list[Row]:
        """Return the answer to a query with everything chosen."""
        return next(
            rows
            for (asked, variable, _), rows in self.rows.items()
            if (asked.dashboard, asked.panel, asked.ref) == (board, panel, ref)
            and not variable
        )


@pytest.fixture(scope="module")
def answers(
    prometheus_program: str, tmp_path_factory: pytest.TempPathFactory
) -> Answers:
    """Ask every query once with every variable; the tests look at the answers."""
    return asyncio.run(
        _asked(prometheus_program, tmp_path_factory.mktemp("dashboards"))
    )


async def _asked(program: str, folder: Path) -> Answers:
    answers = Answers()
    ports = [free_port() for _ in _EXPORTERS]
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(_scraping(ports, folder)))
    async with prometheus(program, file) as started:
        async with _watched(ports, folder) as panels:
            every = len(_SEEDS) * len(_EXPORTERS)
            await _until(started, "count_over_time(onapp_up[1m]) > 1", every)
            await _until(started, _ENDED, every)
            since = time.time()
            server_ids = {_happen(panel) for panel in panels}
            await _until(started, f'onapp_vm_info{{label="{_RENAMED}-now"}}', 2)
            await _until(started, f"{_ENDED} > {_ENDED} @ {since:.3f}", 4)
            await _until(started, 'ALERTS{alertname="OnAppServerUnprotected"}', 2)
            await _until(started, f"onapp_up offset {time.time() - since:.0f}s", every)
            now = time.time()
        # What was scraped is asked at that moment: nothing need go on for it.
        assert len(server_ids) == 1
        answers.servers = {
            str(server.id): server.label for server in panels[0].cloud.servers.values()
        }
        await _Asking(started, answers, since, now).all()
    return answers


@asynccontextmanager
async def _watched(ports: list[int], folder: Path) -> AsyncIterator[list[Panel]]:
    """Start two panels and all exporters, that watch both; they are gone afterwards."""
    async with AsyncExitStack() as stack:
        panels = []
        for seed in _SEEDS.values():
            panel = await demo_panel(seed=seed)
            stack.push_async_callback(panel.stop)
            panels.append(panel)
        for port, (discovery, shard) in zip(ports, _EXPORTERS, strict=True):
            file = folder / f"exporter-{port}.yml"
            file.write_text(yaml.safe_dump(_config(panels, discovery)))
            listen = f"--web.listen-address=127.0.0.1:{port}"
            share = (f"--shard={shard}", "--total-shards=2")
            exporter = exporter_process(f"--config.file={file}", listen, *share)
            await (await stack.enter_async_context(exporter)).base_url()
        yield panels


def _config(panels: list[Panel], discovery: str) -> dict[str, Any]:
    found = [
        {
            "name": name,
            "url": panel.url,
            "basic_auth": {"username": panel.username, "password": panel.password},
        }
        for name, panel in zip(_SEEDS, panels, strict=True)
    ]
    return {
        "poll": {"interval": "2s"},
        "panels": [{**one, "discovery": {"interval": discovery}} for one in found],
    }


def _scraping(ports: list[int], folder: Path) -> dict[str, Any]:
    """Return a configuration with the shipped rules, evaluated every second."""
    for file in RULES_FOLDER.glob("*.rules.yml"):
        rules = yaml.safe_load(file.read_text("utf-8"))
        for group in rules["groups"]:
            group["interval"] = "1s"
        (folder / file.name).write_text(yaml.safe_dump(rules))
    targets = [f"127.0.0.1:{port}" for port in ports]
    job = {"job_name": _JOB, "static_configs": [{"targets": targets}]}
    return {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
        "rule_files": ["*.rules.yml"],
        "scrape_configs": [job],
    }


def _happen(panel: Panel) -> int:
    """Let one server be renamed, and a task end."""
    world = panel.cloud
    server = next(one for one in world.servers.values() if one.label == _RENAMED)
    server.label = f"{_RENAMED}-now"
    world.add_transaction(server_id=server.id)
    return server.id


async def _until(started: Prometheus, condition: str, series: int) -> None:
    """Wait until a query has so many series at least."""
    while True:
        try:
            found = await started.query(condition)
        except OSError:
            found = []
        if len(found) >= series:
            return
        await asyncio.sleep(0.2)


@dataclass(eq=False)
class _Asking:
    """Asks everything at one moment."""

    started: Prometheus
    answers: Answers
    since: float
    now: float
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(2))

    async def all(self) -> None:
        """Ask every query of every dashboard with every value of every variable."""
        async with asyncio.TaskGroup() as tasks:
            for board in shipped_dashboards.DASHBOARDS:
                tasks.create_task(self.board(board))
        asked = shipped_dashboards.DASHBOARDS["onapp-cloud"]
        expressions = [
            one.expression for one in shipped_dashboards.queries(asked["uid"])
        ]
        expressions += [one["expr"] for one in asked["annotations"]["list"]]
        for selector in re.findall(r"(onapp_\w+\{.*?)\}", " ".join(expressions)):
            everything = re.sub(r"\$\w+", ALL_VALUES, selector)
            for _, count in await self.now_is(f'count({everything}, vm_id!=""}})'):
                self.answers.reads += count

    async def board(self, board: str) -> None:
        """Ask the queries of a dashboard."""
        options = self.answers.options[board] = {}
        usual = dict.fromkeys(shipped_dashboards.variables(board, "custom"), ALL_VALUES)
        several = {**usual}
        for name, variable in shipped_dashboards.variables(board).items():
            options[name] = await self.choices(variable["query"], variable, usual)
            alone = self.numbers[_LOOKED_AT[0]] if name == "vm" else options[name][-1]
            usual[name] = ALL_VALUES if variable["includeAll"] else alone
            many = variable["multi"]
            several[name] = (
                shipped_dashboards.variable_value(*options[name]) if many else alone
            )
        cases = [("", "", usual), ("each", "several", several)]
        for name, found in options.items():
            many = shipped_dashboards.variables(board)[name]["multi"]
            values = (
                [self.numbers[one] for one in _LOOKED_AT] if name == "vm" else found
            )
            for value in values:
                word = shipped_dashboards.variable_value(value) if many else value
                cases.append((name, value, {**usual, name: word}))
        async with asyncio.TaskGroup() as tasks:
            for asked in shipped_dashboards.queries(board):
                for name, value, chosen in cases:
                    tasks.create_task(self.query(asked, name, value, chosen))

    @property
    def numbers(self) -> dict[str, str]:
        """Return the numbers of servers by their names."""
        return {name: number for number, name in self.answers.servers.items()}

    async def query(
        self, asked: Query, name: str, value: str, chosen: VariableValues
    ) -> None:
        """Ask a query as Grafana would."""
        seconds = round(self.now - self.since)
        known = {
            **chosen,
            "__range": f"{seconds}s",
            "__range_s": str(seconds),
            "__rate_interval": "10s",
        }
        expression = shipped_dashboards.substituted(asked.expression, known)
        how = self.now_is if asked.instant else self.over_time
        self.answers.rows[asked, name, value] = await how(expression)

    async def now_is(self, expression: str) -> list[Row]:
        """Return what is so at the end of the time."""
        async with self._slots:
            answer = await self.started.api("query", query=expression, time=self.now)
        return [(one["metric"], float(one["value"][1])) for one in answer["result"]]

    async def over_time(self, expression: str) -> list[Row]:
        """Return what was so over the time."""
        moments: dict[str, str | float] = {
            "start": self.now - math.ceil(self.now - self.since),
            "end": self.now,  # which is looked at, too: what was waited for is known
            "step": "1",
        }
        async with self._slots:
            answer = await self.started.api("query_range", query=expression, **moments)
        return [
            (one["metric"], float(one["values"][-1][1])) for one in answer["result"]
        ]

    async def choices(
        self, query: str, variable: Mapping[str, Any], chosen: VariableValues
    ) -> list[str]:
        """Return the values of a variable, as Grafana finds them."""
        values = re.fullmatch(r"label_values\((.*), (\w+)\)", query)
        if values:
            series = shipped_dashboards.substituted(values[1], chosen)
            parameters: dict[str, str | float] = {
                "match[]": series,
                "start": self.since,
                "end": self.now,
            }
            found = await self.started.api(f"label/{values[2]}/values", **parameters)
            return [str(value) for value in found]
        result = re.fullmatch(r"query_result\((.*)\)", query, re.DOTALL)
        assert result
        pattern = variable["regex"].strip("/").replace("(?<", "(?P<")
        lines = [
            "{" + ",".join(f'{key}="{text}"' for key, text in labels.items()) + "} 1"
            for labels, _ in await self.now_is(
                shipped_dashboards.substituted(result[1], chosen)
            )
        ]
        return [
            found.groupdict().get("value") or found[1]
            for line in lines
            for found in [re.search(pattern, line)]
            if found
        ]


@pytest.mark.parametrize("board", shipped_dashboards.DASHBOARDS)
def test_every_query_has_an_answer_with_everything_chosen_and_for_some_of_each_choice(
    board: str, answers: Answers
) -> None:
    """An empty panel is worse than none: what is broken looks like all is well."""
    found: Counter[tuple[str, str]] = Counter()
    for (asked, variable, _), rows in answers.rows.items():
        if asked.dashboard == board:
            found[asked.location, variable] += len(rows)

    empty = {asked for (asked, _), count in found.items() if not count}
    assert empty <= _EMPTY


@pytest.mark.parametrize("board", shipped_dashboards.DASHBOARDS)
def test_every_variable_has_its_values(board: str, answers: Answers) -> None:
    """Those that were scraped, and each once."""
    options = answers.options[board]

    assert options["job"] == [_JOB]
    assert len(options["instance"]) == len(_EXPORTERS)
    assert options["panel"] == [*_SEEDS]
    assert all(
        url.removeprefix("http://") in options["instance"]
        for url in options.get("exporter", ())
    )
    assert options.get("exporter") != []
    assert all(len(values) == len(set(values)) for values in options.values())
    assert sorted(options.get("vm", answers.servers)) == sorted(answers.servers)


def test_no_row_comes_twice_while_replicas_differ(answers: Answers) -> None:
    """Of two names of a server the newer is shown."""
    twice = []
    for (asked, variable, value), rows in answers.rows.items():
        identities = Counter(
            tuple(
                sorted(
                    (key, text)
                    for key, text in labels.items()
                    if key not in _DESCRIBING
                )
            )
            for labels, _ in rows
        )
        twice += [
            (asked.location, variable, value, one)
            for one, n in identities.items()
            if n > 1
        ]
    names = {
        labels["label"]
        for labels, _ in answers.of("onapp-cloud", "Servers, worst first")
    }

    assert twice == []
    assert f"{_RENAMED}-now" in names
    assert _RENAMED not in names


@pytest.mark.parametrize("board", shipped_dashboards.DASHBOARDS)
def test_no_two_lines_of_a_graph_have_the_same_name(
    board: str, answers: Answers
) -> None:
    """Nobody could tell them apart."""
    drawn: Counter[tuple[str, str, str, str]] = Counter()
    for (asked, variable, value), rows in answers.rows.items():
        if asked.dashboard == board and not asked.instant:
            for labels, _ in rows:
                name = shipped_dashboards.legend_text(asked.legend, labels)
                drawn[asked.panel, variable, value, name] += 1

    assert [line for line, count in drawn.items() if count > 1] == []


def test_replicas_are_not_counted_twice(answers: Answers) -> None:
    """Nor are the servers of two panels taken for one."""
    overview = answers.of("onapp-cloud", "Servers, worst first")
    users = answers.of("onapp-cloud", "By panel and user", "B")
    tiles = [answers.of("onapp-cloud", "Servers by severity", ref) for ref in "ABCD"]
    total = len(_SEEDS) * len(answers.servers)

    assert len(overview) == total
    assert sum(value for _, value in users) == total
    assert sum(value for _, value in chain(*tiles)) == total
    assert not any("instance" in labels for labels, _ in overview)


def test_tiles_panels_and_users_count_what_the_table_lists(answers: Answers) -> None:
    """One says critical, another how many are: both are the exporter's word."""
    listed = answers.of("onapp-cloud", "Servers, worst first")
    found = Counter(value for _, value in listed)
    for ref, severity in zip("ABCD", sorted(Severity, reverse=True), strict=True):
        ((_, tile),) = answers.of("onapp-cloud", "Servers by severity", ref)
        assert tile == found[severity]
    for ref, severity in (("C", Severity.CRITICAL), ("D", Severity.WARNING)):
        rows = answers.of("onapp-cloud", "Control panels", ref)
        assert sum(value for _, value in rows) == found[severity]
    users = answers.of("onapp-cloud", "By panel and user", "A")

    assert sum(value for _, value in users) == sum(
        count for value, count in found.items() if value >= Severity.WARNING
    )


def test_the_overview_reads_at_most_ten_series_a_server(answers: Answers) -> None:
    """All its queries together, at each refresh: what it costs grows with them."""
    replicas = len(_EXPORTERS) / 2
    servers = len(_SEEDS) * len(answers.servers)

    assert 1 <= answers.reads / servers / replicas <= _MOST_SERIES


def test_the_overview_says_of_each_server_what_is_wrong(answers: Answers) -> None:
    """With the severity of the state."""
    severities = {state.key: state.severity for state in SERVER_CONDITIONS}
    listed = answers.of("onapp-cloud", "Servers, worst first")
    reported = {
        labels["label"]: labels["state"]
        for labels, _ in listed
        if labels["panel"] == "lon.1"
    }

    assert {name: reported.get(name) for name in _REPORTED} == _REPORTED
    assert all(value == severities[labels["state"]] for labels, value in listed)


def test_a_server_has_one_state_on_both_dashboards(answers: Answers) -> None:
    """A link that leads elsewhere, or to another verdict, would be worse than none."""
    numbers = {name: number for number, name in answers.servers.items()}
    overview = {
        labels["vm_id"]: labels["state"]
        for labels, _ in answers.of("onapp-cloud", "Servers, worst first")
        if labels["panel"] == [*_SEEDS][-1]
    }
    alone = {
        value: rows[0][0]["state"]
        for (asked, variable, value), rows in answers.rows.items()
        if (asked.dashboard, asked.panel, asked.ref) == ("onapp-server", "State", "A")
        and variable == "vm"
    }

    assert alone == {numbers[one]: overview[numbers[one]] for one in _LOOKED_AT}
