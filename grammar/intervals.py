"""Intervals of exact numbers."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

import msgspec

_DIGITS = tuple(map(Fraction, range(10)))
_NINE = _DIGITS[-1]
_LONG = 1 << 128


class Interval(msgspec.Struct, frozen=True, gc=False):
    """The numbers between two bounds; None: no bound on that side. Open ends are not part of it."""

    low: Fraction | None = None
    high: Fraction | None = None
    low_open: bool = False
    high_open: bool = False

    def is_unbounded(self) -> bool:
        """Whether all numbers are inside."""
        return self.low is None and self.high is None

    def is_empty(self) -> bool:
        """Whether no number is inside."""
        if self.low is None or self.high is None:
            return False
        return self.low > self.high or (self.low == self.high and (self.low_open or self.high_open))

    def contains(self, value: Fraction) -> bool:
        """Whether a number is inside."""
        above = self.low is None or value > self.low or (value == self.low and not self.low_open)
        return above and (self.high is None or value < self.high or (value == self.high and not self.high_open))

    def is_short(self) -> bool:
        """Whether its bounds are quickly written."""
        return _is_short(self.low) and _is_short(self.high)

    def has_digit(self) -> bool:
        """Whether any of the numbers from 0 to 9 is inside."""
        if (self.low is not None and self.low > _NINE) or (self.high is not None and self.high < 0):
            return False
        return any(map(self.contains, _DIGITS))

    def meet(self, other: Interval) -> Interval:
        """The numbers in both."""
        low, low_open = _tighter((self.low, self.low_open), (other.low, other.low_open), 1)
        high, high_open = _tighter((self.high, self.high_open), (other.high, other.high_open), -1)
        return Interval(low, high, low_open, high_open)

    def negated(self) -> Interval:
        """The numbers whose negatives are inside."""
        low = None if self.high is None else -self.high
        high = None if self.low is None else -self.low
        return Interval(low, high, self.high_open, self.low_open)

    def without(self, numbers: Iterable[Fraction]) -> list[Interval]:
        """The interval in pieces, these numbers left out."""
        pieces: list[Interval] = [self]
        for number in numbers:
            ends = Interval(high=number, high_open=True), Interval(low=number, low_open=True)
            pieces = [found for piece in pieces for end in ends if not (found := piece.meet(end)).is_empty()]
        return pieces


def _tighter(
    first: tuple[Fraction | None, bool], second: tuple[Fraction | None, bool], sign: int
) -> tuple[Fraction | None, bool]:
    """Of two bounds with their openness, the one that lets fewer numbers in. sign: 1 for low bounds, -1 for high."""
    if first[0] is None or second[0] is None:
        return second if first[0] is None else first
    if first[0] == second[0]:
        return first[0], first[1] or second[1]
    return first if sign * first[0] > sign * second[0] else second


def _is_short(bound: Fraction | None) -> bool:
    return bound is None or (abs(bound.numerator) < _LONG and bound.denominator < _LONG)
