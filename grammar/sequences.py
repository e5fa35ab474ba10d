"""What is pushed on stacks at once: sequences of expressions, each with an id, as arrays that loops add to."""

from __future__ import annotations

import numpy as np

from . import address_kernels as ak
from . import crossing_kernels as ck
from . import kernels
from .addresses import Addresses
from .dfa import Dfa

_AT_FIRST = 1024
_SPARE = 64  # sequences and joins there is room for at least, when a loop begins


class Sequences:
    """Sequence 0 is nothing; every other is an entry behind another sequence. Ids are never reused.

    Whoever calls holds the lock of the automaton, and of the pool while a kernel is at `arrays`.
    """

    def __init__(self, dfa: Dfa, addresses: Addresses) -> None:
        self._dfa = dfa
        self._addresses = addresses
        self._parents, self._entries, self._tops = (np.zeros(_AT_FIRST, np.int32) for _ in range(3))
        self._keys, self._values = _table(2 * _AT_FIRST)
        self._join_keys, self._join_values = _table(2 * _AT_FIRST)
        self._counts = np.array([1, 0], np.int64)
        self._view = self._counts.data  # of which single numbers are read fastest
        self._make_room()

    def __len__(self) -> int:
        return int(self._counts[0])

    @property
    def arrays(self) -> ck.SequenceArrays:
        """What kernels work on, with room for some more."""
        if self._view[0] > self._most or self._view[1] > self._most_joins:
            self._make_room()
        return self._arrays

    @property
    def nbytes(self) -> int:
        """Memory of it."""
        return sum(each.nbytes for each in self.arrays)

    def of(self, entries: tuple[int, ...]) -> int:
        """The sequence of entries, the last on top."""
        found = 0
        for entry in entries:
            found = self._dfa.run(ck.pushed_on, lambda: (self.arrays,), found, entry)
        return found

    def entries(self, sequence: int) -> tuple[int, ...]:
        """What is pushed, the last on top."""
        found = []
        while sequence:
            found.append(int(self._entries[sequence]))
            sequence = int(self._parents[sequence])
        return tuple(reversed(found))

    def _make_room(self) -> None:
        n, n_joins = self._view
        if n + _SPARE > len(self._parents):
            self._parents = np.concatenate([self._parents, np.zeros_like(self._parents)])
            self._entries = np.concatenate([self._entries, np.zeros_like(self._entries)])
            self._tops = np.concatenate([self._tops, np.zeros_like(self._tops)])
        if 2 * (n + _SPARE) > len(self._values):
            self._keys, self._values = _doubled(self._keys, self._values)
        if 2 * (n_joins + _SPARE) > len(self._join_values):
            self._join_keys, self._join_values = _doubled(self._join_keys, self._join_values)
        self._most = min(len(self._parents), len(self._values) // 2) - _SPARE
        self._most_joins = len(self._join_values) // 2 - _SPARE
        tables = (self._keys, self._values, self._join_keys, self._join_values)
        self._arrays: ck.SequenceArrays = self._parents, self._entries, self._tops, *tables, self._counts
        self._addresses.put(ak.FOLLOWED, *self._arrays)


def _table(size: int) -> tuple[np.ndarray, np.ndarray]:
    return np.full((size, 3), -1, np.int32), np.full(size, kernels.MISSING, np.int32)


def _doubled(keys: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    more_keys, more_values = _table(2 * len(values))
    kernels.rehash(keys, values, more_keys, more_values)
    return more_keys, more_values
