"""Strings that conditions tell apart by patterns: held against the jsonschema package, one by one and to the end."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from rootform.grammar.constraints import JsonSchema
from rootform.grammar.errors import GrammarError
from rootform.grammar.expr import EMPTY, POOL, Kind
from rootform.grammar.pools import using
from rootform.grammar.schema_compile import compile_schema

TEXTS = ["".join(letters) for n in range(4) for letters in itertools.product("ab", repeat=n)]
PATTERNS = ("a", "b", "^a", "b$", "aa", "ab", "^(..)*$")

conditions = st.builds(
    lambda pattern, number, name: {
        "if": {"properties": {"k": {"pattern": pattern}}},
        "then": {"properties": {name: {"minimum": number}}, "required": [name]},
    },
    st.sampled_from(PATTERNS),
    st.integers(1, 4),
    st.sampled_from("mn"),
)
VALUES = [
    {**k, **m, **n}
    for k in ({}, {"k": 1}, *({"k": text} for text in TEXTS))
    for m in ({}, {"m": 1}, {"m": 4})
    for n in ({}, {"n": 2})
]


@given(st.lists(conditions, min_size=2, max_size=4), st.booleans(), st.booleans())
@settings(max_examples=25, deadline=None)
def test_objects_are_as_jsonschema_says(found: list[dict[str, Any]], is_text: bool, is_needed: bool) -> None:
    schema: dict[str, Any] = {"type": "object", "allOf": found}
    schema |= {"properties": {"k": {"type": "string"}}} if is_text else {}
    schema |= {"required": ["k"]} if is_needed else {}
    validator = Draft202012Validator(schema)
    with using(POOL.fork()):
        try:
            compiled = compile_schema(JsonSchema(json.dumps(schema), "canonical", property_order="any"))
        except GrammarError as error:
            if "nothing satisfies" not in error.reason:
                raise
            compiled = EMPTY
        for value in VALUES:
            text = json.dumps(value).encode()
            assert POOL.fullmatch(compiled, text) == validator.is_valid(value), value


@given(st.lists(st.sampled_from(PATTERNS), min_size=2, max_size=3, unique=True), st.integers(0, 1))
@settings(max_examples=25, deadline=None)
def test_elements_are_as_jsonschema_says(patterns: list[str], low: int) -> None:
    counted = [{"contains": {"pattern": pattern}, "minContains": low, "maxContains": 1} for pattern in patterns]
    schema = {"type": "array", "items": {"type": "string"}, "maxItems": 2, "allOf": counted}
    validator = Draft202012Validator(schema)
    values = [[], *([text] for text in TEXTS), *map(list, itertools.product(TEXTS[:7], repeat=2))]
    with using(POOL.fork()):
        try:
            compiled = compile_schema(JsonSchema(json.dumps(schema), "canonical"))
        except GrammarError as error:
            if "nothing satisfies" not in error.reason:
                raise
            compiled = EMPTY
        for value in values:
            assert POOL.fullmatch(compiled, json.dumps(value).encode()) == validator.is_valid(value), value


@pytest.mark.parametrize(
    ("patterns", "is_one_text"), [(("a",), False), (("^a", "^b", "^c"), False), (("a", "b"), True)]
)
def test_only_strings_of_patterns_that_meet_have_no_boundary(patterns: tuple[str, ...], is_one_text: bool) -> None:
    """Else texts are soon of one kind, and are read by themselves."""
    found = [
        {"if": {"properties": {"k": {"pattern": pattern}}}, "then": {"required": [f"m{i}"]}}
        for i, pattern in enumerate(patterns)
    ]
    schema = {"type": "object", "properties": {"k": {"type": "string"}}, "required": ["k"], "allOf": found}
    with using(POOL.fork()):
        compiled = compile_schema(JsonSchema(json.dumps(schema), "compact"))
        assert _begins_with_frame(POOL.unframed(POOL.rest(compiled, b'{"k":"'))) != is_one_text


def _begins_with_frame(item: int) -> bool:
    """Whether a boundary is the first thing of an expression, in any of its alternatives."""
    kind, *parts = POOL.node(item)
    if kind == Kind.ALT:
        return any(map(_begins_with_frame, parts[0]))
    return kind == Kind.FRAME or (kind == Kind.CAT and _begins_with_frame(parts[0]))
