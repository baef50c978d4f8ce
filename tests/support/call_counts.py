"""Count the calls of functions: unlike seconds, they are the same on every machine."""

from __future__ import annotations

import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any


class CallCounts(Counter[str]):
    """Numbers of calls by the names of the functions."""

    def __init__(self) -> None:
        """Start at zero."""
        super().__init__()
        self.threads: defaultdict[str, set[str]] = defaultdict(set)
        """The threads in which each function was called."""


@contextmanager
def counting_calls(*functions: Callable[..., Any]) -> Iterator[CallCounts]:
    """Count the calls of functions, by their names, here and in new threads."""
    names: dict[CodeType, str] = {each.__code__: each.__name__ for each in functions}
    calls = CallCounts()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code in names:
            name = names[frame.f_code]
            calls[name] += 1
            calls.threads[name].add(threading.current_thread().name)

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        yield calls
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
