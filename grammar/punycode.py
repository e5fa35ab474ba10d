"""Encoded labels of host names (`xn--...`), read digit by digit, and their shortest endings.

Source: RFC 3492, with the parameters of its section 5. What is written of a label may turn out to be digits, or letters
that stand for themselves: that depends on whether another hyphen comes. So a state of this automaton is the text, made
as it is met. That a text can be ended is found by searching the digits, or, while five more characters fit, follows
from how labels are encoded: the text, with a letter behind hyphens, becomes letters by one more hyphen, and three
digits insert a letter among them. Left out, though valid: labels that begin as NEVER says, and those of 62 characters
or 63 whose letters of ASCII begin with a hyphen and end with two.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from .idna import LAST, LONGEST, PREFIX, barred_directions, begins_with_mark, is_hopeless, is_label, next_allowed
from .work import tick

ROOM = LONGEST - len(PREFIX)
"""Characters that may come behind the prefix."""

ALWAYS_ENDS = 5
"""Texts of letters, digits and hyphens to which so many characters may be added can be ended, but for NEVER."""

NEVER = "---"
"""Letters that begin so are left out: that may be a label, but takes two more characters at its beginning."""

BASE, _LEAST, _MOST, _SKEW, _DAMP = 36, 1, 26, 38, 700
FIRST_CODE, FIRST_BIAS = 0x80, 72
_SEARCHED = 3  # digits whose every value is tried
_INSERTED = "\xdf"  # the least letter that may stand anywhere: three digits put it anywhere into a label
_DIGITS = "abcdefghijklmnopqrstuvwxyz0123456789"
_VALUES = {char: value for value, char in enumerate(_DIGITS)}


class Reading(NamedTuple):
    """What is decoded of a text, and the number that is being read.

    label: characters so far. code, at: from which character, and which place in the label, numbers count on. delta: of
    the number so far; weight, place: of its next digit. inserted: whether numbers came before.
    """

    label: str
    code: int = FIRST_CODE
    at: int = 0
    bias: int = FIRST_BIAS
    delta: int = 0
    weight: int = 1
    place: int = 1
    inserted: bool = False


@lru_cache(1 << 14)
def read(text: str) -> Reading | None:
    """What a text behind the prefix, in lower case, stands for if no hyphen comes; None: it cannot end without one."""
    if not text:
        return Reading("")
    if text[-1] == "-":
        return Reading(text[:-1]) if len(text) > 1 else None
    before = read(text[:-1])
    return None if before is None else _with_digit(before, _VALUES[text[-1]])


def _with_digit(reading: Reading, digit: int) -> Reading | None:
    limit = threshold(reading.bias, reading.place)
    delta = reading.delta + digit * reading.weight
    if digit < limit:
        return _with_character(reading, delta)
    if reading.code + (reading.at + delta) // (len(reading.label) + 1) > LAST:
        return None
    return reading._replace(delta=delta, weight=reading.weight * (BASE - limit), place=reading.place + 1)


def threshold(bias: int, place: int) -> int:
    """The last digit of a number is less than this, those before are not. place: of the digit, from 1 on."""
    return min(max(BASE * place - bias, _LEAST), _MOST)


def _with_character(reading: Reading, delta: int) -> Reading | None:
    """What a whole number leads to; None: to no label."""
    label, size = reading.label, len(reading.label) + 1
    more, at = divmod(reading.at + delta, size)
    code = reading.code + more
    if next_allowed(code) != code:
        return None
    label = label[:at] + chr(code) + label[at:]
    if is_hopeless(label):
        return None
    return Reading(label, code, at + 1, _adapted(delta, size, first=not reading.inserted), inserted=True)


def _adapted(delta: int, size: int, *, first: bool) -> int:
    delta //= _DAMP if first else 2
    delta += delta // size
    bias = 0
    while delta > (BASE - _LEAST) * _MOST // 2:
        delta //= BASE - _LEAST
        bias += BASE
    return bias + (BASE - _LEAST + 1) * delta // (delta + _SKEW)


def is_encoded(text: str) -> bool:
    """Whether a text behind the prefix is that of a label."""
    reading = read(text)
    return reading is not None and _is_over(reading) and is_label(reading.label)


def _is_over(reading: Reading) -> bool:
    return reading.inserted and reading.place == 1


# -- endings --------------------------------------------------------------------------------------------------


def can_end(text: str, room: int) -> bool:
    """Whether at most `room` more characters make a label of a text."""
    if text.startswith(NEVER):
        return False
    room = min(room, ROOM - len(text))
    if room >= ALWAYS_ENDS or (room > _SEARCHED and _takes_a_letter(text)):
        return True
    return any(_ending(text, count) is not None for count in range(room + 1))


def _takes_a_letter(text: str) -> bool:
    """Whether a hyphen and three digits, as good as any, make a label of a text."""
    places = {min(at, len(text)) for at in (0, 1, 2, 3, len(text))}
    return any(is_label(text[:at] + _INSERTED + text[at:]) for at in places)


@lru_cache(1 << 14)
def shortest_ending(text: str) -> str:
    """Of a text that can end, a shortest rest of it."""
    for count in range(ALWAYS_ENDS + 1):
        found = _ending(text, count)
        if found is not None:
            return found
    raise ValueError(f"{text!r} has no end")


@lru_cache(1 << 14)
def _ending(text: str, count: int) -> str | None:
    """Exactly so many characters that make a label of a text. (All that begin them have an ending by this, too.)"""
    reading = read(text)
    if count == 0:
        return "" if is_encoded(text) else None
    if count <= _SEARCHED:
        return None if reading is None else _digits(reading, count)
    char = "-" if count == _SEARCHED + 1 else "0"
    rest = _ending(text + char, count - 1)
    return None if rest is None else char + rest


def _digits(reading: Reading, count: int) -> str | None:
    """Exactly so many digits that make a label."""
    places, barred = _places(reading.label), barred_directions(reading.label)
    for number, size, code, at in _numbers(reading, count if places else count - 1):
        if (size == count and at not in places) or (barred and unicodedata.bidirectional(chr(code)) in barred):
            continue
        after = _with_character(reading, reading.delta + reading.weight * number)
        if after is not None:
            rest = _digits(after, count - size) if size < count else "" if is_label(after.label) else None
            if rest is not None:
                return _spelled(reading, number) + rest
    return None


@lru_cache(1 << 10)
def _places(label: str) -> frozenset[int]:
    """Where one character has to come for hyphens, and a mark at the beginning, to stand where they may."""
    places = set(range(len(label) + 1))
    if label[:1] == "-" or begins_with_mark(label):
        places &= {0}
    if label[-1:] == "-":
        places &= {len(label)}
    if label[1:3] == "--":
        places -= {0}
    if label[2:4] == "--":
        places &= {0, 1, 2, 3}
    return frozenset(places)


def _numbers(reading: Reading, most: int) -> Iterator[tuple[int, int, int, int]]:
    """Rests of the number being read that insert an allowed character, ascending: of `most` digits at most.

    With each its digits, the character, and where it is inserted.
    """
    size = len(reading.label) + 1
    number, weight = 0, 1
    above = 0
    for digits in range(1, most + 1):
        limit = threshold(reading.bias, reading.place + digits - 1)
        above += weight * limit
        weight *= BASE - limit
        while number < above:
            tick()
            more, at = divmod(reading.at + reading.delta + reading.weight * number, size)
            code = reading.code + more
            allowed = next_allowed(code)
            if allowed is None:
                return
            if allowed == code:
                yield number, digits, code, at
                number += 1
            else:
                missing = (allowed - reading.code) * size - reading.at - reading.delta
                number = max(number + 1, -(-missing // reading.weight))


def _spelled(reading: Reading, number: int) -> str:
    digits, place = "", reading.place
    while number >= (limit := threshold(reading.bias, place)):
        number, digit = divmod(number - limit, BASE - limit)
        digits += _DIGITS[limit + digit]
        place += 1
    return digits + _DIGITS[number]


# -- as an automaton ------------------------------------------------------------------------------------------

BYTES = _DIGITS + "ABCDEFGHIJKLMNOPQRSTUVWXYZ-"
"""Characters of encoded labels."""


class EncodedLabels:
    """Encoded labels as a machine (`machine.AnyMachine`): its states are texts in lower case, the prefix included."""

    is_made = True
    is_limit = False

    def after(self, state: str, byte: int) -> str | None:
        """The state after a byte; None: no label goes on with it."""
        char = chr(byte)
        if char not in BYTES:
            return None
        longer = state + char.lower()
        return longer if begins_label(longer, LONGEST) else None

    def first(self, state: str) -> int:
        """Mask of the bytes that may come next."""
        return _first(state)

    def classes(self, state: str) -> tuple[int, ...]:
        """A partition of the 256 bytes: letters in either case, digits and the hyphen by themselves."""
        return _CLASSES

    def nearer(self, state: str) -> tuple[int, str]:
        """A byte, as a mask, on a shortest way to the end."""
        char = self._rest(state)[0]
        return 1 << ord(char), state + char

    def accepts(self, state: str) -> bool:
        """Whether the label may be over."""
        return state.startswith(PREFIX) and is_encoded(state[len(PREFIX) :])

    def length(self, state: str) -> int:
        """Bytes that a shortest label still needs."""
        return len(self._rest(state))

    def least(self, state: str) -> int:
        """Bytes that all labels still need: of endings of more than three characters, not every one is tried."""
        ending = shortest_ending(state[len(PREFIX) :])
        return len(PREFIX[len(state) :]) + min(len(ending), _SEARCHED + 1)

    def _rest(self, state: str) -> str:
        return PREFIX[len(state) :] + shortest_ending(state[len(PREFIX) :])


def begins_label(text: str, room: int) -> bool:
    """Whether a text in lower case, or at most `room` more characters behind it, makes an encoded label."""
    if not text.startswith(PREFIX):
        return PREFIX.startswith(text) and room >= len(PREFIX) - len(text) + len(shortest_ending(""))
    return len(text) <= LONGEST and can_end(text[len(PREFIX) :], room)


@lru_cache(1 << 12)
def _first(state: str) -> int:
    free = len(state) + 1 + ALWAYS_ENDS <= LONGEST and not (PREFIX + NEVER).startswith(state)
    ways = [char for char in BYTES if free or ENCODED.after(state, ord(char)) is not None]
    return sum(1 << ord(char) for char in ways)


def _classes() -> tuple[int, ...]:
    masks = {char: 1 << ord(char) | 1 << ord(char.upper()) for char in (*_DIGITS, "-")}
    others = (1 << 256) - 1 - sum(masks.values())
    return tuple(sorted((*masks.values(), others)))


_CLASSES = _classes()
ENCODED = EncodedLabels()
"""The one there is."""
