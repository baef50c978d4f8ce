"""An account of the requests that a panel got."""

from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from .encoding import Format
from .routes import Resource

_REQUESTS_KEPT = 100_000


@dataclass(slots=True)
class Asked:
    """One request."""

    at: float
    """The panel's time."""
    method: str
    path: str
    """As it was asked for, suffix and base path included."""
    query: dict[str, str]
    resource: Resource | None
    server_id: int | None
    form: Format | None
    authorization: str | None
    if_none_match: str | None
    accept: str | None
    cookie: str | None
    authorized: bool | None = None
    """Whether the credentials were right; None = not looked at."""
    status: int | None = None
    """None until an answer begins, and for ever when there is none."""


class Traffic:
    """The last requests, and how many were answered at once."""

    def __init__(self) -> None:
        """Begin without any."""
        self.requests: deque[Asked] = deque(maxlen=_REQUESTS_KEPT)
        self.in_flight = 0
        self.most_in_flight = 0
        self.in_flight_by_path: Counter[str] = Counter()
        self.most_in_flight_by_path: Counter[str] = Counter()

    @contextmanager
    def count(self, asked: Asked) -> Iterator[None]:
        """Keep a request, and count it as in flight."""
        path = asked.path
        self.requests.append(asked)
        self.in_flight += 1
        self.in_flight_by_path[path] += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        self.most_in_flight_by_path[path] = max(
            self.most_in_flight_by_path[path], self.in_flight_by_path[path]
        )
        try:
            yield
        finally:
            self.in_flight -= 1
            self.in_flight_by_path[path] -= 1

    def asked_for(
        self, resource: Resource, server_id: int | None = None
    ) -> list[Asked]:
        """Return the requests for a resource, of one server if one is given."""
        return [
            asked
            for asked in self.requests
            if asked.resource == resource and server_id in (None, asked.server_id)
        ]
