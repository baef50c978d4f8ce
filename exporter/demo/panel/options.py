"""Options of a panel: everything that differs between panels."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ..cloud.rows import Server
from .encoding import XmlStyle
from .errors import ErrorShape
from .serializers import ApiGeneration, Serializer

Clock = Callable[[], float]
"""Returns the time in Unix seconds, as ``time.time`` does."""


@dataclass(eq=False, kw_only=True)
class PanelOptions:
    """Options of a panel, which may be changed while it runs."""

    username: str = "demo@example.com"
    password: str = "demo-api-key"  # noqa: S105  of a simulated account
    version: str = "6.10.0"
    base_path: str = ""
    permissions: frozenset[str] | set[str] | None = None
    """The permissions of the account; None = all."""
    visible: Callable[[Server], bool] = lambda _: True
    """Returns whether the account sees a server."""
    lock_after: int | None = None
    """Number of failed attempts in a row that lock an account; None = never."""
    clock: Clock | None = None
    """The time to which the cloud advances before each response.

    None = the caller advances it.
    """
    date_skew_seconds: float = 0.0
    """Seconds by which the Date header is ahead of the cloud's time."""

    paging: bool = True
    """Whether `page` is supported; old panels ignore it and return all rows."""
    per_page_cap: int | None = 100
    x_limit: int | None = None
    """A wrong value of X-Limit; None = the right one."""
    error_shape: ErrorShape = "array"
    etags: bool = True
    chunked: bool = False
    gzip: bool = False
    keep_alive: bool = True

    api_generation: ApiGeneration = "6"
    utc_offset: str = "Z"
    """`Z`, or a sign, hours and minutes: `+03:00`."""
    fractions: bool = False
    """Whether dates have milliseconds."""
    omitted_fields: frozenset[str] = frozenset()
    """Fields that this version does not have."""
    xml_nil: Literal["short", "long"] = "short"
    xml_timestamp_type: Literal["datetime", "dateTime"] = "datetime"
    empty_xml: Literal["root", "nil-classes", "nil_classes"] = "root"
    flat_xml: bool = False
    """Whether a list of one row contains its fields without an enclosing element."""

    @property
    def serializer(self) -> Serializer:
        """The serializer of the rows."""
        return Serializer(self.api_generation, self.utc_offset, self.fractions)

    @property
    def xml_style(self) -> XmlStyle:
        """The style of XML."""
        return XmlStyle(
            self.xml_nil, self.xml_timestamp_type, self.empty_xml, self.flat_xml
        )
