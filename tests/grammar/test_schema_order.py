"""`"x-rootform": {"propertyOrder": "any"}`: members in any order, each once."""

from __future__ import annotations

import itertools
import json

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootform.grammar.constraints import JsonSchema, Spacing
from rootform.grammar.errors import GrammarError
from rootform.grammar.expr import POOL
from rootform.grammar.report import inspect_schema
from rootform.grammar.schema_compile import compile_schema

TYPES = {"a": {"type": "integer"}, "b": {"enum": ["x", "y"]}, "c": {"type": "array", "items": {"type": "null"}}}


def closed(required: list[str], **more: object) -> dict[str, object]:
    """An object of TYPES in any order."""
    return {
        "type": "object",
        "properties": TYPES,
        "required": required,
        "additionalProperties": False,
        "x-rootform": {"propertyOrder": "any"},
        **more,
    }


def accepts(schema: object, text: str, spacing: Spacing = "compact") -> bool:
    return POOL.fullmatch(compile_schema(JsonSchema(json.dumps(schema), spacing)), text.encode())


@pytest.mark.parametrize("required", [[], ["a"], ["c", "a"], ["a", "b", "c"]])
def test_every_order_of_every_subset_is_judged_as_jsonschema_does(required: list[str]) -> None:
    schema = closed(required)
    validator = jsonschema.Draft202012Validator(schema)
    values = {"a": 7, "b": "y", "c": [None]}
    for size in range(4):
        for names in itertools.permutations(values, size):
            instance = {name: values[name] for name in names}
            assert accepts(schema, json.dumps(instance, separators=(",", ":"))) == validator.is_valid(instance)
            assert accepts(schema, json.dumps(instance, indent=2), "flexible") == validator.is_valid(instance)


@given(names=st.lists(st.sampled_from("abcd"), max_size=5))
@settings(deadline=None, max_examples=60)
def test_no_member_comes_twice_and_none_is_made_up(names: list[str]) -> None:
    text = "{" + ",".join(f'"{name}":' + {"a": "1", "b": '"x"', "c": "[]"}.get(name, "0") for name in names) + "}"
    assert accepts(closed([]), text) == (len(set(names)) == len(names) and "d" not in names)


def test_the_shortest_has_just_the_required_ones() -> None:
    assert inspect_schema(json.dumps(closed(["b"]))).shortest == '{"b":"x"}'


def test_many_members_cost_nothing_before_they_are_written() -> None:
    properties = {f"k{i}": {"type": "boolean"} for i in range(60)}
    schema = {**closed([]), "properties": properties, "required": ["k7", "k50"]}
    backwards = {f"k{i}": True for i in reversed(range(60))}
    before = len(POOL)
    assert accepts(schema, json.dumps(backwards, separators=(",", ":")))
    assert len(POOL) - before < 200_000  # 60 sets of members met, out of 2 ** 60


def test_any_order_holds_inside_recursion_and_branches() -> None:
    node = closed(["a"], properties={"a": {"type": "integer"}, "next": {"$ref": "#"}})
    assert accepts(node, '{"next":{"a":1},"a":2}')
    assert accepts({"anyOf": [node | {"properties": {"a": {"type": "integer"}}}, {"type": "null"}]}, '{"a":2}')


def test_a_required_member_that_nothing_satisfies_is_refused() -> None:
    with pytest.raises(GrammarError, match="nothing satisfies"):
        compile_schema(JsonSchema(json.dumps(closed(["a"], properties={"a": False}))))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"x-rootform": {"propertyOrder": "random"}}, "cannot be 'random'"),
        ({"x-rootform": {"verbose": True}}, "no option 'verbose'"),
        ({"x-rootform": True}, "must be an object of options"),
    ],
)
def test_what_is_not_enforced_is_refused(change: dict[str, object], reason: str) -> None:
    with pytest.raises(GrammarError, match=reason) as caught:
        compile_schema(JsonSchema(json.dumps({**closed([]), **change})))
    assert (caught.value.where, caught.value.keyword) == ("#", "x-rootform")
