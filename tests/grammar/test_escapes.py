"""Strings with the fewest escapes: one spelling each, the one Python's json has, in every place of a value."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rootform.grammar.compile import expression_of
from rootform.grammar.constraints import JsonObject, JsonSchema, Spacing
from rootform.grammar.expr import POOL
from rootform.grammar.pools import using

TEXT = 'aé"\\/\n\x01\x7f\u2028😀'
SCHEMAS: list[Any] = [
    True,
    {"type": "string", "maxLength": 2},
    {"type": "string", "pattern": "^[a/]|\n$"},
    {"type": "object", "additionalProperties": {"type": "string"}},
    {"type": "object", "properties": {TEXT: True}, "patternProperties": {"^a": {"type": "string"}}},
    {"type": "object", "minProperties": 1, "maxProperties": 2},
    {"type": "array", "uniqueItems": True},
    {"enum": [TEXT, {TEXT: [TEXT]}, "a"]},
    {"not": {"const": "a"}},
    {"format": "regex"},
    {
        "anyOf": [{"type": "string", "minLength": 2}, {"$ref": "#/$defs/tree"}],
        "$defs": {"tree": {"items": {"$ref": "#"}}},
    },
]
STRINGS = st.text(TEXT, max_size=3)
VALUES = st.recursive(
    STRINGS | st.sampled_from([TEXT, 1]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(STRINGS | st.just(TEXT), inner, max_size=2),
    max_leaves=4,
)
LAYOUTS: dict[Spacing, dict[str, Any]] = {
    "compact": {"separators": (",", ":")},
    "canonical": {"separators": (", ", ": ")},
    "flexible": {"indent": 1},
}


def respelled(value: Any, spacing: Spacing, of: int) -> str:
    """JSON text of a value in which one way of escaping more than is needed is used throughout."""
    text = json.dumps(value, ensure_ascii=False, **LAYOUTS[spacing])
    return [text, json.dumps(value, **LAYOUTS[spacing]), text.replace("/", "\\/"), text.replace("\\n", "\\u000A")][of]


@settings(deadline=None, max_examples=120)
@given(VALUES, st.sampled_from(SCHEMAS), st.sampled_from(sorted(LAYOUTS)), st.integers(0, 3))
@example({TEXT: [TEXT]}, SCHEMAS[7], "flexible", 1)
def test_strings_are_spelled_in_one_way(value: Any, schema: Any, spacing: Spacing, way: int) -> None:
    text = respelled(value, spacing, way)
    is_plain = text == respelled(value, spacing, 0)
    with using(POOL.fork()):
        anyhow, plain = (
            expression_of(JsonSchema(json.dumps(schema), spacing, property_order="any", escapes=escapes))
            for escapes in ("any", "minimal")
        )
        accepted = POOL.fullmatch(anyhow, text.encode())
        assert POOL.fullmatch(plain, text.encode()) == (accepted and is_plain)


@pytest.mark.parametrize("spacing", sorted(LAYOUTS))
def test_any_object_is_spelled_so_too(spacing: Spacing) -> None:
    with using(POOL.fork()):
        expression = expression_of(JsonObject(spacing, "minimal"))
        for way in range(4):
            text = respelled({TEXT: TEXT}, spacing, way)
            assert POOL.fullmatch(expression, text.encode()) == (way == 0)


def test_verbatim_values_are_spelled_so_too() -> None:
    schema = json.dumps({"type": "string", "x-rootform": {"verbatim": True}})
    with using(POOL.fork()):
        expression = expression_of(JsonSchema(schema, document="see a/b\n", escapes="minimal"))
        for text, fits in [('"a/b"', True), ('"a\\/b"', False), ('"b\\n"', True), ('"\\u0061"', False), ('"x"', False)]:
            assert POOL.fullmatch(expression, text.encode()) == fits
