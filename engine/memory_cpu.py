"""KV memory on the CPU: one pool of rows for the tree's pages and the running sequences' slabs alike.

A row holds the keys and values of one token in all layers, and a page is one row (page_tokens is 1): prefixes are
shared to the token, and runs of neighbouring rows are read as one view of the pool all the same. The pool is
head-major, (kv_heads, rows, dim) per layer, so that attention reads each head's rows in order.

What a sequence reads, by position:

    |<- pages: the tree's rows, known for the first n_known tokens ->|
                     |<- slab: its own rows, from token `base` on, up to base + len(rows) ->|

The two may overlap: tokens computed in the slab and then shared stand in both, and attention takes each from where it
costs less (see cascade.py).
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import pairwise

import numpy as np
import torch

from ..radix.pages import PageAllocator
from .geometry import LayerGeometry
from .slabs import Slab, Slabs

# The last cached tokens, up to so many, are copied into the slab when they stand in runs of their own: reading so
# short a run by itself costs more than the copy.
_COPIED_TOKENS = 32

Extent = tuple[int, int]  # first row, number of rows


@dataclass(slots=True)
class Slot:
    """Where one sequence's tokens stand. Changed only by CpuMemory.

    extents: the rows of its first n_known tokens in the tree's pages, in order, as runs of neighbours.
    """

    extents: tuple[Extent, ...]
    n_known: int
    base: int
    slab: Slab
    n_tokens: int

    @property
    def capacity(self) -> int:
        return self.base + len(self.slab.rows)


class CpuMemory:
    """`ports.Memory` on the CPU. keys, values: one (kv_heads, total_pages, dim) tensor per layer."""

    page_tokens = 1

    def __init__(self, layers: Sequence[LayerGeometry], total_tokens: int, dtype: torch.dtype) -> None:
        self.layers = tuple(layers)
        self.total_pages = total_tokens
        self.keys = [_lazy_zeros((each.kv_heads, total_tokens, each.key_dim), dtype) for each in layers]
        self.values = [_lazy_zeros((each.kv_heads, total_tokens, each.value_dim), dtype) for each in layers]
        row_items = sum(pool.shape[0] * pool.shape[2] for pool in (*self.keys, *self.values))
        self.page_bytes = row_items * dtype.itemsize
        self.version = 0  # goes up whenever what a slot reads changes; writing tokens does not count
        self._allocator = PageAllocator(total_tokens)
        self._slabs = Slabs(self._allocator)
        self._slots: list[Slot | None] = []
        self._free_slots: list[int] = []

    @property
    def free_pages(self) -> int:
        """Rows neither the tree nor an arena holds. open() succeeds when it needs no more than these."""
        return self._allocator.free

    def __getitem__(self, slot: int) -> Slot:
        state = self._slots[slot] if 0 <= slot < len(self._slots) else None
        if state is None:
            raise ValueError(f"slot {slot} is not open")
        return state

    # -- ports.Memory -----------------------------------------------------------------------------------------

    def open(self, pages: np.ndarray, n_cached: int, capacity: int) -> int | None:
        """See ports.Memory. capacity counts all tokens of the sequence, the cached ones among them."""
        if not 0 <= n_cached == len(pages) <= capacity:
            raise ValueError(f"open: {len(pages)} pages, {n_cached} cached tokens, capacity {capacity}")
        extents = runs(pages)
        base, slab = self._take_slab(extents, n_cached, capacity)
        if slab is None:
            return None
        if base < n_cached:
            self._copy(np.asarray(pages[base:], dtype=np.int64), slab.rows[: n_cached - base])
        slot = heappop(self._free_slots) if self._free_slots else self._new_slot()
        self._slots[slot] = Slot(extents, n_cached, base, slab, n_cached)
        self.version += 1
        return slot

    def share(self, slot: int, start: int, stop: int) -> np.ndarray | None:
        """See ports.Memory. The values are copied: the slab's rows stay the sequence's."""
        state = self[slot]
        if not state.base <= start <= stop <= state.n_tokens:
            raise ValueError(f"share: tokens {start}..{stop} of slot {slot}, which owns {state.base}..{state.n_tokens}")
        pages = self._allocator.take(stop - start)
        if pages is not None:
            self._copy(state.slab.rows[start - state.base : stop - state.base], pages.astype(np.int64))
        return pages

    def adopt(self, slot: int, pages: np.ndarray, n_cached: int) -> None:
        """See ports.Memory."""
        state = self[slot]
        if not state.base <= n_cached == len(pages) <= state.n_tokens:
            raise ValueError(f"adopt: {len(pages)} pages for {n_cached} of {state.n_tokens} tokens of slot {slot}")
        state.extents, state.n_known = runs(pages), n_cached
        self.version += 1

    def truncate(self, slot: int, n_tokens: int) -> None:
        """See ports.Memory. Tokens read only from the tree's pages cannot be forgotten: ValueError."""
        state = self[slot]
        if not state.base <= n_tokens <= state.n_tokens:
            raise ValueError(f"truncate: slot {slot} to {n_tokens} tokens; it has {state.base}..{state.n_tokens}")
        state.n_tokens = n_tokens
        if n_tokens < state.n_known:
            state.extents, state.n_known = _first(state.extents, n_tokens), n_tokens
            self.version += 1

    def close(self, slot: int) -> None:
        """See ports.Memory."""
        self._slabs.give(self[slot].slab)
        self._slots[slot] = None
        heappush(self._free_slots, slot)
        self.version += 1

    def give_back(self, pages: np.ndarray) -> None:
        """See ports.Memory. A page that is free already: ValueError, nothing changed."""
        self._allocator.give(pages)

    def copy_out(self, pages: np.ndarray) -> np.ndarray:
        """See ports.Memory. A page's bytes: keys then values of each layer, (kv_heads, dim) each."""
        rows = torch.from_numpy(np.asarray(pages, dtype=np.int64))
        dtype = self.keys[0].dtype
        out = torch.empty((len(pages), self.page_bytes // dtype.itemsize), dtype=dtype)
        for pool, part in self._parts(out):
            part.copy_(pool.index_select(1, rows).transpose(0, 1))
        return out.view(torch.uint8).numpy()

    def copy_in(self, pieces: Sequence[np.ndarray]) -> np.ndarray | None:
        """See ports.Memory."""
        pages = self._allocator.take(sum(len(piece) for piece in pieces))
        if pages is None:
            return None
        rows, start = torch.from_numpy(pages.astype(np.int64)), 0
        for piece in pieces:
            data = torch.from_numpy(piece).view(self.keys[0].dtype)
            for pool, part in self._parts(data):
                pool.index_copy_(1, rows[start : start + len(piece)], part.transpose(0, 1))
            start += len(piece)
        return pages

    # -- for the model ----------------------------------------------------------------------------------------

    def check_room(self, slots: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> None:
        """ValueError unless each sequence has exactly starts tokens now, and room for lengths (>= 1) more."""
        if len(set(slots.tolist())) != len(slots):
            raise ValueError("a slot stands twice in one batch")
        for slot, start, length in zip(slots.tolist(), starts.tolist(), lengths.tolist(), strict=True):
            state = self[slot]
            if start != state.n_tokens or length < 1 or start + length > state.capacity:
                raise ValueError(
                    f"slot {slot} has {state.n_tokens} tokens and room for {state.capacity}; "
                    f"the batch brings {length} from token {start} on"
                )

    def wrote(self, slots: np.ndarray, lengths: np.ndarray) -> None:
        """The rows of so many more tokens of each sequence have been written."""
        for slot, length in zip(slots.tolist(), lengths.tolist(), strict=True):
            self[slot].n_tokens += length

    # -- inside -----------------------------------------------------------------------------------------------

    def _take_slab(self, extents: Sequence[Extent], n_cached: int, capacity: int) -> tuple[int, Slab | None]:
        """The slab, and the token it begins with."""
        base = n_cached
        for _, n in reversed(extents):
            if n_cached - base + n > _COPIED_TOKENS:
                break
            base -= n
        if base < n_cached and (slab := self._slabs.take(capacity - base)) is not None:
            return base, slab
        needed = capacity - n_cached
        return n_cached, self._slabs.take(needed) or self._slabs.take_scattered(needed)

    def _new_slot(self) -> int:
        self._slots.append(None)
        return len(self._slots) - 1

    def _parts(self, data: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Each pool, and its part of pages' contents (pages, items) as (pages, kv_heads, dim)."""
        start = 0
        for layer_keys, layer_values in zip(self.keys, self.values, strict=True):
            for pool in (layer_keys, layer_values):
                heads, _, dim = pool.shape
                yield pool, data[:, start : start + heads * dim].unflatten(1, (heads, dim))
                start += heads * dim

    def _copy(self, source: np.ndarray, target: np.ndarray) -> None:
        """Copy rows to rows in all layers."""
        from_rows, to_rows = torch.from_numpy(source), torch.from_numpy(target)
        for pool in (*self.keys, *self.values):
            pool.index_copy_(1, to_rows, pool.index_select(1, from_rows))


def _lazy_zeros(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """Zeros that take memory only once written (torch writes them at once), a small page of the system's at a time.

    With large pages the first token written would clear 2 MiB for each head of each layer: on a virtual machine a
    stall of a tenth of a second with four layers of two heads, and reading gains nothing measurable by them.
    """
    mapped = mmap.mmap(-1, max(1, math.prod(shape) * dtype.itemsize), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        mapped.madvise(mmap.MADV_NOHUGEPAGE)
    return torch.frombuffer(mapped, dtype=dtype, count=math.prod(shape)).view(shape)


def runs(pages: np.ndarray) -> tuple[Extent, ...]:
    if not len(pages):
        return ()
    cuts = [0, *(np.flatnonzero(np.diff(pages) != 1) + 1).tolist(), len(pages)]
    return tuple((int(pages[a]), b - a) for a, b in pairwise(cuts))


def _first(extents: Sequence[Extent], n_tokens: int) -> tuple[Extent, ...]:
    """The extents of the first n_tokens only."""
    kept: list[Extent] = []
    for row, n in extents:
        if n_tokens <= 0:
            break
        kept.append((row, min(n, n_tokens)))
        n_tokens -= n
    return tuple(kept)
