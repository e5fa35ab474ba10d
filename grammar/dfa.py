"""Byte DFAs of frame-local expressions, built as they are walked."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from .errors import GrammarError
from .expr import EMPTY, EPSILON, Exprs, Kind

DEAD = 0
"""The DFA state from which nothing is accepted."""

UNKNOWN = -1
"""A transition that nobody asked for yet."""

HALTS, MAY_END, SPLITS, NULLABLE, APART = 1, 2, 4, 8, 16
"""Bits of `Dfa.kinds`."""

_RESERVED = 1 << 16  # states there is address space for at first; those not made take no memory
_HALTING = (Kind.FRAME, Kind.REF, Kind.COUNTED, Kind.CAPTURE)
_STATE_BYTES = 150  # of one state, besides its transitions


@lru_cache(65536)
def bytes_of(mask: int) -> np.ndarray:
    """The bytes whose bit is set in `mask`, int64."""
    bits = np.unpackbits(np.frombuffer(mask.to_bytes(32, "little"), np.uint8), bitorder="little")
    return np.flatnonzero(bits)


class Dfa:
    """States are expressions, numbered as they are met; transitions are derivatives, found when first needed.

    transitions: (states, 256) int32, 0 dead, -1 not known yet. kinds: uint8; HALTS where the state's expression begins
    with a frame, a reference or a counted run, so that walks halt and the automaton decides how to go on; with SPLITS
    where only some of its alternatives do; MAY_END where it may end, and walks do not halt; NULLABLE where it may end;
    APART where a document is read, or a limit stands beside conditions: `masks` has walks of their own for those.
    """

    def __init__(self, exprs: Exprs) -> None:
        self._exprs = exprs
        self._states: dict[int, int] = {}
        self._expressions: list[int] = []
        self.transitions = np.empty((_RESERVED, 256), np.int32)
        self.kinds = np.zeros(_RESERVED, np.uint8)
        self.nullable: list[bool] = []
        self._split: dict[int, tuple[int, ...]] = {}
        self.state(EMPTY)
        self.transitions[DEAD] = DEAD

    def __len__(self) -> int:
        return len(self._expressions)

    @property
    def nbytes(self) -> int:
        """Memory of the states and transitions."""
        return (_STATE_BYTES + self.transitions.itemsize * 256) * len(self._expressions)

    def state(self, expression: int) -> int:
        """The number of the state that is this expression."""
        known = self._states.get(expression)
        if known is not None:
            return known
        self._check(expression)
        known = len(self._expressions)
        if known == len(self.kinds):
            self._grow()
        self._states[expression] = known
        self._expressions.append(expression)
        nullable = self._exprs.nullable(expression)
        self.nullable.append(nullable)
        self.transitions[known] = UNKNOWN
        if head_of(self._exprs, expression)[0] in _HALTING:
            self.kinds[known] = HALTS
        elif self._splits(expression):
            self.kinds[known] = HALTS | SPLITS
        else:
            self.kinds[known] = MAY_END if nullable else 0
        if nullable:
            self.kinds[known] |= NULLABLE
        if self._exprs.node(expression)[0] == Kind.VERBATIM or self._limit(expression):
            self.kinds[known] |= APART
        if expression == EPSILON:
            self.transitions[known] = DEAD
        return known

    def limit(self, state: int) -> tuple[int, int] | None:
        """Of a state in which a limit on characters stands beside conditions: the member that says it, and the limit.

        None for other states.
        """
        return self._limit(self._expressions[state])

    def _limit(self, expression: int) -> tuple[int, int] | None:
        node, found = self._exprs.node(expression), None
        if node[0] == Kind.AND:
            for member in node[1]:
                kind, *rest = self._exprs.node(member)
                if kind == Kind.COUNTED and rest[1] == 0 and rest[2] is not None:
                    found = member, rest[2]
        return found

    def _check(self, expression: int) -> None:
        """Refuse what would be a state for every text."""
        node = self._exprs.node(expression)
        if node[0] not in (Kind.AND, Kind.NOT):
            return
        for member in node[1] if node[0] == Kind.AND else (node[1],):
            inner = self._exprs.node(member)
            for each in inner[1] if inner[0] == Kind.ALT else (member,):
                if self._exprs.node(each)[0] == Kind.CAPTURE:
                    reason = (
                        "elements or names that must differ cannot be followed beside another condition on the whole"
                    )
                    raise GrammarError("constraint", "uniqueItems", reason, "leave out one of the two")

    def halts(self, state: int) -> bool:
        """Whether the state's expression begins with a frame, a reference or a counted run."""
        return bool(self.kinds[state] & HALTS)

    def split(self, state: int) -> tuple[int, ...]:
        """The alternatives of a state that SPLITS: expressions, together the same; no more than one does not halt."""
        known = self._split.get(state)
        if known is None:
            exprs = self._exprs
            members = [m for m in exprs.node(self._expressions[state])[1] if not exprs.is_empty(m)]
            halting = [m for m in members if head_of(exprs, m)[0] in _HALTING]
            others = exprs.alt(*[m for m in members if head_of(exprs, m)[0] not in _HALTING])
            known = self._split[state] = (*halting, others) if others != EMPTY else tuple(halting)
        return known

    def _splits(self, expression: int) -> bool:
        node = self._exprs.node(expression)
        if node[0] != Kind.ALT:
            return False
        heads = {head_of(self._exprs, member)[0] for member in node[1]}
        return not heads.isdisjoint(_HALTING)

    def expression(self, state: int) -> int:
        """The expression a state is."""
        return self._expressions[state]

    def step(self, state: int, byte: int) -> int:
        """The state after `byte`."""
        after = int(self.transitions[state, byte])
        return after if after != UNKNOWN else self.find(state, byte)

    def find(self, state: int, byte: int) -> int:
        """Fill in one transition, and those of all bytes that behave alike."""
        if self.fill_literal(state) is not None:
            return int(self.transitions[state, byte])
        mask = next(m for m in self._exprs.byte_classes(self._expressions[state]) if m >> byte & 1)
        return self._find_class(state, mask)

    def complete(self, state: int) -> np.ndarray:
        """All transitions of a state, (256,) int32."""
        if (self.transitions[state] == UNKNOWN).any() and self.fill_literal(state) is None:
            for mask in self._exprs.byte_classes(self._expressions[state]):
                if self.transitions[state, (mask & -mask).bit_length() - 1] == UNKNOWN:
                    self._find_class(state, mask)
        return self.transitions[state]

    def _find_class(self, state: int, mask: int) -> int:
        """Fill in the transitions of bytes that behave alike."""
        expression = self._expressions[state]
        if not self._exprs.first(expression) & mask:
            after = DEAD
        else:
            byte = (mask & -mask).bit_length() - 1
            after = self.state(self._exprs.derivative(expression, byte))
        self.transitions[state, bytes_of(mask)] = after
        return after

    def fill_literal(self, state: int) -> int | None:
        """Fill in a state that goes on with one set of bytes, if it is not yet: the state behind; None: it does not."""
        node = self._exprs.node(self._expressions[state])
        if node[0] == Kind.CAT:
            head, tail = self._exprs.node(node[1]), node[2]
        else:
            head, tail = node, EPSILON
        if head[0] != Kind.SET:
            return None
        byte = (head[1] & -head[1]).bit_length() - 1
        after = int(self.transitions[state, byte])
        if after == UNKNOWN:
            after = self.state(self._exprs.pruned(tail))
            row = self.transitions[state]
            row[:] = DEAD
            row[bytes_of(head[1])] = after
        return after

    def first_byte(self, state: int) -> int:
        """The lowest byte of those that a state may go on with."""
        mask = self._exprs.first(self._expressions[state])
        return (mask & -mask).bit_length() - 1

    def _grow(self) -> None:
        size = len(self.kinds)
        self.transitions = np.concatenate([self.transitions, np.empty((size, 256), np.int32)])
        self.kinds = np.concatenate([self.kinds, np.zeros(size, np.uint8)])


def head_of(exprs: Exprs, expression: int) -> tuple[int, int, int]:
    """Kind of the first part of a concatenation, that part, and the rest."""
    node = exprs.node(expression)
    if node[0] == Kind.CAT:
        return exprs.node(node[1])[0], node[1], node[2]
    return node[0], expression, EPSILON
