"""Which pages of KV memory are free. Page numbers only: the memory itself belongs to the engine."""

from __future__ import annotations

from bisect import bisect_left, insort

import numpy as np


class PageAllocator:
    """Hands out pages 0 .. total-1 and takes them back.

    Free pages are kept as maximal runs of neighbours, indexed by where they start, where they end and how long
    they are; so a call costs the runs it touches, never a look at every page. (Free runs of N pages have at most
    sqrt(2 N) different lengths, which keeps the sorted list of lengths short.)
    """

    def __init__(self, total_pages: int) -> None:
        if total_pages < 0:
            raise ValueError(f"total_pages is {total_pages}; a pool has 0 pages or more")
        self.total = total_pages
        self.free = 0
        self._is_out = np.zeros(total_pages, dtype=bool)
        self._end_of: dict[int, int] = {}  # first page of a free run -> one past its last page
        self._start_of: dict[int, int] = {}  # the same runs, the other way round
        self._starts_by_length: dict[int, set[int]] = {}
        self._lengths: list[int] = []  # the keys of _starts_by_length, ascending
        if total_pages:
            self._add_run(0, total_pages)

    def take(self, n: int) -> np.ndarray | None:
        """n free pages, int32, ascending; None (and nothing changed) when fewer are free.

        They are one contiguous run where any free run is long enough (the shortest such, so long ones last);
        otherwise the fewest pieces that greedy choice finds.
        """
        if n < 0:
            raise ValueError(f"take({n}): the number of pages must be 0 or more")
        if n > self.free:
            return None
        pieces: list[tuple[int, int]] = []
        missing = n
        while missing:
            start, end = self._pop_run(missing)
            if end - start > missing:
                self._add_run(start + missing, end)
                end = start + missing
            pieces.append((start, end))
            missing -= end - start
        for start, end in pieces:
            self._is_out[start:end] = True
        return _join(pieces)

    def give(self, pages: np.ndarray) -> None:
        """Take back pages handed out by take(), in any order and any grouping.

        Raises ValueError, with nothing changed, when a page is not out (a double free), is out of range or is
        named twice.
        """
        pages = np.sort(np.asarray(pages))
        if pages.size == 0:
            return
        self._check_out(pages)
        self._is_out[pages] = False
        cuts = np.flatnonzero(np.diff(pages) > 1) + 1
        starts = pages[np.concatenate(([0], cuts))].tolist()
        ends = (pages[np.concatenate((cuts - 1, [-1]))] + 1).tolist()
        for start, end in zip(starts, ends, strict=True):
            self._add_run(*self._merged_with_neighbours(start, end))

    def _check_out(self, pages: np.ndarray) -> None:
        """pages: sorted, not empty."""
        if pages.ndim != 1 or pages.dtype.kind not in "iu":
            raise ValueError(f"pages must be one row of integers, not {pages.dtype} of shape {pages.shape}")
        if pages[0] < 0 or pages[-1] >= self.total:
            wrong = pages[0] if pages[0] < 0 else pages[-1]
            raise ValueError(f"page {wrong} was given back, but pages are 0 to {self.total - 1}")
        repeated = pages[1:][np.diff(pages) == 0]
        if repeated.size:
            raise ValueError(f"page {repeated[0]} was given back twice in one call")
        not_out = pages[~self._is_out[pages]]
        if not_out.size:
            raise ValueError(f"page {not_out[0]} was given back, but it is free already (a double free)")

    def _merged_with_neighbours(self, start: int, end: int) -> tuple[int, int]:
        """The run [start, end) with free runs that touch it, which are taken out of the index."""
        before = self._start_of.get(start)
        if before is not None:
            self._drop_run(before, start)
            start = before
        after = self._end_of.get(end)
        if after is not None:
            self._drop_run(end, after)
            end = after
        return start, end

    def _add_run(self, start: int, end: int) -> None:
        length = end - start
        self._end_of[start] = end
        self._start_of[end] = start
        if length not in self._starts_by_length:
            self._starts_by_length[length] = set()
            insort(self._lengths, length)
        self._starts_by_length[length].add(start)
        self.free += length

    def _drop_run(self, start: int, end: int) -> None:
        self._starts_by_length[end - start].remove(start)
        self._forget_run(start, end)

    def _pop_run(self, wanted: int) -> tuple[int, int]:
        """Take the shortest run of at least `wanted` pages out of the index, or else the longest there is."""
        length = self._lengths[min(bisect_left(self._lengths, wanted), len(self._lengths) - 1)]
        start = self._starts_by_length[length].pop()
        self._forget_run(start, start + length)
        return start, start + length

    def _forget_run(self, start: int, end: int) -> None:
        length = end - start
        del self._end_of[start], self._start_of[end]
        if not self._starts_by_length[length]:
            del self._starts_by_length[length]
            del self._lengths[bisect_left(self._lengths, length)]
        self.free -= length


def _join(pieces: list[tuple[int, int]]) -> np.ndarray:
    if not pieces:
        return np.empty(0, dtype=np.int32)
    return np.concatenate([np.arange(start, end, dtype=np.int32) for start, end in sorted(pieces)])
