"""Wide walks as loops read them: the tokens of one, and where a frame may be left towards given bytes."""

from __future__ import annotations

import numpy as np

from . import address_kernels as ak
from . import miss_kernels as mk
from .addresses import Addresses
from .table import Table

_AT_FIRST = 256
_NO_WORDS = np.zeros(0, np.uint32)


class WideWalks:
    """By DFA state, set of bytes (its number in the pool) and 0 a row of `records`: what a walk from the root comes to.

    records: (walks, 5) int64: address of the bits of its tokens, or 0; else address and number of the tokens; address
    and number of the nodes at which the frame may be over, and have a child by one of the bytes.
    """

    def __init__(self, addresses: Addresses) -> None:
        self._addresses = addresses
        self._records = np.zeros((_AT_FIRST, 5), np.int64)
        self._table = Table(addresses=addresses, which=ak.WIDE)
        self._held: list[tuple[np.ndarray | None, np.ndarray, np.ndarray]] = []
        self._n = 0
        addresses.put(ak.WIDE_RECORDS, self._records)

    def put(self, state: int, number: int, words: np.ndarray | None, tokens: np.ndarray, exits: np.ndarray) -> bool:
        """Add a walk; False: it is there. tokens: all it has, unless there are words. In order."""
        if self._n == len(self._records):
            self._records = np.concatenate([self._records, np.zeros_like(self._records)])
            self._addresses.put(ak.WIDE_RECORDS, self._records)
        self._table.make_room()
        bits = _NO_WORDS if words is None else words
        if not mk.put_wide(self._addresses.table, self._n, state, number, words is not None, bits, tokens, exits):
            return False
        self._held.append((words, tokens, exits))
        self._n += 1
        return True

    def put_weights(self, weights: np.ndarray) -> None:
        """Say what each first byte counts where walks are compared, (256,) int64."""
        self._addresses.put(ak.WEIGHTS, weights)

    def put_bases(self, rows: list[tuple[int, ...]]) -> None:
        """Say which walks others are made beside, as `wide_kernels` have them."""
        self._addresses.put(ak.BASES, np.array(rows, np.int64))

    def clear(self) -> None:
        """Forget all."""
        self._table.clear()
        self._held.clear()
        self._n = 0


def warm() -> None:
    """Have the loop compiled that writes down walks, by writing one down that comes to nothing."""
    nothing = np.zeros(0, np.int32)
    WideWalks(Addresses()).put(0, 0, None, nothing, nothing)
