"""What entering and leaving frames comes to, as arrays that compiled loops read: found when first needed."""

from __future__ import annotations

import numpy as np

from .dfa import APART, DEAD, SPLITS, Dfa, bytes_of
from .expr import Exprs, Kind
from .frame_kernels import SLOW
from .places import Frames
from .stacks import BOTTOM, Reader, Stacks
from .table import Table
from .texts import NO_TEXT
from .vocab import Vocabulary

_MANY_BYTES = 32  # that a state may go on with, to be wide at a node
_MANY_NODES = 512  # that are behind these bytes then


class Crossings:
    """By DFA state what it is to enter it; by stack what is to be left for.

    entered: (states, 5) int32, where the state halts and does not split: the state inside, the state between two units,
    lo, hi, and the sequence pushed, as in a `places.Place`; the first is 0 where it is not known, and SLOW where it
    depends on the stack. splits: (states, 2) int32, where it splits: first and number in `ways`, DFA states; 0 of them
    where they are not known. widths: by state and trie node, whether a walk from there is wide.
    """

    def __init__(self, exprs: Exprs, dfa: Dfa, frames: Frames, stacks: Stacks, vocabulary: Vocabulary) -> None:
        self._exprs = exprs
        self._dfa = dfa
        self._frames = frames
        self._stacks = stacks
        self._vocabulary = vocabulary
        self._no_reader = _NoReader()
        self._n_ways = 0
        self.ways = np.zeros(1024, np.int32)
        self.entered = np.zeros((len(dfa.kinds), 5), np.int32)
        self.splits = np.zeros((len(dfa.kinds), 2), np.int32)
        self.widths = Table()
        self._weights: dict[int, list[int]] = {}  # by node, of its children

    @property
    def nbytes(self) -> int:
        """Memory of the tables."""
        per_state = self.entered.itemsize * 7 * len(self._dfa)
        return per_state + self.ways.nbytes + self.widths.nbytes

    def find_entry(self, state: int, sequence: int) -> None:
        """Find what entering a state comes to that halts, with a sequence pushed before."""
        if self._dfa.kinds[state] & SPLITS:
            self._find_ways(state)
            return
        if self.entered[state, 0] == 0:
            found = self._entered(state)
            self._make_room()
            self.entered[state] = found
        if self.entered[state, 0] != SLOW:
            self._stacks.join(sequence, int(self.entered[state, 4]))

    def _entered(self, state: int) -> tuple[int, int, int, int, int]:
        try:
            place = self._frames.enter(self._dfa.expression(state), 0, (), self._no_reader)
        except _StackAskedError:
            return SLOW, 0, 0, 0, 0
        if place.text != NO_TEXT:
            return SLOW, 0, 0, 0, 0
        return place.local, place.unit, place.lo, place.hi, self._stacks.sequence(place.pushes)

    def _find_ways(self, state: int) -> None:
        states = [self._dfa.state(each) for each in self._dfa.split(state)]
        self._make_room()
        while self._n_ways + len(states) > len(self.ways):
            self.ways = np.concatenate([self.ways, np.zeros_like(self.ways)])
        self.ways[self._n_ways : self._n_ways + len(states)] = states
        self.splits[state] = self._n_ways, len(states)
        self._n_ways += len(states)

    def find_top(self, stack: int, sequence: int) -> None:
        """Find the state on top of a stack, or of a sequence pushed on it."""
        stacks = self._stacks
        if sequence:
            stacks.sequence_tops[sequence] = self._top(stacks.sequence_entries(sequence)[-1])
        else:
            stacks.tops[stack] = self._top(stacks.top(stack))

    def _top(self, entry: int) -> int:
        if entry == BOTTOM:
            return DEAD
        return SLOW if self._exprs.node(entry)[0] == Kind.MARK else self._dfa.state(entry)

    def is_wide(self, state: int, node: int) -> bool:
        """Whether walks from a trie node, in a state, may come to many nodes."""
        known = self.widths.get(state, node, 0)
        if known < 0:
            known = int(bool(self._dfa.kinds[state] & APART) or self._may_reach_many(state, node))
            self.widths.put(state, node, 0, known)
        return known == 1

    def _may_reach_many(self, state: int, node: int) -> bool:
        if self._vocabulary.node_end[node] - node <= _MANY_NODES:
            return False
        first = bytes_of(self._exprs.first(self._dfa.expression(state)))
        if len(first) < _MANY_BYTES:
            return False
        weights = self._weights_of(node)
        return sum(weights[byte] for byte in first.tolist()) > _MANY_NODES

    def _weights_of(self, node: int) -> list[int]:
        """Nodes of the trie behind each byte from a node."""
        known = self._weights.get(node)
        if known is None:
            vocabulary = self._vocabulary
            first, last = vocabulary.child_start[node : node + 2].tolist()
            children = vocabulary.child_node[first:last]
            weights = np.zeros(256, np.int64)
            weights[vocabulary.child_byte[first:last]] = vocabulary.node_end[children] - children
            known = self._weights[node] = weights.tolist()
        return known

    def _make_room(self) -> None:
        """Have a row for each state there is room for."""
        more = len(self._dfa.kinds) - len(self.entered)
        if more > 0:
            self.entered = np.concatenate([self.entered, np.zeros((more, 5), np.int32)])
            self.splits = np.concatenate([self.splits, np.zeros((more, 2), np.int32)])


class _StackAskedError(Exception):
    """What is entered depends on the stack."""


class _NoReader(Reader):
    """Stands for all stacks."""

    def __init__(self) -> None:
        super().__init__(Stacks(), 0)

    def entry(self, depth: int) -> int:
        """Not to be known."""
        raise _StackAskedError
