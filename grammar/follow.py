"""The bytes of one token, followed by a compiled loop where the tables hold what it needs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from . import address_kernels as ak
from . import follow_kernels as loops
from .addresses import Addresses
from .crossings import Crossings
from .dfa import Dfa
from .places import Place
from .sequences import Sequences
from .stacks import Stacks
from .vocab import Vocabulary


class Went(NamedTuple):
    """Where a token leads. place: `popped` and `pushes` count from the stack before. pushed: the id of the pushes.

    stack: the stack before, without what was popped. units, open_run, run_units: as in a `places.Path`.
    depth: how much of the stack was read.
    """

    place: Place | None
    stack: int
    pushed: int
    units: int
    open_run: bool
    run_units: int
    depth: int


class Follower:
    """Follows tokens from places without captured texts."""

    def __init__(
        self,
        dfa: Dfa,
        crossings: Crossings,
        stacks: Stacks,
        sequences: Sequences,
        vocabulary: Vocabulary,
        addresses: Addresses,
    ) -> None:
        self._dfa = dfa
        self._crossings = crossings
        self._stacks = stacks
        self._sequences = sequences
        self._vocabulary = vocabulary
        self._place = np.zeros(14, np.int64)
        self._view = self._place.data  # of which single numbers are written fastest
        self._other = np.zeros(14, np.int64)
        addresses.put(ak.FOLLOWER, self._place, self._other)
        addresses.put(ak.TEXT, vocabulary.text, vocabulary.text_start)

    def follow(self, place: Place, stack: int, token: int) -> Went | None:
        """Where a token leads from a place on a stack; to no place, where it is not allowed. None: ask a Path."""
        vocabulary = self._vocabulary
        at, end = vocabulary.text_start[token : token + 2].tolist()
        open_run = int(place.unit >= 0)
        view = self._view
        view[0], view[1], view[2], view[3], view[4], view[5], view[6] = (*place[:4], stack, 0, 0)
        view[7], view[8], view[9], view[10], view[11] = 0, open_run, 0, at, 0
        while True:
            code = self._run(end)
            if code == loops.AMBIGUOUS:
                return None
            if code in (loops.WENT, loops.REFUSED):
                break
            self._find(code)
        local, unit, lo, hi, below, popped, pushed, units, open_run, run_units, _, depth, _, _ = self._place.tolist()
        after = None
        if code == loops.WENT:
            after = Place(local, unit, lo, hi, popped, self._sequences.entries(pushed))
        return Went(after, below, pushed, units, bool(open_run), run_units, depth)

    def _run(self, end: int) -> int:
        dfa, crossings, stacks = self._dfa, self._crossings, self._stacks
        with dfa.exprs.lock:
            return loops.follow(
                dfa.exprs.array,
                dfa.arrays,
                self._vocabulary.text,
                end,
                self._place,
                self._other,
                crossings.arrays,
                stacks.arrays,
            )

    def _find(self, code: int) -> None:
        """Find what the loop asked for."""
        at, _, asked, beside = self._place[loops.AT :].tolist()
        if code == loops.NO_EDGE:
            self._dfa.find(asked, int(self._vocabulary.text[at]))
        else:
            self._crossings.find_entry(asked, beside)
