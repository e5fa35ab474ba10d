"""Elements of few values, closed objects and unique arrays among them: masks against all arrays there are."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator
from typing import Any

import jsonschema
import numpy as np
import pytest

from rootform.grammar import known_values
from rootform.grammar.automaton import Automaton
from rootform.grammar.batch import StateBatch
from rootform.grammar.constraints import JsonSchema
from rootform.grammar.expr import POOL
from rootform.grammar.known_values import has_values
from rootform.grammar.pools import using
from rootform.grammar.schema_compile import compile_schema
from rootform.grammar.vocab import Vocabulary

TOKENS = [
    *[bytes([byte]) for byte in b'01abc{}[]",: truefalsn'],
    b"},{", b'"},{"', b"{},", b",{}", b'"a', b'":', b'"a":', b'"b":', b'"a"}', b'"b":"', b'","b', b"]]", b"],[", b"[[",
    b"[],", b'["', b'"],', b'"b"]', b"true", b"false", b'":"a"},{"', b'{"a":"a"', b',"a":"b"}]', b'"]}', b"{}]",
    b"[]]", b"1]", b"1,",
]  # fmt: skip
EOS = len(TOKENS)
A_OR_B: Any = {"type": "string", "pattern": "^[ab]$"}
BUT_A: Any = {"type": "string", "pattern": "^[abc]$", "not": {"enum": ["a", "", "none"]}}


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return Vocabulary([*TOKENS, b""], [EOS], EOS + 1)


def closed(properties: dict[str, Any], *required: str) -> Any:
    return {"type": "object", "additionalProperties": False, "properties": properties, "required": list(required)}


def unique(items: Any, **more: Any) -> Any:
    return {"type": "array", "uniqueItems": True, "items": items, **more}


def values_of(schema: Any) -> Iterator[Any]:
    """The values that have a schema of those below."""
    if schema.get("type") == "object":
        names = list(schema["properties"])
        parts = [[*values_of(schema["properties"][name]), None] for name in names]
        some: Iterator[Any] = (
            {n: v for n, v in zip(names, chosen, strict=True) if v is not None} for chosen in itertools.product(*parts)
        )
    elif schema.get("type") == "array":
        items = list(values_of(schema["items"]))
        lengths = range(min(schema.get("maxItems", len(items)), len(items)) + 1)
        some = (list(chosen) for n in lengths for chosen in itertools.permutations(items, n))
    else:
        some = iter(["a", "b", "c", 0, 1, True, False])
    validator = jsonschema.Draft202012Validator(schema)
    return (value for value in some if validator.is_valid(value))


def texts_of(value: Any) -> Iterator[str]:
    """The ways to write a value without spaces."""
    if isinstance(value, dict):
        for names in itertools.permutations(value):
            for parts in itertools.product(*[list(texts_of(value[name])) for name in names]):
                yield "{" + ",".join(f'"{name}":{part}' for name, part in zip(names, parts, strict=True)) + "}"
    elif isinstance(value, list):
        for parts in itertools.product(*[list(texts_of(item)) for item in value]):
            yield "[" + ",".join(parts) + "]"
    else:
        yield json.dumps(value)


def some_schema(rng: random.Random) -> Any:
    def scalar() -> Any:
        return rng.choice([A_OR_B, BUT_A, {"enum": ["a"]}, {"enum": ["a", "b"]}, {"type": "boolean"}, {"const": 1}])

    kind = rng.randrange(5)
    if kind == 0:
        items = unique(scalar(), maxItems=2)
    elif kind == 4:
        counted = rng.choice([{"contains": {"const": "a"}}, {"contains": {"enum": ["a", "b"]}, "minContains": 2}, {}])
        items = unique(
            {"enum": ["a", "b", "c"][: rng.choice([2, 3])]}, minItems=rng.choice([0, 1]), maxItems=2, **counted
        )
    elif kind == 1:
        items = closed(
            {"b": unique(rng.choice([{"enum": ["a", "b"]}, A_OR_B]), maxItems=1)}, *rng.sample(["b"], rng.randint(0, 1))
        )
    else:
        names = "ab"[: rng.choice([1, 1, 2])]
        items = closed({name: scalar() for name in names}, *rng.sample(names, rng.randint(0, len(names))))
    count = len(list(values_of(items)))
    low = min(rng.choice([0, 0, 1, 2, 3, 4]), count if count <= 4 else 3)
    return unique(items, minItems=low, maxItems=4 if count <= 4 else max(low, rng.choice([2, 3])))


CASES = {
    "one optional member": unique(closed({"a": {"enum": ["a", "b", "c"]}})),
    "a string that is not some": unique(closed({"a": BUT_A, "b": {"enum": ["a"]}}), maxItems=3),
    "two of a pattern": unique(closed({"a": A_OR_B, "b": A_OR_B}), maxItems=2),
    "all of them": unique(closed({"a": A_OR_B, "b": {"const": 1}}, "a"), minItems=4),
    "in unique ones": unique(unique(closed({"a": A_OR_B})), maxItems=2),
    "of unique ones": unique(closed({"b": unique(A_OR_B)}, "b"), maxItems=3),
    "nested, counted": unique(unique({"enum": ["a", "b", "c"]}, minItems=2, contains={"const": "a"}), maxItems=2),
    "nested, counted, all": unique(unique({"enum": ["a", "b"]}, minItems=1, contains={"const": "a"}), minItems=2),
    "nested twice": unique(unique(unique({"enum": ["a", "b"]}), minItems=1, maxItems=1), minItems=1, maxItems=2),
    "names in any order": unique(closed({"a": {"const": 1}, "b": {"const": 1}}, "a", "b"), minItems=1),
    "names of a pattern": unique(closed({"b": closed({"a": {"const": 1}, "b": {"const": 1}})}, "b"), maxItems=3),
    **{f"random {seed}": some_schema(random.Random(seed)) for seed in range(30)},
}


@pytest.mark.parametrize("case", CASES)
def test_masks_hold_just_the_tokens_that_begin_some_array(case: str, vocabulary: Vocabulary, tokens_of) -> None:
    schema, rng = CASES[case], random.Random(case)
    whole = {text.encode() for value in values_of(schema) for text in texts_of(value)}
    begun = {text[:n] for text in whole for n in range(len(text) + 1)}
    constraint = JsonSchema(json.dumps(schema), escapes="minimal", property_order="any")
    automaton = Automaton(vocabulary)
    batch, root = StateBatch(automaton), automaton.compile(constraint)
    slot = np.array([batch.open(root)])
    for _ in range(8):
        batch.restore(int(slot[0]), automaton.start(root))
        text = b""
        while True:
            row = int(batch.row_ids(slot)[0])
            allowed = tokens_of(automaton.rows[row])
            assert not batch.errors
            wanted = [i for i, token in enumerate(TOKENS) if text + token in begun]
            assert allowed == {*wanted, *([EOS] if text in whole else [])}, text
            if not wanted:
                break
            longest = max(rng.sample(wanted, min(2, len(wanted))), key=lambda i: len(TOKENS[i]))
            assert batch.advance(slot, np.array([longest]))[0]
            text += TOKENS[longest]


@pytest.mark.parametrize("spacing", ["compact", "flexible", "indent"])
@pytest.mark.parametrize("case", CASES)
def test_as_many_values_are_found_as_there_are(case: str, spacing: Any) -> None:
    items = CASES[case]["items"]
    count = sum(1 for _ in values_of(items))
    with using(POOL.fork()):
        element = compile_schema(JsonSchema(json.dumps(items), spacing, property_order="any"))
        assert has_values(element, min(count, 6)), "which are soon found"
        assert not has_values(element, count + 1)


def test_names_are_not_taken_for_values() -> None:
    named = {"type": "object", "patternProperties": {"^[ab]$": {"const": 1}}, "additionalProperties": False}
    with using(POOL.fork()):
        assert not has_values(compile_schema(JsonSchema(json.dumps(named), "flexible")), 5)
        assert has_values(compile_schema(JsonSchema(json.dumps(named), "flexible")), 4)


def test_strings_with_spaces_are_found_without_the_spaces_between_them() -> None:
    some = closed({"a": {"enum": ["a b", "a", " ", "a  b"]}}, "a")
    with using(POOL.fork()):
        assert has_values(compile_schema(JsonSchema(json.dumps(some), "flexible")), 4)
        assert not has_values(compile_schema(JsonSchema(json.dumps(some), "flexible")), 5)


def test_that_no_more_values_are_left_is_found_without_the_spaces_between_them() -> None:
    names = ["ObjectWriter", "BucketOwnerPreferred", "BucketOwnerEnforced"]
    expanded: list[bytes] = []
    expand = known_values.Values._expand

    def noted(values: known_values.Values, length: int, text: bytes, rest: int) -> None:
        expanded.append(text)
        expand(values, length, text, rest)

    with using(POOL.fork()), pytest.MonkeyPatch.context() as patch:
        patch.setattr(known_values.Values, "_expand", noted)
        schema = json.dumps(closed({"ObjectOwnership": {"enum": names}}))
        element = compile_schema(JsonSchema(schema, "flexible", property_order="any"))
        assert has_values(element, 4)
        assert not has_values(element, 5)
        assert len(expanded) < 600
