"""Names for states that are the same in every process, so that the rows of states can be kept on disk.

A state, and an entry of a stack, is named by what its expression is made of, where that can be said without numbers
(`digests`). Otherwise a state is named by a constraint and bytes that lead to it from there, and an entry by the state
that was entered when it was pushed: both follow from the name alone, whatever else an automaton holds. A state has
several such names when it was come to in several ways; any of them will do.
"""

from __future__ import annotations

import msgspec
import numpy as np

from .constraints import Constraint, JsonSchema
from .dfa import Dfa
from .digests import Digests
from .kept_rows import KeptRow, KeptRows, key_of
from .places import NO_UNIT
from .stacks import BOTTOM, LEVELS, Stacks
from .states import States
from .texts import NO_TEXT

_MOST_NAMES = 4  # of one state
_LONGEST_NAME = 1024
_PLANES = 8  # a row of `stay` is kept as rows of its bits
_BOTTOM_NAME = b"bottom"


class Recall:
    """The names in one automaton, and what is kept under them. One thread at a time."""

    def __init__(self, kept: KeptRows, stacks: Stacks, digests: Digests, dfa: Dfa, states: States) -> None:
        self._kept = kept
        self._stacks = stacks
        self._digests = digests
        self._dfa = dfa
        self._states = states
        self._names: dict[int, list[bytes]] = {}  # by state: those that come from how it was reached
        self._entry_names: dict[int, bytes] = {BOTTOM: _BOTTOM_NAME}

    # -- naming -----------------------------------------------------------------------------------------------

    def name_root(self, constraint: Constraint, state: int, stack: int) -> None:
        """Name where sequences of a constraint start. Those that hold a document are met once, and not named."""
        if isinstance(constraint, JsonSchema) and constraint.document is not None:
            return
        name = key_of(type(constraint).__name__.encode(), msgspec.msgpack.encode(constraint))
        self._add(state, name)
        self._name_entries(name, self._stacks.entries(stack)[::-1])

    def name_after(self, before: int, stack: int, level: int, data: bytes, after: int, pushes: tuple[int, ...]) -> None:
        """Name the state that `data` leads to, and what was pushed on the way.

        stack, level: the stack before, and how much of it that depended on.
        """
        upper = self._upper(stack, level) if level < LEVELS - 1 else None
        if upper is None:
            return
        names = [key_of(name, *upper) if upper else name for name in self._names_of(before)]
        if after != before:
            for name in names:
                self._add(after, name + data)
        if names and pushes:
            self._name_entries(names[0] + data, pushes)

    def _names_of(self, state: int) -> list[bytes]:
        place = self._states[state]
        if place.text == NO_TEXT:
            local = self._digests.of(self._dfa.expression(place.local))
            unit = b"" if place.unit == NO_UNIT else self._digests.of(self._dfa.expression(place.unit))
            if local is not None and unit is not None:
                return [key_of(local, unit, place.lo, place.hi)]
        return self._names.get(state, [])

    def _name_of_entry(self, entry: int) -> bytes | None:
        digest = None if entry == BOTTOM else self._digests.of(entry)
        return self._entry_names.get(entry) if digest is None else digest

    def _add(self, state: int, name: bytes) -> None:
        if len(name) > _LONGEST_NAME:
            name = key_of(name)
        names = self._names.setdefault(state, [])
        if len(names) < _MOST_NAMES and name not in names:
            names.append(name)

    def _name_entries(self, name: bytes, pushes: list[int] | tuple[int, ...]) -> None:
        for index, entry in enumerate(pushes):
            self._entry_names.setdefault(entry, key_of(name, index))

    # -- rows -------------------------------------------------------------------------------------------------

    def find(self, state: int, need: int, room: int, stack: int) -> KeptRow | None:
        """The row of a state on a stack, if it is kept."""
        names = self._names_of(state)
        for level in range(LEVELS - 1):
            upper = self._upper(stack, level)
            if upper is None:
                break
            for name in names:
                found = self._kept.get(key_of(name, need, room, level, *upper))
                if found is not None and found.level == level:
                    self._kept.found += 1
                    return found
        self._kept.missed += bool(names)
        return None

    def keep(self, state: int, need: int, room: int, stack: int, row: KeptRow) -> None:
        """Keep a row under all names of its state."""
        upper = self._upper(stack, row.level) if row.level < LEVELS - 1 else None
        if upper is not None:
            for name in self._names_of(state):
                self._kept.put(key_of(name, need, room, row.level, *upper), row)

    def _upper(self, stack: int, level: int) -> list[bytes] | None:
        """Names of the upper entries; None: one has none."""
        upper = []
        for _ in range(level):
            name = self._name_of_entry(self._stacks.top(stack))
            if name is None:
                return None
            upper.append(name)
            stack = self._stacks.below(stack)
        return upper

    # -- rows of `stay` -----------------------------------------------------------------------------------------

    def find_stay(self, state: int, size: int) -> np.ndarray | None:
        """The kept row of `stay` of a state, (size,) uint8, or (0,) when it is known to have none; None: not known."""
        for name in self._names_of(state):
            planes = [self._kept.get(key_of(b"stay", name, plane)) for plane in range(_PLANES)]
            if planes[0] is not None and not planes[0].accepts:
                return np.zeros(0, np.uint8)
            words = [plane.words for plane in planes if plane is not None]
            if len(words) == _PLANES:
                bits = np.unpackbits(np.stack(words).astype("<u4").view(np.uint8), axis=1, bitorder="little")
                return np.packbits(bits[:, :size], axis=0, bitorder="little")[0]
        return None

    def keep_stay(self, state: int, row: np.ndarray | None, words: int) -> None:
        """Keep a row of `stay`, or that there is none."""
        bits = np.zeros((_PLANES, 32 * words), np.uint8)
        if row is not None:
            bits[:, : len(row)] = np.unpackbits(row[None], axis=0, bitorder="little")
        planes = np.packbits(bits, axis=1, bitorder="little").view("<u4")
        for name in self._names_of(state):
            for plane in range(_PLANES if row is not None else 1):
                self._kept.put(key_of(b"stay", name, plane), KeptRow(planes[plane], row is not None, 0))
