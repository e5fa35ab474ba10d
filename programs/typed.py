"""Python types as JSON Schemas, and their values back from JSON text."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args

import msgspec

from ..engine.types import RootformError
from .type_schema import TypeSchemas


@dataclass(frozen=True)
class Typed:
    """schema: JSON text. decode: the value of a JSON text that the schema accepts."""

    schema: str
    decode: Callable[[str], Any]


def typed_json(source: Any) -> Typed:
    """The schema and decoder of a JSON Schema (dict, bool or JSON text) or of a Python type.

    A type's objects are closed (additionalProperties false): the type has no place for other properties. Raises
    RootformError for types that have no schema.
    """
    if isinstance(source, dict | bool):
        return Typed(_text(source), json.loads)
    if isinstance(source, str):
        return Typed(source, json.loads)
    return _of_pydantic(source) if _holds_pydantic(source) else _of_type(source)


def _of_type(source: Any) -> Typed:
    schemas = TypeSchemas()
    schema = schemas.of(source)
    try:
        decoder = msgspec.json.Decoder(source)
    except (TypeError, ValueError, RuntimeError) as error:
        advice = "; use Structs with a tag, or Pydantic models" if "Type unions" in str(error) else ""
        raise RootformError(f"{source!r} cannot be decoded: {error}{advice}", param="schema") from error
    whole = schema | ({"$defs": schemas.definitions} if schemas.definitions else {})
    return Typed(_text(whole), _telling(source, decoder.decode))


def _holds_pydantic(source: Any) -> bool:
    """Whether a type is a Pydantic model or dataclass, or a list, union or the like of them."""
    return hasattr(source, "__pydantic_validator__") or any(map(_holds_pydantic, get_args(source)))


def _of_pydantic(source: Any) -> Typed:
    from pydantic import TypeAdapter

    from .pydantic_schema import pydantic_schema

    adapter: TypeAdapter[Any] = TypeAdapter(source)
    return Typed(_text(pydantic_schema(source, adapter)), _telling(source, adapter.validate_json))


def _telling(source: Any, decode: Callable[[str], Any]) -> Callable[[str], Any]:
    """Decode, and say of what a text is no value: checks of the type's own, and numbers beyond a float's range."""

    def decode_or_tell(text: str) -> Any:
        try:
            return decode(text)
        except ValueError as error:  # what msgspec and Pydantic raise are ValueErrors
            raise RootformError(f"the result {text[:200]!r} is no value of {source!r}: {error}", status=500) from error

    return decode_or_tell


def _text(schema: Any) -> str:
    return json.dumps(schema, ensure_ascii=False)
