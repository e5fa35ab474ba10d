"""The table of mask rows: each distinct mask once, under an id that stays."""

from __future__ import annotations

import numpy as np

from . import address_kernels as ak
from . import kernels
from . import miss_kernels as mk
from .addresses import Addresses
from .ahead import populate
from .stack_kernels import ROOM_MADE

_LIST_BYTES = 500  # measured: of one row that is kept as a list, too
_RESERVED = 256 << 20  # bytes of address space a table begins with, so that it is hardly ever moved
_SLOTS = 1 << 13  # a power of two, at first
_SPARSE = 64  # rows that allow at most so many tokens are also kept as a list


class Rows:
    """Rows of `words` int32; bit b of word w allows token 32 * w + b. Ids count up from 0 and never change.

    accepts, ends: by row, whether EOS is allowed, and whether nothing else is.
    """

    def __init__(self, words: int, addresses: Addresses) -> None:
        self._addresses = addresses
        capacity = max(_RESERVED // (4 * words), 64)  # rows never written to take no memory
        self._table = np.zeros((capacity, words), np.int32)
        self._n = np.zeros(3, np.int64)  # rows; room for a count; `found`
        self._bits = self._table.view(np.uint32)  # the same memory
        self._digests = np.zeros(capacity, np.int64)
        self._slots = np.zeros(_SLOTS, np.int32)
        self._sizes = np.zeros(capacity, np.int32)  # tokens allowed
        self._sparse: dict[int, np.ndarray] = {}
        self.accepts = np.zeros(capacity, bool)
        self.ends = np.zeros(capacity, bool)
        self._tell()

    def __len__(self) -> int:
        return int(self._n[0])

    @property
    def table(self) -> np.ndarray:
        """All rows, (rows, words) int32. A view of a table that is replaced when it grows: do not keep it."""
        return self._table[: self._n[0]]

    @property
    def nbytes(self) -> int:
        """Memory of the table, and of the lists of tokens, which are short."""
        return self.table.nbytes + _LIST_BYTES * len(self._sparse)

    @property
    def found(self) -> int:
        """How many masks loops found by themselves."""
        return int(self._n[2])

    def touch(self, n_rows: int) -> None:
        """Have memory at hand for so many rows more (see `ahead`)."""
        for each in (self._table, self._digests, self._sizes):
            populate(each, len(self), n_rows)

    def allowed(self, row: int) -> np.ndarray | None:
        """The allowed tokens of a row that has few, ascending int64; None for others."""
        size = int(self._sizes[row])
        if size > _SPARSE:
            return None
        known = self._sparse.get(row)
        if known is None:
            known = self._sparse[row] = _tokens_of(self._bits[row], size)
        return known

    def n_few(self, rows: np.ndarray) -> np.ndarray:
        """How many tokens each row allows, (n,) int32; -1 where `allowed` has no list of them."""
        sizes = self._sizes[rows]
        return np.where(sizes <= _SPARSE, sizes, np.int32(-1))

    def add(self, words: np.ndarray, accepts: bool) -> int:
        """The id of the row for a mask, (words,) uint32. accepts: the EOS tokens are among the allowed."""
        self.make_room()
        return mk.add_row(self._addresses.table, words, accepts)

    def make_room(self) -> None:
        """Have room for some more."""
        n = len(self) + ROOM_MADE
        if n > len(self._table):
            self._grow()
        if 2 * n > len(self._slots):
            self._slots = np.zeros(4 * len(self._slots), np.int32)
            kernels.put_digests(self._digests, len(self), self._slots)
            self._tell()

    def _tell(self) -> None:
        table = (self._bits, self._digests, self._slots, self._sizes)
        self._addresses.put(ak.ROWS, *table, self.accepts, self.ends, self._n)

    def _grow(self) -> None:
        self._table = np.concatenate([self._table, np.zeros_like(self._table)])
        self._bits = self._table.view(np.uint32)
        self._digests = np.concatenate([self._digests, np.zeros_like(self._digests)])
        self.accepts = np.concatenate([self.accepts, np.zeros_like(self.accepts)])
        self.ends = np.concatenate([self.ends, np.zeros_like(self.ends)])
        self._sizes = np.concatenate([self._sizes, np.zeros_like(self._sizes)])
        self._tell()


def _tokens_of(words: np.ndarray, count: int) -> np.ndarray:
    """The tokens whose bits are set, `count` of them, ascending, int64."""
    found = np.empty(count, np.int64)
    kernels.list_bits(words, found)
    return found
