"""A panel's lines, kept compressed: written when a server changes, sent as they are.

A format wants the lines of a family together, so servers stand in blocks, and a block
keeps one piece for each family. A changed server costs its own lines, and compressing
those families of its block that came out otherwise. A server stays in its block
whoever else comes and goes.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import floor
from typing import TypeAlias

from ..config.schema import Detail
from ..health.targets import BackupSummary
from ..model.store import ServerState
from .family import AgeFamily
from .gzip_member import DeflatedText, deflated_text
from .text_format import ROW_FAMILIES, ServerLines, server_lines

SERVERS = 16
"""Servers in a block. Half as many take a sixth more memory, and longer to scrape; with
more, a server that changes alone costs more."""
_FEW = SERVERS // 4
_FAMILIES = len(ROW_FAMILIES)
_AGES = frozenset(
    index for index, family in enumerate(ROW_FAMILIES) if isinstance(family, AgeFamily)
)


State: TypeAlias = tuple[ServerState, bool]
"""What is known of a server, and whether its backups are fresh enough to show."""


@dataclass(slots=True, eq=False)
class CacheEntry:
    """A server's place in a block, and what its lines there were made from."""

    block: CacheBlock
    state: State | None = None
    """None: nothing is written yet."""
    moments: bytes = b""
    """What the ages in its lines are counted from; an array of type q."""
    verdict: BackupSummary | None = None
    """What its backups say; None: they are not fresh."""


@dataclass(slots=True, eq=False)
class CacheBlock:
    """The lines of a few servers, by family."""

    slots: dict[int, CacheEntry] = field(default_factory=dict)
    pieces: list[DeflatedText | None] = field(
        default_factory=lambda: [None] * _FAMILIES
    )
    _lengths: array[int] = field(default_factory=lambda: array("I"))
    """Of each server's lines in bytes: server by server, family by family."""

    def add(self, vm_id: int) -> CacheEntry:
        """Give a server a place."""
        self._lengths.extend([0] * _FAMILIES)
        slot = self.slots[vm_id] = CacheEntry(self)
        return slot

    def replace(self, changes: Mapping[int, ServerLines | None]) -> None:
        """Put servers' lines in place of those that they had; None: take them out."""
        places = {vm_id: place for place, vm_id in enumerate(self.slots)}
        placed = sorted((places[vm_id], vm_id) for vm_id in changes)
        for index in range(_FAMILIES):
            texts = [
                (place, b"" if lines is None else lines.texts[index])
                for place, vm_id in placed
                for lines in [changes[vm_id]]
            ]
            self._splice(index, texts)
        for place, vm_id in reversed(placed):
            lines = changes[vm_id]
            if lines is None:
                del self.slots[vm_id]
                del self._lengths[place * _FAMILIES : (place + 1) * _FAMILIES]
            else:
                slot = self.slots[vm_id]
                slot.moments = lines.moments.tobytes()
                slot.verdict = lines.verdict

    def absorb(self, other: CacheBlock) -> None:
        """Take in all servers of another block."""
        for slot in other.slots.values():
            slot.block = self
        self.slots |= other.slots
        self._lengths += other._lengths
        for index, theirs in enumerate(other.pieces):
            if theirs is not None:
                self.pieces[index] = deflated_text(self._text(index) + theirs.text())

    def shown(self, index: int, time: float) -> DeflatedText | None:
        """Return the piece of a family, its ages counted up to ``time``."""
        kept = self.pieces[index]
        if kept is None or index not in _AGES:
            return kept
        now = floor(time)
        moments = array("q", b"".join(slot.moments for slot in self.slots.values()))
        return deflated_text(kept.text() % tuple([now - moment for moment in moments]))

    def _splice(self, index: int, texts: Sequence[tuple[int, bytes]]) -> None:
        """Write the piece of a family anew, if it comes out otherwise."""
        lengths = self._lengths[index::_FAMILIES]
        if not any(text or lengths[place] for place, text in texts):
            return
        whole = self._text(index)
        parts: list[bytes] = []
        taken = before = 0
        for place, text in texts:
            start = taken + sum(lengths[before:place])
            parts += whole[taken:start], text
            taken, before = start + lengths[place], place + 1
            self._lengths[place * _FAMILIES + index] = len(text)
        written = b"".join((*parts, whole[taken:]))
        if written != whole:
            self.pieces[index] = deflated_text(written) if written else None

    def _text(self, index: int) -> bytes:
        kept = self.pieces[index]
        return b"" if kept is None else kept.text()


@dataclass(slots=True, eq=False)
class RenderCache:
    """The blocks of one panel; to be used by one thread at a time."""

    detail: Detail
    blocks: list[CacheBlock] = field(default_factory=list)
    _slots: dict[int, CacheEntry] = field(default_factory=dict)

    def update(self, servers: Mapping[int, State]) -> None:
        """Hold these servers' lines; nothing is written of what is known already."""
        self._take_out(self._slots.keys() - servers.keys())
        new = [vm_id for vm_id in servers if vm_id not in self._slots]
        for vm_id, block in zip(new, self._rooms(), strict=False):
            self._slots[vm_id] = block.add(vm_id)
        changed: dict[CacheBlock, dict[int, State]] = {}
        for vm_id, state in servers.items():
            slot = self._slots[vm_id]
            if slot.state == state:
                slot.state = state  # to be the same object is quicker to see
            else:
                changed.setdefault(slot.block, {})[vm_id] = state
        for block, states in changed.items():
            self._write(block, states)

    def pieces(self, index: int, time: float) -> Iterator[DeflatedText]:
        """Yield what all servers have of a family, in pieces."""
        for block in self.blocks:
            shown = block.shown(index, time)
            if shown is not None:
                yield shown

    def verdicts(self) -> dict[int, BackupSummary]:
        """Return what the backups of those servers say whose backups are fresh."""
        return {
            vm_id: slot.verdict
            for vm_id, slot in self._slots.items()
            if slot.verdict is not None
        }

    def _write(self, block: CacheBlock, states: Mapping[int, State]) -> None:
        block.replace(
            {
                vm_id: server_lines(known, self.detail, fresh=fresh)
                for vm_id, (known, fresh) in states.items()
            }
        )
        for vm_id, state in states.items():
            block.slots[vm_id].state = state

    def _take_out(self, gone: Iterable[int]) -> None:
        """Drop servers, and blocks of which little is left."""
        blocks: dict[CacheBlock, dict[int, None]] = {}
        for vm_id in gone:
            blocks.setdefault(self._slots.pop(vm_id).block, {})[vm_id] = None
        for block, vm_ids in blocks.items():
            block.replace(vm_ids)
        if blocks:
            self._merge()

    def _merge(self) -> None:
        kept: CacheBlock | None = None
        for block in [block for block in self.blocks if len(block.slots) <= _FEW]:
            if kept is None or len(kept.slots) + len(block.slots) > SERVERS:
                kept = block
            else:
                kept.absorb(block)
                self.blocks.remove(block)

    def _rooms(self) -> Iterator[CacheBlock]:
        """Yield a block with room for one more, again and again."""
        for block in self.blocks:
            while len(block.slots) < SERVERS:
                yield block
        while True:
            self.blocks.append(CacheBlock())
            while len(self.blocks[-1].slots) < SERVERS:
                yield self.blocks[-1]
