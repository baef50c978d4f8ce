"""A panel's lines, kept compressed: written when a server changes, sent as they are.

A format wants the lines of a family together, so servers stand in blocks, and a block
keeps one piece for each family. A changed server costs its own lines, and compressing
those families of its block that came out otherwise. A server stays in its block
whoever else comes and goes.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import floor
from typing import TypeAlias

from .deflate import Piece, piece
from .family import AgeFamily
from .lines import ROW_FAMILIES, ServerLines, server_lines
from .samples import Detail
from .store import Knowledge
from .verdict import Verdict

SERVERS = 16
"""Servers in a block. More compress better (32: by 3 %), and cost more to change."""
_FEW = SERVERS // 4
_NO_LINES = bytes(4 * len(ROW_FAMILIES))
_AGES = frozenset(
    index for index, family in enumerate(ROW_FAMILIES) if isinstance(family, AgeFamily)
)


State: TypeAlias = tuple[Knowledge, bool]
"""What is known of a server, and whether its backups are fresh enough to show."""


@dataclass(slots=True, eq=False)
class Slot:
    """A server's place in a block, and what its lines there were made from."""

    block: Block
    state: State | None = None
    """None: nothing is written yet."""
    lengths: bytes = _NO_LINES
    """Of its lines in each piece of the block, in bytes; an array of type I."""
    moments: bytes = b""
    """What the ages in its lines are counted from; an array of type q."""
    verdict: Verdict | None = None
    """What its backups say; None: they are not fresh."""


@dataclass(slots=True, eq=False)
class Block:
    """The lines of a few servers, by family."""

    slots: dict[int, Slot] = field(default_factory=dict)
    pieces: list[Piece | None] = field(
        default_factory=lambda: [None] * len(ROW_FAMILIES)
    )

    def replace(self, changes: Mapping[int, ServerLines | None]) -> None:
        """Put servers' lines in place of those that they had; None: take them out."""
        before = {vm_id: array("I", slot.lengths) for vm_id, slot in self.slots.items()}
        for index in range(len(ROW_FAMILIES)):
            if any(
                before[vm_id][index] or (lines and lines.texts[index])
                for vm_id, lines in changes.items()
            ):
                self._splice(index, before, changes)
        for vm_id, lines in changes.items():
            if lines is None:
                del self.slots[vm_id]
            else:
                slot = self.slots[vm_id]
                slot.lengths = array("I", map(len, lines.texts)).tobytes()
                slot.moments = lines.moments.tobytes()
                slot.verdict = lines.verdict

    def absorb(self, other: Block) -> None:
        """Take in all servers of another block."""
        for slot in other.slots.values():
            slot.block = self
        self.slots |= other.slots
        for index, theirs in enumerate(other.pieces):
            if theirs is not None:
                self.pieces[index] = piece(self._text(index) + theirs.text())

    def shown(self, index: int, time: float) -> Piece | None:
        """Return the piece of a family, its ages counted up to ``time``."""
        kept = self.pieces[index]
        if kept is None or index not in _AGES:
            return kept
        now = floor(time)
        moments = array("q", b"".join(slot.moments for slot in self.slots.values()))
        return piece(kept.text() % tuple([now - moment for moment in moments]))

    def _splice(
        self,
        index: int,
        before: Mapping[int, array[int]],
        changes: Mapping[int, ServerLines | None],
    ) -> None:
        """Write the piece of a family anew, if it comes out otherwise."""
        whole = self._text(index)
        texts: list[bytes] = []
        taken = end = 0
        for vm_id, lengths in before.items():
            start, end = end, end + lengths[index]
            if vm_id in changes:
                lines = changes[vm_id]
                texts.append(whole[taken:start])
                texts.append(b"" if lines is None else lines.texts[index])
                taken = end
        text = b"".join((*texts, whole[taken:]))
        if text != whole:
            self.pieces[index] = piece(text) if text else None

    def _text(self, index: int) -> bytes:
        kept = self.pieces[index]
        return b"" if kept is None else kept.text()


@dataclass(slots=True, eq=False)
class Shelf:
    """The blocks of one panel; to be used by one thread at a time."""

    detail: Detail
    blocks: list[Block] = field(default_factory=list)
    _slots: dict[int, Slot] = field(default_factory=dict)

    def update(self, servers: Mapping[int, State]) -> None:
        """Hold these servers' lines; nothing is written of what is known already."""
        self._take_out(self._slots.keys() - servers.keys())
        new = [vm_id for vm_id in servers if vm_id not in self._slots]
        for vm_id, block in zip(new, self._rooms(), strict=False):
            self._slots[vm_id] = block.slots[vm_id] = Slot(block)
        changed: dict[Block, dict[int, State]] = {}
        for vm_id, state in servers.items():
            slot = self._slots[vm_id]
            if slot.state == state:
                slot.state = state  # to be the same object is quicker to see
            else:
                changed.setdefault(slot.block, {})[vm_id] = state
        for block, states in changed.items():
            self._write(block, states)

    def pieces(self, index: int, time: float) -> Iterator[Piece]:
        """Yield what all servers have of a family, in pieces."""
        for block in self.blocks:
            shown = block.shown(index, time)
            if shown is not None:
                yield shown

    def verdicts(self) -> dict[int, Verdict]:
        """Return what the backups of those servers say whose backups are fresh."""
        return {
            vm_id: slot.verdict
            for vm_id, slot in self._slots.items()
            if slot.verdict is not None
        }

    def _write(self, block: Block, states: Mapping[int, State]) -> None:
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
        blocks: dict[Block, dict[int, None]] = {}
        for vm_id in gone:
            blocks.setdefault(self._slots.pop(vm_id).block, {})[vm_id] = None
        for block, vm_ids in blocks.items():
            block.replace(vm_ids)
        if blocks:
            self._merge()

    def _merge(self) -> None:
        kept: Block | None = None
        for block in [block for block in self.blocks if len(block.slots) <= _FEW]:
            if kept is None or len(kept.slots) + len(block.slots) > SERVERS:
                kept = block
            else:
                kept.absorb(block)
                self.blocks.remove(block)

    def _rooms(self) -> Iterator[Block]:
        """Yield a block with room for one more, again and again."""
        for block in self.blocks:
            while len(block.slots) < SERVERS:
                yield block
        while True:
            self.blocks.append(Block())
            while len(self.blocks[-1].slots) < SERVERS:
                yield self.blocks[-1]
