"""How short what is still to come may be, where it counts towards tallies: dynamic programming over the counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .counts import Left, Tally
from .witness import NEVER

MOST = 20_000
"""Steps that finding all lengths may take: for each member, each count before it with each behind it."""

Counts = tuple[int, ...]
"""How many were written, then how many towards each tally; more than are needed count as those that are."""


class Option(NamedTuple):
    """One way to write a member: how long it is, and what it counts. Left out, it counts nothing and has no length."""

    length: int
    counts: Counts


Lengths = dict[Counts, int]
"""The least length for each count that can be come to."""


Bounds = tuple[Tally, ...]
"""Of the total, then of each tally."""


def least_length(members: Sequence[Sequence[Option]], others: Sequence[Option], still: Left) -> int:
    """Of members each of which is written in one of some ways, and any number of others; NEVER where they cannot be."""
    bounds = (still.total, *still.tallies)
    found: Lengths = {(0,) * len(bounds): 0}
    for options in members:
        found = _both(found, _distinct(options), bounds)
    return _least(_with_others(found, others, bounds), still)


class TalliedLengths:
    """Of members each of which is written in one of some ways, all but one, and any number of others.

    still: what is to come before any is written, and so the most that matters.
    """

    def __init__(self, members: Sequence[Sequence[Option]], others: Sequence[Option], still: Left) -> None:
        self._bounds = (still.total, *still.tallies)
        self._others = others
        none = {(0,) * len(self._bounds): 0}
        steps = [_distinct(options) for options in members]
        self._before = self._sums(none, steps)
        self._behind = self._sums(none, steps[::-1])[::-1]
        met = sum(len(a) * len(b) for a, b in zip(self._before, self._behind, strict=False))
        self.is_known = len(self._before) == len(self._behind) == max(len(steps), 1) and met <= MOST
        if not self.is_known:
            return
        self._all = none
        for step in steps:
            self._all = _both(self._all, step, self._bounds)
        self._all = _with_others(self._all, others, self._bounds)

    def _sums(self, none: Lengths, steps: list[Lengths]) -> list[Lengths]:
        """For all members before each; not for the last ones, where that would take too many steps."""
        found, taken = [none], 0
        for step in steps[:-1]:
            taken += len(found[-1]) * len(step)
            if taken > MOST:
                break
            found.append(_both(found[-1], step, self._bounds))
        return found

    def besides(self, index: int | None) -> Lengths:
        """For all members but one; None: for all."""
        if index is None:
            return self._all
        both = _both(self._before[index], self._behind[index], self._bounds)
        return _with_others(both, self._others, self._bounds)

    def least(self, lengths: Lengths, still: Left) -> int:
        """Of those after which nothing more has to come; NEVER where there are none."""
        return _least(lengths, still)


def _least(lengths: Lengths, still: Left) -> int:
    wanted = (still.total, *still.tallies)
    fitting = [length for counts, length in lengths.items() if all(map(_fits, counts, wanted))]
    return min(fitting, default=NEVER)


def _distinct(options: Sequence[Option]) -> Lengths:
    found: Lengths = {}
    for length, counts in options:
        found[counts] = min(length, found.get(counts, NEVER))
    return found


def _both(first: Lengths, second: Lengths, bounds: Bounds) -> Lengths:
    found: Lengths = {}
    for counts, length in first.items():
        for others, more in second.items():
            both = _sum(counts, others, bounds)
            if both is not None and length + more < found.get(both, NEVER):
                found[both] = length + more
    return found


def _sum(first: Counts, second: Counts, bounds: Bounds) -> Counts | None:
    total = []
    for a, b, (low, high) in zip(first, second, bounds, strict=True):
        if high is not None and a + b > high:
            return None
        total.append(a + b if high is not None else min(a + b, low))
    return tuple(total)


def _with_others(lengths: Lengths, others: Sequence[Option], bounds: Bounds) -> Lengths:
    """The same, any number of others being written too."""
    found, todo = dict(lengths), list(lengths)
    while todo:
        counts = todo.pop()
        for length, more in others:
            both = _sum(counts, more, bounds)
            if both is not None and found[counts] + length < found.get(both, NEVER):
                found[both] = found[counts] + length
                todo.append(both)
    return found


def _fits(count: int, bound: Tally) -> bool:
    return bound.low <= count and (bound.high is None or count <= bound.high)
