"""Sets of Unicode code points, and how one character of such a set is spelled in bytes.

A set is a sorted tuple of inclusive, disjoint, non-adjacent ranges. Lone surrogates are in no set: they are not
characters, and neither UTF-8 nor well-formed JSON text can carry them.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Callable, Iterable
from functools import cache, lru_cache
from typing import Literal

import numpy as np

from .expr import EMPTY, EPSILON, POOL
from .pools import memo

CodePoints = tuple[tuple[int, int], ...]
Encoding = Literal["utf8", "json", "plain"]
"""How characters are spelled: as they are; in all ways of a JSON string; in the one way `json.dumps` has for each."""


_SHORT_ESCAPES = {0x22: b'"', 0x5C: b"\\", 0x2F: b"/", 8: b"b", 9: b"t", 10: b"n", 12: b"f", 13: b"r"}
_ESCAPED_BRIEFLY = {0x22: b'\\"', 0x5C: b"\\\\", 8: b"\\b", 9: b"\\t", 10: b"\\n", 12: b"\\f", 13: b"\\r"}
_MUST_ESCAPE = ((0, 0x1F), (0x22, 0x22), (0x5C, 0x5C))  # RFC 8259, section 7
_NEED_NONE = ((0x20, 0x21), (0x23, 0x5B), (0x5D, 0xD7FF), (0xE000, sys.maxunicode))

# -- sets -----------------------------------------------------------------------------------------------------


def code_points(ranges: Iterable[tuple[int, int]]) -> CodePoints:
    """The set of all code points in `ranges`, in any order, without surrogates."""
    merged: list[list[int]] = []
    for lo, hi in sorted(ranges):
        if merged and lo <= merged[-1][1] + 1:
            merged[-1][1] = max(merged[-1][1], hi)
        else:
            merged.append([lo, hi])
    return _without_surrogates(merged)


def _without_surrogates(ranges: Iterable[Iterable[int]]) -> CodePoints:
    result = []
    for lo, hi in ranges:
        if lo < 0xD800:
            result.append((lo, min(hi, 0xD7FF)))
        if hi > 0xDFFF:
            result.append((max(lo, 0xE000), hi))
    return tuple(result)


ANY_CHARACTER = code_points([(0, sys.maxunicode)])
"""Every Unicode scalar value."""


def characters(text: str) -> CodePoints:
    """The characters of `text`, as a set."""
    if len(text) == 1 and not "\ud800" <= text <= "\udfff":
        return ((ord(text), ord(text)),)
    return code_points((ord(c), ord(c)) for c in text)


def union(*sets: CodePoints) -> CodePoints:
    """Code points of any of `sets`."""
    return code_points(r for s in sets for r in s)


def complement(members: CodePoints) -> CodePoints:
    """Characters outside `members`."""
    result, start = [], 0
    for lo, hi in members:
        if lo > start:
            result.append((start, lo - 1))
        start = hi + 1
    if start <= sys.maxunicode:
        result.append((start, sys.maxunicode))
    return _without_surrogates(result)


def intersection(a: CodePoints, b: CodePoints) -> CodePoints:
    """Code points of both sets."""
    found, i, j = [], 0, 0
    while i < len(a) and j < len(b):
        lo, hi = max(a[i][0], b[j][0]), min(a[i][1], b[j][1])
        if lo <= hi:
            found.append((lo, hi))
        if a[i][1] < b[j][1]:
            i += 1
        else:
            j += 1
    return tuple(found)


def where(holds: Callable[[str], bool]) -> CodePoints:
    """Characters for which `holds` is true. Looks at all 1.1 million: cache what it returns."""
    held = bytes(map(holds, map(chr, range(sys.maxunicode + 1))))
    return _without_surrogates((run.start(), run.end() - 1) for run in re.finditer(rb"\x01+", held))


@cache
def _categories() -> dict[str, CodePoints]:
    """Characters by their Unicode general category."""
    names = list(map(unicodedata.category, map(chr, range(sys.maxunicode + 1))))
    letters = {name: chr(i) for i, name in enumerate(sorted(set(names)))}
    ranges: dict[str, list[tuple[int, int]]] = {letter: [] for letter in letters.values()}
    for run in re.finditer(r"(.)\1*", "".join(map(letters.__getitem__, names)), re.DOTALL):
        ranges[run[1]].append((run.start(), run.end() - 1))
    return {name: code_points(ranges[letter]) for name, letter in letters.items()}


@cache
def category(prefix: str) -> CodePoints:
    """Characters whose Unicode general category begins with `prefix` (`L`, `Lu`); empty when there is none."""
    return union(*[members for name, members in _categories().items() if name.startswith(prefix)])


@cache
def word_characters() -> CodePoints:
    """What `\\w` matches in Python: letters, digits and other alphanumerics of all scripts, and `_`."""
    return union(where(str.isalnum), characters("_"))


@cache
def decimal_digits() -> CodePoints:
    """What `\\d` matches in Python: the decimal digits of all scripts."""
    return category("Nd")


@cache
def white_space() -> CodePoints:
    """What `\\s` matches in Python."""
    return where(str.isspace)


@cache
def _case_groups() -> tuple[tuple[str, ...], ...]:
    """Characters that are the same when case is ignored, as `re.IGNORECASE` has it."""
    groups: dict[str, list[str]] = {}
    for point in range(sys.maxunicode + 1):
        char = chr(point)
        lower = char.lower()
        if lower == char and char.upper() == char:
            continue
        lower = "i" if char == "İ" else lower if len(lower) == 1 else char
        upper = lower.upper()
        groups.setdefault(upper if len(upper) == 1 else lower, []).append(char)
    return tuple(tuple(g) for g in groups.values() if len(g) > 1)


@lru_cache(1024)
def any_case(members: CodePoints) -> CodePoints:
    """The set with the other cases of its letters."""
    extra = [members]
    for group in _case_groups():
        if any(lo <= ord(c) <= hi for c in group for lo, hi in members):
            extra.append(characters("".join(group)))
    return union(*extra)


# -- bytes ----------------------------------------------------------------------------------------------------


def spelled(members: CodePoints, encoding: Encoding) -> int:
    """One character of the set."""
    return utf8(members) if encoding == "utf8" else json_char(members) if encoding == "json" else plain_char(members)


@memo
def utf8(members: CodePoints) -> int:
    """One character of the set in UTF-8."""
    if not members or members[-1][1] < 0x80:
        return POOL.byte_mask(_bits(members))
    parts = []
    for first, last, length in ((0, 0x7F, 1), (0x80, 0x7FF, 2), (0x800, 0xFFFF, 3), (0x10000, sys.maxunicode, 4)):
        lead = (0, 0xC0, 0xE0, 0xF0)[length - 1]
        parts.append(_digits(_clipped(members, first, last), length - 1, 6, lambda d, lead=lead: (lead | d,)))
    return POOL.alt(*parts)


@memo
def json_char(members: CodePoints) -> int:
    """One character of the set as it may stand in a JSON string: raw, short escape, or \\uXXXX in either case."""
    raw = utf8(intersection(members, _NEED_NONE))
    short = [POOL.literal(s) for point, s in _SHORT_ESCAPES.items() if _clipped(members, point, point)]
    unit = POOL.concat(POOL.literal(b"u"), _hex(_clipped(members, 0, 0xFFFF)))
    return POOL.alt(raw, POOL.concat(POOL.literal(b"\\"), POOL.alt(*short, unit, _surrogate_pairs(members))))


@memo
def plain_char(members: CodePoints) -> int:
    """One character of the set as `json.dumps` with `ensure_ascii=False` writes it in a string."""
    needing = intersection(members, _MUST_ESCAPE)
    escaped = [_escaped(point) for lo, hi in needing for point in range(lo, hi + 1)]
    return POOL.alt(utf8(intersection(members, _NEED_NONE)), *map(POOL.literal, escaped))


def _escaped(point: int) -> bytes:
    return _ESCAPED_BRIEFLY.get(point, b"\\u%04x" % point)


def _bits(members: CodePoints) -> int:
    """The set as a number with a bit for each."""
    bits = 0
    for lo, hi in members:
        bits |= (1 << (hi + 1)) - (1 << lo)
    return bits


def _surrogate_pairs(members: CodePoints) -> int:
    """Behind the first backslash: `uD83D\\uDE00` for the members beyond the basic plane."""
    lows: dict[int, list[tuple[int, int]]] = {}  # of high units whose low units are not all in the set
    highs: dict[tuple[tuple[int, int], ...], list[tuple[int, int]]] = {}
    for lo, hi in _clipped(members, 0x10000, sys.maxunicode):
        blocks, edges = _blocks(lo, hi, 0x400)
        if blocks:
            highs.setdefault((_LOW_UNITS,), []).append((_high_unit(blocks[0]), _high_unit(blocks[-1])))
        for start, end in edges:
            low_range = _LOW_UNITS[0] + (start & 0x3FF), _LOW_UNITS[0] + (end & 0x3FF)
            lows.setdefault(_high_unit(start >> 10), []).append(low_range)
    for high, found in lows.items():
        highs.setdefault(tuple(found), []).append((high, high))
    parts = [
        POOL.concat(POOL.literal(b"u"), _hex(_merged(sorted(high))), POOL.literal(b"\\u"), _hex(low))
        for low, high in highs.items()
    ]
    return POOL.alt(*parts)


_LOW_UNITS = (0xDC00, 0xDFFF)


def _high_unit(block: int) -> int:
    """The first half of the characters in a block of 1024."""
    return 0xD800 - 0x40 + block


def _merged(ranges: list[tuple[int, int]]) -> CodePoints:
    """Adjacent ranges made one; for code units, so surrogates stay."""
    result: list[tuple[int, int]] = []
    for lo, hi in ranges:
        if result and result[-1][1] + 1 == lo:
            result[-1] = (result[-1][0], hi)
        else:
            result.append((lo, hi))
    return tuple(result)


def _hex(units: CodePoints) -> int:
    """Four hexadecimal digits of a code unit."""
    return _digits(units, 3, 4, lambda d: tuple(b"%x%X" % (d, d)))


@memo
def _continuation(members: CodePoints, places: int, bits: int) -> int:
    spell = (lambda d: (0x80 | d,)) if bits == 6 else (lambda d: tuple(b"%x%X" % (d, d)))
    return _digits(members, places, bits, spell)


def _digits(members: CodePoints, places: int, bits: int, spell: Callable[[int], tuple[int, ...]]) -> int:
    """Numbers of the set as one leading digit, spelled by `spell`, and `places` digits of `bits` bits behind it."""
    if not members:
        return EMPTY
    whole: list[int] = []  # digits that any may follow
    below: dict[int, list[tuple[int, int]]] = {}
    size = 1 << bits * places
    for lo, hi in members:
        blocks, edges = _blocks(lo, hi, size)
        whole += blocks
        for start, end in edges:
            below.setdefault(start // size, []).append((start % size, end % size))
    leads: dict[int, list[int]] = {}
    for digits, rest in [(whole, [(0, size - 1)]), *(([digit], rest) for digit, rest in below.items())]:
        if digits:
            tail = _continuation(tuple(rest), places - 1, bits) if places else EPSILON
            leads.setdefault(tail, []).extend(byte for digit in digits for byte in spell(digit))
    return POOL.alt(*[POOL.concat(POOL.byte_set(lead), tail) for tail, lead in leads.items()])


def _blocks(lo: int, hi: int, size: int) -> tuple[range, list[tuple[int, int]]]:
    """Of a range the blocks of a size that are inside, and what is left before and behind, in one block each."""
    first, last = -(-lo // size), (hi + 1) // size - 1
    edges = [(lo, min(hi, first * size - 1))] if lo // size < first else []
    if hi // size > last and hi // size >= first:
        edges.append((max(lo, (last + 1) * size), hi))
    return range(first, last + 1), edges


def _clipped(members: CodePoints, first: int, last: int) -> CodePoints:
    return tuple((max(lo, first), min(hi, last)) for lo, hi in members if lo <= last and hi >= first)


JSON_CHAR = json_char(ANY_CHARACTER)
"""One character (code point) of a JSON string, in any legal spelling."""

PLAIN_CHAR = plain_char(ANY_CHARACTER)
"""The same, in its one plain spelling."""


def json_text(text: str) -> int:
    """All spellings of `text` inside a JSON string, without the quotes. Raises ValueError for lone surrogates."""
    parts = []
    for char in text:
        point = ord(char)
        if 0xD800 <= point <= 0xDFFF:
            raise ValueError(f"{text!r} has a lone surrogate, which JSON text cannot carry")
        parts.append(_ASCII[point] if point < len(_ASCII) else json_char(((point, point),)))
    return POOL.concat(*parts)


_ASCII = [json_char(((point, point),)) for point in range(0x80)]  # made once: names are spelled again and again

ASCII_LETTERS = np.array(_ASCII, np.int64)
"""Each ASCII character as `json_text` has it, (128,) expressions."""
