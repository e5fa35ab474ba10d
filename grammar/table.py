"""A hash table from three ints to one, in arrays, so that compiled loops can look into it."""

from __future__ import annotations

import numpy as np

from . import kernels
from .addresses import Addresses
from .stack_kernels import ROOM_MADE


class Table:
    """Grows by doubling. `keys` and `values` are as `kernels` describes; they are replaced when the table grows.

    addresses, which: where loops find it that add entries themselves (`make_room`).
    """

    def __init__(self, capacity: int = 1024, addresses: Addresses | None = None, which: int = 0) -> None:
        self._capacity = capacity
        self._addresses = addresses
        self._which = which
        self._n = np.zeros(1, np.int64)
        self.clear()

    def __len__(self) -> int:
        return int(self._n[0])

    @property
    def nbytes(self) -> int:
        """Memory of the table."""
        return self.keys.nbytes + self.values.nbytes

    def clear(self) -> None:
        """Forget everything."""
        self._n[0] = 0
        self.keys = np.full((self._capacity, 3), -1, np.int32)
        self.values = np.full(self._capacity, kernels.MISSING, np.int32)
        self._tell()

    def make_room(self) -> None:
        """Have room for some more entries."""
        while 2 * (self._n[0] + ROOM_MADE) > len(self.values):
            self._double()

    def get(self, a: int, b: int, c: int) -> int:
        """The value, or MISSING."""
        return int(self.values[kernels.find(self.keys, a, b, c)])

    def put(self, a: int, b: int, c: int, value: int) -> None:
        """Add an entry, or change its value."""
        self._more(kernels.put(self.keys, self.values, a, b, c, value))

    def put_answer(self, a: int, b: int, contexts: np.ndarray, level: int, value: int) -> None:
        """Add an answer under two ints and contexts[level], and DEEPER under those before, so that it is found."""
        self._more(kernels.put_answer(self.keys, self.values, a, b, contexts, level, value))

    def _more(self, count: int) -> None:
        self._n[0] += count
        if self._n[0] * 2 > len(self.values):
            self._double()

    def _double(self) -> None:
        old_keys, old_values = self.keys, self.values
        self.keys = np.full((2 * len(old_values), 3), -1, np.int32)
        self.values = np.full(2 * len(old_values), kernels.MISSING, np.int32)
        kernels.rehash(old_keys, old_values, self.keys, self.values)
        self._tell()

    def _tell(self) -> None:
        if self._addresses is not None:
            self._addresses.put(self._which, self.keys, self.values, self._n)
