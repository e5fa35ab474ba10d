"""Repetitions beside loops are shortened, and nothing else is matched then: against Python's `re`."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootform.grammar.expr import POOL
from rootform.grammar.regex import compile_pattern
from rootform.grammar.regex_loops import beside_loops
from rootform.grammar.regex_parse import Node, Sequence, parse

TEXTS = ["".join(letters) for n in range(7) for letters in itertools.product("ab", repeat=n)]
pieces = st.builds(
    str.__add__,
    st.sampled_from(["a", "b", "[ab]", "[^b]", "."]),
    st.sampled_from(["", "*", "+", "?", "{2}", "{2,}", "{1,3}", "{0,5}", "{2,4}?"]),
)
patterns = st.lists(pieces, min_size=1, max_size=5).map("".join)


@settings(max_examples=300, deadline=None)
@given(pattern=st.one_of(patterns, st.tuples(patterns, patterns).map(lambda two: f"(?:{two[0]})?{two[1]}|b")))
def test_the_same_texts_are_matched(pattern: str) -> None:
    expression, compiled = compile_pattern(pattern, mode="fullmatch", encoding="utf8"), re.compile(pattern)
    for text in TEXTS:
        assert POOL.fullmatch(expression, text.encode()) == bool(compiled.fullmatch(text)), text


def _items(pattern: str) -> tuple[Node, ...]:
    tree = parse(pattern, "ecma")
    return tree.items if isinstance(tree, Sequence) else (tree,)


@pytest.mark.parametrize(("pattern", "short"), [
    ("a[ab ]+[ab]{1,256}", "a[ab ]+[ab]{1}"), ("[ab]{2,9}[ab]*", "[ab]{2}[ab]*"), ("a*a+", "a*a{1}"),
    ("a{0,9}b?[abc]+", "[abc]+"), ("[abc]{3,}a*(b{1,9})c", "[abc]{3,}b{1}c"), ("a+[ab]+", "a{1}[ab]+"),
    ("(a+)b{1,5}[ab]*b?a", "a+b{1}[ab]*a"), ("[^x]*[a-w\\d]{4,99}$", "[^x]*[a-w\\d]{4}$"),
])  # fmt: skip
def test_what_a_loop_may_read_is_as_short_as_it_must_be(pattern: str, short: str) -> None:
    one, other = (compile_pattern(each, mode="fullmatch", encoding="json") for each in (pattern, short))
    assert one == other


@pytest.mark.parametrize("pattern", ["[ab]+[abc]{1,9}", "a+(?:ab){1,9}", "[ab]{1,5}a{1,5}", "a*b{1,5}", "a+b*a{2}"])
def test_others_stay_as_they_are(pattern: str) -> None:
    assert beside_loops(_items(pattern)) == _items(pattern)
