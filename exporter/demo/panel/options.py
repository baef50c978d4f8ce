"""Options of a panel: whatever differs between one and another."""

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
    """Options of a panel; all of them may be changed while it runs."""

    username: str = "demo@example.com"
    password: str = "demo-api-key"  # noqa: S105  of a simulated account
    version: str = "6.10.0"
    base_path: str = ""
    permissions: frozenset[str] | set[str] | None = None
    """The permissions of the account; None = all."""
    visible: Callable[[Server], bool] = lambda _: True
    """Which servers the account sees."""
    lock_after: int | None = None
    """How many failed attempts in a row lock an account; None = never."""
    clock: Clock | None = None
    """Advances the cloud before each response; None = the caller advances it."""
    date_skew_seconds: float = 0.0
    """How far the Date header is ahead of the cloud's time."""

    paging: bool = True
    """Whether `page` is obeyed; old panels ignore it and return all rows."""
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
    """Whether a list of one row has its fields without an element around them."""

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
