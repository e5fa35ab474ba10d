"""Elements that differ: texts against a plain predicate, shortest ones against all arrays."""

from __future__ import annotations

import itertools
import json
import random
from decimal import Decimal
from typing import Any

import jsonschema
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rootform.grammar.chars import characters
from rootform.grammar.compile import expression_of
from rootform.grammar.constraints import JsonSchema
from rootform.grammar.counts import Tally, Way
from rootform.grammar.errors import GrammarError
from rootform.grammar.expr import POOL
from rootform.grammar.json_arrays import array
from rootform.grammar.json_equal import read
from rootform.grammar.json_layout import layout
from rootform.grammar.json_values import any_value
from rootform.grammar.pools import using
from rootform.grammar.unique import Elements

COMPACT, FLEXIBLE = layout("compact"), layout("flexible")
TEXTS = (b"1", b"1.0", b"2", b'"a"', b'"\\u0061"', b'"ab"')
VALUES = [
    1,
    2,
    Decimal("1.0"),
    Decimal("0.5"),
    "a",
    "ab",
    "é",
    True,
    None,
    [],
    [1],
    [1, 2],
    {},
    {"a": 1},
    {"a": 1, "b": 2},
]


def literals(*texts: bytes) -> list[Way]:
    return [Way(POOL.literal(text)) for text in texts]


def unique(items: list[Way], low: int = 0, high: int | None = None, prefix: tuple[list[Way], ...] = ()) -> int:
    return array(COMPACT, prefix, items, low, high, unique=True)


def within(count: int, low: int, high: int | None) -> bool:
    return low <= count and (high is None or count <= high)


@given(seed=st.integers(0, 1 << 32))
@example(seed=1935061)  # equal values that count differently
@settings(max_examples=60, deadline=None)
def test_every_short_array_is_judged_by_its_values(seed: int) -> None:
    rng = random.Random(seed)

    def some(n_tallies: int) -> dict[bytes, frozenset[int]]:
        chosen = rng.sample(TEXTS, rng.randint(1, 4))
        return {text: frozenset(i for i in range(n_tallies) if rng.random() < 0.5) for text in chosen}

    tallies = [Tally(rng.choice([0, 1, 2]), rng.choice([None, 1, 2, 3])) for _ in range(rng.choice([0, 0, 1]))]
    prefix, items = [some(len(tallies)) for _ in range(rng.choice([0, 0, 1, 2]))], some(len(tallies))
    low, high = rng.choice([0, 0, 1, 2, 3]), rng.choice([None, None, 1, 2, 3])
    made = array(
        COMPACT,
        [[Way(POOL.literal(text), counts) for text, counts in texts.items()] for texts in prefix],
        [Way(POOL.literal(text), counts) for text, counts in items.items()],
        low,
        high,
        tallies,
        unique=True,
    )

    def fits(elements: tuple[bytes, ...]) -> bool:
        places = [*prefix, *[items] * len(elements)][: len(elements)]
        if not within(len(elements), low, high) or any(e not in p for e, p in zip(elements, places, strict=True)):
            return False
        counts = [place[element] for element, place in zip(elements, places, strict=True)]
        counted = all(within(sum(i in found for found in counts), *tally) for i, tally in enumerate(tallies))
        return counted and len({read(element) for element in elements}) == len(elements)

    lengths = []
    for n in range(5):
        for elements in itertools.product(TEXTS, repeat=n):
            if n < 4 or rng.random() < 0.1:
                text = b"[" + b",".join(elements) + b"]"
                assert POOL.fullmatch(made, text) == fits(elements), text
            if fits(elements):
                lengths.append(sum(map(len, elements)) + max(n - 1, 0) + 2)
    shortest = POOL.shortest(made)
    assert POOL.is_empty(made) == (shortest is None) == (not lengths)
    assert shortest is None or POOL.fullmatch(made, shortest)


@given(values=st.lists(st.sampled_from(VALUES), max_size=4), rng=st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_values_are_compared_as_json_has_it(values: list[object], rng: random.Random) -> None:
    def spelled(value: object) -> str:
        if isinstance(value, dict):
            members = [f"{spelled(name)}:{spelled(item)}" for name, item in rng.sample(list(value.items()), len(value))]
            return "{" + ",".join(members) + "}"
        if isinstance(value, list):
            return "[" + ",".join(map(spelled, value)) + "]"
        if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
            return rng.choice([str(value), f"{value * 10}e-1", f"{value * 1000}E-03"])
        return rng.choice([json.dumps(value), json.dumps(value, ensure_ascii=False).replace("a", "\\u0061", 1)])

    def same(a: object, b: object) -> bool:
        return a == b and repr(a).count("True") == repr(b).count("True")

    differ = not any(same(a, b) for a, b in itertools.combinations(values, 2))
    text = "[" + ",".join(map(spelled, values)) + "]"
    if "tru\\u0061" not in text and "f\\u0061lse" not in text:
        assert POOL.fullmatch(unique([Way(any_value("compact"))]), text.encode()) == differ, text


def test_spacing_and_names_written_twice() -> None:
    numbers = array(FLEXIBLE, [], [Way(any_value("flexible"))], unique=True)
    assert POOL.fullmatch(numbers, json.dumps([[1], [2], {"a": [1]}], indent=2).encode())
    assert not POOL.fullmatch(numbers, b"[[1], [ 1]]")
    compact = unique([Way(any_value("compact"))])
    assert not POOL.fullmatch(compact, b'[{"a":1},{"a":2,"a":1}]'), "of a name that comes twice the last value counts"
    assert POOL.fullmatch(compact, b'[{"a":1},{"a":1,"a":2}]')


def test_needing_more_values_than_there_are_is_empty() -> None:
    assert POOL.is_empty(unique(literals(b"1", b"1.0", b"true"), 3))
    assert POOL.shortest(unique(literals(b"1", b"1.0", b"true"), 2)) == b"[1,true]"
    assert POOL.shortest(unique(literals(b"3"), 3, None, (literals(b"1", b"22"), literals(b"1")))) == b"[22,1,3]"
    assert len(POOL.shortest(unique([Way(any_value("compact"))], 30)) or b"") < 100


@given(seed=st.integers(0, 1 << 32))
@settings(max_examples=60, deadline=None)
def test_a_shortest_array_counts_what_it_needs_and_nothing_else(seed: int) -> None:
    """Elements that count towards two tallies, or neither, some in a place of their own: against all arrays."""
    rng = random.Random(seed)
    texts = (b"1", b"2", b"33", b'"a"')

    def some() -> dict[bytes, frozenset[int]]:
        return {text: frozenset(i for i in range(2) if rng.random() < 0.5) for text in rng.sample(texts, 3)}

    tallies = [Tally(low := rng.choice([0, 1, 2]), rng.choice([None, low, 3])) for _ in range(2)]
    prefix, items = [some() for _ in range(rng.choice([0, 0, 1, 2]))], some()
    low, high = rng.choice([0, 0, 1, 3]), rng.choice([None, None, 3])
    ways = [[Way(POOL.literal(text), counts) for text, counts in place.items()] for place in (*prefix, items)]
    made = array(COMPACT, ways[:-1], ways[-1], low, high, tallies, unique=True)
    lengths = []
    for n in range(len(texts) + 1):
        for elements in itertools.permutations(texts, n) if within(n, low, high) else ():
            places = [*prefix, *[items] * n][:n]
            if all(element in place for element, place in zip(elements, places, strict=True)):
                counts = [place[element] for element, place in zip(elements, places, strict=True)]
                if all(within(sum(i in found for found in counts), *tally) for i, tally in enumerate(tallies)):
                    lengths.append(len(b"[" + b",".join(elements) + b"]"))
    shortest = POOL.shortest(made)
    assert (shortest is None) == (not lengths)
    assert shortest is None or (POOL.fullmatch(made, shortest) and len(shortest) == min(lengths))


@pytest.mark.parametrize(
    ("schema", "most"),
    [
        ({"items": {"type": "string"}, "contains": {"minLength": 3, "maxLength": 6}}, 3),
        ({"items": {"type": "string"}, "contains": {"minLength": 3, "maxLength": 22}, "minContains": 3}, 8),
        ({"items": {"type": "integer"}, "contains": {"minimum": 3, "maximum": 9}, "minContains": 5, "minItems": 5}, 60),
    ],
)
def test_elements_that_count_nothing_are_not_tried_one_after_the_other(schema: Any, most: int) -> None:
    outlines: list[Elements] = []
    outline = Elements.outline

    def noted(rule: Elements, body: int, text: bytes) -> int:
        outlines.append(rule)
        return outline(rule, body, text)

    with pytest.MonkeyPatch.context() as patch, using(POOL.fork()):
        patch.setattr(Elements, "outline", noted)
        schema = {"type": "array", "uniqueItems": True, **schema}
        shortest = POOL.shortest(expression_of(JsonSchema(json.dumps(schema))))
        jsonschema.validate(json.loads(shortest or b""), schema)
        assert len(outlines) <= most


def test_an_array_of_itself() -> None:
    name = "test tree of unique nodes"
    POOL.define(name, lambda: unique([Way(POOL.ref(name)), Way(POOL.literal(b"1"))]))
    tree = POOL.ref(name)
    assert POOL.shortest(tree) == b"[]"
    assert POOL.fullmatch(tree, b"[[],[[]],1,[1]]")
    assert not POOL.fullmatch(tree, b"[[],[[],[]]]")


def test_too_much_to_match_is_refused() -> None:
    prefix = tuple(literals(b"1", b"%d" % n) for n in range(2, 12))
    with pytest.raises(GrammarError, match="must differ"):
        POOL.is_empty(unique([], 10, None, prefix))


def test_elements_that_cannot_be_spelled_are_no_elements() -> None:
    schema = {"type": "array", "items": {"enum": ["é", "a"]}, "uniqueItems": True, "minItems": 2}
    letters = characters('a[]",')
    with pytest.raises(GrammarError, match="no tokens to spell"):
        expression_of(JsonSchema(json.dumps(schema), escapes="minimal"), letters)
