"""A plausible text of a JSON constraint, written by walking its automaton byte by byte with preferences.

Each byte is one the automaton allows, and the end is one it accepts: whatever is written, the grammar has checked it.
Where nothing preferred fits, the shortest way to end is taken, so that it always ends.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from .automaton import Automaton
from .batch import Saved, StateBatch
from .schema_document import Json, parse, subschemas
from .vocab import Vocabulary

MOST_BYTES = 1500
"""From here on the shortest way to end is taken."""

_DEEPEST = 3  # from this level on null and the empty list come first, so that recursion ends
_ITEMS = (2, 2, 1)  # items of a list by its level
_TOKEN_END = (b",", b"}", b"]", b" ", b"\n")
_NUMBERS = ("1", "2", "3", "12.5", "42", "2024", "0", "-1", "100", "0.5")
_STRINGS = (
    *("text", "another text", "a third text"),
    *("2024-05-17", "2024-05-17T09:30:00Z", "2024-05-17T09:30:00", "09:30:00Z", "09:30:00", "2024", "P3D", "PT90M"),
    *("ann@example.org", "https://example.org/page", "example.org", "192.0.2.1", "2001:db8::1"),
    *("123e4567-e89b-12d3-a456-426614174000", "/path/name", "AB", "ABC", "en", "12345", "12.50", "A-1", "1", "a"),
)
_BY_NAME = {
    "mail": "ann@example.org",
    "date": "2024-05-17",
    "url": "https://example.org/page",
    "name": "Ann Berg",
    "city": "Berlin",
    "country": "Germany",
    "phone": "+49 30 1234567",
    "currency": "EUR",
}
_NUMBER = re.compile(rb"-?[0-9][-+.0-9eE]*")
_STRING_REST = re.compile(rb'(?:[^"\\]|\\.)*"', re.DOTALL)
_NOT_LISTED = b'zq7_not_listed"'


class Example(NamedTuple):
    """text: one the automaton accepts. states: how many different ones were met on the way.

    forced: places of the bytes of the text that had to come.
    """

    text: str
    states: int
    forced: list[int]


BYTES = Vocabulary([bytes([byte]) for byte in range(256)], [256], 257)
"""The vocabulary whose tokens are the 256 bytes: to walk without a tokenizer."""


def example_of(automaton: Automaton, root: int, schema_text: str) -> Example:
    """A plausible text of a JSON Schema.

    automaton: of `BYTES`. root: of the compiled schema. schema_text: where names and values are taken from.
    Raises GrammarError where the automaton cannot go on.
    """
    walk = _Walk(automaton, root)
    _Writer(walk, Hints.of(parse(schema_text))).write()
    return Example(walk.text.decode(), len(walk.states), _forced_places(automaton, root, bytes(walk.text)))


def _forced_places(automaton: Automaton, root: int, text: bytes) -> list[int]:
    """The places in a text of the constraint at which only the byte that stands there may stand."""
    walk = _Walk(automaton, root)
    found: list[int] = []
    while len(walk.text) < len(text):
        at = len(walk.text)
        forced = walk.forced()
        found += range(at, at + len(forced))
        walk.take(forced or text[at : at + 1])
    return found


class Hints(NamedTuple):
    """What a schema says of its values: names in the order they are written, samples by name, and values of enums."""

    names: tuple[str, ...]
    samples: dict[str, list[str]]
    strings: tuple[str, ...]
    numbers: tuple[str, ...]

    @classmethod
    def of(cls, root: Json) -> Hints:
        """Gather them from a parsed schema."""
        names: dict[str, None] = {}
        samples: dict[str, list[str]] = {}
        values: list[Json] = []
        todo: list[tuple[str, Json]] = [("#", root)]
        while todo:
            place, schema = todo.pop()
            if not isinstance(schema, dict):
                continue
            properties = schema.get("properties")
            for name, inner in properties.items() if isinstance(properties, dict) else ():
                names[name] = None
                samples.setdefault(name, []).extend(v for v in _said(inner) if isinstance(v, str))
            values += _listed(schema.get("enum"))
            values += [schema["const"]] if "const" in schema else []
            todo += reversed(subschemas(place, schema))
        strings = tuple(dict.fromkeys(value for value in values if isinstance(value, str)))
        numbers = tuple(str(v) for v in values if not isinstance(v, str | bool | list | dict) and v is not None)
        return cls(tuple(names), samples, strings, numbers)


def _said(schema: Json) -> list[Json]:
    """Values that a schema itself gives as examples."""
    if not isinstance(schema, dict):
        return []
    default = [schema["default"]] if "default" in schema else []
    return [*_listed(schema.get("examples")), *([schema["example"]] if "example" in schema else []), *default]


def _listed(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []


class _Walk:
    """One sequence of an automaton of bytes, with what was written and the states met."""

    def __init__(self, automaton: Automaton, root: int) -> None:
        self._batch = StateBatch(automaton)
        self._slots = np.array([self._batch.open(root)], np.int32)
        self.text = bytearray()
        self.states: set[int] = {self._saved()[0]}

    def _saved(self) -> Saved:
        return self._batch.save(int(self._slots[0]))

    def mark(self) -> tuple[Saved, int]:
        """Where the walk stands; for `back`."""
        return self._saved(), len(self.text)

    def back(self, mark: tuple[Saved, int]) -> None:
        """Return to a mark."""
        self._batch.restore(int(self._slots[0]), mark[0])
        del self.text[mark[1] :]

    def take(self, data: bytes) -> bool:
        """Write `data`; False, and nothing is written, where it may not stand."""
        mark = self.mark()
        met = set()
        for byte in data:
            if not self._batch.advance(self._slots, np.array([byte], np.int32))[0]:
                self.back(mark)
                return False
            met.add(self._saved()[0])
            self.text.append(byte)
        self.states |= met
        return True

    def may_take(self, data: bytes) -> Saved | None:
        """The state behind `data`, or None where it may not stand."""
        mark, states = self.mark(), set(self.states)
        after = self._saved() if self.take(data) else None
        self.back(mark)
        self.states = states
        return after

    def accepting(self) -> bool:
        """Whether the text may end here."""
        return bool(self._batch.accepting(self._slots)[0])

    def forced(self) -> bytes:
        """Bytes that must come next."""
        return self._batch.forced(int(self._slots[0]))

    def shortest_rest(self) -> bytes:
        """A shortest way to end."""
        return bytes(self._batch.closing(int(self._slots[0])))


class _Writer:
    """Writes one JSON value over a walk."""

    def __init__(self, walk: _Walk, hints: Hints) -> None:
        self._walk = walk
        self._hints = hints

    def write(self) -> None:
        """The whole text, to where it may end."""
        self._value(0, "")
        if not self._walk.accepting():
            self._walk.take(self._walk.shortest_rest())

    def _value(self, level: int, name: str, nth: int = 0) -> bool:
        """One value, the nth of a list; False where the walk can only be ended."""
        self._space()
        walk = self._walk
        if len(walk.text) > MOST_BYTES:
            return False
        if level >= _DEEPEST and walk.take(b"null"):
            return True
        if walk.take(b"{"):
            return self._object(level)
        if walk.take(b"["):
            return self._array(level, name)
        if walk.take(b'"'):
            return self._string(self._samples(name, nth))
        return self._number() or any(map(walk.take, (b"true", b"false", b"null")))

    # -- objects ----------------------------------------------------------------------------------------------

    def _object(self, level: int) -> bool:
        used: list[str] = []
        while (name := self._key(used, level)) is not None:
            used.append(name)
            if not self._punctuation(b":") or not self._value(level + 1, name):
                return False
        return self._punctuation(b"}")

    def _key(self, used: list[str], level: int) -> str | None:
        """Write the next key; None, and nothing is written, where the object had better end."""
        walk = self._walk
        mark = walk.mark()
        if (not used or self._punctuation(b",")) and self._punctuation(b'"'):
            name = self._listed_name(used) or self._sample_name(used, level)
            if name is not None:
                return name
            inside = walk.mark()
            walk.back(mark)
            if self._may_end(b"}"):
                return None
            walk.back(inside) if inside[1] == mark[1] else self._retake(used)
            return self._needed_name()
        walk.back(mark)
        return None

    def _retake(self, used: list[str]) -> None:
        if used:
            self._punctuation(b",")
        self._punctuation(b'"')

    def _listed_name(self, used: list[str]) -> str | None:
        """Write the first name the schema lists that fits and is no mere other name; its text, or None."""
        other = self._walk.may_take(_NOT_LISTED)
        names = self._hints.names
        after_last = names.index(used[-1]) + 1 if used and used[-1] in names else 0
        for name in (*names[after_last:], *names[:after_last]):  # members mostly stand in the order of the schema
            if name in used:
                continue
            after = self._walk.may_take(_inside(name) + b'"')
            if after is not None and after != other and self._walk.take(_inside(name) + b'"'):
                return name
        return None

    def _sample_name(self, used: list[str], level: int) -> str | None:
        """One made-up name, in an object that has no listed ones and says what its values are."""
        if used or level >= _DEEPEST:
            return None
        mark = self._walk.mark()
        for name in ("name", *_STRINGS):
            if self._walk.take(_inside(name) + b'"'):
                if self._punctuation(b":") and not self._is_free():
                    self._walk.back(mark)
                    self._walk.take(_inside(name) + b'"')
                    return name
                break
        self._walk.back(mark)
        return None

    def _is_free(self) -> bool:
        """Whether values of many types may stand here."""
        self._space()
        return sum(self._walk.may_take(start) is not None for start in (b"{", b"[", b'"', b"0", b"t", b"n")) > 4

    def _needed_name(self) -> str | None:
        """A name that must come, taken from the shortest way to end."""
        found = _STRING_REST.match(self._walk.shortest_rest())
        if not found or not self._walk.take(found[0]):
            return None
        return json.loads(b'"' + found[0])

    # -- lists ------------------------------------------------------------------------------------------------

    def _array(self, level: int, name: str) -> bool:
        wanted = _ITEMS[min(level, len(_ITEMS) - 1)]
        if (level >= _DEEPEST or self._is_free()) and self._punctuation(b"]"):
            return True
        written = 0
        while True:
            if written >= wanted and self._punctuation(b"]"):
                return True
            mark = self._walk.mark()
            if (written and not self._punctuation(b",")) or not self._starts_value():
                self._walk.back(mark)
                return self._punctuation(b"]")
            if not self._value(level + 1, name, written):
                return False
            written += 1

    def _starts_value(self) -> bool:
        self._space()
        if self._may_start_value():
            return True
        mark = self._walk.mark()
        if self._new_line() and self._may_start_value():
            return True
        self._walk.back(mark)
        return False

    def _may_start_value(self) -> bool:
        starts = (b"{", b"[", b'"', b"-", *(str(digit).encode() for digit in range(10)), b"t", b"f", b"n")
        return any(self._walk.may_take(start) is not None for start in starts)

    # -- scalars ----------------------------------------------------------------------------------------------

    def _samples(self, name: str, nth: int) -> Iterator[str]:
        fitting = (sample for part, sample in _BY_NAME.items() if part in name.lower())
        own = [*self._hints.samples.get(name, ()), *fitting]
        yield from own[nth:]
        yield from _STRINGS[min(nth, 2) :]
        yield from own
        yield from self._hints.strings

    def _string(self, samples: Iterator[str]) -> bool:
        if any(self._walk.take(_inside(sample) + b'"') for sample in samples):
            return True
        rest = _STRING_REST.match(self._walk.shortest_rest())
        return bool(rest) and self._walk.take(rest[0])

    def _number(self) -> bool:
        for sample in (*_NUMBERS, *self._hints.numbers):
            mark = self._walk.mark()
            if self._walk.take(sample.encode()) and self._ends_number():
                return True
            self._walk.back(mark)
        shortest = _NUMBER.match(self._walk.shortest_rest())
        return bool(shortest) and self._walk.take(shortest[0])

    def _ends_number(self) -> bool:
        return self._walk.accepting() or any(self._walk.may_take(end) is not None for end in _TOKEN_END)

    # -- between ----------------------------------------------------------------------------------------------

    def _space(self) -> None:
        """Write the whitespace that must come."""
        forced = self._walk.forced()
        self._walk.take(forced[: len(forced) - len(forced.lstrip(b" \n\r\t"))])

    def _punctuation(self, sign: bytes) -> bool:
        mark = self._walk.mark()
        self._space()
        if self._walk.take(sign):
            return True
        if self._new_line() and self._walk.take(sign):
            return True
        self._walk.back(mark)
        return False

    def _new_line(self) -> bool:
        """Begin a line, where one may stand here; nothing else need be possible on it."""
        if not self._walk.take(b"\n"):
            return False
        self._space()
        return True

    def _may_end(self, sign: bytes) -> bool:
        mark = self._walk.mark()
        may = self._punctuation(sign)
        self._walk.back(mark)
        return may


def _inside(text: str) -> bytes:
    """A string as it stands between its quotes."""
    return json.dumps(text, ensure_ascii=False)[1:-1].encode()
