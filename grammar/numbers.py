"""Numbers as text: which spellings there are, and those whose value is as a rule asks.

Spellings. Short: integers are an optional minus and digits without leading zeros; other numbers may have a fraction and
an exponent, as RFC 8259 has it, but where their value is compared no exponent. Any: integers may have a fraction of
zeros, and numbers that are compared an exponent, where one digit stands before the point (`1.5e+300`, as programs write
them). Fractions may have any number of digits. Comparison is exact: no floating point is used.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from .digits import (
    EXPONENT,
    FRACTION,
    INTEGER,
    MINUS,
    ZERO_FRACTION,
    decimals,
    integers,
    optional,
    signed,
    whole,
)
from .errors import GrammarError
from .exponents import SCIENTIFIC_ZERO, scientific, scientific_integers, scientific_multiples
from .expr import EMPTY, POOL
from .intervals import Interval
from .multiples import listed, multiples, not_multiples, residues, spellings
from .pools import memo

__all__ = ["INTEGER", "NUMBER", "Interval", "exact", "number", "spelled_number"]

MAX_RESIDUES = 2_000
"""The largest divisor, without its factors of ten, that a multiple is checked by beside bounds."""

NUMBER = POOL.concat(INTEGER, optional(FRACTION), optional(EXPONENT))
"""Any number RFC 8259 can write."""


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


@memo
def number(
    integer: bool,
    interval: Interval,
    multiple_of: Fraction | None,
    besides: tuple[Fraction, ...] = (),
    excluded: tuple[Fraction, ...] = (),
    any_spelling: bool = False,
) -> int:
    """Texts of the numbers in an interval that are multiples of a step.

    besides: steps of which they are not multiples. excluded: numbers left out. any_spelling: see above.
    """
    pieces = interval.without(sorted(excluded))
    return POOL.alt(*[_piece(integer, piece, multiple_of, besides, any_spelling) for piece in pieces])


def _piece(
    integer: bool, interval: Interval, multiple_of: Fraction | None, besides: tuple[Fraction, ...], any_spelling: bool
) -> int:
    if integer:
        interval = whole(interval)
        step = multiple_of or Fraction(1)
        multiple_of = None if step.numerator == 1 else Fraction(step.numerator)  # the least common multiple with 1
    if interval.is_empty():
        return EMPTY
    if not integer and multiple_of is None and not besides and interval.is_unbounded():
        return NUMBER
    fraction = any_spelling or not integer
    conditions = [_apart(step, fraction=fraction) for step in besides]
    values = listed(interval, multiple_of) if multiple_of is not None else None
    if values is not None:
        conditions.append(POOL.alt(*[spellings(value, fraction=fraction) for value in values]))
    else:
        if multiple_of is not None:
            conditions.append(POOL.concat(optional(MINUS), multiples(multiple_of, fraction=fraction)))
        if multiple_of is None or not interval.is_unbounded():
            conditions.append(_between(integer, interval, any_spelling))
    if len(conditions) > 1:
        _check_residues([step for step in (multiple_of, *besides) if step is not None])
    plain = POOL.and_(*conditions)
    return POOL.alt(plain, _exponents(integer, interval, multiple_of, besides)) if any_spelling else plain


def _check_residues(steps: list[Fraction]) -> None:
    """Refuse steps that are too unround to decide whether anything is a multiple beside other conditions."""
    for step in steps:
        if residues(step) > MAX_RESIDUES:
            reason = f"multiples of {float(step):g} beside bounds need more than {MAX_RESIDUES} states"
            raise GrammarError(
                "number", "multipleOf", reason, "leave out multipleOf or the bounds, or use a rounder step"
            )


def _between(integer: bool, interval: Interval, any_spelling: bool) -> int:
    """Numbers of an interval without an exponent."""
    if not integer:
        return signed(interval, decimals)
    found = INTEGER if interval.is_unbounded() else signed(interval, integers)
    return POOL.concat(found, optional(ZERO_FRACTION)) if any_spelling else found


def _apart(step: Fraction, *, fraction: bool) -> int:
    return POOL.concat(optional(MINUS), not_multiples(step, fraction=fraction))


def _exponents(integer: bool, interval: Interval, multiple_of: Fraction | None, besides: tuple[Fraction, ...]) -> int:
    """Numbers with an exponent: not all that there are, but only such as are right."""
    zero = SCIENTIFIC_ZERO if interval.contains(Fraction(0)) and not besides else EMPTY
    near = min(besides, default=None)
    if near is not None:  # what is nearer to zero than a step is no multiple of it
        interval = interval.meet(Interval(-near, near, True, True))
    if interval.is_empty():
        return zero
    if multiple_of is None:
        return POOL.alt(zero, signed(interval, scientific_integers if integer else scientific))
    multiples_ = POOL.concat(optional(MINUS), scientific_multiples(multiple_of))
    return POOL.alt(zero, POOL.and_(signed(interval, scientific), multiples_))
