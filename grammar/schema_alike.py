"""Schemas of strings, numbers and the like, most of which say no more than a type: read quickly, and once."""

from __future__ import annotations

from collections.abc import Hashable

from .schema_keywords import ANNOTATIONS
from .schema_rules import NumberRule, StringRule
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


def what_it_says(schema: Json) -> Hashable:
    """What a schema of one type without parts asks for, the same for those that ask for the same; None: not known."""
    named = schema.get("type") if isinstance(schema, dict) else None
    if type(named) is not str or named not in OF_TYPE:
        return None
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
