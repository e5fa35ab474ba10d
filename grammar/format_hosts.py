"""Host names, also international ones, and the e-mail addresses that end in them.

Sources: RFC 1123 and 5890 (names), RFC 5891 (encoded labels, each by itself), RFC 5892 (which characters, and beside
which others), RFC 5893 (right-to-left), RFC 6531 (e-mail). All that is let through is valid. Left out, though valid:
names that have both encoded labels and some with characters outside of ASCII; and what `name_lengths` and `punycode`
say.
"""

from __future__ import annotations

import string
import sys
import unicodedata
from collections.abc import Iterator
from functools import cache

from .chars import (
    ANY_CHARACTER,
    CodePoints,
    category,
    characters,
    code_points,
    complement,
    intersection,
    json_char,
    union,
)
from .expr import POOL
from .idna import LONGEST, allowed
from .machine import Machine, machine_of
from .name_lengths import NAME_LENGTHS, Name
from .pools import memo
from .punycode import ENCODED
from .regex import compile_pattern
from .unicode_joining import joins
from .unicode_scripts import script

_LETTERS_OR_DIGITS = sum(1 << byte for byte in (string.ascii_letters + string.digits).encode())
_ASCII_LENGTH = POOL.counted(POOL.byte_set(range(0x20, 0x7F)), 0, 253)
_LAST_THAT_JOINS = 0x1FFFF  # behind it are ideographs
_RIGHT_TO_LEFT = ("R", "AL", "AN")
_MADE = object()  # a key of what a pool remembers


@memo
def hostname() -> int:
    """Host names of ASCII alone, without needless escapes."""
    return POOL.and_(_labels(POOL.alt(_machine_label(), _encoded_label()), POOL.literal(b".")), _ASCII_LENGTH)


def _machine_label() -> int:
    """A label as an automaton: no state has to be searched for whether a label may still come of it.

    A state is how many characters are written, and whether the last of them is a hyphen.
    """
    return POOL.machine(*_plain_labels())


@cache
def _plain_labels() -> tuple[Machine, int]:
    found = machine_of((0, True), _plain_moves, lambda state: not state[1], "format")
    assert found is not None
    return found


def _plain_moves(state: tuple[int, bool]) -> Iterator[tuple[int, tuple[int, bool]]]:
    written, hyphen = state
    if written < LONGEST:
        yield _LETTERS_OR_DIGITS, (written + 1, False)
        if written and not (hyphen and written == 3):  # what has two hyphens there is kept for encoded labels
            yield 1 << ord("-"), (written + 1, True)


def _encoded_label() -> int:
    """`xn--` in either case, and an international label encoded behind it."""
    return POOL.machine(ENCODED, "")


def _plain_label() -> int:
    """A label of ASCII, of any length, in any spelling."""
    return _hyphens(code_points([(0x2D, 0x2D), (0x30, 0x39), (0x41, 0x5A), (0x61, 0x7A)]))


def _hyphens(chars: CodePoints) -> int:
    """Texts of `chars` with no hyphen first or last, and not one third and one fourth.

    What must not be is not written as a complement, here and below: of one of these it would have to be searched
    whether the other conditions leave anything of it.
    """
    hyphen, other, any_one = json_char(characters("-")), json_char(_minus(chars, characters("-"))), json_char(chars)
    middle = POOL.alt(POOL.concat(other, any_one), POOL.concat(hyphen, other))
    long = POOL.concat(other, any_one, middle, POOL.repeat(any_one, 0, None), other)
    four = POOL.concat(other, any_one, POOL.alt(other, hyphen), other)
    return POOL.alt(other, POOL.concat(other, other), POOL.concat(other, any_one, other), four, long)


@memo
def idn_hostname(*, composed: bool = True) -> int:
    """International host names, in any spelling that JSON allows. composed: in NFC; mail takes others, too."""
    return POOL.and_(POOL.machine(NAME_LENGTHS, Name(0, "")), _names(composed))


def names_made() -> tuple[int, ...]:
    """The names of any length that there are in this thread's pool, composed ones and others."""
    return POOL.memos.get(_MADE, ())


@memo
def _names(composed: bool) -> int:
    """Names of any length."""
    dot, plain = json_char(characters(".\u3002\uff0e\uff61")), _plain_label()
    ascii_name = _labels(POOL.alt(plain, _encoded_label()), dot)
    left = POOL.alt(plain, POOL.and_(_label(composed), _all(complement(_of_direction(_RIGHT_TO_LEFT)))))
    both = POOL.alt(
        POOL.and_(plain, _left_to_right()), POOL.and_(_label(composed), POOL.alt(_left_to_right(), _right_to_left()))
    )
    names = POOL.alt(ascii_name, _labels(left, dot), _labels(both, dot))
    POOL.memos[_MADE] = (*names_made(), names)
    return names


def _labels(label: int, dot: int) -> int:
    return POOL.concat(label, POOL.repeat(POOL.concat(dot, label), 0, None))


@memo
def idn_email() -> int:
    """E-mail addresses whose names may have any characters outside of ASCII, in any spelling."""
    atom = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u0080-\U0010ffff-]+"
    quoted = r'"(?:[ !#-\[\]-~\u0080-\U0010ffff]|\\[ -~])*"'
    local = compile_pattern(rf"(?:{atom}(?:\.{atom})*|{quoted})@", mode="fullmatch", encoding="json")
    return POOL.concat(local, idn_hostname(composed=False))


# -- labels with characters outside of ASCII ------------------------------------------------------------------


@memo
def _label(composed: bool) -> int:
    """Labels in lower case that are as RFC 5891 and 5892 ask, whatever their direction."""
    first = _minus(_any_letter(), category("M"))
    rules = [
        POOL.concat(json_char(first), _all(ANY_CHARACTER)),
        _hyphens(_any_letter()),
        _between(characters("·"), characters("l"), characters("l")),
        _between(characters("\u0375"), None, script("Greek")),
        _between(characters("\u05f3\u05f4"), script("Hebrew"), None),
        _between(characters("\u200d"), _viramas(), None),
        _non_joiners(),
        *(_not_composed() if composed else ()),
        POOL.alt(
            _all(_minus(ANY_CHARACTER, characters("\u30fb"))),
            _some(union(script("Hiragana"), script("Katakana"), script("Han"))),
        ),
        POOL.alt(
            _all(_minus(ANY_CHARACTER, code_points([(0x660, 0x669)]))),
            _all(_minus(ANY_CHARACTER, code_points([(0x6F0, 0x6F9)]))),
        ),
    ]
    return POOL.and_(*rules)


def _any_letter() -> CodePoints:
    return code_points([*allowed(), (0x2D, 0x2D), (0x30, 0x39), (0x61, 0x7A)])


def _not_composed() -> list[int]:
    """Texts in NFC: with marks in their order, and nothing that would be made one with a letter before it.

    Some others are left out: a mark that is ever composed stands behind no other, nor behind a letter that is.
    """
    firsts: dict[bool, set[int]] = {True: set(), False: set()}
    seconds: dict[bool, set[int]] = {True: set(), False: set()}
    whole = []
    for code in range(0x80, _LAST_THAT_JOINS):
        parts = unicodedata.decomposition(chr(code)).split()
        if len(parts) == 2 and parts[0][0] != "<" and unicodedata.is_normalized("NFC", chr(code)):
            first, second = (int(part, 16) for part in parts)
            is_mark = unicodedata.combining(chr(second)) > 0
            firsts[is_mark].add(first)
            seconds[is_mark].add(second)
            whole.append(code)
    # What is composed already may take another mark to its letter: by U+0323 `\u00e1` becomes `\u1ea1` and U+0301.
    firsts[True].update(c for c in whole if any(not _are_composed(c, mark) for mark in seconds[True]))
    marks = [c for same in _marks_in_order() for c in same]
    rules = [_ordered()]
    for is_mark in (True, False):
        before = complement(code_points((c, c) for c in (*firsts[is_mark], *(marks if is_mark else ()))))
        rules.append(_between(code_points((c, c) for c in seconds[is_mark]), before, None))
    return rules


def _are_composed(first: int, second: int) -> bool:
    return unicodedata.is_normalized("NFC", chr(first) + chr(second))


def _ordered() -> int:
    """Texts in which marks that follow each other stand in their canonical order."""
    by_class = [code_points((c, c) for c in same) for same in _marks_in_order()]
    marks = POOL.concat(*[POOL.repeat(json_char(chars), 0, None) for chars in by_class])
    others = json_char(_minus(ANY_CHARACTER, union(*by_class)))
    return POOL.concat(marks, POOL.repeat(POOL.concat(others, marks), 0, None))


@cache
def _marks_in_order() -> list[list[int]]:
    """The combining marks of labels by their class, ascending."""
    found: dict[int, list[int]] = {}
    for low, high in intersection(category("M"), allowed()):
        for code in range(low, high + 1):
            if number := unicodedata.combining(chr(code)):
                found.setdefault(number, []).append(code)
    return [found[number] for number in sorted(found)]


def _non_joiners() -> int:
    """Texts in which each zero-width non-joiner stands behind a virama, or where letters would join without it."""
    kinds = _joining()
    mark, here = _all(kinds["T"]), json_char(characters("\u200c"))
    over = POOL.concat(mark, here, mark)
    left, right = json_char(union(kinds["D"], kinds["L"])), json_char(union(kinds["D"], kinds["R"]))
    joined = POOL.concat(left, over, POOL.repeat(POOL.concat(json_char(kinds["D"]), over), 0, None), right)
    others = json_char(_minus(ANY_CHARACTER, characters("\u200c")))
    return POOL.repeat(POOL.alt(others, POOL.concat(json_char(_viramas()), here), joined), 0, None)


@cache
def _joining() -> dict[str, CodePoints]:
    """The characters of labels by how they join."""
    found: dict[str, list[tuple[int, int]]] = {kind: [] for kind in "DLRT"}
    for low, high in allowed():
        for code in range(low, min(high, _LAST_THAT_JOINS) + 1):
            if kind := joins(chr(code)):
                found[kind].append((code, code))
    return {kind: code_points(runs) for kind, runs in found.items()}


def _between(chars: CodePoints, before: CodePoints | None, after: CodePoints | None) -> int:
    """Texts in which each of `chars` stands behind one of `before` and in front of one of `after`."""
    run = json_char(chars)
    others = json_char(_minus(ANY_CHARACTER, chars))
    if before is not None and after is not None:
        end = json_char(_minus(after, chars))
        inside = POOL.concat(json_char(_minus(before, chars)), POOL.repeat(POOL.concat(run, end), 1, None))
    elif before is not None:
        most = None if intersection(chars, before) else 1
        inside = POOL.concat(json_char(_minus(before, chars)), POOL.repeat(run, 1, most))
    else:
        assert after is not None
        most = None if intersection(chars, after) else 1
        inside = POOL.concat(POOL.repeat(run, 1, most), json_char(_minus(after, chars)))
    return POOL.repeat(POOL.alt(others, inside), 0, None)


# -- direction (RFC 5893, section 2) --------------------------------------------------------------------------


@memo
def _left_to_right() -> int:
    end = POOL.concat(json_char(_of_direction(("L", "EN"))), _all(_of_direction(("NSM",))))
    inside = _all(_of_direction(("L", "EN", "ES", "CS", "ET", "ON", "BN", "NSM")))
    start = POOL.concat(json_char(_of_direction(("L",))), _all(ANY_CHARACTER))
    return POOL.and_(inside, start, POOL.concat(_all(ANY_CHARACTER), end))


@memo
def _right_to_left() -> int:
    end = POOL.concat(json_char(_of_direction(("R", "AL", "EN", "AN"))), _all(_of_direction(("NSM",))))
    # A katakana dot needs letters that are written from left to right.
    inside = _all(
        _minus(_of_direction(("R", "AL", "AN", "EN", "ES", "CS", "ET", "ON", "BN", "NSM")), characters("\u30fb"))
    )
    start = POOL.concat(json_char(_of_direction(("R", "AL"))), _all(ANY_CHARACTER))
    one_kind = POOL.alt(_all(complement(_of_direction(("EN",)))), _all(complement(_of_direction(("AN",)))))
    return POOL.and_(inside, start, POOL.concat(_all(ANY_CHARACTER), end), one_kind)


# -- sets of characters ---------------------------------------------------------------------------------------


def _all(chars: CodePoints) -> int:
    return POOL.repeat(json_char(chars), 0, None)


def _some(chars: CodePoints) -> int:
    return POOL.concat(_all(ANY_CHARACTER), json_char(chars), _all(ANY_CHARACTER))


def _minus(first: CodePoints, second: CodePoints) -> CodePoints:
    return intersection(first, complement(second))


def _of_direction(names: tuple[str, ...]) -> CodePoints:
    return code_points(run for name in names for run in _directions().get(name, ()))


@cache
def _directions() -> dict[str, list[tuple[int, int]]]:
    """Runs of characters by their direction."""
    runs: dict[str, list[tuple[int, int]]] = {}
    start, before = 0, unicodedata.bidirectional(chr(0))
    for code in range(sys.maxunicode + 2):
        direction = unicodedata.bidirectional(chr(code)) if code <= sys.maxunicode else "end"
        if direction != before:
            runs.setdefault(before, []).append((start, code - 1))
            start, before = code, direction
    return runs


@cache
def _viramas() -> CodePoints:
    marks = [c for low, high in category("M") for c in range(low, high + 1)]
    return code_points((c, c) for c in marks if unicodedata.combining(chr(c)) == 9)
