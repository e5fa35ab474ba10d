"""Inner schemas, of which most say no more than a type, or where to read on: these are seen through, and read once."""

from __future__ import annotations

from collections.abc import Hashable

from msgspec.structs import replace

from .formats import is_known
from .numbers import Interval, exact
from .schema_document import Document, pointer_step
from .schema_keywords import ANNOTATIONS, ASSERTING, MAX_LEAST, is_free
from .schema_rules import (
    NEVER,
    ArrayRule,
    Conj,
    Either,
    Elements,
    Literal,
    Members,
    NumberRule,
    ObjectRule,
    Same,
    StringRule,
    Value,
)
from .schema_shapes import Shape
from .schema_text import Json

OF_TYPE = {
    "null": Shape(null=True),
    "boolean": Shape(booleans=(True, False)),
    "integer": Shape(numbers=(NumberRule(integer=True),)),
    "number": Shape(numbers=(NumberRule(),)),
    "string": Shape(strings=(StringRule(),)),
}
"""What schemas that name such a type, and nothing else, ask for."""

_OR_NULL = {name: (name, "null") for name in OF_TYPE}
_ABOUT_ITSELF = frozenset({"enum", "format", "maxLength", "maximum", "minLength", "minimum", "pattern", "type"})
_ANNOTATIONS = frozenset(ANNOTATIONS)

_MOST_REFERENCES = 8  # that are seen through one after the other


class Inner:
    """The inner schemas of a document, as what rules name them by; those that plainly ask for the same are one."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._alike: dict[Hashable, Conj] = {}

    def of(self, place: str, schema: Json) -> Conj:
        """The schema at a place, or one like it."""
        at, found = place, schema
        for _ in range(_MOST_REFERENCES):
            if type(found) is not dict:
                return NEVER if found is False else () if found is True else self._itself(at, found)
            if "type" in found:
                said = what_it_says(found)
                if said is None:
                    return self._itself(at, found)
                known = self._alike.get(said)
                if known is None:
                    known = self._alike[said] = self._itself(at, found)
                return known
            if "$ref" not in found:
                return () if is_free(found) else self._itself(at, found)
            ref = lone_reference(found)
            if ref is None or not self._document.is_plain(ref):
                return self._itself(at, found)
            at, found = ref, self._document.at(ref)
        return self._itself(place, schema)

    def _itself(self, place: str, schema: Json) -> Conj:
        self._document.know(place, schema)
        return (Literal(place),)


class Written:
    """Schemas by how they are written: those written alike mean the same, where one resource is all there is.

    others: the places of those that another one stands for.
    """

    def __init__(self, document: Document) -> None:
        self._document = document
        self.others: list[str] = []
        self._first: dict[str, str] = {}
        self._of_place: dict[str, str] = {}

    def alike(self, conj: Conj) -> Conj:
        """The same conjunction, in which schemas that are written alike have the name of the first asked about."""
        return tuple(map(self._part, conj)) if self._document.is_simple else conj

    def _part(self, part: Literal | Same | Either) -> Literal | Same | Either:
        if isinstance(part, Either):
            return Either(tuple(map(self.alike, part.options)))
        if isinstance(part, Same) or part.scope:
            return part
        known = self._of_place.get(part.place)
        if known is None:
            text = repr(self._document.at(part.place))  # the order of members counts, and 1.0 may be spelled unlike 1
            known = self._of_place[part.place] = self._first.setdefault(text, part.place)
            if known != part.place:
                self.others.append(part.place)
        return part if known == part.place else Literal(known, part.negated)


def lone_reference(schema: dict[str, Json]) -> str | None:
    """What a schema refers to that says nothing else."""
    ref = schema["$ref"]
    if type(ref) is not str or (len(schema) > 1 and schema.keys() - _ANNOTATIONS != _REFERENCE):
        return None
    return ref


_REFERENCE = {"$ref"}


def what_it_says(schema: Json) -> Hashable:
    """What a schema of one type without parts asks for, the same for those that ask for the same; None: not known."""
    named = schema.get("type") if isinstance(schema, dict) else None
    if type(named) is list and len(named) == 2 and named[1] == "null":
        named = _OR_NULL.get(named[0]) if type(named[0]) is str else None
    elif type(named) is not str or named not in OF_TYPE:
        return None
    if named is None or len(schema) == 1:
        return named
    says = schema.keys() & ASSERTING
    if len(says) == 1:
        return named
    if not says <= _ABOUT_ITSELF:
        return None
    found: list[Hashable] = []
    for keyword in sorted(says):
        value = schema[keyword]
        if keyword == "type":
            value = named
        elif keyword == "enum" and type(value) is list and all(type(each) is str for each in value):
            value = tuple(value)
        elif type(value) is not str and type(value) is not int:
            return None
        found.append((keyword, value))
    return tuple(found)


# -- schemas whose shape is plain to see ----------------------------------------------------------------------


def plain_shape(place: str, schema: dict[str, Json], inner: Inner) -> Shape | None:
    """The shape of a schema of one type that says the most common things, and these well; None for all others.

    What it says means the same in each draft, and nothing about it is to be noted, so it is read here at once.
    """
    named, says = schema.get("type"), schema.keys() & ASSERTING
    if type(named) is str:
        return _of_type(place, schema, inner, named, says)
    if named is None:
        return _one_of_texts(schema) if says == _VALUES else None
    if type(named) is not list or len(named) != 2 or named[1] != "null" or "enum" in says:
        return None
    shape = _of_type(place, schema, inner, named[0], says) if type(named[0]) is str else None
    return replace(shape, null=True) if shape is not None else None


def _of_type(place: str, schema: dict[str, Json], inner: Inner, named: str, says: set[str]) -> Shape | None:
    if named == "object":
        return _object(place, schema, inner) if says <= _OF_OBJECTS else None
    if named == "array":
        return _array(place, schema, inner) if says <= _OF_ARRAYS else None
    if len(says) == 1:
        return OF_TYPE.get(named)
    if named == "string":
        if "enum" in says:
            return _one_of_texts(schema) if len(says) == _TYPE_AND_VALUES else None
        return _string(schema) if says <= _OF_STRINGS else None
    return _number(schema, named) if says <= _OF_NUMBERS and named in OF_TYPE else None


def _object(place: str, schema: dict[str, Json], inner: Inner) -> Shape | None:
    properties, required = schema.get("properties", _NO_MEMBERS), schema.get("required", _NO_NAMES)
    if type(properties) is not dict or type(required) is not list:
        return None
    for name in required:
        if type(name) is not str:
            return None
    inside, found = place + "/properties/", dict[str, Conj]()
    for name, value in properties.items():
        found[name] = inner.of(inside + pointer_step(name), value)
    others: Conj = ()
    if "additionalProperties" in schema:
        others = inner.of(place + "/additionalProperties", schema["additionalProperties"])
    members = (Members(properties=found, additional=others),) if found or others else ()
    return Shape(objects=(ObjectRule(members, tuple(dict.fromkeys(required))),))


def _array(place: str, schema: dict[str, Json], inner: Inner) -> Shape | None:
    items, low = schema.get("items", True), schema.get("minItems", 0)
    if type(items) is list or type(low) is not int or not 0 <= low <= MAX_LEAST:
        return None
    high = schema.get("maxItems", low)
    if type(high) is not int or high < low:
        return None
    rule = ArrayRule(Elements(items=inner.of(place + "/items", items)), low, schema.get("maxItems"))
    return Shape(arrays=(rule,))


def _string(schema: dict[str, Json]) -> Shape | None:
    low = schema.get("minLength", 0)
    if type(low) is not int or not 0 <= low <= MAX_LEAST:
        return None
    high = schema.get("maxLength", low)
    if type(high) is not int or high < low:
        return None
    formats: tuple[str, ...] = ()
    if "format" in schema:
        name = schema["format"]
        if type(name) is not str or not is_known(name):
            return None
        formats = (name,)
    return Shape(strings=(StringRule(low, schema.get("maxLength"), formats=formats),))


def _number(schema: dict[str, Json], named: str) -> Shape | None:
    low, high = schema.get("minimum"), schema.get("maximum")
    if named in ("null", "boolean") or (low is None and "minimum" in schema) or (high is None and "maximum" in schema):
        return None
    if (low is not None and type(low) is not int) or (high is not None and type(high) is not int):
        return None
    interval = Interval(None if low is None else exact(low), None if high is None else exact(high))
    return None if interval.is_empty() else Shape(numbers=(NumberRule(named == "integer", interval),))


def _one_of_texts(schema: dict[str, Json]) -> Shape | None:
    values = schema["enum"]
    if type(values) is not list or not values:
        return None
    for value in values:
        if type(value) is not str:
            return None
    return Shape(strings=(StringRule(values=tuple([Value(value) for value in dict.fromkeys(values)])),))


_OF_OBJECTS = frozenset({"type", "properties", "required", "additionalProperties"})
_OF_ARRAYS = frozenset({"type", "items", "minItems", "maxItems"})
_OF_STRINGS = frozenset({"type", "minLength", "maxLength", "format"})
_OF_NUMBERS = frozenset({"type", "minimum", "maximum", "format"})
_VALUES = {"enum"}
_TYPE_AND_VALUES = 2
_NO_MEMBERS: dict[str, Json] = {}
_NO_NAMES: list[str] = []
