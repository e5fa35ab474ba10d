"""Expressions against the sets of strings they stand for."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootform.grammar.chars import ASCII_LETTERS, json_text
from rootform.grammar.errors import GrammarError
from rootform.grammar.expr import EMPTY, EPSILON, POOL, Later
from rootform.grammar.json_layout import QUOTE
from rootform.grammar.json_values import ANY_TEXT

randoms = st.randoms(use_true_random=False)


@settings(max_examples=100, deadline=None)
@given(rng=randoms)
def test_membership_agrees_with_joining_sets_of_strings(rng: random.Random, random_expression) -> None:
    expression, language = random_expression(rng)
    for n in range(4):
        for _ in range(4):
            text = bytes(rng.choices(b'ab,"', k=n))
            assert POOL.fullmatch(expression, text) == (text in language)
    for text in sorted(language)[:40]:
        assert POOL.fullmatch(expression, text)


@settings(max_examples=100, deadline=None)
@given(rng=randoms)
def test_shortest_is_a_shortest_member(rng: random.Random, random_expression) -> None:
    expression, language = random_expression(rng)
    shortest = POOL.shortest(expression)
    assert POOL.is_empty(expression) == (shortest is None)
    if language:
        assert shortest is not None
        assert len(shortest) == min(map(len, language))
    if shortest is not None:
        assert POOL.fullmatch(expression, shortest)


@settings(max_examples=80, deadline=None)
@given(rng=randoms)
def test_bytes_of_a_class_have_the_same_derivative(rng: random.Random, random_expression) -> None:
    expression, _ = random_expression(rng)
    seen = 0
    for mask in POOL.byte_classes(expression):
        assert not seen & mask
        seen |= mask
        members = [b for b in range(256) if mask >> b & 1]
        assert len({POOL.derivative(expression, b) for b in members}) == 1
        if POOL.derivative(expression, members[0]) != EMPTY:
            assert POOL.first(expression) & mask == mask
    assert seen == (1 << 256) - 1


@settings(max_examples=80, deadline=None)
@given(rng=randoms)
def test_algebra(rng: random.Random, random_expression) -> None:
    (a, _), (b, _), (c, _) = (random_expression(rng, regular=True) for _ in range(3))
    assert POOL.alt(a, b) == POOL.alt(b, a)
    assert POOL.alt(a, a) == POOL.alt(a)
    assert POOL.and_(a, b) == POOL.and_(b, a)
    assert POOL.concat(POOL.concat(a, b), c) == POOL.concat(a, POOL.concat(b, c))
    assert POOL.not_(POOL.not_(POOL.unframed(a))) == POOL.unframed(a)
    assert POOL.is_empty(POOL.and_(a, POOL.not_(a)))
    assert POOL.concat(a, EPSILON) == a
    assert POOL.concat(a, EMPTY) == EMPTY


@settings(max_examples=100, deadline=None)
@given(rng=randoms, text=st.binary(max_size=4))
def test_a_text_before_an_expression_is_as_its_literal_before_it(rng: random.Random, text, random_expression) -> None:
    (first, _), (second, _) = random_expression(rng), random_expression(rng)
    assert POOL.prefixed(text, first, second) == POOL.concat(POOL.literal(text), first, second)


@settings(max_examples=100, deadline=None)
@given(rng=randoms, texts=st.lists(st.binary(max_size=3), min_size=1, max_size=4))
def test_a_frame_of_choices_is_as_it_is_made_step_by_step(rng: random.Random, texts, random_expression) -> None:
    choices = [(text, random_expression(rng)[0], random_expression(rng)[0]) for text in texts]
    before, _ = random_expression(rng)
    slowly = POOL.alt(*[POOL.concat(POOL.literal(text), first, second) for text, first, second in choices])
    assert POOL.any_of(choices) == slowly
    assert POOL.frame_of(before, choices) == POOL.frame(POOL.concat(before, slowly))


@settings(max_examples=100, deadline=None)
@given(rng=randoms, words=st.lists(st.text(st.characters(max_codepoint=127), max_size=4), min_size=1, max_size=4))
def test_texts_besides_words_are_as_they_are_made_step_by_step(rng: random.Random, words, random_expression) -> None:
    for item in (random_expression(rng)[0], ANY_TEXT):
        slowly = POOL.and_(item, POOL.not_(POOL.alt(*map(json_text, words))))
        assert POOL.besides(item, words, ASCII_LETTERS) == slowly
        assert POOL.known_length(slowly) == 0 or not POOL.nullable(slowly)


@settings(max_examples=100, deadline=None)
@given(rng=randoms)
def test_what_stands_in_quotes_or_comes_many_times_is_as_it_is_made_step_by_step(
    rng: random.Random, random_expression
) -> None:
    (item, _), (comma, _), (close, _) = (random_expression(rng) for _ in range(3))
    assert POOL.many_before(comma, item, close) == POOL.concat(POOL.repeat(POOL.concat(comma, item), 0, None), close)
    assert POOL.quoted(item, QUOTE) == (POOL.concat(QUOTE, POOL.frame(item), QUOTE) if item != EMPTY else EMPTY)
    assert POOL.quoted(EMPTY, QUOTE) == EMPTY


@settings(max_examples=50, deadline=None)
@given(words=st.lists(st.text(st.characters(max_codepoint=127), max_size=4), max_size=4))
def test_strings_of_words_are_as_they_are_made_one_by_one(words: list[str]) -> None:
    assert POOL.strings(words, QUOTE, ASCII_LETTERS) == [POOL.quoted(json_text(word), QUOTE) for word in words]


@settings(max_examples=100, deadline=None)
@given(rng=randoms, pairs=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2)), max_size=6))
def test_what_may_be_next_is_as_it_is_made_step_by_step(rng: random.Random, pairs, random_expression) -> None:
    items, (comma, end) = [random_expression(rng)[0] for _ in range(5)], [random_expression(rng)[0] for _ in range(2)]
    ways = [(items[text], items[rest]) for text, rest in pairs]
    alike = {rest: POOL.alt(*[text for text, other in ways if other == rest]) for _, rest in ways}
    slowly = POOL.alt(*[POOL.concat(comma, text, rest) for rest, text in alike.items()], end)
    assert POOL.next_of(comma, ways, end) == slowly


@settings(max_examples=50, deadline=None)
@given(rng=randoms, n=st.integers(0, 4))
def test_what_stands_around_the_same_is_as_it_is_made_one_by_one(rng: random.Random, n: int, random_expression) -> None:
    pairs = [(random_expression(rng)[0], random_expression(rng)[0]) for _ in range(n)]
    middle, _ = random_expression(rng)
    assert POOL.each_around(middle, pairs) == [POOL.concat(first, middle, last) for first, last in pairs]


class Twice(Later, frozen=True, gc=False):
    item: int

    def __call__(self) -> int:
        return POOL.repeat(self.item, 2, 3)

    def outline(self) -> int:
        return POOL.concat(self.item, self.item)


def test_references_made_at_once_are_those_that_are_made_one_by_one() -> None:
    a, b, c = (Twice(POOL.literal(text)) for text in (b"one", b"of", b"these"))
    known = POOL.ref(a)
    refs = POOL.all_later([b, a, b, c], [4, 6, 4, -1])
    assert refs == [POOL.ref(b), known, POOL.ref(b), POOL.ref(c)]
    assert POOL.all_later([c, b], [-1, -1]) == [refs[3], refs[0]]
    assert [POOL.known_length(ref) for ref in refs] == [4, 6, 4, None]
    assert POOL.shortest_length(refs[3]) == len("thesethese")
    assert POOL.fullmatch(refs[0], b"ofof")
    assert not POOL.fullmatch(refs[1], b"ofof")
    with pytest.raises(KeyError):
        POOL.definition(POOL.ref("nobody defined this"))


def test_huge_bounds_are_not_unrolled() -> None:
    million = POOL.repeat(POOL.literal(b"ab"), 1_000_000, 2_000_000_000)
    assert POOL.node(POOL.derivative(million, ord("a")))[0] is not None
    before = len(POOL)
    POOL.derivative(POOL.derivative(million, ord("a")), ord("b"))
    assert len(POOL) - before < 10
    assert POOL.shortest(million) == b"ab" * 1_000_000


def test_long_words_with_a_long_common_beginning() -> None:
    words = [b"x" * 3000 + tail for tail in (b"a", b"bc", b"b")]
    expression = POOL.alt(*map(POOL.literal, words))
    assert all(POOL.fullmatch(expression, word) for word in words)
    assert POOL.shortest(expression) == words[0]


def test_a_reference_without_end_is_empty() -> None:
    POOL.define("endless", lambda: POOL.concat(POOL.literal(b"["), POOL.ref("endless"), POOL.literal(b"]")))
    assert POOL.is_empty(POOL.ref("endless"))
    either = POOL.alt(POOL.ref("endless"), POOL.literal(b"[1"))
    assert POOL.derivative(POOL.derivative(either, ord("[")), ord("[")) == EMPTY


def test_a_reference_to_itself_is_refused() -> None:
    POOL.define("left", lambda: POOL.alt(POOL.ref("left"), POOL.literal(b"a")))
    with pytest.raises(GrammarError, match="refers to itself without anything in between"):
        POOL.first(POOL.ref("left"))


def test_an_intersection_too_large_is_refused_not_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rootform.grammar.witness.SEARCH_BUDGET", 50)
    letters = POOL.byte_set(b"xyz")
    many = [POOL.repeat(POOL.repeat(letters, n, n), 1, None) for n in (7, 11, 13)]
    with pytest.raises(GrammarError, match="too large to decide"):
        POOL.is_empty(POOL.and_(*many))
