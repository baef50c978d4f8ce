"""The first steps of an inquiry: who answers, is it the panel, and does it know us."""

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

_MOST_NAMED = 5
_KNOWN_BY = (403, 422)
"""What only somebody is answered whom the panel knows."""


@dataclass(slots=True, eq=False)
class ConnectSteps:
    """Finds out whether a panel can be polled at all."""

    inquiry: CheckRun
    version: str | None = None
    _doubt: PanelError | None = field(default=None, init=False)
    """What the panel answered when asked for its version, if it was no version."""

    async def make(self) -> bool:
        """Ask for version and inventory; tell whether to go on.

        Raises Unauthorized and NotSent.
        """
        if not await self._ask_for_version():
            return False
        error = await self._ask_for_inventory()
        if not self._is_known(error):
            self._doubted(error)
            return False
        account = self.inquiry.member.panel.account.username
        self._reached()
        self.inquiry.note(CREDENTIALS, StepStatus.OK, f"accepted ({account})")
        self._note_version()
        if error is not None:
            self.inquiry.note_error(
                INVENTORY, StepStatus.FAILED, error, VIRTUAL_MACHINES
            )
        else:
            self._note_inventory()
        return True

    def refused(self, error: Unauthorized | NotSent) -> None:
        """Note that the credentials are no good, now or as an earlier panel said."""
        if isinstance(error, Unauthorized):
            self._reached()
            self.inquiry.note_error(CREDENTIALS, StepStatus.FAILED, error)
            return
        text = "refused for another section with this url and account: not tried again"
        self.inquiry.note(CREDENTIALS, StepStatus.FAILED, text, hint=Unauthorized.hint)

    async def _ask_for_version(self) -> bool:
        poller = self.inquiry.member.poller
        try:
            self.version = await self.inquiry.ask(VERSION, poller.api.version)
        except Unauthorized:
            raise
        except Undecodable as error:
            self._doubt = error
        except PanelError as error:
            self._lost(error)
            return False
        return True

    async def _ask_for_inventory(self) -> PanelError | None:
        poller = self.inquiry.member.poller
        try:
            await self.inquiry.ask(INVENTORY, poller.inventory.read)
        except Unauthorized:
            raise
        except PanelError as error:
            return error
        return None

    def _lost(self, error: PanelError) -> None:
        """Note that nobody answered, or somebody that cannot help."""
        if isinstance(error, TlsFailed):
            self.inquiry.note(ADDRESS, StepStatus.OK, "takes connections")
            self.inquiry.note_error(TLS, StepStatus.FAILED, error)
        elif isinstance(error, UnexpectedStatus) and not isinstance(
            error, ProxyRefused
        ):
            self._reached()
            self.inquiry.note_error(VERSION, StepStatus.FAILED, error, VERSION)
        else:
            self.inquiry.note_error(ADDRESS, StepStatus.FAILED, error)

    def _is_known(self, error: PanelError | None) -> bool:
        """Tell whether any answer can only be that of a panel that knows us."""
        if self.version is not None or isinstance(error, Forbidden | Unprocessable):
            return True
        if self.inquiry.tally.statuses.get(VERSION) in _KNOWN_BY:
            return True
        poller = self.inquiry.member.poller
        if poller.inventory.selection.configured:
            return any(w.state.server for w in poller.store.servers.values())
        return error is None

    def _doubted(self, error: PanelError | None) -> None:
        """Note that whoever answers does not behave like a panel."""
        if error is None or isinstance(error, NotFound | Undecodable):
            status = self.inquiry.tally.statuses.get(VERSION)
            said = self._doubt or error or f"the version: HTTP {status}"
            self.inquiry.note(ADDRESS, StepStatus.FAILED, str(said), hint=ADDRESS_HINT)
            return
        self._reached()
        self.inquiry.note_error(INVENTORY, StepStatus.FAILED, error, VIRTUAL_MACHINES)

    def _reached(self) -> None:
        seconds = self.inquiry.tally.latency_seconds()
        self.inquiry.note(ADDRESS, StepStatus.OK, f"answers in {seconds:.2f} s")
        self._note_tls()

    def _secure(self) -> bool:
        return self.inquiry.member.panel.url.scheme == "https"

    def _note_tls(self) -> None:
        if not self._secure():
            text = "plain HTTP: who is on the way can read the credentials"
            self.inquiry.note(TLS, StepStatus.OFF, text)
        elif self.inquiry.member.panel.tls.insecure_skip_verify:
            text = "the certificate is not looked at (insecure_skip_verify)"
            self.inquiry.note(TLS, StepStatus.OFF, text)
        else:
            self.inquiry.note(TLS, StepStatus.OK, "the certificate is trusted")

    def _note_version(self) -> None:
        if self.version is not None:
            self.inquiry.note(VERSION, StepStatus.OK, self.version, resource=VERSION)
            return
        status = self.inquiry.tally.statuses.get(VERSION)
        if self._doubt is not None:
            # A panel whose version cannot be read counts as down (onapp_up).
            self.inquiry.note_error(VERSION, StepStatus.FAILED, self._doubt, VERSION)
        else:
            hint = permission_hint(VERSION) if status == 403 else NotFound.hint
            text = f"not told (HTTP {status})"
            self.inquiry.note(
                VERSION, StepStatus.DEGRADED, text, hint=hint, resource=VERSION
            )

    def _note_inventory(self) -> None:
        poller = self.inquiry.member.poller
        status, hint = StepStatus.OK, ""
        if poller.inventory.look_up_errors:
            status, hint = self._missed()
        elif not poller.store.servers_listed:
            status = StepStatus.DEGRADED
            hint = NO_SERVERS_HINT
        elif not poller.store.inventory_succeeded:
            status, hint = StepStatus.DEGRADED, "the panel counts more than it lists"
        self.inquiry.note(
            INVENTORY, status, self._servers(), hint=hint, resource=VIRTUAL_MACHINES
        )

    def _missed(self) -> tuple[StepStatus, str]:
        poller = self.inquiry.member.poller
        if any(
            w.reason == Forbidden.reason
            for w in poller.inventory.look_up_errors.values()
        ):
            return StepStatus.DEGRADED, permission_hint(VIRTUAL_MACHINES)
        nothing = not any(w.state.server for w in poller.store.servers.values())
        return StepStatus.FAILED if nothing else StepStatus.DEGRADED, (
            "check virtual_machines: they may be gone, or hidden from this account"
        )

    def _servers(self) -> str:
        poller = self.inquiry.member.poller
        selection = poller.inventory.selection
        text = counted(poller.store.servers_listed or 0, "server")
        if selection.configured:
            text = f"{text} of {len(selection.configured)} that are named"
        elif selection.partial:
            text = f"{text} after include and exclude"
        if poller.inventory.shard.total > 1:
            text = f"{text}, {len(poller.store.servers)} of them this shard's"
        missed = [
            f"{name} ({why.reason})"
            for name, why in poller.inventory.look_up_errors.items()
        ]
        if missed:
            more = ", …" if len(missed) > _MOST_NAMED else ""
            text = f"{text}; not found: {', '.join(missed[:_MOST_NAMED])}{more}"
        return text
