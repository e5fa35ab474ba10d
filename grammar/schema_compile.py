"""JSON Schema to expressions: the texts of the values a schema accepts.

Members stand in the order of `properties`, the schema's own first, then those of `$ref`, `allOf` and branches; names
that are only `required` follow, then any others. Where `"x-rootform": {"propertyOrder": "any"}` says so they stand in
any order. Listed keys and values of `enum` and `const` have one spelling each; other strings any that JSON allows; for
numbers see `numbers.py`, for whitespace `json_layout.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterator
from itertools import combinations

from .constraints import Spacing
from .counts import Way
from .errors import GrammarError
from .expr import EMPTY, POOL
from .json_arrays import array
from .json_layout import layout
from .json_objects import Member, object_
from .json_values import (
    ANY_TEXT,
    any_object,
    any_value,
    key,
    key_besides,
    string,
    this_value,
)
from .numbers import number
from .regex import compile_pattern
from .schema import Schema
from .schema_notes import Notes
from .schema_shapes import ANYTHING, Conj, NumberRule, ObjectRule, Shape
from .schema_strings import inside_quotes

MAX_SCHEMAS = 20_000
"""Schemas (each with the combinations it takes part in) that one document may come to."""

MAX_KEY_PATTERNS = 6
"""Patterns on names that may apply to one object at once."""

MAX_COUNTED_MEMBERS = 100_000
"""Members listed times members counted, for minProperties and maxProperties."""


def compile_schema(schema_text: str, spacing: Spacing, source: str | None = None) -> int:
    """The expression of the JSON texts a schema accepts. Raises GrammarError for what cannot be enforced exactly.

    source: the document that verbatim values stand in.
    """
    notes = Notes(strict=True, has_document=source is not None)
    return compile_read(Schema(schema_text, notes, source), schema_text, spacing, notes)


def compile_json_object(spacing: Spacing) -> int:
    """The expression of any JSON object."""
    return any_object(spacing)


def compile_read(schema: Schema, schema_text: str, spacing: Spacing, notes: Notes) -> int:
    """`compile_schema`, for a schema that is being read."""
    name = (hashlib.sha256(schema_text.encode()).hexdigest(), spacing, schema.source)
    result = _Emitter(schema, spacing, name).emit(("#",))
    if POOL.is_empty(result):
        found = next(iter(notes.warnings), "")
        reason = "nothing satisfies this schema" + (f" ({found})" if found else "")
        raise GrammarError("#", "", reason, "remove what contradicts, or give a recursive schema a way to end")
    return result


def read_all(schema: Schema, spacing: Spacing) -> None:
    """Read all schemas that take part, so that the notes hold all that is to be found."""
    _Emitter(schema, spacing, None).in_order(("#",))


class _Emitter:
    """Writes the schemas of one document, parts before wholes; a schema that holds itself becomes a reference."""

    def __init__(self, schema: Schema, spacing: Spacing, name: Hashable) -> None:
        self._schema = schema
        self._form = layout(spacing)
        self._spacing: Spacing = spacing
        self._name = name
        self._done: dict[Conj, int] = {}
        self._referred: dict[Conj, int] = {}
        self._key_texts: dict[Hashable, int] = {}

    def emit(self, root: Conj) -> int:
        """The expression of a schema and all it rests on."""
        for conj in self.in_order(root):
            self._done[conj] = POOL.alt(*map(self._shape, self._schema.shapes(conj)))
        for conj, ref in self._referred.items():
            name = POOL.node(ref)[1]
            if not POOL.is_defined(name):
                POOL.define(name, self._done[conj])
        return self._done[root]

    def in_order(self, root: Conj) -> list[Conj]:
        """All schemas that matter to a schema, read and checked, parts before wholes."""
        todo: list[tuple[Conj, bool]] = [(root, False)]
        opened: set[Conj] = set()
        order: list[Conj] = []
        while todo:
            conj, parts_done = todo.pop()
            if parts_done:
                order.append(conj)
            elif conj not in opened:
                opened.add(conj)
                if len(opened) > MAX_SCHEMAS:
                    reason = f"comes to more than {MAX_SCHEMAS} combinations of schemas"
                    raise GrammarError(conj[0], "", reason, "use fewer allOf and anyOf beside each other")
                todo.append((conj, True))
                for shape in self._schema.shapes(conj):
                    self._check(conj, shape)
                    todo += [(part, False) for part in self._parts(shape)]
        return order

    def _parts(self, shape: Shape) -> Iterator[Conj]:
        """The schemas of the parts of a shape's values, where they say anything."""
        if shape.values is not None:
            return
        if shape.array is not None:
            yield from filter(None, (*shape.array.prefix, shape.array.items))
        if shape.object is not None:
            rule = shape.object
            yield from filter(None, (self._schema.member(rule, name) for name in rule.listed()))
            yield from filter(None, (conj for _, conj in self._other_keys(rule)))

    def _check(self, conj: Conj, shape: Shape) -> None:
        """Refuse what cannot be written exactly, so that writing does not fail."""
        if shape.values is None and shape.number is not None and shape.number.multiple_of is not None:
            try:
                _number(shape.number)
            except GrammarError as error:
                self._schema.refuse(conj, error.keyword, error.reason, error.rewrite)
        if shape.values is None and shape.object is not None:
            self._check_object(conj, shape.object)

    def _check_object(self, conj: Conj, rule: ObjectRule) -> None:
        if len(rule.pattern_texts()) > MAX_KEY_PATTERNS:
            reason = f"more than {MAX_KEY_PATTERNS} patterns on the names of one object"
            self._schema.refuse(conj, "patternProperties", reason, "join patterns whose schemas are the same with |")
        elif _least(rule) > 1 and self._other_keys(rule):
            reason = "a name that is not listed might be written twice and counted twice"
            rewrite = "list the names under properties and set additionalProperties to false"
            self._schema.refuse(conj, "minProperties", reason, rewrite)
        if rule.any_order and (self._other_keys(rule) or _least(rule) or rule.max_properties is not None):
            reason = "any order is for closed objects whose members are not counted"
            rewrite = "set additionalProperties to false and leave minProperties and maxProperties out"
            self._schema.refuse(conj, "x-rootform", reason, rewrite)
        counted = rule.max_properties if rule.max_properties is not None else _least(rule)
        if counted * (len(rule.listed()) + 1) > MAX_COUNTED_MEMBERS:
            keyword = "minProperties" if rule.max_properties is None else "maxProperties"
            self._schema.refuse(conj, keyword, "counts too many members", "lower it, or leave it out")

    def _part(self, conj: Conj) -> int:
        """The expression of an inner schema."""
        if not conj:
            return any_value(self._spacing)
        if conj in self._done:
            return self._done[conj]
        if conj not in self._referred:
            self._referred[conj] = POOL.ref(("schema", self._name, conj))
        return self._referred[conj]

    def _shape(self, shape: Shape) -> int:
        if shape.values is not None:
            return POOL.alt(*[this_value(self._form, value) for value in shape.values])
        if shape == ANYTHING:
            return any_value(self._spacing)
        words = [b"null"] if shape.null else []
        words += [b"true" if value else b"false" for value in shape.booleans]
        parts = [POOL.literal(word) for word in words]
        if shape.number is not None:
            parts.append(_number(shape.number))
        if shape.string is not None:
            parts.append(string(self._schema.body(shape.string)))
        if shape.array is not None:
            rule = shape.array
            prefix = [[Way(self._part(conj))] for conj in rule.prefix]
            items = [Way(self._part(rule.items))]
            parts.append(array(self._form, prefix, items, rule.min_items, rule.max_items))
        if shape.object is not None:
            parts.append(self._object(shape.object))
        return POOL.alt(*parts)

    # -- objects ----------------------------------------------------------------------------------------------

    def _object(self, rule: ObjectRule) -> int:
        members = [
            Member(key(name), (Way(self._part(self._schema.member(rule, name))),), name in rule.required)
            for name in rule.listed()
            if name in rule.required or self._schema.allows_name(rule, name)
        ]
        if any(not self._schema.allows_name(rule, name) for name in rule.required):
            return EMPTY
        if rule.any_order:
            return object_(self._form, members, (), any_order=True)
        others = [Member(text, (Way(self._part(conj)),), False) for text, conj in self._other_keys(rule)]
        return object_(self._form, members, others, _least(rule), rule.max_properties)

    def _other_keys(self, rule: ObjectRule) -> list[tuple[int, Conj]]:
        """Keys that are not listed, each kind with its schema: one kind for each set of patterns a name may match."""
        kinds: list[tuple[int, Conj]] = []
        if len(rule.pattern_texts()) > MAX_KEY_PATTERNS:
            return kinds
        for matched in _subsets(rule.pattern_texts()):
            conj = rule.schema_of(None, matched)
            if conj and not self._schema.shapes(conj):
                continue
            text = self._key_text(rule, matched)
            if text != EMPTY:
                kinds.append((text, conj))
        return kinds

    def _key_text(self, rule: ObjectRule, matched: frozenset[str]) -> int:
        """Keys that are not listed and match just these patterns; EMPTY when there are none."""
        known = (rule.listed(), rule.pattern_texts(), rule.names, matched)
        if known not in self._key_texts:
            parts = [_names_of(self._schema, rule.names)]
            for pattern in rule.pattern_texts():
                found = compile_pattern(pattern, mode="search", encoding="json")
                parts.append(found if pattern in matched else POOL.not_(found))
            text = key_besides(POOL.and_(*parts), rule.listed())
            can_be_empty = len(parts) > 1 or rule.names
            self._key_texts[known] = EMPTY if can_be_empty and POOL.is_empty(text) else text
        return self._key_texts[known]


def _number(rule: NumberRule) -> int:
    return number(rule.integer, rule.interval, rule.multiple_of)


def _least(rule: ObjectRule) -> int:
    """minProperties, where it asks for more than `required` does."""
    return rule.min_properties if rule.min_properties > len(rule.required) else 0


def _names_of(schema: Schema, conj: Conj) -> int:
    """What may stand between the quotes of a key that satisfies `conj`."""
    if not conj:
        return ANY_TEXT
    bodies = []
    for shape in schema.shapes(conj):
        if shape.values is not None:
            bodies += [POOL.literal(inside_quotes(v)) for v in shape.values if isinstance(v, str)]
        elif shape.string is not None:
            bodies.append(schema.body(shape.string))
    return POOL.alt(*bodies)


def _subsets(patterns: tuple[str, ...]) -> Iterator[frozenset[str]]:
    for size in range(len(patterns) + 1):
        yield from map(frozenset, combinations(patterns, size))
