"""Keywords that apply schemas to the value itself: small shapes and steps that reading them is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import NamedTuple

from msgspec.structs import replace

from .schema_negation import unseen_elements, unseen_members, without_member
from .schema_rules import EVERY_ELEMENT, ArrayRule, Conj, Either, Literal, ObjectRule, SeenElements, SeenMembers
from .schema_shapes import ANYTHING, NOTHING, Shape, meet, meet_elements


class Track(IntEnum):
    """Whether rules tell what has been evaluated: not at all; at least one rule that a value follows does; all do."""

    NO = 0
    SOME = 1
    ALL = 2


class Clause(NamedTuple):
    """A keyword that applies schemas to the value itself: the shape of values for which it holds, and of the others."""

    keyword: str
    holds: Callable[[Track], Shape]
    breaks: Callable[[], Shape]


def places_of(conj: Conj) -> Iterator[str]:
    """The places that a conjunction speaks of."""
    for part in conj:
        if isinstance(part, Literal):
            yield part.place
        elif isinstance(part, Either):
            for option in part.options:
                yield from places_of(option)


def flipped(literal: Literal) -> Literal:
    """The opposite of a schema."""
    return replace(literal, negated=not literal.negated)


def objects_as(*rules: ObjectRule) -> Shape:
    """Objects by these rules, and nothing else."""
    return replace(NOTHING, objects=rules)


def others_and(*rules: ObjectRule) -> Shape:
    """Anything that is no object, and objects by these rules."""
    return replace(ANYTHING, objects=rules)


def asking_for_names(keyword: str, name: str, wanted: tuple[str, ...]) -> Clause:
    """Where there is a member of this name, all those wanted are there."""
    holds = others_and(without_member(name), ObjectRule(required=tuple(dict.fromkeys((name, *wanted)))))
    lacking = objects_as(*[without_member(other) for other in wanted if other != name])
    return Clause(keyword, lambda _track: holds, lambda: meet(objects_as(ObjectRule(required=(name,))), lacking))


def untracked(shape: Shape) -> Shape:
    """The same, without what has been evaluated."""
    arrays = tuple(dict.fromkeys(replace(rule, seen=SeenElements()) for rule in shape.arrays))
    objects = tuple(dict.fromkeys(replace(rule, seen=SeenMembers()) for rule in shape.objects))
    return replace(shape, arrays=arrays, objects=objects)


def with_unseen_members(rule: ObjectRule, conj: Conj, *, broken: bool) -> ObjectRule | None:
    """The rule, its unevaluated members satisfying `conj`, or, broken, one of them not; None: that cannot be."""
    part = unseen_members(rule.seen, conj)
    if broken:
        return None if part is None or not conj else replace(rule, broken=(*rule.broken, part))
    members = rule.members if part is None or not conj else (*rule.members, part)
    return replace(rule, members=members, seen=SeenMembers(every=True))


def with_unseen_elements(rule: ArrayRule, conj: Conj, *, broken: bool) -> ArrayRule | None:
    """The rule, its unevaluated elements satisfying `conj`, or, broken, one of them not; None: that cannot be."""
    part = unseen_elements(rule.seen, conj)
    if broken:
        return None if part is None or not conj else replace(rule, broken=(*rule.broken, part))
    elements = rule.elements if part is None or not conj else meet_elements(rule.elements, part)
    return replace(rule, elements=elements, seen=SeenElements(EVERY_ELEMENT))
