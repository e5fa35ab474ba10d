"""KV memory in pages on any device: one pool for the tree's pages and the running sequences' alike.

A page holds the keys and values of page_tokens consecutive tokens in all layers. A sequence reads its tokens through a
row of pages: first the tree's, then its own. Handing tokens over to the tree copies nothing: the page changes its owner
and the sequence goes on reading it.

    a sequence's pages  | tree's | tree's | own, full | own, in part | own, empty |
                        |<-- n_cached --->|           |              |<- room --->|

Nothing here waits for the device: what is freed may still be read by work that was queued before, and is written only
by work queued after it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from ..radix.pages import PageAllocator
from .geometry import LayerGeometry


class Slot(NamedTuple):
    """One sequence as it is now. pages: int32; is_own: (pages,) bool, which of them are its own. Not to be changed."""

    pages: np.ndarray
    is_own: np.ndarray
    n_tokens: int


class PagedMemory:
    """`ports.Memory` on a device. keys, values: of each layer, (total_pages, page_tokens, kv_heads, dim).

    In memory they are head-major, (total_pages, kv_heads, page_tokens, dim), so that a head reads a page in one piece.

    The sequences are rows of arrays, so that a step looks up all of its own at once.
    """

    def __init__(
        self,
        layers: Sequence[LayerGeometry],
        total_pages: int,
        page_tokens: int,
        dtype: torch.dtype,
        device: torch.device | str,
    ) -> None:
        if page_tokens < 1:
            raise ValueError(f"page_tokens is {page_tokens}; a page holds 1 token or more")
        self.layers = tuple(layers)
        self.total_pages = total_pages
        self.page_tokens = page_tokens
        self.device = torch.device(device)
        self._keys = [self._pool(each.kv_heads, each.key_dim, dtype) for each in layers]
        self._values = [self._pool(each.kv_heads, each.value_dim, dtype) for each in layers]
        self.keys = [pool.transpose(1, 2) for pool in self._keys]
        self.values = [pool.transpose(1, 2) for pool in self._values]
        self.page_bytes = sum(pool[0].numel() for pool in (*self._keys, *self._values)) * dtype.itemsize
        self.version = 0  # goes up whenever a sequence's pages change; writing tokens does not count
        self.shared_version = 0  # goes up whenever it may be other pages that sequences have in common
        self._allocator = PageAllocator(total_pages)
        self._row_of: dict[int, int] = {}  # by slot
        self._free_rows: list[int] = []
        self._pages = np.zeros((0, 0), dtype=np.int32)
        self._is_own = np.zeros((0, 0), dtype=bool)
        self._n_pages = np.zeros(0, dtype=np.int64)
        self._n_tokens = np.zeros(0, dtype=np.int64)
        self._n_fixed = np.zeros(0, dtype=np.int64)  # pages up to the last one that is the tree's
        self._n_opened = 0

    @property
    def free_pages(self) -> int:
        """Pages that neither the tree nor a sequence holds."""
        return self._allocator.free

    def __getitem__(self, slot: int) -> Slot:
        row = self._row(slot)
        n = int(self._n_pages[row])
        return Slot(self._pages[row, :n], self._is_own[row, :n], int(self._n_tokens[row]))

    # -- ports.Memory -----------------------------------------------------------------------------------------

    def open(self, pages: np.ndarray, n_cached: int, capacity: int) -> int | None:
        """See ports.Memory. capacity counts all tokens of the sequence, the cached ones among them."""
        if not n_cached == len(pages) * self.page_tokens <= capacity:
            raise ValueError(
                f"open: {len(pages)} pages of {self.page_tokens}, {n_cached} cached tokens, capacity {capacity}"
            )
        own = self._allocator.take(-(-capacity // self.page_tokens) - len(pages))
        if own is None:
            return None
        self._n_opened += 1
        row = self._row_of[self._n_opened] = self._new_row()
        self._n_pages[row], self._n_tokens[row], self._n_fixed[row] = 0, n_cached, len(pages)
        self._append(row, np.asarray(pages, dtype=np.int32), is_own=False)
        self._append(row, own, is_own=True)
        self.version += 1
        self.shared_version += 1
        return self._n_opened

    def share(self, slot: int, start: int, stop: int) -> np.ndarray | None:
        """See ports.Memory. Never None: the pages change their owner, and nothing is copied."""
        state = self[slot]
        first, last = start // self.page_tokens, stop // self.page_tokens
        is_whole = start % self.page_tokens == stop % self.page_tokens == 0
        if not is_whole or not start <= stop <= state.n_tokens or not state.is_own[first:last].all():
            raise ValueError(f"share: tokens {start}..{stop} of slot {slot} are not its own whole pages")
        state.is_own[first:last] = False
        self._fix(slot, last if last > first else 0)
        return state.pages[first:last].copy()

    def adopt(self, slot: int, pages: np.ndarray, n_cached: int) -> None:
        """See ports.Memory. Pages of the sequence's own that are replaced are free again."""
        state = self[slot]
        n = len(pages)
        differs = state.pages[:n] != pages if n <= len(state.pages) else None
        if differs is None or n_cached != n * self.page_tokens or n_cached > state.n_tokens:
            raise ValueError(f"adopt: {n} pages for {n_cached} of {state.n_tokens} tokens of slot {slot}")
        if (state.is_own[:n] != differs).any():
            raise ValueError(f"adopt: slot {slot} holds pages that the tree would take over, or others of the tree's")
        self._allocator.give(state.pages[:n][differs])
        state.pages[:n] = pages
        state.is_own[:n] = False
        self._fix(slot, n)
        if differs.any():
            self.version += 1
            self.shared_version += 1

    def grow(self, slot: int, capacity: int) -> bool:
        """Give a sequence room for so many tokens, those it has among them; False when there is none now."""
        row = self._row(slot)
        n_more = -(-capacity // self.page_tokens) - int(self._n_pages[row])
        if n_more <= 0:
            return True
        own = self._allocator.take(n_more)
        if own is None:
            return False
        self._append(row, own, is_own=True)
        self.version += 1
        return True

    def truncate(self, slot: int, n_tokens: int) -> None:
        """See ports.Memory. Tokens in pages that are the tree's cannot be forgotten: ValueError."""
        row = self._row(slot)
        fixed, n_now = int(self._n_fixed[row]) * self.page_tokens, int(self._n_tokens[row])
        if not fixed <= n_tokens <= n_now:
            raise ValueError(f"truncate: slot {slot} to {n_tokens} tokens; it owns {fixed}..{n_now}")
        self._n_tokens[row] = n_tokens

    def close(self, slot: int) -> None:
        """See ports.Memory."""
        state = self[slot]
        self._allocator.give(state.pages[state.is_own])
        self._free_rows.append(self._row_of.pop(slot))
        self.version += 1
        self.shared_version += 1

    def give_back(self, pages: np.ndarray) -> None:
        """See ports.Memory. A page that is free already: ValueError, nothing changed."""
        self._allocator.give(pages)

    def copy_out(self, pages: np.ndarray) -> np.ndarray:
        """See ports.Memory; waits for the device. A page's bytes: keys then values of each layer, (kv_heads,
        page_tokens, dim) each."""
        rows = self._on_device(pages)
        dtype = self._keys[0].dtype
        out = torch.empty((len(pages), self.page_bytes // dtype.itemsize), dtype=dtype, device=self.device)
        for pool, part in self._parts(out):
            part.copy_(pool[rows])
        return out.cpu().view(torch.uint8).numpy()

    def copy_in(self, pieces: Sequence[np.ndarray]) -> np.ndarray | None:
        """See ports.Memory."""
        pages = self._allocator.take(sum(len(piece) for piece in pieces))
        if pages is None:
            return None
        rows, start = self._on_device(pages), 0
        for piece in pieces:
            data = torch.from_numpy(piece).view(self._keys[0].dtype).to(self.device)
            for pool, part in self._parts(data):
                pool[rows[start : start + len(piece)]] = part
            start += len(piece)
        return pages

    # -- for the model ----------------------------------------------------------------------------------------

    def index(self, slots: np.ndarray) -> np.ndarray:
        """(n,) int64: the rows in which the sequences are, for the calls below, until one of them is closed."""
        try:
            return np.array([self._row_of[slot] for slot in slots.tolist()], dtype=np.int64)
        except KeyError as error:
            raise ValueError(f"slot {error.args[0]} is not open") from None

    def check_room(self, slots: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> None:
        """ValueError unless each sequence has exactly starts tokens now, and room for lengths (>= 1) more."""
        if len(set(slots.tolist())) != len(slots):
            raise ValueError("a slot stands twice in one batch")
        at = self.index(slots)
        room = self._n_pages[at] * self.page_tokens
        is_wrong = (starts != self._n_tokens[at]) | (lengths < 1) | (starts + lengths > room)
        if is_wrong.any():
            n = int(is_wrong.argmax())
            raise ValueError(
                f"slot {slots[n]} has {self._n_tokens[at[n]]} tokens and room for {room[n]}; "
                f"the batch brings {lengths[n]} from token {starts[n]} on"
            )

    def tables(self, slots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The pages of each sequence, (n, longest) int32, and how many those are, (n,) int64; behind them anything."""
        at = self.index(slots)
        n_pages = self._n_pages[at]
        return self._pages[at, : int(n_pages.max(initial=0))], n_pages

    def rows(self, slots: np.ndarray, lengths: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """Where packed tokens go: page * page_tokens + place in the page, (T,) int32. Arguments as in ForwardBatch."""
        at = self.index(slots)
        pages = self._pages[np.repeat(at, lengths), positions // self.page_tokens]
        return (pages.astype(np.int64) * self.page_tokens + positions % self.page_tokens).astype(np.int32)

    def wrote(self, slots: np.ndarray, lengths: np.ndarray) -> None:
        """So many more tokens of each sequence have been written, or are about to be by work that is queued."""
        self._n_tokens[self.index(slots)] += lengths

    # -- inside -----------------------------------------------------------------------------------------------

    def _row(self, slot: int) -> int:
        row = self._row_of.get(slot)
        if row is None:
            raise ValueError(f"slot {slot} is not open")
        return row

    def _new_row(self) -> int:
        if not self._free_rows:
            n, more = len(self._n_pages), max(16, len(self._n_pages))
            self._free_rows = list(range(n + more - 1, n - 1, -1))
            self._pages = np.pad(self._pages, ((0, more), (0, 0)))
            self._is_own = np.pad(self._is_own, ((0, more), (0, 0)))
            per_row = (self._n_pages, self._n_tokens, self._n_fixed)
            self._n_pages, self._n_tokens, self._n_fixed = (np.pad(each, (0, more)) for each in per_row)
        return self._free_rows.pop()

    def _fix(self, slot: int, n_pages: int) -> None:
        """So many pages of the sequence are up to where the tree's go at least."""
        row = self._row(slot)
        self._n_fixed[row] = max(int(self._n_fixed[row]), n_pages)

    def _append(self, row: int, pages: np.ndarray, *, is_own: bool) -> None:
        start = int(self._n_pages[row])
        stop, width = start + len(pages), self._pages.shape[1]
        if stop > width:
            more = max(stop, width + width // 2) - width
            self._pages = np.pad(self._pages, ((0, 0), (0, more)))
            self._is_own = np.pad(self._is_own, ((0, 0), (0, more)))
        self._pages[row, start:stop] = pages
        self._is_own[row, start:stop] = is_own
        self._n_pages[row] = stop

    def _pool(self, kv_heads: int, dim: int, dtype: torch.dtype) -> torch.Tensor:
        size = (self.total_pages, kv_heads, self.page_tokens, dim)
        if self.total_pages * self.page_tokens >= 2**31:
            raise ValueError(f"{self.total_pages} pages of {self.page_tokens} tokens are more than 2^31 rows")
        return torch.zeros(size, dtype=dtype, device=self.device)

    def _on_device(self, pages: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.asarray(pages, dtype=np.int64)).to(self.device)

    def _parts(self, data: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Each pool, and its part of pages' contents (pages, items) as (pages, kv_heads, page_tokens, dim)."""
        start = 0
        for layer_keys, layer_values in zip(self._keys, self._values, strict=True):
            for pool in (layer_keys, layer_values):
                size = pool[0].numel()
                yield pool, data[:, start : start + size].unflatten(1, pool.shape[1:])
                start += size
