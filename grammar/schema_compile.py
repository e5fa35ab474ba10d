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
from .json_layout import WIDTHS, Layout, layout
from .json_objects import Member, object_
from .json_values import ANY_TEXT, any_object, any_value, key, key_besides, plainly, string, these_values
from .numbers import exact, number
from .repeats import repeated_array
from .schema import Schema
from .schema_alike import OF_TYPE
from .schema_clauses import places_of
from .schema_indent import deeper_value
from .schema_members import InOrder
from .schema_names import Names
from .schema_negation import besides
from .schema_notes import Notes, Refusal
from .schema_parts import MAX_LATER, Part, Parts, Planned, with_plans
from .schema_plan import ArrayPlan, Besides, ObjectPlan, PlannedMember, PlannedWay, Planner
from .schema_rules import ArrayRule, Conj, NumberRule, ObjectRule, StringRule, Values
from .schema_shapes import ANYTHING, Shape, meet
from .witness import NEVER
from .work import tick

_ANY_NUMBER, _ANY_INTEGER = (OF_TYPE[name].numbers[0] for name in ("number", "integer"))

MAX_SCHEMAS = 20_000
"""Schemas (each with the combinations it takes part in) that one document may come to."""

MAX_EXCLUDED = 3
"""Values that one schema may exclude where elements or names have to differ, too."""


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
    has_document = constraint.document is not None
    notes = Notes(strict=not constraint.lenient, has_document=has_document, served=True, listing=False)
    expression = compile_read(read_schema(constraint, notes), constraint, notes)
    return Compiled(expression, tuple(notes.refused.values()))


def compile_json_object(spacing: Spacing, escapes: Escapes = "any") -> int:
    """The expression of any JSON object."""
    return any_object(layout(spacing, escapes))


def read_schema(constraint: JsonSchema, notes: Notes) -> Schema:
    """The schema of a constraint, ready to be read. Raises GrammarError when it is no schema at all."""
    return Schema(constraint.schema, notes, constraint.draft, constraint.documents, constraint.document)


def read_all(schema: Schema, constraint: JsonSchema) -> None:
    """Read all schemas that take part, so that the notes hold all that is to be found."""
    _Emitter(schema, constraint, None).in_order(schema.root)


def compile_read(schema: Schema, constraint: JsonSchema, notes: Notes) -> int:
    """`compile_schema`, for a schema that is being read."""
    lines = constraint.spacing if constraint.spacing in WIDTHS else None
    on_one_line = constraint if lines is None else msgspec.structs.replace(constraint, spacing="canonical")
    emitter = _Emitter(schema, on_one_line, _name_of(on_one_line))
    result = emitter.emit(schema.root)
    if lines is None:
        schema.forget()  # what is yet to be written keeps the schema, not what it was read from
    elif not POOL.is_empty(result):
        result = _AtDepth(emitter, layout(lines, constraint.escapes)).value(schema.root)
    if POOL.is_empty(result):
        found = next(iter(notes.warnings), "")
        reason = "nothing satisfies this schema" + (f" ({found})" if found else "")
        raise GrammarError("#", "", reason, "remove what contradicts, or give a recursive schema a way to end")
    return result


def _name_of(constraint: JsonSchema) -> Hashable:
    """What equal constraints are called, and no others."""
    digest = hashlib.blake2b(constraint.schema.encode("utf-8", "surrogatepass"))
    for text in (text for pair in constraint.documents for text in pair):
        digest.update(hashlib.blake2b(text.encode("utf-8", "surrogatepass")).digest())
    return digest.hexdigest(), msgspec.structs.replace(constraint, schema="", documents=())


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
        self._options = constraint.spacing, constraint.escapes, constraint.property_order, constraint.document
        self._writers = self._number, self._plain_string, self._these
        self._parts: Parts | None = None
        self._planned: dict[Conj, Planned] = {}
        self._done: dict[Conj, int] = {}
        self._referred: dict[Conj, int] = {}
        self._compared: dict[int, Conj] = {}  # arrays and objects in which something has to differ or to be equal
        self._loose: set[Conj] = set()  # of those, the ones in which nothing has to, because that is refused

    def emit(self, root: Conj) -> int:
        """The expression of a schema and all it rests on; its inner arrays and objects are written when they are met.

        What counts or compares elements, or is large, is written at once with all its parts, for that may fail, or
        take long. The rest takes no more than its size, so it can wait.
        """
        order = self.in_order(root)
        self._write_at_once(order)
        while refused := self._cannot_be_compared():
            self._loose |= refused
            self._name = self._name, "loosely"
            self._done, self._referred, self._compared = {}, {}, {}
            self._write_at_once(order)
        self._parts = Parts(self._form, self._options, self._name, self._writers)
        for conj in order:
            self._add_part(conj)
        self._parts.settle()
        for conj in order:
            if conj not in self._done and self._planned[conj].weight() > MAX_LATER:
                self._written(self._parts[conj], conj)
        part = self._parts[root]
        if part.length == NEVER:
            return EMPTY
        result = self._done[root] if root in self._done else self._value(root, self._planned[root])
        POOL.know(result, part.length)
        self._planner = Planner(self._schema)  # the old one knows more than is needed from now on
        return result

    def _add_part(self, conj: Conj) -> None:
        assert self._parts is not None
        planned = self._planned[conj]
        if not planned.is_simple and conj not in self._done:
            self._done[conj] = self._value(conj, planned)
        if conj in self._done:
            self._parts.add_written(conj, self._done[conj])
        else:
            self._parts.add(conj, planned)

    def _write_at_once(self, order: list[Conj]) -> None:
        """Write what cannot be left for later, nor its parts; a schema in it that holds itself becomes a reference."""
        at_once: set[Conj] = set()
        todo = [conj for conj in order if not self._planned[conj].is_simple]
        if not todo:
            return
        if not self._has_circle(order):
            todo = [conj for conj in todo if self._planned[conj].compares()]
        while todo:
            conj = todo.pop()
            if conj not in at_once:
                at_once.add(conj)
                todo += filter(None, self._planned[conj].inner)
        for conj in order:
            if conj in at_once:
                self._done[conj] = self._value(conj, self._planned[conj])
        for conj, ref in self._referred.items():
            name = POOL.node(ref)[1]
            if not POOL.is_defined(name):
                POOL.define(name, self._done[conj])

    def _cannot_be_compared(self) -> set[Conj]:
        """Schemas that are refused for what would only be found out while texts are written."""
        refused: set[Conj] = set()
        for made, conj in self._compared.items():
            try:
                POOL.is_empty(made)
            except GrammarError as error:
                if error.where != "constraint":
                    raise
                self._schema.refuse(conj, error.keyword or "uniqueItems", error.reason, error.rewrite or "leave it out")
                refused.add(conj)
        return refused

    def _has_circle(self, order: list[Conj]) -> bool:
        """Whether any schema holds itself; else each stands behind its parts."""
        seen: set[Conj] = {()}
        for conj in order:
            if not seen.issuperset(self._planned[conj].inner):
                return True
            seen.add(conj)
        return False

    def in_order(self, root: Conj) -> list[Conj]:
        """All schemas that matter to a schema, read and planned, parts before wholes."""
        todo: list[tuple[Conj, bool]] = [(root, False)]
        opened: set[Conj] = {()}
        order: list[Conj] = []
        while todo:
            conj, parts_done = todo.pop()
            if parts_done:
                order.append(conj)
            elif conj not in opened:
                opened.add(conj)
                tick()
                if len(opened) > MAX_SCHEMAS + 1:
                    reason = f"comes to more than {MAX_SCHEMAS} combinations of schemas"
                    place = next(places_of(conj), "#")
                    raise GrammarError(place, "", reason, "use fewer allOf and anyOf beside each other")
                todo.append((conj, True))
                self._planned[conj] = self._plan(conj)
                todo += [(part, False) for part in self._planned[conj].inner if part not in opened]
        return order

    def _plan(self, conj: Conj) -> Planned:
        shape = self._schema.shape(conj)
        if shape is ANYTHING or shape == ANYTHING:
            return Planned(ANYTHING)
        if not (shape.numbers or shape.arrays or shape.objects):
            return Planned(shape)
        if not all(rule is _ANY_NUMBER or rule is _ANY_INTEGER or rule.is_bare() for rule in shape.numbers):
            shape = msgspec.structs.replace(shape, numbers=tuple([self._checked(conj, rule) for rule in shape.numbers]))
        if not (shape.arrays or shape.objects):
            return Planned(shape)
        if any(rule.excluded for rule in (*shape.arrays, *shape.objects)):
            shape = msgspec.structs.replace(
                shape,
                arrays=tuple(part for rule in shape.arrays for part in self._besides(conj, rule).arrays),
                objects=tuple(part for rule in shape.objects for part in self._besides(conj, rule).objects),
            )
        if not (shape.arrays or shape.objects):
            return Planned(shape)
        return with_plans(
            shape,
            tuple([self._planner.array(conj, rule) if rule.values is None else None for rule in shape.arrays]),
            tuple([self._planner.object(conj, rule) if rule.values is None else None for rule in shape.objects]),
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
        if self._parts is not None:
            part = self._parts[conj]
            return self._later(part, conj) if part.value is None else part.value
        if conj not in self._referred:
            self._referred[conj] = POOL.ref(("schema", self._name, conj))
        return self._referred[conj]

    def _besides(self, conj: Conj, rule: ArrayRule | ObjectRule) -> Shape:
        """The rule; or several, where what it excludes cannot be told apart by looking at the whole text beside it."""
        if rule.values is not None or not rule.excluded:
            return _of_rule(rule)
        bare = msgspec.structs.replace(rule, excluded=())
        excluded = tuple(value for value in rule.excluded if self._schema.follows(bare, value.json))
        plan = self._planner.array(conj, bare) if isinstance(bare, ArrayRule) else self._planner.object(conj, bare)
        if plan is None or not (plan.remembers or self._remembers(plan)):
            return _of_rule(msgspec.structs.replace(rule, excluded=excluded))
        if len(excluded) > MAX_EXCLUDED:
            reason = f"excludes more than {MAX_EXCLUDED} values where elements or names have to differ"
            self._schema.refuse(conj, "not", reason, "leave out one of the two")
            return _of_rule(bare)
        found = _of_rule(bare)
        for value in excluded:
            found = meet(found, besides(value))
        return found

    def _remembers(self, plan: ArrayPlan | ObjectPlan) -> bool:
        """Whether elements or names have to differ, or to be equal, anywhere inside what is planned."""
        todo, met = [*plan.conjs()], set(plan.conjs())
        while todo:
            inner = self._bare_plans(todo.pop())
            if any(each.remembers for each in inner):
                return True
            fresh = {part for each in inner for part in each.conjs()} - met
            todo += fresh
            met |= fresh
        return False

    def _bare_plans(self, conj: Conj) -> list[ArrayPlan | ObjectPlan]:
        """The plans of arrays and objects of a schema, whatever values are excluded."""
        shape = self._schema.shape(conj)
        plans = [self._planner.array(conj, rule) for rule in shape.arrays if rule.values is None]
        plans += [self._planner.object(conj, rule) for rule in shape.objects if rule.values is None]
        return [plan for plan in plans if plan is not None]

    def _later(self, part: Part, conj: Conj) -> int:
        """The expression of a part, its arrays and objects yet to be written."""
        planned = self._planned[conj]
        if planned.shape is ANYTHING:
            return self._part(())
        texts = self._flat(planned.shape)
        if part.nested < NEVER:
            texts.append(POOL.later(part, _Nested(self, conj), _Outline(self, conj), part.nested))
        part.value = POOL.alt(*texts)
        return part.value

    def _written(self, part: Part, conj: Conj) -> None:
        """Write the arrays and objects of a part now."""
        self._part(conj)
        if part.nested < NEVER:
            POOL.definition(POOL.ref(part))

    def nested(self, conj: Conj) -> int:
        """The arrays and objects of a schema, written."""
        return POOL.alt(*self._nested(conj, self._planned[conj]))

    def outline(self, conj: Conj) -> int:
        """A shortest array or object."""
        planned = self._planned[conj]
        texts = [self._these(rule.values) for rule in (*planned.shape.arrays, *planned.shape.objects) if rule.values]
        for plan in filter(None, planned.arrays):
            prefix = [self._ways(ways) for ways in plan.prefix[: plan.low]]
            items = self._ways(plan.items) if len(prefix) < plan.low else ()
            texts.append(array(self._form, prefix, items, plan.low, plan.low))
        for plan in filter(None, planned.objects):
            needed = self._members(tuple(member for member in plan.members if member.required))
            texts.append(object_(self._form, needed, ()))
        return POOL.alt(*texts)

    # -- values -----------------------------------------------------------------------------------------------

    def _value(self, conj: Conj, planned: Planned) -> int:
        if planned.shape is ANYTHING:
            return any_value(self._form.spacing, self._form.escapes)
        return POOL.alt(*self._flat(planned.shape), *self._nested(conj, planned))

    def _flat(self, shape: Shape) -> list[int]:
        """The values that are no arrays or objects."""
        words = [b"null"] if shape.null else []
        words += [b"true" if value else b"false" for value in shape.booleans]
        parts = [POOL.literal(word) for word in words]
        parts += [self._number(rule) for rule in shape.numbers]
        return parts + [self._string(rule) for rule in shape.strings]

    def _nested(self, conj: Conj, planned: Planned) -> list[int]:
        """The arrays and objects."""
        shape = planned.shape
        parts = [self._array(conj, *pair) for pair in zip(shape.arrays, planned.arrays, strict=True)]
        return parts + [self._object(conj, *pair) for pair in zip(shape.objects, planned.objects, strict=True)]

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

    def _plain_string(self, rule: StringRule) -> int:
        """Of `_string` as much as tells how long the shortest is."""
        return string(self._schema.plain_body(rule)) if rule.values is None else self._these(rule.values)

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
        members, others = self._members(plan.members), self._members(plan.others)

        def exactly() -> int:
            counts = plan.low, plan.high, plan.tallies
            return object_(self._form, members, others, *counts, any_order=any_order, distinct=plan.distinct)

        def more_freely() -> int:
            known, free = ([member._replace(ways=_uncounted(member.ways)) for member in m] for m in (members, others))
            return object_(self._form, known, free, any_order=any_order)

        keyword = "minProperties" if rule.min_properties else "oneOf"
        choices = [more_freely] if conj in self._loose and plan.distinct else [exactly, more_freely]
        found = self._exactly(conj, choices, keyword)
        if plan.distinct:
            self._compared[found] = conj
        return self._without(found, rule.excluded)

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
        return list(map(self._member, members))

    def _member(self, member: PlannedMember) -> Member:
        return Member(self._key(member.key), self._ways(member.ways), member.required)

    def _key(self, name: str | Besides | Names) -> int:
        if isinstance(name, Besides):
            return self._spell(key_besides(ANY_TEXT, name.names))
        if isinstance(name, Names):
            return self._spell(string(name.texts(self._schema.text_of)))
        return self._spell(string(json_text(name))) if self._any_spelling else key(name)

    def _ways(self, ways: tuple[PlannedWay, ...]) -> tuple[Way, ...]:
        return tuple(Way(self._part(way.conj), way.counts) for way in ways)


class _AtDepth(_Emitter):
    """Writes the schemas of one document as they are at one depth. plain: what has written them on one line."""

    def __init__(self, plain: _Emitter, form: Layout) -> None:
        vars(self).update(vars(plain))
        self._plain = plain
        self._form = form
        self._parts = None  # which are shared by all depths
        self._inner: _AtDepth | None = None

    def value(self, conj: Conj) -> int:
        """The expression of a schema here."""
        planned = self._planned[conj]
        return deeper_value(
            (self._name, conj),
            self._form,
            planned,
            lambda: self._flat(planned.shape),
            lambda: self._nested(conj, planned),
            lambda: self._plain._nested(conj, planned),
        )

    def _part(self, conj: Conj) -> int:
        if not conj:
            return any_value(self._form.spacing, self._form.escapes, self._form.inner.depth)
        if self._inner is None:
            self._inner = _AtDepth(self._plain, self._form.inner)
        return self._inner.value(conj)


class _Nested(msgspec.Struct, frozen=True, gc=False):
    """Writes the arrays and objects of a schema: a closure that is no work for the garbage collector."""

    emitter: _Emitter
    conj: Conj

    def __call__(self) -> int:
        return self.emitter.nested(self.conj)


class _Outline(msgspec.Struct, frozen=True, gc=False):
    """Writes a shortest array or object of a schema."""

    emitter: _Emitter
    conj: Conj

    def __call__(self) -> int:
        return self.emitter.outline(self.conj)


def _of_rule(rule: ArrayRule | ObjectRule) -> Shape:
    return Shape(arrays=(rule,)) if isinstance(rule, ArrayRule) else Shape(objects=(rule,))


def _as_it_is(strings: int) -> int:
    return strings


def _uncounted(ways: tuple[Way, ...]) -> tuple[Way, ...]:
    return tuple(Way(way.value) for way in ways)
