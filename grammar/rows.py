"""The table of mask rows: each distinct mask once, under an id that stays."""

from __future__ import annotations

import numpy as np

from . import kernels

_LIST_BYTES = 500  # measured: of one row, besides the table
_RESERVED = 64 << 20  # bytes of address space a table begins with, so that it is seldom moved
_TOUCHED = 4096  # rows, see `touch`
_SLOTS = 1 << 13  # a power of two, at first
_SPARSE = 64  # rows that allow at most so many tokens are also kept as a list


class Rows:
    """Rows of `words` int32; bit b of word w allows token 32 * w + b. Ids count up from 0 and never change."""

    def __init__(self, words: int) -> None:
        capacity = max(_RESERVED // (4 * words), 64)  # rows never written to take no memory
        self._table = np.zeros((capacity, words), np.int32)
        self._n = 0
        self._bits = self._table.view(np.uint32)  # the same memory
        self._digests = np.zeros(capacity, np.int64)
        self._slots = np.zeros(_SLOTS, np.int32)
        self._found = np.zeros(1, np.int64)
        self._sparse: list[np.ndarray | None] = []
        self.accepts = np.zeros(capacity, bool)  # EOS is allowed
        self.ends = np.zeros(capacity, bool)  # nothing but EOS is

    def __len__(self) -> int:
        return self._n

    @property
    def table(self) -> np.ndarray:
        """All rows, (rows, words) int32. A view of a table that is replaced when it grows: do not keep it."""
        return self._table[: self._n]

    @property
    def nbytes(self) -> int:
        """Memory of the table, and of the lists of tokens, which are short."""
        return self.table.nbytes + _LIST_BYTES * self._n

    def touch(self) -> None:
        """Have memory for the first rows at hand: the system may take milliseconds to give it."""
        self._table[self._n : _TOUCHED].fill(0)

    def allowed(self, row: int) -> np.ndarray | None:
        """The allowed tokens of a row that has few, ascending int64; None for others."""
        return self._sparse[row]

    def add(self, words: np.ndarray, accepts: bool, n_eos: int) -> int:
        """The id of the row for a mask, (words,) uint32. accepts: the n_eos EOS tokens are among the allowed."""
        if self._n == len(self._table):
            self._grow()
        if 2 * self._n >= len(self._slots):
            self._slots = np.zeros(4 * len(self._slots), np.int32)
            kernels.put_digests(self._digests, self._n, self._slots)
        row = kernels.add_row(self._bits, self._digests, self._slots, self._n, words, self._found)
        if row == self._n:
            count = int(self._found[0])
            self.accepts[row] = accepts
            self.ends[row] = accepts and count == n_eos
            self._sparse.append(_tokens_of(words, count) if count <= _SPARSE else None)
            self._n += 1
        return row

    def _grow(self) -> None:
        self._table = np.concatenate([self._table, np.zeros_like(self._table)])
        self._bits = self._table.view(np.uint32)
        self._digests = np.concatenate([self._digests, np.zeros_like(self._digests)])
        self.accepts = np.concatenate([self.accepts, np.zeros_like(self.accepts)])
        self.ends = np.concatenate([self.ends, np.zeros_like(self.ends)])


def _tokens_of(words: np.ndarray, count: int) -> np.ndarray:
    """The tokens whose bits are set, `count` of them, ascending, int64."""
    found = np.empty(count, np.int64)
    kernels.list_bits(words, found)
    return found
