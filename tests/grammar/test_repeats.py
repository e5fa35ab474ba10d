"""Arrays in which something comes twice: texts against a plain predicate, masks against brute force, schemas."""

from __future__ import annotations

import itertools
import json
import random
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootform.grammar.automaton import Automaton
from rootform.grammar.constraints import JsonSchema
from rootform.grammar.counts import Tally, Way, left
from rootform.grammar.errors import GrammarError
from rootform.grammar.expr import POOL
from rootform.grammar.json_equal import read, values_equal
from rootform.grammar.json_layout import layout
from rootform.grammar.json_objects import Member, object_
from rootform.grammar.json_values import any_value, key, string
from rootform.grammar.numbers import INTEGER, NUMBER
from rootform.grammar.repeats import repeated_array
from rootform.grammar.schema_compile import compile_schema
from rootform.grammar.vocab import Vocabulary

COMPACT = layout("compact")
TEXTS = (b"1", b"2", b'"a"', b'"ab"')
TOKENS = [
    *[bytes([byte]) for byte in b'0123456789abu{}[]",:.\\e-+ '],
    b'","', b'["', b'"]', b"1,", b"1,1", b"1,2", b"[1,1]", b'"a"', b'"a","a"', b'a","b', b'","a', b",1]", b"11", b"[[",
    b"]]", b"]],", b'{"', b'":', b'":1', b"},{", b"1,2,1", b'a","a"]', b"1,1,2", b'","b","a', b"1]", b"1],[1",
]  # fmt: skip
EOS = len(TOKENS)


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return Vocabulary([*TOKENS, b""], [EOS], EOS + 1)


def literals(*texts: bytes) -> tuple[Way, ...]:
    return tuple(Way(POOL.literal(text)) for text in texts)


def repeated(items: tuple[Way, ...], low: int = 0, high: int | None = None, *prefix: tuple[Way, ...]) -> int:
    return repeated_array(COMPACT, prefix, items, left(low, high, ()))


@given(seed=st.integers(0, 1 << 32))
@settings(max_examples=60, deadline=None)
def test_every_short_array_is_judged_by_its_values(seed: int) -> None:
    rng = random.Random(seed)

    def some(n_tallies: int) -> dict[bytes, frozenset[int]]:
        chosen = rng.sample(TEXTS, rng.randint(1, 3))
        return {text: frozenset(i for i in range(n_tallies) if rng.random() < 0.5) for text in chosen}

    tallies = tuple(Tally(rng.choice([0, 1, 2]), rng.choice([None, 1, 2, 3])) for _ in range(rng.choice([0, 0, 1])))
    prefix, items = [some(len(tallies)) for _ in range(rng.choice([0, 0, 1, 2, 3]))], some(len(tallies))
    items = items if rng.random() < 0.7 else {}
    low, high = rng.choice([0, 0, 1, 2, 3]), rng.choice([None, None, 1, 2, 3])

    def ways(texts: dict[bytes, frozenset[int]]) -> tuple[Way, ...]:
        return tuple(Way(POOL.literal(text), counts) for text, counts in texts.items())

    made = repeated_array(COMPACT, tuple(map(ways, prefix)), ways(items), left(low, high, tallies))

    def within(count: int, low: int, high: int | None) -> bool:
        return low <= count and (high is None or count <= high)

    def fits(elements: tuple[bytes, ...]) -> bool:
        places = [*prefix, *[items] * len(elements)][: len(elements)]
        if not within(len(elements), low, high) or any(e not in p for e, p in zip(elements, places, strict=True)):
            return False
        counts = [place[element] for element, place in zip(elements, places, strict=True)]
        counted = all(within(sum(i in found for found in counts), *tally) for i, tally in enumerate(tallies))
        return counted and len(set(elements)) < len(elements)

    found = []
    for n in range(6):
        for elements in itertools.product(TEXTS, repeat=n):
            text = b"[" + b",".join(elements) + b"]"
            if n < 4 or rng.random() < 0.1:
                assert POOL.fullmatch(made, text) == fits(elements), text
            if fits(elements):
                found.append(text)
    shortest = POOL.shortest(made)
    assert POOL.is_empty(made) == (shortest is None) == (not found)
    assert shortest is None or shortest in found or len(shortest) > max(map(len, found))


def strings(letters: bytes, low: int, high: int | None) -> int:
    return string(POOL.counted(POOL.byte_set(letters), low, high))


ONE = (Way(POOL.literal(b"1")),)
TEN = values_equal(COMPACT, 10)
CASES = {
    "numbers": lambda: repeated(literals(b"1", b"2", b"11")),
    "integers": lambda: repeated((Way(INTEGER),), 0, 2),
    "kinds of numbers": lambda: repeated_array(
        COMPACT, ((Way(NUMBER),), (Way(TEN),)), (Way(INTEGER),), left(0, 3, ()),
        ((NUMBER, INTEGER, INTEGER), (NUMBER, TEN, TEN), (INTEGER, TEN, POOL.literal(b"10"))),
    ),
    "two": lambda: repeated(literals(b"1", b"2", b"11"), 0, 2),
    "prefix": lambda: repeated(literals(b"2", b'"a"'), 0, 4, literals(b"1"), literals(b"1", b"3")),
    "tuple": lambda: repeated((), 0, None, *[(Way(strings(b"ab", 0, 2)),)] * 2),
    "strings": lambda: repeated((Way(strings(b"ab", 0, None)),), 3, 3),
    "nested": lambda: repeated_array(
        COMPACT, (), (Way(repeated(literals(b"1", b"2"))),), left(0, 3, ()), nested=True
    ),
    "objects": lambda: repeated((Way(object_(COMPACT, [Member(key(name), ONE, False) for name in "ab"], [])),)),
    "tally": lambda: repeated_array(
        COMPACT, (), (Way(POOL.literal(b"1"), frozenset([0])), *literals(b"2", b"3")), left(0, 4, [Tally(1, 1)])
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_masks_hold_just_the_tokens_that_can_be_gone_on_with(case: str, vocabulary: Vocabulary, check_masks) -> None:
    check_masks(CASES[case](), vocabulary, random.Random(case))


@pytest.mark.parametrize("seed", range(30))
def test_masks_hold_just_the_tokens_that_begin_some_array(seed: int, vocabulary: Vocabulary, tokens_of) -> None:
    """Elements that count, so that behind a comma the shortest of them need not leave what is needed."""
    rng = random.Random(seed)
    tallies = [Tally(rng.choice([0, 1, 2]), rng.choice([None, None, 2])) for _ in range(rng.choice([1, 2]))]

    def some() -> dict[bytes, frozenset[int]]:
        chosen = rng.sample((b"1", b"[]", b'"a"', b'"ab"'), rng.randint(2, 4))
        return {text: frozenset(i for i in range(len(tallies)) if rng.random() < 0.4) for text in chosen}

    items, prefix, high = some(), [some() for _ in range(rng.choice([0, 0, 1]))], rng.choice([3, 3, 4])

    def is_valid(array: tuple[bytes, ...]) -> bool:
        kinds = [*prefix, *[items] * high]
        if len(set(array)) == len(array) or any(text not in kind for text, kind in zip(array, kinds, strict=False)):
            return False
        counts = [sum(i in kind[t] for t, kind in zip(array, kinds, strict=False)) for i in range(len(tallies))]
        return all(n >= low and (most is None or n <= most) for n, (low, most) in zip(counts, tallies, strict=True))

    arrays = [each for n in range(high + 1) for each in itertools.product((b"1", b"[]", b'"a"', b'"ab"'), repeat=n)]
    whole = {b"[" + b",".join(array) + b"]" for array in filter(is_valid, arrays)}
    begun = {text[:n] for text in whole for n in range(len(text) + 1)}
    ways = [tuple(Way(POOL.literal(t), counts) for t, counts in kind.items()) for kind in (*prefix, items)]
    expression = repeated_array(COMPACT, tuple(ways[:-1]), ways[-1], left(0, high, tallies))
    assert POOL.is_empty(expression) == (not whole)
    if whole:
        automaton = Automaton(vocabulary)
        places = {b"": automaton.start(automaton.root_of(expression))}
        for text in sorted(begun):
            place = places[text]
            wanted = {i for i, token in enumerate(TOKENS) if text + token in begun}
            row = automaton.row_at(*place)
            assert tokens_of(automaton.rows[row]) == wanted | ({EOS} if text in whole else set()), text
            for i in wanted:
                after = automaton.after(*place, i)
                assert after is not None
                places[text + TOKENS[i]] = after


# -- schemas --------------------------------------------------------------------------------------------------

NOT_UNIQUE = {"not": {"uniqueItems": True}}
SCHEMAS: list[Any] = [
    {"type": "array", **NOT_UNIQUE},
    {"items": {"type": "string"}, "maxItems": 3, **NOT_UNIQUE},
    {"oneOf": [{"type": "array", "uniqueItems": True}, {"minItems": 3}]},
    {"type": "array", "if": {"uniqueItems": True}, "then": {"maxItems": 2}, "else": {"contains": {"type": "integer"}}},
    {"prefixItems": [{"type": "string"}, {"enum": ["x", 1]}, {"type": "number"}], "items": False, **NOT_UNIQUE},
    {"items": {"type": ["integer", "array"], "items": {"type": "integer"}, **NOT_UNIQUE}, **NOT_UNIQUE},
    {"type": "array", "items": {"anyOf": [{"type": "integer"}, {"$ref": "#"}]}, **NOT_UNIQUE},
    {"type": "array", "not": {"uniqueItems": True, "items": {"type": "string"}}},
    {"contains": {"type": "string"}, "maxContains": 2, **NOT_UNIQUE},
]


@pytest.mark.parametrize("schema", SCHEMAS, ids=json.dumps)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_schemas_judge_as_jsonschema_does(schema: Any, data: st.DataObject) -> None:
    values = st.recursive(st.sampled_from(["x", "y", 1, 2]), lambda inner: st.lists(inner, max_size=4), max_leaves=8)
    value = data.draw(st.lists(values, max_size=5) | values)
    accepted = compile_schema(JsonSchema(json.dumps(schema), "flexible"))
    wanted = jsonschema.Draft202012Validator(schema).is_valid(value)
    assert POOL.fullmatch(accepted, json.dumps(value).encode()) == wanted


def test_values_are_compared_as_json_has_it() -> None:
    made = repeated((Way(any_value("compact")),))
    assert POOL.fullmatch(made, b"[1,1.0]")
    assert POOL.fullmatch(made, b'["a","\\u0061"]')
    assert POOL.fullmatch(made, b'[{"a":1,"b":2},null,{"b":2,"a":1}]')
    assert not POOL.fullmatch(made, b"[1,true]")
    assert read(b"1") != read(b"true")


def test_where_values_cannot_be_the_same_there_is_none() -> None:
    impossible = {"type": "array", "prefixItems": [{"const": 1}, {"const": 2}], "items": False, **NOT_UNIQUE}
    with pytest.raises(GrammarError, match="nothing satisfies"):
        compile_schema(JsonSchema(json.dumps(impossible)))


def test_what_cannot_be_compared_is_refused_by_place() -> None:
    objects = [{"type": "object", "required": [name]} for name in "ab"]
    schema = {"properties": {"x": {"type": "array", "prefixItems": objects, **NOT_UNIQUE}}}
    with pytest.raises(GrammarError) as refused:
        compile_schema(JsonSchema(json.dumps(schema)))
    assert (refused.value.where, refused.value.keyword) == ("#/properties/x", "uniqueItems")
    many = [{"type": "string", "minLength": n} for n in range(40)]
    with pytest.raises(GrammarError, match="more than 32 kinds"):
        compile_schema(JsonSchema(json.dumps({"type": "array", "prefixItems": many, **NOT_UNIQUE})))
