"""Plans arrays and objects (`schema_plan`) by the rules that their values follow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

import msgspec

from .choice_states import grouped, is_small
from .counts import Tally
from .errors import GrammarError
from .name_kinds import NameKinds
from .object_choices import AskedByName, can_be_chosen
from .schema import Schema
from .schema_clauses import places_of
from .schema_plan import ArrayPlan, Besides, ObjectPlan, PlannedMember, PlannedWay
from .schema_rules import NEVER, ArrayRule, Conj, Members, ObjectRule, join, opposite
from .schema_strings import matches

MAX_EVENTS = 64
"""Things to be counted at once, among the elements or members of one value."""

MAX_WAYS = 256
"""Ways to write one element or member."""

MAX_COMPARED = 32
"""Kinds of elements, and places with a schema of their own, among which equal elements are asked for."""

_FEW_EVENTS = 3
"""Up to so many, ways that overlap are fewer than ways that exclude each other."""

_FEW_BROKEN, _FEW_OF_FEW_NAMES, _FEW_NAMES = 9, 3, 2
"""Up to so many parts of which some member breaks each are counted, of parts that speak of few names each; more are
choices, which are the fewer the fewer names there are."""

MAX_COUNTED = 100_000
"""Members listed times members counted, for minProperties and maxProperties."""

_FREE = Members()
_NO_COUNTS = frozenset[int]()


class _Event(NamedTuple):
    """What counts towards a tally. exact: values that do not count are told apart, as there may be too many."""

    tally: int
    conj: Conj
    exact: bool


def _most_counted(parts: Sequence[Members]) -> int:
    """Up to how many of these parts that some member breaks each are counted."""
    has_few = all(sum(map(bool, part.properties.values())) <= _FEW_NAMES for part in parts)
    return _FEW_OF_FEW_NAMES if has_few else _FEW_BROKEN


class Planner:
    """Plans the arrays and objects of one schema document. What cannot be planned is refused, and left out."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._simple: dict[Conj, tuple[PlannedWay, ...]] = {}
        self._kinds = NameKinds(schema, self._is_possible)

    # -- arrays -----------------------------------------------------------------------------------------------

    def array(self, conj: Conj, rule: ArrayRule) -> ArrayPlan | None:
        """How arrays that follow a rule are written; None: there are none. conj: where the rule is from."""
        counts, broken = rule.counts, rule.broken
        if len(counts) + len(broken) > MAX_EVENTS:
            self._refuse_events(conj, "contains")
            counts, broken = (), ()
        tallies = [Tally(count.low, count.high) for count in counts] + [Tally(1, None)] * len(broken)
        length = max([len(rule.elements.prefix), *[len(part.prefix) for part in broken]])
        if rule.max_items is not None:
            length = min(length, rule.max_items)

        def ways(index: int) -> tuple[PlannedWay, ...]:
            events = [_Event(i, count.conj, count.high is not None) for i, count in enumerate(counts)]
            for i, part in enumerate(broken, len(counts)):
                events.append(_Event(i, opposite(part.at(index)), exact=False))
            return self._ways(rule.elements.at(index), events)

        prefix: list[tuple[PlannedWay, ...]] = []
        high = rule.max_items
        for index in range(length):
            found = ways(index)
            if not found:
                high = index
                break
            prefix.append(found)
        items = ways(length) if high is None or high > length else ()
        if not items:
            high = len(prefix) if high is None else min(high, len(prefix))
        if high is not None and rule.min_items > high:
            return None
        unique = rule.unique and (high is None or high > 1)
        plan = ArrayPlan(tuple(prefix), items, rule.min_items, high, tuple(tallies), unique)
        return self._repeating(conj, plan) if rule.repeated else plan

    def _repeating(self, conj: Conj, plan: ArrayPlan) -> ArrayPlan | None:
        """The plan for those of its arrays in which some two elements are equal."""
        if plan.high is not None and plan.high < 2:
            return None
        kinds = list(dict.fromkeys(plan.conjs()))
        if len(plan.prefix) > MAX_COMPARED or len(kinds) > MAX_COMPARED:
            reason = f"equal ones would have to be found among more than {MAX_COMPARED} kinds of elements"
            self._schema.refuse(conj, "uniqueItems", reason, "leave uniqueItems out of what is negated")
            return plan
        shared = []
        for first, second in combinations(kinds, 2):
            both = join(first, second)
            if self._is_possible(both):
                shared.append((first, second, both))
                if set(both) not in (set(first), set(second)) and self._is_nested(both):
                    reason = "elements of different schemas that are arrays or objects cannot be asked to be equal"
                    self._schema.refuse(conj, "uniqueItems", reason, "give the elements one schema")
                    return plan
        return msgspec.structs.replace(plan, repeated=True, shared=tuple(shared))

    def _is_nested(self, conj: Conj) -> bool:
        """Whether arrays or objects satisfy a schema, other than listed ones."""
        shape = self._schema.shape(conj)
        return any(rule.values is None for rule in (*shape.arrays, *shape.objects))

    def _refuse_events(self, conj: Conj, keyword: str) -> None:
        reason = f"more than {MAX_EVENTS} things would have to be counted at once"
        self._schema.refuse(conj, keyword, reason, "use fewer contains, not and oneOf beside each other")

    def _ways(self, base: Conj, events: Sequence[_Event]) -> tuple[PlannedWay, ...]:
        """The ways to write a value that satisfies `base`; none where there is no such value."""
        if not events:
            return self._simply(base)
        if len(events) > 1:
            base = self._schema.alike(base)
            events = [event._replace(conj=self._schema.alike(event.conj)) for event in events]
        found = [PlannedWay(base, frozenset())] if self._is_possible(base) else []
        exact = len(events) > _FEW_EVENTS
        for event in events:
            found = [way for one in found for way in self._split(one, event, exact or event.exact)]
            if len(found) > MAX_WAYS:
                place = next(places_of(base or event.conj), "#")
                reason = f"more than {MAX_WAYS} kinds of values would have to be told apart"
                raise GrammarError(place, "", reason, "use fewer contains, not and oneOf beside each other")
        return tuple(dict.fromkeys(found))

    def _simply(self, base: Conj) -> tuple[PlannedWay, ...]:
        """The one way to write a value where nothing is counted, if there is one."""
        known = self._simple.get(base)
        if known is None:
            known = (PlannedWay(base, _NO_COUNTS),) if self._is_possible(base) else ()
            self._simple[base] = known
        return known

    def _split(self, way: PlannedWay, event: _Event, exact: bool) -> Iterator[PlannedWay]:
        counting = join(way.conj, event.conj)
        if counting == way.conj:
            yield PlannedWay(way.conj, way.counts | {event.tally})
            return
        can_count = self._has_value(counting)
        if can_count:
            yield PlannedWay(counting, way.counts | {event.tally})
        other = join(way.conj, opposite(event.conj)) if exact and can_count else way.conj
        if other is way.conj or self._has_value(other):
            yield PlannedWay(other, way.counts)

    def _has_value(self, conj: Conj) -> bool:
        """`_is_possible`, and there is more to it than strings of patterns that no string matches together."""
        return not conj or (self._is_possible(conj) and self._schema.has_value(conj))

    def _is_possible(self, conj: Conj) -> bool:
        return not conj or (conj != NEVER and self._schema.shape(conj).is_possible())

    # -- objects ----------------------------------------------------------------------------------------------

    def object(self, conj: Conj, rule: ObjectRule) -> ObjectPlan | None:
        """How objects that follow a rule are written; None: there are none. conj: where the rule is from."""
        part = _FREE if not rule.members else rule.members[0]
        if rule.choices or (len(rule.broken) > _most_counted(rule.broken) and can_be_chosen(rule)):
            return self._object_with_choices(conj, rule)
        if len(rule.members) <= 1 and not rule.broken and not part.patterns and not part.names:
            return self._object_by_names(conj, part, rule)
        if len(rule.broken) > MAX_EVENTS:
            self._refuse_events(conj, "oneOf")
            return self.object(conj, ObjectRule(rule.members, rule.required, any_order=rule.any_order))
        members = self._listed(rule)
        return None if members is None else self._object_of(conj, rule, members, self._others(conj, rule))

    def _object_with_choices(self, conj: Conj, rule: ObjectRule) -> ObjectPlan | None:
        """`object`, where choices have to be made: what these ask of a member are the events that its ways count."""
        asked = AskedByName(rule)
        bare = msgspec.structs.replace(rule, broken=(), choices=(), required=asked.names)
        kept = msgspec.structs.replace(bare, required=rule.required)
        patterns = rule.pattern_texts()
        members: list[PlannedMember] = []
        for name in asked.names:
            matched = frozenset(pattern for pattern in patterns if matches(pattern, name))
            named = [self._schema.accepts(c, name) for c in kept.name_conjs()]
            events = [_Event(i, inner, exact=True) for inner, i in asked.events.get(name, {}).items()]
            ways = self._member_ways(kept, name, matched, named, events)
            if ways:
                members.append(PlannedMember(name, ways, name in rule.required))
            elif name in rule.required:
                return None
        choices = asked.choices([member.key for member in members if isinstance(member.key, str)])
        if choices is None:
            return None
        others = self._others(conj, bare)
        groups = grouped(choices)
        ways_of = [[way.counts for way in member.ways] for member in members]
        if not all(is_small(group, ways_of) for group in groups):
            place = next(places_of(conj), "#")
            reason = "conditions on members of the same objects depend on each other in too many ways"
            raise GrammarError(place, "", reason, "use fewer conditions that speak of the same members")
        return ObjectPlan(tuple(members), others, groups=groups)

    def _object_by_names(self, conj: Conj, part: Members, rule: ObjectRule) -> ObjectPlan | None:
        """`object`, where one part alone has its say, by names."""
        required, properties = frozenset(rule.required), part.properties
        unlisted = [name for name in rule.required if name not in properties]
        found = []
        for name, inner in properties.items():
            ways = self._simply(inner)
            if ways:
                found.append(PlannedMember(name, ways, name in required))
            elif name in required:
                return None
        others = self._simply(part.additional)
        if unlisted and not others:
            return None
        found += [PlannedMember(name, others, True) for name in unlisted]
        names = (*properties, *unlisted)
        other = (PlannedMember(Besides(names), others, False),) if others else ()
        if not rule.min_properties and rule.max_properties is None:
            return ObjectPlan(tuple(found), other)
        return self._object_of(conj, rule, tuple(found), other)

    def _object_of(
        self, conj: Conj, rule: ObjectRule, members: tuple[PlannedMember, ...], others: tuple[PlannedMember, ...]
    ) -> ObjectPlan | None:
        low = rule.min_properties if rule.min_properties > len(rule.required) else 0
        high = rule.max_properties
        if not others:
            most = len(members)
            high = None if high is not None and high >= most else high
            if low > most:
                return None
        self._check_counts(conj, rule, low, high)
        counted = any(way.counts for other in others for way in other.ways)
        distinct = bool(others) and (counted or low > max(1, len(rule.required)))
        return ObjectPlan(members, others, low, high, (Tally(1, None),) * len(rule.broken), distinct)

    def _check_counts(self, conj: Conj, rule: ObjectRule, low: int, high: int | None) -> None:
        counted = high if high is not None else low
        if counted and counted * (len(rule.listed()) + 1) > MAX_COUNTED:
            keyword = "minProperties" if high is None else "maxProperties"
            self._schema.refuse(conj, keyword, "counts too many members", "lower it, or leave it out")

    def _listed(self, rule: ObjectRule) -> tuple[PlannedMember, ...] | None:
        """The members of `rule.listed()` that there may be; None when one that is required may not."""
        required = set(rule.required)
        patterns = rule.pattern_texts()
        found = []
        for name in rule.listed():
            matched = frozenset(pattern for pattern in patterns if matches(pattern, name))
            ways = self._member_ways(rule, name, matched, [self._schema.accepts(c, name) for c in rule.name_conjs()])
            if ways:
                found.append(PlannedMember(name, ways, name in required))
            elif name in required:
                return None
        return tuple(found)

    def _member_ways(
        self,
        rule: ObjectRule,
        name: str | None,
        matched: frozenset[str],
        named: Iterable[bool],
        more: Sequence[_Event] = (),
    ) -> tuple[PlannedWay, ...]:
        """named: whether the name satisfies each of `rule.name_conjs()`. more: events besides those of the rule."""
        is_named = dict(zip(rule.name_conjs(), named, strict=True))
        if any(part.names and not is_named[part.names] for part in rule.members):
            return ()
        events = [*more]
        for i, part in enumerate(rule.broken):
            breaks_by_name = bool(part.names) and not is_named[part.names]
            events.append(_Event(i, () if breaks_by_name else opposite(part.schema_of(name, matched)), exact=False))
        return self._ways(rule.schema_of(name, matched), events)

    def _others(self, conj: Conj, rule: ObjectRule) -> tuple[PlannedMember, ...]:
        """Members that are not listed, kind by kind: one for each set of patterns and schemas a name may satisfy."""
        plain = not rule.pattern_texts() and not rule.name_conjs()
        if plain:
            ways = self._member_ways(rule, None, frozenset(), ())
            return (PlannedMember(Besides(rule.listed()), ways, False),) if ways else ()
        found = []
        for kind in self._kinds.of(conj, rule):
            ways = self._member_ways(rule, None, kind.matched, kind.named)
            if ways:
                found.append(PlannedMember(kind.names, ways, False))
        return tuple(found)
