"""Multiples of a step, and numbers that are none, as text without an exponent.

Read from the left, only the residue of what came before matters, so there is one reference for each residue: an
automaton, written as a grammar that is linear to the right. A reference is worked out when first met, never before, so
that the step may be of any size.
"""

from __future__ import annotations

import math
from fractions import Fraction

from .digits import DIGITS, POINT, POSITIVE_DIGIT, ZERO, ZERO_FRACTION, ZEROS, optional, split
from .expr import EMPTY, EPSILON, POOL
from .intervals import Interval

MAX_LISTED = 128
"""Multiples in an interval are written out one by one up to this many."""


def listed(interval: Interval, step: Fraction) -> list[Fraction] | None:
    """The multiples in an interval, or None when they are too many to write out."""
    if interval.low is None or interval.high is None:
        return None
    first, last = math.ceil(interval.low / step), math.floor(interval.high / step)
    if last - first > MAX_LISTED:
        return None
    return [value for n in range(first, last + 1) if interval.contains(value := n * step)]


def spellings(value: Fraction, *, fraction: bool) -> int:
    """All spellings of one number without an exponent; fraction: it may have one, even of zeros."""
    whole, digits = split(abs(value))
    signs = [b"-"] if value < 0 else [b"", b"-"] if value == 0 else [b""]
    text = POOL.concat(POOL.alt(*map(POOL.literal, signs)), POOL.literal(str(whole).encode()))
    if digits:
        return POOL.concat(text, POOL.literal(b"." + digits.encode()), ZEROS)
    return POOL.concat(text, optional(ZERO_FRACTION)) if fraction else text


def residues(step: Fraction) -> int:
    """How many states it takes to tell multiples of a step."""
    divisor, places = step.numerator, len(split(step)[1])
    while divisor % 10 == 0:
        divisor //= 10
    return int(divisor * 10**places / step.denominator) * (places + 1) if places else divisor


def multiples(step: Fraction, *, fraction: bool) -> int:
    """Multiples of a step that are not negative; fraction: they may be written with one, even of zeros."""
    places = len(split(step)[1])
    divisor = int(step * 10**places)
    zeros = 0
    while places == 0 and divisor % 10 == 0:
        divisor, zeros = divisor // 10, zeros + 1
    if places:
        return _Residues(divisor, places, fraction, True).start()
    tail = optional(ZERO_FRACTION) if fraction else EPSILON
    nonzero = POOL.concat(_Residues(divisor, 0, False, True).nonzero(), POOL.literal(b"0" * zeros), tail)
    return POOL.alt(POOL.concat(ZERO, tail), nonzero)


def not_multiples(step: Fraction, *, fraction: bool) -> int:
    """Numbers that are not multiples of a step and not negative; fraction: they may be written with one."""
    places = len(split(step)[1])
    return _Residues(int(step * 10**places), places, fraction, False).start()


class _Residues:
    """Digits whose value times 10**places is a multiple of `divisor`; or, not wanted, is none.

    fraction: whether there may be one.
    """

    def __init__(self, divisor: int, places: int, fraction: bool, wanted: bool) -> None:
        self._divisor = divisor
        self._places = places
        self._fraction = fraction
        self._wanted = wanted

    def start(self) -> int:
        """All of them."""
        return POOL.alt(POOL.concat(ZERO, self._tail(0)), self.nonzero())

    def nonzero(self) -> int:
        """Those whose whole part is not zero."""
        if self._divisor == 1:
            return POOL.concat(POSITIVE_DIGIT, DIGITS, self._tail(0))
        return self._next_digit(0, range(1, 10))

    def _after(self, residue: int) -> int:
        """What may follow a whole part with this residue: its end, or more digits."""
        return POOL.alt(self._tail(residue), self._more(residue))

    def _more(self, residue: int) -> int:
        key = ("multiple", self._divisor, self._places, self._fraction, self._wanted, residue)
        if not POOL.is_defined(key):
            POOL.define(key, lambda: self._next_digit(residue, range(10)), self._outline(residue))
        return POOL.ref(key)

    def _next_digit(self, residue: int, digits: range) -> int:
        steps = [(d, (residue * 10 + d) % self._divisor) for d in digits]
        return POOL.alt(*[POOL.concat(POOL.literal(b"%d" % d), self._after(after)) for d, after in steps])

    def _tail(self, residue: int) -> int:
        """The end of the number, or a fraction, behind the whole part."""
        end = EPSILON if self._may_end(residue, 0) else EMPTY
        if not self._fraction:
            return end
        if self._places == 0:
            return POOL.alt(end, POOL.concat(POINT, self._last_digits(residue)))
        return POOL.alt(end, POOL.concat(POINT, self._fraction_digits(residue, 0)))

    def _may_end(self, residue: int, place: int) -> bool:
        """Whether a number may end after `place` digits of its fraction, what came before having this residue."""
        return (residue * 10 ** (self._places - place) % self._divisor == 0) == self._wanted

    def _last_digits(self, residue: int) -> int:
        """At least one digit, behind all those that the residue needs: zeros, or something else than zeros."""
        if self._wanted:
            return POOL.concat(ZERO, ZEROS) if residue == 0 else EMPTY
        if residue:
            return POOL.repeat(POOL.byte_set(b"0123456789"), 1, None)
        return POOL.concat(ZEROS, POSITIVE_DIGIT, DIGITS)

    def _fraction_digits(self, residue: int, place: int) -> int:
        """At least one digit of the fraction, `place` of which are already written."""
        if place == self._places:
            return self._last_digits(residue)
        key = ("multiple's fraction", self._divisor, self._places, self._wanted, residue, place)
        if not POOL.is_defined(key):
            outline = self._fraction_outline(residue, place)
            if outline == EMPTY:
                return EMPTY
            POOL.define(key, lambda: POOL.alt(*[self._fraction_step(residue, place, d) for d in range(10)]), outline)
        return POOL.ref(key)

    def _fraction_step(self, residue: int, place: int, digit: int) -> int:
        after = (residue * 10 + digit) % self._divisor
        more = self._fraction_digits(after, place + 1)
        end = EPSILON if self._may_end(after, place + 1) else EMPTY
        return POOL.concat(POOL.literal(b"%d" % digit), POOL.alt(more, end))

    # -- the shortest -----------------------------------------------------------------------------------------

    def _outline(self, residue: int) -> int:
        """A shortest string of `_more`: at least one digit, then perhaps a fraction."""
        found = []
        if not self._wanted and self._fraction:
            found.append((self._places + 3, "0." + "0" * self._places + "1"))
        for place in range(self._places + 1 if self._fraction else 1):
            if not self._wanted and self._divides(place) == 1:
                continue  # all that end here are multiples
            digits, point = 1 + place, 1 if place else 0
            while (text := self._digits(residue, digits, place)) is None:
                digits += 1
            found.append((digits + point, text[: len(text) - place] + "." * point + text[len(text) - place :]))
        return POOL.literal(min(found)[1].encode())

    def _fraction_outline(self, residue: int, place: int) -> int:
        for digits in range(1, self._places - place + 1):
            text = self._digits(residue, digits, place + digits)
            if text is not None:
                return POOL.literal(text.encode())
        return EMPTY if self._wanted else POOL.concat(POOL.repeat(ZERO, self._places - place, None), POOL.literal(b"1"))

    def _divides(self, place: int) -> int:
        """What the digits up to a place of the fraction, read as a whole number, have to be a multiple of."""
        return self._divisor // math.gcd(self._divisor, 10 ** (self._places - place))

    def _digits(self, residue: int, count: int, place: int) -> str | None:
        """So many digits behind a residue, the last of them at a place of the fraction, that may end there."""
        step = self._divides(place)
        least = -residue * 10**count % step
        if not self._wanted:
            least = 1 if least == 0 else 0
            if step == 1:
                return None
        return f"{least:0{count}}" if least < 10**count else None
