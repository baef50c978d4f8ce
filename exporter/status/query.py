"""The query parameters of the status page and of its API."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from multidict import MultiMapping

from ..health.conditions import SERVER_CONDITIONS

ANY_PROBLEM = "problem"
"""Value of ``state`` for servers whose worst condition is a warning or critical."""
STATES = (ANY_PROBLEM, *(condition.key for condition in SERVER_CONDITIONS))
SORTS = {
    "state": "state, worst first",
    "server": "name",
    "panel": "panel",
    "last_success": "last good backup",
    "size": "size",
    "interval": "expected interval",
    "next_start": "next run",
}
"""Sort orders, with their names on the page."""
ORDERS = ("asc", "desc")
DEFAULT_PER_PAGE = 50
_MAX_TEXT_LENGTH = 200
_MAX_PAGE_DIGITS = 9


class BadQuery(ValueError):
    """An invalid parameter; the message names it and the allowed values."""


@dataclass(frozen=True, slots=True)
class Query:
    """The servers to show: filters, order, page and format."""

    text: str = ""
    """Part of a label, host name, identifier or ID; case is ignored."""
    states: tuple[str, ...] = ()
    """Servers in any of these states; empty: all servers."""
    panels: tuple[str, ...] = ()
    sort: str = "state"
    descending: bool = False
    page: int = 1
    per_page: int = DEFAULT_PER_PAGE
    format: str = ""


def parse_query(
    parameters: MultiMapping[str],
    *,
    panels: Collection[str],
    max_per_page: int,
    formats: Sequence[str],
) -> Query:
    """Parse the parameters of a request; raise BadQuery.

    A name that is not in ``panels`` is an error: an empty result would look as if
    everything on that panel were fine. The first of the ``formats`` is the default.
    """
    states = _selected(parameters, "state")
    for state in states:
        _checked("state", state, STATES)
    panel_names = _selected(parameters, "panel")
    for name in panel_names:
        _checked("panel", name, panels)
    sort = _checked("sort", parameters.get("sort") or "state", SORTS)
    order = _checked("order", parameters.get("order") or ORDERS[0], ORDERS)
    return Query(
        text=parameters.get("q", "").strip()[:_MAX_TEXT_LENGTH],
        states=states,
        panels=panel_names,
        sort=sort,
        descending=order == "desc",
        page=_positive_number(parameters, "page", 1, None),
        per_page=_positive_number(
            parameters, "per_page", DEFAULT_PER_PAGE, max_per_page
        ),
        format=_checked("format", parameters.get("format") or formats[0], formats),
    )


def parse_page(parameters: MultiMapping[str]) -> int:
    """Parse the number of a page; raise BadQuery."""
    return _positive_number(parameters, "page", 1, None)


def _selected(parameters: MultiMapping[str], name: str) -> tuple[str, ...]:
    """Return the values of a parameter; forms send an empty value to select all."""
    return tuple(dict.fromkeys(filter(None, parameters.getall(name, []))))


def _checked(name: str, value: str, allowed: Collection[str]) -> str:
    if value not in allowed:
        raise BadQuery(f"{name}: must be one of {', '.join(allowed)}")
    return value


def _positive_number(
    parameters: MultiMapping[str], name: str, default: int, maximum: int | None
) -> int:
    text = parameters.get(name) or str(default)
    number = parse_number(text, _MAX_PAGE_DIGITS) or 0
    if number < 1 or (maximum is not None and number > maximum):
        limit = "" if maximum is None else f" to {maximum}"
        raise BadQuery(f"{name}: must be a whole number from 1{limit}")
    return number


def parse_number(text: str, max_digits: int) -> int | None:
    """Return the number; None unless the text is one to ``max_digits`` ASCII digits."""
    # int() would also accept digits of other scripts.
    valid = text.isascii() and text.isdecimal() and len(text) <= max_digits
    return int(text) if valid else None
