"""Which tokens leave a wide state as it is: what a step reads, instead of asking about each token of a text."""

from __future__ import annotations

import numpy as np

from . import address_kernels as ak
from . import kernels
from .addresses import Addresses
from .dfa import HALTS, SPLITS, Dfa
from .masks import Masks
from .part import OTHER
from .places import NO_UNIT, Place
from .recall import Recall
from .stack_kernels import NO_STAY
from .states import States
from .texts import NO_TEXT
from .vocab import Vocabulary

MOST_STAYS = 256
"""States that may have a row."""

_FROM = 256  # a state that so many tokens keep gets a row


class Stays:
    """Owner of the rows, and of which states have one.

    rows: (rows, size) uint8, how many units each token begins that leaves the state as it is; 255 for others. Row 0 is
    of states without one. Replaced when there are more. recall: what earlier processes found, None: nothing.
    """

    def __init__(
        self,
        states: States,
        masks: Masks,
        dfa: Dfa,
        vocabulary: Vocabulary,
        addresses: Addresses,
        recall: Recall | None,
    ) -> None:
        self._states = states
        self._masks = masks
        self._dfa = dfa
        self._vocabulary = vocabulary
        self._addresses = addresses
        self._recall = recall
        self._room = np.empty((MOST_STAYS + 1, vocabulary.size), np.uint8)  # rows not written take no memory
        self._room[0] = OTHER
        self._hold(1)

    @property
    def nbytes(self) -> int:
        """Memory of the rows."""
        return self.rows.nbytes

    def remember(self, state: int, place: Place) -> None:
        """Note which tokens leave a state, which is a place, as it is, if that is not known and worth it."""
        if place.text != NO_TEXT or self._states.stay_of(place) != kernels.MISSING:
            return
        known, has_room = NO_STAY, len(self.rows) < len(self._room)
        if has_room and not self._dfa.kinds[place.local] & (SPLITS | HALTS) and self._masks.is_wide(place.local):
            row = self._find(state, place)
            if row is not None:
                known = len(self.rows)
                self._room[known] = row
                self._hold(known + 1)
        self._states.put_stay(place, int(known))

    def _find(self, state: int, place: Place) -> np.ndarray | None:
        if self._recall is not None:
            kept = self._recall.find_stay(state, self._vocabulary.size)
            if kept is not None:
                return kept if len(kept) else None
        part = self._masks.parts.part(place.local, place.unit, np.zeros(1, np.int32))
        may_be_left = place.unit == NO_UNIT and part.may_end  # then a token may do both, inside and behind
        row = None if may_be_left else part.staying(place.local, self._vocabulary.size)
        if row is not None and np.count_nonzero(row != OTHER) < _FROM:
            row = None
        if self._recall is not None:
            self._recall.keep_stay(state, row, self._vocabulary.words)
        return row

    def _hold(self, count: int) -> None:
        self.rows = self._room[:count]
        self._addresses.put(ak.STAY, self.rows)
