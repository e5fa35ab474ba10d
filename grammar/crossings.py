"""What entering frames comes to, as arrays that compiled loops read and add to."""

from __future__ import annotations

import numpy as np

from . import address_kernels as ak
from . import crossing_kernels as ck
from .addresses import Addresses
from .ahead import populate
from .dfa import SPLITS, Dfa
from .sequences import Sequences

_WAYS = 1024  # there is room for at least, when a loop begins


class Crossings:
    """By DFA state what it is to enter it.

    entered: (states, 5) int32, where the state halts and does not split: the state inside, the state between two units,
    lo, hi, and the sequence pushed, as in a `places.Place`; the first is 0 where it is not known, and SLOW where it
    depends on the stack. splits: (states, 2) int32, where it splits: first and number in `ways`, DFA states; 0 of them
    where they are not known.
    """

    def __init__(self, dfa: Dfa, sequences: Sequences, addresses: Addresses) -> None:
        self._dfa = dfa
        self._addresses = addresses
        self._sequences = sequences
        self._n_ways = np.zeros(1, np.int64)
        self._view = self._n_ways.data  # of which a single number is read fastest
        self._ways = np.zeros(2 * _WAYS, np.int32)
        self._entered = np.zeros((len(dfa.kinds), 5), np.int32)
        self._splits = np.zeros((len(dfa.kinds), 2), np.int32)
        self._tell()

    @property
    def arrays(self) -> ck.CrossingArrays:
        """What kernels work on: a row for each state there is room for, as loops do not look where an array ends."""
        more = len(self._dfa.kinds) - len(self._entered)
        if more > 0:
            self._entered = np.concatenate([self._entered, np.zeros((more, 5), np.int32)])
            self._splits = np.concatenate([self._splits, np.zeros((more, 2), np.int32)])
            self._tell()
        self._make_room(_WAYS)
        return self._entered, self._splits, self._ways, self._n_ways

    @property
    def nbytes(self) -> int:
        """Memory of the tables."""
        return self._entered.itemsize * 7 * len(self._dfa) + self._ways.nbytes

    def find_entry(self, state: int, sequence: int) -> None:
        """Find what entering a state comes to that halts, with a sequence pushed before."""
        if self._dfa.kinds[state] & SPLITS:
            self._make_room(len(self._dfa.exprs.node(self._dfa.expression(state))[1]))
        self._dfa.run(ck.cross, lambda: (self.arrays, self._sequences.arrays), state, sequence)

    def touch(self, n_states: int) -> None:
        """Have memory at hand for so many states more (see `ahead`)."""
        populate(self._entered, len(self._dfa), n_states)
        populate(self._splits, len(self._dfa), n_states)

    def _make_room(self, n_ways: int) -> None:
        """Have room for so many ways more."""
        while self._view[0] + n_ways > len(self._ways):
            self._ways = np.concatenate([self._ways, np.zeros_like(self._ways)])
            self._tell()

    def _tell(self) -> None:
        self._addresses.put(ak.ENTERED, self._entered, self._splits, self._ways, self._n_ways)
