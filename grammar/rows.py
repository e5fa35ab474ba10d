"""The table of mask rows: each distinct mask once, under an id that stays."""

from __future__ import annotations

import numpy as np

_LIST_BYTES = 500  # measured: of one row, besides the table
_SPARSE = 64  # rows that allow at most so many tokens are also kept as a list


class Rows:
    """Rows of `words` int32; bit b of word w allows token 32 * w + b. Ids count up from 0 and never change."""

    def __init__(self, words: int) -> None:
        self._table = np.zeros((64, words), np.int32)
        self._n = 0
        self._by_hash: dict[int, list[int]] = {}
        self._sparse: list[np.ndarray | None] = []
        self.accepts = np.zeros(64, bool)  # EOS is allowed
        self.ends = np.zeros(64, bool)  # nothing but EOS is

    def __len__(self) -> int:
        return self._n

    @property
    def table(self) -> np.ndarray:
        """All rows, (rows, words) int32. A view of a table that is replaced when it grows: do not keep it."""
        return self._table[: self._n]

    @property
    def nbytes(self) -> int:
        """Memory of the table, and of the lists of tokens, which are short."""
        return self._table.nbytes + _LIST_BYTES * self._n

    def allowed(self, row: int) -> np.ndarray | None:
        """The allowed tokens of a row that has few, ascending int64; None for others."""
        return self._sparse[row]

    def add(self, allowed: np.ndarray, accepts: bool, n_eos: int) -> int:
        """The id of the row for a mask, (32 * words,) bool. accepts: the n_eos EOS tokens are among the allowed."""
        words = np.packbits(allowed, bitorder="little").view(np.int32)
        candidates = self._by_hash.setdefault(hash(words.tobytes()), [])
        for row in candidates:
            if np.array_equal(self._table[row], words):
                return row
        count = int(allowed.sum())
        if self._n == len(self._table):
            self._table = np.concatenate([self._table, np.zeros_like(self._table)])
            self.accepts = np.concatenate([self.accepts, np.zeros_like(self.accepts)])
            self.ends = np.concatenate([self.ends, np.zeros_like(self.ends)])
        row = self._n
        self._table[row] = words
        self.accepts[row] = accepts
        self.ends[row] = accepts and count == n_eos
        self._sparse.append(np.flatnonzero(allowed) if count <= _SPARSE else None)
        candidates.append(row)
        self._n += 1
        return row
