"""International host names that are short enough once encoded, as an automaton whose states are what is written.

Sources: RFC 3492 (encoding), RFC 1034 (63 octets a label, 253 a name). How long a label becomes is known from all of
its characters alone, so a state holds them. Nothing else is asked of names here but that they are of characters that
may stand in them, in any spelling that JSON allows: `format_hosts` says the rest, and is what masks are made of for as
long as there is room (`name_parts`). But that a katakana dot needs a letter of kana or Han is known here, too: for near
the limit such a letter has to fit, and what has to be searched otherwise may take long. Left out, though valid: labels
of which some beginning would be too long, with such a letter if it needs one, which takes a character that makes what
is before it shorter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from .chars import intersection, union
from .idna import LAST, LONGEST, PREFIX, allowed, letters, next_allowed
from .label_bounds import fits
from .label_kernels import LONGEST_NAME, first_that_fits, octets
from .unicode_scripts import script

DOTS = (0x2E, 0x3002, 0xFF0E, 0xFF61)

_PLAIN = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-"
KATAKANA_DOT = "\u30fb"
_ANY_PLAIN = ord("a")  # all of ASCII are as good
_HEX = b"0123456789abcdef"
_LEADS = range(0xC2, 0xF1)
_TRAILS = range(0x80, 0xC0)
_FEW, _BLOCK = 63, 1 << 12  # characters
_MOST_OTHERS = 12  # in labels that surely have room
_TIGHT_LABEL, _TIGHT_NAME, _TOO_MANY = 40, 120, 1 << 10  # octets
_SURROGATES, _LOW_SURROGATES = (0xD800, 0xDBFF), (0xDC00, 0xDFFF)


class Name(NamedTuple):
    """What is written of a name.

    used: octets of the labels before the open one, with their dots. label: the open one, its ASCII as one letter.
    begun: bytes of a character that is not whole.
    """

    used: int
    label: str
    begun: bytes = b""

    @property
    def room(self) -> int:
        """Octets that the open label may have."""
        return min(LONGEST, LONGEST_NAME - self.used)

    def codes(self, more: int = 0) -> np.ndarray:
        """Characters of the open label, with room for some more, int64."""
        found = np.zeros(len(self.label) + more, np.int64)
        found[: len(self.label)] = [ord(char) for char in self.label]
        return found


class NameLengths:
    """Names that are short enough as a machine (`machine.AnyMachine`)."""

    is_made = False
    is_limit = True
    relieved = Name(0, "")

    def after(self, state: Name, byte: int) -> Name | None:
        """The state after a byte; None: no name goes on with it."""
        if not state.begun and byte < 0x80 and byte != 0x5C:
            return _with_character(state, byte)
        begun = state.begun + bytes([byte])
        codes = _codes_of(begun)
        if not codes:
            return None
        if codes[0].left == 0:
            return _with_character(state, codes[0].low)
        open_one = state._replace(begun=begun)
        return None if _nearest(open_one) is None else open_one

    def first(self, state: Name) -> int:
        """Mask of the bytes that may come next where there is room; which do is known by trying them."""
        return _STARTS if not state.begun else _TRAILING if state.begun[0] >= 0x80 else _ESCAPED

    def classes(self, state: Name) -> tuple[int, ...]:
        """A partition of the 256 bytes: bytes of one class lead to the same state, or to none."""
        if not state.begun:
            return _CLASSES
        return _TRAIL_CLASSES if state.begun[0] >= 0x80 else _HEX_CLASSES

    def nearer(self, state: Name) -> tuple[int, Name]:
        """A byte, as a mask, on a shortest way to the end of the character that is open."""
        byte = _end(state)[0]
        after = self.after(state, byte)
        assert after is not None
        return 1 << byte, after

    def accepts(self, state: Name) -> bool:
        """Whether no character is open, and none is missing."""
        return not state.begun and not _lacks_a_letter(state.label)

    def length(self, state: Name) -> int:
        """Bytes that a shortest end has."""
        return len(_end(state))

    def ends(self, state: Name) -> list[bytes]:
        """Of the character that is open, or a letter for a katakana dot: a shortest one, and those that take least.

        Those are the first of which a label gets no longer than by any other, and what is in the label already.
        """
        if not _end(state):
            return []
        found = [_end(state)]
        for low, high, left in _codes_of(state.begun) if state.begun else ():
            there = sorted({ord(char) for char in state.label if low <= ord(char) <= high})
            cheapest = _cheapest(state, low, high)
            codes = [code for code in (cheapest, *there) if code >= 0 and _with_character(state, code) is not None]
            found += [_spelled(code, state.begun)[-left:] for code in codes]
        return list(dict.fromkeys(found))

    def reliefs(self, state: Name) -> tuple[bytes, ...]:
        """Texts that take little, and behind which a label begins: a dot, or a letter before it."""
        cheapest = min(state.label, key=lambda char: _octets_of(state.label + char) % _TOO_MANY, default="")
        return (b".", b"0.", *([f"{cheapest}.".encode()] if cheapest >= "\x80" else ()))

    def most(self, state: Name) -> int:
        """Characters that may come at most behind the one that is open: each takes an octet."""
        prefix = 0 if state.label.isascii() else len(PREFIX)
        return LONGEST_NAME - state.used - prefix - len(state.label) - bool(state.begun)

    def is_tight(self, state: Name) -> bool:
        """Whether little is left of the label, or of the name."""
        octets_now = max(_octets_of(state.label), 0)
        return octets_now > _TIGHT_LABEL or state.used + octets_now > _TIGHT_NAME


def after_all(state: Name, text: bytes) -> Name | None:
    """The state after a text; None: no name goes on with it."""
    found: Name | None = state
    for byte in text:
        found = None if found is None else NAME_LENGTHS.after(found, byte)
    return found


def nearest(state: Name) -> bytes | None:
    """A shortest end of the character that is open, short enough; None: none is open, or it has no such end."""
    return _nearest(state) if state.begun else None


def _with_character(state: Name, code: int) -> Name | None:
    """What is written with one character more; None: it may not stand there, or is too much."""
    if code in DOTS:
        if _lacks_a_letter(state.label):
            return None
        used = state.used + _octets_of(state.label) + 1
        return Name(used, "") if used < LONGEST_NAME else None
    if code < 0x80:
        if code not in _PLAIN:
            return None
        code = _ANY_PLAIN
    elif next_allowed(code) != code:
        return None
    longer = Name(state.used, state.label + chr(code))
    if not 0 <= _octets_of(longer.label) <= longer.room:
        return None
    return longer if not _lacks_a_letter(longer.label) or _letter_for(longer) is not None else None


@lru_cache(1 << 12)
def _octets_of(label: str) -> int:
    """Octets of a label once encoded; below 0: too many."""
    return int(octets(Name(0, label).codes(), len(label), LONGEST))


# -- characters that are open ---------------------------------------------------------------------------------


class Codes(NamedTuple):
    """Characters that a beginning of one may become: from `low` to `high`, by so many more bytes."""

    low: int
    high: int
    left: int


@lru_cache(1 << 12)
def _codes_of(begun: bytes) -> tuple[Codes, ...]:
    """The characters that some bytes may become, by how many more bytes that takes; with 0 left the one it is."""
    if begun[0] == 0x5C:
        return _codes_of_escape(begun)
    if begun[0] not in _LEADS or any(byte not in _TRAILS for byte in begun[1:]):
        return ()
    size = 2 if begun[0] < 0xE0 else 3 if begun[0] < 0xF0 else 4
    code, left = begun[0] & (0x7F >> size), size - len(begun)
    for byte in begun[1:]:
        code = code << 6 | byte & 0x3F
    low, high = code << 6 * left, (code + 1 << 6 * left) - 1
    least = (0x80, 0x800, 0x10000)[size - 2]
    return (Codes(max(low, least), high, left),) if high >= least else ()


def _codes_of_escape(begun: bytes) -> tuple[Codes, ...]:
    first = _range_of(begun[:6])
    if first is None:
        return ()
    low, high, left = first
    if len(begun) <= 6 and not (left == 0 and _SURROGATES[0] <= low <= _SURROGATES[1]):
        found = [] if _SURROGATES[0] <= low and high <= _LOW_SURROGATES[1] else [Codes(low, high, left)]
        low, high = max(low, _SURROGATES[0]), min(high, _SURROGATES[1])
        if low <= high:
            found.append(Codes(_pair(low, 0xDC00), _pair(high, 0xDFFF), left + 6))
        return tuple(found)
    second = _range_of(begun[6:]) if len(begun) > 6 else (*_LOW_SURROGATES, 6)
    if second is None:
        return ()
    first_low, last_low = max(second[0], _LOW_SURROGATES[0]), min(second[1], _LOW_SURROGATES[1])
    return (Codes(_pair(low, first_low), _pair(low, last_low), second[2]),) if first_low <= last_low else ()


def _range_of(escape: bytes) -> tuple[int, int, int] | None:
    r"""The first and last number that a beginning of `\uXXXX` may become, and how many bytes are left; None: none."""
    if not b"\\u".startswith(escape[:2]) or any(byte not in _HEX for byte in escape[2:].lower()):
        return None
    digits = escape[2:].decode()
    return int(digits.ljust(4, "0"), 16), int(digits.ljust(4, "f"), 16), 6 - len(escape)


def _pair(high: int, low: int) -> int:
    return 0x10000 + (high - 0xD800 << 10) + low - 0xDC00


@lru_cache(1 << 12)
def _nearest(state: Name) -> bytes | None:
    """A shortest end of the character that is open; None: it has none."""
    if _has_room(state):
        return _nearest(Name(0, "", state.begun))
    best, least = None, 0
    for low, high, left in _codes_of(state.begun):
        for code in _nearest_codes(state, low, high):
            longer = _with_character(state, code) if code >= 0 else None
            if longer is None:
                continue
            letter = _letter_for(longer) if _lacks_a_letter(longer.label) else b""
            size = left + len(letter or b"")
            if best is None or size < least:
                best, least = _spelled(code, state.begun)[-left:], size
            if not letter:
                break
    return best


def _nearest_codes(state: Name, low: int, high: int) -> Iterator[int]:
    """Characters from `low` to `high` one of which has a shortest end behind it, if any may stand there; -1: none.

    The first that fits; where a katakana dot lacks a letter then, or there is no room for one: a letter, and the first
    behind the dot.
    """
    yield _first_or_dot(state, False, low, high)
    yield _first_or_dot(state, True, low, high)
    if low <= ord(KATAKANA_DOT) < high:
        yield _first_that_fits(state, False, ord(KATAKANA_DOT) + 1, high)


def _has_room(state: Name) -> bool:
    """Whether any character may come next, as where nothing is written."""
    if not state.label and not state.used:
        return False
    others = sum(char >= "\x80" for char in state.label)
    return (
        state.used + 2 * LONGEST < LONGEST_NAME
        and KATAKANA_DOT not in state.label
        and others < _MOST_OTHERS
        and fits(len(state.label) - others + 1, others + 2, 0x80, LAST)
    )


def _first_or_dot(state: Name, is_letter: bool, low: int, high: int) -> int:
    code = _first_that_fits(state, is_letter, low, high)
    if code < 0 and _takes_a_dot(state):
        return next((dot for dot in DOTS if low <= dot <= high), -1)
    return code


def _first_that_fits(state: Name, is_letter: bool, low: int, high: int) -> int:
    """The first character from `low` to `high` that is short enough, a letter for a katakana dot if so asked; -1: none.

    Where it is not one of the first, many have to be tried: of those it is remembered by blocks.
    """
    name = state._replace(begun=b"")
    code = _try_all(name, is_letter, low, min(low + _FEW, high))
    for block in range(low // _BLOCK, high // _BLOCK + 1):
        if code >= 0 or low + _FEW >= high:
            break
        code = _first_of_block(name, is_letter, block)
        if 0 <= code < low:
            code = _try_all(name, is_letter, low, min(high, (block + 1) * _BLOCK - 1))
        if code > high:
            return -1
    return code


def _cheapest(state: Name, low: int, high: int) -> int:
    """The first character from `low` to `high` with which the label has as few octets as with any of them; -1: none."""
    least, codes, n = max(_octets_of(state.label), 0) + 1, state.codes(1), len(state.label)
    sizes = (first_that_fits(codes, n, _runs(), low, high, most) for most in range(least, state.room + 1))
    return int(next((code for code in sizes if code >= 0), -1))


@lru_cache(1 << 14)
def _first_of_block(name: Name, is_letter: bool, block: int) -> int:
    return _try_all(name, is_letter, block * _BLOCK, (block + 1) * _BLOCK - 1)


def _try_all(name: Name, is_letter: bool, low: int, high: int) -> int:
    runs = _letters() if is_letter else _runs()
    return int(first_that_fits(name.codes(1), len(name.label), runs, low, high, name.room))


def _end(state: Name) -> bytes:
    """A shortest text behind which a name may be over."""
    end = b""
    if state.begun:
        found = _nearest(state)
        assert found is not None
        after = after_all(state, end := found)
        assert after is not None
        state = after
    if not _lacks_a_letter(state.label):
        return end
    letter = _letter_for(state)
    assert letter is not None
    return end + letter


def _lacks_a_letter(label: str) -> bool:
    """Whether it has a katakana dot, but no letter beside which one may stand."""
    return KATAKANA_DOT in label and not any(_is_letter(char) for char in label)


@lru_cache(1 << 12)
def _letter_for(state: Name) -> bytes | None:
    """A letter that makes a katakana dot allowed, and is short enough; None: there is none."""
    code = _first_that_fits(state, True, 0x80, 0x3FFFF)
    return None if code < 0 else chr(code).encode()


@lru_cache(1 << 12)
def _is_letter(char: str) -> bool:
    return bool(((_letters()[:, 0] <= ord(char)) & (ord(char) <= _letters()[:, 1])).any())


@lru_cache(1)
def _letters() -> np.ndarray:
    """Letters of kana and Han, as `_runs`."""
    found = intersection(union(*map(script, ("Hiragana", "Katakana", "Han"))), letters())
    return np.array(found, np.int64)


def _takes_a_dot(state: Name) -> bool:
    return not _lacks_a_letter(state.label) and state.used + _octets_of(state.label) + 1 < LONGEST_NAME


def _spelled(code: int, begun: bytes) -> bytes:
    """A character as JSON spells it, in the way that is begun."""
    if begun[0] != 0x5C:
        return chr(code).encode()
    units = chr(code).encode("utf-16-be").hex()
    return b"".join(b"\\u" + units[at : at + 4].encode() for at in range(0, len(units), 4))


@lru_cache(1)
def _runs() -> np.ndarray:
    """The characters that may stand in labels, runs of them, (runs, 2) int64."""
    plain = [(0x2D, 0x2D), (0x30, 0x39), (0x41, 0x5A), (0x61, 0x7A)]
    return np.array([*plain, *allowed()], np.int64)


def _mask_of(data: Iterable[int]) -> int:
    return sum(1 << byte for byte in data)


_STARTS, _TRAILING, _ESCAPED = (
    _mask_of(each) for each in ((*_PLAIN, *b".\\", *_LEADS), _TRAILS, (*_HEX, *b"ABCDEF\\u"))
)


def _classes_of(*masks: int) -> tuple[int, ...]:
    return tuple(sorted((*masks, (1 << 256) - 1 - sum(masks))))


_CLASSES = _classes_of(
    sum(1 << byte for byte in _PLAIN), 1 << ord("."), 1 << ord("\\"), *[1 << byte for byte in _LEADS]
)
_TRAIL_CLASSES = _classes_of(*[1 << byte for byte in _TRAILS])
_HEX_CLASSES = _classes_of(
    1 << ord("\\"),
    1 << ord("u"),
    *[1 << byte | 1 << ord(chr(byte).upper()) for byte in _HEX[10:]],
    *[1 << byte for byte in _HEX[:10]],
)
NAME_LENGTHS = NameLengths()
"""The one there is; names begin with `Name(0, "")`."""
