"""The first steps of a check: address, TLS, credentials, version and inventory."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..errors import (
    ADDRESS_HINT,
    Forbidden,
    NotFound,
    NotSent,
    PanelError,
    ProxyRefused,
    TlsFailed,
    Unauthorized,
    Undecodable,
    UnexpectedStatus,
    Unprocessable,
)
from ..model.entities import INVENTORY, VERSION, VIRTUAL_MACHINES
from ..model.selection import NO_SERVERS_HINT
from ..onapp.permissions import permission_hint
from .check_run import CheckRun
from .findings import StepStatus
from .report import counted

ADDRESS = "address"
TLS = "tls"
CREDENTIALS = "credentials"

_MAX_NAMED_SERVERS = 5
_AUTHENTICATED_STATUSES = (403, 422)
"""HTTP statuses that a panel gives only after it accepted the credentials."""


@dataclass(slots=True, eq=False)
class ConnectSteps:
    """Finds out whether a panel can be polled at all."""

    check_run: CheckRun
    version: str | None = None
    _version_error: PanelError | None = field(default=None, init=False)
    """Why the version in the panel's answer could not be read."""

    async def run(self) -> bool:
        """Read version and inventory; return whether the next steps make sense.

        Raises Unauthorized and NotSent.
        """
        if not await self._read_version():
            return False
        error = await self._read_inventory()
        if not self._is_authenticated(error):
            self._record_not_authenticated(error)
            return False
        account = self.check_run.panel_task.panel.account.username
        self._record_reachable()
        self.check_run.record(CREDENTIALS, StepStatus.OK, f"accepted ({account})")
        self._record_version()
        if error is not None:
            self.check_run.record_error(
                INVENTORY, StepStatus.FAILED, error, VIRTUAL_MACHINES
            )
        else:
            self._record_inventory()
        return True

    def record_refused(self, error: Unauthorized | NotSent) -> None:
        """Record that the credentials were refused, here or for another section."""
        if isinstance(error, Unauthorized):
            self._record_reachable()
            self.check_run.record_error(CREDENTIALS, StepStatus.FAILED, error)
            return
        text = "refused for another section with this url and account: not tried again"
        self.check_run.record(
            CREDENTIALS, StepStatus.FAILED, text, hint=Unauthorized.hint
        )

    async def _read_version(self) -> bool:
        poller = self.check_run.panel_task.poller
        try:
            self.version = await self.check_run.ask(VERSION, poller.api.version)
        except Unauthorized:
            raise
        except Undecodable as error:
            self._version_error = error
        except PanelError as error:
            self._record_unreachable(error)
            return False
        return True

    async def _read_inventory(self) -> PanelError | None:
        poller = self.check_run.panel_task.poller
        try:
            await self.check_run.ask(INVENTORY, poller.inventory.read)
        except Unauthorized:
            raise
        except PanelError as error:
            return error
        return None

    def _record_unreachable(self, error: PanelError) -> None:
        """Record why the version could not be read."""
        if isinstance(error, TlsFailed):
            self.check_run.record(ADDRESS, StepStatus.OK, "takes connections")
            self.check_run.record_error(TLS, StepStatus.FAILED, error)
        elif isinstance(error, UnexpectedStatus) and not isinstance(
            error, ProxyRefused
        ):
            self._record_reachable()
            self.check_run.record_error(VERSION, StepStatus.FAILED, error, VERSION)
        else:
            self.check_run.record_error(ADDRESS, StepStatus.FAILED, error)

    def _is_authenticated(self, error: PanelError | None) -> bool:
        """Return whether some answer proves that the credentials were accepted."""
        if self.version is not None or isinstance(error, Forbidden | Unprocessable):
            return True
        status = self.check_run.request_counts.last_statuses.get(VERSION)
        if self._version_error is None and status in _AUTHENTICATED_STATUSES:
            return True
        poller = self.check_run.panel_task.poller
        if poller.inventory.selection.configured:
            return any(entry.state.server for entry in poller.store.servers.values())
        return error is None

    def _record_not_authenticated(self, error: PanelError | None) -> None:
        """Record that no answer proves a panel that accepts the credentials."""
        if error is None or isinstance(error, NotFound | Undecodable):
            status = self.check_run.request_counts.last_statuses.get(VERSION)
            reason = self._version_error or error or f"the version: HTTP {status}"
            self.check_run.record(
                ADDRESS, StepStatus.FAILED, str(reason), hint=ADDRESS_HINT
            )
            return
        self._record_reachable()
        self.check_run.record_error(
            INVENTORY, StepStatus.FAILED, error, VIRTUAL_MACHINES
        )

    def _record_reachable(self) -> None:
        seconds = self.check_run.request_counts.latency_seconds()
        self.check_run.record(ADDRESS, StepStatus.OK, f"answers in {seconds:.2f} s")
        self._record_tls()

    def _uses_tls(self) -> bool:
        return self.check_run.panel_task.panel.url.scheme == "https"

    def _record_tls(self) -> None:
        if not self._uses_tls():
            text = "plain HTTP: who is on the way can read the credentials"
            self.check_run.record(TLS, StepStatus.OFF, text)
        elif self.check_run.panel_task.panel.tls.insecure_skip_verify:
            text = "the certificate is not looked at (insecure_skip_verify)"
            self.check_run.record(TLS, StepStatus.OFF, text)
        else:
            self.check_run.record(TLS, StepStatus.OK, "the certificate is trusted")

    def _record_version(self) -> None:
        if self.version is not None:
            self.check_run.record(
                VERSION, StepStatus.OK, self.version, resource=VERSION
            )
            return
        status = self.check_run.request_counts.last_statuses.get(VERSION)
        if self._version_error is not None:
            # A panel whose version cannot be read counts as down (onapp_up).
            self.check_run.record_error(
                VERSION, StepStatus.FAILED, self._version_error, VERSION
            )
        else:
            hint = permission_hint(VERSION) if status == 403 else NotFound.hint
            text = f"not told (HTTP {status})"
            self.check_run.record(
                VERSION, StepStatus.DEGRADED, text, hint=hint, resource=VERSION
            )

    def _record_inventory(self) -> None:
        poller = self.check_run.panel_task.poller
        status, hint = StepStatus.OK, ""
        if poller.inventory.look_up_errors:
            status, hint = self._missing_servers()
        elif not poller.store.servers_listed:
            status = StepStatus.DEGRADED
            hint = NO_SERVERS_HINT
        elif not poller.store.inventory_succeeded:
            status, hint = StepStatus.DEGRADED, "the panel counts more than it lists"
        self.check_run.record(
            INVENTORY,
            status,
            self._servers_text(),
            hint=hint,
            resource=VIRTUAL_MACHINES,
        )

    def _missing_servers(self) -> tuple[StepStatus, str]:
        poller = self.check_run.panel_task.poller
        if any(
            error.reason == Forbidden.reason
            for error in poller.inventory.look_up_errors.values()
        ):
            return StepStatus.DEGRADED, permission_hint(VIRTUAL_MACHINES)
        none_found = not any(
            entry.state.server for entry in poller.store.servers.values()
        )
        return StepStatus.FAILED if none_found else StepStatus.DEGRADED, (
            "check virtual_machines: they may be gone, or hidden from this account"
        )

    def _servers_text(self) -> str:
        poller = self.check_run.panel_task.poller
        selection = poller.inventory.selection
        text = counted(poller.store.servers_listed or 0, "server")
        if selection.configured:
            text = f"{text} of {len(selection.configured)} that are named"
        elif selection.partial:
            text = f"{text} after include and exclude"
        if poller.inventory.shard.total > 1:
            text = f"{text}, {len(poller.store.servers)} of them this shard's"
        missed = [
            f"{name} ({error.reason})"
            for name, error in poller.inventory.look_up_errors.items()
        ]
        if missed:
            more = ", …" if len(missed) > _MAX_NAMED_SERVERS else ""
            text = f"{text}; not found: {', '.join(missed[:_MAX_NAMED_SERVERS])}{more}"
        return text
