"""The steps of ``check``: the requests of each, and the report of its outcome.

``STEPS``, at the end, lists them all; ``run`` tries them one after another.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from statistics import fmean
from typing import NamedTuple, TypeVar

from ..clock import Clock
from ..config.schema import Panel
from ..errors import (
    ADDRESS_HINT,
    REFUSED,
    Forbidden,
    NotFound,
    NotSent,
    PanelError,
    ProxyRefused,
    RequestError,
    TlsFailed,
    Unauthorized,
    Undecodable,
    UnexpectedStatus,
    Unprocessable,
)
from ..health.conditions import CLOCK_SKEW_SECONDS
from ..model.entities import (
    BACKUP_SERVERS,
    BACKUPS,
    DISKS,
    INVENTORY,
    RECOVERY_POINTS,
    SCHEDULES,
    TRANSACTIONS,
    VERSION,
    VIRTUAL_MACHINES,
)
from ..model.selection import NO_SERVERS_HINT
from ..onapp.error_body import printable
from ..onapp.paging import ROWS_PER_PAGE
from ..onapp.permissions import permission_hint
from ..polling.collectors import has_few_servers, transactions_interval_seconds
from ..polling.poller import Poller
from ..polling.transactions import MAX_FIRST_PAGES
from ..status.reasons import counted
from .report import (
    Cost,
    PanelReport,
    Sample,
    StepResult,
    StepStatus,
    worst_status,
)

ADDRESS = "address"
TLS = "tls"
CREDENTIALS = "credentials"
CLOCK = "clock"
COST = "cost"
SAMPLE_SIZE = 10
"""Number of servers whose backups are read, spread over all servers."""

_MAX_FAILURES = 3
"""Consecutive failures after which no more servers are tried."""
_MAX_NAMED = 5
"""Limit on servers named in the outcome because they were not found."""
_MAX_NAMED_ERRORS = 3
_MAX_WAIT_SECONDS = 5.0
_HOUR_SECONDS = 3600.0
_AUTHENTICATED_STATUSES = (403, 422)
"""HTTP statuses that a panel returns only after it has accepted the credentials."""
_SEQUENTIAL = (VERSION, VIRTUAL_MACHINES)
"""Resources that are read one after another, before everything else."""
_SERVER_BY_SERVER = "readable, server by server"

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class RequestCounts:
    """The answers of one panel, with any status."""

    answers: list[tuple[str, int, float]] = field(default_factory=list)
    """Resource, HTTP status and seconds of each."""
    unreadable_rows: Counter[str] = field(default_factory=Counter)
    """Rows that could not be used, by resource."""

    def observe_response(self, resource: str, status: int, seconds: float) -> None:
        """Count an answer."""
        self.answers.append((resource, status, seconds))

    def observe_error(self, resource: str, reason: str) -> None:
        """Do nothing: the step records the error."""

    def observe_skipped_rows(self, resource: str, rows: int) -> None:
        """Count rows that could not be used."""
        self.unreadable_rows[resource] += rows

    def last_status(self, resource: str) -> int | None:
        """Return the HTTP status of a resource's last answer; None: there is none."""
        return {name: status for name, status, _ in self.answers}.get(resource)

    def latency_seconds(self, resource: str = "") -> float:
        """Return the mean latency of a resource, or of all if it has no answers."""
        seconds = [seconds for name, _, seconds in self.answers if name == resource]
        seconds = seconds or [seconds for _, _, seconds in self.answers]
        return fmean(seconds) if seconds else 0.0


class Outcome(NamedTuple):
    """The result of a step, and a hint on what to do about it."""

    text: str
    status: StepStatus = StepStatus.OK
    hint: str = ""


@dataclass(slots=True, eq=False)
class PanelCheck:
    """A running check of one panel, with its results so far."""

    panel: Panel
    poller: Poller
    """Provides the API client and the inventory; it never runs."""
    counts: RequestCounts
    clock: Clock
    show_progress: Callable[[str], None]
    """Called with a description of the current activity."""
    step: str = ADDRESS
    """The current step."""
    results: dict[str, StepResult] = field(default_factory=dict)
    version: str | None = None
    version_error: PanelError | None = None
    inventory_error: PanelError | None = None
    refusal: Unauthorized | None = None
    """The answer that refused the credentials."""
    sample: Sample | None = None
    pages: dict[str, int] = field(default_factory=dict)
    """Number of pages of each requested panel-wide list."""
    per_server: set[str] = field(default_factory=set)
    """The resources that are read for each server, besides its backups."""
    cost: Cost | None = None

    async def ask(self, request: Callable[[], Awaitable[T]], activity: str = "") -> T:
        """Make a request, after a pause if the breaker is open.

        Raises PanelError, or NotSent if nothing more may be sent to the panel.
        """
        self.show_progress(f"{self.panel.name}: {activity or self.step}")
        breaker = self.poller.breaker
        seconds = breaker.open_seconds()
        if seconds > _MAX_WAIT_SECONDS and not breaker.credentials_refused():
            raise NotSent(f"the panel must not be contacted for {seconds:.0f} s")
        if 0 < seconds <= _MAX_WAIT_SECONDS:
            await self.clock.wait(asyncio.Event(), seconds)
        try:
            return await request()
        except Unauthorized as error:
            self.refusal = error
            raise NotSent(str(error)) from error

    def record(self, step: str, outcome: Outcome) -> None:
        """Record an outcome; unreadable rows make it at least ``degraded``."""
        text, status, hint = outcome
        resource = STEPS[step].resource
        rows = self.counts.unreadable_rows[resource]
        if rows:
            status = worst_status((status, StepStatus.DEGRADED))
            text = f"{text}; {counted(rows, 'row')} cannot be read"
            hint = hint or "--log.level=warn names them"
        text = printable(text)  # it may come from a panel
        http_status = self.counts.last_status(resource)
        self.results[step] = StepResult(step, status, text, hint or None, http_status)

    def record_error(self, step: str, error: RequestError) -> None:
        """Record the error of the panel's answer, with its hint."""
        self.record(step, Outcome(str(error), STEPS[step].on_error, error.hint))

    def record_timeout(self, timeout: str) -> None:
        """Record that the current step did not finish in time."""
        hint = "raise --timeout, or find out what makes the panel slow"
        text = f"not tried within {timeout}"
        self.record(self.step, Outcome(text, StepStatus.FAILED, hint))

    def sampled_servers(self) -> list[int]:
        """Return the IDs of servers at equal distances in the sorted list."""
        server_ids = sorted(self.poller.store.servers)
        step = max(1.0, len(server_ids) / SAMPLE_SIZE)
        return [
            server_ids[int(i * step)] for i in range(min(SAMPLE_SIZE, len(server_ids)))
        ]

    def report(self) -> PanelReport:
        """Return the results so far; steps without one are reported as untried."""
        untried = {name: StepResult(name, StepStatus.UNTRIED, "") for name in STEPS}
        checks = tuple((untried | self.results).values())
        return PanelReport(
            panel=self.panel.name,
            url=str(self.panel.url),
            status=worst_status(check.status for check in checks),
            checks=checks,
            version=printable(self.version or "") or None,
            servers=None if self.cost is None else len(self.poller.store.servers),
            sample=self.sample,
            clock_skew_seconds=self.poller.api.skew_seconds,
            cost=self.cost,
        )


async def run(check: PanelCheck) -> None:
    """Run all steps, except those that an earlier failure makes pointless.

    Credentials that were refused once are not tried again.
    """
    breaker = check.poller.breaker
    try:
        breaker.claim_trial()
        if await _connect(check):
            for name, step in STEPS.items():
                check.step = name
                await _try(check, step)
    except NotSent as error:
        if check.refusal is not None:
            await _record_failed_contact(check, CREDENTIALS, check.refusal)
            return
        name, text, hint = check.step, str(error), UnexpectedStatus.hint
        if breaker.credentials_refused():
            name, hint = CREDENTIALS, Unauthorized.hint
            text = (
                "refused for another section with this url and account: not tried again"
            )
        check.record(name, Outcome(text, StepStatus.FAILED, hint))
    finally:
        breaker.release_trial()


async def _try(check: PanelCheck, step: Step) -> None:
    """Run a step and record its outcome; raise NotSent, which ends the check."""
    collectors = check.panel.collectors
    try:
        if step.collector and not getattr(collectors, step.collector):
            outcome = Outcome("switched off in collectors", StepStatus.OFF)
        else:
            outcome = await step.run(check)
        check.record(check.step, outcome)
    except PanelError as error:
        check.record_error(check.step, error)


async def _connect(check: PanelCheck) -> bool:
    """Read version and inventory; return whether the credentials were accepted.

    If they were not, the failure is recorded. Raises NotSent.
    """
    poller = check.poller
    try:
        check.version = await check.ask(poller.api.version, VERSION)
    except Undecodable as error:
        check.version_error = error
    except PanelError as error:
        await _record_failed_contact(check, _failed_step(error), error)
        return False
    try:
        await check.ask(poller.inventory.read, INVENTORY)
    except PanelError as error:
        check.inventory_error = error
    if _is_authenticated(check):
        return True
    failure = check.inventory_error
    if failure is None or isinstance(failure, NotFound | Undecodable):
        status = check.counts.last_status(VERSION)
        reason = NotFound(f"the version: HTTP {status}", hint=ADDRESS_HINT)
        check.record_error(ADDRESS, check.version_error or failure or reason)
    else:
        await _record_failed_contact(check, INVENTORY, failure)
    return False


def _failed_step(error: PanelError) -> str:
    """Return the step that an error of the first request belongs to."""
    if isinstance(error, TlsFailed):
        return TLS
    if isinstance(error, UnexpectedStatus) and not isinstance(error, ProxyRefused):
        return VERSION
    return ADDRESS


async def _record_failed_contact(
    check: PanelCheck, step: str, error: RequestError
) -> None:
    """Record a failure, and the success of the steps before it."""
    for name in (ADDRESS, TLS):
        if name == step:
            break
        check.record(name, await STEPS[name].run(check))
    check.record_error(step, error)


def _is_authenticated(check: PanelCheck) -> bool:
    """Return whether an answer proves that the credentials were accepted."""
    error = check.inventory_error
    if check.version is not None or isinstance(error, Forbidden | Unprocessable):
        return True
    status = check.counts.last_status(VERSION)
    if check.version_error is None and status in _AUTHENTICATED_STATUSES:
        return True
    poller = check.poller
    if poller.inventory.selection.configured:
        return any(entry.state.server for entry in poller.store.servers.values())
    return error is None


async def _address(check: PanelCheck) -> Outcome:
    if not check.counts.answers:
        return Outcome("accepts connections")
    return Outcome(f"answers in {check.counts.latency_seconds():.2f} s")


async def _tls(check: PanelCheck) -> Outcome:
    panel = check.panel
    if panel.url.scheme != "https":
        text = "plain HTTP: anybody in between can read the credentials"
        return Outcome(text, StepStatus.OFF)
    if panel.tls.insecure_skip_verify:
        text = "the certificate is not checked (insecure_skip_verify)"
        return Outcome(text, StepStatus.OFF)
    return Outcome("the certificate is trusted")


async def _credentials(check: PanelCheck) -> Outcome:
    return Outcome(f"accepted ({check.panel.account.username})")


async def _version(check: PanelCheck) -> Outcome:
    if check.version_error is not None:
        # A panel whose version cannot be read counts as down (onapp_up).
        raise check.version_error
    if check.version is not None:
        return Outcome(check.version)
    status = check.counts.last_status(VERSION)
    hint = permission_hint(VERSION) if status == 403 else NotFound.hint
    return Outcome(f"not sent (HTTP {status})", StepStatus.DEGRADED, hint)


async def _inventory(check: PanelCheck) -> Outcome:
    if check.inventory_error is not None:
        raise check.inventory_error
    poller = check.poller
    errors = [*poller.store.look_up_errors.values()]
    status, hint = StepStatus.DEGRADED, ""
    if errors:
        # A missing permission comes before errors that it may have caused.
        errors.sort(key=lambda error: error.reason != Forbidden.reason)
        hint = errors[0].hint
        if errors[0].reason != Forbidden.reason and not any(
            entry.state.server for entry in poller.store.servers.values()
        ):
            status = StepStatus.FAILED
    elif not poller.store.servers_listed:
        hint = NO_SERVERS_HINT
    elif not poller.store.inventory_succeeded:
        hint = "the panel lists fewer servers than it counts"
    elif _unused_policies(check):
        hint = (
            "a policy is for the servers of which the whole label, host name … matches "
            "all its patterns, and no earlier policy: check its match"
        )
    else:
        status = StepStatus.OK
    return Outcome(_servers_text(check), status, hint)


def _servers_text(check: PanelCheck) -> str:
    store, inventory = check.poller.store, check.poller.inventory
    selection = inventory.selection
    text = counted(store.servers_listed or 0, "server")
    if selection.configured:
        text = f"{text} of {len(selection.configured)} that are named"
    elif selection.partial:
        text = f"{text} after include and exclude"
    if inventory.shard.total > 1:
        text = f"{text}, {len(store.servers)} of them this shard's"
    errors = store.look_up_errors.items()
    missed = [f"{name} ({error.reason})" for name, error in errors]
    if missed:
        more = ", …" if len(missed) > _MAX_NAMED else ""
        text = f"{text}; not found: {', '.join(missed[:_MAX_NAMED])}{more}"
    if unused := _unused_policies(check):
        text = f"{text}; none for {', '.join(unused)}"
    return text


def _unused_policies(check: PanelCheck) -> list[str]:
    """Return the policies that match no server; none if this is one of many shards.

    A shard sees only a part of the servers.
    """
    inventory = check.poller.inventory
    selection = inventory.selection
    if inventory.shard.total > 1:
        return []
    servers = (entry.state.server for entry in inventory.store.servers.values())
    used = [selection.policy(server) for server in servers if server is not None]
    return [
        f"policies[{number}]"
        for number, policy in enumerate(selection.policies)
        if policy not in used
    ]


async def _backups(check: PanelCheck) -> Outcome:
    sampled = check.sampled_servers()
    errors: list[PanelError] = []
    read = backups = failures_in_row = 0
    for number, vm_id in enumerate(sampled, 1):
        activity = f"backups, server {number} of {len(sampled)}"
        request = partial(check.poller.api.backups, vm_id)
        try:
            backups += len(await check.ask(request, activity))
        except PanelError as error:
            errors.append(error)
            failures_in_row = 0 if error.proven else failures_in_row + 1
        else:
            failures_in_row = 0
        read = number
        if failures_in_row == _MAX_FAILURES:
            break
    check.sample = Sample(read, len(errors), backups)
    if not read:
        return Outcome("there is no server to read", StepStatus.UNTRIED)
    readable = read - len(errors)
    servers = counted(len(check.poller.store.servers), "server")
    text = f"{counted(backups, 'backup')} on {readable} of {servers}"
    if not errors:
        return Outcome(text)
    messages = "; ".join(map(str, errors[:_MAX_NAMED_ERRORS]))
    text = f"{text}; {len(errors)} failed: {messages}"
    status = StepStatus.DEGRADED if readable else StepStatus.FAILED
    return Outcome(text, status, errors[0].hint)


async def _panel_list(check: PanelCheck) -> Outcome:
    """Request the first page, which shows the number of pages."""
    resource = check.step
    check.pages[resource] = 1
    request = partial(check.poller.api.page_count, resource)
    pages = check.pages[resource] = await check.ask(request)
    return Outcome(f"readable ({counted(pages, 'page')})")


async def _panel_or_server_list(check: PanelCheck) -> Outcome:
    """Try the panel-wide list; if it is refused, one server's list."""
    if has_few_servers(check.panel):
        return await _server_list(check)
    try:
        return await _panel_list(check)
    except REFUSED as error:
        del check.pages[check.step]
        if not check.sampled_servers():
            raise
        text = f"only server by server, which costs more requests ({error})"
        return await _server_list(check, text)


async def _server_list(check: PanelCheck, text: str = _SERVER_BY_SERVER) -> Outcome:
    """Try the list of one server, and of others if that is refused."""
    api = check.poller.api
    sampled = check.sampled_servers()[:_MAX_FAILURES]
    if not sampled:
        return Outcome("there is no server to try", StepStatus.UNTRIED)
    for vm_id in sampled:
        try:
            await check.ask(partial(api.server_list, check.step, vm_id))
        except REFUSED:  # the server may have been destroyed just now
            if vm_id == sampled[-1]:
                raise
        else:
            break
    check.per_server.add(check.step)
    return Outcome(text)


async def _clock(check: PanelCheck) -> Outcome:
    api = check.poller.api
    skew, status, hint = api.skew_seconds, StepStatus.OK, ""
    if skew is None:
        status, text = StepStatus.OFF, "the panel sends no time"
    else:
        text = f"{abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'} this host's"
    if api.future_rows:
        status = StepStatus.DEGRADED
        text = f"{text}; {counted(api.future_rows, 'row')} with a date in the future"
        hint = (
            "such a date is ignored: compare the dates that the panel shows with "
            "its clock and its time zone"
        )
    if abs(skew or 0.0) > CLOCK_SKEW_SECONDS:
        status = StepStatus.DEGRADED
        hint = "set the clocks of panel and exporter by NTP"
    return Outcome(text, status, hint)


async def _cost(check: PanelCheck) -> Outcome:
    cost = check.cost = _estimated_cost(check)
    interval = check.panel.poll.interval
    hourly = cost.requests_per_hour
    by_resource = ", ".join(f"{resource} {n:g}" for resource, n in hourly.items())
    requests = sum(cost.requests_per_pass.values())
    text = (
        f"a pass: {counted(requests, 'request')}, at least "
        f"{cost.seconds_per_pass:.1f} s with {cost.concurrency} at once; an "
        f"hour: {sum(hourly.values()):.0f} ({by_resource}), and one for each "
        "backup that begins or ends"
    )
    if cost.seconds_per_pass <= interval:
        return Outcome(text)
    hint = (
        f"a pass takes longer than poll.interval ({interval}): "
        "raise it or poll.concurrency, or share the servers between shards"
    )
    return Outcome(text, StepStatus.DEGRADED, hint)


def _estimated_cost(check: PanelCheck) -> Cost:
    """Estimate the requests to the panel under the configured polling."""
    panel, poller = check.panel, check.poller
    configured = len(poller.inventory.selection.configured)
    answers = check.counts.answers
    inventory = max(1, sum(name == VIRTUAL_MACHINES for name, *_ in answers))
    if 0 < configured <= ROWS_PER_PAGE:
        inventory = configured
    discovery = {VERSION: 1, VIRTUAL_MACHINES: inventory} | check.pages
    log_pages = min(discovery.pop(TRANSACTIONS, 1), MAX_FIRST_PAGES)
    per_server = check.per_server
    if poller.inventory.shard.total > 1 and DISKS in per_server:
        per_server = per_server | {SCHEDULES}
        discovery.pop(SCHEDULES, None)
    by_server = (BACKUPS, *sorted(per_server))
    requests = discovery | dict.fromkeys(by_server, len(poller.store.servers))
    intervals: dict[str, float] = {
        **dict.fromkeys(discovery, panel.discovery.interval),
        **dict.fromkeys(by_server, panel.poll.interval),
        # Later reads stop at known entries, mostly on the first page.
        TRANSACTIONS: transactions_interval_seconds(panel) * log_pages,
    }
    if panel.collectors.transactions:
        requests[TRANSACTIONS] = log_pages
    seconds = {r: n * check.counts.latency_seconds(r) for r, n in requests.items()}
    sequential = sum(seconds.pop(resource) for resource in _SEQUENTIAL)
    concurrent = sum(seconds.values()) / panel.poll.concurrency
    return Cost(
        requests_per_pass=requests,
        requests_per_hour={
            resource: round(number * _HOUR_SECONDS / intervals[resource], 1)
            for resource, number in requests.items()
        },
        seconds_per_pass=round(sequential + concurrent, 3),
        concurrency=panel.poll.concurrency,
    )


@dataclass(frozen=True, slots=True)
class Step:
    """A step of the check."""

    run: Callable[[PanelCheck], Awaitable[Outcome]]
    """Makes the requests and returns their outcome; raises the panel's error."""
    resource: str = ""
    """The requested resource, whose HTTP status and unreadable rows are reported."""
    on_error: StepStatus = StepStatus.FAILED
    """The status of the step after an error of the panel."""
    collector: str = ""
    """The key under ``collectors`` that switches the step off."""


_DEGRADED = StepStatus.DEGRADED
STEPS: Mapping[str, Step] = {
    ADDRESS: Step(_address),
    TLS: Step(_tls),
    CREDENTIALS: Step(_credentials),
    VERSION: Step(_version, VERSION),
    INVENTORY: Step(_inventory, VIRTUAL_MACHINES),
    BACKUPS: Step(_backups, BACKUPS),
    SCHEDULES: Step(_panel_or_server_list, SCHEDULES, _DEGRADED, SCHEDULES),
    DISKS: Step(_panel_or_server_list, DISKS, _DEGRADED, SCHEDULES),
    TRANSACTIONS: Step(_panel_list, TRANSACTIONS, _DEGRADED, TRANSACTIONS),
    BACKUP_SERVERS: Step(_panel_list, BACKUP_SERVERS, _DEGRADED, BACKUP_SERVERS),
    RECOVERY_POINTS: Step(_server_list, RECOVERY_POINTS, _DEGRADED, RECOVERY_POINTS),
    CLOCK: Step(_clock),
    COST: Step(_cost),
}
"""The steps of a panel's check, in the order of the report."""
