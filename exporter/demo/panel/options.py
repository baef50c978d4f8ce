"""Whatever differs between one panel and another."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ..cloud.rows import Server
from .encoding import XmlStyle
from .errors import ErrorShape
from .serializers import ApiGeneration, Serializer

Clock = Callable[[], float]
"""Tells the time in Unix seconds; ``time.time`` is one."""


@dataclass(eq=False, kw_only=True)
class PanelOptions:
    """The ways of a panel; all of them may be changed while it runs."""

    username: str = "demo@example.com"
    password: str = "demo-api-key"  # noqa: S105  of a simulated account
    version: str = "6.10.0"
    base_path: str = ""
    permissions: frozenset[str] | set[str] | None = None
    """What the account may do; None = everything."""
    visible: Callable[[Server], bool] = lambda _: True
    """Which servers the account sees."""
    lock_after: int | None = None
    """How many wrong tries in a row lock an account; None = any number."""
    clock: Clock | None = None
    """Moves the world before each answer; None = the world is moved by hand."""
    date_skew_seconds: float = 0.0
    """How far the Date header is ahead of the world."""

    paging: bool = True
    """Old panels ignore `page` and answer with everything."""
    per_page_cap: int | None = 100
    x_limit: int | None = None
    """What X-Limit says instead of the truth."""
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
    """Fields that this version does not know."""
    xml_nil: Literal["short", "long"] = "short"
    xml_timestamp_type: Literal["datetime", "dateTime"] = "datetime"
    empty_xml: Literal["root", "nil-classes", "nil_classes"] = "root"
    flat_xml: bool = False
    """Whether a list of one is printed without the element around its fields."""

    @property
    def serializer(self) -> Serializer:
        """How rows are worded."""
        return Serializer(self.api_generation, self.utc_offset, self.fractions)

    @property
    def xml_style(self) -> XmlStyle:
        """How XML is written."""
        return XmlStyle(
            self.xml_nil, self.xml_timestamp_type, self.empty_xml, self.flat_xml
        )
