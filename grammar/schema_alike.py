"""Inner schemas, of which most say no more than a type, or where to read on: these are seen through, and read once."""

from __future__ import annotations

from collections.abc import Hashable

from .schema_document import Document
from .schema_keywords import ANNOTATIONS, is_free
from .schema_rules import NEVER, Conj, Literal, NumberRule, StringRule
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
    if type(named) is not str or named not in OF_TYPE:
        return None
    if len(schema) == 1:
        return named
    says = schema.keys() - _ANNOTATIONS
    if len(says) == 1:
        return named
    if not says <= _ABOUT_ITSELF:
        return None
    found: list[Hashable] = []
    for keyword in sorted(says):
        value = schema[keyword]
        if keyword == "enum" and type(value) is list and all(type(each) is str for each in value):
            value = tuple(value)
        elif type(value) is not str and type(value) is not int:
            return None
        found.append((keyword, value))
    return tuple(found)


def simple_shape(schema: dict[str, Json]) -> Shape | None:
    """The shape of a schema that names one type and asserts nothing else; None for all others, and what holds parts."""
    named = schema.get("type")
    if type(named) is not str or named not in OF_TYPE:
        return None
    for keyword in schema:
        if keyword != "type" and keyword not in ANNOTATIONS:
            return None
    return OF_TYPE[named]
