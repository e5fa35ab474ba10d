"""Regular expressions as text: what `"format": "regex"` lets through.

ECMA-262 patterns with the `u` flag, which has no guesses at what a slip of the pen was meant to be. Groups nest to any
depth. All that is let through is valid; left out, though valid, are references back to groups, named groups, ranges
between characters outside of ASCII, `{n,m}` where n and m both have more than two digits and begin alike, and
properties other than general categories.
"""

from __future__ import annotations

from .expr import EPSILON, POOL
from .pools import memo
from .regex import compile_pattern

_CATEGORIES = "L|LC|Lu|Ll|Lt|Lm|Lo|M|Mn|Mc|Me|N|Nd|Nl|No|P|Pc|Pd|Ps|Pe|Pi|Pf|Po|S|Sm|Sc|Sk|So|Z|Zs|Zl|Zp|C|Cc|Cf|Co|Cn"
_HEX = "[0-9A-Fa-f]"
_ESCAPE = (
    rf"\\(?:[dDsSwWfnrtv^$\\.*+?()\[\]{{}}|/]|[pP]\{{(?:{_CATEGORIES})\}}|c[A-Za-z]|x{_HEX}{{2}}"
    rf"|u(?:[0-9A-CE-Fa-ce-f]{_HEX}{{3}}|[Dd][0-7]{_HEX}{{2}}|\{{0*(?:10|{_HEX})?{_HEX}{{1,4}}\}}))"
)
_NULL = r"\\0"  # no digit may follow
_PLAIN = r"[^\\^$.*+?()\[\]{}|]"
_IN_CLASS = r"[^\\\]\[\-]|\["


@memo
def any_regex() -> int:
    """The texts of patterns, in any spelling that JSON allows."""
    name = "format regex"
    if not POOL.is_defined(name):
        POOL.define(name, _group, _text(r"\(\)"))
    piece = POOL.alt(_text(f"{_PLAIN}|\\.|{_ESCAPE}"), _class(), POOL.ref(name))
    quantified = POOL.concat(piece, POOL.alt(EPSILON, _quantifier()))
    null = POOL.concat(_text(_NULL), POOL.alt(EPSILON, _quantifier()))
    assertion = POOL.alt(_text(r"[\^$|]|\\[bB]"), _around())
    other = POOL.alt(quantified, assertion)
    not_digit = POOL.alt(_text(f"[^\\\\^$.*+?()\\[\\]{{}}|0-9]|\\.|{_ESCAPE}"), _class(), POOL.ref(name))
    after_null = POOL.alt(POOL.concat(not_digit, POOL.alt(EPSILON, _quantifier())), assertion)
    nulls = POOL.repeat(null, 1, None)
    return POOL.concat(POOL.repeat(POOL.alt(other, POOL.concat(nulls, after_null)), 0, None), POOL.alt(EPSILON, nulls))


def _group() -> int:
    return POOL.concat(_text(r"\((?:\?:)?"), any_regex(), _text(r"\)"))


def _around() -> int:
    name = "format regex, look-around"
    if not POOL.is_defined(name):
        opening = _text(r"\(\?<?[=!]")
        POOL.define(name, lambda: POOL.concat(opening, any_regex(), _text(r"\)")), _text(r"\(\?=\)"))
    return POOL.ref(name)


def _text(pattern: str) -> int:
    return compile_pattern(pattern, mode="fullmatch", encoding="json")


@memo
def _class() -> int:
    """Characters in brackets. A range is between two characters of ASCII, the first not after the second."""
    single = _text(f"{_IN_CLASS}|{_ESCAPE}")
    allowed = [_range(low) for low in range(0x20, 0x7F) if chr(low) not in "\\]-"]
    items = POOL.repeat(POOL.alt(single, *allowed), 0, None)
    dash = POOL.alt(EPSILON, _text("-"))
    return POOL.concat(_text(r"\[\^?"), dash, items, dash, _text(r"\]"))


def _range(low: int) -> int:
    highs = "".join(_in_pattern(high) for high in range(low, 0x7F) if chr(high) not in "\\]-")
    return _text(f"{_in_pattern(low)}-[{highs}]")


def _in_pattern(code: int) -> str:
    return rf"\x{code:02x}"


@memo
def _quantifier() -> int:
    """How often: `{n,m}` where n is seen to be no greater than m."""
    number = "(?:0|[1-9][0-9]{0,3})"
    pairs = [f"{n}," + (f"[{n}-9]" if n < 9 else "9") for n in range(10)]
    for tens in range(1, 10):
        pairs += [f"{tens}{ones},{tens}[{ones}-9]" for ones in range(10)]
    for length in (2, 3, 4):
        rest = f"[0-9]{{{length - 1}}}"
        pairs += [f"{first}{rest},[{first + 1}-9]{rest}" for first in range(1, 9)]
        shorter = f"(?:0|[1-9][0-9]{{0,{length - 2}}})"
        pairs.append(f"{shorter},[1-9]{rest}")
    return _text(rf"(?:[*+?]|\{{(?:{number},?|{'|'.join(pairs)})\}})\??")
