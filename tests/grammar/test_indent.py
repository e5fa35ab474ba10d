"""Indented spacing: what `json.dumps(indent=...)` writes and nothing else, however deep."""

from __future__ import annotations

import json
import random
from typing import Any, Literal

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootform.grammar.automaton import Automaton
from rootform.grammar.batch import StateBatch
from rootform.grammar.compile import expression_of
from rootform.grammar.constraints import Grammar, JsonObject, JsonSchema, StructuralTag
from rootform.grammar.errors import GrammarError
from rootform.grammar.example import BYTES, example_of
from rootform.grammar.expr import POOL
from rootform.grammar.json_layout import layout
from rootform.grammar.schema_indent import indented
from rootform.grammar.vocab import Vocabulary

LEVELS: dict[Literal["indent", "indent4"], int] = {"indent": 2, "indent4": 4}
TREE = {"type": "object", "properties": {"v": {"type": "integer"}, "l": {"anyOf": [{"type": "null"}, {"$ref": "#"}]}}}
SCHEMAS: list[Any] = [
    {},
    {**TREE, "required": ["v", "l"], "additionalProperties": False},
    {"type": "array", "items": {"$ref": "#"}},
    {"type": "object", "properties": {"a": {"type": "array", "items": {"enum": [1, [1, [2]], {"x": {"v": 1}}]}}}},
    {"type": "object", "additionalProperties": {"type": "array", "prefixItems": [{"type": "string"}], "maxItems": 2}},
    {"type": "array", "uniqueItems": True, "items": {"type": ["array", "integer"]}},
    {"type": "array", "not": {"uniqueItems": True}},
    {"type": "array", "contains": {"type": "object", "required": ["v"]}, "minContains": 2},
    {"type": "object", "minProperties": 2, "patternProperties": {"^a": {"type": "array"}}},
    {"oneOf": [{"type": "array", "maxItems": 2}, {"type": "array", "minItems": 2, "items": {"type": "array"}}]},
    {"type": "array", "items": {"type": "object"}, "not": {"enum": [[], [{}]]}},
]
values = st.recursive(
    st.sampled_from([1, 2, "x", 'a"b,[{', None]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["v", "l", "a", "x"]), inner, max_size=3)
    ),
    max_leaves=10,
)


@pytest.mark.parametrize("schema", SCHEMAS, ids=json.dumps)
@given(value=values, spacing=st.sampled_from(list(LEVELS)))
@settings(max_examples=60, deadline=None)
def test_what_dumps_writes_of_valid_values_is_what_there_is(schema: Any, value: Any, spacing: Any) -> None:
    constraint = JsonSchema(json.dumps(schema), spacing, property_order="any")
    accepted, indent = expression_of(constraint), LEVELS[spacing]
    text = json.dumps(value, indent=indent)
    assert POOL.fullmatch(accepted, text.encode()) == jsonschema.Draft202012Validator(schema).is_valid(value), text
    others = [
        json.dumps(value),
        json.dumps(value, indent=indent + 1),
        json.dumps(value, indent=indent).replace(": ", ":"),
    ]
    for other in others:
        assert other == text or ": " in text[: text.find(other)] or not POOL.fullmatch(accepted, other.encode())


@pytest.mark.parametrize("schema", SCHEMAS, ids=json.dumps)
def test_texts_come_out_as_dumps_writes_them(schema: Any) -> None:
    """Walks through masks end in what `json.dumps` writes of the value, and in nothing the schema does not accept."""
    pieces = [
        "[]",
        "{}",
        ": ",
        "\n  ",
        ",\n    ",
        '"v"',
        '"l"',
        "null",
        "\n    ",
        '": ',
        *map(chr, range(0x20, 0x7F)),
        "\n",
    ]
    tokens = [*[piece.encode() for piece in pieces], b""]
    automaton, rng = Automaton(Vocabulary(tokens, [len(pieces)], len(tokens))), random.Random(json.dumps(schema))
    batch = StateBatch(automaton)
    root = automaton.root_of(expression_of(JsonSchema(json.dumps(schema), "indent")))
    for _ in range(5):
        slot, text = np.array([batch.open(root)]), b""
        for _ in range(rng.randrange(40)):
            row = int(batch.row_ids(slot)[0])
            assert not batch.errors
            allowed = [i for i in range(len(pieces)) if automaton.rows[row][i >> 5] >> (i & 31) & 1]
            if not allowed:
                break
            token = rng.choice(allowed)
            assert batch.advance(slot, np.array([token]))[0]
            text += tokens[token]
        text += b"".join(tokens[token] for token in batch.closing(int(slot[0])))
        assert indented(text, layout("indent")) == text
        assert jsonschema.Draft202012Validator(schema).is_valid(json.loads(text))
        batch.close(int(slot[0]))


def test_depth_has_no_limit() -> None:
    value: Any = {"v": 0, "l": None}
    for depth in range(25):
        value = {"v": depth, "l": value}
    accepted = expression_of(JsonSchema(json.dumps(SCHEMAS[1]), "indent4"))
    assert POOL.fullmatch(accepted, json.dumps(value, indent=4).encode())
    assert not POOL.fullmatch(accepted, json.dumps(value, indent=4).replace(" " * 100, " " * 99).encode())


@given(value=values, depth=st.integers(0, 3))
def test_laying_out_a_text_anew_is_what_dumps_does(value: Any, depth: int) -> None:
    form = layout("indent", depth=depth)
    wanted = json.dumps(value, indent=2).replace("\n", "\n" + " " * 2 * depth)
    assert indented(json.dumps(value).encode(), form).decode() == wanted


def test_examples_are_laid_out_too() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "array", "items": {"type": "integer"}, "minItems": 2}, "b": {"type": "object"}},
        "required": ["a", "b"],
    }
    automaton, text = Automaton(BYTES), json.dumps(schema)
    example = example_of(automaton, automaton.root_of(expression_of(JsonSchema(text, "indent"))), text).text
    value = json.loads(example)
    assert jsonschema.Draft202012Validator(schema).is_valid(value)
    assert json.dumps(value, indent=2) == example
    assert len(value["a"]) == 2


def test_everywhere_a_spacing_is_taken() -> None:
    text = json.dumps({"a": [1, {}]}, indent=2).encode()
    schema = '{"type":"object"}'
    tag = json.dumps({"type": "structural_tag", "format": {"type": "json_schema", "json_schema": {"type": "object"}}})
    for constraint in (
        JsonObject("indent"),
        Grammar(f"start: %json {schema}", spacing="indent"),
        StructuralTag(tag, "indent"),
        JsonSchema(schema, "indent", lenient=True),
    ):
        accepted = expression_of(constraint)
        assert POOL.fullmatch(accepted, text)
        assert not POOL.fullmatch(accepted, b'{"a": 1}')


def test_what_cannot_be_is_refused_as_on_one_line() -> None:
    with pytest.raises(GrammarError, match="nothing satisfies"):
        expression_of(JsonSchema('{"type":"array","items":{"$ref":"#"},"minItems":1}', "indent"))
    with pytest.raises(GrammarError) as refused:
        expression_of(JsonSchema('{"properties":{"a":{"pattern":"("}}}', "indent"))
    assert (refused.value.where, refused.value.keyword) == ("#/properties/a", "pattern")
