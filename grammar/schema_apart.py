"""Schemas of which one or another holds in the same place, by what patterns say of a string there.

Where a condition looks at a string (`if`, `oneOf`), it is of one kind where the pattern is in it, and of another where
it is not; what follows may be different. An automaton reads strings between their quotes by themselves, which is the
quicker the more schemas have them; but these it would read once for each kind. Without a boundary they are one text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from .schema_names import Names
from .schema_plan import ArrayPlan, Besides, ObjectPlan, PlannedWay
from .schema_rules import Conj, StringRule
from .schema_shapes import Shape

_FEW = 2  # kinds are read one by one: most texts are soon seen to be of one


def told_apart(
    arrays: Sequence[ArrayPlan | None], objects: Sequence[ObjectPlan | None], shape_of: Callable[[Conj], Shape]
) -> set[Conj]:
    """The schemas of such strings in one place, where these are many: patterns may match the same ones, or none do."""
    found: set[Conj] = set()
    for conjs in (*_of_members(objects), *_of_elements(arrays)):
        strings = {conj: shape_of(conj).strings for conj in conjs}
        counts = [len(rule.patterns) for rules in strings.values() for rule in rules if _is_of_patterns(rule)]
        if counts and max(counts) >= min(counts) + 2:
            found |= {conj for conj, rules in strings.items() if rules and all(map(_is_of_patterns, rules))}
    return found


def _of_members(objects: Sequence[ObjectPlan | None]) -> Iterator[set[Conj]]:
    """The schemas of each member of some objects, where they are more than few."""
    named = [member for plan in objects if plan is not None for member in plan.members]
    if len(objects) <= _FEW:
        named = [member for member in named if len(member.ways) > 1]
    members: dict[str | Besides | Names, set[Conj]] = {}
    for member in named:
        members.setdefault(member.key, set()).update([way.conj for way in member.ways])
    return (conjs for conjs in members.values() if len(conjs) > _FEW)


def _of_elements(arrays: Sequence[ArrayPlan | None]) -> Iterator[set[Conj]]:
    """The schemas of each element of some arrays, where they are more than few."""
    ways = [each for plan in arrays if plan is not None for each in (*plan.prefix, plan.items) if len(each) > _FEW]
    return map(_conjs, ways)


def _conjs(ways: tuple[PlannedWay, ...]) -> set[Conj]:
    return {way.conj for way in ways}


def _is_of_patterns(rule: StringRule) -> bool:
    """Whether a rule asks for what patterns strings match, or do not, and for nothing else: no lengths are counted."""
    said = rule.patterns or rule.not_patterns
    return bool(said) and rule == StringRule(patterns=rule.patterns, not_patterns=rule.not_patterns)
