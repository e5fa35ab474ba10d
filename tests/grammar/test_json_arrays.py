"""Arrays against a plain predicate, over all short ones."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootform.grammar.counts import Tally, Way
from rootform.grammar.errors import GrammarError
from rootform.grammar.expr import EMPTY, POOL
from rootform.grammar.json_arrays import array
from rootform.grammar.json_layout import layout

COMPACT = layout("compact")
LONGEST = 5
Texts = dict[bytes, frozenset[int]]  # the texts of a place, with the tallies each counts towards


def ways(texts: Texts) -> list[Way]:
    return [Way(POOL.literal(text), counts) for text, counts in texts.items()]


def within(count: int, low: int, high: int | None) -> bool:
    return low <= count and (high is None or count <= high)


def random_texts(rng: random.Random, n_tallies: int) -> Texts:
    chosen = rng.sample([b"1", b"22", b"3"], rng.randint(0, 3))
    return {text: frozenset(i for i in range(n_tallies) if rng.random() < 0.5) for text in chosen}


def random_bounds(rng: random.Random) -> tuple[int, int | None]:
    return rng.choice([0, 0, 0, 1, 2, 3]), rng.choice([None, None, 0, 1, 2, 3, 4])


@given(rng=st.randoms(use_true_random=False))
@settings(max_examples=120, deadline=None)
def test_every_short_array_is_judged_by_counting(rng: random.Random) -> None:
    tallies = [Tally(*random_bounds(rng)) for _ in range(rng.choice([0, 1, 1, 2]))]
    prefix = [random_texts(rng, len(tallies)) for _ in range(rng.choice([0, 0, 1, 2]))]
    items = random_texts(rng, len(tallies))
    low, high = random_bounds(rng)
    made = array(COMPACT, [ways(texts) for texts in prefix], ways(items), low, high, tallies)

    def fits(elements: tuple[bytes, ...]) -> bool:
        places = [*prefix, *[items] * len(elements)][: len(elements)]
        if not within(len(elements), low, high) or any(e not in p for e, p in zip(elements, places, strict=True)):
            return False
        counts = [place[element] for element, place in zip(elements, places, strict=True)]
        return all(within(sum(i in found for found in counts), *tally) for i, tally in enumerate(tallies))

    accepted = []
    for n in range(LONGEST):
        for elements in itertools.product([b"1", b"22", b"3"], repeat=n):
            text = b"[" + b",".join(elements) + b"]"
            assert POOL.fullmatch(made, text) == fits(elements), text
            accepted += [text] if fits(elements) else []
    shortest = POOL.shortest(made)
    if accepted:
        assert shortest is not None
        assert len(shortest) == min(map(len, accepted))
    elif shortest is not None:
        assert shortest.count(b",") >= LONGEST - 1
    assert POOL.is_empty(made) == (shortest is None)


def test_arrays_that_come_to_the_same_are_the_same() -> None:
    digit, word = POOL.byte_set(b"12"), POOL.literal(b"null")
    counting = [Way(digit, frozenset([0])), Way(word, frozenset([0]))]
    plain = [Way(POOL.alt(digit, word))]
    assert array(COMPACT, [], counting, 1, None, [Tally(3, 7)]) == array(COMPACT, [], plain, 3, 7)
    assert array(COMPACT, [], [Way(digit), Way(word, frozenset([0]))], 0, None, [Tally(0, 0)]) == array(
        COMPACT, [], [Way(digit)]
    )
    assert array(COMPACT, [], [Way(digit)], 0, None, [Tally(1, None)]) == EMPTY
    assert array(COMPACT, [plain], [], 2, None) == EMPTY


def test_large_counts_of_one_tally_cost_nothing_before_they_are_met() -> None:
    items = [Way(POOL.literal(b"1"), frozenset([0])), Way(POOL.literal(b"22"))]
    before = len(POOL)
    made = array(COMPACT, [], items, 1000, 100_000, [Tally(300, 90_000)])
    assert len(POOL.shortest(made) or b"") == len("[") + 1000 * len("1,")
    made = array(COMPACT, [], items, 1000, 100_000, [Tally(300, 400)])
    assert len(POOL.shortest(made) or b"") == len("[") + 400 * len("1,") + 600 * len("22,")
    assert len(POOL) - before < 5000


def test_an_array_may_hold_itself_and_must_hold_something() -> None:
    key = "test array of arrays"
    inner = POOL.alt(POOL.literal(b"1"), POOL.ref(key))
    items = [Way(POOL.ref(key), frozenset([0])), Way(POOL.literal(b"1"))]
    POOL.define(key, array(COMPACT, [], items, 0, 2, [Tally(1, None)]))
    assert POOL.is_empty(POOL.ref(key))
    assert POOL.shortest(inner) == b"1"


def test_counts_that_cannot_be_combined_are_refused() -> None:
    counts = [frozenset(), frozenset([0]), frozenset([1]), frozenset([0, 1])]
    items = [Way(POOL.literal(b"%d" % n), found) for n, found in enumerate(counts)]
    with pytest.raises(GrammarError, match="counts too much at once"):
        array(COMPACT, [], items, 0, 100, [Tally(50, 100), Tally(0, 200)])
