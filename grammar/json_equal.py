"""All texts of one JSON value: any escapes in strings, any spelling of numbers, members in any order."""

from __future__ import annotations

import json
from collections.abc import Hashable
from decimal import Decimal
from typing import Any, NamedTuple

from .chars import json_text
from .counts import Way
from .errors import GrammarError
from .expr import EPSILON, POOL
from .json_arrays import array
from .json_layout import QUOTE, Layout
from .json_objects import Member, object_

_MOST_ZEROS = 64  # written out where that may be shorter than an exponent
_MOST_WRITTEN = 400  # zeros that a value may have without an exponent: floating point has 308 and 323
_MOST_EXPONENT_DIGITS = 4_000  # Python turns no more of them into an integer
_MOST_NEEDLESS = 8  # zeros that an exponent takes back

# With bounds a value has finitely many states. Without, whether it shares a text with another language could not always
# be told: all of `10000...`, which an exponent may make a 1, would be tried beside one that has no exponents.

_ZEROS = POOL.repeat(POOL.literal(b"0"), 0, None)
_MINUS = POOL.literal(b"-")
_EXPONENT_MARK = POOL.byte_set(b"eE")
_ANY_SIGN = POOL.alt(EPSILON, POOL.byte_set(b"+-"))
_ZERO_FRACTION = POOL.concat(POOL.literal(b".0"), _ZEROS)
_DIGITS = POOL.repeat(POOL.byte_set(range(0x30, 0x3A)), 1, None)


class Number(NamedTuple):
    """The number 0.DDD * 10**point, D being its digits, the first and the last of them not 0; zero has no digits."""

    negative: bool
    digits: str
    point: int


def values_equal(form: Layout, value: Any) -> int:
    """All texts of values equal to this one, as JSON has it: 1 = 1.0 = 10e-1. Members each stand once.

    value: as `json.loads` gives it, fractions as Decimal; or a `canonical` one. Raises ValueError for text with a lone
    surrogate.
    """
    return _texts(form, canonical(value))


def canonical(value: Any) -> Hashable:
    """A value as something hashable that equal JSON values share: arrays and objects become tagged tuples."""
    if isinstance(value, dict):
        return ("object", frozenset((name, canonical(item)) for name, item in value.items()))
    if isinstance(value, list):
        return ("array", tuple(map(canonical, value)))
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        return _read_number(str(Decimal(value)))
    return value


def read(text: bytes) -> Hashable:
    """The `canonical` value of a JSON text. Raises GrammarError for an exponent that is too long to be compared."""
    return canonical(json.loads(text, parse_float=_read_number, parse_int=_read_number))


def _read_number(text: str) -> Number:
    mantissa, _, exponent = text.lower().partition("e")
    if len(exponent) > _MOST_EXPONENT_DIGITS:
        reason = f"an exponent of more than {_MOST_EXPONENT_DIGITS} digits is not compared"
        raise GrammarError("constraint", "", reason, "write a smaller number")
    whole, _, fraction = mantissa.lstrip("-+").partition(".")
    significant = (whole + fraction).lstrip("0")
    if not significant:
        return Number(False, "", 0)
    point = len(significant) - len(fraction) + int(exponent or "0")
    return Number(mantissa.startswith("-"), significant.rstrip("0"), point)


def _texts(form: Layout, value: Any) -> int:
    if isinstance(value, Number):
        return _number(value)
    if isinstance(value, tuple) and value[0] == "object":
        members = [
            Member(_text(form, name), (Way(_texts(form.inner, item)),), True)
            for name, item in sorted(value[1], key=_name)
        ]
        return object_(form, members, (), any_order=True)
    if isinstance(value, tuple):
        elements = [[Way(_texts(form.inner, item))] for item in value[1]]
        return array(form, elements, (), len(elements), len(elements))
    if isinstance(value, str):
        return _text(form, value)
    return POOL.literal({None: b"null", True: b"true", False: b"false"}[value])


def _name(member: tuple[str, Hashable]) -> str:
    return member[0]


def _text(form: Layout, text: str) -> int:
    if form.escapes == "minimal":
        return POOL.literal(json.dumps(text, ensure_ascii=False).encode())
    return POOL.concat(QUOTE, POOL.frame(json_text(text)), QUOTE)


def _number(value: Number) -> int:
    if not value.digits:
        any_exponent = POOL.concat(_EXPONENT_MARK, _ANY_SIGN, _DIGITS)
        tail = POOL.concat(POOL.alt(EPSILON, _ZERO_FRACTION), POOL.alt(EPSILON, any_exponent))
        return POOL.concat(POOL.alt(EPSILON, _MINUS), POOL.literal(b"0"), tail)
    return POOL.concat(_MINUS if value.negative else EPSILON, _Digits(value.digits, value.point).start())


class _Digits:
    """The spellings of the number 0.DDD * 10**point, D being its digits, the first and the last of them not 0.

    How many digits stand before the point says what the exponent has to be: each such count is an expression of its
    own, made when first met.
    """

    def __init__(self, digits: str, point: int) -> None:
        self._digits = digits
        self._point = point
        self._most_whole = max(len(digits), min(point, _MOST_WRITTEN)) + _MOST_NEEDLESS
        self._most_zeros = max(0, min(-point, _MOST_WRITTEN)) + _MOST_NEEDLESS

    def start(self) -> int:
        """All of them."""
        whole = POOL.concat(self._between(0, 1), self._after_whole(1))
        return POOL.alt(whole, POOL.concat(POOL.literal(b"0."), self._after_zeros(0)))

    def _after_whole(self, n: int) -> int:
        """What may follow n digits before the point."""
        if n == self._most_whole:
            return self._end(n)
        name = ("equal number", self._digits, self._point, n)
        if not POOL.is_defined(name):
            far = min(self._point, n + _MOST_ZEROS, self._most_whole)
            stops = {n + 1, max(n + 1, len(self._digits)), max(n + 1, far)}
            outline = POOL.alt(*[POOL.concat(self._between(n, stop), self._end(stop)) for stop in stops])
            POOL.define(name, lambda: POOL.concat(self._between(n, n + 1), self._after_whole(n + 1)), outline)
        return POOL.alt(self._end(n), POOL.ref(name))

    def _end(self, n: int) -> int:
        """The fraction, if any, and the exponent, if any, behind n digits before the point."""
        rest = self._digits[n:].encode()
        fraction = POOL.concat(POOL.literal(b"." + rest), _ZEROS) if rest else POOL.alt(EPSILON, _ZERO_FRACTION)
        return POOL.concat(fraction, _exponent(self._point - n))

    def _after_zeros(self, n: int) -> int:
        """What may follow `0.` and n zeros."""
        if n == self._most_zeros:
            return self._fraction(n)
        name = ("equal fraction", self._digits, self._point, n)
        if not POOL.is_defined(name):
            stops = {n, max(n, min(-self._point, n + _MOST_ZEROS, self._most_zeros))}
            zeros = [POOL.concat(POOL.literal(b"0" * (stop - n)), self._fraction(stop)) for stop in stops]
            one_more = POOL.literal(b"0")
            POOL.define(
                name,
                lambda: POOL.alt(self._fraction(n), POOL.concat(one_more, self._after_zeros(n + 1))),
                POOL.alt(*zeros),
            )
        return POOL.ref(name)

    def _fraction(self, zeros: int) -> int:
        return POOL.concat(POOL.literal(self._digits.encode()), _ZEROS, _exponent(self._point + zeros))

    def _between(self, start: int, stop: int) -> int:
        return POOL.literal(self._digits[start:stop].encode() + b"0" * (stop - max(start, len(self._digits))))


def _exponent(value: int) -> int:
    """An exponent of this value; none at all for 0."""
    if value == 0:
        return POOL.alt(EPSILON, POOL.concat(_EXPONENT_MARK, _ANY_SIGN, POOL.literal(b"0"), _ZEROS))
    sign = POOL.alt(EPSILON, POOL.literal(b"+")) if value > 0 else _MINUS
    return POOL.concat(_EXPONENT_MARK, sign, _ZEROS, POOL.literal(b"%d" % abs(value)))
