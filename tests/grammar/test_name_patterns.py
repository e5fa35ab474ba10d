"""`patternProperties` of several patterns: those whose schemas are the same are one kind of names."""

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
from rootform.grammar.expr import EMPTY, POOL
from rootform.grammar.pools import using
from rootform.grammar.schema_compile import compile_schema

NAMES = ("", "a", "b", "ab", "ba", "cab", "é")
VALUES = (1, "x", None)
PATTERNS = ("a", "^a", "b$", "b", "^c?ab$", "^[^a]*$")
OBJECTS: list[dict[str, Any]] = [{}, *({name: value} for name in NAMES for value in VALUES)] + [
    {first: one, second: other}
    for first, second in itertools.combinations(NAMES, 2)
    for one, other in ((1, 1), ("x", 1))
]

inner = st.sampled_from(
    [True, False, {"type": "integer"}, {"type": "integer", "title": "t"}, {"$ref": "#/$defs/t"}, {"enum": ["x", None]}]
)
parts = st.fixed_dictionaries(
    {"patternProperties": st.dictionaries(st.sampled_from(PATTERNS), inner, min_size=1, max_size=4)},
    optional={
        "additionalProperties": inner,
        "properties": st.dictionaries(st.sampled_from(NAMES), inner, max_size=2),
        "propertyNames": st.sampled_from([{"pattern": "a"}, {"maxLength": 1}]),
    },
)
schemas = st.one_of(
    parts,
    st.builds(lambda first, second: {"allOf": [first, second]}, parts, parts),
    st.builds(lambda first, second: {**first, "not": {"type": "object", **second}}, parts, parts),
    st.builds(lambda first, second: {**first, "allOf": [second], "unevaluatedProperties": False}, parts, parts),
)


@given(schemas)
@settings(max_examples=60, deadline=None)
def test_objects_are_as_jsonschema_says(schema: dict[str, Any]) -> None:
    schema = {"type": "object", **schema, "$defs": {"t": {"type": "integer"}}}
    validator = Draft202012Validator(schema)
    texts = [json.dumps(each, ensure_ascii=False).encode() for each in OBJECTS]
    right = [text for text, each in zip(texts, OBJECTS, strict=True) if validator.is_valid(each)]
    with using(POOL.fork()):
        try:
            compiled = compile_schema(JsonSchema(json.dumps(schema), "canonical", property_order="any"))
        except GrammarError:
            compiled = EMPTY
        accepted = [text for text in texts if POOL.fullmatch(compiled, text)]
    assert accepted == right, "what is refused must be so because nothing satisfies it"


@pytest.mark.parametrize("additional", [False, {"type": "null"}])
def test_many_patterns_of_one_schema_are_one_kind(additional: Any) -> None:
    """40 that a name may match in any combination: each by itself, they would be far too many kinds."""
    patterns = {f"n{i}": {"type": "string"} for i in range(40)}
    schema = {"type": "object", "patternProperties": patterns, "additionalProperties": additional}
    compiled = compile_schema(JsonSchema(json.dumps(schema), "compact", property_order="any"))
    for name in ("n0", "an39b", "n1n2n3n4n5n6n7"):
        assert POOL.fullmatch(compiled, b'{"%b":"x"}' % name.encode())
        assert not POOL.fullmatch(compiled, b'{"%b":1}' % name.encode())
        assert not POOL.fullmatch(compiled, b'{"%b":null}' % name.encode())
    assert POOL.fullmatch(compiled, b'{"m":null}') == (additional is not False)
    assert not POOL.fullmatch(compiled, b'{"m":"x"}')
    assert not POOL.fullmatch(compiled, b'{"n":"x"}')


def test_patterns_that_some_part_tells_apart_are_several_kinds() -> None:
    """Alike in one part, not in another that has them both, nor in one that has one of them."""
    alike = {"patternProperties": {"a": {"type": "integer"}, "b": {"type": "integer"}}}
    other = {"patternProperties": {"a": {"minimum": 5}}}
    schema = {"type": "object", "allOf": [alike, other]}
    compiled = compile_schema(JsonSchema(json.dumps(schema), "compact", property_order="any"))
    for text, right in (
        ('{"a":4}', False),
        ('{"a":5}', True),
        ('{"b":4}', True),
        ('{"ab":4}', False),
        ('{"c":"x"}', True),
    ):
        assert POOL.fullmatch(compiled, text.encode()) == right, text


few = st.sampled_from([{"type": "integer"}, {"type": "integer"}, {"enum": ["x", None]}])
same_patterns = st.lists(st.sampled_from(PATTERNS), min_size=2, max_size=3, unique=True).flatmap(
    lambda patterns: st.tuples(*[st.fixed_dictionaries(dict.fromkeys(patterns, few))] * 2)
)


@given(same_patterns)
@settings(max_examples=30, deadline=None)
def test_objects_with_the_same_patterns_keep_their_own_schemas(pair: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Which of them a name may match is found once for both, but only where both tell the same of them apart."""
    for order in ("pq", "qp"):
        properties = {
            name: {"type": "object", "patternProperties": patterns} for name, patterns in zip(order, pair, strict=True)
        }
        schema = {"type": "object", "properties": properties}
        validator = Draft202012Validator(schema)
        values = [{name: each} for name in order for each in OBJECTS[:22]]
        texts = [json.dumps(each, ensure_ascii=False).encode() for each in values]
        right = [text for text, each in zip(texts, values, strict=True) if validator.is_valid(each)]
        with using(POOL.fork()):
            compiled = compile_schema(JsonSchema(json.dumps(schema), "canonical", property_order="any"))
            assert [text for text in texts if POOL.fullmatch(compiled, text)] == right


def test_names_that_no_member_can_have_are_no_kinds() -> None:
    """Patterns that a name may match in any combination; but no value is of two of their types."""
    types = ("string", "array", "object", "boolean", "integer", "null")
    patterns = {f"n{i}": {"type": name} for i, name in enumerate(types)}
    values = ("x", [], {}, True, 1, None)
    for additional in (True, False):
        schema = {"type": "object", "patternProperties": patterns, "additionalProperties": additional}
        compiled = compile_schema(JsonSchema(json.dumps(schema), "compact", property_order="any"))
        for i, value in enumerate(values):
            written = json.dumps(value).encode()
            assert POOL.fullmatch(compiled, b'{"an%d":%b}' % (i, written))
            assert POOL.fullmatch(compiled, b'{"an":%b}' % written) == additional
            assert not POOL.fullmatch(compiled, b'{"an%d":%b}' % ((i + 1) % 6, written))
            assert not POOL.fullmatch(compiled, b'{"n%dn%d":%b}' % (i, (i + 1) % 6, written))


def test_patterns_of_which_a_name_matches_one_do_not_multiply() -> None:
    patterns = {f"^n{i}-": {"maximum": i} for i in range(50)}
    schema = {"type": "object", "patternProperties": patterns, "additionalProperties": False}
    compiled = compile_schema(JsonSchema(json.dumps(schema), "compact", property_order="any"))
    for i in (0, 7, 49):
        assert POOL.fullmatch(compiled, b'{"n%d-a":%d}' % (i, i))
        assert not POOL.fullmatch(compiled, b'{"n%d-a":%d}' % (i, i + 1))
    assert not POOL.fullmatch(compiled, b'{"n50-a":0}')


def test_kinds_of_names_that_match_several_patterns_are_limited() -> None:
    schema = {"type": "object", "patternProperties": {f"n{i}": {"maximum": i} for i in range(7)}}
    with pytest.raises(GrammarError, match="32 of several"):
        compile_schema(JsonSchema(json.dumps(schema)))
