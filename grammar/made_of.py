"""Whether all texts of an expression are made of whole characters of some kind, as far as its structure shows.

Any number of such characters, asked for beside it, says nothing then; without that it is simpler, and shares its states
with others that have no limit on their length, or another one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from .expr import Exprs
from .loosened import bytes_of
from .machine import AnyMachine
from .nodes import EMPTY, EPSILON, Kind
from .work import tick

_MOST_KNOWN = 50_000
_MOST_STATES = 64
_FEW = 200  # parts: of more, all bytes are looked at first
_MOST_LEVELS = 64
_DEEPEST = 200
_NOT_SEEN = -1
_START = 1  # a set of the first state alone


class _Many(Exception):
    """There are more parts than few."""


class MadeOf:
    """Answers for one pool and one kind of characters.

    Texts are followed through an automaton that reads any number of those: its states are expressions, numbered as they
    are met. For each part of an expression, from a state, there is a set of states, as bits, with all those in which
    its texts may end; _NOT_SEEN where some may end in none.
    """

    def __init__(self, exprs: Exprs, unit: int) -> None:
        self._exprs = exprs
        self._states = [exprs.repeat(unit, 0, None)]
        self._moves: dict[int, list[tuple[int, int]]] = {}
        self._known: dict[tuple[int, int], int] = {}
        self._bytes: dict[AnyMachine, int] = {}
        self._whole = bytearray()  # by expression, whether all of its bytes are known to be whole units
        self._left = 0  # parts that may still be looked at

    def __len__(self) -> int:
        return len(self._known)

    def holds(self, item: int) -> bool:
        """Whether it is seen that all texts of an expression are made of whole ones, and that nothing is counted.

        Nothing, that is, but beside other conditions: what begins with a counted run is followed otherwise.
        """
        if len(self._known) > _MOST_KNOWN:
            self._known.clear()
        self._left = _FEW
        try:
            return self._behind(item, 0, 0) in (0, _START)
        except _Many:
            self._left = -1
        return self._is_of_bytes(item) or self._behind(item, 0, 0) in (0, _START)

    def _is_of_bytes(self, item: int) -> bool:
        """Whether all bytes of an expression are whole units; it and all of its parts are known to be then."""
        found = self._exprs.sets_in(item, _MOST_LEVELS)
        whole = sum(mask for mask, after in self._moves_of(0) if after == 0)
        if found is None or any(self._exprs.mask_of(number) & ~whole for number in found.numbers):
            return False
        self._whole += bytes(len(found.is_part) - len(self._whole))
        np.frombuffer(self._whole, bool)[:] |= found.is_part
        return True

    def _behind(self, item: int, state: int, depth: int) -> int:
        """The states in which texts of an expression may end that begin in a state."""
        if state == 0 and item < len(self._whole) and self._whole[item]:
            return _START
        key = item, state
        known = self._known.get(key)
        if known is None:
            tick()
            self._left -= 1
            if self._left == 0:
                raise _Many
            known = self._known[key] = self._find(item, state, depth + 1) if depth < _DEEPEST else _NOT_SEEN
        return known

    def _find(self, item: int, state: int, depth: int) -> int:
        kind, *rest = self._exprs.node(item)
        if kind == Kind.SET:
            return self._by_bytes(rest[0], state)
        if kind == Kind.CAT:
            return self._joined(rest[1], self._behind(rest[0], state, depth), depth)
        if kind == Kind.ALT:
            return _union(self._behind(each, state, depth) for each in rest[0])
        if kind == Kind.AND:
            return self._shared(rest[0], state, depth)
        if kind == Kind.REPEAT:
            return self._closed(state, lambda each: self._behind(rest[0], each, depth))
        if kind == Kind.MACHINE:
            mask = self._bytes_of(rest[0])
            return self._closed(state, lambda each: self._by_bytes(mask, each)) if mask else _NOT_SEEN
        return {EMPTY: 0, EPSILON: 1 << state}.get(item, _NOT_SEEN)

    def _joined(self, tail: int, states: int, depth: int) -> int:
        """Behind what ends in some states, and then a tail."""
        while states > 0 and self._exprs.kind(tail) == Kind.CAT:
            _, head, tail = self._exprs.node(tail)
            states = _union(self._behind(head, each, depth) for each in _members(states))
        return states if states <= 0 else _union(self._behind(tail, each, depth) for each in _members(states))

    def _shared(self, members: tuple[int, ...], state: int, depth: int) -> int:
        """Of an intersection: where texts of all members may end of which that is seen, until it is one state."""
        found = _NOT_SEEN
        for member in members:
            if found > 0 and found & found - 1 == 0:
                break
            states = self._behind(member, state, depth)
            if states != _NOT_SEEN:
                found = states if found == _NOT_SEEN else found & states
        return found

    def _closed(self, state: int, step: Callable[[int], int]) -> int:
        """The states that any number of steps lead to."""
        found, new = 1 << state, 1 << state
        while new:
            after = _union(step(each) for each in _members(new))
            if after == _NOT_SEEN:
                return _NOT_SEEN
            new = after & ~found
            found |= after
        return found

    def _by_bytes(self, mask: int, state: int) -> int:
        """The states that one of some bytes leads to."""
        found = 0
        for part, after in self._moves_of(state):
            if part & mask:
                found |= 1 << after
                mask &= ~part
        return _NOT_SEEN if mask else found

    def _moves_of(self, state: int) -> list[tuple[int, int]]:
        """Bytes, as masks, with the states they lead to."""
        known = self._moves.get(state)
        if known is None:
            exprs, item, known = self._exprs, self._states[state], []
            first = exprs.first(item)
            for part in exprs.byte_classes(item):
                after = exprs.raw_derivative(item, (part & -part).bit_length() - 1) if part & first else EMPTY
                if after != EMPTY and (after in self._states or len(self._states) < _MOST_STATES):
                    if after not in self._states:
                        self._states.append(after)
                    known.append((part, self._states.index(after)))
            self._moves[state] = known
        return known

    def _bytes_of(self, machine: AnyMachine) -> int:
        """All bytes that texts of a machine may have, as a mask; 0: that is not known."""
        known = self._bytes.get(machine)
        if known is None:
            known = self._bytes[machine] = bytes_of(machine)
        return known


def _members(states: int) -> list[int]:
    return [state for state in range(states.bit_length()) if states >> state & 1]


def _union(sets: Iterable[int]) -> int:
    found = 0
    for states in sets:
        if states == _NOT_SEEN:
            return _NOT_SEEN
        found |= states
    return found
