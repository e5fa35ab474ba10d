"""Conditions on the members of one object that do not multiply: `allOf` of `if`, dependencies, lists of names."""

import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from rootform.grammar import object_choices
from rootform.grammar.choice_states import ABSENT, PRESENT, ChoiceLengths, after, chosen, grouped
from rootform.grammar.constraints import JsonSchema, PropertyOrder, Spacing
from rootform.grammar.errors import GrammarError
from rootform.grammar.expr import EMPTY, POOL
from rootform.grammar.pools import using
from rootform.grammar.schema_compile import compile_schema
from rootform.grammar.witness import NEVER

NAMES = ("a", "b", "c", "d")
VALUES: tuple[Any, ...] = (1, 22, "x")
LEFT_OUT = object()


@contextmanager
def many(limit: int) -> Iterator[None]:
    """Rules beyond this are not multiplied."""
    before, object_choices.MANY = object_choices.MANY, limit
    try:
        yield
    finally:
        object_choices.MANY = before


def objects() -> Iterator[dict[str, Any]]:
    """Every object of these names and values."""
    for values in itertools.product((LEFT_OUT, *VALUES), repeat=len(NAMES)):
        yield {name: value for name, value in zip(NAMES, values, strict=True) if value is not LEFT_OUT}


OBJECTS = list(objects())

names = st.sampled_from(NAMES)
inner = st.sampled_from(
    [{}, False, {"type": "integer"}, {"const": 1}, {"type": "string"}, {"enum": [22, "x"]}, {"not": {"const": 22}}]
)
required = st.builds(lambda n: {"required": n}, st.lists(names, min_size=1, max_size=2, unique=True))
members = st.builds(lambda p: {"properties": p}, st.dictionaries(names, inner, min_size=1, max_size=2))
asked = required | members | st.builds(lambda a, b: a | b, required, members)
lists = st.lists(asked, min_size=1, max_size=4)
clauses = st.one_of(
    st.builds(lambda a, b: {"if": a, "then": b}, asked, asked),
    st.builds(lambda a, b, c: {"if": a, "then": b, "else": c}, asked, asked, asked),
    st.builds(lambda n, a: {"dependentSchemas": {n: a}}, names, asked),
    st.builds(lambda n, a: {"dependentRequired": {n: a}}, names, st.lists(names, max_size=2, unique=True)),
    st.builds(lambda s: {"anyOf": s}, lists),
    st.builds(lambda s: {"oneOf": s}, lists),
    st.builds(lambda s: {"not": s}, asked),
    st.builds(lambda s: {"not": {"anyOf": s}}, lists),
    st.builds(lambda s: {"not": {"oneOf": s}}, lists),
)
bases = st.one_of(
    st.just({"type": "object"}),
    st.builds(
        lambda p, r, more: {"type": "object", "properties": p, "required": r} | more,
        st.dictionaries(names, inner, max_size=4),
        st.lists(names, max_size=1),
        st.sampled_from(
            [
                {},
                {"additionalProperties": False},
                {"additionalProperties": {"type": "integer"}},
                {"maxProperties": 2},
                {"minProperties": 2},
                {"patternProperties": {"^[ab]": {"type": ["integer", "string"]}}},
                {"propertyNames": {"enum": ["a", "b", "d"]}},
            ]
        ),
    ),
)
schemas = st.builds(lambda base, parts: base | {"allOf": parts}, bases, st.lists(clauses, min_size=2, max_size=5))


def compiled(schema: Any, spacing: Spacing = "compact", order: PropertyOrder = "any") -> int:
    try:
        return compile_schema(JsonSchema(json.dumps(schema), spacing, property_order=order))
    except GrammarError as error:
        if "nothing satisfies" not in error.reason:
            raise
        return EMPTY


def text_of(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(schemas, st.sampled_from([1, 4]), st.data())
def test_what_is_accepted_is_what_is_valid(schema: Any, limit: int, data: st.DataObject) -> None:
    validator = Draft202012Validator(schema)
    valid = [value for value in OBJECTS if validator.is_valid(value)]
    with using(POOL.fork()), many(limit):
        in_any, in_order = compiled(schema), compiled(schema, order="schema")
        tried = data.draw(st.lists(st.sampled_from(OBJECTS), min_size=12, max_size=12))
        for value in tried + valid[:8]:
            shuffled = dict(data.draw(st.permutations(list(value.items()))))
            assert POOL.fullmatch(in_any, text_of(shuffled)) == validator.is_valid(value), value
            orders = map(dict, itertools.permutations(value.items()))
            accepted = any(POOL.fullmatch(in_order, text_of(each)) for each in orders)
            assert accepted == validator.is_valid(value), value
        for expression in (in_any, in_order):
            shortest = POOL.shortest(expression)
            assert (shortest is None) == (expression == EMPTY)
            assert len(shortest or b"x" * 99) <= min((len(text_of(value)) for value in valid), default=99)
            assert shortest is None or validator.is_valid(json.loads(shortest))


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(schemas, st.sampled_from(["any", "schema"]), st.sampled_from(["compact", "indent"]), st.data())
def test_every_prefix_is_closed_by_its_shortest_rest(
    schema: Any, order: PropertyOrder, spacing: Spacing, data: st.DataObject
) -> None:
    closed = schema | {"additionalProperties": {"enum": list(VALUES)}}
    validator = Draft202012Validator(closed)
    with using(POOL.fork()), many(1):
        expression = compiled(closed, spacing, order)
        text = b""
        for _ in range(60):
            length = POOL.shortest_length(expression)
            if length >= NEVER:
                assert not text
                break
            rest = POOL.shortest(expression)
            assert rest is not None
            assert len(rest) == length
            assert validator.is_valid(json.loads(text + rest)), text
            after = {byte: POOL.derivative(expression, byte) for byte in range(256)}
            live = [byte for byte, found in after.items() if not POOL.is_empty(found)]
            assert live or POOL.nullable(expression)
            assert min([POOL.shortest_length(after[byte]) + 1 for byte in live], default=0) == length or not length
            if not live:
                break
            byte = data.draw(st.sampled_from(live))
            text, expression = text + bytes([byte]), after[byte]


asks = st.frozensets(st.tuples(st.integers(0, 3), st.sampled_from([PRESENT, ABSENT, 0, 1])), max_size=3)
choice_lists = st.lists(st.lists(asks, min_size=1, max_size=3), max_size=4)
WAYS = [frozenset[int](), frozenset({0}), frozenset({1}), frozenset({0, 1})]


def holds(option: frozenset[tuple[int, int]], ways: tuple[frozenset[int] | None, ...]) -> bool:
    for member, asked in option:
        way = ways[member]
        if asked == PRESENT and way is None:
            return False
        if asked != PRESENT and way is not None and asked not in way:
            return False
    return True


@settings(max_examples=100, deadline=None)
@given(choice_lists, st.lists(st.lists(st.integers(1, 9), min_size=4, max_size=4), min_size=4, max_size=4), st.data())
def test_the_least_is_the_least_of_all(lists: Any, lengths: list[list[int]], data: st.DataObject) -> None:
    needed = data.draw(st.frozensets(st.integers(0, 3), max_size=2))
    expected = NEVER
    for ways in itertools.product((None, *WAYS), repeat=4):
        made = all(any(holds(option, ways) for option in choice) for choice in lists)
        if made and all(ways[member] is not None for member in needed):
            total = sum(lengths[m][WAYS.index(way)] for m, way in enumerate(ways) if way is not None)
            expected = min(expected, total)
    choices = [made for choice in lists if (made := chosen(choice)) is not None]
    found = ChoiceLengths([WAYS] * 4, lengths, needed)
    groups = grouped(choices)
    spoken_of = [member for group in groups for member in group.members]
    assert len(spoken_of) == len(set(spoken_of))
    least = sum(found.least(group.choices, group.members).length for group in groups)
    least += found.least(frozenset(), tuple(needed.difference(spoken_of))).length
    assert min(least, NEVER) == expected
    order = data.draw(st.permutations(range(4)))
    ways = data.draw(st.tuples(*[st.sampled_from([None, *WAYS])] * 4))
    left = frozenset(choices)
    for member in order:
        left = None if left is None else after(left, member, ways[member])
    assert (left == frozenset()) == all(any(holds(option, ways) for option in choice) for choice in lists)


def conditions(count: int) -> dict[str, Any]:
    pairs = {f"p{i}": {"type": "string"} for i in range(count)} | {f"q{i}": {"type": "integer"} for i in range(count)}
    parts = [
        {
            "if": {"properties": {f"p{i}": {"const": "x"}}, "required": [f"p{i}"]},
            "then": {"required": [f"q{i}"], "properties": {f"q{i}": {"minimum": i}}},
        }
        for i in range(count)
    ]
    return {"type": "object", "properties": pairs, "allOf": parts}


def dependencies(count: int) -> dict[str, Any]:
    asked = {f"p{i}": {"properties": {f"q{i}": {"minimum": i}}, "required": [f"q{i}"]} for i in range(count)}
    return {"type": "object", "dependentSchemas": asked}


def either(keyword: str, count: int) -> dict[str, Any]:
    parts = [{keyword: [{"required": [f"p{i}"]}, {"required": [f"q{i}"]}]} for i in range(count)]
    return {"type": "object", "allOf": parts}


def not_both(count: int) -> dict[str, Any]:
    return {"type": "object", "not": {"anyOf": [{"required": [f"p{i}", f"q{i}"]} for i in range(count)]}}


def one_pair(count: int) -> dict[str, Any]:
    parts = [{"required": [f"p{i}", f"q{i}"], "properties": {f"p{i}": {"type": "string"}}} for i in range(count)]
    return {"type": "object", "oneOf": parts}


def one_open(count: int) -> dict[str, Any]:
    string, number = {"type": "string"}, {"type": "integer"}
    parts = [{"properties": {"p0": string, f"q{i}": number}, "required": ["p0"]} for i in range(count)]
    return {"type": "object", "oneOf": parts}


@pytest.mark.parametrize("order", ["schema", "any"])
@pytest.mark.parametrize(
    "schema",
    [
        conditions(40),
        dependencies(40),
        either("anyOf", 30),
        either("oneOf", 30),
        not_both(30),
        one_pair(12),
        one_open(12),
    ],
    ids=["if", "dependentSchemas", "anyOf", "oneOf", "not", "pairs", "open"],
)
def test_many_conditions_do_not_multiply(schema: Any, order: PropertyOrder) -> None:
    validator = Draft202012Validator(schema)
    pairs = [f"{letter}{i}" for i in range(40) for letter in "pq"]
    texts = {f"p{i}": "x" for i in range(40)}
    values: list[dict[str, Any]] = [{}, texts, texts | {f"q{i}": i for i in range(40)}, {"p1": "x", "q1": 1}]
    values += [{"p1": "x", "q1": 0}, {"p0": "x"}, {"q3": 3}, {"p0": "x"} | {f"q{i}": "" for i in range(11)}]
    values += [{name: 7 for name in pairs if name[0] == "p"}, dict.fromkeys(pairs, 50)]
    with using(POOL.fork()):
        expression = compiled(schema, order=order)
        assert validator.is_valid(json.loads(POOL.shortest(expression) or b""))
        for value in values:
            by_number = sorted(value, key=lambda name: (int(name[1:]), name))
            orders = [value, {name: value[name] for name in by_number}]
            accepted = {POOL.fullmatch(expression, text_of(each)) for each in orders}
            assert validator.is_valid(value) or accepted == {False}, value
            assert order == "schema" or accepted == {validator.is_valid(value)}, value
