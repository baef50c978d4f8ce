"""Memory, open files and tasks of an exporter and its process."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import sys
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from types import CoroutineType, FunctionType, ModuleType
from typing import Any

from exporter.app import Exporter

_OWNING_MODULES = ("exporter.", "builtins", "collections", "prometheus_client")
"""Modules of the objects that own others."""
_OPAQUE = (type, ModuleType, FunctionType, CoroutineType)
"""These refer to objects that they do not own."""
_GROWING = (dict, set, list, deque)
_ENTRY_BYTES = 24


@dataclass(frozen=True)
class ResourceUsage:
    """Resources of the process while every connection is closed."""

    rss_mib: float
    """What is free but fragmented counts, so it may grow where nothing leaks."""
    native_mib: float
    """In use by whatever calls ``malloc``: libraries in C, large Python objects."""
    python_blocks: int
    """In use by Python's own allocator of small objects."""
    files: int
    tasks: int
    extra_kib: float
    """Memory of the exporter beyond that of a new one."""


def remembered_kib(exporter: Exporter) -> float:
    """Return the size of everything that an exporter stores."""
    return kib_of(exporter.store, exporter.exposition, exporter.manager)


def kib_of(*things: object) -> float:
    """Return the size of objects, with all that they own."""
    waiting: list[Any] = [*things]
    seen: set[int] = set()
    total = 0
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        total += _bytes(thing)
        if isinstance(thing, _OPAQUE):
            continue
        if type(thing).__module__.startswith(_OWNING_MODULES):
            waiting += gc.get_referents(thing)
    return total / 1024


def _bytes(thing: object) -> int:
    """Return the size of one object, equal as long as it has as many entries.

    Containers count by their entries: a table grows in steps, even where as many go as
    come. Numbers count with what holds them: many counters can share one zero, and each
    has an object of its own from its first step on.
    """
    if isinstance(thing, _GROWING):
        return _ENTRY_BYTES * len(thing)
    return 0 if isinstance(thing, (int, float)) else sys.getsizeof(thing)


async def resource_usage(more_kib: float) -> ResourceUsage:
    """Return the usage once closed connections are gone."""
    before = (-1, -1)
    for _ in range(200):
        await asyncio.sleep(0.02)
        gc.collect()
        now = (_files(), len(asyncio.all_tasks()))
        if now == before:
            break
        before = now
    return ResourceUsage(
        _rss_mib(), _native_mib(), sys.getallocatedblocks(), *before, more_kib
    )


def _files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208  # no more than their number


def _rss_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024**2


class _MallocInfo(ctypes.Structure):
    """``struct mallinfo2`` of glibc (mallinfo(3)); all fields are ``size_t``."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


def _native_mib() -> float:
    libc = ctypes.CDLL(None)
    libc.mallinfo2.restype = _MallocInfo
    info = libc.mallinfo2()
    return float(info.uordblks + info.hblkhd) / 1024**2
