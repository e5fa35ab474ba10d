"""How many bytes sequences need to end at least, of all of a batch at once.

What a sequence needs is what its state needs, so many units times what a unit needs, and what waits on its stack. Each
is asked of the automaton once, and stands in an array from then on. Where captured text is in it, it is no such sum.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .errors import GrammarError

if TYPE_CHECKING:
    from .automaton import Automaton

UNKNOWN = -1
"""Of a place that has to be asked about by itself."""
_UNASKED = -2


class BytesLeft:
    """Of one automaton's states and stacks."""

    def __init__(self, automaton: Automaton) -> None:
        self._automaton = automaton
        self._text = np.empty(0, np.int64)  # by state: without the units that are missing, on an empty stack
        self._unit = np.empty(0, np.int64)  # by state
        self._behind = np.empty(0, np.int64)  # by stack

    def of(self, places: np.ndarray) -> np.ndarray:
        """places: (n, 3) state, register, stack. `Automaton.bytes_left` of each, (n,) int64; UNKNOWN where that is
        not to be had so."""
        automaton = self._automaton
        states, registers, stacks = places.T
        with automaton.lock:
            self._text = _as_long(self._text, automaton.n_states)
            self._unit = _as_long(self._unit, automaton.n_states)
            self._behind = _as_long(self._behind, len(automaton.stacks))
            text, behind = self._text[states], self._behind[stacks]
            is_new = (text == _UNASKED) | ((text >= 0) & (behind == _UNASKED))
            for state, stack in {(int(states[n]), int(stacks[n])) for n in np.flatnonzero(is_new)}:
                self._ask(state, stack)
            text, behind = self._text[states], self._behind[stacks]
            missing = np.maximum(automaton.states[states, 0].astype(np.int64) - registers, 0)
            total = text + behind + missing * self._unit[states]
        return np.where((text < 0) | (behind < 0), UNKNOWN, total)

    def _ask(self, state: int, stack: int) -> None:
        automaton = self._automaton
        if automaton.is_captured(state):
            self._text[state] = UNKNOWN
            return
        lo = int(automaton.states[state, 0])
        try:
            text = automaton.bytes_left(state, lo, 0)
            self._unit[state] = automaton.bytes_left(state, lo - 1, 0) - text if lo else 0
            self._text[state] = text
        except GrammarError:
            self._text[state] = UNKNOWN
            return
        try:
            self._behind[stack] = automaton.bytes_left(state, lo, stack) - text
        except GrammarError:
            self._behind[stack] = UNKNOWN


def _as_long(array: np.ndarray, n: int) -> np.ndarray:
    if n <= len(array):
        return array
    return np.concatenate([array, np.full(max(n, 2 * len(array)) - len(array), _UNASKED, np.int64)])
