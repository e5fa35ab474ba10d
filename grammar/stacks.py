"""What is still to come behind the open frames: linked lists of expressions, each list with one id."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from . import kernels
from .frame_kernels import StackArrays
from .sequences import Sequences
from .table import Table

BOTTOM = -1
"""The entry below the last one."""

_STACK_BYTES = 1_000  # measured: names, entries and keys of one stack, besides the arrays

UNKNOWN = -1
"""The state of an entry that is in no DFA."""

LEVELS = 5
"""Contexts kept per stack: its upper 0, 1, 2, 3 entries, and all of it."""


class Stacks:
    """Stack 0 is empty; every other is an entry (an expression) on top of a parent. Ids are never reused.

    parents: (stacks,) int32. contexts: (stacks, LEVELS) int32: column d names what the upper d entries are, the last
    column the whole stack; equal entries have equal names, in whatever stack they stand. tops: (stacks,) int32, the
    DFA state of the entry on top, 0 at the bottom.

    pushed: by stack and sequence (`sequences`), and 0, the stack that comes of it.
    """

    def __init__(self, state_of: Callable[[int], int] | None = None, sequences: Sequences | None = None) -> None:
        """state_of: finds what is in `tops`; None, as for sequences: nobody needs them."""
        self._state_of = state_of or (lambda _: UNKNOWN)
        self._own_sequences = sequences
        self._entries = [BOTTOM]
        self._ids: dict[tuple[int, int], int] = {}
        self._names: dict[tuple[int, ...], int] = {(): 0}
        self.pushed = Table()
        self.parents = np.zeros(64, np.int32)
        self.tops = np.zeros(64, np.int32)
        self.contexts = np.zeros((64, LEVELS), np.int32)
        self._name(0)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def _sequences(self) -> Sequences:
        if self._own_sequences is None:
            raise ValueError("these stacks were made without sequences")
        return self._own_sequences

    @property
    def arrays(self) -> StackArrays:
        """What compiled loops read of stacks and sequences."""
        return self.parents, self.tops, self._sequences.arrays

    @property
    def nbytes(self) -> int:
        """Memory of all stacks, estimated."""
        arrays = self.parents.nbytes + self.tops.nbytes + self.contexts.nbytes + self.pushed.nbytes
        return arrays + self._sequences.nbytes + _STACK_BYTES * len(self._entries)

    def top(self, stack: int) -> int:
        """The expression on top, or BOTTOM."""
        return self._entries[stack]

    def below(self, stack: int) -> int:
        """The stack without its top."""
        return int(self.parents[stack])

    def push(self, stack: int, entry: int) -> int:
        """The stack with one more entry."""
        known = self._ids.get((stack, entry))
        if known is None:
            known = self._ids[stack, entry] = len(self._entries)
            self._entries.append(entry)
            if known == len(self.parents):
                self.parents = np.concatenate([self.parents, np.zeros_like(self.parents)])
                self.contexts = np.concatenate([self.contexts, np.zeros_like(self.contexts)])
                self.tops = np.concatenate([self.tops, np.zeros_like(self.tops)])
            self.parents[known] = stack
            self.tops[known] = self._state_of(entry)
            self._name(known)
        return known

    def push_all(self, stack: int, pushes: int) -> int:
        """The stack with the entries of a sequence on it; remembered in `pushed`."""
        known = self.pushed.get(stack, pushes, 0)
        if known == kernels.MISSING:
            known = stack
            for entry in self._sequences.entries(pushes):
                known = self.push(known, entry)
            self.pushed.put(stack, pushes, 0, known)
        return known

    def entries(self, stack: int) -> list[int]:
        """All entries, from the top."""
        result = []
        while stack:
            result.append(self._entries[stack])
            stack = self.below(stack)
        return result

    def _name(self, stack: int) -> None:
        upper: list[int] = []
        at = stack
        for level in range(1, LEVELS - 1):
            upper.append(self._entries[at])
            at = self.below(at)
            self.contexts[stack, level] = self._names.setdefault(tuple(upper), len(self._names))
        self.contexts[stack, LEVELS - 1] = self._names.setdefault((-2, stack), len(self._names))


class Reader:
    """Reads one stack from the top, remembering how deep it was asked: answers hold for all stacks alike so far."""

    def __init__(self, stacks: Stacks, stack: int) -> None:
        self._stacks = stacks
        self._path = [stack]
        self.depth = 0

    def entry(self, depth: int) -> int:
        """The entry below `depth` others, or BOTTOM."""
        self.depth = max(self.depth, depth + 1)
        return self._stacks.top(self.stack(depth))

    def stack(self, depth: int) -> int:
        """The stack without its upper `depth` entries."""
        while len(self._path) <= depth:
            self._path.append(self._stacks.below(self._path[-1]))
        return self._path[depth]

    @property
    def level(self) -> int:
        """The column of `contexts` that holds all that was read."""
        return min(self.depth, LEVELS - 1)
