"""JSON Schema, normalised: every schema of a document as a list of shapes a value may have.

`allOf`, `$ref` and keywords beside each other hold at once, so their shapes meet; `anyOf` and `oneOf` add shapes.
Inner schemas stay places, read when asked for, so that recursion in a schema is no recursion here.
"""

from __future__ import annotations

from decimal import Decimal
from itertools import product
from typing import Any

from msgspec.structs import replace

from .errors import GrammarError
from .expr import POOL
from .numbers import exact
from .schema_document import Document, Json, child
from .schema_keywords import ANNOTATIONS
from .schema_notes import Notes
from .schema_read import read_shape
from .schema_shapes import (
    ANYTHING,
    MAX_ALTERNATIVES,
    NULL,
    ArrayRule,
    Conj,
    NumberRule,
    ObjectRule,
    Shape,
    StringRule,
    identity,
    meet,
)
from .schema_strings import inside_quotes, matches, string_body

Shapes = tuple[Shape, ...]

MAX_CHAIN = 64
"""Schemas that may be entered one from another (`$ref`, `allOf`...) without going into the value."""

_DISJOINT_DEPTH = 3


class Schema:
    """A schema document, read place by place and remembered. The notes get what is found on the way.

    source: the document that verbatim values stand in.
    """

    def __init__(self, text: str, notes: Notes, source: str | None = None) -> None:
        self.document = Document(text)
        self.source = source
        self._notes = notes
        self._check_dialect()
        self._of_place: dict[str, Shapes] = {}
        self._unsettled: dict[Conj, Shapes] = {}
        self._of_conj: dict[Conj, Shapes] = {}
        self._open: list[str] = []
        self._claims: list[tuple[str, list[Shapes]]] = []  # oneOf: branches that must not share a value

    def shapes(self, conj: Conj) -> Shapes:
        """What values that satisfy all of `conj` look like; () when nothing does. Raises GrammarError."""
        if conj not in self._of_conj:
            read = self._all_of(conj)
            shapes = tuple(shape for shape in map(self._settled, read) if shape is not None)
            if not shapes and all(self.document.at(place) is not False for place in conj):
                self._notes.warn(f"{' with '.join(conj)}: nothing satisfies this")
            self._of_conj[conj] = shapes
            while self._claims:
                self._check_disjoint(*self._claims.pop())
        return self._of_conj[conj]

    def _check_dialect(self) -> None:
        known = ("json-schema.org", "spec.openapis.org")
        dialect = self.document.dialect
        if dialect and not any(host in str(dialect) for host in known):
            self._notes.warn(f"#: {dialect!r} in $schema is not a known dialect; read as draft 2020-12")

    def _all_of(self, conj: Conj) -> Shapes:
        """`shapes`, with values listed that the rules beside them do not accept."""
        if conj not in self._unsettled:
            shapes: Shapes = (ANYTHING,)
            for place in conj:
                shapes = self._meet(shapes, self._read(place), place, "")
            self._unsettled[conj] = shapes
        return self._unsettled[conj]

    def refuse(self, conj: Conj, keyword: str, reason: str, rewrite: str) -> None:
        """Refuse a keyword of one of the places of `conj`."""
        schemas = ((place, self.document.at(place)) for place in conj)
        places = [place for place, schema in schemas if isinstance(schema, dict) and keyword in schema]
        self._notes.refuse((places or list(conj) or ["#"])[0], keyword, reason, rewrite)

    # -- reading ----------------------------------------------------------------------------------------------

    def _read(self, place: str) -> Shapes:
        """The shapes that the schema at one place asks for."""
        known = self._of_place.get(place)
        if known is not None:
            return known
        if place in self._open:
            raise GrammarError(place, "$ref", "refers to itself without anything in between", "remove the reference")
        if len(self._open) >= MAX_CHAIN:
            reason = f"more than {MAX_CHAIN} references or combinations lead from one to the next"
            raise GrammarError(place, "", reason, "refer to the last of them directly")
        self._open.append(place)
        try:
            result = self._of_place[place] = self._read_value(place, self.document.at(place))
        finally:
            self._open.pop()
        return result

    def _read_value(self, place: str, schema: Json) -> Shapes:
        if isinstance(schema, bool):
            return (ANYTHING,) if schema else ()
        if not isinstance(schema, dict):
            parent, _, keyword = place.rpartition("/")
            self._notes.refuse(parent, keyword, "a schema must be an object or a boolean", 'write {"type": ...}')
            return (ANYTHING,)
        if "$ref" in schema and self.document.ref_stands_alone:
            return self._read_lone_ref(place, schema)
        shapes: Shapes = (read_shape(place, schema, self._notes),)
        for keyword in schema:
            if keyword == "$ref":
                shapes = self._meet(shapes, self._read_ref(place, schema), place, keyword)
            elif keyword == "allOf":
                for inner in self._list(place, schema, keyword):
                    shapes = self._meet(shapes, self._read(inner), place, keyword)
            elif keyword == "anyOf":
                shapes = self._meet(shapes, self._any_of(place, schema), place, keyword)
        if "oneOf" in schema:
            shapes = self._one_of(shapes, place, schema)
        return (*shapes, NULL) if self._is_nullable(place, schema) else shapes

    def _is_nullable(self, place: str, schema: dict[str, Json]) -> bool:
        nullable = schema.get("nullable", False)
        if not isinstance(nullable, bool):
            self._notes.refuse(place, "nullable", "must be true or false", "write true or false without quotes")
        return nullable is True

    def _read_lone_ref(self, place: str, schema: dict[str, Json]) -> Shapes:
        """Up to draft 7, keywords beside a reference mean nothing."""
        self._notes.enforce(place, "$ref")
        for keyword in schema:
            if keyword != "$ref" and keyword not in ANNOTATIONS:
                self._notes.ignore(place, keyword, "means nothing beside $ref up to draft 7, which $schema names")
                self._notes.warn(f"{place}: {keyword!r} beside $ref means nothing in the draft that $schema names")
        return self._read_ref(place, schema)

    def _read_ref(self, place: str, schema: dict[str, Json]) -> Shapes:
        ref = schema["$ref"]
        if not isinstance(ref, str):
            self._notes.refuse(place, "$ref", "must be a string", "write a JSON pointer such as '#/$defs/name'")
            return (ANYTHING,)
        try:
            target = self.document.resolve(ref, place)
        except GrammarError as error:
            self._notes.refuse_error(error, place, "$ref")
            return (ANYTHING,)
        return self._read(target)

    def _list(self, place: str, schema: dict[str, Json], keyword: str) -> list[str]:
        """Places of the schemas in a list of schemas."""
        if isinstance(schema[keyword], list) and schema[keyword]:
            return [child(place, keyword, i) for i in range(len(schema[keyword]))]
        self._notes.refuse(place, keyword, "must be a list of at least one schema", "list the schemas")
        return []

    def _any_of(self, place: str, schema: dict[str, Json]) -> Shapes:
        inner = self._list(place, schema, "anyOf")
        return tuple(shape for branch in inner for shape in self._read(branch)) if inner else (ANYTHING,)

    def _one_of(self, around: Shapes, place: str, schema: dict[str, Json]) -> Shapes:
        """`oneOf` is `anyOf` when no value satisfies two of its branches, which is checked when all is read."""
        inner = self._list(place, schema, "oneOf")
        if not inner:
            return around
        branches = [self._meet(around, self._read(branch), place, "oneOf") for branch in inner]
        self._claims.append((place, branches))
        return tuple(shape for branch in branches for shape in branch)

    def _meet(self, first: Shapes, second: Shapes, place: str, keyword: str) -> Shapes:
        met = tuple(shape for a, b in product(first, second) if (shape := meet(a, b)).has_type())
        if len(met) > MAX_ALTERNATIVES:
            reason = f"comes to more than {MAX_ALTERNATIVES} combinations of branches"
            raise GrammarError(place, keyword, reason, "use fewer branches beside each other")
        return met

    # -- what is possible -------------------------------------------------------------------------------------

    def _settled(self, shape: Shape) -> Shape | None:
        """The shape with only those of its values that it accepts; None when none is left."""
        if shape.values is None:
            return shape
        bare = replace(shape, values=None)
        values = tuple(value for value in shape.values if self._fits(bare, value))
        return replace(shape, values=values) if values else None

    def _check_disjoint(self, place: str, branches: list[Shapes]) -> None:
        """Refuse a `oneOf` unless it is plain to see that no value satisfies two of its branches."""
        for i, second in enumerate(branches):
            for j, first in enumerate(branches[:i]):
                if any(self._is_possible(meet(a, b), _DISJOINT_DEPTH) for a, b in product(first, second)):
                    reason = f"one value might satisfy both branch {j} and branch {i}, and that is not checked yet"
                    rewrite = "use anyOf, or give the branches different types or a required const that differs"
                    self._notes.refuse(place, "oneOf", reason, rewrite)
                    return

    def _is_possible(self, shape: Shape, depth: int) -> bool:
        """Whether a value might have this shape. Errs towards True."""
        settled = self._settled(shape)
        if settled is None:
            return False
        if settled.values is not None or settled.null or settled.booleans:
            return True
        if settled.number is not None or settled.string is not None:
            return True
        array, rule = settled.array, settled.object
        if array is not None and all(self._may_hold(array.at(i), depth) for i in range(min(array.min_items, 8))):
            return True
        return rule is not None and all(self._may_hold(self.member(rule, name), depth) for name in rule.required)

    def _may_hold(self, conj: Conj, depth: int) -> bool:
        return depth == 0 or any(self._is_possible(shape, depth - 1) for shape in self._all_of(conj))

    # -- members ----------------------------------------------------------------------------------------------

    def member(self, rule: ObjectRule, name: str) -> Conj:
        """The schema of the member of this name."""
        matched = frozenset(p for p in rule.pattern_texts() if matches(p, name))
        return rule.schema_of(name, matched)

    def allows_name(self, rule: ObjectRule, name: str) -> bool:
        """Whether `propertyNames` allows a name."""
        return self.accepts(rule.names, name)

    # -- values -----------------------------------------------------------------------------------------------

    def accepts(self, conj: Conj, value: Json) -> bool:
        """Whether a value satisfies all schemas of `conj`, in whatever way it may be written."""
        return not conj or any(self._fits(shape, value) for shape in self._all_of(conj))

    def _fits(self, shape: Shape, value: Any) -> bool:
        if shape.values is not None and not any(identity(value) == identity(other) for other in shape.values):
            return False
        if value is None:
            return shape.null
        if isinstance(value, bool):
            return value in shape.booleans
        if isinstance(value, (int, Decimal)):
            return shape.number is not None and _number_fits(shape.number, value)
        if isinstance(value, str):
            return shape.string is not None and POOL.fullmatch(self.body(shape.string), inside_quotes(value))
        if isinstance(value, list):
            return shape.array is not None and self._array_fits(shape.array, value)
        return shape.object is not None and self._object_fits(shape.object, value)

    def body(self, rule: StringRule) -> int:
        """What a rule on strings allows between the quotes."""
        return string_body(rule, self.source if rule.verbatim else None)

    def _array_fits(self, rule: ArrayRule, value: list[Json]) -> bool:
        enough = rule.min_items <= len(value) and (rule.max_items is None or len(value) <= rule.max_items)
        return enough and all(self.accepts(rule.at(i), item) for i, item in enumerate(value))

    def _object_fits(self, rule: ObjectRule, value: dict[str, Json]) -> bool:
        enough = rule.min_properties <= len(value)
        if not enough or (rule.max_properties is not None and len(value) > rule.max_properties):
            return False
        if any(name not in value for name in rule.required):
            return False
        return all(
            self.allows_name(rule, name) and self.accepts(self.member(rule, name), item) for name, item in value.items()
        )


def _number_fits(rule: NumberRule, value: int | Decimal) -> bool:
    number = exact(value)
    whole = not rule.integer or number.denominator == 1
    multiple = rule.multiple_of is None or (number / rule.multiple_of).denominator == 1
    return whole and multiple and rule.interval.contains(number)
