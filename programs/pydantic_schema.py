"""Schemas of Pydantic models whose every text is a value of the model, as far as a schema can say it.

Imported only where a Pydantic type was given. Pydantic's own schemas are wider than what it then takes: any string for
a decimal, any name for a key that is an integer, the year 0, a union told apart by a property that may be missing.
"""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter
from pydantic.errors import PydanticInvalidForJsonSchema
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from ..engine.types import RootformError
from .type_schema import INTEGER_KEY, NUMBER_KEY, Schema, text_of

_DATA = ("default", "const", "enum", "examples", "required")  # keywords that hold data, not schemas
_MAPS = ("properties", "$defs", "patternProperties")
_NOT_YEAR_0 = "^(000[1-9]|00[1-9]|0[1-9]|[1-9])"
_PATTERNS = {
    "date": _NOT_YEAR_0,
    "date-time": f"{_NOT_YEAR_0}.*[Tt]..:..:[0-5]",
    "time": "^..:..:[0-5]",
}
"""What Python's dates and times ask for beside the formats: years from 1 on, and no leap seconds."""


class _Narrow(GenerateJsonSchema):
    """Decimals as numbers, and keys that are what the type of the keys says."""

    def decimal_schema(self, schema: Any) -> JsonSchemaValue:
        found = super().decimal_schema(schema)
        number = next((each for each in found.get("anyOf", ()) if each.get("type") == "number"), found)
        places = schema.get("decimal_places")
        return number if places is None or "multipleOf" in number else number | {"multipleOf": float(f"1e-{places}")}

    def dict_schema(self, schema: Any) -> JsonSchemaValue:
        found = super().dict_schema(schema)
        keys = schema.get("keys_schema")
        if keys is None or "propertyNames" in found or "patternProperties" in found:
            return found
        if keys["type"] in ("int", "float", "decimal"):
            return found | {"propertyNames": text_of(INTEGER_KEY if keys["type"] == "int" else NUMBER_KEY)}
        names = self.generate_inner(keys)
        return found if names.keys() <= {"type", "title"} else found | {"propertyNames": names}


def pydantic_schema(source: Any, adapter: TypeAdapter[Any]) -> Schema:
    """The schema of what `adapter` validates. Raises RootformError when there is none."""
    try:
        schema = adapter.json_schema(schema_generator=_Narrow)
    except PydanticInvalidForJsonSchema as error:
        raise RootformError(f"{source!r} has no JSON Schema: {error}", param="schema") from error
    _require_tags(schema, schema.get("$defs", {}))
    return _closed(schema)


def _closed(node: Any) -> Any:
    """The schema with its objects closed, its sets free to repeat, and its dates those that Python takes."""
    if isinstance(node, list):
        return [_closed(item) for item in node]
    if not isinstance(node, dict):
        return node
    closed = {key: _member(key, value) for key, value in node.items()}
    if isinstance(node.get("properties"), dict):
        closed.setdefault("additionalProperties", False)
    if node.get("uniqueItems") is True and node.get("minItems", 0) < 2:
        del closed["uniqueItems"]  # a list with an item twice is a set too
    if node.get("type") == "string" and node.get("format") in _PATTERNS:
        closed.setdefault("pattern", _PATTERNS[node["format"]])
    return closed


def _member(key: str, value: Any) -> Any:
    if key in _DATA:
        return value
    if key in _MAPS:
        return {name: _closed(inner) for name, inner in value.items()}
    return _closed(value)


def _require_tags(node: Any, definitions: dict[str, Schema]) -> None:
    """Require the property that tells the models of a union apart, which Pydantic asks for also where it has a default.

    Changes the definitions.
    """
    if isinstance(node, list):
        for item in node:
            _require_tags(item, definitions)
    if not isinstance(node, dict):
        return
    told_by = node.get("discriminator")
    if isinstance(told_by, dict) and isinstance(told_by.get("mapping"), dict):
        for ref in told_by["mapping"].values():
            model = definitions[ref.rpartition("/")[2]]
            model["required"] = list(dict.fromkeys([*model.get("required", ()), told_by["propertyName"]]))
    for key, value in node.items():
        if key not in _DATA:
            _require_tags(value, definitions)
