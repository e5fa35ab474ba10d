"""What may follow a text depending on the text: elements that must differ, keys that must not come twice.

A capture is an element whose text is remembered until it ends; a `Rule` then says what may follow it.
"""

from __future__ import annotations

import json
import re
import threading
from bisect import bisect_left
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import msgspec

from .expr import EMPTY, POOL, Kind
from .json_equal import read
from .known_values import has_values_behind, search
from .pools import memo

_LISTED = "all values of"
_MOST_ASKED = 3  # rules that ask each for the next whether it is free
_COLON = 1 << ord(":")
_FEW_CHOICES = 16  # among which the beginnings of captured texts are looked for
_NONE_LEFT: frozenset[Hashable] = frozenset()
_ESCAPE_AT_END = re.compile(rb"\\(?:u(?:[0-9a-f]{0,3}|d[89ab][0-9a-f]{2}(?:\\(?:u[0-9a-f]{0,3})?)?))?\Z", re.IGNORECASE)
_SHORT_ESCAPES = {json.loads(f'"\\{letter}"'): (f"\\{letter}",) for letter in '"\\/bfnrt'}


class Excluded(msgspec.Struct, frozen=True, gc=False):
    """Values that may not be, `canonical` ones. spell: finds all texts of one, by the pool in use, with `form`."""

    spell: Callable[[Any, Any], int]
    form: Hashable
    values: frozenset[Any]

    def rests(self, text: bytes) -> Iterator[int]:
        """How those of their texts may go on that begin with `text`."""
        for value in self._begun_by(text):
            rest = _behind(self.spell(self.form, value), text)
            if rest != EMPTY:
                yield rest

    def only(self, values: frozenset[Any]) -> Excluded:
        """The same of these values."""
        return Excluded(self.spell, self.form, values)

    def _begun_by(self, text: bytes) -> Iterable[Any]:
        """Those of which a text may begin with `text`; errs towards more."""
        if not text:
            return self.values
        if text[:1] == b'"' and b"\\" not in text:
            strings = _strings(self.values)
            return strings.values[strings.begun_by(text)]
        return [value for value in self.values if isinstance(value, str) == (text[:1] == b'"')]


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

    def vague(self) -> Rule:
        """The same, or what it would be without the texts before: what may come by this may come by that."""
        ...

    def vaguely(self, text: bytes) -> int:
        """`loosely`, but what follows remembers no other text either, where `vague` is not the same."""
        ...

    def excluded(self) -> tuple[Excluded, ...]:
        """The values that may not be."""
        ...

    def values(self) -> frozenset[Hashable] | None:
        """The values that may not be, where all others may be if the rule is free; None elsewhere."""
        ...

    def hides(self) -> bool:
        """Whether `excluded` leaves out texts that may not be either."""
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

    def changed(self, change: Callable[[int], int]) -> Rule:
        """The same of other expressions: each that the rule is made of as `change` has it."""
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

    def vague(self) -> Either:
        """The same."""
        return self

    def vaguely(self, text: bytes) -> int:
        """What may follow by any of the rules, no text remembered."""
        return POOL.alt(*[rule.vaguely(text) for rule in self._rules(text)])

    def excluded(self) -> tuple[Excluded, ...]:
        """What any of the rules leaves out."""
        return tuple(each for _, rule in self.choices for each in rule.excluded())

    def values(self) -> frozenset[Hashable] | None:
        """Not told by values alone."""

    def hides(self) -> bool:
        """Whether any does."""
        return any(rule.hides() for _, rule in self.choices)

    def follows(self) -> int:
        """What follows by any."""
        return POOL.alt(*[rule.follows() for _, rule in self.choices])

    def outline(self, body: int, text: bytes) -> int:
        """A shortest of each; what `body` is follows from the text."""
        bodies = [(POOL.rest(own, text[self.begun :]), rule) for own, rule in self.choices]
        return POOL.alt(*[rule.outline(own, text) for own, rule in bodies if own != EMPTY])

    def is_free(self) -> bool:
        """Whether all are."""
        return all(is_free(rule) for _, rule in self.choices)

    def changed(self, change: Callable[[int], int]) -> Either:
        """Each changed."""
        return self._replace(choices=tuple((change(body), rule.changed(change)) for body, rule in self.choices))

    def _rules(self, text: bytes) -> list[Any]:
        return [rule for body, rule in self.choices if POOL.fullmatch(body, text[self.begun :])]


def either(text: bytes, bodies: Sequence[int], rules: Sequence[Any]) -> Either:
    """The rule of captures that have the same text so far."""
    return Either(len(text), tuple(zip(bodies, rules, strict=True)))


class _Asking(threading.local):
    """How many rules are being asked whether they are free, each on behalf of the one before."""

    depth = 0


_asking = _Asking()


def is_free(rule: Rule) -> bool:
    """`Rule.is_free`, found once. Errs towards no where it is asked for by `_MOST_ASKED` others.

    What is captured may hold a text captured by the same rule, and so on: then to know whether a rule is free would be
    to know it first. Whether there is a text at all is found out in another way where a rule is not free.
    """
    return _asking.depth < _MOST_ASKED and _is_free(rule)


@memo
def _is_free(rule: Rule) -> bool:
    _asking.depth += 1
    try:
        return rule.is_free()
    finally:
        _asking.depth -= 1


@memo
def vague(expression: int) -> tuple[int, dict[Rule, Rule]]:
    """An expression whose captures that may come first have `Rule.vague` rules, and what these stand for.

    Wherever texts that are left out make no difference, all such expressions are one.
    """
    found: dict[Rule, Rule] = {}
    return _vague(expression, found), found


def _vague(expression: int, found: dict[Rule, Rule]) -> int:
    before: list[int] = []
    kind, *rest = POOL.node(expression)
    while kind == Kind.CAT:
        before.append(rest[0])
        kind, *rest = POOL.node(rest[1])
    if kind == Kind.ALT and len(rest[0]) <= _FEW_CHOICES:
        end = POOL.alt(*[_vague(part, found) for part in rest[0]])
    elif kind == Kind.CAPTURE and found.setdefault(rest[2].vague(), rest[2]) == rest[2]:
        end = POOL.capture(rest[0], rest[1], rest[2].vague())
    else:
        return expression
    return POOL.concat(*before, end)


def taken(rule: Rule, text: bytes) -> list[int]:
    """How those texts that may not be, and begin with `text`, may go on."""
    return [rest for excluded in rule.excluded() for rest in excluded.rests(text)]


def may_become_taken(rule: Rule, text: bytes) -> bool:
    """Whether there are texts that may not be, and begin with `text`."""
    return any(True for excluded in rule.excluded() for _ in excluded.rests(text))


@memo
def _behind(expression: int, text: bytes) -> int:
    """`Exprs.rest`, remembered."""
    return POOL.rest(expression, text)


def note_listed(expression: int, values: Iterable[str]) -> None:
    """Say which strings the texts of an expression stand for, all of them."""
    POOL.memos[_LISTED, expression, b""] = frozenset(values)


def note_begun(memos: dict[Hashable, Any], body: int, text: bytes, rest: int, longer: bytes) -> None:
    """Say that of a captured text, of which `text` was written and `body` left, `longer` is written and `rest` left."""
    listed = memos.get((_LISTED, body, text))
    if listed is not None:
        memos[_LISTED, rest, longer] = listed


def listed_by(body: int, begun: bytes) -> frozenset[str] | None:
    """The strings that captured texts stand for of which `begun` is written and `body` left, and others; None: many."""
    return POOL.memos.get((_LISTED, body, begun))


def has_others(
    rule: Rule, body: int, text: bytes, listed: frozenset[str] | None, left: frozenset[Hashable] = _NONE_LEFT
) -> bool | None:
    """Whether a captured text that begins with `text`, of which `body` is left, can become one that may be.

    Told where nothing is written yet, and where it is a string that is open, all of whose characters are whole, or any
    open one of those that are listed; None: not told. The rule is free.
    listed: see `listed_by`. left: more values that it may not be.
    """
    values = rule.values()
    if values is None or body == EMPTY:
        return None
    if not text and not left:
        return True
    if listed is not None:
        return has_listed(listed, values | left if left else values, text, lambda: body)
    start = None if left else _start_of(text)
    if start is None:
        return None
    strings = _strings(values)
    begun = frozenset(strings.values[strings.begun_by(start)])
    return _has_others(body, text, tuple(each.only(begun) for each in rule.excluded()))


def has_listed(
    listed: frozenset[str], values: frozenset[Hashable], text: bytes, body: Callable[[], int]
) -> bool | None:
    """`has_others`, where all strings are listed that there are. values: those that may not be. body: finds it."""
    possible = _strings(listed)
    if not text:
        return not listed <= values
    is_plain = b"\\" not in text and text[:1] == b'"' and text.find(b'"', 1) < 0
    start = text if is_plain else _start_of(text)
    if start is not None:
        return any(value not in values for value in possible.values[possible.begun_by(start)])
    escape = _ESCAPE_AT_END.search(text)
    start = None if escape is None else _start_of(text[: escape.start()])
    if escape is None or start is None:
        return None
    told = False
    for value in possible.values[possible.begun_by(start)]:
        if value not in values:
            for rest in _spelled(value.encode()[len(start) - 1 :].decode(), escape[0].lower()):
                if POOL.fullmatch(body(), rest):
                    return True
                told = None
    return told


def _spelled(text: str, begun: bytes) -> Iterator[bytes]:
    """Ends of the spellings of a string that begin with an escape so far, the rest not escaped where that can be."""
    units = text[:1].encode("utf-16-be").hex()
    spellings = ["".join("\\u" + units[i : i + 4] for i in range(0, len(units), 4)), *_SHORT_ESCAPES.get(text[:1], ())]
    for spelling in spellings:
        if spelling.encode().startswith(begun):
            yield spelling.encode()[len(begun) :] + json.dumps(text[1:], ensure_ascii=False)[1:].encode()


@memo
def _has_others(body: int, text: bytes, excluded: tuple[Excluded, ...]) -> bool | None:
    """`has_others`, of the values that begin with the text."""
    start, begun = str(read(text + b'"')), {value for each in excluded for value in each.values}
    found = search(POOL.concat(POOL.literal(b'"'), body), len(begun) + 1, any_spelling=False)
    if any(start + str(each.value) not in begun for each in found.values):
        return True
    if found.are_all:
        return False
    if not POOL.plain(body):
        return None
    return not POOL.is_empty(POOL.and_(body, POOL.not_(POOL.alt(*[r for each in excluded for r in each.rests(text)]))))


def _start_of(text: bytes) -> bytes | None:
    """The same string spelled without escapes; None where none is open, or its last character is not whole."""
    if text[:1] != b'"' or (b"\\" not in text and text.find(b'"', 1) > 0):
        return None
    try:
        return text if b"\\" not in text and text.decode() else b'"' + str(json.loads(text + b'"')).encode()
    except ValueError:
        return None


class _Strings(NamedTuple):
    """The strings among some values by their plain spelling, in its order."""

    spelled: list[bytes]
    values: list[str]

    def begun_by(self, text: bytes) -> slice:
        """Where those are that begin with `text`."""
        return slice(bisect_left(self.spelled, text), bisect_left(self.spelled, text + b"\xff"))


@lru_cache(256)
def _strings(values: frozenset[Any]) -> _Strings:
    pairs = sorted((b'"' + value.encode() + b'"', value) for value in values if isinstance(value, str))
    return _Strings([spelled for spelled, _ in pairs], [value for _, value in pairs])


def can_end(marks: Sequence[tuple[Any, ...]], text: bytes, *, is_over: bool) -> bool:
    """Whether captured texts can be gone on with to ones that may be.

    marks: nodes of those that are open, from the innermost. text: all since the outermost began. is_over: nothing more
    of the innermost may come.
    """
    _, start, _, _, rule = marks[0]
    if is_over and rule.loosely(text[start:]) == EMPTY:
        return False
    if all(is_free(rule) and not may_become_taken(rule, text[start:]) for _, start, _, _, rule in marks):
        return True
    _, _, whole, begun, rule = marks[-1]
    body = POOL.rest(whole, text[len(begun) :])
    if len(marks) == 1 and is_free(rule):
        shortest = POOL.shortest(body)
        if shortest is not None and rule.loosely(text + shortest) != EMPTY:
            return True
        told = has_others(rule, body, text, listed_by(whole, begun))
        if told is not None:
            return told
    if len(marks) > 1 and _has_more_than_are_taken(marks, text, is_over=is_over):
        return True
    return not POOL.is_empty(POOL.capture(body, text, rule))


def _has_more_than_are_taken(marks: Sequence[tuple[Any, ...]], text: bytes, *, is_over: bool) -> bool:
    """Whether the innermost captured text, or the outermost, is seen to have more values than any rule leaves out.

    Of different values of the innermost those of the others differ, too: each that is left out is one of them at most.
    Not so of names: an object may come to be the same, whichever of its names is written first.
    """
    rules = [rule for *_, rule in marks]
    if not all(map(is_free, rules)):
        return False
    wanted = 1 + sum(len(each.values) for rule in rules for each in rule.excluded())
    is_name = POOL.first(rules[0].follows()) & _COLON
    _, start, whole, begun, _ = marks[-1] if is_over or is_name else marks[0]
    return has_values_behind(text[start:], POOL.rest(whole, text[start + len(begun) :]), wanted)
