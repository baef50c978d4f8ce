"""Every fault of the matrix: how the simulated panel causes it, and its effect."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import faults
from builders import HOUR

from fault_matrix.cloud import MOST_BYTES
from fault_matrix.effects import (
    CUT_SHORT,
    EFFECTS,
    FAILED,
    NO_EFFECT,
    PANEL,
    REFUSED,
    SCOPES,
    UNAUTHORIZED,
    WAITING,
    Expectation,
    Scope,
    errors,
)
from fault_matrix.hostile_content import CONTENTS, HostileContent
from fault_matrix.rules import Rule, near, one_of, recent

CONNECTION = "connection"
CONTENT = "content"
BOTH = ("json", "xml")
RETRY_AFTER_SECONDS = 20.0
SKEW_SECONDS = 5 * HOUR


@dataclass(frozen=True)
class FaultCase:
    """A fault, and what is expected of it."""

    name: str
    effect: str
    reason: str | None = None
    """The label ``reason`` in ``onapp_api_errors_total``."""
    make: Callable[[], faults.Fault] = faults.hang
    forms: tuple[str, ...] = ("json",)
    expected: Mapping[str, Expectation] = field(default_factory=dict)
    """By scope, where it differs from its effect."""
    representative: bool = False
    """Whether it represents its effect: it also lasts longer than ``max_age``."""
    impossible: Mapping[str, str] = field(default_factory=dict)
    """Why it is impossible, by scope."""

    def expected_at(self, scope: Scope) -> Expectation:
        """Return what is expected there."""
        effect = FAILED if self.effect == CONNECTION else self.effect
        return self.expected.get(scope.name) or EFFECTS[effect][scope.name]

    def expected_errors(self, scope: Scope) -> tuple[Rule, ...]:
        """Return the rules for the error counters there."""
        return errors(scope, self.reason)

    def demo_fault(self) -> faults.Fault:
        """Return the fault of the simulated panel."""
        return self.make()


def _status(code: int, reason: str, effect: str = FAILED) -> FaultCase:
    main = code == 403
    make = lambda: faults.status(code)  # noqa: E731  # one of many
    return FaultCase(str(code), effect, reason, make, representative=main)


def _redirect(name: str, location: str) -> FaultCase:
    make = lambda: faults.redirect(location)  # noqa: E731  # one of many
    return FaultCase(f"redirect to {name}", FAILED, "redirect", make)


def _etag_refused(code: int) -> FaultCase:
    later = Rule("onapp_inventory_last_success_timestamp_seconds", recent)
    return FaultCase(
        f"{code} to every ETag",
        NO_EFFECT,
        "status",
        lambda: faults.refused_etags(code),
        expected={PANEL: Expectation("nothing changes", (later,))},
        impossible={"transactions": "they are asked for without an ETag"},
    )


_RETRY_AFTER = {"Retry-After": str(int(RETRY_AFTER_SECONDS))}

_ON_THE_WIRE = (
    FaultCase("connection refused", CONNECTION, "connection", representative=True),
    FaultCase("DNS failure", CONNECTION, "connection"),
    FaultCase("TLS: certificate expired", CONNECTION, "tls", representative=True),
    FaultCase("TLS: certificate for another host", CONNECTION, "tls"),
    FaultCase("TLS: unknown authority", CONNECTION, "tls"),
    FaultCase("connection reset", FAILED, "connection", faults.reset),
    FaultCase("slow headers", FAILED, "timeout", faults.slow_headers),
    FaultCase("slow body", FAILED, "timeout", lambda: faults.slow(HOUR, body=True)),
    FaultCase("hang", FAILED, "timeout", faults.hang, representative=True),
    FaultCase("cut body", FAILED, "connection", faults.cut),
    FaultCase("early EOF on a reused connection", NO_EFFECT, None, faults.early_eof),
)
_STATUSES = (
    FaultCase(
        "401", UNAUTHORIZED, "unauthorized", faults.unauthorized, representative=True
    ),
    FaultCase("401 to every cookie", NO_EFFECT, "unauthorized", faults.refused_cookies),
    _etag_refused(400),
    _etag_refused(412),
    _status(403, "forbidden", REFUSED),
    _status(404, "not_found", REFUSED),
    _status(406, "status"),
    _status(422, "status", REFUSED),
    FaultCase(
        "429 with Retry-After",
        WAITING,
        "status",
        lambda: faults.status(429, _RETRY_AFTER),
        representative=True,
    ),
    FaultCase(
        "500 with HTML", FAILED, "status", faults.html_error, representative=True
    ),
    _status(502, "status"),
    _status(503, "status"),
    _redirect("itself", ""),
    _redirect("another host", "http://elsewhere.invalid/"),
    _redirect("the sign-in page", "/users/sign_in"),
)
_BODIES = (
    FaultCase(
        "wrong content type", FAILED, "decode", faults.html, BOTH, representative=True
    ),
    FaultCase(
        "404 with a page", FAILED, "decode", lambda: faults.html_error(404), BOTH
    ),
    FaultCase("403 with an empty body", FAILED, "decode", lambda: faults.answer(403)),
    FaultCase("wrong character set", FAILED, "decode", faults.utf_16, BOTH),
    FaultCase("flood without end", FAILED, "too_large", faults.flood),
    FaultCase(
        "gzip bomb", FAILED, "too_large", lambda: faults.gzip_bomb(8 * MOST_BYTES)
    ),
    FaultCase("deeply nested document", FAILED, "decode", faults.nested, BOTH),
    FaultCase("XML entity bomb", FAILED, "decode", faults.entity_bomb, ("xml",)),
    FaultCase(
        "XML external entity",
        FAILED,
        "decode",
        lambda: faults.external_entity("file:///etc/hostname"),
        ("xml",),
    ),
)


def _of(content: HostileContent) -> FaultCase:
    return FaultCase(
        content.name,
        CONTENT,
        None,
        content.make,
        content.forms,
        content.expected,
        impossible=content.impossible,
    )


_NO_LIST = {"version": "a version is no list"}
_ONE_ADDRESS = "one address, with one name and one certificate, serves every place"


def _skewed() -> dict[str, Expectation]:
    skew = "onapp_panel_clock_skew_seconds"
    now_and_then = Expectation(
        f"`{skew}` follows the last answer; nothing else",
        (Rule(skew, near(0.0, SKEW_SECONDS)),),
    )
    always = Expectation(f"`{skew}`; nothing else", (Rule(skew, near(SKEW_SECONDS)),))
    return {**dict.fromkeys(SCOPES, now_and_then), PANEL: always}


_SLIPPED = Expectation(
    "no server goes: each is in the next inventory again; "
    "`onapp_panel_virtual_machines` follows each inventory",
    (Rule("onapp_panel_virtual_machines", one_of("2")),),
)

FAULTS = {
    fault.name: fault
    for fault in (
        *_ON_THE_WIRE,
        *_STATUSES,
        *_BODIES,
        FaultCase(
            "paging that loops",
            CUT_SHORT,
            None,
            faults.looping_pages,
            impossible=_NO_LIST,
        ),
        FaultCase(
            "paging that lies", NO_EFFECT, None, faults.lying_pages, impossible=_NO_LIST
        ),
        FaultCase(
            "a server that slips between pages",
            CONTENT,
            None,
            faults.slipping_server,
            expected=dict.fromkeys(("inventory", PANEL), _SLIPPED),
            impossible=dict.fromkeys(
                SCOPES.keys() - {"inventory", PANEL}, "it is about servers"
            ),
        ),
        FaultCase(
            "clock skew of hours",
            CONTENT,
            None,
            lambda: faults.skewed(SKEW_SECONDS),
            expected=_skewed(),
        ),
        *map(_of, CONTENTS),
    )
}


def impossible() -> dict[tuple[str, str], str]:
    """Return why some faults are impossible in some scopes."""
    found = {
        (fault.name, scope): why
        for fault in FAULTS.values()
        for scope, why in fault.impossible.items()
    }
    for fault in FAULTS.values():
        if fault.effect == CONNECTION:
            single = SCOPES.keys() - {PANEL}
            found |= {(fault.name, scope): _ONE_ADDRESS for scope in single}
    return found


def cells() -> list[tuple[str, str, str]]:
    """Return every possible pair of fault and scope, with the format to try it in.

    In a second format a fault is tried everywhere at once: each list is among it.
    """
    never = impossible()
    return [
        (fault.name, scope, form)
        for fault in FAULTS.values()
        for scope in SCOPES
        if (fault.name, scope) not in never
        for form in (fault.forms if scope == PANEL else fault.forms[:1])
    ]
