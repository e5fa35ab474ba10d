"""Combinations of branches: held against the jsonschema package, and against growing with their number."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from rootform.grammar.constraints import JsonSchema
from rootform.grammar.errors import GrammarError
from rootform.grammar.expr import EMPTY, POOL
from rootform.grammar.schema_compile import compile_schema
from rootform.grammar.schema_meeting import meet_strings
from rootform.grammar.schema_rules import StringRule

TEXTS = ["".join(letters) for n in range(5) for letters in itertools.product("abc", repeat=n)]

patterns = st.sampled_from(["a", "^a", "b$", "^[^a]*$", "ab|ba", "^(..)*$", "c.?c", "^b.*a$"])
conditions = st.one_of(
    st.builds(lambda p: {"pattern": p}, patterns),
    st.builds(lambda p: {"not": {"pattern": p}}, patterns),
    st.builds(lambda n: {"minLength": n}, st.integers(0, 3)),
    st.builds(lambda n: {"maxLength": n}, st.integers(1, 4)),
    st.builds(lambda t: {"enum": t}, st.lists(st.sampled_from(TEXTS), min_size=1, max_size=4, unique=True)),
)
branches = st.recursive(
    conditions,
    lambda inner: st.one_of(
        st.builds(lambda s: {"anyOf": s}, st.lists(inner, min_size=1, max_size=4)),
        st.builds(lambda s: {"allOf": s}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda s: {"not": s}, inner),
        st.builds(lambda s: {"oneOf": s}, st.lists(inner, min_size=1, max_size=3)),
    ),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(branches, min_size=2, max_size=4))
def test_strings_that_many_branches_speak_of(given_branches: list[dict[str, Any]]) -> None:
    schema = {"type": "string", "allOf": given_branches}
    valid = {text for text in TEXTS if Draft202012Validator(schema).is_valid(text)}
    try:
        expression = compile_schema(JsonSchema(json.dumps(schema)))
    except GrammarError as error:
        if "nothing satisfies" not in error.reason:
            raise
        expression = EMPTY
    assert {text for text in TEXTS if POOL.fullmatch(expression, json.dumps(text).encode())} == valid


def test_strings_of_many_branches_stay_one_rule() -> None:
    rules: tuple[StringRule, ...] = (StringRule(),)
    for i in range(40):
        rules = meet_strings(rules, tuple(StringRule(patterns=(f"^{letter}{i}",)) for letter in "abc"))
    (rule,) = rules
    assert len(rule.choices) <= 40


def test_a_choice_of_which_one_is_left_is_none() -> None:
    first = tuple(StringRule(patterns=(letter,)) for letter in "abc")
    second = tuple(StringRule(not_patterns=(letter,)) for letter in "abd")
    (rule,) = meet_strings(first, second)
    (rule,) = meet_strings((rule,), (StringRule(not_patterns=("a", "b")),))
    assert rule.patterns == ("c",)
    assert not rule.choices


@pytest.mark.parametrize("length", [3, 30])
def test_lengths_of_branches_are_counted_in_each(length: int) -> None:
    lengths = [{"maxLength": length}, {"minLength": 2 * length}, {"pattern": "^x"}]
    letters = [{"pattern": "^a"}, {"pattern": "^b"}, {"pattern": "^c"}, {"pattern": "z$"}]
    expression = compile_schema(JsonSchema(json.dumps({"allOf": [{"anyOf": lengths}, {"anyOf": letters}]})))
    for text in ("a" * length, "b" * 2 * length, "x" + "z" * length, "z" * length):
        assert POOL.fullmatch(expression, json.dumps(text).encode())
    for text in ("a" * (length + 1), "x" * length, "xa" + "a" * length):
        assert not POOL.fullmatch(expression, json.dumps(text).encode())


# -- objects told apart by a member ---------------------------------------------------------------------------------

TAGS = ("a", "b", "c", 1, None)
inner_values = st.sampled_from([0, 1, "x", True, [], {}])
tag_values = st.sampled_from(TAGS)
members = st.dictionaries(
    st.sampled_from(["n", "m"]),
    st.sampled_from([{"type": "integer"}, {"type": "string"}, {"const": 1}, {"type": ["boolean", "array"]}]),
    max_size=2,
)


def _tagged(kind: Any, is_required: bool, has_type: bool, others: dict[str, Any], is_closed: bool) -> Any:
    schema: dict[str, Any] = {"properties": {"kind": kind, **others}}
    schema |= {"required": ["kind"]} if is_required else {}
    schema |= {"type": "object"} if has_type else {}
    return schema | ({"additionalProperties": False} if is_closed else {})


tagged = st.builds(
    _tagged,
    st.builds(lambda tags: {"enum": tags}, st.lists(tag_values, min_size=1, max_size=3, unique=True))
    | st.sampled_from([{"pattern": p} for p in ("^[ab]", "^a", "^b", "^.$", "b")])
    | st.sampled_from([{"type": "string"}, {"enum": ["a", "b", "ab"], "minLength": 2}]),
    st.booleans(),
    st.booleans(),
    members,
    st.booleans(),
)
lists_of_tagged = st.lists(tagged, min_size=2, max_size=5)
conditionals = st.builds(lambda a, b: {"if": a, "then": b}, tagged, tagged)
objects_of_branches = st.one_of(
    st.builds(lambda s: {"oneOf": s}, lists_of_tagged),
    st.builds(lambda s: {"not": {"oneOf": s}}, lists_of_tagged),
    st.builds(lambda s: {"not": {"anyOf": s}}, lists_of_tagged),
    st.builds(lambda s: {"allOf": s}, st.lists(conditionals, min_size=2, max_size=4)),
    st.builds(lambda s: {"not": {"allOf": s}}, st.lists(conditionals, min_size=1, max_size=3)),
    st.builds(lambda s, t: {"oneOf": s, "anyOf": t}, lists_of_tagged, lists_of_tagged),
)
tagged_values = st.one_of(
    st.builds(
        lambda tag, others: ({} if tag == "none" else {"kind": tag}) | others,
        st.sampled_from([*TAGS, "d", "ab", "none"]),
        st.dictionaries(st.sampled_from(["n", "m", "o"]), inner_values, max_size=3),
    ),
    inner_values,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(objects_of_branches, st.lists(tagged_values, min_size=1, max_size=12))
def test_objects_that_a_member_tells_apart(schema: dict[str, Any], values: list[Any]) -> None:
    validator = Draft202012Validator(schema)
    try:
        expression = compile_schema(JsonSchema(json.dumps(schema), property_order="any"))
    except GrammarError as error:
        if "nothing satisfies" not in error.reason:
            raise
        expression = EMPTY
    for value in values:
        text = json.dumps(value, separators=(",", ":")).encode()
        assert POOL.fullmatch(expression, text) == validator.is_valid(value), value


KINDS = [f"kind {i}" for i in range(40)]
BRANCHES = [
    {"properties": {"kind": {"const": kind}, f"p{i}": {"type": "integer"}, "n": {"maximum": i}}, "required": ["kind"]}
    for i, kind in enumerate(KINDS)
]
CONDITIONS = [
    {"if": {"properties": {"kind": {"const": kind}}}, "then": {"required": [f"p{i}"]}} for i, kind in enumerate(KINDS)
]
PATTERN_CONDITIONS = [
    {"if": {"properties": {"kind": {"pattern": f"^{kind}:"}}}, "then": {"properties": {"n": {"required": [f"p{i}"]}}}}
    for i, kind in enumerate(KINDS[:20])
]


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"oneOf": BRANCHES}, {"kind": "kind 7", "p7": 1, "n": 7}, {"kind": "kind 7", "p7": 1, "n": 8}),
        ({"not": {"oneOf": BRANCHES}, "type": "object"}, {"kind": "kind 7", "n": 8}, {"kind": "kind 7", "n": 7}),
        ({"not": {"anyOf": BRANCHES}, "type": "object"}, {"kind": "kind 7", "p7": ""}, {"kind": "kind 7", "p7": 7}),
        ({"allOf": CONDITIONS, "type": "object"}, {"kind": "kind 7", "p7": 1}, {"kind": "kind 7", "p8": 1}),
        (
            {"allOf": [{**c, "if": {**c["if"], "required": ["kind"]}} for c in CONDITIONS], "type": "object"},
            {"kind": "other"},
            {"kind": "kind 39"},
        ),
        (
            {"allOf": [*PATTERN_CONDITIONS, {"properties": {"kind": {"type": "string"}}}], "type": "object"},
            {"kind": "kind 7:", "n": {"p7": 1}},
            {"kind": "kind 7:", "n": {"p8": 1}},
        ),
    ],
)
def test_branches_told_apart_by_a_member_do_not_multiply(schema: Any, good: Any, bad: Any) -> None:
    assert Draft202012Validator(schema).is_valid(good)
    assert not Draft202012Validator(schema).is_valid(bad)
    expression = compile_schema(JsonSchema(json.dumps(schema), property_order="any"))
    for value, is_valid in ((good, True), (bad, False)):
        assert POOL.fullmatch(expression, json.dumps(value, separators=(",", ":")).encode()) == is_valid
