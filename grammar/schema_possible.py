"""Whether a value might have a shape: looked at a few levels deep, to see which branches exclude each other.

Branches that exclude each other mostly do so by a member that all of them require, each with values of its own: a tag.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

from msgspec.structs import replace

from .errors import GrammarError
from .schema_accepts import Judge
from .schema_rules import NEVER, ArrayRule, Conj, Either, Literal, Members, ObjectRule, Same, Value, join
from .schema_shapes import Shape

DEPTH = 3
"""Levels of the value that are looked at."""

Tags = dict[str, frozenset[Value]]
"""Members that all objects of a shape have, and the only values each may have there."""


class Possible:
    """Answers, and remembers. shape_of: the shape of a conjunction of schemas."""

    def __init__(self, judge: Judge, shape_of: Callable[[Conj], Shape]) -> None:
        self._judge = judge
        self._shape_of = shape_of
        self._known: dict[tuple[Conj, int], bool] = {}
        self._values: dict[Conj, frozenset[Value] | None] = {}

    def forget(self) -> None:
        """Let go of all answers."""
        self._known.clear()
        self._values.clear()

    def left(self, shape: Shape) -> Shape:
        """The shape without rules that no value can follow."""
        settled = self._judge.settled(shape)
        return replace(
            settled,
            arrays=tuple(rule for rule in settled.arrays if self._is_array_possible(rule, DEPTH)),
            objects=tuple(rule for rule in settled.objects if self._is_object_possible(rule, DEPTH)),
        )

    def narrowed(self, rule: ObjectRule) -> ObjectRule | None:
        """The rule, without what is needless to say of tags; None where they are seen to leave no object."""
        if rule.values is not None or len(rule.members) < 2:
            return rule
        simpler = self._with_fewer_parts(rule)
        for name in simpler.required:
            conj = self._judge.member(simpler, name)
            if conj == NEVER or (len(conj) > 1 and not self._may_hold(conj, 1)):
                return None
        return simpler

    def _with_fewer_parts(self, rule: ObjectRule) -> ObjectRule:
        """The rule, without parts that only say which values a tag has not, where those left are seen without them."""
        members = rule.members
        alone: dict[str, list[Conj]] = {}
        for part in members:
            name = only_member(part)
            if name is not None:
                alone.setdefault(name, []).append(part.properties[name])
        said: dict[str, list[Conj]] = {name: [] for name in alone}
        for part in members:
            for name in part.properties.keys() & said.keys():
                said[name].append(part.properties[name])
        for name, conjs in alone.items():
            conj = self._enough(said[name])
            if conj is not None and conjs != [conj]:
                members = _said_once(members, name, conj)
        return rule if members is rule.members else replace(rule, members=members)

    def _enough(self, conjs: list[Conj]) -> Conj | None:
        """The conjunction among these that lists no other values than satisfy all of them; NEVER where none do."""
        if len(conjs) < 2:
            return None
        known = [conj for conj in conjs if self._listed(conj) is not None]
        if not known:
            return None
        values = self._listed(reduce(join, conjs))
        if not values:
            return None if values is None else NEVER
        return next((conj for conj in known if self._listed(conj) == values), None)

    def tags(self, shape: Shape) -> Tags:
        """Tags of the objects of a shape, if they have any and follow one rule."""
        if len(shape.objects) != 1 or shape.objects[0].values is not None:
            return {}
        (rule,) = shape.objects
        listed = {name: self._listed(self._judge.member(rule, name)) for name in rule.required}
        return {name: values for name, values in listed.items() if values is not None}

    def _listed(self, conj: Conj) -> frozenset[Value] | None:
        """The values that satisfy a conjunction; None where they are not listed."""
        if not conj:
            return None
        if conj not in self._values:
            try:
                self._values[conj] = self._values_of(conj)
            except GrammarError:
                return None  # it is being read just now, or cannot be
        return self._values[conj]

    def _values_of(self, conj: Conj) -> frozenset[Value] | None:
        """`_listed`: where one part lists its values, those that satisfy the others, without a shape of them all."""
        listed = [(part, values) for part in conj if (values := self._listed((part,))) is not None] if conj[1:] else []
        if not listed:
            return _listed_in(self._judge.settled(self._shape_of(conj)))
        least, values = min(listed, key=lambda pair: len(pair[1]))
        others = [part for part in conj if part is not least]
        return frozenset(value for value in values if all(self._is_one(part, value) for part in others))

    def _is_one(self, part: Literal | Same | Either, value: Value) -> bool:
        """Whether a value satisfies a part of a conjunction."""
        values = self._listed((part,))
        if values is not None:
            return value in values
        if isinstance(part, Literal) and part.negated:
            others = self._values.get((replace(part, negated=False),))
            if others is not None:
                return value not in others
        return self._judge.accepts((part,), value.json)

    def _shape_may_hold(self, shape: Shape, depth: int) -> bool:
        if shape.null or shape.booleans:
            return True
        settled = self._judge.settled(shape)
        if settled.numbers or any(map(self._judge.has_string, settled.strings)):
            return True
        if any(self._is_array_possible(rule, depth) for rule in settled.arrays):
            return True
        return any(self._is_object_possible(rule, depth) for rule in settled.objects)

    def _is_array_possible(self, rule: ArrayRule, depth: int) -> bool:
        if rule.values is not None:
            return True
        return all(self._may_hold(rule.elements.at(i), depth) for i in range(min(rule.min_items, 8)))

    def _is_object_possible(self, rule: ObjectRule, depth: int) -> bool:
        if rule.values is not None:
            return True
        return all(self._may_hold(self._judge.member(rule, name), depth) for name in rule.required)

    def _may_hold(self, conj: Conj, depth: int) -> bool:
        if depth == 0 or not conj:
            return True
        if (conj, depth) not in self._known:
            try:
                self._known[conj, depth] = self._shape_may_hold(self._shape_of(conj), depth - 1)
            except GrammarError:
                return True  # it is being read just now, or cannot be
        return self._known[conj, depth]


def exclude_each_other(first: Tags, second: Tags) -> bool:
    """Whether no object has tags of both kinds."""
    return any(name in second and values.isdisjoint(second[name]) for name, values in first.items())


def only_member(part: Members) -> str | None:
    """The name of the member that a part speaks of, if that is the only one."""
    if len(part.properties) != 1 or part.additional or part.patterns or part.names:
        return None
    return next(iter(part.properties))


def _said_once(members: tuple[Members, ...], name: str, conj: Conj) -> tuple[Members, ...]:
    """Of the parts that speak of one member alone one, where the first is: names come in the order they are met."""
    first = next(i for i, part in enumerate(members) if only_member(part) == name)
    kept = [part for part in members[first:] if only_member(part) != name]
    return (*members[:first], Members(properties={name: conj}), *kept)


def _listed_in(shape: Shape) -> frozenset[Value] | None:
    if shape.arrays or shape.objects:
        return None
    values = [Value(None)] if shape.null else []
    values += map(Value, shape.booleans)
    for rule in (*shape.numbers, *shape.strings):
        if rule.values is None:
            return None
        values += rule.values
    return frozenset(values)
