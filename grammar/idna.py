"""International labels: which are allowed, and how they are encoded in ASCII.

Sources: RFC 5891 (hyphens, marks, normal form), RFC 5892 (which characters, and beside which others), RFC 5893
(right-to-left), RFC 3492 (Punycode). Characters are those of the Unicode version that this Python knows.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from functools import cache, lru_cache

from .chars import CodePoints, category, code_points, complement, intersection, union
from .unicode_joining import joins
from .unicode_scripts import script

PREFIX = "xn--"
LONGEST = 63
"""Octets of an encoded label, the prefix included."""

LAST = 0x3FFFF
"""No character behind this one may stand in a label."""

_ALLOWED = (0xDF, 0x3C2, 0x6FD, 0x6FE, 0xF0B, 0x3007)  # RFC 5892, 2.6, as are the next
_FORBIDDEN = {0x640, 0x7FA, 0x302E, 0x302F, *range(0x3031, 0x3036), 0x303B}
IN_CONTEXT = frozenset({0xB7, 0x375, 0x30FB, 0x5F3, 0x5F4, 0x200C, 0x200D})
"""Characters that are allowed beside certain others alone."""

_KINDS = ("Ll", "Lu", "Lo", "Nd", "Lm", "Mn", "Mc")
_BLOCKS_IGNORED = [(0x20D0, 0x20FF), (0x1D100, 0x1D24F)]  # marks for symbols, music
_DEFAULT_IGNORABLE = [(0x34F, 0x34F), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F), (0x3164, 0x3164)]
_IGNORED = code_points([*_BLOCKS_IGNORED, *_DEFAULT_IGNORABLE, (0xFE00, 0xFE0F), (0xFFA0, 0xFFA0)])
_OLD_HANGUL = code_points([(0x1100, 0x11FF), (0xA960, 0xA97F), (0xD7B0, 0xD7FF)])
_VIRAMA = 9  # combining class


# -- characters -----------------------------------------------------------------------------------------------


@cache
def letters() -> CodePoints:
    """The characters outside of ASCII that may stand in a label anywhere."""
    left_out = union(_IGNORED, _OLD_HANGUL, code_points((c, c) for c in (*_FORBIDDEN, *IN_CONTEXT)), ((0, 0x7F),))
    candidates = intersection(union(*map(category, _KINDS)), complement(left_out))
    stable = (c for low, high in candidates for c in range(low, min(high, LAST) + 1) if _is_stable(chr(c)))
    return code_points((c, c) for c in (*stable, *_ALLOWED))


def _is_stable(char: str) -> bool:
    """RFC 5892, 2.2: whether it stays what it is when case and forms are made one."""
    if unicodedata.is_normalized("NFKC", char):
        folded = char.casefold()
        return folded == char or unicodedata.normalize("NFKC", folded) == char
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", char).casefold()) == char


@cache
def allowed() -> CodePoints:
    """The characters outside of ASCII that may stand in a label, some of them beside certain others alone."""
    return code_points([*letters(), *((c, c) for c in IN_CONTEXT)])


@cache
def _allowed_starts() -> list[int]:
    return [low for low, _ in allowed()]


def next_allowed(code: int) -> int | None:
    """The first allowed character from a code on; None: there is none."""
    at = bisect_right(_allowed_starts(), code) - 1
    if at >= 0 and code <= allowed()[at][1]:
        return code
    return allowed()[at + 1][0] if at + 1 < len(allowed()) else None


@lru_cache(1 << 14)
def _is_in(char: str, name: str) -> bool:
    return any(low <= ord(char) <= high for low, high in script(name))


# -- labels ---------------------------------------------------------------------------------------------------


def is_label(label: str) -> bool:
    """Whether a label, not of ASCII alone and of allowed characters and ASCII, is as the rules say. Any length."""
    if label[0] == "-" or label[-1] == "-" or label[2:4] == "--":
        return False
    if begins_with_mark(label) or not unicodedata.is_normalized("NFC", label):
        return False
    return not is_hopeless(label) and _has_its_context(label) and _has_its_direction(label)


def begins_with_mark(label: str) -> bool:
    """Whether it begins with a combining mark."""
    return unicodedata.category(label[:1] or "a")[0] == "M"


def is_hopeless(label: str) -> bool:
    """Whether more characters behind U+0080, wherever they come, would not make it one."""
    barred = barred_directions(label)
    if barred and any(unicodedata.bidirectional(char) in barred for char in label):
        return True
    return not _no_two_kinds_of_digits(label) or ("\xb7" in label and not _are_between_l(label))


@lru_cache(1 << 10)
def barred_directions(label: str) -> frozenset[str]:
    """Characters of these directions cannot stand in a label that has those it has."""
    kinds = {unicodedata.bidirectional(char) for char in label}
    barred = {"R", "AL", "AN"} if "L" in kinds else set()
    if not kinds.isdisjoint(("R", "AL", "AN")):
        barred |= {"L", *(("EN",) if "AN" in kinds else ()), *(("AN",) if "EN" in kinds else ())}
    return frozenset(barred)


def _no_two_kinds_of_digits(label: str) -> bool:
    return not (any("\u0660" <= c <= "\u0669" for c in label) and any("\u06f0" <= c <= "\u06f9" for c in label))


def _are_between_l(label: str) -> bool:
    return all(label[i - 1 : i] == label[i + 1 : i + 2] == "l" for i, char in enumerate(label) if char == "\xb7")


def _has_its_context(label: str) -> bool:
    """RFC 5892, appendix A."""
    for i, char in enumerate(label):
        if char < "\u0375" or ord(char) not in IN_CONTEXT:
            continue
        before, after = label[:i], label[i + 1 :]
        if char == "\u0375":
            fits = after != "" and _is_in(after[0], "Greek")
        elif char in "\u05f3\u05f4":
            fits = before != "" and _is_in(before[-1], "Hebrew")
        elif char == "\u30fb":
            fits = any(_is_in(c, name) for c in label for name in ("Hiragana", "Katakana", "Han"))
        else:
            fits = before != "" and unicodedata.combining(before[-1]) == _VIRAMA
            fits = fits or (char == "\u200c" and _joins_over(before, after))
        if not fits:
            return False
    return True


def _joins_over(before: str, after: str) -> bool:
    """Whether letters on both sides, transparent marks aside, would join."""
    left = next((kind for char in reversed(before) if (kind := joins(char)) != "T"), "")
    right = next((kind for char in after if (kind := joins(char)) != "T"), "")
    return left in ("L", "D") and right in ("R", "D")


def runs_right_to_left(label: str) -> bool:
    """Whether it has characters that are written so."""
    return any(unicodedata.bidirectional(char) in ("R", "AL", "AN") for char in label)


def _has_its_direction(label: str) -> bool:
    """RFC 5893, section 2, of labels that are written from right to left in part."""
    return not runs_right_to_left(label) or has_a_direction(label)


def has_a_direction(label: str) -> bool:
    """RFC 5893, section 2, as it asks of all labels of a name that has one written from right to left."""
    kinds = [unicodedata.bidirectional(char) for char in label]
    last = next((kind for kind in reversed(kinds) if kind != "NSM"), "")
    if kinds[0] == "L":
        return last in ("L", "EN") and {"R", "AL", "AN"}.isdisjoint(kinds)
    if kinds[0] not in ("R", "AL") or "L" in kinds or {"EN", "AN"} <= set(kinds):
        return False
    return last in ("R", "AL", "EN", "AN")
