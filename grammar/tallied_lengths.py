"""How short what is still to come may be, where it counts towards tallies: dynamic programming over the counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .counts import Left
from .witness import NEVER

MOST = 20_000
"""Steps that finding all lengths may take: for each member, each count before it with each behind it."""

Counts = tuple[int, ...]
"""How many were written, then how many towards each tally; more than are needed count as those that are."""


class Option(NamedTuple):
    """One way to write a member: how long it is, and what it counts. Left out, it counts nothing and has no length."""

    length: int
    counts: Counts


Lengths = dict[int, int]
"""The least length for each count that can be come to; counts as `_Bounds` writes them."""


def least_length(members: Sequence[Sequence[Option]], others: Sequence[Option], still: Left) -> int:
    """Of members each of which is written in one of some ways, and any number of others; NEVER where they cannot be."""
    bounds = _Bounds(still)
    found: Lengths = {0: 0}
    for options in members:
        found = bounds.both(found, bounds.distinct(options))
    return bounds.least(bounds.with_others(found, others), still)


class TalliedLengths:
    """Of members each of which is written in one of some ways, all but one, and any number of others.

    still: what is to come before any is written, and so the most that matters.
    """

    def __init__(self, members: Sequence[Sequence[Option]], others: Sequence[Option], still: Left) -> None:
        self._bounds = bounds = _Bounds(still)
        self._others = others
        steps = [bounds.distinct(options) for options in members]
        self._before = self._sums(steps)
        self._behind = self._sums(steps[::-1])[::-1]
        met = sum(len(a) * len(b) for a, b in zip(self._before, self._behind, strict=False))
        self.is_known = len(self._before) == len(self._behind) == max(len(steps), 1) and met <= MOST
        if self.is_known:
            last = self._before[-1]
            self._all = bounds.with_others(bounds.both(last, steps[-1]) if steps else last, others)

    def _sums(self, steps: list[Lengths]) -> list[Lengths]:
        """For all members before each; not for the last ones, where that would take too many steps."""
        found: list[Lengths] = [{0: 0}]
        taken = 0
        for step in steps[:-1]:
            taken += len(found[-1]) * len(step)
            if taken > MOST:
                break
            found.append(self._bounds.both(found[-1], step))
        return found

    def besides(self, index: int | None) -> Lengths:
        """For all members but one; None: for all."""
        if index is None:
            return self._all
        both = self._bounds.both(self._before[index], self._behind[index])
        return self._bounds.with_others(both, self._others)

    def behind(self, index: int) -> Lengths:
        """For the members behind one; -1: for all."""
        return self._bounds.with_others(self._behind[index], self._others) if index >= 0 else self._all

    def least(self, lengths: Lengths, still: Left) -> int:
        """Of those after which nothing more has to come; NEVER where there are none."""
        return self._bounds.least(lengths, still)


class _Bounds:
    """Of the total, then of each tally; and counts of all of them as one number each, with a field for each bound.

    A field holds the sum of two counts, and above it a bit that is set by what goes beyond the most that matters.
    """

    def __init__(self, still: Left) -> None:
        bounds = (still.total, *still.tallies)
        most = [bound.low if bound.high is None else bound.high for bound in bounds]
        self._bits = max(1, *most, *[bound.low for bound in bounds]).bit_length() + 1
        full = (1 << self._bits) - 1
        self._beyond = self._number([full + 1] * len(bounds))
        self._refused = self._number([0 if bound.high is None else full + 1 for bound in bounds])
        self._most = self._number(most)
        self._room = self._number([full - each for each in most])

    def distinct(self, options: Sequence[Option]) -> Lengths:
        """The shortest of some options for each of their counts."""
        found: Lengths = {}
        for length, counts in options:
            number = self._number(counts)
            found[number] = min(length, found.get(number, NEVER))
        return found

    def both(self, first: Lengths, second: Lengths) -> Lengths:
        """Of one of the first together with one of the second. (Not by `_sum`: most of the time is spent here.)"""
        beyond, room = self._beyond, self._room
        found: Lengths = {}
        for counts, length in first.items():
            for others, more in second.items():
                both = counts + others
                if (both + room) & beyond:
                    both = self._sum(counts, others)
                if length + more < found.get(both, NEVER) and both >= 0:
                    found[both] = length + more
        return found

    def with_others(self, lengths: Lengths, others: Sequence[Option]) -> Lengths:
        """The same, any number of others being written too."""
        found, todo = dict(lengths), list(lengths)
        numbers = [(length, self._number(counts)) for length, counts in others]
        while todo:
            counts = todo.pop()
            for length, more in numbers:
                both = self._sum(counts, more)
                if both >= 0 and found[counts] + length < found.get(both, NEVER):
                    found[both] = found[counts] + length
                    todo.append(both)
        return found

    def least(self, lengths: Lengths, still: Left) -> int:
        """Of those after which nothing more has to come; `still` is what was given, or less."""
        bounds = (still.total, *still.tallies)
        full, beyond = (1 << self._bits) - 1, self._beyond
        low = self._number([bound.low for bound in bounds])
        high = self._number([full if bound.high is None else bound.high for bound in bounds]) | beyond
        fitting = [n for counts, n in lengths.items() if ((counts | beyond) - low) & (high - counts) & beyond == beyond]
        return min(fitting, default=NEVER)

    def _sum(self, first: int, second: int) -> int:
        """The counts of two together; below 0: too many."""
        total = first + second
        over = (total + self._room) & self._beyond
        if not over:
            return total
        if over & self._refused:
            return -1
        fields = over - (over >> self._bits)
        return total & ~fields | self._most & fields

    def _number(self, counts: Sequence[int]) -> int:
        number = 0
        for count in reversed(counts):
            number = number << (self._bits + 1) | count
        return number
