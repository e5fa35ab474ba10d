"""Writes the schemas of one document: parts before wholes, what can wait when a text first comes there."""

from __future__ import annotations

from collections.abc import Hashable

import msgspec

from .constraints import JsonSchema
from .errors import GrammarError
from .expr import EMPTY, POOL
from .json_layout import Layout
from .json_values import any_value
from .schema import Schema
from .schema_alike import OF_TYPE
from .schema_apart import told_apart
from .schema_clauses import places_of
from .schema_indent import deeper_value
from .schema_negation import besides
from .schema_parts import MAX_LATER, Part, Parts, Planned, with_plans
from .schema_plan import ArrayPlan, ObjectPlan
from .schema_planner import Planner
from .schema_rules import ArrayRule, Conj, NumberRule, ObjectRule
from .schema_shapes import ANYTHING, Shape, meet
from .schema_write import Writer
from .witness import NEVER
from .work import tick

_ANY_NUMBER, _ANY_INTEGER = (OF_TYPE[name].numbers[0] for name in ("number", "integer"))

MAX_SCHEMAS = 20_000
"""Schemas (each with the combinations it takes part in) that one document may come to."""

MAX_EXCLUDED = 3
"""Values that one schema may exclude where elements or names have to differ, too."""


class Emitter(Writer):
    """Writes the schemas of one document, parts before wholes; a schema that holds itself becomes a reference."""

    def __init__(self, schema: Schema, constraint: JsonSchema, name: Hashable) -> None:
        super().__init__(schema, constraint)
        self._name = name
        self._planner = Planner(schema)
        self._options = constraint.spacing, constraint.escapes, constraint.property_order, constraint.document
        self._writers = self._number, self._plain_string, self._these
        self._done: dict[Conj, int] = {}
        self._referred: dict[Conj, int] = {}
        self._told_apart: set[Conj] = set()
        self._least: dict[Conj, int] = {}  # bytes of the shortest texts of those that are written at once, if known

    def emit(self, root: Conj) -> int:
        """The expression of a schema and all it rests on; its inner arrays and objects are written when they are met.

        What counts or compares elements, or is large, is written at once with all its parts, for that may fail, or
        take long. The rest takes no more than its size, so it can wait.
        """
        order = self.in_order(root)
        for conj in self._told_apart:
            self._planned[conj] = msgspec.structs.replace(self._planned[conj], is_told_apart=True)
        self._write_at_once(order)
        while refused := self._cannot_be_compared():
            self._loose |= refused
            self._name = self._name, "loosely"
            self._done, self._referred, self._compared = {}, {}, {}
            self._write_at_once(order)
        self._is_measured = True
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
        if not planned.can_wait and conj not in self._done:
            self._done[conj] = self._value(conj, planned)
        if conj in self._done:
            self._parts.add_written(conj, self._done[conj])
        else:
            self._parts.add(conj, planned)

    def _write_at_once(self, order: list[Conj]) -> None:
        """Write what cannot be left for later, nor its parts; a schema in it that holds itself becomes a reference."""
        at_once: set[Conj] = set()
        todo = [conj for conj in order if not self._planned[conj].can_wait]
        if not todo:
            return
        if not self._has_circle(order):
            todo = [conj for conj in todo if self._planned[conj].compares()]
        while todo:
            conj = todo.pop()
            if conj not in at_once:
                at_once.add(conj)
                todo += filter(None, self._planned[conj].inner)
        waiting = self._write_without_circle([conj for conj in order if conj in at_once])
        self._is_measured = self._measure(waiting)
        for conj in waiting:
            self._done[conj] = self._value(conj, self._planned[conj])
        for conj, ref in self._referred.items():
            name = POOL.node(ref)[1]
            if not POOL.is_defined(name):
                POOL.define(name, self._done[conj])

    def _write_without_circle(self, order: list[Conj]) -> list[Conj]:
        """Write those of which no part holds itself; the others are returned."""
        self._is_measured = True
        for conj in order:
            if all(not part or part in self._done for part in self._planned[conj].inner):
                self._done[conj] = self._value(conj, self._planned[conj])
        return [conj for conj in order if conj not in self._done]

    def _measure(self, waiting: list[Conj]) -> bool:
        """Find how long the shortest texts of schemas are before they are written, if their plans tell that.

        Else it would take all of a large object to be written, wherever it holds itself, to know how to end it.
        """
        self._least = {}
        if not all(self._planned[conj].tells_length() for conj in waiting):
            return False
        parts = Parts(self._form, (*self._options, "to be written"), self._name, self._writers)
        try:
            for part in dict.fromkeys(part for conj in waiting for part in self._planned[conj].inner):
                if part in self._done:
                    parts.add_written(part, self._done[part])
        except GrammarError as error:
            if error.where != "constraint":
                raise
            return False  # it will be refused
        for conj in waiting:
            parts.add(conj, self._planned[conj])
        parts.settle()
        self._least = {conj: parts[conj].length for conj in waiting}
        return True

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
        arrays = tuple([self._planner.array(conj, rule) if rule.values is None else None for rule in shape.arrays])
        objects = tuple([self._planner.object(conj, rule) if rule.values is None else None for rule in shape.objects])
        self._told_apart |= told_apart(arrays, objects, self._schema.shape)
        return with_plans(shape, arrays, objects)

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
            if conj in self._least:
                POOL.know(self._referred[conj], self._least[conj])
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
        texts = self._flat(planned)
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


class AtDepth(Emitter):
    """Writes the schemas of one document as they are at one depth. plain: what has written them on one line."""

    def __init__(self, plain: Emitter, form: Layout) -> None:
        vars(self).update(vars(plain))
        self._plain = plain
        self._form = form
        self._parts = None  # which are shared by all depths
        self._inner: AtDepth | None = None

    def value(self, conj: Conj) -> int:
        """The expression of a schema here."""
        planned = self._planned[conj]
        return deeper_value(
            (self._name, conj),
            self._form,
            planned,
            lambda: self._flat(planned),
            lambda: self._nested(conj, planned),
            lambda: self._plain._nested(conj, planned),
        )

    def _part(self, conj: Conj) -> int:
        if not conj:
            return any_value(self._form.spacing, self._form.escapes, self._form.inner.depth)
        if self._inner is None:
            self._inner = AtDepth(self._plain, self._form.inner)
        return self._inner.value(conj)


class _Nested(msgspec.Struct, frozen=True, gc=False):
    """Writes the arrays and objects of a schema: a closure that is no work for the garbage collector."""

    emitter: Emitter
    conj: Conj

    def __call__(self) -> int:
        return self.emitter.nested(self.conj)


class _Outline(msgspec.Struct, frozen=True, gc=False):
    """Writes a shortest array or object of a schema."""

    emitter: Emitter
    conj: Conj

    def __call__(self) -> int:
        return self.emitter.outline(self.conj)


def _of_rule(rule: ArrayRule | ObjectRule) -> Shape:
    return Shape(arrays=(rule,)) if isinstance(rule, ArrayRule) else Shape(objects=(rule,))
