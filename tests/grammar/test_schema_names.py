"""Kinds of names, and what is asked about strings: as brute force over short texts and searches in any spelling say."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from rootform.grammar.chars import Encoding
from rootform.grammar.expr import POOL
from rootform.grammar.pools import using
from rootform.grammar.schema_names import Names, Said
from rootform.grammar.schema_rules import StringRule, Value
from rootform.grammar.schema_strings import _body, inside_quotes, matches, plain_body, string_body
from rootform.grammar.witness import NEVER

PATTERNS = ("a", "^a", "b$", "^a*$", "^ab$", "^(a|\n)+$", "^[^a]*$", '"', "^a(?!b)", "^.{2}$", "")
TEXTS = ["".join(letters) for n in range(3) for letters in itertools.product('ab\n"', repeat=n)]
rules = st.builds(
    StringRule,
    min_length=st.integers(0, 3),
    max_length=st.none() | st.integers(0, 4),
    patterns=st.lists(st.sampled_from(PATTERNS), max_size=2).map(tuple),
    formats=st.sampled_from([(), ("date",), ("json-pointer",)]),
    not_patterns=st.lists(st.sampled_from(PATTERNS[:5]), max_size=1).map(tuple),
    excluded=st.lists(st.sampled_from(["", "a", "\n"]).map(Value), max_size=2).map(tuple),
)


def body(rule: StringRule, spelling: Encoding, is_wide: bool) -> int:
    return string_body(rule, any_spelling=is_wide) if spelling == "json" else plain_body(rule)


@given(st.lists(st.tuples(st.sampled_from(PATTERNS), st.booleans()), max_size=4), st.lists(st.sampled_from(TEXTS[:6])))
@settings(max_examples=50, deadline=None)
def test_names_of_which_things_are_true_and_others_not(asked: list[tuple[str, bool]], listed: list[str]) -> None:
    with using(POOL.fork()):
        names: Names | None = Names()
        for pattern, true in asked:
            names = names and names.where(Said((pattern,)), body, true=true)
        names = names and names.besides(tuple(listed), body)
        right = [t for t in TEXTS if t not in listed and all(matches(p, t) == true for p, true in asked)]
        if names is None:
            assert not right
            return
        if right:
            assert len(names.shortest) <= min(len(inside_quotes(text)) for text in right)
        written = names.texts(body)
        assert POOL.fullmatch(written, names.shortest)
        for text in TEXTS:
            assert POOL.fullmatch(written, inside_quotes(text)) == (text in right)
            escaped = "".join(f"\\u{ord(char):04X}" for char in text).encode()
            assert POOL.fullmatch(written, escaped) == (text in right)


@given(rules)
@settings(max_examples=50, deadline=None)
def test_the_plain_spelling_tells_how_long_strings_are_and_which_there_are(rule: StringRule) -> None:
    with using(POOL.fork()):
        told, plain = POOL.shortest_length(plain_body(rule)), plain_body(rule)
        searched = _body(rule, None, "json", any_spelling=False)
        assert POOL.shortest_length(searched) == told
        for text in TEXTS:
            assert POOL.fullmatch(searched, inside_quotes(text)) == POOL.fullmatch(plain, inside_quotes(text))
    with using(POOL.fork()):
        shortest = POOL.shortest(string_body(rule))  # which was said
        assert (shortest is None) == (told >= NEVER)
        assert shortest is None or len(shortest) == told
