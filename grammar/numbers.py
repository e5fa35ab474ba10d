"""Numbers as text: which spellings there are, and those whose value lies in an interval or is a multiple.

Spellings. Integers: an optional minus and digits without leading zeros. Other numbers: optionally a fraction and an
exponent, as RFC 8259 has it. Where a value is bounded, or must be a multiple, there is no exponent, so that it can be
compared digit by digit; the fraction may have any number of digits. Comparison is exact: no floating point is used.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction

import msgspec

from .errors import GrammarError
from .expr import EMPTY, EPSILON, POOL

MAX_RESIDUES = 2_000
"""The largest divisor, without its factors of ten, that a multiple is checked by."""

MAX_LISTED = 128
"""Multiples in an interval are written out one by one up to this many."""

_ZERO = POOL.literal(b"0")
_POINT = POOL.literal(b".")
_DIGIT = POOL.byte_set(b"0123456789")
_POSITIVE_DIGIT = POOL.byte_set(b"123456789")
_DIGITS = POOL.repeat(_DIGIT, 0, None)
_ZEROS = POOL.repeat(_ZERO, 0, None)
_MINUS = POOL.literal(b"-")
_NATURAL = POOL.alt(_ZERO, POOL.concat(_POSITIVE_DIGIT, _DIGITS))
_ZERO_FRACTION = POOL.concat(_POINT, _ZERO, _ZEROS)


def _optional(item: int) -> int:
    return POOL.alt(EPSILON, item)


INTEGER = POOL.concat(_optional(_MINUS), _NATURAL)
"""Any integer, written without fraction and exponent."""

_FRACTION = POOL.concat(_POINT, _DIGIT, _DIGITS)
_EXPONENT = POOL.concat(POOL.byte_set(b"eE"), _optional(POOL.byte_set(b"+-")), _DIGIT, _DIGITS)

NUMBER = POOL.concat(INTEGER, _optional(_FRACTION), _optional(_EXPONENT))
"""Any number RFC 8259 can write."""


class Interval(msgspec.Struct, frozen=True):
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


def _tighter(
    first: tuple[Fraction | None, bool], second: tuple[Fraction | None, bool], sign: int
) -> tuple[Fraction | None, bool]:
    """Of two bounds with their openness, the one that lets fewer numbers in. sign: 1 for low bounds, -1 for high."""
    if first[0] is None or second[0] is None:
        return second if first[0] is None else first
    if first[0] == second[0]:
        return first[0], first[1] or second[1]
    return first if sign * first[0] > sign * second[0] else second


def exact(value: int | Decimal) -> Fraction:
    """A JSON number without any loss."""
    return Fraction(value)


def spelled_number(value: int | Decimal) -> str:
    """The one spelling a number in `enum` or `const` is written in: the one Python's json would choose."""
    if isinstance(value, int):
        return str(value)
    if value == value.to_integral_value() and abs(value) < 10**16:
        return str(int(value))
    as_float = float(value)
    return repr(as_float) if Decimal(repr(as_float)) == value else format(value, "f")


def number(integer: bool, interval: Interval, multiple_of: Fraction | None) -> int:
    """Texts of the numbers in an interval that are multiples of a step. Raises GrammarError for an unfit step."""
    if integer:
        interval = _whole(interval)
    if interval.is_empty():
        return EMPTY
    if multiple_of is None:
        if interval.is_unbounded():
            return INTEGER if integer else NUMBER
        return _signed(interval, _integers if integer else _decimals)
    if integer:
        multiple_of = Fraction(multiple_of.numerator)  # the least common multiple with 1
    listed = _listed(interval, multiple_of)
    if listed is not None:
        return POOL.alt(*[_spellings(value, fraction=not integer) for value in listed])
    multiples = POOL.concat(_optional(_MINUS), _multiples(multiple_of, fraction=not integer))
    if interval.is_unbounded():
        return multiples
    return POOL.and_(multiples, _signed(interval, _integers if integer else _decimals))


def _signed(interval: Interval, magnitudes: Callable[[Interval], int]) -> int:
    """Texts of an interval, given how to write the part of one that is not negative."""
    positive = interval.meet(Interval(low=Fraction(0)))
    negative = interval.negated().meet(Interval(low=Fraction(0)))
    parts = [] if positive.is_empty() else [magnitudes(positive)]
    if not negative.is_empty():
        parts.append(POOL.concat(_MINUS, magnitudes(negative)))
    return POOL.alt(*parts)


# -- integers -------------------------------------------------------------------------------------------------


def _whole(interval: Interval) -> Interval:
    """The closed interval with the same integers."""
    low, high = interval.low, interval.high
    if low is not None:
        low = Fraction(math.floor(low) + 1 if interval.low_open else math.ceil(low))
    if high is not None:
        high = Fraction(math.ceil(high) - 1 if interval.high_open else math.floor(high))
    return Interval(low, high)


def _integers(interval: Interval) -> int:
    return _naturals(int(interval.low or 0), None if interval.high is None else int(interval.high))


def _naturals(low: int, high: int | None) -> int:
    """Integers from low to high, neither negative, without leading zeros."""
    first = str(low)
    if high is None:
        longer = POOL.concat(_POSITIVE_DIGIT, POOL.repeat(_DIGIT, len(first), None))
        return POOL.alt(_same_length(first, "9" * len(first)), longer)
    last = str(high)
    if low > high:
        return EMPTY
    if len(first) == len(last):
        return _same_length(first, last)
    between = POOL.concat(_POSITIVE_DIGIT, POOL.repeat(_DIGIT, len(first), len(last) - 2))
    lowest = "1" + "0" * (len(last) - 1)
    return POOL.alt(_same_length(first, "9" * len(first)), between, _same_length(lowest, last))


def _same_length(low: str, high: str) -> int:
    """Digit strings between two of the same length. Built from the right, in one pass."""
    at_least = at_most = both = EPSILON
    for behind, (a, b) in enumerate(zip(reversed(low), reversed(high), strict=True)):
        free = POOL.repeat(_DIGIT, behind, behind)
        both = _digit_step(a, b, both, at_least, at_most, free)
        at_least = POOL.alt(POOL.concat(_between(a, a), at_least), POOL.concat(_between(a, "9", 1, 0), free))
        at_most = POOL.alt(POOL.concat(_between(b, b), at_most), POOL.concat(_between("0", b, 0, -1), free))
    return both


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
    return POOL.byte_set(range(ord(first) + after, ord(last) + before + 1))


# -- fractions ------------------------------------------------------------------------------------------------


def _decimals(interval: Interval) -> int:
    """Numbers of an interval without negatives, as digits and perhaps a fraction."""
    low, low_digits = _split(interval.low or Fraction(0))
    any_fraction = _optional(_FRACTION)
    if interval.high is None:
        high, high_digits = None, ""
    else:
        high, high_digits = _split(interval.high)
    if high == low:
        bounds = (low_digits, high_digits, interval.low_open, interval.high_open)
        return POOL.concat(_naturals(low, low), _fractions(*bounds))
    parts = [POOL.concat(_naturals(low, low), _fractions(low_digits, None, interval.low_open, False))]
    parts.append(POOL.concat(_naturals(low + 1, None if high is None else high - 1), any_fraction))
    if high is not None:
        parts.append(POOL.concat(_naturals(high, high), _fractions(None, high_digits, False, interval.high_open)))
    return POOL.alt(*parts)


def _split(value: Fraction) -> tuple[int, str]:
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
    any_digits = _DIGITS
    at_least = POOL.concat(_ZEROS, _POSITIVE_DIGIT, _DIGITS) if low_open else any_digits
    at_most = EMPTY if high_open else _ZEROS
    both = EMPTY if low_open or high_open else _ZEROS
    digits = (EMPTY, EMPTY, EMPTY)
    may_stop = (not low_open, not high_open)  # the digits end here: zeros follow
    for a, b in zip(reversed(low_digits), reversed(high_digits), strict=True):
        digits = (
            POOL.alt(POOL.concat(_between(a, a), at_least), POOL.concat(_between(a, "9", 1, 0), any_digits)),
            POOL.alt(POOL.concat(_between(b, b), at_most), POOL.concat(_between("0", b, 0, -1), any_digits)),
            _digit_step(a, b, both, at_least, at_most, any_digits),
        )
        may_stop = (may_stop[0] and a == "0", may_stop[1] or b != "0")
        at_least = _optional(digits[0]) if may_stop[0] else digits[0]
        at_most = _optional(digits[1]) if may_stop[1] else digits[1]
        both = _optional(digits[2]) if all(may_stop) else digits[2]
    which = 1 if low is None else 0 if high is None else 2
    stop = (*may_stop, all(may_stop))[which]
    fraction = POOL.concat(_POINT, digits[which])
    return _optional(fraction) if stop else fraction


# -- multiples ------------------------------------------------------------------------------------------------


def _listed(interval: Interval, step: Fraction) -> list[Fraction] | None:
    """The multiples in an interval, or None when they are too many to write out."""
    if interval.low is None or interval.high is None:
        return None
    first, last = math.ceil(interval.low / step), math.floor(interval.high / step)
    if last - first > MAX_LISTED:
        return None
    return [value for n in range(first, last + 1) if interval.contains(value := n * step)]


def _spellings(value: Fraction, *, fraction: bool) -> int:
    """All spellings of one number without an exponent; fraction: it may have one, even of zeros."""
    whole, digits = _split(abs(value))
    signs = [b"-"] if value < 0 else [b"", b"-"] if value == 0 else [b""]
    text = POOL.concat(POOL.alt(*map(POOL.literal, signs)), POOL.literal(str(whole).encode()))
    if digits:
        return POOL.concat(text, POOL.literal(b"." + digits.encode()), _ZEROS)
    return POOL.concat(text, _optional(_ZERO_FRACTION)) if fraction else text


def _multiples(step: Fraction, *, fraction: bool) -> int:
    """Multiples of a step that are not negative; fraction: they may be written with one, even of zeros."""
    places = len(_split(step)[1])
    divisor = int(step * 10**places)
    zeros = 0
    while places == 0 and divisor % 10 == 0:
        divisor, zeros = divisor // 10, zeros + 1
    if divisor * (places + 1) > MAX_RESIDUES:
        reason = f"multiples of {_plain(step)} need more than {MAX_RESIDUES} states"
        raise GrammarError("number", "multipleOf", reason, "leave multipleOf out, or use a rounder step")
    if places:
        return _Residues(divisor, places, fraction).start()
    tail = _optional(_ZERO_FRACTION) if fraction else EPSILON
    nonzero = POOL.concat(_Residues(divisor, 0, False).nonzero(), POOL.literal(b"0" * zeros), tail)
    return POOL.alt(POOL.concat(_ZERO, tail), nonzero)


def _plain(value: Fraction) -> str:
    """A number in decimal notation."""
    whole, digits = _split(abs(value))
    return ("-" if value < 0 else "") + str(whole) + ("." + digits if digits else "")


class _Residues:
    """Digits, read from the left, whose value times 10**places is a multiple of `divisor`.

    After the whole part only its residue matters, so there is one reference per residue: an automaton, written as a
    grammar that is linear to the right.
    """

    def __init__(self, divisor: int, places: int, fraction: bool) -> None:
        self._divisor = divisor
        self._places = places
        self._fraction = fraction
        self._fractions: dict[tuple[int, int], int] = {}

    def start(self) -> int:
        """All of them."""
        return POOL.alt(POOL.concat(_ZERO, self._tail(0)), self.nonzero())

    def nonzero(self) -> int:
        """Those whose whole part is not zero."""
        if self._divisor == 1:
            return POOL.concat(_POSITIVE_DIGIT, _DIGITS, self._tail(0))
        return self._next_digit(0, range(1, 10))

    def _after(self, residue: int) -> int:
        """What may follow a whole part with this residue: its end, or more digits."""
        key = ("multiple", self._divisor, self._places, self._fraction, residue)
        if not POOL.is_defined(key):
            POOL.define(key, lambda: self._next_digit(residue, range(10)))
        return POOL.alt(self._tail(residue), POOL.ref(key))

    def _next_digit(self, residue: int, digits: range) -> int:
        steps = [(d, (residue * 10 + d) % self._divisor) for d in digits]
        return POOL.alt(*[POOL.concat(POOL.literal(b"%d" % d), self._after(after)) for d, after in steps])

    def _tail(self, residue: int) -> int:
        """The end of the number, or a fraction, behind the whole part."""
        end = EPSILON if residue * 10**self._places % self._divisor == 0 else EMPTY
        if self._places == 0 or not self._fraction:
            return end
        return POOL.alt(end, POOL.concat(_POINT, self._fraction_digits(residue, 0)))

    def _fraction_digits(self, residue: int, place: int) -> int:
        """At least one digit of the fraction, `place` of which are already written."""
        if place == self._places:
            return POOL.concat(_ZERO, _ZEROS) if residue == 0 else EMPTY
        key = (residue, place)
        if key not in self._fractions:
            self._fractions[key] = POOL.alt(*[self._fraction_step(residue, place, d) for d in range(10)])
        return self._fractions[key]

    def _fraction_step(self, residue: int, place: int, digit: int) -> int:
        after = (residue * 10 + digit) % self._divisor
        ends = after * 10 ** (self._places - place - 1) % self._divisor == 0
        more = self._fraction_digits(after, place + 1)
        return POOL.concat(POOL.literal(b"%d" % digit), POOL.alt(more, EPSILON if ends else EMPTY))
