"""What breaks a shape: the union, condition by condition, of what breaks it (De Morgan).

Negation stays a matter of rules. What it says of inner schemas names their opposites, so that nothing is expanded and
recursion stays recursion. `verbatim`, which is ours, says how values are generated; it is nothing that can be broken.
"""

from __future__ import annotations

from fractions import Fraction

from msgspec.structs import replace

from .numbers import Interval
from .schema_rules import (
    EVERY_ELEMENT,
    NEVER,
    ArrayRule,
    Count,
    Either,
    Elements,
    Members,
    NumberRule,
    ObjectRule,
    Same,
    SeenElements,
    SeenMembers,
    StringRule,
    Value,
    having,
    opposite,
)
from .schema_shapes import Shape, meet


def negation(shape: Shape) -> Shape:
    """The shape of the values that do not have `shape`."""
    result = Shape(
        null=not shape.null,
        booleans=tuple(b for b in (True, False) if b not in shape.booleans),
        numbers=(NumberRule(),),
        strings=(StringRule(),),
        arrays=(ArrayRule(),),
        objects=(ObjectRule(),),
    )
    for number in shape.numbers:
        result = meet(result, _only(numbers=_not_number(number)))
    for string in shape.strings:
        result = meet(result, _only(strings=_not_string(string)))
    for array in shape.arrays:
        result = meet(result, _only(arrays=_not_array(array)))
    for rule in shape.objects:
        result = meet(result, _only(objects=_not_object(rule)))
    return result


def _only(
    numbers: tuple[NumberRule, ...] = (NumberRule(),),
    strings: tuple[StringRule, ...] = (StringRule(),),
    arrays: tuple[ArrayRule, ...] = (ArrayRule(),),
    objects: tuple[ObjectRule, ...] = (ObjectRule(),),
) -> Shape:
    """A shape that says something of one type."""
    return Shape(True, (True, False), numbers, strings, arrays, objects)


def _not_number(rule: NumberRule) -> tuple[NumberRule, ...]:
    below, above = outside(rule.interval)
    found = [NumberRule(interval=interval) for interval in (below, above) if interval is not None]
    if rule.integer:
        found.append(NumberRule(not_multiples=(Fraction(1),)))
    if rule.multiple_of is not None:
        found.append(NumberRule(not_multiples=(rule.multiple_of,)))
    found += [NumberRule(multiple_of=step) for step in rule.not_multiples]
    if rule.values is not None:
        found.append(NumberRule(excluded=rule.values))
    if rule.excluded:
        found.append(NumberRule(values=rule.excluded))
    return tuple(found)


def outside(interval: Interval) -> tuple[Interval | None, Interval | None]:
    """The numbers below and above an interval; None where there are none."""
    below = None if interval.low is None else Interval(high=interval.low, high_open=not interval.low_open)
    above = None if interval.high is None else Interval(low=interval.high, low_open=not interval.high_open)
    return below, above


def _not_string(rule: StringRule) -> tuple[StringRule, ...]:
    found = [StringRule(max_length=rule.min_length - 1)] if rule.min_length else []
    if rule.max_length is not None:
        found.append(StringRule(min_length=rule.max_length + 1))
    found += [StringRule(not_patterns=(pattern,)) for pattern in rule.patterns]
    found += [StringRule(not_formats=(name,)) for name in rule.formats]
    found += [StringRule(patterns=(pattern,)) for pattern in rule.not_patterns]
    found += [StringRule(formats=(name,)) for name in rule.not_formats]
    if rule.values is not None:
        found.append(StringRule(excluded=rule.values))
    if rule.excluded:
        found.append(StringRule(values=rule.excluded))
    for choice in rule.choices:
        found += negation(Shape(strings=choice)).strings
    return tuple(found)


def _not_array(rule: ArrayRule) -> tuple[ArrayRule, ...]:
    found = [ArrayRule(max_items=rule.min_items - 1)] if rule.min_items else []
    if rule.max_items is not None:
        found.append(ArrayRule(min_items=rule.max_items + 1))
    if rule.elements != Elements():
        found.append(ArrayRule(broken=(rule.elements,)))
    found += [ArrayRule(elements=elements) for elements in rule.broken]
    for count in rule.counts:
        if count.low:
            found.append(ArrayRule(counts=(Count(count.conj, 0, count.low - 1),)))
        if count.high is not None:
            found.append(ArrayRule(counts=(Count(count.conj, count.high + 1, None),)))
    if rule.unique:
        found.append(ArrayRule(repeated=True))
    if rule.repeated:
        found.append(ArrayRule(unique=True))
    if rule.values is not None:
        found.append(ArrayRule(excluded=rule.values))
    if rule.excluded:
        found.append(ArrayRule(values=rule.excluded))
    return tuple(found)


def _not_object(rule: ObjectRule) -> tuple[ObjectRule, ...]:
    breaking = list(map(_breaking, rule.members))
    found = [_lacking(name, breaking) for name in rule.required]
    if rule.min_properties:
        found.append(ObjectRule(max_properties=rule.min_properties - 1))
    if rule.max_properties is not None:
        found.append(ObjectRule(min_properties=rule.max_properties + 1))
    found += breaking
    found += [ObjectRule(members=(part,)) for part in rule.broken]
    for choice in rule.choices:
        found += negation(Shape(objects=choice)).objects
    if rule.values is not None:
        found.append(ObjectRule(excluded=rule.values))
    if rule.excluded:
        found.append(ObjectRule(values=rule.excluded))
    return tuple(found)


def _lacking(name: str, breaking: list[ObjectRule]) -> ObjectRule:
    """Objects without a member; or with one that breaks what one part says of it alone, which is the same rule."""
    for rule in breaking:
        if rule.required == (name,):
            breaking.remove(rule)
            return replace(rule, required=())
    return without_member(name)


def _breaking(part: Members) -> ObjectRule:
    """Objects of which some member breaks what a part says: that one, where it speaks of one alone."""
    told = [(name, conj) for name, conj in part.properties.items() if conj]
    if len(told) != 1 or part.additional or part.names or any(conj for _, conj in part.patterns):
        return ObjectRule(broken=(part,))
    ((name, conj),) = told
    return having(name, opposite(conj))


def without_member(name: str) -> ObjectRule:
    """Objects that have no member of this name."""
    return ObjectRule(members=(Members(properties={name: NEVER}),))


# -- without some values --------------------------------------------------------------------------------------


def besides(value: Value) -> Shape:
    """All arrays, or all objects, but one: by lengths, names and what is inside."""
    if isinstance(value.json, list):
        length = len(value.json)
        elements = Elements(tuple((Same(Value(item)),) for item in value.json))
        longer = ArrayRule(min_items=length + 1)
        if not length:
            return Shape(arrays=(longer,))
        other = ArrayRule(min_items=length, max_items=length, broken=(elements,))
        return Shape(arrays=(ArrayRule(max_items=length - 1), other, longer))
    members = Members({name: (Same(Value(item)),) for name, item in value.json.items()}, additional=NEVER)
    other = ObjectRule(required=tuple(value.json), broken=(members,))
    return Shape(objects=(*map(without_member, value.json), other))


# -- what is not evaluated ------------------------------------------------------------------------------------


def unseen_members(seen: SeenMembers, conj: tuple[object, ...]) -> Members | None:
    """A say about the members that nothing has evaluated; None when everything has been."""
    if seen.every:
        return None
    return Members(dict.fromkeys(seen.names, ()), tuple((pattern, ()) for pattern in seen.patterns), conj)


def unseen_elements(seen: SeenElements, conj: tuple[object, ...]) -> Elements | None:
    """A say about the elements that nothing has evaluated; None when everything has been."""
    if seen.count >= EVERY_ELEMENT:
        return None
    others = conj
    if seen.where and conj:
        others = (Either((*seen.where, conj)),) if () not in seen.where else ()
    return Elements(((),) * seen.count, others)
