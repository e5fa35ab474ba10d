"""The values of a schema, written: its rules and plans as expressions, those of the schemas inside being asked for."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

from msgspec.structs import replace

from .captures import note_listed
from .constraints import JsonSchema
from .counts import Way, left
from .errors import GrammarError
from .expr import EMPTY, POOL
from .json_arrays import array
from .json_choices import brief_object, object_with_choices
from .json_equal import values_equal
from .json_layout import layout
from .json_objects import Member, Point, in_order, object_
from .json_values import ANY_TEXT, any_value, key, key_besides, plainly, string, strings_of, these_values, unframed
from .numbers import exact, number
from .repeats import repeated_array
from .schema import Schema
from .schema_members import InOrder
from .schema_names import Names
from .schema_parts import MAX_LATER, Parts, Planned
from .schema_plan import ArrayPlan, Besides, ObjectPlan, PlannedMember, PlannedWay
from .schema_rules import ArrayRule, Conj, NumberRule, ObjectRule, StringRule, Values
from .schema_shapes import ANYTHING
from .unique_supply import spelled_once

MAX_FEW_NAMES = 32
"""Names of kinds, of those of one object in which names are compared, that are listed by themselves."""


class Writer:
    """Writes values of the schemas of one document, once they are planned. Where inner schemas come from is for others.

    What a plan shows to be too much is refused while it is written.
    """

    def __init__(self, schema: Schema, constraint: JsonSchema) -> None:
        self._schema = schema
        self._form = layout(constraint.spacing, constraint.escapes)
        self._spell = plainly if constraint.escapes == "minimal" else _as_it_is
        self._any_spelling = constraint.spacing == "flexible"
        self._any_order = constraint.property_order == "any"
        self._parts: Parts | None = None
        self._is_measured = False  # whether how long inner schemas are is known when they are asked for
        self._planned: dict[Conj, Planned] = {}
        self._compared: dict[int, Conj] = {}  # arrays and objects in which something has to differ or to be equal
        self._loose: set[Conj] = set()  # of those, the ones in which nothing has to, because that is refused

    @abstractmethod
    def _part(self, conj: Conj) -> int:
        """The expression of an inner schema."""

    @abstractmethod
    def _remembers(self, plan: ArrayPlan | ObjectPlan) -> bool:
        """Whether elements or names have to differ, or to be equal, anywhere inside what is planned."""

    def outline(self, conj: Conj) -> int:
        """A shortest array or object."""
        planned = self._planned[conj]
        texts = [self._these(rule.values) for rule in (*planned.shape.arrays, *planned.shape.objects) if rule.values]
        for plan in filter(None, planned.arrays):
            prefix = [self._ways(ways) for ways in plan.prefix[: plan.low]]
            items = self._ways(plan.items) if len(prefix) < plan.low else ()
            texts.append(array(self._form, prefix, items, plan.low, plan.low))
        for plan in filter(None, planned.objects):
            texts.append(self._brief(plan))
        return POOL.alt(*texts)

    def _brief(self, plan: ObjectPlan) -> int:
        """A shortest of its objects."""
        if plan.is_simple():
            return object_(self._form, self._members(tuple(member for member in plan.members if member.required)), ())
        if plan.groups:
            return brief_object(self._form, tuple(self._members(plan.members)), plan.groups)
        start = Point(True, left(plan.low, plan.high, plan.tallies))
        members, others = self._members(plan.members), self._members(plan.others)
        brief = in_order(self._form, members, others, start, briefly=True)
        return POOL.frame(POOL.concat(self._form.open_object, brief))

    def _value(self, conj: Conj, planned: Planned) -> int:
        if planned.shape is ANYTHING:
            return any_value(self._form.spacing, self._form.escapes)
        return POOL.alt(*self._flat(planned), *self._nested(conj, planned))

    def _flat(self, planned: Planned) -> list[int]:
        """The values that are no arrays or objects."""
        shape = planned.shape
        words = [b"null"] if shape.null else []
        words += [b"true" if value else b"false" for value in shape.booleans]
        parts = [POOL.literal(word) for word in words]
        parts += [self._number(rule) for rule in shape.numbers]
        strings = [self._string(rule) for rule in shape.strings]
        return parts + (list(map(unframed, strings)) if planned.is_told_apart else strings)

    def _nested(self, conj: Conj, planned: Planned) -> list[int]:
        """The arrays and objects."""
        shape = planned.shape
        parts = [self._array(conj, *pair) for pair in zip(shape.arrays, planned.arrays, strict=True)]
        return parts + [self._object(conj, *pair) for pair in zip(shape.objects, planned.objects, strict=True)]

    def _these(self, values: Values) -> int:
        listed = [value.json for value in values]
        if self._any_spelling:
            texts = [] if self._form.escapes == "minimal" else [value for value in listed if isinstance(value, str)]
            others = [value for value in listed if not (texts and isinstance(value, str))]
            found = POOL.alt(*strings_of(texts), *[values_equal(self._form, value) for value in others])
        else:
            found = these_values(self._form, listed)
        if all(isinstance(value, str) for value in listed):
            note_listed(found, listed)
        return found

    def _number(self, rule: NumberRule) -> int:
        if rule.values is not None:
            return self._these(rule.values)
        excluded = tuple(exact(value.json) for value in rule.excluded)
        found = rule.interval, rule.multiple_of, rule.not_multiples, excluded
        return number(rule.integer, *found, self._any_spelling)

    def _string(self, rule: StringRule) -> int:
        return self._spell(string(self._schema.body(rule))) if rule.values is None else self._these(rule.values)

    def _plain_string(self, rule: StringRule) -> int:
        """Of `_string` as much as tells how long the shortest is."""
        return string(self._schema.plain_body(rule)) if rule.values is None else self._these(rule.values)

    def _array(self, conj: Conj, rule: ArrayRule, plan: ArrayPlan | None) -> int:
        if plan is None:
            return EMPTY if rule.values is None else self._these(rule.values)
        prefix, items = [self._ways(ways) for ways in plan.prefix], self._ways(plan.items)
        if plan.unique and plan.tallies and not self._any_spelling:
            prefix, items = [spelled_once(self._form, ways) for ways in prefix], spelled_once(self._form, items)
        shared = tuple((self._part(a), self._part(b), self._part(both)) for a, b, both in plan.shared)

        def write(tallies: bool, compared: bool) -> int:
            first = prefix if tallies else [_uncounted(ways) for ways in prefix]
            others = items if tallies else _uncounted(items)
            counted = plan.tallies if tallies else ()
            if plan.repeated and compared:
                still, nested = left(plan.low, plan.high, counted), self._remembers(plan)
                return repeated_array(self._form, tuple(first), others, still, shared, nested=nested)
            return array(self._form, first, others, plan.low, plan.high, counted, plan.unique and compared)

        choices = [(True, True), (False, True), (False, False)]
        if conj in self._loose:
            choices = [(True, False), (False, False)]
        found = self._exactly(conj, [lambda c=choice: write(*c) for choice in choices], "contains")
        if plan.remembers:
            self._compared[found] = conj
        return self._without(found, rule.excluded)

    def _object(self, conj: Conj, rule: ObjectRule, plan: ObjectPlan | None) -> int:
        if plan is None:
            return EMPTY if rule.values is None else self._these(rule.values)
        any_order = self._any_order if rule.any_order is None else rule.any_order
        if self._parts is not None and not any_order and plan.is_simple() and not rule.excluded:
            made = InOrder(self._form, plan, self._parts, self._member, self._part)
            if len(plan.members) > MAX_LATER:
                made.write_all()
            return made.whole()
        if plan.groups:
            found = self._object_with_choices(plan, any_order=any_order)
            return self._without(found, rule.excluded)
        if any_order and plan.distinct:
            plan = self._with_few_listed(plan)
        members, others = self._members(plan.members), self._members(plan.others)

        def exactly() -> int:
            counts = plan.low, plan.high, plan.tallies
            return object_(self._form, members, others, *counts, any_order=any_order, distinct=plan.distinct)

        def more_freely() -> int:
            known, free = ([replace(member, ways=_uncounted(member.ways)) for member in m] for m in (members, others))
            return object_(self._form, known, free, any_order=any_order)

        keyword = "minProperties" if rule.min_properties else "oneOf"
        choices = [more_freely] if conj in self._loose and plan.distinct else [exactly, more_freely]
        found = self._exactly(conj, choices, keyword)
        if plan.distinct:
            self._compared[found] = conj
        return self._without(found, rule.excluded)

    def _object_with_choices(self, plan: ObjectPlan, *, any_order: bool) -> int:
        members, others = tuple(self._members(plan.members)), tuple(self._members(plan.others))
        measured = self._is_measured
        return object_with_choices(self._form, members, others, plan.groups, any_order=any_order, is_measured=measured)

    def _with_few_listed(self, plan: ObjectPlan) -> ObjectPlan:
        """The same, with names listed of which a kind has few: no name is listed twice, so they need no comparing."""
        members, others = [*plan.members], []
        for other in plan.others:
            room = MAX_FEW_NAMES + len(plan.members) - len(members)
            names = other.key.few(room, self._schema.text_of) if isinstance(other.key, Names) else ()
            members += [replace(other, key=name) for name in names]
            others += [] if names else [other]
        return replace(plan, members=tuple(members), others=tuple(others))

    def _exactly(self, conj: Conj, choices: list[Callable[[], int]], keyword: str) -> int:
        """The first of these that can be written; the others only where what is refused is left out."""
        for choice in choices[:-1]:
            try:
                return choice()
            except GrammarError as error:
                if error.where != "constraint":
                    raise
                self._schema.refuse(conj, error.keyword or keyword, error.reason, error.rewrite or "leave it out")
        return choices[-1]()

    def _without(self, found: int, excluded: Values) -> int:
        if not excluded or found == EMPTY:
            return found
        return POOL.and_(found, POOL.not_(POOL.alt(*[values_equal(self._form, value.json) for value in excluded])))

    def _members(self, members: tuple[PlannedMember, ...]) -> list[Member]:
        names = [member.key for member in members if isinstance(member.key, str)]
        keys = dict(zip(names, self._listed_keys(names), strict=True))
        return [self._written_member(member, keys) for member in members]

    def _member(self, member: PlannedMember) -> Member:
        return self._members((member,))[0]

    def _written_member(self, member: PlannedMember, keys: dict[str, int]) -> Member:
        key_ = keys[member.key] if isinstance(member.key, str) else self._other_key(member.key)
        return Member(key_, self._ways(member.ways), member.required)

    def _listed_keys(self, names: list[str]) -> list[int]:
        if not self._any_spelling:
            return list(map(key, names))
        return list(map(self._spell, strings_of(names)))

    def _other_key(self, name: Besides | Names) -> int:
        if isinstance(name, Besides):
            return self._spell(key_besides(ANY_TEXT, name.names))
        return self._spell(string(name.texts(self._schema.text_of)))

    def _ways(self, ways: tuple[PlannedWay, ...]) -> tuple[Way, ...]:
        return tuple(Way(self._part(way.conj), way.counts) for way in ways)


def _as_it_is(strings: int) -> int:
    return strings


def _uncounted(ways: tuple[Way, ...]) -> tuple[Way, ...]:
    return tuple(Way(way.value) for way in ways)
