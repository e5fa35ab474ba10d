"""Parts of schemas that are written when a text comes to them: the same language, known lengths, nothing twice."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rootform.grammar import json_values, schema_compile, schema_emit, schema_members
from rootform.grammar.constraints import JsonSchema
from rootform.grammar.errors import GrammarError
from rootform.grammar.expr import EMPTY, POOL
from rootform.grammar.pools import using
from rootform.grammar.schema_compile import compile_schema
from rootform.grammar.schema_parts import MAX_LATER

ANY_ORDER = {"x-rootform": {"propertyOrder": "any"}}
names = st.sampled_from(["a", "b", "c"])


def objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    members = st.dictionaries(names, inner, max_size=3)
    required = st.lists(names, max_size=3, unique=True)
    counted = st.sampled_from(
        [
            {},
            {},
            {"minProperties": 1},
            {"maxProperties": 2},
            {"minProperties": 2, "maxProperties": 3},
            {"oneOf": [{"properties": {"a": {"maxLength": 1}}}, {"properties": {"b": {"minimum": 50}}}]},
            {"not": {"properties": {"a": {"type": "string"}, "c": {"type": "integer"}}}},
        ]
    )
    return st.builds(
        lambda members, required, others, counted: {
            "type": "object",
            "properties": members,
            "required": required,
            "additionalProperties": others,
            **counted,
        },
        members,
        required,
        inner,
        counted,
    )


def arrays(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(
        lambda first, items, least: {"type": "array", "prefixItems": first, "items": items, "minItems": least},
        st.lists(inner, min_size=1, max_size=2),
        inner,
        st.integers(0, 3),
    )


leaves = st.sampled_from(
    [
        {"type": "string"},
        {"type": "string", "minLength": 2},
        {"type": "string", "pattern": "^ab*$", "minLength": 3},
        {"type": "integer", "minimum": 20},
        {"type": "string", "format": "date"},
        {"enum": ["ab", 100, None]},
        {"enum": []},
        {"type": ["object", "boolean"], "required": ["a"]},
        {"oneOf": [{"type": "object", "properties": {"a": {"minimum": 5}}}, {"required": ["a", "b"]}]},
        {"$ref": "#"},
        {"$ref": "#/$defs/x"},
        True,
        False,
    ]
)
schemas = st.recursive(leaves, lambda inner: objects(inner) | arrays(inner), max_leaves=8)


class _Searching:
    """The pool, told nothing: it has to find lengths by itself, and in whole meanings."""

    def __getattr__(self, name: str) -> Any:
        return getattr(POOL, name)

    def know(self, item: int, length: int) -> None: ...

    def define(self, key: Hashable, meaning: int | Callable[[], int], outline: object = None) -> None:
        POOL.define(key, meaning)


def shortest(schema: dict[str, Any], spacing: Any) -> bytes | None:
    with using(POOL.fork()):
        try:
            expression = compile_schema(JsonSchema(json.dumps(schema), spacing))
        except GrammarError as error:
            if "nothing satisfies" not in error.reason and "refers to itself" not in error.reason:
                raise
            return None
        text = POOL.shortest(expression)
        assert text is not None
        assert len(text) == POOL.shortest_length(expression)
        assert POOL.fullmatch(expression, text)
        return text


@given(schemas, schemas, st.sampled_from(["compact", "canonical", "flexible"]))
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
def test_lengths_are_those_that_a_search_finds(first: Any, second: Any, spacing: Any) -> None:
    schema = {"type": "array", "minItems": 1, "prefixItems": [first], "$defs": {"x": second}}
    told = shortest(schema, spacing)
    with pytest.MonkeyPatch.context() as patch:
        for module in (json_values, schema_compile, schema_emit, schema_members):
            patch.setattr(module, "POOL", _Searching())
        found = shortest(schema, spacing)
    assert (None if told is None else len(told)) == (None if found is None else len(found))


def what_may_come(schema: dict[str, Any], texts: list[bytes], ahead: int) -> list[tuple[int, bool]]:
    """Along some texts: the bytes that may come next, and whether it may be over."""
    with using(POOL.fork()), pytest.MonkeyPatch.context() as patch:
        patch.setattr(schema_members, "_AHEAD", ahead)
        whole, found = compile_schema(JsonSchema(json.dumps(schema), "compact")), []
        for text in texts:
            item = whole
            for byte in text:
                found.append((POOL.first(item), POOL.nullable(item)))
                item = POOL.derivative(item, byte)
        return found


@given(
    members=st.lists(st.sampled_from([{"type": "integer"}, {"enum": ["x", {}]}, {"type": "object"}]), max_size=8),
    required=st.sets(st.integers(0, 7)),
    is_open=st.booleans(),
    chosen=st.lists(st.sets(st.integers(0, 8)), min_size=1, max_size=4),
)
@settings(max_examples=60, deadline=None)
def test_how_far_ahead_members_are_written_changes_no_text(
    members: list[Any], required: set[int], is_open: bool, chosen: list[set[int]]
) -> None:
    names = [f"m{i}" for i in range(len(members))]
    values = {"integer": "7", "object": "{}"}
    schema = {
        "type": "object",
        "properties": dict(zip(names, members, strict=True)),
        "required": [f"m{i}" for i in sorted(required) if i < len(members)],
        "additionalProperties": is_open,
    }
    written = [
        f'"{name}":{values.get(each.get("type"), chr(34) + "x" + chr(34))}'
        for name, each in zip(names, members, strict=True)
    ]
    texts = [
        "{" + ",".join([*written, '"other":1'][i] for i in sorted(each) if i <= len(written)) + "}" for each in chosen
    ]
    each_way = [what_may_come(schema, [text.encode() for text in texts], ahead) for ahead in (0, 1, 3)]
    assert each_way[0] == each_way[1] == each_way[2]


def nested(count: int) -> dict[str, Any]:
    """An object of objects, all different."""
    inner = {
        f"part {i}": {"properties": {f"{word} of {i}": {"type": "string"} for word in ("colour", "weight", "maker")}}
        for i in range(count)
    }
    return {"properties": inner, "additionalProperties": False}


def test_parts_are_written_when_a_text_comes_to_them() -> None:
    with using(POOL.fork()):
        expression = compile_schema(JsonSchema(json.dumps(nested(40))))
        compiled = len(POOL)
        for i in (3, 5):
            text = json.dumps({f"part {i}": {f"colour of {i}": "red"}}, separators=(",", ":"))
            before = len(POOL)
            assert POOL.fullmatch(expression, text.encode())
            assert not POOL.fullmatch(expression, text.replace('"red"', "7").encode())
            assert len(POOL) > before
        assert len(POOL) - compiled < compiled, "most parts are still to be written"


def test_what_counts_a_little_is_written_when_a_text_comes_to_it() -> None:
    some = {f"of {i}": {"type": "string"} for i in range(20)}
    each = {"properties": some, "additionalProperties": False, "maxProperties": 3}
    either = {"oneOf": [{"properties": {"of 1": {"maxLength": 1}}}, {"properties": {"of 2": {"minLength": 5}}}]}
    with using(POOL.fork()):
        begun = len(POOL)
        expression = compile_schema(JsonSchema(json.dumps({"properties": {"x": {**each, **either}}})))
        compiled = len(POOL)
        assert POOL.fullmatch(expression, b'{"x":{"of 1":"long","of 2":"not short"}}')
        assert not POOL.fullmatch(expression, b'{"x":{"of 1":"long","of 2":"four"}}')
        assert not POOL.fullmatch(expression, b'{"x":{"of 1":"long","of 2":"not short","of 3":"","of 4":""}}')
        assert len(POOL) - compiled > 2 * (compiled - begun)


def test_what_is_large_is_written_when_it_is_compiled() -> None:
    wide = {"properties": {f"member {i}": {"type": "null"} for i in range(2 * MAX_LATER)}}
    with using(POOL.fork()):
        expression = compile_schema(JsonSchema(json.dumps({"properties": {"x": wide}})))
        for byte in b'{"x":':
            expression = POOL.derivative(expression, byte)
        before = len(POOL)
        assert POOL.fullmatch(expression, b'{"member 7":null,"member 9":null}}')
        assert len(POOL) - before < MAX_LATER


def after(schema: dict[str, Any], text: bytes) -> int:
    expression = compile_schema(JsonSchema(json.dumps(schema)))
    for byte in text:
        expression = POOL.derivative(expression, byte)
    return expression


def holding(name: str, part: dict[str, Any]) -> dict[str, Any]:
    return {"properties": {name: part}, "required": [name], "additionalProperties": False}


def test_equal_parts_of_different_schemas_are_one() -> None:
    part = nested(3)
    described = json.loads(json.dumps(part).replace('"type"', '"description": "some text", "type"'))
    with using(POOL.fork()):
        assert after(holding("first", part), b'{"first":') == after(holding("second", described), b'{"second":')


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"enum": [{"a": 1, "b": 2}]}, {"enum": [{"b": 2, "a": 1}]}),
        ({"items": {"enum": [10**20]}}, {"items": {"enum": [1e20]}}),
        ({"items": {"enum": [1]}}, {"items": {"enum": [True]}}),
        ({"items": {"minLength": 1}}, {"items": {"maxLength": 1}}),
        ({"items": {"type": "string", "enum": ["1"]}}, {"items": {"type": "string", "pattern": "1"}}),
        ({"required": ["a"]}, {"required": ["b"]}),
        ({"minProperties": 1}, {"maxProperties": 1}),
        ({"not": {"properties": {"a": {"type": "string"}}}}, {"not": {"properties": {"b": {"type": "string"}}}}),
        ({**ANY_ORDER, "properties": {"a": {}, "b": {}}}, {"properties": {"a": {}, "b": {}}}),
    ],
)
def test_parts_that_differ_are_told_apart(first: dict[str, Any], second: dict[str, Any]) -> None:
    both = {"x": first, "y": second}
    values = [
        '[""]',
        '["1"]',
        '["ab"]',
        '["21"]',
        "[1]",
        "[true]",
        "[100000000000000000000]",
        "[1e+20]",
        "{}",
        '{"a":1}',
    ]
    values += ['{"a":1,"b":2}', '{"b":2,"a":1}', '{"b":1}']
    texts = {name: [f'{{"{name}":{value}}}' for value in values] for name in both}

    def accepted(names: str, members: dict[str, Any]) -> list[str]:
        with using(POOL.fork()):
            expression = compile_schema(JsonSchema(json.dumps({"properties": members})))
            return [text for name in names for text in texts[name] if POOL.fullmatch(expression, text.encode())]

    alone = [accepted(name, {name: part}) for name, part in both.items()]
    assert alone[0] != [text.replace('"y"', '"x"') for text in alone[1]]
    assert accepted("xy", both) == [*alone[0], *alone[1]]


def test_a_member_that_nothing_satisfies_is_not_offered() -> None:
    hopeless = {"type": "object", "properties": {"a": {"type": "object", "required": ["b"]}}, "required": ["a"]}
    hopeless["properties"]["a"]["properties"] = {"b": {"enum": []}}
    schema = {"properties": {"x": {"$ref": "#/$defs/h"}, "y": {"type": "null"}}, "additionalProperties": False}
    with using(POOL.fork()):
        left = after({**schema, "$defs": {"h": hopeless}}, b'{"')
        assert POOL.derivative(left, ord("x")) == EMPTY
        assert POOL.derivative(left, ord("y")) != EMPTY


def test_a_schema_that_holds_itself_needs_a_way_to_end() -> None:
    list_of = {"type": "object", "properties": {"next": {"$ref": "#"}, "value": {"type": "integer"}}}
    with using(POOL.fork()):
        assert POOL.shortest(compile_schema(JsonSchema(json.dumps(list_of)))) == b"{}"
        with pytest.raises(GrammarError, match="nothing satisfies"):
            compile_schema(JsonSchema(json.dumps({**list_of, "required": ["next"]})))
        ends = {**list_of, "required": ["next"]}
        ends["properties"] = {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}
        assert POOL.shortest(compile_schema(JsonSchema(json.dumps(ends)))) == b'{"next":null}'
