"""What `Annotated[...]` says of values, put into a schema: msgspec.Meta, and annotated_types where it is installed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import msgspec

Schema = dict[str, Any]

_BOUNDS = {"gt": "exclusiveMinimum", "ge": "minimum", "lt": "exclusiveMaximum", "le": "maximum"}
_NUMBERS = _BOUNDS | {"multiple_of": "multipleOf"}
_LENGTHS = {
    "string": ("minLength", "maxLength"),
    "array": ("minItems", "maxItems"),
    "object": ("minProperties", "maxProperties"),
}


def limited(schema: Schema, said: Any) -> Schema:
    """The schema with one piece of metadata in it; metadata of others means nothing here, as PEP 593 has it.

    Raises ValueError, saying why, for what asserts something that a schema cannot.
    """
    if isinstance(said, msgspec.Meta):
        return _meta(schema, said)
    module = type(said).__module__.partition(".")[0]
    if module == "pydantic":
        raise ValueError(f"{type(said).__name__} of Pydantic means something in Pydantic's own models alone")
    return _annotated_types(schema, said) if module == "annotated_types" else schema


def _meta(schema: Schema, meta: msgspec.Meta) -> Schema:
    for name, keyword in _NUMBERS.items():
        if (value := getattr(meta, name)) is not None:
            schema = _on(schema, ("integer", "number"), {keyword: _number(value)}, name)
    if meta.pattern is not None:
        schema = _on(schema, ("string",), {"pattern": meta.pattern}, "pattern")
    schema = _length(_length(schema, 0, meta.min_length), 1, meta.max_length)
    notes = {"title": meta.title, "description": meta.description, "examples": meta.examples}
    schema = schema | {key: value for key, value in notes.items() if value is not None}
    return schema | (meta.extra_json_schema or {})


def _annotated_types(schema: Schema, said: Any) -> Schema:
    kind = type(said).__name__
    if kind in ("Gt", "Ge", "Lt", "Le", "MultipleOf"):
        name = "multiple_of" if kind == "MultipleOf" else kind.lower()
        return _on(schema, ("integer", "number"), {_NUMBERS[name]: _number(getattr(said, name))}, kind)
    if kind == "MinLen":
        return _length(schema, 0, said.min_length)
    if kind == "MaxLen":
        return _length(schema, 1, said.max_length)
    if kind in ("Interval", "Len") and isinstance(said, Iterable):
        for part in said:
            schema = _annotated_types(schema, part)
        return schema
    if kind == "Unit":
        return schema
    if kind == "DocInfo":
        return schema | {"description": said.documentation}
    raise ValueError(f"{kind} cannot be said in a JSON Schema")


def _length(schema: Schema, which: int, value: int | None) -> Schema:
    if value is None or (which == 0 and value == 0):
        return schema
    kinds = [kind for kind in _LENGTHS if _has(schema, kind)]
    if not kinds:
        raise ValueError("a length means nothing for this type")
    for kind in kinds:
        keyword = _LENGTHS[kind][which]
        schema = _on(schema, (kind,), {keyword: value}, keyword)
    return schema


def _has(schema: Schema, kind: str) -> bool:
    return schema.get("type") == kind or any(_has(branch, kind) for branch in schema.get("anyOf", ()))


def _on(schema: Schema, kinds: tuple[str, ...], said: Schema, name: str) -> Schema:
    """The schema with keywords on it, or on those of its branches that are of these kinds."""
    if "anyOf" in schema and any(_has(schema, kind) for kind in kinds):
        branches = [
            _on(branch, kinds, said, name) if any(_has(branch, k) for k in kinds) else branch
            for branch in schema["anyOf"]
        ]
        return schema | {"anyOf": branches}
    if schema.get("type") not in kinds or "contentEncoding" in schema:
        raise ValueError(f"{name} means nothing for this type")
    both = [keyword for keyword in said if keyword in schema]
    return schema | said if not both else {"allOf": [schema, said], "type": schema["type"]}


def _number(value: Any) -> int | float:
    """A bound as a JSON number of exactly its value."""
    if isinstance(value, Decimal) and value.is_finite():
        whole = value == value.to_integral_value()
        value = int(value) if whole else float(value) if Decimal(repr(float(value))) == value else value
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is no number that JSON can say exactly")
    return value
