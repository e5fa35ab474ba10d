"""Python types as JSON Schemas, and their values back from JSON text."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from ..engine.types import RootformError


@dataclass(frozen=True)
class Typed:
    """schema: JSON text. decode: the value of a JSON text that the schema accepts."""

    schema: str
    decode: Callable[[str], Any]


def typed_json(source: Any) -> Typed:
    """The schema and decoder of a JSON Schema (dict, bool or JSON text) or of a Python type.

    A type's objects are closed (additionalProperties false): the type has no place for other properties.
    """
    if isinstance(source, dict | bool):
        return Typed(json.dumps(source, ensure_ascii=False), json.loads)
    if isinstance(source, str):
        return Typed(source, json.loads)
    if hasattr(source, "model_json_schema"):
        schema = source.model_json_schema()
        return Typed(_text(schema), source.model_validate_json)
    try:
        schema = msgspec.json.schema(source)
    except (TypeError, RuntimeError) as error:
        raise RootformError(
            f"{source!r} has no JSON Schema ({error}); give a dict, JSON text, msgspec Struct, dataclass, TypedDict, "
            "Enum, Literal or Pydantic model"
        ) from error
    return Typed(_text(schema), msgspec.json.Decoder(source).decode)


def _text(schema: dict[str, Any]) -> str:
    return json.dumps(_closed(schema), ensure_ascii=False)


def _closed(node: Any) -> Any:
    """The schema with every object that lists properties closed, unless it says otherwise."""
    if isinstance(node, list):
        return [_closed(item) for item in node]
    if not isinstance(node, dict):
        return node
    closed = {
        key: {name: _closed(sub) for name, sub in value.items()}
        if key in ("properties", "$defs")
        else _kept(key, value)
        for key, value in node.items()
    }
    if isinstance(node.get("properties"), dict):
        closed.setdefault("additionalProperties", False)
    return closed


def _kept(key: str, value: Any) -> Any:
    """Keywords that hold data, not schemas, stay as they are."""
    return value if key in ("default", "const", "enum", "examples", "required") else _closed(value)
