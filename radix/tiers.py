"""Where prefixes go that leave the page pool, and come back from: host memory, then files.

    page pool --evicted--> host memory --pushed out--> files          (each kept once; those used last stay)
    page pool --read by a second request, or at the end--> files

What a block is and how it is named: blocks.py. Nothing here knows what the bytes of a page mean.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from .blocks import Block, BlockNames
from .disk_tier import DiskTier
from .host_tier import HostTier

Copy = Callable[[int, int], np.ndarray]
"""copy(start, stop): the pages of tokens [start, stop) of a prefix, (pages, page_bytes) uint8, the caller's own."""

_FIRST_GUESS = 1e9  # bytes a second
_NEWEST_SHARE = 0.3  # of a speed: how much the latest reading counts
_DOUBLES_S = 60.0  # what was slow once is thought twice as fast after each such time: it gets another chance


class LoadRule:
    """Whether reading blocks from files takes less time than computing them. From host memory it always does.

    compute_s: seconds to compute one token, measured when the engine starts.  How fast files are is measured at each
    reading, checksums and all.
    """

    def __init__(self, compute_s: float, clock: Callable[[], float] = time.perf_counter) -> None:
        self.compute_s = compute_s
        self.clock = clock
        self.bytes_per_s = _FIRST_GUESS  # at the last reading
        self._read_at = clock()

    def pays(self, n_tokens: int, n_bytes: int) -> bool:
        """n_tokens: to be computed otherwise.  n_bytes: to be read from files."""
        hope = min((self.clock() - self._read_at) / _DOUBLES_S, 30.0)
        speed = max(self.bytes_per_s, min(self.bytes_per_s * 2**hope, _FIRST_GUESS))
        return n_bytes <= n_tokens * self.compute_s * speed

    def note(self, n_bytes: int, seconds: float) -> None:
        """So many bytes were read in that time."""
        self.bytes_per_s += _NEWEST_SHARE * (n_bytes / max(seconds, 1e-9) - self.bytes_per_s)
        self._read_at = self.clock()


class Tiers:
    """The tiers below one page pool. One owner calls it.

    names.block_tokens is a multiple of page_tokens.  host_tokens, disk_tokens: tokens read back from each so far.
    """

    def __init__(
        self, names: BlockNames, page_tokens: int, host: HostTier | None, disk: DiskTier | None, rule: LoadRule
    ) -> None:
        if names.block_tokens % page_tokens:
            raise ValueError(f"blocks of {names.block_tokens} tokens do not consist of pages of {page_tokens}")
        self.block_tokens = names.block_tokens
        self.host = host
        self.disk = disk
        self.host_tokens = 0
        self.disk_tokens = 0
        self._names = names
        self._page_tokens = page_tokens
        self._rule = rule

    # -- up ---------------------------------------------------------------------------------------------------

    def reach(self, ids: np.ndarray, namespace: str, n_known: int) -> int:
        """How many tokens of a prefix can be had, n_known of them from the page pool, where reading the others pays."""
        keys = self._names.keys(ids, namespace)
        end, disk_bytes = n_known, 0
        for depth in range(n_known // self.block_tokens, len(keys)):
            if self.host is None or keys[depth] not in self.host:
                if self.disk is None or keys[depth] not in self.disk:
                    break
                disk_bytes += self.disk.block_bytes
            end = (depth + 1) * self.block_tokens
        return end if end > n_known and self._rule.pays(end - n_known, disk_bytes) else n_known

    def read(self, ids: np.ndarray, namespace: str, n_known: int, n_tokens: int) -> list[np.ndarray]:
        """The pages of tokens n_known .. n_tokens, as far as they can be had: (pages, page_bytes) uint8 each."""
        keys = self._names.keys(ids[:n_tokens], namespace)
        pieces: list[np.ndarray] = []
        for depth in range(n_known // self.block_tokens, len(keys)):
            start = depth * self.block_tokens
            data = self._read_block(keys[depth], ids[start : start + self.block_tokens], start, n_known)
            if data is None:
                break
            skipped = max(0, n_known - start) // self._page_tokens
            pieces.append(data.reshape(self.block_tokens // self._page_tokens, -1)[skipped:])
        if self.host is not None:
            self.host.touch(keys)
        return pieces

    def _read_block(self, key: bytes, ids: np.ndarray, start: int, n_known: int) -> np.ndarray | None:
        n_won = start + self.block_tokens - max(start, n_known)
        if self.host is not None and (block := self.host.get(key)) is not None:
            self.host_tokens += n_won
            return block.data
        began = self._rule.clock()
        data = self.disk.read(key, ids) if self.disk is not None else None
        if data is not None:
            self.disk_tokens += n_won
            self._rule.note(data.nbytes, self._rule.clock() - began)
        return data

    # -- down -------------------------------------------------------------------------------------------------

    def evicted(self, ids: np.ndarray, namespace: str, start: int, copy: Copy) -> None:
        """Tokens start .. len(ids) of a prefix leave the page pool: keep the blocks that end among them."""
        keys = self._names.keys(ids, namespace)
        for depth in reversed(range(start // self.block_tokens, len(keys))):  # so that what is nearer the root is newer
            key = keys[depth]
            if self.disk is not None and key in self.disk:
                continue
            if self.host is not None:
                gone = [] if key in self.host else self.host.put(self._block(key, depth, ids, copy))
                for block in gone:
                    self._to_disk(block)
            elif self.disk is not None and self.disk.accepts(key):
                self._to_disk(self._block(key, depth, ids, copy))

    def read_again(self, ids: np.ndarray, namespace: str, copy: Copy) -> None:
        """Another request reads this prefix, all of it in the page pool: worth keeping in files at once."""
        if self.disk is None:
            return
        keys = self._names.keys(ids, namespace)
        for depth, key in enumerate(keys):
            if key not in self.disk and self.disk.accepts(key):
                self.disk.put(self._block(key, depth, ids, copy), read_again=True)
        self.disk.touch(keys)

    def fill(self, ids: np.ndarray, namespace: str, copy: Copy) -> bool:
        """Keep in files what is not there, in room that nothing else needs; False: there is no more."""
        if self.disk is None:
            return False
        for depth, key in enumerate(self._names.keys(ids, namespace)):
            if key not in self.disk and not self._fill(self._block(key, depth, ids, copy)):
                return False
        return True

    def _fill(self, block: Block) -> bool:
        assert self.disk is not None
        return self.disk.free_bytes >= self.disk.block_bytes and self.disk.put(block, read_again=False, wait=True)

    def _to_disk(self, block: Block) -> None:
        if self.disk is not None and block.key not in self.disk:
            self.disk.put(block, read_again=False)

    def _block(self, key: bytes, depth: int, ids: np.ndarray, copy: Copy) -> Block:
        start = depth * self.block_tokens
        stop = start + self.block_tokens
        return Block(key, depth, ids[start:stop].copy(), copy(start, stop))

    # -- the end ----------------------------------------------------------------------------------------------

    def clear(self) -> None:
        """Forget all blocks."""
        if self.host is not None:
            self.host.take_all()
        if self.disk is not None:
            self.disk.clear()

    def close(self) -> None:
        """Keep what is in host memory in files as far as there is room for it, and wait until they are written."""
        blocks = self.host.take_all() if self.host is not None else []
        if self.disk is None:
            return
        for block in reversed(blocks):  # the one used last first
            if block.key not in self.disk and not self._fill(block):
                break
        self.disk.close()
