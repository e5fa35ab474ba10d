"""From schema to mask: whatever a model does inside the masks, valid JSON comes out."""

import json
import random
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from rootform.grammar.automaton import Automaton
from rootform.grammar.batch import StateBatch
from rootform.grammar.constraints import JsonSchema, PropertyOrder, Spacing
from rootform.grammar.vocab import Vocabulary

EOS = 256
MERGES = [
    b'{"',
    b'":',
    b'","',
    b'"}',
    b'"]',
    b"],",
    b"},",
    b"[[",
    b"]]",
    b"\n  ",
    b": ",
    b"true",
    b"na",
    b"10",
    b"\\u00",
    b"-1.",
]
SCHEMAS: dict[str, Any] = {
    "record": {
        "type": "object",
        "properties": {
            "name": {"type": "string", "minLength": 1, "maxLength": 4},
            "kind": {"enum": ["a", "ab", 'b"c']},
            "when": {"type": "string", "format": "date"},
            "amount": {"type": "number", "minimum": -10.5, "exclusiveMaximum": 1000},
            "count": {"type": "integer", "multipleOf": 7, "minimum": 1},
            "code": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]+$", "maxLength": 6},
        },
        "required": ["name", "kind", "count", "code"],
        "additionalProperties": False,
    },
    "open": {
        "type": "object",
        "properties": {"a": {"type": "null"}},
        "required": ["z"],
        "additionalProperties": {"type": "boolean"},
    },
    "tree": {
        "$ref": "#/$defs/node",
        "$defs": {
            "node": {
                "type": "object",
                "properties": {"kids": {"type": "array", "items": {"$ref": "#/$defs/node"}, "maxItems": 2}},
                "required": ["kids"],
                "additionalProperties": False,
            }
        },
    },
    "union": {
        "oneOf": [
            {"type": "object", "properties": {"t": {"const": 1}, "v": {"type": "string"}}, "required": ["t", "v"]},
            {"type": "object", "properties": {"t": {"const": 2}, "v": {"type": "integer"}}, "required": ["t", "v"]},
            {
                "type": "array",
                "prefixItems": [{"type": "integer"}],
                "items": {"type": ["string", "null"]},
                "minItems": 1,
            },
        ]
    },
    "patterns": {
        "type": "object",
        "patternProperties": {"^n": {"type": "integer"}, "s$": {"type": ["string", "integer"], "maxLength": 2}},
        "additionalProperties": False,
        "minProperties": 1,
    },
    "negated": {
        "type": "object",
        "properties": {
            "a": {"type": "string", "not": {"enum": ["x", "y"]}},
            "b": {"not": {"type": ["object", "array"]}},
        },
        "required": ["a"],
        "not": {"properties": {"a": {"maxLength": 2}}, "required": ["b"]},
        "additionalProperties": {"type": "number", "not": {"multipleOf": 5}},
    },
    "counted": {
        "type": "array",
        "items": {"type": ["integer", "string"], "maxLength": 2},
        "contains": {"type": "integer", "minimum": 3},
        "minContains": 2,
        "maxContains": 3,
        "uniqueItems": True,
        "maxItems": 5,
    },
    "conditions": {
        "type": "object",
        "properties": {"kind": {"enum": ["on", "off"]}, "level": {"type": "integer"}, "note": {"type": "string"}},
        "if": {"properties": {"kind": {"const": "on"}}, "required": ["kind"]},
        "then": {"required": ["level"], "properties": {"extra": {"type": "null"}}},
        "dependentRequired": {"note": ["kind"]},
        "unevaluatedProperties": False,
    },
    "many conditions": {
        "type": "object",
        "properties": {"p0": {"enum": ["x", "y"]}, "p1": {"type": "integer"}},
        "allOf": [
            {"if": {"properties": {f"p{i}": {"const": "x"}}, "required": [f"p{i}"]}, "then": {"required": [f"q{i}"]}}
            for i in range(6)
        ],
        "dependentSchemas": {f"q{i}": {"properties": {f"p{i + 1}": {"type": "null"}}} for i in range(6)},
        "additionalProperties": {"enum": ["x", "z", None]},
    },
    "overlapping": {
        "type": "object",
        "oneOf": [
            {"properties": {"a": {"type": "integer"}}, "required": ["a"]},
            {"properties": {"b": {"type": "string"}}, "required": ["b"]},
            {"properties": {"a": {"minimum": 3}, "c": {"type": "null"}}, "minProperties": 2},
        ],
        "maxProperties": 3,
        "propertyNames": {"enum": ["a", "b", "c", "d"]},
    },
}
ORDERS: tuple[PropertyOrder, ...] = ("schema", "any")


@pytest.fixture(scope="module")
def automaton() -> Automaton:
    tokens = [bytes([i]) for i in range(256)]
    return Automaton(Vocabulary([*tokens, b"</s>", *MERGES], [EOS], 300))


def allowed_tokens(automaton: Automaton, batch: StateBatch, slot: int) -> np.ndarray:
    row_id = batch.row_ids(np.array([slot]))[0]  # first: it may make the row
    return np.flatnonzero(np.unpackbits(automaton.rows[row_id].view(np.uint8), bitorder="little"))


def written(automaton: Automaton, batch: StateBatch, root: int, rng: random.Random, patience: int) -> bytes:
    """Text of random allowed tokens, brought to its shortest end when patience is out."""
    slot = batch.open(root)
    text = b""
    for _ in range(patience):
        token = rng.choice(allowed_tokens(automaton, batch, slot).tolist())
        if token == EOS:
            return text
        text += automaton.vocabulary.tokens[token]
        assert batch.advance(np.array([slot]), np.array([token])).all()
    for token in batch.closing(slot):
        assert token in allowed_tokens(automaton, batch, slot)
        assert batch.advance(np.array([slot]), np.array([token])).all()
        text += automaton.vocabulary.tokens[token]
    assert batch.accepting(np.array([slot])).all()
    batch.close(slot)
    return text


@pytest.mark.parametrize("name", SCHEMAS)
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("spacing", ["compact", "flexible"])
def test_whatever_is_written_is_valid(automaton: Automaton, name: str, spacing: Spacing, order: PropertyOrder) -> None:
    validator = Draft202012Validator(SCHEMAS[name], format_checker=Draft202012Validator.FORMAT_CHECKER)
    root = automaton.compile(JsonSchema(json.dumps(SCHEMAS[name]), spacing, property_order=order))
    batch, rng = StateBatch(automaton), random.Random(name)
    for patience in (0, 1, 3, 10, 30, 100, 100):
        text = written(automaton, batch, root, rng, patience)
        value = json.dumps(json.loads(text)).replace('"0000-', '"2000-')  # the checker's dates begin with the year 1
        assert validator.is_valid(json.loads(value)), text
    assert batch.errors == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (
            "record",
            {"name": 'é😀"', "kind": 'b"c', "when": "2024-02-29", "amount": 999.99, "count": 70, "code": "AB-123"},
        ),
        ("open", {"a": None, "z": True, "y": False}),
        ("tree", {"kids": [{"kids": []}, {"kids": [{"kids": []}]}]}),
        ("union", {"t": 2, "v": 5, "w": [1, {}]}),
        ("union", [3, None, "x"]),
        ("patterns", {"n": 12345, "s": "ab", "ns": 7}),
        ("negated", {"a": "xyz", "b": None, "c": 3}),
        ("negated", {"a": "z", "c": 0.5}),
        ("counted", [1, "a", 3, 4]),
        ("conditions", {"kind": "on", "level": 3, "extra": None}),
        ("conditions", {"kind": "off", "note": ""}),
        ("overlapping", {"a": 1, "b": 2}),
        ("overlapping", {"a": 2, "d": 1}),
    ],
)
def test_a_valid_value_can_be_written(automaton: Automaton, name: str, value: Any) -> None:
    root = automaton.compile(JsonSchema(json.dumps(SCHEMAS[name])))
    batch = StateBatch(automaton)
    slot = batch.open(root)
    for token in automaton.vocabulary.spell(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()):
        assert token in allowed_tokens(automaton, batch, slot)
        assert batch.advance(np.array([slot]), np.array([token])).all()
    assert batch.accepting(np.array([slot])).all()
