"""Examples are values of their schema, and look like what a person would write; and what they cost is told."""

from __future__ import annotations

import json
import random
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootform.grammar.constraints import JsonSchema, Spacing
from rootform.grammar.errors import GrammarError
from rootform.grammar.estimate import Tokens, estimate
from rootform.grammar.vocab import Vocabulary
from rootform.grammar.work import Limit


def example(schema: Any, spacing: Spacing = "compact") -> Any:
    found = estimate(JsonSchema(json.dumps(schema), spacing))
    value = json.loads(found.example)
    jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker()).validate(value)
    return value


INTEGER = {"type": "integer"}
TREE = {"type": "object", "properties": {"v": INTEGER, "kids": {"type": "array", "items": {"$ref": "#"}}}}
CASES: list[tuple[Any, Any]] = [
    ({"type": "string"}, "text"),
    ({"type": "integer"}, 1),
    ({"type": "integer", "minimum": 7}, 42),
    ({"type": "number", "exclusiveMinimum": 2024}, None),
    ({"type": "boolean"}, True),
    ({"type": "null"}, None),
    ({"enum": ["red", "blue"]}, "red"),
    ({"enum": [7, 8]}, 7),
    ({"const": {"a": [1]}}, {"a": [1]}),
    ({"type": ["string", "null"]}, "text"),
    ({"type": "string", "format": "date"}, "2024-05-17"),
    ({"type": "string", "format": "ipv4"}, "192.0.2.1"),
    ({"type": "string", "examples": ["Zoe"], "pattern": "^Z"}, None),
    ({"type": "string", "pattern": r"^[A-Z]{3}-\d{4}$"}, "AAA-0000"),
    ({"type": "string", "minLength": 30}, None),
    ({"type": "array", "items": {"type": "string"}}, ["text", "another text"]),
    ({"type": "array", "prefixItems": [INTEGER, {"const": "x"}], "items": False}, [1, "x"]),
    ({"type": "array", "items": INTEGER, "minItems": 4}, [1, 1, 1, 1]),
    ({"type": "array", "items": INTEGER, "maxItems": 0}, []),
    ({"type": "object"}, {}),
    ({"type": "object", "additionalProperties": INTEGER}, {"name": 1}),
    ({"type": "object", "required": ["odd one"]}, {"odd one": {}}),
    ({"type": "object", "properties": {"a": INTEGER, "b": INTEGER}, "required": ["b"]}, {"a": 1, "b": 1}),
    (
        {"type": "object", "properties": {"a": INTEGER}, "additionalProperties": INTEGER, "required": ["a"]},
        {"a": 1},
    ),
    (
        {"type": "object", "properties": {"city": {"type": "string", "examples": ["Rome"]}}},
        {"city": "Rome"},
    ),
    ({"type": "object", "properties": {'q"\\é': {"type": "null"}}}, {'q"\\é': None}),
    (TREE, None),
    ({}, {}),
]


@pytest.mark.parametrize("spacing", ["compact", "flexible"])
@pytest.mark.parametrize(("schema", "expected"), CASES, ids=[json.dumps(case[0])[:60] for case in CASES])
def test_examples(schema: Any, expected: Any, spacing: Spacing) -> None:
    value = example(schema, spacing)
    if expected is not None:
        assert value == expected


def test_recursion_ends_and_long_examples_are_cut_short() -> None:
    assert example(TREE) == {"v": 1, "kids": [{"v": 1, "kids": []}, {"v": 1, "kids": []}]}
    node = {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}}
    assert json.dumps(example(node)).count("next") < 8
    wide = {"type": "object", "properties": {f"field{i}": {"type": "string"} for i in range(400)}}
    assert 50 < len(example(wide)) < 200


def random_schema(rng: random.Random, depth: int) -> Any:
    kind = rng.choice(("string", "integer", "object", "array", "anyOf", "enum") if depth else ("string", "integer"))
    if kind == "string":
        return {"type": "string"} | rng.choice(({}, {"maxLength": 2}, {"pattern": "^[x-z]+$"}, {"minLength": 9}))
    if kind == "integer":
        return {"type": rng.choice(("integer", "number"))} | rng.choice(({}, {"minimum": -3, "maximum": 0}))
    if kind == "enum":
        return {"enum": rng.sample([None, True, 1, "a", [1], {"b": 2}], 3)}
    if kind == "anyOf":
        return {"anyOf": [random_schema(rng, depth - 1) for _ in range(2)]}
    if kind == "array":
        return {"type": "array", "items": random_schema(rng, depth - 1), "minItems": rng.randint(0, 2)}
    names = rng.sample("abcde", rng.randint(0, 3))
    return {
        "type": "object",
        "properties": {name: random_schema(rng, depth - 1) for name in names},
        "required": [name for name in names if rng.random() < 0.5],
        "additionalProperties": rng.choice((False, True, {"type": "null"})),
    }


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**9))
def test_examples_of_random_schemas_are_valid(seed: int) -> None:
    rng = random.Random(seed)
    example(random_schema(rng, 3), rng.choice(("compact", "flexible")))


def test_what_had_to_come_is_told() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"enum": ["x", "y"]}},
        "required": ["a"],
        "additionalProperties": False,
    }
    found = estimate(JsonSchema(json.dumps(schema)))
    assert (found.example, found.bytes, found.forced_bytes) == ('{"a":"x"}', 9, 8)
    assert found.states > 3
    assert found.tokens is None


def test_what_a_tokenizer_makes_of_it() -> None:
    tokens = [bytes([byte]) for byte in range(256)] + [b'{"a":"', b'"}', b'a":"x']
    vocabulary = Vocabulary([*tokens, b""], [259], 300)
    schema = {
        "type": "object",
        "properties": {"a": {"enum": ["x", "y"]}},
        "required": ["a"],
        "additionalProperties": False,
    }
    constraint = JsonSchema(json.dumps(schema))
    cost = estimate(constraint, Tokens("own", vocabulary, lambda text: [256, ord("x"), 257])).tokens
    assert cost is not None
    assert (cost.tokenizer, cost.tokens, cost.forced, cost.rows) == ("own", 3, 2, 4)
    assert cost.row_bytes == 4 * 4 * 10
    adds_space = estimate(constraint, Tokens("own", vocabulary, lambda text: [32, 256, ord("x"), 257])).tokens
    assert adds_space == cost


def test_limits_are_kept() -> None:
    with pytest.raises(GrammarError, match="takes more than 0 s of work"):
        estimate(JsonSchema(json.dumps({"enum": [f"{i:09}" for i in range(3000)]})), limit=Limit(0.0))
