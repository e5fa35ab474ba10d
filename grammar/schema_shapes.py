"""What values of a schema look like: for each JSON type the rules that values of it may follow, and how two such hold.

A value has a shape when it follows one rule of its type. Keywords speak of one type only, so two shapes hold at once
when their rules do, type by type. What it takes to break a rule is in `schema_negation.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction
from math import gcd
from typing import TypeVar

import msgspec

from .object_choices import meet_object_lists
from .schema_absorption import FEW, absorbed
from .schema_meeting import both, each_with_each, left, meet_counts, meet_strings, meet_values
from .schema_rules import (
    NEVER,
    NO_ELEMENT,
    NO_MEMBER,
    ArrayRule,
    Elements,
    Members,
    NumberRule,
    ObjectRule,
    SeenElements,
    SeenMembers,
    StringRule,
    Value,
    join,
)


class Shape(msgspec.Struct, frozen=True, gc=False):
    """The rules that values of each type may follow; none: there are no values of that type."""

    null: bool = False
    booleans: tuple[bool, ...] = ()
    numbers: tuple[NumberRule, ...] = ()
    strings: tuple[StringRule, ...] = ()
    arrays: tuple[ArrayRule, ...] = ()
    objects: tuple[ObjectRule, ...] = ()

    def is_possible(self) -> bool:
        """Whether any rule is left."""
        return bool(self.null or self.booleans or self.numbers or self.strings or self.arrays or self.objects)


ANYTHING = Shape(True, (True, False), (NumberRule(),), (StringRule(),), (ArrayRule(),), (ObjectRule(),))
NOTHING = Shape()
NULL = Shape(null=True)
TYPES = Shape.__struct_fields__


def of_types(shape: Shape, names: Iterable[str]) -> Shape:
    """The values of some types alone, named as the fields of a shape."""
    return Shape(**{name: getattr(shape, name) for name in names})


def shape_of_value(value: Value) -> Shape:
    """The shape of what equals a value."""
    match value.json:
        case None:
            return NULL
        case bool():
            return Shape(booleans=(value.json,))
        case str():
            return Shape(strings=(StringRule(values=(value,)),))
        case list():
            return Shape(arrays=(ArrayRule(values=(value,)),))
        case dict():
            return Shape(objects=(ObjectRule(values=(value,)),))
        case _:
            return Shape(numbers=(NumberRule(values=(value,)),))


# -- two at once ----------------------------------------------------------------------------------------------

R = TypeVar("R", NumberRule, StringRule, ArrayRule, ObjectRule)


def union(*shapes: Shape) -> Shape:
    """The shape of values that have any of the shapes."""
    some = [shape for shape in shapes if shape is not NOTHING]
    if len(some) == 1:
        return some[0]
    return Shape(
        null=any(shape.null for shape in some),
        booleans=tuple(b for b in (True, False) if any(b in shape.booleans for shape in some)),
        numbers=_any_of([shape.numbers for shape in some], NumberRule()),
        strings=_any_of([shape.strings for shape in some], StringRule()),
        arrays=_any_of([shape.arrays for shape in some], ArrayRule()),
        objects=_any_of([shape.objects for shape in some], ObjectRule()),
    )


def _any_of(lists: list[tuple[R, ...]], free: R) -> tuple[R, ...]:
    rules = dict.fromkeys(rule for rules in lists for rule in rules)
    return (free,) if len(rules) > 1 and free in rules and not _has_seen(rules) else absorbed(rules)


def _has_seen(rules: Iterable[R]) -> bool:
    """Whether it matters which of the rules a value follows, because they have evaluated different parts of it."""
    return any(getattr(rule, "seen", None) not in (None, NO_ELEMENT, NO_MEMBER) for rule in rules)


def is_tracked(shape: Shape) -> bool:
    """Whether any rule of a shape tells what has been evaluated."""
    return _has_seen(shape.arrays) or _has_seen(shape.objects)


def meet(first: Shape, second: Shape, narrowed: Callable[[ObjectRule], ObjectRule | None] | None = None) -> Shape:
    """The shape of values that have both shapes. Raises TooMany.

    narrowed: what is left of a rule on objects, asked where there might be many.
    """
    if first is ANYTHING or second is ANYTHING:
        return second if first is ANYTHING else first
    meet_two = meet_objects
    if narrowed is not None and len(first.objects) * len(second.objects) > FEW:
        meet_two = _narrowing(narrowed)
    return Shape(
        null=first.null and second.null,
        booleans=tuple(b for b in first.booleans if b in second.booleans),
        numbers=each_with_each(first.numbers, second.numbers, _meet_numbers),
        strings=meet_strings(first.strings, second.strings),
        arrays=each_with_each(first.arrays, second.arrays, _meet_arrays),
        objects=meet_object_lists(first.objects, second.objects, meet_two),
    )


def _narrowing(
    narrowed: Callable[[ObjectRule], ObjectRule | None],
) -> Callable[[ObjectRule, ObjectRule], ObjectRule | None]:
    def met(first: ObjectRule, second: ObjectRule) -> ObjectRule | None:
        rule = meet_objects(first, second)
        return None if rule is None else narrowed(rule)

    return met


def _meet_numbers(first: NumberRule, second: NumberRule) -> NumberRule | None:
    interval = first.interval.meet(second.interval)
    steps = [rule.multiple_of for rule in (first, second) if rule.multiple_of is not None]
    step = _common_multiple(*steps) if len(steps) == 2 else steps[0] if steps else None
    integer = first.integer or second.integer
    not_multiples = both(first.not_multiples, second.not_multiples)
    values = meet_values(first.values, second.values)
    values, excluded = left(values, both(first.excluded, second.excluded))
    if interval.is_empty() or values == () or any(_divides(no, step, integer) for no in not_multiples):
        return None
    return NumberRule(integer, interval, step, not_multiples, values, excluded)


def _divides(step: Fraction, multiple_of: Fraction | None, integer: bool) -> bool:
    """Whether all multiples of `multiple_of` (integers) are multiples of `step`."""
    known = [Fraction(1)] if integer else []
    known += [multiple_of] if multiple_of is not None else []
    return any((number / step).denominator == 1 for number in known)


def _common_multiple(first: Fraction, second: Fraction) -> Fraction:
    numerators = first.numerator * second.denominator, second.numerator * first.denominator
    least = numerators[0] * numerators[1] // gcd(*numerators)
    return Fraction(least, first.denominator * second.denominator)


def _meet_arrays(first: ArrayRule, second: ArrayRule) -> ArrayRule | None:
    low, high = meet_counts(first.min_items, first.max_items, second.min_items, second.max_items)
    unique, repeated = first.unique or second.unique, first.repeated or second.repeated
    values = meet_values(first.values, second.values)
    values, excluded = left(values, both(first.excluded, second.excluded))
    if (high is not None and low > high) or (unique and repeated) or values == ():
        return None
    return ArrayRule(
        elements=meet_elements(first.elements, second.elements),
        min_items=low,
        max_items=high,
        counts=both(first.counts, second.counts),
        broken=both(first.broken, second.broken),
        unique=unique,
        repeated=repeated,
        values=values,
        excluded=excluded,
        seen=_meet_seen_elements(first.seen, second.seen),
    )


def meet_elements(first: Elements, second: Elements) -> Elements:
    """What both say."""
    length = max(len(first.prefix), len(second.prefix))
    prefix = tuple(join(first.at(i), second.at(i)) for i in range(length))
    return Elements(prefix, join(first.items, second.items))


def _meet_seen_elements(first: SeenElements, second: SeenElements) -> SeenElements:
    if first == NO_ELEMENT or second == NO_ELEMENT:
        return second if first == NO_ELEMENT else first
    return SeenElements(max(first.count, second.count), both(first.where, second.where))


def meet_objects(first: ObjectRule, second: ObjectRule) -> ObjectRule | None:
    """The rule that objects follow that follow both; None where it is plain that there are none."""
    counts = (first.min_properties, first.max_properties, second.min_properties, second.max_properties)
    low, high = meet_counts(*counts)
    required = both(first.required, second.required)
    members = both(first.members, second.members)
    values = meet_values(first.values, second.values)
    values, excluded = left(values, both(first.excluded, second.excluded))
    if (high is not None and max(low, len(required)) > high) or values == ():
        return None
    if any(is_forbidden(part, name) for part in members for name in required):
        return None
    return ObjectRule(
        members=members,
        required=required,
        min_properties=low,
        max_properties=high,
        broken=both(first.broken, second.broken),
        any_order=second.any_order if first.any_order is None else first.any_order or second.any_order,
        values=values,
        excluded=excluded,
        seen=_meet_seen_members(first.seen, second.seen),
        choices=both(first.choices, second.choices),
    )


def is_forbidden(part: Members, name: str) -> bool:
    """Whether members of a name are plainly not allowed."""
    own = part.properties.get(name)
    return own == NEVER or (own is None and not part.patterns and part.additional == NEVER)


def _meet_seen_members(first: SeenMembers, second: SeenMembers) -> SeenMembers:
    if first == NO_MEMBER or second == NO_MEMBER:
        return second if first == NO_MEMBER else first
    names, patterns = both(first.names, second.names), both(first.patterns, second.patterns)
    return SeenMembers(names, patterns, first.every or second.every)
