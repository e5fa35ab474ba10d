"""What a schema says, by type of value: plain frozen rules, and how two of them hold at once.

A schema is read as a list of shapes, any of which a value may have. A shape says for each JSON type what values of it
must be; since keywords speak of one type only, two shapes hold at once when their rules do, type by type. Inner
schemas are not expanded in place: a rule names them by conjunctions of places, so recursion needs no care here.
"""

from __future__ import annotations

from fractions import Fraction
from math import gcd
from typing import Any, Literal

import msgspec

from .numbers import Interval

Conj = tuple[str, ...]
"""Places whose schemas must all hold; () is any JSON value."""

Verbatim = Literal["characters", "words"]
"""Where parts of a document may begin and end that a value must be one of."""

MAX_ALTERNATIVES = 512
"""Shapes that one schema may come to."""


class NumberRule(msgspec.Struct, frozen=True):
    """What numbers must be. integer: written without a fraction."""

    integer: bool = False
    interval: Interval = Interval()
    multiple_of: Fraction | None = None


class StringRule(msgspec.Struct, frozen=True):
    """What strings must be; lengths in code points; patterns are searched for, formats match the whole.

    verbatim: they stand in the document of the request; words: at the edges of words.
    """

    min_length: int = 0
    max_length: int | None = None
    patterns: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    verbatim: Verbatim | None = None


class ArrayRule(msgspec.Struct, frozen=True):
    """What arrays must be: the first elements each by its own schema, the others by `items`."""

    prefix: tuple[Conj, ...] = ()
    items: Conj = ()
    min_items: int = 0
    max_items: int | None = None

    def at(self, index: int) -> Conj:
        """The schema of the element at `index`."""
        return self.prefix[index] if index < len(self.prefix) else self.items


class Members(msgspec.Struct, frozen=True):
    """One schema's say about members: by name, by pattern of the name, else `additional`."""

    properties: dict[str, Conj] = {}
    patterns: tuple[tuple[str, Conj], ...] = ()
    additional: Conj = ()


class ObjectRule(msgspec.Struct, frozen=True):
    """What objects must be. Every one of `members` has its say about each member."""

    members: tuple[Members, ...] = ()
    required: tuple[str, ...] = ()
    names: Conj = ()
    min_properties: int = 0
    max_properties: int | None = None
    any_order: bool = False

    def listed(self) -> tuple[str, ...]:
        """Names in the order they are written: as in `properties`, then those that are only required."""
        names = [name for part in self.members for name in part.properties]
        return tuple(dict.fromkeys((*names, *self.required)))

    def pattern_texts(self) -> tuple[str, ...]:
        """Every pattern on names, once."""
        return tuple(dict.fromkeys(pattern for part in self.members for pattern, _ in part.patterns))

    def schema_of(self, name: str | None, matched: frozenset[str]) -> Conj:
        """The schema of a member of this name (None: one not listed), its name matching just these patterns."""
        result: Conj = ()
        for part in self.members:
            own = (part.properties.get(name),) if name is not None else ()
            places = [c for c in own if c is not None] + [c for pattern, c in part.patterns if pattern in matched]
            for conj in places or [part.additional]:
                result = join(result, conj)
        return result


class Shape(msgspec.Struct, frozen=True):
    """Values of which types are allowed (None: no value of that type), and of these only `values` where given."""

    null: bool = True
    booleans: tuple[bool, ...] = (True, False)
    number: NumberRule | None = NumberRule()
    string: StringRule | None = StringRule()
    array: ArrayRule | None = ArrayRule()
    object: ObjectRule | None = ObjectRule()
    values: tuple[Any, ...] | None = None

    def has_type(self) -> bool:
        """Whether any type is left."""
        rules = (self.number, self.string, self.array, self.object)
        return self.null or bool(self.booleans) or any(rule is not None for rule in rules)


ANYTHING = Shape()
NOTHING = Shape(null=False, booleans=(), number=None, string=None, array=None, object=None)
NULL = msgspec.structs.replace(NOTHING, null=True)


def join(first: Conj, second: Conj) -> Conj:
    """Both conjunctions, each place once, in order."""
    return tuple(dict.fromkeys(first + second))


def identity(value: Any) -> Any:
    """A hashable that is equal for equal JSON values: 1 and 1.0 are, 1 and true are not, nor is order of members."""
    if isinstance(value, dict):
        return "object", frozenset((name, identity(item)) for name, item in value.items())
    if isinstance(value, list):
        return "array", tuple(map(identity, value))
    return ("boolean", value) if isinstance(value, bool) else value


def meet(first: Shape, second: Shape) -> Shape:
    """The shape of values that have both shapes."""
    return Shape(
        null=first.null and second.null,
        booleans=tuple(b for b in first.booleans if b in second.booleans),
        number=first.number and second.number and _meet_numbers(first.number, second.number),
        string=first.string and second.string and _meet_strings(first.string, second.string),
        array=first.array and second.array and _meet_arrays(first.array, second.array),
        object=first.object and second.object and _meet_objects(first.object, second.object),
        values=_meet_values(first.values, second.values),
    )


def _meet_values(first: tuple[Any, ...] | None, second: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
    if first is None or second is None:
        return second if first is None else first
    wanted = {identity(value) for value in second}
    return tuple(value for value in first if identity(value) in wanted)


def _meet_numbers(first: NumberRule, second: NumberRule) -> NumberRule | None:
    interval = first.interval.meet(second.interval)
    steps = [rule.multiple_of for rule in (first, second) if rule.multiple_of is not None]
    step = steps[0] if steps else None
    if len(steps) == 2:
        step = _common_multiple(*steps)
    return NumberRule(first.integer or second.integer, interval, step) if not interval.is_empty() else None


def _common_multiple(first: Fraction, second: Fraction) -> Fraction:
    numerators = first.numerator * second.denominator, second.numerator * first.denominator
    least = numerators[0] * numerators[1] // gcd(*numerators)
    return Fraction(least, first.denominator * second.denominator)


def _meet_strings(first: StringRule, second: StringRule) -> StringRule | None:
    low, high = _meet_counts(first.min_length, first.max_length, second.min_length, second.max_length)
    if high is not None and low > high:
        return None
    patterns = tuple(dict.fromkeys(first.patterns + second.patterns))
    formats = tuple(dict.fromkeys(first.formats + second.formats))
    verbatim = first.verbatim if first.verbatim == "words" else second.verbatim or first.verbatim
    return StringRule(low, high, patterns, formats, verbatim)


def _meet_arrays(first: ArrayRule, second: ArrayRule) -> ArrayRule | None:
    low, high = _meet_counts(first.min_items, first.max_items, second.min_items, second.max_items)
    if high is not None and low > high:
        return None
    length = max(len(first.prefix), len(second.prefix))
    prefix = tuple(join(first.at(i), second.at(i)) for i in range(length))
    return ArrayRule(prefix, join(first.items, second.items), low, high)


def _meet_objects(first: ObjectRule, second: ObjectRule) -> ObjectRule | None:
    counts = (first.min_properties, first.max_properties, second.min_properties, second.max_properties)
    low, high = _meet_counts(*counts)
    if high is not None and low > high:
        return None
    required = tuple(dict.fromkeys(first.required + second.required))
    members = first.members + tuple(part for part in second.members if part not in first.members)
    names = join(first.names, second.names)
    return ObjectRule(members, required, names, low, high, first.any_order or second.any_order)


def _meet_counts(low: int, high: int | None, other_low: int, other_high: int | None) -> tuple[int, int | None]:
    limits = [limit for limit in (high, other_high) if limit is not None]
    return max(low, other_low), min(limits) if limits else None
