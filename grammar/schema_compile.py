"""JSON Schema to expressions: the texts of the values a schema accepts.

Members stand in the order of `properties`, the schema's own first, then those of `$ref`, `allOf` and branches; names
that are only `required` follow, then any others; or in any order, where that is asked for. In flexible spacing a value
may be written in any way: keys and listed values with any escapes, numbers with zeros and exponents. Else listed keys
and values have one spelling each; other strings may have any escapes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable
from typing import NamedTuple

import msgspec

from .chars import json_text
from .constraints import Escapes, JsonSchema, Spacing
from .counts import Way, left
from .errors import GrammarError
from .expr import EMPTY, POOL
from .json_arrays import array
from .json_equal import values_equal
from .json_layout import layout
from .json_objects import Member, object_
from .json_values import any_object, any_value, key, plainly, string, these_values
from .numbers import exact, number
from .repeats import repeated_array
from .schema import Schema
from .schema_clauses import places_of
from .schema_notes import Notes, Refusal
from .schema_plan import ArrayPlan, ObjectPlan, PlannedMember, PlannedWay, Planner
from .schema_rules import ArrayRule, Conj, NumberRule, ObjectRule, StringRule, Values
from .schema_shapes import ANYTHING, Shape
from .work import tick

MAX_SCHEMAS = 20_000
"""Schemas (each with the combinations it takes part in) that one document may come to."""


class Compiled(NamedTuple):
    """The texts a schema accepts; and, where `lenient` was asked for, what had to be left out of it."""

    expression: int
    widened: tuple[Refusal, ...]


def compile_schema(constraint: JsonSchema) -> int:
    """The expression of the JSON texts a schema accepts.

    Raises GrammarError for what cannot be enforced exactly; if lenient, only when it cannot be compiled at all.
    """
    return compile_with_refusals(constraint).expression


def compile_with_refusals(constraint: JsonSchema) -> Compiled:
    """`compile_schema`, with what was left out: values have to be checked against it after generation."""
    notes = Notes(strict=not constraint.lenient, has_document=constraint.document is not None, served=True)
    expression = compile_read(read_schema(constraint, notes), constraint, notes)
    return Compiled(expression, tuple(notes.refused.values()))


def compile_json_object(spacing: Spacing, escapes: Escapes = "any") -> int:
    """The expression of any JSON object."""
    return any_object(spacing, escapes)


def read_schema(constraint: JsonSchema, notes: Notes) -> Schema:
    """The schema of a constraint, ready to be read. Raises GrammarError when it is no schema at all."""
    return Schema(constraint.schema, notes, constraint.draft, constraint.documents, constraint.document)


def read_all(schema: Schema, constraint: JsonSchema) -> None:
    """Read all schemas that take part, so that the notes hold all that is to be found."""
    _Emitter(schema, constraint, None).in_order(schema.root)


def compile_read(schema: Schema, constraint: JsonSchema, notes: Notes) -> int:
    """`compile_schema`, for a schema that is being read."""
    digest = hashlib.sha256(repr((constraint.schema, constraint.documents)).encode()).hexdigest()
    name = digest, msgspec.structs.replace(constraint, schema="", documents=())
    result = _Emitter(schema, constraint, name).emit(schema.root)
    if POOL.is_empty(result):
        found = next(iter(notes.warnings), "")
        reason = "nothing satisfies this schema" + (f" ({found})" if found else "")
        raise GrammarError("#", "", reason, "remove what contradicts, or give a recursive schema a way to end")
    return result


class _Planned(NamedTuple):
    """A shape, and how its arrays and objects are written, rule by rule."""

    shape: Shape
    arrays: tuple[ArrayPlan | None, ...]
    objects: tuple[ObjectPlan | None, ...]


class _Emitter:
    """Writes the schemas of one document, parts before wholes; a schema that holds itself becomes a reference."""

    def __init__(self, schema: Schema, constraint: JsonSchema, name: Hashable) -> None:
        self._schema = schema
        self._form = layout(constraint.spacing, constraint.escapes)
        self._spell = plainly if constraint.escapes == "minimal" else _as_it_is
        self._any_spelling = constraint.spacing == "flexible"
        self._any_order = constraint.property_order == "any"
        self._name = name
        self._planner = Planner(schema)
        self._planned: dict[Conj, _Planned] = {}
        self._done: dict[Conj, int] = {}
        self._referred: dict[Conj, int] = {}

    def emit(self, root: Conj) -> int:
        """The expression of a schema and all it rests on."""
        for conj in self.in_order(root):
            self._done[conj] = self._value(conj, self._planned[conj])
        for conj, ref in self._referred.items():
            name = POOL.node(ref)[1]
            if not POOL.is_defined(name):
                POOL.define(name, self._done[conj])
        return self._done[root]

    def in_order(self, root: Conj) -> list[Conj]:
        """All schemas that matter to a schema, read and planned, parts before wholes."""
        todo: list[tuple[Conj, bool]] = [(root, False)]
        opened: set[Conj] = set()
        order: list[Conj] = []
        while todo:
            conj, parts_done = todo.pop()
            if parts_done:
                order.append(conj)
            elif conj not in opened:
                opened.add(conj)
                tick()
                if len(opened) > MAX_SCHEMAS:
                    reason = f"comes to more than {MAX_SCHEMAS} combinations of schemas"
                    place = next(places_of(conj), "#")
                    raise GrammarError(place, "", reason, "use fewer allOf and anyOf beside each other")
                todo.append((conj, True))
                planned = self._planned[conj] = self._plan(conj)
                for plan in (*planned.arrays, *planned.objects):
                    if plan is not None:
                        todo += [(part, False) for part in plan.conjs() if part]
        return order

    def _plan(self, conj: Conj) -> _Planned:
        shape = self._schema.shape(conj)
        if shape is ANYTHING or shape == ANYTHING:
            return _Planned(ANYTHING, (), ())
        shape = msgspec.structs.replace(shape, numbers=tuple(self._checked(conj, rule) for rule in shape.numbers))
        return _Planned(
            shape,
            tuple(self._planner.array(conj, rule) if rule.values is None else None for rule in shape.arrays),
            tuple(self._planner.object(conj, rule) if rule.values is None else None for rule in shape.objects),
        )

    def _checked(self, conj: Conj, rule: NumberRule) -> NumberRule:
        """The rule, if it can be written; else it is refused, and without what is refused."""
        try:
            self._number(rule)
        except GrammarError as error:
            self._schema.refuse(conj, error.keyword, error.reason, error.rewrite)
            return NumberRule(rule.integer, rule.interval)
        return rule

    def _part(self, conj: Conj) -> int:
        """The expression of an inner schema."""
        if not conj:
            return any_value(self._form.spacing, self._form.escapes)
        if conj in self._done:
            return self._done[conj]
        if conj not in self._referred:
            self._referred[conj] = POOL.ref(("schema", self._name, conj))
        return self._referred[conj]

    def _remembers(self, plan: ArrayPlan | ObjectPlan) -> bool:
        """Whether elements or names have to differ, or to be equal, anywhere inside what is planned."""
        todo, met = [*plan.conjs()], set(plan.conjs())
        while todo:
            conj = todo.pop()
            planned = self._planned.get(conj) or self._plan(conj)
            inner = [each for each in (*planned.arrays, *planned.objects) if each is not None]
            if any(each.remembers for each in inner):
                return True
            fresh = {part for each in inner for part in each.conjs()} - met
            todo += fresh
            met |= fresh
        return False

    # -- values -----------------------------------------------------------------------------------------------

    def _value(self, conj: Conj, planned: _Planned) -> int:
        shape = planned.shape
        if shape is ANYTHING:
            return any_value(self._form.spacing, self._form.escapes)
        words = [b"null"] if shape.null else []
        words += [b"true" if value else b"false" for value in shape.booleans]
        parts = [POOL.literal(word) for word in words]
        parts += [self._number(rule) for rule in shape.numbers]
        parts += [self._string(rule) for rule in shape.strings]
        parts += [self._array(conj, *pair) for pair in zip(shape.arrays, planned.arrays, strict=True)]
        parts += [self._object(conj, *pair) for pair in zip(shape.objects, planned.objects, strict=True)]
        return POOL.alt(*parts)

    def _these(self, values: Values) -> int:
        if not self._any_spelling:
            return these_values(self._form, [value.json for value in values])
        return POOL.alt(*[values_equal(self._form, value.json) for value in values])

    def _number(self, rule: NumberRule) -> int:
        if rule.values is not None:
            return self._these(rule.values)
        excluded = tuple(exact(value.json) for value in rule.excluded)
        found = rule.interval, rule.multiple_of, rule.not_multiples, excluded
        return number(rule.integer, *found, self._any_spelling)

    def _string(self, rule: StringRule) -> int:
        return self._spell(string(self._schema.body(rule))) if rule.values is None else self._these(rule.values)

    def _array(self, conj: Conj, rule: ArrayRule, plan: ArrayPlan | None) -> int:
        if plan is None:
            return EMPTY if rule.values is None else self._these(rule.values)
        prefix, items = [self._ways(ways) for ways in plan.prefix], self._ways(plan.items)
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
        found = self._exactly(conj, [lambda c=choice: write(*c) for choice in choices], "contains")
        return self._without(found, rule.excluded)

    def _object(self, conj: Conj, rule: ObjectRule, plan: ObjectPlan | None) -> int:
        if plan is None:
            return EMPTY if rule.values is None else self._these(rule.values)
        members, others = self._members(plan.members), self._members(plan.others)
        any_order = self._any_order if rule.any_order is None else rule.any_order

        def exactly() -> int:
            counts = plan.low, plan.high, plan.tallies
            return object_(self._form, members, others, *counts, any_order=any_order, distinct=plan.distinct)

        def more_freely() -> int:
            known, free = ([member._replace(ways=_uncounted(member.ways)) for member in m] for m in (members, others))
            return object_(self._form, known, free, any_order=any_order)

        keyword = "minProperties" if rule.min_properties else "oneOf"
        return self._without(self._exactly(conj, [exactly, more_freely], keyword), rule.excluded)

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
        return [Member(self._key(member.key), self._ways(member.ways), member.required) for member in members]

    def _key(self, name: str | int) -> int:
        if isinstance(name, int):
            return self._spell(name)
        return self._spell(string(json_text(name))) if self._any_spelling else key(name)

    def _ways(self, ways: tuple[PlannedWay, ...]) -> tuple[Way, ...]:
        return tuple(Way(self._part(way.conj), way.counts) for way in ways)


def _as_it_is(strings: int) -> int:
    return strings


def _uncounted(ways: tuple[Way, ...]) -> tuple[Way, ...]:
    return tuple(Way(way.value) for way in ways)
