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
