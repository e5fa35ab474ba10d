"""Regular expressions as text: what `"format": "regex"` lets through.

ECMA-262 patterns with the `u` flag, which has no guesses at what a slip of the pen was meant to be. Groups nest to any
depth. All that is let through is valid; left out, though valid, are names of more than one group, references back to
what is not a whole group further left outside of all groups, or by a name that is not one letter of ASCII, ranges
between characters outside of ASCII, `{n,m}` where n and m both have more than two digits and begin alike, and
properties other than general categories.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from .chars import characters, json_char
from .expr import EPSILON, POOL
from .pools import memo
from .regex import compile_pattern

_MADE = object()  # a key of what a pool remembers
_CATEGORIES = "L|LC|Lu|Ll|Lt|Lm|Lo|M|Mn|Mc|Me|N|Nd|Nl|No|P|Pc|Pd|Ps|Pe|Pi|Pf|Po|S|Sm|Sc|Sk|So|Z|Zs|Zl|Zp|C|Cc|Cf|Co|Cn"
_HEX = "[0-9A-Fa-f]"
_ESCAPE = (
    rf"\\(?:[dDsSwWfnrtv^$\\.*+?()\[\]{{}}|/]|[pP]\{{(?:{_CATEGORIES})\}}|c[A-Za-z]|x{_HEX}{{2}}"
    rf"|u(?:[0-9A-CE-Fa-ce-f]{_HEX}{{3}}|[Dd][0-7]{_HEX}{{2}}|\{{0*(?:10|{_HEX})?{_HEX}{{1,4}}\}}))"
)
_NAMES = string.ascii_letters + "_$"
_PLAIN = r"[^\\^$.*+?()\[\]{}|]"
_IN_CLASS = r"[^\\\]\[\-]|\["


class _Level(NamedTuple):
    """What may be referred back to: so many groups, nine at most, and one by a name of a letter.

    name: "" where no group has a name, `*` where one has that cannot be referred to.
    """

    groups: int = 0
    name: str = ""


def any_regex() -> int:
    """The texts of patterns, in any spelling that JSON allows."""
    POOL.memos[_MADE] = True
    return _from(_Level())


def is_made() -> bool:
    """Whether this thread's pool has them."""
    return _MADE in POOL.memos


@memo
def _from(level: _Level) -> int:
    """The rest of a pattern outside of all groups: the next capturing group begins another level."""
    return POOL.concat(_items(level, ""), POOL.alt(EPSILON, _ref("group", level, _group_and_rest)))


def _group_and_rest(level: _Level) -> int:
    plain = POOL.concat(_text(r"\("), _ref("rest", level, _rest_of_group))
    if level.name:
        return plain
    end = _text(">")
    names = [(json_char(characters(letter)), letter) for letter in _NAMES]
    names.append((_ref("long name", _Level(), _long_name), "*"))
    named = [POOL.concat(text, end, _ref("rest", level._replace(name=name), _rest_of_group)) for text, name in names]
    return POOL.alt(plain, POOL.concat(_text(r"\(\?<"), POOL.alt(*named)))


def _long_name(_: _Level) -> int:
    first = _text(r"[\p{L}_$]")
    return POOL.concat(first, POOL.repeat(POOL.alt(first, _text("[0-9]")), 1, None))


def _rest_of_group(level: _Level) -> int:
    """What follows the opening of a group outside of all others. level: as before it, but for its name."""
    behind = level._replace(groups=min(level.groups + 1, 9))
    return POOL.concat(_inside(level), _text(r"\)"), POOL.alt(EPSILON, _quantifier()), _from(behind))


@memo
def _inside(level: _Level) -> int:
    """What stands in a group."""
    return _items(level, "(?:")


def _items(level: _Level, capturing: str) -> int:
    """Parts of a pattern in a row. capturing: `(?:` where groups that capture are among them, too."""
    opening = r"\((?:\?:)?" if capturing else r"\(\?:"
    group = _ref("any group" if capturing else "group that captures nothing", level, partial(_group, opening))
    escape = f"{_ESCAPE}|\\\\k<{re.escape(level.name)}>" if level.name in _NAMES else _ESCAPE
    piece = POOL.alt(_text(f"{_PLAIN}|\\.|{escape}"), _class(), group)
    quantified = POOL.concat(piece, POOL.alt(EPSILON, _quantifier()))
    number = POOL.concat(_text(rf"\\[0-{level.groups}]"), POOL.alt(EPSILON, _quantifier()))
    around = _ref("look-around", level, _around)
    assertion = POOL.alt(_text(r"[\^$|]|\\[bB]"), around)
    other = POOL.alt(quantified, assertion)
    not_digit = POOL.alt(_text(f"[^\\\\^$.*+?()\\[\\]{{}}|0-9]|\\.|{escape}"), _class(), group)
    after_number = POOL.alt(POOL.concat(not_digit, POOL.alt(EPSILON, _quantifier())), assertion)
    numbers = POOL.repeat(number, 1, None)  # no digit may follow
    items = POOL.repeat(POOL.alt(other, POOL.concat(numbers, after_number)), 0, None)
    return POOL.concat(items, POOL.alt(EPSILON, numbers))


def _group(opening: str, level: _Level) -> int:
    return POOL.concat(_text(opening), _inside(level), _text(r"\)"))


def _around(level: _Level) -> int:
    return POOL.concat(_text(r"\(\?<?[=!]"), _inside(level), _text(r"\)"))


_SHORTEST = {
    "group": r"\(\)",
    "long name": "aa",
    "rest": r"\)",
    "any group": r"\(\)",
    "group that captures nothing": r"\(\?:\)",
    "look-around": r"\(\?=\)",
}


def _ref(what: str, level: _Level, make: Callable[[_Level], int]) -> int:
    """What `make` makes, when it is needed."""
    key = f"format regex: {what}, {level.groups} {level.name}"
    if not POOL.is_defined(key):
        POOL.define(key, partial(make, level), _text(_SHORTEST[what]))
    return POOL.ref(key)


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
