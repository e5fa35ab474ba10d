"""Wide walks as loops read them: the tokens of one, and where a frame may be left towards given bytes."""

from __future__ import annotations

import numpy as np

from . import address_kernels as ak
from .addresses import Addresses
from .table import Table

_AT_FIRST = 256


class WideWalks:
    """By DFA state, set of bytes (its number in the pool) and 0 a row of `records`: what a walk from the root comes to.

    records: (walks, 5) int64: address of the bits of its tokens, or 0; else address and number of the tokens; address
    and number of the nodes at which the frame may be over, and have a child by one of the bytes.
    """

    def __init__(self, addresses: Addresses) -> None:
        self._addresses = addresses
        self._records = np.zeros((_AT_FIRST, 5), np.int64)
        self._table = Table(addresses=addresses, which=ak.WIDE)
        self._held: list[np.ndarray] = []
        self._n = 0
        addresses.put(ak.WIDE_RECORDS, self._records)

    def put(self, state: int, number: int, words: np.ndarray | None, tokens: np.ndarray, exits: np.ndarray) -> None:
        """Add a walk. tokens: all it has, unless there are words."""
        if self._n == len(self._records):
            self._records = np.concatenate([self._records, np.zeros_like(self._records)])
            self._addresses.put(ak.WIDE_RECORDS, self._records)
        tokens, exits = np.ascontiguousarray(tokens, np.int32), np.ascontiguousarray(exits, np.int32)
        record = (0, tokens.ctypes.data, len(tokens), exits.ctypes.data, len(exits))
        if words is None:
            self._held.append(tokens)
        else:
            record = (words.ctypes.data, 0, 0, *record[3:])
            self._held.append(words)
        self._held.append(exits)
        self._records[self._n] = record
        self._table.put(state, number, 0, self._n)
        self._n += 1

    def clear(self) -> None:
        """Forget all."""
        self._table.clear()
        self._held.clear()
        self._n = 0
