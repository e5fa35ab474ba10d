"""What may follow a text depending on the text: elements that must differ, keys that must not come twice.

A capture is an element whose text is remembered until it ends; a `Rule` then says what may follow it.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from .expr import EMPTY, POOL
from .json_equal import read
from .pools import memo
from .witness import nicest

_BYTES_TRIED = 8  # of each class of bytes that behave alike
_EXPANSIONS = 60  # for each value that is looked for
_FEWEST = 16  # values looked for at least


class Rule(Hashable, Protocol):
    """What a captured text does. Equal rules are one; ids of expressions are of the pool in use.

    Texts that are asked about are in the language of what was captured.
    """

    def after(self, text: bytes) -> int:
        """What may follow this text; EMPTY where the text itself may not be."""
        ...

    def loosely(self, text: bytes) -> int:
        """`after`, but what follows does not remember this text; the same for all texts that are alike."""
        ...

    def taken(self, text: bytes) -> list[int]:
        """How those texts that may not be, and begin with `text`, may go on."""
        ...

    def hides(self) -> bool:
        """Whether `taken` leaves out texts that may not be either."""
        ...

    def follows(self) -> int:
        """An expression that begins as all that may follow do."""
        ...

    def outline(self, body: int, text: bytes) -> int:
        """Within what may come when `text` is written and `body` is to come: it has a string if that has one."""
        ...

    def is_free(self) -> bool:
        """Whether each beginning of a text that is not taken can be gone on with, and each `loosely` be ended."""
        ...


class Either(NamedTuple):
    """Several rules at once, each for the texts of a body of its own that stands behind `begun`."""

    begun: int
    choices: tuple[tuple[int, Any], ...]

    def after(self, text: bytes) -> int:
        """What may follow by any of the rules."""
        return POOL.alt(*[rule.after(text) for rule in self._rules(text)])

    def loosely(self, text: bytes) -> int:
        """The same, not remembered."""
        return POOL.alt(*[rule.loosely(text) for rule in self._rules(text)])

    def taken(self, text: bytes) -> list[int]:
        """What any of the rules leaves out."""
        return [rest for _, rule in self.choices for rest in rule.taken(text)]

    def hides(self) -> bool:
        """Whether any does."""
        return any(rule.hides() for _, rule in self.choices)

    def follows(self) -> int:
        """What follows by any."""
        return POOL.alt(*[rule.follows() for _, rule in self.choices])

    def outline(self, body: int, text: bytes) -> int:
        """A shortest of each; what `body` is follows from the text."""
        bodies = [(derived(own, text[self.begun :]), rule) for own, rule in self.choices]
        return POOL.alt(*[rule.outline(own, text) for own, rule in bodies if own != EMPTY])

    def is_free(self) -> bool:
        """Whether all are."""
        return all(is_free(rule) for _, rule in self.choices)

    def _rules(self, text: bytes) -> list[Any]:
        return [rule for body, rule in self.choices if POOL.fullmatch(body, text[self.begun :])]


def either(text: bytes, bodies: Sequence[int], rules: Sequence[Any]) -> Either:
    """The rule of captures that have the same text so far."""
    return Either(len(text), tuple(zip(bodies, rules, strict=True)))


class Value(NamedTuple):
    """A JSON text, and the `canonical` value it stands for."""

    text: bytes
    value: Hashable


def has_values(expression: int, wanted: int) -> bool:
    """Whether JSON texts stand for `wanted` different values, as far as a short search finds them."""
    return len(values_of(expression, wanted)) >= wanted


def values_of(expression: int, wanted: int) -> list[Value]:
    """`wanted` texts of different values or more, shortest first; fewer where a short search finds no more."""
    known: dict[int, tuple[int, list[Value]]] = POOL.memos.setdefault("values of expressions", {})
    tried, found = known.get(expression, (0, []))
    if tried < wanted:
        tried = max(_FEWEST, 2 * wanted)
        found = _find_values(expression, tried)
        known[expression] = tried, found
    return found


def _find_values(expression: int, most: int) -> list[Value]:
    if POOL.is_empty(expression):
        return []
    found: dict[Hashable, Value] = {}
    heap = [(POOL.shortest_length(expression), 0, b"", expression)]
    pushed = 0
    for _ in range(_EXPANSIONS * most):
        if not heap or len(found) >= most:
            break
        _, _, text, rest = heapq.heappop(heap)
        if POOL.nullable(rest):
            value = read(text)
            found.setdefault(value, Value(text, value))
        for mask in POOL.byte_classes(rest):
            some = _some_bytes(mask & POOL.first(rest))
            after = POOL.derivative(rest, some[0]) if some else EMPTY
            if after == EMPTY:
                continue
            length = len(text) + 1 + POOL.shortest_length(after)
            for byte in some:
                pushed += 1
                heapq.heappush(heap, (length, pushed, text + bytes([byte]), after))
    return list(found.values())


@lru_cache(4096)
def _some_bytes(mask: int) -> list[int]:
    found: list[int] = []
    while mask and len(found) < _BYTES_TRIED:
        found.append(nicest(mask))
        mask ^= 1 << found[-1]
    return found


@memo
def is_free(rule: Rule) -> bool:
    """`Rule.is_free`, found once."""
    return rule.is_free()


def derived(expression: int, text: bytes) -> int:
    """What may follow `text`."""
    for byte in text:
        if expression == EMPTY:
            break
        expression = POOL.raw_derivative(expression, byte)
    return expression


def rests(spellings: Callable[[Any], int], values: Iterable[Any], text: bytes) -> list[int]:
    """What is left behind `text` of the spellings of values, `canonical` ones, that it begins."""
    found = [derived(spellings(value), text) for value in values if _may_begin(text, value)]
    return [rest for rest in found if rest != EMPTY]


def _may_begin(text: bytes, value: Hashable) -> bool:
    """Whether a spelling of a value may begin with `text`; errs towards yes."""
    if not text:
        return True
    if not isinstance(value, str):
        return text[:1] != b'"'
    return text[:1] == b'"' and (b"\\" in text or (b'"' + value.encode() + b'"').startswith(text))


def can_end(marks: Sequence[tuple[Any, ...]], text: bytes, *, is_over: bool) -> bool:
    """Whether captured texts can be gone on with to ones that may be.

    marks: nodes of those that are open, from the innermost. text: all since the outermost began. is_over: nothing more
    of the innermost may come.
    """
    _, start, _, _, rule = marks[0]
    if is_over and rule.loosely(text[start:]) == EMPTY:
        return False
    if all(is_free(rule) and not rule.taken(text[start:]) for _, start, _, _, rule in marks):
        return True
    _, _, body, begun, rule = marks[-1]
    shortest = POOL.shortest(derived(body, text[len(begun) :])) if len(marks) == 1 and is_free(rule) else None
    if shortest is not None and rule.loosely(text + shortest) != EMPTY:
        return True
    return not POOL.is_empty(POOL.capture(derived(body, text[len(begun) :]), text, rule))
