"""Numbers with an exponent, one digit before the point: `1.5e+300`."""

from __future__ import annotations

from fractions import Fraction

from .digits import (
    DIGIT,
    EXPONENT,
    FRACTION,
    MINUS,
    POINT,
    POSITIVE_DIGIT,
    ZERO,
    ZERO_FRACTION,
    ZEROS,
    decimals,
    naturals,
    optional,
)
from .expr import EMPTY, POOL
from .intervals import Interval
from .pools import memo

MOST_PLACES = 24
"""Digits behind the point up to which a number with an exponent is recognised as a multiple."""

_FLOATS = Interval(Fraction("5e-324"), Fraction("1.7976931348623157e308"))
_FROM_ONE = Interval(low=Fraction(1))
_MARK = POOL.byte_set(b"eE")
_PLUS = POOL.literal(b"+")
_MANTISSA = POOL.concat(POSITIVE_DIGIT, optional(FRACTION))


SCIENTIFIC_ZERO = POOL.concat(optional(MINUS), ZERO, optional(ZERO_FRACTION), EXPONENT)
"""Zero with an exponent."""


def scientific(interval: Interval) -> int:
    """The numbers of an interval that are greater than zero and that floating point can tell from it and infinity."""
    interval = interval.meet(_FLOATS)
    if interval.is_empty():
        return EMPTY
    return _ALL if interval == _FLOATS else _between(interval)


def scientific_integers(interval: Interval) -> int:
    """The integers among `scientific`: those whose exponent alone says so, see `scientific_multiples`."""
    interval = interval.meet(_FLOATS).meet(_FROM_ONE)
    if interval.is_empty():
        return EMPTY
    return _ALL_INTEGERS if interval == _ALL_FROM_ONE else POOL.and_(_between(interval), _WHOLE)


def _between(interval: Interval) -> int:
    """The numbers of an interval that is not empty and within `_FLOATS`."""
    assert interval.low is not None
    assert interval.high is not None
    first, low = _decompose(interval.low)
    last, high = _decompose(interval.high)
    if first == last:
        return _with_exponent(_mantissas(Interval(low, high, interval.low_open, interval.high_open)), first, last)
    parts = []
    if low != 1 or interval.low_open:
        parts.append(_at_least(first, low, is_open=interval.low_open))
        first += 1
    parts.append(_MOST if interval.high == _FLOATS.high else _at_most(last, high, is_open=interval.high_open))
    return POOL.alt(*parts, _with_exponent(_MANTISSA, first, last - 1))


def _at_least(exponent: int, mantissa: Fraction, *, is_open: bool) -> int:
    """Numbers with an exponent whose mantissa is so great."""
    return _with_exponent(_mantissas(Interval(low=mantissa, low_open=is_open)), exponent, exponent)


def _at_most(exponent: int, mantissa: Fraction, *, is_open: bool) -> int:
    """Numbers with an exponent whose mantissa is no greater."""
    return _with_exponent(_mantissas(Interval(high=mantissa, high_open=is_open)), exponent, exponent)


@memo
def scientific_multiples(step: Fraction) -> int:
    """Multiples of a step that are greater than zero: those whose exponent alone says so.

    With k digits behind the point, 10**k times the mantissa is whole, so it is enough that 10**(exponent - k) is a
    multiple. None of a step with other prime factors than 2 and 5.
    """
    power = 0
    while (Fraction(10) ** power / step).denominator != 1:
        power += 1
        if power > 400:
            return EMPTY
    while (Fraction(10) ** (power - 1) / step).denominator == 1:
        power -= 1
    parts = [_with_exponent(POSITIVE_DIGIT, power, None)]
    for places in range(1, MOST_PLACES + 1):
        mantissa = POOL.concat(POSITIVE_DIGIT, POINT, POOL.repeat(DIGIT, places, places))
        parts.append(_with_exponent(mantissa, power + places, None))
    return POOL.alt(*parts)


def _decompose(value: Fraction) -> tuple[int, Fraction]:
    """Exponent and mantissa, which is at least 1 and less than 10."""
    exponent = len(str(value.numerator)) - len(str(value.denominator))
    mantissa = value / Fraction(10) ** exponent
    while mantissa >= 10:
        mantissa, exponent = mantissa / 10, exponent + 1
    while mantissa < 1:
        mantissa, exponent = mantissa * 10, exponent - 1
    return exponent, mantissa


def _mantissas(interval: Interval) -> int:
    inside = interval.meet(Interval(Fraction(1), Fraction(10), False, True))
    return EMPTY if inside.is_empty() else decimals(inside)


def _with_exponent(mantissa: int, first: int | None, last: int | None) -> int:
    """Mantissas with an exponent from first to last; None: no bound on that side."""
    if mantissa == EMPTY or (first is not None and last is not None and first > last):
        return EMPTY
    parts = []
    if last is None or last >= 0:
        sign = optional(_PLUS)
        parts.append(POOL.concat(sign, ZEROS, naturals(max(first or 0, 0), last)))
    if first is None or first <= 0:
        low = 0 if last is None or last >= 0 else -last
        parts.append(POOL.concat(MINUS, ZEROS, naturals(low, None if first is None else -first)))
    return POOL.concat(mantissa, _MARK, POOL.alt(*parts))


_MOST = _at_most(*_decompose(_FLOATS.high or Fraction(0)), is_open=False)
_ALL = _between(_FLOATS)
_WHOLE = scientific_multiples(Fraction(1))
_ALL_FROM_ONE = _FLOATS.meet(_FROM_ONE)
_ALL_INTEGERS = POOL.and_(_between(_ALL_FROM_ONE), _WHOLE)
