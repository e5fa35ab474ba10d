"""Instances with their members in the order that a schema gives them, as engines write them that know no other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Protocol, cast
from urllib.parse import unquote

import jsonschema.validators


class _Validator(Protocol):
    def evolve(self, **changes: Any) -> _Validator: ...

    def is_valid(self, instance: Any) -> bool: ...


class InOrder:
    """Puts members in the order of one schema.

    That is: `properties`, then those of `$ref`, `allOf` and the branches that hold, then names that are only required,
    then others as they stood. References to other documents are not followed; what they name stays as it stood.
    """

    def __init__(self, schema: Any) -> None:
        self._root = schema
        known = jsonschema.validators.validator_for(schema, jsonschema.Draft202012Validator)
        self._validator = cast(_Validator, known(schema))

    def of(self, instance: Any) -> Any:
        """The same value."""
        return self._ordered([self._root], instance)

    def _ordered(self, schemas: list[Any], instance: Any) -> Any:
        met: set[int] = set()
        applied = [each for schema in schemas for each in self._applied(schema, instance, met)]
        if isinstance(instance, list):
            return [self._ordered(_of_element(applied, i), element) for i, element in enumerate(instance)]
        if not isinstance(instance, dict):
            return instance
        listed = [name for schema in applied for name in schema.get("properties", {})]
        listed += [name for schema in applied for name in _list(schema.get("required"))]
        order = {name: i for i, name in reversed(list(enumerate(listed)))}
        names = sorted(instance, key=lambda name: order.get(name, len(listed)))
        return {name: self._ordered(_of_member(applied, name), instance[name]) for name in names}

    def _applied(self, schema: Any, instance: Any, met: set[int]) -> Iterator[dict[str, Any]]:
        """The schema and those within it that say something of this very value, in the order that counts."""
        if not isinstance(schema, dict) or id(schema) in met:
            return
        met.add(id(schema))
        yield schema
        parts = [self._target(schema["$ref"])] if "$ref" in schema else []
        parts += _list(schema.get("allOf"))
        for branch in (*_list(schema.get("anyOf")), *_list(schema.get("oneOf"))):
            if self._holds(branch, instance):
                parts.append(branch)
        if "if" in schema:
            holds = self._holds(schema["if"], instance)
            parts += [schema["if"], schema.get("then")] if holds else [schema.get("else")]
        if isinstance(instance, dict):
            for keyword in ("dependentSchemas", "dependencies"):
                parts += [part for name, part in schema.get(keyword, {}).items() if name in instance]
        for part in parts:
            yield from self._applied(part, instance, met)

    def _holds(self, schema: Any, instance: Any) -> bool:
        try:
            return self._validator.evolve(schema=schema).is_valid(instance)
        except Exception:  # a broken schema, or one elsewhere: then the order does not matter either
            return False

    def _target(self, reference: Any) -> Any:
        """What a reference within the document names, None for others."""
        if not isinstance(reference, str) or not reference.startswith("#"):
            return None
        at = self._root
        for step in reference[1:].split("/")[1:]:
            name = unquote(step).replace("~1", "/").replace("~0", "~")
            if isinstance(at, list) and name.isdecimal() and int(name) < len(at):
                at = at[int(name)]
            elif isinstance(at, dict) and name in at:
                at = at[name]
            else:
                return None
        return at


def _of_element(schemas: list[dict[str, Any]], index: int) -> list[Any]:
    found = []
    for schema in schemas:
        items = schema.get("items")
        first = schema.get("prefixItems", items if isinstance(items, list) else [])
        if index < len(first):
            found.append(first[index])
        else:
            found.append(schema.get("additionalItems") if isinstance(items, list) else items)
    return found


def _of_member(schemas: list[dict[str, Any]], name: str) -> list[Any]:
    found = []
    for schema in schemas:
        listed = schema.get("properties", {})
        parts = [part for pattern, part in schema.get("patternProperties", {}).items() if _matches(pattern, name)]
        if name in listed:
            parts.append(listed[name])
        found += parts or [schema.get("additionalProperties")]
    return found


def _matches(pattern: str, name: str) -> bool:
    try:
        return re.search(pattern, name) is not None
    except re.error:
        return False


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
