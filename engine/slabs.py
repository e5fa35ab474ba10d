"""Where the running sequences' own KV stands in the pool: slabs of like size, side by side in arenas.

A slab is the room of one sequence: rows of the pool for consecutive tokens. Slabs of one size class stand at equal
distances inside an arena (one run of rows), so that a batch of them is read as one strided view. Rows come from
the same allocator as the tree's pages: one budget for both.

    pool   |  tree pages  |  arena: slab 0 | slab 1 | slab 2 | ...  |  tree pages  |  free ...
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import NamedTuple

import numpy as np

from ..radix.pages import PageAllocator

_MOST_PLACES = 64
_SHARE_OF_POOL = 8  # one arena takes at most this fraction of the pool, or one slab


class Slab(NamedTuple):
    """Room for len(rows) tokens. arena: the number of its arena, None for scattered rows; place: which slab of it."""

    rows: np.ndarray  # int64: the pool's row of each token
    arena: int | None
    place: int


class _Arena:
    def __init__(self, pages: np.ndarray, slab_tokens: int) -> None:
        self.pages = pages
        self.slab_tokens = slab_tokens
        self.places = len(pages) // slab_tokens
        self.free = list(range(self.places))
        heapify(self.free)  # lowest first, so that running slabs stand close together


class Slabs:
    """Hands out slabs and takes them back; an arena without a slab in use goes back to the allocator at once."""

    def __init__(self, allocator: PageAllocator) -> None:
        self._allocator = allocator
        self._arenas: dict[int, _Arena] = {}
        self._made = 0

    def take(self, n_tokens: int) -> Slab | None:
        """A slab for at least n_tokens. None, and nothing changed, when no arena has or can get a place for it."""
        wanted = size_class(n_tokens)
        number = self._with_place(wanted, wanted)
        if number is None:
            number = self._new_arena(wanted)
        if number is None:
            number = self._with_place(n_tokens, self._allocator.total)
        if number is None:
            return None
        arena = self._arenas[number]
        place = heappop(arena.free)
        first = int(arena.pages[0]) + place * arena.slab_tokens
        return Slab(np.arange(first, first + arena.slab_tokens, dtype=np.int64), number, place)

    def take_scattered(self, n_tokens: int) -> Slab | None:
        """A slab of exactly n_tokens from whatever rows are free: slower to read, but never refused for lack of
        neighbouring rows. None when fewer are free."""
        pages = self._allocator.take(n_tokens)
        return None if pages is None else Slab(pages.astype(np.int64), None, 0)

    def give(self, slab: Slab) -> None:
        """Take a slab back."""
        if slab.arena is None:
            self._allocator.give(slab.rows)
            return
        arena = self._arenas[slab.arena]
        heappush(arena.free, slab.place)
        if len(arena.free) == arena.places:
            self._allocator.give(arena.pages)
            del self._arenas[slab.arena]

    def _with_place(self, at_least: int, at_most: int) -> int | None:
        """The arena with a free place of such a size; of several, the smallest, then the oldest."""
        fitting = [
            (arena.slab_tokens, number)
            for number, arena in self._arenas.items()
            if arena.free and at_least <= arena.slab_tokens <= at_most
        ]
        return min(fitting)[1] if fitting else None

    def _new_arena(self, slab_tokens: int) -> int | None:
        places = max(1, min(_MOST_PLACES, self._allocator.total // (_SHARE_OF_POOL * slab_tokens)))
        while places:
            pages = self._take_run(places * slab_tokens)
            if pages is not None:
                self._made += 1
                self._arenas[self._made] = _Arena(pages, slab_tokens)
                return self._made
            places //= 2
        return None

    def _take_run(self, n: int) -> np.ndarray | None:
        pages = self._allocator.take(n)
        if pages is None:
            return None
        if pages[-1] - pages[0] + 1 == n:
            return pages
        self._allocator.give(pages)
        return None


def size_class(n_tokens: int) -> int:
    """The size of slab for n_tokens: 16, 24, 32, 48, 64, 96, 128, ...; at most half as much again as needed."""
    size = 16
    while size < n_tokens:
        if size + size // 2 >= n_tokens:
            return size + size // 2
        size *= 2
    return size
