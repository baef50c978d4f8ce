"""Errors of panels and of the configuration, as one tree.

ExporterError
├── ConfigError               an unusable configuration: the mistake, and what to do
├── NotSent                   no request was sent, as none may be sent now
└── RequestError              a request failed, or its answer is unusable
    ├── Unauthorized          401: credentials refused. More attempts may lock the
    │                         account, so all reads must stop
    └── PanelError            only this request failed; others may work
        ├── TimedOut          no complete answer in time
        ├── Unreachable       no connection: DNS, TCP, closed early
        ├── TlsFailed         no trusted connection
        ├── Forbidden         403 of the API: the role lacks a permission
        ├── NotFound          404 of the API: no such object, or a missing endpoint
        ├── UnexpectedStatus  any other status
        │   ├── ProxyRefused  407, or a proxy's own refusal
        │   └── Unprocessable 422 of the API: it does not accept the request
        ├── Redirected        3xx: never followed, as credentials are for one address
        ├── TooLarge          a body longer than ``poll.max_body``, or a header too long
        └── Undecodable       not a valid API answer: wrong content type, syntax or
                              shape; or 403, 404 or 422 that may not be the API's

``RequestError.reason`` is the label ``reason`` of ``onapp_api_errors_total``.
"""

from __future__ import annotations

import errno
import traceback
from typing import ClassVar

ADDRESS_HINT = "check that url is the address of the panel itself, with its path"
"""What to do if the answer does not seem to come from a panel."""
_MAX_CHAIN_LENGTH = 5
"""Limit on exceptions that caused each other, in a traceback."""


class ExporterError(Exception):
    """The root of the tree."""

    hint: str = ""
    """What the operator can do; may be empty. Classes define a general hint."""

    def __init__(self, message: str = "", *, hint: str = "") -> None:
        """Keep the hint for this error, if there is a specific one."""
        super().__init__(message)
        if hint:
            self.hint = hint

    def log_fields(self) -> dict[str, str]:
        """Return the fields of a log line."""
        return {"error": str(self)} | ({"hint": self.hint} if self.hint else {})


class ConfigError(ExporterError):
    """An unusable configuration; the text has one line per mistake."""


class NotSent(ExporterError):
    """A request was not sent, as none may be sent to the panel now."""


class RequestError(ExporterError):
    """A request to a panel failed, or its answer is unusable."""

    reason: ClassVar[str] = "bug"
    proven: ClassVar[bool] = False
    """Whether the answer proves that the panel's API accepted the credentials."""
    retry_after_seconds: float | None = None
    """From ``Retry-After``; None: the panel sent none."""


class PanelError(RequestError):
    """A request failed for a reason that may not affect the next one."""


class TimedOut(PanelError):
    """No complete answer arrived in time."""

    reason = "timeout"
    hint = (
        "find out whether the panel or the network is slow; poll.timeout limits "
        "how long to wait for an answer"
    )


class Unreachable(PanelError):
    """No connection was made, or it was closed before the end of the answer."""

    reason = "connection"
    hint = "check url, and that this host may connect to it"


class TlsFailed(PanelError):
    """The connection cannot be trusted."""

    reason = "tls"
    hint = (
        "check that url names the host of the panel's certificate and a port that "
        "speaks TLS; tls_config.ca_file names the authority that signed it; cert_file "
        "and key_file are for a panel that requires a certificate"
    )


class Unauthorized(RequestError):
    """The panel refused the credentials."""

    reason = "unauthorized"
    with_cookies: bool = False
    """Whether the request had cookies, which may have been refused instead."""
    hint = (
        "check basic_auth: the user name, and that the key is valid; more tries "
        "could lock the account, so a running exporter sends nothing until the secret "
        "changes, or for ten minutes and then longer"
    )


class Forbidden(PanelError):
    """The role of the account lacks a permission."""

    reason = "forbidden"
    proven = True
    hint = "give the account's role the permission to read this"


class NotFound(PanelError):
    """The panel does not know the object or the endpoint."""

    reason = "not_found"
    proven = True
    hint = (
        "the panel has no such address, its version may be too old; collectors "
        "switches off a list that you do not want"
    )


class UnexpectedStatus(PanelError):
    """The panel answered with a status that has no other class."""

    reason = "status"
    hint = "the panel has a problem or is under maintenance: look there, or try later"

    def __init__(
        self,
        message: str,
        *,
        status: int,
        retry_after_seconds: float | None = None,
        hint: str = "",
    ) -> None:
        """Keep the status and the seconds of ``Retry-After``."""
        super().__init__(message, hint=hint)
        self.status = status
        self.retry_after_seconds = retry_after_seconds


class ProxyRefused(UnexpectedStatus):
    """The proxy in front of the panel refused the request."""

    hint = "check proxy_url, and the account in it"


class Unprocessable(UnexpectedStatus):
    """The panel accepted the credentials and refused the request: 422."""

    proven = True
    hint = "collectors switches off what the panel does not have"


class Redirected(PanelError):
    """The panel redirects to another address."""

    reason = "redirect"
    hint = "set url to the final address, not to one that redirects"


class TooLarge(PanelError):
    """The body is longer than the configuration allows, or a header is too long."""

    reason = "too_large"
    hint = "raise poll.max_body"


class Undecodable(PanelError):
    """The answer is not a valid answer of the API."""

    reason = "decode"
    hint = "look for a proxy that answers in the panel's place; else report a bug"

    def __init__(self, message: str, *, rows_skipped: int = 0, hint: str = "") -> None:
        """Keep the number of rows, none of which could be used."""
        super().__init__(message, hint=hint)
        self.rows_skipped = rows_skipped


REFUSED = (Forbidden, NotFound, Unprocessable)
"""Errors that recur until something is changed."""
UNRECOGNIZED = (TooLarge, Undecodable)
"""Errors of answers that may not have come from the panel."""


def reasons() -> tuple[str, ...]:
    """Return every value of the label ``reason``, in the order of the tree."""
    no_answer = (TimedOut, Unreachable, TlsFailed)
    types: list[type[RequestError]] = [*no_answer, Unauthorized]
    types += PanelError.__subclasses__()
    return tuple(dict.fromkeys(error_type.reason for error_type in types))


def retry_after(error: ExporterError | None) -> float:
    """Return the seconds of the panel's ``Retry-After``; 0 if it sent none."""
    asked = error.retry_after_seconds if isinstance(error, RequestError) else None
    return asked or 0.0


def redacted_traceback(error: BaseException) -> str:
    """Return a traceback without messages, which may quote a panel's answer."""
    parts: list[str] = []
    current: BaseException | None = error
    while current is not None and len(parts) < _MAX_CHAIN_LENGTH:
        stack = "".join(traceback.format_tb(current.__traceback__))
        parts.append(
            f"Traceback (most recent call last):\n{stack}{_exception_name(current)}"
        )
        implicit = None if current.__suppress_context__ else current.__context__
        current = current.__cause__ or implicit
    return "\nafter\n".join(parts)


def _exception_name(error: BaseException) -> str:
    error_type = type(error)
    name = f"{error_type.__module__}.{error_type.__qualname__}".removeprefix(
        "builtins."
    )
    number = error.errno if isinstance(error, OSError) else None
    return name if number is None else f"{name}: {errno.errorcode.get(number, number)}"
