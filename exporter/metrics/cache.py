"""Render cache of a panel: lines are rendered when a server changes, and compressed.

The formats require that all lines of a family are together. Servers are therefore
grouped in blocks, and a block has one compressed text per family. For a changed server,
its own lines are rendered, and the families of its block whose text has changed are
compressed. A server stays in its block when others are added or removed, unless small
blocks are merged.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import floor

from ..config.schema import Detail
from ..health.server import ServerHealth
from .family import AgeFamily
from .gzip_member import DeflatedText, deflated_text
from .text_format import CACHED_FAMILIES, ServerLines, server_lines

SERVERS_PER_BLOCK = 16
"""With half as many, the cache needs a sixth more memory and scrapes take longer; with
more, each changed server costs more."""
_MERGE_MAX_SERVERS = SERVERS_PER_BLOCK // 4
_FAMILY_COUNT = len(CACHED_FAMILIES)
_AGE_FAMILIES = frozenset(
    index
    for index, family in enumerate(CACHED_FAMILIES)
    if isinstance(family, AgeFamily)
)


@dataclass(slots=True, eq=False)
class CacheEntry:
    """A server's block, and the input of its lines there."""

    block: CacheBlock
    rendered_from: ServerHealth | None = None
    """None: not rendered yet."""
    timestamps: bytes = b""
    """Unix seconds from which the ages in its lines are counted; an array of type q."""


@dataclass(slots=True, eq=False)
class CacheBlock:
    """The lines of a few servers as one compressed text per family."""

    entries: dict[int, CacheEntry] = field(default_factory=dict)
    texts: list[DeflatedText | None] = field(
        default_factory=lambda: [None] * _FAMILY_COUNT
    )
    _lengths: array[int] = field(default_factory=lambda: array("I"))
    """Size of each server's lines in bytes, by server and then by family."""

    def add(self, vm_id: int) -> CacheEntry:
        """Append a server that has no lines yet."""
        self._lengths.extend([0] * _FAMILY_COUNT)
        entry = self.entries[vm_id] = CacheEntry(self)
        return entry

    def replace(self, changes: Mapping[int, ServerLines | None]) -> None:
        """Replace the lines of servers; None removes a server."""
        positions = {vm_id: position for position, vm_id in enumerate(self.entries)}
        ordered = sorted((positions[vm_id], vm_id) for vm_id in changes)
        for index in range(_FAMILY_COUNT):
            texts = [
                (position, b"" if lines is None else lines.by_family[index])
                for position, vm_id in ordered
                for lines in [changes[vm_id]]
            ]
            self._splice(index, texts)
        for position, vm_id in reversed(ordered):
            lines = changes[vm_id]
            if lines is None:
                del self.entries[vm_id]
                del self._lengths[
                    position * _FAMILY_COUNT : (position + 1) * _FAMILY_COUNT
                ]
            else:
                entry = self.entries[vm_id]
                entry.timestamps = lines.timestamps.tobytes()

    def merge(self, other: CacheBlock) -> None:
        """Append all servers of another block."""
        for entry in other.entries.values():
            entry.block = self
        self.entries |= other.entries
        self._lengths += other._lengths
        for index, added in enumerate(other.texts):
            if added is not None:
                self.texts[index] = deflated_text(
                    self._inflated(index) + added.inflate()
                )

    def text_at(self, index: int, time: float) -> DeflatedText | None:
        """Return the text of a family with ages at ``time``; None: no lines."""
        text = self.texts[index]
        if text is None or index not in _AGE_FAMILIES:
            return text
        now = floor(time)
        timestamps = array(
            "q", b"".join(entry.timestamps for entry in self.entries.values())
        )
        return deflated_text(
            text.inflate() % tuple([now - at if at < now else 0 for at in timestamps])
        )

    def _splice(self, index: int, texts: Sequence[tuple[int, bytes]]) -> None:
        """Replace servers' lines in the text of a family; compress it if it changed."""
        lengths = self._lengths[index::_FAMILY_COUNT]
        if not any(text or lengths[position] for position, text in texts):
            return
        old_text = self._inflated(index)
        parts: list[bytes] = []
        offset = next_position = 0
        for position, text in texts:
            start = offset + sum(lengths[next_position:position])
            parts += old_text[offset:start], text
            offset, next_position = start + lengths[position], position + 1
            self._lengths[position * _FAMILY_COUNT + index] = len(text)
        new_text = b"".join((*parts, old_text[offset:]))
        if new_text != old_text:
            self.texts[index] = deflated_text(new_text) if new_text else None

    def _inflated(self, index: int) -> bytes:
        text = self.texts[index]
        return b"" if text is None else text.inflate()


@dataclass(slots=True, eq=False)
class RenderCache:
    """The blocks of one panel; not thread-safe."""

    detail: Detail
    blocks: list[CacheBlock] = field(default_factory=list)
    _entries: dict[int, CacheEntry] = field(default_factory=dict)

    def update(self, inputs: Mapping[int, ServerHealth]) -> None:
        """Keep lines of exactly these servers; render those whose health changed."""
        self._remove(self._entries.keys() - inputs.keys())
        new = [vm_id for vm_id in inputs if vm_id not in self._entries]
        for vm_id, block in zip(new, self._free_blocks(), strict=False):
            self._entries[vm_id] = block.add(vm_id)
        changed: dict[CacheBlock, dict[int, ServerHealth]] = {}
        for vm_id, health in inputs.items():
            entry = self._entries[vm_id]
            if entry.rendered_from is not health:
                changed.setdefault(entry.block, {})[vm_id] = health
        for block, block_inputs in changed.items():
            self._render(block, block_inputs)

    def texts(self, index: int, time: float) -> Iterator[DeflatedText]:
        """Yield the texts of a family, one for each block that has lines of it."""
        for block in self.blocks:
            text = block.text_at(index, time)
            if text is not None:
                yield text

    def _render(self, block: CacheBlock, inputs: Mapping[int, ServerHealth]) -> None:
        block.replace(
            {
                vm_id: server_lines(health, self.detail)
                for vm_id, health in inputs.items()
            }
        )
        for vm_id, health in inputs.items():
            block.entries[vm_id].rendered_from = health

    def _remove(self, gone: Iterable[int]) -> None:
        """Remove servers, and merge blocks that have become small."""
        blocks: dict[CacheBlock, dict[int, None]] = {}
        for vm_id in gone:
            blocks.setdefault(self._entries.pop(vm_id).block, {})[vm_id] = None
        for block, vm_ids in blocks.items():
            block.replace(vm_ids)
        if blocks:
            self._merge_small_blocks()

    def _merge_small_blocks(self) -> None:
        merged: CacheBlock | None = None
        for block in [
            block for block in self.blocks if len(block.entries) <= _MERGE_MAX_SERVERS
        ]:
            if (
                merged is None
                or len(merged.entries) + len(block.entries) > SERVERS_PER_BLOCK
            ):
                merged = block
            else:
                merged.merge(block)
                self.blocks.remove(block)

    def _free_blocks(self) -> Iterator[CacheBlock]:
        """Yield a block with room for one more server, repeatedly."""
        for block in self.blocks:
            while len(block.entries) < SERVERS_PER_BLOCK:
                yield block
        while True:
            self.blocks.append(CacheBlock())
            while len(self.blocks[-1].entries) < SERVERS_PER_BLOCK:
                yield self.blocks[-1]
