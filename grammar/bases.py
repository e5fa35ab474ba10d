"""Wide walks from the root that others are made beside."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from . import walk_kernels
from .dfa import Dfa
from .part import Many
from .vocab import Vocabulary
from .walker import Walker
from .wide import WideWalks

WIDE = 4096  # nodes a walk has to reach, or to have in common with another, to be a base
MANY_BYTES = 32  # bytes a state has to go on with, to be wide
MOST_BASES = 12


class Base:
    """A wide walk from the root. exits: see `Part`; exits_by_first: by mask of bytes, those with a child by one.

    end_states: the states that tokens end in, longest: bytes of the longest token.
    """

    def __init__(self, local: int, walker: Walker, many: Many, exits: np.ndarray) -> None:
        self.local = local
        self.words = many.words
        self.longest = many.longest
        self.end_states = many.end_states
        self.exits = exits
        self.exits_by_first: dict[int, np.ndarray] = {}
        self._walker = walker
        self._states: np.ndarray | None = None

    @property
    def states(self) -> np.ndarray:
        """The state at each node, 0 where the walk did not come. Found when first asked for."""
        return self.find_states() if self._states is None else self._states

    def find_states(self) -> np.ndarray:
        """Find `states`."""
        self._states = self._walker.states_from(self.local)
        return self._states

    @property
    def row(self) -> tuple[int, int, int]:
        """What `wide_kernels` read of it."""
        states = 0 if self._states is None else self._states.ctypes.data
        return self.local, states, self.words.ctypes.data

    @property
    def is_walked(self) -> bool:
        """Whether its states are known."""
        return self._states is not None

    @property
    def nbytes(self) -> int:
        """Memory of it."""
        return self.exits.nbytes + self.words.nbytes + (0 if self._states is None else self._states.nbytes)


class Bases:
    """The latest of them, of one vocabulary and one DFA, and the first, which is JSON text."""

    def __init__(self, dfa: Dfa, walker: Walker, vocabulary: Vocabulary, wide: WideWalks) -> None:
        self._dfa = dfa
        self._walker = walker
        self._vocabulary = vocabulary
        self._wide = wide
        self._bases: list[Base] = []
        self._locals = np.zeros(0, np.int64)
        self._root_weights = _root_weights(vocabulary)
        wide.put_weights(self._root_weights)

    def __len__(self) -> int:
        return len(self._bases)

    def __getitem__(self, at: int) -> Base:
        return self._bases[at]

    def __iter__(self) -> Iterator[Base]:
        return iter(self._bases)

    def add(self, local: int, many: Many, exits: np.ndarray) -> Base:
        """Have another one, of exits in order, which is kept."""
        base = Base(local, self._walker, many, exits)
        if not self._bases:
            base.find_states()  # JSON text, which most others have something in common with
        if len(self._bases) >= MOST_BASES:
            del self._bases[1]  # the first is JSON text
        self._bases.append(base)
        self._locals = np.array([each.local for each in self._bases], np.int64)
        self._tell()
        return base

    def find_states(self, at: int) -> None:
        """Find the states of one."""
        self._bases[at].find_states()
        self._tell()

    def _tell(self) -> None:
        self._wide.put_bases([each.row for each in self._bases])

    def best(self, local: int) -> Base | None:
        """The one that has most in common with the walk from the root in a state, if that is much."""
        self._dfa.complete(local)
        transitions = self._dfa.transitions
        at = walk_kernels.best_base(transitions, local, self._locals, self._root_weights, WIDE, MANY_BYTES)
        return self._bases[at] if at >= 0 else None

    def best_at(self, local: int, nodes: np.ndarray) -> tuple[Base | None, np.ndarray | None]:
        """The base that has most in common with a walk from nodes that are not the root, if that is much.

        Also at which of them it is in the very same state, (n,) bool.
        """
        best, most, at = None, WIDE, None
        sizes = self._vocabulary.node_end[nodes] - nodes
        if int(sizes.sum()) > most:
            for base in self._bases:
                if not base.is_walked:
                    continue  # to find its states would take longer than what is shared
                same = base.states[nodes] == local
                shared = int(sizes[same].sum())
                if shared > most:
                    best, most, at = base, shared, same
        return best, at


def _root_weights(vocabulary: Vocabulary) -> np.ndarray:
    """Nodes of the trie below each first byte, (256,) int64."""
    weights = np.zeros(256, np.int64)
    node, ends = 1, vocabulary.node_end
    while node < len(ends):
        weights[vocabulary.node_byte[node]] = ends[node] - node
        node = int(ends[node])
    return weights
