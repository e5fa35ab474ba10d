"""What is seen to be within another expression is, and names that contain a word beside those that do not."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from rootform.grammar.expr import EMPTY, EPSILON, POOL
from rootform.grammar.regex import compile_pattern
from rootform.grammar.within import Within

ANY = POOL.repeat(POOL.byte_set(b'ab,"'), 0, None)


def _search(pattern: str) -> int:
    return compile_pattern(pattern, mode="search", encoding="json")


def _widened(rng: random.Random, item: int, other: int) -> int:
    """An expression in which an item may be."""
    plus = POOL.repeat(item, 1, None)
    return rng.choice([
        POOL.alt(item, other),
        POOL.concat(POOL.repeat(POOL.alt(item, other), 0, None), POOL.repeat(other, 0, 1)),
        POOL.concat(plus, POOL.repeat(other, 0, None)),
        POOL.concat(ANY, POOL.alt(EPSILON, other)),
        POOL.and_(ANY, POOL.alt(plus, other)),
    ])  # fmt: skip


def test_what_is_seen_to_be_within_another_is(random_expression: Callable[..., tuple]) -> None:
    rng, within, n_seen = random.Random(11), Within(POOL), 0
    for _ in range(400):
        (item, language), (other, texts) = (random_expression(rng, regular=True) for _ in range(2))
        if within.yes(item, other):
            assert language <= texts
        if within.yes(POOL.not_(item), POOL.not_(other)):
            assert texts <= language
        wider = _widened(rng, item, other)
        if within.yes(item, wider):
            n_seen += 1
            assert all(POOL.fullmatch(wider, text) for text in language)
        if within.yes(wider, other):
            assert all(text in texts for text in language if POOL.fullmatch(wider, text))
            assert POOL.is_empty(POOL.and_(wider, POOL.not_(other)))
    assert n_seen > 200


def test_an_intersection_that_is_seen_to_be_none_has_no_text(random_expression: Callable[..., tuple]) -> None:
    rng, within, n_seen = random.Random(13), Within(POOL), 0
    for _ in range(400):
        (item, language), (other, texts) = (random_expression(rng, regular=True) for _ in range(2))
        if within.is_none((item, POOL.not_(POOL.alt(item, other)))):
            n_seen += 1
        if within.is_none((item, POOL.not_(other))):
            assert not language - texts
    assert n_seen > 100


def test_nothing_and_the_empty_text_are_within_what_has_them() -> None:
    within, letter = Within(POOL), POOL.byte_set(b"a")
    assert within.yes(EMPTY, letter)
    assert within.yes(EPSILON, POOL.repeat(letter, 0, None))
    assert not within.yes(EPSILON, letter)
    assert not within.yes(letter, EPSILON)
    assert not within.yes(letter, EMPTY)
    assert not within.yes(POOL.repeat(letter, 0, 2), POOL.repeat(letter, 1, None))
    assert within.yes(POOL.repeat(letter, 1, 2), POOL.repeat(letter, 1, None))
    assert within.yes(POOL.counted(letter, 2, 9), POOL.repeat(letter, 0, None))
    assert not within.yes(POOL.repeat(letter, 2, 9), POOL.counted(letter, 0, 5))


@pytest.mark.parametrize("seen", ["name", "myname", "a name of", "tagsname", "tagname\\u00e9"])
@pytest.mark.parametrize("word", ["tags", "vars$", "x+[yz]", "é"])
def test_names_with_a_word_that_others_must_not_have_are_none_without_a_search(seen: str, word: str) -> None:
    within, excluded = Within(POOL), POOL.rest(_search("name"), seen.encode())
    wanted = POOL.rest(_search(word), seen.encode())
    assert within.yes(wanted, excluded)
    assert not within.yes(wanted, POOL.rest(_search("name"), b"nam"))
    assert POOL.is_empty(POOL.and_(wanted, POOL.not_(excluded)))
