"""Different values that texts of an expression stand for, found by a short search, shortest texts first."""

from __future__ import annotations

import heapq
import re
from collections import deque
from collections.abc import Hashable
from functools import lru_cache

import msgspec

from .chars import JSON_CHAR, PLAIN_CHAR
from .errors import Circular
from .expr import ALL_BYTES, EMPTY, POOL, Kind
from .json_equal import read
from .json_layout import QUOTE
from .pools import memo
from .witness import nicest

_BYTES_TRIED = 8  # of each class of bytes that behave alike
_EXPANSIONS = 60  # for each value that is looked for
_ANY_CHARACTER = (JSON_CHAR, PLAIN_CHAR)
_MANY, _MANY_CHARACTERS = 1_000_000, 5  # there are as many values of five letters, and more
_NUMBER_SO_FAR = re.compile(rb"(?:^|[\[:,\s])-?[0-9]+(\.[0-9]*)?$")
_ESCAPED = re.compile(rb"\\.")
_EXPONENT_MARKS = sum(1 << byte for byte in b"eE")
_NODES_SEEN, _NODES_BEHIND = 1000, 100
_STRINGS_TRIED = 16
_FEW_CLASSES = 16  # of bytes, for each of which it is found at once what may follow
_ARRAYS_ASKED = 3
_COLON = 1 << ord(":")
_FEWEST = 16  # values for which there are expansions at least
_UNESCAPED = ALL_BYTES & ~(1 << ord("\\"))  # nearly all values can be spelled so
_SPACE = 1 << ord(" ")
_SPACES = sum(1 << byte for byte in b" \t\n\r")
_NEEDED_ESCAPES = sum(1 << byte for byte in b'"\\bfnrt')  # behind a backslash: whatever else is there needs none


class Value(msgspec.Struct, frozen=True, gc=False):  # as there are many: no work for the garbage collector
    """A JSON text, and the `canonical` value it stands for."""

    text: bytes
    value: Hashable


def has_values(expression: int, wanted: int) -> bool:
    """Whether JSON texts stand for `wanted` different values, as far as a short search finds them."""
    if wanted < _MANY and _has_many(expression):
        return True
    if any(_has_string_of(expression, wanted, deep=deep) for deep in (False, True)):
        return True
    found = _tightly(expression, b"")
    found.look_for(wanted)
    if len(found.values) < wanted and not found.is_through:
        found = _tightly(expression, b"", ALL_BYTES)
        found.look_for(wanted)
    if len(found.values) >= wanted or found.is_through:
        return len(found.values) >= wanted
    kind, *rest = POOL.node(expression)  # some may be hidden behind the many spellings of a shorter one
    if found.is_at_end:
        return kind == Kind.ALT and any(has_values(member, wanted) for member in rest[0])
    if len(values_of(expression, wanted)) >= wanted:
        return True
    return kind == Kind.ALT and any(len(values_of(member, wanted)) >= wanted for member in rest[0])


@memo
def _has_many(expression: int) -> bool:
    """Whether a string of any characters is seen to stand in texts of an expression; errs towards no.

    Then they stand for as many values, the rest of such a text being always the same.
    """
    todo = deque([] if POOL.is_empty(expression) else [expression])
    seen: set[int] = set()  # letters stand in many names
    while todo and len(seen) < _NODES_SEEN:
        if (item := todo.pop()) in seen:
            continue
        seen.add(item)
        kind, *rest = POOL.node(item)
        if kind in (Kind.COUNTED, Kind.REPEAT) and rest[0] in _ANY_CHARACTER:
            if rest[2] is None or rest[2] >= _MANY_CHARACTERS:
                return True
        elif kind == Kind.CAT:
            todo += reversed(rest)
        elif kind == Kind.ALT:
            todo += [member for member in rest[0] if not POOL.is_empty(member)]
        elif kind == Kind.FRAME:
            todo += rest
        elif kind == Kind.REF:
            todo.append(POOL.outline(item))
            todo.appendleft(POOL.definition(item))  # when all that is shorter shows none
    return False


def has_values_behind(text: bytes, expression: int, wanted: int) -> bool:
    """Whether texts of which one is written, and `expression` is left, are seen to stand for so many values."""
    depths = () if POOL.plain(expression) else (False, True)
    if any(_has_string_of(expression, wanted, deep=deep, most=_NODES_BEHIND) for deep in depths):
        return True
    return len(values_behind(text, expression, wanted)) >= wanted


def _has_string_of(expression: int, wanted: int, *, deep: bool, most: int = _NODES_SEEN) -> bool:
    """Whether a string stands in texts of an expression that may be so many values. most: nodes that are looked at."""
    strings = _strings_in(expression, deep=deep, most=most).items()
    return any(len(search(string, wanted + spent).values) >= wanted + spent for string, spent in strings)


@memo
def _strings_in(expression: int, *, deep: bool, most: int) -> dict[int, int]:
    """Some strings that stand in texts of an expression, in place of a value each: it has as many values as these do.

    They have a frame between two quotes, where nothing else of JSON has one, and no colon follows. Whatever the rest of
    the text is, it can be the same for all values of such a string, and then no two of these texts are equal.
    deep: in elements that must differ, too. The value of each: how many elements were before, which may not be again.
    Any other leads to an array, and such arrays differ.
    """
    from .captures import is_free  # which looks for values itself

    found: dict[int, int] = {}
    todo = deque([] if POOL.is_empty(expression) else [(expression, False, 0)])  # with whether a colon follows
    seen: set[tuple[int, bool]] = set()
    asked = 0
    while todo and len(seen) < most and len(found) < _STRINGS_TRIED:
        item, is_name, spent = todo.pop()
        if (item, is_name) in seen:
            continue
        seen.add((item, is_name))
        kind, *rest = POOL.node(item)
        if kind == Kind.CAT:
            parts, strings = _parts_of(item, is_name=is_name), set[int]()
            for (before, _), (part, _), (behind, is_key) in zip(parts, parts[1:], parts[2:], strict=False):
                if before == behind == QUOTE and POOL.kind(part) == Kind.FRAME:
                    strings.add(part)  # nothing else is inside
                    if not is_key:
                        string = POOL.concat(before, part, behind)
                        found.setdefault(string, spent)
                        if _has_many(string):
                            return {string: spent}
            todo += [(part, is_key, spent) for part, is_key in reversed(parts) if part not in strings]
        elif kind == Kind.ALT:
            todo += [(member, is_name, spent) for member in rest[0] if not POOL.is_empty(member)]
        elif kind == Kind.FRAME:
            todo.append((rest[0], is_name, spent))
        elif kind == Kind.REF:
            todo.append((POOL.outline(item), is_name, spent))
            todo.appendleft((POOL.definition(item), is_name, spent))
        elif kind == Kind.CAPTURE and deep and asked < _ARRAYS_ASKED:
            body, text, rule = rest
            asked += 1
            if text:
                behind = POOL.behind((kind, *rest))
                todo += [] if POOL.is_empty(behind) else [(behind, is_name, spent)]
            elif not POOL.first(rule.follows()) & _COLON and is_free(rule):
                todo.append((body, is_name, spent + sum(len(each.values) for each in rule.excluded())))
    return found


def _parts_of(item: int, *, is_name: bool) -> list[tuple[int, bool]]:
    """Of a concatenation, each with whether a colon may follow. is_name: whether one follows the whole."""
    parts: list[tuple[int, bool]] = []
    while (node := POOL.node(item))[0] == Kind.CAT:
        _, part, item = node
        matters = part == QUOTE or POOL.kind(part) != Kind.SET
        is_key = matters and (bool(POOL.first(item) & _COLON) or (is_name and POOL.nullable(item)))
        parts.append((part, is_key))
    return [*parts, (item, is_name)]


def values_of(expression: int, wanted: int) -> list[Value]:
    """`wanted` texts of different values or more, shortest first; fewer where a short search finds no more."""
    return search(expression, wanted).values


def values_behind(text: bytes, expression: int, wanted: int) -> list[Value]:
    """`values_of` texts of which one is written, and `expression` is left; none with spaces that may be left out."""
    found = _tightly(expression, text)
    found.look_for(wanted)
    return found.values


def all_values(expression: int, most: int) -> list[Value] | None:
    """Texts of all the values there are; None: there are more than `most`, or a short search does not tell."""
    found = search(expression, most + 1)
    return found.values if found.are_all and len(found.values) <= most else None


class Values:
    """Texts of different values of an expression, shortest first, found as far as they are asked for.

    spelling: mask of the bytes that texts are looked for with. begun: what is written of them, of which the expression
    is left. tightly: without the spaces that mean nothing and may be left out. are_all: there are no others.
    """

    def __init__(self, expression: int, spelling: int, begun: bytes = b"", *, tightly: bool = False) -> None:
        self.values: list[Value] = []
        self._spelling = spelling
        self._known: set[Hashable] = set()
        self._expanded = self._pushed = 0
        self._left_out = self._skipped = self._is_looking = False
        self._begun, self._tightly = begun, tightly
        self._heap: list[tuple[int, int, int, bytes, int]] = []
        if not POOL.is_empty(expression):
            self._heap.append((len(begun) + POOL.shortest_length(expression), 0, 0, begun, expression))

    @property
    def are_all(self) -> bool:
        """Whether there are no others than `values`."""
        return self.is_through and not self._skipped

    @property
    def is_at_end(self) -> bool:
        """Whether no more are found, however many are looked for."""
        return not self._heap and not self._is_looking

    @property
    def is_through(self) -> bool:
        """Whether there is nothing more to look at, but numbers that end in zeros or have an exponent."""
        return self.is_at_end and not self._left_out

    def look_for(self, wanted: int) -> None:
        """Have so many `values`, or all that a search finds which is the longer the more there are to be.

        To look on may be to ask what may follow, and that may be to look for the same: raises Circular where nothing
        is found by that, and finds no more where something may be.
        """
        most = _EXPANSIONS * max(_FEWEST, 2 * wanted)
        if self._is_looking:
            if self._tightly and len(self.values) < wanted:
                raise Circular("constraint", "uniqueItems", "values are told by themselves", "leave out uniqueItems")
            return
        self._is_looking = True
        try:
            while len(self.values) < wanted and self._heap and self._expanded < most:
                self._open(heapq.heappop(self._heap))
        finally:
            self._is_looking = False

    def _open(self, entry: tuple[int, int, int, bytes, int]) -> None:
        """Go on with what is left to look at; where that fails it is still left."""
        length, *_, text, rest = entry
        try:
            if rest < 0:
                rest, least = self._after(~rest, text[-1])
                if rest == EMPTY:
                    return
                if len(text) + least > length:
                    self._push(len(text) + least, text, rest)
                    return
            self._expanded += 1
            if POOL.nullable(rest):
                self._note(text)
            self._expand(length, text, rest)
        except BaseException:
            heapq.heappush(self._heap, entry)
            raise

    def _note(self, text: bytes) -> None:
        value = read(text)
        if value not in self._known:
            self._known.add(value)
            self.values.append(Value(text, value))

    def _expand(self, length: int, text: bytes, rest: int) -> None:
        """Go on with a text. length: that of the shortest of which it is the beginning."""
        first, spelling = POOL.first(rest), self._spelling
        if (len(text) - len(text.rstrip(b"\\"))) % 2:
            spelling = ALL_BYTES if text == self._begun else _NEEDED_ESCAPES
        if self._tightly and first & _SPACE and first & ~_SPACES and not is_in_string(text):
            first &= ~_SPACES  # where no space but only a line break may be, something else stands behind it
        number = _NUMBER_SO_FAR.search(text)
        if number and first & _EXPONENT_MARKS:
            self._skipped, first = True, first & ~_EXPONENT_MARKS
        classes = [mask & first for mask in POOL.byte_classes(rest) if mask & first]
        if len(classes) > _FEW_CLASSES and not POOL.plain(rest):
            for byte in [byte for possible in classes for byte in self._some_of(possible, spelling)]:
                self._push(length, text + bytes([byte]), ~rest)
            return
        for possible in classes:
            some = _some_bytes(possible & spelling)
            after, least = self._after(rest, some[0] if some else nicest(possible))
            if after == EMPTY:
                continue
            self._left_out |= len(some) < possible.bit_count()
            if after == rest and number and number[1] and some == [ord("0")]:
                self._skipped = True  # one more zero at the end, and so on
                continue
            for byte in some:
                self._push(max(len(text) + 1 + least, length), text + bytes([byte]), after)

    def _some_of(self, possible: int, spelling: int) -> list[int]:
        some = _some_bytes(possible & spelling)
        self._left_out |= len(some) < possible.bit_count()
        return some

    def _push(self, length: int, text: bytes, rest: int) -> None:
        """Look at a text later. length: of the shortest that it begins, or less. rest: what is left; or the complement
        of what was left before its last byte, where that is yet to be found."""
        self._pushed += 1
        # Of those as short the longest is gone on with: else all beginnings come before the first whole one.
        heapq.heappush(self._heap, (length, -len(text), self._pushed, text, rest))

    def _after(self, rest: int, byte: int) -> tuple[int, int]:
        """What may follow a byte, and how long it is at least; EMPTY for what cannot be gone on with."""
        try:
            after = POOL.derivative(rest, byte)
            return after, POOL.shortest_length(after)
        except Circular:
            if not self._tightly:
                raise
            return POOL.raw_derivative(rest, byte), 0  # to know how long it is would be to know what is looked for


def search(expression: int, wanted: int, *, any_spelling: bool = True) -> Values:
    """The values found, so many or as many as a short search finds.

    any_spelling: whether values are looked for that cannot be spelled without escapes, if others are not enough.
    """
    found = _begun(expression, _UNESCAPED)
    found.look_for(wanted)
    if any_spelling and len(found.values) < wanted and not found.are_all:
        found = _begun(expression, ALL_BYTES)
        found.look_for(wanted)
    return found


@memo
def _begun(expression: int, spelling: int) -> Values:
    return Values(expression, spelling)


@memo
def _tightly(expression: int, begun: bytes, spelling: int = _UNESCAPED) -> Values:
    return Values(expression, spelling, begun, tightly=True)


def is_in_string(text: bytes) -> bool:
    """Whether a JSON text ends within a string."""
    return bool(_ESCAPED.sub(b"", text).count(b'"') % 2)


@lru_cache(4096)
def _some_bytes(mask: int) -> list[int]:
    found: list[int] = []
    while mask and len(found) < _BYTES_TRIED:
        found.append(nicest(mask))
        mask ^= 1 << found[-1]
    return found
