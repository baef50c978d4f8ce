"""Every fault of the matrix: how a simulated panel does it, what becomes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from exporter.demo import faults, hostile
from fault_matrix.cloud import HOUR
from fault_matrix.effects import (
    AS_EVER,
    CUT_SHORT,
    EFFECTS,
    FAILED,
    PANEL,
    PLACES,
    REFUSED,
    UNAUTHORIZED,
    WAITING,
    Place,
    Said,
    errors,
)
from fault_matrix.hostile_content import CONTENTS, Content
from fault_matrix.rules import Rule, near

CONNECTION = "connection"
CONTENT = "content"
BOTH = ("json", "xml")
MOST_BYTES = 4 * 1024**2
"""What ``poll.max_body`` is here."""
RETRY_AFTER_SECONDS = 20.0
SKEW_SECONDS = 5 * HOUR


@dataclass(frozen=True)
class Fault:
    """One way to fail."""

    name: str
    effect: str
    reason: str | None = None
    """What it is counted as in ``onapp_api_errors_total``."""
    make: Callable[[], faults.Fault] = faults.hang
    forms: tuple[str, ...] = ("json",)
    make_xml: Callable[[], faults.Fault] | None = None
    """How it is done in XML, where that is another thing."""
    said: Mapping[str, Said] = field(default_factory=dict)
    """What is said of it, where that follows from no effect."""
    main: bool = False
    """Whether it stands for its effect: it lasts longer than ``max_age`` too."""
    impossible: Mapping[str, str] = field(default_factory=dict)
    """Why it cannot be at some places."""

    def at(self, place: Place, form: str) -> Said:
        """Return what is said of it there."""
        if self.make_xml is not None and form == "xml":
            return EFFECTS[FAILED][place.name]
        effect = FAILED if self.effect == CONNECTION else self.effect
        return self.said.get(place.name) or EFFECTS[effect][place.name]

    def counted(self, place: Place, form: str) -> tuple[Rule, ...]:
        """Return what is counted of it there."""
        own = self.make_xml is not None and form == "xml"
        return errors(place, "decode" if own else self.reason)

    def begin(self, form: str) -> faults.Fault:
        """Return it as the simulated panel does it."""
        own = self.make_xml if form == "xml" else None
        return (own or self.make)()


def _status(code: int, reason: str, effect: str = FAILED) -> Fault:
    main = code == 403
    make = lambda: faults.status(code)  # noqa: E731  # one of many
    return Fault(str(code), effect, reason, make, main=main)


def _redirect(name: str, location: str) -> Fault:
    make = lambda: faults.redirect(location)  # noqa: E731  # one of many
    return Fault(f"redirect to {name}", FAILED, "redirect", make)


_RETRY_AFTER = {"Retry-After": str(int(RETRY_AFTER_SECONDS))}

_ON_THE_WIRE = (
    Fault("connection refused", CONNECTION, "connection", main=True),
    Fault("DNS failure", CONNECTION, "connection"),
    Fault("TLS: certificate expired", CONNECTION, "tls", main=True),
    Fault("TLS: certificate for another host", CONNECTION, "tls"),
    Fault("TLS: unknown authority", CONNECTION, "tls"),
    Fault("connection reset", FAILED, "connection", faults.reset),
    Fault("slow headers", FAILED, "timeout", hostile.slow_headers),
    Fault("slow body", FAILED, "timeout", lambda: faults.slow(HOUR, body=True)),
    Fault("hang", FAILED, "timeout", faults.hang, main=True),
    Fault("cut body", FAILED, "connection", faults.cut),
    Fault("early EOF on a reused connection", AS_EVER, None, faults.early_eof),
)
_STATUSES = (
    Fault("401", UNAUTHORIZED, "unauthorized", faults.unauthorized, main=True),
    _status(403, "forbidden", REFUSED),
    _status(404, "not_found", REFUSED),
    _status(406, "status"),
    _status(422, "status", REFUSED),
    Fault(
        "429 with Retry-After",
        WAITING,
        "status",
        lambda: faults.status(429, _RETRY_AFTER),
        main=True,
    ),
    Fault("500 with HTML", FAILED, "status", faults.html_error, main=True),
    _status(502, "status"),
    _status(503, "status"),
    _redirect("itself", ""),
    _redirect("another host", "http://elsewhere.invalid/"),
    _redirect("the sign-in page", "/users/sign_in"),
)
_BODIES = (
    Fault("wrong content type", FAILED, "decode", faults.html, BOTH, main=True),
    Fault("wrong character set", FAILED, "decode", hostile.in_utf_16, BOTH),
    Fault("flood without end", FAILED, "too_large", faults.flood),
    Fault(
        "gzip bomb",
        FAILED,
        "too_large",
        lambda: hostile.gzip_bomb(8 * MOST_BYTES),
    ),
    Fault("deeply nested document", FAILED, "decode", hostile.nested, BOTH),
    Fault("XML entity bomb", FAILED, "decode", hostile.entity_bomb, ("xml",)),
    Fault(
        "XML external entity",
        FAILED,
        "decode",
        lambda: hostile.external_entity("file:///etc/hostname"),
        ("xml",),
    ),
)


def _of(content: Content) -> Fault:
    return Fault(
        content.name,
        CONTENT,
        None,
        content.make,
        BOTH,
        content.make_xml,
        content.said,
        impossible=content.impossible,
    )


_NO_LIST = {"version": "a version is no list"}
_ONE_ADDRESS = "one address, with one name and one certificate, serves every place"


def _skewed() -> dict[str, Said]:
    skew = "onapp_panel_clock_skew_seconds"
    now_and_then = Said(
        f"`{skew}` follows the last answer; nothing else",
        (Rule(skew, near(0.0, SKEW_SECONDS)),),
    )
    always = Said(f"`{skew}`; nothing else", (Rule(skew, near(SKEW_SECONDS)),))
    return {**dict.fromkeys(PLACES, now_and_then), PANEL: always}


FAULTS = {
    fault.name: fault
    for fault in (
        *_ON_THE_WIRE,
        *_STATUSES,
        *_BODIES,
        Fault(
            "paging that loops",
            CUT_SHORT,
            None,
            hostile.looping_pages,
            impossible=_NO_LIST,
        ),
        Fault(
            "paging that lies",
            AS_EVER,
            None,
            hostile.lying_pages,
            impossible=_NO_LIST,
        ),
        Fault(
            "clock skew of hours",
            CONTENT,
            None,
            lambda: hostile.skewed(SKEW_SECONDS),
            said=_skewed(),
        ),
        *map(_of, CONTENTS),
    )
}


def impossible() -> dict[tuple[str, str], str]:
    """Return why some faults cannot be at some places."""
    found = {
        (fault.name, place): why
        for fault in FAULTS.values()
        for place, why in fault.impossible.items()
    }
    for fault in FAULTS.values():
        if fault.effect == CONNECTION:
            single = PLACES.keys() - {PANEL}
            found |= {(fault.name, place): _ONE_ADDRESS for place in single}
    return found


def cells() -> list[tuple[str, str, str]]:
    """Return every fault at every place where it can be, in each format."""
    never = impossible()
    return [
        (fault.name, place, form)
        for fault in FAULTS.values()
        for place in PLACES
        if (fault.name, place) not in never
        for form in fault.forms
    ]
