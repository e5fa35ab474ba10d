"""What is still to come behind the open frames: linked lists of expressions, each list with one id."""

from __future__ import annotations

import numpy as np

from . import address_kernels as ak
from . import kernels
from . import stack_kernels as sk
from .addresses import Addresses
from .dfa import Dfa
from .frame_kernels import StackArrays
from .sequences import Sequences
from .stack_kernels import LEVELS, ROOM_MADE
from .table import Table

__all__ = ["BOTTOM", "LEVELS", "Reader", "Stacks"]

BOTTOM = -1
"""The entry below the last one."""

_STACK_BYTES = 100  # of one stack, besides the tables
_AT_FIRST = 256


class Stacks:
    """Stack 0 is empty; every other is an entry (an expression) on top of a parent. Ids are never reused.

    parents: (stacks,) int32. contexts: (stacks, LEVELS) int32: column d names what the upper d entries are, the last
    column the whole stack; equal entries have equal names, in whatever stack they stand. tops: (stacks,) int32, the
    DFA state of the entry on top, 0 at the bottom, SLOW for a mark, which is none.

    pushed: by stack and sequence (`sequences`), and 0, the stack that comes of it.
    """

    def __init__(self, dfa: Dfa, sequences: Sequences, addresses: Addresses) -> None:
        self._dfa = dfa
        self._sequences = sequences
        self._addresses = addresses
        self._counts = np.ones(2, np.int64)  # stacks, and names of contexts
        self._ids = Table(addresses=addresses, which=ak.STACK_IDS)
        self._names = Table(addresses=addresses, which=ak.STACK_NAMES)
        self.pushed = Table(addresses=addresses, which=ak.PUSHED)
        self.parents = np.zeros(_AT_FIRST, np.int32)
        self.tops = np.zeros(_AT_FIRST, np.int32)
        self._entries = np.full(_AT_FIRST, BOTTOM, np.int32)
        self.contexts = np.zeros((_AT_FIRST, LEVELS), np.int32)
        self._tell()
        sk.name_stack(addresses.table, 0)

    def __len__(self) -> int:
        return int(self._counts[0])

    @property
    def arrays(self) -> StackArrays:
        """What compiled loops read of stacks and sequences."""
        return self.parents, self.tops, self._sequences.arrays

    @property
    def nbytes(self) -> int:
        """Memory of all stacks."""
        tables = self._ids.nbytes + self._names.nbytes + self.pushed.nbytes
        return tables + self._sequences.nbytes + _STACK_BYTES * len(self.parents)

    def top(self, stack: int) -> int:
        """The expression on top, or BOTTOM."""
        return int(self._entries[stack])

    def below(self, stack: int) -> int:
        """The stack without its top."""
        return int(self.parents[stack])

    def push(self, stack: int, entry: int) -> int:
        """The stack with one more entry."""
        self.make_room()
        return self._dfa.run(sk.push, lambda: (self._addresses.table,), stack, entry)

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
            result.append(self.top(stack))
            stack = self.below(stack)
        return result

    def make_room(self) -> None:
        """Have room for some more stacks."""
        if self._counts[0] + ROOM_MADE > len(self.parents):
            self.parents = np.concatenate([self.parents, np.zeros_like(self.parents)])
            self.contexts = np.concatenate([self.contexts, np.zeros_like(self.contexts)])
            self.tops = np.concatenate([self.tops, np.zeros_like(self.tops)])
            self._entries = np.concatenate([self._entries, np.zeros_like(self._entries)])
            self._tell()
        for table in (self._ids, self._names, self.pushed):
            table.make_room()

    def _tell(self) -> None:
        self._addresses.put(ak.PARENTS, self.parents, self.tops, self._entries, self.contexts, self._counts)


class Reader:
    """Reads one stack from the top, remembering how deep it was asked: answers hold for all stacks alike so far.

    stacks: None for an empty stack.
    """

    def __init__(self, stacks: Stacks | None, stack: int) -> None:
        self._stacks = stacks
        self._path = [stack]
        self.depth = 0

    def entry(self, depth: int) -> int:
        """The entry below `depth` others, or BOTTOM."""
        self.depth = max(self.depth, depth + 1)
        return BOTTOM if self._stacks is None else self._stacks.top(self.stack(depth))

    def stack(self, depth: int) -> int:
        """The stack without its upper `depth` entries."""
        while self._stacks is not None and len(self._path) <= depth:
            self._path.append(self._stacks.below(self._path[-1]))
        return self._path[min(depth, len(self._path) - 1)]

    @property
    def level(self) -> int:
        """The column of `contexts` that holds all that was read."""
        return min(self.depth, LEVELS - 1)
