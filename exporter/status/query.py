"""What is asked of the status page and of its API: parameters → one value."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from multidict import MultiMapping

from ..health.conditions import SERVER_KINDS

TROUBLE = "trouble"
"""For ``state``: every server that an alert could tell of, or that needs a look."""
STATES = (TROUBLE, *(kind.key for kind in SERVER_KINDS))
SORTS = ("state", "server", "panel", "last_success", "size", "interval", "next_start")
ORDERS = ("asc", "desc")
PER_PAGE = 50
_LONGEST_TEXT = 200
_DIGITS_OF_A_PAGE = 9


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
    per_page: int = PER_PAGE


def query(
    parameters: MultiMapping[str], *, panels: Collection[str], most: int
) -> Query:
    """Read the parameters of a request; raise BadQuery.

    A name that is none of ``panels`` would look as if all of it were well; ``most``
    servers a page.
    """
    states = _several(parameters, "state")
    for state in states:
        _one_of("state", state, STATES)
    chosen = _several(parameters, "panel")
    for panel in chosen:
        _one_of("panel", panel, panels)
    sort = _one_of("sort", parameters.get("sort") or SORTS[0], SORTS)
    order = _one_of("order", parameters.get("order") or ORDERS[0], ORDERS)
    return Query(
        text=parameters.get("q", "").strip()[:_LONGEST_TEXT],
        states=states,
        panels=chosen,
        sort=sort,
        descending=order == "desc",
        page=_number(parameters, "page", 1, None),
        per_page=_number(parameters, "per_page", PER_PAGE, most),
    )


def number_of_page(parameters: MultiMapping[str]) -> int:
    """Read the number of a page; raise BadQuery."""
    return _number(parameters, "page", 1, None)


def _several(parameters: MultiMapping[str], name: str) -> tuple[str, ...]:
    """Return what is chosen of a list; an empty value is a form's word for all."""
    return tuple(dict.fromkeys(filter(None, parameters.getall(name, []))))


def _one_of(name: str, value: str, known: Collection[str]) -> str:
    if value not in known:
        raise BadQuery(f"{name}: must be one of {', '.join(known)}")
    return value


def _number(
    parameters: MultiMapping[str], name: str, default: int, most: int | None
) -> int:
    text = parameters.get(name) or str(default)
    number = whole_number(text, _DIGITS_OF_A_PAGE) or 0
    if number < 1 or (most is not None and number > most):
        limit = "" if most is None else f" to {most}"
        raise BadQuery(f"{name}: must be a whole number from 1{limit}")
    return number


def whole_number(text: str, digits: int) -> int | None:
    """Return what is written in so many digits at most, or None."""
    # int() would take other scripts' digits too.
    plain = text.isascii() and text.isdecimal() and len(text) <= digits
    return int(text) if plain else None
