"""What entering frames comes to, as arrays that compiled loops read: found when first needed."""

from __future__ import annotations

import numpy as np

from .dfa import SPLITS, Dfa
from .frame_kernels import SLOW
from .places import Frames
from .stacks import Reader, Stacks
from .texts import NO_TEXT


class Crossings:
    """By DFA state what it is to enter it.

    entered: (states, 5) int32, where the state halts and does not split: the state inside, the state between two units,
    lo, hi, and the sequence pushed, as in a `places.Place`; the first is 0 where it is not known, and SLOW where it
    depends on the stack. splits: (states, 2) int32, where it splits: first and number in `ways`, DFA states; 0 of them
    where they are not known.
    """

    def __init__(self, dfa: Dfa, frames: Frames, stacks: Stacks) -> None:
        self._dfa = dfa
        self._frames = frames
        self._stacks = stacks
        self._no_reader = _NoReader()
        self._n_ways = 0
        self.ways = np.zeros(1024, np.int32)
        self._entered = np.zeros((len(dfa.kinds), 5), np.int32)
        self._splits = np.zeros((len(dfa.kinds), 2), np.int32)

    @property
    def entered(self) -> np.ndarray:
        """See above; a row for each state there is room for, as loops do not look where an array ends."""
        self._make_room()
        return self._entered

    @property
    def splits(self) -> np.ndarray:
        """See above; likewise."""
        self._make_room()
        return self._splits

    @property
    def nbytes(self) -> int:
        """Memory of the tables."""
        per_state = self._entered.itemsize * 7 * len(self._dfa)
        return per_state + self.ways.nbytes

    def find_entry(self, state: int, sequence: int) -> None:
        """Find what entering a state comes to that halts, with a sequence pushed before."""
        if self._dfa.kinds[state] & SPLITS:
            self._find_ways(state)
            return
        if self.entered[state, 0] == 0:
            found = self._enter(state)
            self.entered[state] = found
        if self.entered[state, 0] != SLOW:
            self._stacks.join(sequence, int(self.entered[state, 4]))

    def _enter(self, state: int) -> tuple[int, int, int, int, int]:
        try:
            place = self._frames.enter(self._dfa.expression(state), 0, (), self._no_reader)
        except _StackAskedError:
            return SLOW, 0, 0, 0, 0
        if place.text != NO_TEXT:
            return SLOW, 0, 0, 0, 0
        return place.local, place.unit, place.lo, place.hi, self._stacks.sequence(place.pushes)

    def _find_ways(self, state: int) -> None:
        states = [self._dfa.state(each) for each in self._dfa.split(state)]
        while self._n_ways + len(states) > len(self.ways):
            self.ways = np.concatenate([self.ways, np.zeros_like(self.ways)])
        self.ways[self._n_ways : self._n_ways + len(states)] = states
        self.splits[state] = self._n_ways, len(states)
        self._n_ways += len(states)

    def _make_room(self) -> None:
        """Have a row for each state there is room for."""
        more = len(self._dfa.kinds) - len(self._entered)
        if more > 0:
            self._entered = np.concatenate([self._entered, np.zeros((more, 5), np.int32)])
            self._splits = np.concatenate([self._splits, np.zeros((more, 2), np.int32)])


class _StackAskedError(Exception):
    """What is entered depends on the stack."""


class _NoReader(Reader):
    """Stands for all stacks."""

    def __init__(self) -> None:
        super().__init__(Stacks(), 0)

    def entry(self, depth: int) -> int:
        """Not to be known."""
        raise _StackAskedError
