"""Looks behind inside of looks ahead: against Python's `re`, all short texts."""

from __future__ import annotations

import itertools
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootform.grammar.chars import Encoding
from rootform.grammar.constraints import JsonSchema
from rootform.grammar.errors import GrammarError
from rootform.grammar.expr import POOL
from rootform.grammar.regex import Mode, compile_pattern
from rootform.grammar.schema_compile import compile_schema

TEXTS = ["".join(letters) for n in range(5) for letters in itertools.product("ab .", repeat=n)]
parts = st.sampled_from(
    ["a", "b", ".*", "a?", "[a ]", "(a|b )", "", r"\b", r"\B", "(?<=a)", "(?<!a)", "(?<![ .])", "$"]
)
insides = st.lists(parts, min_size=1, max_size=4).map("".join)
looks = st.tuples(st.sampled_from(["(?=", "(?!"]), insides).map(lambda pair: f"{pair[0]}{pair[1]})")
patterns = st.tuples(st.sampled_from(["^", "", "a", "^b?", "^ *"]), looks, st.sampled_from([".*$", "", "a", "[ab ]+$"]))


@given(patterns, st.sampled_from(["search", "fullmatch"]), st.sampled_from(["utf8", "json", "plain"]))
@settings(max_examples=150, deadline=None)
def test_texts_are_as_re_says(pattern: tuple[str, str, str], mode: Mode, encoding: Encoding) -> None:
    text = "".join(pattern)
    try:
        found = compile_pattern(text, mode=mode, encoding=encoding, dialect="ecma")
    except GrammarError as error:
        if "inside a look-ahead" not in error.reason:
            raise
        return
    matches = getattr(re.compile(text.replace("$", r"\Z"), re.ASCII), mode)
    asked = TEXTS[1:] if r"\B" in text else TEXTS  # in the empty text `re` finds none, unlike ECMAScript
    assert [each for each in asked if POOL.fullmatch(found, each.encode())] == [t for t in asked if matches(t)]


@pytest.mark.parametrize(
    ("pattern", "good", "bad"),
    [
        (r"^(?!.*\bfoo\b).*$", ["a fooo b", "", "foo_"], ["foo", "a foo b", "foo."]),
        (r"^(?!(con|prn|aux)\b)[a-z.]+$", ["cone", "c", "acon"], ["con", "aux.txt"]),
        (r"^(?=.*\bfoo\b)[a-z ]+$", ["foo", "a foo b"], ["afoo", "foob", "foo."]),
    ],
)
def test_patterns_with_words_in_looks_ahead(pattern: str, good: list[str], bad: list[str]) -> None:
    compiled = compile_schema(JsonSchema(json.dumps({"type": "string", "pattern": pattern})))
    for text in good + bad:
        assert POOL.fullmatch(compiled, json.dumps(text).encode()) == (text in good), text


def test_what_stands_before_a_look_ahead_is_not_looked_at() -> None:
    with pytest.raises(GrammarError, match="inside a look-ahead"):
        compile_pattern(r"a(?!.*\bb)", mode="search", encoding="utf8")
