"""Digit strings whose value lies in an interval, compared digit by digit: no floating point is used."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

from .expr import EMPTY, EPSILON, POOL
from .intervals import Interval

ZERO = POOL.literal(b"0")
POINT = POOL.literal(b".")
DIGIT = POOL.byte_set(b"0123456789")
POSITIVE_DIGIT = POOL.byte_set(b"123456789")
DIGITS = POOL.repeat(DIGIT, 0, None)
ZEROS = POOL.repeat(ZERO, 0, None)
MINUS = POOL.literal(b"-")
_NATURAL = POOL.alt(ZERO, POOL.concat(POSITIVE_DIGIT, DIGITS))
ZERO_FRACTION = POOL.concat(POINT, ZERO, ZEROS)


def optional(item: int) -> int:
    """The same, or nothing."""
    return POOL.alt(EPSILON, item)


INTEGER = POOL.concat(optional(MINUS), _NATURAL)
"""Any integer, written without fraction and exponent."""

FRACTION = POOL.concat(POINT, DIGIT, DIGITS)
EXPONENT = POOL.concat(POOL.byte_set(b"eE"), optional(POOL.byte_set(b"+-")), DIGIT, DIGITS)


def signed(interval: Interval, magnitudes: Callable[[Interval], int]) -> int:
    """Texts of an interval, given how to write the part of one that is not negative."""
    positive = interval.meet(Interval(low=Fraction(0)))
    negative = interval.negated().meet(Interval(low=Fraction(0)))
    parts = [] if positive.is_empty() else [magnitudes(positive)]
    if not negative.is_empty():
        parts.append(POOL.concat(MINUS, magnitudes(negative)))
    return POOL.alt(*parts)


# -- integers -------------------------------------------------------------------------------------------------


def whole(interval: Interval) -> Interval:
    """The closed interval with the same integers."""
    low, high = interval.low, interval.high
    if low is not None:
        low = Fraction(math.floor(low) + 1 if interval.low_open else math.ceil(low))
    if high is not None:
        high = Fraction(math.ceil(high) - 1 if interval.high_open else math.floor(high))
    return Interval(low, high)


def integers(interval: Interval) -> int:
    """Integers of an interval between whole bounds, without negatives."""
    return naturals(int(interval.low or 0), None if interval.high is None else int(interval.high))


def naturals(low: int, high: int | None) -> int:
    """Integers from low to high, neither negative, without leading zeros."""
    first = str(low)
    if high is None:
        longer = POOL.concat(POSITIVE_DIGIT, POOL.repeat(DIGIT, len(first), None))
        return POOL.alt(_same_length(first, "9" * len(first)), longer)
    last = str(high)
    if low > high:
        return EMPTY
    if len(first) == len(last):
        return _same_length(first, last)
    between = POOL.concat(POSITIVE_DIGIT, POOL.repeat(DIGIT, len(first), len(last) - 2))
    lowest = "1" + "0" * (len(last) - 1)
    return POOL.alt(_same_length(first, "9" * len(first)), between, _same_length(lowest, last))


def _same_length(low: str, high: str) -> int:
    """Digit strings between two of the same length."""
    shared = next((i for i, (a, b) in enumerate(zip(low, high, strict=True)) if a != b), len(low))
    begun = POOL.literal(low[:shared].encode())
    if shared == len(low):
        return begun
    a, b, behind = low[shared], high[shared], len(low) - shared - 1
    if a > b:
        return EMPTY
    least = POOL.concat(_between(a, a), _from(low[shared + 1 :], "0", 1))
    most = POOL.concat(_between(b, b), _from(high[shared + 1 :], "9", -1))
    middle = POOL.concat(_between(a, b, 1, -1), POOL.repeat(DIGIT, behind, behind))
    return POOL.concat(begun, POOL.alt(least, middle, most))


def _from(bound: str, end: str, step: int) -> int:
    """Digit strings as long as a bound and no less (step 1; end: the least digit), or no greater (-1; the greatest)."""
    found = EPSILON
    for behind, digit in enumerate(reversed(bound)):
        free = POOL.repeat(DIGIT, behind, behind)
        if digit == end and found == free:
            found = POOL.repeat(DIGIT, behind + 1, behind + 1)
        else:
            others = _between(digit, "9", 1, 0) if step > 0 else _between("0", digit, 0, -1)
            found = POOL.alt(POOL.concat(_between(digit, digit), found), POOL.concat(others, free))
    return found


def _digit_step(a: str, b: str, both: int, at_least: int, at_most: int, free: int) -> int:
    """One digit more in front, when what came before equals both bounds so far."""
    if a == b:
        return POOL.concat(_between(a, a), both)
    if a > b:
        return EMPTY
    middle = POOL.concat(_between(a, b, 1, -1), free)
    return POOL.alt(POOL.concat(_between(a, a), at_least), middle, POOL.concat(_between(b, b), at_most))


def _between(first: str, last: str, after: int = 0, before: int = 0) -> int:
    """One digit between two; `after` and `before` move the ends."""
    return _BETWEEN.get((int(first) + after, int(last) + before), EMPTY)


_BETWEEN = {(a, b): POOL.byte_set(range(48 + a, 48 + b + 1)) for a in range(10) for b in range(a, 10)}


# -- fractions ------------------------------------------------------------------------------------------------


def decimals(interval: Interval) -> int:
    """Numbers of an interval without negatives, as digits and perhaps a fraction."""
    low, low_digits = split(interval.low or Fraction(0))
    any_fraction = optional(FRACTION)
    if interval.high is None:
        high, high_digits = None, ""
    else:
        high, high_digits = split(interval.high)
    if high == low:
        bounds = (low_digits, high_digits, interval.low_open, interval.high_open)
        return POOL.concat(naturals(low, low), _fractions(*bounds))
    parts = [POOL.concat(naturals(low, low), _fractions(low_digits, None, interval.low_open, False))]
    parts.append(POOL.concat(naturals(low + 1, None if high is None else high - 1), any_fraction))
    if high is not None:
        parts.append(POOL.concat(naturals(high, high), _fractions(None, high_digits, False, interval.high_open)))
    return POOL.alt(*parts)


def split(value: Fraction) -> tuple[int, str]:
    """Whole part and fraction digits of a number that is not negative and has finitely many."""
    whole, rest = divmod(value, 1)
    digits = ""
    while rest:
        digit, rest = divmod(rest * 10, 1)
        digits += str(int(digit))
    return int(whole), digits


def _fractions(low: str | None, high: str | None, low_open: bool, high_open: bool) -> int:
    """What may follow the whole part: nothing, or a point and digits, between two fractions (None: no bound)."""
    length = max(len(low or ""), len(high or ""), 1)
    low_digits, high_digits = (low or "").ljust(length, "0"), (high or "").ljust(length, "0")
    any_digits = DIGITS
    at_least = POOL.concat(ZEROS, POSITIVE_DIGIT, DIGITS) if low_open else any_digits
    at_most = EMPTY if high_open else ZEROS
    both = EMPTY if low_open or high_open else ZEROS
    digits = (EMPTY, EMPTY, EMPTY)
    may_stop = (not low_open, not high_open)  # the digits end here: zeros follow
    for a, b in zip(reversed(low_digits), reversed(high_digits), strict=True):
        digits = (
            POOL.alt(POOL.concat(_between(a, a), at_least), POOL.concat(_between(a, "9", 1, 0), any_digits)),
            POOL.alt(POOL.concat(_between(b, b), at_most), POOL.concat(_between("0", b, 0, -1), any_digits)),
            _digit_step(a, b, both, at_least, at_most, any_digits),
        )
        may_stop = (may_stop[0] and a == "0", may_stop[1] or b != "0")
        at_least = optional(digits[0]) if may_stop[0] else digits[0]
        at_most = optional(digits[1]) if may_stop[1] else digits[1]
        both = optional(digits[2]) if all(may_stop) else digits[2]
    which = 1 if low is None else 0 if high is None else 2
    stop = (*may_stop, all(may_stop))[which]
    fraction = POOL.concat(POINT, digits[which])
    return optional(fraction) if stop else fraction
