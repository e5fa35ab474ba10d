"""Byte DFAs of frame-local expressions, built as they are walked."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from . import address_kernels as ak
from . import dfa_kernels as dk
from .addresses import Addresses
from .ahead import populate
from .dfa_kernels import APART, DEAD, HALTS, MAY_END, NULLABLE, SPLITS, UNKNOWN
from .errors import GrammarError
from .expr import EMPTY, EPSILON, Exprs, Kind

__all__ = ["APART", "DEAD", "HALTS", "MAY_END", "NULLABLE", "SPLITS", "UNKNOWN", "Dfa", "bytes_of", "head_of"]

_RESERVED = 1 << 18  # states there is address space for at first; those not made take no memory
_RESERVED_NUMBERS = 1 << 21  # expressions, likewise
_HALTING = (Kind.FRAME, Kind.REF, Kind.COUNTED, Kind.CAPTURE)
_STATE_BYTES = 150  # of one state, besides its transitions


@lru_cache(65536)
def bytes_of(mask: int) -> np.ndarray:
    """The bytes whose bit is set in `mask`, int64."""
    bits = np.unpackbits(np.frombuffer(mask.to_bytes(32, "little"), np.uint8), bitorder="little")
    return np.flatnonzero(bits)


class Dfa:
    """States are expressions, numbered as they are met; transitions are derivatives, found when first needed.

    transitions: (states, 256) int32, DEAD from which nothing is accepted, UNKNOWN that nobody asked for yet. kinds:
    uint8; HALTS where the state's expression begins with a frame, a reference or a counted run, so that walks halt and
    the automaton decides how to go on; with SPLITS where only some of its alternatives do; MAY_END where it may end,
    and walks do not halt; NULLABLE where it may end; APART where a document is read, or a limit stands beside
    conditions: `masks` has walks of their own for those. arrays: these and others, for `dfa_kernels`; whoever passes
    them to a kernel holds the lock of the pool.
    """

    def __init__(self, exprs: Exprs, addresses: Addresses | None = None) -> None:
        self.exprs = exprs
        self._addresses = addresses
        self.transitions = np.empty((_RESERVED, 256), np.int32)
        self.kinds = np.zeros(_RESERVED, np.uint8)
        self._expressions = np.zeros(_RESERVED, np.int32)
        self._numbers = np.zeros(_RESERVED_NUMBERS, np.int32)
        self._count = np.zeros(1, np.int64)
        self._tell()
        self.state(EMPTY)

    def __len__(self) -> int:
        return int(self._count[0])

    @property
    def nbytes(self) -> int:
        """Memory of the states and transitions."""
        numbers = self._numbers.itemsize * min(len(self.exprs), len(self._numbers))
        return (_STATE_BYTES + self.transitions.itemsize * 256) * len(self) + numbers

    @property
    def arrays(self) -> dk.Arrays:
        """What kernels work on."""
        return self._numbers, self._expressions, self.transitions, self.kinds, self._count

    def state(self, expression: int) -> int:
        """The number of the state that is this expression. Raises GrammarError for a state for every text."""
        if expression < len(self._numbers):
            number = int(self._numbers[expression])
            if number:
                return number - 1
        return self.run(dk.state_of, _nothing, expression)

    def run(self, kernel: Callable[..., int], others: Callable[[], tuple[Any, ...]], *args: Any) -> int:
        """What a kernel finds, with room made as it asks for it. others: makes arrays it is called with, with room."""
        while True:
            found = self.exprs.run(kernel, self.arrays, *others(), *args)
            if found >= 0:
                return found
            if found == dk.REFUSED:
                reason = "elements or names that must differ cannot be followed beside another condition on the whole"
                raise GrammarError("constraint", "uniqueItems", reason, "leave out one of the two")
            if found == dk.NO_ROOM:
                self.make_room()

    def may_end(self, state: int) -> bool:
        """Whether the empty text is in the state's language."""
        return bool(self.kinds[state] & NULLABLE)

    def limit(self, state: int) -> tuple[int, int] | None:
        """Of a state in which a limit on characters stands beside conditions: the member that says it, and the limit.

        None for other states.
        """
        node, found = self.exprs.node(self.expression(state)), None
        if node[0] == Kind.AND:
            for member in node[1]:
                kind, *rest = self.exprs.node(member)
                if kind == Kind.COUNTED and rest[1] == 0 and rest[2] is not None:
                    found = member, rest[2]
        return found

    def halts(self, state: int) -> bool:
        """Whether the state's expression begins with a frame, a reference or a counted run."""
        return bool(self.kinds[state] & HALTS)

    def split(self, state: int) -> tuple[int, ...]:
        """The alternatives of a state that SPLITS: expressions, together the same; no more than one does not halt."""
        exprs = self.exprs
        members = [m for m in exprs.node(self.expression(state))[1] if not exprs.is_empty(m)]
        halting = [m for m in members if head_of(exprs, m)[0] in _HALTING]
        others = exprs.alt(*[m for m in members if head_of(exprs, m)[0] not in _HALTING])
        return (*halting, others) if others != EMPTY else tuple(halting)

    def expression(self, state: int) -> int:
        """The expression a state is."""
        return int(self._expressions[state])

    def step(self, state: int, byte: int) -> int:
        """The state after `byte`."""
        after = int(self.transitions[state, byte])
        return after if after != UNKNOWN else self.find(state, byte)

    def find(self, state: int, byte: int) -> int:
        """Fill in one transition, and those of all bytes that behave alike."""
        return self.run(dk.transition, _nothing, state, byte)

    def find_edges(self, edges: list[tuple[int, int]]) -> None:
        """Fill in some transitions, states and bytes, in one step."""
        self.run(dk.find_edges, _nothing, np.array(edges, np.int64))

    def complete(self, state: int) -> np.ndarray:
        """All transitions of a state, (256,) int32."""
        self.run(dk.complete, _nothing, state)
        return self.transitions[state]

    def narrow(self, state: int) -> None:
        """Say which bytes a state does not go on with, if that had to be asked for and was not: no text has byte 0."""
        if self.kinds[state] & HALTS or self.transitions[state, 0] != UNKNOWN:
            return
        wanted = np.zeros(256, bool)
        wanted[bytes_of(self.exprs.first(self.expression(state)))] = True
        with self.exprs.lock:
            row = self.transitions[state]
            row[(row == UNKNOWN) & ~wanted] = DEAD

    def touch(self, n_states: int, n_nodes: int) -> None:
        """Have memory at hand for so many states more, and so many expressions of the pool (see `ahead`)."""
        for each in (self.transitions, self.kinds, self._expressions):
            populate(each, len(self), n_states)
        populate(self._numbers, len(self.exprs), n_nodes)

    def make_room(self) -> None:
        """Have room for twice as many states, where they are as many as can be, and for each expression's number."""
        size = len(self.kinds)
        if len(self) == size:
            transitions = np.empty((2 * size, 256), np.int32)  # what is not written to costs no memory
            transitions[:size] = self.transitions
            self.transitions = transitions
            self.kinds = np.concatenate([self.kinds, np.zeros_like(self.kinds)])
            self._expressions = np.concatenate([self._expressions, np.zeros_like(self._expressions)])
        if len(self.exprs) >= len(self._numbers):
            self._numbers = np.concatenate([self._numbers, np.zeros_like(self._numbers)])
        self._tell()

    def _tell(self) -> None:
        if self._addresses is not None:
            self._addresses.put(ak.NUMBERS, *self.arrays)


def _nothing() -> tuple[Any, ...]:
    return ()


def head_of(exprs: Exprs, expression: int) -> tuple[int, int, int]:
    """Kind of the first part of a concatenation, that part, and the rest."""
    node = exprs.node(expression)
    if node[0] == Kind.CAT:
        return exprs.node(node[1])[0], node[1], node[2]
    return node[0], expression, EPSILON
