"""Texts by which names of any length may be over, from each state: ways that are known, before any is asked for."""

from __future__ import annotations

import numpy as np

from .dfa import DEAD, NULLABLE, Dfa

_MOST_STATES = 4000
_LONGEST = 24  # bytes of an end that is looked for so
_FAR = 1 << 14
_MOST_LOOKED_AT = 32  # derivatives


class NameEnds:
    """Remembers an end of each state asked about, a shortest one mostly. None of them is dead."""

    def __init__(self, dfa: Dfa) -> None:
        self._dfa = dfa
        self._known: dict[int, bytes] = {}

    def __getitem__(self, state: int) -> bytes:
        """An end of a state."""
        known = self._known.get(state)
        if known is None:
            known = self._known[state] = self._ask(self._dfa.expression(state))
        return known

    def _ask(self, item: int) -> bytes:
        exprs = self._dfa.exprs
        for look in (lambda each: exprs.way_out(each, _MOST_LOOKED_AT, _LONGEST), exprs.seen, exprs.shortest):
            found = look(item)
            if found is not None:
                return found
        return b""

    def find(self, states: list[int]) -> None:
        """Find the ends of states of which there is one by transitions that are known."""
        asked = np.array([state for state in states if state not in self._known], np.int64)
        if len(asked):
            self._find(asked)

    def _find(self, asked: np.ndarray) -> None:
        met = self._reached(asked)
        is_over = self._dfa.kinds[met] & NULLABLE != 0
        left = np.full(len(self._dfa) + 1, _FAR, np.int64)  # bytes to an end; the last stands for what is not known
        left[met[is_over]] = 0
        todo, size = met[~is_over], 0
        rows = self._dfa.transitions[todo]
        while size < _LONGEST and len(todo):
            size += 1
            is_near = (left[rows] == size - 1).any(1)
            left[todo[is_near]] = size
            todo, rows = todo[~is_near], rows[~is_near]
        for state in asked[left[asked] < _FAR].tolist():
            self._known[state] = self._way(state, left)

    def _reached(self, states: np.ndarray) -> np.ndarray:
        """Some states, and those that known transitions lead to from there, if they are not too many."""
        dfa = self._dfa
        is_met = np.zeros(len(dfa), bool)
        new = states
        while len(new):
            is_met[new] = True
            open_ones = new[dfa.kinds[new] & NULLABLE == 0]
            if is_met.sum() > _MOST_STATES:
                break
            after = np.zeros(len(dfa), bool)
            rows = dfa.transitions[open_ones]
            after[rows[rows > DEAD]] = True
            new = np.flatnonzero(after & ~is_met)
        return np.flatnonzero(is_met)

    def _way(self, state: int, left: np.ndarray) -> bytes:
        """The bytes on a way to an end."""
        way = bytearray()
        while size := int(left[state]):
            byte = int((left[self._dfa.transitions[state]] == size - 1).argmax())
            way.append(byte)
            state = int(self._dfa.transitions[state, byte])
        return bytes(way)
