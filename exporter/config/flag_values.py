"""What flags take, read from text; ArgumentTypeError says what would be right."""

from __future__ import annotations

import argparse
import re
from typing import Any

from .units import Duration


def truth(text: str) -> bool:
    """Read a switch; raise ValueError."""
    if text.lower() not in ("true", "false", "1", "0"):
        raise ValueError(f"{text!r} is not one of true, false")
    return text.lower() in ("true", "1")


def address(text: str) -> str:
    """Read ``[host]:port``."""
    found = _ADDRESS.fullmatch(text)
    if found is None or int(found[1]) >= 2**16:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not [host]:port, such as :10058, 127.0.0.1:10058 or "
            "[::1]:10058"
        )
    return text


_ADDRESS = re.compile(r"(?:[A-Za-z0-9_.-]*|\[[0-9A-Fa-f:.]+(?:%\w+)?\]):([0-9]{1,5})")


def path(text: str) -> str:
    """Read the path of the metrics."""
    if not _PATH.fullmatch(text) or text in _TAKEN:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a path such as /metrics, or is one of {', '.join(_TAKEN)}"
        )
    return text


_PATH = re.compile(r"(?:/[A-Za-z0-9_.~-]+)+/?")
_TAKEN = ("/", "/config", "/-/healthy", "/-/ready", "/-/reload")


def timeout(text: str) -> Duration:
    """Read a duration of a second or more."""
    try:
        duration = Duration.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from None
    if duration < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: must be at least 1s")
    return duration


def at_least(least: int) -> Any:
    """Return what reads a whole number that is not too small."""

    def number(text: str) -> int:
        if not _NUMBER.fullmatch(text) or int(text) < least:
            raise argparse.ArgumentTypeError(
                f"{text!r} is not a whole number from {least} on"
            )
        return int(text)

    return number


_NUMBER = re.compile(r"[0-9]{1,9}")


def ordinal(text: str) -> int:
    """Read a whole number, alone or at the end of a name such as exporter-2."""
    found = _ORDINAL.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a whole number from 0 on, nor a name that ends in one, "
            "such as exporter-2"
        )
    return int(found[1])


_ORDINAL = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9.-]*-)?([0-9]{1,9})")


class Replaceable(list[str]):
    """A default that ``action="append"`` does not append to."""

    def __copy__(self) -> list[str]:
        """Give argparse an empty list to append to: a flag replaces the variable."""
        return []
