"""What is asked of the status page and of its API: parameters → one value."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from multidict import MultiMapping

from ..health.conditions import SERVER_CONDITIONS

ANY_PROBLEM = "trouble"
"""For ``state``: every server that an alert could tell of, or that needs a look."""
STATES = (ANY_PROBLEM, *(condition.key for condition in SERVER_CONDITIONS))
SORTS = ("state", "server", "panel", "last_success", "size", "interval", "next_start")
ORDERS = ("asc", "desc")
DEFAULT_PER_PAGE = 50
_MAX_TEXT_LENGTH = 200
_MAX_PAGE_DIGITS = 9


class BadQuery(ValueError):
    """A parameter that means nothing; says which, and what would be right."""


@dataclass(frozen=True, slots=True)
class Query:
    """Which servers are wanted, in which order, and which page of them."""

    text: str = ""
    """In a label, host name, identifier or number; case does not matter."""
    states: tuple[str, ...] = ()
    """One of these; none: all."""
    panels: tuple[str, ...] = ()
    sort: str = SORTS[0]
    descending: bool = False
    page: int = 1
    per_page: int = DEFAULT_PER_PAGE


def parse_query(
    parameters: MultiMapping[str], *, panels: Collection[str], max_per_page: int
) -> Query:
    """Read the parameters of a request; raise BadQuery.

    A name that is none of ``panels`` would look as if all of it were well; ``most``
    servers a page.
    """
    states = _selected(parameters, "state")
    for state in states:
        _checked("state", state, STATES)
    panel_names = _selected(parameters, "panel")
    for name in panel_names:
        _checked("panel", name, panels)
    sort = _checked("sort", parameters.get("sort") or SORTS[0], SORTS)
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
    )


def parse_page(parameters: MultiMapping[str]) -> int:
    """Read the number of a page; raise BadQuery."""
    return _positive_number(parameters, "page", 1, None)


def _selected(parameters: MultiMapping[str], name: str) -> tuple[str, ...]:
    """Return what is chosen of a list; an empty value is a form's word for all."""
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
    """Return what is written in so many digits at most, or None."""
    # int() would take other scripts' digits too.
    valid = text.isascii() and text.isdecimal() and len(text) <= max_digits
    return int(text) if valid else None
