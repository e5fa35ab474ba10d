"""Blocks kept in host memory, those used last; what does not fit any more is handed to the caller."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from .blocks import Block


class HostTier:
    """max_bytes: of all blocks' data together. One owner calls it."""

    def __init__(self, max_bytes: int) -> None:
        if max_bytes < 0:
            raise ValueError(f"max_bytes is {max_bytes}; it must be 0 or more")
        self.max_bytes = max_bytes
        self.nbytes = 0
        self._blocks: OrderedDict[bytes, Block] = OrderedDict()  # the one used last stands last

    def __contains__(self, key: bytes) -> bool:
        return key in self._blocks

    def __len__(self) -> int:
        return len(self._blocks)

    def get(self, key: bytes) -> Block | None:
        """The block of a key."""
        return self._blocks.get(key)

    def touch(self, keys: Sequence[bytes]) -> None:
        """The blocks of a prefix, in order, were used now; what is nearer the root counts as used later."""
        for key in reversed(keys):
            if key in self._blocks:
                self._blocks.move_to_end(key)

    def put(self, block: Block) -> list[Block]:
        """Keep a block; returns those that had to go for it, least recently used first (itself, when too large)."""
        if block.key in self._blocks:
            self._blocks.move_to_end(block.key)
            return []
        self._blocks[block.key] = block
        self.nbytes += block.data.nbytes
        gone = []
        while self.nbytes > self.max_bytes:
            _, oldest = self._blocks.popitem(last=False)
            self.nbytes -= oldest.data.nbytes
            gone.append(oldest)
        return gone

    def take_all(self) -> list[Block]:
        """All blocks, least recently used first; none is kept."""
        blocks = list(self._blocks.values())
        self._blocks.clear()
        self.nbytes = 0
        return blocks
