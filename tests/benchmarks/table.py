"""The page with the results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import TypeAlias

from polls import Cost, Polls
from results import Scraped, World
from scraping import Health
from viewing import PAGES

_PAGE = """\
# Performance

Measured and written by `make bench`, on {machine}.

Simulated clouds of four sizes, with 30 backups a server, every default collector and
every default family. Times are medians that a client on the same machine measures, over
HTTP. Each timed scrape begins more than a second after the one before, and a server has
changed in between. The client checks that the ages differ and that the change shows. It
does not sleep in between, because waking up would take longer than a small scrape.
*prometheus-client* is the `make_aiohttp_handler` of that library over a Collector of
the same data, in the same process and the same run.

## Scrapes

{scrapes}

*Health* is `/-/healthy`, requested every 5 ms while one scrape follows the other
without a pause. *At rest* means that there is no scrape.

## Pages

The status page with 50 servers: the worst first, and the second page sorted by size.
Then the page of one server with its 30 backups, the page of the panel, and the status
as JSON with 50 servers. Each is requested as a browser does, after a server has
changed. The table shows the time until the answer is complete, and the CPU time of
the exporter. *Transferred* are the bytes with gzip, *plain* those without. The aim
for 10 000 servers is 200 ms and 300 kB transferred. *Health* is measured while one
status page follows the other.

{pages}

## Where the time goes

A compressed scrape joins pieces that are compressed in memory. It decompresses the
pieces with ages, and fills in the ages. It writes when and how each server was last
read, compresses both, and sends everything. prometheus-client writes the exporter's own
metrics, some 250 samples a panel, at every scrape: most of a small one. Each part was
measured separately, many times on the same content. No scrape can be faster than their
sum. A plain scrape must decompress all pieces instead. *CPU* is the CPU time of the
exporter during a scrape. In the rest of the time the scrape waited for a processor or
for the client.

In a large cloud, the CPU time is longer than the sum because of:

- three checks of each server, whether it has changed and is fresh,
- labels, and the checksum of the whole answer,
- memory that is no longer in the processor's cache after a second.

{floors}

## Memory

*In use* is the memory of the process; *for the world* is the part since it knew the
first server. The peak is the highest in all scrapes above, also in four at once,
relative to the memory before. *Sent* is the compressed body, which is kept in memory:
the least possible.

{memory}

## Polls

CPU time of the exporter for one server of 30 backups: the request, decoding, storing
and writing it. The figures are the median of nine passes, and the fastest. Passes of
all kinds alternate, and the panel has its answers ready. *Bare* is a loop with the same
HTTP client that requests the same addresses and ignores the bodies. *Changed* means
that every list has a new backup in place of its oldest. *Alone* means that only one
server of a block has changed, and the lines of the others are compressed again with it.
*Unchanged* means that the panel sends no ETag and the same answer again.

{polls}

## Growth

The factor from one size to the next:

{growth}
"""

_Row: TypeAlias = tuple[str, Callable[[World], str]]


def _ms(seconds: float) -> str:
    milliseconds = seconds * 1000
    if milliseconds >= 100:
        return f"{_count(milliseconds)} ms"
    return f"{milliseconds:.{1 if milliseconds >= 1 else 2}f} ms"


def _count(number: float) -> str:
    return f"{number:,.0f}".replace(",", " ")


def _times(ratio: float) -> str:
    digits = 0 if ratio >= 20 else 1 if ratio >= 2 else 2
    return f"{ratio:.{digits}f} ×"  # noqa: RUF001  # times


def _ratio(other: Scraped, ours: Scraped) -> str:
    return f"**{_times(other.seconds / ours.seconds)}**"


def _health(health: Health) -> str:
    return f"{_ms(health.median_seconds)} / {_ms(health.p99_seconds)}"


def _mb(count: float) -> str:
    return f"{count / 1e6:.1f} MB"


def _view_seconds(world: World, *, name: str) -> str:
    return _ms(world.page_times.pages[name].seconds)


def _view_cpu(world: World, *, name: str) -> str:
    return _ms(world.page_times.pages[name].cpu_seconds)


def _view_size(world: World, *, name: str) -> str:
    viewed = world.page_times.pages[name]
    return f"{_kb(viewed.transferred_bytes)} / {_kb(viewed.plain_bytes)}"


def _kb(count: float) -> str:
    return f"{count / 1e3:.0f} kB"


_SCRAPES: Sequence[_Row] = (
    ("series", lambda w: _count(w.series)),
    ("gzip", lambda w: _ms(w.gzip.seconds)),
    ("gzip, prometheus-client", lambda w: _ms(w.other_gzip.seconds)),
    (
        "**gzip, ratio**",
        lambda w: f"**{_times(w.other_gzip.seconds / w.gzip.seconds)}**",
    ),
    ("plain", lambda w: _ms(w.plain.seconds)),
    ("plain, prometheus-client", lambda w: _ms(w.other_plain.seconds)),
    ("**plain, ratio**", lambda w: _ratio(w.other_plain, w.plain)),
    ("first byte, gzip", lambda w: _ms(w.gzip.first_byte_seconds)),
    ("first byte, plain", lambda w: _ms(w.plain.first_byte_seconds)),
    ("first byte, prometheus-client", lambda w: _ms(w.other_gzip.first_byte_seconds)),
    (
        "four at once, gzip",
        lambda w: f"{_ms(w.four)}, {_times(w.four / w.gzip.seconds)}",
    ),
    ("health p50 / p99, gzip", lambda w: _health(w.health_gzip)),
    ("health p50 / p99, plain", lambda w: _health(w.health_plain)),
    ("health p50 / p99, at rest", lambda w: _health(w.health_at_rest)),
    (
        "health, longest, prometheus-client",
        lambda w: _ms(w.other_health.longest_seconds),
    ),
    ("size, gzip", lambda w: _mb(w.gzip.bytes)),
    ("size, gzip, prometheus-client", lambda w: _mb(w.other_gzip.bytes)),
    ("size, plain", lambda w: _mb(w.plain.bytes)),
)
_VIEWS: Sequence[_Row] = (
    *(
        row
        for name in PAGES
        for row in (
            (name, partial(_view_seconds, name=name)),
            (f"{name}, CPU", partial(_view_cpu, name=name)),
            (f"{name}, transferred / plain", partial(_view_size, name=name)),
        )
    ),
    ("health p50 / p99", lambda w: _health(w.page_times.health)),
)
_FLOORS: Sequence[_Row] = (
    ("join", lambda w: _ms(w.floors.join)),
    ("inflating the lines of ages", lambda w: _ms(w.floors.templates)),
    ("filling them in", lambda w: _ms(w.floors.ages)),
    ("lines of readings", lambda w: _ms(w.floors.readings)),
    ("compressing both", lambda w: _ms(w.floors.compression)),
    ("socket", lambda w: _ms(w.floors.socket)),
    ("own metrics", lambda w: _ms(w.floors.own)),
    ("**together**", lambda w: f"**{_ms(w.floors.together)}**"),
    ("CPU of the scrape, gzip", lambda w: _ms(w.gzip.cpu_seconds)),
    ("the scrape, gzip", lambda w: _ms(w.gzip.seconds)),
    ("inflating all", lambda w: _ms(w.inflation)),
    ("CPU of the scrape, plain", lambda w: _ms(w.plain.cpu_seconds)),
    ("the scrape, plain", lambda w: _ms(w.plain.seconds)),
)
_MEMORY: Sequence[_Row] = (
    ("in use", lambda w: _mb(w.total_bytes)),
    ("of that for the world", lambda w: _mb(w.memory_bytes)),
    ("a backup", lambda w: f"{_count(w.memory_bytes / w.backups)} B"),
    ("a backup, sent", lambda w: f"{_count(w.gzip.bytes / w.backups)} B"),
    ("peak", lambda w: _times(w.peak_bytes / w.total_bytes)),
)
_GROWTH: Sequence[tuple[str, Callable[[World], float]]] = (
    ("backups", lambda w: w.backups),
    ("gzip", lambda w: w.gzip.seconds),
    ("plain", lambda w: w.plain.seconds),
    ("four at once", lambda w: w.four),
    ("gzip, prometheus-client", lambda w: w.other_gzip.seconds),
    ("memory for the world", lambda w: w.memory_bytes),
)
_POLLS: Sequence[tuple[str, Callable[[Polls], Cost]]] = (
    ("200, changed", lambda p: p.changed),
    ("200, changed, alone", lambda p: p.alone),
    ("200, unchanged", lambda p: p.unchanged),
    ("200, bare", lambda p: p.bare),
    ("304", lambda p: p.not_modified),
    ("304, bare", lambda p: p.bare_not_modified),
)


def page(worlds: Sequence[World], polled: Mapping[str, Polls], machine: str) -> str:
    """Return the page as Markdown."""
    return _PAGE.format(
        machine=machine,
        scrapes=_by_size(worlds, _SCRAPES),
        pages=_by_size(worlds, _VIEWS),
        floors=_by_size(worlds, _FLOORS),
        memory=_by_size(worlds, _MEMORY) + _slope(worlds),
        polls=_polls(polled),
        growth=_growth(worlds),
    )


def _by_size(worlds: Sequence[World], rows: Sequence[_Row]) -> str:
    sizes = (f"{_count(w.backups)} backups" for w in worlds)
    return _table(
        ("", *sizes), ((name, *(show(w) for w in worlds)) for name, show in rows)
    )


def _slope(worlds: Sequence[World]) -> str:
    if len(worlds) < 2:
        return ""
    small, large = worlds[-2:]
    more = (large.memory_bytes - small.memory_bytes) / (large.backups - small.backups)
    return f"\n\nBetween the two largest, each further backup takes {more:.0f} B."


def _polls(polled: Mapping[str, Polls]) -> str:
    return _table(
        ("", *(form.upper() for form in polled)),
        (
            (name, *(_cost(value(each)) for each in polled.values()))
            for name, value in _POLLS
        ),
    )


def _cost(cost: Cost) -> str:
    return f"{_ms(cost.median)} / {_ms(cost.least)}"


def _growth(worlds: Sequence[World]) -> str:
    steps = tuple(pairwise(worlds))
    return _table(
        ("", *(_count(large.backups) for _, large in steps)),
        (
            (name, *(_times(value(large) / value(small)) for small, large in steps))
            for name, value in _GROWTH
        ),
    )


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    heading = tuple(head)
    lines = [heading, ("---", *("---:" for _ in heading[1:])), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
