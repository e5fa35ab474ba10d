"""How many units texts of an expression have at least, told by its structure: units are characters, mostly.

A text that is made of units is so in one way, as no unit begins another. Read along an expression from within a unit,
or from between two, its texts end in some of the few places there are within a unit; what is told is with how many
units at least they end in each. So a limit on characters that a pattern cannot keep is seen without a search.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .nodes import EMPTY, EPSILON, Kind
from .work import tick

if TYPE_CHECKING:
    from .expr import Exprs

Place = tuple[int, int]
"""An expression, and what is left of the unit from within which it is read."""

Ends = dict[int, int]
"""Where texts end, with the least number of units that are whole by then: what is left of the unit, or ANYWHERE."""

ANYWHERE = -1
"""Nothing is told of where texts end."""

UNITS_NEVER = 1 << 60
"""The least number of units where no text is made of them."""

_MOST_ROUNDS = 8  # of a repetition that are told apart
_MOST_PLACES = 600  # that are looked at for one question: a few ms


class LeastUnits:
    """Remembers, for a pool and a unit, where texts of expressions end, read from within the unit."""

    def __init__(self, exprs: Exprs, unit: int) -> None:
        self._exprs = exprs
        self._unit = unit
        self._known: dict[Place, Ends] = {}

    def __len__(self) -> int:
        return len(self._known)

    def of(self, item: int, left: int) -> int:
        """Whole units at least in the texts of `item` that consist of them, but begin with the rest `left` of one.

        What takes too long to find out is not told, then or later.
        """
        ends = self._ends(item, left)
        return min(ends.get(self._unit, UNITS_NEVER), ends.get(ANYWHERE, UNITS_NEVER))

    def _ends(self, item: int, left: int) -> Ends:
        todo, n_looked_at = [(item, left)], 0
        while todo:
            tick()
            place = todo[-1]
            if place not in self._known:
                missing: list[Place] = []
                ends = self._find(*place, missing)
                n_looked_at += 1
                if missing and n_looked_at < _MOST_PLACES:
                    todo += missing
                    continue
                self._known[place] = {ANYWHERE: 0} if missing else ends
            todo.pop()
        return self._known[item, left]

    def _of(self, item: int, left: int, missing: list[Place]) -> Ends:
        """Where the texts of a part end, if that is known; else it is among what is missing, and nothing is told."""
        if left == ANYWHERE:
            return {} if item == EMPTY else {ANYWHERE: 0}
        known = self._known.get((item, left))
        if known is None:
            missing.append((item, left))
            return {}
        return known

    def _find(self, item: int, left: int, missing: list[Place]) -> Ends:
        if item == EMPTY:
            return {}
        if item == EPSILON:
            return {left: 0}
        kind, *parts = self._exprs.node(item)
        if kind == Kind.SET:
            return self._behind_bytes(parts[0], left)
        if kind == Kind.CAT:
            return self._behind(parts[1], self._of(parts[0], left, missing), missing)
        if kind == Kind.ALT:
            return _either([self._of(each, left, missing) for each in parts[0]])
        if kind == Kind.AND:
            return _both([self._of(each, left, missing) for each in parts[0]])
        if kind == Kind.FRAME:
            return self._of(parts[0], left, missing)
        if kind in (Kind.REPEAT, Kind.COUNTED):
            return self._behind_many(parts[0], parts[1], parts[2], left, missing)
        return {ANYWHERE: 0}

    def _behind_bytes(self, mask: int, left: int) -> Ends:
        exprs, found = self._exprs, []
        for each in exprs.byte_classes(left):
            if each & mask:
                after = exprs.raw_derivative(left, (each & -each).bit_length() - 1)
                if after == EPSILON:
                    found.append({self._unit: 1})
                elif exprs.nullable(after):  # it was no rest of a unit
                    return {ANYWHERE: 0}
                elif after != EMPTY:
                    found.append({after: 0})
        return _either(found)

    def _behind(self, item: int, ends: Ends, missing: list[Place]) -> Ends:
        """Where texts of an expression end that are read from one of some ends."""
        behind = [(count, self._of(item, end, missing)) for end, count in ends.items()]
        return _either([{end: count + more for end, more in each.items()} for count, each in behind])

    def _behind_many(self, item: int, lo: int, hi: int | None, left: int, missing: list[Place]) -> Ends:
        once = self._of(item, left, missing)
        if list(once) == [left]:
            return {left: lo * once[left]}
        ends = {left: 0}
        for _ in range(min(lo, _MOST_ROUNDS)):
            ends = self._behind(item, ends, missing)
        if lo == hi and lo <= _MOST_ROUNDS:
            return ends
        while (more := _either([ends, self._behind(item, ends, missing)])) != ends:
            ends = more
        return ends


def _either(several: list[Ends]) -> Ends:
    """Where texts of any end."""
    found: Ends = {}
    for ends in several:
        for end, count in ends.items():
            found[end] = min(count, found.get(end, count))
    return found


def _both(several: list[Ends]) -> Ends:
    """Where texts may end that all have."""
    found: Ends = {}
    for end in dict.fromkeys(end for ends in several for end in ends):
        count = max(min(ends.get(end, UNITS_NEVER), ends.get(ANYWHERE, UNITS_NEVER)) for ends in several)
        if count < UNITS_NEVER:
            found[end] = count
    return found
