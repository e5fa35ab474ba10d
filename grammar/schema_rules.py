"""What a schema says of values of one type, as plain frozen rules; and how rules name inner schemas.

Inner schemas are not expanded: a rule names them by conjunctions of places, so recursion needs no care here.
"""

from __future__ import annotations

import typing
from fractions import Fraction
from typing import Any

import msgspec
from msgspec.structs import replace

from .numbers import Interval
from .schema_document import Scope
from .work import tick

# -- inner schemas --------------------------------------------------------------------------------------------


class Literal(msgspec.Struct, frozen=True, gc=False):
    """The schema at a place, reached with a dynamic scope, or the opposite of it."""

    place: str
    negated: bool = False
    scope: Scope = ()


class Same(msgspec.Struct, frozen=True, gc=False):
    """Equal to a value, or not."""

    value: Value
    negated: bool = False


class Either(msgspec.Struct, frozen=True, gc=False):
    """At least one of some conjunctions."""

    options: tuple[tuple[Any, ...], ...]


Conj = tuple[Any, ...]
"""Literals, Sames and Eithers that all hold; () is any JSON value."""

Verbatim = typing.Literal["characters", "words"]
"""Where parts of a document may begin and end that a value must be one of."""

NEVER: Conj = (Either(()),)
"""No value."""


def join(first: Conj, second: Conj) -> Conj:
    """Both conjunctions, each part once, in order; NEVER when they plainly contradict each other."""
    if not first or not second or first == second:
        return first or second
    parts = dict.fromkeys(first + second)
    if NEVER[0] in parts:
        return NEVER
    for part in parts:
        if isinstance(part, Literal | Same) and part.negated and replace(part, negated=False) in parts:
            return NEVER
    return tuple(parts)


def opposite(conj: Conj) -> Conj:
    """What holds when a conjunction does not."""
    if len(conj) == 1:
        return _opposite_part(conj[0])
    return (Either(tuple(_opposite_part(part) for part in conj)),)


def _opposite_part(part: Literal | Same | Either) -> Conj:
    if isinstance(part, Literal | Same):
        return (replace(part, negated=not part.negated),)
    result: Conj = ()
    for option in part.options:
        result = join(result, opposite(option))
    return result


# -- rules ----------------------------------------------------------------------------------------------------


class Value(msgspec.Struct, eq=False, gc=False):
    """A JSON value. Equal ones are equal here: 1 and 1.0 are, 1 and true are not; the order of members is nothing."""

    json: Any
    _identity: Any = None
    _hash: int = 0

    def __post_init__(self) -> None:
        tick()
        self._identity = identity(self.json)
        self._hash = hash(self._identity)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Value) and self._identity == other._identity

    def __hash__(self) -> int:
        return self._hash


def identity(value: Any) -> Any:
    """A hashable that is equal for equal JSON values."""
    if isinstance(value, dict):
        return "object", frozenset((name, identity(item)) for name, item in value.items())
    if isinstance(value, list):
        return "array", tuple(map(identity, value))
    return ("boolean", value) if isinstance(value, bool) else value


Values = tuple[Value, ...]
"""JSON values, each once."""


class NumberRule(msgspec.Struct, frozen=True, gc=False):
    """What numbers must be. integer: whole by value; not_multiples: steps that must not divide them."""

    integer: bool = False
    interval: Interval = Interval()
    multiple_of: Fraction | None = None
    not_multiples: tuple[Fraction, ...] = ()
    values: Values | None = None
    excluded: Values = ()

    def is_bare(self) -> bool:
        """Whether it asks for no more than bounds, and for none with very many digits."""
        if self.values is not None or self.multiple_of is not None or self.not_multiples or self.excluded:
            return False
        return self.interval.is_short()


class StringRule(msgspec.Struct, frozen=True, gc=False):
    """What strings must be; lengths in code points; patterns are searched for, formats match the whole.

    choices: of each, at least one rule is followed. verbatim: they stand in the document of the request; words: at the
    edges of words.
    """

    min_length: int = 0
    max_length: int | None = None
    patterns: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    not_patterns: tuple[str, ...] = ()
    not_formats: tuple[str, ...] = ()
    values: Values | None = None
    excluded: Values = ()
    verbatim: Verbatim | None = None
    choices: tuple[tuple[StringRule, ...], ...] = ()


class Elements(msgspec.Struct, frozen=True, gc=False):
    """A say about the elements of an array: the first each by its own schema, the others by `items`."""

    prefix: tuple[Conj, ...] = ()
    items: Conj = ()

    def at(self, index: int) -> Conj:
        """The schema of the element at `index`."""
        return self.prefix[index] if index < len(self.prefix) else self.items


class Count(msgspec.Struct, frozen=True, gc=False):
    """How many elements satisfy a schema, at least and at most."""

    conj: Conj
    low: int
    high: int | None


class SeenElements(msgspec.Struct, frozen=True, gc=False):
    """Elements that keywords have evaluated: those before `count`, and any that satisfies one of `where`."""

    count: int = 0
    where: tuple[Conj, ...] = ()


EVERY_ELEMENT = 1 << 62
"""A `count` of SeenElements that stands for all."""


NO_ELEMENT = SeenElements()


class ArrayRule(msgspec.Struct, frozen=True, gc=False):
    """What arrays must be. Of each of `broken`, at least one element breaks what it says.

    unique: no two elements are equal; repeated: some two are.
    """

    elements: Elements = Elements()
    min_items: int = 0
    max_items: int | None = None
    counts: tuple[Count, ...] = ()
    broken: tuple[Elements, ...] = ()
    unique: bool = False
    repeated: bool = False
    values: Values | None = None
    excluded: Values = ()
    seen: SeenElements = SeenElements()


class Members(msgspec.Struct, frozen=True, gc=False):
    """One schema's say about members: by name, by pattern of the name, else `additional`; names satisfy `names`."""

    properties: dict[str, Conj] = {}
    patterns: tuple[tuple[str, Conj], ...] = ()
    additional: Conj = ()
    names: Conj = ()

    def __hash__(self) -> int:
        return hash((tuple(self.properties), self.patterns, self.additional, self.names))

    def schema_of(self, name: str | None, matched: frozenset[str]) -> Conj:
        """The schema of a member of this name (None: one that is not listed), whose name matches these patterns."""
        own = self.properties.get(name) if name is not None else None
        result = own or ()
        is_listed = own is not None
        for pattern, conj in self.patterns:
            if pattern in matched:
                result, is_listed = join(result, conj), True
        return result if is_listed else self.additional


class SeenMembers(msgspec.Struct, frozen=True, gc=False):
    """Members that keywords have evaluated: by name, by pattern of the name, or all of them."""

    names: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    every: bool = False


NO_MEMBER = SeenMembers()


class ObjectRule(msgspec.Struct, frozen=True, gc=False):
    """What objects must be. Every one of `members` has its say about each; of each of `broken`, some member breaks it.

    any_order: whether members may stand in any order; None: not said here. choices: of each, at least one rule is
    followed, which speaks of members by their names.
    """

    members: tuple[Members, ...] = ()
    required: tuple[str, ...] = ()
    min_properties: int = 0
    max_properties: int | None = None
    broken: tuple[Members, ...] = ()
    any_order: bool | None = None
    values: Values | None = None
    excluded: Values = ()
    seen: SeenMembers = SeenMembers()
    choices: tuple[tuple[ObjectRule, ...], ...] = ()

    def listed(self) -> tuple[str, ...]:
        """Names in the order they are written: as in `properties`, then those that are only required."""
        names = [name for part in (*self.members, *self.broken) for name in part.properties]
        if not self.choices:
            return tuple(dict.fromkeys((*names, *self.required)))
        options = [option for choice in self.choices for option in choice]
        names += [name for option in options for part in option.members for name in part.properties]
        return tuple(dict.fromkeys((*names, *self.required, *[name for each in options for name in each.required])))

    def pattern_texts(self) -> tuple[str, ...]:
        """Every pattern on names, once."""
        parts = (*self.members, *self.broken)
        return tuple(dict.fromkeys(pattern for part in parts for pattern, _ in part.patterns))

    def name_conjs(self) -> tuple[Conj, ...]:
        """Every schema of names, once."""
        return tuple(dict.fromkeys(part.names for part in (*self.members, *self.broken) if part.names))

    def schema_of(self, name: str | None, matched: frozenset[str]) -> Conj:
        """What all of `members` say about a member, as `Members.schema_of` does."""
        result: Conj = ()
        for part in self.members:
            result = join(result, part.schema_of(name, matched))
        return result

    def asked_of(self, matched: frozenset[str]) -> Conj:
        """What all of `members` say about a member for the patterns that its name matches, and for nothing else."""
        result: Conj = ()
        for part in self.members:
            for pattern, conj in part.patterns:
                if pattern in matched:
                    result = join(result, conj)
        return result


def having(name: str, conj: Conj) -> ObjectRule:
    """Objects that have a member of this name, which satisfies `conj`."""
    return ObjectRule(members=(Members(properties={name: conj}),), required=(name,))
