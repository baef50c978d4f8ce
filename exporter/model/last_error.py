"""What went wrong with a panel or a server, kept until somebody looks."""

from __future__ import annotations

import msgspec

from ..errors import ExporterError, PanelError


class Trouble(msgspec.Struct, frozen=True):
    """An error in the words of the log, which never quote a secret."""

    reason: str
    """As in ``onapp_api_errors_total``."""
    error: str
    hint: str
    """What to do about it; may be empty."""
    at: float
    """Unix time."""

    @classmethod
    def of(cls, error: ExporterError, at: float, hint: str = "") -> Trouble:
        """Describe an error; ``hint`` where the place knows better."""
        reason = error.reason if isinstance(error, PanelError) else ""
        return cls(reason, str(error), hint or error.hint, at)
